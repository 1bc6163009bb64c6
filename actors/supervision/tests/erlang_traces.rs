//! Replays traces of the real Erlang supervisor (`parity/otp/`). Our decision, our supervisors, and the model behind
//! the histories must all match them.

mod support;

use decisiongraph_supervision::{ChildSpec, ExitReason, Intensity, Restart, Shutdown, Strategy, SupervisorSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use support::dry::Dry;
use support::histories::{Event, History, Outcome, What};
use support::otp::Otp;
use support::real::Real;
use support::{Fault, HANGING, STOPPING, ToyMessage, bench, root, tell, until};

const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity/otp/traces.jsonl");
const DESCENDANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity/otp/descendants.jsonl");
/// Same value as in `descendant_traces.erl`.
const INNER_SHUTDOWN: Duration = Duration::from_millis(200);
/// Same value as in `supervisor_traces.erl`.
const PERIOD: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Trace {
    scenario: u64,
    strategy: Strategy,
    intensity: u32,
    children: Vec<(String, Restart)>,
    steps: Vec<TraceStep>,
}

#[derive(Deserialize)]
struct TraceStep {
    r#do: String,
    id: String,
    how: String,
    faults: BTreeMap<String, u32>,
    answer: String,
    deeds: Vec<String>,
    running: Option<Vec<(String, bool)>>,
}

impl Trace {
    fn history(&self) -> History {
        History {
            strategy: self.strategy,
            restarts_max: self.intensity,
            period: PERIOD,
            children: self.children.clone(),
            boot_faults: self.steps[0].faults.clone(),
            events: self.steps[1..].iter().map(TraceStep::event).collect(),
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.steps.iter().map(|step| Outcome {
            answer: step.answer.clone(),
            deeds: step.deeds.clone(),
            running: step.running.clone(),
        })
    }
}

impl TraceStep {
    fn event(&self) -> Event {
        let id = self.id.clone();
        let what = match self.r#do.as_str() {
            "exit" => What::Exit(id, self.reason()),
            "terminate" => What::Terminate(id),
            "restart" => What::Restart(id),
            "delete" => What::Delete(id),
            "start" => What::Start(id, serde_json::from_value(self.how.clone().into()).expect("a restart type")),
            "stop" => What::Stop,
            other => panic!("unknown step {other}"),
        };
        Event { at: Duration::ZERO, what, faults: self.faults.clone() }
    }

    fn reason(&self) -> ExitReason {
        match self.how.as_str() {
            "normal" => ExitReason::Normal,
            "shutdown" => ExitReason::Shutdown,
            "killed" => ExitReason::Killed,
            "failed" => ExitReason::Failed("boom".into()),
            other => panic!("unknown exit {other}"),
        }
    }
}

fn traces() -> Vec<Trace> {
    let lines = std::fs::read_to_string(TRACES).expect("the traces are checked in");
    let traces: Vec<Trace> = lines.lines().map(|line| serde_json::from_str(line).expect("a trace")).collect();
    assert!(traces.len() >= 300, "{} traces", traces.len());
    traces
}

#[test]
fn our_decision_does_what_erlang_did() {
    for trace in traces() {
        let (history, mut expected) = (trace.history(), trace.outcomes());
        let (mut ours, boot) = Dry::boot(&history);
        assert_eq!(Some(boot), expected.next(), "scenario {}, boot", trace.scenario);
        for (event, expected) in history.events.iter().zip(expected) {
            assert_eq!(ours.step(event), expected, "scenario {}, {event:?}", trace.scenario);
        }
    }
}

#[test]
fn the_model_does_what_erlang_did() {
    for trace in traces() {
        let (history, mut expected) = (trace.history(), trace.outcomes());
        let (mut otp, boot) = Otp::boot(&history);
        assert_eq!(Some(boot), expected.next(), "scenario {}, boot", trace.scenario);
        for (event, expected) in history.events.iter().zip(expected) {
            assert_eq!(otp.step(event), expected, "scenario {}, {event:?}", trace.scenario);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_supervisors_do_what_erlang_did() {
    for trace in traces() {
        let (history, mut expected) = (trace.history(), trace.outcomes());
        let (mut real, boot) = Real::boot(&history).await;
        assert_eq!(Some(boot), expected.next(), "scenario {}, boot", trace.scenario);
        for (event, expected) in history.events.iter().zip(expected) {
            assert_eq!(real.step(event).await, expected, "scenario {}, {event:?}", trace.scenario);
        }
    }
}

#[derive(Deserialize, Debug)]
struct DescendantTrace {
    traps: bool,
    child: String,
    end: String,
    answer: String,
    outlives: bool,
}

/// Erlang's child outlives its supervisor when it traps exits and does not read its mailbox; ours never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_descendant_outlives_its_supervisor_not_even_where_erlangs_does() {
    let lines = std::fs::read_to_string(DESCENDANTS).expect("the traces are checked in");
    let traces: Vec<DescendantTrace> = lines.lines().map(|line| serde_json::from_str(line).expect("a trace")).collect();
    assert_eq!(traces.len(), 28);
    for trace in &traces {
        assert_eq!(trace.outlives, trace.traps && trace.child != "idle", "what ADR 6 says of Erlang: {trace:?}");
        descendant(trace).await;
    }
}

async fn descendant(trace: &DescendantTrace) {
    let (bench, _journal) = bench();
    let spec = |children| SupervisorSpec { children, ..SupervisorSpec::new(Strategy::OneForOne, Intensity::default()) };
    let shutdown = if trace.end == "brutal" { Shutdown::Brutal } else { Shutdown::Timeout(INNER_SHUTDOWN) };
    let inner = ChildSpec::supervisor("inner", spec(Vec::new())).shutdown(shutdown);
    let (root, table) = root(spec(vec![inner])).await;
    let inner = table.supervisor("node/inner").expect("it runs");
    if trace.child == "starting" {
        bench.fail_starts("x", [Fault::Hang]);
    }
    let (child, handle) = (bench.child("x").shutdown(Shutdown::Infinity), inner.clone());
    let starting = tokio::spawn(async move { handle.start_child(child).await.map(|_| ()) });
    until(|| (bench.alive("x") == 1).then_some(())).await;
    let shows = |state: &'static str| {
        let table = table.clone();
        async move { until(|| (table.entry("node/inner/x")?.state == state).then_some(())).await }
    };
    match trace.child.as_str() {
        "idle" => shows("running").await,
        "busy" => {
            tell(&table, "node/inner/x", ToyMessage::HangNow).await;
            until(|| table.entry("node/inner/x")?.last_message).await;
        }
        "stopping" => {
            tell(&table, "node/inner/x", ToyMessage::HangOnStop).await;
            shows(HANGING).await;
            let handle = inner.clone();
            tokio::spawn(async move { handle.terminate_child("x").await });
            shows(STOPPING).await;
        }
        _ => {}
    }
    match trace.end.as_str() {
        "stop" => _ = root.stop().await,
        "killed" => {
            inner.cell().kill();
            until(|| table.cell("node/inner").filter(|cell| *cell != inner.cell())).await;
        }
        _ => assert_eq!((root.supervisor().terminate_child("inner").await, trace.answer.as_str()), (Ok(()), "ok")),
    }
    assert_eq!((bench.alive("x"), bench.most_alive()), (0, 1), "{trace:?}");
    assert_eq!(starting.await.unwrap().is_ok(), trace.child != "starting", "{trace:?}");
    root.stop().await;
}
