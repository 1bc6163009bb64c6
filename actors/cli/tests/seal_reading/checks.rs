//! The check of a log: every link that is broken is named.

use crate::Log;
use crate::support::{Db, log, tenant};
use decisiongraph_engine::seal::check::{Watch, check};
use decisiongraph_engine::seal::scrub::Scrub;
use decisiongraph_engine::{Control, Engine, EngineConfig, VerifyOptions};
use decisiongraph_protocol::ExitCode;
use decisiongraph_protocol::report::LogReport;
use decisiongraph_store::RunState;
use std::sync::Arc;
use std::time::Duration;

async fn a_broken_link_is_named(db: Db) {
    let events = log(100, 0);
    let log = Log::of(db).await.sealed(&[&events[..300], &events[300..]]).await;
    let name = log.db.name();
    let well = log.check().await;
    assert_eq!(Log::found(&well), Vec::<&str>::new(), "{name}");
    assert_eq!((well.size, well.events, well.checkpoints, well.newest_checkpoint), (700, 700, 2, Some(700)), "{name}");
    assert_eq!(well.memories, ["journal", "database"], "{name}");
    assert_eq!(well.from_entries.as_ref(), Some(&well.root), "{name}");
    assert!(well.as_sealed && well.signatures_checked && well.silent.is_empty());

    let tampered = async |sql: &str, expected: &[&str]| {
        log.db.tamper(sql).await;
        let facts = log.check().await;
        assert_eq!(Log::found(&facts), expected, "{name}: {sql}");
    };
    let save = "CREATE TABLE saved_node AS SELECT * FROM dg_seal_node";
    log.db.tamper(save).await;
    let nodes = ["node 1 of level 1 is not what its leaves give, or is missing"];
    let nodes = nodes.map(|text| format!("tree_damaged: {text}"));
    tampered("DELETE FROM dg_seal_node WHERE node_index = 1", &[&nodes[0]]).await;
    log.db.tamper("DELETE FROM dg_seal_node").await;
    log.db.tamper("INSERT INTO dg_seal_node SELECT * FROM saved_node").await;

    let root = "UPDATE dg_seal SET root = substr(frontier, 1, 32)";
    log.db.tamper("CREATE TABLE saved_seal AS SELECT * FROM dg_seal").await;
    tampered(root, &["tree_damaged: the frontier does not give the root of dg_seal"]).await;
    log.db.tamper("DELETE FROM dg_seal").await;
    log.db.tamper("INSERT INTO dg_seal SELECT * FROM saved_seal").await;

    log.db.tamper("CREATE TABLE saved_chunk AS SELECT * FROM dg_seal_chunk").await;
    let cut = "DELETE FROM dg_seal_chunk WHERE first_index = 512";
    let gone = "salts_missing: leaf 512: no chunk has it; its event can no longer be checked";
    tampered(cut, &[gone]).await;
    log.db.tamper("INSERT INTO dg_seal_chunk SELECT * FROM saved_chunk WHERE first_index = 512").await;
    // Two leaves are exchanged: their events differ from them, and the tree is another one.
    let view = log.store.view().await.expect("a view");
    let chunk = view.seal_chunks(&tenant(), 1, 0, 1).await.expect("chunks").remove(0);
    let entries: Vec<u8> = [&chunk.entries[64..128], &chunk.entries[..64], &chunk.entries[128..]].concat();
    let hex: String = entries.iter().map(|byte| format!("{byte:02x}")).collect();
    let literal = if name == "sqlite" { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") };
    log.db.tamper(&format!("UPDATE dg_seal_chunk SET entries = {literal} WHERE first_index = 0")).await;
    let words: Vec<String> = log.check().await.findings.iter().map(|found| found.word.clone()).collect();
    assert_eq!(words, ["envelope_differs", "payload_differs", "tree_damaged"], "{name}");
    log.db.tamper("DELETE FROM dg_seal_chunk").await;
    log.db.tamper("INSERT INTO dg_seal_chunk SELECT * FROM saved_chunk").await;
    assert_eq!(Log::found(&*log.check().await), Vec::<&str>::new(), "{name}: everything is back");

    // Everything of the seal is gone but the memory outside.
    for table in ["dg_seal_chunk", "dg_seal_node", "dg_seal_note", "dg_seal"] {
        log.db.tamper(&format!("DELETE FROM {table}")).await;
    }
    let facts = log.check().await;
    let found = Log::found(&facts);
    assert!(
        found[0].starts_with("tree_shrunk: 0 events are sealed here, a checkpoint for 700 was signed at "),
        "{found:?}"
    );
    assert!(found[0].ends_with(" (journal)"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_link_is_named_on_sqlite() {
    a_broken_link_is_named(Db::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_link_is_named_on_postgres() {
    a_broken_link_is_named(Db::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_reports_the_log_beside_its_rows_and_ends_with_the_code_of_both() {
    for db in Db::both().await {
        let events = log(10, 0);
        let log = Log::of(db).await.sealed(&[&events]).await;
        crate::support::run(&log.engine, decisiongraph_store::RunMode::CatchUp).await;
        let report = log.verify(VerifyOptions::default()).await;
        assert_eq!((report.scopes.len(), report.log_differs(), report.drifted()), (3, false, false));
        let stored = log.store.view().await.expect("a view").run(report.run.run_id).await.expect("reads");
        let stored = decisiongraph_protocol::report::RunReport::stored(stored.expect("a run"));
        assert_eq!(stored.log, report.log, "the row of the run has it");
        log.db.tamper("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 5").await;
        let report = log.verify(VerifyOptions::default()).await;
        assert_eq!((report.run.state, report.scopes.len()), (RunState::Completed, 0), "rows follow from the log");
        assert_eq!(decisiongraph_protocol::of_job(&report, false), ExitCode::DRIFT);
        let since = VerifyOptions { log_only: true, since: 5, ..VerifyOptions::default() };
        assert!(!log.verify(since).await.log_differs(), "leaf 4 was taken as checked");
        let rows = log.verify(VerifyOptions { no_log: true, ..VerifyOptions::default() }).await;
        assert_eq!((rows.log, rows.scopes.len()), (None, 3));
        let database = VerifyOptions { against: Some("database".to_owned()), ..VerifyOptions::default() };
        let Some(LogReport::Checked(facts)) = log.verify(database).await.log else { panic!("checked") };
        assert_eq!(facts.memories, ["database"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_tree_is_not_sealed() {
    let db = Db::sqlite().await;
    let store = db.store().await;
    crate::append(&store, &log(2, 0)).await;
    let engine = crate::support::engine(&store, 100);
    crate::support::run(&engine, decisiongraph_store::RunMode::CatchUp).await;
    let report = crate::support::run(&engine, decisiongraph_store::RunMode::Verify).await;
    assert_eq!((report.log, report.scopes.len()), (Some(LogReport::Unsealed), 3));
}

/// The scrubber finds an edit, and forgets it when a round finds the log as sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_the_scrubber_finds_an_edit_below_the_tree() {
    for db in Db::both().await {
        let events = log(100, 0);
        let log = Log::of(db).await.sealed(&[&events[..300], &events[300..]]).await;
        let (mut scrub, tenants) = (Scrub::every(Duration::ZERO), [tenant()]);
        let mut round = async || {
            let (mut read, mut steps) = (0, 0);
            loop {
                let step = scrub.step(&log.engine, &tenants, 100).await.expect("steps").expect("is due");
                (read, steps) = (read + step.events, steps + 1);
                if let Some(round) = step.round {
                    let found: Vec<String> = round.into_iter().map(|found| found.message).collect();
                    return (read, steps, found);
                }
            }
        };
        let (read, steps, found) = round().await;
        assert_eq!((read, found.as_slice()), (700, &[][..]));
        assert!(steps >= 8, "{steps} steps of at most 100 events");
        log.db.tamper("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 500").await;
        let (_, _, found) = round().await;
        assert!(found.len() == 1 && found[0].starts_with("envelope_differs: leaf 499 (log_seq 500, "), "{found:?}");
        log.db.tamper("UPDATE dg_event_log SET actor_id = 'bot' WHERE log_seq = 500").await;
        let (_, _, found) = round().await;
        assert_eq!(found, Vec::<String>::new());
        assert!(scrub.rounds(&tenant()).is_some_and(|rounds| rounds.ended.is_some()));
    }
}

/// The memory of a check is that of two pages, whatever the length of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_checked_in_a_small_budget() {
    let events = log(2_858, 0);
    let log = Log::of(Db::sqlite().await).await.sealed(&[&events]).await;
    let config = EngineConfig { memory_max: 192 << 20, batch_events_max: 200, ..EngineConfig::default() };
    let small = Engine::new(Arc::clone(&log.store), crate::owner("reader"), config);
    let small = small.with_sealing(Some(crate::sealing(log.journal.path())));
    let control = Control::default();
    let (_, report) =
        check(&small, &tenant(), &VerifyOptions::default(), &mut Watch::new(&control, None)).await.expect("checked");
    let LogReport::Checked(facts) = report else { panic!("checked") };
    assert_eq!((facts.events, facts.findings_total), (20_006, 0), "{:?}", facts.findings);
}
