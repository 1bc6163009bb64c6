//! Several nodes share one PostgreSQL. Tenants are divided among the living nodes, and change hands when nodes join,
//! leave, die or are cordoned. Every event is applied exactly once in each case.

mod node_support;
mod support;

use decisiongraph_projections::catalogue;
use decisiongraph_runtime::node::{Node, NodeBounds};
use decisiongraph_store::Store;
use node_support::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Db;

const SOON: Duration = Duration::from_secs(30);
const TENANTS: usize = 12;
/// Lease of these tests' nodes.
const LEASE: Duration = Duration::from_secs(2);

/// Starts a node with its own store, and so its own sessions.
async fn member(db: &Db, name: &str) -> Node {
    let bounds = NodeBounds { passivate_after: Duration::from_millis(300), ..bounds() };
    start(&db.store().await, name, 20, bounds).await
}

/// Returns the owner of each tenant; none while its scopes have no live owner or several.
async fn owners(store: &Arc<dyn Store>) -> BTreeMap<usize, Option<String>> {
    let view = store.view().await.expect("a view");
    let mut owners = BTreeMap::new();
    for index in 0..TENANTS {
        let rows = view.scopes(Some(&named(index))).await.expect("scopes");
        let live: Vec<Option<String>> = rows.iter().map(|row| row.owner.clone().filter(|_| row.owner_live)).collect();
        let first = live.first().cloned().flatten();
        let agreed = live.len() == catalogue::ALL.len() && live.iter().all(|owner| *owner == first);
        owners.insert(index, first.filter(|_| agreed));
    }
    owners
}

/// Returns the tenants that the node has by its own view.
fn placed(node: &Node) -> Vec<usize> {
    let parts = node.parts();
    (0..TENANTS)
        .filter(|index| {
            parts.board.placement.whose(&parts.owner.node, &named(*index)) == decisiongraph_runtime::board::Whose::Ours
        })
        .collect()
}

/// True when each of two nodes knows of the other.
fn both(a: &Node, b: &Node) -> bool {
    placed(a).len() < TENANTS && placed(a).len() + placed(b).len() == TENANTS
}

/// True when every tenant with work to do is owned by exactly the node that it is placed on.
async fn divided(store: &Arc<dyn Store>, nodes: &[&Node]) -> bool {
    let mut expected = BTreeMap::new();
    for node in nodes {
        for index in placed(node) {
            if expected.insert(index, Some(node.parts().owner.node.clone())).is_some() {
                return false;
            }
        }
    }
    expected.len() == TENANTS && owners(store).await == expected
}

