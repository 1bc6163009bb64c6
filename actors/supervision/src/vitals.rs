//! Facts that an actor reports of itself, and the address that counts its mailbox.
//!
//! Guarantees: an actor's numbers are those of its present start. The address or the vitals of an ended actor change
//! nothing in the dump. Never blocks for longer than a copy of a short text.

use super::child_life::Started;
use super::child_spec::ChildKind;
use super::dump::{ActorEntry, ActorTable, RestartBudget};
use super::exit_reason::ExitReason;
use super::handle::SupervisorRef;
use super::intensity::RestartWindow;
use super::strategy::{Restart, Strategy};
use ractor::rpc::CallResult;
use ractor::{ActorRef, Message, RpcReplyPort};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

/// Longest kept text of [`Vitals::working_on`], in characters.
pub const WORK_CHARS_MAX: usize = 200;

/// One start of one actor. Clones share it.
#[derive(Clone)]
pub struct Vitals(Arc<Life>);

/// Bytes per actor in the table, apart from its path and the map.
#[cfg(test)]
pub(super) const ACTOR_BYTES: usize = size_of::<Slot>() + size_of::<Life>();

struct Life {
    table: ActorTable,
    slot: Arc<Slot>,
    started: Instant,
    depth: AtomicI64,
    said: Mutex<Said>,
    supervises: OnceLock<Box<Supervises>>,
}

struct Said {
    state: &'static str,
    last_message: &'static str,
    work: Option<Box<str>>,
}

struct Supervises {
    strategy: Strategy,
    origin: Instant,
    window: Mutex<RestartWindow>,
}

impl Vitals {
    /// Returns the table that shows this actor and all others of its tree.
    pub fn table(&self) -> &ActorTable {
        &self.0.table
    }

    /// Returns the ids from the root, separated by `/`.
    pub fn path(&self) -> &str {
        self.0.slot.path()
    }

    /// Counts the restarts of this child by its supervisor.
    pub fn restarts(&self) -> u32 {
        held(&self.0.slot.now).starts.saturating_sub(1)
    }

    /// Returns the path of the actor's supervisor; the actor's own path when it is the root.
    pub fn parent_path(&self) -> &str {
        self.path().rsplit_once('/').map_or(self.path(), |(parent, _)| parent)
    }

    /// Finds the running supervisor with this id among the actor's siblings.
    pub fn sibling(&self, id: &str) -> Option<SupervisorRef> {
        self.0.table.supervisor(&format!("{}/{id}", self.parent_path()))
    }

    /// Sets the actor's present work; an empty text clears it. Cut to [`WORK_CHARS_MAX`].
    pub fn working_on(&self, work: impl Into<String>) {
        let mut work: String = work.into();
        if let Some((end, _)) = work.char_indices().nth(WORK_CHARS_MAX) {
            work.truncate(end);
        }
        held(&self.0.said).work = (!work.is_empty()).then(|| work.into_boxed_str());
    }

    /// Sets the word for the actor's state in the dump, until the next call.
    pub fn state(&self, state: &'static str) {
        held(&self.0.said).state = state;
    }

    /// Notes that the actor received this message: one less in the mailbox. Call it once per message that came through
    /// an [`Address`].
    pub fn received(&self, message: &'static str) {
        self.0.depth.fetch_sub(1, Ordering::Relaxed);
        held(&self.0.said).last_message = message;
    }

    /// Notes that the actor received this message from itself or a timer; such messages do not count.
    pub fn noted(&self, message: &'static str) {
        held(&self.0.said).last_message = message;
    }

    /// Makes the counting address of this actor.
    pub fn address<M: Message>(&self, actor: ActorRef<M>) -> Address<M> {
        Address { actor, vitals: self.clone() }
    }

    /// Notes that the actor is a supervisor with this strategy and window. The window's times count from `origin`.
    pub(super) fn supervises(&self, strategy: Strategy, origin: Instant, window: RestartWindow) {
        let _ = self.0.supervises.set(Box::new(Supervises { strategy, origin, window: Mutex::new(window) }));
    }

    /// Updates the supervisor's window.
    pub(super) fn spent(&self, window: &RestartWindow) {
        if let Some(supervises) = self.0.supervises.get() {
            *held(&supervises.window) = window.clone();
        }
    }

    pub(super) fn is_current_of(&self, slot: &Arc<Slot>) -> bool {
        Arc::ptr_eq(&self.0.slot, slot) && std::ptr::eq(held(&slot.now).life.as_ptr(), Arc::as_ptr(&self.0))
    }
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vitals").field(&self.path()).finish()
    }
}

/// The actor is gone; the message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor is gone")]
pub struct Gone;

/// Reason for a missing answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The message was not delivered, or the actor ended before it answered.
    #[error("the actor is gone")]
    Gone,
    /// No answer within the deadline; it is not known whether the actor acted.
    #[error("no answer within the deadline")]
    TimedOut,
}

/// An actor's reference with its gauge: messages sent through it show as mailbox depth.
pub struct Address<M> {
    actor: ActorRef<M>,
    vitals: Vitals,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Address<M> {
        Address { actor: self.actor.clone(), vitals: self.vitals.clone() }
    }
}

