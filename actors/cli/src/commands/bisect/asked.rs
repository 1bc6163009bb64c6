//! A copy of a sealed log that is asked for its tiles: behind a node, or in a database beside one.
//!
//! *Guarantees.* A tile is asked for in the width that a tree of the compared size has. Only the last tile of leaves is
//! kept: it gives the position of the leaf that differs. So one pair of tiles per level is read, and two events.
//!
//! *Never here:* trust. A node that answers falsely shows a difference, or hides one.

use crate::connection::Connection;
use crate::node_web::NodeWeb;
use decisiongraph_engine::seal::bisect::{LogCopy, Seen};
use decisiongraph_engine::seal::reader::Tile;
use decisiongraph_projections::seal::read_base64_of;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::query::EventRecord;
use decisiongraph_protocol::{
    AdminError, EventsRequest, SealStatusReply, SealStatusRequest, SealTileReply, SealTileRequest, SealedTree,
    TILE_HASHES_MAX,
};
use decisiongraph_store::{LoggedEvent, Result, StoreError};
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// Side that answers about a copy.
pub enum Side {
    /// A database in this process, or a node behind its socket or TCP.
    Asked(Box<Connection>),
    /// A node behind its HTTP interface.
    Web(NodeWeb),
}

/// The reply to [`EventsRequest`] as HTTP has it.
#[derive(Deserialize)]
struct Events {
    events: Vec<EventRecord>,
}

impl Side {
    /// Returns the address, without secrets.
    pub fn address(&self) -> String {
        match self {
            Side::Asked(connection) => connection.address(),
            Side::Web(web) => web.address().to_owned(),
        }
    }

    async fn tree(&self, tenant: &TenantId) -> std::result::Result<Option<SealedTree>, AdminError> {
        let request = SealStatusRequest { tenant: Some(tenant.clone()), after: None, limit: None };
        let seals = match self {
            Side::Asked(connection) => connection.ask(request).await?.seals,
            Side::Web(web) => web.get::<SealStatusReply>("/api/v1/seal/status").await?.seals,
        };
        Ok(seals.into_iter().filter(|seal| seal.tenant == *tenant).find_map(|seal| seal.tree))
    }

    async fn tile(&self, request: SealTileRequest) -> std::result::Result<SealTileReply, AdminError> {
        match self {
            Side::Asked(connection) => connection.ask(request).await,
            Side::Web(web) => {
                let SealTileRequest { tree, level, index, width, .. } = request;
                let optional = [tree.map(|tree| format!("&tree={tree}")), width.map(|width| format!("&width={width}"))];
                let optional: String = optional.into_iter().flatten().collect();
                web.get(&format!("/api/v1/seal/tile?level={level}&index={index}{optional}")).await
            }
        }
    }

    async fn event(&self, tenant: &TenantId, at: LogSeq) -> std::result::Result<Option<EventRecord>, AdminError> {
        let since = LogSeq(at.0.saturating_sub(1));
        let events = match self {
            Side::Asked(connection) => {
                let request = EventsRequest {
                    tenant: Some(tenant.clone()),
                    since_log_seq: since,
                    until_log_seq: Some(at),
                    limit: 1,
                    ..EventsRequest::default()
                };
                connection.ask(request).await?.events
            }
            Side::Web(web) => {
                let path = format!("/api/v1/events?since_log_seq={since}&until_log_seq={at}&limit=1");
                web.get::<Events>(&path).await?.events
            }
        };
        Ok(events.into_iter().find(|event| event.log_seq == at))
    }
}

/// A copy that answers requests.
pub struct AskedCopy {
    side: Side,
    tenant: TenantId,
    tree: i64,
    head: TreeHead,
    /// The last tile of leaves: its number, and the positions of its events.
    leaves: Mutex<(u64, Vec<LogSeq>)>,
}

