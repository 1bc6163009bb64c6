//! Folding a page for one projection: what it needs is read, the rest is computed.
//!
//! *Guarantees.* The same page over the same prior state gives the same changes. It may be folded while the batch before it is still
//! being committed: that batch's changes are laid over what the database shows ([`Prior::overlay`](decisiongraph_projections::Prior)),
//! whichever side of the commit the read was on. What is folded is worth nothing when that commit fails.
//!
//! The pure parts run as tasks of their own, so that lanes that share a page share the cores too.

use super::page::Page;
use decisiongraph_projections::absence::Absence;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Changes, LogSeq, Poison, Projection, TenantId};
use decisiongraph_store::{Generation, ReadView, Result, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a page gave.
#[derive(Default)]
pub(super) struct Folded {
    /// What it changes, up to its poison.
    pub changes: Changes,
    /// The digest behind it.
    pub digest: RollingDigest,
    /// The first event that the projection cannot take.
    pub poison: Option<Poison>,
}

/// Whose rows, and where they are.
pub(super) struct Folding<'a> {
    /// Where the rows are: reads that each see what is committed when they start.
    pub rows: &'a dyn ReadView,
    /// Where the log is.
    pub log: &'a dyn ReadView,
    /// Whose.
    pub tenant: &'a TenantId,
    /// The rules.
    pub projection: &'static dyn Projection,
    /// Which rows.
    pub generation: Generation,
    /// Events that are passed without effect.
    pub skips: &'a BTreeSet<LogSeq>,
}

impl Folding<'_> {
    /// Folds the sound events of a page over the state at its start: the database's, whose digest is `digest`; or, with `pending`, the
    /// one behind that batch, which is being committed.
    ///
    /// `absence` knows what the generation surely does not hold. It is given back with what this page writes noted in it, and is gone
    /// after an error.
    pub async fn fold(
        &self,
        page: &Arc<Page>,
        digest: RollingDigest,
        pending: Option<&Folded>,
        absence: &mut Option<Absence>,
    ) -> Result<Folded> {
        if page.sound().is_empty() {
            return Ok(Folded { digest, ..Folded::default() });
        }
        let projection = self.projection;
        let (events, known) = (Arc::clone(page), absence.take());
        let (needs, known) = pure(move || {
            let mut needs = projection.needs(events.sound());
            if let Some(known) = &known {
                known.leave_out(&mut needs);
            }
            (Arc::new(needs), known)
        })
        .await?;
        let mut prior = self.rows.prior_rows(self.tenant, projection, self.generation, &needs).await?;
        if let Some(pending) = pending {
            prior.overlay(&needs, &pending.changes);
        }
        if !needs.history_of.is_empty() {
            prior.history = self.log.history(self.tenant, &needs.history_of, &needs.history_types, page.after).await?;
            if !self.skips.is_empty() {
                // A skipped event is in no batch, so it is in no history either.
                for events in prior.history.values_mut() {
                    events.retain(|event| !self.skips.contains(&event.log_seq));
                }
            }
        }
        let events = Arc::clone(page);
        let (folded, known) = pure(move || {
            let mut digest = digest;
            let projected = projection.project(events.sound(), &needs, &prior);
            digest.apply(projection.tables(), &projected.changes);
            let known = known.map(|mut known| {
                known.note(&projection.needs(&[]), &projected.changes);
                known
            });
            (Folded { changes: projected.changes, digest, poison: projected.poison }, known)
        })
        .await?;
        *absence = known;
        Ok(folded)
    }
}

/// Runs a pure computation as a task. A panic in it is a defect of a rule.
pub(super) async fn pure<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let task = tokio::spawn(async move { work() });
    task.await.map_err(|error| StoreError::internal(format!("a projection failed: {error}")))
}
