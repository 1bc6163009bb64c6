//! Named points at which a test kills the process, to prove that a crash there loses nothing.
//!
//! In debug builds only: `DECISIONGRAPH_CRASH_AT=name` or `name:n` (the n-th visit, from 1) makes the process kill
//! itself with SIGKILL. There are no destructors, no rollback, no flush. `DECISIONGRAPH_STOP_AT` has the same form and
//! makes the process stop itself with SIGSTOP. It then acts like a machine that hangs with a transaction open, until a
//! SIGCONT arrives. Several points are separated by commas. A release build has no such points.

/// Every point, for tests that visit them all.
pub const POINTS: &[&str] = &[
    // a live batch, in order
    "commit.begin",
    "commit.rows_written",
    "commit.before_fence",
    "commit.before_commit",
    "commit.after_commit",
    // batches of several scopes in one transaction, in order
    "shared.rows_written",
    "shared.between_scopes",
    "shared.before_commit",
    "shared.after_commit",
    // a batch that grows a tree, between the points of a live batch
    "seal.rows_written",
    "seal.before_fence",
    "seal.after_commit",
    // a head that is signed, and published
    "sign.before_journal",
    "sign.after_journal",
    "publish.half",
    // a batch of a rebuild
    "build.begin",
    "build.rows_written",
    "build.before_commit",
    "build.after_commit",
    // the end of a rebuild
    "finish.before_index",
    "finish.after_index",
    "finish.end",
    "flip.begin",
    "flip.before_commit",
    "flip.after_commit",
    // the removal of the old generation
    "sweep.begin",
    "sweep.before_commit",
    "sweep.after_commit",
    // a log that moves in
    "move.stored",
    "move.before_commit",
    "move.after_commit",
    // an operator's change, between its two rows
    "change.before_end",
];

/// Kills or stops the process here if the environment says so.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use rustix::process::{Signal, kill_process};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    struct Plan {
        signal: Signal,
        name: String,
        visit: u64,
        visits: AtomicU64,
    }
    static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
        [("DECISIONGRAPH_CRASH_AT", Signal::KILL), ("DECISIONGRAPH_STOP_AT", Signal::STOP)]
            .into_iter()
            .flat_map(|(variable, signal)| {
                let plans = std::env::var(variable).unwrap_or_default();
                let plan = |plan: &str| {
                    let (name, visit) = match plan.rsplit_once(':') {
                        Some((name, visit)) => (name.to_owned(), visit.parse().ok()?),
                        None => (plan.to_owned(), 1),
                    };
                    Some(Plan { signal, name, visit, visits: AtomicU64::new(0) })
                };
                plans.split(',').filter_map(plan).collect::<Vec<_>>()
            })
            .collect()
    });
    debug_assert!(POINTS.contains(&name), "{name} is not a named crash point");
    for plan in PLANS.iter().filter(|plan| plan.name == name) {
        if plan.visits.fetch_add(1, Ordering::SeqCst) + 1 == plan.visit {
            let _ = kill_process(this_thread(), plan.signal);
        }
    }
}

/// Returns the number of this thread where the system shows one, else the process's number. A signal to this number
/// meets the whole process, and this thread first: the thread does not return from the point. A signal to the process
/// can be taken by any thread, and this thread might go on until then.
#[cfg(debug_assertions)]
fn this_thread() -> rustix::process::Pid {
    let shown = std::fs::read_link("/proc/thread-self").ok();
    let number = shown.and_then(|path| path.file_name()?.to_str()?.parse().ok());
    number.and_then(rustix::process::Pid::from_raw).unwrap_or_else(rustix::process::getpid)
}

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}
