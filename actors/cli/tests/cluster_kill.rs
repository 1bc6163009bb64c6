//! Any node may be killed at any time: the others take over within its lease, nothing is lost and nothing applied twice. A node that is
//! told to end hands over in a moment.

mod fleet_support;
mod node_support;
mod support;

use fleet_support::*;
use node_support::{Dice, rounds};
use std::time::Duration;

const TENANTS: usize = 6;
/// Between the end of a lease and the first commit of the next owner, half of the time, for nodes that get a CPU whenever they want one. They
/// need tens of milliseconds.
const TAKEOVER_P50_MAX: Duration = Duration::from_millis(500);
/// Between SIGTERM and the first commit of the next owner, half of the time, for such nodes. They need a fraction of it.
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
        // It comes back before anybody has noticed, or after the others have its tenants; in its own directory or as on a new machine.
        let at_once = round % 4 == 3;
        if at_once {
            cluster.restart(victim, false).await;
            quick += 1;
        }
        let times = cluster.observer.taken_over(&life, &tenants, since, PATIENCE).await;
        let times = times.unwrap_or_else(|error| panic!("{name}: {error}\n{}", cluster.logs()));
        assert!(times.iter().all(|time| *time < LEASE + cluster.slack()), "{name}: {times:?}");
        if !at_once {
            // What the others needed from the moment at which they might. (A lease that had run out for a moment before, because its owner
            // was late, may have cost that one a scope already.)
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
        // Well before its lease would have been over: nobody waited for that.
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
