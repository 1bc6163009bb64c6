//! The sealed log: trees that grow inside the transactions of batches, signed notes, forks and repairs; and reads of
//! them.
//!
//! *Guarantees.* A tree grows only from the head that its batch was computed at, in the transaction that moves the
//! cursor of the scope `seal`, under its fence.

use super::SqliteStore;
use super::ask::{Ask as _, texts_of};
use super::errors::{Failed, Result};
use super::read::{rows_limit, takes};
use super::rows::key_of;
use super::threads::PAGES;
use super::view::View;
use crate::sealed::{self, LoggedPage, int};
use crate::sections::{ReadSeals, Seals};
use crate::{
    FIRST_TREE, Lease, LoggedEvent, NewSealNote, NoteKind, PageLimit, Paged, SealBatch, SealFork, SealNote, SealPage,
    SealTree, Standbys, StoreError, decide,
};
use async_trait::async_trait;
use decisiongraph_projections::seal::chunk::{Chunk, Node};
use decisiongraph_projections::seal::tree::{Frontier, empty_root};
use decisiongraph_projections::{LogSeq, TenantId};
use rusqlite::{Connection, params};
use std::ops::Range;

const SQL: &str = include_str!("sql/seal.sql");

/// Writes the growth of a tree, inside the transaction of its batch, whose fence was checked.
pub(super) fn grow(conn: &Connection, tenant: &TenantId, seal: &SealBatch) -> Result<()> {
    let SealBatch { tree, origin, from, grown, last } = seal;
    let (id, head) = (tenant.as_str(), seal.head());
    let frontier = grown.frontier.hashes().as_flattened();
    let of = params![id, tree, int(from.size), from.root, int(head.size), last.0, head.root, frontier];
    let mut moved = conn.run(sql!(SQL, "grow"), of)?;
    if moved == 0 && from.size == 0 && conn.run(sql!(SQL, "begin"), params![id, tree, origin, empty_root()])? == 1 {
        moved = conn.run(sql!(SQL, "grow"), of)?;
    }
    if moved != 1 {
        return Err(sealed::root_differs(tenant).into());
    }
    let damaged = |error: Failed| match error.duplicate {
        true => sealed::grown_over(tenant).into(),
        false => error,
    };
    for chunk in &grown.chunks {
        let Chunk { first_index, events, first, last, positions, entries, salts } = chunk;
        let of = params![id, tree, int(*first_index), int(*events), first.0, last.0, positions, entries, salts];
        conn.run(sql!(SQL, "add_chunks"), of).map_err(damaged)?;
    }
    add_nodes(conn, tenant, *tree, &grown.nodes).map_err(damaged)
}

fn add_nodes(conn: &Connection, tenant: &TenantId, tree: i64, nodes: &[Node]) -> Result<()> {
    for Node { level, index, hash } in nodes {
        conn.run(sql!(SQL, "add_nodes"), params![tenant.as_str(), tree, level, int(*index), hash])?;
    }
    Ok(())
}

fn add_note(conn: &Connection, note: &NewSealNote) -> Result<()> {
    let NewSealNote { tenant, tree, kind, size, note } = note;
    let of = params![tenant.as_str(), tree, kind.as_str(), int(*size), key_of(note), note];
    conn.run(sql!(SQL, "add_note"), of).map(|_| ())
}

fn tree(conn: &Connection, tenant: &TenantId, tree: i64) -> Result<SealTree> {
    let found: Option<SealTree> = conn.first(sql!(SQL, "tree"), params![tenant.as_str(), tree])?;
    Ok(found.ok_or_else(|| decide::lost("tree"))?)
}

/// Checks the lease, and moves the cursor back if one is given.
fn fence(conn: &Connection, lease: &Lease, cursor: Option<LogSeq>) -> Result<()> {
    let Lease { scope, epoch, generation, .. } = lease;
    let cursor = cursor.map(|cursor| cursor.0);
    let of = params![scope.tenant.as_str(), scope.projection, epoch.counter, epoch.token, generation.0, cursor];
    match conn.run(sql!(SQL, "fence"), of)? {
        1 => Ok(()),
        _ => Err(sealed::not_held(&scope.tenant).into()),
    }
}

