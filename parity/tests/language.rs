//! The language of comments and pages: how a doc comment begins, "per" instead of a distributive article, and the width
//! of a line.

use std::path::{Path, PathBuf};

/// Words that no doc comment begins with: it begins with the noun or the verb of the thing.
const NOT_FIRST: [&str; 11] = ["What", "Whether", "Where", "Who", "Whose", "Of", "Its", "How", "Which", "When", "Why"];
/// Counted things. An article between them and a thing of [`OVER`] stands for "per".
const COUNTED: [&str; 14] = [
    "bytes",
    "rows",
    "row",
    "events",
    "lines",
    "files",
    "file",
    "sessions",
    "queries",
    "requests",
    "look-ups",
    "seconds",
    "connections",
    "actors",
];
/// Things that a count is distributed over.
const OVER: [&str; 14] = [
    "event",
    "batch",
    "scope",
    "tenant",
    "projection",
    "node",
    "line",
    "command",
    "backend",
    "trace",
    "row",
    "page",
    "statement",
    "migration",
];
/// Longest line, in characters.
const WIDTH_MAX: usize = 120;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below the folder with this extension; built things are left out.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    ["projections", "store", "actors", "parity"]
        .iter()
        .for_each(|top| files(&repository().join(top), "rs", &mut found));
    assert!(found.len() > 300, "{}", found.len());
    found
}

/// The comment lines of a source with their numbers: the text behind the slashes, and whether it is documentation.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        doc.map(|rest| (at + 1, rest, true)).or_else(|| line.strip_prefix("//").map(|rest| (at + 1, rest, false)))
    })
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&repository(), "md", &mut found);
    assert!(found.len() > 40, "{}", found.len());
    found
}

/// The lines of a page with their numbers, without those of code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((at + 1, line))
    })
}

/// Reads each file, and lists what `faults` finds in it.
fn all(paths: Vec<PathBuf>, faults: impl Fn(&str, &mut Vec<(usize, String)>)) -> Vec<String> {
    let mut list = Vec::new();
    for path in paths {
        let mut found = Vec::new();
        faults(&std::fs::read_to_string(&path).expect("reads"), &mut found);
        list.extend(found.into_iter().map(|(line, text)| format!("{}:{line}: {text}", path.display())));
    }
    list
}

#[test]
fn a_doc_comment_begins_with_the_thing() {
    let found = all(sources(), |text, found| {
        let mut before = 0;
        for (line, comment, doc) in comments(text).filter(|(_, _, doc)| *doc) {
            let begins = doc && line != before + 1;
            before = line;
            let first = comment.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if begins && NOT_FIRST.contains(&first) {
                found.push((line, comment.to_owned()));
            }
        }
    });
    assert!(found.is_empty(), "{} doc comments:\n{}", found.len(), found.join("\n"));
}

/// True when an article between a count and its thing stands for "per".
fn is_distributive(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
    words
        .windows(3)
        .any(|three| COUNTED.contains(&three[0]) && matches!(three[1], "a" | "an") && OVER.contains(&three[2]))
}

#[test]
fn a_count_is_per_thing() {
    let owned = |(line, text): (usize, &str)| (line, text.to_owned());
    let mut found = all(sources(), |text, found| {
        let lines = comments(text).map(|(line, comment, _)| (line, comment));
        found.extend(lines.filter(|(_, comment)| is_distributive(comment)).map(owned));
    });
    found.extend(all(pages(), |text, found| {
        found.extend(prose(text).filter(|(_, line)| is_distributive(line)).map(owned));
    }));
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_comment_fits_on_its_line() {
    let found = all(sources(), |text, found| {
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > WIDTH_MAX {
                found.push((at + 1, line.trim_start().to_owned()));
            }
        }
    });
    assert!(found.is_empty(), "{} comments:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_line_of_a_page_fits_but_for_tables_and_addresses() {
    let found = all(pages(), |text, found| {
        for (at, line) in prose(text) {
            let is_free = line.trim_start().starts_with('|') || line.contains("://");
            if !is_free && line.chars().count() > WIDTH_MAX {
                found.push((at, line.to_owned()));
            }
        }
    });
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}
