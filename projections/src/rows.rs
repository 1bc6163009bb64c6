//! Rows as data: the shape of a projection's tables ([`Table`]), their content ([`Row`]), and the changes of a batch
//! ([`Changes`]). The store builds its statements from this. A new projection therefore needs no SQL except its
//! migration.

use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text, never null, ordered by bytes.
    Text,
    /// Text or null.
    OptionalText,
    /// A 64-bit integer, never null.
    Int,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name, as in the database, in queries and in the reference's JSON.
    pub name: &'static str,
    /// Type of the column.
    pub kind: ColumnType,
}

/// A table of a projection. Its first column is its canonical key: text, unique in a generation.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Name of the table in the database.
    pub name: &'static str,
    /// Columns of the table, the canonical key first.
    pub columns: &'static [Column],
    /// Source of the rows' place: see [`Identity`].
    pub place: Place,
    /// Columns for look-ups: beside each there is a column `{name}_key`.
    pub hashed: &'static [Hashed],
    /// Table (by index) of the same projection whose rows those columns name, if they do. Its column `log_seq` tells
    /// when such a row was created. A store may keep that beside the hash, so that rows written together lie together
    /// in an index.
    pub naming: Option<usize>,
}

/// A column for look-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// Index of the column in [`Table::columns`].
    pub column: usize,
    /// Part of the text that gives the key its place, if the key has one.
    pub place: Option<KeyPart>,
}

/// Source of the place of a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A part of the canonical key.
    Key(KeyPart),
    /// A [hashed](Table::hashed) column that has a place and never changes in a row. Such rows are not looked up by
    /// their canonical key.
    Column(usize),
}

/// The part of a key that gives the row its place. A key has parts between its `:`. This is the first part with a
/// digit, from this index on. The parts before it name the kind of thing, not the thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPart(pub usize);

impl Table {
    /// Returns the index of the column with this name.
    ///
    /// # Panics
    /// If there is none: column names are constants of this crate.
    pub fn column(&self, name: &str) -> usize {
        self.columns.iter().position(|c| c.name == name).unwrap_or_else(|| panic!("{} has no column {name}", self.name))
    }

    /// Computes the identity of a row.
    pub fn identity(&self, row: &Row) -> Identity {
        match self.place {
            Place::Key(part) => Identity::at(part.place(row.key()), row.key()),
            Place::Column(column) => {
                let text = row.0[column].as_str().unwrap_or_default();
                Identity::at(self.key_of(column, text).place_bytes(), row.key())
            }
        }
    }

    /// Computes the identity for a look-up of rows with this text in this column. The column is the canonical key or a
    /// [hashed](Table::hashed) one.
    ///
    /// # Panics
    /// If it is the canonical key of a table with its rows placed by another column. The needs of projections are
    /// constant.
    pub fn key_of(&self, column: usize, text: &str) -> Identity {
        match (self.hashed.iter().find(|hashed| hashed.column == column), self.place) {
            (Some(hashed), _) => hashed.key(text),
            (None, Place::Key(part)) => Identity::at(part.place(text), text),
            (None, Place::Column(_)) => panic!("rows of {} are not looked up by {column}", self.name),
        }
    }
}

impl Hashed {
    /// Computes the key that is stored beside this text.
    pub fn key(&self, text: &str) -> Identity {
        self.place.map_or_else(|| RowKey::of(text).into(), |part| Identity::at(part.place(text), text))
    }
}

impl KeyPart {
    fn of(self, key: &str) -> &str {
        let mut parts = key.split(':').skip(self.0);
        parts.find(|part| part.bytes().any(|byte| byte.is_ascii_digit())).unwrap_or_default()
    }

    /// Computes the place of a key: the first bytes of the SHA-256 of the part's stem. (SHA-256, because a migration
    /// must compute it in the database.)
    pub fn place(self, key: &str) -> [u8; PLACE_BYTES] {
        let (stem, length) = stem(self.of(key));
        let hash = Sha256::digest(&stem[..length]);
        let mut place = [0; PLACE_BYTES];
        place.copy_from_slice(&hash[..PLACE_BYTES]);
        place
    }
}

const HASH_BYTES: usize = 16;
const PLACE_BYTES: usize = 4;

/// Number of digits at the end of an id that count. The last `HUNDRED` of them are dropped: a hundred ids share the
/// rest.
const STEM_DIGITS: usize = 8;
const HUNDRED: usize = 2;

