//! Rows as data: what a projection's tables look like ([`Table`]), what is in them ([`Row`]), and what a batch changes
//! ([`Changes`]). The store builds its statements from this, so that a new projection needs no SQL but its migration.

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
    /// Columns (by index) that have a 128-bit hash beside them, `{name}_key`, to be looked up by.
    pub hashed: &'static [usize],
}

impl Table {
    /// The index of the column with this name.
    ///
    /// # Panics
    /// When there is none: column names are constants of this crate.
    pub fn column(&self, name: &str) -> usize {
        self.columns.iter().position(|c| c.name == name).unwrap_or_else(|| panic!("{} has no column {name}", self.name))
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

    /// The same, shared with the row.
    pub fn shared_key(&self) -> Arc<str> {
        match self.0.first() {
            Some(Value::Text(key)) => Arc::clone(key),
            _ => Arc::from(""),
        }
    }
}

/// The 128-bit identity of a canonical key: the first 16 bytes of its BLAKE3 hash. Ids are unbounded, B-tree keys are
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
