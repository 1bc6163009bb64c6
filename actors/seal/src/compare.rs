//! The checkpoint of a file against the reader's own: one root for one size, or a proof between two sizes.
//!
//! *Guarantees.* A fork is told before a witness that is missing. The hashes of a proof lead from one of the two
//! checkpoints to the other; what else the file of the proof says plays no part.

use crate::consistency::Consistency;
use crate::finding::{Failure, Finding};
use crate::trust::{Keyring, Trusted};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::Checkpoint;
use decisiongraph_projections::seal::tree::is_consistent;

/// Files that the reader has, to compare a checkpoint with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    pub against: Option<&'a str>,
    /// Proof between both, when they are of two sizes.
    pub consistency: Option<&'a str>,
}

/// Reads the checkpoint of a file, and compares it with the reader's own. Returns whether there was one.
pub(crate) fn compared(
    keyring: &Keyring<'_>,
    note: &str,
    expected: Option<&str>,
    own: Own<'_>,
) -> Result<(Trusted, bool), Failure> {
    let (checkpoint, cosigned) = keyring.head(note, expected)?;
    if let Some(against) = own.against {
        let (own_head, _) = keyring.head(against, None)?;
        compare(&checkpoint, &own_head, own.consistency)?;
    }
    keyring.quorum(&cosigned)?;
    Ok((checkpoint, own.against.is_some()))
}

/// Compares two checkpoints of one log: their roots, or by the proof that the larger tree begins with the smaller one.
fn compare(one: &Trusted, other: &Trusted, proof: Option<&str>) -> Result<(), Failure> {
    if one.origin != other.origin {
        let text = format!("the checkpoints are of two logs: {} and {}", one.origin, other.origin);
        return Err(Failure::Usage(text));
    }
    if one.size != other.size {
        let (older, newer) = if one.size < other.size { (one, other) } else { (other, one) };
        return grown(older, newer, proof);
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

/// Checks a proof between two heads. Its own checkpoint plays no part: the hashes lead from one root to the other.
fn grown(older: &Trusted, newer: &Trusted, proof: Option<&str>) -> Result<(), Failure> {
    let (less, more) = (older.size, newer.size);
    let ask = format!(
        "ask the operator of the log for `decisiongraph consistency {less} {more} -o FILE`, and add --consistency FILE"
    );
    let Some(proof) = proof else {
        let text = format!("checkpoints for {less} and for {more} events are compared by a proof: {ask}");
        return Err(Failure::Usage(text));
    };
    let proof = Consistency::parse(proof)?;
    let upto = Checkpoint::parse(Note::parse(proof.note)?.text)?.head.size;
    if (proof.old, upto) != (less, more) {
        let text =
            format!("the consistency proof is from {} to {upto} events, not from {less} to {more}: {ask}", proof.old);
        return Err(Failure::Usage(text));
    }
    match is_consistent(less, &older.root, more, &newer.root, &proof.hashes) {
        true => Ok(()),
        false => {
            let text = format!("the proof does not show that the log of {more} events begins with the log of {less}");
            Err(Finding::CheckpointDiffers.because(text).into())
        }
    }
}
