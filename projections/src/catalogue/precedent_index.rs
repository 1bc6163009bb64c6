//! `precedent_index`: the policy decisions and exceptions of each finished trace, with its outcome.
//!
//! `dg_policy_eval_index` gets one row per policy evaluation at once. `dg_precedent_index` gets a trace's rows when it
//! finishes, from its whole history. The history is the trace's own events in the log. Earlier events come with the
//! prior state; the batch's own events are at hand.

use crate::category::Refusal;
use crate::digest::reference::{Member, ReferenceForm, Section};
use crate::event::{EventType, LogEvent};
use crate::prior::{Carried, Fetch, Needs, Prior, Recalled, RowsNeed, Working, changes_of};
use crate::projection::{Projected, Projection};
use crate::rows::{Column, ColumnType, Hashed, KeyPart, Place, Row, Table, Value};
use crate::sequence::Poison;
use crate::stored_payload::{StoredPayload, schema};
use hashbrown::HashMap;
use std::sync::Arc;

/// The projection.
pub struct PrecedentIndex;

const EVALUATIONS: usize = 0;
const PRECEDENTS: usize = 1;
/// `dg_precedent_index.trace_id`
const TRACE_ID: usize = 1;

const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind }
}

static TABLES: [Table; 2] = [
    Table {
        name: "dg_policy_eval_index",
        columns: &[
            column("index_id", ColumnType::Text),
            column("trace_id", ColumnType::Text),
            column("policy_id", ColumnType::Text),
            column("policy_version", ColumnType::Text),
            column("log_seq", ColumnType::Int),
            column("created_at", ColumnType::Text),
        ],
        // `{trace_id}:…`
        place: Place::Key(KeyPart(0)),
        hashed: &[],
        naming: None,
    },
    Table {
        name: "dg_precedent_index",
        columns: &[
            column("source_event_id", ColumnType::Text),
            column("trace_id", ColumnType::Text),
            column("log_seq", ColumnType::Int),
            column("policy_id", ColumnType::Text),
            column("policy_version", ColumnType::Text),
            column("exception_id", ColumnType::OptionalText),
            column("primary_entity_type", ColumnType::OptionalText),
            column("primary_entity_system", ColumnType::OptionalText),
            column("primary_entity_id", ColumnType::OptionalText),
        ],
        // The rows of a trace lie together. Ids of events are often random.
        place: Place::Column(1),
        hashed: &[Hashed { column: 1, place: Some(KeyPart(0)) }, Hashed { column: 3, place: None }],
        naming: None,
    },
];

static FORM: [Section; 1] = [Section {
    label: None,
    table: PRECEDENTS,
    members: &[
        Member::Column("exception_id", 5),
        Member::Column("log_seq", 2),
        Member::Column("policy_id", 3),
        Member::Column("policy_version", 4),
        Member::Column("primary_entity_id", 8),
        Member::Column("primary_entity_system", 7),
        Member::Column("primary_entity_type", 6),
        Member::Column("source_event_id", 0),
        Member::Column("trace_id", 1),
    ],
}];

impl Projection for PrecedentIndex {
    fn name(&self) -> &'static str {
        "precedent_index"
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

    fn history_types(&self) -> &'static [&'static str] {
        &["TraceStarted", "PolicyEvaluated", "ExceptionRequested"]
    }

    fn recall(&self, event: &LogEvent) -> Result<Vec<Value>, Refusal> {
        recall(event)
    }

    fn needs(&self, events: &[LogEvent]) -> Needs {
        let mut needs = Needs {
            rows: vec![RowsNeed::of(EVALUATIONS, 0, Fetch::Existence), RowsNeed::of(PRECEDENTS, TRACE_ID, Fetch::Rows)],
            history_of: Default::default(),
            carried: Carried::default(),
        };
        let mut read: Vec<Evaluated> = Vec::with_capacity(events.len());
        for event in events {
            let mut evaluated = None;
            match event.known_type() {
                Some(EventType::PolicyEvaluated) => {
                    let evaluation = evaluation(event);
                    if let Ok(evaluation) = &evaluation {
                        needs.rows[EVALUATIONS].fresh.push(evaluation.shared_key());
                        needs.rows[EVALUATIONS].values.insert(evaluation.shared_key());
                    }
                    evaluated = Some(evaluation);
                }
                Some(EventType::TraceFinished) => {
                    needs.rows[PRECEDENTS].values.insert(Arc::clone(&event.trace_id));
                    needs.history_of.insert(event.trace_id.clone());
                }
                _ => {}
            }
            read.push(evaluated);
        }
        needs.carried = Carried::of(read);
        needs
    }

    fn project(&self, events: &[LogEvent], needs: &Needs, prior: &Prior) -> Projected {
        let mut evaluations = Working::new(needs, prior, EVALUATIONS);
        let mut precedents = Working::new(needs, prior, PRECEDENTS);
        // Earlier events of the batch, by trace, for the traces that finish in the batch.
        let mut batch: HashMap<&str, Vec<Recalled>> = HashMap::new();
        // Keys of each trace's rows, at this point of the batch.
        let mut keys: HashMap<&str, Vec<Arc<str>>> = HashMap::new();
        for row in prior.rows.iter().flatten() {
            keys.entry(row.0[TRACE_ID].as_str().unwrap_or_default()).or_default().push(row.shared_key());
        }
        let read = needs.carried.get::<Evaluated>(events.len());
        let mut poison = None;
        for (index, event) in events.iter().enumerate() {
            let applied = match event.known_type() {
                Some(EventType::PolicyEvaluated) => {
                    let read = read.and_then(|read| read[index].clone());
                    read.unwrap_or_else(|| evaluation(event)).map(|row| {
                        let key = row.shared_key();
                        evaluations.insert_if_absent(&key, || row);
                    })
                }
                Some(EventType::TraceFinished) => {
                    let before = prior.history.get(&event.trace_id).into_iter().flatten();
                    let within = batch.get(&*event.trace_id).into_iter().flatten();
                    precedents_of(&event.trace_id, before.chain(within)).map(|rows| {
                        let keys = keys.entry(&event.trace_id).or_default();
                        for gone in keys.drain(..) {
                            precedents.remove(&gone);
                        }
                        for row in rows {
                            keys.push(row.shared_key());
                            precedents.put(row);
                        }
                    })
                }
                _ => Ok(()),
            };
            if let Err(refusal) = applied {
                poison = Some(Poison { index, refusal });
                break;
            }
            if self.history_types().contains(&&*event.event_type) && needs.history_of.contains(&event.trace_id) {
                batch.entry(&event.trace_id).or_default().push(Recalled::of(self, event));
            }
        }
        Projected { changes: changes_of(&TABLES, vec![evaluations, precedents]), poison }
    }
}

