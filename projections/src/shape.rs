//! The shapes of events, as data: the members of the envelope, and those of each type's payload.
//!
//! *Guarantees.* An append checks payloads by these tables ([`crate::validation`]). A report of faults follows them
//! ([`crate::faults`]), and the JSON Schemas are made of them. Members that are not listed may have any value. A
//! payload has no float at any depth.

use crate::event::{EVENT_BYTES_MAX, ID_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, TENANT_BYTES_MAX, TITLE_BYTES_MAX};

/// Advice for a float in a payload, in the words of every place that refuses one.
pub const INSTEAD_OF_A_FLOAT: &str =
    "write a scaled integer, such as \"confidence_ppm\": 870000, or a string, such as \"0.87\"";

/// Form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string of 1 to this many bytes.
    Filled(usize),
    /// A string of at most this many bytes.
    Text(usize),
    /// A string of 1 to this many bytes; any other string is `invalid_argument`.
    Key(usize),
    /// A time of RFC 3339 that exists.
    Time,
    /// One of these words (deviation 3 of `docs/DEVIATIONS.md`).
    Word(&'static [&'static str]),
    /// The number of an event in its trace, or the text `next`.
    Number,
    /// An integer of 64 bits.
    Integer,
    /// An integer above 0, of any size.
    Count,
    /// The hash of the payload.
    Hash,
    /// A list of any values.
    List,
    /// A list of strings.
    Tags,
    /// An object with these members, and any others.
    Object(&'static [Member]),
    /// Any value; no append reads it.
    Ignored,
}

/// Presence of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Needed,
    /// It may be absent.
    Optional,
    /// It may be absent or null.
    Nullable,
}

/// A member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Key.
    pub name: &'static str,
    /// Form of its value.
    pub form: Form,
    /// Presence.
    pub presence: Presence,
    /// Meaning, in one sentence.
    pub about: &'static str,
}

const fn needed(name: &'static str, form: Form, about: &'static str) -> Member {
    Member { name, form, presence: Presence::Needed, about }
}

const fn optional(name: &'static str, form: Form, about: &'static str) -> Member {
    Member { presence: Presence::Optional, ..needed(name, form, about) }
}

const fn nullable(name: &'static str, form: Form, about: &'static str) -> Member {
    Member { presence: Presence::Nullable, ..needed(name, form, about) }
}

/// An event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Word in the envelope.
    pub name: &'static str,
    /// Meaning, in one sentence.
    pub about: &'static str,
    /// Members of its payload that an append checks, in the order of the checks.
    pub payload: &'static [Member],
}

/// Returns the shape of the type with this word.
pub fn of(event_type: &str) -> Option<&'static Shape> {
    TYPES.iter().find(|shape| shape.name == event_type)
}

/// The type of event 0 of a trace.
pub const FIRST_TYPE: &str = "TraceStarted";
/// The type of the last event of a trace.
pub const LAST_TYPE: &str = "TraceFinished";
/// Kinds of actors.
pub const ACTOR_TYPES: &[&str] = &["agent", "person", "role", "system"];

const ID: Form = Form::Filled(ID_BYTES_MAX);
const MAYBE_ID: Form = Form::Text(ID_BYTES_MAX);
const SENTENCE: Form = Form::Filled(EVENT_BYTES_MAX);
const TITLE: Form = Form::Filled(TITLE_BYTES_MAX);