/// Computes the common part of ids that were made one after the other, and its length. For a UUID these are the first
/// eight characters (in version 7, the time to about a minute). For all others these are the last eight digits except
/// the last two. A counter meets the same stem again after a hundred million ids. A random id has its own stem; an id
/// without a digit has none.
fn stem(id: &str) -> ([u8; STEM_DIGITS], usize) {
    let (bytes, mut stem) = (id.as_bytes(), [0; STEM_DIGITS]);
    if bytes.len() == 36 && id.is_ascii() && [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-') {
        stem.copy_from_slice(&bytes[..STEM_DIGITS]);
        return (stem, STEM_DIGITS);
    }
    let digits = bytes.iter().rev().filter(|byte| byte.is_ascii_digit()).take(STEM_DIGITS).skip(HUNDRED);
    let length = digits.clone().count();
    stem[..length].iter_mut().rev().zip(digits).for_each(|(to, digit)| *to = *digit);
    (stem, length)
}

/// Identity of a row: four bytes that its neighbours share, its *place*, and the [`RowKey`] of its canonical key. A
/// hash alone spreads rows that are written together over the whole index. Each of them then costs pages that the
/// processor's caches do not hold; see ADR 12. (A key of a [`Hashed`] column may have no place.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Stored bytes; an identity without a place ends with zeros.
    bytes: [u8; Identity::PLACED_BYTES],
    placed: bool,
}

impl Identity {
    const PLACED_BYTES: usize = PLACE_BYTES + HASH_BYTES;

    fn at(place: [u8; PLACE_BYTES], key: &str) -> Identity {
        let mut bytes = [0; Identity::PLACED_BYTES];
        bytes[..PLACE_BYTES].copy_from_slice(&place);
        bytes[PLACE_BYTES..].copy_from_slice(&RowKey::of(key).0);
        Identity { bytes, placed: true }
    }

    /// Returns the stored form: 20 bytes, or 16 without a place.
    pub fn as_bytes(&self) -> &[u8] {
        if self.placed { &self.bytes } else { &self.bytes[..HASH_BYTES] }
    }

    /// Reads the stored form; `None` when it has neither 16 nor 20 bytes.
    pub fn from_bytes(stored: &[u8]) -> Option<Identity> {
        let placed = stored.len() == Identity::PLACED_BYTES;
        if !placed && stored.len() != HASH_BYTES {
            return None;
        }
        let mut bytes = [0; Identity::PLACED_BYTES];
        bytes[..stored.len()].copy_from_slice(stored);
        Some(Identity { bytes, placed })
    }

    /// Returns the place, if there is one.
    pub fn place(&self) -> Option<u32> {
        self.placed.then_some(u32::from_be_bytes(self.place_bytes()))
    }

    fn place_bytes(&self) -> [u8; PLACE_BYTES] {
        let [a, b, c, d, ..] = self.bytes;
        [a, b, c, d]
    }

    /// Returns the hash behind the place. Hashes are spread evenly over all numbers, and so are places.
    pub fn hash(&self) -> u128 {
        let at = if self.placed { PLACE_BYTES } else { 0 };
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&self.bytes[at..at + HASH_BYTES]);
        u128::from_be_bytes(hash)
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Null, in an optional column.
    Null,
    /// Text; a copy of the value shares it.
    Text(Arc<str>),
    /// An integer.
    Int(i64),
}

impl Value {
    /// Returns the text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the integer, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// Estimates the bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.as_str().map_or(8, str::len)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Arc::from(text))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Arc::from(text))
    }
}
impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Value {
        Value::Text(text)
    }
}
impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Value {
        Value::Text(Arc::clone(text))
    }
}
impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Value {
        text.map_or(Value::Null, Value::from)
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Value {
        text.map_or(Value::Null, Value::from)
    }
}
impl From<i64> for Value {
    fn from(int: i64) -> Value {
        Value::Int(int)
    }
}

/// One row: one value per column, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Returns the canonical key: the first column's text.
    pub fn key(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or_default()
    }

    /// Estimates the bytes that it takes: its texts, and eight for each other value.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Value::bytes).sum()
    }

    /// Returns the canonical key, shared with the row.
    pub fn shared_key(&self) -> Arc<str> {
        match self.0.first() {
            Some(Value::Text(key)) => Arc::clone(key),
            _ => Arc::from(""),
        }
    }
}

/// The 128-bit hash of a look-up text: the first 16 bytes of its BLAKE3 hash. Ids are unbounded; B-tree keys are not.
/// The text is stored beside it and is compared at each look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub [u8; 16]);

impl RowKey {
    /// Computes the key of this text.
    pub fn of(text: &str) -> RowKey {
        RowKey::first_bytes(&blake3::hash(text.as_bytes()))
    }

