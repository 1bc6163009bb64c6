//! An event as a leaf: `entry = E ‖ P`, the commitments to its envelope and to its payload.
//!
//! ```text
//! E = H(10 ‖ salt ‖ the 18 sealed fields, each number as i64, each text behind its length)
//! P = H(11 ‖ list salt ‖ u32 k ‖ c0 ‖ … ‖ ck-1)      ci = H(12 ‖ salt(i) ‖ "key":value)      for a canonical object
//! P = H(14 ‖ body salt ‖ text)                       for any other text
//! salt(i) = first 16 bytes of H(13 ‖ body salt ‖ u32 i); the list salt is salt(0xFFFFFFFF)
//! leaf hash = H(00 ‖ 01 ‖ entry)
//! ```
//!
//! *Guarantees.* Two different events have different encodings. A member that is hidden cannot be guessed from the
//! rest. An opening gives the same P, however much of the payload it shows.
//!
//! *Never:* changes a text. Stored bytes are sealed as they lie.

use super::{Hash, Malformed, put_text, sha256};
use crate::event::LogSeq;
use crate::json_reader::canonical_members;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Salt of one commitment.
pub type Salt = [u8; 16];

/// Number of the salt that covers the list of members.
const LIST: u32 = u32::MAX;

/// The salts of an event, 16 random bytes each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salts {
    /// Salt of the envelope.
    pub envelope: Salt,
    /// Salt that the salts of the payload's members are made of.
    pub body: Salt,
}

impl Salts {
    /// Splits the stored form: envelope, then body.
    pub fn of(bytes: &[u8; 32]) -> Salts {
        let (halves, _) = bytes.as_chunks::<16>();
        Salts { envelope: halves[0], body: halves[1] }
    }

    /// Returns the stored form.
    pub fn bytes(&self) -> [u8; 32] {
        join(&self.envelope, &self.body)
    }
}

/// The sealed fields of an envelope, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SealedEnvelope<'a> {
    pub log_seq: LogSeq,
    /// Microseconds since 1970, by the database's clock.
    pub recorded_at_us: i64,
    pub tenant_id: &'a str,
    pub event_id: &'a str,
    pub trace_id: &'a str,
    pub trace_seq: i64,
    pub event_type: &'a str,
    pub occurred_at: &'a str,
    pub producer_id: &'a str,
    pub source_system: &'a str,
    pub source_subsystem: Option<&'a str>,
    pub actor_type: &'a str,
    pub actor_id: &'a str,
    pub idempotency_key: &'a str,
    pub correlation_id: Option<&'a str>,
    pub causation_event_id: Option<&'a str>,
    pub schema_version: i64,
    /// The stored JSON text.
    pub tags: &'a str,
}

impl SealedEnvelope<'_> {
    /// Encodes the fields in their order.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.encode(&mut out);
        out
    }

    /// Appends the encoded fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, number: i64| out.extend_from_slice(&number.to_be_bytes());
        let optional = |out: &mut Vec<u8>, text: Option<&str>| {
            out.push(u8::from(text.is_some()));
            if let Some(text) = text {
                put_text(out, text);
            }
        };
        number(out, self.log_seq.0);
        number(out, self.recorded_at_us);
        [self.tenant_id, self.event_id, self.trace_id].iter().for_each(|text| put_text(out, text));
        number(out, self.trace_seq);
        [self.event_type, self.occurred_at, self.producer_id, self.source_system]
            .iter()
            .for_each(|text| put_text(out, text));
        optional(out, self.source_subsystem);
        [self.actor_type, self.actor_id, self.idempotency_key].iter().for_each(|text| put_text(out, text));
        optional(out, self.correlation_id);
        optional(out, self.causation_event_id);
        number(out, self.schema_version);
        put_text(out, self.tags);
    }

    /// Returns E.
    pub fn commitment(&self, salt: &Salt) -> Hash {
        encoded_commitment(&self.encoded(), salt)
    }
}

/// Returns E of an envelope whose fields are encoded.
fn encoded_commitment(encoded: &[u8], salt: &Salt) -> Hash {
    sha256(&[&[0x10], salt, encoded])
}

/// `E ‖ P` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry(pub [u8; 64]);

impl Entry {
    /// Joins the two commitments.
    pub fn new(envelope: &Hash, payload: &Hash) -> Entry {
        Entry(join(envelope, payload))
    }

    /// Seals a whole event.
    pub fn of(envelope: &SealedEnvelope<'_>, payload: &str, salts: &Salts) -> Entry {
        Entry::of_encoded(&envelope.encoded(), payload, salts)
    }

    /// Seals a whole event whose envelope is encoded.
    pub fn of_encoded(envelope: &[u8], payload: &str, salts: &Salts) -> Entry {
        Entry::new(&encoded_commitment(envelope, &salts.envelope), &payload_commitment(payload, &salts.body))
    }

