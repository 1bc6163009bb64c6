//! The five texts that a log signs: checkpoint, statement, rotation, fork, erasure. Each line ends in LF.
//!
//! *Guarantees.* A text that is read is, byte for byte, the text that its value writes; only a checkpoint may have
//! extension lines behind its root, which are not kept. No text of one kind is a text of another: an origin has a `/`
//! and does not begin with `decisiongraph/`, as the first lines of the other kinds do.

use super::note::{VerifierKey, is_name};
use super::{Hash, Malformed, base64, put_text, read_base64_of, read_decimal, sha256};
use crate::event::TenantId;
use crate::rfc3339::is_time;
use std::fmt;

const OURS: &str = "decisiongraph/";
const STATEMENT: &str = "decisiongraph/projections/v1";
const ROTATION: &str = "decisiongraph/seal-rotation/v1";
const FORK: &str = "decisiongraph/seal-fork/v1";
const ERASURE: &str = "decisiongraph/seal-erasure/v1";

/// Returns the origin of a tenant's log below the seal's name. It does not tell the tenant's name.
pub fn origin_of(seal_name: &str, tenant: &TenantId) -> String {
    let mut hashed = vec![0x15];
    put_text(&mut hashed, seal_name);
    put_text(&mut hashed, tenant.as_str());
    let digits: String = sha256(&[&hashed])[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{seal_name}/{digits}")
}

/// True for a text that can be the origin of a log.
pub fn is_origin(text: &str) -> bool {
    is_name(text) && text.contains('/') && !text.starts_with(OURS)
}

/// Size and root of a tree: `SIZE ROOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl TreeHead {
    fn parse(text: &str) -> Option<TreeHead> {
        let (size, root) = text.split_once(' ')?;
        TreeHead::of_lines(size, root)
    }

    fn of_lines(size: &str, root: &str) -> Option<TreeHead> {
        Some(TreeHead { size: read_decimal(size).ok()?, root: read_base64_of(root).ok()? })
    }
}

impl fmt::Display for TreeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, base64(&self.root))
    }
}

/// The lines of a text; `None` when its last line has no LF or a line is empty.
fn lines(text: &str) -> Option<Vec<&str>> {
    let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
    lines.iter().all(|line| !line.is_empty()).then_some(lines)
}

/// The value behind a word, such as `time`.
fn value<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word)?.strip_prefix(' ').filter(|value| !value.is_empty())
}

fn origin(line: &str) -> Option<String> {
    is_origin(line).then(|| line.to_owned())
}

/// Head of a log: all that an auditor has to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Size and root.
    pub head: TreeHead,
}

impl Checkpoint {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Checkpoint, Malformed> {
        let read = || match lines(text)?.as_slice() {
            [log, size, root, ..] => Some(Checkpoint { origin: origin(log)?, head: TreeHead::of_lines(size, root)? }),
            _ => None,
        };
        read().ok_or(Malformed("not a checkpoint"))
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.head.size, base64(&self.head.root))
    }
}

/// The answers of all projections at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Name of the log.
    pub origin: String,
    /// Size and root.
    pub head: TreeHead,
    /// Position of the last leaf.
    pub last_log_seq: u64,
    /// Time of the snapshot.
    pub time: String,
    /// A row per projection, in the order of the catalogue.
    pub projections: Vec<Stated>,
}

/// A projection in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Name of the projection.
    pub name: String,
    /// Version of its rules.
    pub rules_version: u64,
    /// Position of its cursor.
    pub cursor: u64,
    /// Digest of its rows, `lthash:…`.
    pub digest: String,
}

impl Statement {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Statement, Malformed> {
        let read = || match lines(text)?.as_slice() {
            [STATEMENT, log, head, last, time, rows @ ..] => Some(Statement {
                origin: origin(log)?,
                head: TreeHead::parse(head)?,
                last_log_seq: read_decimal(value(last, "last_log_seq")?).ok()?,
                time: value(time, "time").filter(|time| is_time(time))?.to_owned(),
                projections: rows.iter().map(|row| Stated::parse(row)).collect::<Option<_>>()?,
            }),
            _ => None,
        };
        read().ok_or(Malformed("not a statement about projections"))
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        let Statement { origin, head, last_log_seq, time, projections } = self;
        let rows: String = projections.iter().map(|row| format!("{row}\n")).collect();
        format!("{STATEMENT}\n{origin}\n{head}\nlast_log_seq {last_log_seq}\ntime {time}\n{rows}")
    }
}

