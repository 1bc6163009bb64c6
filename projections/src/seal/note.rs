//! Signed notes (C2SP signed-note) and verifier keys.
//!
//! ```text
//! text, whose last line ends in LF
//!
//! — NAME BASE64(key id ‖ signature)                 type 01: Ed25519 of the text
//! — NAME BASE64(key id ‖ u64 time ‖ signature)      type 04: Ed25519 of "cosignature/v1", the time and the text
//!                                                   type 06: ML-DSA-44 of "subtree/v1", names, time and tree head
//! ```
//!
//! *Guarantees.* A note that is read has 1 to [`SIGNATURES_MAX`] well-formed signature lines. A signature that names a
//! key by name and id is checked. When it is wrong, the note was changed.
//!
//! *Never here:* the arithmetic of a signature. The caller brings it as [`Verify`].

use super::{Malformed, base64, read_base64, read_base64_of, read_decimal, sha256};
use std::fmt;

/// Most signatures of a note.
pub const SIGNATURES_MAX: usize = 64;

/// The check of a signature: Ed25519 (RFC 8032), or ML-DSA-44 (FIPS 204).
pub trait Verify {
    /// True when this key of this kind signed this message.
    fn verify(&self, kind: KeyKind, public: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

/// Use of a key, as the type byte of its text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A log signs its own notes.
    Log = 1,
    /// A witness signs a checkpoint together with its time.
    Witness = 4,
    /// The same by ML-DSA-44. It covers size and root of the checkpoint, but no extension lines.
    WitnessMlDsa = 6,
}

impl KeyKind {
    fn of(byte: u8) -> Option<KeyKind> {
        [KeyKind::Log, KeyKind::Witness, KeyKind::WitnessMlDsa].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Returns the length of a public key, in bytes.
    fn public_bytes(self) -> usize {
        match self {
            KeyKind::Log | KeyKind::Witness => 32,
            KeyKind::WitnessMlDsa => 1_312,
        }
    }
}

/// A public key with the name that signs: `NAME+ID+BASE64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// Name of the key. A log's key has the name of its origin.
    pub name: String,
    /// Use of the key.
    pub kind: KeyKind,
    /// The public key.
    pub public: Vec<u8>,
}

impl VerifierKey {
    /// Creates the key of a log.
    pub fn of_log(origin: &str, public: &[u8]) -> VerifierKey {
        VerifierKey { name: origin.to_owned(), kind: KeyKind::Log, public: public.to_vec() }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<VerifierKey, Malformed> {
        const WRONG: Malformed = Malformed("not a verifier key: it has the form NAME+ID+BASE64");
        let (name, rest) = text.split_once('+').ok_or(WRONG)?;
        let (id, raw) = rest.split_once('+').ok_or(WRONG)?;
        let raw = read_base64(raw).map_err(|_| WRONG)?;
        let (kind, public) = raw.split_first().ok_or(WRONG)?;
        let kind = KeyKind::of(*kind).ok_or(Malformed("the type of this verifier key is neither 01, 04 nor 06"))?;
        if public.len() != kind.public_bytes() {
            return Err(WRONG);
        }
        let key = VerifierKey { name: name.to_owned(), kind, public: public.to_vec() };
        match is_name(name) && key.id_hex() == id {
            true => Ok(key),
            false => Err(Malformed("the id of this verifier key is not that of its name and key")),
        }
    }

    /// Returns the first four bytes of `H(name ‖ LF ‖ type ‖ public key)`.
    pub fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[self.kind as u8], &self.public]);
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Returns the id as the text form of a key has it.
    pub fn id_hex(&self) -> String {
        hex(&self.id())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = [&[self.kind as u8], self.public.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id_hex(), base64(&raw))
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// True for a key's name: not empty, without spaces and `+`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// A note whose form is right. The signatures are not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// The signed text, with the LF of its last line.
    pub text: &'a str,
    signatures: Vec<(&'a str, Vec<u8>)>,
}

/// Answer to the question which key signed a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The note has no signature of the key.
    Not,
    /// The key of a log signed it.
    Yes,
    /// The key of a witness signed it at this time, in seconds since 1970.
    At(u64),
}

/// A signature names a key by name and id, and is not of that key: the note was changed after it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong: the note was changed after it was signed")]
pub struct WrongSignature;

impl<'a> Note<'a> {
    /// Reads a note.
    pub fn parse(note: &'a str) -> Result<Note<'a>, Malformed> {
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(Malformed("a note holds a control character"));
        }
        const UNSIGNED: Malformed = Malformed("a note has no signatures, or too many");
        let end = note.rfind("\n\n").ok_or(UNSIGNED)?;
        let lines = note[end + 2..].strip_suffix('\n').ok_or(UNSIGNED)?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(UNSIGNED);
        }
        let signatures = lines.split('\n').map(signature).collect::<Result<_, _>>()?;
        Ok(Note { text: &note[..=end], signatures })
    }

