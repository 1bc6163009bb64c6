//! The sealed log: trees, leaves, nodes and notes.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, append_all, commit_growth, growth, head_of, owner, salts_at, seal};
use crate::log::{Random, event, finished, input, named, seeded, started, tenant, whole_trace};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Chunk, Leaf, Node, add_leaf};
use decisiongraph_projections::seal::leaf::Entry;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::{Frontier, empty_root, root_of};
use decisiongraph_projections::{Category, LogSeq, RowKey, TenantId, catalogue};
use decisiongraph_store::*;
use uuid::Uuid;

const END: LogSeq = LogSeq(i64::MAX);

fn scope(tenant: &TenantId) -> Scope {
    Scope::new(tenant, SEAL)
}

/// All that a batch of the seal may change.
#[derive(Debug, PartialEq)]
struct State {
    trees: Vec<SealTree>,
    chunks: Vec<Chunk>,
    nodes: Vec<Node>,
    notes: Vec<SealNote>,
    cursor: LogSeq,
}

async fn state(fresh: &Fresh, tenant: &TenantId) -> State {
    let view = fresh.store.snapshot().await.expect("a snapshot");
    let trees = view.seal_trees(tenant).await.expect("trees");
    let newest = trees.last().map_or(FIRST_TREE, |tree| tree.tree);
    let row = view.scope(&scope(tenant)).await.expect("an answer").expect("a scope");
    State {
        chunks: view.seal_chunks(tenant, newest, 0, 10_000).await.expect("chunks"),
        nodes: view.seal_nodes(tenant, newest, 1, 0..10_000).await.expect("nodes"),
        notes: view.seal_notes(tenant, newest, None, None, 100).await.expect("notes"),
        cursor: row.position.cursor,
        trees,
    }
}

/// Returns the leaves of chunks that follow one another.
fn leaves(chunks: &[Chunk]) -> Vec<Leaf> {
    let leaves: Vec<Leaf> = chunks.iter().flat_map(|chunk| chunk.leaves().expect("a sound chunk")).collect();
    let first = chunks.first().map_or(0, |chunk| chunk.first_index);
    assert!(leaves.iter().zip(first..).all(|(leaf, index)| leaf.index == index), "no gap");
    leaves
}

fn hashes(chunks: &[Chunk]) -> Vec<Hash> {
    leaves(chunks).iter().map(|leaf| leaf.entry.leaf_hash()).collect()
}

/// Computes the frontier and the nodes of leaves.
fn tree_of(leaves: &[Hash]) -> (Frontier, Vec<Node>) {
    let (mut frontier, mut nodes) = (Frontier::default(), Vec::new());
    leaves.iter().for_each(|leaf| add_leaf(&mut frontier, *leaf, &mut nodes));
    (frontier, nodes)
}

/// Prepares a tenant whose first event is sealed, and the batch of its second.
async fn prepared(blank: Blank) -> (Fresh, Lease, SealBatch) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let (lease, position) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    assert_eq!((position.cursor, position.version), (LogSeq::ORIGIN, SEAL.version()));
    assert_eq!(position.digest, RollingDigest::default());
    let sealed = seal(&fresh.store, &lease, FIRST_TREE, Frontier::default(), LogSeq::ORIGIN, &[10]).await;
    append_all(&fresh.store, &tenant(), &[input("t", 1, "i")]).await;
    let (frontier, after) = (&sealed[0].grown.frontier, sealed[0].last);
    let view = fresh.store.view().await.expect("a view");
    let next = growth(&*view, &tenant(), FIRST_TREE, frontier, after, 10).await.expect("an event");
    (fresh, lease, next)
}

/// Commits a batch that must be refused with this category and these words, and change nothing.
async fn is_refused(fresh: &Fresh, lease: &Lease, from: LogSeq, batch: &SealBatch, category: Category, words: &str) {
    let before = state(fresh, &lease.scope.tenant).await;
    let refused = commit_growth(&fresh.store, lease, from, batch).await.expect_err(words);
    assert_eq!(refused.category, category, "{refused}");
    assert!(refused.message.contains(words), "{refused}");
    assert_eq!(state(fresh, &lease.scope.tenant).await, before, "nothing changed");
}

async fn cursor(fresh: &Fresh, tenant: &TenantId) -> LogSeq {
    state(fresh, tenant).await.cursor
}

