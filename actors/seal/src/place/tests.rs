//! Tests of the places: files cut at every byte, writers at once, objects that exist.

use super::*;
use crate::key::SigningKey;
use crate::{SigningKeys, rotation};
use decisiongraph_projections::seal::texts::{Fork, TreeHead};
use std::fs;
use std::path::Path;

const ORIGIN: &str = "log.example/a";
const AT: &str = "2026-12-01T09:30:00Z";

fn keys() -> SigningKeys {
    SigningKeys::of(SigningKey::of_seed("log.example", &[1; 32]).expect("a key"))
}

fn head(size: u64, root: u8) -> TreeHead {
    TreeHead { size, root: [root; 32] }
}

fn checkpoint(size: u64) -> Remembered {
    keys().checkpoint(ORIGIN, head(size, size as u8), false, AT).expect("signed")
}

fn forked(size: u64) -> Remembered {
    keys().checkpoint(ORIGIN, head(size, 0xFF), false, AT).expect("signed")
}

fn places(directory: &Path) -> [Box<dyn Place>; 3] {
    let make = |name: &str| {
        let path = directory.join(name);
        fs::create_dir(&path).expect("made");
        path
    };
    [
        Box::new(Folder::journal(&directory.join("journal"))),
        Box::new(Folder::new(&make("folder"))),
        Box::new(Objects::new(&make("objects"))),
    ]
}

/// Lists what a place gives.
fn all(place: &dyn Place) -> Result<Vec<Remembered>, PlaceError> {
    let mut notes = Vec::new();
    place.each(ORIGIN, &mut |note| notes.push(note))?;
    Ok(notes)
}

#[test]
fn every_place_keeps_what_it_was_given_and_keeps_it_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let fork = Fork {
        old_origin: ORIGIN.to_owned(),
        last_signed: head(9, 9),
        new_origin: format!("{ORIGIN}/2"),
        common: head(5, 5),
        reason: "a test".to_owned(),
    };
    let [old, new] = keys().fork(&fork, false, AT).expect("signed");
    let key = |seed| SigningKey::of_seed("log.example", &[seed; 32]).expect("a key");
    let rotated = rotation(ORIGIN, head(9, 9), &key(1), &key(2), AT).expect("signed");
    for place in places(directory.path()) {
        let name = place.name();
        assert_eq!(place.newest(ORIGIN), Ok(None), "{name}");
        let notes = [checkpoint(2), checkpoint(9), rotated.clone(), old.clone()];
        for note in notes.iter().chain(&notes) {
            place.put(note).expect("put");
        }
        assert_eq!(place.newest(ORIGIN).expect("answers").and_then(|note| note.head()), Some(head(9, 9)), "{name}");
        let all = all(&*place).expect("answers");
        assert_eq!(all.len(), notes.len(), "{name}: {all:?}");
        assert!(notes.iter().all(|note| all.iter().any(|other| other.note == note.note)), "{name}");
        // A new origin is remembered by its fork, until it has a checkpoint.
        place.put(&new).expect("put");
        let newest = place.newest("log.example/a/2").expect("answers").expect("is there");
        assert_eq!((newest.size, newest.root), (5, Some([5; 32])), "{name}");
        assert_eq!(place.newest("log.example/b"), Ok(None), "{name}");
        assert!(place.notices().is_empty(), "{name}");
    }
}

#[test]
fn no_place_takes_two_roots_for_one_size() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in places(directory.path()) {
        (1..300).for_each(|size| place.put(&checkpoint(size)).expect("put"));
        for size in [1, 150, 299] {
            assert!(matches!(place.put(&forked(size)), Err(PlaceError::Differs(_))), "{} {size}", place.name());
        }
        assert_eq!(place.newest(ORIGIN).expect("answers").expect("is there").size, 299);
        assert_eq!(all(&*place).expect("answers").len(), 299);
    }
}

