//! The original service's own benchmark: traces of six events, one after the other. Each payload has 512 bytes of
//! padding, and entities never repeat. Nothing is random: the seed has no effect.

use super::clock::after_2026;
use super::json::{Envelope, Object, Spelling, line, list};

/// Events per trace.
pub const TRACE_EVENTS: u64 = 6;
/// Padding in each payload, bytes.
pub const PADDING_BYTES: usize = 512;
/// Text in each payload; it brings their mean size to that of the original, 783 bytes.
const BENCHMARK: &str = "projection replay, traces of six events each";

/// Writes event `index` (from 0) of the workload.
pub fn event(index: u64) -> String {
    let (trace, seq) = (index / TRACE_EVENTS + 1, index % TRACE_EVENTS);
    let t = format!("trace-{trace}");
    let padding = "x".repeat(PADDING_BYTES);
    let object = || Object::new(Spelling::Canonical);
    let entity =
        object().text("entity_type", "account").text("entity_id", &format!("entity:{t}")).text("system", "crm").end();
    let (event_type, payload) = match seq {
        0 => (
            "TraceStarted",
            object()
                .text("padding", &padding)
                .raw("primary_entity", entity)
                .text("title", &format!("Benchmark decision {t}: projection of a trace of six events"))
                .text("workflow", "projection_benchmark"),
        ),
        1 => (
            "InputObserved",
            object()
                .text("input_id", &format!("input:{t}:1"))
                .raw(
                    "source",
                    object()
                        .text("system", "crm")
                        .text("object_type", "account")
                        .text("object_id", &format!("entity:{t}"))
                        .end(),
                )
                .raw(
                    "facts",
                    list([object()
                        .text("key", "benchmark_input")
                        .text("as_of", &after_2026(index, "Z"))
                        .raw("value", object().text("type", "string").text("value", &padding).end())
                        .end()]),
                ),
        ),
        2 => (
            "PolicyEvaluated",
            object()
                .text("decision", "allow")
                .raw("explanation", object().text("summary", &padding).end())
                .raw("inputs", format!("[\"input:{t}:1\"]"))
                .raw("policy", object().text("policy_id", "bench_guard").text("policy_version", "1.0").end())
                .raw("violations", "[]".to_owned()),
        ),
        3 | 4 => (
            "ActionProposed",
            object()
                .text("action_id", &format!("action:{t}:{seq}"))
                .text("action_type", "update_record")
                .raw(
                    "changes",
                    list([object()
                        .text("field", "benchmark_field")
                        .raw("from", object().text("type", "string").text("value", "before").end())
                        .raw("to", object().text("type", "string").text("value", &padding).end())
                        .end()]),
                )
                .raw("target_entity", entity)
                .text("target_system", "crm"),
        ),
        _ => (
            "TraceFinished",
            object()
                .text("outcome", "success")
                .text("padding", &padding)
                .text("summary", &format!("Benchmark decision {t} is finished: six events, two actions proposed")),
        ),
    };
    let payload = payload.text("benchmark", BENCHMARK);
    let envelope = Envelope {
        tenant_id: None,
        event_id: &format!("event:{t}:{seq}"),
        trace_id: &t,
        trace_seq: seq as usize,
        event_type,
        occurred_at: &after_2026(index, "Z"),
        source: ("bench", "bench", None),
        actor: ("agent", "bench"),
        idempotency_key: &format!("key:{t}:{seq}"),
        correlation_id: None,
        causation_event_id: None,
        tags: &[],
    };
    line(Spelling::Canonical, &envelope, payload.end())
}
