//! Promises about trees of all small sizes and random large ones, and about any event, payload and note.

use super::*;
use crate::seal::leaf::{Member, PayloadOpening, payload_commitment};
use crate::seal::multiproof;
use crate::seal::note::Note;
use crate::seal::texts::{Checkpoint, Rotation, Statement};
use crate::seal::tree::{Frontier, consistency, inclusion, inclusion_root, is_consistent, left_of, node};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Other hashes than the right ones: each replaced, one left out, one too many.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let other = sha256(&[b"other"]);
    let mut found: Vec<Vec<Hash>> = (0..proof.len())
        .map(|at| proof.iter().enumerate().map(|(i, hash)| if i == at { other } else { *hash }).collect())
        .collect();
    found.extend((0..proof.len()).map(|at| [&proof[..at], &proof[at + 1..]].concat()));
    found.push([proof, &[other]].concat());
    found
}

#[test]
fn every_small_tree_proves_its_leaves_and_its_beginnings_and_nothing_else() {
    const SIZE_MAX: u64 = 300;
    let leaves = chain(SIZE_MAX);
    let roots_by_size: Vec<Hash> = (0..=SIZE_MAX).map(|size| root_of(&leaves[..size as usize])).collect();
    // Roots of subtrees, each computed once.
    let mut known: BTreeMap<(u64, u64), Hash> = BTreeMap::new();
    let mut root = |part: &Leaves| {
        let make = || root_of(&leaves[part.start as usize..part.end as usize]);
        *known.entry((part.start, part.end)).or_insert_with(make)
    };
    let other = sha256(&[b"other"]);
    for size in 1..=SIZE_MAX {
        let top = roots_by_size[size as usize];
        for index in 0..size {
            let proof: Vec<Hash> = inclusion(index, size).expect("inside").iter().map(&mut root).collect();
            let leaf = &leaves[index as usize];
            assert_eq!(inclusion_root(index, size, leaf, &proof), Ok(top));
            assert_ne!(inclusion_root(index, size, &other, &proof), Ok(top));
            // Every other index in a few sizes; elsewhere those beside it.
            let beside = if size < 34 { 0..size + 2 } else { index.saturating_sub(1)..index + 2 };
            for moved in beside.filter(|moved| *moved != index) {
                assert_ne!(inclusion_root(moved, size, leaf, &proof), Ok(top), "{index} as {moved} of {size}");
            }
            for grown in [size + 1, size - 1] {
                if let Some(wrong) = roots_by_size.get(grown as usize) {
                    assert_ne!(inclusion_root(index, grown, leaf, &proof), Ok(*wrong), "{index} of {size} as {grown}");
                }
            }
        }
        for old in 0..=size {
            let proof: Vec<Hash> = consistency(old, size).expect("inside").iter().map(&mut root).collect();
            let before = roots_by_size[old as usize];
            assert!(is_consistent(old, &before, size, &top, &proof), "{old} to {size}");
            assert!(!is_consistent(old, &other, size, &top, &proof), "{old} to {size}");
            assert!(old == 0 || !is_consistent(old, &before, size, &other, &proof), "{old} to {size}");
            if old > 0 {
                let wrong = &roots_by_size[old as usize - 1];
                assert!(!is_consistent(old, wrong, size, &top, &proof), "{old} to {size}");
                assert!(!is_consistent(old - 1, wrong, size, &top, &proof) || old == 1 && proof.is_empty());
            }
            assert!(
                size < 40
                    || old != size / 3
                    || spoiled(&proof).iter().all(|wrong| { !is_consistent(old, &before, size, &top, wrong) })
            );
        }
        assert!(consistency(size + 1, size).is_err() && inclusion(size, size).is_err());
    }
}

/// A tree of equal leaves but for a few: its roots are computed without visiting the leaves.
struct Sparse {
    size: u64,
    set: BTreeMap<u64, Hash>,
    equal: BTreeMap<u64, Hash>,
}

impl Sparse {
    fn of(size: u64, set: impl IntoIterator<Item = u64>) -> Sparse {
        let leaf = |index: u64| (index, sha256(&[b"leaf", &index.to_be_bytes()]));
        Sparse { size, set: set.into_iter().map(leaf).collect(), equal: BTreeMap::new() }
    }

