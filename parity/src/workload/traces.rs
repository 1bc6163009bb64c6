//! Decision traces as producers write them. They have six to ten events of all types, about 512 bytes of payload,
//! shared entities and policies. Now and then there is a hostile text, number or spelling.
//!
//! *Guarantees:* every event is legal. Memory holds a few pools and one small state per running trace, for any length
//! of the workload.

use super::clock::after_2026;
use super::json::{Envelope, Object, Spelling, line, list, string};
use super::prng::Prng;
use super::text::{hostile, id, number, prose};

/// Events of the shortest and of the longest trace.
pub const TRACE_EVENTS: (usize, usize) = (6, 10);

const ENTITIES: usize = 400;
const POLICIES: usize = 40;
const ACTORS: usize = 60;
const PRODUCERS: usize = 8;
/// Most finished traces, and most open exceptions, that other traces may refer to.
const RECENT: usize = 64;

const ENTITY_TYPES: &[&str] = &["account", "opportunity", "ticket", "vendor", "a:b", "ünit"];
const ACTOR_TYPES: &[&str] = &["agent", "person", "role", "system"];
const SYSTEMS: &[&str] = &["crm", "billing", "support", "access", "datalake"];
const WORKFLOWS: &[&str] = &["deal_desk", "renewal", "refund", "vendor_onboarding", "access_grant", "incident"];
const ZONES: &[&str] = &["Z", "Z", "Z", ".000001Z", ".5+02:00", "+00:00", ".123456-05:30"];

/// Event types between start and finish; the number of entries is the weight of a type.
const MIDDLE: &[&str] = &[
    "InputObserved",
    "InputObserved",
    "EntityObserved",
    "EntityObserved",
    "PolicyEvaluated",
    "PolicyEvaluated",
    "PolicyEvaluated",
    "ExceptionRequested",
    "ExceptionRequested",
    "ApprovalRecorded",
    "PrecedentCited",
    "ActionProposed",
    "ActionProposed",
    "ActionProposed",
    "ActionCommitted",
];

#[derive(Clone)]
struct Entity {
    entity_type: String,
    entity_id: String,
    system: Option<&'static str>,
}

/// A trace that is not finished.
pub struct Trace {
    trace_id: String,
    next_seq: usize,
    events: usize,
    entity: Entity,
    correlation_id: Option<String>,
    last_event_id: Option<String>,
    inputs: usize,
    exception_id: Option<String>,
    action_id: Option<String>,
}

/// Writes traces, event by event.
pub struct Author {
    prng: Prng,
    written: usize,
    traces: usize,
    announced: String,
    entities: Vec<Entity>,
    policies: Vec<(String, String)>,
    actors: Vec<(&'static str, String)>,
    recent_traces: Vec<String>,
    recent_exceptions: Vec<String>,
}

impl Author {
    /// Creates the author of this seed.
    pub fn new(seed: u64) -> Author {
        let mut prng = Prng::new(seed);
        let entities = (0..ENTITIES).map(|n| entity(&mut prng, n)).collect();
        let policies = (0..POLICIES)
            .map(|n| (id(&mut prng, "policy", n / 2), ["1.0", "2.0", "2.0-β", "v:3"][prng.below(4)].to_owned()))
            .collect();
        let actors = (0..ACTORS).map(|n| (prng.pick(ACTOR_TYPES), id(&mut prng, "a", n))).collect();
        let announced = id(&mut prng, "t", 0);
        Author {
            prng,
            written: 0,
            traces: 0,
            announced,
            entities,
            policies,
            actors,
            recent_traces: Vec::new(),
            recent_exceptions: Vec::new(),
        }
    }

    /// Returns the randomness of the author. The caller draws with it the trace that continues.
    pub fn prng(&mut self) -> &mut Prng {
        &mut self.prng
    }

    /// Creates a trace that has not started. Its id may have been cited already.
    pub fn trace(&mut self) -> Trace {
        self.traces += 1;
        let announced = id(&mut self.prng, "t", self.traces);
        Trace {
            trace_id: std::mem::replace(&mut self.announced, announced),
            next_seq: 0,
            events: self.prng.between(TRACE_EVENTS.0, TRACE_EVENTS.1),
            entity: self.entity(),
            correlation_id: self.prng.one_in(4).then(|| format!("corr:{}", self.traces / 3)),
            last_event_id: None,
            inputs: 0,
            exception_id: None,
            action_id: None,
        }
    }

