//! Edits of a sealed log by a person who can write every table of its database: each one is found, by its name.
//!
//! Base: the README's 98 events, checkpoints at 60 and at 98, a journal and one folder as places. Every row of
//! [`EDITS`] runs on both backends, offline and against a node. Witnesses are not built yet: experiments with one are
//! left out. So is a proper erasure, which has no command yet.

mod cli_support;
#[path = "seal_tampering/evidence.rs"]
mod evidence;
#[path = "seal_tampering/faults.rs"]
mod faults;
mod pages;
#[path = "seal_tampering/rewound.rs"]
mod rewound;
mod seal_support;

use decisiongraph_projections::payload_hash::sha256_hex;
use seal_support::tree::{log, recompute_chunks, recompute_tree};
use seal_support::{ALL, Backend, Ground, LEAD, says};

/// An edit of the log: the statements, and the line that tells of it.
struct Edit {
    about: &'static str,
    sql: &'static str,
    line: &'static str,
}

const fn edit(about: &'static str, sql: &'static str, line: &'static str) -> Edit {
    Edit { about, sql, line }
}

const LEAD_ENVELOPE: &str = "envelope_differs: leaf 97 (log_seq 98, lead-17/0): its envelope is not what was sealed";
const LAST_ENVELOPE: &str = "envelope_differs: leaf 97 (log_seq 98, …): its envelope is not what was sealed";
const APPROVAL_ENVELOPE: &str = "envelope_differs: leaf 93 (log_seq 94, …): its envelope is not what was sealed";

/// Sets columns of the last event.
macro_rules! last {
    ($about:literal, $set:literal) => {
        edit($about, concat!("UPDATE dg_event_log SET ", $set, " WHERE log_seq = 98"), LAST_ENVELOPE)
    };
}

const EDITS: &[Edit] = &[
    edit("an actor", "UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 98", LEAD_ENVELOPE),
    last!("a time of recording", "{later}"),
    last!("an event id", "event_id = 'lead-17/1'"),
    last!("a trace id", "trace_id = 'lead-18'"),
    last!("a number in its trace", "trace_seq = 1"),
    last!("a type", "event_type = 'TraceFinished'"),
    last!("a time", "occurred_at = '2026-08-01T09:00:01Z'"),
    last!("a producer", "producer_id = 'your-app'"),
    last!("a system", "source_system = 'erp'"),
    last!("a subsystem: null became empty", "source_subsystem = ''"),
    last!("the kind of an actor", "actor_type = 'person'"),
    last!("an idempotency key", "idempotency_key = 'lead-17/00'"),
    last!("a correlation: null became empty", "correlation_id = ''"),
    last!("a cause: null became empty", "causation_event_id = ''"),
    last!("a version", "schema_version = 2"),
    last!("tags", "tags = '[\"vip\"]'"),
    edit(
        "a correlation became null",
        "UPDATE dg_event_log SET correlation_id = NULL WHERE log_seq = 94",
        APPROVAL_ENVELOPE,
    ),
    edit(
        "a payload with its hash",
        "UPDATE dg_event_log SET payload = replace(payload, '\"approved\"', '\"rejected\"'), \
                                 payload_hash = '{rejected}' WHERE log_seq = 94",
        "payload_differs: leaf 93 (log_seq 94, discount-acme-2026q3/5): its payload is not what was sealed",
    ),
    edit(
        "the hash of a payload",
        "UPDATE dg_event_log SET payload_hash = '{rejected}' WHERE log_seq = 94",
        "payload_hash_differs: leaf 93 …: the sealed payload is there, its stored hash is wrong",
    ),
    edit(
        "the last event is deleted",
        "DELETE FROM dg_event_log WHERE log_seq = 98",
        "event_missing: leaf 97 (log_seq 98): sealed, and not in the log",
    ),
    edit(
        "an event of the middle is deleted",
        "DELETE FROM dg_event_log WHERE log_seq = 43",
        "event_missing: leaf 42 (log_seq 43): sealed, and not in the log",
    ),
    edit(
        "a trace is deleted",
        "DELETE FROM dg_event_log WHERE trace_id = 'refund-9120'",
        "event_missing: leaf 62 (log_seq 63): sealed, and not in the log",
    ),
    edit(
        "two events exchanged",
        "{free positions}
         UPDATE dg_event_log SET log_seq = -1 WHERE log_seq = 10;
         UPDATE dg_event_log SET log_seq = 10 WHERE log_seq = 11;
         UPDATE dg_event_log SET log_seq = 11 WHERE log_seq = -1;
         {own positions}",
        "envelope_differs: leaf 9 (log_seq 10, …): its envelope is not what was sealed",
    ),
    edit(
        "the key of a trace",
        "UPDATE dg_event_log SET trace_key = {another key} WHERE log_seq = 43",
        "identity_differs: log_seq 43: trace_key is not the hash of trace_id",
    ),
    edit(
        "the key of an event",
        "UPDATE dg_event_log SET event_key = {another key} WHERE log_seq = 43",
        "identity_differs: log_seq 43: event_key is not the hash of …",
    ),
    edit(
        "the key of a repeat",
        "UPDATE dg_event_log SET idempotency_uid = {another key} WHERE log_seq = 43",
        "identity_differs: log_seq 43: idempotency_uid is not the hash of …",
    ),
];