/// The row of a policy evaluation, or its refusal; `None` for any other event.
type Evaluated = Option<Result<Row, Refusal>>;

/// Reads policy id and version. An absent or empty one is a schema violation here, in this projection only.
fn policy_of(payload: &StoredPayload<'_>) -> Result<(Arc<str>, Arc<str>), Refusal> {
    let policy = payload.object("policy")?.ok_or_else(|| schema("`policy` of the stored payload is missing"))?;
    let filled = |key: &str| -> Result<Arc<str>, Refusal> {
        policy
            .text(key)?
            .filter(|text| !text.is_empty())
            .map(Arc::from)
            .ok_or_else(|| schema(format!("`policy.{key}` of the stored payload is missing or empty")))
    };
    Ok((filled("policy_id")?, filled("policy_version")?))
}

fn evaluation(event: &LogEvent) -> Result<Row, Refusal> {
    let (policy_id, version) = policy_of(&StoredPayload::of(event)?)?;
    Ok(Row(vec![
        [&*event.trace_id, &policy_id, &version, &event.event_id].join(":").into(),
        (&event.trace_id).into(),
        policy_id.into(),
        version.into(),
        event.log_seq.0.into(),
        (&event.occurred_at).into(),
    ]))
}

/// Reads the members of an event that [`precedents_of`] needs. A trace's start gives type, system and id of its primary
/// entity, or nothing when it has none. An evaluation gives policy and version; an exception also gives its id behind
/// them.
fn recall(event: &LogEvent) -> Result<Vec<Value>, Refusal> {
    let payload = StoredPayload::of(event)?;
    Ok(match event.known_type() {
        Some(EventType::TraceStarted) => match payload.object("primary_entity")? {
            Some(primary) => ["entity_type", "system", "entity_id"]
                .into_iter()
                .map(|member| primary.text(member).map(Value::from))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        Some(EventType::PolicyEvaluated) => {
            let (policy, version) = policy_of(&payload)?;
            vec![policy.into(), version.into()]
        }
        Some(EventType::ExceptionRequested) => {
            let at = |refusal: Refusal| {
                schema(format!("{} (event {}, log_seq {})", refusal.message, event.event_id, event.log_seq))
            };
            let (policy, version) = policy_of(&payload).map_err(at)?;
            let exception = payload
                .text("exception_id")
                .map_err(at)?
                .filter(|id| !id.is_empty())
                .ok_or_else(|| at(schema("`exception_id` of the stored payload is missing or empty")))?;
            vec![policy.into(), version.into(), exception.into()]
        }
        _ => Vec::new(),
    })
}

/// Builds the rows of a trace that finishes, from its history.
fn precedents_of<'e>(trace_id: &Arc<str>, history: impl Iterator<Item = &'e Recalled>) -> Result<Vec<Row>, Refusal> {
    let mut entity = [Value::Null, Value::Null, Value::Null];
    let mut sources = Vec::new();
    for event in history {
        let members = event.members.as_deref().map_err(Refusal::clone)?;
        match (EventType::parse(&event.event_type), members) {
            (Some(EventType::TraceStarted), [kind, system, id]) => {
                entity = [kind.clone(), system.clone(), id.clone()];
            }
            (Some(EventType::PolicyEvaluated), [policy, version]) => {
                sources.push((event, [policy.clone(), version.clone(), Value::Null]));
            }
            (Some(EventType::ExceptionRequested), [policy, version, exception]) => {
                sources.push((event, [policy.clone(), version.clone(), exception.clone()]));
            }
            _ => {}
        }
    }
    let [entity_type, entity_system, entity_id] = entity;
    let rows = sources.into_iter().map(|(event, [policy, version, exception])| {
        Row(vec![
            (&event.event_id).into(),
            trace_id.into(),
            event.log_seq.0.into(),
            policy,
            version,
            exception,
            entity_type.clone(),
            entity_system.clone(),
            entity_id.clone(),
        ])
    });
    Ok(rows.collect())
}