pub async fn a_tree_grows_only_from_its_head(blank: Blank) {
    let (fresh, lease, next) = prepared(blank).await;
    let at = cursor(&fresh, &tenant()).await;
    let differs = "root_differs: the tree of default is not the one that this batch grew from";
    let mut wrong = next.clone();
    wrong.from.root[7] ^= 1;
    is_refused(&fresh, &lease, at, &wrong, Category::Conflict, differs).await;
    wrong.from = TreeHead { size: next.from.size + 1, ..next.from };
    is_refused(&fresh, &lease, at, &wrong, Category::Conflict, differs).await;
    // As if there were no tree yet, and the tree of another number.
    wrong.from = head_of(&Frontier::default());
    is_refused(&fresh, &lease, at, &wrong, Category::Conflict, differs).await;
    is_refused(&fresh, &lease, at, &SealBatch { tree: 2, ..wrong }, Category::Conflict, differs).await;
    is_refused(&fresh, &lease, at, &SealBatch { tree: 2, ..next.clone() }, Category::Conflict, differs).await;
    // A row that is there already, behind the end of the tree.
    fresh.raw("UPDATE dg_seal_chunk SET first_index = 1").await;
    is_refused(&fresh, &lease, at, &next, Category::Conflict, "tree_damaged: default has leaves or nodes behind").await;
    fresh.raw("UPDATE dg_seal_chunk SET first_index = 0").await;
    // Rewound by hand: the writer has another tree in memory.
    fresh.raw("UPDATE dg_seal SET size = 0").await;
    is_refused(&fresh, &lease, at, &next, Category::Conflict, differs).await;
    fresh.raw("UPDATE dg_seal SET size = 1").await;
    fresh.raw("UPDATE dg_seal SET state = 'closed'").await;
    is_refused(&fresh, &lease, at, &next, Category::Conflict, differs).await;
    fresh.raw("UPDATE dg_seal SET state = 'open'").await;
    commit_growth(&fresh.store, &lease, at, &next).await.expect("the head is that of the batch");
    let after = state(&fresh, &tenant()).await;
    assert_eq!((after.trees[0].head, after.cursor), (next.head(), next.last));
}

pub async fn a_first_batch_begins_a_tree_only_where_there_is_none(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let (lease, _) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    let view = fresh.store.view().await.expect("a view");
    let first = growth(&*view, &tenant(), FIRST_TREE, &Frontier::default(), LogSeq::ORIGIN, 10).await.expect("one");
    let mut late = first.clone();
    late.from.size = 1;
    is_refused(&fresh, &lease, LogSeq::ORIGIN, &late, Category::Conflict, "root_differs").await;
    commit_growth(&fresh.store, &lease, LogSeq::ORIGIN, &first).await.expect("a commit");
    let trees = view.seal_trees(&tenant()).await.expect("trees");
    let [tree] = trees.as_slice() else { panic!("{trees:?}") };
    assert_eq!((tree.tree, tree.origin.as_str(), tree.state), (FIRST_TREE, "test.local/default", TreeState::Open));
    assert_eq!((tree.head, tree.last, tree.noted), (first.head(), first.last, 0));
    assert_eq!(tree.memory().as_ref(), Some(&first.grown.frontier));
    assert!(tree.sealed_since.ends_with('Z'), "{tree:?}");
}

pub async fn a_stale_writer_of_a_tree_is_fenced(blank: Blank) {
    let (fresh, lease, next) = prepared(blank).await;
    let at = cursor(&fresh, &tenant()).await;
    let (later, _) = acquire(&fresh.store, &lease.scope, &lease.owner).await;
    is_refused(&fresh, &lease, at, &next, Category::Fenced, "").await;
    // Also when the tree has grown meanwhile, so that nothing of its batch fits any more.
    commit_growth(&fresh.store, &later, at, &next).await.expect("the present owner");
    is_refused(&fresh, &lease, at, &next, Category::Fenced, "").await;
    is_refused(&fresh, &later, at, &next, Category::Fenced, "").await;
}

pub async fn a_pause_fences_a_sealer(blank: Blank) {
    let (fresh, lease, next) = prepared(blank).await;
    let at = cursor(&fresh, &tenant()).await;
    let row = fresh.store.pause_scope(&lease.scope, "an audit", "ann").await.expect("paused");
    assert_eq!(row.scope, lease.scope);
    is_refused(&fresh, &lease, at, &next, Category::Fenced, "").await;
    let view = fresh.store.view().await.expect("a view");
    acquire(&fresh.store, &Scope::new(&tenant(), catalogue::PRECEDENT_INDEX), &lease.owner).await;
    let rows = view.scopes(Some(&tenant())).await.expect("scopes");
    let names: Vec<&str> = rows.iter().map(|row| row.scope.projection).collect();
    assert_eq!(names, ["precedent_index", "seal"], "the seal is last");
    assert_eq!(rows[1].paused.as_ref().map(|paused| paused.reason.as_str()), Some("an audit"));
    fresh.store.resume_scope(&lease.scope).await.expect("goes on");
    let (lease, position) = acquire(&fresh.store, &lease.scope, &lease.owner).await;
    assert_eq!(position.cursor, at);
    commit_growth(&fresh.store, &lease, at, &next).await.expect("goes on");
}

pub async fn a_batch_without_events_moves_the_cursor_alone(blank: Blank) {
    let (fresh, lease, next) = prepared(blank).await;
    let before = state(&fresh, &tenant()).await;
    let (frontier, to) = (before.trees[0].memory().expect("sound"), LogSeq(before.cursor.0 + 1));
    let grown = decisiongraph_projections::seal::chunk::grow(frontier, []);
    let none = SealBatch { grown, last: to, ..next };
    commit_growth(&fresh.store, &lease, before.cursor, &none).await.expect("a commit");
    assert_eq!(state(&fresh, &tenant()).await, State { cursor: to, ..before });
}

