//! Tenants that are known to have a log: a query about one of them need not ask the database again.
//!
//! *Guarantees.* Bounded: a full table is emptied, and fills again. A log disappears only with its server's history, so
//! the table is of one era of the mark, and another era empties it.

use decisiongraph_projections::TenantId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most tenants of the table.
const TENANTS_MAX: usize = 10_000;

/// Table of tenants that have events.
#[derive(Default)]
pub struct KnownTenants(Mutex<Known>);

#[derive(Default)]
struct Known {
    era: u64,
    tenants: HashSet<TenantId>,
}

impl KnownTenants {
    /// True when the tenant is known to have events in this era. False proves nothing.
    pub fn has(&self, era: u64, tenant: &TenantId) -> bool {
        self.of(era).tenants.contains(tenant)
    }

    /// Notes a tenant that has events in this era.
    pub fn add(&self, era: u64, tenant: TenantId) {
        let mut known = self.of(era);
        if known.tenants.len() >= TENANTS_MAX {
            known.tenants.clear();
        }
        known.tenants.insert(tenant);
    }

    fn of(&self, era: u64) -> MutexGuard<'_, Known> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.era != era {
            *known = Known { era, ..Known::default() };
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_known_in_its_era_alone() {
        let (known, tenant) = (KnownTenants::default(), TenantId::default());
        known.add(1, tenant.clone());
        assert!(known.has(1, &tenant));
        assert!(!known.has(2, &tenant), "the server may be another");
        assert!(!known.has(1, &tenant), "nothing is remembered across eras");
    }
}
