//! The proof of one event (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra BASE64      of {"salt":HEX}, which opens the event
//! index N
//! BASE64            a line per hash
//!
//! checkpoint with its signatures
//! ```

use crate::compare::{Own, compared};
use crate::event::Event;
use crate::finding::{Failure, Finding};
use crate::hex::{hex, unhex};
use crate::trust::{Keyring, Trust, Trusted};
use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::tree::inclusion_root;
use decisiongraph_projections::seal::{Hash, Malformed, base64, read_base64, read_base64_of, read_decimal};
use serde::{Deserialize, Serialize};

/// The first line of such a file.
pub(crate) const TITLE: &str = "c2sp.org/tlog-proof@v1\n";

/// A proof that was read. It is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof<'a> {
    /// Bytes for the reader.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf.
    pub index: u64,
    /// Roots of subtrees, from the leaf up.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub note: &'a str,
}

/// An event that is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Included {
    /// Head of the tree that it is in.
    #[serde(flatten)]
    pub checkpoint: Trusted,
    /// Index of its leaf.
    pub index: u64,
    /// Position in the log.
    pub log_seq: i64,
    /// Id of the event.
    pub event_id: String,
    /// True when the reader's own checkpoint has the same root.
    pub compared: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    salt: String,
}

/// Returns the extra bytes of the proof of an event with these salts.
pub fn extra(salts: &Salts) -> Vec<u8> {
    format!("{{\"salt\":\"{}\"}}", hex(&salts.bytes())).into_bytes()
}

impl<'a> TlogProof<'a> {
    /// Reads a file.
    pub fn parse(text: &'a str) -> Result<TlogProof<'a>, Malformed> {
        const WRONG: Malformed = Malformed("not a tlog-proof");
        let (head, note) = text.strip_prefix(TITLE).and_then(|rest| rest.split_once("\n\n")).ok_or(WRONG)?;
        let mut lines = head.split('\n').peekable();
        let extra = lines.peek().and_then(|line| line.strip_prefix("extra ")).map(read_base64).transpose()?;
        if extra.is_some() {
            lines.next();
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(WRONG)?;
        let path = lines.map(read_base64_of).collect::<Result<_, _>>()?;
        Ok(TlogProof { extra, index: read_decimal(index)?, path, note })
    }

    /// Writes the file.
    pub fn text(&self) -> String {
        let extra = self.extra.as_ref().map(|extra| format!("extra {}\n", base64(extra))).unwrap_or_default();
        let path: String = self.path.iter().map(|hash| base64(hash) + "\n").collect();
        format!("{TITLE}{extra}index {}\n{path}\n{}", self.index, self.note)
    }

    /// Checks that this event, as JSON, is in the tree of the checkpoint.
    pub(crate) fn audit(&self, event: Option<&str>, own: Own<'_>, trust: &Trust) -> Result<Included, Failure> {
        let Some(event) = event else {
            let text = "a proof needs the event beside it; name its file with --event";
            return Err(Failure::Usage(text.to_owned()));
        };
        let malformed = |text: &str| Finding::PackMalformed.because(text);
        // A line of an export lacks fields that were sealed.
        let other = |why: &str| {
            Failure::Usage(format!(
                "the file of the event is not as `decisiongraph prove EVENT_ID --event-file FILE` writes it ({why}); ask the \
                 operator of the log for that file"
            ))
        };
        let event: Event<'_> = serde_json::from_str(event).map_err(|error| other(&error.to_string()))?;
        let payload = event.payload.as_ref().ok_or_else(|| other("it has no payload"))?;
        let extra = self.extra.as_deref().and_then(|extra| serde_json::from_slice::<Extra>(extra).ok());
        let extra = extra.ok_or_else(|| malformed("the proof has no salt, which opens the event"))?;
        let salts = Salts::of(&unhex(&extra.salt)?);
        let (checkpoint, compared) = compared(&Keyring::of(trust), self.note, None, own)?;
        let leaf = Entry::of(&event.sealed(), &payload.0, &salts).leaf_hash();
        let root = inclusion_root(self.index, checkpoint.size, &leaf, &self.path)
            .map_err(|error| Finding::RootDiffers.because(error.to_string()))?;
        if root != checkpoint.root {
            return Err(Finding::RootDiffers.because("the event is not the one that the checkpoint seals").into());
        }
        let Event { log_seq, event_id, .. } = &event;
        let event_id = event_id.0.to_string();
        Ok(Included { checkpoint, index: self.index, log_seq: *log_seq, event_id, compared })
    }
}