#[test]
fn a_file_that_is_cut_anywhere_loses_its_last_line_alone_and_grows_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = Folder::new(directory.path());
    (1..=3).for_each(|size| folder.put(&checkpoint(size)).expect("put"));
    let path = directory.path().join("a.jsonl");
    let whole = fs::read(&path).expect("reads");
    for length in 0..=whole.len() {
        let cut = &whole[..length];
        fs::write(&path, cut).expect("writes");
        folder.notices();
        let lines = cut.iter().filter(|byte| **byte == b'\n').count() as u64;
        let newest = folder.newest(ORIGIN).expect("answers").map(|note| note.size).unwrap_or_default();
        assert_eq!(newest, lines, "cut at {length}");
        let torn = !cut.is_empty() && !cut.ends_with(b"\n");
        assert_eq!(folder.notices().len(), usize::from(torn), "cut at {length}");
        folder.put(&checkpoint(4)).expect("put");
        assert!(fs::read(&path).expect("reads").starts_with(cut), "nothing is removed");
        let all = all(&folder).expect("answers");
        assert_eq!(all.len() as u64, lines + 1, "cut at {length}");
        assert_eq!(all.last(), Some(&checkpoint(4)), "cut at {length}");
    }
}

#[test]
fn a_line_that_was_damaged_later_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = Folder::new(directory.path());
    (1..=3).for_each(|size| folder.put(&checkpoint(size)).expect("put"));
    let path = directory.path().join("a.jsonl");
    let whole = fs::read_to_string(&path).expect("reads");
    let first_line = whole.lines().next().expect("a line").to_owned();
    let size = first_line.replace("\"size\":1", "\"size\":7");
    for wrong in ["", "{}", &first_line[..40], &first_line[1..], &size] {
        fs::write(&path, whole.replacen(&first_line, wrong, 1)).expect("writes");
        assert!(matches!(all(&folder), Err(PlaceError::Damaged(_))), "{wrong}");
        assert!(matches!(folder.put(&checkpoint(4)), Err(PlaceError::Damaged(_))), "{wrong}");
    }
}

#[test]
fn a_long_file_is_read_from_its_end_and_page_by_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = Folder::new(directory.path());
    (1..=600).for_each(|size| folder.put(&checkpoint(size)).expect("put"));
    let whole = fs::read(directory.path().join("a.jsonl")).expect("reads");
    assert!(whole.len() > 3 * 64 * 1024, "several tails");
    for size in [1, 2, 300, 599, 600] {
        let found = folder.checkpoint(ORIGIN, size).expect("answers").expect("is there");
        assert_eq!(found, checkpoint(size));
        let from = folder.position_of(ORIGIN, size).expect("answers");
        let (mut sizes, mut next) = (Vec::new(), from);
        loop {
            let page = folder.page(ORIGIN, next, 1_000).expect("answers");
            if page.next == next {
                break;
            }
            (sizes, next) = ([sizes, page.notes.iter().map(|note| note.size).collect()].concat(), page.next);
        }
        assert!(sizes.contains(&size) && sizes.ends_with(&[600]) && sizes.is_sorted(), "{size}: {sizes:?}");
        assert_eq!(next, whole.len() as u64);
    }
    assert_eq!(folder.checkpoint(ORIGIN, 601), Ok(None));
    assert_eq!(folder.newest(ORIGIN).expect("answers").expect("is there").size, 600);
}

