//! One line of a pack behind its head.

use crate::event::{Event, Text, present};
use crate::finding::{Finding, Refused};
use crate::hex::unhex;
use decisiongraph_projections::seal::leaf::{Entry, Member, PayloadOpening, Salt, Salts};
use decisiongraph_projections::seal::{Hash, Malformed, read_base64_of};
use serde::{Deserialize, Serialize};

/// Members of all kinds of lines. [`Line::read`] says which of them go together.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Members<'a> {
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub entry: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub event: Option<Event<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub salt: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub envelope_salt: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub list_salt: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberLine<'a>>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub payload_commitment: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofLine<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub statement: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rfc3161: Option<Text<'a>>,
}

/// A member of a redacted payload: salt and text, or a hash.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MemberLine<'a> {
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub salt: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub hash: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofLine<'a> {
    pub size: i64,
    #[serde(borrow)]
    pub hashes: Vec<Text<'a>>,
}

/// A line whose members go together.
pub(super) enum Line<'a> {
    Event(Box<Opened<'a>>),
    Proof(i64, Vec<Hash>),
    Checkpoint(Text<'a>),
    Statement(Text<'a>),
    Rotation(Text<'a>),
    TimeStamp,
}

/// An event with one of the openings of its payload.
pub(super) struct Opened<'a> {
    pub index: i64,
    pub entry: Entry,
    pub event: Event<'a>,
    opening: Opening<'a>,
}

enum Opening<'a> {
    Whole { salt: Text<'a> },
    Redacted { envelope: Text<'a>, list: Text<'a>, members: Vec<MemberLine<'a>> },
    Withheld { envelope: Text<'a>, commitment: Text<'a> },
}

impl<'a> Line<'a> {
    pub fn read(text: &'a str) -> Result<Line<'a>, Malformed> {
        let line: Members<'a> = serde_json::from_str(text).map_err(|_| Malformed("a line is not one of a pack"))?;
        let Members { index, entry, event, salt, envelope_salt, list_salt, members, payload_commitment, .. } = line;
        let Members { proof, checkpoint, statement, rotation, rfc3161, .. } = line;
        let others = (proof, checkpoint, statement, rotation, rfc3161);
        let openings = (salt, envelope_salt, list_salt, members, payload_commitment);
        let notes = match (index, entry, event, openings, others) {
            (Some(index), Some(entry), Some(event), openings, (None, None, None, None, None)) => {
                let opening = match openings {
                    (Some(salt), None, None, None, None) => Opening::Whole { salt },
                    (None, Some(envelope), Some(list), Some(members), None) => {
                        Opening::Redacted { envelope, list, members }
                    }
                    (None, Some(envelope), None, None, Some(commitment)) => Opening::Withheld { envelope, commitment },
                    _ => return Err(Malformed("an event of a pack has one opening")),
                };
                let entry = Entry(read_base64_of(&entry.0)?);
                return Ok(Line::Event(Box::new(Opened { index, entry, event, opening })));
            }
            (None, None, None, (None, None, None, None, None), others) => others,
            _ => return Err(Malformed("the members of a line do not go together")),
        };
        match notes {
            (Some(ProofLine { size, hashes }), None, None, None, None) => {
                let hashes = hashes.iter().map(|hash| read_base64_of(&hash.0)).collect::<Result<_, _>>()?;
                Ok(Line::Proof(size, hashes))
            }
            (None, Some(note), None, None, None) => Ok(Line::Checkpoint(note)),
            (None, None, Some(note), None, None) => Ok(Line::Statement(note)),
            (None, None, None, Some(note), None) => Ok(Line::Rotation(note)),
            (None, None, None, None, Some(_)) => Ok(Line::TimeStamp),
            _ => Err(Malformed("the members of a line do not go together")),
        }
    }
}

impl Opened<'_> {
    /// Checks both commitments of the entry against what is shown.
    pub fn check(&self) -> Result<(), Refused> {
        let Opened { entry, event, opening, .. } = self;
        let envelope: Salt = match opening {
            Opening::Whole { salt } => Salts::of(&unhex(&salt.0)?).envelope,
            Opening::Redacted { envelope, .. } | Opening::Withheld { envelope, .. } => unhex(&envelope.0)?,
        };
        if event.sealed().commitment(&envelope) != entry.envelope() {
            let text = format!("{}: its envelope is not what was sealed", self.named());
            return Err(Finding::EnvelopeDiffers.because(text));
        }
        let payload = match (opening, &event.payload) {
            (Opening::Whole { salt }, Some(payload)) => {
                PayloadOpening::Whole { text: &payload.0, body: Salts::of(&unhex(&salt.0)?).body }
            }
            (Opening::Redacted { list, members, .. }, None) => PayloadOpening::Redacted {
                list: unhex(&list.0)?,
                members: members.iter().map(MemberLine::read).collect::<Result<_, _>>()?,
            },
            (Opening::Withheld { commitment, .. }, None) => PayloadOpening::Withheld(unhex(&commitment.0)?),
            _ => return Err(Finding::PackMalformed.because("a payload is shown exactly where one salt opens it")),
        };
        if payload.commitment()? != entry.payload() {
            let text = format!("{}: its payload is not what was sealed", self.named());
            return Err(Finding::PayloadDiffers.because(text));
        }
        Ok(())
    }

    /// Returns the event's place and id, for a sentence.
    pub fn named(&self) -> String {
        format!("leaf {} (log_seq {}, {})", self.index, self.event.log_seq, self.event.event_id.0)
    }

    /// True for a payload of which every member is shown, false for one with hidden members, `None` for one that is
    /// withheld.
    pub fn is_whole(&self) -> Option<bool> {
        match &self.opening {
            Opening::Whole { .. } => Some(true),
            Opening::Redacted { members, .. } => Some(members.iter().all(|member| member.hash.is_none())),
            Opening::Withheld { .. } => None,
        }
    }
}

impl MemberLine<'_> {
    fn read(&self) -> Result<Member<'_>, Malformed> {
        match (&self.salt, &self.text, &self.hash) {
            (Some(salt), Some(text), None) => Ok(Member::Shown { salt: unhex(&salt.0)?, text: &text.0 }),
            (None, None, Some(hash)) => Ok(Member::Hidden(unhex(&hash.0)?)),
            _ => Err(Malformed("a member of a payload has salt and text, or a hash")),
        }
    }
}
