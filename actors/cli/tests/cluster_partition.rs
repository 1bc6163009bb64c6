//! A node that is cut off from its database holds up no other node. The cut is in both directions or in one, once or
//! repeatedly. The node stops when its lease validity ends, and the others take over. It comes back by itself when the
//! way is open again.

mod cli_support;
mod cluster_support;
mod fleet_support;
mod node_support;
mod support;

use cluster_support::{Authority, NAME, SECRET, free_addresses, listening, private};
use fleet_support::proxy::{Line, OPEN, Proxy, Way, both};
use fleet_support::*;
use node_support::{Dice, rounds, soak, until};
use std::time::Duration;

const TENANTS: usize = 6;

const LOST_THERE: Line = Line { there: Way::Swallow, back: Way::Pass, refuse: false };
const LOST_BACK: Line = Line { there: Way::Pass, back: Way::Swallow, refuse: false };
const REFUSED: Line = Line { there: Way::Pass, back: Way::Pass, refuse: true };

/// Faults of the way to the database.
const PARTITIONS: [(&str, Line); 5] = [
    ("packets held up", both(Way::Hold)),
    ("connections forgotten", both(Way::Swallow)),
    ("requests lost", LOST_THERE),
    ("answers lost", LOST_BACK),
    ("connections ended and refused", REFUSED),
];

