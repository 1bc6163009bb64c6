//! Rows of other programs' event logs as the JSON lines that an import takes.
//!
//! *Never here:* checks of an event; those are the import's. A value of the wrong type becomes JSON of the wrong type,
//! so that the import names it.

use crate::{Result, StoreError};
use decisiongraph_projections::canonical_json::write_payload_string;
use decisiongraph_projections::event::fault;
use decisiongraph_projections::{Category, LogSeq};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The table of both programs.
pub(crate) const TABLE: &str = "dg_event_log";
/// A column that only this program's table has.
const OURS: &str = "idempotency_uid";

/// An event of another program's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLine {
    /// Position in that log.
    pub log_seq: LogSeq,
    /// JSON line of the event.
    pub text: String,
}

/// Form of a member in the line.
enum Form {
    Text,
    Number,
    Json,
}

/// Columns after the position, in the order of the line: the reference's name and the original's, the text before the
/// value, its form.
const COLUMNS: [([&str; 2], &str, Form); 19] = [
    (["tenant_id"; 2], ",\"tenant_id\":", Form::Text),
    (["event_id"; 2], ",\"event_id\":", Form::Text),
    (["trace_id"; 2], ",\"trace_id\":", Form::Text),
    (["trace_seq"; 2], ",\"trace_seq\":", Form::Number),
    (["event_type"; 2], ",\"event_type\":", Form::Text),
    (["occurred_at"; 2], ",\"occurred_at\":", Form::Text),
    (["recorded_at"; 2], ",\"recorded_at\":", Form::Text),
    (["idempotency_key"; 2], ",\"idempotency_key\":", Form::Text),
    (["correlation_id"; 2], ",\"correlation_id\":", Form::Text),
    (["causation_event_id"; 2], ",\"causation_event_id\":", Form::Text),
    (["schema_version"; 2], ",\"schema_version\":", Form::Number),
    (["payload_hash"; 2], ",\"payload_hash\":", Form::Text),
    (["producer_id"; 2], ",\"source\":{\"producer_id\":", Form::Text),
    (["system", "source_system"], ",\"system\":", Form::Text),
    (["subsystem", "source_subsystem"], ",\"subsystem\":", Form::Text),
    (["actor_type"; 2], "},\"actor\":{\"actor_type\":", Form::Text),
    (["actor_id"; 2], ",\"actor_id\":", Form::Text),
    (["tags_json"; 2], "},\"tags\":", Form::Json),
    (["payload_json"; 2], ",\"payload\":", Form::Json),
];

/// Makes the statement that reads the table with these columns: the position, then every column as text.
pub(crate) fn statement(found: &BTreeSet<String>) -> Result<String> {
    let wrong = |message: String| StoreError::new(Category::InvalidArgument, message);
    if found.is_empty() {
        return Err(wrong(format!("there is no table {TABLE}"))
            .next("name the file of the Python reference, or the database of the original service"));
    }
    if found.contains(OURS) {
        return Err(wrong(format!("its table {TABLE} is this program's own"))
            .next("`decisiongraph export --all-tenants` writes it as lines, which `decisiongraph import` takes"));
    }
    let (mut columns, mut missing) = (vec!["CAST(log_seq AS bigint)".to_owned()], Vec::new());
    missing.extend((!found.contains("log_seq")).then_some("log_seq"));
    for (names, _, _) in &COLUMNS {
        match names.iter().find(|name| found.contains(**name)) {
            Some(name) => columns.push(format!("CAST({name} AS TEXT)")),
            // The reference's log is of one tenant.
            None if names[0] == "tenant_id" => columns.push("NULL".to_owned()),
            None => missing.push(names[0]),
        }
    }
    if !missing.is_empty() {
        return Err(wrong(format!("its table {TABLE} has another shape: no column {}", missing.join(", ")))
            .next("bring it to the latest version of the program that wrote it (its migrations), then try again"));
    }
    Ok(format!("SELECT {} FROM {TABLE} ORDER BY {TABLE}.log_seq", columns.join(", ")))
}

/// Writes the line of a row. `cells` are its columns behind the position.
pub(crate) fn line<'c>(log_seq: i64, cells: impl IntoIterator<Item = Option<&'c str>>) -> ForeignLine {
    let mut text = String::new();
    let _ = write!(text, "{{\"log_seq\":{log_seq}");
    for ((_, before, form), cell) in COLUMNS.iter().zip(cells) {
        text.push_str(before);
        let raw = |cell: &str| match form {
            Form::Text => false,
            Form::Number => cell.parse::<i64>().is_ok(),
            Form::Json => fault(Some(&[]), cell).is_none(),
        };
        match cell {
            None => text.push_str("null"),
            Some(cell) if raw(cell) => text.push_str(cell),
            Some(cell) => write_payload_string(&mut text, cell),
        }
    }
    text.push('}');
    ForeignLine { log_seq: LogSeq(log_seq), text }
}

/// Number of columns in the answer of [`statement`].
pub(crate) const WIDTH: usize = COLUMNS.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::event::Line;

    fn columns(named: usize) -> BTreeSet<String> {
        let names = COLUMNS.iter().map(|(names, _, _)| names[named].to_owned());
        names.chain(["log_seq".to_owned()]).collect()
    }

    #[test]
    fn both_shapes_are_known_and_another_one_is_named() {
        for named in [0, 1] {
            let mut found = columns(named);
            assert!(statement(&found).expect("a shape").contains("CAST(tenant_id AS TEXT)"));
            found.remove("tenant_id");
            assert!(statement(&found).expect("a shape").contains("bigint), NULL, CAST(event_id AS TEXT)"));
            found.remove("actor_id");
            assert!(statement(&found).expect_err("no shape").message.ends_with("no column actor_id"));
        }
        assert!(statement(&BTreeSet::new()).expect_err("nothing").message.contains("no table"));
        let ours = columns(1).into_iter().chain([OURS.to_owned()]).collect();
        assert!(statement(&ours).expect_err("ours").message.contains("own"));
    }

    #[test]
    fn a_row_is_a_line_whatever_is_in_it() {
        let row = |payload| {
            let cells = [
                "t\"1",
                "e",
                "tr",
                "3",
                "InputObserved",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:01Z",
                "k",
                "c",
                "d",
                "1",
                "sha256:x",
                "p",
                "s",
                "u",
                "agent",
                "a",
                "[\"x\"]",
                payload,
            ];
            line(7, cells.map(Some)).text
        };
        let whole = row("{\"a\": 1}");
        let read = Line::parse(&whole).expect("a line");
        assert_eq!((read.log_seq, read.recorded_at.as_deref()), (Some(LogSeq(7)), Some("2026-01-01T00:00:01Z")));
        assert_eq!(read.tenant_id.expect("a tenant").as_str(), "t\"1");
        let envelope = read.draft.envelope;
        assert_eq!((envelope.trace_seq, envelope.source.subsystem.as_deref()), (3, Some("u")));
        assert_eq!(envelope.tags, ["x"]);
        // A payload that is no JSON cannot add members.
        let broken = row("{},\"tenant_id\":\"other\"");
        let read = Line::parse(&broken).expect("a line");
        assert_eq!(read.draft.payload.kind(), "a string");
        assert_eq!(read.tenant_id.expect("a tenant").as_str(), "t\"1");
    }
}