impl Stated {
    fn parse(line: &str) -> Option<Stated> {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [name, version, cursor, digest] if !name.is_empty() && digest.starts_with("lthash:") => Some(Stated {
                name: (*name).to_owned(),
                rules_version: read_decimal(version).ok()?,
                cursor: read_decimal(cursor).ok()?,
                digest: (*digest).to_owned(),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.name, self.rules_version, self.cursor, self.digest)
    }
}

/// A new key takes over. Both keys sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Name of the log.
    pub origin: String,
    /// The last head that the old key may sign alone.
    pub head: TreeHead,
    /// The key before.
    pub old: VerifierKey,
    /// The key from now on.
    pub new: VerifierKey,
}

impl Rotation {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Rotation, Malformed> {
        let read = || match lines(text)?.as_slice() {
            [ROTATION, log, head, old, new] => Some(Rotation {
                origin: origin(log)?,
                head: TreeHead::parse(head)?,
                old: VerifierKey::parse(value(old, "old")?).ok()?,
                new: VerifierKey::parse(value(new, "new")?).ok()?,
            }),
            _ => None,
        };
        read().ok_or(Malformed("not a rotation of a log's key"))
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        let Rotation { origin, head, old, new } = self;
        format!("{ROTATION}\n{origin}\n{head}\nold {old}\nnew {new}\n")
    }
}

/// A log ends, and another continues from a common prefix. Signed under both origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Name of the log that ends.
    pub old_origin: String,
    /// Head that was signed last.
    pub last_signed: TreeHead,
    /// Name of the log that continues.
    pub new_origin: String,
    /// The largest common prefix.
    pub common: TreeHead,
    /// Reason of the operator.
    pub reason: String,
}

impl Fork {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Fork, Malformed> {
        let read = || match lines(text)?.as_slice() {
            [FORK, old, last_signed, new, common, reason] => Some(Fork {
                old_origin: origin(old)?,
                last_signed: TreeHead::parse(last_signed)?,
                new_origin: origin(new)?,
                common: TreeHead::parse(common)?,
                reason: value(reason, "reason")?.to_owned(),
            }),
            _ => None,
        };
        read().ok_or(Malformed("not a fork of a log"))
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        let Fork { old_origin, last_signed, new_origin, common, reason } = self;
        format!("{FORK}\n{old_origin}\n{last_signed}\n{new_origin}\n{common}\nreason {reason}\n")
    }
}

/// An event's payload, or members of it, were erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Name of the log.
    pub origin: String,
    /// Index of the leaf.
    pub index: u64,
    /// The leaf's entry, which stands.
    pub entry: [u8; 64],
    /// Part that was erased.
    pub erased: Erased,
    /// Person or office that erased it.
    pub by: String,
    /// Time of the erasure.
    pub time: String,
    /// Reason of the erasure.
    pub reason: String,
}

/// Part of a payload that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// All of it.
    Payload,
    /// These members, ascending, out of so many.
    Members(Vec<u64>, u64),
}

impl Erasure {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Erasure, Malformed> {
        let read = || match lines(text)?.as_slice() {
            [ERASURE, log, leaf, erased, by, time, reason] => {
                let (index, entry) = leaf.split_once(' ')?;
                Some(Erasure {
                    origin: origin(log)?,
                    index: read_decimal(index).ok()?,
                    entry: read_base64_of(entry).ok()?,
                    erased: Erased::parse(value(erased, "erased")?)?,
                    by: value(by, "by")?.to_owned(),
                    time: value(time, "time").filter(|time| is_time(time))?.to_owned(),
                    reason: value(reason, "reason")?.to_owned(),
                })
            }
            _ => None,
        };
        read().ok_or(Malformed("not a record of an erasure"))
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        let Erasure { origin, index, entry, erased, by, time, reason } = self;
        let entry = base64(entry);
        format!("{ERASURE}\n{origin}\n{index} {entry}\nerased {erased}\nby {by}\ntime {time}\nreason {reason}\n")
    }
}

impl Erased {
    fn parse(text: &str) -> Option<Erased> {
        if text == "payload" {
            return Some(Erased::Payload);
        }
        let (members, count) = text.split_once(" of ")?;
        let members: Vec<u64> = members.split(',').map(read_decimal).collect::<Result<_, _>>().ok()?;
        let count = read_decimal(count).ok()?;
        let fits = members.is_sorted_by(|a, b| a < b) && members.last().is_some_and(|last| *last < count);
        fits.then_some(Erased::Members(members, count))
    }
}

impl fmt::Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Erased::Payload => f.write_str("payload"),
            Erased::Members(members, count) => {
                let members: Vec<String> = members.iter().map(u64::to_string).collect();
                write!(f, "{} of {count}", members.join(","))
            }
        }
    }
}
