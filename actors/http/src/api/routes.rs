//! The table of routes.

use super::call::Call;
use super::fault::Answered;
use super::limits::Class;
use super::parameter::Parameter;
use super::route::{Method, Needs, Place, Route, Takes};
use super::{
    append, audit, events, feeds, graph, meta, operate, proofs, replays, schemas, seal, spans, stream, traces,
};
use decisiongraph_protocol::Right;
use futures_util::future::BoxFuture;

/// Largest body with one event, in bytes.
const EVENT_BODY: usize = 4 * 1024 * 1024;
/// Largest other body, in bytes.
const SMALL_BODY: usize = 64 * 1024;
/// Largest batch as it arrives, in bytes. No other body is larger.
pub const BATCH_BODY: usize = 16 * 1024 * 1024;
/// Largest unpacked batch, in bytes.
const BATCH_UNPACKED: usize = 64 * 1024 * 1024;
/// Largest export of spans, in bytes. Reading it takes some times its size.
const OTLP_BODY: usize = 8 * 1024 * 1024;

const FRESH: &[Parameter] = &[
    Parameter::number("wait_ms", "Longest wait for the projection, in milliseconds: 0 to 30,000; 1,000 when absent."),
    Parameter::switch("allow_stale", "Accept an answer of a projection that is behind; `data.stale` says by how much."),
    Parameter::number("at_least", "Position that the answer must know at least, such as x-log-seq of an append."),
];
const LIMIT: &[Parameter] = &[
    Parameter::number("limit", "Most items of the page."),
    Parameter::text("cursor", "`next_cursor` of the page before, with the same other parameters."),
];
const EVENT_FILTER: &[Parameter] = &[
    Parameter::number("since_log_seq", "Position behind which events are read."),
    Parameter::list("event_type", "Types of the events."),
    Parameter::text("trace_id", "Trace of the events."),
    Parameter::text("event_id", "Id of the event."),
    Parameter::text("actor_type", "Type of the actor; goes with actor_id."),
    Parameter::text("actor_id", "Id of the actor; goes with actor_type."),
];
const NODE_KEY: &[Parameter] = &[
    Parameter::text("node_type", "Type of the node: trace, entity, policy, …").required(),
    Parameter::text("node_id", "Key of the node behind its type, such as account:acme.").required(),
];
const PROJECTION: &[Parameter] = &[Parameter::text("projection", "Name of a projection; all when absent.")];
const OPEN: &[Parameter] = &[Parameter::switch("open", "Only those that have not ended.")];

const fn get(path: &'static str, word: &'static str, about: &'static str, answer: Answer) -> Route {
    Route {
        method: Method::Get,
        path,
        word,
        needs: Needs::Right(Right::Read),
        place: Place::Tenant,
        class: Class::Read,
        takes: Takes::Nothing,
        parameters: &[],
        success: 200,
        data: None,
        about,
        answer,
    }
}

const fn post(path: &'static str, word: &'static str, about: &'static str, answer: Answer) -> Route {
    Route {
        method: Method::Post,
        takes: Takes::Json(SMALL_BODY),
        class: Class::Admin,
        ..get(path, word, about, answer)
    }
}

type Answer = fn(Call) -> BoxFuture<'static, Answered>;

impl Route {
    const fn right(self, right: Right) -> Route {
        Route { needs: Needs::Right(right), ..self }
    }

    const fn with(self, parameters: &'static [&'static [Parameter]]) -> Route {
        Route { parameters, ..self }
    }

    const fn data(self, schema: &'static str) -> Route {
        Route { data: Some(schema), ..self }
    }

    const fn of_node(self) -> Route {
        Route { place: Place::Node, class: Class::Admin, ..self }
    }

    const fn node_wide(self) -> Route {
        Route { place: Place::NodeWide, class: Class::Admin, ..self }
    }

    const fn answers(self, status: u16) -> Route {
        Route { success: status, ..self }
    }

    const fn takes(self, takes: Takes) -> Route {
        Route { takes, ..self }
    }
}