/// Members of the envelope.
pub const ENVELOPE: &[Member] = &[
    nullable("tenant_id", Form::Key(TENANT_BYTES_MAX), "Tenant of the event; the tenant of the request when absent."),
    optional("event_id", ID, "Id of the event, unique in its tenant; drawn when absent."),
    needed("trace_id", ID, "The decision to which the event belongs."),
    optional("trace_seq", Form::Number, "Number of the event in its trace, from 0; absent or `next`: the one due."),
    needed("event_type", Form::Word(&NAMES), "Type of the event; it decides the shape of the payload."),
    needed("occurred_at", Form::Time, "Time of the event by the producer's clock; kept byte for byte."),
    needed("source", Form::Object(SOURCE), "The program that offers the event."),
    needed("actor", Form::Object(ACTOR), "The acting party."),
    needed(
        "idempotency_key",
        Form::Key(IDEMPOTENCY_KEY_BYTES_MAX),
        "Key of the event, unique in its tenant and producer; the same when the event is offered again.",
    ),
    nullable("correlation_id", MAYBE_ID, "Id that groups events across traces."),
    nullable("causation_event_id", MAYBE_ID, "Id of the event that led to this one."),
    optional("schema_version", Form::Integer, "Version of the payload's shape; 1 when absent."),
    nullable("tags", Form::Tags, "Free words."),
    needed("payload", Form::Object(&[]), "The content, by type. It has no float at any depth."),
    nullable("payload_hash", Form::Hash, "Hash of the payload, to be verified."),
    optional(
        "log_seq",
        Form::Ignored,
        "Position in the log that an export came from. Read by `import --keep-positions` alone.",
    ),
    optional(
        "recorded_at",
        Form::Ignored,
        "Time of storage in the log that an export came from. Read by `import --keep-positions` alone.",
    ),
];
const SOURCE: &[Member] = &[
    needed("producer_id", ID, "Id of the producer; idempotency keys are unique in it."),
    needed("system", MAYBE_ID, "System that the producer runs in."),
    nullable("subsystem", MAYBE_ID, "Part of that system."),
];
const ACTOR: &[Member] = &[
    needed("actor_type", Form::Word(ACTOR_TYPES), "Kind of the actor."),
    needed("actor_id", MAYBE_ID, "Id of the actor."),
];

const ENTITY: &[Member] = &[
    needed("entity_type", ID, "Kind of the entity, such as account."),
    needed("entity_id", ID, "Id of the entity in its kind."),
    nullable("system", MAYBE_ID, "System of record; not a part of the entity's id."),
];
const POLICY: &[Member] =
    &[needed("policy_id", ID, "Id of the policy."), needed("policy_version", ID, "Version of the policy.")];
const SUBJECT: &[Member] = &[
    needed("subject_type", ID, "Kind of the subject; `exception` for an approval of an exception."),
    needed("subject_id", ID, "Id of the subject."),
];
const APPROVER: &[Member] = &[
    needed("actor_type", Form::Word(ACTOR_TYPES), "Kind of the approver."),
    needed("actor_id", ID, "Id of the approver."),
];
const OBJECT: &[Member] = &[
    needed("system", ID, "System that holds the object."),
    needed("object_type", ID, "Kind of the object, such as ticket."),
    needed("object_id", ID, "Id of the object in its system."),
];

