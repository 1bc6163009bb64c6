//! A consistency proof as a file: the body of a witness's `add-checkpoint` request (C2SP tlog-witness).
//!
//! ```text
//! old SIZE
//! BASE64            a line per hash
//!
//! checkpoint with its signatures
//! ```

use crate::finding::{Failure, Finding};
use crate::trust::{Keyring, Trust, Trusted};
use decisiongraph_projections::seal::tree::is_consistent;
use decisiongraph_projections::seal::{Hash, Malformed, base64, read_base64_of, read_decimal};
use serde::Serialize;

/// The beginning of such a file.
pub(crate) const BEGIN: &str = "old ";

/// A consistency proof that was read. It is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency<'a> {
    /// Size of the older tree.
    pub old: u64,
    /// Roots of subtrees, in the order of RFC 9162.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint of the newer tree.
    pub note: &'a str,
}

/// A tree that begins with an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extends {
    /// Head of the newer tree.
    #[serde(flatten)]
    pub checkpoint: Trusted,
    /// Size of the older tree.
    pub begins_with: u64,
}

impl<'a> Consistency<'a> {
    /// Reads a file.
    pub fn parse(text: &'a str) -> Result<Consistency<'a>, Malformed> {
        const WRONG: Malformed = Malformed("not a consistency proof");
        let (head, note) = text.split_once("\n\n").ok_or(WRONG)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix(BEGIN)).ok_or(WRONG)?;
        Ok(Consistency { old: read_decimal(old)?, hashes: lines.map(read_base64_of).collect::<Result<_, _>>()?, note })
    }

    /// Writes the file.
    pub fn text(&self) -> String {
        let hashes: String = self.hashes.iter().map(|hash| base64(hash) + "\n").collect();
        format!("{BEGIN}{}\n{hashes}\n{}", self.old, self.note)
    }

    /// Checks that the newer tree begins with that of the checkpoint `against` it.
    pub fn audit(&self, against: Option<&str>, trust: &Trust) -> Result<Extends, Failure> {
        let Some(against) = against else {
            let text = "a consistency proof needs the older checkpoint beside it; name its file with --against";
            return Err(Failure::Usage(text.to_owned()));
        };
        let keyring = Keyring::of(trust);
        let (new, cosigned) = keyring.head(self.note, None)?;
        let (old, _) = keyring.head(against, Some(&new.origin))?;
        if old.size != self.old {
            let (begin, size) = (self.old, old.size);
            let other = match size < new.size {
                true => format!(", or ask the operator of the log for `decisiongraph consistency {size} {}`", new.size),
                false => String::new(),
            };
            let text = format!(
                "the proof begins at {begin} events, and the checkpoint beside it is for {size}: name your checkpoint for \
                 {begin} events with --against{other}"
            );
            return Err(Failure::Usage(text));
        }
        if !is_consistent(old.size, &old.root, new.size, &new.root, &self.hashes) {
            let text =
                format!("this does not show that the log of {} events begins with the log of {}", new.size, old.size);
            return Err(Finding::CheckpointDiffers.because(text).into());
        }
        keyring.quorum(&cosigned)?;
        Ok(Extends { checkpoint: new, begins_with: old.size })
    }
}
