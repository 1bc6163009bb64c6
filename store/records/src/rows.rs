//! Rows of projections, their proofs, and queries about them.

use super::{Generation, Scope};
use decisiongraph_projections::{Identity, LogSeq, Row};
use serde::{Deserialize, Serialize};

/// A row of a projection, with the identities that are stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRow {
    /// Stored identity of the row.
    pub key: Identity,
    /// The row.
    pub row: Row,
    /// Stored keys of [`decisiongraph_projections::Table::hashed`], in that order.
    pub hashed: Vec<Identity>,
    /// For each key that names a row ([`decisiongraph_projections::Table::naming`]): the `log_seq` of that row, or 0.
    /// Empty in a store that keeps none.
    pub since: Vec<i64>,
}

/// The order of a row stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// By [`Identity`]: the cheap order.
    Key,
    /// By the bytes of the canonical key: the order of the reference digest.
    Text,
}

/// A digest at a position, chained to the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Position.
    pub cursor: LogSeq,
    /// Generation of the digest.
    pub generation: Generation,
    /// Rolling digest, as text.
    pub digest: String,
    /// Version of the projection's rules.
    pub version: i32,
    /// Hash of the checkpoint before it; empty for the first.
    pub previous: String,
    /// Hash by [`Checkpoint::chain`].
    pub hash: String,
    /// Time of the record, RFC 3339.
    pub recorded_at: String,
}

impl Checkpoint {
    /// Computes `blake3:` and the hash over previous hash, scope, cursor, digest and version, each length-prefixed.
    pub fn chain(previous: &str, scope: &Scope, cursor: LogSeq, digest: &str, version: i32) -> String {
        let (cursor, version) = (cursor.to_string(), version.to_string());
        let parts = [previous, scope.tenant.as_str(), scope.projection, &cursor, digest, &version];
        let mut message = Vec::new();
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_le_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        decisiongraph_projections::payload_hash::tagged_hex("blake3:", &blake3_of(&message))
    }
}

fn blake3_of(message: &[u8]) -> [u8; 32] {
    *blake3::hash(message).as_bytes()
}

/// Direction of the edges of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Direction {
    Outgoing,
    Incoming,
    Both,
}

impl Direction {
    /// Returns the word in requests and cursors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Outgoing => "outgoing",
            Direction::Incoming => "incoming",
            Direction::Both => "both",
        }
    }
}

/// Filter for precedents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PrecedentFilter {
    pub policy_id: Option<String>,
    pub policy_version: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub outcome: Option<String>,
    /// Most hits: 1 to 10,000.
    pub limit: i64,
}

/// One finished trace that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PrecedentHit {
    pub trace_id: String,
    pub workflow: String,
    pub title: String,
    pub outcome: String,
    pub finished_at: String,
    pub last_log_seq: LogSeq,
    pub primary_entity_type: Option<String>,
    pub primary_entity_id: Option<String>,
    /// Policy of the best matching row of the index; none when no policy was requested.
    pub policy_id: Option<String>,
    pub policy_version: Option<String>,
    pub exception_id: Option<String>,
}
