//! The vectors of the contract, and the promises of the tree for all small sizes and for random large ones.

use super::leaf::{Entry, Member, PayloadOpening, Salts, SealedEnvelope, payload_commitment};
use super::note::{KeyKind, Note, SIGNATURES_MAX, Signed, VerifierKey, Verify, WrongSignature, signature_line, signed};
use super::texts::{Checkpoint, Erasure, Fork, Rotation, Statement, is_origin, origin_of};
use super::tree::{
    Frontier, Leaves, consistency, empty_root, inclusion, inclusion_root, is_consistent, left_of, node, root_of,
};
use super::{Hash, multiproof, read_base64, sha256};
use crate::event::{LogSeq, TenantId};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn vectors() -> Value {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parity/fixtures/seal_vectors.json");
    serde_json::from_slice(&std::fs::read(own).expect("a fixture")).expect("JSON")
}

/// The bytes that a hex text stands for.
fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hex");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hash(text: &Value) -> Hash {
    unhex(text).try_into().expect("32 bytes")
}

fn hashes(list: &Value) -> Vec<Hash> {
    list.as_array().expect("a list").iter().map(hash).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn sealed(event: &Value) -> SealedEnvelope<'_> {
    let number = |name: &str| event[name].as_i64().expect("a number");
    SealedEnvelope {
        log_seq: LogSeq(number("log_seq")),
        recorded_at_us: number("recorded_at_us"),
        tenant_id: text(&event["tenant_id"]),
        event_id: text(&event["event_id"]),
        trace_id: text(&event["trace_id"]),
        trace_seq: number("trace_seq"),
        event_type: text(&event["event_type"]),
        occurred_at: text(&event["occurred_at"]),
        producer_id: text(&event["producer_id"]),
        source_system: text(&event["source_system"]),
        source_subsystem: event["source_subsystem"].as_str(),
        actor_type: text(&event["actor_type"]),
        actor_id: text(&event["actor_id"]),
        idempotency_key: text(&event["idempotency_key"]),
        correlation_id: event["correlation_id"].as_str(),
        causation_event_id: event["causation_event_id"].as_str(),
        schema_version: number("schema_version"),
        tags: text(&event["tags"]),
    }
}

fn salts(bytes: &[u8]) -> Salts {
    Salts::of(bytes.try_into().expect("32 bytes"))
}

/// The leaves of the tree vectors.
fn chain(size: u64) -> Vec<Hash> {
    (0..size).map(|index| sha256(&[&[0], &(index as u32).to_be_bytes()])).collect()
}

fn roots(leaves: &[Hash], parts: &[Leaves]) -> Vec<Hash> {
    parts.iter().map(|part| root_of(&leaves[part.start as usize..part.end as usize])).collect()
}

/// The vectors beside the repository are those that the tests read.
#[test]
fn the_vectors_are_those_of_the_contract() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/parity/seal_vectors.json");
    let Ok(contract) = std::fs::read(beside) else { return };
    assert_eq!(vectors(), serde_json::from_slice::<Value>(&contract).expect("JSON"));
}

#[test]
fn an_event_has_the_leaf_of_the_vectors_however_it_is_opened() {
    let vectors = vectors();
    let leaves = vectors["leaves"].as_array().expect("leaves");
    assert_eq!(leaves.len(), 16);
    for case in leaves {
        let about = &case["about"];
        let (salt, payload) = (salts(&unhex(&case["salt"])), text(&case["event"]["payload"]));
        assert_eq!(salt.bytes().to_vec(), unhex(&case["salt"]), "{about}");
        let envelope = sealed(&case["event"]);
        assert_eq!(envelope.encoded(), unhex(&case["envelope_bytes"]), "{about}");
        let entry = Entry::of(&envelope, payload, &salt);
        assert_eq!(entry.envelope(), hash(&case["envelope_commitment"]), "{about}");
        assert_eq!(entry.payload(), hash(&case["payload_commitment"]), "{about}");
        assert_eq!(entry.leaf_hash(), hash(&case["leaf_hash"]), "{about}");
        let PayloadOpening::Redacted { list, members } = PayloadOpening::redacted(payload, &salt.body, &[]) else {
            assert!(case["payload_members"].is_null(), "{about}");
            continue;
        };
        let shown = |member: &Member<'_>| match member {
            Member::Shown { text, .. } => Value::from(*text),
            Member::Hidden(_) => Value::Null,
        };
        assert_eq!(Value::from(members.iter().map(shown).collect::<Vec<_>>()), case["payload_members"], "{about}");
        let commitments = hashes(&case["member_commitments"]);
        let hidden = commitments.iter().map(|commitment| Member::Hidden(*commitment));
        for hidden_too in [members.clone(), hidden.collect()] {
            let opening = PayloadOpening::Redacted { list, members: hidden_too };
            assert_eq!(opening.commitment(), Ok(entry.payload()), "{about}");
        }
    }
}

