//! The load of an idle cluster on its database, at a node's default settings.

mod node_support;
mod support;

use decisiongraph_runtime::node::{Identity, Node, NodeParts, NodeSettings};
use node_support::*;
use std::time::Duration;
use support::Db;

const SOON: Duration = Duration::from_secs(60);
const NODES: usize = 2;
const TENANTS: usize = 4;
/// Time after which an idle session of PostgreSQL has reported its statistics.
const REPORTED: Duration = Duration::from_secs(12);
/// The expected rate is 1.8 per second. One check of the log's end per second. Three renewals, three checks of the
/// members and two checks for orphaned jobs per 10 s. Transactions that sessions had not reported before may be counted
/// too.
const TRANSACTIONS_MAX: f64 = 3.0;

async fn committed(db: &Db) -> i64 {
    let Db::Postgres(database) = db else { unreachable!("a cluster is on PostgreSQL") };
    // Asked from another database, so that the question is not counted.
    let (address, name) = database.url().rsplit_once('/').expect("a path");
    let (client, connection) =
        tokio_postgres::connect(&format!("{address}/postgres"), tokio_postgres::NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
    let committed = client.query_one(sql, &[&name]).await.expect("the statistics").get(0);
    connection.abort();
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_nodes_cost_two_transactions_a_second_each() {
    let db = Db::postgres().await;
    let store = db.store().await;
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        let identity = Identity { owner: support::owner(name), former: None };
        let parts = NodeParts::new(NodeSettings::new(db.store().await, identity));
        nodes.push(Node::start(parts).await.expect("the node starts"));
    }
    until("both are members", SOON, async || {
        nodes
            .iter()
            .all(|node| node.parts().board.members.borrow().iter().filter(|member| member.is_live()).count() == NODES)
    })
    .await;
    for index in 0..TENANTS {
        insist(&store, &named(index), &support::log(1, 0)).await;
    }
    settled(&nodes[0], TENANTS, SOON).await;
    tokio::time::sleep(REPORTED).await;
    let (before, seconds) = (committed(&db).await, if soak() { 60 } else { 20 });
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let each = (committed(&db).await - before) as f64 / seconds as f64 / NODES as f64;
    println!("{each:.2} transactions a second each");
    assert!(each <= TRANSACTIONS_MAX, "{each:.2} transactions a second each");
    assert!(each > 0.5, "{each:.2}: the nodes do nothing at all");
    for node in nodes {
        node.stop().await;
    }
    reckon(&store, TENANTS).await;
}
