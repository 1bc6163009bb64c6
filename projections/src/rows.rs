//! Rows as data: what a projection's tables look like ([`Table`]), what is in them ([`Row`]), and what a batch changes
//! ([`Changes`]). The store builds its statements from this, so that a new projection needs no SQL but its migration.

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
    /// Its name, as in the database, in queries and in the reference's JSON.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
}

/// A table of a projection. Its first column is its canonical key: text, unique in a generation.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in the database.
    pub name: &'static str,
    /// Its columns, the canonical key first.
    pub columns: &'static [Column],
    /// Where its rows lie: see [`Identity`].
    pub place: Place,
    /// Columns that rows are looked up by: beside each stands `{name}_key`.
    pub hashed: &'static [Hashed],
    /// The table (by index) of the same projection whose rows those columns name, if they do. Its column `log_seq` says when such a
    /// row came into being: a store may keep that beside the hash, so that what is written together lies together in an index.
    pub naming: Option<usize>,
}

/// A column that rows are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// Its index in [`Table::columns`].
    pub column: usize,
    /// Of what part of the text its key has a place, if it has one.
    pub place: Option<KeyPart>,
}

/// What says where the rows of a table lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A part of the canonical key.
    Key(KeyPart),
    /// A [hashed](Table::hashed) column, which has a place and never changes in a row. Such rows are not looked up by their canonical key.
    Column(usize),
}

/// The part of a key that says where the row lies: of what is between its `:`, from this one on, the first with a digit. What is before that
/// says what kind of thing it is the id of, not which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPart(pub usize);

impl Table {
    /// The index of the column with this name.
    ///
    /// # Panics
    /// When there is none: column names are constants of this crate.
    pub fn column(&self, name: &str) -> usize {
        self.columns.iter().position(|c| c.name == name).unwrap_or_else(|| panic!("{} has no column {name}", self.name))
    }

    /// The identity of a row.
    pub fn identity(&self, row: &Row) -> Identity {
        match self.place {
            Place::Key(part) => Identity::at(part.place(row.key()), row.key()),
            Place::Column(column) => {
                let text = row.0[column].as_str().unwrap_or_default();
                Identity::at(self.key_of(column, text).place_bytes(), row.key())
            }
        }
    }

    /// What rows are looked up by that have this text in this column: the canonical key or a [hashed](Table::hashed) one.
    ///
    /// # Panics
    /// When it is the canonical key of a table whose rows lie by another column: what projections need is constant.
    pub fn key_of(&self, column: usize, text: &str) -> Identity {
        match (self.hashed.iter().find(|hashed| hashed.column == column), self.place) {
            (Some(hashed), _) => hashed.key(text),
            (None, Place::Key(part)) => Identity::at(part.place(text), text),
            (None, Place::Column(_)) => panic!("rows of {} are not looked up by {column}", self.name),
        }
    }
}

impl Hashed {
    /// What stands beside this text.
    pub fn key(&self, text: &str) -> Identity {
        self.place.map_or_else(|| RowKey::of(text).into(), |part| Identity::at(part.place(text), text))
    }
}

impl KeyPart {
    fn of(self, key: &str) -> &str {
        let mut parts = key.split(':').skip(self.0);
        parts.find(|part| part.bytes().any(|byte| byte.is_ascii_digit())).unwrap_or_default()
    }

    /// Where a key lies: the first bytes of the SHA-256 of the part's stem. (SHA-256, because a migration must compute it in the database.)
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

/// Digits at the end of an id that count, and those of them that the next hundred ids share.
const STEM_DIGITS: usize = 8;
const HUNDRED: usize = 2;

/// What ids have in common that were made one after the other, and its length: of a UUID the first eight characters (of version 7 that is the
/// time, to about a minute), of all others the last eight digits but the last two. Who counts on meets the same stem again after a hundred
/// million. An id that was made by chance has a stem of its own, one without a digit none.
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

/// What a row is found by: the [`RowKey`] of its canonical key, behind four bytes that its neighbours have too, its *place*. A hash alone
/// spreads rows that are written together over the whole index, and each of them then costs pages that the processor's caches do not
/// hold; see ADR 12. (A key of a [`Hashed`] column may have no place.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Behind an identity without a place: zeros.
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

    /// As stored: 20 bytes, without a place 16.
    pub fn as_bytes(&self) -> &[u8] {
        if self.placed { &self.bytes } else { &self.bytes[..HASH_BYTES] }
    }

    /// As stored; `None` when it is neither 16 nor 20 bytes.
    pub fn from_bytes(stored: &[u8]) -> Option<Identity> {
        let placed = stored.len() == Identity::PLACED_BYTES;
        if !placed && stored.len() != HASH_BYTES {
            return None;
        }
        let mut bytes = [0; Identity::PLACED_BYTES];
        bytes[..stored.len()].copy_from_slice(stored);
        Some(Identity { bytes, placed })
    }

    /// The place, if there is one.
    pub fn place(&self) -> Option<u32> {
        self.placed.then_some(u32::from_be_bytes(self.place_bytes()))
    }

    fn place_bytes(&self) -> [u8; PLACE_BYTES] {
        let [a, b, c, d, ..] = self.bytes;
        [a, b, c, d]
    }

    /// The hash behind it. Hashes are spread evenly over all numbers, and so are places.
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
    /// Text; a copy of it shares it.
    Text(Arc<str>),
    /// An integer.
    Int(i64),
}

impl Value {
    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// About the bytes that it takes.
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

/// One row: a value a column, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The canonical key: the first column's text.
    pub fn key(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or_default()
    }

    /// About the bytes that it takes: its texts, and eight for each other value.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Value::bytes).sum()
    }

    /// The same, shared with the row.
    pub fn shared_key(&self) -> Arc<str> {
        match self.0.first() {
            Some(Value::Text(key)) => Arc::clone(key),
            _ => Arc::from(""),
        }
    }
}

/// The 128-bit hash of a text that rows are looked up by: the first 16 bytes of its BLAKE3 hash. Ids are unbounded, B-tree keys are
/// not; the text stands beside it and is compared whenever a row is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub [u8; 16]);

impl RowKey {
    /// The identity of this text.
    pub fn of(text: &str) -> RowKey {
        RowKey::first_bytes(&blake3::hash(text.as_bytes()))
    }

    /// The identity of several texts; no two different lists have the same encoding.
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

/// What a batch changes in one table. Each canonical key occurs at most once, over all three lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChanges {
    /// Rows whose key was absent.
    pub inserts: Vec<Row>,
    /// Rows whose key was present: before, after.
    pub updates: Vec<(Row, Row)>,
    /// Rows that go.
    pub deletes: Vec<Row>,
}

impl TableChanges {
    /// Number of rows touched.
    pub fn len(&self) -> usize {
        self.inserts.len() + self.updates.len() + self.deletes.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a batch changes, a [`TableChanges`] for each of the projection's tables in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// By table index. Shared: a copy, for whoever writes them on another thread, costs nothing.
    pub tables: Arc<Vec<TableChanges>>,
}

impl Changes {
    /// Number of rows touched.
    pub fn len(&self) -> usize {
        self.tables.iter().map(TableChanges::len).sum()
    }

    /// Whether nothing changes.
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
            // As long as one, but none.
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
