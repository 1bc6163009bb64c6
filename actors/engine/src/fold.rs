//! Folds a page for one projection: reads what it needs and computes the rest.
//!
//! *Guarantees.* The same page over the same prior state gives the same changes. A page may be folded while the batch
//! before it is still being committed. That batch's changes are laid over what the database shows
//! ([`Prior::overlay`](decisiongraph_projections::Prior)), on whichever side of the commit the read was. The result is
//! worthless when that commit fails.
//!
//! The pure parts run as tasks of their own, so that lanes that share a page share the cores too.

use super::page::{Page, pure};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::known::Known;
use decisiongraph_projections::{Category, Changes, LogSeq, Needs, Poison, Prior, Projection, Recalled, TenantId};
use decisiongraph_store::{BuildLease, Generation, PageLimit, ReadView, Result, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Result of folding a page.
#[derive(Default)]
pub(super) struct Folded {
    /// Changes of the page, up to its poison.
    pub changes: Changes,
    /// Number of the page's sound events that were folded: the first ones.
    pub events: usize,
    /// Digest behind these changes.
    pub digest: RollingDigest,
    /// First event that the projection cannot take.
    pub poison: Option<Poison>,
    /// True when keys were assumed absent without a look-up; see [`Folding::assume`].
    pub assumed: bool,
    /// Columns whose index this page was the first to need, for a look-up or a change; see [`Folding::indexed`].
    pub indexed: Indexed,
}

/// Columns of a build that have their index: table, column.
pub(super) type Indexed = BTreeSet<(usize, usize)>;

/// Inputs of a fold: the tenant's rows and their place, the log and the rules.
pub(super) struct Folding<'a> {
    /// Source of the rows: each read sees what is committed when it starts.
    pub rows: &'a dyn ReadView,
    /// Source of the log.
    pub log: &'a dyn ReadView,
    /// Tenant of the rows and the log.
    pub tenant: &'a TenantId,
    /// Rules of the projection.
    pub projection: &'static dyn Projection,
    /// Generation of the rows.
    pub generation: Generation,
    /// Events that are passed without effect.
    pub skips: &'a BTreeSet<LogSeq>,
    /// Generation under construction that holds the rows, if they are in one.
    pub build: Option<(&'a dyn Store, &'a BuildLease)>,
    /// Columns of the build that are known to have their index.
    pub indexed: &'a Indexed,
    /// True when new ids may be assumed absent. A duplicate at the commit may then mean that one was not.
    pub assume: bool,
    /// Limit of the bytes that must be known of the folded events; one event that needs more is an error.
    pub limit: PageLimit,
    /// Number of events that are tried first.
    pub at_once: usize,
}

impl Folding<'_> {
    /// Folds the sound events of a page over the state at its start. That is the database's state, whose digest is
    /// `digest`. With `pending`, it is the state behind that batch, which is being committed. When the knowledge that
    /// the events need is too large, the first half of them is tried, and so on.
    ///
    /// `known` says what the generation holds. It is returned with this page's writes noted in it, and is `None` after
    /// an error.
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
        let mut knowledge = known.take();
        let mut indexed = Indexed::new();
        let mut first = page.sound().len().min(self.at_once.max(1));
        let (needs, answer, mut prior) = loop {
            let (events, knows) = (Arc::clone(page), knowledge.take());
            let (needs, answer, knows) = pure(move || {
                let mut needs = projection.needs(&events.sound()[..first]);
                let answer = knows.as_ref().map(|known| known.answer(&mut needs, assume));
                (Arc::new(needs), answer, knows)
            })
            .await?;
            knowledge = knows;
            match self.prior(page, first, &needs, pending, &mut indexed).await? {
                Some(prior) => break (needs, answer, prior),
                None => first /= 2,
            }
        };
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
            let projected = projection.project(&events.sound()[..first], &needs, &prior);
            digest.apply(projection.tables(), &projected.changes);
            if let Some(known) = &mut knowledge {
                known.note(&needs, &projected.changes);
            }
            let (changes, poison) = (projected.changes, projected.poison);
            (Folded { changes, events: first, digest, poison, assumed, indexed: Indexed::new() }, knowledge)
        })
        .await?;
        // A changed or removed row is found by its key.
        let changed = folded.changes.tables.iter().enumerate();
        let changed = changed.filter(|(_, changes)| !(changes.updates.is_empty() && changes.deletes.is_empty()));
        self.index(changed.map(|(table, _)| (table, 0)).collect(), &mut indexed).await?;
        folded.indexed = indexed;
        *known = knowledge;
        Ok(folded)
    }

    /// Looks up what the first events of a page need, in the state at its start. `None`: it is too large for more than
    /// one event.
    async fn prior(
        &self,
        page: &Page,
        first: usize,
        needs: &Arc<Needs>,
        pending: Option<&Folded>,
        indexed: &mut Indexed,
    ) -> Result<Option<Prior>> {
        let bytes_max = if first == 1 { self.limit.event_bytes_max } else { self.limit.bytes_max };
        let too_large = || match first {
            1 => Err(self.too_much_to_know(page, bytes_max)),
            _ => Ok(None),
        };
        let asked = needs.rows.iter().filter(|need| !need.values.is_empty());
        let columns: Vec<(usize, usize)> = asked.map(|need| (need.table, need.by)).collect();
        let mut prior = Prior::empty(needs);
        if !columns.is_empty() {
            self.index(columns, indexed).await?;
            let found = self.rows.prior_rows(self.tenant, self.projection, self.generation, needs, bytes_max).await?;
            let Some(found) = found else { return too_large() };
            prior = found;
            if let Some(pending) = pending {
                prior.overlay(needs, &pending.changes);
            }
        }
        let ask: BTreeSet<Arc<str>> = needs.history_of.intersection(&page.behind.ask_history).cloned().collect();
        if !ask.is_empty() {
            let found = self.log.history(self.tenant, self.projection, &ask, page.after, bytes_max).await?;
            let Some(found) = found else { return too_large() };
            prior.history = found;
        }
        Ok(Some(prior))
    }

    fn too_much_to_know(&self, page: &Page, bytes_max: usize) -> StoreError {
        let at = page.sound().first().map_or(page.after, |event| event.log_seq);
        let name = self.projection.name();
        let message = format!(
            "to apply the event at log_seq {at}, {name} needs more than {bytes_max} bytes of its trace, the limit of this process for one event; the scope stops before it; give the process more memory (memory_max)"
        );
        StoreError::new(Category::Storage, message)
    }

    /// Ensures that these columns of a build have their index.
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

/// Adds what the reader has kept of the traces' earlier events. A skipped event is in no batch, so it is in no history
/// either.
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
