//! A node seals its log: what is appended becomes leaves, and its checkpoints are signed in time. A restart and another
//! node go on. A seal that is paused or stopped is in nothing's way.

#[path = "node_seal/faults.rs"]
mod faults;
mod node_support;
mod support;

use decisiongraph_engine::seal::{SealSettings, SealWord, Sealing, seal_now};
use decisiongraph_projections::seal::note::{Note, Signed};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_projections::seal::{leaf::Entry, tree};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_protocol::{AdminReply, Asker, HealthRequest, HealthWord, ScopeFilter};
use decisiongraph_rpc::Answers as _;
use decisiongraph_runtime::node::{Node, NodeParts, NodeSettings};
use decisiongraph_runtime::tenants::{Phase, place_of};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::signatures::Signatures;
use decisiongraph_seal::{Folder, Memory, Place, Remembered, SigningKeys};
use decisiongraph_store::{NoteKind, PageLimit, Scope, SealTree, Store};
use node_support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Db;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "log.example";

fn key() -> SigningKey {
    SigningKey::of_seed(NAME, &[7; 32]).expect("a key")
}

/// Sealing with a journal and one place in this directory.
fn sealing(directory: &Path, checkpoint: Duration) -> Arc<Sealing> {
    sealing_with(
        directory,
        SealSettings { checkpoint, statement: Duration::from_millis(50), ..SealSettings::default() },
    )
}

fn sealing_with(directory: &Path, settings: SealSettings) -> Arc<Sealing> {
    let place = directory.join("place");
    std::fs::create_dir_all(&place).expect("a directory");
    let memory = Memory {
        journal: Folder::journal(&directory.join("journal")),
        places: vec![Arc::new(Folder::new(&place)) as Arc<dyn Place>],
    };
    Arc::new(Sealing::new(NAME.to_owned(), SigningKeys::of(key()), memory, settings))
}

async fn sealed_node(store: &Arc<dyn Store>, name: &str, sealing: &Arc<Sealing>) -> Node {
    let settings = NodeSettings { sealing: Some(Arc::clone(sealing)), ..settings(store, name, 4, bounds()) };
    Node::start(NodeParts::new(settings)).await.expect("the node starts")
}

async fn newest(store: &Arc<dyn Store>, tenant: &TenantId) -> Option<SealTree> {
    store.view().await.ok()?.seal_trees(tenant).await.ok()?.pop()
}

/// Waits until a checkpoint covers every event of the tenant, and every place has it.
async fn sealed(store: &Arc<dyn Store>, sealing: &Sealing, tenant: &TenantId) -> SealTree {
    let mut seen = None;
    until("every event is under a checkpoint", SOON, async || {
        let Ok(view) = store.view().await else { return false };
        let Ok(last) = view.last_log_seq(tenant, None).await else { return false };
        seen = newest(store, tenant).await;
        let Some(tree) = &seen else { return false };
        tree.last == last && tree.noted == tree.head.size && sealing.unpublished(&tree.origin).is_empty()
    })
    .await;
    seen.expect("a tree")
}

/// Computes the leaves of a tenant anew, out of its log and the salts of its chunks.
async fn leaves(store: &Arc<dyn Store>, tree: &SealTree) -> Vec<[u8; 32]> {
    let view = store.view().await.expect("a view");
    let chunks = view.seal_chunks(&tree.tenant, tree.tree, 0, 10_000).await.expect("chunks");
    let events = view.logged_events(&tree.tenant, LogSeq::ORIGIN, tree.last, PageLimit::rows(1_000_000)).await;
    let events = events.expect("events");
    let stored: Vec<_> = chunks.iter().flat_map(|chunk| chunk.leaves().expect("whole")).collect();
    assert_eq!(stored.len(), events.len());
    let of = |(leaf, event): (&decisiongraph_projections::seal::chunk::Leaf, &decisiongraph_store::LoggedEvent)| {
        let entry = Entry::of(&event.envelope(), &event.payload, &leaf.salts);
        assert!(entry == leaf.entry && leaf.log_seq == event.log_seq, "leaf {}", leaf.index);
        entry.leaf_hash()
    };
    stored.iter().zip(&events).map(of).collect()
}

