//! The sealed log: trees that grow inside the transactions of batches, signed notes, forks and repairs; and reads of
//! them.
//!
//! *Guarantees.* A tree grows only from the head that its batch was computed at, in the transaction that moves the
//! cursor of the scope `seal`, under its fence. Rows of dg_seal are locked before rows of dg_scope, everywhere.

use super::PostgresStore;
use super::ask::{Parameter, Work};
use super::errors::{During as _, explain_commit};
use super::group::Commit;
use super::read::{SMALL_BYTES, beside, bound, fits, sum_max};
use super::rows::{Param, refs};
use super::values::Key;
use super::view::View;
use crate::sealed::{self, LoggedPage, int};
use crate::sections::{ReadSeals, Seals};
use crate::{
    FIRST_TREE, Lease, LoggedEvent, NewSealNote, NoteKind, PageLimit, Result, SealBatch, SealFork, SealNote, SealPage,
    SealTree, Standbys, StoreError, decide,
};
use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::seal::chunk::{Chunk, Node};
use decisiongraph_projections::seal::tree::{Frontier, empty_root};
use decisiongraph_projections::{LogSeq, RowKey, TenantId};
use futures_util::future::join3;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use tokio_postgres::Row;

const SQL: &str = include_str!("sql/seal.sql");

/// Longest statement of a fork or of a repair: each copies or replaces a part of a whole tree.
const WHOLE_TREE: Duration = Duration::from_secs(3_600);
/// Nodes per statement of a repair.
const NODES_MAX: usize = 10_000;

/// Writes the growth of the trees of these batches, inside their transaction. Returns true when there was any.
pub(super) async fn grow(client: &ClientWrapper, commits: &[Commit]) -> Result<bool> {
    let grown: Vec<Growth<'_>> = commits.iter().filter_map(Growth::of).collect();
    if grown.is_empty() {
        return Ok(false);
    }
    let what = "seal events";
    let (heads, chunks, nodes) = (head_params(&grown), chunk_params(&grown), node_params(&grown));
    let grow = client.prepare_cached(sql!(SQL, "grow")).await.during(what)?;
    let add_chunks = client.prepare_cached(sql!(SQL, "add_chunks")).await.during(what)?;
    let add_nodes = client.prepare_cached(sql!(SQL, "add_nodes")).await.during(what)?;
    // Sent one behind the other. The heads come first: a stale writer is told that its tree is another.
    let (heads, chunks, nodes) = join3(
        async {
            let rows = client.query_raw(&grow, refs(&heads)).await?;
            futures_util::TryStreamExt::try_collect::<Vec<Row>>(rows).await
        },
        client.execute_raw(&add_chunks, refs(&chunks)),
        client.execute_raw(&add_nodes, refs(&nodes)),
    )
    .await;
    let heads = heads.during(what)?;
    let mine: BTreeSet<&str> = heads.iter().map(|row| row.get(0)).collect();
    for Growth { tenant, .. } in &grown {
        if !mine.contains(tenant.as_str()) {
            return Err(sealed::root_differs(tenant));
        }
    }
    for written in [chunks, nodes] {
        written.during(what).map_err(|error| match (error.duplicate, grown.as_slice()) {
            (true, [Growth { tenant, .. }]) => sealed::grown_over(tenant),
            _ => error,
        })?;
    }
    Ok(true)
}

/// Growth of a tenant's tree in a batch.
struct Growth<'a> {
    tenant: &'a TenantId,
    seal: &'a SealBatch,
}

impl<'a> Growth<'a> {
    fn of(commit: &'a Commit) -> Option<Growth<'a>> {
        Some(Growth { tenant: &commit.lease.scope.tenant, seal: commit.batch.growth()? })
    }
}

/// Makes a list parameter.
fn list<'a, I: 'a, T>(items: &'a [I], each: impl Fn(&'a I) -> T) -> Param<'a>
where
    Vec<T>: tokio_postgres::types::ToSql + Sync + Send + 'a,
{
    Box::new(items.iter().map(each).collect::<Vec<T>>())
}

