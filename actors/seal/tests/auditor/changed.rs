//! Whatever was changed is refused, and nothing makes the audit panic.

use crate::support::*;
use decisiongraph_projections::seal::tree::root_of;
use decisiongraph_seal::{Beside, Failure, Trust, audit};
use proptest::prelude::*;

proptest! {
    /// One flipped bit anywhere in a pack is refused.
    #[test]
    fn a_flipped_bit_in_a_pack_is_refused(picks in prop::collection::vec(any::<prop::sample::Index>(), 4)) {
        for case in good_packs() {
            let trust = case.trust();
            for pick in &picks {
                let (mut bytes, bit) = (case.pack.as_bytes().to_vec(), pick.index(case.pack.len() * 8));
                bytes[bit / 8] ^= 1 << (bit % 8);
                let judged = judge(&bytes, &trust);
                prop_assert!(judged.is_err(), "{}: bit {} of byte {}", case.about, bit % 8, bit / 8);
            }
        }
    }

    /// One flipped bit anywhere in a proof, a consistency proof or a note is refused.
    #[test]
    fn a_flipped_bit_in_a_proof_or_a_note_is_refused(pick: prop::sample::Index) {
        let case = &VECTORS["notes"]["tlog_proof"];
        let event = case["event"].to_string();
        let proof = Beside { event: Some(&event), ..Beside::default() };
        let none = Beside::default();
        let with_witness = Trust::new(&[key("log")], &[key("witness")], 1).expect("keys");
        let alone = Trust::new(&[key("log")], &[], 0).expect("keys");
        let older = checkpoint(8, &root_of(&leaves(&log())[..8]));
        let grown = Beside { against: Some(&older), ..Beside::default() };
        for (content, beside, trust) in [
            (text(&case["proof"]), proof, &with_witness),
            (note("add_checkpoint"), grown, &alone),
            (note("cosigned"), none, &with_witness),
            (note("checkpoint"), none, &alone),
            (note("statement"), none, &alone),
            (note("rotation"), none, &alone),
            (note("fork"), none, &alone),
            (note("erasure"), none, &alone),
        ] {
            let (mut bytes, bit) = (content.as_bytes().to_vec(), pick.index(content.len() * 8));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(audit(bytes.as_slice(), beside, trust).is_err(), "bit {bit} of {content}");
        }
        let mut changed = event.clone().into_bytes();
        let bit = pick.index(changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = String::from_utf8(changed) {
            let beside = Beside { event: Some(&changed), ..Beside::default() };
            prop_assert!(audit(text(&case["proof"]).as_bytes(), beside, &with_witness).is_err(), "{changed}");
        }
    }

    /// A pack with a line left out, doubled or moved, or with any bytes in between, is judged.
    #[test]
    fn any_pack_is_judged(
        which: prop::sample::Index,
        from: prop::sample::Index,
        to: prop::sample::Index,
        noise in prop::collection::vec(any::<u8>(), 0..6),
        edit in 0..4_u8,
    ) {
        let cases = cases();
        let case = which.get(&cases);
        let mut lines: Vec<Vec<u8>> = case.pack.lines().map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        match edit {
            0 => drop(lines.remove(from)),
            1 => lines.insert(to, lines[from].clone()),
            2 => lines.swap(from, to),
            _ => {
                let at = to.min(lines[from].len() - 1);
                drop(lines[from].splice(at..at, noise));
            }
        }
        let judged = judge(&lines.concat(), &case.trust());
        prop_assert!(!matches!(judged, Err(Failure::Usage(_) | Failure::Unreadable(_))));
    }

    /// Any bytes are judged.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), begin in 0..4_usize) {
        let begin = ["", "{\"pack\":", "c2sp.org/tlog-proof@v1\n", "old 1\n"][begin];
        let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
        let bytes = [begin.as_bytes(), &bytes].concat();
        let _ = judge(&bytes, &trust).map(|accepted| accepted.lines());
    }
}