/// Cuts a node off until the others have its tenants, and lets it come back. Returns the time until the last scope was
/// taken over.
async fn cut_off(cluster: &mut Cluster, index: usize, how: (&str, Line)) -> Duration {
    let (what, line) = how;
    let (name, life) = (cluster.nodes[index].name().to_owned(), cluster.nodes[index].former().expect("it lives"));
    let tenants = cluster.observer.tenants_of(&name).await;
    assert!(!tenants.is_empty(), "{name} owns nothing");
    let since = cluster.observer.now().await;
    cluster.nodes[index].proxy.set(line);
    if line.refuse {
        cluster.nodes[index].proxy.cut();
    }
    let times = cluster.observer.taken_over(&life, &tenants, since, PATIENCE).await;
    let times = times.unwrap_or_else(|error| panic!("{what}: {name}: {error}\n{}", cluster.logs()));
    assert!(times.iter().all(|time| *time < LEASE + cluster.slack()), "{what}: {name}: {times:?}");
    // The node knows that it is cut off, and says so when asked.
    until("it knows that it is cut off", PATIENCE, async || {
        let health = cluster.nodes[index].ask(&["health", "--json"]);
        health.contains("does not hold its lease") || health.contains("away for")
    })
    .await;
    assert!(cluster.nodes[index].is_running());
    cluster.nodes[index].proxy.set(OPEN);
    until(&format!("{name} is a member again after: {what}"), PATIENCE, async || {
        cluster.observer.incarnation(&name).await.as_deref() == Some(&*life)
    })
    .await;
    let back = cluster.observer.now().await;
    cluster.placed(TENANTS).await;
    until(&format!("{name} works again after: {what}"), PATIENCE, async || {
        cluster.observer.last_commit(&life).await.is_some_and(|at| at > back)
    })
    .await;
    times.into_iter().max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cut_off_from_the_database_is_taken_over_and_comes_back() {
    let mut dice = Dice(seed());
    let mut cluster = Cluster::start(3).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let mut times = Vec::new();
    for round in rounds(PARTITIONS.len(), PARTITIONS.len() * 12) {
        let index = dice.below(cluster.nodes.len());
        times.push(cut_off(&mut cluster, index, PARTITIONS[round % PARTITIONS.len()]).await);
    }
    println!("{} events; {}", writers.stop().await, told("last scope of a cut-off node taken over", &times));
    cluster.reckon(TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_comes_and_goes_loses_nothing() {
    let mut dice = Dice(seed());
    let mut cluster = Cluster::start(3).await;
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let slow = both(Way::Delay(Duration::from_millis(20)));
    let lines = [both(Way::Hold), both(Way::Swallow), LOST_THERE, LOST_BACK, REFUSED, slow, OPEN, OPEN];
    for _ in rounds(20, 2_000) {
        let proxy = &cluster.nodes[dice.below(3)].proxy;
        proxy.set(lines[dice.below(lines.len())]);
        if dice.below(3) == 0 {
            proxy.cut();
        }
        // Shorter and longer than a lease.
        tokio::time::sleep(Duration::from_millis(20 + dice.next() % 400)).await;
    }
    for node in &mut cluster.nodes {
        node.proxy.set(OPEN);
        assert!(node.is_running(), "{}", node.log());
    }
    until("all are members", PATIENCE, async || cluster.observer.live().await.is_some_and(|live| live.len() == 3))
        .await;
    cluster.placed(TENANTS).await;
    println!("{} events", writers.stop().await);
    cluster.reckon(TENANTS).await;
}

/// Some connections are forgotten, and the lease is renewed on another one. Only the node itself can know that it does
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn forgotten_connections_are_given_up_though_the_lease_is_renewed() {
    let mut cluster = Cluster::start(0).await;
    cluster.add_with(|order| order.flags.push("--statement-timeout-ms=1000".to_owned())).await;
    let writers = writers(&cluster.store, 2);
    cluster.placed(2).await;
    let life = cluster.nodes[0].former().expect("it lives");
    for _ in rounds(3, 60) {
        // From just after one renewal until before the next, and longer than the pause between checks of the log.
        let lease = cluster.observer.lease_end(&life).await;
        until("it is renewed", PATIENCE, async || cluster.observer.lease_end(&life).await != lease).await;
        cluster.nodes[0].proxy.set(both(Way::Swallow));
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.nodes[0].proxy.set(OPEN);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = cluster.observer.progress().await;
        until("it works on", PATIENCE, async || cluster.observer.progress().await > before).await;
    }
    writers.stop().await;
    cluster.reckon(2).await;
}

/// True when each node reports this state for its links to the others.
fn links_are(cluster: &Cluster, state: &str) -> bool {
    cluster.nodes.iter().all(|node| {
        let said: serde_json::Value = serde_json::from_str(&node.ask(&["cluster", "--json"])).unwrap_or_default();
        let links = said["links"].as_array().cloned().unwrap_or_default();
        links.len() == 2 && links.iter().all(|link| link["state"] == state)
    })
}

/// Messages between nodes only make things sooner; the owner of a tenant comes from the database. So nodes that cannot
/// reach each other work on, and no tenant changes hands.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_cut_off_from_each_other_work_on() {
    let authority = Authority::new();
    let secret = authority.path("secret");
    private(&secret, SECRET);
    let addresses = free_addresses(3);
    let (mut cluster, mut between) = (Cluster::start(0).await, Vec::new());
    for (index, address) in addresses.iter().enumerate() {
        let proxy = Proxy::to(address.parse().expect("an address")).await;
        let mut flags = listening(&authority.issue(&format!("n{index}"), NAME));
        flags[1].clone_from(address);
        flags.push(format!("--cluster-advertise=127.0.0.1:{}", proxy.port));
        flags.push(format!("--secret-file={}", secret.display()));
        between.push(proxy);
        cluster.add_with(|order| order.flags = flags).await;
    }
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    until("everybody is linked", PATIENCE, async || links_are(&cluster, "up")).await;
    let lines = [both(Way::Swallow), REFUSED, both(Way::Hold), LOST_BACK];
    for line in &lines[..if soak() { 4 } else { 2 }] {
        let owners = cluster.observer.owners().await;
        between.iter().for_each(|proxy| {
            proxy.set(*line);
            if line.refuse {
                proxy.cut();
            }
        });
        until("the loss of the links is noticed", PATIENCE, async || links_are(&cluster, "down")).await;
        let noticed = cluster.observer.now().await;
        for node in &cluster.nodes {
            let life = node.former().expect("it lives");
            until("each works on", PATIENCE, async || {
                cluster.observer.last_commit(&life).await.is_some_and(|at| at > noticed)
            })
            .await;
        }
        assert_eq!(cluster.observer.owners().await, owners, "tenants changed hands");
        between.iter().for_each(|proxy| proxy.set(OPEN));
        until("everybody is linked again", PATIENCE, async || links_are(&cluster, "up")).await;
    }
    // From both at once.
    between.iter().for_each(|proxy| proxy.set(both(Way::Swallow)));
    let time = cut_off(&mut cluster, 1, PARTITIONS[1]).await;
    println!("{} events; taken over after {time:?} without messages", writers.stop().await);
    cluster.reckon(TENANTS).await;
}

/// The node's row of the table of nodes is locked by another session, and all else works. Safety does not rest on the
/// lease. But a node that cannot renew its lease is no owner that other nodes could rely on. It stops by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_renew_its_lease_stops_when_its_window_ends() {
    let cluster = Cluster::start(1).await;
    let writers = writers(&cluster.store, 2);
    cluster.placed(2).await;
    let (mut client, connection) =
        tokio_postgres::connect(&cluster.url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let lock = client.transaction().await.expect("begins");
    let expiry = "SELECT extract(epoch FROM expires_at)::float8 FROM dg_node WHERE node = 'n0' FOR UPDATE";
    let expiry: f64 = lock.query_one(expiry, &[]).await.expect("locked").get(0);
    let life = cluster.nodes[0].former().expect("it lives");
    let over = expiry + LEASE.as_secs_f64();
    until("a lease has passed since its end", PATIENCE, async || cluster.observer.now().await > over).await;
    let last = cluster.observer.last_commit(&life).await.expect("it worked");
    // The window ends before the lease does on the database's clock. A batch that was begun in it may end a moment
    // later.
    assert!(last < expiry + 0.5, "it went on for {:.1} s after its lease:\n{}", last - expiry, cluster.nodes[0].log());
    lock.rollback().await.expect("unlocked");
    until("it works again", PATIENCE, async || cluster.observer.last_commit(&life).await.is_some_and(|at| at > over))
        .await;
    writers.stop().await;
    cluster.reckon(2).await;
}
