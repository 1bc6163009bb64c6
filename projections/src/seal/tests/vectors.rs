//! Leaves, roots and proofs are those of the vectors.

use super::*;
use crate::seal::leaf::{Entry, Member, PayloadOpening, payload_commitment};
use crate::seal::multiproof;
use crate::seal::tree::{Frontier, consistency, inclusion};

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
