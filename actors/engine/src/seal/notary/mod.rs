//! The notary: signs committed heads, and brings the notes out of the process.
//!
//! ```text
//!   due ──▶ gate (standbys) ──▶ sign ──▶ journal, fsync ──▶ Sealing::signed
//!                                            │
//!                                 publish ──▶├──▶ notes of the database
//!                                            └──▶ each place, from the journal
//! ```
//!
//! *Guarantees.* Only heads of [`Sealing::unsigned`] are signed: they are committed, and continue everything that is
//! remembered. A head that is not larger than the newest in the journal is not signed. One that the journal already
//! has is noted and published, and not signed again. A checkpoint waits for the journal's `fsync` alone; database and
//! places are each tried again by themselves.
//!
//! *Never here:* timers. The caller looks when [`Sealing::next_due`] says.

mod gate;
mod publish;
mod statement;
mod status;
mod window;

pub use publish::publish;
pub use status::PlaceHealth;

use super::memory_check::Known;
use super::{SealFinding, Sealing, Unsigned, lock};
use decisiongraph_projections::seal::texts::{Fork, TreeHead};
use decisiongraph_projections::{Category, LogSeq, TenantId, rfc3339};
use decisiongraph_seal::key::KeyError;
use decisiongraph_seal::{Place as _, PlaceError, Remembered, fork_origin};
use decisiongraph_store::{NewSealNote, NoteKind, Result, SealTree, Store, StoreError, crash};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Logs that are signed at the same time.
const SIGNERS_MAX: usize = 8;
/// Pause before a head is tried again that could not be signed.
const AGAIN: Duration = Duration::from_secs(1);
/// Next step when the journal is not written.
const NEXT_JOURNAL: &str =
    "make seal_dir writable, with free space; sealing continues in the meantime, signing afterwards";

/// State of the notary. It is only shown, and made anew after a restart: the journal is what counts.
#[derive(Debug, Default)]
pub struct Desk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Logs, by origin.
    logs: BTreeMap<String, Log>,
    database: publish::Destination,
    /// In the order of [`decisiongraph_seal::Memory::places`].
    places: Vec<publish::Destination>,
    /// Fault of the last attempt to read the keys again.
    key_fault: Option<String>,
}

/// One log at the notary.
#[derive(Debug)]
struct Log {
    tenant: TenantId,
    /// Held while a head of the log is signed.
    lane: Arc<tokio::sync::Mutex<()>>,
    /// Newest signed head, and the time of its signature.
    signed: Option<(u64, String)>,
    /// Notes that the journal got, counted from 1: there may be some from before.
    written: u64,
    /// Time of the last statement.
    stated: Option<Instant>,
    /// Head that waits for the standbys.
    gated: Option<gate::Gated>,
    /// Reason why the newest head is not signed, and the time from which it is tried again.
    waits: Option<(String, Instant)>,
    /// Notes that the database has not got.
    to_note: Vec<NewSealNote>,
    /// Time at which old notes of the database were last thinned out.
    thinned: Option<Instant>,
    /// Checkpoints that no place has.
    unplaced: window::Unplaced,
}

impl Log {
    fn new(tenant: &TenantId) -> Log {
        Log {
            tenant: tenant.clone(),
            lane: Arc::default(),
            signed: None,
            written: 1,
            stated: None,
            gated: None,
            waits: None,
            to_note: Vec::new(),
            thinned: None,
            unplaced: window::Unplaced::default(),
        }
    }
}

impl State {
    fn log(&mut self, origin: &str, tenant: &TenantId) -> &mut Log {
        self.logs.entry(origin.to_owned()).or_insert_with(|| Log::new(tenant))
    }
}

/// A checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNow {
    /// Size and root.
    pub head: TreeHead,
    /// The signed note.
    pub note: String,
    /// False when the journal had it already.
    pub is_new: bool,
}

impl Sealing {
    /// Lists the heads whose checkpoint is due.
    pub fn due(&self, now: Instant) -> Vec<Unsigned> {
        let unsigned = self.unsigned();
        unsigned.into_iter().filter(|log| self.wait_of(log, now).is_zero()).collect()
    }