    fn root(&mut self, part: Leaves) -> Hash {
        let (leaves, is_equal) = (part.end - part.start, self.set.range(part.clone()).next().is_none());
        if let Some(known) = self.equal.get(&leaves).filter(|_| is_equal) {
            return *known;
        }
        let hash = match leaves {
            1 => self.set.get(&part.start).copied().unwrap_or([9; 32]),
            _ => {
                let middle = part.start + left_of(leaves);
                let left = self.root(part.start..middle);
                node(&left, &self.root(middle..part.end))
            }
        };
        if is_equal {
            self.equal.insert(leaves, hash);
        }
        hash
    }

    fn roots(&mut self, parts: &[Leaves]) -> Vec<Hash> {
        parts.iter().map(|part| self.root(part.clone())).collect()
    }
}

fn large() -> impl Strategy<Value = (u64, Vec<u64>)> {
    (1..=1_u64 << 40)
        .prop_flat_map(|size| (Just(size), prop::collection::btree_set(0..size, 1..8)))
        .prop_map(|(size, set)| (size, set.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Large trees prove single leaves, sets of leaves and their beginnings, and refuse what was spoiled.
    #[test]
    fn large_trees_prove_leaves_sets_and_beginnings((size, set) in large()) {
        let mut tree = Sparse::of(size, set.iter().copied());
        let top = tree.root(0..tree.size);
        for index in &set {
            let leaf = tree.set[index];
            let proof = tree.roots(&inclusion(*index, size).expect("inside"));
            prop_assert_eq!(inclusion_root(*index, size, &leaf, &proof), Ok(top));
            prop_assert_ne!(inclusion_root(*index, size, &[1; 32], &proof), Ok(top));
            for wrong in spoiled(&proof) {
                prop_assert_ne!(inclusion_root(*index, size, &leaf, &wrong), Ok(top));
            }
            for bit in 0..41 {
                prop_assert_ne!(inclusion_root(*index ^ (1 << bit), size, &leaf, &proof), Ok(top));
            }
            let (old, before) = (index + 1, tree.root(0..index + 1));
            let proof = tree.roots(&consistency(old, size).expect("inside"));
            prop_assert!(is_consistent(old, &before, size, &top, &proof));
            prop_assert!(!is_consistent(old, &[1; 32], size, &top, &proof));
            prop_assert!(!is_consistent(old, &before, size, &[1; 32], &proof));
            for wrong in spoiled(&proof) {
                prop_assert!(!is_consistent(old, &before, size, &top, &wrong));
            }
        }
        let leaves: Vec<(u64, Hash)> = tree.set.clone().into_iter().collect();
        let proof = tree.roots(&multiproof::subtrees(size, &set).expect("inside"));
        prop_assert_eq!(multiproof::root(size, &leaves, &proof), Ok(top));
        for wrong in spoiled(&proof) {
            prop_assert_ne!(multiproof::root(size, &leaves, &wrong), Ok(top));
        }
        for at in 0..leaves.len() {
            let mut wrong = leaves.clone();
            wrong[at].1 = [1; 32];
            prop_assert_ne!(multiproof::root(size, &wrong, &proof), Ok(top));
            wrong.remove(at);
            prop_assert_ne!(multiproof::root(size, &wrong, &proof), Ok(top));
        }
    }

    /// One proof of any set of a small tree has the root of that tree.
    #[test]
    fn a_multiproof_of_any_set_has_the_root(size in 1_u64..200, picked in prop::collection::vec(any::<u64>(), 1..40)) {
        let leaves = chain(size);
        let wanted: BTreeSet<u64> = picked.into_iter().map(|index| index % size).collect();
        let wanted: Vec<u64> = wanted.into_iter().collect();
        let known: Vec<(u64, Hash)> = wanted.iter().map(|index| (*index, leaves[*index as usize])).collect();
        let proof = roots(&leaves, &multiproof::subtrees(size, &wanted).expect("inside"));
        prop_assert_eq!(multiproof::root(size, &known, &proof), Ok(root_of(&leaves)));
        let twice: Vec<(u64, Hash)> = known.iter().chain(known.first()).copied().collect();
        prop_assert!(multiproof::root(size, &twice, &proof).is_err());
    }

    /// No numbers in a proof make its reader panic.
    #[test]
    fn any_numbers_are_read(index: u64, size: u64, other: u64, count in 0_usize..70) {
        let proof = vec![[3; 32]; count];
        let _ = inclusion_root(index, size, &[1; 32], &proof);
        let _ = is_consistent(index, &[1; 32], size, &[2; 32], &proof);
        let _ = multiproof::root(size, &[(index, [1; 32]), (other, [1; 32])], &proof);
    }

    /// A frontier that was stored after any leaf goes on to the same root.
    #[test]
    fn a_frontier_continues_where_it_was_stored(size in 0_u64..400, cut in 0_u64..400) {
        let leaves = chain(size);
        let mut frontier = Frontier::default();
        for (index, leaf) in leaves.iter().enumerate() {
            if index as u64 == cut {
                frontier = Frontier::restore(frontier.size(), frontier.hashes().to_vec()).expect("it fits");
            }
            frontier.append(*leaf);
        }
        prop_assert_eq!(frontier.root(), root_of(&leaves));
    }

    /// Events that differ in any field have different encodings, an absent and an empty text among them.
    #[test]
    fn the_encoding_of_an_envelope_is_injective(
        a in prop::collection::vec(prop::option::of("[ab]{0,2}"), 14),
        b in prop::collection::vec(prop::option::of("[ab]{0,2}"), 14),
        numbers in prop::array::uniform4(0_i64..3),
        others in prop::array::uniform4(0_i64..3),
        at in 0_usize..13,
    ) {
        let first = envelope(&a, numbers);
        let (mut moved, mut turned) = (a.clone(), a.clone());
        if let Some(last) = moved[at].as_mut().and_then(String::pop) {
            moved[at + 1].get_or_insert_default().insert(0, last);
        }
        turned[at] = if turned[at].is_none() { Some(String::new()) } else { None };
        for (texts, numbers) in [(&b, others), (&moved, numbers), (&turned, numbers), (&a, others)] {
            let second = envelope(texts, numbers);
            prop_assert_eq!(first == second, first.encoded() == second.encoded());
        }
    }

    /// However much of a payload is shown, P is the same; and it is not that of another payload.
    #[test]
    fn every_opening_gives_the_same_commitment(
        members in prop::collection::btree_map("[a-f\"\\\\é\n]{1,3}", any::<i64>(), 0..6),
        hidden in prop::collection::vec("[a-f\"\\\\é\n]{1,3}", 0..4),
        body: [u8; 16],
    ) {
        let payload = serde_json::to_string(&members).expect("serialises");
        let sealed = payload_commitment(&payload, &body);
        let hidden = members.keys().step_by(2).chain(&hidden);
        let hidden: Vec<&str> = hidden.map(String::as_str).collect();
        for keys in [&[] as &[&str], hidden.as_slice()] {
            let opening = PayloadOpening::redacted(&payload, &body, keys);
            prop_assert_eq!(opening.commitment(), Ok(sealed));
            if let PayloadOpening::Redacted { members: shown, .. } = opening {
                let is_hidden = shown.iter().map(|member| matches!(member, Member::Hidden(_)));
                prop_assert!(is_hidden.eq(members.keys().map(|key| keys.contains(&key.as_str()))));
            }
        }
        prop_assert_eq!(PayloadOpening::Whole { text: &payload, body }.commitment(), Ok(sealed));
        prop_assert_ne!(payload_commitment(&format!("{payload} "), &body), sealed);
    }

    /// A note with anything in it is read or refused.
    #[test]
    fn any_note_is_read_or_refused(note in "(a/b\n|12\n|— |[ +/=A-Za-z0-9\n]){0,12}") {
        if let Ok(read) = Note::parse(&note) {
            prop_assert!(note.starts_with(read.text) && read.text.ends_with('\n'));
            let _ = (Checkpoint::parse(read.text), Statement::parse(read.text), Rotation::parse(read.text));
        }
    }
}

/// An envelope of a few short texts; an absent text of a field that has one is empty.
fn envelope(texts: &[Option<String>], numbers: [i64; 4]) -> SealedEnvelope<'_> {
    let text = |at: usize| texts[at].as_deref().unwrap_or_default();
    SealedEnvelope {
        log_seq: LogSeq(numbers[0]),
        recorded_at_us: numbers[1],
        tenant_id: text(0),
        event_id: text(1),
        trace_id: text(2),
        trace_seq: numbers[2],
        event_type: text(3),
        occurred_at: text(4),
        producer_id: text(5),
        source_system: text(6),
        source_subsystem: texts[7].as_deref(),
        actor_type: text(8),
        actor_id: text(9),
        idempotency_key: text(10),
        correlation_id: texts[11].as_deref(),
        causation_event_id: texts[12].as_deref(),
        schema_version: numbers[3],
        tags: text(13),
    }
}
