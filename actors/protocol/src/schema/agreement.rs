//! The schemas, the report of faults and the append itself judge the same events alike. The files of the schemas are
//! those that the program makes.

use super::*;
use boon::{Compiler, SchemaIndex, Schemas};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::event::Line;
use decisiongraph_projections::faults::{self, Faults};
use decisiongraph_projections::sequence::{AppendPrior, Planned, TraceState, plan};
use decisiongraph_projections::{Admitted, Category, Refusal};
use std::collections::BTreeMap;
use std::path::Path;

/// A whole payload of each type.
const PAYLOADS: [(&str, &str); 11] = [
    (
        "TraceStarted",
        r#"{"workflow":"w","title":"t","primary_entity":{"entity_type":"a","entity_id":"1","system":"s"},"more":["x"]}"#,
    ),
    (
        "InputObserved",
        r#"{"input_id":"i","source":{"system":"s","object_type":"o","object_id":"1"},"facts":[{"name":"n","value":1}]}"#,
    ),
    ("EntityObserved", r#"{"entity":{"entity_type":"a","entity_id":"1"},"role":"related","facts":[]}"#),
    ("PolicyEvaluated", r#"{"policy":{"policy_id":"p","policy_version":"1"},"inputs":["i"],"decision":"deny"}"#),
    ("ExceptionRequested", r#"{"exception_id":"x","policy":{"policy_id":"p","policy_version":"1"},"reason":"r"}"#),
    (
        "ApprovalRecorded",
        r#"{"approval_id":"a","subject":{"subject_type":"exception","subject_id":"x"},"approver":{"actor_type":"person","actor_id":"b"},"decision":"approved"}"#,
    ),
    ("PrecedentCited", r#"{"cited_trace_id":"t0","reason":"r"}"#),
    (
        "ActionProposed",
        r#"{"action_id":"a","action_type":"t","target_entity":{"entity_type":"a","entity_id":"1"},"target_system":"s","changes":[]}"#,
    ),
    ("ActionCommitted", r#"{"action_id":"a","status":"partial"}"#),
    ("TraceFinished", r#"{"outcome":"abandoned"}"#),
    (
        "WorkflowReviewRequested",
        r#"{"template_id":"t","workflow_kind":"k","title":"t","reason":"r","priority":"high","assignee":{"role":null},"subject":{"subject_type":"trace_review","subject_id":"1"},"simulation":{},"sla_hours":6}"#,
    ),
];

/// Values that are put in the place of each member, as JSON texts.
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "1",
    "3",
    "-1",
    "1.5",
    "99999999999999999999",
    r#""""#,
    r#""x""#,
    r#""next""#,
    r#""approved""#,
    r#""allow""#,
    r#""agent""#,
    r#""primary""#,
    r#""success""#,
    r#""2026-01-31t09:30:00z""#,
    r#""2026-01-31 09:30:00-23:59""#,
    r#""2026-13-01T00:00:00Z""#,
    r#""2026-01-31T09:30:00""#,
    r#""sha256:00""#,
    "[]",
    r#"["x"]"#,
    "[1]",
    "[1.5]",
    r#"[[{"a":null}]]"#,
    "{}",
    r#"{"a":{"b":1.5}}"#,
    r#"{"entity_type":"a","entity_id":"b","system":null}"#,
    r#"{"policy_id":"p","policy_version":""}"#,
    r#"{"actor_type":"role","actor_id":"a"}"#,
];
/// Values whose fault JSON Schema cannot say.
const UNSAID: &[&str] = &[
    "1.0",
    "1e3",
    r#"[{"a":2.0}]"#,
    r#""password=hunter2""#,
    r#"["password=hunter2"]"#,
    r#"{"a":["password=hunter2"]}"#,
    r#""2026-02-30T00:00:00Z""#,
    r#""2026-01-30T23:59:60Z""#,
    r#""\u0000""#,
    r#"{"a\u0000":1}"#,
    r#""sha256:0000000000000000000000000000000000000000000000000000000000000000""#,
];

/// Lists all values, with true for those whose fault JSON Schema cannot say.
fn values() -> Vec<(String, bool)> {
    let texts = |texts: &[&str], unsaid| texts.iter().map(|text| ((*text).to_owned(), unsaid)).collect::<Vec<_>>();
    let long = |text: &str, count: usize| format!("\"{}\"", text.repeat(count));
    let mut all = texts(VALUES, false);
    all.extend([200, 201, 4_096, 4_097, 16_384, 16_385].map(|count| (long("k", count), false)));
    all.extend(texts(UNSAID, true));
    all.extend([150, 3_000, 9_000].map(|count| (long("é", count), true)));
    all
}

/// Returns a whole event of this type, with every member that an export or a producer writes.
fn whole(event_type: &str, payload: &str) -> Value {
    let payload: Value = serde_json::from_str(payload).expect("JSON");
    json!({
        "tenant_id": "acme", "event_id": "e", "trace_id": "t", "trace_seq": "next", "event_type": event_type,
        "occurred_at": "2026-01-31T09:30:00.5+01:00",
        "source": { "producer_id": "p", "system": "s", "subsystem": "u" },
        "actor": { "actor_type": "agent", "actor_id": "a" },
        "idempotency_key": "k", "correlation_id": "c", "causation_event_id": "z", "schema_version": 1,
        "tags": ["x"], "payload": payload, "payload_hash": null,
        "log_seq": 7, "recorded_at": "2026-01-31T09:30:01Z", "unknown": 1.5,
    })
}

/// Lists the pointers of all members of a value, at every depth.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (key, member) in members {
        let pointer = format!("{at}/{key}");
        pointers(member, &pointer, found);
        found.push(pointer);
    }
}

/// A change of an event: another value for a member, or none.
#[derive(Clone)]
struct Change<'v> {
    pointer: &'v str,
    value: Option<&'v str>,
    unsaid: bool,
}

/// Returns the event with the changes, as text: values are spelt as they are given.
fn changed(event: &Value, changes: &[Change<'_>]) -> String {
    let mut event = event.clone();
    for (index, change) in changes.iter().enumerate() {
        let (outer, key) = change.pointer.rsplit_once('/').expect("a pointer");
        let Some(Value::Object(members)) = event.pointer_mut(outer) else { continue };
        match change.value {
            Some(_) => drop(members.insert(key.to_owned(), format!("<{index}>").into())),
            None => drop(members.remove(key)),
        }
    }
    let mut text = event.to_string();
    for (index, change) in changes.iter().enumerate() {
        text = text.replace(&format!("\"<{index}>\""), change.value.unwrap_or_default());
    }
    text
}

/// Returns the refusal of an append to a log in which the event is next.
fn refusal(text: &str) -> Option<Refusal> {
    let admitted = Line::parse(text).and_then(|line| line.admit(CredentialGuard::default(), || "drawn".to_owned()));
    let event: Admitted = match admitted {
        Ok(event) => event,
        Err(refusal) => return Some(refusal),
    };
    let envelope = event.envelope();
    let due = match envelope.event_type == FIRST_TYPE {
        true => 0,
        false if event.is_next() => 1,
        false => envelope.trace_seq,
    };
    let next_seq = Some(due).filter(|due| (0..=TRACE_SEQ_MAX).contains(due));
    let trace = (envelope.trace_id.clone(), TraceState { next_seq, finished: false });
    let prior = AppendPrior { traces: [trace].into(), ..AppendPrior::default() };
    match plan(&prior, &[event]).remove(0) {
        Planned::Refuse(refusal) => Some(refusal),
        _ => None,
    }
}

/// The compiled schemas.
struct Judges {
    schemas: Schemas,
    by_type: BTreeMap<&'static str, SchemaIndex>,
    any_type: SchemaIndex,
}

impl Judges {
    fn new() -> Judges {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let mut index = |name: &str| {
            let place = format!("urn:decisiongraph:schema:{name}");
            compiler.add_resource(&place, of(name).expect("a schema")).expect("added");
            compiler.compile(&place, &mut schemas).expect("a valid schema")
        };
        let by_type = PAYLOADS.map(|(name, _)| (name, index(name))).into();
        let any_type = index(ANY_TYPE);
        Judges { schemas, by_type, any_type }
    }

    /// Lets all judges see the event. True when an append takes it.
    fn judge(&self, event_type: &str, text: &str, unsaid: bool) -> bool {
        let refused = refusal(text);
        let mut faults = Faults::new(50);
        faults::read(text, CredentialGuard::default(), &mut faults);
        assert_eq!(faults.count == 0, refused.is_none(), "{refused:?}\n{:?}\n{text}", faults.shown);
        if let Some(refusal) = &refused {
            let path = refusal.message.split('`').nth(1).filter(|_| refusal.message.starts_with('`'));
            let path = path.filter(|_| refusal.category != Category::EventSequenceInvalid).unwrap_or_default();
            // Of a list or an object, the report may name the item, or the object as a whole.
            let same = |told: &str| told.starts_with(path) || path.starts_with(told);
            let told = faults.shown.iter().any(|fault| same(&fault.path));
            assert!(told, "{refusal}\n{:?}\n{text}", faults.shown);
        }
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            assert!(refused.is_some(), "{text}");
            return false;
        };
        let fits = |index| self.schemas.validate(&value, index).is_ok();
        let (fits_type, fits_any) = (fits(self.by_type[event_type]), fits(self.any_type));
        assert!(fits_any || refused.is_some() && !fits_type, "the envelope refuses what an append takes: {text}");
        let taken = refused.is_none();
        assert!(fits_type == taken || unsaid && fits_type, "{refused:?}: the schema says {fits_type}: {text}");
        taken
    }
}

#[test]
fn schemas_faults_and_append_agree_about_every_event_with_one_or_two_changes() {
    let (judges, values) = (Judges::new(), values());
    let (mut taken, mut refused) = (0, 0);
    for (event_type, payload) in PAYLOADS {
        let event = whole(event_type, payload);
        assert!(judges.judge(event_type, &event.to_string(), false), "{event}");
        let mut places = Vec::new();
        pointers(&event, "", &mut places);
        let mut changes = Vec::new();
        for pointer in &places {
            changes.extend(values.iter().map(|(text, unsaid)| Change { pointer, value: Some(text), unsaid: *unsaid }));
            changes.push(Change { pointer, value: None, unsaid: false });
        }
        let pairs = changes.iter().zip(changes.iter().cycle().skip(389)).step_by(7);
        let pairs = pairs.map(|(one, other)| vec![one.clone(), other.clone()]);
        for changes in changes.iter().map(|one| vec![one.clone()]).chain(pairs) {
            let unsaid = changes.iter().any(|change| change.unsaid);
            match judges.judge(event_type, &changed(&event, &changes), unsaid) {
                true => taken += 1,
                false => refused += 1,
            }
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
}

/// The files in `docs/reference/schemas` are those that the program makes. `DECISIONGRAPH_BLESS=1` writes them.
#[test]
fn the_files_are_the_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schemas");
    let mut names = Vec::new();
    for Listed { name, about } in list() {
        assert!(about.ends_with('.') && about.len() < 100, "{about}");
        let path = folder.join(format!("{name}.json"));
        let text = format!("{:#}\n", of(name).expect("a schema"));
        if std::env::var_os("DECISIONGRAPH_BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &text).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect(name), text, "write it with DECISIONGRAPH_BLESS=1");
        names.push(format!("{name}.json"));
    }
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name), "{name} is not a schema");
    }
}
