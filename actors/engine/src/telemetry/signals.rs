//! Every metric, span and log event, declared once: name, kind, unit, attributes, meaning.
//!
//! *Guarantees.* Instruments and spans are made from these declarations only, and `docs/reference/TELEMETRY.md` is
//! their text; tests compare them. Attributes have few values; a tenant appears in metrics only within
//! [`LAG_SERIES_MAX`].

use super::LeaseChange;
use decisiongraph_projections::{Category, LogSeq, TenantId, catalogue};
use decisiongraph_protocol::SEAL_FINDINGS;
use decisiongraph_store::Epoch;
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

/// The `tracing` target of every exported span.
pub const TARGET: &str = "decisiongraph";
/// Number of scopes whose lag has series of its own: those that lag most. All others are in the sums and maxima of
/// their projection.
pub const LAG_SERIES_MAX: usize = 300;

/// Kind of an instrument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Counts up from the start of the process.
    Counter,
    /// Sorts values into buckets with these upper bounds.
    Histogram(&'static [f64]),
    /// Shows the present value, looked up on demand.
    Gauge,
}

/// A metric. Its name is the same in Prometheus and OTLP.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// Name, with the unit at its end where it has one.
    pub name: &'static str,
    /// Kind of the instrument.
    pub kind: Kind,
    /// Unit, in UCUM notation.
    pub unit: &'static str,
    /// Attributes (labels), and the values that each can have.
    pub attributes: &'static [(&'static str, Values)],
    /// Meaning of the metric.
    pub help: &'static str,
}

/// Values of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// The names in the catalogue of projections.
    Projections,
    /// The categories of errors.
    Categories,
    /// These words.
    Words(&'static [&'static str]),
    /// Other values: no series can be shown before it is recorded.
    Open,
}

impl Values {
    /// Lists the values.
    pub fn list(self) -> Vec<&'static str> {
        match self {
            Values::Projections => catalogue::ALL.iter().map(|projection| projection.name()).collect(),
            Values::Categories => Category::ALL.iter().map(|category| category.as_str()).collect(),
            Values::Words(words) => words.to_vec(),
            Values::Open => Vec::new(),
        }
    }
}

/// Kinds of a node's supervisors, the node itself first.
pub const SUPERVISORS: [&str; 8] = ["node", "seal", "scopes", "tenant", "workers", "replay", "jobs", "links"];
/// Kinds of children that a supervisor starts again.
pub const CHILDREN: [&str; 19] = [
    "store_pool",
    "cluster",
    "admin",
    "high_water",
    "lease_keeper",
    "seal",
    "notary",
    "scrubber",
    "scopes",
    "tenant",
    "coordinator",
    "workers",
    "worker",
    "replay",
    "replay_coordinator",
    "jobs",
    "job",
    "links",
    "link",
];
/// Verdicts on an offered event.
const VERDICTS: [&str; 3] = ["accepted", "repeated", "refused"];
/// Reasons of the verdicts: none, or the category of a refusal.
const VERDICT_CODES: [&str; 6] = [
    "ok",
    Category::SchemaViolation.as_str(),
    Category::Conflict.as_str(),
    Category::EventSequenceInvalid.as_str(),
    Category::IdempotencyConflict.as_str(),
    Category::PiiViolation.as_str(),
];
/// Outcome of a span that came by OTLP: an event of it was stored.
pub const SPAN_STORED: &str = "stored";
/// Outcome of a span: each of its events was stored before.
pub const SPAN_REPEATED: &str = "repeated";
/// Reason: a span without ids, times or the name of its service.
pub const INVALID_SPAN: &str = "invalid_span";
/// Reason: a span that does not follow the GenAI conventions.
pub const NOT_GENAI: &str = "not_genai";
/// Reason: an operation of the GenAI conventions that becomes no event.
pub const NOT_MAPPED: &str = "operation_not_mapped";
/// Reason: a span event that becomes no event.
pub const EVENT_NOT_MAPPED: &str = "event_not_mapped";
/// Reason: the event needs a member that the span does not give.
pub const MEMBER_MISSING: &str = "member_missing";
/// Reason: the caller may not append events of that producer.
pub const FORBIDDEN: &str = "forbidden";
/// Outcomes of spans that came by OTLP. The others are categories of an append's refusals.
const SPAN_OUTCOMES: [&str; 14] = [
    SPAN_STORED,
    SPAN_REPEATED,
    INVALID_SPAN,
    NOT_GENAI,
    NOT_MAPPED,
    EVENT_NOT_MAPPED,
    MEMBER_MISSING,
    FORBIDDEN,
    "conflict",
    "event_sequence_invalid",
    "idempotency_conflict",
    "invalid_argument",
    "pii_violation",
    "schema_violation",
];
/// Listeners by which a connection comes in.
const LISTENERS: [&str; 3] = ["socket", "tcp", "cluster"];

