//! The mapping as a table: which span becomes which event, and where each member of its payload comes from.
//!
//! *Guarantees.* The guide's tables are made of these rows. A member has the value that one of its origins gives, in
//! their order, or none: nothing is guessed.

use decisiongraph_projections::event::EventType;

/// Version of the mapping. Every event that it made has it as `otel_mapping`.
pub const VERSION: u32 = 1;
/// Schema of the GenAI conventions that the mapping was written for.
pub const CONVENTIONS: &str = "https://opentelemetry.io/schemas/gen-ai/1.42.0";

/// Origin of a member's value.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// A text attribute of the span, or of the span event.
    Attribute(&'static str),
    /// `service.name` of the resource.
    Service,
    /// Name of the span.
    SpanName,
    /// Id of the trace, in hex.
    TraceId,
    /// Ids of trace and span, and the number of the span event.
    Reference,
    /// `failure` when the span's status is an error or it has `error.type`, else `success`.
    Status,
    /// This word.
    Word(&'static str),
    /// A list without items.
    EmptyList,
    /// An entity of this type, with the id that one of these origins gives.
    Entity(&'static str, &'static [Origin]),
    /// An object of this type in the provider's system or the service, with the id of this attribute.
    Object(&'static str, &'static str),
    /// A fact per attribute that is there.
    Facts(&'static [&'static str]),
}

/// A member of a payload, with the origins of its value.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Name.
    pub name: &'static str,
    /// Origins. The first that gives a value counts.
    pub from: &'static [Origin],
}

/// Thing that becomes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The first span of a trace, when its request has the trace's root.
    StartWithRoot,
    /// The first span of a trace, when its request does not have the trace's root.
    Start,
    /// The root of a trace.
    Root,
    /// A span with this `gen_ai.operation.name`.
    Operation(&'static str),
    /// A span event with this name.
    SpanEvent(&'static str),
    /// A span or a span event that states its event itself.
    Stated,
}

/// A row: a thing that becomes an event.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The thing.
    pub of: Of,
    /// Type of the event.
    pub event_type: EventType,
    /// Part of the span that the event is. It is in the event's keys.
    pub part: &'static str,
    /// True when the event is as old as the span's start, not its end.
    pub at_start: bool,
    /// Members of the payload.
    pub members: &'static [Member],
    /// Attributes that are kept beside them.
    pub kept: &'static [&'static str],
}

const fn member(name: &'static str, from: &'static [Origin]) -> Member {
    Member { name, from }
}

const fn rule(of: Of, event_type: EventType, part: &'static str, members: &'static [Member]) -> Rule {
    Rule { of, event_type, part, at_start: false, members, kept: &[] }
}

impl Rule {
    const fn keeps(self, kept: &'static [&'static str]) -> Rule {
        Rule { kept, ..self }
    }

    const fn at_start(self) -> Rule {
        Rule { at_start: true, ..self }
    }
}

use Origin::{Attribute, EmptyList, Entity, Facts, Object, Reference, Service, SpanName, Status, TraceId, Word};

const AGENT: &[Origin] = &[Attribute("gen_ai.agent.id"), Attribute("gen_ai.agent.name")];
const SUBJECT: Member = member(
    "primary_entity",
    &[Entity("conversation", &[Attribute("gen_ai.conversation.id")]), Entity("otel_trace", &[TraceId])],
);
const ABOUT_AGENT: &[&str] = &[
    "gen_ai.agent.id",
    "gen_ai.agent.name",
    "gen_ai.agent.version",
    "gen_ai.workflow.name",
    "gen_ai.conversation.id",
    "gen_ai.provider.name",
    "gen_ai.request.model",
];
const AGENT_SEEN: &[Member] = &[
    member("entity", &[Entity("agent", AGENT)]),
    member("role", &[Word("related")]),
    member(
        "facts",
        &[Facts(&[
            "gen_ai.agent.name",
            "gen_ai.agent.version",
            "gen_ai.agent.description",
            "gen_ai.provider.name",
            "gen_ai.request.model",
        ])],
    ),
];
const EVALUATION: &[&str] = &[
    "gen_ai.evaluation.name",
    "gen_ai.evaluation.score.value",
    "gen_ai.evaluation.score.label",
    "gen_ai.evaluation.explanation",
    "gen_ai.response.id",
    "error.type",
];
const NOTHING: &[Origin] = &[EmptyList];
const ITSELF: &[Origin] = &[Reference];

