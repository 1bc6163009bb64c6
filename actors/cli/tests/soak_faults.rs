//! Faults in any order: sessions, backends and postmasters of the database, nodes, and actors inside nodes. The
//! database itself also fails over to a replica that lacks the last events. Writers append all the time, some of them
//! slowly, and jobs run in between.
//!
//! The schedule follows a seed (`SEED`), which is printed, and `FAULTS` sets the number of faults. At the end each
//! event that was ever acknowledged is in the log once and applied once.

mod fleet_support;
mod node_support;
mod support;

use decisiongraph_engine::RunRequest;
use decisiongraph_projections::TenantId;
use decisiongraph_runtime::jobs::ReplayMessage;
use decisiongraph_runtime::node::Node;
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{AppendMode, ListFilter, RunMode, Store, Verdict};
use fleet_support::observer::Observer;
use fleet_support::proxy::Proxy;
use fleet_support::servers::{cut_replica, last_and_cursor, life, one_backend_dies, server};
use fleet_support::*;
use node_support::{Dice, Pace, kill_an_actor, named, soak, until};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

const TENANTS: usize = 3;
/// Writers per tenant: one of them may be slow while the other continues.
const WRITERS: usize = 2;
/// Distance between the trace numbers of two writers.
const APART: usize = 1_000_000;
/// Number of events in one append of a writer.
const CHUNK_EVENTS: i64 = 14;
/// Node processes. One more node lives in this process, so that its actors can be killed.
const PROCESSES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Fault {
    SessionsEnded,
    BackendKilled,
    PostmasterKilled,
    ImmediateRestart,
    FailOver,
    NodeKilled,
    NodeStopped,
    ActorKilled,
}

impl Fault {
    /// Frequency of each fault, of a hundred.
    const WEIGHTS: [(Fault, usize); 8] = [
        (Fault::SessionsEnded, 18),
        (Fault::BackendKilled, 24),
        (Fault::PostmasterKilled, 8),
        (Fault::ImmediateRestart, 8),
        (Fault::FailOver, 6),
        (Fault::NodeKilled, 10),
        (Fault::NodeStopped, 12),
        (Fault::ActorKilled, 14),
    ];

    fn drawn(dice: &mut Dice) -> Fault {
        let mut place = dice.below(Fault::WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (fault, weight) in Fault::WEIGHTS {
            match place.checked_sub(weight) {
                Some(rest) => place = rest,
                None => return fault,
            }
        }
        Fault::SessionsEnded
    }

    /// True when positions drawn before the fault may be drawn again.
    fn begins_a_history(self) -> bool {
        matches!(self, Fault::BackendKilled | Fault::PostmasterKilled | Fault::ImmediateRestart | Fault::FailOver)
    }
}

/// Number of chunks that each writer of each tenant finds in the log after its end was lost.
type Found = HashMap<(String, usize), usize>;

/// Everything that a fault may hit.
struct Arena {
    primary: Server,
    standby: Server,
    database: String,
    cluster: Cluster,
    /// The node of this process.
    here: Node,
    /// Proxies between the database and the writers and this node.
    proxies: Vec<Proxy>,
    found: watch::Sender<Found>,
    /// A node that is stopped, and the time until which it is.
    stopped: Option<(usize, Instant)>,
    /// Incarnations of the node processes that were killed last.
    killed: [Option<String>; PROCESSES],
    pace: Pace,
    dice: Dice,
    job: Option<Uuid>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_each_acknowledged_event_is_applied_once() {
    let (faults, time) = if soak() { (1_000, Duration::from_secs(75 * 60)) } else { (10, Duration::from_secs(90)) };
    let faults = std::env::var("FAULTS").ok().and_then(|faults| faults.parse().ok()).unwrap_or(faults);
    let seed = seed();
    let (mut arena, writers) = Arena::open(seed).await;
    let (mut counts, began) = (BTreeMap::<Fault, usize>::new(), Instant::now());
    for number in 0..faults {
        if began.elapsed() > time {
            println!("time is up after {number} of {faults} faults");
            break;
        }
        // Each kind once, independent of the dice.
        let fault = Fault::WEIGHTS.get(number).map_or_else(|| Fault::drawn(&mut arena.dice), |(fault, _)| *fault);
        arena.turn().await;
        if soak() {
            println!("{number} at {:.1} s: {fault:?}", began.elapsed().as_secs_f64());
        }
        arena.strike(fault).await;
        *counts.entry(fault).or_default() += 1;
    }
    let struck: usize = counts.values().sum();
    println!("SEED={seed}: {struck} faults in {:.0} s: {counts:?}", began.elapsed().as_secs_f64());
    arena.end(writers).await;
}

impl Arena {
    async fn open(seed: u64) -> (Arena, Writers) {
        let (primary, database) = server().await;
        let url = primary.url_of(&database);
        let observer = Observer::of(&url);
        for sql in [
            // A replica that was away for a moment finds the records that it missed. Drawn positions are not written
            // before a commit.
            "ALTER SYSTEM SET wal_keep_size = '128MB'",
            "ALTER SYSTEM SET wal_writer_delay = '10s'",
            "SELECT pg_reload_conf()",
            // One trace in four is appended slowly: its positions are drawn, and later ones are committed first.
            "CREATE FUNCTION dg_test_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.4); RETURN NULL; END $$",
            "CREATE TRIGGER dg_test_slow AFTER INSERT ON dg_event_log FOR EACH ROW \
             WHEN (NEW.trace_seq = 6 AND hashtext(NEW.trace_id) % 4 = 0) EXECUTE FUNCTION dg_test_slow()",
        ] {
            observer.rows(sql, &[]).await.expect("the database answers");
        }
        let standby = primary.standby().await.expect("a replica");
        let mut cluster = Cluster::at(&url).await;
        for _ in 0..PROCESSES {
            cluster.add().await;
        }
        let (to_node, through) = proxied(&url).await;
        let here = node_support::start(&connect(&through).await, "here", 50, node_support::bounds()).await;
        let (to_writers, through) = proxied(&url).await;
        let found = watch::Sender::new(Found::new());
        let writers = Writers::start(&through, &found).await;
        let arena = Arena {
            primary,
            standby,
            database,
            cluster,
            here,
            proxies: vec![to_node, to_writers],
            found,
            stopped: None,
            killed: [const { None }; PROCESSES],
            pace: Pace::default(),
            dice: Dice(seed),
            job: None,
        };
        until("everybody has begun", PATIENCE, async || {
            let sql = "SELECT count(*) FROM dg_scope WHERE cursor_seq > 0";
            arena
                .cluster
                .observer
                .rows(sql, &[])
                .await
                .is_some_and(|rows| rows[0].get::<_, i64>(0) == TENANTS as i64 * 3)
        })
        .await;
        (arena, writers)
    }

