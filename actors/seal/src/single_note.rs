//! The audit of one signed note.

use crate::accepted::NoteSaid;
use crate::finding::{Failure, Finding, Refused};
use crate::trust::{Keyring, Trust, Trusted, signed_by};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::note::{Note, Signed, VerifierKey};
use decisiongraph_projections::seal::texts::{Erasure, Fork, Rotation, Statement};

/// Judges a note; a checkpoint is compared with the one `against` it.
pub(crate) fn audit(text: &str, against: Option<&str>, trust: &Trust) -> Result<NoteSaid, Failure> {
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
        let checkpoint = keyring.checkpoint(text, None)?;
        if let Some(other) = against {
            compare(&checkpoint, &keyring.checkpoint(other, None)?)?;
        }
        let witnesses = checkpoint.witnesses;
        let said = said("checkpoint", checkpoint.origin, checkpoint.signed_by);
        return Ok(NoteSaid { witnesses, compared: against.is_some(), ..said });
    };
    match against {
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

/// Compares a checkpoint with the one that the reader has, if there is one. True when they name one root.
pub(crate) fn compared(of_file: &Trusted, against: Option<&str>, trust: &Trust) -> Result<bool, Failure> {
    let Some(own) = against else { return Ok(false) };
    compare(of_file, &Keyring::of(trust).checkpoint(own, None)?)?;
    Ok(true)
}

/// Compares two checkpoints of one log and one size.
fn compare(one: &Trusted, other: &Trusted) -> Result<(), Failure> {
    if one.origin != other.origin {
        let text = format!("the checkpoints are of two logs: {} and {}", one.origin, other.origin);
        return Err(Failure::Usage(text));
    }
    if one.size != other.size {
        let (less, more) = (one.size.min(other.size), one.size.max(other.size));
        let text = format!(
            "a checkpoint for {less} events and one for {more} are compared by a proof: ask the operator of the log for \
             `decisiongraph consistency {less} {more}`, and audit it with --against FILE, the checkpoint for {less} events"
        );
        return Err(Failure::Usage(text));
    }
    if one.root == other.root {
        return Ok(());
    }
    let mut keys = one.signed_by.clone();
    keys.extend(other.signed_by.iter().filter(|key| !one.signed_by.contains(key)).cloned());
    let (size, keys) = (one.size, keys.join(" and "));
    let (first, second) = (base64(&one.root), base64(&other.root));
    let text =
        format!("two roots for {size} events, both signed by {keys}: the log has been forked; {first}, {second}");
    Err(Finding::CheckpointDiffers.because(text).into())
}
