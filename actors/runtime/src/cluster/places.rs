//! Whose a tenant is, as this node believes: read at every wake, written by the cluster actor alone.
//!
//! *Never here:* safety. Who believes in an old placement is told `held` or is fenced by the database.

use super::placement::Placement;
use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

/// Whose a tenant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This node's.
    Ours,
    /// Another node's.
    Theirs(String),
    /// Nobody's: no node takes tenants.
    Nobody,
    /// Not known yet.
    Unknown,
}

/// How tenants are divided.
#[derive(Debug, Default)]
pub enum Plan {
    /// The members were not read yet, or this node is none of them.
    #[default]
    Unknown,
    /// This node has them all.
    Alone,
    /// By this placement.
    Divided(Placement),
}

/// The plan, and the tenants that it does not know yet.
#[derive(Debug, Default)]
pub struct Places {
    plan: RwLock<Plan>,
    unplaced: Mutex<HashMap<TenantId, LogSeq>>,
    moving: AtomicUsize,
}

impl Places {
    /// Whose this tenant is.
    pub fn whose(&self, me: &str, tenant: &TenantId) -> Whose {
        match &*self.plan.read().unwrap_or_else(PoisonError::into_inner) {
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

    /// Tenants of a node; none when the plan does not say.
    pub fn share(&self, node: &str) -> Option<usize> {
        match &*self.plan.read().unwrap_or_else(PoisonError::into_inner) {
            Plan::Divided(placement) => Some(placement.share(node)),
            _ => None,
        }
    }

    /// Whether tenants are divided and no node takes any.
    pub fn takes_nobody(&self) -> bool {
        let plan = self.plan.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*plan, Plan::Divided(placement) if placement.takes_nobody())
    }

    /// A new plan.
    pub fn set(&self, plan: Plan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Remembers a tenant that the plan does not know, with its last event. Whether it is the first since they were last taken.
    pub fn note_unplaced(&self, tenant: &TenantId, upto: LogSeq) -> bool {
        let mut unplaced = self.unplaced.lock().unwrap_or_else(PoisonError::into_inner);
        let first = unplaced.is_empty();
        let known = unplaced.entry(tenant.clone()).or_insert(upto);
        *known = (*known).max(upto);
        first
    }

    /// The tenants that wait to be placed.
    pub fn take_unplaced(&self) -> HashMap<TenantId, LogSeq> {
        std::mem::take(&mut self.unplaced.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tenants that this node holds and is about to hand over.
    pub fn moving(&self) -> usize {
        self.moving.load(Ordering::Relaxed)
    }

    /// See [`Places::moving`].
    pub fn set_moving(&self, tenants: usize) {
        self.moving.store(tenants, Ordering::Relaxed);
    }
}