/// Batches of several tenants wait at the same time, and may share a transaction.
pub async fn trees_that_grow_at_once_do_not_take_one_another_along(blank: Blank) {
    const TENANTS: usize = 8;
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    let mut works = Vec::new();
    for index in 0..TENANTS {
        let tenant = named(&format!("t{index}"));
        append_all(&fresh.store, &tenant, &whole_trace("t")).await;
        let (lease, _) = acquire(&fresh.store, &scope(&tenant), &owner("n")).await;
        let batch = growth(&*view, &tenant, FIRST_TREE, &Frontier::default(), LogSeq::ORIGIN, 2).await;
        let batch = batch.expect("events");
        commit_growth(&fresh.store, &lease, LogSeq::ORIGIN, &batch).await.expect("a commit");
        let next = growth(&*view, &tenant, FIRST_TREE, &batch.grown.frontier, batch.last, 10).await.expect("events");
        works.push((lease, batch.last, next));
    }
    assert_eq!(fresh.raw("UPDATE dg_seal SET size = 3 WHERE tenant_id = 't5'").await, 1);
    let commits = works.iter().cloned().map(|(lease, from, next)| {
        let store = fresh.store.clone();
        tokio::spawn(async move { commit_growth(&store, &lease, from, &next).await })
    });
    let commits: Vec<_> = commits.collect();
    for (index, commit) in commits.into_iter().enumerate() {
        let (lease, from, next) = &works[index];
        let answer = commit.await.expect("no panic");
        assert_eq!(answer.err().map(|error| error.category), (index == 5).then_some(Category::Conflict), "{index}");
        let state = state(&fresh, &lease.scope.tenant).await;
        assert_eq!(state.cursor, if index == 5 { *from } else { next.last }, "{index}");
        assert_eq!(state.chunks.len(), if index == 5 { 1 } else { 2 }, "{index}");
    }
}

pub async fn leaves_nodes_and_heads_read_back(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &seeded(7, 700)).await;
    let (lease, _) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    let batches = seal(&fresh.store, &lease, FIRST_TREE, Frontier::default(), LogSeq::ORIGIN, &[100, 300, 7]).await;
    let view = fresh.store.snapshot().await.expect("a snapshot");
    let chunks: Vec<Chunk> = batches.iter().flat_map(|batch| batch.grown.chunks.clone()).collect();
    let nodes: Vec<Node> = batches.iter().flat_map(|batch| batch.grown.nodes.clone()).collect();
    assert_eq!(nodes.len(), 2);
    let of = tenant();
    assert_eq!(view.seal_chunks(&of, FIRST_TREE, 0, 1_000).await.expect("chunks"), chunks);
    assert_eq!(view.seal_nodes(&of, FIRST_TREE, 1, 0..9).await.expect("nodes"), nodes);
    assert_eq!(view.seal_nodes(&of, FIRST_TREE, 1, 1..2).await.expect("nodes"), nodes[1..]);
    assert_eq!(view.seal_nodes(&of, FIRST_TREE, 2, 0..9).await.expect("none"), []);
    for (index, position) in positions.iter().enumerate() {
        let index = index as u64;
        let found = view.seal_chunks(&of, FIRST_TREE, index, 1).await.expect("a chunk");
        assert!(found[0].first_index <= index && index < found[0].end(), "{index}: {:?}", found[0].first_index);
        let at = view.seal_chunk_at(&of, FIRST_TREE, *position).await.expect("an answer").expect("a chunk");
        assert_eq!(at, found[0]);
        let leaf = at.leaves().expect("sound")[(index - at.first_index) as usize];
        assert_eq!((leaf.index, leaf.log_seq), (index, *position));
        assert!(leaf.salts == salts_at(*position));
    }
    assert_eq!(view.seal_chunks(&of, FIRST_TREE, positions.len() as u64, 9).await.expect("none"), []);
    assert_eq!(view.seal_chunk_at(&of, FIRST_TREE, LogSeq(0)).await.expect("none"), None);
    assert_eq!(view.seal_chunks(&of, FIRST_TREE, 0, 2).await.expect("a page"), chunks[..2]);
    assert_eq!(view.seal_chunks(&of, 2, 0, 9).await.expect("another tree"), []);
    assert_eq!(view.seal_chunks(&named("b"), FIRST_TREE, 0, 9).await.expect("another tenant"), []);
    // A gap: the next chunk that there is.
    let gap = format!("DELETE FROM dg_seal_chunk WHERE first_index = {}", chunks[1].first_index);
    assert_eq!(fresh.raw(&gap).await, 1);
    let view = fresh.store.view().await.expect("a view");
    let found = view.seal_chunks(&of, FIRST_TREE, chunks[1].first_index + 1, 1).await.expect("a chunk");
    assert_eq!(found, chunks[2..3]);
    // Heads, by tenant.
    for id in ["a", "z"] {
        fresh.store.begin_seal(&named(id), id).await.expect("a tree");
    }
    let heads = async |after: Option<&str>, limit| {
        let heads = view.seal_heads(after.map(named).as_ref(), limit).await.expect("heads");
        heads.into_iter().map(|tree| (tree.tenant.as_str().to_owned(), tree.head.size)).collect::<Vec<_>>()
    };
    let expected = [("a", 0), ("default", 700), ("z", 0)].map(|(id, size)| (id.to_owned(), size));
    assert_eq!(heads(None, 10).await, expected);
    assert_eq!(heads(Some("a"), 1).await, expected[1..2]);
    assert_eq!(heads(Some("z"), 1).await, []);
}

