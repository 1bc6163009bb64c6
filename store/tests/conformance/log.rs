//! Events by hand: short traces that pass every check, and a small seeded generator of longer logs.

use decisiongraph_projections::event::Line;
use decisiongraph_projections::{Admitted, TenantId, validation};

/// Returns the tenant of most tests.
pub fn tenant() -> TenantId {
    TenantId::default()
}

/// Returns the tenant with this id.
pub fn named(id: &str) -> TenantId {
    TenantId::new(id).expect("a tenant id")
}

/// Quotes a text as JSON.
pub fn json(text: &str) -> String {
    let mut out = String::new();
    decisiongraph_projections::canonical_json::write_payload_string(&mut out, text);
    out
}

/// Returns an event of any type, with its own id and key.
pub fn event(trace: &str, seq: i64, event_type: &str, payload: &str) -> Admitted {
    event_named(&format!("{trace}/{seq}"), trace, seq, event_type, payload)
}

/// Returns an event with this id. The id also serves as idempotency key (cut to the longest key).
pub fn event_named(id: &str, trace: &str, seq: i64, event_type: &str, payload: &str) -> Admitted {
    let key: String = id.chars().take(40).collect();
    offered(id, &key, trace, seq, event_type, payload)
}

/// Returns an event with this id and idempotency key.
pub fn offered(id: &str, key: &str, trace: &str, seq: i64, event_type: &str, payload: &str) -> Admitted {
    let line = format!(
        r#"{{"event_id":{},"trace_id":{},"trace_seq":{seq},"event_type":"{event_type}","occurred_at":"2026-01-01T00:00:{:02}Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"bot"}},"idempotency_key":{},"payload":{payload},"tags":["a","ü"]}}"#,
        json(id),
        json(trace),
        seq.rem_euclid(60),
        json(key),
    );
    validation::admit(Line::parse(&line).expect("a line").draft).expect("an event that is let in")
}

/// Returns an event whose number and id are drawn.
pub fn next(key: &str, trace: &str, event_type: &str, payload: &str) -> Admitted {
    let line = format!(
        r#"{{"trace_id":{},"trace_seq":"next","event_type":"{event_type}","occurred_at":"2026-01-01T00:00:00Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"bot"}},"idempotency_key":{},"payload":{payload},"tags":["a","ü"]}}"#,
        json(trace),
        json(key),
    );
    let draft = Line::parse(&line).expect("a line").draft.identified(|| format!("drawn for {key}"));
    validation::admit(draft).expect("an event that is let in")
}

pub fn started(trace: &str) -> Admitted {
    started_about(trace, "account", &format!("of {trace}"))
}

pub fn started_about(trace: &str, entity_type: &str, entity_id: &str) -> Admitted {
    let payload = format!(
        r#"{{"workflow":"w","title":{},"primary_entity":{{"entity_type":{},"entity_id":{},"system":"crm"}}}}"#,
        json(&format!("about {entity_id}")),
        json(entity_type),
        json(entity_id)
    );
    event(trace, 0, "TraceStarted", &payload)
}

pub fn policy(trace: &str, seq: i64, policy: &str, version: &str) -> Admitted {
    let payload = format!(
        r#"{{"policy":{{"policy_id":{},"policy_version":{}}},"inputs":[],"decision":"allow"}}"#,
        json(policy),
        json(version)
    );
    event(trace, seq, "PolicyEvaluated", &payload)
}

pub fn exception(trace: &str, seq: i64, exception: &str, policy: &str, version: &str) -> Admitted {
    let payload = format!(
        r#"{{"exception_id":{},"policy":{{"policy_id":{},"policy_version":{}}},"reason":"r"}}"#,
        json(exception),
        json(policy),
        json(version)
    );
    event(trace, seq, "ExceptionRequested", &payload)
}

pub fn input(trace: &str, seq: i64, input: &str) -> Admitted {
    let payload = format!(
        r#"{{"input_id":{},"source":{{"system":"s","object_type":"o","object_id":"1"}},"facts":[]}}"#,
        json(input)
    );
    event(trace, seq, "InputObserved", &payload)
}

pub fn cited(trace: &str, seq: i64, other: &str) -> Admitted {
    event(trace, seq, "PrecedentCited", &format!(r#"{{"cited_trace_id":{},"reason":"r"}}"#, json(other)))
}

pub fn finished(trace: &str, seq: i64, outcome: &str) -> Admitted {
    event(trace, seq, "TraceFinished", &format!(r#"{{"outcome":"{outcome}"}}"#))
}

/// Returns a whole small trace: start, input, policy, exception, finish.
pub fn whole_trace(trace: &str) -> Vec<Admitted> {
    vec![
        started(trace),
        input(trace, 1, &format!("input of {trace}")),
        policy(trace, 2, "limit", "1"),
        exception(trace, 3, &format!("exception of {trace}"), "limit", "1"),
        finished(trace, 4, "success"),
    ]
}

/// Generates a log of about `events` events from a seed: interleaved traces, shared entities and policies, hostile ids.
pub fn seeded(seed: u64, events: usize) -> Vec<Admitted> {
    let mut random = Random(seed);
    let mut open: Vec<(String, i64)> = Vec::new();
    let mut log = Vec::new();
    let mut traces = 0;
    while log.len() < events {
        if open.is_empty() || (open.len() < 6 && random.below(5) == 0) {
            traces += 1;
            let trace = match random.below(4) {
                0 => format!("t:{traces}"),
                1 => format!("tracé \u{1F600} {traces}"),
                _ => format!("trace-{seed}-{traces}"),
            };
            log.push(started_about(&trace, ["account", "a:b"][random.below(2)], &format!("e{}", random.below(9))));
            open.push((trace, 1));
            continue;
        }
        let at = random.below(open.len());
        let (trace, seq) = open[at].clone();
        let policy_id = ["limit", "p:1", "Ωpol", "quo\"te"][random.below(4)];
        let version = ["1", "2.0"][random.below(2)];
        log.push(match random.below(8) {
            0 | 1 => policy(&trace, seq, policy_id, version),
            2 => exception(&trace, seq, &format!("x:{trace}:{seq}"), policy_id, version),
            3 => input(&trace, seq, &format!("i{}", random.below(12))),
            4 => cited(&trace, seq, &format!("trace-{seed}-{}", 1 + random.below(traces + 3))),
            5 => {
                let payload = format!(
                    r#"{{"action_id":"act:{}","action_type":"t","target_entity":{{"entity_type":"a","entity_id":"b:{}"}},"target_system":"s","changes":[]}}"#,
                    random.below(30),
                    random.below(5)
                );
                event(&trace, seq, "ActionProposed", &payload)
            }
            _ if seq < 3 => event(&trace, seq, "ActionCommitted", &format!(r#"{{"action_id":"act:{}","status":"success"}}"#, random.below(30))),
            _ => finished(&trace, seq, ["success", "failure", "abandoned"][random.below(3)]),
        });
        if log.last().expect("just pushed").envelope().event_type == "TraceFinished" {
            open.swap_remove(at);
        } else {
            open[at].1 += 1;
        }
    }
    log
}

/// SplitMix64: the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