    /// Runs between two faults: a pause, a job if there is none, and the continuation of a stopped node when its time
    /// is over.
    async fn turn(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice.next() % 400)).await;
        if self.stopped.is_some_and(|(_, until)| Instant::now() > until) {
            self.go_on();
        }
        if self.job.is_none_or(|id| !self.here.parts().jobs.registry.has(id))
            && let Some(replay) = self.here.jobs_actor()
        {
            let id = Uuid::now_v7();
            let mode = if self.dice.below(3) == 0 { RunMode::CatchUp } else { RunMode::Rebuild };
            let request = RunRequest { tenant: named(self.dice.below(TENANTS)), ..support::request(mode) };
            let _ = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(5))).await;
            self.job = Some(id);
        }
    }

    fn go_on(&mut self) {
        if let Some((index, _)) = self.stopped.take() {
            self.cluster.nodes[index].signal("CONT");
        }
    }

    async fn strike(&mut self, fault: Fault) {
        let logged = self.witnesses().await;
        let era = self.here.parts().board.mark.borrow().era;
        let before = life(&self.cluster.observer).await;
        match fault {
            Fault::SessionsEnded => self.end_sessions().await,
            Fault::BackendKilled => one_backend_dies(&self.cluster.observer, |count| self.dice.below(count)).await,
            Fault::PostmasterKilled => self.primary.crash().await.expect("starts again"),
            Fault::ImmediateRestart => self.primary.restart(StopMode::Immediate).await.expect("restarts"),
            Fault::FailOver => self.fail_over().await,
            Fault::NodeKilled => self.kill_a_node().await,
            Fault::NodeStopped => {
                self.go_on();
                let index = self.dice.below(PROCESSES);
                self.cluster.nodes[index].signal("STOP");
                self.stopped = Some((index, Instant::now() + Duration::from_millis(self.dice.next() % 4_000)));
            }
            Fault::ActorKilled => {
                until("an actor may be killed", PATIENCE, async || {
                    kill_an_actor(&self.here, &mut self.pace, &mut self.dice).is_some()
                })
                .await;
            }
        }
        if fault.begins_a_history() {
            let after = life(&self.cluster.observer).await;
            assert!(after.is_some() && after != before, "{fault:?}: the server lives on");
            // No change of history goes undetected: each living node drops what it has in memory.
            for (index, logged) in logged {
                let node = &self.cluster.nodes[index];
                let noticed = || node.log_behind(logged).contains("history changed");
                self.wait(&format!("{fault:?} is noticed by {}", node.name()), async || noticed()).await;
            }
            self.wait(&format!("{fault:?} is noticed here"), async || self.here.parts().board.mark.borrow().era > era)
                .await;
        }
        // Half of the time the next fault comes before the recovery from this one.
        if self.dice.below(2) == 0 {
            let before = self.cluster.observer.progress().await;
            self.wait("work goes on", async || self.cluster.observer.progress().await > before).await;
        }
    }

    /// Returns the running processes that have worked on the present history, and the size of each log.
    async fn witnesses(&self) -> Vec<(usize, u64)> {
        let (observer, mut witnesses) = (&self.cluster.observer, Vec::new());
        for (index, node) in self.cluster.nodes.iter().enumerate() {
            let life = observer.incarnation(node.name()).await.filter(|life| self.killed[index].as_ref() != Some(life));
            let worked = match life {
                Some(life) => observer.last_commit(&life).await.is_some(),
                None => false,
            };
            if worked && self.stopped.is_none_or(|(stopped, _)| stopped != index) {
                witnesses.push((index, node.logged()));
            }
        }
        witnesses
    }

    /// Waits as [`until`] does, and shows everything when the condition does not hold in time.
    async fn wait(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() > end {
                let picture = self.cluster.observer.picture().await;
                panic!(
                    "not within {PATIENCE:?}: {what}\n{picture}\n{}\n{}",
                    node_support::dump(&self.here),
                    self.tails()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the ends of the nodes' logs.
    fn tails(&self) -> String {
        let tail = |node: &process::NodeProcess| node.log_behind(node.logged().saturating_sub(8_000));
        self.cluster.nodes.iter().map(|node| format!("── {}\n{}\n", node.name(), tail(node))).collect()
    }

    async fn end_sessions(&mut self) {
        let many = 1 + self.dice.below(5) as i64;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'decisiongraph' \
                   AND pid <> pg_backend_pid() ORDER BY hashint4(pid) LIMIT $1";
        let ended = self.cluster.observer.rows(sql, &[&many]).await.expect("the database answers");
        assert!(!ended.is_empty(), "there are sessions");
    }

    async fn kill_a_node(&mut self) {
        let index = self.dice.below(PROCESSES);
        if self.stopped.is_some_and(|(stopped, _)| stopped == index) {
            self.stopped = None;
        }
        self.killed[index] = self.cluster.observer.incarnation(self.cluster.nodes[index].name()).await;
        self.cluster.nodes[index].kill();
        // As on a new machine, or in its old directory.
        self.cluster.nodes[index].restart(self.dice.below(2) == 0);
    }

    /// Promotes the replica without the last events. The lost primary is gone, and the new one gets a replica.
    async fn fail_over(&mut self) {
        cut_replica(&self.primary, &self.standby, &self.database).await;
        let (kept, _) = last_and_cursor(&Observer::of(&self.standby.url_of(&self.database))).await;
        self.wait("events are applied that the replica lacks", async || {
            let sql = "SELECT coalesce(max(cursor_seq), 0) FROM dg_scope";
            self.cluster.observer.rows(sql, &[]).await.is_some_and(|rows| rows[0].get::<_, i64>(0) > kept)
        })
        .await;
        self.primary.stop(StopMode::Immediate).await.expect("stopped");
        self.standby.promote().await.expect("promoted");
        let url = self.standby.url_of(&self.database);
        self.cluster.observer.turn_to(&url).await;
        // Before any writer can append to it.
        let found = chunks_in(&self.cluster.observer).await;
        self.found.send_replace(found);
        for proxy in self.proxies.iter().chain(self.cluster.nodes.iter().map(|node| &node.proxy)) {
            proxy.lead_to(address(&url));
            proxy.cut();
        }
        self.cluster.move_to(&url).await;
        let next = self.standby.standby().await.expect("a replica");
        self.primary = std::mem::replace(&mut self.standby, next);
    }

    async fn end(mut self, writers: Writers) {
        self.go_on();
        let appended = writers.stop().await;
        let store = Arc::clone(&self.cluster.store);
        let patience = if soak() { 10 * PATIENCE } else { PATIENCE };
        until("every job ends", patience, async || {
            let open = ListFilter { open_only: true, limit: 100, ..ListFilter::default() };
            let Ok(view) = store.view().await else { return false };
            view.runs(&open).await.is_ok_and(|runs| runs.items.is_empty())
        })
        .await;
        let sql = "SELECT tenant_id, count(*), count(DISTINCT event_id) FROM dg_event_log GROUP BY 1 ORDER BY 1";
        let stored = self.cluster.observer.rows(sql, &[]).await.expect("the database answers");
        let stored: BTreeMap<String, (i64, i64)> =
            stored.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let once: BTreeMap<String, (i64, i64)> =
            appended.into_iter().map(|(tenant, events)| (tenant, (events, events))).collect();
        assert_eq!(stored, once, "each acknowledged event once");
        println!("{stored:?}");
        node_support::settled(&self.here, TENANTS, patience).await;
        assert!(!self.here.gave_up());
        self.here.stop().await;
        self.cluster.reckon(TENANTS).await;
    }
}

/// Counts each writer's chunks in the log, up to the first that is missing. A chunk that was under way may be stored
/// although earlier ones were lost.
async fn chunks_in(observer: &Observer) -> Found {
    let sql = "WITH chunk AS (SELECT tenant_id, number / $1 AS writer, number % $1 / 2 AS place
                                FROM (SELECT tenant_id, substr(trace_id, 6)::bigint AS number
                                        FROM dg_event_log WHERE trace_seq = 0) trace WHERE number % 2 = 0),
               counted AS (SELECT *, row_number() OVER (PARTITION BY tenant_id, writer ORDER BY place) - 1 AS rank FROM chunk)
               SELECT tenant_id, writer, count(*) FILTER (WHERE place = rank) FROM counted GROUP BY 1, 2";
    let rows = observer.rows(sql, &[&(APART as i64)]).await.expect("the database answers");
    rows.iter().map(|row| ((row.get(0), row.get::<_, i64>(1) as usize), row.get::<_, i64>(2) as usize)).collect()
}

/// Tasks that append to every tenant until stopped, and a task that draws positions and gives them back.
struct Writers {
    stop: watch::Sender<bool>,
    /// Tasks, each with its tenant.
    tasks: Vec<(TenantId, JoinHandle<i64>)>,
    drawing: JoinHandle<()>,
}

impl Writers {
    async fn start(url: &str, found: &watch::Sender<Found>) -> Writers {
        let (store, stop) = (connect(url).await, watch::Sender::new(false));
        let each = (0..TENANTS).flat_map(|tenant| (0..WRITERS).map(move |writer| (named(tenant), writer)));
        let tasks = each
            .map(|(tenant, writer)| {
                let task = write(Arc::clone(&store), tenant.clone(), writer, found.subscribe(), stop.subscribe());
                (tenant, tokio::spawn(task))
            })
            .collect();
        let drawing = tokio::spawn(draw(url.to_owned()));
        Writers { stop, tasks, drawing }
    }

    /// Stops the writers and returns the number of events in each tenant's log.
    async fn stop(self) -> BTreeMap<String, i64> {
        self.drawing.abort();
        self.stop.send_replace(true);
        let mut events = BTreeMap::new();
        for (tenant, task) in self.tasks {
            *events.entry(tenant.to_string()).or_default() += task.await.expect("the writer ends well");
        }
        events
    }
}

/// Appends chunk after chunk. When the end of the log was lost, it continues after the chunks that are left. Chunks
/// that are stored already are repeats.
async fn write(
    store: Arc<dyn Store>,
    tenant: TenantId,
    writer: usize,
    mut found: watch::Receiver<Found>,
    stop: watch::Receiver<bool>,
) -> i64 {
    let pause = Duration::from_millis(if soak() { 700 } else { 200 });
    let (mut next, mut ever) = (0, 0);
    found.borrow_and_update();
    loop {
        if found.has_changed().unwrap_or(false) {
            let there = found.borrow_and_update().get(&(tenant.to_string(), writer)).copied();
            next = next.min(there.unwrap_or(0));
        }
        if *stop.borrow() && next >= ever && next > 0 {
            return ever as i64 * CHUNK_EVENTS;
        }
        match store.append(&tenant, &support::log(2, writer * APART + 2 * next), AppendMode::AllOrNothing).await {
            Ok(verdicts) => {
                let sound = |verdict: &Verdict| matches!(verdict, Verdict::Accepted { .. } | Verdict::Repeated { .. });
                assert!(verdicts.iter().all(sound), "{verdicts:?}");
                next += 1;
                let again = next <= ever;
                ever = ever.max(next);
                tokio::time::sleep(if again { Duration::from_millis(5) } else { pause }).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Draws positions and gives them back, for ever: nothing makes the server write that before it dies.
async fn draw(url: String) {
    let sql = "BEGIN; SELECT nextval('dg_event_log_log_seq_seq') FROM generate_series(1, 40); ROLLBACK";
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            let driving = tokio::spawn(connection);
            while client.batch_execute(sql).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            driving.abort();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
