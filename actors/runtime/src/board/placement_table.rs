//! Node of each tenant, as this node believes: read at every wake, written by the cluster actor alone.
//!
//! *Never here:* safety. The database answers `held` to a node that believes in an old placement, or fences it.

use super::placement::Placement;
use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Owner of a tenant by the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The tenant belongs to this node.
    Ours,
    /// The tenant belongs to the other node of this name.
    Theirs(String),
    /// The tenant belongs to no node: no node takes tenants.
    Nobody,
    /// The owner is not known yet.
    Unknown,
}

/// Division of the tenants among the nodes.
#[derive(Debug, Default)]
pub enum Plan {
    /// The members were not read yet, or this node is not a member.
    #[default]
    Unknown,
    /// This node has all tenants.
    Alone,
    /// The tenants are divided by this placement.
    Divided(Placement),
}

/// The plan, and the tenants that it does not know yet. Cheap to clone; every clone is the same table.
#[derive(Debug, Clone, Default)]
pub struct PlacementTable(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    plan: RwLock<Plan>,
    unplaced: Mutex<HashMap<TenantId, LogSeq>>,
    moving: AtomicUsize,
}

impl PlacementTable {
    /// Tells which node this tenant belongs to; `me` is this node.
    pub fn whose(&self, me: &str, tenant: &TenantId) -> Whose {
        match &*self.0.plan.read().unwrap_or_else(PoisonError::into_inner) {
            Plan::Unknown => Whose::Unknown,
            Plan::Alone => Whose::Ours,
            Plan::Divided(placement) => match placement.node_of(tenant) {
                Some(node) if node == me => Whose::Ours,
                Some(node) => Whose::Theirs(node.to_owned()),
                None if placement.takes_nobody() => Whose::Nobody,
                None => Whose::Unknown,
            },
        }
    }

    /// Counts the tenants of a node; none when the plan does not say.
    pub fn share(&self, node: &str) -> Option<usize> {
        match &*self.0.plan.read().unwrap_or_else(PoisonError::into_inner) {
            Plan::Divided(placement) => Some(placement.share(node)),
            _ => None,
        }
    }

    /// True when tenants are divided and no node takes any.
    pub fn takes_nobody(&self) -> bool {
        let plan = self.0.plan.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*plan, Plan::Divided(placement) if placement.takes_nobody())
    }

    /// Publishes a new plan. Called by the cluster actor alone.
    pub fn publish(&self, plan: Plan) {
        *self.0.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Remembers a tenant that the plan does not know, with its last event. True for the first such tenant since the
    /// last [`PlacementTable::take_unplaced`].
    pub fn note_unplaced(&self, tenant: &TenantId, upto: LogSeq) -> bool {
        let mut unplaced = self.0.unplaced.lock().unwrap_or_else(PoisonError::into_inner);
        let first = unplaced.is_empty();
        let known = unplaced.entry(tenant.clone()).or_insert(upto);
        *known = (*known).max(upto);
        first
    }

    /// Takes the tenants that wait to be placed.
    pub fn take_unplaced(&self) -> HashMap<TenantId, LogSeq> {
        std::mem::take(&mut self.0.unplaced.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts the tenants that this node holds and is about to hand over.
    pub fn moving(&self) -> usize {
        self.0.moving.load(Ordering::Relaxed)
    }

    /// Sets the number that [`PlacementTable::moving`] returns.
    pub fn note_moving(&self, tenants: usize) {
        self.0.moving.store(tenants, Ordering::Relaxed);
    }
}
