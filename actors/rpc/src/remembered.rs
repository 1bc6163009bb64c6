//! Requests that change something, by their id. A repeated request waits for the first, or gets its answer; it is never
//! carried out twice.
//!
//! *Guarantees.* Bounded in number, bytes and age; a running request is never forgotten. An outcome that may be
//! different next time (the database was away) is not kept: asking again tries again. A forgotten request is still safe
//! to repeat: events have their idempotency key and jobs their run id in the database.

use bytes::Bytes;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// Most requests that are remembered.
pub const REMEMBERED_MAX: usize = 1_024;
/// Most bytes of all remembered answers.
pub const REMEMBERED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Time for which an answer is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// An answer, as bytes, when there is one.
pub type Outcome = watch::Receiver<Option<Bytes>>;

/// Action for a request.
pub enum Entry {
    /// Carry it out, and send the answer.
    First(watch::Sender<Option<Bytes>>),
    /// Another task carries it out, or did: wait here.
    Again(Outcome),
}

struct Kept {
    /// Fingerprint of the request: an id stands for one request only.
    fingerprint: blake3::Hash,
    outcome: Outcome,
    since: Instant,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.outcome.borrow().as_ref().map_or(0, Bytes::len)
    }
    /// True when no task processes the request any more.
    fn ended(&self) -> bool {
        self.outcome.borrow().is_some() || self.outcome.has_changed().is_err()
    }
}

/// The table of remembered requests.
#[derive(Default)]
pub struct Remembered(Mutex<Table>);

#[derive(Default)]
struct Table {
    kept: HashMap<Uuid, Kept>,
    /// Requests whose end was not noticed yet, in the order of their arrival.
    running: Vec<Uuid>,
    /// Requests that have ended, first the one that is forgotten next; with the bytes of their answers.
    ended: VecDeque<(Uuid, Instant, usize)>,
    /// Sum of these bytes.
    bytes: usize,
}

impl Remembered {
    /// Decides what to do with this request. `idempotency_conflict` when its id stands for another one.
    pub fn enter(&self, id: Uuid, fingerprint: blake3::Hash, now: Instant) -> Result<Entry, AdminError> {
        let mut table = self.lock();
        if let Some(kept) = table.kept.get(&id)
            && !lost(kept)
        {
            if kept.fingerprint != fingerprint {
                return Err(AdminError::new(
                    Category::IdempotencyConflict,
                    format!("request {id} was a different command"),
                )
                .next("repeat exactly the same command, or omit --request-id"));
            }
            return Ok(Entry::Again(kept.outcome.clone()));
        }
        let (sender, outcome) = watch::channel(None);
        table.shrink(now);
        table.kept.insert(id, Kept { fingerprint, outcome, since: now });
        table.running.push(id);
        Ok(Entry::First(sender))
    }

    /// Forgets an outcome that may be different next time.
    pub fn forget(&self, id: Uuid) {
        self.lock().kept.remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// True when the request's worker died without an answer.
fn lost(kept: &Kept) -> bool {
    kept.outcome.borrow().is_none() && kept.outcome.has_changed().is_err()
}

impl Table {
    /// Drops what is too old, then the oldest, so that the bounds hold with one more request. Costs as much as there
    /// are requests under way, however many are remembered.
    fn shrink(&mut self, now: Instant) {
        let Table { kept, running, ended, bytes } = self;
        running.retain(|id| match kept.get(id) {
            Some(request) if request.ended() => {
                ended.push_back((*id, request.since, request.bytes()));
                *bytes += request.bytes();
                false
            }
            other => other.is_some(),
        });
        while let Some((id, since, answer)) = ended.front().copied() {
            let old = now.duration_since(since) >= REMEMBERED_FOR;
            if !old && kept.len() < REMEMBERED_MAX && *bytes <= REMEMBERED_BYTES_MAX {
                return;
            }
            ended.pop_front();
            *bytes -= answer;
            // A request that was forgotten meanwhile may run again under the same id.
            if kept.get(&id).is_some_and(Kept::ended) {
                kept.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> blake3::Hash {
        blake3::hash(text.as_bytes())
    }

    #[test]
    fn the_same_request_is_carried_out_once_and_answered_twice() {
        let table = Remembered::default();
        let (id, now) = (Uuid::new_v4(), Instant::now());
        let Ok(Entry::First(sender)) = table.enter(id, print("a"), now) else { panic!("not first") };
        let Ok(Entry::Again(waiting)) = table.enter(id, print("a"), now) else { panic!("twice") };
        assert!(waiting.borrow().is_none());
        sender.send_replace(Some(Bytes::from_static(b"done")));
        drop(sender);
        assert_eq!(waiting.borrow().as_deref(), Some(&b"done"[..]));
        let Ok(Entry::Again(again)) = table.enter(id, print("a"), now) else { panic!("twice") };
        assert_eq!(again.borrow().as_deref(), Some(&b"done"[..]));
        let Err(error) = table.enter(id, print("b"), now) else { panic!("another request under one id") };
        assert_eq!(error.category, Category::IdempotencyConflict);
    }

    #[test]
    fn a_request_whose_worker_died_is_carried_out_again() {
        let table = Remembered::default();
        let (id, now) = (Uuid::new_v4(), Instant::now());
        drop(table.enter(id, print("a"), now));
        assert!(matches!(table.enter(id, print("a"), now), Ok(Entry::First(_))));
    }

    #[test]
    fn the_table_is_bounded_and_what_runs_is_kept() {
        let table = Remembered::default();
        let now = Instant::now();
        let running = Uuid::new_v4();
        let Ok(Entry::First(_worker)) = table.enter(running, print("r"), now) else { panic!("not first") };
        for i in 0..REMEMBERED_MAX * 2 {
            let Ok(Entry::First(sender)) = table.enter(Uuid::from_u128(i as u128 + 1), print("x"), now) else {
                panic!("not first")
            };
            sender.send_replace(Some(Bytes::from(vec![0; 64 * 1024])));
        }
        let table_now = table.lock();
        assert!(table_now.kept.len() <= REMEMBERED_MAX);
        assert!(table_now.kept.values().map(Kept::bytes).sum::<usize>() <= REMEMBERED_BYTES_MAX + 64 * 1024);
        assert!(table_now.kept.contains_key(&running));
    }
}
