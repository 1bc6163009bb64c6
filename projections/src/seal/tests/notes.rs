//! Texts, keys and notes.

use super::*;
use crate::event::TenantId;
use crate::seal::note::{
    KeyKind, Note, SIGNATURES_MAX, Signed, VerifierKey, Verify, WrongSignature, signature_line, signed,
};
use crate::seal::read_base64;
use crate::seal::texts::{Checkpoint, Erasure, Fork, Rotation, Statement, is_origin, origin_of};
use crate::seal::tree::empty_root;

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
