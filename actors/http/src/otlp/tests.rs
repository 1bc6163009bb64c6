//! The mapping, with spans written by hand.

use super::attributes::{EVENT_TYPE, ROOT};
use super::made::{Made, Place};
use super::mapping::{Mapped, map};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Value, json};

const OPERATION: &str = "gen_ai.operation.name";
const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn words(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, word)| pair(key, Any::StringValue((*word).to_owned()))).collect()
}

/// Makes a span that starts in this second of the trace and takes half a second. Number 1 is the root.
fn span(number: u8, second: u64, pairs: &[(&str, &str)]) -> Span {
    let nanos = 1_785_000_000_000_000_000 + second * 1_000_000_000;
    Span {
        trace_id: u128::from_str_radix(TRACE, 16).expect("hex").to_be_bytes().to_vec(),
        span_id: u64::from(number).to_be_bytes().to_vec(),
        parent_span_id: if number == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: pairs.iter().map(|(_, word)| *word).take(2).collect::<Vec<_>>().join(" "),
        start_time_unix_nano: nanos,
        end_time_unix_nano: nanos + 500_000_000,
        attributes: words(pairs),
        ..Span::default()
    }
}

fn agent() -> Span {
    let mut span = span(
        1,
        0,
        &[
            (OPERATION, "invoke_agent"),
            ("gen_ai.agent.name", "refund-bot"),
            ("gen_ai.conversation.id", "conv-1"),
            ("gen_ai.provider.name", "openai"),
        ],
    );
    span.end_time_unix_nano += 9_000_000_000;
    span.attributes.push(pair("gen_ai.usage.input_tokens", Any::IntValue(180)));
    span
}

fn tool() -> Span {
    let called = [
        (OPERATION, "execute_tool"),
        ("gen_ai.tool.name", "issue_credit"),
        ("gen_ai.tool.call.id", "call_1"),
        ("gen_ai.tool.call.arguments", "{\"amount\": 12.5}"),
    ];
    span(2, 3, &called)
}

fn retrieval() -> Span {
    let asked = [(OPERATION, "retrieval"), ("gen_ai.data_source.id", "policies"), ("gen_ai.provider.name", "pinecone")];
    let mut span = span(3, 1, &asked);
    span.attributes.push(pair("gen_ai.retrieval.query.text", Any::StringValue("limit?".to_owned())));
    span
}

/// Makes a model call with the result of an evaluation on it.
fn evaluated(stated: &[(&str, &str)]) -> Span {
    let mut span = span(4, 2, &[(OPERATION, "chat"), ("gen_ai.request.model", "gpt-4")]);
    let mut attributes = words(&[("gen_ai.evaluation.name", "Relevance"), ("gen_ai.evaluation.score.label", "pass")]);
    attributes.push(pair("gen_ai.evaluation.score.value", Any::DoubleValue(0.85)));
    attributes.extend(words(stated));
    let time = span.start_time_unix_nano + 1_000_000;
    let event =
        Event { time_unix_nano: time, name: "gen_ai.evaluation.result".to_owned(), attributes, ..Event::default() };
    span.events.push(event);
    span
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: words(&[("service.name", "refund-agent")]), ..Resource::default() };
    let scope = InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let group = ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}

fn mapped(spans: Vec<Span>) -> Mapped {
    map(&request(spans))
}

fn event(made: &Made) -> Value {
    serde_json::from_str(&made.line).expect("JSON")
}

fn types(mapped: &Mapped) -> Vec<String> {
    mapped.events.iter().map(|made| event(made)["event_type"].as_str().expect("a type").to_owned()).collect()
}

fn reasons(mapped: &Mapped) -> Vec<(usize, &'static str)> {
    mapped.left.iter().map(|left| (left.span, left.reason)).collect()
}

