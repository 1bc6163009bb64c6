//! Barrier tests of the high-water mark: several writers, in every order that could lose an event.

use crate::fold::{WHOLE, append_all};
use crate::log::{started, tenant};
use crate::raw::{Fresh, connect, insert_event, pid};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{ReadView, Store, StoreOptions, postgres};
use std::sync::Arc;

const EVERYTHING: LogSeq = LogSeq(i64::MAX);

async fn positions(view: &dyn ReadView, after: LogSeq, upto: LogSeq) -> Vec<i64> {
    let page = view.page(&tenant(), after, upto, WHOLE).await.expect("a page");
    page.iter().map(|event| event.log_seq.0).collect()
}

/// Returns the mark, if it can be known now.
async fn mark(store: &Arc<dyn Store>) -> Option<LogSeq> {
    let sample = store.sample_high_water().await.expect("a sample");
    sample.writers.is_empty().then_some(sample.sequence)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_skipped_when_the_lower_position_commits_last() {
    let fresh = Fresh::new().await;
    let (store, slow) = (&fresh.store, fresh.client().await);
    assert_eq!(mark(store).await, Some(LogSeq::ORIGIN), "nothing was drawn");
    slow.batch_execute("BEGIN").await.expect("begins");
    let lower = insert_event(&slow, "slow").await;
    let higher = append_all(store, &tenant(), &[started("fast")]).await[0].0;
    assert!(lower < higher);

    let sample = store.sample_high_water().await.expect("a sample");
    assert_eq!(sample.sequence, LogSeq(higher));
    assert_eq!(sample.writers.len(), 1, "{:?}", sample.writers);
    assert_eq!(store.log_end().await.expect("the end").sequence, LogSeq(higher), "drawn, committed or not");
    let view = store.view().await.expect("a view");
    // A reader without a mark takes all that it sees …
    let mut unsafe_cursor = LogSeq::ORIGIN;
    let mut unsafe_seen = positions(&*view, unsafe_cursor, EVERYTHING).await;
    unsafe_cursor = LogSeq(*unsafe_seen.last().expect("the fast one"));

    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer").len(), 1);
    slow.batch_execute("COMMIT").await.expect("commits");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer"), vec![]);

    // … and never sees the other one: the mark prevents this fault.
    unsafe_seen.extend(positions(&*view, unsafe_cursor, EVERYTHING).await);
    assert_eq!(unsafe_seen, vec![higher]);
    // The safe reader waited for the writers of its sample, then read up to it.
    assert_eq!(positions(&*view, LogSeq::ORIGIN, sample.sequence).await, vec![lower, higher]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_appender_does_not_hold_the_mark() {
    let fresh = Fresh::new().await;
    let (store, slow) = (&fresh.store, fresh.client().await);
    slow.batch_execute("BEGIN").await.expect("begins");
    let gone = insert_event(&slow, "gone").await;
    let stays = append_all(store, &tenant(), &[started("stays")]).await[0];
    assert_eq!(mark(store).await, None);
    slow.batch_execute("ROLLBACK").await.expect("rolls back");
    assert_eq!(mark(store).await, Some(stays));
    let view = store.view().await.expect("a view");
    assert_eq!(positions(&*view, LogSeq::ORIGIN, stays).await, vec![stays.0]);
    assert!(gone < stays.0, "a gap that nobody waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_transaction_does_not_hold_the_mark() {
    let fresh = Fresh::new().await;
    let (store, other) = (&fresh.store, fresh.client().await);
    other
        .batch_execute("CREATE TABLE elsewhere (a int); BEGIN; INSERT INTO elsewhere VALUES (1)")
        .await
        .expect("writes");
    // A session that only reads the log holds nothing either.
    let reader = fresh.client().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM dg_event_log").await.expect("reads");
    let end = append_all(store, &tenant(), &[started("a")]).await[0];
    assert_eq!(mark(store).await, Some(end));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocker_is_named() {
    let fresh = Fresh::new().await;
    let slow = fresh.client().await;
    slow.batch_execute("BEGIN").await.expect("begins");
    insert_event(&slow, "slow").await;
    let writers = fresh.store.sample_high_water().await.expect("a sample").writers;
    let [writer] = writers.as_slice() else { panic!("one writer: {writers:?}") };
    assert_eq!(writer.pid, Some(pid(&slow).await));
    assert!(writer.age_seconds.is_some_and(|age| age >= 0.0));
    assert!(writer.query.as_deref().is_some_and(|query| query.contains("INSERT") || query.contains("pg_backend_pid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocker_is_told_with_its_program_and_role_and_without_what_it_wrote() {
    let fresh = Fresh::new().await;
    let slow = fresh.client().await;
    slow.batch_execute("SET application_name = 'loader'; BEGIN").await.expect("begins");
    insert_event(&slow, "slow").await;
    slow.batch_execute("SELECT 'SECRET', 4111, $$SECRET$$ -- SECRET").await.expect("reads");
    let writers = fresh.store.sample_high_water().await.expect("a sample").writers;
    let [writer] = writers.as_slice() else { panic!("one writer: {writers:?}") };
    assert_eq!(writer.query.as_deref(), Some("SELECT ?, ?, ?"));
    assert_eq!(writer.application.as_deref(), Some("loader"));
    let role: String = slow.query_one("SELECT current_user::text", &[]).await.expect("a role").get(0);
    assert_eq!(writer.role, Some(role));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_holds_the_mark_without_a_process() {
    let fresh = Fresh::new().await;
    let (store, slow) = (&fresh.store, fresh.client().await);
    slow.batch_execute("BEGIN").await.expect("begins");
    let lower = insert_event(&slow, "slow").await;
    slow.batch_execute("PREPARE TRANSACTION 'between'").await.expect("prepares");
    drop(slow);
    let sample = store.sample_high_water().await.expect("a sample");
    let [writer] = sample.writers.as_slice() else { panic!("one writer: {:?}", sample.writers) };
    assert_eq!(writer.pid, None);
    assert!(writer.age_seconds.is_some());
    assert!(writer.query.as_deref().is_some_and(|query| query.contains("between")), "{writer:?}");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer").len(), 1);
    fresh.client().await.batch_execute("COMMIT PREPARED 'between'").await.expect("commits");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer"), vec![]);
    assert_eq!(mark(store).await, Some(LogSeq(lower)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appender_that_prepares_and_survives_a_restart_still_holds_the_mark() {
    let server = Server::start().await.expect("a server of its own");
    let database = server.fresh_database().await.expect("a database");
    let (slow, end) = (connect(database.url()).await, "COMMIT PREPARED 'between'");
    slow.batch_execute("BEGIN").await.expect("begins");
    insert_event(&slow, "slow").await;
    let store = postgres::open(database.url(), StoreOptions::default()).await.expect("a store");
    // Sampled while it runs; then it prepares, and the restart gives it another id.
    let sample = store.sample_high_water().await.expect("a sample");
    assert_eq!(sample.writers.len(), 1);
    slow.batch_execute("PREPARE TRANSACTION 'between'").await.expect("prepares");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer").len(), 1);
    server.restart(StopMode::Immediate).await.expect("restarts");
    let store = postgres::open(database.url(), StoreOptions::default()).await.expect("a store");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer").len(), 1);
    connect(database.url()).await.batch_execute(end).await.expect("commits");
    assert_eq!(store.writers_still_open(&sample.writers).await.expect("an answer"), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_into_a_partition_holds_the_mark() {
    // Such an INSERT locks only the leaf. (The log is not partitioned today; the server treats partitions as
    // inheritance.)
    let fresh = Fresh::new().await;
    let other = fresh.client().await;
    other.batch_execute("CREATE TABLE leaf () INHERITS (dg_event_log)").await.expect("a leaf");
    other.batch_execute("BEGIN; DELETE FROM leaf").await.expect("locks it");
    assert_eq!(mark(&fresh.store).await, None);
    other.batch_execute("COMMIT").await.expect("commits");
    assert!(mark(&fresh.store).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_breaks_the_conditions_is_refused() {
    for (change, named) in [
        ("ALTER TABLE dg_event_log ALTER log_seq SET CACHE 20", "CACHE 1"),
        ("ALTER TABLE dg_event_log ALTER log_seq SET GENERATED BY DEFAULT", "GENERATED ALWAYS"),
    ] {
        let fresh = Fresh::new().await;
        fresh.client().await.batch_execute(change).await.expect("changes");
        let refused = fresh.store.sample_high_water().await.expect_err(change);
        assert_eq!(refused.category, Category::Unavailable);
        assert!(refused.message.contains(named), "{refused}");
        assert!(!refused.transient);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appenders_and_a_reader_behind_the_mark_lose_nothing() {
    const APPENDERS: usize = 4;
    const EACH: usize = 40;
    let fresh = Fresh::new().await;
    let mut appenders = tokio::task::JoinSet::new();
    for appender in 0..APPENDERS {
        let client = fresh.client().await;
        appenders.spawn(async move {
            let mut stored = Vec::new();
            for number in 0..EACH {
                client.batch_execute("BEGIN").await.expect("begins");
                let position = insert_event(&client, &format!("{appender}-{number}")).await;
                // A round trip between the draw and the commit, so that positions commit out of order.
                client.batch_execute("SELECT 1").await.expect("waits");
                let keep = number % 7 != 3;
                client.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await.expect("ends");
                stored.extend(keep.then_some(position));
            }
            stored
        });
    }
    let view = fresh.store.view().await.expect("a view");
    let (mut cursor, mut seen, mut stored) = (LogSeq::ORIGIN, Vec::new(), Vec::new());
    loop {
        let finished = appenders.is_empty();
        let mut sample = fresh.store.sample_high_water().await.expect("a sample");
        while !sample.writers.is_empty() {
            sample.writers = fresh.store.writers_still_open(&sample.writers).await.expect("an answer");
        }
        seen.extend(positions(&*view, cursor, sample.sequence).await);
        cursor = sample.sequence;
        if finished {
            break;
        }
        while let Some(done) = appenders.try_join_next() {
            stored.extend(done.expect("an appender"));
        }
    }
    stored.sort_unstable();
    assert_eq!(seen, stored);
}