/// Every event type that an append takes, in the order of a typical trace. The last one is of the original service; no
/// projection knows it.
pub const TYPES: &[Shape] = &[
    Shape {
        name: FIRST_TYPE,
        about: "A decision about an entity begins. Event 0 of its trace, and only that.",
        payload: &[
            needed("workflow", ID, "Kind of the decision, such as refund."),
            needed("title", TITLE, "Title for people."),
            needed("primary_entity", Form::Object(ENTITY), "The entity that the decision is about."),
        ],
    },
    Shape {
        name: "InputObserved",
        about: "The actor read an object of another system.",
        payload: &[
            needed("input_id", ID, "Id of the input; policies name it."),
            needed("source", Form::Object(OBJECT), "The object that was read."),
            needed("facts", Form::List, "Facts that were taken from it, usually objects with `name` and `value`."),
        ],
    },
    Shape {
        name: "EntityObserved",
        about: "Another entity has a part in the decision.",
        payload: &[
            needed("entity", Form::Object(ENTITY), "The entity."),
            needed("role", Form::Word(&["primary", "related"]), "Part of the entity in the decision."),
            needed("facts", Form::List, "Facts about it, usually objects with `name` and `value`."),
        ],
    },
    Shape {
        name: "PolicyEvaluated",
        about: "A policy gave its decision.",
        payload: &[
            needed("policy", Form::Object(POLICY), "The policy."),
            needed("inputs", Form::List, "Inputs of the evaluation, usually ids of inputs."),
            needed("decision", Form::Word(&["allow", "deny", "require_exception"]), "Decision of the policy."),
        ],
    },
    Shape {
        name: "ExceptionRequested",
        about: "An exception from a policy was asked for.",
        payload: &[
            needed("exception_id", ID, "Id of the exception; its approval names it."),
            needed("policy", Form::Object(POLICY), "The policy that the exception is from."),
            needed("reason", SENTENCE, "Reason for the exception."),
        ],
    },
    Shape {
        name: "ApprovalRecorded",
        about: "An approver approved or rejected a subject.",
        payload: &[
            needed("approval_id", ID, "Id of the approval."),
            needed("subject", Form::Object(SUBJECT), "The subject, usually an exception."),
            needed("approver", Form::Object(APPROVER), "The actor who decided."),
            needed("decision", Form::Word(&["approved", "rejected"]), "Decision of the approver."),
        ],
    },
    Shape {
        name: "PrecedentCited",
        about: "An earlier decision was used as a precedent.",
        payload: &[
            needed("cited_trace_id", ID, "Trace of the earlier decision."),
            needed("reason", SENTENCE, "Reason why it fits."),
        ],
    },
    Shape {
        name: "ActionProposed",
        about: "An action is about to be done.",
        payload: &[
            needed("action_id", ID, "Id of the action; its result names it."),
            needed("action_type", ID, "Kind of the action, such as issue_credit."),
            needed("target_entity", Form::Object(ENTITY), "The entity that the action changes."),
            needed("target_system", ID, "The system in which it is done."),
            needed("changes", Form::List, "Changes that the action makes."),
        ],
    },
    Shape {
        name: "ActionCommitted",
        about: "A proposed action was done, or failed.",
        payload: &[
            needed("action_id", ID, "Id of the proposed action."),
            needed("status", Form::Word(&["success", "failure", "partial"]), "Result of the action."),
        ],
    },
    Shape {
        name: LAST_TYPE,
        about: "The decision ends. The last event of its trace.",
        payload: &[needed("outcome", Form::Word(&["success", "failure", "abandoned"]), "Outcome of the decision.")],
    },
    Shape {
        name: "WorkflowReviewRequested",
        about: "The original service asked for a review. No projection has an effect of it.",
        payload: &[
            needed("template_id", ID, "Template of the workflow."),
            needed("workflow_kind", ID, "Kind of the workflow."),
            needed("title", TITLE, "Title for people."),
            needed("reason", SENTENCE, "Reason for the review."),
            needed("priority", ID, "Priority of the review."),
            needed("assignee", Form::Object(&[]), "The reviewer, or the rule that finds one."),
            needed("subject", Form::Object(SUBJECT), "The subject of the review."),
            needed("simulation", Form::Object(&[]), "Result of a simulation, if there was one."),
            needed("sla_hours", Form::Count, "Hours until the review is due."),
        ],
    },
];

/// Words of the types, in the order of [`TYPES`].
const NAMES: [&str; TYPES.len()] = {
    let mut names = [""; TYPES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = TYPES[at].name;
        at += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;
    use std::collections::HashSet;

    #[test]
    fn each_type_of_the_reference_has_a_shape_and_each_name_is_there_once() {
        let known: Vec<_> = TYPES.iter().filter_map(|shape| EventType::parse(shape.name)).collect();
        assert_eq!(known, EventType::ALL);
        let once = |members: &[Member]| {
            let names: HashSet<_> = members.iter().map(|member| member.name).collect();
            assert_eq!(names.len(), members.len(), "{members:?}");
        };
        once(ENVELOPE);
        TYPES.iter().for_each(|shape| once(shape.payload));
        assert!(of("TraceBegun").is_none());
    }
}
