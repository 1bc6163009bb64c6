//! Keys that are replaced: who signs, and who believes it.

use crate::support::Files;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Fork, TreeHead};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::rotations::{self, KeyChange};
use decisiongraph_seal::{Finding, SigningKeys, Trust, audit, fork_origin, rotation};
use std::path::Path;

const ORIGIN: &str = "log.example/a";
const AT: &str = "2026-12-01T09:30:00Z";

fn key(seed: u8) -> SigningKey {
    SigningKey::of_seed("log.example", &[seed; 32]).expect("a key")
}

fn trust(seed: u8) -> Trust {
    Trust::new(&[key(seed).verifier(ORIGIN).to_string()], &[], 0).expect("a key")
}

fn head(size: u64) -> TreeHead {
    TreeHead { size, root: [size as u8; 32] }
}

#[test]
fn above_a_rotation_the_replaced_key_alone_is_refused_by_those_who_know_it() {
    let note = rotation(ORIGIN, head(9), &key(1), &key(2), AT).expect("signed");
    let signed = |keys: &SigningKeys, size, both| keys.checkpoint(ORIGIN, head(size), both, AT).expect("signed").note;
    let (old, both) = (SigningKeys::of(key(1)), SigningKeys::rotated(key(2), key(1), AT));
    assert_eq!(Note::parse(&signed(&both, 10, true)).expect("a note").text.lines().count(), 3);
    let known = [note.note];
    let of = |trust: &Trust, note: &str, known: &[String]| trust.checkpoint(ORIGIN, note, known).map(|it| it.size);
    let refused = |size, both_sign, known: &[String], keys: &SigningKeys, trust: &Trust| {
        let refused = of(trust, &signed(keys, size, both_sign), known).expect_err("refused");
        assert_eq!(refused.finding, Finding::SignatureMissing);
        refused.text
    };
    // Those who were never told: the old key is good, and during the overlap both sign.
    assert_eq!(of(&trust(1), &signed(&old, 10, false), &[]), Ok(10));
    assert_eq!(of(&trust(1), &signed(&both, 10, true), &[]), Ok(10));
    let told = refused(10, false, &[], &both, &trust(1));
    for id in [1, 2].map(|seed| key(seed).verifier(ORIGIN).id_hex()) {
        assert!(told.contains(&id) && told.contains("--rotations"), "{told}");
    }
    // Those who know the rotation.
    assert_eq!(of(&trust(1), &signed(&old, 9, false), &known), Ok(9));
    let told = refused(10, false, &known, &old, &trust(1));
    assert!(told.contains("was replaced before this checkpoint"), "{told}");
    assert_eq!(of(&trust(1), &signed(&both, 10, true), &known), Ok(10));
    assert_eq!(of(&trust(1), &signed(&both, 10, false), &known), Ok(10), "the rotation brings the new key");
    assert_eq!(of(&trust(2), &signed(&both, 10, false), &[]), Ok(10));
}

#[test]
fn a_list_of_rotations_leads_from_the_configured_key_to_the_one_that_signs() {
    let files = Files::new();
    let directory = Path::new(&files.put("list", "")).parent().expect("a directory").to_owned();
    let paths = ["one.key", "two.key", "three.key"].map(|name| directory.join(name));
    let made: Vec<_> = paths.iter().map(|path| SigningKey::create("log.example", path).expect("made")).collect();
    let verifier = |number: usize| made[number].verifier(ORIGIN);
    let change = |from: usize, to: usize| {
        let (from, to) = (paths[from].clone(), paths[to].clone());
        rotations::add(&directory, &KeyChange { from, to, at: AT.to_owned() }).expect("added");
    };
    let running = SigningKeys::read(&paths[0], &directory).expect("reads");
    assert_eq!(running.verifiers(ORIGIN), [verifier(0)]);
    assert!(!running.refresh().expect("reads"));
    change(0, 1);
    change(0, 1);
    assert!(running.refresh().expect("reads"), "a process that runs takes the new key");
    assert_eq!(running.verifiers(ORIGIN), [verifier(1), verifier(0)]);
    assert_eq!(running.rotated_at().as_deref(), Some(AT));
    change(1, 2);
    for configured in [0, 1, 2] {
        let keys = SigningKeys::read(&paths[configured], &directory).expect("reads");
        assert_eq!(keys.verifiers(ORIGIN), [verifier(2), verifier(1)], "{configured}");
        assert_eq!(keys.file().expect("reads"), Some(paths[2].canonicalize().expect("is there")));
    }
    let note = SigningKeys::read(&paths[2], &directory).expect("reads").checkpoint(ORIGIN, head(3), true, AT);
    assert_eq!(note.expect("signed").note.matches("— log.example/a ").count(), 2);
    // A key that was stolen is deleted: the new one signs alone.
    std::fs::remove_file(&paths[1]).expect("removes");
    assert_eq!(SigningKeys::read(&paths[2], &directory).expect("reads").verifiers(ORIGIN), [verifier(2)]);
    // Without the key that signs now, those of before go on.
    std::fs::remove_file(&paths[2]).expect("removes");
    assert!(running.refresh().is_err());
    assert_eq!(running.verifiers(ORIGIN), [verifier(1), verifier(0)]);
}

#[test]
fn a_fork_is_signed_under_both_of_its_origins() {
    assert_eq!(fork_origin("a/b", 1), "a/b/2");
    assert_eq!(fork_origin("a/b/2", 2), "a/b/3");
    assert_eq!(fork_origin("a/2", 1), "a/2/2");
    let fork = Fork {
        old_origin: ORIGIN.to_owned(),
        last_signed: head(98),
        new_origin: fork_origin(ORIGIN, 1),
        common: head(60),
        reason: "the standby had not all of it".to_owned(),
    };
    for keys in [SigningKeys::of(key(1)), SigningKeys::rotated(key(2), key(1), AT)] {
        let [old, new] = keys.fork(&fork, true, AT).expect("signed");
        assert_eq!((old.head(), new.head()), (Some(head(98)), Some(head(60))));
        assert_eq!(new.origin, "log.example/a/2");
        assert!(audit(old.note.as_bytes(), Default::default(), &trust(1)).is_ok());
    }
}