#[test]
fn a_run_becomes_a_trace_in_order_whatever_the_order_of_its_spans() {
    let run = mapped(vec![tool(), evaluated(&[]), retrieval(), agent()]);
    let order = [
        "TraceStarted",
        "EntityObserved",
        "InputObserved",
        "InputObserved",
        "ActionProposed",
        "ActionCommitted",
        "TraceFinished",
    ];
    assert_eq!(types(&run), order);
    assert_eq!((run.spans, run.left.as_slice()), (4, &[][..]));
    let events: Vec<Value> = run.events.iter().map(event).collect();
    for event in &events {
        assert_eq!((&event["trace_id"], &event["payload"]["otel_mapping"]), (&json!(TRACE), &json!(1)));
        assert_eq!(
            event["source"],
            json!({"producer_id": "refund-agent", "system": "refund-agent", "subsystem": "lib"})
        );
        assert!(event.get("trace_seq").is_none(), "the server numbers");
    }
    let start = &events[0];
    assert_eq!(start["payload"]["workflow"], "refund-bot");
    assert_eq!(start["payload"]["title"], "invoke_agent refund-bot");
    assert_eq!(start["payload"]["primary_entity"], json!({"entity_type": "conversation", "entity_id": "conv-1"}));
    assert_eq!(start["actor"], json!({"actor_type": "agent", "actor_id": "refund-bot"}));
    assert_eq!((&start["occurred_at"], &start["correlation_id"]), (&json!("2026-07-25T17:20:00Z"), &json!("conv-1")));
    assert_eq!(events[1]["payload"]["entity"], json!({"entity_type": "agent", "entity_id": "refund-bot"}));
    let read = json!({"system": "pinecone", "object_type": "data_source", "object_id": "policies"});
    assert_eq!(events[2]["payload"]["source"], read);
    assert_eq!(events[2]["payload"]["facts"], json!([{"name": "gen_ai.retrieval.query.text", "value": "limit?"}]));
    let score = json!({"name": "gen_ai.evaluation.score.value", "value": "0.85"});
    assert!(events[3]["payload"]["facts"].as_array().expect("facts").contains(&score), "{}", events[3]);
    let action = format!("{TRACE}/0000000000000002");
    assert_eq!(
        (&events[4]["payload"]["action_id"], &events[5]["payload"]["action_id"]),
        (&json!(action), &json!(action))
    );
    assert_eq!(events[4]["payload"]["attributes"]["gen_ai.tool.call.arguments"], "{\"amount\": 12.5}");
    assert_eq!(
        (&events[5]["payload"]["status"], &events[5]["causation_event_id"]),
        (&json!("success"), &events[4]["event_id"])
    );
    assert_eq!(events[5]["payload"]["otel"]["duration_us"], 500_000);
    assert_eq!(
        (&events[6]["payload"]["outcome"], &events[6]["occurred_at"]),
        (&json!("success"), &json!("2026-07-25T17:20:09.5Z"))
    );
    assert_eq!(events[6]["payload"]["attributes"]["gen_ai.usage.input_tokens"], 180);
}

#[test]
fn a_span_becomes_the_same_events_in_whatever_request_it_comes() {
    let whole = mapped(vec![agent(), tool(), retrieval()]);
    let alone: Vec<Made> =
        [tool(), retrieval(), agent()].into_iter().flat_map(|span| mapped(vec![span]).events).collect();
    for made in whole.events.iter().filter(|made| made.place != Place::Start) {
        assert!(alone.iter().any(|other| other.line == made.line), "{}", made.line);
    }
    let ids: std::collections::BTreeSet<String> =
        whole.events.iter().map(|made| event(made)["event_id"].to_string()).collect();
    let keys: std::collections::BTreeSet<String> =
        whole.events.iter().map(|made| event(made)["idempotency_key"].to_string()).collect();
    assert_eq!((ids.len(), keys.len()), (whole.events.len(), whole.events.len()));
    let starts: Vec<Value> = alone.iter().filter(|made| made.place == Place::Start).map(event).collect();
    assert_eq!(starts.len(), 3, "each request starts the trace: the first one stands");
    assert!(starts.iter().all(|start| start["event_id"] == starts[0]["event_id"]));
    let first = &starts[0]["payload"];
    assert_eq!((&first["workflow"], &first["title"]), (&json!("refund-agent"), &json!(TRACE)), "nothing is guessed");
    assert_eq!(first["primary_entity"], json!({"entity_type": "otel_trace", "entity_id": TRACE}));
}

