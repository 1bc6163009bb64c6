//! Named points at which a test kills the process, to prove that a crash there loses nothing.
//!
//! In debug builds only: `DECISIONGRAPH_CRASH_AT=name` or `name:n` (the n-th visit, from 1) makes the process kill itself with
//! SIGKILL: no destructors, no rollback, no flush. A release build has no such points.

/// Every point, for tests that visit them all.
pub const POINTS: &[&str] = &[
    // a live batch, in order
    "commit.begin",
    "commit.rows_written",
    "commit.before_fence",
    "commit.before_commit",
    "commit.after_commit",
    // a batch of a rebuild
    "build.begin",
    "build.rows_written",
    "build.before_commit",
    "build.after_commit",
    // the end of a rebuild
    "finish.before_index",
    "finish.after_index",
    "flip.begin",
    "flip.before_commit",
    "flip.after_commit",
    // the removal of the old generation
    "sweep.begin",
    "sweep.before_commit",
    "sweep.after_commit",
];

/// Dies here if the environment says so.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PLAN: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let plan = std::env::var("DECISIONGRAPH_CRASH_AT").ok()?;
        match plan.rsplit_once(':') {
            Some((name, visit)) => Some((name.to_owned(), visit.parse().ok()?)),
            None => Some((plan, 1)),
        }
    });
    static VISITS: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not a named crash point");
    if let Some((planned, visit)) = PLAN.as_ref()
        && planned == name
        && VISITS.fetch_add(1, Ordering::SeqCst) + 1 == *visit
    {
        // `kill` of the own pid: nothing of this process runs after it.
        let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}
