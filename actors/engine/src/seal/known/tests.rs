//! Heads of several memories, notes of other keys, rotations, and logs with more heads than memory.

use super::*;
use crate::seal::memories::Kind;
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::texts::Erased;
use decisiongraph_seal::Place;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{SigningKeys, rotation};

const ORIGIN: &str = "log.example/7f1c";

fn key(seed: u8) -> SigningKey {
    SigningKey::of_seed("log.example", &[seed; 32]).expect("a key")
}

fn checkpoint(seed: u8, size: u64, root: u8) -> Remembered {
    let head = TreeHead { size, root: [root; 32] };
    SigningKeys::of(key(seed)).checkpoint(ORIGIN, head, false, "2026-11-29T10:00:00Z").expect("signed")
}

/// A place that gives these notes.
struct Given(Vec<Remembered>);

impl Place for Given {
    fn name(&self) -> String {
        "given".to_owned()
    }

    fn put(&self, _: &Remembered) -> std::result::Result<(), PlaceError> {
        Err(PlaceError::Away("it is read only".to_owned()))
    }

    fn newest(&self, _: &str) -> std::result::Result<Option<Remembered>, PlaceError> {
        Ok(self.0.last().cloned())
    }

    fn each(&self, _: &str, take: &mut dyn FnMut(Remembered)) -> std::result::Result<(), PlaceError> {
        self.0.iter().cloned().for_each(take);
        Ok(())
    }
}

struct Ground {
    view: Box<dyn ReadView>,
    _directory: tempfile::TempDir,
}

/// Reads of an empty database, whose notes nobody asks for.
async fn ground() -> Ground {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("a.db").display());
    let url = decisiongraph_store::DatabaseUrl::parse(&url).expect("a URL");
    let store = decisiongraph_store::open(&url, decisiongraph_store::StoreOptions::default()).await.expect("opens");
    store.migrate().await.expect("a schema");
    Ground { view: store.view().await.expect("a view"), _directory: directory }
}

async fn known_in(ground: &Ground, asked: &[(&str, Kind, &[Remembered])], seed: Option<u8>, heads_max: usize) -> Known {
    let tree = SealTree { origin: ORIGIN.to_owned(), ..crate::seal::tests::tree(0, 0) };
    let source =
        |(name, kind, notes): &(&str, Kind, &[Remembered])| Source::named(name, *kind, Arc::new(Given(notes.to_vec())));
    let keys = seed.map(|seed| key(seed).verifier(ORIGIN)).into_iter().collect();
    let sources = asked.iter().map(source).collect();
    Known::of(&*ground.view, &tree, sources, keys, Heads::new(1, heads_max)).await.expect("answers")
}

async fn asked(memories: &[(&str, Kind, &[Remembered])], seed: Option<u8>) -> Known {
    known_in(&ground().await, memories, seed, HEADS_MAX).await
}

/// Heads of a log are compared stretch by stretch: the same is said as of all at once, whatever fits in memory.
#[tokio::test]
async fn heads_are_compared_in_stretches_like_all_at_once() {
    let ground = ground().await;
    let journal: Vec<Remembered> = (1..=60).map(|size| checkpoint(1, size, size as u8)).collect();
    let mut place: Vec<Remembered> = journal.iter().filter(|note| note.size % 3 == 0).cloned().collect();
    place.extend([checkpoint(1, 41, 99), checkpoint(1, 57, 99)]);
    place.reverse();
    let memories = [("journal", Kind::Journal, &journal[..]), ("dir:/seals", Kind::Place, &place[..])];
    let roots = |wrong: u64| -> BTreeMap<u64, Hash> {
        (1..=50).map(|size| (size, [if size >= wrong { 200 } else { size as u8 }; 32])).collect()
    };
    for wrong in [1, 5, 30, 41, 47, 51] {
        let whole = known_in(&ground, &memories, Some(1), HEADS_MAX).await;
        let expected = whole.judge(&roots(wrong));
        assert!(expected.is_some(), "41 has two roots");
        for heads_max in [1, 4, 7, 100] {
            let mut known = known_in(&ground, &memories, Some(1), heads_max).await;
            assert_eq!((known.newest(), known.findings.total), (Some(60), 0));
            let roots = roots(wrong);
            for size in (0..=50).step_by(6) {
                known.extend(&*ground.view, size).await.expect("reads on");
                let here: BTreeMap<u64, Hash> =
                    known.sizes(0, size).into_iter().filter_map(|size| Some((size, *roots.get(&size)?))).collect();
                known.compare(&here, size);
                assert!(known.heads.list().len() <= 4 * heads_max + 8, "{}", known.heads.list().len());
            }
            known.extend(&*ground.view, 50).await.expect("reads on");
            assert_eq!(known.judge(&roots), expected, "{heads_max} of {wrong}");
            assert_eq!(known.compared(&roots), whole.compared(&roots), "{heads_max} of {wrong}");
            assert_eq!(known.shrunk(50).map(|found| found.message), whole.shrunk(50).map(|found| found.message));
            known.seek(&*ground.view, 57).await.expect("goes there");
            assert_eq!(known.heads().filter(|head| head.size == 57).count(), 2, "{heads_max}");
        }
    }
    let mut known = known_in(&ground, &memories, Some(1), 4).await;
    let mut all = Vec::new();
    loop {
        let heads = known.next(&*ground.view).await.expect("reads on");
        if heads.is_empty() {
            break;
        }
        all.extend(heads.iter().map(|head| head.size));
    }
    let mut sizes: Vec<u64> = (1..=60).chain([41, 57]).collect();
    sizes.sort_unstable();
    assert_eq!(all, sizes);
}

