//! Keys that sign for a log, with those that were replaced.
//!
//! *Guarantees.* A rotation that the newer key and the older key signed makes the older key known, for the sizes up to
//! the rotation's. Another key counts for nothing.

use super::finding::{SealFinding, SealWord};
use decisiongraph_projections::seal::note::{Note, Signed, VerifierKey};
use decisiongraph_projections::seal::texts::Rotation;
use decisiongraph_seal::Remembered;
use decisiongraph_seal::signatures::Signatures;

/// Keys that sign for a log, each with the last size that it signs.
pub(super) struct Keyring(Vec<(VerifierKey, u64)>);

impl Keyring {
    /// Begins with these keys, and goes back from rotation to rotation.
    pub fn of(keys: Vec<VerifierKey>, mut rotations: Vec<String>) -> Keyring {
        let mut keyring = Keyring(keys.into_iter().map(|key| (key, u64::MAX)).collect());
        rotations.sort_unstable();
        rotations.dedup();
        loop {
            let before = keyring.0.len();
            rotations.retain(|note| !keyring.rotate(note));
            if keyring.0.len() == before {
                return keyring;
            }
        }
    }

    /// Takes a rotation that a known key signed. True when the note need not be looked at again.
    fn rotate(&mut self, note: &str) -> bool {
        let Ok(note) = Note::parse(note) else { return true };
        let Ok(rotation) = Rotation::parse(note.text) else { return true };
        if !self.0.iter().any(|(key, _)| *key == rotation.new) {
            return false;
        }
        let signed = |key: &VerifierKey| note.signed_by(key, &Signatures) == Ok(Signed::Yes);
        let is_new = !self.0.iter().any(|(key, _)| *key == rotation.old);
        if is_new && signed(&rotation.new) && signed(&rotation.old) {
            self.0.push((rotation.old, rotation.head.size));
        }
        true
    }

    /// True without a key: nothing can be checked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signatures of a note.
    pub fn check(&self, note: &Remembered, memory: &str) -> std::result::Result<(), SealFinding> {
        let named = format!("the {} for {} ({memory})", note.kind.as_str(), note.size);
        let not_one = |_| SealWord::SignatureInvalid.because(format!("{named} is not a signed note"));
        let text = Note::parse(&note.note).map_err(not_one)?;
        let mut is_signed = false;
        for (key, upto) in &self.0 {
            match text.signed_by(key, &Signatures) {
                Ok(Signed::Not) => {}
                Ok(_) => is_signed |= note.size <= *upto,
                Err(wrong) => return Err(SealWord::SignatureInvalid.because(format!("{named}: {wrong}"))),
            }
        }
        match is_signed {
            true => Ok(()),
            false => Err(SealWord::SignatureMissing.because(format!("{named} is not signed by a known key"))),
        }
    }
}