fn fork(conn: &Connection, lease: &Lease, fork: &SealFork) -> Result<SealTree> {
    fence(conn, lease, Some(fork.last))?;
    let (tenant, next) = (&lease.scope.tenant, fork.old + 1);
    let (id, keep, last) = (tenant.as_str(), int(fork.keep), fork.last.0);
    let of = params![id, fork.old, int(fork.old_head.size), fork.old_head.root];
    if conn.run(sql!(SQL, "end_tree"), of)? != 1 {
        return Err(sealed::other_head(tenant, fork.old).into());
    }
    conn.run(sql!(SQL, "take_chunks"), params![id, fork.old, next, keep, last])?;
    let (found,) = conn.one(sql!(SQL, "leaves"), params![id, next])?;
    sealed::took_over(tenant, fork.old, fork.keep, found)?;
    conn.run(sql!(SQL, "take_nodes"), params![id, fork.old, next, keep])?;
    let (root, frontier) = (fork.frontier.root(), fork.frontier.hashes().as_flattened());
    conn.run(sql!(SQL, "next_tree"), params![id, next, fork.origin, keep, last, root, frontier])?;
    let (tenant, note) = (tenant.clone(), fork.note.clone());
    add_note(conn, &NewSealNote { tenant, tree: next, kind: NoteKind::Fork, size: fork.keep, note })?;
    tree(conn, &lease.scope.tenant, next)
}

fn mend(conn: &Connection, lease: &Lease, tree: i64, nodes: &[Node], frontier: &Frontier) -> Result<()> {
    fence(conn, lease, None)?;
    let tenant = &lease.scope.tenant;
    let (id, size, hashes) = (tenant.as_str(), int(frontier.size()), frontier.hashes().as_flattened());
    if conn.run(sql!(SQL, "repair"), params![id, tree, size, frontier.root(), hashes])? != 1 {
        return Err(sealed::other_size(tenant, tree).into());
    }
    conn.run(sql!(SQL, "drop_nodes"), params![id, tree])?;
    add_nodes(conn, tenant, tree, nodes)
}

#[async_trait]
impl Seals for SqliteStore {
    async fn begin_seal(&self, tenant: &TenantId, origin: &str) -> crate::Result<SealTree> {
        let (tenant, origin) = (tenant.clone(), origin.to_owned());
        self.write(move |conn| {
            let of = params![tenant.as_str(), FIRST_TREE, origin, empty_root()];
            match conn.run(sql!(SQL, "begin"), of)? {
                1 => tree(conn, &tenant, FIRST_TREE),
                _ => Err(sealed::has_tree(&tenant).into()),
            }
        })
        .await
    }

    async fn add_seal_notes(&self, notes: &[NewSealNote]) -> crate::Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let notes = notes.to_vec();
        self.write(move |conn| notes.iter().try_for_each(|note| add_note(conn, note))).await
    }

    async fn thin_seal_notes(&self, tenant: &TenantId) -> crate::Result<u64> {
        let tenant = tenant.clone();
        self.write(move |conn| Ok(conn.run(sql!(SQL, "thin"), [tenant.as_str()])? as u64)).await
    }

    async fn fork_seal(&self, lease: &Lease, what: &SealFork) -> crate::Result<SealTree> {
        if what.frontier.size() != what.keep {
            return Err(StoreError::internal("a fork's frontier is not of the leaves that it keeps"));
        }
        let (lease, what) = (lease.clone(), what.clone());
        self.write_bulk(move |conn| fork(conn, &lease, &what)).await
    }

    async fn mend_seal(&self, lease: &Lease, tree: i64, nodes: &[Node], frontier: &Frontier) -> crate::Result<()> {
        let (lease, nodes, frontier) = (lease.clone(), nodes.to_vec(), frontier.clone());
        self.write_bulk(move |conn| mend(conn, &lease, tree, &nodes, &frontier)).await
    }

    async fn wal_position(&self) -> crate::Result<Option<String>> {
        Ok(None)
    }

    async fn standbys(&self, _position: &str) -> crate::Result<Standbys> {
        Ok(Standbys { streaming: 0, flushed: 0 })
    }
}

