//! The admission queue: tenants that wait for room, and parked tenants that would make some. A decision without clock
//! or actor.
//!
//! ```text
//!   no room ──▶ waiting ──▶ calls the tenant that is parked longest ──▶ it leaves ──▶ the first that waits is admitted
//! ```
//!
//! *Guarantees.* While more tenants wait than leave and any tenant is parked, a tenant is called. A new tenant that
//! waits calls a tenant, and so does a departure that admitted none. A called tenant that cannot leave passes the call
//! on ([`AdmissionQueue::call`]). No tenant is called twice without having been parked again. No step walks all
//! tenants.

use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Admission queue of a node; `T` is the way to call a parked tenant.
pub struct AdmissionQueue<T> {
    waiting: HashMap<TenantId, LogSeq>,
    /// Waiting tenants, in the order of arrival.
    queue: VecDeque<TenantId>,
    /// Parked tenants by the number of their parking: the longest parked comes first.
    parked: BTreeMap<u64, (TenantId, T)>,
    /// Number of the parking, by tenant.
    numbers: HashMap<TenantId, u64>,
    number: u64,
    /// Tenants whose actors are being stopped.
    leaving: usize,
}

impl<T> Default for AdmissionQueue<T> {
    fn default() -> AdmissionQueue<T> {
        AdmissionQueue {
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            parked: BTreeMap::new(),
            numbers: HashMap::new(),
            number: 0,
            leaving: 0,
        }
    }
}

impl<T> AdmissionQueue<T> {
    /// Counts the tenants that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True when this tenant waits.
    pub fn waits(&self, tenant: &TenantId) -> bool {
        self.waiting.contains_key(tenant)
    }

    /// Lists every tenant that waits.
    pub fn all_waiting(&self) -> impl Iterator<Item = &TenantId> {
        self.waiting.keys()
    }

    /// True when more tenants wait than leave.
    pub fn wanted(&self) -> bool {
        self.waiting.len() > self.leaving
    }

    /// Puts the tenant into the queue, or raises its position if it is there. Returns the tenant to call.
    pub fn wait(&mut self, tenant: &TenantId, upto: LogSeq) -> Option<T> {
        if let Some(known) = self.waiting.get_mut(tenant) {
            *known = upto.max(*known);
            return None;
        }
        self.waiting.insert(tenant.clone(), upto);
        self.queue.push_back(tenant.clone());
        self.call()
    }

    /// Admits the first tenant of the queue, which waits no longer.
    pub fn admit(&mut self) -> Option<(TenantId, LogSeq)> {
        let tenant = self.queue.pop_front()?;
        let upto = self.waiting.remove(&tenant).unwrap_or_default();
        Some((tenant, upto))
    }

    /// Parks the tenant, unless room is wanted. True when it is parked.
    pub fn parks(&mut self, tenant: &TenantId, how: impl FnOnce() -> T) -> bool {
        let parks = !self.wanted();
        if parks {
            self.park(tenant, how());
        }
        parks
    }

    fn park(&mut self, tenant: &TenantId, how: T) {
        self.unpark(tenant);
        self.number += 1;
        self.numbers.insert(tenant.clone(), self.number);
        self.parked.insert(self.number, (tenant.clone(), how));
    }

    /// Ends the parking of a tenant that has something to do, or is gone.
    pub fn unpark(&mut self, tenant: &TenantId) {
        if let Some(number) = self.numbers.remove(tenant) {
            self.parked.remove(&number);
        }
    }

    /// Picks the tenant that is to leave, if room is wanted; it is parked no longer.
    pub fn call(&mut self) -> Option<T> {
        if !self.wanted() {
            return None;
        }
        let (_, (tenant, how)) = self.parked.pop_first()?;
        self.numbers.remove(&tenant);
        Some(how)
    }

    /// Notes that the tenant's actors are being stopped.
    pub fn leave(&mut self, tenant: &TenantId) {
        self.unpark(tenant);
        self.leaving += 1;
    }

    /// Notes that the actors of one tenant are gone, after a waiting tenant was admitted. Returns the tenant to call.
    pub fn left(&mut self) -> Option<T> {
        self.leaving = self.leaving.saturating_sub(1);
        self.call()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(index: usize) -> TenantId {
        TenantId::new(format!("t{index}")).expect("an id")
    }

    fn parked(tenants: usize) -> AdmissionQueue<usize> {
        let mut queue = AdmissionQueue::default();
        for index in 0..tenants {
            queue.park(&named(index), index);
        }
        queue
    }

    #[test]
    fn each_that_waits_calls_the_one_that_is_parked_longest() {
        let mut queue = parked(3);
        queue.unpark(&named(0));
        queue.park(&named(0), 0);
        assert_eq!(queue.wait(&named(7), LogSeq(1)), Some(1));
        assert_eq!(queue.wait(&named(7), LogSeq(2)), None, "it waits already");
        assert_eq!(queue.wait(&named(8), LogSeq(3)), Some(2));
        assert_eq!(queue.wait(&named(9), LogSeq(4)), Some(0));
        assert_eq!(queue.wait(&named(10), LogSeq(5)), None, "no tenant is parked");
        assert_eq!(queue.admit(), Some((named(7), LogSeq(2))));
        assert_eq!(queue.admit(), Some((named(8), LogSeq(3))));
    }

    #[test]
    fn nobody_is_called_while_enough_leave() {
        let mut queue = parked(2);
        queue.leave(&named(0));
        assert_eq!(queue.wait(&named(7), LogSeq(1)), None, "a place gets free for it");
        assert_eq!(queue.wait(&named(8), LogSeq(1)), Some(1));
        // The call is passed on; no other tenant is parked.
        assert_eq!(queue.call(), None);
        assert!(queue.wanted());
    }

    #[test]
    fn who_comes_back_while_it_leaves_waits_behind_the_others_and_calls_again() {
        let mut queue = parked(2);
        assert_eq!(queue.wait(&named(7), LogSeq(1)), Some(0));
        queue.leave(&named(0));
        assert_eq!(queue.wait(&named(0), LogSeq(9)), Some(1), "two wait, one leaves");
        queue.park(&named(1), 1);
        assert_eq!(queue.admit(), Some((named(7), LogSeq(1))));
        assert_eq!(queue.left(), Some(1), "one waits, nobody leaves");
    }
}
