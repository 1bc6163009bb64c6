//! Nodes join and leave under load. Tenants move no more than they must, none is held up for long, and nothing is lost.
//! The same holds while the nodes are replaced one by one by nodes of another version.

mod fleet_support;
mod node_support;
mod support;

use decisiongraph_rpc::wire::PROTOCOL_VERSION;
use fleet_support::*;
use node_support::{Dice, rounds, until};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const TENANTS: usize = 8;

/// Returns each tenant's node, if one node has all of its scopes.
async fn homes(cluster: &Cluster) -> HashMap<String, String> {
    let mut homes = HashMap::new();
    for node in cluster.observer.live().await.unwrap_or_default() {
        for tenant in cluster.observer.tenants_of(&node).await {
            homes.insert(tenant.to_string(), node.clone());
        }
    }
    homes
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_and_leave_under_load() {
    let mut dice = Dice(seed());
    let mut cluster = Cluster::start(1).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let (mut joins, mut leaves, mut kills) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let before = homes(&cluster).await;
        let joined = cluster.add().await;
        joins.push(cluster.placed(TENANTS).await);
        // Every moved tenant went to the node that joined, except for tenants that its bound displaces.
        let name = cluster.nodes[joined].name().to_owned();
        let after = homes(&cluster).await;
        let elsewhere = after.iter().filter(|(t, node)| **node != name && before.get(*t) != Some(*node)).count();
        assert!(after.values().any(|node| *node == name), "it got nothing: {after:?}");
        assert!(elsewhere <= TENANTS / 4, "{elsewhere} moved between others: {before:?} {after:?}");
    }
    for round in rounds(4, 80) {
        // Picks a node that owns tenants.
        let homes = homes(&cluster).await;
        let owners: Vec<usize> =
            (0..cluster.nodes.len()).filter(|n| homes.values().any(|home| home == cluster.nodes[*n].name())).collect();
        let index = owners[dice.below(owners.len())];
        if round % 2 == 0 {
            cluster.nodes[index].signal("TERM");
            assert_eq!(cluster.nodes[index].ended(Duration::from_secs(20)), Some(0), "{}", cluster.logs());
            leaves.push(cluster.placed(TENANTS).await);
        } else {
            let live = cluster.observer.live().await.map_or(0, |live| live.len());
            let since = Instant::now();
            cluster.nodes[index].kill();
            // The database counts the node as alive until its lease is over.
            until("its lease is over", PATIENCE, async || {
                cluster.observer.live().await.is_some_and(|now| now.len() < live)
            })
            .await;
            cluster.placed(TENANTS).await;
            kills.push(since.elapsed());
        }
        cluster.restart(index, dice.below(2) == 0).await;
        joins.push(cluster.placed(TENANTS).await);
    }
    let events = writers.stop().await;
    println!("{events} events; {}; {}; {}", told("join", &joins), told("leave", &leaves), told("kill", &kills));
    cluster.reckon(TENANTS).await;
}

/// The older release is one version back. Until there is a release to test against, the same program stands in, held to
/// the older protocol.
#[tokio::test(flavor = "multi_thread")]
async fn two_versions_run_side_by_side_during_a_rolling_restart() {
    let older = format!("--protocol-version={}", PROTOCOL_VERSION - 1);
    let mut cluster = Cluster::start(0).await;
    for _ in 0..3 {
        cluster.add_with(|order| order.flags.push(older.clone())).await;
    }
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    assert_eq!(cluster.observer.of_protocol(PROTOCOL_VERSION).await, 0);
    // Forward, one node at a time; then the first node back again, as in an abandoned upgrade, and forward once more.
    for (step, (index, back)) in [(0, false), (1, false), (2, false), (0, true), (0, false)].into_iter().enumerate() {
        cluster.nodes[index].signal("TERM");
        assert_eq!(cluster.nodes[index].ended(Duration::from_secs(20)), Some(0), "{}", cluster.logs());
        let flags = &mut cluster.nodes[index].order().flags;
        flags.retain(|flag| *flag != older);
        flags.extend(back.then(|| older.clone()));
        cluster.restart(index, false).await;
        cluster.placed(TENANTS).await;
        assert_eq!(cluster.observer.of_protocol(PROTOCOL_VERSION).await, [1, 2, 3, 2, 3][step], "at step {step}");
    }
    println!("{} events", writers.stop().await);
    cluster.reckon(TENANTS).await;
}
