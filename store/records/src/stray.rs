//! Stored rows that belong to no tenant or break a rule. Every list leaves them out, so that one bad row does not fail
//! every tenant.

use decisiongraph_projections::LogSeq;
use decisiongraph_projections::event::TENANT_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Longest part of a stored text that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// Rows that this program leaves out, and the way to remove them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stray {
    /// Table of the rows.
    pub table: String,
    /// First of them, if they are in the log.
    pub log_seq: Option<LogSeq>,
    /// Reason why they are left out. Stored text in it is escaped.
    pub why: String,
    /// Next step, complete.
    pub next: String,
}

impl Stray {
    /// Reports events without a valid tenant.
    pub fn of_log(tenant: &[u8], log_seq: LogSeq) -> Stray {
        let text = String::from_utf8_lossy(tenant);
        let mut shown = text.chars().take(SHOWN_CHARS_MAX).collect::<String>().escape_debug().to_string();
        if text.chars().count() > SHOWN_CHARS_MAX {
            shown.push('…');
        }
        let table = "dg_event_log";
        Stray {
            table: table.to_owned(),
            log_seq: Some(log_seq),
            why: format!(
                "the event at log_seq {log_seq} belongs to no tenant: its tenant id \"{shown}\" has {} bytes, but an id must have 1 to {TENANT_BYTES_MAX} and no U+0000; all events under it are left out",
                tenant.len()
            ),
            next: format!(
                "as the owner of the schema, delete them: `DELETE FROM {table} WHERE tenant_id = (SELECT tenant_id FROM {table} WHERE log_seq = \
                 {log_seq})`; then run `decisiongraph migrate`"
            ),
        }
    }

    /// Reports rows that break a rule of the schema, because they are older than the rule.
    pub fn of_rule(table: &str, rule: &str, condition: &str) -> Stray {
        Stray {
            table: table.to_owned(),
            log_seq: None,
            why: format!("rows older than the rule {rule} violate it; rows that cannot be read are left out"),
            next: format!(
                "as the owner of the schema, find them: `SELECT * FROM {table} WHERE NOT {condition}`; change or delete them, then run \
                 `decisiongraph migrate`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_is_escaped_and_cut() {
        let stray = Stray::of_log(format!("a\u{1b}[31m\n{}", "x".repeat(200)).as_bytes(), LogSeq(7));
        assert!(
            stray.why.contains("\"a\\u{1b}[31m\\nxxx") && stray.why.contains("x…\" has 207 bytes"),
            "{}",
            stray.why
        );
        assert!(!stray.why.contains(['\u{1b}', '\n']) && stray.next.contains("WHERE log_seq = 7"), "{stray:?}");
    }
}