pub async fn a_tree_that_was_begun_has_its_origin(blank: Blank) {
    let fresh = blank.migrated().await;
    let begun = fresh.store.begin_seal(&tenant(), "chosen.example/log").await.expect("a tree");
    assert_eq!(begun.head, TreeHead { size: 0, root: empty_root() });
    assert_eq!((begun.last, begun.memory()), (LogSeq::ORIGIN, Some(Frontier::default())));
    let again = fresh.store.begin_seal(&tenant(), "other").await.expect_err("there is one");
    assert_eq!((again.category, again.message.as_str()), (Category::Conflict, "default has a tree already"));
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let (lease, _) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    seal(&fresh.store, &lease, FIRST_TREE, Frontier::default(), LogSeq::ORIGIN, &[3]).await;
    let trees = fresh.store.view().await.expect("a view").seal_trees(&tenant()).await.expect("trees");
    assert_eq!((trees.len(), trees[0].origin.as_str(), trees[0].head.size), (1, "chosen.example/log", 5));
    assert_eq!(trees[0].sealed_since, begun.sealed_since);
}

/// Returns SQL that sets the time of the notes of this size, in milliseconds since 1970.
fn noted_at(blank: Blank, size: u64, ms: u64) -> String {
    match blank {
        #[cfg(feature = "sqlite")]
        Blank::Sqlite => format!("UPDATE dg_seal_note SET signed_at_ms = {ms} WHERE size = {size}"),
        #[cfg(feature = "throwaway-postgres")]
        Blank::Postgres => format!(
            "UPDATE dg_seal_note SET signed_at = timestamptz 'epoch' + {ms} * interval '1 millisecond' WHERE size = {size}"
        ),
    }
}

pub async fn notes_are_stored_once_and_thinned_to_the_last_of_each_hour(blank: Blank) {
    let fresh = blank.migrated().await;
    fresh.store.begin_seal(&tenant(), "o").await.expect("a tree");
    let note = |kind: NoteKind, size: u64| NewSealNote {
        tenant: tenant(),
        tree: FIRST_TREE,
        kind,
        size,
        note: format!("{} {size}\n\n— ü", kind.as_str()),
    };
    let (checkpoint, statement) = (NoteKind::Checkpoint, NoteKind::Statement);
    let first = [note(checkpoint, 1), note(statement, 1), note(checkpoint, 2), note(NoteKind::Rotation, 2)];
    fresh.store.add_seal_notes(&first).await.expect("stored");
    // One that is there, one with another text, one that is new.
    let again =
        [note(checkpoint, 2), NewSealNote { note: "other".to_owned(), ..note(checkpoint, 2) }, note(checkpoint, 3)];
    fresh.store.add_seal_notes(&again).await.expect("stored");
    fresh.store.add_seal_notes(&[]).await.expect("nothing to do");
    let view = fresh.store.view().await.expect("a view");
    let list =
        async |kind, before, limit| view.seal_notes(&tenant(), FIRST_TREE, kind, before, limit).await.expect("notes");
    let all = list(None, None, 10).await;
    let texts: Vec<(NoteKind, u64)> = all.iter().map(|note| (note.kind, note.size)).collect();
    let rotation = NoteKind::Rotation;
    assert_eq!(
        texts,
        [(checkpoint, 3), (checkpoint, 2), (rotation, 2), (checkpoint, 2), (statement, 1), (checkpoint, 1)]
    );
    assert!(all.windows(2).all(|pair| pair[0].number > pair[1].number), "a later one is greater");
    assert_eq!((all[5].note.as_str(), all[1].note.as_str(), all[0].tree), ("checkpoint 1\n\n— ü", "other", FIRST_TREE));
    assert!(all[0].noted_at.ends_with('Z'), "{:?}", all[0]);
    assert_eq!(list(Some(rotation), None, 10).await, all[2..3]);
    assert_eq!(list(None, Some(all[2].number), 2).await, all[3..5]);
    assert_eq!(view.seal_notes(&tenant(), 2, None, None, 9).await.expect("another tree"), []);
    assert_eq!(view.seal_trees(&tenant()).await.expect("trees")[0].noted, 3);

    // Ten checkpoints three days ago, 20 minutes apart from the beginning of an hour; others of this very hour.
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let hour = (now / 3_600_000 - 72) * 3_600_000;
    let old: Vec<NewSealNote> = (100..110).map(|size| note(checkpoint, size)).collect();
    let (others, recent) =
        ([note(statement, 104), note(rotation, 104)], [note(checkpoint, 200), note(checkpoint, 201)]);
    for notes in [&old[..], &others, &recent] {
        fresh.store.add_seal_notes(notes).await.expect("stored");
    }
    let elsewhere = NewSealNote { tenant: named("b"), ..note(checkpoint, 100) };
    fresh.store.add_seal_notes(&[elsewhere]).await.expect("stored");
    for (place, size) in (100..110).enumerate() {
        fresh.raw(&noted_at(blank, size, hour + place as u64 * 1_200_000)).await;
    }
    let before = list(None, None, 100).await;
    assert_eq!(fresh.store.thin_seal_notes(&tenant()).await, Ok(6));
    let kept = list(None, None, 100).await;
    let gone: Vec<(NoteKind, u64)> =
        before.iter().filter(|note| !kept.contains(note)).map(|note| (note.kind, note.size)).collect();
    // Hours of three: the last of each stays, and of the hour that has one.
    assert_eq!(gone, [107, 106, 104, 103, 101, 100].map(|size| (checkpoint, size)));
    assert_eq!(fresh.store.thin_seal_notes(&tenant()).await, Ok(0));
    assert_eq!(view.seal_notes(&named("b"), FIRST_TREE, None, None, 9).await.expect("notes").len(), 1);
}

