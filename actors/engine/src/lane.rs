//! A lane: one projection on its way through the log, to its live generation or to one under construction.
//!
//! ```text
//!        page ──▶ needs ──▶ prior state ──▶ project ──▶ digest ──▶ commit ──▶ position moves
//!                                              │                     │
//!                                              ▼                     ▼
//!                                     poison: failure        fenced / lost / reload (see `recover`)
//! ```
//!
//! The position moves only after the commit returned. A batch that cannot be applied whole is applied up to its poison
//! event.

use super::budget::{Budget, Share};
use super::fold::{Folded, Folding, Indexed};
use super::page::Page;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::known::{EXACT_BYTES_MAX, Known, MIDWAY_VALUES_MAX};
use decisiongraph_projections::{Category, LogEvent, LogSeq, Projection, Refusal, TenantId};
use decisiongraph_protocol::Command;
use decisiongraph_store::{
    Acquisition, BatchCommit, BuildLease, Failure, Generation, Lease, NewFailure, Owner, PageLimit, Position, ReadView,
    Result, Scope, Store, StoreError,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Attempts to get a scope back after its session or connection was lost.
const RECOVERIES_MAX: u32 = 8;
/// First pause between these attempts; doubles.
const RECOVERY_PAUSE: Duration = Duration::from_millis(50);

/// Commits in a row that may fail and be recovered from before the job gives up.
const STALLS_MAX: u32 = 8;

/// Generation to which a lane writes.
#[derive(Debug, Clone)]
pub enum Target {
    /// The rows that readers see.
    Live(Lease),
    /// A generation under construction.
    Build(BuildLease),
}

/// One projection on its way through the log.
pub struct Lane {
    /// Rules of the projection.
    pub projection: &'static dyn Projection,
    /// Tenant and projection.
    pub scope: Scope,
    /// Generation that is written.
    pub target: Target,
    /// Durable position.
    pub position: Position,
    /// Position at the start.
    pub from: LogSeq,
    /// Events applied.
    pub events: u64,
    /// Batches committed.
    pub batches: u64,
    /// Time of the start.
    pub started: Instant,
    /// Position at which to remember the digest, and the digest once the lane was there.
    pub landmark: Option<(LogSeq, Option<RollingDigest>)>,
    /// Failure that stopped the lane.
    pub failure: Option<Failure>,
    /// Positions that are passed without effect; see [`Lane::skipping`].
    pub skips: BTreeSet<LogSeq>,
    /// Content of the generation, as far as a job knows it.
    known: Option<Known>,
    /// Memory that a full knowledge of the content may take.
    room: Option<Share>,
    /// Events of a page that are folded at once. They leave room for what must be known of them.
    at_once: usize,
    /// Number of batches before which no id is assumed new.
    wary_until: u64,
    /// Batches for which the lane assumes nothing after a wrong assumption; doubles each time.
    wary_for: u64,
    /// Columns of a build that have their index, as far as this lane has asked for it.
    indexed: Indexed,
    /// A page that was folded while the one before it was committed.
    ahead: Option<(Arc<Page>, Folded)>,
    /// Events since the last digest checkpoint.
    since_checkpoint: u64,
    /// Commits in a row that were recovered from without progress.
    stalls: u32,
}

impl Lane {
    /// Creates a lane that starts at its target's position.
    pub fn new(projection: &'static dyn Projection, tenant: &TenantId, target: Target, position: Position) -> Lane {
        Lane {
            projection,
            scope: Scope::new(tenant, projection),
            from: position.cursor,
            known: None,
            room: None,
            at_once: usize::MAX,
            wary_until: 0,
            wary_for: 1,
            indexed: Indexed::new(),
            ahead: None,
            target,
            position,
            events: 0,
            batches: 0,
            started: Instant::now(),
            landmark: None,
            failure: None,
            skips: BTreeSet::new(),
            since_checkpoint: 0,
            stalls: 0,
        }
    }

    /// Reads which events the scope skips, as of now. The driver of a long-lived lane calls it again when a skip was
    /// added or revoked.
    pub async fn skipping(&mut self, view: &dyn ReadView) -> Result<()> {
        self.skips = view.skips(&self.scope).await?.into_iter().map(|skip| skip.log_seq).collect();
        if self.ahead.take().is_some() {
            self.known = None;
        }
        Ok(())
    }

    /// From here on, remembers what the generation holds. That is safe: no other writer gets past this lane's fence,
    /// and at the origin the generation is empty. Meant for a job, which ends. It costs memory, up to a bound that is
    /// small when the budget has no room for all of it.
    pub fn keep_known(&mut self, budget: &Budget) {
        if self.known.is_some() {
            return;
        }
        let secret = Uuid::new_v4().into_bytes();
        if self.position.cursor > LogSeq::ORIGIN {
            self.known = Some(Known::midway(secret));
            return;
        }
        self.room = self.room.take().or_else(|| budget.kept.try_hold_all(EXACT_BYTES_MAX));
        let known = Known::new(secret);
        self.known = Some(if self.room.is_some() { known } else { known.with_room_for(MIDWAY_VALUES_MAX) });
    }

    /// Converts a shared page, which was read without skips, to this lane's view. That is the same page. When the lane
    /// skips one of its events, it is a reading of its own of the same events.
    pub async fn own_page(&self, log: &dyn ReadView, page: &Arc<Page>) -> Result<Arc<Page>> {
        let skips = self.skips.range(..=page.end()).next_back().is_some_and(|skip| *skip > page.after);
        if !skips {
            return Ok(Arc::clone(page));
        }
        // The events are in memory already, so they are few enough.
        let limit = PageLimit::rows(usize::MAX);
        Ok(Arc::new(Page::read(log, &self.scope.tenant, page.after, page.end(), limit, &self.skips).await?))
    }

    /// Remembers the digest when the lane passes `at`.
    pub fn watch(&mut self, at: LogSeq) {
        let digest = (self.position.cursor == at).then(|| self.position.digest.clone());
        self.landmark = Some((at, digest));
    }

    /// Returns the next position at which a page must end for this lane.
    pub fn next_stop(&self) -> Option<LogSeq> {
        self.landmark.as_ref().map(|(at, _)| *at).filter(|at| *at > self.position.cursor)
    }

    /// Returns the history of the session in which the lane writes; see [`Lease::history`].
    pub fn history(&self) -> Option<&str> {
        match &self.target {
            Target::Live(lease) => lease.history.as_deref(),
            Target::Build(lease) => lease.history.as_deref(),
        }
    }

    fn generation(&self) -> Generation {
        match &self.target {
            Target::Live(lease) => lease.generation,
            Target::Build(lease) => lease.generation,
        }
    }

    /// Applies a page that starts at the lane's position. `log` holds the events, `store` the rows.
    pub async fn apply(
        &mut self,
        store: &dyn Store,
        log: &dyn ReadView,
        page: &Arc<Page>,
        options: &ApplyOptions<'_>,
    ) -> Result<()> {
        self.apply_ahead(store, log, page, std::future::ready(None), options).await
    }

    /// Applies a page as [`Lane::apply`]. While its batch is committed, the page that `next` gives is folded, if it
    /// starts where this one ends.
    pub async fn apply_ahead(
        &mut self,
        store: &dyn Store,
        log: &dyn ReadView,
        page: &Arc<Page>,
        next: impl Future<Output = Option<Arc<Page>>>,
        options: &ApplyOptions<'_>,
    ) -> Result<()> {
        let events = page.sound();
        let view = store.view().await?;
        let mut known = self.known.take();
        let ahead = self.ahead.take();
        let folded = match ahead {
            Some((ahead, folded)) if Arc::ptr_eq(&ahead, page) => folded,
            unused => {
                if unused.is_some() {
                    // That page's writes are noted as present, and were never written.
                    known = None;
                }
                let folding = self.folding(Some(store), &*view, log, options.limit);
                folding.fold(page, self.position.digest.clone(), None, &mut known).await?
            }
        };
        self.indexed.extend(&folded.indexed);
        let whole = folded.events == events.len();
        self.at_once = if whole { self.at_once.saturating_mul(2) } else { folded.events };
        let applied = folded.poison.as_ref().map_or(folded.events, |poison| poison.index);
        let to = page.reached(applied);
        if to > self.position.cursor {
            self.since_checkpoint += applied as u64;
            let checkpoint = self.since_checkpoint >= options.checkpoint_events;
            let committing = async {
                let batch = BatchCommit {
                    projection: self.projection,
                    from: self.position.cursor,
                    to,
                    changes: &folded.changes,
                    digest: &folded.digest,
                    checkpoint,
                    skipped: page.skipped_upto(to),
                };
                match &self.target {
                    Target::Live(lease) => store.commit(lease, &batch).await,
                    Target::Build(lease) => store.commit_build(lease, &batch).await,
                }
            };
            let fold_ahead = async {
                // A lane that skips events takes its own reading of a page, which is not this one.
                if folded.poison.is_some() || page.poison.is_some() || !whole || !self.skips.is_empty() {
                    return None;
                }
                let next = next.await.filter(|next| next.after == to)?;
                // A fault of this read occurs again, and is dealt with, when that page's turn comes.
                let folding = self.folding(Some(store), &*view, log, options.limit);
                let ahead = folding.fold(&next, folded.digest.clone(), Some(&folded), &mut known).await.ok()?;
                Some((next, ahead))
            };
            let (committed, ahead) = futures_util::future::join(committing, fold_ahead).await;
            if committed.is_ok() {
                (self.known, self.ahead) = (known, ahead);
            }
            match committed {
                Ok(()) => self.advance(to, folded.digest, applied, checkpoint),
                // The driver of a single lane takes it anew: its epoch first, then the durable position.
                Err(error) if !options.recover => return Err(error),
                Err(error) => {
                    let before = self.position.cursor;
                    self.stalls += 1;
                    if self.stalls > STALLS_MAX {
                        return Err(error);
                    }
                    // A wrong assumption passes: this page is folded again without any.
                    let refuted = folded.assumed && error.duplicate;
                    if refuted {
                        tracing::info!("an id was not new, its batch is made again: {}", error.message);
                        self.wary_until = self.batches.saturating_add(self.wary_for);
                        self.wary_for = self.wary_for.saturating_mul(2);
                    }
                    let error = StoreError { transient: error.transient || refuted, ..error };
                    self.recover(store, options.owner, error).await?;
                    // The outcome was unknown, and it was a commit.
                    if self.position.cursor == to {
                        let digest = self.position.digest.clone();
                        self.advance(to, digest, applied, checkpoint);
                    } else if self.position.cursor != before {
                        return Err(StoreError::fenced(format!(
                            "{} was moved to {} by somebody else; this job stops",
                            self.scope, self.position.cursor
                        )));
                    }
                    // Not committed: the driver reads the same page again.
                    return Ok(());
                }
            }
        }
        let poison = match &folded.poison {
            Some(poison) => Some((&events[poison.index], &poison.refusal)),
            None if !whole => None,
            None => page.poison.as_ref().map(|poison| (&page.events[poison.index], &poison.refusal)),
        };
        if let Some((event, refusal)) = poison {
            self.fail(store, page, event, refusal, options.record_failures).await?;
        }
        Ok(())
    }

    fn advance(&mut self, to: LogSeq, digest: RollingDigest, events: usize, checkpoint: bool) {
        self.position.cursor = to;
        self.position.digest = digest;
        self.events += events as u64;
        self.batches += 1;
        self.stalls = 0;
        if checkpoint {
            self.since_checkpoint = 0;
        }
        if let Some((at, remembered)) = &mut self.landmark
            && *at == to
        {
            *remembered = Some(self.position.digest.clone());
        }
    }

    /// Builds the inputs of a fold. `store` is given where the rows may be a build's.
    fn folding<'a>(
        &'a self,
        store: Option<&'a dyn Store>,
        rows: &'a dyn ReadView,
        log: &'a dyn ReadView,
        limit: PageLimit,
    ) -> Folding<'a> {
        let (tenant, generation) = (&self.scope.tenant, self.generation());
        let build = match &self.target {
            Target::Live(_) => None,
            Target::Build(lease) => store.map(|store| (store, lease)),
        };
        let (projection, skips, indexed) = (self.projection, &self.skips, &self.indexed);
        // A build may have no primary key yet that would refute the assumption.
        let assume = matches!(self.target, Target::Live(_)) && self.batches >= self.wary_until;
        let at_once = self.at_once;
        Folding { rows, log, tenant, projection, generation, skips, build, indexed, assume, limit, at_once }
    }

    /// Folds a page without writing anything; `rows` holds what is applied so far.
    pub(super) async fn fold(
        &self,
        rows: &dyn ReadView,
        log: &dyn ReadView,
        page: &Arc<Page>,
        limit: PageLimit,
    ) -> Result<Folded> {
        self.folding(None, rows, log, limit).fold(page, self.position.digest.clone(), None, &mut None).await
    }

    async fn fail(
        &mut self,
        store: &dyn Store,
        page: &Page,
        event: &LogEvent,
        refusal: &Refusal,
        record: bool,
    ) -> Result<()> {
        let new = NewFailure {
            scope: self.scope.clone(),
            log_seq: event.log_seq,
            event_id: event.event_id.to_string(),
            trace_id: event.trace_id.to_string(),
            event_type: event.event_type.to_string(),
            refusal: refusal.clone(),
            // The sound part of the page is committed. The failing batch begins behind it, at the digest that is stored
            // with it.
            batch_from: self.position.cursor,
            batch_to: page.end(),
            digest_before: self.position.digest.to_text(),
        };
        self.failure = Some(if record { store.record_failure(&new).await? } else { unrecorded(new) });
        Ok(())
    }

    /// After a failed commit: reads the scope's position, and takes the scope again when this owner may do that.
    ///
    /// * epoch or owner differ: `fenced`, stop.
    /// * the session or connection is gone, or the outcome is unknown: a new epoch first, then the durable position.
    ///   (The new epoch waits for or ends the old session.)
    /// * a duplicate or a mismatch at the expected position: corruption, with its evidence. A duplicate that a wrong
    ///   assumption explains comes here as transient.
    async fn recover(&mut self, store: &dyn Store, owner: &Owner, error: StoreError) -> Result<()> {
        if !(error.transient
            || error.duplicate
            || matches!(error.category, Category::Fenced | Category::OutcomeUnknown))
        {
            return Err(error);
        }
        let mut pause = RECOVERY_PAUSE;
        let mut last = error.clone();
        for _ in 0..RECOVERIES_MAX {
            match self.reread(store, owner, &error).await {
                Ok(()) => return Ok(()),
                Err(again) if again.transient => {
                    last = again;
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(final_error) => return Err(final_error),
            }
        }
        Err(last)
    }

    async fn reread(&mut self, store: &dyn Store, owner: &Owner, error: &StoreError) -> Result<()> {
        let position = match &self.target {
            Target::Live(lease) => {
                let row = store.view().await?.scope(&self.scope).await?;
                let row = row.ok_or_else(|| StoreError::internal(format!("{} has no row any more", self.scope)))?;
                if row.epoch != lease.epoch {
                    return Err(StoreError::fenced(format!(
                        "{} was taken over (epoch {}, ours was {}); nothing of this batch was written",
                        self.scope, row.epoch, lease.epoch
                    )));
                }
                match store.acquire_scope(&self.scope, owner).await? {
                    Acquisition::Acquired(lease, position) => {
                        self.target = Target::Live(lease);
                        position
                    }
                    Acquisition::Held { by, .. } => {
                        return Err(StoreError::fenced(format!("{} is now owned by {by}", self.scope)));
                    }
                }
            }
            Target::Build(lease) => match store.resume_build(&self.scope, lease.run_id).await? {
                Some((lease, position)) => {
                    self.target = Target::Build(lease);
                    position
                }
                None => {
                    return Err(StoreError::fenced(format!("the rebuild of {} was given up elsewhere", self.scope)));
                }
            },
        };
        let unmoved = position.cursor == self.position.cursor;
        self.position = position;
        if unmoved && !error.transient && (error.duplicate || error.category == Category::Storage) {
            return Err(StoreError::new(
                Category::Storage,
                format!(
                    "{} at {}: the rows are not what the log says ({}); run {} to see which, then {}",
                    self.scope,
                    self.position.cursor,
                    error.message,
                    Command::of_scope("verify", &self.scope.tenant, self.scope.projection),
                    Command::of_scope("rebuild", &self.scope.tenant, self.scope.projection)
                ),
            ));
        }
        Ok(())
    }
}

/// Inputs of a lane besides the page.
pub struct ApplyOptions<'a> {
    /// Owner on whose behalf the lane writes.
    pub owner: &'a Owner,
    /// Events between two digest checkpoints.
    pub checkpoint_events: u64,
    /// True when a poison event becomes a stored failure (a verify changes nothing).
    pub record_failures: bool,
    /// True when the lane recovers from a failed commit (a job). Otherwise the caller gets the error (a worker, which
    /// takes the scope anew).
    pub recover: bool,
    /// Limit of a page: what must be known to fold it has at most as many bytes.
    pub limit: PageLimit,
}

/// Builds a failure that is reported but not stored.
fn unrecorded(new: NewFailure) -> Failure {
    Failure {
        failure_id: 0,
        tenant: new.scope.tenant,
        projection: new.scope.projection.to_owned(),
        log_seq: new.log_seq,
        event_id: new.event_id,
        trace_id: new.trace_id,
        event_type: new.event_type,
        category: new.refusal.category,
        message: new.refusal.message,
        batch_from: new.batch_from,
        batch_to: new.batch_to,
        digest_before: new.digest_before,
        attempts: 1,
        first_seen_at: String::new(),
        last_seen_at: String::new(),
        resolved_at: None,
    }
}