/// The file of a tenant that signed for weeks. Its reading is compared with that of all its lines.
#[test]
fn a_file_of_200000_notes_is_given_note_by_note_and_its_newest_is_read_from_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.jsonl");
    let (folder, template) = (Folder::new(directory.path()), checkpoint(1));
    let mut text = String::new();
    for size in 1..=200_000_u64 {
        // Nobody checks a signature here: the facts of a note are those of its text.
        let note = template.note.replacen("\n1\n", &format!("\n{size}\n"), 1);
        text.push_str(&Remembered { size, note, ..template.clone() }.line());
    }
    fs::write(&path, &text).expect("written");
    let before = std::time::Instant::now();
    let newest = folder.newest(ORIGIN).expect("answers").expect("a checkpoint");
    let at_end = before.elapsed();
    let before = std::time::Instant::now();
    let mut lines = text.lines();
    folder
        .each(ORIGIN, &mut |note| assert_eq!(Some(note.line().trim_end()), lines.next(), "as the lines are, in order"))
        .expect("answers");
    let whole = before.elapsed();
    assert_eq!((lines.next(), newest.size), (None, 200_000));
    assert!(at_end * 20 < whole, "the newest in {at_end:?}, all in {whole:?}: it does not read the whole file");
    // Memory holds one page at a time, whatever the length of the file.
    let (mut from, mut most) = (0, 0);
    loop {
        let page = folder.page(ORIGIN, from, 64 * 1024).expect("answers");
        if page.next == from {
            break;
        }
        (most, from) = (most.max(page.next - from), page.next);
    }
    assert!(most <= 64 * 1024 && from == text.len() as u64, "{most}");
    // The file is cut within its last lines.
    for cut in 1..=700 {
        let left = &text.as_bytes()[..text.len() - cut];
        let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(left.len() as u64).expect("cut");
        let mut lines = left.rsplit(|byte| *byte == b'\n');
        let last = lines.nth(1).and_then(Remembered::parse).expect("a whole line");
        assert_eq!(folder.newest(ORIGIN), Ok(Some(last)), "{cut}");
    }
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_given_like_its_whole_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.jsonl");
    let folder = Folder::new(directory.path());
    let text: String = [3, 7, 9].map(|size| checkpoint(size).line()).concat();
    for cut in 0..=text.len() {
        let left = &text.as_bytes()[..cut];
        fs::write(&path, left).expect("written");
        let mut given = Vec::new();
        folder.each(ORIGIN, &mut |note| given.push(note.line())).expect("answers");
        let whole = left.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        assert_eq!(given.concat().as_bytes(), &left[..whole], "{cut}");
        assert_eq!(all(&folder).expect("answers").len(), given.len());
        let is_torn = whole < cut;
        assert_eq!(!folder.notices().is_empty(), is_torn, "{cut}");
    }
}

#[test]
fn a_line_that_was_cut_off_is_said_by_every_reader_wherever_it_lies() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.jsonl");
    let folder = Folder::new(directory.path());
    let mut text: String = (1..=300).map(|size| checkpoint(size).line()).collect();
    let torn = text.len();
    text += "{\"at\":\"2026#torn\n";
    text.extend((301..=600).map(|size| checkpoint(size).line()));
    fs::write(&path, &text).expect("written");
    let said = vec![format!("{}: the line at byte {torn} was cut off and is ignored", path.display())];
    assert_eq!(all(&folder).expect("answers").len(), 600);
    assert_eq!(folder.notices(), said);
    // Page by page, whatever the size of a page.
    for bytes in [100, 1_000, 64 * 1024, 1024 * 1024] {
        let (mut next, mut notes) = (0, 0);
        loop {
            let page = folder.page(ORIGIN, next, bytes).expect("answers");
            notes += page.notes.len();
            if page.next == next {
                break;
            }
            next = page.next;
        }
        assert_eq!((notes, folder.notices()), (600, said.clone()), "{bytes}");
    }
    // A writer goes backwards over it.
    folder.put(&checkpoint(2)).expect("is there");
    assert_eq!(folder.notices(), said);
    fs::write(&path, &text[..torn + 10]).expect("written");
    folder.newest(ORIGIN).expect("answers").expect("is there");
    assert_eq!(folder.notices(), said);
}

#[test]
fn the_newest_of_an_origin_without_a_checkpoint_is_found_across_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = Folder::new(directory.path());
    let fork = Fork {
        old_origin: ORIGIN.to_owned(),
        last_signed: head(9, 9),
        new_origin: "log.example/b".to_owned(),
        common: head(5, 5),
        reason: "a test".to_owned(),
    };
    let [old, _] = keys().fork(&fork, false, AT).expect("signed");
    // The file of one name has the notes of two origins: the other one's are 200 KiB behind the fork note.
    let mut text = old.line();
    let other = |size| keys().checkpoint("log.two/a", head(size, 1), false, AT).expect("signed");
    text.extend((1..=1_000).map(|size| other(size).line()));
    fs::write(directory.path().join("a.jsonl"), &text).expect("written");
    assert!(text.len() > 3 * 64 * 1024);
    assert_eq!(folder.newest(ORIGIN), Ok(Some(old)));
    assert_eq!(folder.newest("log.three/a"), Ok(None));
    // A line that is longer than a page.
    let long = Fork { reason: "x".repeat(100_000), ..fork };
    if let Ok([long, _]) = keys().fork(&long, false, AT) {
        fs::write(directory.path().join("a.jsonl"), long.line() + &other(1).line()).expect("written");
        assert_eq!(folder.newest(ORIGIN), Ok(Some(long)));
    }
}

