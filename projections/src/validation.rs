//! Every append check that needs no database, in the reference's order: idempotency key, JSON-safe payload, payload
//! shape, credential guard, hash. Checks that need the log (idempotency, sequence, finished) are in
//! [`crate::sequence`].

use crate::canonical_json::Json;
use crate::category::{Category, Refusal};
use crate::credential_guard::CredentialGuard;
use crate::event::{Admitted, Draft, Envelope, ID_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, Line};
use crate::payload_hash::sha256_hex;
use crate::rfc3339;
use crate::shape::{self, ACTOR_TYPES, Form, INSTEAD_OF_A_FLOAT, Member, Presence};
use std::fmt;

/// Checks a draft under the default guard, and fixes its canonical payload and hash.
///
/// # Errors
/// As [`admit_under`].
pub fn admit(draft: Draft<'_>) -> Result<Admitted, Refusal> {
    admit_under(CredentialGuard::default(), draft)
}

/// Checks a draft under this guard, and fixes its canonical payload and hash.
///
/// # Errors
/// `invalid_argument`, `schema_violation` or `pii_violation`: the first check that fails.
pub fn admit_under(guard: CredentialGuard, draft: Draft<'_>) -> Result<Admitted, Refusal> {
    let Draft { envelope, payload, next } = draft;
    if envelope.event_id.is_empty() {
        return Err(schema("`event_id` is missing"));
    }
    let key = &envelope.idempotency_key;
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX || key.contains('\0') {
        return Err(Refusal::new(
            Category::InvalidArgument,
            format!(
                "`idempotency_key` must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes and no U+0000; this one has {} bytes",
                key.len()
            ),
        ));
    }
    if let Some(path) = payload.first_float("payload") {
        return Err(schema(format!("`{path}` is a float, and a payload has none: {INSTEAD_OF_A_FLOAT}")));
    }
    check_shape(&envelope.event_type, &payload)?;
    check_ids(&envelope)?;
    if !rfc3339::is_time(&envelope.occurred_at) {
        return Err(schema("`occurred_at` must be a valid RFC 3339 time, such as 2026-01-31T09:30:00Z"));
    }
    one_of("actor.actor_type", &envelope.actor.actor_type, ACTOR_TYPES)?;
    check_credentials(guard, &envelope, &payload)?;
    let payload = payload.to_payload_form();
    let payload_hash = sha256_hex(payload.as_bytes());
    Ok(Admitted { envelope, payload, payload_hash, next })
}

impl Line<'_> {
    /// Checks the event under this guard, and the hash that the line may give. An event without id gets the one that
    /// `draw` makes.
    ///
    /// # Errors
    /// As [`admit_under`], and `conflict` when the hash is not that of the payload.
    pub fn admit(self, guard: CredentialGuard, draw: impl FnOnce() -> String) -> Result<Admitted, Refusal> {
        let admitted = admit_under(guard, self.draft.identified(draw))?;
        match self.payload_hash {
            Some(given) if given != admitted.payload_hash() => Err(Refusal::new(
                Category::Conflict,
                format!("`payload_hash` does not match the payload, whose hash is {}", admitted.payload_hash()),
            )),
            _ => Ok(admitted),
        }
    }
}

/// Checks the length of the envelope's ids and of its time. The time's fraction of a second may have any number of
/// digits.
fn check_ids(envelope: &Envelope) -> Result<(), Refusal> {
    let fields = [
        ("event_id", Some(&envelope.event_id)),
        ("trace_id", Some(&envelope.trace_id)),
        ("occurred_at", Some(&envelope.occurred_at)),
        ("source.producer_id", Some(&envelope.source.producer_id)),
        ("source.system", Some(&envelope.source.system)),
        ("source.subsystem", envelope.source.subsystem.as_ref()),
        ("actor.actor_id", Some(&envelope.actor.actor_id)),
        ("correlation_id", envelope.correlation_id.as_ref()),
        ("causation_event_id", envelope.causation_event_id.as_ref()),
    ];
    for (path, text) in fields {
        within(path, text.map_or("", String::as_str), ID_BYTES_MAX)?;
    }
    Ok(())
}

fn within(path: impl fmt::Display, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(Refusal::new(
        Category::InvalidArgument,
        format!("`{path}` must have at most {bytes_max} bytes; this one has {} bytes; use a shorter one", text.len()),
    ))
}

