//! Command lines of this program that a reader is told to run: complete, and quoted for a shell.
//!
//! *Guarantees.* A copied command acts on the subject of its text. A command about a tenant cannot be made without the
//! tenant. A command about a scope cannot be made without the projection. No stored text ends a command early. The
//! program that shows a command adds the address of its database or node ([`addressed`]).

use crate::foreign_text::shell_word;
use decisiongraph_projections::TenantId;
use std::fmt;

/// Start of every command where it is shown.
const START: &str = "`decisiongraph ";
/// Start of a command that reads the output of another program.
const FED: &str = "| decisiongraph ";
/// First words of commands that mean one tenant: `default` when none is named.
const OF_A_TENANT: [&str; 18] = [
    "audit-pack",
    "catch-up",
    "checkpoint",
    "consistency",
    "digest",
    "edges",
    "events",
    "export",
    "pause",
    "precedents",
    "prove",
    "rebuild",
    "replay",
    "resume",
    "retry",
    "subgraph",
    "trace",
    "verify",
];
/// First words of commands that use no database or node address.
const REACH_NOTHING: [&str; 7] = ["audit", "bisect", "completions", "demo", "node", "schema", "validate"];

/// A command line. Shown between backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    /// Makes a command about no log, such as `cluster`, or about all logs, such as `status`. The words are taken
    /// unquoted.
    pub fn about_all(words: &str) -> Command {
        let first = words.split(' ').next().unwrap_or_default();
        debug_assert!(words.contains("--all-tenants") || !OF_A_TENANT.contains(&first), "`{words}` needs a tenant");
        Command(words.to_owned())
    }

    /// Makes a command about this tenant's log.
    pub fn of(words: &str, tenant: &TenantId) -> Command {
        Command(words.to_owned()).with("--tenant", tenant)
    }

    /// Makes a command about this scope alone.
    pub fn of_scope(words: &str, tenant: &TenantId, projection: &str) -> Command {
        Command::of(words, tenant).with("--projection", projection)
    }

    /// Adds one word.
    #[must_use]
    pub fn word(self, text: impl fmt::Display) -> Command {
        Command(format!("{} {}", self.0, shell_word(&text.to_string())))
    }

    /// Adds a flag and its value.
    #[must_use]
    pub fn with(self, flag: &str, value: impl fmt::Display) -> Command {
        let value = value.to_string();
        let value = shell_word(&value);
        // A value that starts with `-` would be taken for a flag.
        let between = if value.starts_with('-') { '=' } else { ' ' };
        Command(format!("{} {flag}{between}{value}", self.0))
    }

    /// Returns the command as the reader of another program's output.
    pub fn fed_by(&self, program: &str) -> String {
        format!("`{program} {FED}{}`", self.0)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{}`", self.0)
    }
}

/// Adds `flags` to the end of every command in the text that reaches a database or node, unless it names its database.
pub fn addressed(text: &str, flags: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = [START, FED].iter().filter_map(|start| Some(rest.find(start)? + start.len())).min() {
        let (before, found) = rest.split_at(at);
        let command;
        (command, rest) = found.split_at(found.find('`').unwrap_or(0));
        out.push_str(before);
        out.push_str(command);
        let first = command.split(' ').next().unwrap_or_default();
        let reaches = !(command.ends_with("--help") || command.contains(" --database "));
        if reaches && !(flags.is_empty() || first.is_empty() || REACH_NOTHING.contains(&first)) {
            out.push(' ');
            out.push_str(flags);
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_what_it_is_about() {
        let tenant = TenantId::new("o'neil & co").expect("an id");
        let retry = Command::of_scope("retry", &tenant, "trace_summary");
        assert_eq!(retry.to_string(), "`decisiongraph retry --tenant 'o'\\''neil & co' --projection trace_summary`");
        let dash = TenantId::new("-x").expect("an id");
        assert_eq!(Command::of("verify", &dash).to_string(), "`decisiongraph verify --tenant=-x`");
        assert_eq!(Command::about_all("uncordon").word("node-1").to_string(), "`decisiongraph uncordon node-1`");
    }

    #[test]
    #[should_panic(expected = "needs a tenant")]
    fn a_command_about_a_tenant_is_not_made_without_one() {
        let _ = Command::about_all("rebuild --projection precedent_index");
    }

    /// Collects file, number and text of each line that is no comment, from this repository's sources and pages.
    fn lines_of(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                lines_of(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "md")
                && !path.ends_with("protocol/src/command.rs")
            {
                let text = std::fs::read_to_string(&path).expect("reads");
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
                found.extend(lines.map(|(at, line)| (format!("{}:{}", path.display(), at + 1), line.to_owned())));
            }
        }
    }

    /// A command about a tenant, or with a word for the reader to fill in, is made only here.
    #[test]
    fn no_text_of_the_program_has_an_incomplete_command_in_it() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut lines = Vec::new();
        for folder in [
            "../cli/src",
            "../http/src",
            "../runtime/src",
            "../admin/src",
            "../engine/src",
            "../protocol/src",
            "../rpc/src",
            "../../store/src",
            "../../store/records/src",
            "../../projections/src",
            "../../docs/operations",
        ] {
            lines_of(&here.join(folder), &mut lines);
        }
        assert!(lines.len() > 10_000, "{}", lines.len());
        for (place, line) in lines {
            for command in line.split(START).skip(1) {
                let command = command.split('`').next().unwrap_or_default();
                let first = command.split(' ').next().unwrap_or_default();
                let page = place.contains(".md:") || place.contains("telemetry/signals.rs");
                let named = command.contains("--all-tenants") || page && command.contains("--tenant");
                let to_fill = |word| ["ID", "NODE", "COMMAND", "URL", "TENANT", "PROJECTION"].contains(&word);
                assert!(!OF_A_TENANT.contains(&first) || named, "{place}: {line}");
                // A page is for a reader without an event, failure or run yet.
                assert!(page || !command.split(' ').any(to_fill), "{place}: {line}");
            }
        }
    }

    #[test]
    fn every_command_in_a_text_is_addressed_but_those_that_reach_nothing() {
        let text = "start one (`decisiongraph node`), or `decisiongraph retry --tenant a`; the `decisiongraph` of the node; `decisiongraph ";
        let expected = "start one (`decisiongraph node`), or `decisiongraph retry --tenant a --node unix:/s`; the `decisiongraph` of the node; `decisiongraph ";
        assert_eq!(addressed(text, "--node unix:/s"), expected);
        let fed = Command::about_all("import -").fed_by("zcat log.gz");
        assert_eq!(addressed(&fed, "--node unix:/s"), "`zcat log.gz | decisiongraph import - --node unix:/s`");
        assert_eq!(addressed(text, ""), text);
        let elsewhere = Command::about_all("import").with("--database", "sqlite:new.db").word("-").to_string();
        assert_eq!(addressed(&elsewhere, "--node unix:/s"), elsewhere);
    }
}
