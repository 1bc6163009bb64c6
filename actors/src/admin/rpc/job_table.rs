//! The jobs that this process runs or ran of late: how to stop them, how far they are, how they ended.
//!
//! *Guarantees.* A running job is never forgotten; of those that ended, the latest are kept, at most [`ENDED_MAX`]. What is forgotten
//! here still stands in the database.

use crate::admin::AdminError;
use crate::engine::{Cancel, Progress, RunReport};
use decisiongraph_store::Run;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use uuid::Uuid;

/// Ended jobs that are kept.
pub const ENDED_MAX: usize = 256;

/// A job of this process.
pub struct Followed {
    /// Stops it at its next batch.
    pub cancel: Cancel,
    /// As it began.
    pub run: Run,
    /// Where it stands.
    pub progress: watch::Receiver<Option<Progress>>,
    /// How it ended.
    pub ended: watch::Receiver<Option<Result<RunReport, AdminError>>>,
}

impl Followed {
    fn has_ended(&self) -> bool {
        self.ended.borrow().is_some() || self.ended.has_changed().is_err()
    }
}

/// The table, by run id.
#[derive(Default)]
pub struct JobTable(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    count: u64,
    by_id: HashMap<Uuid, (u64, Arc<Followed>)>,
}

impl JobTable {
    /// Keeps this job.
    pub fn insert(&self, run_id: Uuid, job: Followed) {
        let mut jobs = self.lock();
        jobs.count += 1;
        let order = jobs.count;
        jobs.by_id.insert(run_id, (order, Arc::new(job)));
        let mut ended: Vec<(u64, Uuid)> =
            jobs.by_id.iter().filter(|(_, (_, job))| job.has_ended()).map(|(id, (order, _))| (*order, *id)).collect();
        if ended.len() > ENDED_MAX {
            ended.sort_unstable();
            let too_many = ended.len() - ENDED_MAX;
            for (_, id) in ended.into_iter().take(too_many) {
                jobs.by_id.remove(&id);
            }
        }
    }

    /// The job with this id, if it is or was one of this process.
    pub fn find(&self, run_id: Uuid) -> Option<Arc<Followed>> {
        self.lock().by_id.get(&run_id).map(|(_, job)| Arc::clone(job))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