#[test]
fn an_error_is_a_failure() {
    let mut failed = tool();
    failed.attributes.push(pair("error.type", Any::StringValue("timeout".to_owned())));
    let mut root = agent();
    root.status = Some(Status { code: 2, ..Status::default() });
    let run = mapped(vec![failed, root]);
    let events: Vec<Value> = run.events.iter().map(event).collect();
    let committed = events.iter().find(|event| event["event_type"] == "ActionCommitted").expect("committed");
    assert_eq!(committed["payload"]["status"], "failure");
    assert_eq!(committed["payload"]["attributes"]["error.type"], "timeout");
    assert_eq!(events.last().expect("an end")["payload"]["outcome"], "failure");
}

#[test]
fn a_program_states_its_policies_exceptions_and_approvals() {
    let policy = [
        (EVENT_TYPE, "PolicyEvaluated"),
        ("decisiongraph.policy.policy_id", "refund_limit"),
        ("decisiongraph.policy.policy_version", "4"),
        ("decisiongraph.decision", "require_exception"),
    ];
    let exception = [
        (EVENT_TYPE, "ExceptionRequested"),
        ("decisiongraph.exception_id", "exc-1"),
        ("decisiongraph.policy.policy_id", "refund_limit"),
        ("decisiongraph.policy.policy_version", "4"),
        ("decisiongraph.reason", "goodwill"),
    ];
    let approval = [
        (EVENT_TYPE, "ApprovalRecorded"),
        ("decisiongraph.subject.subject_type", "exception"),
        ("decisiongraph.subject.subject_id", "exc-1"),
        ("decisiongraph.approver.actor_type", "person"),
        ("decisiongraph.approver.actor_id", "ada"),
        ("decisiongraph.decision", "approved"),
    ];
    let mut stated = tool();
    stated.attributes.extend(words(&[
        ("decisiongraph.target_entity.entity_type", "account"),
        ("decisiongraph.target_entity.entity_id", "globex"),
    ]));
    let run = mapped(vec![agent(), evaluated(&policy), span(5, 3, &exception), span(6, 4, &approval), stated]);
    assert!(reasons(&run).is_empty(), "{:?}", run.left);
    let events: Vec<Value> = run.events.iter().map(event).collect();
    let payload = |word: &str| &events.iter().find(|event| event["event_type"] == word).expect(word)["payload"];
    let evaluated = payload("PolicyEvaluated");
    assert_eq!(evaluated["policy"], json!({"policy_id": "refund_limit", "policy_version": "4"}));
    assert_eq!((&evaluated["decision"], &evaluated["inputs"]), (&json!("require_exception"), &json!([])));
    assert_eq!(evaluated["attributes"]["gen_ai.evaluation.score.value"], "0.85");
    assert_eq!(payload("ExceptionRequested")["exception_id"], "exc-1");
    assert_eq!(payload("ApprovalRecorded")["approval_id"], format!("{TRACE}/0000000000000006"));
    assert_eq!(payload("ActionProposed")["target_entity"], json!({"entity_type": "account", "entity_id": "globex"}));
    assert_eq!(payload("ActionProposed")["target_system"], "refund-agent");
}