/// Returns the hash of the approval's payload with another decision.
async fn rejected(ground: &Ground) -> String {
    let store = ground.store().await;
    let log = log(&store).await;
    let approval = log.iter().find(|event| event.log_seq.0 == 94).expect("the approval");
    assert!(approval.payload.contains("\"approved\""));
    sha256_hex(approval.payload.replace("\"approved\"", "\"rejected\"").as_bytes())
}

async fn every_edit_of_the_log_is_found(backend: Backend) {
    let (_, ground) = Ground::sealed(backend).await;
    let hash = rejected(&ground).await;
    ground.save().await;
    let (url, _node) = (ground.url(), ground.node(&[]));
    says(&ground.run(&["verify", "--database", &url]), 0, "", "nothing is edited yet");
    for edit in EDITS {
        ground.sql(&edit.sql.replace("{rejected}", &hash)).await;
        let about = format!("{backend:?}, {}", edit.about);
        says(&ground.run(&["verify", "--log-only", "--database", &url]), 3, edit.line, &about);
        says(&ground.run(&["verify", "--log-only"]), 3, edit.line, &format!("{about}, by a node"));
        ground.undo().await;
    }
    says(&ground.run(&["verify", "--log-only"]), 0, "", "everything is undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_of_the_log_is_found_on_sqlite() {
    every_edit_of_the_log_is_found(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_of_the_log_is_found_on_postgres() {
    every_edit_of_the_log_is_found(Backend::Postgres).await;
}

/// A verify of rows and log tells of both.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_actor_drifts_from_its_seal_though_rows_and_log_agree_again() {
    for backend in seal_support::BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        ground.sql(EDITS[0].sql).await;
        ground.ok(&["rebuild"]);
        let ended = ground.run(&["verify"]);
        says(&ended, 3, LEAD_ENVELOPE, "an edit that projections followed");
        assert!(ground.run(&["verify", "--no-log"]).code == 0, "{backend:?}: rows and log agree");
        // An edited event gets no proof.
        let ended = ground.run(&["prove", "lead-17/0"]);
        assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("envelope_differs"), "{}", ended.stderr);
        let pack = ground.cli.path("lead.pack");
        let ended = ground.run(&["audit-pack", "--trace", "lead-17", "-o", pack.to_str().expect("UTF-8")]);
        assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
    }
}

