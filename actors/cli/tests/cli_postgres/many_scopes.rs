//! Ten thousand scopes that fail or wait for one appender: the report stays short, comes soon, and names what it leaves
//! out.

use super::cli_support::node::wait_until;
use super::cli_support::{Cli, Ended, started};
use super::{server, session};
use decisiongraph_projections::catalogue;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Columns of an event that both stores keep, except tenant, position and time of arrival.
pub const EVENT: &str = "event_id, trace_id, trace_seq, event_type, occurred_at, producer_id, source_system, source_subsystem, \
    actor_type, actor_id, idempotency_key, correlation_id, causation_event_id, schema_version, tags, payload_hash, event_key, \
    trace_key, idempotency_uid, payload";
pub const FAILURE: &str = "projection, log_seq, event_id, trace_id, event_type, category, message, batch_from, batch_to, \
    digest_before, attempts";
const OF_EACH: &str =
    "p.name, log_seq, event_id, trace_id, event_type, 'conflict', 'tampered with', log_seq, log_seq, 'lthash:0', 1";

/// Returns the names of the projections as a table `p`.
pub fn projections() -> String {
    let names = catalogue::ALL.map(|projection| format!("SELECT '{}' AS name", projection.name()));
    format!("({}) AS p", names.join(" UNION ALL "))
}

/// Runs a command on one store.
type Run<'a> = &'a dyn Fn(&[&str]) -> Ended;

fn timed(run: Run<'_>, args: &[&str]) -> (Ended, Duration) {
    let began = Instant::now();
    let ended = run(args);
    assert!([0, 11].contains(&ended.code), "{args:?}: {}", ended.stderr);
    (ended, began.elapsed())
}

/// Grows a store from few failing tenants to ten times as many, and checks the reports.
fn looked_at(run: Run<'_>, grow: &dyn Fn(std::ops::RangeInclusive<u32>)) {
    let commands: [&[&str]; 3] = [&["status"], &["health"], &["why"]];
    grow(1..=340);
    let few = commands.map(|args| timed(run, args).1);
    grow(341..=3_400);
    for (args, few) in commands.iter().zip(few) {
        let (ended, many) = timed(run, args);
        assert!(ended.stdout.lines().count() <= 130, "{args:?}: {} lines", ended.stdout.lines().count());
        // Ten times as many scopes take ten times as long. A query per scope would take far longer.
        assert!(many < few * 40, "{args:?}: {few:?} became {many:?}");
    }
    let why = run(&["why"]).stdout;
    assert!(why.contains("10,200 scopes are failed (conflict), such as t000001/context_graph: stopped at"), "{why}");
    assert!(
        why.contains("  next: `decisiongraph failures")
            && why.contains("` lists them; for this one: ")
            && why.lines().count() <= 9,
        "{why}"
    );
    let health = run(&["health"]).stdout;
    assert!(health.contains("failed 10,200 scopes: such as") && health.lines().count() <= 10, "{health}");
    let status = run(&["status"]).stdout;
    assert!(status.contains(" of 10,203 scopes of 3,401 tenants: ") && status.contains("10,200 failed"), "{status}");
    assert!(run(&["status", "--state", "paused"]).stdout.contains("No such scope."));
    // Page by page, the lists yield every scope exactly once.
    let (mut seen, mut after) = (BTreeSet::new(), None);
    loop {
        let mut args = vec!["status", "--json", "--limit", "4000"];
        args.extend(after.as_deref().map(|after| ["--after", after]).into_iter().flatten());
        let page = run(&args).json();
        let scopes = page["scopes"].as_array().expect("a list");
        assert!(scopes.len() <= 4_002 && page["summary"]["scopes"] == 10_203, "{}", page["summary"]);
        for scope in scopes {
            assert!(seen.insert(format!("{}/{}", scope["tenant"], scope["projection"])), "twice: {scope}");
        }
        if page["more"] == false {
            break;
        }
        after = scopes.last().map(|scope| scope["tenant"].as_str().expect("an id").to_owned());
    }
    assert_eq!(seen.len(), 10_203);
    let why = run(&["why", "--json"]).json();
    assert_eq!((why["scopes"].as_array().map(Vec::len), &why["more"]), (Some(1_000), &Value::Bool(true)));
    // A cut list says so, and can be continued.
    let text = run(&["failures"]).stdout;
    assert!(text.lines().last().is_some_and(|line| line.starts_with("There are more: --after ")), "{text}");
    let first = run(&["failures", "--json", "--limit", "10000"]).json();
    let ids = |page: &Value| -> Vec<i64> {
        page["failures"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|of| of["failure_id"].as_i64().expect("an id"))
            .collect()
    };
    let last = ids(&first).last().expect("some").to_string();
    let rest = run(&["failures", "--json", "--limit", "10000", "--after", &last]).json();
    assert_eq!((&first["more"], &rest["more"]), (&Value::Bool(true), &Value::Bool(false)));
    let all: BTreeSet<i64> = ids(&first).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all.len(), 10_200);
}

