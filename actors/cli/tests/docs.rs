//! The pages that a reader follows: README.md and the guides show the output that the program prints.
//!
//! Each page runs in one shell and in a fresh directory, block after block. A block of `console` holds commands, each
//! behind `$ `, and their output. A block of `sh` prints nothing. Blocks marked `no-test` do not run: they need a
//! build, a node, PostgreSQL or another program. In a page `…` is any text, and a line of `…` alone is any lines. The
//! width of blanks and rules is not compared.

mod cli_support;
mod pages;

use cli_support::Cli;
use pages::{Block, Command, blocks, commands, plain_lines, repository};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The guides that `own_projection.rs` follows, with a program that it builds, and `cli_postgres.rs`, with logs of
/// other programs.
const FOLLOWED_ELSEWHERE: [&str; 2] = ["docs/guide/YOUR_OWN_PROJECTION.md", "docs/guide/MOVING.md"];
/// Blocks per page that may be marked `no-test`.
const UNTESTED_MAX: usize = 8;

struct Page {
    name: String,
    text: String,
}

fn pages() -> Vec<Page> {
    let guides = fs::read_dir(repository().join("docs/guide")).expect("the guides");
    let mut names = vec!["README.md".to_owned()];
    names.extend(guides.map(|entry| format!("docs/guide/{}", entry.expect("an entry").file_name().display())));
    names.retain(|name| name.ends_with(".md"));
    names.sort();
    let page = |name: String| Page { text: fs::read_to_string(repository().join(&name)).expect("a page"), name };
    names.into_iter().map(page).collect()
}

/// Every difference of a page, as a text.
fn differences(page: &Page) -> Vec<String> {
    let name = &page.name;
    let blocks = blocks(&page.text);
    let unknown = blocks.iter().find(|block| {
        let (language, mark) = block.info.split_once(' ').unwrap_or((block.info, "no-test"));
        ["console", "sh", "mermaid"].contains(&language) && mark != "no-test"
    });
    assert!(unknown.is_none(), "{name}: no block is marked {:?}", unknown.map(|block| block.info));
    let untested = blocks.iter().filter(|block| block.info.ends_with(" no-test")).count();
    assert!(untested <= UNTESTED_MAX, "{name}: {untested} blocks are not tested");

    let tested = blocks.iter().filter(|block| ["console", "sh"].contains(&block.info));
    let commands: Vec<Command<'_>> = tested.flat_map(commands).collect();
    let programs = Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a directory");
    let printed = pages::run(&commands, &Cli::new(), programs, None);
    let mut differences = pages::differences(name, &commands, &printed);
    // A picture is the output of some command of its page.
    let all = plain_lines(printed.iter().flat_map(|printed| printed.lines()));
    for Block { line, lines, .. } in blocks.iter().filter(|block| block.info == "mermaid") {
        let picture = plain_lines(lines.iter().copied());
        if !all.windows(picture.len()).any(|part| part == picture) {
            let lines = lines.join("\n");
            differences.push(format!("{name}:{line}: no command of the page prints this picture:\n{lines}"));
        }
    }
    differences
}

#[test]
fn what_the_pages_show_is_what_the_program_prints() {
    let here = |page: &&Page| !FOLLOWED_ELSEWHERE.contains(&page.name.as_str());
    let differences: Vec<String> = pages().iter().filter(here).flat_map(differences).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Anchors of the headings of a page, as its readers' programs make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).filter_map(|line| Some(line.split_once(' ')?.1));
    let left_out = |c: char| !c.is_alphanumeric() && !"-_".contains(c);
    let anchor = |title: &str| title.to_lowercase().replace(' ', "-").replace(left_out, "");
    titles.map(anchor).collect()
}

#[test]
fn every_link_of_the_pages_leads_to_a_file_and_a_heading() {
    let mut dead = Vec::new();
    for Page { name, text } in pages() {
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let page = repository().join(&name);
            let target = if path.is_empty() { page } else { page.parent().expect("a directory").join(path) };
            let has_anchor = || fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || !(anchor.is_empty() || has_anchor()) {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The table of the tampering experiments names tests that exist.
#[test]
fn every_test_that_the_evidence_names_is_there() {
    let page = fs::read_to_string(repository().join("docs/benchmarks/EVIDENCE.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs::"));
    let named: Vec<&str> = rows.filter_map(|row| row.split('`').find(|part| part.contains(".rs::"))).collect();
    assert!(named.len() >= 25, "{} tests", named.len());
    for name in named {
        let (file, test) = name.split_once("::").expect("a file and a test");
        let folder = if file.starts_with("actors/") { "" } else { "actors/cli/tests/" };
        let text = fs::read_to_string(repository().join(format!("{folder}{file}"))).expect(name);
        assert!(text.contains(&format!("fn {test}(")), "{name} is not there");
    }
}
