//! NOTIFY after appends.

use crate::fold::append_all;
use crate::log::{started, tenant};
use crate::raw::Fresh;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_comes_after_an_append_of_another_process() {
    let fresh = Fresh::new().await;
    let mut wakes = fresh.store.wakes().await.expect("listens");
    let other = fresh.again().await;
    for trace in ["a", "b", "c"] {
        append_all(&other, &tenant(), &[started(trace)]).await;
        tokio::time::timeout(SOON, wakes.recv()).await.expect("in time").expect("a wake");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_ends_with_its_connection() {
    let fresh = Fresh::new().await;
    let mut wakes = fresh.store.wakes().await.expect("listens");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN dg_event_log'";
    fresh.client().await.batch_execute(end).await.expect("ends it");
    let ended = tokio::time::timeout(SOON, wakes.recv()).await.expect("in time");
    assert_eq!(ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_receiver_ends_the_connection() {
    let fresh = Fresh::new().await;
    drop(fresh.store.wakes().await.expect("listens"));
    let client = fresh.client().await;
    crate::raw::until("the listener is gone", || async {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN dg_event_log'";
        client.query_one(count, &[]).await.expect("a count").get::<_, i64>(0) == 0
    })
    .await;
}