/// Checks that a tree is what its log gives, and that its newest checkpoint in the database is signed and of its head.
async fn audited(store: &Arc<dyn Store>, tree: &SealTree) {
    let leaves = leaves(store, tree).await;
    assert_eq!(tree.head, TreeHead { size: leaves.len() as u64, root: tree::root_of(&leaves) });
    assert!(tree.memory().is_some());
    let view = store.view().await.expect("a view");
    let notes = view.seal_notes(&tree.tenant, tree.tree, Some(NoteKind::Checkpoint), None, 1).await.expect("notes");
    let note = Note::parse(&notes[0].note).expect("a note");
    assert_eq!(note.signed_by(&key().verifier(&tree.origin), &Signatures), Ok(Signed::Yes));
    assert_eq!(Checkpoint::parse(note.text).expect("a checkpoint").head, tree.head);
}

/// Heads that a place has of a log, in the order in which it got them.
fn heads(sealing: &Sealing, origin: &str) -> Vec<TreeHead> {
    let mut heads = Vec::new();
    let mut take = |note: Remembered| heads.extend(note.head().filter(|_| note.is_checkpoint()));
    sealing.memory.places[0].each(origin, &mut take).expect("notes");
    heads
}

fn phase(node: &Node, tenant: &TenantId) -> Option<Phase> {
    node.parts().tenants.cell(tenant).map(|cell| cell.live(place_of(SEAL)).phase)
}

