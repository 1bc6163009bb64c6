//! Keys that the reader of a file named, and what they have signed.

use crate::finding::{Failure, Finding, Refused};
use crate::policy::{Policy, Rule, read_key};
use crate::signatures::Signatures;
use decisiongraph_projections::seal::note::{Note, Signed, VerifierKey};
use decisiongraph_projections::seal::texts::{Checkpoint, Rotation, Statement};
use decisiongraph_projections::seal::{Hash, base64};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Keys of logs and witnesses, and the rule about cosignatures.
#[derive(Debug, Clone)]
pub struct Trust {
    keys: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    rule: Rule,
}

impl Trust {
    /// Trusts these keys, in text form. So many of the witnesses must have cosigned.
    pub fn new(keys: &[String], witnesses: &[String], quorum: usize) -> Result<Trust, Failure> {
        let witnesses = read(witnesses, false)?;
        if quorum > witnesses.len() {
            let text = format!("{quorum} witnesses are asked for, and {} are named", witnesses.len());
            return Err(Failure::Usage(text));
        }
        let rule = Rule::AtLeast(quorum, (0..witnesses.len()).map(Rule::Witness).collect());
        Trust::of(read(keys, true)?, witnesses, rule)
    }

    /// Trusts these keys and those of a policy file (C2SP tlog-policy), whose quorum must have cosigned.
    pub fn with_policy(keys: &[String], policy: &str) -> Result<Trust, Failure> {
        let Policy { logs, witnesses, rule } = Policy::parse(policy)?;
        Trust::of([read(keys, true)?, logs].concat(), witnesses, rule)
    }

    /// Checks a checkpoint of this log. After a rotation, the replaced key does not count above the rotation's size.
    pub fn checkpoint(&self, origin: &str, note: &str, rotations: &[String]) -> Result<Trusted, Refused> {
        self.keyring(origin, rotations)?.checkpoint(note, Some(origin))
    }

    /// Checks a statement about the tree of a checkpoint that was checked.
    pub fn statement(&self, note: &str, about: &Trusted, rotations: &[String]) -> Result<Statement, Refused> {
        self.keyring(&about.origin, rotations)?.statement(note, about)
    }

    /// Keeps the rotation notes of this log that the key before each has signed. The oldest comes first.
    pub fn rotations(&self, origin: &str, notes: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut keyring = Keyring::of(self);
        notes.into_iter().filter(|note| keyring.rotate(origin, note).is_ok()).collect()
    }

    fn keyring(&self, origin: &str, rotations: &[String]) -> Result<Keyring<'_>, Refused> {
        let mut keyring = Keyring::of(self);
        for note in rotations {
            keyring.rotate(origin, note)?;
        }
        Ok(keyring)
    }

    fn of(keys: Vec<VerifierKey>, witnesses: Vec<VerifierKey>, rule: Rule) -> Result<Trust, Failure> {
        let mut publics: Vec<&[u8]> = witnesses.iter().map(|witness| witness.public.as_slice()).collect();
        publics.sort_unstable();
        publics.dedup();
        if keys.is_empty() {
            return Err(Failure::Usage("no key of a log is named".to_owned()));
        }
        if publics.len() < witnesses.len() {
            return Err(Failure::Usage("one witness is named twice".to_owned()));
        }
        Ok(Trust { keys, witnesses, rule })
    }
}

fn read(keys: &[String], of_logs: bool) -> Result<Vec<VerifierKey>, Failure> {
    keys.iter().map(|key| read_key(key, of_logs)).collect()
}

/// A witness that saw a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Name of its key.
    pub name: String,
    /// Time of its cosignature, RFC 3339.
    pub time: String,
}

impl Witness {
    fn at(name: &str, seconds: u64) -> Witness {
        let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let time = time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{seconds} s"));
        Witness { name: name.to_owned(), time }
    }
}

/// A checkpoint that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// Name of the log.
    pub origin: String,
    /// Number of events.
    pub size: u64,
    /// Root over them.
    #[serde(serialize_with = "as_base64")]
    pub root: Hash,
    /// The named keys that signed it.
    pub signed_by: Vec<String>,
    /// The named witnesses that cosigned it.
    pub witnesses: Vec<Witness>,
}

fn as_base64<S: Serializer>(root: &Hash, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&base64(root))
}

/// The named keys, and those that rotations brought.
pub(crate) struct Keyring<'t> {
    trust: &'t Trust,
    keys: Vec<VerifierKey>,
    /// Replaced keys, each with the last size that it signs alone.
    ends: Vec<(VerifierKey, u64)>,
}

