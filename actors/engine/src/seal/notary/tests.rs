//! Tests of the notary on a real store, with real folders.

use super::*;
use crate::seal::{SealSettings, SealWord};
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{Folder, Memory, Place, SigningKeys};
use decisiongraph_store::{DatabaseUrl, FIRST_TREE, NoteKind, StoreOptions, TreeState, open};
use std::path::{Path, PathBuf};

const ORIGIN: &str = "log.example/a";

struct Desks {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Desks {
    async fn new() -> Desks {
        let directory = tempfile::tempdir().expect("a directory");
        let url = DatabaseUrl::Sqlite(directory.path().join("log.db"));
        let store = open(&url, StoreOptions::default()).await.expect("opens");
        store.migrate().await.expect("migrates");
        store.begin_seal(&TenantId::default(), ORIGIN).await.expect("a tree");
        Desks { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sealing of a process that has just started, with places of these names.
    fn sealing(&self, places: &[&str], keys: SigningKeys, overlap: Duration) -> Arc<Sealing> {
        let place = |name: &&str| Arc::new(Folder::new(&self.path(name))) as Arc<dyn Place>;
        let memory =
            Memory { journal: Folder::journal(&self.path("journal")), places: places.iter().map(place).collect() };
        let settings = SealSettings { overlap, ..SealSettings::default() };
        Arc::new(Sealing::new("log.example".to_owned(), keys, memory, settings))
    }

    fn started(&self, places: &[&str]) -> Arc<Sealing> {
        self.sealing(places, SigningKeys::of(key(1)), Duration::ZERO)
    }

    async fn noted(&self) -> Vec<u64> {
        let view = self.store.view().await.expect("a view");
        let kind = Some(NoteKind::Checkpoint);
        let notes = view.seal_notes(&TenantId::default(), FIRST_TREE, kind, None, 100).await.expect("notes");
        notes.iter().map(|note| note.size).rev().collect()
    }

    /// Signs whatever there is, without a wait.
    async fn sign(&self, sealing: &Arc<Sealing>) -> Result<Vec<SignedNow>> {
        let mut signed = Vec::new();
        for log in sealing.unsigned() {
            signed.extend(sign(&*self.store, sealing, &log).await?);
        }
        Ok(signed)
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::of_seed("log.example", &[seed; 32]).expect("a key")
}

fn frontier(size: u64) -> Frontier {
    let mut frontier = Frontier::default();
    (0..size).for_each(|leaf| frontier.append([leaf as u8; 32]));
    frontier
}

fn head(size: u64) -> TreeHead {
    TreeHead { size, root: frontier(size).root() }
}

fn grew(sealing: &Sealing, size: u64) {
    sealing.grew(&TenantId::default(), FIRST_TREE, ORIGIN, head(size), LogSeq(size as i64));
}

fn tree(size: u64, noted: u64) -> SealTree {
    SealTree {
        tenant: TenantId::default(),
        tree: FIRST_TREE,
        origin: ORIGIN.to_owned(),
        head: head(size),
        last: LogSeq(size as i64),
        frontier: frontier(size).hashes().to_vec(),
        state: TreeState::Open,
        sealed_since: String::new(),
        noted,
    }
}

fn sizes(directory: &Path) -> Vec<u64> {
    let mut notes = Vec::new();
    Folder::new(directory).each(ORIGIN, &mut |note| notes.push(note)).expect("answers");
    notes.iter().filter(|note| note.is_checkpoint()).map(|note| note.size).collect()
}

fn signatures(note: &str) -> usize {
    Note::parse(note).expect("a note");
    note.lines().filter(|line| line.starts_with("— ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_away_stops_no_signature_and_gets_every_note_later() {
    let desks = Desks::new().await;
    std::fs::create_dir(desks.path("good")).expect("made");
    let sealing = desks.started(&["away", "good"]);
    for size in [3, 5] {
        grew(&sealing, size);
        assert_eq!(desks.sign(&sealing).await.expect("signs").len(), 1);
        publish(&*desks.store, &sealing).await;
    }
    assert_eq!(sizes(&desks.path("journal")), [3, 5]);
    assert_eq!(sizes(&desks.path("good")), [3, 5]);
    assert_eq!(desks.noted().await, [3, 5]);
    let health = sealing.place_health();
    let away = health.iter().find(|place| place.place.ends_with("away")).expect("is named");
    assert!(away.fault.as_ref().is_some_and(|fault| fault.contains("no such directory")) && !away.lag.is_zero());
    assert!(health.iter().all(|place| place == away || (place.fault.is_none() && place.lag.is_zero())), "{health:?}");
    assert_eq!(sealing.unpublished(ORIGIN).len(), 1);
    assert!(sealing.next_due(Instant::now()).is_some_and(|wait| !wait.is_zero()), "a pause, and not a loop");
    std::fs::create_dir(desks.path("away")).expect("made");
    while !sealing.unpublished(ORIGIN).is_empty() {
        tokio::time::sleep(sealing.next_due(Instant::now()).expect("waits")).await;
        publish(&*desks.store, &sealing).await;
    }
    assert_eq!(sizes(&desks.path("away")), [3, 5]);
    assert_eq!(sealing.next_due(Instant::now()), None);
    let places = sealing.places_of(ORIGIN);
    assert!(places.iter().all(|place| place.newest.as_ref().is_some_and(|head| head.size == 5)), "{places:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_head_of_the_journal_is_noted_and_published_and_not_signed_again() {
    let desks = Desks::new().await;
    std::fs::create_dir(desks.path("place")).expect("made");
    let before = desks.started(&["place"]);
    grew(&before, 4);
    let first = desks.sign(&before).await.expect("signs");
    assert!(first[0].is_new);
    // It died before the note was in the database or in the place.
    drop(before);
    let after = desks.started(&["place"]);
    after.took(&tree(4, 0));
    let again = desks.sign(&after).await.expect("signs");
    assert_eq!((again[0].is_new, &again[0].note), (false, &first[0].note));
    publish(&*desks.store, &after).await;
    assert_eq!((sizes(&desks.path("journal")), sizes(&desks.path("place"))), (vec![4], vec![4]));
    assert_eq!(desks.noted().await, [4]);
    // Noted, and not yet in the place: it is brought there without a signature.
    drop(after);
    std::fs::remove_dir_all(desks.path("place")).expect("removes");
    std::fs::create_dir(desks.path("place")).expect("made");
    let third = desks.started(&["place"]);
    third.took(&tree(4, 4));
    assert!(third.unsigned().is_empty());
    publish(&*desks.store, &third).await;
    assert_eq!(sizes(&desks.path("place")), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_that_contradicts_the_journal() {
    let desks = Desks::new().await;
    let sealing = desks.started(&[]);
    grew(&sealing, 5);
    desks.sign(&sealing).await.expect("signs");
    let journal = || std::fs::read(desks.path("journal/a.jsonl")).expect("reads");
    let before = journal();
    // Fewer events, as after a fail-over; and another root for the same number.
    let other = TreeHead { size: 5, root: [9; 32] };
    for (head, word) in [(head(3), SealWord::TreeShrunk), (other, SealWord::CheckpointDiffers)] {
        let restarted = desks.started(&[]);
        restarted.grew(&TenantId::default(), FIRST_TREE, ORIGIN, head, LogSeq(3));
        let error = desks.sign(&restarted).await.expect_err("refused");
        assert_eq!(SealFinding::of_error(&error).map(|finding| finding.word), Some(word), "{}", error.message);
        assert!(error.message.contains("(journal)"), "{}", error.message);
        assert_eq!(restarted.stopped_by(&TenantId::default()).map(|finding| finding.word), Some(word));
        assert!(restarted.unsigned().is_empty());
        assert!(journal() == before, "nothing was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_with_another_root_stops_its_tenant() {
    let desks = Desks::new().await;
    std::fs::create_dir(desks.path("place")).expect("made");
    let forked = SigningKeys::of(key(1)).checkpoint(ORIGIN, TreeHead { size: 5, root: [9; 32] }, false, &now());
    Folder::new(&desks.path("place")).put(&forked.expect("signed")).expect("put");
    let sealing = desks.started(&["place"]);
    grew(&sealing, 5);
    desks.sign(&sealing).await.expect("signs");
    publish(&*desks.store, &sealing).await;
    let finding = sealing.stopped_by(&TenantId::default()).expect("stopped");
    assert!(finding.word == SealWord::CheckpointDiffers && finding.message.contains("dir:"), "{finding}");
    assert_eq!(sizes(&desks.path("place")), [5]);
    assert!(sealing.next_due(Instant::now()).is_none_or(|wait| !wait.is_zero()), "a pause, and not a loop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_written_holds_the_signature_back() {
    let desks = Desks::new().await;
    // It can be read, is empty, and cannot be written: the disk behind it is gone.
    std::fs::create_dir(desks.path("journal")).expect("made");
    std::os::unix::fs::symlink(desks.path("gone/a.jsonl"), desks.path("journal/a.jsonl")).expect("made");
    let sealing = desks.started(&[]);
    grew(&sealing, 2);
    let error = desks.sign(&sealing).await.expect_err("refused");
    assert!(error.transient && error.message.contains("journal"), "{}", error.message);
    assert_eq!(sealing.not_signed().len(), 1);
    assert_eq!(sealing.unsigned().len(), 1, "it is tried again");
    std::fs::create_dir(desks.path("gone")).expect("made");
    assert_eq!(desks.sign(&sealing).await.expect("signs").len(), 1);
    assert!(sealing.not_signed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_keys_sign_until_the_overlap_is_over() {
    let desks = Desks::new().await;
    let rotated = || SigningKeys::rotated(key(2), key(1), &now());
    let sealing = desks.sealing(&[], rotated(), Duration::from_secs(3_600));
    grew(&sealing, 1);
    let note = &desks.sign(&sealing).await.expect("signs")[0].note;
    assert_eq!(signatures(note), 2);
    let sealing = desks.sealing(&[], rotated(), Duration::ZERO);
    grew(&sealing, 2);
    let note = &desks.sign(&sealing).await.expect("signs")[0].note;
    assert_eq!(signatures(note), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_due_after_its_time_or_its_events_or_when_it_is_wanted() {
    let desks = Desks::new().await;
    let sealing = desks.started(&[]);
    let (now, tenant) = (Instant::now(), TenantId::default());
    assert_eq!((sealing.due(now).len(), sealing.next_due(now)), (0, None));
    grew(&sealing, 7);
    assert!(sealing.due(Instant::now()).is_empty());
    let left = sealing.next_due(Instant::now()).expect("waits");
    assert!(left > Duration::from_secs(8) && left <= Duration::from_secs(10), "{left:?}");
    assert_eq!(sealing.due(now + Duration::from_secs(11)).len(), 1);
    sealing.hurry(&tenant);
    assert_eq!(sealing.due(Instant::now()).len(), 1);
    assert_eq!(sign_due(&*desks.store, &sealing).await, 1);
    assert!(sealing.due(Instant::now() + Duration::from_secs(60)).is_empty(), "nothing grew");
    grew(&sealing, 7 + sealing.settings.checkpoint_events);
    assert_eq!(sealing.due(Instant::now()).len(), 1);
}
