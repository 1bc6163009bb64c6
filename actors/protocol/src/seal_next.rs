//! The next step after each finding about a sealed log: one table, for errors, `health` and `why`.
//!
//! *Guarantees.* Each word of [`SEAL_FINDINGS`] has a complete command, and its section of the runbook.

use crate::{Command, SEAL_FINDINGS};
use decisiongraph_projections::TenantId;

/// Beginning of the message about a signed tree that no memory outside the database knows.
pub const SEAL_FORGOTTEN: &str = "no memory of the seal outside the database answered with a checkpoint of this log";

/// Returns the next step after a finding, or another fault, that stops a tenant's seal. `message` is its line.
pub fn seal_next(tenant: &TenantId, message: &str) -> String {
    let of = |words: &str| Command::of(words, tenant);
    let word = message.split_once(':').map(|(word, _)| word);
    if message.contains(SEAL_FORGOTTEN) {
        return format!(
            "bring back the journal (seal_dir), a place of seal_places, or the node that signed, and sealing continues \
             automatically; if all of them are lost for ever, {}; see the runbook's section `The window grows`",
            of("seal init --trust-database --reason R")
        );
    }
    let Some(word) = SEAL_FINDINGS.into_iter().find(|known| Some(*known) == word) else {
        let status = of("seal status");
        return format!("{status} shows its memories; events and projections are not affected");
    };
    let step = match word {
        "tree_shrunk" | "checkpoint_differs" => {
            format!("bring the lost events back, or accept the loss with {}", of("seal fork --reason R"))
        }
        "tree_damaged" => {
            format!("{} makes nodes and frontier again from the leaves", of("seal rebuild --reason R"))
        }
        "salts_missing" => format!(
            "restore the row of dg_seal_chunk from a backup; if there is none, {} begins a tree with new salts",
            of("seal fork --reason R")
        ),
        "root_differs" => {
            format!("another program wrote the tree; {} shows what the next claim finds", of("seal status"))
        }
        "signature_invalid" => {
            format!("{} lists the notes of the database; an intact copy in a place counts", of("checkpoint --list"))
        }
        "order_differs" | "scope_differs" | "range_gap" | "trace_gap" => {
            format!("ask for the pack again, made with {}", of("audit-pack --trace ID -o FILE"))
        }
        _ => format!("restore the event from a backup, and compare again with {}", of("verify --log-only")),
    };
    format!("{step}; see the runbook's section `{word}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_a_complete_command_and_a_section_of_the_runbook() {
        let runbook = include_str!("../../../docs/operations/RUNBOOK.md");
        let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let tenant = TenantId::new("acme").expect("an id");
        for word in SEAL_FINDINGS {
            let next = seal_next(&tenant, &format!("{word}: leaf 3: x"));
            assert!(next.contains("`decisiongraph ") && next.contains("--tenant acme"), "{word}: {next}");
            assert!(next.ends_with(&format!("see the runbook's section `{word}`")), "{word}: {next}");
            let has_section = headings.iter().any(|heading| heading.split(", ").any(|name| name == word));
            assert!(has_section, "the runbook has no section {word}");
        }
        for (word, command) in [
            ("tree_shrunk", "seal fork --reason R"),
            ("checkpoint_differs", "seal fork --reason R"),
            ("tree_damaged", "seal rebuild --reason R"),
            ("payload_differs", "verify --log-only"),
        ] {
            let next = seal_next(&tenant, &format!("{word}: x"));
            assert!(next.contains(&Command::of(command, &tenant).to_string()), "{word}: {next}");
        }
        let forgotten = seal_next(&tenant, &format!("{SEAL_FORGOTTEN}: journal"));
        let trust = Command::of("seal init --trust-database --reason R", &tenant).to_string();
        assert!(forgotten.contains(&trust), "{forgotten}");
        assert!(headings.contains(&"The window grows"));
        let status = Command::of("seal status", &tenant).to_string();
        assert!(seal_next(&tenant, "the disk is full").contains(&status));
    }
}