/// Returns SQL that sets a time of recording, and that time in microseconds.
fn recorded(blank: Blank) -> (&'static str, i64) {
    match blank {
        #[cfg(feature = "sqlite")]
        Blank::Sqlite => ("UPDATE dg_event_log SET recorded_at_ms = 1767323045678", 1_767_323_045_678_000),
        #[cfg(feature = "throwaway-postgres")]
        Blank::Postgres => {
            ("UPDATE dg_event_log SET recorded_at = '2026-01-02T03:04:05.678901Z'", 1_767_323_045_678_901)
        }
    }
}

pub async fn events_are_read_with_all_that_is_sealed(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = seeded(9, 60);
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    append_all(&fresh.store, &named("other"), &whole_trace("t")).await;
    let (sql, recorded_at_us) = recorded(blank);
    fresh.raw(sql).await;
    let view = fresh.store.view().await.expect("a view");
    let read = async |limit| {
        let events = view.logged_events(&tenant(), LogSeq::ORIGIN, END, limit).await.expect("events");
        same_for_a_tree(&*view, LogSeq::ORIGIN, limit, &events).await;
        events
    };
    let logged = read(PageLimit::rows(1_000)).await;
    assert_eq!(logged.len(), events.len());
    for ((logged, event), log_seq) in logged.iter().zip(&events).zip(&positions) {
        let e = event.envelope();
        let expected = LoggedEvent {
            log_seq: *log_seq,
            recorded_at_us,
            tenant_id: "default".to_owned(),
            event_id: e.event_id.clone(),
            trace_id: e.trace_id.clone(),
            trace_seq: e.trace_seq,
            event_type: e.event_type.clone(),
            occurred_at: e.occurred_at.clone(),
            producer_id: e.source.producer_id.clone(),
            source_system: e.source.system.clone(),
            source_subsystem: e.source.subsystem.clone(),
            actor_type: e.actor.actor_type.clone(),
            actor_id: e.actor.actor_id.clone(),
            idempotency_key: e.idempotency_key.clone(),
            correlation_id: e.correlation_id.clone(),
            causation_event_id: e.causation_event_id.clone(),
            schema_version: e.schema_version,
            tags: r#"["a","ü"]"#.to_owned(),
            payload: event.payload().to_owned(),
            payload_hash: event.payload_hash().to_owned(),
            event_key: Uuid::from_bytes(RowKey::of(&e.event_id).0),
            trace_key: Uuid::from_bytes(RowKey::of(&e.trace_id).0),
            idempotency_uid: Uuid::from_bytes(RowKey::of_parts(&[&e.source.producer_id, &e.idempotency_key]).0),
        };
        assert_eq!(*logged, expected);
    }
    // Null and empty are two values, in each of the columns that may be null.
    for column in ["source_subsystem", "correlation_id", "causation_event_id"] {
        for (value, expected) in [("NULL", None), ("''", Some("")), ("'x'", Some("x"))] {
            fresh.raw(&format!("UPDATE dg_event_log SET {column} = {value} WHERE log_seq = {}", positions[0])).await;
            for limit in [PageLimit::rows(1), PageLimit::of(1, 1)] {
                let event = &read(limit).await[0];
                let found = match column {
                    "source_subsystem" => &event.source_subsystem,
                    "correlation_id" => &event.correlation_id,
                    _ => &event.causation_event_id,
                };
                assert_eq!(found.as_deref(), expected, "{column}");
            }
        }
    }
}

