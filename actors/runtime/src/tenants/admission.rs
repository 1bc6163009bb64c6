//! Tenants that wait for room, and tenants that would make some: a decision without clock or actor.
//!
//! ```text
//!   no room ──▶ waiting ──▶ calls the tenant that rests longest ──▶ it leaves ──▶ the first in the queue is admitted
//! ```
//!
//! *Guarantees.* While more tenants wait than leave and any tenant rests, a tenant is called. A new tenant that waits
//! calls a tenant, and so does a departure that admitted none. A called tenant that cannot leave passes the call on
//! ([`Room::call`]). No tenant is called twice without having rested again. No step walks all tenants.

use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Room of a node; `T` is the way to call a resting tenant.
pub struct Room<T> {
    waiting: HashMap<TenantId, LogSeq>,
    /// Waiting tenants, in the order of arrival.
    queue: VecDeque<TenantId>,
    /// Resting tenants by the number of their rest: the longest rest comes first.
    resting: BTreeMap<u64, (TenantId, T)>,
    rests: HashMap<TenantId, u64>,
    number: u64,
    /// Tenants whose actors are being stopped.
    leaving: usize,
}

impl<T> Default for Room<T> {
    fn default() -> Room<T> {
        Room {
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            resting: BTreeMap::new(),
            rests: HashMap::new(),
            number: 0,
            leaving: 0,
        }
    }
}

impl<T> Room<T> {
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

    /// Puts the tenant to rest, unless room is wanted. True when it rests.
    pub fn rests(&mut self, tenant: &TenantId, how: impl FnOnce() -> T) -> bool {
        let rests = !self.wanted();
        if rests {
            self.rest(tenant, how());
        }
        rests
    }

    fn rest(&mut self, tenant: &TenantId, how: T) {
        self.stir(tenant);
        self.number += 1;
        self.rests.insert(tenant.clone(), self.number);
        self.resting.insert(self.number, (tenant.clone(), how));
    }

    /// Ends the rest of a tenant that has something to do, or is gone.
    pub fn stir(&mut self, tenant: &TenantId) {
        if let Some(number) = self.rests.remove(tenant) {
            self.resting.remove(&number);
        }
    }

    /// Picks the tenant that is to leave, if room is wanted; it rests no longer.
    pub fn call(&mut self) -> Option<T> {
        if !self.wanted() {
            return None;
        }
        let (_, (tenant, how)) = self.resting.pop_first()?;
        self.rests.remove(&tenant);
        Some(how)
    }

    /// Notes that the tenant's actors are being stopped.
    pub fn leave(&mut self, tenant: &TenantId) {
        self.stir(tenant);
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

    fn resting(tenants: usize) -> Room<usize> {
        let mut room = Room::default();
        for index in 0..tenants {
            room.rest(&named(index), index);
        }
        room
    }

    #[test]
    fn each_that_waits_calls_the_one_that_rests_longest() {
        let mut room = resting(3);
        room.stir(&named(0));
        room.rest(&named(0), 0);
        assert_eq!(room.wait(&named(7), LogSeq(1)), Some(1));
        assert_eq!(room.wait(&named(7), LogSeq(2)), None, "it waits already");
        assert_eq!(room.wait(&named(8), LogSeq(3)), Some(2));
        assert_eq!(room.wait(&named(9), LogSeq(4)), Some(0));
        assert_eq!(room.wait(&named(10), LogSeq(5)), None, "nobody rests");
        assert_eq!(room.admit(), Some((named(7), LogSeq(2))));
        assert_eq!(room.admit(), Some((named(8), LogSeq(3))));
    }

    #[test]
    fn nobody_is_called_while_enough_leave() {
        let mut room = resting(2);
        room.leave(&named(0));
        assert_eq!(room.wait(&named(7), LogSeq(1)), None, "a place gets free for it");
        assert_eq!(room.wait(&named(8), LogSeq(1)), Some(1));
        // The call is passed on; no other tenant rests.
        assert_eq!(room.call(), None);
        assert!(room.wanted());
    }

    #[test]
    fn who_comes_back_while_it_leaves_waits_behind_the_others_and_calls_again() {
        let mut room = resting(2);
        assert_eq!(room.wait(&named(7), LogSeq(1)), Some(0));
        room.leave(&named(0));
        assert_eq!(room.wait(&named(0), LogSeq(9)), Some(1), "two wait, one leaves");
        room.rest(&named(1), 1);
        assert_eq!(room.admit(), Some((named(7), LogSeq(1))));
        assert_eq!(room.left(), Some(1), "one waits, nobody leaves");
    }
}
