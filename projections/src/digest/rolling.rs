//! The rolling digest: an order-independent, incremental digest of a projection's set of rows.
//!
//! It is LtHash with 1024 lanes of 16 bits over BLAKE3's extendable output. Sources: Bellare and Micciancio 1997; Lewi,
//! Kim, Maykov and Weis, "Securing Update Propagation with Homomorphic Hashing", 2019. Each row is hashed to 1024
//! lanes. The digest of a set is the lane-wise sum modulo 2¹⁶ over its rows. Adding a row adds its lanes; removing it
//! subtracts them. A batch therefore costs only its changed rows, whatever the size of the projection.
//!
//! *Security argument.* Two different sets with the same sum give a solution of a short-integer-solution instance. It
//! has dimension 1024 modulo 2¹⁶ and random columns. The 2019 paper puts these parameters above 200 bits. (A plain
//! 256-bit additive sum would fall to a generalised birthday attack at about 2³².) Rows are a *set*: a canonical key
//! occurs once per table, which the store's unique keys enforce. The multiset question therefore does not arise.
//!
//! *Encoding.* BLAKE3 in key-derivation mode with [`CONTEXT`] separates this use from every other. The message is a
//! list of length-prefixed fields, so no two different rows have the same encoding. The first fields are table name and
//! number of columns. Each column adds a tag (0 null, 1 text, 2 integer) and the value. A text is its 64-bit
//! little-endian length and its bytes; an integer is 64-bit little-endian. Tenant and generation do not take part: the
//! digests of two generations of the same scope must be equal.

pub use super::expansion::{LANES, STATE_BYTES};
use super::expansion::{Sign, Sum};
use crate::payload_hash::tagged_hex;
use crate::rows::{Changes, Row, Table, Value};
use blake3::hazmat::{ContextKey, hash_derive_key_context};
use std::sync::LazyLock;

/// Domain separation. A change of the encoding changes this text.
pub const CONTEXT: &str = "decisiongraph 2026-11-22 rolling digest of projection rows, version 1";

/// The digest of a set of rows.
#[derive(Clone, PartialEq, Eq)]
pub struct RollingDigest {
    lanes: Box<[u16; LANES]>,
}

impl Default for RollingDigest {
    /// Returns the digest of no rows.
    fn default() -> RollingDigest {
        RollingDigest { lanes: Box::new([0; LANES]) }
    }
}

impl std::fmt::Debug for RollingDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl RollingDigest {
    /// Adds these rows of a table to the set.
    pub fn add<'r>(&mut self, table: &Table, rows: impl IntoIterator<Item = &'r Row>) {
        let mut sum = sum();
        rows.into_iter().for_each(|row| sum.take(Sign::Plus, |message| encode(message, table, row)));
        sum.add_to(&mut self.lanes);
    }

    /// Applies the changes of a batch.
    pub fn apply(&mut self, tables: &[Table], changes: &Changes) {
        let mut sum = sum();
        for (table, changes) in tables.iter().zip(changes.tables.iter()) {
            let mut take = |sign, row| sum.take(sign, |message| encode(message, table, row));
            changes.inserts.iter().for_each(|row| take(Sign::Plus, row));
            for (before, after) in &changes.updates {
                take(Sign::Minus, before);
                take(Sign::Plus, after);
            }
            changes.deletes.iter().for_each(|row| take(Sign::Minus, row));
        }
        sum.add_to(&mut self.lanes);
    }

    /// Returns the state as stored: [`STATE_BYTES`] bytes, lanes little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// Reads a stored state; `None` when it does not have [`STATE_BYTES`] bytes. An empty state is the digest of no
    /// rows.
    pub fn from_bytes(bytes: &[u8]) -> Option<RollingDigest> {
        let mut digest = RollingDigest::default();
        if bytes.is_empty() {
            return Some(digest);
        }
        if bytes.len() != STATE_BYTES {
            return None;
        }
        for (lane, pair) in digest.lanes.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Some(digest)
    }

    /// Returns the form for people: `lthash:` and the BLAKE3 hash of the state in hex.
    pub fn to_text(&self) -> String {
        tagged_hex("lthash:", blake3::hash(&self.to_bytes()).as_bytes())
    }
}

