//! Writing of a pack, with redaction.

use super::Head;
use super::line::{MemberLine, Members, ProofLine};
use crate::event::{Event, Text};
use crate::hex::hex;
use decisiongraph_projections::seal::leaf::{Entry, Member, PayloadOpening, Salts};
use decisiongraph_projections::seal::{Hash, base64};
use serde::Serialize;
use std::io::{Result, Write};

/// Part of each payload that the pack's reader may see.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// All of it.
    Whole,
    /// All but the members with these keys. A payload that is not a canonical object is withheld.
    Without(&'a [&'a str]),
    /// Nothing.
    Nothing,
}

/// A pack that is being written. The notes come last, in any order; [`Writer::checkpoint`] exactly once.
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins with the head.
    pub fn begin(to: W, head: &Head) -> Result<Writer<W>> {
        let mut writer = Writer { to };
        writer.line(head)?;
        Ok(writer)
    }

    /// Goes on with a pack whose first lines were written elsewhere.
    pub fn go_on(to: W) -> Writer<W> {
        Writer { to }
    }

    /// Writes an event with its payload. Events come in the order of their index.
    pub fn event(
        &mut self,
        index: u64,
        entry: &Entry,
        event: &Event<'_>,
        salts: &Salts,
        shown: Shown<'_>,
    ) -> Result<()> {
        let payload = event.payload.as_ref().map_or("", |payload| &*payload.0);
        let opening = match shown {
            Shown::Whole => PayloadOpening::Whole { text: payload, body: salts.body },
            Shown::Without(keys) => PayloadOpening::redacted(payload, &salts.body, keys),
            Shown::Nothing => PayloadOpening::Withheld(entry.payload()),
        };
        let mut line = Members {
            index: i64::try_from(index).ok(),
            entry: Some(base64(&entry.0).into()),
            event: Some(event.clone()),
            ..Members::default()
        };
        if !matches!(opening, PayloadOpening::Whole { .. }) {
            line.event = Some(Event { payload: None, ..event.clone() });
            line.envelope_salt = Some(hex(&salts.envelope).into());
        }
        match opening {
            PayloadOpening::Whole { .. } => line.salt = Some(hex(&salts.bytes()).into()),
            PayloadOpening::Redacted { list, members } => {
                line.list_salt = Some(hex(&list).into());
                line.members = Some(members.iter().map(MemberLine::of).collect());
            }
            PayloadOpening::Withheld(commitment) => line.payload_commitment = Some(hex(&commitment).into()),
        }
        self.line(&line)
    }

    /// Writes the proof for all events.
    pub fn proof(&mut self, size: u64, hashes: &[Hash]) -> Result<()> {
        let hashes = hashes.iter().map(|hash| base64(hash).into()).collect();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.line(&Members { proof: Some(ProofLine { size, hashes }), ..Members::default() })
    }

    /// Writes the signed checkpoint.
    pub fn checkpoint(&mut self, note: &str) -> Result<()> {
        self.line(&Members { checkpoint: Some(note.into()), ..Members::default() })
    }

    /// Writes a signed statement.
    pub fn statement(&mut self, note: &str) -> Result<()> {
        self.line(&Members { statement: Some(note.into()), ..Members::default() })
    }

    /// Writes a signed rotation.
    pub fn rotation(&mut self, note: &str) -> Result<()> {
        self.line(&Members { rotation: Some(note.into()), ..Members::default() })
    }

    /// Returns the file that was written to.
    pub fn into_inner(self) -> W {
        self.to
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }
}

impl MemberLine<'_> {
    fn of<'a>(member: &Member<'a>) -> MemberLine<'a> {
        match member {
            Member::Shown { salt, text } => {
                MemberLine { salt: Some(hex(salt).into()), text: Some(Text::from(*text)), hash: None }
            }
            Member::Hidden(commitment) => MemberLine { hash: Some(hex(commitment).into()), ..MemberLine::default() },
        }
    }
}
