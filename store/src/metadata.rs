//! Columns of the log that pages bring only if some projection reads metadata. A statement marks their places with
//! comments. Without such a projection the comments stay, and the statement costs what it did.

use decisiongraph_projections::catalogue;
use std::borrow::Cow;

/// Columns, in the order in which a backend reads them: tags, the texts of a source, two ids, the number of a schema.
const COLUMNS: [&str; 7] = [
    "tags",
    "producer_id",
    "source_system",
    "source_subsystem",
    "correlation_id",
    "causation_event_id",
    "schema_version",
];

/// Returns the statement with the columns of metadata, if some projection reads it.
pub(crate) fn selected(sql: &'static str) -> Cow<'static, str> {
    match catalogue::reads_metadata() {
        true => with_columns(sql).into(),
        false => sql.into(),
    }
}

fn with_columns(sql: &str) -> String {
    let each = |form: fn(&str) -> String| COLUMNS.map(form).concat();
    let texts = COLUMNS.iter().filter(|column| **column != "schema_version");
    let bytes: String = texts.map(|column| format!(" + coalesce(octet_length({column}), 0)")).collect();
    sql.replace("/* metadata */", &each(|column| format!(", {column}")))
        .replace("/* small metadata */", &each(|column| format!(", CASE WHEN small THEN {column} END")))
        .replace("/* metadata bytes */", &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_a_statement_give_way_to_columns() {
        let sql = "SELECT payload_hash /* metadata */, 1 + octet_length(payload) /* metadata bytes */ AS size /* small metadata */";
        let written = with_columns(sql);
        assert!(written.contains("payload_hash , tags, producer_id, source_system, source_subsystem, "), "{written}");
        assert!(
            written
                .contains(" + coalesce(octet_length(causation_event_id), 0) AS size , CASE WHEN small THEN tags END, ")
        );
        assert!(!written.contains("octet_length(schema_version)") && !written.contains("/*"), "{written}");
    }
}
