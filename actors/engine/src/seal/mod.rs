//! The sealed log: a tenant's events become leaves of a tree, whose heads are signed and leave the database.
//!
//! ```text
//!   sealer ──commit──▶ tree ──grew──▶ Sealing ──due──▶ notary: sign ──▶ journal ──▶ places, notes of the database
//!      ▲
//!      └── memory_check: every remembered head must be a prefix of the tree
//! ```
//!
//! * [`sealer`], [`observed`]: leaves, one batch per transaction;
//! * [`memory_check`]: before a tree grows, or is signed, after a claim;
//! * [`notary`]: what is signed, and where it goes; [`now`]: all of it at once, for a command;
//! * [`reader`], [`evidence`]: roots and proofs from tables;
//! * [`check`], [`scrub`], [`bisect`]: the log against its tree;
//! * [`begin`], [`fork`], [`mend`]: decisions of an operator about a tree;
//! * [`finding`]: the words for what is not as it was.
//!
//! *Guarantees.* A signature never covers what was not committed, nor a tree that contradicts what is remembered. The
//! sealer judges no content. A finding stops sealing and signing of its tenant, and nothing else.
//!
//! *Never here:* sockets of places ([`decisiongraph_seal::Place`] is given), timers.

pub mod begin;
pub mod bisect;
mod catch_up;
pub mod check;
mod event_check;
pub mod evidence;
pub mod finding;
pub mod fork;
mod heads;
mod keyring;
pub mod known;
mod memories;
pub mod memory_check;
pub mod mend;
pub mod notary;
pub mod now;
pub mod observed;
pub mod pack;
pub mod reader;
pub mod rotation;
pub mod scrub;
pub mod sealer;
mod walk;

pub use finding::{SealFinding, SealWord};
pub use now::{Sealed, seal_now};

use decisiongraph_projections::seal::texts::{TreeHead, origin_of};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_seal::{Memory, SigningKeys};
use decisiongraph_store::SealTree;
use memory_check::Peers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Pace and bounds of sealing.
#[derive(Debug, Clone)]
pub struct SealSettings {
    /// Longest time from a growth to its checkpoint.
    pub checkpoint: Duration,
    /// Events since the last checkpoint from which one is signed at once.
    pub checkpoint_events: u64,
    /// Shortest time between two statements of a tenant.
    pub statement: Duration,
    /// Window above which health is degraded; above ten times it has failed.
    pub window_max: Duration,
    /// Sealed events that the scrubber reads again per second; 0 switches it off.
    pub scrub_events_per_s: u64,
    /// True when a checkpoint waits until every streaming standby has flushed its commit.
    pub after_standby: bool,
    /// Time for which the former key signs, too, after a rotation.
    pub overlap: Duration,
}

impl Default for SealSettings {
    fn default() -> SealSettings {
        SealSettings {
            checkpoint: Duration::from_secs(10),
            checkpoint_events: 10_000,
            statement: Duration::from_secs(60),
            window_max: Duration::from_secs(120),
            scrub_events_per_s: 1_000,
            after_standby: false,
            overlap: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// Sealing of a process: keys, memory, pace, and the state that its parts share.
pub struct Sealing {
    /// Beginning of every origin.
    pub name: String,
    /// Keys that sign.
    pub keys: SigningKeys,
    /// Journal and places.
    pub memory: Memory,
    /// Pace and bounds.
    pub settings: SealSettings,
    /// Trees that this process has checked and may sign. Written by the sealers; the notary notes what it signed.
    trees: Mutex<BTreeMap<TenantId, Kept>>,
    /// Findings that stop a tenant's sealing. Written by the tenant's sealer.
    stopped: Mutex<BTreeMap<TenantId, SealFinding>>,
    /// Tenants whose checkpoint is wanted at once.
    hurried: Mutex<BTreeSet<TenantId>>,
    /// Tenants whose tree an operator's request changes now. Written by [`fork`] and [`mend`].
    decisions: Mutex<BTreeSet<TenantId>>,
    /// Journals of linked nodes; none outside a cluster. Set when a node makes its parts.
    peers: Mutex<Option<Arc<dyn Peers>>>,
    /// Wakes the notary: a tree grew past its bound, or a checkpoint is wanted at once.
    called: Notify,
    /// State of the notary: what it signed last, and what waits for a place. Written by the notary.
    notary: notary::Desk,
}

/// A tree that was checked, and its newest committed head.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    unsigned: Unsigned,
    /// Size of the newest checkpoint.
    signed: u64,
}

/// Growth of a tree that no checkpoint covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// Tenant of the tree.
    pub tenant: TenantId,
    /// Number of the tree.
    pub tree: i64,
    /// Name of the log.
    pub origin: String,
    /// Newest committed head.
    pub head: TreeHead,
    /// Position of its last event.
    pub last: LogSeq,
    /// Leaves that no checkpoint covers.
    pub events: u64,
    /// Time at which the first of them was committed, or found.
    pub since: Instant,
    /// True when a checkpoint is wanted at once.
    pub hurried: bool,
}

/// An operator's change of a tree that is under way.
struct Decision<'a> {
    sealing: &'a Sealing,
    tenant: TenantId,
}

