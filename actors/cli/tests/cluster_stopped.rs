//! A node that hangs past its lease, in the middle of a batch, holds up nothing and overwrites nothing. The next owner
//! goes on, and the late writer is fenced, says so, and becomes a member again. The process stops itself at a named
//! point (SIGSTOP) and is continued (SIGCONT).

mod fleet_support;
mod node_support;
mod support;

use fleet_support::*;
use node_support::{Appenders, Dice, named, rounds, soak, until};
use std::time::Duration;

const TENANTS: usize = 6;

/// Points at which a node stops. The batch is computed; or its rows are written; or its scope row is updated and locked
/// and COMMIT is not sent.
const POINTS: [&str; 3] = ["commit.begin", "commit.rows_written", "commit.before_commit"];

/// Lets `n2` come to `point`, stop there past its lease and go on. `held_max`: longest time for which its tenants may
/// be held up.
async fn stopped_and_continued(cluster: &mut Cluster, point: &str, visit: usize, held_max: Duration) -> Duration {
    let stopped = 2;
    cluster.nodes[stopped].signal("TERM");
    cluster.nodes[stopped].ended(Duration::from_secs(15));
    let order = cluster.nodes[stopped].order();
    order.variables = vec![("DECISIONGRAPH_STOP_AT".to_owned(), format!("{point}:{visit}"))];
    cluster.nodes[stopped].restart_as_ordered();
    cluster.joined(stopped).await;
    let (name, life) = (cluster.nodes[stopped].name().to_owned(), cluster.nodes[stopped].former().expect("it lives"));
    until("it comes to the point", PATIENCE, async || cluster.nodes[stopped].is_stopped()).await;
    let since = cluster.observer.now().await;
    let tenants = cluster.observer.tenants_of(&name).await;
    assert!(!tenants.is_empty(), "{name} owns nothing:\n{}", cluster.observer.picture().await);
    // Tenants of other nodes continue normally, long before any takeover.
    let others: Vec<_> = (0..TENANTS).map(named).filter(|tenant| !tenants.contains(tenant)).collect();
    if let Err(error) = cluster.observer.taken_over(&life, &others, since, cluster.slack()).await {
        panic!("tenants of others were held up: {error}");
    }
    // Its own tenants are taken over while it is still stopped there.
    let times = cluster.observer.taken_over(&life, &tenants, since, held_max + cluster.slack()).await;
    let times = times.unwrap_or_else(|error| panic!("held up by {name} at {point}: {error}\n{}", cluster.logs()));
    assert!(cluster.nodes[stopped].is_stopped());
    let mark = cluster.nodes[stopped].log().len();
    cluster.nodes[stopped].signal("CONT");
    until("it says that it was fenced", PATIENCE, async || {
        let log = cluster.nodes[stopped].log();
        log[mark..].contains("the scope was taken over; this worker stops")
    })
    .await;
    // The node gets its tenants back and works.
    until("the same life is a member again", PATIENCE, async || {
        cluster.observer.incarnation(&name).await.as_deref() == Some(&*life)
    })
    .await;
    let back = cluster.observer.now().await;
    cluster.placed(TENANTS).await;
    assert!(!cluster.observer.tenants_of(&name).await.is_empty());
    until("it works again", PATIENCE, async || cluster.observer.last_commit(&life).await.is_some_and(|at| at > back))
        .await;
    times.into_iter().max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_in_a_batch_is_fenced_and_holds_nobody_up() {
    let mut dice = Dice(seed());
    let mut cluster = Cluster::start(3).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let mut held = Vec::new();
    for round in rounds(POINTS.len(), POINTS.len() * 20) {
        let point = POINTS[round % POINTS.len()];
        // Late enough that the node has all scopes of a tenant, also on a busy machine.
        let visit = 40 + dice.below(12);
        held.push(stopped_and_continued(&mut cluster, point, visit, LEASE).await);
    }
    println!("{} events; {}", writers.stop().await, told("last scope of a stopped node taken over", &held));
    cluster.reckon(TENANTS).await;
}

/// The next owner may not end the session of the hanging node: nodes have different roles, and none may end another's
/// session. Then the epoch alone stops the late batch. The session's own time-outs bound the time for which its locks
/// block.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_nobody_may_end_is_fenced_by_its_epoch() {
    let mut cluster = Cluster::start(0).await;
    for _ in 0..3 {
        let role = cluster.role_of_its_own().await;
        cluster
            .add_with(|order| {
                order.url = order.url.replacen("//postgres@", &format!("//{role}@"), 1);
                // One batch at a time: where the node stops, no other batch is under way. One event per batch: most
                // write no rows, and only the fence stops them.
                order.flags.extend(["--writers=1".to_owned(), "--batch-events-max=1".to_owned()]);
            })
            .await;
    }
    let writers = Appenders::start(&cluster.store, TENANTS, Duration::from_millis(1_500));
    cluster.placed(TENANTS).await;
    // No transaction is open on the server, so no session waits.
    let mut held = Vec::new();
    for round in rounds(2, 30) {
        held.push(stopped_and_continued(&mut cluster, "commit.begin", 60 + round % 12, LEASE).await);
    }
    println!("{}", told("last scope of a stopped node taken over", &held));
    if soak() {
        // The scope row is locked until the server ends the transaction (10 s).
        let held = stopped_and_continued(&mut cluster, "commit.before_commit", 5, Duration::from_secs(12)).await;
        println!("taken over after {held:?}, behind a lock");
    }
    writers.stop().await;
    cluster.reckon(TENANTS).await;
}