    /// Writes the next event of this trace as a line; the flag is true for the last event.
    pub fn event(&mut self, trace: &mut Trace, tenant_id: Option<&str>) -> (String, bool) {
        let number = self.written;
        self.written += 1;
        let last = trace.next_seq + 1 == trace.events;
        let event_type = match trace.next_seq {
            0 => "TraceStarted",
            _ if last => "TraceFinished",
            _ => self.prng.pick(MIDDLE),
        };
        let spelling = match self.prng.below(10) {
            0 => Spelling::Ascii,
            1 => Spelling::Loose,
            _ => Spelling::Canonical,
        };
        let payload = self.payload(trace, event_type, number, spelling);
        let event_id =
            if self.prng.one_in(50) { format!("{}{number}", hostile(&mut self.prng, 2)) } else { self.prng.uuid() };
        let idempotency_key = if self.prng.one_in(50) {
            format!("{}k{number}", hostile(&mut self.prng, 3))
        } else {
            format!("k{number}")
        };
        let producer = self.prng.below(PRODUCERS);
        let actor = &self.actors[self.prng.below(ACTORS)];
        let tags: &[&str] = match self.prng.below(6) {
            0 => &["urgent", "ü:1"],
            1 => &["batch"],
            _ => &[],
        };
        let envelope = Envelope {
            tenant_id,
            event_id: &event_id,
            trace_id: &trace.trace_id,
            trace_seq: trace.next_seq,
            event_type,
            occurred_at: &after_2026(number as u64, self.prng.pick(ZONES)),
            source: (
                &format!("producer-{producer}"),
                SYSTEMS[producer % SYSTEMS.len()],
                (producer == 3).then_some("edge"),
            ),
            actor: (actor.0, &actor.1),
            idempotency_key: &idempotency_key,
            correlation_id: trace.correlation_id.as_deref(),
            causation_event_id: trace.last_event_id.as_deref(),
            tags,
        };
        let line = line(spelling, &envelope, payload);
        trace.next_seq += 1;
        trace.last_event_id = Some(event_id);
        if last {
            remember(&mut self.recent_traces, number, &trace.trace_id);
        }
        (line, last)
    }