fn head_params<'a>(grown: &'a [Growth<'a>]) -> Vec<Param<'a>> {
    vec![
        list(grown, |it| it.tenant.as_str()),
        list(grown, |it| it.seal.tree),
        list(grown, |it| it.seal.origin.as_str()),
        list(grown, |it| int(it.seal.from.size)),
        list(grown, |it| it.seal.from.root.as_slice()),
        list(grown, |it| int(it.seal.head().size)),
        list(grown, |it| it.seal.last.0),
        list(grown, |it| it.seal.head().root.to_vec()),
        list(grown, |it| it.seal.grown.frontier.hashes().as_flattened()),
    ]
}

fn chunk_params<'a>(grown: &'a [Growth<'a>]) -> Vec<Param<'a>> {
    fn each<'a, T>(grown: &'a [Growth<'a>], of: impl Fn(&'a Growth<'a>, &'a Chunk) -> T) -> Param<'a>
    where
        Vec<T>: tokio_postgres::types::ToSql + Sync + Send + 'a,
    {
        let of = &of;
        let chunks = grown.iter().flat_map(|it| it.seal.grown.chunks.iter().map(move |chunk| of(it, chunk)));
        Box::new(chunks.collect::<Vec<T>>())
    }
    vec![
        each(grown, |it, _| it.tenant.as_str()),
        each(grown, |it, _| it.seal.tree),
        each(grown, |_, chunk| int(chunk.first_index)),
        each(grown, |_, chunk| int(chunk.events)),
        each(grown, |_, chunk| chunk.first.0),
        each(grown, |_, chunk| chunk.last.0),
        each(grown, |_, chunk| chunk.positions.as_slice()),
        each(grown, |_, chunk| chunk.entries.as_slice()),
        each(grown, |_, chunk| chunk.salts.as_slice()),
    ]
}

fn node_params<'a>(grown: &'a [Growth<'a>]) -> Vec<Param<'a>> {
    let nodes = || grown.iter().flat_map(|it| it.seal.grown.nodes.iter().map(move |node| (it, node)));
    nodes_of(nodes().map(|(it, node)| (it.tenant.as_str(), it.seal.tree, node)))
}

/// Returns the lists of `add_nodes`.
fn nodes_of<'a>(nodes: impl Iterator<Item = (&'a str, i64, &'a Node)> + Clone) -> Vec<Param<'a>> {
    vec![
        Box::new(nodes.clone().map(|(tenant, ..)| tenant).collect::<Vec<_>>()),
        Box::new(nodes.clone().map(|(_, tree, _)| tree).collect::<Vec<_>>()),
        Box::new(nodes.clone().map(|(.., node)| i64::from(node.level)).collect::<Vec<_>>()),
        Box::new(nodes.clone().map(|(.., node)| int(node.index)).collect::<Vec<_>>()),
        Box::new(nodes.map(|(.., node)| node.hash.as_slice()).collect::<Vec<_>>()),
    ]
}

#[async_trait]
impl Seals for PostgresStore {
    async fn begin_seal(&self, tenant: &TenantId, origin: &str) -> Result<SealTree> {
        let ask = self.ask("begin a tree").await?;
        let root = empty_root();
        let of: [Parameter<'_>; 4] = [&tenant.as_str(), &FIRST_TREE, &origin, &root.as_slice()];
        if ask.run(sql!(SQL, "begin"), &of).await? != 1 {
            return Err(sealed::has_tree(tenant));
        }
        let tree = ask.first(sql!(SQL, "tree"), &[&tenant.as_str(), &FIRST_TREE]).await?;
        tree.ok_or_else(|| decide::lost("tree"))
    }

    async fn add_seal_notes(&self, notes: &[NewSealNote]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let ask = self.ask("store signed notes").await?;
        let tenants: Vec<&str> = notes.iter().map(|note| note.tenant.as_str()).collect();
        let trees: Vec<i64> = notes.iter().map(|note| note.tree).collect();
        let kinds: Vec<&str> = notes.iter().map(|note| note.kind.as_str()).collect();
        let sizes: Vec<i64> = notes.iter().map(|note| int(note.size)).collect();
        let keys: Vec<Key> = notes.iter().map(|note| RowKey::of(&note.note).into()).collect();
        let texts: Vec<&str> = notes.iter().map(|note| note.note.as_str()).collect();
        let of: [Parameter<'_>; 6] = [&tenants, &trees, &kinds, &sizes, &keys, &texts];
        ask.run(sql!(SQL, "add_note"), &of).await.map(|_| ())
    }

    async fn thin_seal_notes(&self, tenant: &TenantId) -> Result<u64> {
        self.ask("thin signed notes").await?.run(sql!(SQL, "thin"), &[&tenant.as_str()]).await
    }

    async fn fork_seal(&self, lease: &Lease, fork: &SealFork) -> Result<SealTree> {
        if fork.frontier.size() != fork.keep {
            return Err(StoreError::internal("a fork's frontier is not of the leaves that it keeps"));
        }
        let (tenant, next) = (&lease.scope.tenant, fork.old + 1);
        let mut ask = self.ask("fork a tree").await?;
        let work = ask.begin().await?;
        begin_whole_tree(&work, lease).await?;
        let of: [Parameter<'_>; 4] =
            [&tenant.as_str(), &fork.old, &int(fork.old_head.size), &fork.old_head.root.as_slice()];
        if work.run(sql!(SQL, "end_tree"), &of).await? != 1 {
            return Err(sealed::other_head(tenant, fork.old));
        }
        take_over(&work, tenant, fork, next).await?;
        fence(&work, lease, Some(fork.last)).await?;
        work.commit(explain_commit).await?;
        let tree = ask.first(sql!(SQL, "tree"), &[&tenant.as_str(), &next]).await?;
        tree.ok_or_else(|| decide::lost("tree"))
    }

    async fn mend_seal(&self, lease: &Lease, tree: i64, nodes: &[Node], frontier: &Frontier) -> Result<()> {
        let tenant = &lease.scope.tenant;
        let mut ask = self.ask("repair a tree").await?;
        let work = ask.begin().await?;
        begin_whole_tree(&work, lease).await?;
        let (size, root, hashes) = (int(frontier.size()), frontier.root(), frontier.hashes().as_flattened());
        let of: [Parameter<'_>; 5] = [&tenant.as_str(), &tree, &size, &root.as_slice(), &hashes];
        if work.run(sql!(SQL, "repair"), &of).await? != 1 {
            return Err(sealed::other_size(tenant, tree));
        }
        work.run(sql!(SQL, "drop_nodes"), &[&tenant.as_str(), &tree]).await?;
        for part in nodes.chunks(NODES_MAX) {
            let lists = nodes_of(part.iter().map(|node| (tenant.as_str(), tree, node)));
            let lists: Vec<Parameter<'_>> = refs(&lists).collect();
            work.run(sql!(SQL, "add_nodes"), &lists).await?;
        }
        fence(&work, lease, None).await?;
        work.commit(explain_commit).await
    }

    async fn wal_position(&self) -> Result<Option<String>> {
        let ask = self.ask("read the position of the write-ahead log").await?;
        let (position,) = ask.one(sql!(SQL, "wal_position"), &[]).await?;
        Ok(Some(position))
    }

    async fn standbys(&self, position: &str) -> Result<Standbys> {
        let ask = self.ask("look for standbys").await?;
        let (streaming, flushed): (u64, u64) = ask.one(sql!(SQL, "standbys"), &[&position]).await?;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Standbys { streaming: count(streaming), flushed: count(flushed) })
    }
}

/// Begins a work on a whole tree: `fenced` when the lease does not hold. Its statements may take long.
async fn begin_whole_tree(work: &Work<'_>, lease: &Lease) -> Result<()> {
    let long = format!("SET LOCAL statement_timeout = {}", WHOLE_TREE.as_millis());
    work.batch_execute(&long).await.during(work.what)?;
    let token = Key::from(lease.epoch.token);
    let (scope, epoch, generation) = (&lease.scope, lease.epoch.counter, lease.generation.0);
    let of: [Parameter<'_>; 5] = [&scope.tenant.as_str(), &scope.projection, &epoch, &token, &generation];
    match work.rows(sql!(SQL, "holds"), &of).await?.is_empty() {
        true => Err(sealed::not_held(&scope.tenant)),
        false => Ok(()),
    }
}

/// Gives the next tree the common leaves and nodes, its row and the fork note.
async fn take_over(work: &Work<'_>, tenant: &TenantId, fork: &SealFork, next: i64) -> Result<()> {
    let (id, keep, last) = (tenant.as_str(), int(fork.keep), fork.last.0);
    work.run(sql!(SQL, "take_chunks"), &[&id, &fork.old, &next, &keep, &last]).await?;
    let (found,) = work.one(sql!(SQL, "leaves"), &[&id, &next]).await?;
    sealed::took_over(tenant, fork.old, fork.keep, found)?;
    work.run(sql!(SQL, "take_nodes"), &[&id, &fork.old, &next, &keep]).await?;
    let (root, frontier) = (fork.frontier.root(), fork.frontier.hashes().as_flattened());
    let of: [Parameter<'_>; 7] = [&id, &next, &fork.origin, &keep, &last, &root.as_slice(), &frontier];
    work.run(sql!(SQL, "next_tree"), &of).await?;
    let key = Key::from(RowKey::of(&fork.note));
    let (ids, trees, kinds, sizes) = (vec![id], vec![next], vec![NoteKind::Fork.as_str()], vec![keep]);
    let of: [Parameter<'_>; 6] = [&ids, &trees, &kinds, &sizes, &vec![key], &vec![fork.note.as_str()]];
    work.run(sql!(SQL, "add_note"), &of).await.map(|_| ())
}

/// Ends a work: the lease holds until its commit.
async fn fence(work: &Work<'_>, lease: &Lease, cursor: Option<LogSeq>) -> Result<()> {
    let (scope, token, cursor) = (&lease.scope, Key::from(lease.epoch.token), cursor.map(|cursor| cursor.0));
    let (epoch, generation) = (lease.epoch.counter, lease.generation.0);
    let of: [Parameter<'_>; 6] = [&scope.tenant.as_str(), &scope.projection, &epoch, &token, &generation, &cursor];
    match work.run(sql!(SQL, "fence"), &of).await? {
        1 => Ok(()),
        _ => Err(sealed::not_held(&scope.tenant)),
    }
}

#[async_trait]
impl ReadSeals for View {
    async fn seal_trees(&self, tenant: &TenantId) -> Result<Vec<SealTree>> {
        self.ask("read trees").await?.all(sql!(SQL, "trees"), &[&tenant.as_str()]).await
    }

    async fn seal_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<SealTree>> {
        let ask = self.ask("list trees").await?;
        // No id is empty, so every one is behind the empty text.
        ask.list(sql!(SQL, "heads"), &[&after.map_or("", TenantId::as_str), &bound(limit)]).await
    }

    async fn seal_chunks(&self, tenant: &TenantId, tree: i64, from: u64, limit: usize) -> Result<Vec<Chunk>> {
        let ask = self.ask("read sealed leaves").await?;
        ask.list(sql!(SQL, "chunks"), &[&tenant.as_str(), &tree, &int(from), &bound(limit)]).await
    }

    async fn seal_chunk_at(&self, tenant: &TenantId, tree: i64, log_seq: LogSeq) -> Result<Option<Chunk>> {
        let ask = self.ask("look for a sealed leaf").await?;
        Ok(ask.list(sql!(SQL, "chunk_at"), &[&tenant.as_str(), &tree, &log_seq.0]).await?.pop())
    }

    async fn seal_nodes(&self, tenant: &TenantId, tree: i64, level: u32, indices: Range<u64>) -> Result<Vec<Node>> {
        let ask = self.ask("read nodes of a tree").await?;
        let of: [Parameter<'_>; 5] =
            [&tenant.as_str(), &tree, &i64::from(level), &int(indices.start), &int(indices.end)];
        ask.list(sql!(SQL, "nodes"), &of).await
    }

    async fn seal_notes(
        &self,
        tenant: &TenantId,
        tree: i64,
        kind: Option<NoteKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<SealNote>> {
        let ask = self.ask("list signed notes").await?;
        let (kind, before) = (kind.map(NoteKind::as_str), before.unwrap_or(i64::MAX));
        let of: [Parameter<'_>; 5] = [&tenant.as_str(), &tree, &kind, &before, &bound(limit)];
        ask.list(sql!(SQL, "notes"), &of).await
    }

    async fn logged_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Vec<LoggedEvent>> {
        logged(self, tenant, after, upto, limit).await
    }

    async fn unsealed_events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<SealPage> {
        logged(self, tenant, after, upto, limit).await
    }
}

/// Reads a page of the log, with all that is sealed.
async fn logged<P: LoggedPage>(
    view: &View,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<P> {
    let ask = view.ask("read the log with all that is sealed").await?;
    let (tenant, rows_max) = (tenant.as_str(), bound(limit.rows_max));
    let share = limit.bytes_max / limit.rows_max.max(1);
    if share >= SMALL_BYTES {
        let share = bound(share.min(limit.event_bytes_max));
        let of: [Parameter<'_>; 5] = [&tenant, &after.0, &upto.0, &rows_max, &share];
        let rows = ask.rows(sql!(SQL, "logged_small"), &of).await?;
        let found = !rows.is_empty();
        let small = |row: &&Row| row.get::<_, Option<&str>>(PAYLOAD).is_some();
        let page: P = beside(ask.what, move || taken(rows.iter().take_while(small))).await?;
        if !(page.has_none() && found) {
            return Ok(page);
        }
    }
    let (bytes_max, event_max) = (sum_max(limit), bound(limit.event_bytes_max));
    let of: [Parameter<'_>; 6] = [&tenant, &after.0, &upto.0, &rows_max, &bytes_max, &event_max];
    let rows = ask.rows(sql!(SQL, "logged"), &of).await?;
    if rows.is_empty() {
        fits(&ask, sql!(SQL, "logged_size"), &[&tenant, &after.0, &upto.0], limit).await?;
    }
    beside(ask.what, move || taken(rows.iter())).await
}

fn taken<'r, P: LoggedPage>(rows: impl Iterator<Item = &'r Row>) -> Result<P> {
    let mut page = P::default();
    for row in rows {
        page.take(row)?;
    }
    Ok(page)
}

/// Place of the payload among the columns of a logged event.
const PAYLOAD: usize = 18;
