//! Everything that a log has signed, wherever it is remembered.

use super::{Ground, tenant};
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::Checkpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Signed heads: origin and size, with the root.
pub type Heads = BTreeMap<(String, u64), Hash>;

/// Reads the files of a place or of a journal: lines of JSON. A last line without its end is left out.
pub fn lines_of(folder: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return lines };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("reads")).into_owned();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match serde_json::from_str(line) {
                Ok(line) => lines.push(line),
                // A torn line that the next writer ended.
                Err(error) => assert!(!line.starts_with('{') || !line.ends_with("}\n"), "{}: {error}", path.display()),
            }
        }
    }
    lines
}

fn checkpoints(notes: impl IntoIterator<Item = String>) -> Vec<Checkpoint> {
    let read = |note: String| Checkpoint::parse(Note::parse(&note).expect("a note").text).ok();
    notes.into_iter().filter_map(read).collect()
}

/// Returns the heads in the files of a folder.
pub fn heads_in(folder: &Path) -> Vec<Checkpoint> {
    checkpoints(lines_of(folder).into_iter().filter_map(|line| Some(line["note"].as_str()?.to_owned())))
}

/// Returns the heads among the notes of the database.
pub async fn heads_of_database(ground: &Ground) -> Vec<Checkpoint> {
    let store = ground.store().await;
    let view = store.view().await.expect("a view");
    let mut found = Vec::new();
    for tree in view.seal_trees(&tenant()).await.expect("trees") {
        let notes = view.seal_notes(&tenant(), tree.tree, None, None, 10_000).await.expect("notes");
        found.extend(checkpoints(notes.into_iter().map(|note| note.note)));
    }
    found
}

/// Collects every signed head. Two roots for one size, anywhere, fail the test.
pub async fn all_heads(ground: &Ground, folders: &[&str]) -> Heads {
    let mut all = heads_of_database(ground).await;
    folders.iter().for_each(|folder| all.extend(heads_in(&ground.cli.path(folder))));
    let mut heads = Heads::new();
    for Checkpoint { origin, head } in all {
        let known = *heads.entry((origin.clone(), head.size)).or_insert(head.root);
        assert_eq!(known, head.root, "two signed roots for {} events of {origin}", head.size);
    }
    heads
}