/// Every route.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    Route { needs: Needs::Nothing, place: Place::None, class: Class::Open,
        ..get("/api/healthz", "healthz", "State of the node: open, and answered as long as the process answers.", meta::healthz) },
    Route { needs: Needs::Nothing, place: Place::None, class: Class::Open,
        ..get("/api/v1/openapi.json", "openapi", "This document.", meta::document) },
    Route { needs: Needs::Identity, place: Place::None,
        ..get("/api/v1/whoami", "whoami", "Name, roles, rights and tenants of the caller.", meta::whoami) }.data("WhoAmI"),
    Route { needs: Needs::Identity, place: Place::None,
        ..get("/api/v1/schemas", "schemas", "The JSON Schemas of events, by name.", schemas::list) }.data("Schemas"),
    Route { needs: Needs::Identity, place: Place::None,
        ..get("/api/v1/schemas/{name}", "schema", "The JSON Schema of an event type, or of `envelope`: an event of any type.", schemas::one) },
    Route { class: Class::Append,
        ..post("/api/v1/events", "append", "Append one event; a repeat gets the stored one.", append::one) }
        .right(Right::Append).takes(Takes::Json(EVENT_BODY)).answers(201).data("Appended"),
    Route { class: Class::Append,
        ..post("/api/v1/events/batch", "append_batch", "Append a batch, with a verdict per line.", append::batch) }
        .right(Right::Append).takes(Takes::Lines(BATCH_BODY, BATCH_UNPACKED)).with(&[BATCH]),
    Route { class: Class::Append,
        ..post("/v1/traces", "otlp_traces", "Spans of agents as decision events (OTLP/HTTP, protobuf or JSON).", spans::take) }
        .right(Right::Append).takes(Takes::Otlp(OTLP_BODY)),
    get("/api/v1/events", "events", "Events of the log, in its order, up to the safe mark.", events::list)
        .with(&[EVENT_FILTER, UNTIL, LIMIT, WAIT]).data("Events"),
    get("/api/v1/events/stream", "event_stream", "Events as they are stored, as Server-Sent Events.", stream::stream)
        .with(&[EVENT_FILTER]),
    get("/api/v1/traces", "traces", "Traces, latest first, by their start or their finish.", traces::list)
        .with(&[TRACES, LIMIT, FRESH]).data("Traces"),
    get("/api/v1/traces/{id}", "trace", "A trace: its events and its summary.", traces::one)
        .with(&[FRESH, LIMIT, SINCE_TRACE]).data("Trace"),
    get("/api/v1/graph/context", "context", "The nodes and edges around a node of the context graph.", graph::context)
        .with(&[NODE_KEY, AROUND, FRESH]).data("Context"),
    get("/api/v1/graph/edges", "edges", "The edges of a node of the context graph.", graph::edges)
        .with(&[NODE_KEY, EDGES, FRESH]).data("Edges"),
    get("/api/v1/precedents", "precedents", "Finished traces that decided alike, latest first.", graph::precedents)
        .with(&[PRECEDENTS, FRESH]).data("Precedents"),
    get("/api/v1/projections/health", "projection_health", "State of each projection of the tenant.", proofs::health)
        .with(&[DIGESTS]).data("ProjectionHealth"),
    get("/api/v1/digests", "digests", "The digests that prove the rows.", proofs::digests)
        .right(Right::Prove).with(&[REFERENCE, PROJECTION]).data("Digests"),
    get("/api/v1/checkpoints", "checkpoints", "The digests that were recorded on the way, newest first.", proofs::checkpoints)
        .right(Right::Prove).with(&[PROJECTION, RECORDED]).data("Reply"),
    get("/api/v1/export", "export", "The log up to the safe mark, an event per line.", proofs::export)
        .right(Right::Prove).with(&[SINCE]),
    get("/api/v1/status", "status", "State of the scopes.", operate::status)
        .right(Right::Observe).of_node().with(&[PROJECTION]).data("Reply"),
    get("/api/v1/health", "health", "Findings, worst first, with the next step of each.", operate::health)
        .right(Right::Observe).of_node().data("Reply"),
    get("/api/v1/why", "why", "Reasons why scopes lag.", operate::why).right(Right::Observe).of_node().with(&[ALL]).data("Reply"),
    get("/api/v1/tree", "tree", "The live actors.", operate::tree).right(Right::Observe).node_wide().with(&[TREE]).data("Reply"),
    get("/api/v1/cluster", "cluster", "The members of the cluster.", operate::cluster).right(Right::Observe).node_wide().data("Reply"),
    Route { needs: Needs::Identity,
        ..post("/api/v1/runs", "start_run", "Start a catch-up, rebuild or verify; its right is that of the mode.", operate::start_run) }
        .answers(202).data("Reply"),
    get("/api/v1/runs", "runs", "Jobs, newest first.", operate::runs)
        .right(Right::Observe).of_node().with(&[PROJECTION, OPEN, LIMIT]).data("Reply"),
    get("/api/v1/runs/check", "rebuild_check", "What a rebuild would cost, and what stands in its way.", operate::rebuild_check)
        .right(Right::Observe).with(&[PROJECTION]).data("Reply"),
    get("/api/v1/runs/{id}", "run", "A job, with its progress and its report.", operate::run)
        .right(Right::Observe).with(&[WAIT]).data("Reply"),
    get("/api/v1/runs/{id}/stream", "run_stream", "Progress of a job until its end, as Server-Sent Events.", feeds::run)
        .right(Right::Observe),
    get("/api/v1/node/stream", "node_stream", "Snapshots of the node, as Server-Sent Events.", feeds::node)
        .right(Right::Observe).node_wide().with(&[NODE_STREAM]),
    Route { needs: Needs::Identity, ..post("/api/v1/runs/{id}/cancel", "cancel_run", "End a job; its right is that of the start.", operate::cancel_run) }
        .takes(Takes::MaybeJson(SMALL_BODY)).data("Reply"),
    Route { needs: Needs::Identity, ..post("/api/v1/runs/{id}/resume", "resume_run", "Continue a job; its right is that of the start.", operate::resume_run) }
        .takes(Takes::MaybeJson(SMALL_BODY)).answers(202).data("Reply"),
    get("/api/v1/failures", "failures", "Poison events, newest first.", operate::failures)
        .right(Right::Observe).of_node().with(&[PROJECTION, OPEN, LIMIT]).data("Reply"),
    get("/api/v1/failures/{id}", "failure", "A poison event, with its error.", operate::failure)
        .right(Right::Observe).with(&[REPLAY]).data("Reply"),
    post("/api/v1/failures/{id}/skip", "skip", "Leave a poison event out.", operate::skip).right(Right::Steer).data("Reply"),
    post("/api/v1/failures/{id}/revoke-skip", "revoke_skip", "Take a skip back.", operate::revoke_skip).right(Right::Steer).data("Reply"),
    post("/api/v1/scopes/pause", "pause", "Stop projecting until a resume.", operate::pause).right(Right::Steer).data("Reply"),
    post("/api/v1/scopes/resume", "resume", "Project again.", operate::resume).right(Right::Steer).data("Reply"),
    post("/api/v1/scopes/retry", "retry", "Try failed scopes again now.", operate::retry).right(Right::Replay).answers(202).data("Reply"),
    post("/api/v1/cluster/nodes/{name}/cordon", "cordon", "Give a node no new tenants.", operate::cordon)
        .right(Right::Cordon).node_wide().data("Reply"),
    post("/api/v1/cluster/nodes/{name}/drain", "drain", "Move all tenants of a node to others.", operate::drain)
        .right(Right::Cordon).node_wide().data("Reply"),
    post("/api/v1/cluster/nodes/{name}/uncordon", "uncordon", "Give a node tenants again.", operate::uncordon)
        .right(Right::Cordon).node_wide().takes(Takes::MaybeJson(SMALL_BODY)).data("Reply"),
    get("/api/v1/audit", "audit", "The changes that operators asked for, newest first.", audit::list)
        .right(Right::Audit).of_node().with(&[AUDIT, LIMIT]).data("Reply"),
    get("/api/v1/seal/status", "seal_status", "How far the log is sealed, signed and kept outside the database.", seal::status)
        .right(Right::Prove).of_node().with(&[LIMIT]).data("Reply"),
    get("/api/v1/seal/checkpoint", "seal_checkpoint", "A signed checkpoint of the sealed log: the newest, or that of a size.", seal::checkpoint)
        .right(Right::Prove).with(&[SEALED_AT]).data("Reply"),
    get("/api/v1/seal/checkpoints", "seal_checkpoints", "Signed notes of the sealed log, newest first.", seal::checkpoints)
        .right(Right::Prove).with(&[NOTES, LIMIT]).data("Reply"),
    get("/api/v1/seal/proof", "prove", "The proof that one event is in the sealed log as it was appended.", seal::prove)
        .right(Right::Prove).with(&[ONE_EVENT]).data("Reply"),
    get("/api/v1/seal/consistency", "consistency", "The proof that the sealed log only grew between two checkpoints.", seal::consistency)
        .right(Right::Prove).with(&[SIZES]).data("Reply"),
    get("/api/v1/seal/tile", "seal_tile", "A tile of the tree: up to 256 hashes of one level, for a comparison of two copies.", seal::tile)
        .right(Right::Prove).with(&[TILE]).data("Reply"),
    get("/api/v1/seal/pack", "audit_pack", "Events of the sealed log with one proof, as lines that an auditor checks.", seal::pack)
        .right(Right::Prove).with(&[PACK]),
    post("/api/v1/seal/now", "seal_now", "Seal up to the safe mark, sign and publish now.", seal::now)
        .right(Right::Prove).with(&[WAIT]).takes(Takes::MaybeJson(SMALL_BODY)).data("Reply"),
    post("/api/v1/seal/init", "seal_init", "Begin the tree of a tenant with a name of your choice, or trust the database once.", seal::init)
        .right(Right::Seal).data("Reply"),
    post("/api/v1/seal/fork", "seal_fork", "End a tree, and begin the next one with their common prefix.", seal::fork)
        .right(Right::Seal).data("Reply"),
    post("/api/v1/seal/rebuild", "seal_rebuild", "Write the nodes and the frontier of a tree again, from its chunks.", seal::rebuild)
        .right(Right::Seal).data("Reply"),
    Route { needs: Needs::Identity, ..post("/api/v1/admin/replays", "start_replay", "Start a catch-up or a rebuild, as the original service does.", replays::begin) }
        .answers(202).data("Replay"),
    Route { needs: Needs::Identity, class: Class::Admin,
        ..get("/api/v1/admin/replays/{id}", "replay", "A job, as the original service shows it.", replays::status) }.data("Replay"),
    Route { needs: Needs::Identity, ..post("/api/v1/admin/replays/{id}/cancel", "cancel_replay", "End a job, as the original service does.", replays::cancel) }
        .takes(Takes::MaybeJson(SMALL_BODY)).data("Replay"),
];

