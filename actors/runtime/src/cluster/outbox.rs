//! Notices that wait for a peer: coalesced, of bounded size, lost without harm.

use decisiongraph_projections::TenantId;
use decisiongraph_protocol::Notice;
use std::collections::BTreeSet;

/// Tenants that may wait, per kind of notice. More are dropped: the peer finds them at its next sweep.
pub const TENANTS_MAX: usize = 1_000;

/// The waiting notices.
#[derive(Debug, Default)]
pub struct Outbox {
    reconsider: BTreeSet<TenantId>,
    released: BTreeSet<TenantId>,
}

impl Outbox {
    /// Adds a notice; an equal notice is kept once.
    pub fn put(&mut self, notice: &Notice) {
        match notice {
            Notice::Reconsider { tenant } => add(&mut self.reconsider, tenant),
            Notice::Released { tenants } => tenants.iter().for_each(|tenant| add(&mut self.released, tenant)),
        }
    }

    /// Takes all notices; none waits afterwards.
    pub fn take(&mut self) -> Vec<Notice> {
        let Outbox { reconsider, released } = std::mem::take(self);
        let mut notices: Vec<Notice> = Vec::new();
        if !released.is_empty() {
            notices.push(Notice::Released { tenants: released.into_iter().collect() });
        }
        notices.extend(reconsider.into_iter().map(|tenant| Notice::Reconsider { tenant }));
        notices
    }
}

fn add(tenants: &mut BTreeSet<TenantId>, tenant: &TenantId) {
    if tenants.len() < TENANTS_MAX {
        tenants.insert(tenant.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_twice_is_told_once_and_a_flood_is_bounded() {
        let tenant = |i: usize| TenantId::new(format!("t{i:05}")).expect("an id");
        let mut outbox = Outbox::default();
        for i in (0..TENANTS_MAX + 500).chain(0..10) {
            outbox.put(&Notice::Reconsider { tenant: tenant(i) });
        }
        outbox.put(&Notice::Released { tenants: vec![tenant(1), tenant(1), tenant(2)] });
        let told = outbox.take();
        assert_eq!(told.len(), TENANTS_MAX + 1);
        assert_eq!(told[0], Notice::Released { tenants: vec![tenant(1), tenant(2)] });
        assert!(outbox.take().is_empty());
    }
}
