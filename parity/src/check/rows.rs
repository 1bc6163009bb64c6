//! Compares rows with the reference's rows: the same keys, and in each row every member that the reference names.
//!
//! Both sides are brought into the byte order of their canonical keys. So the first difference does not depend on the
//! order in which a file was written.

use super::finding::{Checked, Finding};
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::{Projection, Row, Table, TenantId, Value};
use decisiongraph_store::{Generation, ReadView, RowOrder};
use futures_util::StreamExt as _;

/// Reads all rows of a table in the byte order of their keys. Fails when the store gives them in another order.
pub async fn rows_of(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
    table: usize,
) -> Checked<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut stream = view.rows(tenant, projection, generation, table, RowOrder::Text).await?;
    while let Some(chunk) = stream.next().await {
        rows.extend(chunk?.into_iter().map(|keyed| keyed.row));
    }
    let disorder = rows.windows(2).find(|two| two[0].key().as_bytes() >= two[1].key().as_bytes());
    match disorder {
        None => Ok(rows),
        Some(two) => Err(Finding::Failed(format!(
            "{} does not come in the byte order of its keys: {} before {}",
            projection.tables()[table].name,
            two[0].key(),
            two[1].key()
        ))),
    }
}

/// Compares a table with the list of rows that the reference names at `path`.
pub fn compare(path: &str, table: &Table, expected: &Json<'_>, got: &[Row]) -> Checked {
    let Json::Array(expected) = expected else {
        return Err(Finding::Failed(format!("{path} of the file is a list, not {}", expected.kind())));
    };
    let key = table.columns[0].name;
    let mut wanted = Vec::with_capacity(expected.len());
    for (index, row) in expected.iter().enumerate() {
        match row.get(key).and_then(Json::as_str) {
            Some(text) => wanted.push((text, row)),
            None => return Err(Finding::Failed(format!("{path}[{index}] of the file has no `{key}`"))),
        }
    }
    wanted.sort_by(|a, b| a.0.cmp(b.0));
    let differs = |at: &str, expected: &str, got: &str| {
        let (expected, got) = (expected.to_owned(), got.to_owned());
        Err(Finding::Differs { path: format!("{path}[{key}={at}]"), expected, got })
    };
    let mut got = got.iter().peekable();
    for (id, row) in wanted {
        match got.peek() {
            Some(extra) if extra.key() < id => return differs(extra.key(), "no such row", "a row"),
            Some(same) if same.key() == id => compare_row(&format!("{path}[{key}={id}]"), table, row, same)?,
            _ => return differs(id, "a row", "no such row"),
        }
        got.next();
    }
    match got.next() {
        Some(extra) => differs(extra.key(), "no such row", "a row"),
        None => Ok(()),
    }
}

/// Compares one row with the same row of the reference.
pub fn compare_row(path: &str, table: &Table, expected: &Json<'_>, got: &Row) -> Checked {
    let Json::Object(members) = expected else {
        return Err(Finding::Failed(format!("{path} of the file is an object, not {}", expected.kind())));
    };
    for (name, value) in members {
        let at = format!("{path}.{name}");
        // Column that is always `{}`; no table stores it.
        if name == "attrs" {
            Finding::equal(at, &value.to_payload_form(), "{}")?;
            continue;
        }
        let Some(column) = table.columns.iter().position(|column| column.name == name) else {
            return Err(Finding::Differs {
                path: at,
                expected: value.to_payload_form(),
                got: "no such column".to_owned(),
            });
        };
        Finding::equal(at, &value.to_payload_form(), &json_of(&got.0[column]).to_payload_form())?;
    }
    Ok(())
}

/// Converts a stored value to the form of the reference.
pub fn json_of(value: &Value) -> Json<'_> {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => Json::Str((&**text).into()),
        Value::Int(int) => Json::Int(int.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::catalogue::CONTEXT_GRAPH;
    use decisiongraph_projections::json_reader::parse;

    fn row(id: &str, log_seq: i64) -> Row {
        Row(vec![id.into(), "trace".into(), "t".into(), log_seq.into(), "2026".into()])
    }

    #[test]
    fn the_first_difference_is_named() {
        let table = &CONTEXT_GRAPH.tables()[0];
        let check = |json: &str, got: &[Row]| match compare("nodes", table, &parse(json).expect("JSON").value, got) {
            Ok(()) => String::new(),
            Err(finding) => finding.to_string(),
        };
        let two = r#"[{"node_id":"b","attrs":{},"log_seq":2},{"node_id":"a","log_seq":1}]"#;
        assert_eq!(check(two, &[row("a", 1), row("b", 2)]), "");
        assert_eq!(check(two, &[row("a", 1), row("b", 3)]), "nodes[node_id=b].log_seq: expected 2, got 3");
        assert_eq!(check(two, &[row("b", 2)]), "nodes[node_id=a]: expected a row, got no such row");
        assert_eq!(check(two, &[row("a", 1)]), "nodes[node_id=b]: expected a row, got no such row");
        let extra = [row("a", 1), row("aa", 1), row("b", 2), row("c", 1)];
        assert_eq!(check(two, &extra), "nodes[node_id=aa]: expected no such row, got a row");
        assert_eq!(
            check(two, &[&extra[..1], &extra[2..]].concat()),
            "nodes[node_id=c]: expected no such row, got a row"
        );
        let odd = r#"[{"node_id":"a","colour":"red"}]"#;
        assert_eq!(check(odd, &[row("a", 1)]), "nodes[node_id=a].colour: expected \"red\", got no such column");
        let attrs = r#"[{"node_id":"a","attrs":{"x":1}}]"#;
        assert_eq!(check(attrs, &[row("a", 1)]), "nodes[node_id=a].attrs: expected {\"x\":1}, got {}");
    }
}