const BATCH: &[Parameter] = &[
    Parameter::word("mode", &["each", "atomic"], "Each line for itself, or all lines or none (at most 1,000)."),
    Parameter::switch("quiet", "Leave the verdicts of stored lines out."),
];
const UNTIL: &[Parameter] = &[Parameter::number("until_log_seq", "Position up to which events are read.")];
const WAIT: &[Parameter] =
    &[Parameter::number("wait_ms", "Longest wait for something new, in milliseconds: 0 to 30,000.")];
const SINCE: &[Parameter] = &[Parameter::number("since_log_seq", "Position behind which the export begins.")];
const SINCE_TRACE: &[Parameter] =
    &[Parameter::number("since_trace_seq", "Number behind which events of the trace are shown.")];
const TRACES: &[Parameter] = &[
    Parameter::word("status", &["open", "finished"], "State of the traces."),
    Parameter::word("order", &["started", "finished"], "By the start (default) or by the finish; latest first."),
    Parameter::text("workflow", "Workflow."),
    Parameter::text("outcome", "Outcome."),
    Parameter::text("entity_type", "Type of the primary entity."),
    Parameter::text("entity_id", "Id of the primary entity; goes with entity_type."),
    Parameter::text("involves", "Key of a node of the context graph that an edge of the trace touches."),
    Parameter::text("actor_type", "Type of the actor that started the trace."),
    Parameter::text("actor_id", "Id of the actor that started the trace; goes with actor_type."),
    Parameter::list("event_type", "Types of which the trace has at least one event."),
    Parameter::text("tag", "A tag of the start."),
    Parameter::text("occurred_since", "Earliest time of the start, RFC 3339."),
    Parameter::text("occurred_until", "Latest time of the start, RFC 3339."),
    Parameter::text("title_prefix", "Beginning of the title; case counts."),
    Parameter::text("trace_id_prefix", "Beginning of the trace's id; case counts."),
];
const AROUND: &[Parameter] = &[
    Parameter::number("max_depth", "Steps from the node: 0 to 10; 1 when absent."),
    Parameter::number("max_nodes", "Most nodes: 1 to 10,000; 100 when absent."),
    Parameter::number("max_edges", "Most edges: 1 to 10,000; 100 when absent."),
    Parameter::list("node_types", "Types of the nodes."),
    Parameter::list("edge_types", "Types of the edges."),
];
const EDGES: &[Parameter] = &[
    Parameter::word("direction", &["both", "incoming", "outgoing"], "Direction of the edges; both when absent."),
    Parameter::number("limit", "Most edges of the page: 1 to 10,000; 100 when absent."),
    Parameter::text("cursor", "`next_cursor.cursor` of the page before."),
    Parameter::text("cursor_edge_key", "`next_cursor.edge_key` of the page before."),
    Parameter::number("cursor_log_seq", "`next_cursor.log_seq` of the page before."),
];
const PRECEDENTS: &[Parameter] = &[
    Parameter::text("policy_id", "Policy that was evaluated."),
    Parameter::text("policy_version", "Version of that policy; goes with policy_id."),
    Parameter::text("entity_type", "Type of the primary entity."),
    Parameter::text("entity_id", "Id of the primary entity; goes with entity_type."),
    Parameter::text("outcome", "Outcome of the trace."),
    Parameter::number("limit", "Most traces: 1 to 10,000; 100 when absent."),
];
const RECORDED: &[Parameter] =
    &[Parameter::number("limit", "Most recorded digests per projection: 1 to 1,000; 20 when absent.")];