fn check_credentials(guard: CredentialGuard, envelope: &Envelope, payload: &Json<'_>) -> Result<(), Refusal> {
    let refuse = |place: &str, found: &str| {
        Err(Refusal::new(
            Category::PiiViolation,
            match guard {
                CredentialGuard::Patterns => {
                    format!("`{place}` contains what looks like {found}; remove the credential")
                }
                CredentialGuard::Reference => {
                    format!("`{place}` contains `{found}`, which the reference's guard refuses; remove it")
                }
            },
        ))
    };
    let holds = |text: &str| guard.find(text).is_some();
    // The path is made only for a text that is refused.
    if payload.any_string(&mut |text| holds(text))
        && let Some((place, text)) = payload.string_path("payload", &holds)
    {
        return refuse(&place, guard.find(text).unwrap_or_default());
    }
    let source = &envelope.source;
    let fields = [
        ("actor.actor_type", Some(&envelope.actor.actor_type)),
        ("actor.actor_id", Some(&envelope.actor.actor_id)),
        ("source.producer_id", Some(&source.producer_id)),
        ("source.system", Some(&source.system)),
        ("source.subsystem", source.subsystem.as_ref()),
        ("correlation_id", envelope.correlation_id.as_ref()),
        ("causation_event_id", envelope.causation_event_id.as_ref()),
        ("idempotency_key", Some(&envelope.idempotency_key)),
    ];
    for (index, tag) in envelope.tags.iter().enumerate() {
        if let Some(found) = guard.find(tag) {
            return refuse(&format!("tags[{index}]"), found);
        }
    }
    for (place, text) in fields {
        if let Some(found) = text.and_then(|text| guard.find(text)) {
            return refuse(place, found);
        }
    }
    Ok(())
}

/// Checks a payload by the shape of its type.
fn check_shape(event_type: &str, payload: &Json<'_>) -> Result<(), Refusal> {
    let shape = shape::of(event_type).ok_or_else(|| schema("`event_type` is not one of the eleven known types"))?;
    if !matches!(payload, Json::Object(_)) {
        return Err(schema(format!("`payload` must be an object, not {}", payload.kind())));
    }
    for member in shape.payload {
        let at = At { object: "", member: member.name };
        match member.form {
            Form::Filled(bytes_max) => within(at, filled(payload, at)?, bytes_max)?,
            Form::Word(words) => one_of(at, filled(payload, at)?, words)?,
            Form::List => match payload.get(member.name) {
                Some(Json::Array(_)) => {}
                Some(other) => return Err(schema(format!("`{at}` must be a list, not {}", other.kind()))),
                None => return Err(missing(at)),
            },
            Form::Count => match payload.get(member.name) {
                Some(Json::Int(digits)) if !digits.starts_with('-') && **digits != *"0" => {}
                Some(Json::Int(_)) => return Err(schema(format!("`{at}` must be above 0"))),
                Some(other) => return Err(schema(format!("`{at}` must be an integer, not {}", other.kind()))),
                None => return Err(missing(at)),
            },
            Form::Object(members) => match payload.get(member.name) {
                Some(object @ Json::Object(_)) => check_object(member.name, object, members)?,
                Some(other) => return Err(schema(format!("`{at}` must be an object, not {}", other.kind()))),
                None => return Err(missing(at)),
            },
            // Forms of the envelope: `Line::parse` and `admit_under` check them.
            Form::Text(_) | Form::Key(_) | Form::Time | Form::Number => {}
            Form::Integer | Form::Hash | Form::Tags | Form::Ignored => {}
        }
    }
    Ok(())
}