    fn payload(&mut self, trace: &mut Trace, event_type: &str, number: usize, spelling: Spelling) -> String {
        let object = || Object::new(spelling);
        match event_type {
            "TraceStarted" => {
                let title = self.words(70);
                object()
                    .text("workflow", self.prng.pick(WORKFLOWS))
                    .text("title", &title)
                    .raw("primary_entity", entity_json(spelling, &trace.entity))
                    .text("context", &self.words(390))
                    .end()
            }
            "InputObserved" => {
                trace.inputs += 1;
                let facts = list((0..2).map(|n| {
                    let value = if n == 0 { self.words(110) } else { self.words(70) };
                    object()
                        .text("key", "fact")
                        .raw("value", object().text("type", "string").text("value", &value).end())
                        .end()
                }));
                let source = object()
                    .text("system", self.prng.pick(SYSTEMS))
                    .text("object_type", &trace.entity.entity_type)
                    .text("object_id", &trace.entity.entity_id)
                    .end();
                object()
                    .text("input_id", &id(&mut self.prng, "in", number))
                    .raw("source", source)
                    .raw("facts", facts)
                    .raw("amount_minor", number_of(&mut self.prng))
                    .text("note", &self.words(140))
                    .end()
            }
            "EntityObserved" => {
                let entity = self.entity();
                let fact = object().text("key", "segment").text("value", &self.words(230)).end();
                object()
                    .raw("entity", entity_json(spelling, &entity))
                    .text("role", self.prng.pick(&["primary", "related"]))
                    .raw("facts", list([fact]))
                    .text("note", &self.words(140))
                    .end()
            }
            "PolicyEvaluated" => {
                let summary = self.words(330);
                object()
                    .raw("policy", self.policy(spelling))
                    .raw("inputs", list((0..trace.inputs).map(|n| string(spelling, &format!("in.{n}")))))
                    .text("decision", self.prng.pick(&["allow", "deny", "require_exception"]))
                    .raw("explanation", object().text("summary", &summary).end())
                    .raw("violations", list([]))
                    .raw("score_micro", number_of(&mut self.prng))
                    .end()
            }
            "ExceptionRequested" => {
                let exception_id = id(&mut self.prng, "exc", number);
                remember(&mut self.recent_exceptions, number, &exception_id);
                trace.exception_id = Some(exception_id.clone());
                object()
                    .text("exception_id", &exception_id)
                    .raw("policy", self.policy(spelling))
                    .text("reason", &self.words(420))
                    .end()
            }
            "ApprovalRecorded" => {
                let subject = match (&trace.exception_id, self.prng.below(4)) {
                    (_, 0) => ("action", trace.action_id.clone().unwrap_or_else(|| format!("act.{number}"))),
                    (Some(own), 1 | 2) => ("exception", own.clone()),
                    _ => ("exception", self.recent(number, "exc")),
                };
                let actor = &self.actors[self.prng.below(ACTORS)];
                let approver = object().text("actor_type", actor.0).text("actor_id", &actor.1).end();
                object()
                    .text("approval_id", &format!("appr.{number}"))
                    .raw("subject", object().text("subject_type", subject.0).text("subject_id", &subject.1).end())
                    .raw("approver", approver)
                    .text("decision", self.prng.pick(&["approved", "rejected"]))
                    .text("comment", &self.words(300))
                    .end()
            }
            "PrecedentCited" => {
                // A trace that finished, the trace that starts next, or one that is in no log.
                let cited = match self.prng.below(4) {
                    0 => self.announced.clone(),
                    1 => format!("ext:trace:{}", number % 97),
                    _ => self.recent(number, "t"),
                };
                object().text("cited_trace_id", &cited).text("reason", &self.words(490)).end()
            }
            "ActionProposed" => {
                let action_id = id(&mut self.prng, "act", number);
                trace.action_id = Some(action_id.clone());
                let target = if self.prng.one_in(3) { self.entity() } else { trace.entity.clone() };
                let change =
                    object().text("field", "terms").text("from", "standard").text("to", &self.words(230)).end();
                object()
                    .text("action_id", &action_id)
                    .text("action_type", self.prng.pick(&["update_record", "notify", "grant"]))
                    .raw("target_entity", entity_json(spelling, &target))
                    .text("target_system", self.prng.pick(SYSTEMS))
                    .raw("changes", list([change]))
                    .end()
            }
            "ActionCommitted" => {
                let action_id = trace.action_id.clone().unwrap_or_else(|| format!("act.{number}"));
                object()
                    .text("action_id", &action_id)
                    .text("status", self.prng.pick(&["success", "failure", "partial"]))
                    .text("result", &self.words(490))
                    .end()
            }
            _ => object()
                .text("outcome", self.prng.pick(&["success", "success", "failure", "abandoned"]))
                .text("summary", &self.words(500))
                .end(),
        }
    }

    /// Writes prose of about this many bytes; one text in twelve is hostile.
    fn words(&mut self, bytes: usize) -> String {
        if self.prng.one_in(12) { hostile(&mut self.prng, bytes / 8) } else { prose(&mut self.prng, bytes) }
    }

    /// Picks a shared entity in seven of ten cases, else makes a new one.
    fn entity(&mut self) -> Entity {
        if self.prng.below(10) < 7 {
            self.entities[self.prng.below(ENTITIES)].clone()
        } else {
            entity(&mut self.prng, ENTITIES + self.written)
        }
    }

    fn policy(&mut self, spelling: Spelling) -> String {
        let (policy_id, version) = &self.policies[self.prng.below(POLICIES)];
        Object::new(spelling).text("policy_id", policy_id).text("policy_version", version).end()
    }

    fn recent(&mut self, number: usize, kind: &str) -> String {
        let recent = if kind == "t" { &self.recent_traces } else { &self.recent_exceptions };
        match recent.len() {
            0 => format!("{kind}:none:{number}"),
            len => recent[self.prng.below(len)].clone(),
        }
    }
}

fn entity(prng: &mut Prng, number: usize) -> Entity {
    Entity {
        entity_type: prng.pick(ENTITY_TYPES).to_owned(),
        entity_id: id(prng, "e", number),
        system: (!prng.one_in(5)).then(|| prng.pick(SYSTEMS)),
    }
}

fn entity_json(spelling: Spelling, entity: &Entity) -> String {
    Object::new(spelling)
        .text("entity_type", &entity.entity_type)
        .text("entity_id", &entity.entity_id)
        .optional("system", entity.system)
        .end()
}

fn number_of(prng: &mut Prng) -> String {
    if prng.one_in(10) { number(prng) } else { prng.below(10_000_000).to_string() }
}

fn remember(recent: &mut Vec<String>, number: usize, text: &str) {
    if recent.len() < RECENT {
        recent.push(text.to_owned());
    } else {
        recent[number % RECENT] = text.to_owned();
    }
}