const DIGESTS: &[Parameter] =
    &[Parameter::word("digests", &["rolling", "reference"], "Digests to show; `reference` needs the right `prove`.")];
const REFERENCE: &[Parameter] =
    &[Parameter::switch("reference", "The reference's digests: one per projection, and one over all.")];
const ALL: &[Parameter] = &[Parameter::switch("all", "Every scope, not only examples of each reason.")];
const NODE_STREAM: &[Parameter] = &[
    Parameter::number("interval_ms", "Pause between two snapshots, in milliseconds: 500 to 60,000; 2,000 when absent."),
    Parameter::switch("tree", "The live actors, too: the first 1,000."),
];
const TREE: &[Parameter] = &[
    Parameter::text("of", "Name of the node; this one when absent."),
    Parameter::text("under", "Path of an actor: only what is below it."),
    Parameter::text("after", "Path behind which the page begins."),
    Parameter::number("limit", "Most actors; 100 when absent."),
];
const REPLAY: &[Parameter] = &[Parameter::switch("replay", "Fold the event again, without storing anything.")];
const AUDIT: &[Parameter] = &[
    Parameter::text("since", "Earliest time of the request, RFC 3339."),
    Parameter::text("identity", "Name of the identity."),
    Parameter::text("action", "Name of the change, such as pause; of one that was refused at once, word of its route."),
    Parameter::word("outcome", &["accepted", "refused", "failed", "none"], "Outcome; `none`: no end is recorded."),
];

