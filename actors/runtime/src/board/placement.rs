//! Placement of tenants on nodes: rendezvous hashing with bounded load, as a pure function of the nodes and the
//! tenants.
//!
//! Each tenant orders the nodes by a hash of both and takes the first that is not full. A node is full at a quarter
//! more than an even share. A node that joins takes its share from all nodes. A node that leaves gives its own tenants
//! to all. Nothing else moves except what the bound displaces. Sources: Thaler & Ravishankar 1998 for the hashing,
//! Mirrokni, Thorup & Zadimoghaddam 2018 for the bound.
//!
//! *Guarantees.* The same nodes and tenants give the same placement everywhere, in whatever order they are named.
//!
//! *Never here:* safety. Two nodes that see different members for a moment both want a tenant; its epoch decides.

use decisiongraph_projections::TenantId;
use std::collections::{BTreeSet, HashMap};

/// Largest share per node, relative to an even share: five quarters.
const LOAD_MAX: (usize, usize) = (5, 4);

/// A node that may get tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the node.
    pub node: String,
    /// Tenants that the node keeps although it takes no more; none when it takes tenants.
    pub keeps: Option<BTreeSet<TenantId>>,
}

/// Node of each tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Names of the nodes, sorted.
    nodes: Vec<String>,
    /// Index of the tenant's node.
    of: HashMap<TenantId, usize>,
    /// Number of tenants per node.
    shares: Vec<usize>,
    /// True when no node takes tenants.
    takes_nobody: bool,
}

impl Placement {
    /// Places these tenants on these nodes.
    pub fn new(candidates: &[Candidate], tenants: &BTreeSet<TenantId>) -> Placement {
        let mut candidates: Vec<&Candidate> = candidates.iter().collect();
        candidates.sort_by(|a, b| a.node.cmp(&b.node));
        candidates.dedup_by(|a, b| a.node == b.node);
        let mut placement = Placement {
            nodes: candidates.iter().map(|candidate| candidate.node.clone()).collect(),
            of: HashMap::with_capacity(tenants.len()),
            shares: vec![0; candidates.len()],
            takes_nobody: candidates.iter().all(|candidate| candidate.keeps.is_some()),
        };
        for (index, kept) in candidates.iter().enumerate().filter_map(|(i, c)| Some((i, c.keeps.as_ref()?))) {
            for tenant in kept.intersection(tenants) {
                // Two nodes may believe that they have it; the first by name keeps it.
                if !placement.of.contains_key(tenant) {
                    placement.put(tenant.clone(), index);
                }
            }
        }
        let takers: Vec<usize> = (0..candidates.len()).filter(|index| candidates[*index].keeps.is_none()).collect();
        if takers.is_empty() {
            return placement;
        }
        let mut free: Vec<(u64, &TenantId)> = tenants
            .iter()
            .filter(|tenant| !placement.of.contains_key(tenant))
            .map(|tenant| (weight(tenant, ""), tenant))
            .collect();
        // An order that has nothing to do with names. Chance decides which tenants the bound displaces, alike on every
        // node.
        free.sort_unstable();
        let share_max = (free.len() * LOAD_MAX.0).div_ceil(takers.len() * LOAD_MAX.1).max(1);
        for (_, tenant) in free {
            let open = takers.iter().copied().filter(|index| placement.shares[*index] < share_max);
            let best = open.max_by_key(|index| (weight(tenant, &placement.nodes[*index]), std::cmp::Reverse(*index)));
            if let Some(index) = best {
                placement.put(tenant.clone(), index);
            }
        }
        placement
    }

    fn put(&mut self, tenant: TenantId, index: usize) {
        self.of.insert(tenant, index);
        self.shares[index] += 1;
    }

    /// Returns the tenant's node; none when it is not placed.
    pub fn node_of(&self, tenant: &TenantId) -> Option<&str> {
        self.of.get(tenant).map(|index| self.nodes[*index].as_str())
    }

    /// True when no node takes tenants: unowned tenants stay unowned.
    pub fn takes_nobody(&self) -> bool {
        self.takes_nobody
    }

    /// Counts the tenants of a node.
    pub fn share(&self, node: &str) -> usize {
        self.nodes.iter().position(|known| known == node).map_or(0, |index| self.shares[index])
    }
}

