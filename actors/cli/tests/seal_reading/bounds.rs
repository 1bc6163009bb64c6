//! Reads of a sealed log stay within the memory of their process, also for events that are larger than a page.

use crate::support::{Db, config, owner, read_line, tenant};
use crate::{Log, sealing};
use decisiongraph_engine::seal::evidence::{Wanted, prove};
use decisiongraph_engine::seal::pack::{PackOf, PackRequest, pack};
use decisiongraph_engine::seal::scrub::Scrub;
use decisiongraph_engine::{Control, Engine, EngineConfig, RunRequest, VerifyOptions};
use decisiongraph_projections::{Admitted, Category, LogSeq};
use decisiongraph_protocol::report::LogReport;
use decisiongraph_store::{Result, RunMode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Makes an engine with memory for pages of 33 KB, for one event of 132 KB, and for an answer with one of 121 KB.
fn cramped(log: &Log) -> Engine {
    let config = EngineConfig { memory_max: (64 << 20) + (37 << 16), ..config(500) };
    Engine::new(Arc::clone(&log.store), owner("reader"), config).with_sealing(Some(sealing(log.journal.path())))
}

/// Makes a trace with three events of 60 KB each.
fn large() -> Vec<Admitted> {
    let mut events = crate::support::log(1, 0);
    let mut event = |seq: u64, kind: &str, payload: Value| {
        let line = json!({
            "event_id": format!("large-{seq}"), "trace_id": "large", "trace_seq": seq, "event_type": kind,
            "occurred_at": "2026-01-01T00:00:00Z", "source": {"producer_id": "p", "system": "s"},
            "actor": {"actor_type": "agent", "actor_id": "a"}, "idempotency_key": format!("large-{seq}"),
            "payload": payload,
        });
        events.push(read_line(&line.to_string()));
    };
    let entity = json!({"entity_type": "account", "entity_id": "e", "system": "crm"});
    event(0, "TraceStarted", json!({"workflow": "w", "title": "t", "primary_entity": entity}));
    for seq in 1..4 {
        let policy = json!({"policy_id": "p", "policy_version": "1"});
        let note = "n".repeat(60_000);
        event(seq, "PolicyEvaluated", json!({"policy": policy, "inputs": [], "decision": "deny", "note": note}));
    }
    events
}

async fn check(engine: &Engine) -> Result<Vec<String>> {
    let verify = VerifyOptions { log_only: true, ..VerifyOptions::default() };
    let request = RunRequest { verify, ..crate::support::request(RunMode::Verify) };
    match engine.run(&request, &Control::default()).await?.log {
        Some(LogReport::Checked(facts)) => Ok(facts.findings.into_iter().map(|found| found.message).collect()),
        other => panic!("not checked: {other:?}"),
    }
}

async fn scrubbed(engine: &Engine) -> Result<usize> {
    let (mut scrub, mut events) = (Scrub::every(Duration::ZERO), 0);
    loop {
        let step = scrub.step(engine, &[tenant()], 1_000).await?.expect("a round is due");
        assert!(step.findings.is_empty(), "{:?}", step.findings);
        events += step.events as usize;
        if step.round.is_some() {
            return Ok(events);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_a_page_is_checked_and_one_larger_than_the_memory_is_named() {
    for db in Db::both().await {
        let events = large();
        let last = LogSeq(events.len() as i64);
        let log = Log::of(db).await.sealed(&[&events]).await;
        let (cramped, view) = (cramped(&log), log.store.view().await.expect("a view"));
        let name = log.db.name();
        assert_eq!(check(&cramped).await.expect(name), [""; 0], "{name}");
        assert_eq!(scrubbed(&cramped).await.expect(name), events.len(), "{name}");
        let proof = prove(&cramped, &*view, &tenant(), Wanted::At(last)).await.expect(name);
        assert!(proof.event.len() > 60_000, "{name}");

        let edit = match &log.db {
            Db::Sqlite(_) => {
                format!("UPDATE dg_event_log SET payload = printf('%.*c', 300000, 'x') WHERE log_seq = {last}")
            }
            Db::Postgres(_) => format!("UPDATE dg_event_log SET payload = repeat('x', 300000) WHERE log_seq = {last}"),
        };
        assert_eq!(log.db.tamper(&edit).await, 1);
        let of = PackOf::Range(LogSeq(1), last);
        let request = PackRequest {
            of,
            redact: Vec::new(),
            without_payloads: false,
            rotations: false,
            after: None,
            events_max: 100,
        };
        let refusals = [
            ("verify", check(&cramped).await.err()),
            ("scrub", scrubbed(&cramped).await.err()),
            ("prove", prove(&cramped, &*view, &tenant(), Wanted::At(last)).await.err()),
            ("audit-pack", pack(&cramped, &*view, &tenant(), &request).await.err()),
        ];
        for (what, refused) in refusals {
            let refused = refused.unwrap_or_else(|| panic!("{name}: {what} has no room for it"));
            let (at, message) = (format!("log_seq {last}"), &refused.message);
            assert_eq!(refused.category, Category::Storage, "{name}, {what}: {message}");
            assert!(message.contains(&at) && message.contains("memory_max"), "{name}, {what}: {message}");
        }
        let other = prove(&cramped, &*view, &tenant(), Wanted::At(LogSeq(1))).await;
        assert!(other.is_ok(), "{name}: any other event is proved");
        // With more memory, the check says what happened.
        let found = check(&log.engine).await.expect(name);
        assert!(found.first().is_some_and(|found| found.starts_with("payload_differs")), "{name}: {found:?}");
    }
}