impl<'t> Keyring<'t> {
    pub(crate) fn of(trust: &'t Trust) -> Keyring<'t> {
        Keyring { trust, keys: trust.keys.clone(), ends: Vec::new() }
    }

    /// The keys that signed a note. A wrong signature of one of them refuses it.
    pub(crate) fn signers(&self, note: &Note<'_>) -> Result<Vec<&VerifierKey>, Refused> {
        let mut found = Vec::new();
        for key in &self.keys {
            if signed_by(note, key)? != Signed::Not {
                found.push(key);
            }
        }
        Ok(found)
    }

    /// True for a key that was not replaced before the tree had this size.
    fn is_current(&self, key: &VerifierKey, size: u64) -> bool {
        self.ends.iter().all(|(old, end)| old != key || *end >= size)
    }

    /// Takes a rotation of the log's key into account.
    pub(crate) fn rotate(&mut self, origin: &str, note: &str) -> Result<(), Refused> {
        let note = Note::parse(note)?;
        let signers = self.signers(&note)?;
        let rotation = Rotation::parse(note.text)?;
        if rotation.origin != origin {
            return Err(Finding::PackMalformed.because("a rotation is of another log's key"));
        }
        if !signers.contains(&&rotation.old) || signed_by(&note, &rotation.new)? != Signed::Yes {
            let text = "a rotation is not signed by the key before it and the key that it brings";
            return Err(Finding::SignatureMissing.because(text));
        }
        self.ends.push((rotation.old, rotation.head.size));
        self.keys.push(rotation.new);
        Ok(())
    }

    /// Reads a checkpoint; `expected` is the log that it must be of.
    pub(crate) fn checkpoint(&self, note: &str, expected: Option<&str>) -> Result<Trusted, Refused> {
        let (checkpoint, cosigned) = self.head(note, expected)?;
        self.quorum(&cosigned)?;
        Ok(checkpoint)
    }

    /// Reads a checkpoint that a named key signed, and which of the named witnesses did.
    pub(crate) fn head(&self, note: &str, expected: Option<&str>) -> Result<(Trusted, Vec<bool>), Refused> {
        let note = Note::parse(note)?;
        let mut signers = self.signers(&note)?;
        let Checkpoint { origin, head } = Checkpoint::parse(note.text)?;
        signers.retain(|key| self.is_current(key, head.size));
        if signers.is_empty() {
            return Err(Finding::SignatureMissing.because(self.unsigned(&note, &origin)));
        }
        let is_other = expected.is_some_and(|expected| expected != origin);
        if is_other || !signers.iter().any(|key| key.name == origin) {
            return Err(Finding::SignatureMissing.because(format!("the checkpoint is of another log: {origin}")));
        }
        let (mut witnesses, mut cosigned) = (Vec::new(), Vec::new());
        for witness in &self.trust.witnesses {
            let signed = signed_by(&note, witness)?;
            cosigned.push(signed != Signed::Not);
            if let Signed::At(time) = signed {
                witnesses.push(Witness::at(&witness.name, time));
            }
        }
        let signed_by = signers.iter().map(ToString::to_string).collect();
        Ok((Trusted { origin, size: head.size, root: head.root, signed_by, witnesses }, cosigned))
    }

    /// Checks that enough of the witnesses cosigned the checkpoint of a file.
    pub(crate) fn quorum(&self, cosigned: &[bool]) -> Result<(), Refused> {
        if self.trust.rule.is_met(cosigned) {
            return Ok(());
        }
        let (have, named) = (cosigned.iter().filter(|signed| **signed).count(), cosigned.len());
        let text = format!("{have} of the {named} witnesses that you named have cosigned: they do not make the quorum");
        Err(Finding::WitnessMissing.because(text))
    }

    /// Tells why no key counts for a checkpoint: it is of another log, or the key of the log was replaced.
    fn unsigned(&self, note: &Note<'_>, origin: &str) -> String {
        let named: Vec<String> = self.keys.iter().filter(|key| key.name == origin).map(VerifierKey::id_hex).collect();
        let ids = note.ids(origin);
        if named.is_empty() {
            return format!("the checkpoint says that it is of the log {origin}, and no key that you named is of it");
        }
        if ids.iter().any(|id| named.contains(id)) {
            return "the key that you named was replaced before this checkpoint; name the new one".to_owned();
        }
        let ids = if ids.is_empty() { "no key of it".to_owned() } else { format!("its key {}", ids.join(" and ")) };
        format!(
            "the checkpoint says that it is of your log; its signature names {ids}, and you named {}. Either the key was \
             replaced: ask the operator for a file with the note about it (`decisiongraph audit-pack --range A..B \
             --rotations -o FILE`). Or the file is not of the operator",
            named.join(" and ")
        )
    }

    /// Reads a statement about the tree of this checkpoint.
    pub(crate) fn statement(&self, note: &str, about: &Trusted) -> Result<Statement, Refused> {
        let note = Note::parse(note)?;
        let mut signers = self.signers(&note)?;
        signers.retain(|key| self.is_current(key, about.size));
        let statement = Statement::parse(note.text).ok().filter(|said| said.origin == about.origin);
        let Some(statement) = statement.filter(|_| !signers.is_empty()) else {
            let text = "a statement is not signed by the key that you named, or is of another log";
            return Err(Finding::SignatureMissing.because(text));
        };
        if statement.head.size != about.size {
            return Err(Finding::PackMalformed.because("a statement is about another size than the checkpoint"));
        }
        if statement.head.root != about.root {
            let text = "statement and checkpoint name two roots for one size: the signer has forked its log";
            return Err(Finding::CheckpointDiffers.because(text));
        }
        Ok(statement)
    }
}

/// Checks the signatures of a note that name this key.
pub(crate) fn signed_by(note: &Note<'_>, key: &VerifierKey) -> Result<Signed, Refused> {
    note.signed_by(key, &Signatures).map_err(|wrong| {
        let text = wrong.to_string().replace("the signature", &format!("the signature of {}", key.name));
        Finding::SignatureInvalid.because(text)
    })
}
