//! The audit of any file of evidence: its kind is read off its beginning.

use crate::accepted::Accepted;
use crate::compare::Own;
use crate::consistency::{self, Consistency};
use crate::finding::{Failure, Finding};
use crate::pack::{self, LINE_BYTES_MAX};
use crate::single_note;
use crate::tlog_proof::{self, TlogProof};
use crate::trust::Trust;
use std::io::{BufRead, Cursor, Read as _};

/// Bytes that tell the kind of a file.
const BEGIN_BYTES: u64 = 64;

/// Other files that the question needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The event that a proof is about, as JSON.
    pub event: Option<&'a str>,
    /// The reader's own checkpoint: the older one for a consistency proof.
    pub against: Option<&'a str>,
    /// A consistency proof between that checkpoint and the one of the file.
    pub consistency: Option<&'a str>,
}

/// Judges a pack, a proof, a consistency proof or a note.
pub fn audit(mut file: impl BufRead, beside: Beside<'_>, trust: &Trust) -> Result<Accepted, Failure> {
    let mut begin = Vec::new();
    file.by_ref().take(BEGIN_BYTES).read_to_end(&mut begin)?;
    let starts = |with: &str| begin.starts_with(with.as_bytes());
    let (is_pack, is_proof) = (begin.trim_ascii_start().starts_with(b"{"), starts(tlog_proof::TITLE));
    let is_consistency = starts(consistency::BEGIN);
    if beside.event.is_some() && !is_proof {
        return Err(Failure::Usage(
            "an event beside the file opens a proof alone; this file is not a proof".to_owned(),
        ));
    }
    if beside.consistency.is_some() && (beside.against.is_none() || is_consistency) {
        let text = "a consistency proof beside the file leads from your checkpoint to that of the file: name yours with --against";
        return Err(Failure::Usage(text.to_owned()));
    }
    let own = Own { against: beside.against, consistency: beside.consistency };
    let mut file = Cursor::new(begin).chain(file);
    if is_pack {
        return Ok(Accepted::Pack(pack::audit(file, own, trust)?));
    }
    let mut text = Vec::new();
    file.by_ref().take(LINE_BYTES_MAX).read_to_end(&mut text)?;
    let Ok(text) = String::from_utf8(text) else { return Err(Finding::PackMalformed.because("not UTF-8").into()) };
    if is_proof {
        return Ok(Accepted::Proof(TlogProof::parse(&text)?.audit(beside.event, own, trust)?));
    }
    if is_consistency {
        return Ok(Accepted::Consistency(Consistency::parse(&text)?.audit(beside.against, trust)?));
    }
    Ok(Accepted::Note(single_note::audit(&text, own, trust)?))
}