/// Weighs a node for a tenant, by a hash of both.
fn weight(tenant: &TenantId, node: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // The length keeps apart two pairs whose texts run into each other.
    hasher.update(&(tenant.as_str().len() as u64).to_le_bytes());
    hasher.update(tenant.as_str().as_bytes());
    hasher.update(node.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(index: usize) -> TenantId {
        TenantId::new(format!("t{index}")).expect("an id")
    }

    fn tenants(count: usize) -> BTreeSet<TenantId> {
        (0..count).map(named).collect()
    }

    fn takers(names: &[&str]) -> Vec<Candidate> {
        names.iter().map(|node| Candidate { node: (*node).to_owned(), keeps: None }).collect()
    }

    fn moved(
        from: &Placement,
        to: &Placement,
        tenants: &BTreeSet<TenantId>,
    ) -> Vec<(TenantId, Option<String>, Option<String>)> {
        let node = |placement: &Placement, tenant| placement.node_of(tenant).map(str::to_owned);
        let all = tenants.iter().map(|tenant| (tenant.clone(), node(from, tenant), node(to, tenant)));
        all.filter(|(_, before, after)| before != after).collect()
    }

    #[test]
    fn a_node_that_joins_takes_its_share_and_nothing_else_moves() {
        let tenants = tenants(3_000);
        let (two, three) =
            (Placement::new(&takers(&["a", "b"]), &tenants), Placement::new(&takers(&["a", "b", "c"]), &tenants));
        let moves = moved(&two, &three, &tenants);
        assert!((900..1_100).contains(&moves.len()), "{}", moves.len());
        assert!(moves.iter().all(|(_, _, to)| to.as_deref() == Some("c")));
    }

    #[test]
    fn a_node_that_leaves_gives_its_own_away_to_all() {
        let tenants = tenants(3_000);
        let (three, two) =
            (Placement::new(&takers(&["a", "b", "c"]), &tenants), Placement::new(&takers(&["a", "c"]), &tenants));
        let moves = moved(&three, &two, &tenants);
        assert!(moves.iter().all(|(_, from, _)| from.as_deref() == Some("b")));
        assert_eq!(moves.len(), three.share("b"));
        let to_a = moves.iter().filter(|(_, _, to)| to.as_deref() == Some("a")).count();
        assert!((400..600).contains(&to_a), "{to_a} of {}", moves.len());
    }

    #[test]
    fn a_cordoned_node_keeps_what_it_has_and_gets_no_more() {
        let tenants = tenants(100);
        let before = Placement::new(&takers(&["a", "b"]), &tenants);
        let of_a: BTreeSet<TenantId> =
            tenants.iter().filter(|tenant| before.node_of(tenant) == Some("a")).cloned().collect();
        let mut candidates = takers(&["b", "c"]);
        candidates.push(Candidate { node: "a".to_owned(), keeps: Some(of_a.clone()) });
        let more: BTreeSet<TenantId> = (0..200).map(named).collect();
        let after = Placement::new(&candidates, &more);
        assert!(of_a.iter().all(|tenant| after.node_of(tenant) == Some("a")));
        assert_eq!(after.share("a"), of_a.len());
        assert_eq!(after.share("a") + after.share("b") + after.share("c"), 200);
    }

    #[test]
    fn without_a_node_that_takes_nobody_gets_a_tenant() {
        let placement = Placement::new(&[], &tenants(3));
        assert_eq!((placement.node_of(&named(1)), placement.takes_nobody()), (None, true));
    }

    proptest! {
        #[test]
        fn no_node_gets_more_than_five_quarters_of_an_even_share_and_order_does_not_matter(
            nodes in 1_usize..9, count in 0_usize..300, turn in 0_usize..8,
        ) {
            let tenants = tenants(count);
            let mut candidates: Vec<Candidate> =
                (0..nodes).map(|node| Candidate { node: format!("n{node}"), keeps: None }).collect();
            let placement = Placement::new(&candidates, &tenants);
            candidates.rotate_left(turn % nodes);
            prop_assert_eq!(&placement, &Placement::new(&candidates, &tenants));
            let bound = (count * 5).div_ceil(nodes * 4).max(1);
            for node in &candidates {
                prop_assert!(placement.share(&node.node) <= bound);
            }
            prop_assert!(tenants.iter().all(|tenant| placement.node_of(tenant).is_some()));
        }
    }
}
