//! The language of comments, pages and printed texts: how a doc comment begins, "per" instead of a distributive
//! article, phrases that a printed text does not have, and the width of a line.

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
/// Phrases that no printed text has, because an English reader stumbles over them, each with the usual words.
const NOT_PRINTED: [(&str, &str); 21] = [
    ("a text that no", "text that no"),
    ("anew", "again"),
    ("are possible", "the limit is"),
    ("by itself", "automatically"),
    ("from others", "from other nodes, from other users"),
    ("go on", "continue"),
    ("goes on", "continues"),
    ("have a look", "check"),
    ("is no", "is not a"),
    ("lets it", "resumes"),
    ("look at", "check, inspect"),
    ("look whether", "check whether"),
    ("looked at", "checked"),
    ("meanwhile", "in the meantime"),
    ("mend", "repair"),
    ("nobody", "no node, no process"),
    ("somebody", "another node, another owner"),
    ("stands at", "is at"),
    ("take events in", "import events"),
    ("takes events in", "imports events"),
    ("whoever", "the program that"),
];
/// Folders of the sources whose doc comments become the `--help` of commands and flags.
const HELP: [&str; 2] = ["actors/cli/src/commands/", "actors/cli/src/globals.rs"];
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
        if path.is_dir() && !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
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

/// The string literals of a source before its unit tests, with the numbers of their first lines. A line that ends with
/// a backslash is joined with the next line.
fn literals(source: &str) -> Vec<(usize, String)> {
    let mut rest = source.split("\nmod tests {").next().unwrap_or_default();
    let (mut line, mut found) = (1, Vec::new());
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let raw = &rest[..at].trim_end_matches('#');
        let (quote, start) = match raw.ends_with('r') {
            true => (format!("\"{}", "#".repeat(at - raw.len())), at + 1),
            false => ("\"".to_owned(), at + 1),
        };
        let taken = match &rest[at..] {
            here if here.starts_with("//") => here.find('\n').map_or(rest.len(), |end| at + end),
            here if here.starts_with("'\"'") => at + 3,
            here if here.starts_with("'\\") => at + 3,
            here if here.starts_with('"') => {
                let end = match raw.ends_with('r') {
                    true => rest[start..].find(&quote).map_or(rest.len(), |end| start + end),
                    false => end_of(rest, start),
                };
                found.push((line + rest[..at].matches('\n').count(), joined(&rest[start..end])));
                (end + quote.len()).min(rest.len())
            }
            _ => at + 1,
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    found
}

/// The end of the literal whose text begins at `start`: its first quotation mark that is not escaped.
fn end_of(text: &str, start: usize) -> usize {
    let mut escaped = false;
    let end = text[start..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| start + end)
}

fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The texts that a source of the program prints, with their lines: literals, and the help of commands and flags.
fn printed(path: &Path, text: &str) -> Vec<(usize, String)> {
    let path = path.display().to_string();
    let mut found = literals(text);
    if HELP.iter().any(|help| path.contains(help)) {
        let docs = comments(text).filter(|(_, _, doc)| *doc);
        found.extend(docs.map(|(line, comment, _)| (line, comment.to_owned())));
    }
    found
}

/// The sources of the program: those of its crates, without the tools of tests and benchmarks.
fn program() -> Vec<PathBuf> {
    let mut found = Vec::new();
    ["projections", "store", "actors"].iter().for_each(|top| files(&repository().join(top), "rs", &mut found));
    found.retain(|path| {
        let path = path.display().to_string();
        path.contains("/src/") && !path.contains("/throwaway")
    });
    assert!(found.len() > 250, "{}", found.len());
    found
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
    all_named(paths, |_, text, found| faults(text, found))
}

fn all_named(paths: Vec<PathBuf>, faults: impl Fn(&Path, &str, &mut Vec<(usize, String)>)) -> Vec<String> {
    let mut list = Vec::new();
    for path in paths {
        let mut found = Vec::new();
        faults(&path, &std::fs::read_to_string(&path).expect("reads"), &mut found);
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

/// The first phrase of [`NOT_PRINTED`] in a text.
fn stumbles(text: &str) -> Option<(&'static str, &'static str)> {
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || "-'".contains(c))).collect();
    let text = format!(" {} ", words.join(" ").to_lowercase());
    let text = text.replace(" there is no ", " ").replace(" is no longer ", " ");
    NOT_PRINTED.into_iter().find(|(phrase, _)| text.contains(&format!(" {phrase} ")))
}

#[test]
fn a_printed_text_has_the_usual_words() {
    let found = all_named(program(), |path, text, found| {
        for (line, text) in printed(path, text) {
            if let Some((phrase, usual)) = stumbles(&text) {
                found.push((line, format!("`{phrase}`, write `{usual}`: {text}")));
            } else if is_distributive(&text) {
                found.push((line, format!("write `per`: {text}")));
            }
        }
    });
    assert!(found.is_empty(), "{} texts:\n{}", found.len(), found.join("\n"));
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
