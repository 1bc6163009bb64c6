//! Jobs and takeovers in a cluster of real, linked node processes on one PostgreSQL. A job is started, watched and
//! cancelled through any node, and survives the node that runs it. No node waits for a process that is certainly gone.

mod cli_support;
mod cluster_support;

use cli_support::node::wait_until;
use cli_support::{Cli, Ended};
use cluster_support::{Linked, NAMES};
use decisiongraph_store::throwaway::{self, Database};
use std::time::{Duration, Instant};

const TENANTS: usize = 6;
/// Lease so long that nothing in these tests waits for its end.
const LEASE_MS: &str = "60000";

async fn cluster() -> (Linked, Database) {
    let database = throwaway::shared().await.expect("a server").fresh_database().await.expect("a database");
    let mut linked = Linked::none(3);
    for index in 0..3 {
        start(&mut linked, index, database.url());
    }
    linked.wait_until_linked();
    (linked, database)
}

fn start(linked: &mut Linked, index: usize, url: &str) {
    linked.start_node(
        index,
        &["--database", url, "--lease-ms", LEASE_MS, "--adopt-ms", "200", "--batch-events-max", "50"],
    );
}

fn ok(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended
}

fn append(cli: &Cli, tenant: &str, traces: std::ops::Range<usize>) {
    let lines: Vec<String> = traces.flat_map(|trace| cli_support::trace(&format!("t{trace}"))).collect();
    ok(cli.pipe(&["import", "-", "--tenant", tenant], lines.join("\n").as_bytes()));
}

/// Returns the owner of the tenant's scopes, when all three have one owner.
fn owner(cli: &Cli, tenant: &str) -> Option<String> {
    let status = cli.json(&["status", "--tenant", tenant]);
    let scopes = status["scopes"].as_array()?.clone();
    let owners: Vec<Option<&str>> = scopes.iter().map(|scope| scope["owner"].as_str()).collect();
    let first = owners.first().copied().flatten()?;
    (owners.len() == 3 && owners.iter().all(|owner| *owner == Some(first))).then(|| first.to_owned())
}

fn place(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).expect("one of them")
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_started_watched_and_cancelled_through_any_node() {
    let (linked, _database) = cluster().await;
    let traces = std::cell::Cell::new(0);
    wait_until("somebody has the tenant", || {
        // An owner appears when there is something to do. After a node has given the tenant away, the tenant is unowned
        // until then.
        let first = traces.replace(traces.get() + 1);
        append(&linked.clis[0], "acme", first..first + 1);
        ok(linked.clis[0].run(&["catch-up", "--tenant", "acme"]));
        owner(&linked.clis[0], "acme").is_some()
    });
    let first = traces.get();
    let owner = place(&owner(&linked.clis[0], "acme").expect("an owner"));
    let (other, third) = ((owner + 1) % 3, (owner + 2) % 3);
    // The job is passed on to the tenant's node. The asked node reports it to its end.
    append(&linked.clis[third], "acme", first..first + 3);
    let report = linked.clis[other].json(&["catch-up", "--tenant", "acme"]);
    assert_eq!(report["run"]["node"], NAMES[owner], "{report}");
    assert_eq!(report["run"]["state"], "completed", "{report}");
    // A rebuild runs on the node that was asked. Every node sees it and may end it.
    append(&linked.clis[other], "big", 0..1_500);
    let run = linked.clis[other].json(&["rebuild", "--tenant", "big", "--detach"]);
    let id = run["run_id"].as_str().expect("an id").to_owned();
    assert!(linked.clis[third].json(&["run", &id])["node"] == NAMES[other]);
    ok(linked.clis[third].run(&["cancel", &id]));
    let ended = || linked.clis[third].json(&["run", &id])["state"].as_str().map(str::to_owned);
    wait_until("the job has ended", || matches!(ended().as_deref(), Some("cancelled" | "completed")));
    ok(linked.clis[third].run(&["verify", "--tenant", "big"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_not_waited_for_and_its_jobs_go_on_elsewhere() {
    let (mut linked, database) = cluster().await;
    let tenant = |index: usize| format!("t{index}");
    (0..TENANTS).for_each(|index| append(&linked.clis[0], &tenant(index), 0..2));
    for index in 0..TENANTS {
        ok(linked.clis[0].run(&["catch-up", "--tenant", &tenant(index)]));
    }
    append(&linked.clis[2], "big", 0..3_000);
    let run = linked.clis[2].json(&["rebuild", "--tenant", "big", "--detach"]);
    let id = run["run_id"].as_str().expect("an id").to_owned();
    wait_until("the rebuild is under way", || {
        let run = linked.clis[0].json(&["run", &id]);
        run["events"].as_i64().is_some_and(|events| events > 0) || run["state"] == "completed"
    });
    linked.node(2).signal("KILL");
    let killed = Instant::now();
    assert_eq!(linked.node(2).ended(), None);
    // Its lease would run for a minute. Its machine reports that no process listens any more.
    (0..TENANTS).for_each(|index| append(&linked.clis[0], &tenant(index), 2..4));
    for index in 0..TENANTS {
        // The job ends when the tenant's new owner has applied the new events.
        ok(linked.clis[index % 2].run(&["catch-up", "--tenant", &tenant(index)]));
    }
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    wait_until("the job is completed elsewhere", || linked.clis[1].json(&["run", &id])["state"] == "completed");
    // The node restarts in the same directory and is a member as before.
    start(&mut linked, 2, database.url());
    linked.wait_until_linked();
    for name in (0..TENANTS).map(tenant).chain(["big".to_owned()]) {
        ok(linked.clis[1].run(&["catch-up", "--tenant", &name]));
        ok(linked.clis[2].run(&["verify", "--tenant", &name]));
    }
}