/// Every row.
pub static RULES: &[Rule] = &[
    rule(
        Of::StartWithRoot,
        EventType::TraceStarted,
        "start",
        &[
            member("workflow", &[Attribute("gen_ai.workflow.name"), Attribute("gen_ai.agent.name"), Service]),
            member("title", &[SpanName, TraceId]),
            SUBJECT,
        ],
    )
    .keeps(ABOUT_AGENT)
    .at_start(),
    rule(
        Of::Start,
        EventType::TraceStarted,
        "start",
        &[member("workflow", &[Service]), member("title", &[TraceId]), SUBJECT],
    )
    .keeps(&["gen_ai.conversation.id"])
    .at_start(),
    rule(Of::Operation("invoke_agent"), EventType::EntityObserved, "agent", AGENT_SEEN).at_start(),
    rule(Of::Operation("create_agent"), EventType::EntityObserved, "agent", AGENT_SEEN),
    rule(
        Of::Operation("invoke_workflow"),
        EventType::EntityObserved,
        "workflow",
        &[
            member("entity", &[Entity("workflow", &[Attribute("gen_ai.workflow.name")])]),
            member("role", &[Word("related")]),
            member("facts", NOTHING),
        ],
    )
    .at_start(),
    rule(
        Of::Operation("execute_tool"),
        EventType::ActionProposed,
        "proposed",
        &[
            member("action_id", ITSELF),
            member("action_type", &[Attribute("gen_ai.tool.name")]),
            member("target_entity", &[Entity("tool", &[Attribute("gen_ai.tool.name")])]),
            member("target_system", &[Service]),
            member("changes", NOTHING),
        ],
    )
    .keeps(&["gen_ai.tool.call.id", "gen_ai.tool.type", "gen_ai.tool.call.arguments"])
    .at_start(),
    rule(
        Of::Operation("execute_tool"),
        EventType::ActionCommitted,
        "committed",
        &[member("action_id", ITSELF), member("status", &[Status])],
    )
    .keeps(&["gen_ai.tool.call.id", "gen_ai.tool.call.result", "error.type"]),
    rule(
        Of::Operation("retrieval"),
        EventType::InputObserved,
        "input",
        &[
            member("input_id", ITSELF),
            member("source", &[Object("data_source", "gen_ai.data_source.id")]),
            member("facts", &[Facts(&["gen_ai.retrieval.query.text", "gen_ai.retrieval.documents", "error.type"])]),
        ],
    ),
    rule(
        Of::Operation("search_memory"),
        EventType::InputObserved,
        "input",
        &[
            member("input_id", ITSELF),
            member("source", &[Object("memory_store", "gen_ai.memory.store.id")]),
            member(
                "facts",
                &[Facts(&[
                    "gen_ai.memory.query.text",
                    "gen_ai.memory.record.count",
                    "gen_ai.memory.records",
                    "error.type",
                ])],
            ),
        ],
    ),
    rule(
        Of::SpanEvent("gen_ai.evaluation.result"),
        EventType::InputObserved,
        "input",
        &[
            member("input_id", ITSELF),
            member("source", &[Object("evaluation", "gen_ai.evaluation.name")]),
            member("facts", &[Facts(EVALUATION)]),
        ],
    ),
    rule(Of::Stated, EventType::InputObserved, "stated", &[member("input_id", ITSELF), member("facts", NOTHING)])
        .keeps(EVALUATION),
    rule(Of::Stated, EventType::EntityObserved, "stated", &[member("facts", NOTHING)]),
    rule(Of::Stated, EventType::PolicyEvaluated, "stated", &[member("inputs", NOTHING)]).keeps(EVALUATION),
    rule(Of::Stated, EventType::ExceptionRequested, "stated", &[member("exception_id", ITSELF)]),
    rule(Of::Stated, EventType::ApprovalRecorded, "stated", &[member("approval_id", ITSELF)]),
    rule(Of::Stated, EventType::PrecedentCited, "stated", &[]),
    rule(Of::Stated, EventType::ActionProposed, "stated", &[member("action_id", ITSELF), member("changes", NOTHING)])
        .at_start(),
    rule(Of::Stated, EventType::ActionCommitted, "stated", &[]),
    rule(Of::Root, EventType::TraceFinished, "finished", &[member("outcome", &[Status])]).keeps(&[
        "gen_ai.agent.id",
        "gen_ai.agent.name",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "error.type",
    ]),
];