    /// Returns the time until a head is due, or a note can be brought to its destination. None when nothing waits.
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        let heads = self.unsigned().iter().map(|log| self.wait_of(log, now)).min();
        let notes = self.next_publication(now);
        heads.into_iter().chain(notes).min()
    }

    fn wait_of(&self, log: &Unsigned, now: Instant) -> Duration {
        let settings = &self.settings;
        let at_once = log.hurried || log.events >= settings.checkpoint_events;
        let due = if at_once { now } else { log.since + settings.checkpoint };
        let state = lock(&self.notary.state);
        let again = state.logs.get(&log.origin).and_then(|log| log.waits.as_ref()).map(|(_, again)| *again);
        again.map_or(due, |again| due.max(again)).saturating_duration_since(now)
    }

    /// True while the former key signs, too.
    pub fn both_sign(&self) -> bool {
        let Some(since) = self.keys.rotated_at() else { return false };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let since = rfc3339::instant(&since).map_or(0, |(seconds, _)| u64::try_from(seconds).unwrap_or(0));
        now < since.saturating_add(self.settings.overlap.as_secs())
    }

    /// Takes new keys after a rotation. A fault is shown; the keys of before go on to sign.
    pub fn refresh_keys(&self) {
        let read = self.keys.refresh();
        if let Ok(true) = read {
            tracing::info!("the key of the seal was replaced: new notes are signed by the new key");
        }
        let fault = read.err().map(|error| error.to_string());
        let mut state = lock(&self.notary.state);
        if fault.is_some() && fault != state.key_fault {
            tracing::warn!("the keys of the seal cannot be read again: {}", fault.as_deref().unwrap_or_default());
        }
        state.key_fault = fault;
    }

    /// Makes the note of a fork, signed under both origins. `last_signed` is the newest head of the tree that ends,
    /// `common` the largest head that both trees have.
    pub fn fork_note(
        &self,
        tree: i64,
        origin: &str,
        last_signed: TreeHead,
        common: TreeHead,
        reason: &str,
    ) -> Result<[Remembered; 2]> {
        self.refresh_keys();
        let reason = reason.split(char::is_control).collect::<Vec<_>>().join(" ");
        let fork = Fork {
            old_origin: origin.to_owned(),
            last_signed,
            new_origin: fork_origin(origin, tree),
            common,
            reason: reason.trim().to_owned(),
        };
        self.keys.fork(&fork, self.both_sign(), &now()).map_err(unsigned)
    }
}

/// Signs every head that is due, each tenant by itself. Returns the number of new checkpoints.
pub async fn sign_due(store: &dyn Store, sealing: &Arc<Sealing>) -> usize {
    let due = sealing.due(Instant::now());
    let mut new = 0;
    for some in due.chunks(SIGNERS_MAX) {
        let signed = futures_util::future::join_all(some.iter().map(|log| sign(store, sealing, log))).await;
        new += signed.iter().filter(|signed| matches!(signed, Ok(Some(SignedNow { is_new: true, .. })))).count();
    }
    new
}

/// Signs this head, and a statement with it when one is due. None: it waits for a standby.
///
/// A finding stops the tenant's sealing, and is an error of category `conflict`. After any other error the head is
/// tried again.
pub async fn sign(store: &dyn Store, sealing: &Arc<Sealing>, log: &Unsigned) -> Result<Option<SignedNow>> {
    let lane = Arc::clone(&lock(&sealing.notary.state).log(&log.origin, &log.tenant).lane);
    let _alone = lane.lock().await;
    let signed = sign_alone(store, sealing, log).await;
    if let Err(error) = &signed {
        let first = note_wait(sealing, &log.origin, error.message.clone(), AGAIN);
        if first {
            tracing::warn!(tenant = %log.tenant, category = %error.category, "not signed: {}", error.message);
        }
    }
    signed
}

/// Notes why a head is not signed. True when that is news.
fn note_wait(sealing: &Sealing, origin: &str, reason: String, again: Duration) -> bool {
    let mut state = lock(&sealing.notary.state);
    let Some(log) = state.logs.get_mut(origin) else { return false };
    let is_new = log.waits.as_ref().is_none_or(|(before, _)| *before != reason);
    log.waits = Some((reason, Instant::now() + again));
    is_new
}

async fn sign_alone(store: &dyn Store, sealing: &Arc<Sealing>, log: &Unsigned) -> Result<Option<SignedNow>> {
    sealing.refresh_keys();
    let Some((asked, last)) = gate::passed(store, sealing, log).await? else { return Ok(None) };
    if let Some(finding) = sealing.stopped_by(&log.tenant) {
        return Err(finding.into());
    }
    let (checkpoint, is_new) = match journalled(sealing, &log.origin, asked).await? {
        Journalled::New(checkpoint) => (checkpoint, true),
        Journalled::Known(checkpoint) => (checkpoint, false),
        // Another process of this node sealed and signed meanwhile, or the head contradicts the journal.
        Journalled::Ahead(newest) => match grew_beyond(store, log, &newest).await? {
            true => (newest, false),
            false => {
                let finding = contradiction(&newest, asked);
                sealing.stop(&log.tenant, finding.clone());
                return Err(finding.into());
            }
        },
    };
    let head = checkpoint.head().unwrap_or(asked);
    let note = checkpoint.note.clone();
    sealing.signed(&log.tenant, log.tree, head.size);
    remember(sealing, log, vec![checkpoint]);
    if head == asked && statement::is_due(sealing, &log.origin) {
        match stated(store, sealing, log, head, last).await {
            Ok(statement) => remember(sealing, log, statement.into_iter().collect()),
            // The checkpoint stands. The next one brings a statement.
            Err(error) => tracing::warn!(tenant = %log.tenant, "no statement was signed: {}", error.message),
        }
    }
    Ok(Some(SignedNow { head, note, is_new }))
}