/// Checks an object of a payload: first that its ids are there, then words and what may be absent.
fn check_object(name: &str, object: &Json<'_>, members: &[Member]) -> Result<(), Refusal> {
    for member in members.iter().filter(|member| member.presence == Presence::Needed) {
        let at = At { object: name, member: member.name };
        within(at, filled(object, at)?, ID_BYTES_MAX)?;
    }
    for member in members {
        let at = At { object: name, member: member.name };
        match (member.form, object.get(member.name)) {
            (Form::Word(words), Some(Json::Str(word))) => one_of(at, word, words)?,
            (Form::Text(bytes_max), Some(Json::Str(text))) => within(at, text, bytes_max)?,
            (Form::Text(_), Some(other)) if *other != Json::Null => {
                return Err(schema(format!("`{at}` must be a string or null, not {}", other.kind())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Path of a member in a payload, or in an object of the payload. It is written only for a refusal.
#[derive(Clone, Copy)]
struct At<'p> {
    object: &'p str,
    member: &'p str,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { object, member } = self;
        let dot = if object.is_empty() { "" } else { "." };
        write!(f, "payload.{object}{dot}{member}")
    }
}

fn filled<'j>(object: &'j Json<'_>, at: At<'_>) -> Result<&'j str, Refusal> {
    match object.get(at.member) {
        Some(Json::Str(text)) if !text.is_empty() => Ok(text),
        Some(Json::Str(_)) => Err(schema(format!("`{at}` is empty"))),
        Some(other) => Err(schema(format!("`{at}` must be a string, not {}", other.kind()))),
        None => Err(missing(at)),
    }
}

fn missing(at: At<'_>) -> Refusal {
    schema(format!("`{at}` is missing"))
}

fn one_of(path: impl fmt::Display, word: &str, words: &[&str]) -> Result<(), Refusal> {
    if words.contains(&word) { Ok(()) } else { Err(schema(format!("`{path}` must be one of {}", words.join(", ")))) }
}

fn schema(message: impl Into<String>) -> Refusal {
    Refusal::new(Category::SchemaViolation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TITLE_BYTES_MAX;

    fn admit_with(event_type: &str, payload: &str) -> Result<Admitted, Refusal> {
        let text = format!(
            r#"{{"event_id":"e1","trace_id":"t1","trace_seq":0,"event_type":"{event_type}","occurred_at":"2026-01-01T00:00:00Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"a"}},"idempotency_key":"k","payload":{payload}}}"#
        );
        admit(Line::parse(&text)?.draft)
    }

    const REVIEW: &str = r#"{"template_id":"t","workflow_kind":"k","title":"t","reason":"r","priority":"high","assignee":{"role":null},"subject":{"subject_type":"trace_review","subject_id":"1"},"simulation":{},"sla_hours":6}"#;

    #[test]
    fn a_review_has_a_deadline_of_some_hours() {
        for (hours, message) in [
            ("0", "`payload.sla_hours` must be above 0"),
            ("-6", "`payload.sla_hours` must be above 0"),
            ("\"6\"", "`payload.sla_hours` must be an integer, not a string"),
        ] {
            let payload = REVIEW.replace(":6}", &format!(":{hours}}}"));
            let refusal = admit_with("WorkflowReviewRequested", &payload).expect_err(message);
            assert_eq!((refusal.category, refusal.message.as_str()), (Category::SchemaViolation, message));
        }
        assert!(admit_with("WorkflowReviewFinished", REVIEW).is_err());
    }

    #[test]
    fn each_type_asks_for_its_fields() {
        let good = [
            (
                "TraceStarted",
                r#"{"workflow":"w","title":" ","primary_entity":{"entity_type":"a","entity_id":"1","system":null}}"#,
            ),
            (
                "InputObserved",
                r#"{"input_id":"i","source":{"system":"s","object_type":"o","object_id":"1"},"facts":[]}"#,
            ),
            ("EntityObserved", r#"{"entity":{"entity_type":"a","entity_id":"1"},"role":"related","facts":[]}"#),
            ("PolicyEvaluated", r#"{"policy":{"policy_id":"p","policy_version":"1"},"inputs":[],"decision":"deny"}"#),
            (
                "ExceptionRequested",
                r#"{"exception_id":"x","policy":{"policy_id":"p","policy_version":"1"},"reason":"r"}"#,
            ),
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
            ("WorkflowReviewRequested", REVIEW),
        ];
        for (event_type, payload) in good {
            let admitted = admit_with(event_type, payload).unwrap_or_else(|refusal| panic!("{event_type}: {refusal}"));
            let Json::Object(members) = crate::json_reader::parse(admitted.payload()).expect("JSON").value else {
                panic!()
            };
            for (missing, _) in &members {
                let rest: Vec<_> = members.iter().filter(|(key, _)| key != missing).cloned().collect();
                let refusal =
                    admit_with(event_type, &Json::Object(rest).to_payload_form()).expect_err("a field is missing");
                assert_eq!(refusal.category, Category::SchemaViolation, "{event_type} without {missing}");
            }
        }
    }

    #[test]
    fn every_id_has_a_named_length() {
        let (longest, longer) = ("x".repeat(ID_BYTES_MAX), "x".repeat(ID_BYTES_MAX + 1));
        let line = |id: &str| {
            format!(
                r#"{{"event_id":"e1","trace_id":"t1","trace_seq":0,"event_type":"PolicyEvaluated","occurred_at":"2026-01-01T00:00:00Z","source":{{"producer_id":"p1","system":"s1","subsystem":"u1"}},"actor":{{"actor_type":"agent","actor_id":"a1"}},"correlation_id":"c1","causation_event_id":"z1","idempotency_key":"k","payload":{{"policy":{{"policy_id":"i1","policy_version":"v1"}},"inputs":[],"decision":"deny","note":"{id}"}}}}"#
            )
        };
        let admit_line = |text: &str| admit(Line::parse(text).expect("a line").draft);
        assert!(admit_line(&line(&longer)).is_ok(), "a text of the payload that is no id has none");
        for (field, text) in [
            ("event_id", "e1"),
            ("trace_id", "t1"),
            ("source.producer_id", "p1"),
            ("source.system", "s1"),
            ("source.subsystem", "u1"),
            ("actor.actor_id", "a1"),
            ("correlation_id", "c1"),
            ("causation_event_id", "z1"),
            ("payload.policy.policy_id", "i1"),
            ("payload.policy.policy_version", "v1"),
        ] {
            let with = |id: &str| admit_line(&line("").replace(&format!("\"{text}\""), &format!("\"{id}\"")));
            assert!(with(&longest).is_ok(), "{field}");
            let refusal = with(&longer).expect_err(field);
            assert_eq!(refusal.category, Category::InvalidArgument, "{field}");
            assert_eq!(
                refusal.message,
                format!("`{field}` must have at most 4096 bytes; this one has 4097 bytes; use a shorter one")
            );
        }
        let started = |title: &str, system: &str| {
            let entity = format!(r#"{{"entity_type":"a","entity_id":"1","system":"{system}"}}"#);
            admit_with("TraceStarted", &format!(r#"{{"workflow":"w","title":"{title}","primary_entity":{entity}}}"#))
        };
        let title = "t".repeat(TITLE_BYTES_MAX);
        assert!(started(&title, &longest).is_ok());
        for (refused, named) in
            [(started(&(title + "t"), "s"), "title"), (started("t", &longer), "primary_entity.system")]
        {
            assert!(refused.expect_err(named).message.starts_with(&format!("`payload.{named}` must have at most ")));
        }
        let long_time = format!("2026-01-01T00:00:00.{}Z", "0".repeat(ID_BYTES_MAX));
        assert!(admit_line(&line("").replace("2026-01-01T00:00:00Z", &long_time)).is_err());
    }

    #[test]
    fn checks_come_in_the_reference_order() {
        let order = [
            (
                r#"{"outcome":"success","x":1.5,"note":"password=hunter2"}"#,
                Category::SchemaViolation,
                "`payload.x` is a float, and a payload has none: write a scaled integer, such as \"confidence_ppm\": 870000, \
                 or a string, such as \"0.87\"",
            ),
            (
                r#"{"outcome":"done","note":"password=hunter2"}"#,
                Category::SchemaViolation,
                "`payload.outcome` must be one of",
            ),
            (
                r#"{"outcome":"success","note":[{"x":"password=hunter2"}]}"#,
                Category::PiiViolation,
                "`payload.note[0].x` contains what looks like a password",
            ),
        ];
        for (payload, category, message) in order {
            let refusal = admit_with("TraceFinished", payload).expect_err("refused");
            assert_eq!(refusal.category, category);
            assert!(refusal.message.starts_with(message), "{refusal}");
        }
        let in_a_key = admit_with("TraceFinished", r#"{"outcome":"success","password=hunter2":1}"#);
        assert!(in_a_key.is_ok(), "keys are not searched");
    }

    #[test]
    fn under_the_references_guard_a_word_that_contains_one_of_its_texts_is_refused() {
        let text = r#"{"event_id":"e","trace_id":"t","trace_seq":0,"event_type":"TraceFinished","occurred_at":"2026-01-01T00:00:00Z","source":{"producer_id":"p","system":"s"},"actor":{"actor_type":"agent","actor_id":"a"},"idempotency_key":"k","tags":["x","task-17"],"payload":{"outcome":"success"}}"#;
        let draft = || Line::parse(text).expect("reads").draft;
        assert!(admit(draft()).is_ok());
        let refusal = admit_under(CredentialGuard::Reference, draft()).expect_err("refused");
        assert_eq!(refusal.category, Category::PiiViolation);
        assert!(refusal.message.starts_with("`tags[1]` contains `sk-`"), "{refusal}");
    }
}
