//! Any node may be killed at any time. The other nodes take over within its lease, nothing is lost and nothing is
//! applied twice. A node that is asked to end hands over at once.

mod fleet_support;
mod node_support;
mod support;

use fleet_support::*;
use node_support::{Dice, rounds};
use std::time::Duration;

const TENANTS: usize = 6;
/// Median time from a lease's end to the next owner's first commit, for nodes that always get a CPU. The nodes need
/// tens of milliseconds.
const TAKEOVER_P50_MAX: Duration = Duration::from_millis(500);
/// Median time from SIGTERM to the next owner's first commit, for the same nodes. They need a fraction of it.
const HAND_OVER_P50_MAX: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn killed_nodes_are_taken_over_within_their_lease() {
    let mut dice = Dice(seed());
    let mut cluster = Cluster::start(3).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let (mut takeovers, mut behind, mut quick) = (Vec::new(), Vec::new(), 0);
    for round in rounds(4, 120) {
        let victim = dice.below(cluster.nodes.len());
        let (name, life) = (cluster.nodes[victim].name().to_owned(), cluster.nodes[victim].former().expect("it lives"));
        let tenants = cluster.observer.tenants_of(&name).await;
        let since = cluster.observer.now().await;
        cluster.nodes[victim].kill();
        let lease_end = cluster.observer.lease_end(&life).await.expect("its row stays");
        // The node restarts before any other node has noticed, or after the others have its tenants. It uses its own
        // directory, or a fresh one as on a new machine.
        let at_once = round % 4 == 3;
        if at_once {
            cluster.restart(victim, false).await;
            quick += 1;
        }
        let times = cluster.observer.taken_over(&life, &tenants, since, PATIENCE).await;
        let times = times.unwrap_or_else(|error| panic!("{name}: {error}\n{}", cluster.logs()));
        assert!(times.iter().all(|time| *time < LEASE + cluster.slack()), "{name}: {times:?}");
        if !at_once {
            // Time that the other nodes needed once they were allowed to take over. (A lease that ran out before,
            // because its owner was late, may have cost the owner a scope already.)
            let left = Duration::from_secs_f64((lease_end - since).max(0.0));
            behind.extend(times.iter().filter_map(|time| time.checked_sub(left)));
            takeovers.extend(times);
            cluster.restart(victim, dice.below(2) == 0).await;
        }
        cluster.placed(TENANTS).await;
        tokio::time::sleep(Duration::from_millis(dice.next() % 300)).await;
    }
    let events = writers.stop().await;
    let late = takeovers.iter().filter(|time| **time > LEASE).count();
    println!("{events} events; {}, {late} above the lease", told("takeover after SIGKILL", &takeovers));
    println!("{}; {quick} nodes came back at once", told("counted from the end of the lease", &behind));
    behind.sort();
    let slowness = cluster.slowness();
    assert!(behind[behind.len() / 2] < TAKEOVER_P50_MAX.mul_f64(slowness), "{slowness:.1} times slower: {behind:?}");
    cluster.reckon(TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_end_hands_over_in_a_moment() {
    let mut cluster = Cluster::start(3).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let (mut firsts, mut all) = (Vec::new(), Vec::new());
    for round in rounds(3, 80) {
        let leaver = round % cluster.nodes.len();
        let (name, life) = (cluster.nodes[leaver].name().to_owned(), cluster.nodes[leaver].former().expect("it lives"));
        let tenants = cluster.observer.tenants_of(&name).await;
        let since = cluster.observer.now().await;
        cluster.nodes[leaver].signal("TERM");
        let times = cluster.observer.taken_over(&life, &tenants, since, PATIENCE).await;
        let times = times.unwrap_or_else(|error| panic!("{name}: {error}\n{}", cluster.logs()));
        // Well before its lease would have been over: no node waited for that.
        firsts.extend(times.iter().min().copied());
        all.extend(times);
        let code = cluster.nodes[leaver].ended(Duration::from_secs(15));
        assert_eq!(code, Some(0), "{}", cluster.logs());
        cluster.restart(leaver, false).await;
        cluster.placed(TENANTS).await;
    }
    let events = writers.stop().await;
    println!("{events} events; {}; {}", told("first commit after SIGTERM", &firsts), told("every scope", &all));
    all.sort();
    let slowness = cluster.slowness();
    assert!(all[all.len() / 2] < HAND_OVER_P50_MAX.mul_f64(slowness), "{slowness:.1} times slower: {all:?}");
    cluster.reckon(TENANTS).await;
}