/// Checks that a tree grows by the same page.
async fn same_for_a_tree(view: &dyn ReadView, after: LogSeq, limit: PageLimit, events: &[LoggedEvent]) {
    let page = view.unsealed_events(&tenant(), after, END, limit).await.expect("a page");
    let found = page.events().map(|(at, envelope, payload)| (at, envelope.to_vec(), payload));
    let expected = events.iter().map(|event| (event.log_seq, event.envelope().encoded(), event.payload.as_str()));
    assert!(found.eq(expected), "from {after} on, {limit:?}");
    assert_eq!((page.len(), page.last()), (events.len(), events.last().map(|event| event.log_seq)));
}

pub async fn pages_of_sealed_columns_have_two_limits(blank: Blank) {
    let fresh = blank.migrated().await;
    let facts = format!(r#"[{{"x":"{}"}}]"#, "x".repeat(20_000));
    let source = r#"{"system":"s","object_type":"o","object_id":"1"}"#;
    let large = format!(r#"{{"input_id":"i","source":{source},"facts":{facts}}}"#);
    let events = [
        started("t"),
        input("t", 1, "a"),
        input("t", 2, "b"),
        input("t", 3, "c"),
        event("t", 4, "InputObserved", &large),
        finished("t", 5, "success"),
    ];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    let view = fresh.store.view().await.expect("a view");
    let page = async |after, limit| view.logged_events(&tenant(), after, END, limit).await;
    let all = page(LogSeq::ORIGIN, PageLimit::rows(100)).await.expect("events");
    assert_eq!(all.len(), 6);
    // Any limits give the same events, at least one per page.
    for (rows, bytes) in [(1, usize::MAX), (2, 3_000), (100, 1), (100, 1_000), (4, 8_000), (3, 5_000_000)] {
        let (mut paged, mut after) = (Vec::new(), LogSeq::ORIGIN);
        loop {
            let found = page(after, PageLimit::of(rows, bytes)).await.expect("events");
            same_for_a_tree(&*view, after, PageLimit::of(rows, bytes), &found).await;
            let Some(last) = found.last() else { break };
            let sum: usize = found.iter().map(LoggedEvent::bytes).sum();
            assert!(found.len() <= rows && (sum <= bytes || found.len() == 1), "{rows}, {bytes}: {sum}");
            after = last.log_seq;
            paged.extend(found);
        }
        assert_eq!(paged, all, "{rows}, {bytes}");
    }
    let bounded = view.logged_events(&tenant(), positions[0], positions[2], PageLimit::rows(100)).await;
    assert_eq!(bounded.expect("events"), all[1..3]);
    // An event that is too large ends its page, and is named when it is the next one.
    for bytes_max in [10_000, usize::MAX] {
        let limit = PageLimit { rows_max: 3, bytes_max, event_bytes_max: 10_000 };
        let found = page(positions[1], limit).await.expect("events");
        assert_eq!(found, all[2..4]);
        let refused = page(positions[3], limit).await.expect_err("too large");
        assert_eq!(refused.category, Category::Storage);
        let named = format!("the event at log_seq {} has {} bytes", positions[4], all[4].bytes());
        assert!(refused.message.contains(&named), "{refused}");
    }
}

/// Returns SQL that damages nodes, and a look-up column of the log.
fn damage(blank: Blank) -> &'static [&'static str] {
    match blank {
        #[cfg(feature = "sqlite")]
        Blank::Sqlite => &[
            "UPDATE dg_seal_node SET hash = x'00' WHERE node_index = 0",
            "UPDATE dg_event_log SET recorded_at_ms = 9223372036854775807, trace_key = x'00' WHERE log_seq = 1",
        ],
        #[cfg(feature = "throwaway-postgres")]
        Blank::Postgres => &[
            "UPDATE dg_seal_node SET hash = '\\x00' WHERE node_index = 0",
            "UPDATE dg_event_log SET recorded_at = 'infinity', trace_key = '00000000-0000-0000-0000-000000000000' WHERE log_seq = 1",
        ],
    }
}

pub async fn damaged_rows_fail_no_list(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &seeded(7, 600)).await;
    let (lease, _) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    seal(&fresh.store, &lease, FIRST_TREE, Frontier::default(), LogSeq::ORIGIN, &[1_000]).await;
    for statement in damage(blank) {
        assert_eq!(fresh.raw(statement).await, 1, "{statement}");
    }
    fresh.raw("UPDATE dg_seal_chunk SET events = -9223372036854775807 WHERE first_index = 256").await;
    let view = fresh.store.view().await.expect("a view");
    let nodes = view.seal_nodes(&tenant(), FIRST_TREE, 1, 0..9).await.expect("nodes");
    assert_eq!(nodes.iter().map(|node| node.index).collect::<Vec<_>>(), [1]);
    let chunks = view.seal_chunks(&tenant(), FIRST_TREE, 0, 9).await.expect("chunks");
    assert_eq!(chunks.iter().map(|chunk| chunk.first_index).collect::<Vec<_>>(), [0, 512]);
    let events = view.logged_events(&tenant(), LogSeq::ORIGIN, END, PageLimit::rows(2)).await.expect("events");
    assert_eq!((events.len(), events[0].trace_key), (2, Uuid::nil()));
    assert!(events[0].recorded_at_us > i64::MAX - 1_000_000, "{}", events[0].recorded_at_us);
    fresh.raw("UPDATE dg_seal SET size = 599").await;
    let trees = view.seal_trees(&tenant()).await.expect("trees");
    assert_eq!(trees[0].memory(), None, "size and frontier contradict one another");
}