/// Finds the rows of these things.
pub fn rules(of: impl Fn(Of) -> bool) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| of(rule.of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::attributes::{EVENT_TYPE, ROOT, STATED};
    use std::fmt::Write as _;
    use std::path::Path;

    const BEGIN: &str = "<!-- mapping: made from actors/http/src/otlp/table.rs -->\n";
    const END: &str = "<!-- end of the mapping -->\n";

    /// Writes the table for people.
    fn markdown() -> String {
        let mut page = String::from("| from | event | members | kept beside them |\n|---|---|---|---|\n");
        for rule in RULES {
            let of = match rule.of {
                Of::StartWithRoot => "first span of a trace, in a request with the root: the root".to_owned(),
                Of::Start => "first span of a trace, in a request without the root: the earliest span".to_owned(),
                Of::Root => "root of a trace".to_owned(),
                Of::Operation(name) => format!("span `{name}`"),
                Of::SpanEvent(name) => format!("span event `{name}`"),
                Of::Stated => format!("span or span event with `{EVENT_TYPE}`"),
            };
            let mut members: Vec<String> = rule
                .members
                .iter()
                .map(|member| {
                    let from: Vec<String> = member.from.iter().map(Origin::describe).collect();
                    format!("`{}`: {}", member.name, from.join(", else "))
                })
                .collect();
            if rule.of == Of::Stated {
                members.push("all others as stated".to_owned());
            }
            let kept: Vec<String> = rule.kept.iter().map(|name| format!("`{name}`")).collect();
            let event = rule.event_type.as_str();
            let _ = writeln!(page, "| {of} | `{event}` | {} | {} |", members.join("; "), kept.join(", "));
        }
        let _ = writeln!(
            page,
            "\nA member that the sender states as `{STATED}MEMBER` has that value instead. The root is the span without a \
             parent,\nor the span with `{ROOT}`."
        );
        page
    }

    impl Origin {
        fn describe(&self) -> String {
            let names = |keys: &[&str]| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            match self {
                Attribute(key) => format!("`{key}`"),
                Service => "`service.name`".to_owned(),
                SpanName => "name of the span".to_owned(),
                TraceId => "trace id".to_owned(),
                Reference => "`TRACE/SPAN`".to_owned(),
                Status => "`failure` on an error, else `success`".to_owned(),
                Word(word) => format!("`{word}`"),
                EmptyList => "`[]`".to_owned(),
                Entity(kind, from) => {
                    let from: Vec<String> = from.iter().map(Origin::describe).collect();
                    format!("{kind} {}", from.join(", else "))
                }
                Object(kind, key) => format!("{kind} `{key}` of `gen_ai.provider.name`, else of `service.name`"),
                Facts(keys) => format!("facts of {}", names(keys)),
            }
        }
    }

    #[test]
    fn the_guide_has_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/OPENTELEMETRY.md");
        let page = std::fs::read_to_string(&path).expect("the guide");
        let (before, rest) = page.split_once(BEGIN).expect("a place for the table");
        let (_, behind) = rest.split_once(END).expect("the end of the table");
        let made = format!("{before}{BEGIN}{}{END}{behind}", markdown());
        if std::env::var_os("DECISIONGRAPH_BLESS").is_some() {
            std::fs::write(&path, &made).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("the guide"), made, "write it with DECISIONGRAPH_BLESS=1");
        assert!(page.contains(CONVENTIONS) && page.contains(&format!("Version of the mapping: {VERSION}.")));
    }

    #[test]
    fn every_type_but_start_and_end_can_be_stated_and_each_part_of_a_span_has_one_name() {
        for event_type in EventType::ALL {
            let stated = rules(|of| of == Of::Stated).any(|rule| rule.event_type == event_type);
            let ends = [EventType::TraceStarted, EventType::TraceFinished].contains(&event_type);
            assert_ne!(stated, ends, "{}", event_type.as_str());
        }
        for rule in RULES {
            let same = rules(|of| of == rule.of).filter(|other| other.event_type == rule.event_type);
            assert_eq!(same.count(), 1, "{:?}", rule.of);
        }
    }
}
