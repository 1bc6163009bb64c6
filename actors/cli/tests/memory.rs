//! Promises about memory, on a real node, measured on its process, and on the engine. A node stays below `memory_max`
//! for anything that strangers send, the log holds or operators ask. Anything too large is named, and no other tenant
//! waits for it.

mod cli_support;
mod support;

use cli_support::node::{Node, listening_ports, wait_until};
use cli_support::{Cli, Ended, evaluated, event, finished, started};
use decisiongraph_engine::{Control, Engine, EngineConfig};
use decisiongraph_projections::event::Line;
use decisiongraph_projections::payload_hash::{sha256_hex, tagged_hex};
use decisiongraph_projections::validation::admit;
use decisiongraph_projections::{Category, LogSeq, RowKey, catalogue};
use decisiongraph_store::{PageLimit, RunMode, RunState, Store};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use support::{Db, append, owner, positions, request, run, tenant};

/// Bytes of memory that the node may use.
const MEMORY_MAX: u64 = 256 << 20;

/// Returns the peak memory of a process, in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().strip_suffix("kB").expect("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// An embedded log.
struct Log {
    cli: Cli,
}

impl Log {
    fn import(&self, tenant: &str, lines: &[Value]) {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let ended = self.cli.pipe(&["--tenant", tenant, "import", "-"], lines.join("\n").as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }

    /// Changes the log past every check, as an older program or a producer's own client would.
    fn raw(&self, sql: &str) {
        let log = rusqlite::Connection::open(self.cli.data_dir().join("decisiongraph.db")).expect("opens");
        assert!(log.execute(sql, []).expect("the statement") > 0);
    }

    fn states(&self, tenant: &str) -> Vec<Value> {
        self.cli.json(&["status", "--tenant", tenant])["scopes"].as_array().expect("scopes").clone()
    }

    fn current(&self, tenant: &str) -> bool {
        let scopes = self.states(tenant);
        scopes.len() == 4 && scopes.iter().all(|scope| scope["state"] == "current")
    }
}

/// Stores events of 1.5 MB each, all of it in their ids; 60 MB in total.
fn long_ids(log: &Log) {
    let starts: Vec<Value> = (0..40).map(|n| started(&format!("t{n}"))).collect();
    log.import("default", &starts);
    log.raw("UPDATE dg_event_log SET event_id = printf('%.*c', 1500000, 'x') || log_seq");
}

/// Stores a trace with 30 evaluations of 3 MB each, and its end. A projection must know all evaluations for the end.
fn long_trace(log: &Log) {
    let mut large = evaluated("long", 1);
    large["payload"]["note"] = json!("n".repeat(3_000_000));
    log.import("default", &[started("long"), large]);
    log.raw(
        "INSERT INTO dg_event_log
         SELECT NULL, tenant_id, 'e' || n, trace_id, n, event_type, occurred_at, producer_id, source_system, source_subsystem, actor_type,
                actor_id, 'k' || n, correlation_id, causation_event_id, schema_version, tags, payload_hash, randomblob(16), trace_key,
                randomblob(16), recorded_at_ms, payload
         FROM dg_event_log,
              (WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < 30) SELECT n FROM number)
         WHERE trace_id = 'long' AND trace_seq = 1",
    );
    log.import("default", &[finished("long", 31)]);
}

/// Opens connections of strangers at every open port. Each announces 256 MiB and sends as much as is accepted.
fn strangers(node: &Node) -> Vec<TcpStream> {
    let ports = listening_ports(node.pid());
    let mut strangers: Vec<TcpStream> = ports
        .iter()
        .flat_map(|port| (0..16).map(|_| TcpStream::connect(("127.0.0.1", *port)).expect("connects")))
        .collect();
    let piece = vec![0; 1 << 20];
    for stranger in &mut strangers {
        let _ = stranger.set_nonblocking(true);
        let _ = stranger.write_all(&(256_u64 << 20).to_be_bytes());
    }
    for _ in 0..50 {
        strangers.iter_mut().for_each(|stranger| drop(stranger.write(&piece)));
    }
    strangers
}

