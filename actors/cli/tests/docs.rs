//! The pages that a reader follows: README.md and the guides show the output that the program prints.
//!
//! Each page runs in one shell and in a fresh directory, block after block. A block of `console` holds commands, each
//! behind `$ `, and their output. A block of `sh` prints nothing. Blocks marked `no-test` do not run: they need a
//! build, a node, PostgreSQL or another program. In a page `…` is any text, and a line of `…` alone is any lines. The
//! width of blanks and rules is not compared.

mod cli_support;

use cli_support::{Cli, enterprise};
use decisiongraph_store::launch::program;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const ANY: &str = "…";
/// Blocks per page that may be marked `no-test`.
const UNTESTED_MAX: usize = 8;

struct Page {
    name: String,
    text: String,
}

/// A fenced block: line number of its first line, info string, lines.
struct Block<'p> {
    line: usize,
    info: &'p str,
    lines: Vec<&'p str>,
}

/// A command of a page, and the output that the page shows for it.
struct Command<'p> {
    line: usize,
    text: String,
    shown: Vec<&'p str>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
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

fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { line: index + 2, info, lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
            (None, None) => (),
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

fn commands<'p>(block: &Block<'p>) -> Vec<Command<'p>> {
    if block.info == "sh" {
        return vec![Command { line: block.line, text: block.lines.join("\n"), shown: Vec::new() }];
    }
    let mut commands: Vec<Command<'p>> = Vec::new();
    for (line, text) in (block.line..).zip(&block.lines) {
        match (text.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Command { line, text: command.to_owned(), shown: Vec::new() }),
            (None, Some(command)) => command.shown.push(text),
            (None, None) => panic!("line {line}: output before the first command"),
        }
    }
    commands
}

/// Runs the commands in one shell; gives standard output and error of each, with a line for an exit code that is not 0.
fn run(commands: &[Command<'_>]) -> Vec<String> {
    let cli = Cli::new();
    for folder in ["actors/cli", "target", "printed"] {
        fs::create_dir_all(cli.path(folder)).expect("a directory");
    }
    symlink(enterprise().parent().expect("a directory"), cli.path("actors/cli/fixtures")).expect("a link");
    let mut script = String::new();
    for (index, command) in commands.iter().enumerate() {
        let file = cli.path("printed").join(index.to_string());
        let (text, file) = (&command.text, file.display());
        writeln!(script, "{{\n{text}\n}} >'{file}' 2>&1 || echo \"[exit code $?]\" >>'{file}'").expect("a text");
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a directory");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let mut shell = program("bash");
    shell.args(["-c", &script]).current_dir(cli.dir.path()).env("PATH", path);
    let ended = shell.env("DECISIONGRAPH_DATA_DIR", cli.data_dir()).output().expect("bash");
    let missing = |_| format!("[the shell ended before: {}]", String::from_utf8_lossy(&ended.stderr));
    let printed = |index: usize| fs::read_to_string(cli.path("printed").join(index.to_string()));
    (0..commands.len()).map(|index| printed(index).unwrap_or_else(missing)).collect()
}

/// A line with each run of blanks as one blank, and each rule as one character.
fn plain(line: &str) -> String {
    let word = |word| if str::starts_with(word, "──") { "─" } else { word };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn plain_lines<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    lines.into_iter().map(plain).collect()
}

/// True when the printed line is the shown one, with any text for each `…`.
fn fits(shown: &str, printed: &str) -> bool {
    let Some((head, rest)) = shown.split_once(ANY) else { return shown == printed };
    let fits_from = |tail: &str| (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| fits(rest, tail));
    printed.strip_prefix(head).is_some_and(fits_from)
}

fn all_fit(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == ANY => (0..=printed.len()).any(|skipped| all_fit(rest, &printed[skipped..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, left)| fits(line, first) && all_fit(rest, left))
        }
    }
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
    let printed = run(&commands);
    let mut differences = Vec::new();
    for (command, printed) in commands.iter().zip(&printed) {
        let Command { line, text, shown } = command;
        if !all_fit(&plain_lines(shown.iter().copied()), &plain_lines(printed.lines())) {
            let shown = shown.join("\n");
            differences.push(format!("{name}:{line}: $ {text}\n\nshown:\n{shown}\n\nprinted:\n{printed}"));
        }
    }
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
    let differences: Vec<String> = pages().iter().flat_map(differences).collect();
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