#[test]
fn a_member_is_shown_as_it_was_sealed_or_not_at_all() {
    let body = [7; 16];
    let payload = r#"{"a":1,"b":{"c":[2]},"d":"x"}"#;
    let sealed = payload_commitment(payload, &body);
    let PayloadOpening::Redacted { list, members } = PayloadOpening::redacted(payload, &body, &["b", "absent"]) else {
        panic!("it has members");
    };
    assert!(matches!(members.as_slice(), [Member::Shown { .. }, Member::Hidden(_), Member::Shown { .. }]));
    let with = |at: usize, text: &'static str| {
        let mut changed = members.clone();
        let Member::Shown { salt, .. } = members[at] else { panic!("it is shown") };
        changed[at] = Member::Shown { salt, text };
        PayloadOpening::Redacted { list, members: changed }.commitment()
    };
    assert_eq!(with(0, r#""a":1"#), Ok(sealed));
    assert_ne!(with(0, r#""a":2"#), Ok(sealed));
    for wrong in
        [r#""a": 1"#, r#""a":1,"b":2"#, "", "1", r#""a":1.5"#, r#""e":1"#, r#""d":1"#, r#""a":1}"#, r#"{"a":1"#]
    {
        assert!(with(0, wrong).is_err(), "{wrong}");
    }
    assert!(matches!(PayloadOpening::redacted("[1]", &body, &["a"]), PayloadOpening::Withheld(_)));
}

#[test]
fn roots_frontiers_and_proofs_are_those_of_the_vectors() {
    let vectors = vectors();
    let ct: Vec<Hash> = vectors["rfc6962"]["leaves"]
        .as_array()
        .expect("leaves")
        .iter()
        .map(|data| sha256(&[&[0], &unhex(data)]))
        .collect();
    let expected = hashes(&vectors["rfc6962"]["roots"]);
    assert_eq!((0..=8).map(|size| root_of(&ct[..size])).collect::<Vec<_>>(), expected);
    let (leaves, tree) = (chain(700), &vectors["tree"]);
    for (size, root) in tree["roots"].as_object().expect("roots") {
        assert_eq!(root_of(&leaves[..size.parse::<usize>().expect("a size")]), hash(root));
    }
    for case in tree["frontier"].as_array().expect("frontiers") {
        let size = number(&case["size"]);
        let mut frontier = Frontier::default();
        leaves[..size as usize].iter().for_each(|leaf| frontier.append(*leaf));
        assert_eq!(frontier.hashes(), hashes(&case["hashes"]));
        let restored = Frontier::restore(size, frontier.hashes().to_vec()).expect("it fits");
        assert_eq!((restored.size(), restored.root()), (size, root_of(&leaves[..size as usize])));
        assert!(Frontier::restore(size, Vec::new()).is_none());
    }
    for case in tree["inclusion"].as_array().expect("proofs") {
        let parts = inclusion(number(&case["index"]), number(&case["size"])).expect("in the tree");
        assert_eq!(roots(&leaves, &parts), hashes(&case["path"]), "{case}");
    }
    for case in tree["consistency"].as_array().expect("proofs") {
        let parts = consistency(number(&case["old"]), number(&case["new"])).expect("in the tree");
        assert_eq!(roots(&leaves, &parts), hashes(&case["path"]), "{case}");
    }
    for case in vectors["multiproof"].as_array().expect("proofs") {
        let wanted: Vec<u64> = case["wanted"].as_array().expect("indices").iter().map(number).collect();
        let parts = multiproof::subtrees(number(&case["size"]), &wanted).expect("in the tree");
        assert_eq!(roots(&leaves, &parts), hashes(&case["hashes"]), "{case}");
    }
}

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

/// Accepts the signature of 64 equal bytes that it is told.
struct Byte(u8);

impl Verify for Byte {
    fn verify(&self, _: KeyKind, _: &[u8], _: &[u8], signature: &[u8]) -> bool {
        signature == [self.0; 64]
    }
}

#[test]
fn texts_are_read_and_written_as_the_vectors_have_them() {
    let vectors = vectors();
    let notes = &vectors["notes"];
    let read = |name: &str| Note::parse(text(&notes[name])).expect("a note").text;
    for name in ["checkpoint", "cosigned", "empty"] {
        let checkpoint = Checkpoint::parse(read(name)).expect("a checkpoint");
        assert_eq!(checkpoint.text(), read(name));
        assert!(name != "empty" || checkpoint.head.root == empty_root());
    }
    assert_eq!(Statement::parse(read("statement")).map(|read| read.text()).as_deref(), Ok(read("statement")));
    assert_eq!(Rotation::parse(read("rotation")).map(|read| read.text()).as_deref(), Ok(read("rotation")));
    assert_eq!(Fork::parse(read("fork")).map(|read| read.text()).as_deref(), Ok(read("fork")));
    assert_eq!(Erasure::parse(read("erasure")).map(|read| read.text()).as_deref(), Ok(read("erasure")));
    for key in notes["keys"].as_object().expect("keys").values() {
        assert_eq!(VerifierKey::parse(text(key)).map(|key| key.to_string()).as_deref(), Ok(text(key)));
        let (name, rest) = text(key).split_once('+').expect("a key");
        for wrong in [
            format!("x{name}+{rest}"),
            format!("+{rest}"),
            name.to_owned(),
            text(key)[..text(key).len() - 1].to_owned(),
        ] {
            assert!(VerifierKey::parse(&wrong).is_err(), "{wrong}");
        }
    }
    for case in notes["origins"].as_array().expect("origins") {
        let tenant = TenantId::new(text(&case[1])).expect("a tenant");
        assert_eq!(origin_of(text(&case[0]), &tenant), text(&case[2]));
    }
}

#[test]
fn a_text_of_one_kind_is_no_other_and_has_one_spelling() {
    let vectors = vectors();
    let names = ["checkpoint", "statement", "rotation", "fork", "erasure"];
    for name in names {
        let text = Note::parse(text(&vectors["notes"][name])).expect("a note").text;
        let kinds = |text: &str| {
            [
                Checkpoint::parse(text).is_ok(),
                Statement::parse(text).is_ok(),
                Rotation::parse(text).is_ok(),
                Fork::parse(text).is_ok(),
                Erasure::parse(text).is_ok(),
            ]
        };
        assert_eq!(kinds(text), names.map(|kind| kind == name), "{name}");
        let wrong = [text.replacen('\n', "\n\n", 1), text[..text.len() - 1].to_owned(), text.replacen("12", "012", 1)];
        for other in wrong.iter().filter(|other| *other != text) {
            assert_eq!(kinds(other), [false; 5], "{other}");
        }
    }
    assert!(is_origin("a/b") && !is_origin("ab") && !is_origin("decisiongraph/b") && !is_origin("a/b c"));
    for erased in ["payload ", "1,0 of 2", "0,0 of 2", "2 of 2", " of 2", "0 of 02", "0, 1 of 2"] {
        let text = Note::parse(text(&vectors["notes"]["erasure"])).expect("a note").text.replace("0 of 2", erased);
        assert!(Erasure::parse(&text).is_err(), "{erased}");
    }
}

#[test]
fn a_note_has_signatures_and_each_that_names_a_key_is_checked() {
    let key = VerifierKey::of_log("a/b", &[5; 32]);
    let line = signature_line(&key, &[7; 64]);
    let text = "a/b\n\n1\n";
    let stranger = signature_line(&VerifierKey::of_log("a/b", &[6; 32]), &[0; 64]);
    let note = signed(text, &[stranger.clone(), line.clone()]);
    let read = Note::parse(&note).expect("a note");
    assert_eq!(read.text, text);
    assert_eq!(read.signed_by(&key, &Byte(7)), Ok(Signed::Yes));
    assert_eq!(read.signed_by(&key, &Byte(8)), Err(WrongSignature));
    assert_eq!(read.signed_by(&VerifierKey::of_log("a/c", &[5; 32]), &Byte(7)), Ok(Signed::Not));
    let twice = signed(text, &[line.clone(), signature_line(&key, &[8; 64])]);
    assert_eq!(Note::parse(&twice).expect("a note").signed_by(&key, &Byte(7)), Err(WrongSignature));
    for wrong in [
        text.to_owned(),
        signed(text, &[]),
        signed(text, &[stranger.trim_end().to_owned()]),
        note.replace("— ", "- "),
        note.replace("a/b\n\n1", "a/b\n\n\t1"),
        signed(text, &["— a/b AAAA\n".to_owned()]),
        signed(text, &[line.replace("=\n", "\n")]),
        signed(text, &vec![line.clone(); SIGNATURES_MAX + 1]),
    ] {
        assert!(Note::parse(&wrong).is_err(), "{wrong:?}");
    }
    assert!(Note::parse(&signed(text, &vec![line; SIGNATURES_MAX])).is_ok());
}

#[test]
fn base64_has_one_spelling() {
    assert_eq!(read_base64("AA=="), Ok(vec![0]));
    for wrong in ["AB==", "AA", "AA=", "AA==\n", " AA==", "A-==", "AA==AA=="] {
        assert!(read_base64(wrong).is_err(), "{wrong:?}");
    }
}
