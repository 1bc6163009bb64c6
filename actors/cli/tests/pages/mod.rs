//! Pages that a reader follows: their blocks, the commands in them, and the comparison of what is printed with what the
//! page shows.
#![allow(dead_code)]

use crate::cli_support::{Cli, enterprise};
use decisiongraph_store::launch::program;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const ANY: &str = "…";

/// A fenced block: line number of its first line, info string, lines.
pub struct Block<'p> {
    pub line: usize,
    pub info: &'p str,
    pub lines: Vec<&'p str>,
}

/// A command of a page, and the output that the page shows for it.
pub struct Command<'p> {
    pub line: usize,
    pub text: String,
    pub shown: Vec<&'p str>,
}

/// Returns the root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn blocks(text: &str) -> Vec<Block<'_>> {
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

pub fn commands<'p>(block: &Block<'p>) -> Vec<Command<'p>> {
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

/// Runs the commands in one shell, with the programs of this folder and the database at `url`, else the embedded one.
/// Returns standard output and error of each, with a line for an exit code that is not 0.
pub fn run(commands: &[Command<'_>], cli: &Cli, programs: &Path, url: Option<&str>) -> Vec<String> {
    for folder in ["actors/cli", "target", "printed"] {
        fs::create_dir_all(cli.path(folder)).expect("a directory");
    }
    let fixtures = cli.path("actors/cli/fixtures");
    if !fixtures.exists() {
        symlink(enterprise().parent().expect("a directory"), fixtures).expect("a link");
    }
    let mut script = String::new();
    for (index, command) in commands.iter().enumerate() {
        let file = cli.path("printed").join(index.to_string());
        let (text, file) = (&command.text, file.display());
        writeln!(script, "{{\n{text}\n}} >'{file}' 2>&1 || echo \"[exit code $?]\" >>'{file}'").expect("a text");
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let mut shell = program("bash");
    shell.args(["-c", &script]).current_dir(cli.dir.path()).env("PATH", path);
    shell.env("DECISIONGRAPH_DATA_DIR", cli.data_dir()).envs(url.map(|url| ("DATABASE_URL", url)));
    let ended = shell.output().expect("bash");
    let missing = |_| format!("[the shell ended before: {}]", String::from_utf8_lossy(&ended.stderr));
    let printed = |index: usize| fs::read_to_string(cli.path("printed").join(index.to_string()));
    (0..commands.len()).map(|index| printed(index).unwrap_or_else(missing)).collect()
}

/// A line with each run of blanks as one blank, and each rule as one character.
fn plain(line: &str) -> String {
    let word = |word| if str::starts_with(word, "──") { "─" } else { word };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

pub fn plain_lines<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    lines.into_iter().map(plain).collect()
}

/// True when the printed line is the shown one, with any text for each `…`.
pub fn fits(shown: &str, printed: &str) -> bool {
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

/// Returns every difference between the output that the page shows and the printed one, as a text.
pub fn differences(page: &str, commands: &[Command<'_>], printed: &[String]) -> Vec<String> {
    let mut differences = Vec::new();
    for (Command { line, text, shown }, printed) in commands.iter().zip(printed) {
        if !all_fit(&plain_lines(shown.iter().copied()), &plain_lines(printed.lines())) {
            let shown = shown.join("\n");
            differences.push(format!("{page}:{line}: $ {text}\n\nshown:\n{shown}\n\nprinted:\n{printed}"));
        }
    }
    differences
}