impl AskedCopy {
    /// Asks for the head of the tenant's newest tree. `not_found` when nothing is sealed there.
    pub async fn open(side: Side, tenant: &TenantId) -> std::result::Result<AskedCopy, AdminError> {
        let tree = side.tree(tenant).await?;
        let nothing = || {
            let what = format!("nothing of tenant {tenant} is sealed in {}", side.address());
            AdminError::new(Category::NotFound, what)
                .next("name a copy that was sealed, or compare databases: --by-log")
        };
        let tree = tree.ok_or_else(nothing)?;
        let root = read_base64_of(&tree.root).map_err(|error| unfit("the root", error.0))?;
        let head = TreeHead { size: tree.size, root };
        Ok(AskedCopy { side, tenant: tenant.clone(), tree: tree.tree, head, leaves: Mutex::default() })
    }

    async fn asked(&self, level: u32, index: u64, width: u16) -> Result<SealTileReply> {
        let (tenant, tree, width) = (Some(self.tenant.clone()), Some(self.tree), Some(width));
        let request = SealTileRequest { tenant, tree, level, index, width };
        self.side.tile(request).await.map_err(told)
    }

    fn leaves(&self) -> MutexGuard<'_, (u64, Vec<LogSeq>)> {
        self.leaves.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns the position of a leaf's event.
    async fn position(&self, index: u64) -> Result<LogSeq> {
        let width = u64::from(TILE_HASHES_MAX);
        let (number, at) = (index / width, index % width);
        let kept = {
            let leaves = self.leaves();
            leaves.1.get(at as usize).copied().filter(|_| leaves.0 == number)
        };
        match kept {
            Some(position) => Ok(position),
            None => {
                let tile = self.asked(0, number, at as u16 + 1).await?;
                tile.log_seqs.last().copied().ok_or_else(|| unfit("a tile of leaves", "it has no positions"))
            }
        }
    }
}

impl LogCopy for AskedCopy {
    fn head(&self) -> TreeHead {
        self.head
    }

    async fn tile(&self, level: u32, number: u64, size: u64) -> Result<Tile> {
        let per_tile = u64::from(TILE_HASHES_MAX);
        let full = size.checked_shr(level.saturating_mul(per_tile.ilog2())).unwrap_or(0);
        let width = full.saturating_sub(number.saturating_mul(per_tile)).min(per_tile) as u16;
        if width == 0 {
            return Ok(Tile::from([]));
        }
        let SealTileReply { hashes, log_seqs, .. } = self.asked(level, number, width).await?;
        let read = hashes.iter().map(|hash| read_base64_of(hash)).collect::<std::result::Result<Vec<_>, _>>();
        let tile = read.map_err(|error| unfit("a tile", error.0))?;
        if level == 0 {
            *self.leaves() = (number, log_seqs);
        }
        Ok(tile.into())
    }

    async fn leaf(&self, index: u64) -> Result<Seen> {
        let position = self.position(index).await?;
        let event = self.side.event(&self.tenant, position).await.map_err(told)?;
        Ok(Seen { log_seq: Some(position), entry: None, event: event.map(|event| logged(&self.tenant, event)) })
    }
}

/// Returns an event with the columns that are compared.
fn logged(tenant: &TenantId, event: EventRecord) -> LoggedEvent {
    LoggedEvent {
        log_seq: event.log_seq,
        recorded_at_us: 0,
        tenant_id: tenant.to_string(),
        event_id: event.event_id,
        trace_id: event.trace_id,
        trace_seq: event.trace_seq,
        event_type: event.event_type,
        occurred_at: event.occurred_at,
        producer_id: event.source.producer_id,
        source_system: event.source.system,
        source_subsystem: event.source.subsystem,
        actor_type: event.actor.actor_type,
        actor_id: event.actor.actor_id,
        idempotency_key: event.idempotency_key,
        correlation_id: event.correlation_id,
        causation_event_id: event.causation_event_id,
        schema_version: event.schema_version,
        tags: event.tags.join("\n"),
        payload: event.payload,
        payload_hash: event.payload_hash,
        event_key: Uuid::nil(),
        trace_key: Uuid::nil(),
        idempotency_uid: Uuid::nil(),
    }
}

/// An error of a copy, as the comparison takes it.
fn told(error: AdminError) -> StoreError {
    StoreError::new(error.category, error.message)
}

fn unfit(what: &str, why: &str) -> StoreError {
    StoreError::new(Category::SchemaViolation, format!("{what} of a copy cannot be read: {why}"))
}