/// Appends something new to each tenant, so that its owner appears.
async fn nudge(store: &Arc<dyn Store>, round: usize) {
    for index in 0..TENANTS {
        insist(store, &named(index), &support::log(1, round)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_divided_and_change_hands() {
    let db = Db::postgres().await;
    let store = db.store().await;
    nudge(&store, 0).await;
    let a = member(&db, "a").await;
    settled(&a, TENANTS, SOON).await;
    assert_eq!(placed(&a).len(), TENANTS, "alone it has them all");

    // A node joins: tenants move to it, also idle ones, and no tenant moves elsewhere.
    let b = member(&db, "b").await;
    until("both are members", SOON, async || placed(&a).len() < TENANTS).await;
    nudge(&store, 1).await;
    until("divided by two", SOON, async || divided(&store, &[&a, &b]).await).await;
    assert!(!placed(&b).is_empty());
    let before = owners(&store).await;
    let c = member(&db, "c").await;
    until("three are members", SOON, async || placed(&a).len() + placed(&b).len() < TENANTS).await;
    nudge(&store, 2).await;
    until("divided by three", SOON, async || divided(&store, &[&a, &b, &c]).await).await;
    let bound = (TENANTS * 5).div_ceil(3 * 4);
    assert!(placed(&a).len() <= bound && placed(&b).len() <= bound && placed(&c).len() <= bound);
    let moved = owners(&store).await.iter().filter(|(tenant, owner)| before[*tenant] != **owner).count();
    assert!(moved <= bound + 2, "{moved} tenants moved");

    // A node leaves in order: its tenants are taken over long before a lease would be over.
    let stopped = Instant::now();
    b.stop().await;
    nudge(&store, 3).await;
    until("its tenants are taken over", LEASE / 2, async || divided(&store, &[&a, &c]).await).await;
    assert!(stopped.elapsed() < LEASE, "{:?}", stopped.elapsed());

    // A node dies: its tenants are taken over when its lease is over.
    c.kill().await;
    nudge(&store, 4).await;
    until("the dead node's tenants are taken over", LEASE * 2, async || divided(&store, &[&a]).await).await;
    settled(&a, TENANTS, SOON).await;
    a.stop().await;
    reckon(&store, TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_change_hands_under_load_and_no_event_is_lost_or_applied_twice() {
    let db = Db::postgres().await;
    let store = db.store().await;
    let appenders = Appenders::start(&store, TENANTS, Duration::from_millis(if soak() { 100 } else { 30 }));
    let a = member(&db, "a").await;
    for round in rounds(4, 80) {
        let b = member(&db, "b").await;
        until("it has tenants", SOON, async || !placed(&b).is_empty() && placed(&a).len() < TENANTS).await;
        until("it works", SOON, async || owners(&store).await.values().any(|owner| owner.as_deref() == Some("b")))
            .await;
        if round % 2 == 0 {
            b.stop().await;
        } else {
            b.kill().await;
        }
        until("the rest is taken over", SOON, async || placed(&a).len() == TENANTS).await;
    }
    appenders.stop().await;
    // Much may be left to apply on a busy machine, where each change of owner costs a tenant seconds.
    settled(&a, TENANTS, applied_within()).await;
    for entry in a.parts().table.snapshot("node", None, 10_000) {
        assert_eq!(entry.restarts_total, 0, "{} was restarted: {:?}", entry.path, entry.last_exit);
    }
    a.stop().await;
    reckon(&store, TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_gets_nothing_new_and_a_draining_one_gives_all_away() {
    let db = Db::postgres().await;
    let store = db.store().await;
    for index in 0..TENANTS / 2 {
        insist(&store, &named(index), &support::log(1, 0)).await;
    }
    let a = member(&db, "a").await;
    settled(&a, TENANTS / 2, SOON).await;
    store.cordon("a", false, "disk", "test").await.expect("cordoned");
    let b = member(&db, "b").await;
    until("both know", SOON, async || placed(&a).len() == TENANTS / 2).await;
    nudge(&store, 1).await;
    settled(&a, TENANTS, SOON).await;
    until("each has its half", SOON, async || divided(&store, &[&a, &b]).await).await;
    assert_eq!(placed(&a), (0..TENANTS / 2).collect::<Vec<_>>(), "it keeps what it had");

    store.cordon("a", true, "it goes", "test").await.expect("drains");
    until("it has given all away", SOON, async || a.parts().tenants.held().is_empty()).await;
    assert!(placed(&a).is_empty());
    nudge(&store, 2).await;
    until("the other has them all", SOON, async || divided(&store, &[&b]).await).await;

    // No node takes tenants: nothing moves until an operator decides otherwise.
    store.cordon("b", true, "both", "test").await.expect("drains");
    until("nobody has any", SOON, async || b.parts().tenants.held().is_empty()).await;
    nudge(&store, 3).await;
    assert!(a.parts().board.placement.takes_nobody() && b.parts().board.placement.takes_nobody());
    store.uncordon("a").await.expect("uncordoned");
    until("the first has them all", SOON, async || divided(&store, &[&a]).await).await;
    settled(&a, TENANTS, SOON).await;
    a.stop().await;
    b.stop().await;
    reckon(&store, TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_under_its_old_members_works_on_what_it_missed() {
    let db = Db::postgres().await;
    let store = db.store().await;
    nudge(&store, 0).await;
    // No sweep tells the nodes anything within this test.
    let slow = |name: &'static str| {
        let bounds =
            NodeBounds { passivate_after: Duration::from_millis(300), sweep: Duration::from_secs(3_600), ..bounds() };
        let db = &db;
        async move { start(&db.store().await, name, 20, bounds).await }
    };
    let (a, b) = (slow("a").await, slow("b").await);
    until("both are members", SOON, async || both(&a, &b)).await;
    // Tenants that the first node finished before the second came are unowned. An owner appears when there is something
    // to do.
    nudge(&store, 1).await;
    until("divided by two", SOON, async || divided(&store, &[&a, &b]).await).await;
    // The other node sees it as dead. The node itself notices only that its lease is gone. If it checks now and becomes
    // a member again before the other node has checked, it dies once more.
    let mut looks = a.parts().board.members.subscribe();
    until("the other has them all", SOON, async || {
        db.tamper("UPDATE dg_node SET expires_at = clock_timestamp() - interval '1 hour' WHERE node = 'b'").await;
        looks.mark_unchanged();
        a.parts().signals.members.send();
        looks.changed().await.expect("it looks");
        placed(&a).len() == TENANTS
    })
    .await;
    b.parts().board.validity.end();
    nudge(&store, 2).await;
    until("the other has seen it again", SOON, async || both(&a, &b)).await;
    // Appends new events, by any owner in the meantime.
    nudge(&store, 3).await;
    until("both have their own again", SOON, async || divided(&store, &[&a, &b]).await).await;
    settled(&a, TENANTS, SOON).await;
    a.stop().await;
    b.stop().await;
    reckon(&store, TENANTS).await;
}
