//! Any actor may be killed at any time: nothing is lost and nothing is applied twice. The tree stays up as long as the
//! kills stay below the restart intensity. Above it, the tree gives up.

mod node_support;
mod support;

use decisiongraph_engine::RunRequest;
use decisiongraph_projections::catalogue;
use decisiongraph_runtime::jobs::ReplayMessage;
use decisiongraph_runtime::node::NodeBounds;
use decisiongraph_store::{RunMode, RunState};
use node_support::*;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use support::Db;
use uuid::Uuid;

const TENANTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_lose_nothing() {
    let kills = if soak() { 1_000 } else { 40 };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122);
    println!("SEED={seed} kills={kills}");
    let mut dice = Dice(seed);
    let db = Db::postgres().await;
    let store = db.store().await;
    let (batch, pause) = if soak() { (200, Duration::from_millis(250)) } else { (5, Duration::from_millis(25)) };
    let node = start(&store, "killed", batch, bounds()).await;
    let appenders = Appenders::start(&store, TENANTS, pause);
    let mut pace = Pace::default();
    let mut killed: HashMap<String, u32> = HashMap::new();
    let mut done = 0;
    let mut job: Option<Uuid> = None;
    let end = Instant::now() + Duration::from_secs(if soak() { 3_600 } else { 120 });
    while done < kills {
        assert!(Instant::now() < end, "{done} kills only: {killed:?}");
        // Most of the time a job is there to be killed.
        if job.is_none_or(|id| !node.parts().jobs.registry.has(id))
            && let Some(replay) = node.jobs_actor()
        {
            let id = Uuid::now_v7();
            let request = RunRequest { tenant: named(dice.below(TENANTS)), ..support::request(RunMode::Rebuild) };
            let _ = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
            job = Some(id);
        }
        if let Some(kind) = kill_an_actor(&node, &mut pace, &mut dice) {
            done += 1;
            *killed.entry(kind).or_default() += 1;
        }
        tokio::time::sleep(Duration::from_millis(5 + dice.next() % 60)).await;
    }
    let events = appenders.stop().await;
    println!("{events} events, killed {killed:?}");
    settled(&node, TENANTS, applied_within()).await;
    // Every job ended or continues to its end: none is stuck.
    until("no job is stuck", applied_within(), async || {
        let filter = decisiongraph_store::ListFilter { open_only: true, limit: 100, ..Default::default() };
        store.view().await.expect("a view").runs(&filter).await.expect("runs").items.is_empty()
    })
    .await;
    assert!(!node.parts().board.draining.has_begun());
    node.stop().await;
    reckon(&store, TENANTS).await;
}