impl Drop for Decision<'_> {
    fn drop(&mut self) {
        lock(&self.sealing.decisions).remove(&self.tenant);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").field("name", &self.name).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Sealing {
    /// Creates the sealing of a process.
    pub fn new(name: String, keys: SigningKeys, memory: Memory, settings: SealSettings) -> Sealing {
        Sealing {
            name,
            keys,
            memory,
            settings,
            trees: Mutex::default(),
            stopped: Mutex::default(),
            hurried: Mutex::default(),
            decisions: Mutex::default(),
            peers: Mutex::default(),
            called: Notify::new(),
            notary: notary::Desk::default(),
        }
    }

    /// Begins an operator's change of a tree. None while another one is under way. It ends with the value.
    fn decide(&self, tenant: &TenantId) -> Option<Decision<'_>> {
        let is_new = lock(&self.decisions).insert(tenant.clone());
        is_new.then(|| Decision { sealing: self, tenant: tenant.clone() })
    }

    /// True while an operator's request changes the tree of this tenant. A worker of this process that claimed the
    /// scope now would fence it.
    pub fn is_being_decided(&self, tenant: &TenantId) -> bool {
        lock(&self.decisions).contains(tenant)
    }

    /// Has the journals of linked nodes asked, too, before a tree grows or is signed after a claim.
    pub fn link(&self, peers: Arc<dyn Peers>) {
        *lock(&self.peers) = Some(peers);
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        lock(&self.peers).clone()
    }

    /// Returns the origin of a tenant's first tree.
    pub fn origin(&self, tenant: &TenantId) -> String {
        origin_of(&self.name, tenant)
    }

    /// Notes a tree that was read under a claim, and agrees with everything that is remembered.
    pub fn took(&self, tree: &SealTree) {
        self.note(tree, &mut lock(&self.trees));
    }

    /// Notes the same of a tree that no claim protects: one that is known here may have grown since it was read.
    pub fn found(&self, tree: &SealTree) {
        let mut trees = lock(&self.trees);
        if !trees.contains_key(&tree.tenant) {
            self.note(tree, &mut trees);
        }
    }

    fn note(&self, tree: &SealTree, trees: &mut BTreeMap<TenantId, Kept>) {
        lock(&self.stopped).remove(&tree.tenant);
        if tree.head.size == 0 {
            return;
        }
        let known = trees.get(&tree.tenant).filter(|known| known.unsigned.tree == tree.tree);
        let signed = known.map_or(tree.noted, |known| known.signed.max(tree.noted));
        let since = known.filter(|known| known.unsigned.events > 0).map_or_else(Instant::now, |it| it.unsigned.since);
        let unsigned = Unsigned {
            tenant: tree.tenant.clone(),
            tree: tree.tree,
            origin: tree.origin.clone(),
            head: tree.head,
            last: tree.last,
            events: tree.head.size.saturating_sub(signed),
            since,
            hurried: false,
        };
        trees.insert(tree.tenant.clone(), Kept { unsigned, signed });
        self.called.notify_one();
    }

    /// Notes a committed growth. Called for nothing else: what is noted here may be signed.
    pub fn grew(&self, tenant: &TenantId, tree: i64, origin: &str, head: TreeHead, last: LogSeq) {
        let mut trees = lock(&self.trees);
        let known = trees.get(tenant).filter(|known| known.unsigned.tree == tree);
        let signed = known.map_or(0, |known| known.signed);
        let since = known.filter(|known| known.unsigned.events > 0).map_or_else(Instant::now, |it| it.unsigned.since);
        let events = head.size.saturating_sub(signed);
        let (tenant, origin) = (tenant.clone(), origin.to_owned());
        let unsigned = Unsigned { tenant: tenant.clone(), tree, origin, head, last, events, since, hurried: false };
        trees.insert(tenant, Kept { unsigned, signed });
        drop(trees);
        self.called.notify_one();
    }

    /// Notes that a checkpoint of this size was signed.
    pub fn signed(&self, tenant: &TenantId, tree: i64, size: u64) {
        if let Some(kept) = lock(&self.trees).get_mut(tenant).filter(|kept| kept.unsigned.tree == tree) {
            kept.signed = kept.signed.max(size);
            kept.unsigned.events = kept.unsigned.head.size.saturating_sub(kept.signed);
            kept.unsigned.since = Instant::now();
        }
        if !self.is_unsigned(tenant) {
            lock(&self.hurried).remove(tenant);
        }
    }

    /// Lists the trees with leaves that no checkpoint covers. A tenant whose sealing is stopped is left out.
    pub fn unsigned(&self) -> Vec<Unsigned> {
        let (stopped, hurried) = (lock(&self.stopped).clone(), lock(&self.hurried).clone());
        let trees = lock(&self.trees);
        let open = trees.values().filter(|kept| kept.unsigned.events > 0);
        let of = |kept: &Kept| {
            let hurried = hurried.contains(&kept.unsigned.tenant);
            Unsigned { hurried, ..kept.unsigned.clone() }
        };
        open.map(of).filter(|unsigned| !stopped.contains_key(&unsigned.tenant)).collect()
    }

    fn is_unsigned(&self, tenant: &TenantId) -> bool {
        lock(&self.trees).get(tenant).is_some_and(|kept| kept.unsigned.events > 0)
    }

    /// Notes that sealing of this tenant stops. Nothing of its tree is signed until a claim finds it well.
    pub fn stop(&self, tenant: &TenantId, finding: SealFinding) {
        lock(&self.stopped).insert(tenant.clone(), finding);
        lock(&self.trees).remove(tenant);
    }

    /// Returns the finding that stops the sealing of this tenant.
    pub fn stopped_by(&self, tenant: &TenantId) -> Option<SealFinding> {
        lock(&self.stopped).get(tenant).cloned()
    }

    /// Lists the tenants whose sealing is stopped, with the findings.
    pub fn stopped(&self) -> Vec<(TenantId, SealFinding)> {
        lock(&self.stopped).iter().map(|(tenant, finding)| (tenant.clone(), finding.clone())).collect()
    }

    /// Forgets every tree: the server has another history. A tree is noted again once it was checked.
    pub fn unsettle(&self) {
        lock(&self.trees).clear();
    }

    /// True when this tree was checked, and is not forgotten since.
    pub fn knows(&self, tenant: &TenantId) -> bool {
        lock(&self.trees).contains_key(tenant)
    }

    /// Forgets a tenant whose scope went to another owner. What it committed may be signed by both.
    pub fn forget(&self, tenant: &TenantId) {
        lock(&self.stopped).remove(tenant);
    }

    /// Wants a checkpoint of this tenant at once.
    pub fn hurry(&self, tenant: &TenantId) {
        lock(&self.hurried).insert(tenant.clone());
        self.called.notify_one();
    }

    /// Wants a checkpoint of this tenant in its time again.
    pub fn calm(&self, tenant: &TenantId) {
        lock(&self.hurried).remove(tenant);
    }

    /// True when a checkpoint of this tenant is wanted at once.
    pub fn is_hurried(&self, tenant: &TenantId) -> bool {
        lock(&self.hurried).contains(tenant)
    }

    /// Waits until a tree has grown, or a checkpoint is wanted at once, since the last call.
    pub async fn called(&self) {
        self.called.notified().await;
    }
}

#[cfg(test)]
mod tests;