const SEALED_AT: &[Parameter] = &[
    Parameter::number("size", "Number of events that the checkpoint is for; the newest when absent."),
    Parameter::number("tree", "Number of the tree; the newest when absent."),
];
const NOTES: &[Parameter] = &[
    Parameter::word("kind", &["checkpoint", "statement", "rotation", "fork", "erasure"], "Kind of the notes."),
    Parameter::number("tree", "Number of the tree; the newest when absent."),
];
const ONE_EVENT: &[Parameter] = &[
    Parameter::text("event_id", "Id of the event."),
    Parameter::number("log_seq", "Position of the event, in place of its id."),
];
const SIZES: &[Parameter] = &[
    Parameter::number("from", "Size of the older checkpoint.").required(),
    Parameter::number("to", "Size of the newer checkpoint.").required(),
    Parameter::number("tree", "Number of the tree; the newest when absent."),
];
const TILE: &[Parameter] = &[
    Parameter::number("level", "Level of the tile: 0 has leaves, 1 has subtrees of 256 leaves, and so on.").required(),
    Parameter::number("index", "Number of the tile in its level, from 0.").required(),
    Parameter::number("width", "Number of hashes, 1 to 256; all that the tree has when absent."),
    Parameter::number("tree", "Number of the tree; the newest when absent."),
];
const PACK: &[Parameter] = &[
    Parameter::text("trace_id", "The events of this trace."),
    Parameter::number("from_log_seq", "The events from this position on; goes with to_log_seq."),
    Parameter::number("to_log_seq", "The events up to this position, included."),
    Parameter::list("event_id", "Single events by their ids."),
    Parameter::list("redact", "Members of payloads to leave out."),
    Parameter::switch("without_payloads", "Leave every payload out."),
    Parameter::switch("rotations", "Add the notes about rotations of the key, for a reader of an older key."),
];

/// Stands for every path of the workflow layer.
pub static NO_WORKFLOWS: [Route; 2] = [
    get("/api/v1/workflows", "workflows", "Not offered.", meta::workflows),
    get("/api/v1/admin/workflows", "workflows", "Not offered.", meta::workflows).right(Right::Replay),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_route_has_a_word_a_right_and_one_place_in_the_table() {
        let mut words = HashSet::new();
        let mut places = HashSet::new();
        for route in ROUTES {
            assert!(words.insert(route.word), "{}", route.word);
            assert!(places.insert((route.method.as_str(), route.path)), "{}", route.path);
            assert!(!route.about.is_empty() && route.about.ends_with('.'));
            assert_eq!(route.needs == Needs::Nothing, route.class == Class::Open, "{}", route.path);
            if route.changes() {
                assert!(route.takes != Takes::Nothing, "{}", route.path);
            }
            let names: Vec<&str> = route.parameters().map(|parameter| parameter.name).collect();
            let unique: HashSet<&&str> = names.iter().collect();
            assert_eq!(names.len(), unique.len(), "{}: {names:?}", route.path);
        }
    }
}