/// A span.
#[derive(Debug, PartialEq)]
pub struct SpanSignal {
    /// Name.
    pub name: &'static str,
    /// Fields. A field that does not apply, or is not known yet, is empty.
    pub fields: &'static [&'static str],
    /// Work that the span covers.
    pub help: &'static str,
}

/// A log event of level info or higher.
#[derive(Debug, PartialEq)]
pub struct LogSignal {
    /// `info`, `warn` or `error`.
    pub level: &'static str,
    /// Text of the event, with `{}` in place of values.
    pub text: &'static str,
    /// Meaning of the event, and what to do.
    pub help: &'static str,
}

/// 0.5 ms to 60 s.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// 0.1 s to one day.
const LONG_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
/// 1 to 100,000.
const EVENTS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 100_000.0];
/// 256 B to 64 MiB.
const BYTES: &[f64] =
    &[256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $unit:literal, [$($attribute:literal: $values:expr),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: $kind, unit: $unit, attributes: &[$(($attribute, $values)),*], help: $help };)*
        /// Every metric, in the order of the documentation.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

use Kind::{Counter, Gauge, Histogram};
use Values::{Categories, Open, Projections, Words};

metrics! {
    EVENTS_APPLIED = "decisiongraph_events_applied_total", Counter, "{event}", ["projection": Projections],
        "Events that committed batches applied.";
    EVENTS_APPENDED = "decisiongraph_events_appended_total", Counter, "{event}", ["verdict": Words(&VERDICTS), "code": Words(&VERDICT_CODES)],
        "Events that were offered through this node. `verdict` is accepted, repeated or refused; `code` is ok or the category of the refusal. Of a request that stores all or nothing, the first refused event.";
    BATCH_DURATION = "decisiongraph_batch_duration_seconds", Histogram(SECONDS), "s", ["projection": Projections],
        "Time from the batch's look-ups to the return of its commit.";
    BATCH_EVENTS = "decisiongraph_batch_events", Histogram(EVENTS), "{event}", ["projection": Projections],
        "Events per committed batch.";
    BATCH_BYTES = "decisiongraph_batch_bytes", Histogram(BYTES), "By", ["projection": Projections],
        "Payload bytes per committed batch.";
    RETRIES = "decisiongraph_retries_total", Counter, "{retry}", ["projection": Projections, "category": Categories],
        "Retries of a worker after a transient fault. Every counter is 0 from the start.";
    FAILURES = "decisiongraph_failures_total", Counter, "{failure}", ["projection": Projections, "category": Categories],
        "Errors that stop a projection, poison events included.";
    RESTARTS = "decisiongraph_restarts_total", Counter, "{restart}", ["child": Words(&CHILDREN)],
        "Children that a supervisor restarted. `child` is the kind: worker, coordinator, tenant, job, …";
    ESCALATIONS = "decisiongraph_escalations_total", Counter, "{escalation}", ["supervisor": Words(&SUPERVISORS)],
        "Supervisors that gave up because more children died than their restart budget allows. `supervisor` is the kind.";
    LEASE_CHANGES = "decisiongraph_lease_changes_total", Counter, "{change}", ["change": Words(&LeaseChange::WORDS)],
        "Changes of ownership: acquired, lost, released, taken_over, fenced.";
    MARK_HOLD_DURATION = "decisiongraph_mark_hold_duration_seconds", Histogram(LONG_SECONDS), "s", [],
        "Time for which open appenders held up the mark. Recorded when the mark moves again.";
    JOB_DURATION = "decisiongraph_job_duration_seconds", Histogram(LONG_SECONDS), "s", ["mode": Open, "state": Open],
        "Time from a job's start on this node to its end. The count is the number of ended jobs.";
    ADMIN_ASK_DURATION = "decisiongraph_admin_ask_duration_seconds", Histogram(SECONDS), "s", ["command": Open, "outcome": Open],
        "Time to answer an admin request. `outcome` is ok or the error's category. The count is the number of requests.";
    HTTP_DURATION = "decisiongraph_http_request_duration_seconds", Histogram(SECONDS), "s", ["route": Open, "code": Open],
        "Time to answer an HTTP request, up to the first byte of its body. `route` is the word of the route, or none; `code` is ok or the code of the error. The count is the number of requests.";
    OTLP_SPANS = "decisiongraph_otlp_spans_total", Counter, "{span}", ["outcome": Words(&SPAN_OUTCOMES)],
        "Spans that came by OTLP. `outcome` is stored, repeated, or the first reason for which a part of the span is not stored; `event_not_mapped` counts span events.";
    CONNECTIONS_REFUSED = "decisiongraph_connections_refused_total", Counter, "{connection}", ["door": Words(&LISTENERS), "category": Categories],
        "Connections that did not become an admin session. `door` is the listener: socket, tcp or cluster. A port scan counts as unavailable.";
    BUILD_INFO = "decisiongraph_build_info", Gauge, "1", ["version": Open],
        "Always 1. `version` is the version of the program.";
    LAG_EVENTS = "decisiongraph_lag_events", Gauge, "{event}", ["tenant": Open, "projection": Projections],
        "Events of the tenant between a scope's cursor and the mark. Counted up to 10,000: a longer backlog shows as 10,000. Only for the 300 scopes that lag most.";
    LAG_SECONDS = "decisiongraph_lag_seconds", Gauge, "s", ["tenant": Open, "projection": Projections],
        "Age of the oldest event between cursor and mark. Only for the 300 scopes that lag most.";
    LAG_EVENTS_SUM = "decisiongraph_lag_events_sum", Gauge, "{event}", ["projection": Projections],
        "Sum of the lag in events over all scopes of this node. Each scope counts up to 10,000.";
    LAG_EVENTS_MAX = "decisiongraph_lag_events_max", Gauge, "{event}", ["projection": Projections],
        "Largest lag in events of any scope of this node, at most 10,000. The lag in seconds has no such bound.";
    LAG_SECONDS_MAX = "decisiongraph_lag_seconds_max", Gauge, "s", ["projection": Projections],
        "Largest lag in seconds of any scope of this node.";
    MARK = "decisiongraph_mark", Gauge, "{position}", [],
        "The safe mark: nothing can still appear at or below this log position.";
    MARK_HELD = "decisiongraph_mark_held_seconds", Gauge, "s", [],
        "Time for which open appenders have held up the mark until now; 0 when the mark is not held up.";
    DATABASE_UP = "decisiongraph_database_up", Gauge, "1", [],
        "1 while the database answers, else 0.";
    LEASE_LEFT = "decisiongraph_lease_left_seconds", Gauge, "s", [],
        "Time for which this node's lease is still valid; 0 when the lease is over.";
    TENANTS = "decisiongraph_tenants", Gauge, "{tenant}", ["state": Open],
        "Tenants by state: actors run (running), waiting for room (waiting), about to be handed over to another node (moving).";
    MEMBERS = "decisiongraph_members", Gauge, "{node}", ["state": Open],
        "Nodes of the cluster by state, as this node knows them: active, cordoned, draining, dead.";
    LINKS = "decisiongraph_links", Gauge, "{link}", ["state": Open],
        "Links to other nodes by state: connecting, up, down.";
    LINK_PING = "decisiongraph_link_ping_seconds", Gauge, "s", ["peer": Open],
        "Round-trip time of the last ping over a link that is up. At most 256 peers.";
    JOBS = "decisiongraph_jobs", Gauge, "{job}", ["mode": Open, "state": Open],
        "Jobs of this node by mode and state.";
    OPEN_FAILURES = "decisiongraph_open_failures", Gauge, "{failure}", [],
        "Poison events in the database that stop a projection now. This gauge and the next three are the same on every node. Counted at the end of each job, and every 15 s.";
    PAUSED_SCOPES = "decisiongraph_paused_scopes", Gauge, "{scope}", [],
        "Scopes in the database that an operator paused.";
    DEVIATING_SCOPES = "decisiongraph_deviating_scopes", Gauge, "{scope}", [],
        "Scopes in the database whose rows leave a skipped event out.";
    DRIFTED_SCOPES = "decisiongraph_drifted_scopes", Gauge, "{scope}", [],
        "Scopes in the database whose last verify found drift, and whose rows have not been replaced since.";
    SEAL_WINDOW = "decisiongraph_seal_window_seconds", Gauge, "s", ["tenant": Open],
        "Age of a tenant's oldest event that no checkpoint in a place covers. Only for the 300 tenants of this node with the longest window.";
    SEAL_WINDOW_MAX = "decisiongraph_seal_window_seconds_max", Gauge, "s", [],
        "Longest window of any tenant of this node. This metric and the others of the seal are missing where sealing is off.";
    SEAL_UNSEALED_EVENTS = "decisiongraph_seal_unsealed_events", Gauge, "{event}", [],
        "Events of this node's tenants that are not sealed yet. Each tenant counts up to 10,000.";
    SEAL_PLACE_LAG = "decisiongraph_seal_place_lag_seconds", Gauge, "s", ["place": Open],
        "Time for which the oldest signed note has waited for a place; 0 when none waits.";
    SEAL_SIGNED = "decisiongraph_seal_signed_total", Counter, "{checkpoint}", [],
        "Checkpoints that this node signed.";
    SEAL_REFUSED = "decisiongraph_seal_refused_total", Counter, "{refusal}", ["finding": Words(&SEAL_FINDINGS)],
        "Claims and batches of the seal that a finding stopped.";
    SEAL_SCRUBBED = "decisiongraph_seal_scrubbed_events_total", Counter, "{event}", [],
        "Sealed events that the scrubber compared with their leaves.";
    SEAL_FOUND = "decisiongraph_seal_findings", Gauge, "{finding}", ["word": Open],
        "Findings about the sealed logs of this node's tenants, by word. A word without a finding is not listed.";
}

