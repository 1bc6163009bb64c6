//! The audit of one signed note.

use crate::accepted::NoteSaid;
use crate::compare::{Own, compared};
use crate::finding::{Failure, Finding, Refused};
use crate::trust::{Keyring, Trust, signed_by};
use decisiongraph_projections::seal::note::{Note, Signed, VerifierKey};
use decisiongraph_projections::seal::texts::{Erasure, Fork, Rotation, Statement};

/// Judges a note; a checkpoint is compared with the reader's own.
pub(crate) fn audit(text: &str, own: Own<'_>, trust: &Trust) -> Result<NoteSaid, Failure> {
    let (note, mut keyring) = (Note::parse(text)?, Keyring::of(trust));
    let said = |kind: &'static str, origin: String, signed_by: Vec<String>| NoteSaid {
        note: kind,
        origin,
        signed_by,
        witnesses: Vec::new(),
        text: note.text.lines().map(str::to_owned).collect(),
        compared: false,
    };
    let accepted = if let Ok(statement) = Statement::parse(note.text) {
        let signers = signers(&keyring, &note, &statement.origin)?;
        said("statement", statement.origin, signers)
    } else if let Ok(erasure) = Erasure::parse(note.text) {
        let signers = signers(&keyring, &note, &erasure.origin)?;
        said("erasure", erasure.origin, signers)
    } else if let Ok(rotation) = Rotation::parse(note.text) {
        keyring.rotate(&rotation.origin, text)?;
        let signers = signers(&keyring, &note, &rotation.origin)?;
        said("rotation", rotation.origin, signers)
    } else if let Ok(fork) = Fork::parse(note.text) {
        let signers = signers(&keyring, &note, &fork.old_origin)?;
        both_origins(&keyring, &note, &fork)?;
        said("fork", fork.old_origin, signers)
    } else {
        let (checkpoint, compared) = compared(&keyring, text, None, own)?;
        let witnesses = checkpoint.witnesses;
        let said = said("checkpoint", checkpoint.origin, checkpoint.signed_by);
        return Ok(NoteSaid { witnesses, compared, ..said });
    };
    match own.against {
        None => Ok(accepted),
        Some(_) => Err(Failure::Usage("only checkpoints are compared; this note is not one".to_owned())),
    }
}

/// The named keys of this log that signed the note.
fn signers(keyring: &Keyring<'_>, note: &Note<'_>, origin: &str) -> Result<Vec<String>, Refused> {
    let signers = keyring.signers(note)?;
    let of_log: Vec<String> = signers.iter().filter(|key| key.name == origin).map(ToString::to_string).collect();
    match of_log.is_empty() {
        true => Err(Finding::SignatureMissing.because("the note is not signed by a key that you named for its log")),
        false => Ok(of_log),
    }
}

/// Checks that a key of the old log signed a fork under the new origin too.
fn both_origins(keyring: &Keyring<'_>, note: &Note<'_>, fork: &Fork) -> Result<(), Refused> {
    for key in keyring.signers(note)? {
        let under_new = VerifierKey::of_log(&fork.new_origin, &key.public);
        if key.name == fork.old_origin && signed_by(note, &under_new)? == Signed::Yes {
            return Ok(());
        }
    }
    Err(Finding::SignatureMissing.because("the fork is not signed under both of its origins"))
}