/// Starts a sum of rows.
fn sum() -> Sum {
    static KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(CONTEXT));
    Sum::new(&KEY)
}

fn encode(message: &mut Vec<u8>, table: &Table, row: &Row) {
    let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    bytes(message, table.name.as_bytes());
    message.extend_from_slice(&(row.0.len() as u64).to_le_bytes());
    for value in &row.0 {
        match value {
            Value::Null => message.push(0),
            Value::Text(text) => {
                message.push(1);
                bytes(message, text.as_bytes());
            }
            Value::Int(int) => {
                message.push(2);
                message.extend_from_slice(&int.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::rows::TableChanges;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn row(key: &str) -> Row {
        Row(vec![Value::from(key), "trace".into(), "t".into(), Value::Int(1), "2026".into()])
    }

    #[test]
    fn the_encoding_is_unambiguous() {
        let [nodes, edges] = catalogue::CONTEXT_GRAPH.tables() else { panic!("two tables") };
        let digest = |table, rows: &[Row]| {
            let mut digest = RollingDigest::default();
            digest.add(table, rows);
            digest.to_text()
        };
        let base = Row(vec!["ab".into(), "c".into()]);
        for other in [
            Row(vec!["a".into(), "bc".into()]),
            Row(vec!["abc".into(), "".into()]),
            Row(vec!["ab".into(), Value::Null]),
            Row(vec!["ab".into(), Value::Int(0x63)]),
            Row(vec!["ab".into(), "c".into(), Value::Null]),
        ] {
            assert_ne!(digest(nodes, std::slice::from_ref(&base)), digest(nodes, &[other]));
        }
        assert_ne!(digest(nodes, &[row("x")]), digest(edges, &[row("x")]));
    }

    #[test]
    fn the_digest_is_pinned() {
        // A change here makes every stored digest incomparable: change CONTEXT with it.
        let mut digest = RollingDigest::default();
        assert_eq!(digest.to_text(), EMPTY);
        digest.add(&catalogue::CONTEXT_GRAPH.tables()[0], [&row("trace:t")]);
        assert_eq!(digest.to_text(), ONE);
    }
    const EMPTY: &str = "lthash:be2a8de3dcf46c94ce85cdc8e07ac308f4d8a95490d956c38d780fd610db0813";
    const ONE: &str = "lthash:72ddb6e642c1d41012cd42f0f40e22494233a3652d7890694e0f0ed86de4da1d";

    proptest! {
        /// Any order of additions, with any detour of rows added and removed again, gives the same digest. The stored
        /// form reads back.
        #[test]
        fn order_and_detours_do_not_matter(keys in prop::collection::hash_set("[a-z]{1,4}", 0..12), extra in prop::collection::vec("[A-Z]{1,4}", 0..6), turn in 0usize..12) {
            let table = &catalogue::CONTEXT_GRAPH.tables()[0];
            let rows: Vec<Row> = keys.iter().map(|key| row(key)).collect();
            let mut straight = RollingDigest::default();
            straight.add(table, &rows);
            let mut detour = RollingDigest::default();
            let extra: Vec<Row> = extra.iter().map(|key| row(key)).collect();
            detour.add(table, &extra);
            let turn = turn.min(rows.len());
            rows[turn..].iter().chain(&rows[..turn]).rev().for_each(|row| detour.add(table, [row]));
            let deletes = TableChanges { deletes: extra, ..TableChanges::default() };
            detour.apply(std::slice::from_ref(table), &Changes { tables: Arc::new(vec![deletes]) });
            prop_assert_eq!(&straight, &detour);
            prop_assert_eq!(RollingDigest::from_bytes(&straight.to_bytes()), Some(straight));
        }
    }
}
