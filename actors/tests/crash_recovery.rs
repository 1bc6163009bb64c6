//! Promise: a crash at any point loses nothing and applies nothing twice. The real binary is killed with SIGKILL at every named point
//! around a batch commit, a flip and a cleanup, on both backends; right after the crash each digest is that of its rows, and after the
//! next run cursor, rows and digests are those of a run that was never interrupted.

mod support;

use decisiongraph_projections::LogSeq;
use decisiongraph_store::{RunMode, Store, crash, launch};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::Arc;
use support::*;

const SIGKILL: i32 = 9;
const TRACES: usize = 24;

fn command(db: &Db, words: &[&str], crash_at: Option<&str>) -> Output {
    let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph"));
    command.args(["--database", &db.url(), "--json"]).args(words);
    command.env("DECISIONGRAPH_LEASE_MS", "400").env("DECISIONGRAPH_OWN_PARTITION_EVENTS", "100");
    if let Some(point) = crash_at {
        command.env("DECISIONGRAPH_CRASH_AT", point);
    }
    command.output().expect("the binary runs")
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

/// Whether the process died at the point; otherwise it must have ended well (the point was not visited that often).
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

/// Points of this prefix, each at several visits.
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
        // From the origin, or midway, where new ids are taken for new.
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
    for point in points(&["build.", "finish.", "flip.", "sweep."]) {
        let (db, store) = database(kind).await;
        succeeds(&db, &["catch-up"]);
        if crashes(&db, &["rebuild", "--batch-size", "16"], &point) {
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
    let all: Vec<&str> = crash::POINTS.iter().copied().filter(|point| !point.starts_with("commit.")).collect();
    assert_eq!(crashed.iter().map(String::as_str).collect::<Vec<_>>(), sorted(all), "every point was met");
}

/// Nothing of the old generations is left, once the transactions of other tests that are older than the flip have ended.
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

/// What a rebuild had flipped to when it died is not built once more.
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
        let run = store.view().await.expect("view").runs(&filter).await.expect("runs").remove(0);
        assert_eq!((run.mode, run.state), (RunMode::Rebuild, decisiongraph_store::RunState::Completed));
        let report = run.report.as_deref().expect("a report");
        let scopes: Vec<decisiongraph_actors::engine::ScopeReport> = serde_json::from_str(report).expect("JSON");
        let told: Vec<_> = scopes.iter().map(|it| (it.flipped_before, it.events > 0, it.rebuild.is_some())).collect();
        assert_eq!(told, [(true, false, false), (false, false, true), (false, false, true)], "{kind}");
        assert_eq!(scopes.iter().map(|scope| scope.generation.0).collect::<Vec<_>>(), after, "{kind}");
        succeeds(&db, &["verify"]);

        // Of one that died after its last flip, nothing is left but to say so.
        assert!(crashes(&db, &["rebuild", "--batch-size", "16"], "flip.after_commit:3"));
        let crashed = generations().await;
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        assert_eq!(generations().await, crashed, "{kind}: all stay");
        everything_is_swept(&store).await;
    }
}

/// An interrupted rebuild goes on from its own position, it does not start anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_rebuild_is_adopted() {
    for kind in ["sqlite", "postgres"] {
        let (db, store) = database(kind).await;
        succeeds(&db, &["catch-up"]);
        assert!(crashes(&db, &["rebuild", "--batch-size", "16"], "build.after_commit:9"));
        let filter = decisiongraph_store::ListFilter { limit: 10, ..Default::default() };
        let orphan = store.view().await.expect("view").runs(&filter).await.expect("runs").remove(0);
        succeeds(&db, &["rebuild", "--batch-size", "16"]);
        let runs = store.view().await.expect("view").runs(&filter).await.expect("runs");
        assert_eq!(runs[0].run_id, orphan.run_id, "{kind}: the same run");
        assert_eq!((runs[0].mode, runs[0].state), (RunMode::Rebuild, decisiongraph_store::RunState::Completed));
        let report = runs[0].report.as_deref().expect("a report");
        let scopes: Vec<decisiongraph_actors::engine::ScopeReport> = serde_json::from_str(report).expect("JSON");
        assert!(scopes[0].from > LogSeq::ORIGIN, "{kind}: it went on from {}", scopes[0].from);
    }
}