#[test]
fn a_place_that_is_not_mounted_does_not_look_empty() {
    let directory = tempfile::tempdir().expect("a directory");
    let gone = directory.path().join("gone");
    for place in [Box::new(Folder::new(&gone)) as Box<dyn Place>, Box::new(Objects::new(&gone))] {
        assert!(matches!(place.newest(ORIGIN), Err(PlaceError::Away(_))));
        assert!(matches!(place.put(&checkpoint(1)), Err(PlaceError::Away(_))));
    }
    assert!(!gone.exists());
    let journal = Folder::journal(&gone);
    assert_eq!(journal.newest(ORIGIN), Ok(None));
    journal.put(&checkpoint(1)).expect("put");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!((mode(&gone), mode(&gone.join("a.jsonl"))), (0o700, 0o600));
}

#[test]
fn an_object_that_a_crash_cut_off_is_left_and_the_next_name_is_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let objects = Objects::new(directory.path());
    objects.put(&checkpoint(1)).expect("put");
    let note = checkpoint(2);
    for length in 0..note.note.len() {
        let (torn, next) = (directory.path().join("a/2.checkpoint"), directory.path().join("a/2.1.checkpoint"));
        fs::write(&torn, &note.note[..note.note.floor_char_boundary(length)]).expect("writes");
        assert_eq!(objects.newest(ORIGIN).expect("answers").expect("is there").size, 1, "cut at {length}");
        assert_eq!(objects.notices().len(), 1);
        objects.put(&note).expect("put");
        assert_eq!(fs::read_to_string(&next).expect("reads"), note.note);
        assert_eq!(objects.newest(ORIGIN).expect("answers").expect("is there").size, 2);
        objects.notices();
        fs::remove_file(&next).expect("removes");
    }
}

#[test]
fn an_origin_that_would_leave_its_directory_is_refused() {
    for origin in ["a/..", "a/.hidden", "a/", "a", "a/..\\b"] {
        assert!(matches!(tag(origin), Err(PlaceError::Damaged(_))), "{origin}");
    }
    assert_eq!(tag("log.example/a/2").as_deref(), Ok("a~2"));
}

/// The other process of the next test.
#[test]
#[ignore = "started by another test"]
fn another_process_appends() {
    let Some(directory) = std::env::var_os("PLACE_TEST_DIRECTORY") else { return };
    let begin: u64 = std::env::var("PLACE_TEST_BEGIN").expect("given").parse().expect("a number");
    let folder = Folder::new(Path::new(&directory));
    (0..100).for_each(|round| folder.put(&checkpoint(begin + 2 * round)).expect("put"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the launcher of the store would bring a database below this crate")]
fn processes_that_append_at_once_lose_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = |begin: &str| {
        std::process::Command::new(std::env::current_exe().expect("this program"))
            .env_clear()
            .env("PLACE_TEST_DIRECTORY", directory.path())
            .env("PLACE_TEST_BEGIN", begin)
            .args(["--exact", "place::tests::another_process_appends", "--ignored"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts")
    };
    let both = ["1", "2"].map(start);
    for mut process in both {
        assert!(process.wait().expect("ends").success());
    }
    let folder = Folder::new(directory.path());
    let mut sizes: Vec<u64> = all(&folder).expect("answers").iter().map(|note| note.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, (1..=200).collect::<Vec<_>>());
    assert!(folder.notices().is_empty());
}