#[test]
fn ten_thousand_failures_are_a_few_lines_and_told_soon_of_a_file() {
    let cli = Cli::new();
    assert_eq!(cli.pipe(&["import", "-"], started("t").to_string().as_bytes()).code, 0);
    let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    looked_at(&|args| cli.run(args), &|tenants| {
        let (from, to, p) = (tenants.start(), tenants.end(), projections());
        store
            .execute_batch(&format!(
                "BEGIN;
                 WITH RECURSIVE g (n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM g WHERE n < {to})
                 INSERT INTO dg_event_log (tenant_id, recorded_at_ms, {EVENT})
                 SELECT printf('t%06d', n), recorded_at_ms, {EVENT} FROM dg_event_log, g WHERE tenant_id = 'default';
                 INSERT INTO dg_failure (tenant_id, first_seen_at_ms, last_seen_at_ms, {FAILURE})
                 SELECT tenant_id, 1, 1, {OF_EACH} FROM dg_event_log, {p}
                  WHERE tenant_id BETWEEN printf('t%06d', {from}) AND printf('t%06d', {to});
                 COMMIT;"
            ))
            .expect("grows");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_failures_are_a_few_lines_and_told_soon_of_a_database() {
    let database = server().await.empty_database().await.expect("a database");
    let cli = Cli::new();
    let run = |args: &[&str]| cli.run(&[args, &["--database", database.url()]].concat());
    assert_eq!(run(&["migrate"]).code, 0);
    let url = ["--database", database.url()];
    let one = started("t").to_string();
    assert_eq!(cli.pipe(&[&["import", "-"][..], &url].concat(), one.as_bytes()).code, 0);
    let client = session(database.url()).await;
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        looked_at(&run, &|tenants| {
            let (from, to, p) = (tenants.start(), tenants.end(), projections());
            let sql = format!(
                "INSERT INTO dg_event_log (tenant_id, {EVENT})
                 SELECT 't' || lpad(n::text, 6, '0'), {EVENT} FROM dg_event_log, generate_series({from}, {to}) AS n
                  WHERE tenant_id = 'default';
                 INSERT INTO dg_failure (tenant_id, {FAILURE})
                 SELECT tenant_id, {OF_EACH} FROM dg_event_log, {p}
                  WHERE tenant_id BETWEEN 't' || lpad('{from}', 6, '0') AND 't' || lpad('{to}', 6, '0');"
            );
            handle.block_on(client.batch_execute(&sql)).expect("grows");
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appender_that_stays_is_one_line_with_its_program_and_no_literal_and_its_role_may_end_it() {
    let database = server().await.empty_database().await.expect("a database");
    let cli = Cli::new();
    let run = |args: &[&str]| cli.run(&[args, &["--database", database.url()]].concat());
    assert_eq!(run(&["migrate"]).code, 0);
    let mut lines = Vec::new();
    for tenant in 0..12 {
        let mut event = started("t");
        event["tenant_id"] = format!("t{tenant}").into();
        lines.push(event.to_string());
    }
    let url = ["--database", database.url()];
    assert_eq!(cli.pipe(&[&["import", "-"][..], &url].concat(), lines.join("\n").as_bytes()).code, 0);
    let loader = session(database.url()).await;
    let sql = format!(
        "SET application_name = 'loader'; BEGIN;
         INSERT INTO dg_event_log (tenant_id, {EVENT}) SELECT 'loaded', {EVENT} FROM dg_event_log WHERE tenant_id = 't0'"
    );
    loader.batch_execute(&sql).await.expect("writes");
    loader.batch_execute("SELECT 'SECRET', 4111").await.expect("reads");
    let told = || {
        let told = run(&["why"]).stdout;
        // Below two seconds a transaction is at work and is not reported.
        let age = told.split_once("open for ").map(|(_, age)| age.split(' ').next().and_then(|age| age.parse().ok()));
        assert!(age.is_none_or(|age: Option<f64>| age.is_some_and(|age| age >= 2.0)), "{told}");
        told
    };
    tokio::task::block_in_place(|| wait_until("it is told", || told().contains("mark: held up by pid ")));
    let told = told();
    assert!(told.contains("(program `loader`, role ") && told.contains(": SELECT ?, ?;"), "{told}");
    assert!(told.contains("36 scopes are waiting, such as t0/context_graph: waiting for an appender: pid "), "{told}");
    assert!(!told.contains("SECRET") && !told.contains("4111") && told.lines().count() <= 5, "{told}");
    assert!(!run(&["status", "--json"]).stdout.contains("SECRET"));
    let role: String = loader.query_one("SELECT current_user::text", &[]).await.expect("a role").get(0);
    assert!(told.contains(&format!("ends a session that hangs, as role {role} or a superuser")), "{told}");
    let sql = told.split('`').find(|part| part.starts_with("SELECT pg_terminate")).expect("a statement");
    session(database.url()).await.batch_execute(sql).await.expect("runs");
    tokio::task::block_in_place(|| wait_until("the mark is free", || !run(&["why"]).stdout.contains("mark: held up")));
}