/// Prepares a tenant of 600 sealed events, and the fork at this leaf.
async fn to_fork(fresh: &Fresh, keep: u64) -> (Lease, SealFork) {
    let positions = append_all(&fresh.store, &tenant(), &seeded(7, 600)).await;
    let (lease, _) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
    let sealed = seal(&fresh.store, &lease, FIRST_TREE, Frontier::default(), LogSeq::ORIGIN, &[100, 300]).await;
    let before = state(fresh, &tenant()).await;
    let kept = &hashes(&before.chunks)[..keep as usize];
    let fork = SealFork {
        old: FIRST_TREE,
        old_head: sealed.last().expect("a batch").head(),
        keep,
        frontier: tree_of(kept).0,
        last: keep.checked_sub(1).map_or(LogSeq::ORIGIN, |last| positions[last as usize]),
        origin: "test.local/2".to_owned(),
        note: "the fork".to_owned(),
    };
    (lease, fork)
}

pub async fn a_fork_takes_the_common_leaves_over(blank: Blank) {
    for keep in [0, 1, 99, 100, 256, 300, 512, 600] {
        let fresh = blank.migrated().await;
        let (lease, fork) = to_fork(&fresh, keep).await;
        let before = state(&fresh, &tenant()).await;
        let next = fresh.store.fork_seal(&lease, &fork).await.expect("a fork");
        assert_eq!((next.tree, next.origin.as_str(), next.state), (2, "test.local/2", TreeState::Open));
        assert_eq!(
            (next.head, next.last, next.memory()),
            (head_of(&fork.frontier), fork.last, Some(fork.frontier.clone()))
        );
        let after = state(&fresh, &tenant()).await;
        assert_eq!((after.cursor, &after.trees[1]), (fork.last, &next));
        assert_eq!(after.trees[0], SealTree { state: TreeState::Closed, ..before.trees[0].clone() });
        let kept = leaves(&after.chunks);
        assert!(kept == leaves(&before.chunks)[..keep as usize], "{keep}: the same leaves, with their salts");
        assert_eq!(after.nodes, before.nodes[..(keep / CHUNK_EVENTS) as usize]);
        let [note] = after.notes.as_slice() else { panic!("{:?}", after.notes) };
        assert_eq!((note.kind, note.size, note.note.as_str()), (NoteKind::Fork, keep, "the fork"));
        let view = fresh.store.view().await.expect("a view");
        let old = view.seal_chunks(&tenant(), FIRST_TREE, 0, 10_000).await.expect("chunks");
        assert_eq!(old, before.chunks, "the old tree stays as it is");
        assert_eq!(view.seal_heads(None, 9).await.expect("heads"), [next], "the newest of the tenant");
        // It goes on from there, under the same lease, and ends as a tree of all events.
        seal(&fresh.store, &lease, 2, fork.frontier.clone(), fork.last, &[1_000]).await;
        let grown = state(&fresh, &tenant()).await;
        assert_eq!((grown.trees[1].head, grown.nodes), (before.trees[0].head, before.nodes), "the same salts here");
    }
}

pub async fn a_fork_is_fenced_and_needs_the_head_and_every_leaf(blank: Blank) {
    let fresh = blank.migrated().await;
    let (old, fork) = to_fork(&fresh, 300).await;
    let (lease, _) = acquire(&fresh.store, &old.scope, &old.owner).await;
    let before = state(&fresh, &tenant()).await;
    let refused = async |lease: &Lease, fork: &SealFork| {
        let refused = fresh.store.fork_seal(lease, fork).await.expect_err("refused");
        assert_eq!(state(&fresh, &tenant()).await, before, "nothing changed");
        (refused.category, refused.message)
    };
    assert_eq!(refused(&old, &fork).await.0, Category::Fenced);
    let other = SealFork { old_head: TreeHead { size: 599, ..fork.old_head }, ..fork.clone() };
    let told = (Category::Conflict, "tree 1 of default is not open with this head".to_owned());
    assert_eq!(refused(&lease, &other).await, told);
    let beyond = SealFork { keep: 601, frontier: tree_of(&[[7; 32]; 601]).0, ..fork.clone() };
    assert_eq!(refused(&lease, &beyond).await.0, Category::Conflict);
    assert_eq!(refused(&lease, &SealFork { keep: 299, ..fork.clone() }).await.0, Category::Internal);
    fresh.store.fork_seal(&lease, &fork).await.expect("a fork");
    let again = fresh.store.fork_seal(&lease, &fork).await.expect_err("it is closed");
    assert_eq!((again.category, again.message), told);
}