#[test]
fn a_node_stays_below_memory_max_whatever_strangers_send_the_log_holds_and_operators_ask() {
    let log = Log { cli: Cli::new() };
    long_ids(&log);
    long_trace(&log);
    let memory_max = MEMORY_MAX.to_string();
    let node = Node::start(&log.cli, &["--memory-max", &memory_max, "--metrics-listen", "127.0.0.1:0"]);
    let below = |what: &str| assert!(peak(node.pid()) < MEMORY_MAX, "{} MiB to {what}", peak(node.pid()) >> 20);
    let crowd = strangers(&node);
    log.import(
        "other",
        &cli_support::trace("o").iter().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>(),
    );
    wait_until("another tenant's events are applied meanwhile", || log.current("other"));
    wait_until("all is applied", || log.current("default"));
    drop(crowd);
    below("apply it");

    // Operators ask for everything at once. Each gets a part that says that there is more, or is asked to come back.
    let asks: Vec<_> = (0..16)
        .map(|_| {
            let mut command = log.cli.command(&["events", "--limit", "10000", "--json", "--timeout", "60"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
        })
        .collect();
    let mut answered = 0;
    for ask in asks {
        let ended = Ended::of(ask.wait_with_output().expect("ends"));
        if ended.code == 0 {
            let answer = ended.json();
            assert_eq!(answer["more"], true);
            assert!(ended.stdout.len() < 9 << 20, "{}", ended.stdout.len());
            answered += 1;
        } else {
            let refused = ended.refused(6, "unavailable");
            assert!(refused.contains("memory"), "{refused}");
        }
    }
    assert!(answered > 0);
    below("answer");
    let export = log.cli.run(&["export"]);
    assert_eq!(export.stdout.lines().count(), 72, "all of it, page by page: {}", export.stderr);
    below("export");
    // The log was edited: its seal says so.
    let pack = log.cli.data_dir().join("pack").display().to_string();
    let jobs: [(&[&str], i32); 6] = [
        (&["verify", "--no-log"], 0),
        (&["rebuild"], 0),
        (&["seal", "now"], 0),
        (&["verify", "--log-only"], 3),
        (&["audit-pack", "--range", "1..72", "-o", &pack], 3),
        (&["prove", "--log-seq", "1"], 3),
    ];
    for (job, code) in jobs {
        let ended = log.cli.run(job);
        assert_eq!(ended.code, code, "{job:?}: {}{}", ended.stdout, ended.stderr);
        below(&job.join(" "));
    }
}

#[test]
fn an_event_larger_than_the_memory_stops_its_tenant_by_name_and_no_other() {
    let log = Log { cli: Cli::new() };
    let cited = event("t", 1, "PrecedentCited", json!({"cited_trace_id": "x", "reason": "r"}));
    log.import("default", &[started("t"), cited]);
    log.raw("UPDATE dg_event_log SET payload = printf('%.*c', 30000000, 'x') WHERE trace_seq = 1");
    log.import("other", &[started("o")]);
    let node = Node::start(&log.cli, &["--memory-max", &MEMORY_MAX.to_string()]);
    wait_until("the other goes on", || log.current("other"));
    let named = "the event at log_seq 2 has 30";
    wait_until("its workers say why they stand", || {
        let scopes = log.states("default");
        scopes.len() == 4 && scopes.iter().all(|scope| scope.to_string().contains(named))
    });
    for command in ["health", "why"] {
        let told = log.cli.run(&[command]).stdout;
        assert!(told.contains(named) && told.contains("memory_max"), "{command}: {told}");
    }
    let refused = log.cli.run(&["events", "--json", "--since", "1"]).refused(1, "storage");
    assert!(refused.contains("memory_max"), "{refused}");
    assert!(peak(node.pid()) < MEMORY_MAX, "{} MiB", peak(node.pid()) >> 20);
}

/// Returns a configuration with memory for pages of 9 KB, and for 129 KB of one event. That is less than the smallest
/// setting of a node.
fn cramped() -> EngineConfig {
    EngineConfig { memory_max: (64 << 20) + (37 << 16), ..support::config(1_000) }
}

fn engine(store: &Arc<dyn Store>, config: EngineConfig) -> Engine {
    Engine::new(Arc::clone(store), owner("memory"), config)
}

fn admitted(lines: &[Value]) -> Vec<decisiongraph_projections::Admitted> {
    let line = |value: &Value| admit(Line::parse(&value.to_string()).expect("reads").draft).expect("legal");
    lines.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_prior_rows_are_large_is_applied_in_parts_with_the_same_result() {
    let titled = |n: usize| {
        let mut start = started(&format!("t{n}"));
        start["payload"]["title"] = json!("t".repeat(4_000));
        start
    };
    let starts: Vec<Value> = (0..30).map(titled).collect();
    let ends: Vec<Value> = (0..30).map(|n| finished(&format!("t{n}"), 1)).collect();
    let mut seen = Vec::new();
    for config in [support::config(1_000), cramped()] {
        for db in Db::both().await {
            let store = db.store().await;
            let cramped = config.memory_max < MEMORY_MAX;
            let engine = engine(&store, config.clone());
            append(&store, &admitted(&starts)).await;
            run(&engine, RunMode::CatchUp).await;
            append(&store, &admitted(&ends)).await;
            let ended = run(&engine, RunMode::CatchUp).await;
            let summaries = &ended.scopes[1];
            assert_eq!((summaries.projection.as_str(), summaries.events), (catalogue::TRACE_SUMMARY.name(), 30));
            // Thirty summaries of 4 KB, of which two fit.
            assert_eq!(summaries.batches >= 8, cramped, "{}: {summaries:?}", db.name());
            assert!(!run(&engine, RunMode::Verify).await.drifted());
            seen.push(positions(&store).await);
            assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Completed);
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_which_too_much_must_be_known_stops_by_name_and_goes_on_with_more_memory() {
    let evaluated = |seq: u64| {
        let policy = json!({"policy_id": format!("{seq}{}", "p".repeat(4_000)), "policy_version": "1"});
        event("t", seq, "PolicyEvaluated", json!({"policy": policy, "inputs": [], "decision": "allow"}))
    };
    let mut lines = vec![started("t")];
    lines.extend((1..=40).map(evaluated));
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &admitted(&lines)).await;
        // A job keeps the events that it went past, within bounds. The next job has to ask for them.
        run(&engine(&store, cramped()), RunMode::CatchUp).await;
        let last = append(&store, &admitted(&[finished("t", 41)])).await;
        let refused = engine(&store, cramped()).run(&request(RunMode::CatchUp), &Control::default()).await;
        let refused = refused.expect_err("too much");
        assert_eq!(refused.category, Category::Storage, "{refused}");
        let (at, message) = (format!("log_seq {last}"), &refused.message);
        assert!(message.contains(&at) && message.contains("memory_max"), "{}: {message}", db.name());
        assert!(positions(&store).await[2].0 < last, "everything before it is applied, and not it");
        let roomy = engine(&store, support::config(1_000));
        let report = run(&roomy, RunMode::CatchUp).await;
        assert!(report.scopes.iter().all(|scope| scope.cursor == last), "{report:?}");
        assert!(!run(&roomy, RunMode::Verify).await.drifted());
    }
}

/// Ids longer than an append accepts today, in every place that has an id, as stored by an older program.
#[tokio::test(flavor = "multi_thread")]
async fn ids_longer_than_an_append_takes_that_were_stored_before_are_read_applied_and_rebuilt() {
    let long = |text: &str| format!("{text}{}", "x".repeat(100_000));
    for db in Db::both().await {
        let store = db.store().await;
        let mut lines: Vec<Value> = vec![started("t"), evaluated("t", 1), finished("t", 2)];
        let last = append(&store, &admitted(&lines)).await;
        // As they would have been appended.
        let binary = |text: &str| match &db {
            Db::Sqlite(_) => format!("{}'", tagged_hex("X'", &RowKey::of(text).0)),
            Db::Postgres(_) => format!("'{}'", tagged_hex("", &RowKey::of(text).0)),
        };
        for line in &mut lines {
            let old = line["event_id"].as_str().expect("an id").to_owned();
            let (event_id, trace_id) = (long(&old), long("t"));
            for name in ["primary_entity", "policy"] {
                if let Some(named) = line["payload"].get_mut(name).and_then(Value::as_object_mut) {
                    for id in ["entity_id", "policy_id"] {
                        named.entry(id).and_modify(|id| *id = json!(long(id.as_str().expect("an id"))));
                    }
                }
            }
            // Keys in order: this is the canonical form.
            let payload = line["payload"].to_string();
            let sql = format!(
                "UPDATE dg_event_log SET event_id = '{event_id}', event_key = {}, trace_id = '{trace_id}', trace_key = {}, \
                 actor_id = '{}', payload = '{payload}', payload_hash = '{}' WHERE event_id = '{old}'",
                binary(&event_id),
                binary(&trace_id),
                long("a"),
                sha256_hex(payload.as_bytes()),
            );
            assert_eq!(db.tamper(&sql).await, 1);
        }
        let engine = engine(&store, support::config(2));
        let report = run(&engine, RunMode::CatchUp).await;
        assert!(report.scopes.iter().all(|scope| scope.cursor == last && scope.failure.is_none()), "{report:?}");
        let rebuilt = run(&engine, RunMode::Rebuild).await;
        let equal = |scope: &decisiongraph_engine::ScopeReport| {
            scope.rebuild.as_ref().is_some_and(|facts| facts.equal == Some(true))
        };
        assert!(rebuilt.scopes.iter().all(equal), "{rebuilt:?}");
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        let view = store.view().await.expect("a view");
        let read = view.trace_events(&tenant(), &long("t"), LogSeq::ORIGIN, PageLimit::rows(10)).await.expect("events");
        assert_eq!(read.items.len(), 3);
        assert!(read.items.iter().all(|event| event.fault.is_none() && event.envelope.event_id.len() > 100_000));
        // No append admits them.
        let mut late = started("u");
        late["trace_id"] = json!(long("u"));
        let refused = admit(Line::parse(&late.to_string()).expect("reads").draft).expect_err("too long");
        assert!(refused.message.contains("4096"), "{}", refused.message);
    }
}
