//! `trace_summary`: one row per trace. Only `TraceStarted` and `TraceFinished` touch it. A finished trace therefore
//! counts two events: that is the reference's rule.

use crate::category::Refusal;
use crate::digest::reference::{Member, ReferenceForm, Section};
use crate::event::{EventType, LogEvent};
use crate::prior::{Fetch, Needs, Prior, RowsNeed, Working, changes_of};
use crate::projection::{Density, Projected, Projection};
use crate::rows::{Column, ColumnType, KeyPart, Place, Row, Table, Value};
use crate::sequence::Poison;
use crate::stored_payload::{StoredPayload, schema};
use std::sync::Arc;

/// The projection.
pub struct TraceSummary;

const OUTCOME: usize = 7;
const FINISHED_AT: usize = 8;
const EVENT_COUNT: usize = 9;
const LAST_LOG_SEQ: usize = 10;

const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind }
}

static TABLES: [Table; 1] = [Table {
    name: "dg_trace_summary",
    columns: &[
        column("trace_id", ColumnType::Text),
        column("workflow", ColumnType::Text),
        column("title", ColumnType::Text),
        column("primary_entity_type", ColumnType::OptionalText),
        column("primary_entity_system", ColumnType::OptionalText),
        column("primary_entity_id", ColumnType::OptionalText),
        column("started_at", ColumnType::Text),
        column("outcome", ColumnType::OptionalText),
        column("finished_at", ColumnType::OptionalText),
        column("event_count", ColumnType::Int),
        column("last_log_seq", ColumnType::Int),
    ],
    place: Place::Key(KeyPart(0)),
    hashed: &[],
    naming: None,
}];

static FORM: [Section; 1] = [Section {
    label: None,
    table: 0,
    members: &[
        Member::Column("event_count", EVENT_COUNT),
        Member::Column("finished_at", FINISHED_AT),
        Member::Column("last_log_seq", LAST_LOG_SEQ),
        Member::Column("outcome", OUTCOME),
        Member::Column("primary_entity_id", 5),
        Member::Column("primary_entity_type", 3),
        Member::Column("started_at", 6),
        Member::Column("title", 2),
        Member::Column("trace_id", 0),
        Member::Column("workflow", 1),
    ],
}];

impl Projection for TraceSummary {
    fn name(&self) -> &'static str {
        "trace_summary"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        &TABLES
    }

    fn reference_form(&self) -> Option<ReferenceForm> {
        Some(&FORM)
    }

    fn density(&self) -> Density {
        Density { rows_per_event: 0.13, bytes_per_row: 300.0 }
    }

    fn needs(&self, events: &[LogEvent]) -> Needs {
        let values = events
            .iter()
            .filter(|event| matches!(event.known_type(), Some(EventType::TraceStarted | EventType::TraceFinished)))
            .map(|event| Arc::clone(&event.trace_id))
            .collect();
        Needs { rows: vec![RowsNeed { values, ..RowsNeed::of(0, 0, Fetch::Rows) }], ..Needs::default() }
    }

    fn project(&self, events: &[LogEvent], needs: &Needs, prior: &Prior) -> Projected {
        let mut summaries = Working::new(needs, prior, 0);
        let mut poison = None;
        for (index, event) in events.iter().enumerate() {
            let applied = match event.known_type() {
                Some(EventType::TraceStarted) => started(&mut summaries, event),
                Some(EventType::TraceFinished) => finished(&mut summaries, event),
                _ => Ok(()),
            };
            if let Err(refusal) = applied {
                poison = Some(Poison { index, refusal });
                break;
            }
        }
        Projected { changes: changes_of(&TABLES, vec![summaries]), poison }
    }
}

fn counted(mut row: Row, event: &LogEvent) -> Row {
    row.0[EVENT_COUNT] = Value::Int(row.0[EVENT_COUNT].as_int().unwrap_or(0) + 1);
    row.0[LAST_LOG_SEQ] = Value::Int(event.log_seq.0);
    row
}

fn started(summaries: &mut Working, event: &LogEvent) -> Result<(), Refusal> {
    if let Some(row) = summaries.get(&event.trace_id) {
        let row = counted(row.clone(), event);
        summaries.put(row);
        return Ok(());
    }
    let payload = StoredPayload::of(event)?;
    let required = |key: &str| -> Result<Value, Refusal> {
        payload.text(key)?.map(Value::from).ok_or_else(|| schema(format!("`{key}` of the stored payload is missing")))
    };
    let entity = payload.object("primary_entity")?;
    let of_entity = |key: &str| -> Result<Value, Refusal> {
        Ok(match &entity {
            Some(entity) => entity.text(key)?.into(),
            None => Value::Null,
        })
    };
    summaries.put(Row(vec![
        (&event.trace_id).into(),
        required("workflow")?,
        required("title")?,
        of_entity("entity_type")?,
        of_entity("system")?,
        of_entity("entity_id")?,
        (&event.occurred_at).into(),
        Value::Null,
        Value::Null,
        Value::Int(1),
        event.log_seq.0.into(),
    ]));
    Ok(())
}

fn finished(summaries: &mut Working, event: &LogEvent) -> Result<(), Refusal> {
    let Some(row) = summaries.get(&event.trace_id) else { return Ok(()) };
    let payload = StoredPayload::of(event)?;
    let mut row = counted(row.clone(), event);
    row.0[OUTCOME] = payload.text("outcome")?.unwrap_or("success").into();
    row.0[FINISHED_AT] = (&event.occurred_at).into();
    summaries.put(row);
    Ok(())
}