pub async fn a_repair_replaces_nodes_and_frontier(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, fork) = to_fork(&fresh, 600).await;
    let before = state(&fresh, &tenant()).await;
    let (frontier, nodes) = tree_of(&hashes(&before.chunks));
    assert_eq!((&frontier, &nodes), (&fork.frontier, &before.nodes));
    fresh.raw("DELETE FROM dg_seal_node WHERE node_index = 0").await;
    fresh.raw("UPDATE dg_seal SET frontier = root").await;
    assert_eq!(state(&fresh, &tenant()).await.trees[0].memory(), None);
    fresh.store.mend_seal(&lease, FIRST_TREE, &nodes, &frontier).await.expect("mended");
    assert_eq!(state(&fresh, &tenant()).await, before);
    fresh.store.mend_seal(&lease, FIRST_TREE, &nodes, &frontier).await.expect("again");
    assert_eq!(state(&fresh, &tenant()).await, before);
    let small = tree_of(&[[7; 32]; 3]).0;
    let other = fresh.store.mend_seal(&lease, FIRST_TREE, &[], &small).await.expect_err("another size");
    assert_eq!((other.category, other.message.as_str()), (Category::Conflict, "tree 1 of default has another size"));
    let (_later, _) = acquire(&fresh.store, &lease.scope, &lease.owner).await;
    let fenced = fresh.store.mend_seal(&lease, FIRST_TREE, &[], &frontier).await.expect_err("fenced");
    assert_eq!(fenced.category, Category::Fenced);
    assert_eq!(state(&fresh, &tenant()).await, before, "nothing changed");
}

pub async fn any_split_seals_the_same_leaves_and_root(blank: Blank) {
    const EVENTS: usize = 620;
    let mut random = Random(21);
    let mut first: Option<(Vec<Leaf>, Vec<Node>)> = None;
    // One log: positions and times are part of a leaf. A tenant's tree is taken away after each round.
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &seeded(7, EVENTS)).await;
    for round in 0..6 {
        let sizes: Vec<usize> = match round {
            0 => vec![usize::from(u16::MAX)],
            1 => vec![1, 255, 1, 256],
            2 => vec![64],
            _ => (0..9).map(|_| 1 + random.below(90)).collect(),
        };
        // Each batch may have another owner.
        let (mut frontier, mut after) = (Frontier::default(), LogSeq::ORIGIN);
        for size in sizes.iter().cycle() {
            let (lease, position) = acquire(&fresh.store, &scope(&tenant()), &owner("n")).await;
            assert_eq!(position.cursor, after);
            let view = fresh.store.view().await.expect("a view");
            let Some(batch) = growth(&*view, &tenant(), FIRST_TREE, &frontier, after, *size).await else { break };
            commit_growth(&fresh.store, &lease, after, &batch).await.expect("a commit");
            after = batch.last;
            // From the row, as a later owner would.
            let trees = view.seal_trees(&tenant()).await.expect("trees");
            assert_eq!(trees[0].last, after);
            frontier = trees[0].memory().expect("sound");
        }
        let State { trees, chunks, nodes, .. } = state(&fresh, &tenant()).await;
        let leaves = leaves(&chunks);
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.entry.leaf_hash()).collect();
        assert_eq!(trees[0].head, TreeHead { size: EVENTS as u64, root: root_of(&hashes) }, "batches of {sizes:?}");
        assert_eq!((tree_of(&hashes).1, nodes.len()), (nodes.clone(), 2), "batches of {sizes:?}");
        let view = fresh.store.view().await.expect("a view");
        let logged = view.logged_events(&tenant(), LogSeq::ORIGIN, END, PageLimit::rows(EVENTS)).await;
        for (leaf, event) in leaves.iter().zip(logged.expect("events")) {
            let salts = salts_at(event.log_seq);
            assert!(leaf.entry == Entry::of(&event.envelope(), &event.payload, &salts), "{}", event.log_seq);
        }
        match &first {
            None => first = Some((leaves, nodes)),
            Some(first) => assert!(*first == (leaves, nodes), "batches of {sizes:?}"),
        }
        for table in ["dg_seal", "dg_seal_chunk", "dg_seal_node"] {
            fresh.raw(&format!("DELETE FROM {table}")).await;
        }
        fresh.raw(&back_to_the_origin(blank)).await;
    }
    // No batch of the seal left rows for others.
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.checkpoints(&scope(&tenant()), 9).await.expect("none"), []);
}

/// Returns SQL that moves the cursor of the scope `seal` to the log's origin.
fn back_to_the_origin(blank: Blank) -> String {
    let column = match blank {
        #[cfg(feature = "sqlite")]
        Blank::Sqlite => "cursor",
        #[cfg(feature = "throwaway-postgres")]
        Blank::Postgres => "cursor_seq",
    };
    format!("UPDATE dg_scope SET {column} = 0 WHERE projection = 'seal'")
}