/// Many tenants with little to do: their claims and batches share transactions. More tenants have work than may have
/// actors at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_among_scopes_that_share_transactions_lose_nothing() {
    let (kills, tenants) = if soak() { (1_000, 200) } else { (40, 40) };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_130);
    println!("SEED={seed} kills={kills} tenants={tenants}");
    let mut dice = Dice(seed);
    let db = Db::postgres().await;
    let store = db.store().await;
    let few = NodeBounds { tenants_max: tenants / 2, passivate_after: Duration::from_millis(100), ..bounds() };
    let node = start(&store, "shares", 100, few).await;
    let appenders = Appenders::start(&store, tenants, Duration::from_millis(20 * tenants as u64));
    let (mut pace, mut done) = (Pace::default(), 0);
    let end = Instant::now() + Duration::from_secs(if soak() { 3_600 } else { 120 });
    while done < kills {
        assert!(Instant::now() < end, "{done} kills only");
        done += u32::from(kill_an_actor(&node, &mut pace, &mut dice).is_some());
        tokio::time::sleep(Duration::from_millis(5 + dice.next() % 60)).await;
    }
    println!("{} events", appenders.stop().await);
    settled(&node, tenants, applied_within()).await;
    node.stop().await;
    reckon(&store, tenants).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_job_goes_on_under_its_id() {
    let db = Db::postgres().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(if soak() { 2_000 } else { 300 }, 0)).await;
    let node = start(&store, "jobs", 5, bounds()).await;
    settled(&node, 1, applied_within()).await;
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(0), ..support::request(RunMode::Rebuild) };
    let replay = node.jobs_actor().expect("a coordinator");
    let started = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
    assert!(started.is_ok_and(|reply| reply.is_success()));
    let path = format!("node/replay/jobs/job {id}");
    let mut kills = 0;
    let mut coordinators = 0;
    let mut seen = 0;
    while node.parts().jobs.registry.has(id) && kills < 4 {
        let view = node.parts().jobs.registry.view(id).expect("a job");
        let at = view.progress.borrow().as_ref().map_or(0, |progress| progress.events);
        if at > seen
            && let Some(cell) = node.parts().table.cell(&path)
        {
            seen = at;
            cell.kill();
            kills += 1;
            // The coordinator may die too: the supervisor sees the job's death.
            if kills % 2 == 0
                && let Some(coordinator) = node.parts().table.cell("node/replay/replay_coordinator")
            {
                coordinator.kill();
                coordinators += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(kills >= 2 && coordinators >= 1, "the job was too quick: {kills} kills");
    until("the job ends", applied_within(), async || !node.parts().jobs.registry.has(id)).await;
    let run = store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run");
    assert_eq!(run.state, RunState::Completed, "{run:?}");
    node.stop().await;
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_too_often_is_failed_with_the_reason_and_can_be_resumed() {
    let db = Db::postgres().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(300, 0)).await;
    let node = start(&store, "fragile", 5, NodeBounds { job_crashes_max: 2, ..bounds() }).await;
    settled(&node, 1, applied_within()).await;
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(0), ..support::request(RunMode::Rebuild) };
    let replay = node.jobs_actor().expect("a coordinator");
    let started = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
    assert!(started.is_ok_and(|reply| reply.is_success()));
    let (table, registry) = (&node.parts().table, &node.parts().jobs.registry);
    let path = format!("node/replay/jobs/job {id}");
    for deaths in 0..3 {
        until("the job's next life", applied_within(), async || {
            table.entry(&path).is_some_and(|entry| entry.state == "running" && entry.restarts_total == deaths)
        })
        .await;
        table.cell(&path).expect("runs").kill();
    }
    until("the job is given up", applied_within(), async || !registry.has(id)).await;
    let run = async || store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run");
    let failed = run().await;
    let why = failed.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
    assert!(failed.state == RunState::Failed && why.starts_with("the job died 3 times; "), "{failed:?}");
    // An ended job leaves the tree, and its supervisor has lived all the while.
    until("the job leaves the tree", applied_within(), async || table.entry(&path).is_none()).await;
    assert_eq!(table.entry("node/replay/jobs").map(|jobs| jobs.restarts_total), Some(0));
    let resumed = replay.call(|reply| ReplayMessage::Resume(id, reply), Some(Duration::from_secs(5))).await;
    assert!(resumed.is_ok_and(|reply| reply.is_success()));
    until("the job ends", applied_within(), async || !registry.has(id)).await;
    assert_eq!(run().await.state, RunState::Completed);
    // Jobs that are lost with their supervisor are adopted by the coordinator.
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(0), ..support::request(RunMode::Rebuild) };
    let started = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
    assert!(started.is_ok_and(|reply| reply.is_success()));
    table.cell("node/replay/jobs").expect("runs").kill();
    until("the job is adopted and ends", applied_within(), async || {
        store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run").state
            == RunState::Completed
    })
    .await;
    node.stop().await;
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_job_is_adopted_by_the_next() {
    let db = Db::postgres().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(300, 0)).await;
    let first = start(&store, "first", 5, bounds()).await;
    settled(&first, 1, applied_within()).await;
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(0), ..support::request(RunMode::Rebuild) };
    let replay = first.jobs_actor().expect("a coordinator");
    let _ = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
    let view = first.parts().jobs.registry.view(id).expect("a job");
    until("the job is on its way", Duration::from_secs(20), async || {
        view.progress.borrow().as_ref().is_some_and(|progress| progress.events > 50)
    })
    .await;
    // As in a crash, nothing is stopped in order and nothing is handed over.
    first.kill().await;
    let run = store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run");
    assert_eq!(run.state, RunState::Running);
    let second = start(&db.store().await, "second", 5, bounds()).await;
    until("the job is adopted and ends", applied_within(), async || {
        let run = store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run");
        run.state == RunState::Completed && run.node == "second"
    })
    .await;
    settled(&second, 1, applied_within()).await;
    second.stop().await;
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_above_the_intensity_end_the_node() {
    let db = Db::sqlite().await;
    let store = db.store().await;
    let node = start(&store, "storm", 5, bounds()).await;
    insist(&store, &named(0), &support::log(2, 0)).await;
    settled(&node, 1, Duration::from_secs(20)).await;
    let storm = async {
        loop {
            if let Some(cell) = node.parts().table.cell("node/high_water") {
                cell.kill();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = storm => {}
        reason = node.exited() => assert!(node.gave_up(), "{reason:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it never gave up:\n{}", dump(&node)),
    }
    // Nothing that was committed is lost.
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_in_one_tenant_leaves_the_others_alone() {
    let db = Db::sqlite().await;
    let store = db.store().await;
    for index in 0..2 {
        insist(&store, &named(index), &support::log(2, 0)).await;
    }
    let node = start(&store, "storm", 5, bounds()).await;
    settled(&node, 2, Duration::from_secs(20)).await;
    let other = format!("node/scopes/tenant t1/workers/worker {}", catalogue::TRACE_SUMMARY.name());
    let before = node.parts().table.entry(&other).expect("the other tenant's worker");
    let worker = "node/scopes/tenant t0/workers/worker context_graph";
    let workers = "node/scopes/tenant t0/workers";
    until("the workers' supervisor gives up", Duration::from_secs(60), async || {
        if let Some(cell) = node.parts().table.cell(worker) {
            cell.kill();
        }
        node.parts().table.entry(workers).is_some_and(|entry| entry.restarts_total > 0)
    })
    .await;
    for index in 0..2 {
        insist(&store, &named(index), &support::log(2, 2)).await;
    }
    settled(&node, 2, Duration::from_secs(20)).await;
    let after = node.parts().table.entry(&other).expect("the other tenant's worker");
    assert_eq!((after.actor, after.restarts_total), (before.actor, before.restarts_total));
    node.stop().await;
    reckon(&store, 2).await;
}