#[tokio::test]
async fn the_smallest_head_that_differs_is_named_by_the_memory_that_is_hardest_to_reach() {
    let heads = [checkpoint(1, 60, 6), checkpoint(1, 98, 9)];
    let known = asked(&[("journal", Kind::Journal, &heads), ("dir:/seals", Kind::Place, &heads)], Some(1)).await;
    assert!(known.findings.is_empty() && known.shrunk(98).is_none());
    assert_eq!((known.sizes(0, 98), known.sizes(60, 97)), (vec![60, 98], vec![]));
    let roots = BTreeMap::from([(60, [6; 32]), (98, [8; 32])]);
    assert_eq!(known.compared(&roots), 2);
    let (root, other) = (base64(&[8; 32]), base64(&[9; 32]));
    let line = format!(
        "checkpoint_differs: at 98 events the tree has {root}, the checkpoint signed at 2026-11-29T10:00:00Z has \
         {other} (dir:/seals); the one at 60 fits: the first change is in leaves 60 to 97"
    );
    assert_eq!(known.judge(&roots).expect("a finding").message, line);
    let well = BTreeMap::from([(60, [6; 32]), (98, [9; 32])]);
    assert_eq!(known.judge(&well), None);
    let shrunk = known.shrunk(60).expect("a finding").message;
    let line =
        "tree_shrunk: 60 events are sealed here, a checkpoint for 98 was signed at 2026-11-29T10:00:00Z (journal)";
    assert_eq!(shrunk, line);
}

#[tokio::test]
async fn a_note_of_another_key_and_a_changed_note_do_not_count() {
    let changed = |note: Remembered| Remembered { note: note.note.replacen("\n98\n", "\n99\n", 1), ..note };
    let notes = [checkpoint(1, 60, 6), checkpoint(2, 97, 9), changed(checkpoint(1, 98, 9))];
    let known = asked(&[("dir:/seals", Kind::Place, &notes)], Some(1)).await;
    assert_eq!(known.newest(), Some(60));
    let found: Vec<&str> = known.findings.named().iter().map(|found| found.message.as_str()).collect();
    let missing = "signature_missing: the checkpoint for 97 (dir:/seals) is not signed by a known key";
    let invalid = "signature_invalid: the checkpoint for 98 (dir:/seals): the signature is wrong: the note was \
                   changed after it was signed";
    assert_eq!(found, [missing, invalid]);
}

#[tokio::test]
async fn a_rotation_makes_the_older_key_known_up_to_its_size() {
    let head = TreeHead { size: 70, root: [7; 32] };
    let turn = rotation(ORIGIN, head, &key(1), &key(2), "2026-11-29T10:00:00Z").expect("signed");
    let notes = [checkpoint(1, 60, 6), turn, checkpoint(1, 80, 8), checkpoint(2, 98, 9)];
    let known = asked(&[("dir:/seals", Kind::Place, &notes)], Some(2)).await;
    assert_eq!(known.sizes(0, 98), [60, 98]);
    assert_eq!(known.findings.total, 1, "a replaced key signs no larger head: {:?}", known.findings);
    let without = asked(&[("dir:/seals", Kind::Place, &notes[..1])], Some(2)).await;
    assert_eq!(without.findings.total, 1, "no note told that the key was replaced");
}

#[tokio::test]
async fn the_note_of_an_erasure_is_signed_and_is_about_a_leaf_that_is_there() {
    let text = |index: u64| {
        let (origin, entry) = (ORIGIN.to_owned(), [7; 64]);
        let [by, time, reason] = ["ann", "2026-11-29T10:00:00Z", "a test"].map(str::to_owned);
        Erasure { origin, index, entry, erased: Erased::Payload, by, time, reason }.text()
    };
    let noted = |seed: u8, index: u64| {
        let text = text(index);
        let note = format!("{text}\n{}", key(seed).sign(ORIGIN, &text).expect("signed"));
        Remembered::of(&note, "2026-11-29T10:00:00Z").expect("a note").remove(0)
    };
    let (signed, of_another) = (noted(1, 6), noted(2, 7));
    let changed = Remembered { note: signed.note.replacen("a test", "a jest", 1), ..signed.clone() };
    // Both memories know it: it is recorded once.
    let memories = [
        ("journal", Kind::Journal, &[signed.clone(), of_another, changed][..]),
        ("dir:/seals", Kind::Place, &[signed]),
    ];
    let known = asked(&memories, Some(1)).await;
    let recorded = Recorded { entry: [7; 64], erased: Erased::Payload };
    assert_eq!(known.erasures, Erasures::from([(6, vec![recorded])]));
    let found: Vec<&str> = known.findings.named().iter().map(|found| found.message.as_str()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("signature_missing: the erasure for 7 (journal)"), "{found:?}");
    assert!(found[1].starts_with("signature_invalid: the erasure for 6 (journal)"), "{found:?}");
    assert_eq!(known.erased_beyond(7), None);
    let line = "tree_shrunk: 6 events are sealed here, an erasure of leaf 6 was signed";
    assert_eq!(known.erased_beyond(6).map(|found| found.message).as_deref(), Some(line));
}