    /// Computes the key of several texts. No two different lists have the same encoding.
    pub fn of_parts(parts: &[&str]) -> RowKey {
        let mut hasher = blake3::Hasher::new();
        if let [one] = parts {
            hasher.update(one.as_bytes());
        } else {
            for part in parts {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        RowKey::first_bytes(&hasher.finalize())
    }

    fn first_bytes(hash: &blake3::Hash) -> RowKey {
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        RowKey(key)
    }
}

impl From<RowKey> for Identity {
    fn from(key: RowKey) -> Identity {
        let mut bytes = [0; Identity::PLACED_BYTES];
        bytes[..HASH_BYTES].copy_from_slice(&key.0);
        Identity { bytes, placed: false }
    }
}

/// Changes of a batch in one table. Each canonical key occurs at most once, over all three lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChanges {
    /// Rows whose key was absent.
    pub inserts: Vec<Row>,
    /// Rows whose key was present: the row before and the row after.
    pub updates: Vec<(Row, Row)>,
    /// Rows that are deleted.
    pub deletes: Vec<Row>,
}

impl TableChanges {
    /// Counts the touched rows.
    pub fn len(&self) -> usize {
        self.inserts.len() + self.updates.len() + self.deletes.len()
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Changes of a batch, one [`TableChanges`] per table of the projection, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes by table index. They are shared: a copy for another thread that writes them costs nothing.
    pub tables: Arc<Vec<TableChanges>>,
}

impl Changes {
    /// Counts the touched rows.
    pub fn len(&self) -> usize {
        self.tables.iter().map(TableChanges::len).sum()
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> [u8; 4] {
        Sha256::digest(text.as_bytes())[..4].try_into().expect("four bytes")
    }

    #[test]
    fn a_place_is_that_of_the_stem_of_the_part_whatever_the_key() {
        let uuid = "0190a5c8-7e5b-7cc3-98c4-dc0c0c07398f";
        for (part, key, stem) in [
            (0, "trace-000123", "0001"),
            (0, "t.12", ""),
            (0, "t", ""),
            (0, "", ""),
            (0, "a1é2ü3", "1"),
            (0, "2026-11-29T10:15", "261129"),
            (0, "1700000012345", "000123"),
            (0, "urn:trace:4711:2", "47"),
            (0, uuid, "0190a5c8"),
            (1, &format!("trace:urn:uuid:{uuid}"), "0190a5c8"),
            // As long as a UUID, but not one.
            (0, "0190a5c8-7e5b-7cc3-98c4-dc0c0c0739ü", "840007"),
            (0, "0190a5c8-7e5b-7cc3-98c4+dc0c0c07398f", "400073"),
            (1, "entity:account:e.389", "3"),
            (1, "no colon: 1 2 3", "1"),
            (1, "4711", ""),
            (2, "trace_observed_input:trace:t.100:input:i:e", "1"),
            (2, "trace_observed_input:trace:t.101:input:j:f", "1"),
            (2, "trace_observed_input:trace:urn::4711:input:i:e", "47"),
            (2, "a:b::d", ""),
            (2, "a1234:b1234", ""),
        ] {
            assert_eq!(KeyPart(part).place(key), hash(stem), "{part} of {key}");
        }
        assert_eq!(hash(""), [0xe3, 0xb0, 0xc4, 0x42]);
    }

    #[test]
    fn precedents_lie_where_their_trace_says() {
        let precedents = &crate::catalogue::PRECEDENT_INDEX.tables()[1];
        let row = |event: &str, trace: &str| Row(vec![event.into(), trace.into()]);
        let identity = precedents.identity(&row("e", "t.100"));
        assert_eq!(identity.as_bytes(), [&hash("1")[..], &RowKey::of("e").0].concat());
        assert_eq!(identity.place(), precedents.key_of(1, "t.100").place());
    }

    #[test]
    #[should_panic(expected = "not looked up by 0")]
    fn nobody_looks_for_a_precedent_by_its_event() {
        crate::catalogue::PRECEDENT_INDEX.tables()[1].key_of(0, "e");
    }

    #[test]
    fn an_identity_is_the_whole_hash_behind_its_place() {
        let [_, edges] = crate::catalogue::CONTEXT_GRAPH.tables() else { panic!("two tables") };
        let key = "trace_observed_input:trace:t.100:input:i:e";
        let (placed, bare) = (edges.key_of(0, key), edges.key_of(2, key));
        assert_eq!(placed.as_bytes(), [&hash("1")[..], &RowKey::of(key).0].concat());
        assert_eq!(bare.as_bytes(), RowKey::of(key).0);
        for identity in [bare, placed] {
            assert_eq!(Identity::from_bytes(identity.as_bytes()), Some(identity));
        }
        assert_eq!((placed.place(), bare.place()), (Some(u32::from_be_bytes(hash("1"))), None));
        assert_eq!((placed.hash(), bare.hash()), (bare.hash(), u128::from_be_bytes(RowKey::of(key).0)));
        assert_eq!(Identity::from_bytes(&[0; 17]), None);
    }
}
