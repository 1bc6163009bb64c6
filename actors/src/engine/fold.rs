//! Folding a page for one projection: what it needs is read, the rest is computed.
//!
//! *Guarantees.* The same page over the same prior state gives the same changes. It may be folded while the batch before it is still
//! being committed: that batch's changes are laid over what the database shows ([`Prior::overlay`](decisiongraph_projections::Prior)),
//! whichever side of the commit the read was on. What is folded is worth nothing when that commit fails.
//!
//! The pure parts run as tasks of their own, so that lanes that share a page share the cores too.

use super::page::Page;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::known::Known;
use decisiongraph_projections::{Changes, LogSeq, Needs, Poison, Prior, Projection, Recalled, TenantId};
use decisiongraph_store::{BuildLease, Generation, ReadView, Result, Store, StoreError};
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
    /// Whether keys were taken for absent that nobody looked for; see [`Folding::assume`].
    pub assumed: bool,
    /// Columns that it was the first to need the index of, for a look-up or a change; see [`Folding::indexed`].
    pub indexed: Indexed,
}

/// Columns of a build that have their index: table, column.
pub(super) type Indexed = BTreeSet<(usize, usize)>;

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
    /// The generation under construction that the rows are of, if they are of one.
    pub build: Option<(&'a dyn Store, &'a BuildLease)>,
    /// Its columns that are known to have their index.
    pub indexed: &'a Indexed,
    /// Whether new ids may be taken for absent: then a duplicate of the commit may mean that one was not.
    pub assume: bool,
}

impl Folding<'_> {
    /// Folds the sound events of a page over the state at its start: the database's, whose digest is `digest`; or, with `pending`, the
    /// one behind that batch, which is being committed.
    ///
    /// `known` says what the generation holds. It is given back with what this page writes noted in it, and is gone after an error.
    pub async fn fold(
        &self,
        page: &Arc<Page>,
        digest: RollingDigest,
        pending: Option<&Folded>,
        known: &mut Option<Known>,
    ) -> Result<Folded> {
        if page.sound().is_empty() {
            return Ok(Folded { digest, ..Folded::default() });
        }
        let (projection, assume) = (self.projection, self.assume);
        let (events, knowledge) = (Arc::clone(page), known.take());
        let (needs, answer, mut knowledge) = pure(move || {
            let mut needs = projection.needs(events.sound());
            let answer = knowledge.as_ref().map(|known| known.answer(&mut needs, assume));
            (Arc::new(needs), answer, knowledge)
        })
        .await?;
        let mut indexed = Indexed::new();
        let mut prior = self.prior(&needs, pending, &mut indexed).await?;
        let ask: BTreeSet<Arc<str>> = needs.history_of.intersection(&page.behind.ask_history).cloned().collect();
        if !ask.is_empty() {
            prior.history = self.log.history(self.tenant, projection, &ask, page.after).await?;
        }
        let (events, skips) = (Arc::clone(page), self.skips.clone());
        let (mut folded, knowledge) = pure(move || {
            let mut digest = digest;
            if let Some(known) = &mut knowledge {
                known.found(&needs, &prior.existing);
            }
            let assumed = answer.as_ref().is_some_and(|answer| answer.assumed);
            for (existing, answered) in
                prior.existing.iter_mut().zip(answer.into_iter().flat_map(|answer| answer.existing))
            {
                if existing.is_empty() {
                    *existing = answered;
                } else {
                    existing.extend(answered);
                }
            }
            recall(projection, &mut prior, &needs, &events, &skips);
            let projected = projection.project(events.sound(), &needs, &prior);
            digest.apply(projection.tables(), &projected.changes);
            if let Some(known) = &mut knowledge {
                known.note(&needs, &projected.changes);
            }
            let (changes, poison) = (projected.changes, projected.poison);
            (Folded { changes, digest, poison, assumed, indexed: Indexed::new() }, knowledge)
        })
        .await?;
        // What is changed or removed is found by its key.
        let changed = folded.changes.tables.iter().enumerate();
        let changed = changed.filter(|(_, changes)| !(changes.updates.is_empty() && changes.deletes.is_empty()));
        self.index(changed.map(|(table, _)| (table, 0)).collect(), &mut indexed).await?;
        folded.indexed = indexed;
        *known = knowledge;
        Ok(folded)
    }

    /// Looks up what is needed, in the state at the page's start.
    async fn prior(&self, needs: &Arc<Needs>, pending: Option<&Folded>, indexed: &mut Indexed) -> Result<Prior> {
        let asked = needs.rows.iter().filter(|need| !need.values.is_empty());
        let columns: Vec<(usize, usize)> = asked.map(|need| (need.table, need.by)).collect();
        if columns.is_empty() {
            return Ok(Prior::empty(needs));
        }
        self.index(columns, indexed).await?;
        let mut prior = self.rows.prior_rows(self.tenant, self.projection, self.generation, needs).await?;
        if let Some(pending) = pending {
            prior.overlay(needs, &pending.changes);
        }
        Ok(prior)
    }

    /// Sees to it that these columns of a build have their index.
    async fn index(&self, mut columns: Vec<(usize, usize)>, indexed: &mut Indexed) -> Result<()> {
        let Some((store, lease)) = self.build else { return Ok(()) };
        columns.retain(|column| !self.indexed.contains(column) && !indexed.contains(column));
        if !columns.is_empty() {
            store.index_build(lease, &columns).await?;
            indexed.extend(columns);
        }
        Ok(())
    }
}

/// Adds what the reader has kept of the traces' earlier events. A skipped event is in no batch, so it is in no history either.
fn recall(
    projection: &'static dyn Projection,
    prior: &mut Prior,
    needs: &Needs,
    page: &Page,
    skips: &BTreeSet<LogSeq>,
) {
    for trace in &needs.history_of {
        if let Some(kept) = page.behind.history.get(trace) {
            let wanted = kept.iter().filter(|event| projection.history_types().contains(&&*event.event_type));
            prior.history.insert(Arc::clone(trace), wanted.map(|event| Recalled::of(projection, event)).collect());
        }
    }
    if !skips.is_empty() {
        for events in prior.history.values_mut() {
            events.retain(|event| !skips.contains(&event.log_seq));
        }
    }
}

/// Runs a pure computation as a task. A panic in it is a defect of a rule.
pub(super) async fn pure<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let task = tokio::spawn(async move { work() });
    task.await.map_err(|error| StoreError::internal(format!("a projection failed: {error}")))
}