impl<M: Message> Address<M> {
    /// Sends, without waiting.
    ///
    /// # Errors
    /// `Gone` when the actor is gone.
    pub fn cast(&self, message: M) -> Result<(), Gone> {
        self.vitals.0.depth.fetch_add(1, Ordering::Relaxed);
        self.actor.send_message(message).map_err(|_| {
            self.vitals.0.depth.fetch_sub(1, Ordering::Relaxed);
            Gone
        })
    }

    /// Sends and waits for the answer, at most `deadline`.
    ///
    /// # Errors
    /// `Gone` when the actor is gone, `TimedOut` when the deadline is over.
    pub async fn call<T, F>(&self, message: F, deadline: Duration) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(RpcReplyPort<T>) -> M,
    {
        self.vitals.0.depth.fetch_add(1, Ordering::Relaxed);
        match self.actor.call(message, Some(deadline)).await {
            Ok(CallResult::Success(answer)) => Ok(answer),
            Ok(CallResult::Timeout) => Err(CallError::TimedOut),
            Ok(CallResult::SenderError) => Err(CallError::Gone),
            Err(_) => {
                self.vitals.0.depth.fetch_sub(1, Ordering::Relaxed);
                Err(CallError::Gone)
            }
        }
    }

    /// Returns ractor's reference; messages sent through it are not counted.
    pub const fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }

    /// Returns the actor's path.
    pub fn path(&self) -> &str {
        self.vitals.path()
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.vitals.path()).finish()
    }
}

/// A place in the table. It outlives the starts of its actor.
pub(super) struct Slot {
    path: Arc<str>,
    kind: ChildKind,
    restart: Restart,
    now: Mutex<Now>,
}

struct Now {
    life: Weak<Life>,
    actor: Option<Started>,
    state: &'static str,
    starts: u32,
    last_exit: Option<ExitReason>,
}

impl Slot {
    pub(super) fn new(path: Arc<str>, kind: ChildKind, restart: Restart) -> Slot {
        let now = Now { life: Weak::new(), actor: None, state: "stopped", starts: 0, last_exit: None };
        Slot { path, kind, restart, now: Mutex::new(now) }
    }

    pub(super) const fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(super) const fn kind(&self) -> ChildKind {
        self.kind
    }

    pub(super) fn actor(&self) -> Option<Started> {
        held(&self.now).actor.clone()
    }

    /// Begins a start. The caller keeps the vitals for as long as the actor lives.
    pub(super) fn begin(self: &Arc<Slot>, table: &ActorTable) -> Vitals {
        let vitals = Vitals(Arc::new(Life {
            table: table.clone(),
            slot: Arc::clone(self),
            started: Instant::now(),
            depth: AtomicI64::new(0),
            said: Mutex::new(Said { state: "", last_message: "", work: None }),
            supervises: OnceLock::new(),
        }));
        let mut now = held(&self.now);
        (now.life, now.actor, now.state) = (Arc::downgrade(&vitals.0), None, "starting");
        now.starts = now.starts.saturating_add(1);
        vitals
    }

    /// Notes that the start succeeded.
    pub(super) fn run(&self, actor: Started) {
        let mut now = held(&self.now);
        (now.actor, now.state) = (Some(actor), "running");
    }

    /// Notes that the actor is gone, or could not be started.
    pub(super) fn end(&self, state: &'static str, reason: ExitReason) {
        let mut now = held(&self.now);
        (now.life, now.actor, now.state, now.last_exit) = (Weak::new(), None, state, Some(reason));
    }

    /// Sets the state word of an actor that does not run.
    pub(super) fn rest(&self, state: &'static str) {
        held(&self.now).state = state;
    }

    pub(super) fn entry(&self, at: Instant, at_unix_ms: u64) -> ActorEntry {
        let now = held(&self.now);
        let mut entry = ActorEntry {
            path: self.path.to_string(),
            kind: self.kind,
            restart: self.restart,
            strategy: None,
            state: now.state.to_owned(),
            actor: now.actor.as_ref().map(|actor| actor.actor().get_id().to_string()),
            started_at_unix_ms: None,
            uptime_ms: None,
            budget: None,
            restarts_total: now.starts.saturating_sub(1),
            last_exit: now.last_exit.clone(),
            mailbox_depth: 0,
            last_message: None,
            work: None,
        };
        let life = now.life.upgrade();
        drop(now);
        if let Some(life) = life {
            let uptime_ms = ms(at.saturating_duration_since(life.started));
            entry.uptime_ms = Some(uptime_ms);
            entry.started_at_unix_ms = Some(at_unix_ms.saturating_sub(uptime_ms));
            entry.mailbox_depth = u64::try_from(life.depth.load(Ordering::Relaxed)).unwrap_or(0);
            {
                let said = held(&life.said);
                if !said.state.is_empty() {
                    said.state.clone_into(&mut entry.state);
                }
                entry.last_message = (!said.last_message.is_empty()).then(|| said.last_message.to_owned());
                entry.work = said.work.as_deref().map(str::to_owned);
            }
            if let Some(supervises) = life.supervises.get() {
                let window = held(&supervises.window);
                entry.strategy = Some(supervises.strategy);
                entry.budget = Some(RestartBudget {
                    in_window: window.count(at.saturating_duration_since(supervises.origin)),
                    allowed: window.intensity().restarts_max,
                    period_ms: ms(window.intensity().period),
                });
            }
        }
        entry
    }
}

/// Locks. No code panics while it holds one of these locks, so the data of a poisoned one is whole.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