async fn events_that_change_their_tenant_or_appear_are_found(backend: Backend) {
    let (_, ground) = Ground::sealed(backend).await;
    // Positions 99 to 101 are another tenant's, 102 is nobody's, 103 is ours.
    let others: Vec<String> = cli_support::trace("other");
    ground.import_of("other", &others.join("\n"));
    ground.sql("{burn}").await;
    ground.import(&LEAD.replace("lead-17", "lead-18"));
    ground.ok(&["catch-up"]);
    ground.ok(&["catch-up", "--tenant", "other"]);
    ground.ok(&["seal", "now"]);
    ground.ok(&["seal", "now", "--tenant", "other"]);
    let last = ground.number("SELECT max(log_seq) FROM dg_event_log").await;
    assert_eq!(last, 103, "one position was left out");
    ground.save().await;
    let about = format!("{backend:?}");

    ground.sql("UPDATE dg_event_log SET tenant_id = 'other' WHERE log_seq = 50").await;
    let missing = "event_missing: leaf 49 (log_seq 50): sealed, and not in the log";
    says(&ground.run(&["verify", "--log-only"]), 3, missing, &about);
    let inserted = "event_inserted: log_seq 50: the log is sealed up to 101, and this was not sealed";
    says(&ground.run(&["verify", "--log-only", "--tenant", "other"]), 3, inserted, &about);
    ground.undo().await;

    let columns = "trace_seq, schema_version, event_key, trace_key, idempotency_uid, tenant_id, event_id, trace_id, \
                   event_type, occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, \
                   idempotency_key, correlation_id, causation_event_id, tags, payload_hash, payload";
    let copied = columns
        .replace("event_key", "{another key}")
        .replace("trace_key", "{another key}")
        .replace("idempotency_uid", "{another key}");
    let (time, now) = match backend {
        Backend::Sqlite => ("recorded_at_ms", "recorded_at_ms"),
        Backend::Postgres => ("recorded_at", "recorded_at"),
    };
    ground
        .sql(&format!(
            "INSERT INTO dg_event_log (log_seq, {time}, {columns}) {{given}}
             SELECT 102, {now}, {copied} FROM dg_event_log WHERE log_seq = 98"
        ))
        .await;
    let inserted = "event_inserted: log_seq 102: the log is sealed up to 103, and this was not sealed";
    says(&ground.run(&["verify", "--log-only"]), 3, inserted, &about);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_change_their_tenant_or_appear_are_found_on_sqlite() {
    events_that_change_their_tenant_or_appear_are_found(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_change_their_tenant_or_appear_are_found_on_postgres() {
    events_that_change_their_tenant_or_appear_are_found(Backend::Postgres).await;
}

const ACTOR: &str = "UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 98";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_changed_with_its_chunk_does_not_fit_the_tree() {
    for backend in seal_support::BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        ground.sql(ACTOR).await;
        recompute_chunks(&ground).await;
        let line = "tree_damaged: chunk …does not give the root of dg_seal";
        says(&ground.run(&["verify", "--log-only"]), 3, line, &format!("{backend:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_was_made_anew_contradicts_what_was_signed() {
    for backend in seal_support::BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        ground.sql(ACTOR).await;
        recompute_tree(&ground).await;
        let about = format!("{backend:?}");
        let line = "checkpoint_differs: at 98 events the tree has …, the checkpoint signed at … has … (…); \
                    the one at 60 fits: the first change is in leaves 60 to 97";
        says(&ground.run(&["verify", "--log-only"]), 3, line, &about);

        // A node that begins with it signs nothing more, says so, and does the rest of its work.
        let before = seal_support::memory::heads_in(&ground.cli.path("journal")).len();
        let node = ground.node(&[]);
        ground.import(&LEAD.replace("lead-17", "lead-18"));
        cli_support::node::applied_but_for_the_seal(&ground.cli);
        cli_support::node::wait_until("health names it", || {
            let health = ground.run(&["health"]);
            health.code == 11 && format!("{}{}", health.stdout, health.stderr).contains("checkpoint_differs")
        });
        assert_eq!(seal_support::memory::heads_in(&ground.cli.path("journal")).len(), before, "{about}");
        let status = ground.run(&["seal", "status"]);
        assert!([10, 11].contains(&status.code) && status.stdout.contains("checkpoint_differs"), "{}", status.stdout);
        drop(node);
        let ended = ground.run(&["seal", "now"]);
        assert_eq!(ended.code, 3, "{about}: {}{}", ended.stdout, ended.stderr);
    }
}

/// A note in the database, in the journal or in the place that is not what was signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_note_is_a_finding() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    ground.sql(&format!("UPDATE dg_seal_note SET note = replace(note, '{ALL}', '99') WHERE size = {ALL}")).await;
    let ended = ground.run(&["verify", "--log-only"]);
    assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("signature_invalid"), "{}", ended.stdout);
}