    /// Returns E.
    pub fn envelope(&self) -> Hash {
        self.halves()[0]
    }

    /// Returns P.
    pub fn payload(&self) -> Hash {
        self.halves()[1]
    }

    /// Returns the hash of the leaf. Its second byte is the version of the format.
    pub fn leaf_hash(&self) -> Hash {
        sha256(&[&[0x00, 0x01], &self.0])
    }

    fn halves(&self) -> &[Hash] {
        self.0.as_chunks().0
    }
}

/// Part of a payload that a reader is given, with what is needed to compute P.
#[derive(Clone, PartialEq, Eq)]
pub enum PayloadOpening<'a> {
    /// All of it.
    Whole {
        /// The stored text.
        text: &'a str,
        /// Salt that all salts of the payload are made of.
        body: Salt,
    },
    /// Some members.
    Redacted {
        /// Salt of the list of members.
        list: Salt,
        /// Every member, in order.
        members: Vec<Member<'a>>,
    },
    /// Nothing but P.
    Withheld(Hash),
}

/// A member of a redacted payload.
#[derive(Clone, PartialEq, Eq)]
pub enum Member<'a> {
    /// The bytes `"key":value`, with their salt.
    Shown {
        /// Salt of this member alone.
        salt: Salt,
        /// The member as it lies.
        text: &'a str,
    },
    /// The commitment to a member that is not shown.
    Hidden(Hash),
}

impl<'a> PayloadOpening<'a> {
    /// Hides the members with these keys. A payload without members is withheld.
    pub fn redacted(text: &'a str, body: &Salt, keys: &[&str]) -> PayloadOpening<'a> {
        let Some(members) = canonical_members(text) else {
            return PayloadOpening::Withheld(payload_commitment(text, body));
        };
        let member = |(number, (key, text)): (u32, (Cow<'a, str>, &'a str))| {
            let salt = member_salt(body, number);
            match keys.contains(&key.as_ref()) {
                true => Member::Hidden(member_commitment(&salt, text)),
                false => Member::Shown { salt, text },
            }
        };
        PayloadOpening::Redacted {
            list: member_salt(body, LIST),
            members: (0..LIST).zip(members).map(member).collect(),
        }
    }

    /// Computes P. Fails when a shown member is not one canonical member, or not behind the shown member before it.
    pub fn commitment(&self) -> Result<Hash, Malformed> {
        let (list, members) = match self {
            PayloadOpening::Whole { text, body } => return Ok(payload_commitment(text, body)),
            PayloadOpening::Withheld(commitment) => return Ok(*commitment),
            PayloadOpening::Redacted { list, members } => (list, members),
        };
        let (mut commitments, mut last) = (Vec::with_capacity(members.len()), None);
        for member in members {
            commitments.push(match member {
                Member::Hidden(commitment) => *commitment,
                Member::Shown { salt, text } => {
                    let key = shown_key(text).filter(|key| last.as_ref().is_none_or(|last| last < key));
                    last = Some(key.ok_or(Malformed("a shown member is not one canonical member in its order"))?);
                    member_commitment(salt, text)
                }
            });
        }
        Ok(list_commitment(list, commitments.into_iter()))
    }
}

/// Returns P of a stored payload.
pub fn payload_commitment(text: &str, body: &Salt) -> Hash {
    match canonical_members(text) {
        None => sha256(&[&[0x14], body, text.as_bytes()]),
        Some(members) => {
            let numbered = (0..LIST).zip(members);
            let commitments = numbered.map(|(number, (_, text))| member_commitment(&member_salt(body, number), text));
            list_commitment(&member_salt(body, LIST), commitments)
        }
    }
}

fn member_salt(body: &Salt, number: u32) -> Salt {
    let hash = sha256(&[&[0x13], body, &number.to_be_bytes()]);
    hash.as_chunks::<16>().0[0]
}

fn member_commitment(salt: &Salt, text: &str) -> Hash {
    sha256(&[&[0x12], salt, text.as_bytes()])
}

/// Joins the members' commitments. Their number is below 2³², as a text is shorter than 4 GiB.
fn list_commitment(list: &Salt, commitments: impl ExactSizeIterator<Item = Hash>) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x11]);
    sha.update(list);
    sha.update((commitments.len() as u32).to_be_bytes());
    commitments.for_each(|commitment| sha.update(commitment));
    sha.finalize().into()
}

/// The key of a text that is one canonical member.
fn shown_key(text: &str) -> Option<String> {
    let object = format!("{{{text}}}");
    match canonical_members(&object)?.as_slice() {
        [(key, _)] => Some(key.to_string()),
        _ => None,
    }
}

fn join<const HALF: usize, const WHOLE: usize>(left: &[u8; HALF], right: &[u8; HALF]) -> [u8; WHOLE] {
    let mut whole = [0; WHOLE];
    let (first, second) = whole.split_at_mut(HALF);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    whole
}