    /// Lists the ids of the keys of this name that the signatures say they are of.
    pub fn ids(&self, name: &str) -> Vec<String> {
        let of_name = self.signatures.iter().filter(|(of, _)| *of == name);
        of_name.filter_map(|(_, raw)| Some(hex(raw.first_chunk::<4>()?))).collect()
    }

    /// Checks every signature that names this key.
    pub fn signed_by(&self, key: &VerifierKey, verify: &impl Verify) -> Result<Signed, WrongSignature> {
        let (mut signed, id) = (Signed::Not, key.id());
        for (name, raw) in &self.signatures {
            let Some(raw) = raw.strip_prefix(&id).filter(|_| *name == key.name) else { continue };
            let (says, signature) = match key.kind {
                KeyKind::Log => (Signed::Yes, raw),
                KeyKind::Witness | KeyKind::WitnessMlDsa => {
                    let (time, signature) = raw.split_first_chunk::<8>().ok_or(WrongSignature)?;
                    (Signed::At(u64::from_be_bytes(*time)), signature)
                }
            };
            let message = message(key, says, self.text).ok_or(WrongSignature)?;
            if !verify.verify(key.kind, &key.public, &message, signature) {
                return Err(WrongSignature);
            }
            signed = says;
        }
        Ok(signed)
    }
}

/// Returns the message that such a signature of this text covers. `None` when no such signature can be of this text.
fn message(key: &VerifierKey, says: Signed, text: &str) -> Option<Vec<u8>> {
    let time = match says {
        Signed::At(time) => time,
        Signed::Not | Signed::Yes => return Some(text.as_bytes().to_vec()),
    };
    if key.kind == KeyKind::Witness {
        return Some(format!("cosignature/v1\ntime {time}\n{text}").into_bytes());
    }
    let mut lines = text.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let mut message = b"subtree/v1\n\0".to_vec();
    let name = |message: &mut Vec<u8>, name: &str| {
        message.push(u8::try_from(name.len()).ok()?);
        message.extend_from_slice(name.as_bytes());
        Some(())
    };
    name(&mut message, &key.name)?;
    message.extend_from_slice(&time.to_be_bytes());
    name(&mut message, origin)?;
    // The tree is the subtree from leaf 0.
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&read_decimal(size).ok()?.to_be_bytes());
    message.extend_from_slice(&read_base64_of::<32>(root).ok()?);
    Some(message)
}

fn signature(line: &str) -> Result<(&str, Vec<u8>), Malformed> {
    const WRONG: Malformed = Malformed("a signature line of a note is not one");
    let (name, raw) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(WRONG)?;
    let raw = read_base64(raw)?;
    match !name.is_empty() && raw.len() > 4 {
        true => Ok((name, raw)),
        false => Err(WRONG),
    }
}

/// Writes the signature line of a log's key.
pub fn signature_line(key: &VerifierKey, signature: &[u8; 64]) -> String {
    format!("— {} {}\n", key.name, base64(&[&key.id(), signature.as_slice()].concat()))
}

/// Joins a text and its signature lines to a note.
pub fn signed(text: &str, lines: &[String]) -> String {
    format!("{text}\n{}", lines.concat())
}
