//! NOTIFY after appends.

use crate::fold::{append_all, owner};
use crate::log::{started, tenant};
use crate::raw::Fresh;
use decisiongraph_store::{MemberFacts, Wakes};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_comes_after_an_append_of_another_process() {
    let fresh = Fresh::new().await;
    let mut wakes = fresh.store.wakes().await.expect("listens");
    let other = fresh.again().await;
    for trace in ["a", "b", "c"] {
        append_all(&other, &tenant(), &[started(trace)]).await;
        tokio::time::timeout(SOON, wakes.log.recv()).await.expect("in time").expect("a wake");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_membership_is_heard_by_other_processes_and_a_renewal_is_not() {
    let fresh = Fresh::new().await;
    let mut wakes = fresh.store.wakes().await.expect("listens");
    let other = fresh.again().await;
    let (node, facts) = (owner("n"), MemberFacts::default());
    let heard = async |wakes: &mut Wakes, what: &str| {
        tokio::time::timeout(SOON, wakes.members.recv()).await.expect(what).expect("a wake");
    };
    other.join(&node, SOON, &facts).await.expect("joins");
    heard(&mut wakes, "a node that joins").await;
    other.join(&node, SOON, &facts).await.expect("renews");
    // The wake of a later append on the same connection proves that the renewal sent none.
    append_all(&other, &tenant(), &[started("a")]).await;
    wakes.log.recv().await.expect("a wake");
    assert!(wakes.members.try_recv().is_err(), "a renewal is no news");
    other.cordon("n", true, "test", "test").await.expect("cordons");
    heard(&mut wakes, "a cordon").await;
    other.uncordon("n").await.expect("uncordons");
    heard(&mut wakes, "its end").await;
    other.leave(&node).await.expect("leaves");
    heard(&mut wakes, "a node that leaves").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_ends_with_its_connection() {
    let fresh = Fresh::new().await;
    let mut wakes = fresh.store.wakes().await.expect("listens");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()";
    fresh.client().await.batch_execute(end).await.expect("ends it");
    let ended = tokio::time::timeout(SOON, wakes.log.recv()).await.expect("in time");
    assert_eq!(ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_receiver_ends_the_connection() {
    let fresh = Fresh::new().await;
    drop(fresh.store.wakes().await.expect("listens"));
    let client = fresh.client().await;
    crate::raw::until("the listener is gone", || async {
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()";
        client.query_one(count, &[]).await.expect("a count").get::<_, i64>(0) == 0
    })
    .await;
}