async fn health(node: &Node) -> decisiongraph_protocol::HealthReply {
    let asker = Asker::here(None);
    let request = HealthRequest(ScopeFilter::default()).into();
    match node.answers().answer(Uuid::now_v7(), asker, request).await.expect("answers") {
        AdminReply::Health(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_sealed_signed_in_time_and_in_the_place() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_millis(300));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let node = sealed_node(&store, "seals", &sealing).await;
        settled(&node, 1, SOON).await;
        let first = sealed(&store, &sealing, &named(0)).await;
        audited(&store, &first).await;
        insist(&store, &named(0), &support::log(40, 4)).await;
        insist(&store, &named(1), &support::log(2, 0)).await;
        let appended = Instant::now();
        settled(&node, 2, SOON).await;
        let second = sealed(&store, &sealing, &named(0)).await;
        // One checkpoint interval, and the work behind it.
        assert!(appended.elapsed() < Duration::from_secs(10), "{:?}", appended.elapsed());
        audited(&store, &second).await;
        audited(&store, &sealed(&store, &sealing, &named(1)).await).await;
        assert_eq!((second.head.size, second.tree), (308, first.tree), "across a full chunk");
        let heads = heads(&sealing, &second.origin);
        assert!(heads.contains(&first.head) && heads.last() == Some(&second.head));
        assert!(heads.windows(2).all(|pair| pair[0].size < pair[1].size), "never twice, never smaller");
        let view = store.view().await.expect("a view");
        let statements = view.seal_notes(&named(0), 1, Some(NoteKind::Statement), None, 100).await.expect("notes");
        assert!(!statements.is_empty());
        let health = health(&node).await;
        assert_eq!(health.health, HealthWord::Ok, "{health:?}");
        node.stop().await;
        reckon(&store, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_and_signs_what_was_committed_before() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let never = sealing(directory.path(), Duration::from_secs(3_600));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let node = sealed_node(&store, "restarts", &never).await;
        until("everything is sealed", SOON, async || {
            newest(&store, &named(0)).await.is_some_and(|tree| tree.head.size == 28)
        })
        .await;
        node.kill().await;
        assert_eq!(newest(&store, &named(0)).await.expect("a tree").noted, 0);
        // Nothing is appended any more: no worker wakes, and the checkpoint is signed all the same.
        let soon = sealing(directory.path(), Duration::from_millis(200));
        let node = sealed_node(&store, "restarts", &soon).await;
        let first = sealed(&store, &soon, &named(0)).await;
        audited(&store, &first).await;
        insist(&store, &named(0), &support::log(4, 4)).await;
        let second = sealed(&store, &soon, &named(0)).await;
        assert_eq!(second.head.size, 56);
        audited(&store, &second).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signs_what_is_sealed_and_another_node_goes_on() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let one = sealing(&directory.path().join("one"), Duration::from_secs(3_600));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let node = sealed_node(&store, "one", &one).await;
        until("everything is sealed", SOON, async || {
            newest(&store, &named(0)).await.is_some_and(|tree| tree.head.size == 28)
        })
        .await;
        node.stop().await;
        let first = newest(&store, &named(0)).await.expect("a tree");
        assert_eq!(first.noted, 28, "signed by the stop");
        // Another node has a journal of its own, and the same place.
        let two = sealing(&directory.path().join("two"), Duration::from_millis(200));
        let place = |node: &str| directory.path().join(node).join("place");
        std::fs::remove_dir(place("two")).expect("empty");
        std::os::unix::fs::symlink(place("one"), place("two")).expect("made");
        let node = sealed_node(&store, "two", &two).await;
        insist(&store, &named(0), &support::log(4, 4)).await;
        let second = sealed(&store, &two, &named(0)).await;
        audited(&store, &second).await;
        assert_eq!((second.head.size, second.origin), (56, first.origin));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_seal_holds_neither_appends_nor_projections_and_resumes() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_millis(100));
        insist(&store, &named(0), &support::log(2, 0)).await;
        let scope = Scope::new(&named(0), SEAL);
        store.pause_scope(&scope, "a test", "a tester").await.expect("pauses");
        let node = sealed_node(&store, "paused", &sealing).await;
        settled(&node, 1, SOON).await;
        insist(&store, &named(0), &support::log(2, 2)).await;
        settled(&node, 1, SOON).await;
        until("the worker says so", SOON, async || phase(&node, &named(0)) == Some(Phase::Paused)).await;
        assert!(newest(&store, &named(0)).await.is_none(), "nothing is sealed");
        let refused = seal_now(&node.parts().engine, &named(0), Duration::from_millis(200)).await.expect_err("paused");
        assert!(refused.message.contains("is paused by a tester"), "{refused}");
        store.resume_scope(&scope).await.expect("resumes");
        if let Some(coordinator) = node.parts().tenants.cell(&named(0)).and_then(|cell| cell.coordinator()) {
            let _ = coordinator.cast(decisiongraph_runtime::tenants::CoordinatorMessage::Reconsider);
        }
        audited(&store, &sealed(&store, &sealing, &named(0)).await).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_behind_the_journal_stops_the_seal_and_nothing_else() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_millis(100));
        let origin = sealing.origin(&named(0));
        // A checkpoint that was signed before the database lost its end.
        let head = TreeHead { size: 98, root: [9; 32] };
        let ahead: Remembered =
            SigningKeys::of(key()).checkpoint(&origin, head, false, "2026-11-29T10:00:00Z").expect("signed");
        sealing.memory.journal.put(&ahead).expect("written");
        insist(&store, &named(0), &support::log(4, 0)).await;
        insist(&store, &named(1), &support::log(4, 0)).await;
        let node = sealed_node(&store, "shrunk", &sealing).await;
        settled(&node, 2, SOON).await;
        until("the worker failed", SOON, async || phase(&node, &named(0)) == Some(Phase::Failed)).await;
        insist(&store, &named(0), &support::log(4, 4)).await;
        settled(&node, 2, SOON).await;
        let found = sealing.stopped_by(&named(0)).expect("a finding");
        assert_eq!(found.word, SealWord::TreeShrunk);
        let line =
            "tree_shrunk: 0 events are sealed here, a checkpoint for 98 was signed at 2026-11-29T10:00:00Z (journal)";
        assert_eq!(found.message, line);
        assert!(newest(&store, &named(0)).await.is_none_or(|tree| tree.head.size == 0), "nothing was appended");
        let known = sealing.memory.journal.newest(&origin).expect("reads").expect("a head");
        assert_eq!(known.size, 98, "nothing was signed");
        audited(&store, &sealed(&store, &sealing, &named(1)).await).await;
        let health = health(&node).await;
        assert_eq!(health.health, HealthWord::Failed, "{health:?}");
        let told: Vec<_> = health.findings.iter().filter(|finding| finding.message == line).collect();
        assert_eq!(told.len(), 1, "{health:?}");
        assert!(told[0].subject == "t0/seal" && told[0].next.contains("seal fork"), "{told:?}");
        let refused = seal_now(&node.parts().engine, &named(0), SOON).await.expect_err("stopped");
        assert_eq!(refused.message, line);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_whose_size_was_changed_is_damaged_though_its_root_fits() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_millis(100));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let node = sealed_node(&store, "sizes", &sealing).await;
        let tree = sealed(&store, &sealing, &named(0)).await;
        node.stop().await;
        assert_eq!(db.tamper("UPDATE dg_seal SET size = 44").await, 1);
        let changed = newest(&store, &named(0)).await.expect("a tree");
        assert!(changed.memory().is_some() && changed.head.root == tree.head.root, "28 and 44 have as many hashes");
        let node = sealed_node(&store, "sizes", &sealing).await;
        insist(&store, &named(0), &support::log(2, 4)).await;
        settled(&node, 1, SOON).await;
        until("the worker failed", SOON, async || phase(&node, &named(0)) == Some(Phase::Failed)).await;
        let found = sealing.stopped_by(&named(0)).expect("a finding");
        assert_eq!(found.message, "tree_damaged: its leaves end at 28, and dg_seal says 44");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_event_is_found_by_the_scrubber_and_fails_health() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_millis(100));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let node = sealed_node(&store, "scrubs", &sealing).await;
        sealed(&store, &sealing, &named(0)).await;
        let edit = "UPDATE dg_event_log SET actor_id = 'someone' WHERE event_id = 'ev:1:3'";
        assert_eq!(db.tamper(edit).await, 1);
        until("the scrubber finds it", SOON, async || {
            let scrub = node.parts().board.seal.scrub.borrow().clone();
            scrub.findings.iter().any(|(_, finding)| finding.word == SealWord::EnvelopeDiffers)
        })
        .await;
        let health = health(&node).await;
        assert_eq!(health.health, HealthWord::Failed, "{health:?}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_alone_seals_to_the_mark_and_waits_for_its_places() {
    for db in Db::both().await {
        let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
        let sealing = sealing(directory.path(), Duration::from_secs(3_600));
        let engine = support::engine(&store, 4).with_sealing(Some(Arc::clone(&sealing)));
        let empty = seal_now(&engine, &named(0), SOON).await.expect("an empty log");
        assert_eq!((empty.head.size, empty.note), (0, None));
        insist(&store, &named(0), &support::log(4, 0)).await;
        let done = seal_now(&engine, &named(0), SOON).await.expect("sealed");
        assert_eq!(done.head.size, 28);
        let tree = sealed(&store, &sealing, &named(0)).await;
        audited(&store, &tree).await;
        assert_eq!(heads(&sealing, &tree.origin), [tree.head]);
        // The place goes away: the checkpoint is signed, and the caller is told.
        let (place, away) = (directory.path().join("place"), directory.path().join("away"));
        std::fs::rename(&place, &away).expect("moved away");
        insist(&store, &named(0), &support::log(2, 4)).await;
        let late = seal_now(&engine, &named(0), Duration::from_millis(300)).await.expect_err("late");
        assert!(late.message.contains("not in dir:"), "{late}");
        std::fs::rename(&away, &place).expect("moved back");
        let done = seal_now(&engine, &named(0), SOON).await.expect("published");
        assert_eq!((done.head.size, heads(&sealing, &tree.origin)), (42, vec![tree.head, done.head]));
        // A catch-up of a command seals, too.
        insist(&store, &support::tenant(), &support::log(2, 0)).await;
        support::run(&engine, decisiongraph_store::RunMode::CatchUp).await;
        audited(&store, &sealed(&store, &sealing, &support::tenant()).await).await;
        for projection in catalogue::ALL {
            let row = store.view().await.expect("a view").scope(&Scope::new(&support::tenant(), projection)).await;
            assert!(row.expect("an answer").expect("a row").position.cursor > LogSeq::ORIGIN);
        }
    }
}
