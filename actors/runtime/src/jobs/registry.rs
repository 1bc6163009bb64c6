//! In-memory knowledge of this node's jobs: how to stop and follow them, and what came of jobs that ended lately.
//!
//! The run row is the truth; the registry is quicker. It outlives the actors that write to it.

use decisiongraph_engine::{Cancel, Control, Progress, RunReport, VerifyOptions};
use decisiongraph_store::{Result as StoreResult, Run};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// Time for which the outcome of an ended job is remembered; after that, its run row tells it.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Ended jobs that are remembered, at most.
const REMEMBERED_MAX: usize = 1_000;

/// Outcome of a job: its report, or its error.
pub type Outcome = StoreResult<RunReport>;

struct Entry {
    run: Run,
    cancel: Cancel,
    progress: watch::Sender<Option<Progress>>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Part of a verify. A node that adopts the job does not know it, and verifies everything.
    verify: VerifyOptions,
    /// True while the job's child exists, also between two lives.
    here: bool,
    ended: Option<Instant>,
}

/// The jobs of this node, and how many have ended. One registry per node.
#[derive(Default)]
pub struct JobRegistry(Mutex<HashMap<Uuid, Entry>>, AtomicU64);

/// View of a job, to follow it.
pub struct JobView {
    /// Run of the job when it was last seen.
    pub run: Run,
    /// Progress of the job.
    pub progress: watch::Receiver<Option<Progress>>,
    /// Outcome of the job, once it has ended.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

impl JobRegistry {
    fn jobs(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes that a job is about to run, for the first time or again.
    pub fn put(&self, run: &Run) {
        let mut jobs = self.jobs();
        jobs.retain(|_, entry| entry.ended.is_none_or(|ended| ended.elapsed() < REMEMBERED));
        while jobs.values().filter(|entry| entry.ended.is_some()).count() > REMEMBERED_MAX {
            let oldest = jobs.iter().filter_map(|(id, entry)| Some((entry.ended?, *id))).min();
            let Some((_, id)) = oldest else { break };
            jobs.remove(&id);
        }
        let entry = jobs.entry(run.run_id).or_insert_with(|| Entry {
            run: run.clone(),
            cancel: Cancel::default(),
            progress: watch::Sender::new(None),
            outcome: watch::Sender::new(None),
            verify: VerifyOptions::default(),
            here: true,
            ended: None,
        });
        entry.run = run.clone();
        // Its child is on its way.
        entry.here = true;
        if entry.ended.take().is_some() {
            entry.outcome.send_replace(None);
            entry.cancel = Cancel::default();
        }
        if run.cancel_requested {
            entry.cancel.request();
        }
    }

    /// Returns the control by which the job's engine is stopped and followed.
    pub fn control(&self, run_id: Uuid) -> Control {
        match self.jobs().get(&run_id) {
            Some(entry) => Control {
                cancel: entry.cancel.clone(),
                progress: Some(entry.progress.clone()),
                verify: entry.verify.clone(),
            },
            None => Control::default(),
        }
    }

    /// Notes the part of a verify, before its child begins.
    pub fn verifies(&self, run: &Run, verify: &VerifyOptions) {
        self.put(run);
        if let Some(entry) = self.jobs().get_mut(&run.run_id) {
            entry.verify = verify.clone();
        }
    }

    /// Notes that the job has no child.
    pub fn lost(&self, run_id: Uuid) {
        if let Some(entry) = self.jobs().get_mut(&run_id) {
            entry.here = false;
        }
    }

    /// Notes that no job has a child: their supervisor begins a new life.
    pub fn lost_all(&self) {
        self.jobs().values_mut().for_each(|entry| entry.here = false);
    }

    /// Notes that the job has ended.
    pub fn ended(&self, run_id: Uuid, outcome: Outcome) {
        if let Some(entry) = self.jobs().get_mut(&run_id) {
            if let Ok(report) = &outcome {
                entry.run = report.run.clone();
            }
            entry.ended = Some(Instant::now());
            self.1.fetch_add(1, Ordering::SeqCst);
            entry.outcome.send_replace(Some(outcome));
        }
    }

    /// Counts the jobs of this node that have ended.
    pub fn ended_total(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }

    /// Asks a job of this node to stop at its next batch. True when the job is here and has not ended.
    pub fn cancel(&self, run_id: Uuid) -> bool {
        self.jobs().get(&run_id).filter(|entry| entry.ended.is_none()).map(|entry| entry.cancel.request()).is_some()
    }

    /// Follows a job of this node.
    pub fn view(&self, run_id: Uuid) -> Option<JobView> {
        self.jobs().get(&run_id).map(|entry| JobView {
            run: entry.run.clone(),
            progress: entry.progress.subscribe(),
            outcome: entry.outcome.subscribe(),
        })
    }

    /// True when the job has a child here and has not ended.
    pub fn has(&self, run_id: Uuid) -> bool {
        self.jobs().get(&run_id).is_some_and(Entry::is_running)
    }

    /// Lists the jobs under way.
    pub fn running(&self) -> Vec<Run> {
        self.jobs().values().filter(|entry| entry.is_running()).map(|entry| entry.run.clone()).collect()
    }
}

impl Entry {
    fn is_running(&self) -> bool {
        self.here && self.ended.is_none()
    }
}