#[test]
fn what_cannot_be_mapped_is_named_and_nothing_is_invented() {
    let chat = span(2, 1, &[(OPERATION, "chat")]);
    let http = span(3, 1, &[("http.request.method", "GET")]);
    let unnamed = span(4, 1, &[(OPERATION, "retrieval")]);
    let nameless = span(5, 1, &[(OPERATION, "invoke_agent")]);
    let mut short = tool();
    short.span_id.pop();
    let mut timeless = retrieval();
    timeless.start_time_unix_nano = 0;
    let wrong = span(6, 1, &[(EVENT_TYPE, "TraceFinished")]);
    let half = span(7, 1, &[(EVENT_TYPE, "PolicyEvaluated"), ("decisiongraph.decision", "allow")]);
    let secret =
        span(8, 1, &[(OPERATION, "execute_tool"), ("gen_ai.tool.name", "ghp_0123456789abcdefghijABCDEFGHIJ012345")]);
    let mut noisy = retrieval();
    noisy.events.push(Event { name: "exception".to_owned(), time_unix_nano: 1, ..Event::default() });
    let run = mapped(vec![chat, http, unnamed, nameless, short, timeless, wrong, half, secret, noisy]);
    let expected = [
        (0, "operation_not_mapped"),
        (1, "not_genai"),
        (2, "member_missing"),
        (3, "member_missing"),
        (4, "invalid_span"),
        (5, "invalid_span"),
        (6, "schema_violation"),
        (7, "schema_violation"),
        (8, "pii_violation"),
        (9, "event_not_mapped"),
    ];
    let mut found = reasons(&run);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(types(&run), ["TraceStarted", "InputObserved"], "a span without an event starts no trace");
    let mut anonymous = request(vec![tool()]);
    anonymous.resource_spans[0].resource = None;
    assert_eq!(reasons(&map(&anonymous)), [(0, "invalid_span")]);
    let missing = &run.left.iter().find(|left| left.span == 2).expect("there").message;
    assert_eq!(missing, "no attribute gives `source` of InputObserved; state it as `decisiongraph.source`");
}

#[test]
fn the_root_ends_the_trace_and_no_other_span_does() {
    let http = span(1, 0, &[("http.request.method", "POST")]);
    let alone = mapped(vec![http.clone()]);
    let places: Vec<Place> = alone.events.iter().map(|made| made.place).collect();
    assert_eq!(places, [Place::FinishIfStarted("not_genai")], "an unrelated root starts nothing");
    let mut inner = agent();
    inner.span_id = 2_u64.to_be_bytes().to_vec();
    inner.parent_span_id = 1_u64.to_be_bytes().to_vec();
    let run = mapped(vec![inner.clone(), http]);
    assert_eq!(types(&run), ["TraceStarted", "EntityObserved", "TraceFinished"]);
    assert_eq!(event(&run.events[0])["payload"]["title"], "POST", "the title is the root's name");
    assert_eq!(types(&mapped(vec![inner.clone()])), ["TraceStarted", "EntityObserved"], "the root is still to come");
    inner.attributes.push(pair(ROOT, Any::BoolValue(true)));
    assert_eq!(types(&mapped(vec![inner])), ["TraceStarted", "EntityObserved", "TraceFinished"]);
    let nameless = span(1, 0, &[(OPERATION, "invoke_agent")]);
    let run = mapped(vec![nameless]);
    assert_eq!((types(&run), reasons(&run)), (vec!["TraceStarted".to_owned(), "TraceFinished".to_owned()], vec![]));
}

#[test]
fn a_root_whose_name_cannot_be_stored_does_not_keep_its_trace_from_starting() {
    let mut root = agent();
    root.name = "call with ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned();
    let run = mapped(vec![tool(), root]);
    assert_eq!(types(&run), ["TraceStarted", "ActionProposed", "ActionCommitted"]);
    assert_eq!(event(&run.events[0])["payload"]["title"], TRACE);
    assert!(reasons(&run).iter().all(|reason| *reason == (1, "pii_violation")), "{:?}", run.left);
}

#[test]
fn a_service_states_the_start_of_its_traces_in_its_resource() {
    let mut spans = request(vec![tool()]);
    let resource = spans.resource_spans[0].resource.as_mut().expect("a resource");
    resource.attributes.extend(words(&[("decisiongraph.workflow", "refund"), ("service.namespace", "helpdesk")]));
    let start = event(&map(&spans).events[0]);
    assert_eq!((&start["payload"]["workflow"], &start["source"]["system"]), (&json!("refund"), &json!("helpdesk")));
}
