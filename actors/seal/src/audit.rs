//! The audit of any file of evidence: its kind is read off its beginning.

use crate::accepted::Accepted;
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
    /// An older checkpoint for a consistency proof; for every other file, one of the same size.
    pub against: Option<&'a str>,
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
    let mut file = Cursor::new(begin).chain(file);
    if is_pack {
        let mut proven = pack::audit(file, trust)?;
        proven.compared = single_note::compared(&proven.checkpoint, beside.against, trust)?;
        return Ok(Accepted::Pack(proven));
    }
    let mut text = Vec::new();
    file.by_ref().take(LINE_BYTES_MAX).read_to_end(&mut text)?;
    let Ok(text) = String::from_utf8(text) else { return Err(Finding::PackMalformed.because("not UTF-8").into()) };
    if is_proof {
        let mut included = TlogProof::parse(&text)?.audit(beside.event, trust)?;
        included.compared = single_note::compared(&included.checkpoint, beside.against, trust)?;
        return Ok(Accepted::Proof(included));
    }
    if is_consistency {
        return Ok(Accepted::Consistency(Consistency::parse(&text)?.audit(beside.against, trust)?));
    }
    Ok(Accepted::Note(single_note::audit(&text, beside.against, trust)?))
}
