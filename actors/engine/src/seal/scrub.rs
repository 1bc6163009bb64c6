//! The scrubber's steps: it reads sealed events again, tenant by tenant, and compares them with their leaves.
//!
//! A tree does not notice an edit below it; a reader that recomputes does. A round goes over all sealed events of a
//! tenant, and computes the root of the tree anew.
//!
//! *Guarantees.* A step reads at most one page of events. Its findings are those of `verify`, up to the tree's root.
//!
//! *Never here:* pace and timers (the caller waits between steps), checkpoints (`verify` compares them).

use super::check::first_wrong_chunk;
use super::event_check::Erasures;
use super::finding::{Findings, SealFinding, SealWord};
use super::known;
use super::reader::TreeReader;
use super::walk::{Walk, judge_pairs};
use crate::Engine;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{PageLimit, ReadView, Result, SealTree};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time between the begins of two rounds over one tenant.
pub const ROUND_MIN: Duration = Duration::from_secs(10);

/// State of a scrubber: lost with its process, which begins its round anew.
pub struct Scrub {
    round_min: Duration,
    current: Option<Round>,
    rounds: BTreeMap<TenantId, Rounds>,
}

/// A round under way.
struct Round {
    tree: SealTree,
    next_leaf: u64,
    after: LogSeq,
    frontier: Frontier,
    /// True when leaves are missing: no root can be computed.
    has_hole: bool,
    erasures: Arc<Erasures>,
    findings: Findings,
}

/// Rounds over a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Sealed events that the running round has read.
    pub read: u64,
    /// Begin of the running or last round.
    began: Instant,
    /// End of the last full round.
    pub ended: Option<Instant>,
}

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Tenant of the events.
    pub tenant: TenantId,
    /// Events that were compared.
    pub events: u64,
    /// Findings of this step, the first of each word.
    pub findings: Vec<SealFinding>,
    /// Findings of the whole round, when this step ended it: they replace those of the round before.
    pub round: Option<Vec<SealFinding>>,
}

impl Default for Scrub {
    fn default() -> Scrub {
        Scrub::every(ROUND_MIN)
    }
}

impl Scrub {
    /// Begins rounds over one tenant at least so long one after the other.
    pub fn every(round_min: Duration) -> Scrub {
        Scrub { round_min, current: None, rounds: BTreeMap::new() }
    }

    /// Returns the rounds over a tenant; none before the first has begun.
    pub fn rounds(&self, tenant: &TenantId) -> Option<Rounds> {
        self.rounds.get(tenant).copied()
    }

    /// Compares the next page of events, at most `events`, of one of these tenants. None: no round is due. Tenants that
    /// are no longer among them are forgotten. After an error the round begins anew.
    pub async fn step(&mut self, engine: &Engine, tenants: &[TenantId], events: usize) -> Result<Option<Scrubbed>> {
        self.rounds.retain(|tenant, _| tenants.contains(tenant));
        let view = engine.store().view().await?;
        let current = self.current.take().filter(|round| tenants.contains(&round.tree.tenant));
        let round = match current {
            Some(round) => Some(round),
            None => self.begin(engine, &*view, tenants).await?,
        };
        let Some(mut round) = round else { return Ok(None) };
        let (read, findings, is_over) = round.step(engine, &*view, events).await?;
        let tenant = round.tree.tenant.clone();
        if let Some(rounds) = self.rounds.get_mut(&tenant) {
            rounds.read = rounds.read.saturating_add(read);
            if is_over {
                rounds.ended = Some(Instant::now());
            }
        }
        let findings = findings.named().to_vec();
        let whole = is_over.then(|| round.findings.named().to_vec());
        self.current = Some(round).filter(|_| !is_over);
        Ok(Some(Scrubbed { tenant, events: read, findings, round: whole }))
    }

    /// Begins a round over the tenant whose last one began first.
    async fn begin(&mut self, engine: &Engine, view: &dyn ReadView, tenants: &[TenantId]) -> Result<Option<Round>> {
        let began = |tenant: &&TenantId| self.rounds.get(*tenant).map(|rounds| rounds.began);
        let mut due: Vec<&TenantId> = tenants.iter().collect();
        due.retain(|tenant| began(tenant).is_none_or(|began| began.elapsed() >= self.round_min));
        due.sort_by_key(|tenant| began(tenant));
        for tenant in due {
            let ended = self.rounds.get(tenant).and_then(|rounds| rounds.ended);
            self.rounds.insert(tenant.clone(), Rounds { read: 0, began: Instant::now(), ended });
            if let Some(tree) = view.seal_trees(tenant).await?.pop().filter(|tree| tree.head.size > 0) {
                let erasures = Arc::new(known::erasures(view, &tree, engine.sealing()).await?);
                return Ok(Some(Round::of(tree, erasures)));
            }
        }
        Ok(None)
    }
}

impl Round {
    fn of(tree: SealTree, erasures: Arc<Erasures>) -> Round {
        Round {
            tree,
            next_leaf: 0,
            after: LogSeq::ORIGIN,
            frontier: Frontier::default(),
            has_hole: false,
            erasures,
            findings: Findings::default(),
        }
    }

    /// Compares the next events. Returns their number, what was found, and true at the end of the round.
    async fn step(&mut self, engine: &Engine, view: &dyn ReadView, events: usize) -> Result<(u64, Findings, bool)> {
        let [(share_bytes, limit), large] = engine.budget().compare(engine.config());
        let limit = PageLimit { rows_max: events.clamp(1, limit.rows_max), ..limit };
        let mut walk = Walk::new(view, &self.tree, self.next_leaf, self.after);
        let (stretch, _share) = walk.next_within(&engine.budget().work, [(share_bytes, limit), large]).await?;
        let Some(stretch) = stretch else {
            let damage = self.damage(view).await?;
            let mut findings = Findings::default();
            damage.into_iter().for_each(|finding| findings.add(finding));
            self.findings.join(findings.clone());
            return Ok((0, findings, true));
        };
        let (events, mut findings) = (stretch.pairs.len() as u64, stretch.findings);
        self.has_hole |= stretch.has_hole;
        stretch.leaves.iter().for_each(|leaf| self.frontier.append(leaf.entry.leaf_hash()));
        (self.next_leaf, self.after) = (stretch.next_leaf, stretch.upto);
        findings.join(judge_pairs(stretch.pairs, &self.erasures).await?.findings);
        self.findings.join(findings.clone());
        Ok((events, findings, false))
    }

    /// Compares the root of the leaves with that of the nodes, and with the root that the tree had.
    async fn damage(&self, view: &dyn ReadView) -> Result<Option<SealFinding>> {
        let TreeHead { size, root } = self.tree.head;
        if self.has_hole || self.frontier.size() != size {
            return Ok(None);
        }
        let stored = TreeReader::new(view, &self.tree.tenant, self.tree.tree, size).frontier_at(size).await;
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return SealFinding::of_error(&error).map(Some).ok_or(error),
        };
        if self.frontier.root() == root && stored.root() == root {
            return Ok(None);
        }
        let chunk = first_wrong_chunk(&stored, &self.frontier);
        Ok(Some(SealWord::TreeDamaged.because(format!("chunk {chunk} does not give the root of dg_seal"))))
    }
}
