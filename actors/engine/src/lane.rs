//! A lane: one projection on its way through the log, to its live generation or to one under construction.
//!
//! ```text
//!        page ──▶ needs ──▶ prior state ──▶ project ──▶ digest ──▶ commit ──▶ position moves
//!                                              │                     │
//!                                              ▼                     ▼
//!                                     poison: failure        error: the lane ends
//! ```
//!
//! *Guarantees.* The position moves only after the commit returned. A batch that cannot be applied whole is applied up
//! to its poison event. A lane whose batch was not committed ends: its holder claims the scope again and goes on from
//! the durable position ([`Lane::again`]).

use super::budget::{Budget, Share};
use super::fold::{Folded, Folding, Indexed};
use super::page::Page;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::known::{EXACT_BYTES_MAX, Known, MIDWAY_VALUES_MAX};
use decisiongraph_projections::{LogEvent, LogSeq, Projection, Refusal, TenantId};
use decisiongraph_protocol::Command;
use decisiongraph_store::{
    BatchCommit, BuildLease, Failure, Generation, Lease, NewFailure, PageLimit, Position, ReadView, Result, Scope,
    Store, StoreError,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

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
    /// End and events of the batch that was not committed for certain.
    unsettled: Option<(LogSeq, usize)>,
}

impl Lane {
    /// Creates a lane that starts at its target's position. A live lane skips the events that its lease says.
    pub fn new(projection: &'static dyn Projection, tenant: &TenantId, target: Target, position: Position) -> Lane {
        let skips = match &target {
            Target::Live(lease) => lease.orders.skips.clone(),
            Target::Build(_) => BTreeSet::new(),
        };
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
            skips,
            since_checkpoint: 0,
            unsettled: None,
        }
    }

    /// Goes on from the durable position under a new claim. What the lane read ahead or knew of the rows is void; its
    /// counts stand.
    #[must_use]
    pub fn again(self, target: Target, position: Position) -> Lane {
        let skips = match &target {
            Target::Live(lease) => lease.orders.skips.clone(),
            Target::Build(_) => self.skips.clone(),
        };
        let mut lane = Lane {
            skips,
            target,
            known: None,
            room: None,
            indexed: Indexed::new(),
            ahead: None,
            failure: None,
            unsettled: None,
            ..self
        };
        // The outcome was unknown, and it was a commit.
        if let Some((to, events)) = self.unsettled.filter(|(to, _)| *to == position.cursor) {
            lane.advance(to, position.digest.clone(), events);
        }
        lane.position = position;
        lane
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
        if self.landmark.as_ref().is_some_and(|(known, digest)| *known == at && digest.is_some()) {
            return;
        }
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

    /// Returns the generation that the lane writes.
    pub(super) fn generation(&self) -> Generation {
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
        options: &ApplyOptions,
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
        options: &ApplyOptions,
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
            let checkpoint = self.since_checkpoint + applied as u64 >= options.checkpoint_events;
            let committing = async {
                let batch = BatchCommit {
                    projection: self.projection,
                    from: self.position.cursor,
                    to,
                    changes: &folded.changes,
                    digest: &folded.digest,
                    checkpoint,
                    skipped: page.skipped_upto(to),
                    seal: None,
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
            if let Err(error) = committed {
                return self.undone(error, folded.assumed, to, applied);
            }
            self.advance(to, folded.digest, applied);
            if checkpoint {
                self.since_checkpoint = 0;
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

    fn advance(&mut self, to: LogSeq, digest: RollingDigest, events: usize) {
        self.position.cursor = to;
        self.position.digest = digest;
        self.events += events as u64;
        self.since_checkpoint += events as u64;
        self.batches += 1;
        if let Some((at, remembered)) = &mut self.landmark
            && *at == to
        {
            *remembered = Some(self.position.digest.clone());
        }
    }

    /// Decides about a batch that was not committed. A wrong assumption passes: the batch is undone whole and the epoch
    /// stands, so the driver reads the page again and the lane assumes nothing. Any other error ends the lane.
    fn undone(&mut self, error: StoreError, assumed: bool, to: LogSeq, applied: usize) -> Result<()> {
        if error.duplicate && assumed {
            tracing::info!(scope = %self.scope, "an id was not new; the batch is prepared again: {}", error.message);
            self.wary_until = self.batches.saturating_add(self.wary_for);
            self.wary_for = self.wary_for.saturating_mul(2);
            return Ok(());
        }
        self.unsettled = Some((to, applied));
        if !error.duplicate {
            return Err(error);
        }
        // The fence held, so no other writer made the row.
        let of_scope = |words| Command::of_scope(words, &self.scope.tenant, self.scope.projection);
        let message = format!(
            "{} at {}: the rows do not match the log ({}); run {} to see which rows, then {}",
            self.scope,
            self.position.cursor,
            error.message,
            of_scope("verify"),
            of_scope("rebuild")
        );
        Err(StoreError { message, ..error })
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
}

/// Inputs of a lane besides the page.
pub struct ApplyOptions {
    /// Events between two digest checkpoints.
    pub checkpoint_events: u64,
    /// True when a poison event becomes a stored failure (a verify changes nothing).
    pub record_failures: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::catalogue;
    use decisiongraph_store::{Orders, Owner};

    #[test]
    fn a_commit_of_unknown_outcome_counts_once_and_only_if_it_happened() {
        let tenant = TenantId::default();
        let at = |cursor| Position { cursor: LogSeq(cursor), digest: RollingDigest::default(), version: 1 };
        for (durable, events, batches) in [(5, 10, 2), (9, 14, 3), (12, 10, 2)] {
            let lease = || Lease {
                scope: Scope::new(&tenant, catalogue::TRACE_SUMMARY),
                owner: Owner { node: "n".to_owned(), incarnation: Uuid::nil() },
                epoch: decisiongraph_store::Epoch { counter: 1, token: Uuid::nil() },
                generation: Generation(1),
                session: 0,
                history: None,
                taken_from: None,
                orders: Orders::default(),
            };
            let mut lane = Lane::new(catalogue::TRACE_SUMMARY, &tenant, Target::Live(lease()), at(5));
            (lane.events, lane.batches, lane.wary_until) = (10, 2, 7);
            let unknown = StoreError::transient(decisiongraph_projections::Category::OutcomeUnknown, "lost");
            assert!(lane.undone(unknown, false, LogSeq(9), 4).is_err(), "the lane ends");
            let lane = lane.again(Target::Live(lease()), at(durable)).again(Target::Live(lease()), at(durable));
            assert_eq!((lane.position.cursor.0, lane.events, lane.batches), (durable, events, batches));
            assert_eq!((lane.from, lane.wary_until), (LogSeq(5), 7));
        }
    }

    #[test]
    fn only_a_wrong_assumption_keeps_a_lane_whose_batch_was_undone() {
        let tenant = TenantId::default();
        let lease = BuildLease {
            scope: Scope::new(&tenant, catalogue::TRACE_SUMMARY),
            run_id: Uuid::nil(),
            generation: Generation(2),
            epoch: decisiongraph_store::Epoch { counter: 1, token: Uuid::nil() },
            session: 0,
            history: None,
        };
        let at = Position { cursor: LogSeq(5), digest: RollingDigest::default(), version: 1 };
        let mut lane = Lane::new(catalogue::TRACE_SUMMARY, &tenant, Target::Build(lease), at);
        let mut wary = Vec::new();
        for _ in 0..3 {
            assert_eq!(lane.undone(StoreError::duplicate("x"), true, LogSeq(9), 4), Ok(()));
            wary.push(lane.wary_until);
        }
        assert_eq!(wary, [1, 2, 4], "twice as many batches each time");
        let corrupt = lane.undone(StoreError::duplicate("x"), false, LogSeq(9), 4).expect_err("ends");
        assert!(corrupt.duplicate && corrupt.message.contains("the rows do not match the log (x)"), "{corrupt}");
        let fenced = lane.undone(StoreError::fenced("y"), true, LogSeq(9), 4).expect_err("ends");
        assert_eq!(fenced, StoreError::fenced("y"));
    }
}
