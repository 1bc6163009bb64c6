//! Promise: a crash at any point loses nothing and applies nothing twice. The real binary is killed with SIGKILL at
//! every named point, on both backends. The points lie around a batch commit, a flip and a cleanup. Right after the
//! crash each digest is the digest of its rows. After the next run cursor, rows and digests equal the results of an
//! uninterrupted run.

mod node_support;
mod support;

use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{
    ChangeFilter, DatabaseUrl, RunMode, Scope, Store, StoreOptions, crash, digest_of_rows, launch, open, throwaway,
};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::*;

const SIGKILL: i32 = 9;
const TRACES: usize = 24;

fn command(db: &Db, words: &[&str], crash_at: Option<&str>) -> Output {
    program(&db.url(), words, crash_at).output().expect("the binary runs")
}

fn program(url: &str, words: &[&str], crash_at: Option<&str>) -> Command {
    let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph"));
    command.args(["--database", url, "--json"]).args(words);
    command.env("DECISIONGRAPH_LEASE_MS", "400").env("DECISIONGRAPH_OWN_PARTITION_EVENTS", "100");
    if let Some(point) = crash_at {
        command.env("DECISIONGRAPH_CRASH_AT", point);
    }
    command
}

fn succeeds(db: &Db, words: &[&str]) {
    let output = command(db, words, None);
    assert!(
        output.status.success(),
        "{} {words:?}: {}\n{}{}",
        db.name(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// True when the process died at the point. Otherwise it must have ended well (the point was not visited that often).
fn crashes(db: &Db, words: &[&str], point: &str) -> bool {
    let output = command(db, words, Some(point));
    let killed = output.status.signal() == Some(SIGKILL);
    assert!(
        killed || output.status.success(),
        "{} {words:?} at {point}: {}\n{}",
        db.name(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    killed
}

async fn database(kind: &str) -> (Db, Arc<dyn Store>) {
    let db = if kind == "sqlite" { Db::sqlite().await } else { Db::postgres().await };
    let store = db.store().await;
    append(&store, &returning(TRACES / 8)).await;
    append(&store, &log(TRACES, 0)).await;
    (db, store)
}

async fn uninterrupted(kind: &str) -> Vec<(LogSeq, String)> {
    let (db, store) = database(kind).await;
    succeeds(&db, &["catch-up", "--batch-size", "16"]);
    positions(&store).await
}

/// Lists the points with these prefixes, each at several visits.
fn points(prefixes: &[&str]) -> Vec<String> {
    let visits: &[u64] =
        if std::env::var_os("DECISIONGRAPH_SOAK").is_some() { &[1, 2, 3, 4, 5, 7, 9, 14, 20, 27, 33] } else { &[1, 5] };
    let named = crash::POINTS.iter().filter(|point| prefixes.iter().any(|prefix| point.starts_with(prefix)));
    named.flat_map(|point| visits.iter().map(move |visit| format!("{point}:{visit}"))).collect()
}

async fn catch_up_survives(kind: &str) {
    let expected = uninterrupted(kind).await;
    let mut crashed = std::collections::BTreeSet::new();
    for point in points(&["commit."]) {
        let (db, store) = database(kind).await;
        // From the origin; or midway, where new ids are assumed to be new.
        if point.ends_with(":5") {
            succeeds(&db, &["catch-up", "--until", "10"]);
        }
        if crashes(&db, &["catch-up", "--batch-size", "16"], &point) {
            crashed.insert(point.split(':').next().unwrap_or_default().to_owned());
        }
        let after = positions(&store).await;
        assert!(after.iter().all(|(cursor, _)| *cursor <= expected[0].0));
        succeeds(&db, &["catch-up", "--batch-size", "16"]);
        assert_eq!(positions(&store).await, expected, "{kind} at {point}");
        succeeds(&db, &["verify"]);
    }
    let all: Vec<&str> = crash::POINTS.iter().copied().filter(|point| point.starts_with("commit.")).collect();
    assert_eq!(crashed.iter().map(String::as_str).collect::<Vec<_>>(), sorted(all), "every point was met");
}

async fn rebuild_survives(kind: &str) {
    let expected = uninterrupted(kind).await;
    let mut crashed = std::collections::BTreeSet::new();
    const STEPS: [&str; 4] = ["build.", "finish.", "flip.", "sweep."];
    for point in points(&STEPS) {
        let (db, store) = database(kind).await;
        succeeds(&db, &["catch-up"]);
        // Nothing is swept while a transaction of another test is open that is older than the flip: once more then.
        let attempts = if point.starts_with("sweep.") && point.ends_with(":1") { 5 } else { 1 };
        if (0..attempts).any(|_| crashes(&db, &["rebuild", "--batch-size", "16"], &point)) {
            crashed.insert(point.split(':').next().unwrap_or_default().to_owned());
        }
        assert_eq!(
            positions(&store).await,
            expected,
            "{kind} at {point}: readers see one whole generation or the other"
        );
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        assert_eq!(positions(&store).await, expected, "{kind} after {point}");
        succeeds(&db, &["verify"]);
        everything_is_swept(&store).await;
    }
    let of_rebuild = |point: &&str| STEPS.iter().any(|step| point.starts_with(step));
    let all: Vec<&str> = crash::POINTS.iter().copied().filter(of_rebuild).collect();
    assert_eq!(crashed.iter().map(String::as_str).collect::<Vec<_>>(), sorted(all), "every point was met");
}

/// Waits until nothing of the old generations is left. Transactions of other tests that are older than the flip must
/// end first.
async fn everything_is_swept(store: &Arc<dyn Store>) {
    let swept = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        while engine(store, 100).sweep().await.expect("sweeps").left > 0 {
            look.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), swept).await.expect("the old generations go");
}

fn sorted(mut points: Vec<&str>) -> Vec<&str> {
    points.sort_unstable();
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_up_survives_a_kill_at_every_point_on_sqlite() {
    catch_up_survives("sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_up_survives_a_kill_at_every_point_on_postgres() {
    catch_up_survives("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_survives_a_kill_at_every_point_on_sqlite() {
    rebuild_survives("sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_survives_a_kill_at_every_point_on_postgres() {
    rebuild_survives("postgres").await;
}

/// A generation that a rebuild had flipped to before it died is not built once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_died_between_two_flips_goes_on_with_the_rest() {
    for kind in ["sqlite", "postgres"] {
        let (db, store) = database(kind).await;
        let generations = async || -> Vec<i64> {
            let rows = store.view().await.expect("view").scopes(Some(&tenant())).await.expect("scopes");
            rows.iter().map(|row| row.generation.0).collect()
        };
        succeeds(&db, &["catch-up"]);
        let before = generations().await;
        assert!(crashes(&db, &["rebuild", "--batch-size", "16"], "flip.after_commit"));
        let crashed = generations().await;
        assert_ne!(crashed[0], before[0], "{kind}: the first is flipped");
        assert_eq!(crashed[1..], before[1..], "{kind}: the others are not");
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        let after = generations().await;
        assert_eq!(after[0], crashed[0], "{kind}: the first stays");
        assert!(after[1] != before[1] && after[2] != before[2], "{kind}: the others are flipped: {after:?}");
        let filter = decisiongraph_store::ListFilter { limit: 10, ..Default::default() };
        let run = store.view().await.expect("view").runs(&filter).await.expect("runs").items.remove(0);
        assert_eq!((run.mode, run.state), (RunMode::Rebuild, decisiongraph_store::RunState::Completed));
        let report = run.report.as_deref().expect("a report");
        let scopes: Vec<decisiongraph_engine::ScopeReport> = serde_json::from_str(report).expect("JSON");
        let told: Vec<_> = scopes.iter().map(|it| (it.flipped_before, it.events > 0, it.rebuild.is_some())).collect();
        assert_eq!(told, [(true, false, false), (false, false, true), (false, false, true)], "{kind}");
        assert_eq!(scopes.iter().map(|scope| scope.generation.0).collect::<Vec<_>>(), after, "{kind}");
        succeeds(&db, &["verify"]);

        // A rebuild that died after its last flip has only its report left to do.
        assert!(crashes(&db, &["rebuild", "--batch-size", "16"], "flip.after_commit:3"));
        let crashed = generations().await;
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        assert_eq!(generations().await, crashed, "{kind}: all stay");
        everything_is_swept(&store).await;
    }
}

/// Promise: a crash between the scopes of a shared transaction leaves each of them whole, where it was or where its
/// batch ends. A node that has many tenants to begin with is killed at every such point.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_transaction_survives_a_kill_at_every_point() {
    const TENANTS: usize = 12;
    let (mut crashed, named) = (std::collections::BTreeSet::new(), node_support::named);
    for point in points(&["shared."]) {
        let db = Db::postgres().await;
        let store = db.store().await;
        for index in 0..TENANTS {
            node_support::insist(&store, &named(index), &log(1, 0)).await;
        }
        let folder = tempfile::tempdir().expect("a folder");
        // One session writes: what is ready at the same time waits for it, and shares.
        let node = |crash_at: Option<&str>| {
            let mut node = program(&db.url(), &["node", "--writers", "1"], crash_at);
            node.env("DECISIONGRAPH_DATA_DIR", folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            Running(node.spawn().expect("starts"))
        };
        let mut dies = node(Some(&point));
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = dies.0.try_wait().expect("a state") {
                assert_eq!(status.signal(), Some(SIGKILL), "{point}");
                crashed.insert(point.split(':').next().unwrap_or_default().to_owned());
                break;
            }
            if node_support::current(&store, TENANTS).await {
                break;
            }
            assert!(std::time::Instant::now() < end, "{point}: neither an end nor every event");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(dies);
        for index in 0..TENANTS {
            is_whole(&store, &named(index)).await;
        }
        let next = node(None);
        node_support::until("every event is applied", PATIENCE, async || node_support::current(&store, TENANTS).await)
            .await;
        drop(next);
        node_support::reckon(&store, TENANTS).await;
    }
    let all: Vec<&str> = crash::POINTS.iter().copied().filter(|point| point.starts_with("shared.")).collect();
    assert_eq!(crashed.iter().map(String::as_str).collect::<Vec<_>>(), sorted(all), "every point was met");
}

/// A process that is killed when the test is done with it.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks that each scope of the tenant has applied nothing or everything, and that its digest is that of its rows.
async fn is_whole(store: &Arc<dyn Store>, tenant: &TenantId) {
    let snapshot = store.snapshot().await.expect("a snapshot");
    let last = snapshot.last_log_seq(tenant, None).await.expect("a position");
    for projection in catalogue::ALL {
        let row = snapshot.scope(&Scope::new(tenant, projection)).await.expect("reads");
        let Some(row) = row else { continue };
        assert!([LogSeq::ORIGIN, last].contains(&row.position.cursor), "{tenant}: {row:?}");
        let rows = digest_of_rows(&*snapshot, tenant, projection, row.generation).await.expect("digests");
        assert_eq!(rows, row.position.digest, "{tenant}: {}", projection.name());
    }
}

/// An interrupted rebuild continues from its own position; it does not start anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_rebuild_is_adopted() {
    for kind in ["sqlite", "postgres"] {
        let (db, store) = database(kind).await;
        succeeds(&db, &["catch-up"]);
        assert!(crashes(&db, &["rebuild", "--batch-size", "16"], "build.after_commit:9"));
        let filter = decisiongraph_store::ListFilter { limit: 10, ..Default::default() };
        let orphan = store.view().await.expect("view").runs(&filter).await.expect("runs").items.remove(0);
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        let runs = store.view().await.expect("view").runs(&filter).await.expect("runs").items;
        assert_eq!(runs[0].run_id, orphan.run_id, "{kind}: the same run");
        assert_eq!((runs[0].mode, runs[0].state), (RunMode::Rebuild, decisiongraph_store::RunState::Completed));
        let report = runs[0].report.as_deref().expect("a report");
        let scopes: Vec<decisiongraph_engine::ScopeReport> = serde_json::from_str(report).expect("JSON");
        assert!(scopes[0].from > LogSeq::ORIGIN, "{kind}: it went on from {}", scopes[0].from);
    }
}

/// The dead process has a lease of ten minutes, and the successor waits for none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_on_the_machine_of_a_dead_process_does_not_wait_for_its_lease() {
    for kind in ["sqlite", "postgres"] {
        let (db, store) = database(kind).await;
        for (words, point) in [
            (["catch-up", "--batch-size", "16"], "commit.before_commit:3"),
            (["rebuild", "--batch-size", "16"], "build.after_commit:3"),
        ] {
            let mut dies = program(&db.url(), &words, Some(point));
            let died = dies.env("DECISIONGRAPH_LEASE_MS", "600000").output().expect("the binary runs");
            assert_eq!(died.status.signal(), Some(SIGKILL), "{kind} {words:?}");
            let mut next = program(&db.url(), &words, None);
            ends_well(next.env("DECISIONGRAPH_LEASE_MS", "600000"), kind).await;
        }
        let expected = uninterrupted(kind).await;
        assert_eq!(positions(&store).await, expected, "{kind}");
    }
}

/// Promise: a job without a node survives the same faults as a job in a node. The process is held at a point while its
/// server restarts as after a power failure. The next thing that it does, a read or a commit, meets a lost connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_node_survives_immediate_restarts_of_its_database() {
    let expected = uninterrupted("postgres").await;
    let server = throwaway::Server::start().await.expect("a server");
    for (words, points) in [
        ("catch-up", &["commit.begin:2", "commit.before_commit:2", "commit.after_commit:2"][..]),
        (
            "rebuild",
            &["build.begin:2", "build.after_commit:2", "finish.before_index", "flip.begin", "flip.after_commit"],
        ),
    ] {
        for point in points {
            let database = server.fresh_database().await.expect("a database");
            let url = DatabaseUrl::parse(database.url()).expect("a URL");
            let store = open(&url, StoreOptions::default()).await.expect("opens");
            append(&store, &returning(TRACES / 8)).await;
            append(&store, &log(TRACES, 0)).await;
            if words == "rebuild" {
                ends_well(&mut program(database.url(), &["catch-up"], None), point).await;
            }
            let mut job = program(database.url(), &[words, "--batch-size", "16"], None);
            let mut job = job.env("DECISIONGRAPH_STOP_AT", point).stdout(Stdio::piped()).stderr(Stdio::piped());
            job = job.env("DECISIONGRAPH_LEASE_MS", "3000");
            let child = job.spawn().expect("starts");
            let pid = child.id();
            stopped(pid, point).await;
            server.restart(throwaway::StopMode::Immediate).await.expect("restarts");
            launch::signal(pid, "CONT").expect("goes on");
            let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
            let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").expect("no panic").expect("ends");
            assert!(ended.status.success(), "{words} at {point}: {}", String::from_utf8_lossy(&ended.stderr));
            let store = open(&url, StoreOptions::default()).await.expect("opens");
            assert_eq!(positions(&store).await, expected, "{words} at {point}");
            let filter = decisiongraph_store::ListFilter { limit: 1, ..Default::default() };
            let run = store.view().await.expect("view").runs(&filter).await.expect("runs").items.remove(0);
            assert_eq!(run.state, decisiongraph_store::RunState::Completed, "{words} at {point}: {run:?}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the process is held at its point.
async fn stopped(pid: u32, point: &str) {
    let held = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives").contains(") T ") {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("{point} is never met"));
}

/// Runs the command and checks that it ends soon and well.
async fn ends_well(command: &mut Command, what: &str) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let pid = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(ended) = tokio::time::timeout(PATIENCE, ended).await else {
        let _ = launch::signal(pid, "KILL");
        panic!("{what}: no end within {PATIENCE:?}");
    };
    let ended = ended.expect("no panic").expect("ends");
    assert!(ended.status.success(), "{what}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// A process with the database that is killed between the two rows of a change leaves an entry without its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_change_leaves_an_entry_without_its_end() {
    for kind in ["sqlite", "postgres"] {
        let (db, store) = database(kind).await;
        succeeds(&db, &["catch-up"]);
        assert!(crashes(&db, &["pause", "--projection", "trace_summary", "--reason", "a review"], "change.before_end"));
        let view = store.view().await.expect("view");
        let listed = view.changes(&ChangeFilter::default(), None, 10).await.expect("changes").items;
        let told: Vec<(&str, bool, bool)> =
            listed.iter().map(|change| (&*change.asked.what, change.end.is_some(), change.lost)).collect();
        assert_eq!(told, [("pause", false, true), ("catch_up", true, false)], "{kind}");
        let identity = &listed[0].asked.asker.identity;
        assert!(identity.starts_with(if kind == "postgres" { "role " } else { "uid " }), "{identity}");
        assert_eq!(listed[0].asked.asker.door, "database");
    }
}