#[async_trait]
impl ReadSeals for View {
    async fn seal_trees(&self, tenant: &TenantId) -> crate::Result<Vec<SealTree>> {
        let tenant = tenant.clone();
        self.read(move |conn| conn.all(sql!(SQL, "trees"), [tenant.as_str()])).await
    }

    async fn seal_heads(&self, after: Option<&TenantId>, limit: usize) -> crate::Result<Vec<SealTree>> {
        let after = after.cloned();
        self.read(move |conn| {
            // No id is empty, so every one is behind the empty text.
            let after = after.as_ref().map_or("", TenantId::as_str);
            conn.list(sql!(SQL, "heads"), params![after, rows_limit(limit)])
        })
        .await
    }

    async fn seal_chunks(&self, tenant: &TenantId, tree: i64, from: u64, limit: usize) -> crate::Result<Vec<Chunk>> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            conn.list(sql!(SQL, "chunks"), params![tenant.as_str(), tree, int(from), rows_limit(limit)])
        })
        .await
    }

    async fn seal_chunk_at(&self, tenant: &TenantId, tree: i64, log_seq: LogSeq) -> crate::Result<Option<Chunk>> {
        let tenant = tenant.clone();
        self.read(move |conn| Ok(conn.list(sql!(SQL, "chunk_at"), params![tenant.as_str(), tree, log_seq.0])?.pop()))
            .await
    }

    async fn seal_nodes(
        &self,
        tenant: &TenantId,
        tree: i64,
        level: u32,
        indices: Range<u64>,
    ) -> crate::Result<Vec<Node>> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let (from, to) = (int(indices.start), int(indices.end));
            conn.list(sql!(SQL, "nodes"), params![tenant.as_str(), tree, level, from, to])
        })
        .await
    }

    async fn seal_notes(
        &self,
        tenant: &TenantId,
        tree: i64,
        kind: Option<NoteKind>,
        before: Option<i64>,
        limit: usize,
    ) -> crate::Result<Vec<SealNote>> {
        let (tenant, kind, before) = (tenant.clone(), kind.map(NoteKind::as_str), before.unwrap_or(i64::MAX));
        self.read(move |conn| {
            conn.list(sql!(SQL, "notes"), params![tenant.as_str(), tree, kind, before, rows_limit(limit)])
        })
        .await
    }

    async fn logged_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> crate::Result<Vec<LoggedEvent>> {
        let tenant = tenant.clone();
        self.read_on(&PAGES, move |conn| logged(conn, &tenant, after, upto, limit)).await
    }

    async fn unsealed_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> crate::Result<SealPage> {
        let tenant = tenant.clone();
        self.read_on(&PAGES, move |conn| logged(conn, &tenant, after, upto, limit)).await
    }
}

/// Reads a page of the log, with all that is sealed.
fn logged<P: LoggedPage>(
    conn: &Connection,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<P> {
    let mut statement = conn.prepare_cached(sql!(SQL, "logged"))?;
    let (rows_max, event_max) = (rows_limit(limit.rows_max.max(1)), rows_limit(limit.event_bytes_max));
    let mut rows = statement.query(params![tenant.as_str(), after.0, upto.0, rows_max, event_max])?;
    let (mut page, mut taken, mut bytes) = (P::default(), Paged::default(), 0);
    while let Some(row) = rows.next()? {
        // The texts, but for the payload, whose size is the last column.
        let size = texts_of(row, 2..18)? + texts_of(row, 19..20)? + row.get::<_, i64>(23)?;
        if !takes(&mut taken, &mut bytes, row, size, limit)? {
            break;
        }
        taken.items.push(());
        page.take(row)?;
    }
    Ok(page)
}
