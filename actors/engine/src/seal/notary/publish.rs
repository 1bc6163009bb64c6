//! The way of signed notes out of the process: to the notes of the database, and to every place.
//!
//! A place gets its notes from the journal, from the first one that it may lack. So nothing waits in memory, however
//! long the place is away, and a place that is added gets all of them.
//!
//! *Guarantees.* Each destination has its own pauses, lag and last fault. A place that hangs keeps one thread, and no
//! other destination. Nothing is put twice where the place can tell, and nothing is left out.

use super::{Log, Sealing, State, lock};
use crate::failure::Pauses;
use crate::seal::SealWord;
use crate::seal::memory_check::Known;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_seal::{Place, PlaceError, Remembered};
use decisiongraph_store::{NewSealNote, Store, crash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pauses after faults of a destination.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// Longest wait of one call for one place. A place that takes longer goes on by itself.
const PLACE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of the journal that are read at once.
const PAGE_BYTES: u64 = 64 * 1024;
/// Pause between two thinnings of a log's notes in the database.
const THIN_EVERY: Duration = Duration::from_secs(60 * 60);

/// State of a destination.
#[derive(Debug, Default)]
pub(super) struct Destination {
    /// Faults in a row.
    faults: u32,
    again: Option<Instant>,
    pub(super) fault: Option<String>,
    /// Begin of the attempt that runs.
    pub(super) busy: Option<Instant>,
    /// Notes of the place, by origin.
    pub(super) logs: BTreeMap<String, Published>,
}

/// Notes of one log at one place.
#[derive(Debug, Default, Clone)]
pub(super) struct Published {
    /// Position in the journal behind the last note that the place has; none before the place was asked.
    position: Option<u64>,
    /// [`Log::written`] at that position.
    done: u64,
    /// Newest checkpoint there: size, and time of the signature.
    pub(super) newest: Option<(u64, String)>,
    /// Time since which it lacks a note.
    pub(super) behind: Option<Instant>,
    /// Reason why the place refuses a note of this log, and the time at which it did.
    pub(super) refused: Option<(String, Instant)>,
}

impl Destination {
    fn may_run(&self, now: Instant) -> bool {
        self.busy.is_none() && self.again.is_none_or(|again| again <= now)
    }

    fn ended(&mut self, fault: Option<String>, name: &str) {
        self.busy = None;
        match fault {
            None => {
                if self.fault.take().is_some() {
                    tracing::info!("{name} has the notes of the seal again");
                }
                (self.faults, self.again) = (0, None);
            }
            Some(fault) => {
                if self.fault.is_none() {
                    tracing::warn!("notes of the seal wait for {name}: {fault}");
                }
                self.faults = self.faults.saturating_add(1);
                let jitter = u64::from(self.faults).wrapping_mul(0x9E37_79B9);
                self.again = Some(Instant::now() + PAUSES.before(self.faults, jitter));
                self.fault = Some(fault);
            }
        }
    }
}

impl State {
    /// Notes that the journal got notes of this log.
    pub(super) fn wrote(&mut self, origin: &str, notes: u64) {
        let Some(log) = self.logs.get_mut(origin) else { return };
        log.written += notes;
        for place in &mut self.places {
            let published = place.logs.entry(origin.to_owned()).or_default();
            published.behind.get_or_insert_with(Instant::now);
        }
    }

    /// Lists the logs of which this place lacks notes that can be brought now.
    fn waiting(&self, place: usize) -> Vec<String> {
        let refused = |origin: &String| self.places.get(place)?.logs.get(origin)?.refused.as_ref().map(|(_, at)| *at);
        let mut lacking = self.lacking(place);
        lacking.retain(|origin| refused(origin).is_none_or(|at| at.elapsed() >= PAUSES.longest));
        lacking
    }

    /// Lists the logs of which this place lacks notes.
    pub(super) fn lacking(&self, place: usize) -> Vec<String> {
        let there = |origin: &str| self.places.get(place).and_then(|place| place.logs.get(origin));
        let lacks = |origin: &str, log: &Log| there(origin).is_none_or(|published| published.done < log.written);
        self.logs.iter().filter(|(origin, log)| lacks(origin, log)).map(|(origin, _)| origin.clone()).collect()
    }
}

impl Sealing {
    /// Takes up what the notary does not know yet: places, and trees that were checked.
    fn meet(&self) {
        let trees: Vec<_> = lock(&self.trees).values().map(|kept| kept.unsigned.clone()).collect();
        let mut state = lock(&self.notary.state);
        for tree in trees {
            state.log(&tree.origin, &tree.tenant);
        }
        state.places.resize_with(self.memory.places.len(), Destination::default);
    }

    /// Returns the time until a note can be brought to a destination. None when none waits.
    pub(super) fn next_publication(&self, now: Instant) -> Option<Duration> {
        self.meet();
        let state = lock(&self.notary.state);
        let wait = |destination: &Destination| match destination.busy {
            Some(_) => PLACE_WAIT,
            None => destination.again.map_or(Duration::ZERO, |again| again.saturating_duration_since(now)),
        };
        let database = state.logs.values().any(|log| !log.to_note.is_empty()).then(|| wait(&state.database));
        let lacking = state.places.iter().enumerate().filter(|(place, _)| !state.waiting(*place).is_empty());
        lacking.map(|(_, place)| wait(place)).chain(database).min()
    }
}

/// Brings notes to every destination that lacks some and is not in a pause. Waits a bounded time for each.
pub async fn publish(store: &dyn Store, sealing: &Arc<Sealing>) {
    sealing.meet();
    let mut begun = note(store, sealing).await;
    for place in 0..sealing.memory.places.len() {
        let Some(waiting) = begin(sealing, place) else { continue };
        if begun {
            crash::point("publish.half");
        }
        begun = true;
        let at_desk = Arc::clone(sealing);
        let work = tokio::task::spawn_blocking(move || bring(&at_desk, place, &waiting));
        // One that hangs goes on by itself, and is not begun again before it ends.
        let _ = tokio::time::timeout(PLACE_WAIT, work).await;
    }
    for notice in sealing.memory.notices() {
        tracing::warn!("a memory of the seal: {notice}");
    }
}

/// Begins an attempt at a place. Returns the logs whose notes wait for it; none when it is not to be tried now.
fn begin(sealing: &Sealing, place: usize) -> Option<Vec<String>> {
    let mut state = lock(&sealing.notary.state);
    let waiting = state.waiting(place);
    let destination = state.places.get_mut(place).filter(|it| !waiting.is_empty() && it.may_run(Instant::now()))?;
    destination.busy = Some(Instant::now());
    Some(waiting)
}

/// Stores notes in the database. True when there were some.
async fn note(store: &dyn Store, sealing: &Arc<Sealing>) -> bool {
    let waiting: Vec<(String, Vec<NewSealNote>)> = {
        let mut state = lock(&sealing.notary.state);
        let logs = state.logs.iter().filter(|(_, log)| !log.to_note.is_empty());
        let waiting: Vec<_> = logs.map(|(origin, log)| (origin.clone(), log.to_note.clone())).collect();
        if waiting.is_empty() || !state.database.may_run(Instant::now()) {
            return false;
        }
        state.database.busy = Some(Instant::now());
        waiting
    };
    let mut fault = None;
    for (origin, notes) in waiting {
        match store.add_seal_notes(&notes).await {
            Ok(()) => {
                if let Some(log) = lock(&sealing.notary.state).logs.get_mut(&origin) {
                    log.to_note.drain(..notes.len().min(log.to_note.len()));
                }
                thin(store, sealing, &origin).await;
            }
            // One tenant's fault does not keep the notes of another.
            Err(error) => fault = Some(error.message),
        }
    }
    lock(&sealing.notary.state).database.ended(fault, "the database");
    true
}

/// Thins out old notes of a log in the database, once in an hour.
async fn thin(store: &dyn Store, sealing: &Sealing, origin: &str) {
    let due = |log: &&mut Log| log.thinned.is_none_or(|thinned| thinned.elapsed() >= THIN_EVERY);
    let tenant = {
        let mut state = lock(&sealing.notary.state);
        let Some(log) = state.logs.get_mut(origin).filter(due) else { return };
        log.thinned = Some(Instant::now());
        log.tenant.clone()
    };
    if let Err(error) = store.thin_seal_notes(&tenant).await {
        tracing::debug!(%tenant, category = %error.category, "old notes of the seal stay: {}", error.message);
    }
}

/// Brings the notes of these logs to a place. Blocks.
fn bring(sealing: &Sealing, place: usize, origins: &[String]) {
    let Some(to) = sealing.memory.places.get(place) else { return };
    let mut fault = None;
    for origin in origins {
        let (before, written) = {
            let state = lock(&sealing.notary.state);
            let published = state.places.get(place).and_then(|place| place.logs.get(origin));
            (published.cloned().unwrap_or_default(), state.logs.get(origin).map_or(0, |log| log.written))
        };
        let mut after = before;
        let brought = bring_log(sealing, &**to, origin, &mut after);
        match &brought {
            Ok(()) => (after.done, after.behind, after.refused) = (written, None, None),
            Err(PlaceError::Away(_)) => {}
            Err(error) => {
                tracing::warn!("{} takes no note of {origin}: {error}", to.name());
                after.refused = Some((error.to_string(), Instant::now()));
            }
        }
        let mut state = lock(&sealing.notary.state);
        if state.logs.get(origin).is_some_and(|log| log.written > after.done) {
            after.behind.get_or_insert_with(Instant::now);
        }
        if let Some(destination) = state.places.get_mut(place) {
            destination.logs.insert(origin.clone(), after);
        }
        drop(state);
        if let Err(PlaceError::Away(error)) = brought {
            // The next log would wait as long.
            fault = Some(error);
            break;
        }
    }
    if let Some(destination) = lock(&sealing.notary.state).places.get_mut(place) {
        destination.ended(fault, &to.name());
    }
}

/// Brings the notes of one log to a place, from the first that it may lack.
fn bring_log(sealing: &Sealing, to: &dyn Place, origin: &str, published: &mut Published) -> Result<(), PlaceError> {
    let journal = &sealing.memory.journal;
    let mut from = match published.position {
        Some(position) => position,
        None => {
            let newest = to.newest(origin)?;
            let size = newest.as_ref().map_or(0, |newest| newest.size);
            published.newest = newest.map(|newest| (newest.size, newest.at));
            journal.position_of(origin, size)?
        }
    };
    loop {
        let page = journal.page(origin, from, PAGE_BYTES)?;
        for note in &page.notes {
            to.put(note).inspect_err(|error| refused(sealing, to, origin, note, error))?;
            if note.is_checkpoint() && published.newest.as_ref().is_none_or(|(size, _)| *size < note.size) {
                published.newest = Some((note.size, note.at.clone()));
            }
        }
        if page.next == from {
            published.position = Some(from);
            return Ok(());
        }
        from = page.next;
        published.position = Some(from);
    }
}

/// Stops the sealing of a tenant whose checkpoint contradicts a place.
fn refused(sealing: &Sealing, to: &dyn Place, origin: &str, note: &Remembered, error: &PlaceError) {
    let (PlaceError::Differs(_), Some(root)) = (error, note.root) else { return };
    let tenant = lock(&sealing.notary.state).logs.get(origin).map(|log| log.tenant.clone());
    let Some(tenant) = tenant else { return };
    let mut other = None;
    let unread = to.each(origin, &mut |there| {
        if other.is_none() && there.is_checkpoint() && there.size == note.size {
            other = Some(there);
        }
    });
    let other = other.filter(|_| unread.is_ok());
    let finding = match other.and_then(|other| Some((other.root?, other.at))) {
        Some((other, at)) => {
            let known = Known { memory: to.name(), head: TreeHead { size: note.size, root: other }, at };
            known.differs(&root, None, note.size)
        }
        // A service that lists nothing.
        None => SealWord::CheckpointDiffers.because(error),
    };
    sealing.stop(&tenant, finding);
}