/// Every span, in the order of the documentation.
pub const SPANS: &[SpanSignal] = &[BATCH_SPAN, JOB_SPAN, ADMIN_SPAN, HTTP_SPAN];

const BATCH_SPAN: SpanSignal = SpanSignal {
    name: "batch",
    fields: &["tenant", "projection", "from", "to", "epoch", "job", "events", "otel.status_code", "category"],
    help: "A batch of one scope: look-ups, fold, commit. `to` is the last event of the page, `job` the run (empty for a worker), `events` the number of applied events.",
};
const JOB_SPAN: SpanSignal = SpanSignal {
    name: "job",
    fields: &["tenant", "job", "mode", "events", "otel.status_code", "category"],
    help: "A job on this node, from its start or adoption to its end.",
};
const ADMIN_SPAN: SpanSignal = SpanSignal {
    name: "admin",
    fields: &["command", "otel.status_code", "category"],
    help: "An admin request, from its arrival to the reply.",
};

const HTTP_SPAN: SpanSignal = SpanSignal {
    name: "http",
    fields: &["route", "request_id", "status", "tenant", "identity", "otel.status_code", "category"],
    help: "An HTTP request of the interface, up to the first byte of its answer's body. `route` is the word of the route. It continues the trace of the header `traceparent` of a caller whose token is known.",
};

