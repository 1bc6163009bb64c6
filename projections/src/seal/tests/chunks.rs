//! Leaves in groups: where a chunk ends, and what no chunk may be.

use super::*;
use crate::seal::chunk::{CHUNK_EVENTS, Chunk, Grown, Node, Unsealed, grow};
use crate::seal::leaf::Entry;
use crate::seal::tree::Frontier;

/// An envelope at this position; all else is the same in each.
fn at(log_seq: i64) -> SealedEnvelope<'static> {
    SealedEnvelope {
        log_seq: LogSeq(log_seq),
        recorded_at_us: 1,
        tenant_id: "t",
        event_id: "e",
        trace_id: "t",
        trace_seq: 0,
        event_type: "TraceStarted",
        occurred_at: "",
        producer_id: "p",
        source_system: "s",
        source_subsystem: None,
        actor_type: "agent",
        actor_id: "a",
        idempotency_key: "k",
        correlation_id: None,
        causation_event_id: None,
        schema_version: 1,
        tags: "[]",
    }
}

fn salts_at(log_seq: i64) -> Salts {
    Salts::of(&sha256(&[&log_seq.to_be_bytes()]))
}

/// Adds events at every other position: the event of leaf i is at 2 i + 3.
fn grown(frontier: &Frontier, events: u64) -> Grown {
    let positions = (frontier.size()..frontier.size() + events).map(|index| 2 * index as i64 + 3);
    let unsealed = |position| {
        let (envelope, salts) = (at(position), salts_at(position));
        Unsealed { log_seq: envelope.log_seq, entry: Entry::of(&envelope, "{}", &salts), salts }
    };
    grow(frontier.clone(), positions.map(unsealed))
}

#[test]
fn a_chunk_ends_at_a_multiple_of_its_most_leaves() {
    for (size, events, expected) in [
        (0, 1, vec![(0, 1)]),
        (0, 255, vec![(0, 255)]),
        (0, 256, vec![(0, 256)]),
        (0, 257, vec![(0, 256), (256, 1)]),
        (1, 256, vec![(1, 255), (256, 1)]),
        (255, 1, vec![(255, 1)]),
        (255, 2, vec![(255, 1), (256, 1)]),
        (256, 512, vec![(256, 256), (512, 256)]),
        (300, 500, vec![(300, 212), (512, 256), (768, 32)]),
        (7, 0, vec![]),
    ] {
        let before = grown(&Frontier::default(), size).frontier;
        let Grown { chunks, nodes, frontier } = grown(&before, events);
        let found: Vec<(u64, u64)> = chunks.iter().map(|chunk| (chunk.first_index, chunk.events)).collect();
        assert_eq!(found, expected, "{events} behind {size}");
        assert_eq!(frontier.size(), size + events);
        let full = size / CHUNK_EVENTS..(size + events) / CHUNK_EVENTS;
        assert_eq!(
            nodes.iter().map(|node| (node.level, node.index)).collect::<Vec<_>>(),
            full.map(|at| (1, at)).collect::<Vec<_>>()
        );
        for (chunk, index) in chunks.iter().zip(found) {
            assert_eq!((chunk.first, chunk.end()), (LogSeq(2 * index.0 as i64 + 3), index.0 + index.1));
        }
    }
}

#[test]
fn leaves_are_those_that_were_added_and_nodes_are_their_roots() {
    let Grown { chunks, nodes, frontier } = grown(&Frontier::default(), 600);
    let leaves: Vec<_> = chunks.iter().flat_map(|chunk| chunk.leaves().expect("sound")).collect();
    for (index, leaf) in leaves.iter().enumerate() {
        let position = 2 * index as i64 + 3;
        assert_eq!((leaf.index, leaf.log_seq), (index as u64, LogSeq(position)));
        assert!(leaf.salts == salts_at(position) && leaf.entry == Entry::of(&at(position), "{}", &leaf.salts));
    }
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.entry.leaf_hash()).collect();
    assert_eq!((leaves.len(), frontier.root()), (600, root_of(&hashes)));
    let node = |index: usize| Node { level: 1, index: index as u64, hash: root_of(&hashes[256 * index..][..256]) };
    assert_eq!(nodes, [node(0), node(1)]);
}

#[test]
fn a_node_of_the_second_level_has_256_of_the_first() {
    let mut frontier = Frontier::default();
    let (mut nodes, mut hashes) = (Vec::new(), Vec::new());
    for index in 0..65_537_u64 {
        let leaf = sha256(&[&index.to_be_bytes()]);
        hashes.push(leaf);
        crate::seal::chunk::add_leaf(&mut frontier, leaf, &mut nodes);
    }
    assert_eq!(nodes.len(), 257);
    assert_eq!(nodes[256], Node { level: 2, index: 0, hash: root_of(&hashes[..65_536]) });
    let first: Vec<Hash> = nodes[..256].iter().map(|node| node.hash).collect();
    assert_eq!(root_of(&first), nodes[256].hash, "the root of the nodes of level 1");
}

/// Whoever wrote these columns, they are refused, and nothing panics.
#[test]
fn damaged_columns_have_no_leaves() {
    let sound = grown(&grown(&Frontier::default(), 250).frontier, 6).chunks.remove(0);
    assert_eq!(sound.leaves().map(|leaves| leaves.len()), Some(6));
    type Damage = (&'static str, fn(&mut Chunk));
    let damages: [Damage; 18] = [
        ("no leaf", |chunk| {
            *chunk = Chunk { events: 0, positions: vec![], entries: vec![], salts: vec![], ..chunk.clone() }
        }),
        ("another number", |chunk| chunk.events += 1),
        ("fewer", |chunk| chunk.events -= 1),
        ("a huge number", |chunk| chunk.events = u64::MAX),
        ("across a multiple of 256", |chunk| chunk.first_index += 1),
        ("a huge index", |chunk| chunk.first_index = u64::MAX),
        ("a position missing", |chunk| chunk.positions.truncate(40)),
        ("a part of a position", |chunk| chunk.positions.push(0)),
        ("an entry missing", |chunk| chunk.entries.truncate(320)),
        ("a part of an entry", |chunk| chunk.entries.truncate(383)),
        ("an entry too many", |chunk| chunk.entries.extend([0; 64])),
        ("salts missing", |chunk| chunk.salts.clear()),
        ("a part of a salt", |chunk| chunk.salts.truncate(191)),
        ("another first position", |chunk| chunk.first.0 -= 1),
        ("another last position", |chunk| chunk.last.0 += 1),
        ("two positions exchanged", |chunk| chunk.positions[8..24].rotate_left(8)),
        ("a position twice", |chunk| chunk.positions.copy_within(8..16, 16)),
        ("a negative position", |chunk| chunk.positions[16] = 0xff),
    ];
    for (what, damage) in damages {
        let mut chunk = sound.clone();
        damage(&mut chunk);
        assert!(chunk.leaves().is_none(), "{what}");
    }
    // Zeroed salts are those of an erasure.
    let mut erased = sound;
    erased.salts.fill(0);
    assert!(erased.leaves().is_some_and(|leaves| leaves.iter().all(|leaf| leaf.salts == Salts::of(&[0; 32]))));
}
