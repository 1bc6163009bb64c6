//! Promises of skips and of replayed failures, on both backends. A skipped event has no effect for any batches, in
//! catch-up, rebuild and verify alike. Other projections are not touched. A replay of the failing batch leaves no
//! trace.

mod support;

use decisiongraph_engine::replay_failure::replay_failure;
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_store::{Failure, ListFilter, RunMode, RunState, Scope, Store};
use std::sync::Arc;
use support::*;

const SPOIL: &str = "UPDATE dg_event_log SET payload_hash = 'sha256:00' WHERE event_id = 'ev:3:2'";

async fn open_failures(store: &Arc<dyn Store>) -> Vec<Failure> {
    let filter = ListFilter { open_only: true, limit: 10, ..ListFilter::default() };
    let mut failures = store.view().await.expect("view").failures(&filter).await.expect("failures").items;
    failures.sort_by_key(|failure| failure.failure_id);
    failures
}

async fn deviating(store: &Arc<dyn Store>) -> Vec<bool> {
    let rows = store.view().await.expect("view").scopes(None).await.expect("scopes");
    rows.into_iter().map(|row| row.deviating).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_events_have_no_effect_whatever_the_batches() {
    let mut seen = Vec::new();
    for batch in [1, 4, 1000] {
        for db in Db::both().await {
            let store = db.store().await;
            let last = append(&store, &log(8, 0)).await;
            assert_eq!(db.tamper(SPOIL).await, 1);
            let engine = engine(&store, batch);
            assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Failed);
            let failures = open_failures(&store).await;
            assert_eq!(failures.len(), 3, "the check is every projection's");
            for failure in &failures {
                let row = scope(&store, catalogue::find(&failure.projection).expect("known")).await;
                assert_eq!(failure.batch_from, row.position.cursor, "the batch begins where the scope stands");
                assert_eq!(failure.digest_before, row.position.digest.to_text());
                assert!(failure.batch_from < failure.log_seq && failure.log_seq <= failure.batch_to, "{failure:?}");
                store.skip_event(failure.failure_id, "known", "ann").await.expect("skipped");
            }
            assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
            assert_eq!(open_failures(&store).await, []);
            assert_eq!(deviating(&store).await, [true; 3]);
            let caught_up = positions(&store).await;
            assert!(caught_up.iter().all(|(cursor, _)| *cursor == last));
            assert!(!run(&engine, RunMode::Verify).await.drifted(), "{}: a verify skips the same", db.name());
            assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Completed);
            assert_eq!(positions(&store).await, caught_up, "{}: a rebuild skips the same", db.name());
            assert_eq!(deviating(&store).await, [true; 3]);
            seen.push(caught_up.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "every batch size and backend gives the same digests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_is_of_one_projection_and_lanes_with_other_skips_are_not_touched() {
    for db in Db::both().await {
        let store = db.store().await;
        let last = append(&store, &log(8, 0)).await;
        db.tamper(SPOIL).await;
        let engine = engine(&store, 1000);
        run(&engine, RunMode::CatchUp).await;
        let failures = open_failures(&store).await;
        let summary = failures.iter().find(|failure| failure.projection == "trace_summary").expect("a failure");
        store.skip_event(summary.failure_id, "known", "ann").await.expect("skipped");
        // All three projections are at the same position and are offered the same page.
        assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Failed);
        let cursors: Vec<LogSeq> = positions(&store).await.into_iter().map(|(cursor, _)| cursor).collect();
        assert_eq!(cursors, [failures[0].batch_from, last, failures[0].batch_from]);
        assert_eq!(deviating(&store).await, [false, true, false]);
        let open = open_failures(&store).await;
        assert_eq!(open.iter().map(|failure| failure.attempts).collect::<Vec<_>>(), [2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_after_the_skip_was_revoked_ends_the_deviation() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(8, 0)).await;
        run(&engine(&store, 1000), RunMode::CatchUp).await;
        // A tail that cannot be projected, skipped.
        append(&store, &log(2, 8)).await;
        let hash = "SELECT payload_hash FROM dg_event_log WHERE event_id = 'ev:1:2'";
        let spoil = "UPDATE dg_event_log SET payload_hash = 'sha256:00' WHERE event_id = 'ev:9:2'";
        assert_eq!(db.tamper(spoil).await, 1);
        let engine = engine(&store, 3);
        run(&engine, RunMode::CatchUp).await;
        for failure in open_failures(&store).await {
            store.skip_event(failure.failure_id, "known", "ann").await.expect("skipped");
        }
        assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
        assert_eq!(deviating(&store).await, [true; 3]);
        let skipped = scope(&store, catalogue::PRECEDENT_INDEX).await;
        let view = store.view().await.expect("view");
        for projection in catalogue::ALL {
            let scope = Scope::new(&tenant(), projection);
            let skip = view.skips(&scope).await.expect("skips")[0].clone();
            store.revoke_skip(&scope, skip.log_seq).await.expect("revoked");
        }
        // The cause remains: a rebuild stops there and leaves everything as it is.
        assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Failed);
        assert_eq!(deviating(&store).await, [true; 3]);
        assert_eq!(scope(&store, catalogue::PRECEDENT_INDEX).await.position, skipped.position);
        // Policies 1 and 9 are the same (t % 4), and so are the payloads and their hashes.
        let repair = format!("UPDATE dg_event_log SET payload_hash = ({hash}) WHERE event_id = 'ev:9:2'");
        assert_eq!(db.tamper(&repair).await, 1);
        assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Completed);
        assert_eq!(deviating(&store).await, [false; 3]);
        assert_ne!(scope(&store, catalogue::PRECEDENT_INDEX).await.position.digest, skipped.position.digest);
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        assert_eq!(open_failures(&store).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_met_again_without_a_trace() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(8, 0)).await;
        assert_eq!(db.tamper(SPOIL).await, 1);
        let engine = engine(&store, 5);
        run(&engine, RunMode::CatchUp).await;
        let failures = open_failures(&store).await;
        for failure in &failures {
            let replay = replay_failure(&*store, failure.failure_id).await.expect("replayed");
            assert_eq!((replay.reproduced, replay.digest_before_matches), (true, true), "{replay:?}");
            assert_eq!((replay.source.as_str(), replay.log_seq), ("live rows", Some(failure.log_seq)));
            assert_eq!(replay.category, Some(Category::Conflict));
        }
        assert_eq!(open_failures(&store).await, failures, "{}: nothing was recorded", db.name());
        // After the event was passed, the state before it comes from the log.
        for failure in &failures {
            store.skip_event(failure.failure_id, "known", "ann").await.expect("skipped");
        }
        run(&engine, RunMode::CatchUp).await;
        for failure in &failures {
            let replay = replay_failure(&*store, failure.failure_id).await.expect("replayed");
            assert_eq!((replay.reproduced, replay.digest_before_matches), (true, true), "{replay:?}");
            assert_eq!((replay.source.as_str(), replay.log_seq), ("log from the origin", Some(failure.log_seq)));
        }
        // The cause is gone.
        let repair = "UPDATE dg_event_log SET payload_hash = (SELECT payload_hash FROM dg_event_log WHERE event_id = 'ev:7:2') WHERE event_id = 'ev:3:2'";
        assert_eq!(db.tamper(repair).await, 1);
        let replay = replay_failure(&*store, failures[0].failure_id).await.expect("replayed");
        assert_eq!(
            (replay.reproduced, replay.log_seq, replay.digest_before_matches),
            (false, None, true),
            "{replay:?}"
        );
        assert_eq!(replay_failure(&*store, 99_999).await.expect_err("no such").category, Category::NotFound);
    }
}