/// Opens the span of a batch of `projection` over the events in (`from`, `to`]; see [`SPANS`].
pub fn batch_span(
    tenant: &TenantId,
    projection: &str,
    from: LogSeq,
    to: LogSeq,
    epoch: Option<Epoch>,
    job: Option<Uuid>,
) -> Span {
    let span = tracing::info_span!(
        target: TARGET, "batch", tenant = %tenant, projection, from = from.0, to = to.0, epoch = Empty, job = Empty,
        events = Empty, otel.status_code = Empty, category = Empty
    );
    if let Some(epoch) = epoch {
        span.record("epoch", tracing::field::display(epoch));
    }
    if let Some(job) = job {
        span.record("job", tracing::field::display(job));
    }
    span
}

/// Opens the span of a job; see [`SPANS`].
pub fn job_span(tenant: &TenantId, job: Uuid, mode: &str) -> Span {
    tracing::info_span!(
        target: TARGET, "job", tenant = %tenant, job = %job, mode, events = Empty, otel.status_code = Empty, category = Empty
    )
}

/// Opens the span of an admin request; see [`SPANS`].
pub fn admin_span(command: &str) -> Span {
    tracing::info_span!(target: TARGET, "admin", command, otel.status_code = Empty, category = Empty)
}

/// Opens the span of an HTTP request; see [`SPANS`].
pub fn http_span(route: &str, request_id: &str) -> Span {
    tracing::info_span!(
        target: TARGET, "http", route, request_id, status = Empty, tenant = Empty, identity = Empty,
        otel.status_code = Empty, category = Empty
    )
}