/// Makes, signs and journals a statement about this head.
async fn stated(
    store: &dyn Store,
    sealing: &Arc<Sealing>,
    log: &Unsigned,
    head: TreeHead,
    last: LogSeq,
) -> Result<Option<Remembered>> {
    let Some(statement) = statement::made(store, &log.tenant, &log.origin, head, last).await? else { return Ok(None) };
    let note = sealing.keys.statement(&statement, sealing.both_sign()).map_err(unsigned)?;
    put(sealing, note.clone()).await?;
    Ok(Some(note))
}

/// Outcome of a checkpoint at the journal.
enum Journalled {
    /// It was signed now.
    New(Remembered),
    /// The journal had it.
    Known(Remembered),
    /// The journal has more events, or another root.
    Ahead(Remembered),
}

async fn journalled(sealing: &Arc<Sealing>, origin: &str, head: TreeHead) -> Result<Journalled> {
    let (at_desk, origin) = (Arc::clone(sealing), origin.to_owned());
    let work = move || -> Result<Journalled> {
        let journal = &at_desk.memory.journal;
        match journal.newest(&origin).map_err(unwritten)? {
            Some(newest) if newest.size > head.size => return Ok(Journalled::Ahead(newest)),
            Some(newest) if newest.size == head.size && newest.root != Some(head.root) => {
                return Ok(Journalled::Ahead(newest));
            }
            Some(newest) if newest.size == head.size && newest.is_checkpoint() => {
                return Ok(Journalled::Known(newest));
            }
            _ => {}
        }
        let note = at_desk.keys.checkpoint(&origin, head, at_desk.both_sign(), &now()).map_err(unsigned)?;
        crash::point("sign.before_journal");
        journal.put(&note).map_err(unwritten)?;
        crash::point("sign.after_journal");
        Ok(Journalled::New(note))
    };
    blocking(work).await
}

/// True when the stored tree is larger than this head, and has the journal's newest one behind it.
async fn grew_beyond(store: &dyn Store, log: &Unsigned, newest: &Remembered) -> Result<bool> {
    let tree = store.view().await?.seal_trees(&log.tenant).await?.pop();
    let has = |tree: &SealTree| tree.tree == log.tree && tree.head.size >= newest.size;
    Ok(newest.is_checkpoint() && newest.size > log.head.size && tree.as_ref().is_some_and(has))
}

/// Puts a note into the journal.
async fn put(sealing: &Arc<Sealing>, note: Remembered) -> Result<()> {
    let at_desk = Arc::clone(sealing);
    blocking(move || at_desk.memory.journal.put(&note).map_err(unwritten)).await
}

/// Puts notes of a log, which are no heads to sign, into the journal, and has them brought to the places: a fork, a
/// rotation. The caller stores them in the database.
pub async fn journal_notes(sealing: &Arc<Sealing>, tenant: &TenantId, notes: &[Remembered]) -> Result<()> {
    for note in notes {
        put(sealing, note.clone()).await?;
        let mut state = lock(&sealing.notary.state);
        state.log(&note.origin, tenant);
        state.wrote(&note.origin, 1);
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(broken) => Err(StoreError::internal(format!("the notary: {broken}"))),
    }
}

/// Has notes, which the journal got, stored in the database and brought to the places.
fn remember(sealing: &Sealing, log: &Unsigned, notes: Vec<Remembered>) {
    let mut state = lock(&sealing.notary.state);
    let known = state.log(&log.origin, &log.tenant);
    for Remembered { kind, size, note, at, .. } in &notes {
        let (tenant, tree, kind, size) = (log.tenant.clone(), log.tree, *kind, *size);
        if kind == NoteKind::Checkpoint {
            known.signed = Some((size, at.clone()));
            if !sealing.memory.places.is_empty() {
                known.unplaced.follow(size, log.since);
            }
            (known.waits, known.gated) = (None, None);
        } else {
            known.stated = Some(Instant::now());
        }
        known.to_note.push(NewSealNote { tenant, tree, kind, size, note: note.clone() });
    }
    state.wrote(&log.origin, notes.len() as u64);
}

/// Reports a journal that contradicts a head.
fn contradiction(newest: &Remembered, head: TreeHead) -> SealFinding {
    let (memory, at) = ("journal".to_owned(), newest.at.clone());
    let known = Known { memory, head: TreeHead { size: newest.size, root: newest.root.unwrap_or_default() }, at };
    match newest.size > head.size {
        true => known.shrunk(head.size),
        false => known.differs(&head.root, None, head.size),
    }
}

fn unwritten(error: PlaceError) -> StoreError {
    let message = format!("the journal of the seal: {error}");
    StoreError::transient(Category::Storage, message).next(NEXT_JOURNAL)
}

fn unsigned(error: KeyError) -> StoreError {
    StoreError::internal(format!("the seal cannot sign: {error}"))
}

/// Returns the present time, RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