/// Records on a span that its work met an error of this category.
pub fn failed(span: &Span, category: Category) {
    span.record("category", category.as_str());
    span.record("otel.status_code", "ERROR");
}

const fn log(level: &'static str, text: &'static str, help: &'static str) -> LogSignal {
    LogSignal { level, text, help }
}

/// Every log event of the library of level info or higher, roughly in alphabetical order. Debug and trace lines are for
/// developers and may change.
#[rustfmt::skip]
pub const LOGS: &[LogSignal] = &[
    log("info", "{} of {} spans that came by OTLP are not stored: {}", "Each reason with its number. The sender is told more. `left_out` counts requests that were not logged (at most 10 lines per 10 s)."),
    log("warn", "a memory of the seal: {notice}", "A journal or place has a line that was cut off, or another file than this program's."),
    log("info", "the checkpoint {reason}", "With `seal_publish_after = standby`: the head waits until every streaming standby has its commit."),
    log("info", "the key of the seal was replaced: new notes are signed by the new key", "Follows `decisiongraph seal key rotate`."),
    log("warn", "the keys of the seal cannot be read again: {}", "The keys of before continue to sign. Repair the file."),
    log("error", "the log is not what was sealed: {finding}", "The scrubber found it. See the runbook's section on the finding's word."),
    log("warn", "the log is not sealed up to its end: {}", "A command's catch-up of the projections stands; its seal waits for the next one."),
    log("warn", "the note of the fork is in the database alone: {}", "The journal did not take it. The fork stands; the notary brings the note to the places when the journal is writable."),
    log("warn", "memories of the seal did not answer: {silent}", "Journal or places that a takeover could not ask. One that answers is enough."),
    log("warn", "no statement was signed: {}", "The checkpoint stands. The next one brings a statement."),
    log("warn", "not signed: {}", "A head waits for its signature: the journal is not writable, or a finding stops the tenant's seal."),
    log("warn", "notes of the seal wait for {name}: {fault}", "A place, or the database, does not take signed notes. Tried again with growing pauses; nothing is lost."),
    log("info", "{name} has the notes of the seal again", "Follows the line above."),
    log("error", "sealing stops: {finding}", "A tree contradicts what is remembered, or itself. Nothing of the tenant is sealed or signed; events and projections continue."),
    log("warn", "{} takes no note of {origin}: {error}", "The place has another root for the same size, or its file is damaged."),
    log("warn", "{}; {}", "A stored row belongs to no tenant and is left out: its `table`, the reason, and the next step. Logged once per row."),
    log("warn", "a batch cannot be stored and is retried until it can: {}", "The database answers and refuses writes: a full disk, a locked file. Logged once, and again after a minute without such a fault. `scope` is the first affected scope; `decisiongraph health` names all."),
    log("warn", "a poison event stops the scope", "An open failure was recorded: `decisiongraph failures`."),
    log("warn", "a refused change is not recorded: {}", "The database did not take the record of a change that HTTP refuses; the caller is told 503."),
    log("warn", "a token from {} is not known, or has expired", "An HTTP request was refused with 401. `left_out` counts refusals that were not logged (at most 10 lines per 10 s)."),
    log("warn", "an admin connection was refused: {}", "Wrong secret, wrong version, wrong certificate, or no admin client. `door` is the listener, `peer` the caller. `left_out` counts refusals that were not logged (at most 10 lines per 10 s)."),
    log("info", "an id was not new; the batch is prepared again: {}", "A job assumed without a look-up that an id was new. Nothing of the batch is stored; the next attempt looks up ids."),
    log("warn", "an open appender holds the mark; catching up to the safe position", "`pids` names the appenders. A later pass applies the events behind them."),
    log("info", "an orphaned job is adopted and continues", "The job's process is gone. The job continues on this node from its durable position."),
    log("warn", "a session could not start; its connection is closed: {error}", "The other program may connect again."),
    log("warn", "a session failed: {error}", "A defect in the actor protocol. The other program may connect again."),
    log("warn", "cannot accept connections; retrying: {error}", "Usually no file descriptors are left. `listener` is `socket`, `tcp`, `cluster` or `metrics`. Logged once, and again after 10 s without such a fault."),
    log("info", "connections are accepted again", "Follows the line above."),
    log("warn", "child ended", "A defect or a kill: see `reason`. The supervisor acts by its strategy."),
    log("info", "collector reached again", "Traces or metrics (`signal`) arrive again."),
    log("warn", "collector not reached; exports are dropped until it is: {error}", "Logged once per `signal`. The node continues; only telemetry is lost."),
    log("warn", "could not give up the lease: {}", "Held scopes are free when the lease is over."),
    log("warn", "did not stop in time; killed", "A child did not end within its shutdown time."),
    log("error", "does not yield and cannot be killed; given up", "A child blocks its thread; restart the process."),
    log("warn", "lease not renewed: {}", "The node continues to try. Its work stops when the lease is over."),
    log("error", "no tenant is woken; the end of the log is unknown: {}", "The log cannot be read safely, or its end is not known. Logged once per cause. `decisiongraph why` has the next step."),
    log("warn", "not handed over within {LEAVE:?}; other nodes take over when the lease ends", "When the node stops."),
    log("warn", "not handed over: {}", "When the node stops. Other nodes take over when the lease is over."),
    log("warn", "restart failed", "A child could not be restarted. The supervisor tries again within its restart budget."),
    log("warn", "retired rows are not swept yet: {}", "Costs space only. A later sweep deletes the rows."),
    log("info", "taken over: its owner's lease had ended", "This node continues the scope from its durable position. `from` names the former owner."),
    log("info", "telemetry not flushed within {STOP_DEADLINE:?}", "When the node stops: the collector was slow or away, and the last exports are lost."),
    log("info", "the database answers", "The first answer, or the first answer after an outage."),
    log("warn", "the database is away: {}", "All work waits. It continues without an operator when the database is back."),
    log("warn", "the caller is not told the cause: {}", "An HTTP request failed for a cause that is not the caller's business. `request_id` is in the answer, too."),
    log("warn", "the changed identities are not used: {}", "The identities file changed on disk and is faulty, or others may read it. The identities before it stay in force."),
    log("warn", "the changed certificates are not used: {}", "A certificate or key file changed on disk and is faulty. The last good files stay in use."),
    log("warn", "the end of run {} is not recorded: {}", "The run stays `running` until a node adopts it."),
    log("warn", "the job failed: {}", "`decisiongraph run ID` shows the job; `decisiongraph run resume ID` continues it."),
    log("info", "the job waits and continues: {}", "A transient fault."),
    log("warn", "the job waits and continues: {}", "A transient fault, at its first occurrence."),
    log("info", "a process of this machine is gone; its lease is ended", "Known by the process's pid and start time. No other node waits for its lease."),
    log("warn", "the job was not started again: {}", "The node tries again at its next search for orphaned jobs."),
    log("warn", "the job was not started: {error}", "The node tries again at its next search for orphaned jobs."),
    log("warn", "the job's actor died; the job continues from its durable position", "A defect or a kill."),
    log("warn", "the link is down; reconnecting: {why}", "The link to another node (`peer`, `address`). Projections continue: wake-ups come from the database. Requests do not reach that node. docs/operations/CLUSTER.md lists the reasons."),
    log("info", "the link is up", "For the first time, or again. `protocol` is the version of both nodes."),
    log("warn", "the lease is not renewed: {}", "Logged once. The node continues to try. Its work stops when the lease is over."),
    log("warn", "the database's schema is newer than this program, and still serves it: upgrade this node next", "In the middle of a rolling upgrade. `schema` and `program` name the versions."),
    log("info", "the lease is renewed again", "Follows the line above."),
    log("info", "the members of the cluster changed", "`members` names the live nodes. Tenants are divided again."),
    log("error", "the scope cannot be worked on: {}", "See `decisiongraph why` and the runbook's section on the category."),
    log("info", "the process of this member is gone: its tenants are taken over before its lease ends", "The member's machine reports that its port is closed, or another incarnation answers."),
    log("info", "the scope was taken over; this worker stops", "Another node owns it now."),
    log("warn", "the link was not started: {error}", "The node tries again at its next check of the members."),
    log("info", "an operator asked for {what}", "An operator's change, after it was carried out or refused. `change` is its number in `decisiongraph changes`. More fields: `by`, `reason`, the subject, `outcome`."),
    log("debug", "the outcome of change {change_id} is not recorded: {}", "The change itself happened as the line `an operator asked for` reports."),
    log("info", "handed tenants over: other nodes own them now", "`tenants` is the number of tenants, `first` names one of them."),
    log("warn", "open appenders have held up the mark for {:.0} s", "Logged once. `pids` are the appenders' sessions; `decisiongraph why` names them."),
    log("info", "the mark moves again, after {:.0} s", "No appender holds up the mark any more, or fewer do."),
    log("info", "stopped by a signal: draining for at most {deadline:?}", "SIGTERM, SIGINT or SIGHUP."),
    log("info", "drained in {:.1?}", "Every worker finished its batch. The process ends."),
    log("warn", "the server's history changed: cursors and digests held in memory are dropped", "The database restarted or failed over. The node reads everything again."),
    log("warn", "the tenant's actors were not started: {error}", "The node tries again at the next event or sweep."),
    log("error", "{why}", "A supervisor gave up: more children died than its restart budget allows."),
    log("warn", "{}; {}", "A row that the database should not hold (`table`), and the next step. Logged once per row."),
    log("info", "{}; waiting at most {:?} in case its process is gone", "A process that may be dead holds a scope."),
];
