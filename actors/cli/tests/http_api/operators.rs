//! Operators over HTTP: the record of their changes, the limits, the file of identities, and callers who reach one
//! tenant.

use super::http_support::{Ask, PATIENCE, Place};
use super::node_support::{self, until};
use super::support::{self, Db};
use super::{by_role, concrete, event, no_rates, observed, started};
use decisiongraph_http::api::{ApiBounds, Needs, ROUTES, Rates};
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId, catalogue};
use decisiongraph_store::{NewFailure, Scope};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads entries of the record, latest first.
async fn entries(place: &Place, query: &str) -> Vec<Value> {
    let got = place.get("everywhere", &format!("/api/v1/audit{query}")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()["data"]["entries"].as_array().expect("entries").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_tells_who_asked_on_whose_behalf_and_what_came_of_it() {
    for db in Db::both().await {
        let place = Place::filled(db, &by_role(), no_rates()).await;
        let pause =
            json!({ "projection": "trace_summary", "reason": "look at it first", "on_behalf_of": "carol of support" });
        let path = "/api/v1/scopes/pause";
        let text = pause.to_string();
        let ask = Ask::post(path, "application/json", text.as_bytes()).header("x-request-id", "r-42");
        assert_eq!(place.send(Some("operator"), ask).await.status, 200);
        assert_eq!(place.post("reader", path, &pause).await.status, 403);
        assert_eq!(place.post("operator", path, &json!({ "projection": "all" })).await.status, 400, "without a reason");
        let long = json!({ "projection": "all", "reason": "x", "on_behalf_of": "x".repeat(201) });
        assert_eq!(place.post("operator", path, &long).await.status, 400);
        let unknown = uuid::Uuid::now_v7();
        let cancel = format!("/api/v1/runs/{unknown}/cancel");
        assert_eq!(place.post("operator", &cancel, &json!({})).await.status, 404);
        let started = place.post("auditor", "/api/v1/runs", &json!({ "mode": "verify", "projection": "all" })).await;
        assert_eq!(started.status, 202, "{}", started.text);
        let rebuild = json!({ "mode": "rebuild", "projection": "all", "reason": "again" });
        assert_eq!(place.post("auditor", "/api/v1/runs", &rebuild).await.status, 403, "the right is that of the mode");

        let all = entries(&place, "").await;
        let told = |entry: &Value| {
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            [word("identity"), word("action"), word("outcome"), word("code")].join(" ")
        };
        assert_eq!(
            all.iter().map(told).collect::<Vec<_>>(),
            [
                "auditor start_run refused forbidden",
                "auditor verify accepted ",
                "operator cancel_run refused not_found",
                "operator pause refused invalid_argument",
                "operator pause refused invalid_argument",
                "reader pause refused forbidden",
                "operator pause accepted ",
            ],
            "{all:?}"
        );
        let first = all.last().expect("an entry");
        for (name, expected) in [
            ("request_id", json!("r-42")),
            ("on_behalf_of", json!("carol of support")),
            ("door", json!("http")),
            ("tenant", json!("default")),
            ("projection", json!("trace_summary")),
            ("reason", json!("look at it first")),
            ("through", json!("http")),
            ("message", json!("done")),
            ("lost", json!(false)),
        ] {
            assert_eq!(first[name], expected, "{name}: {first}");
        }
        assert!(first["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{first}");
        assert!(first["token_id"].is_string() && first["ended_at"].is_string(), "{first}");
        assert_eq!(all[1]["run_id"], started.json()["data"]["run"]["run_id"]);
        assert_eq!(all[2]["target"], unknown.to_string());
        assert!(all.iter().all(|entry| entry["tenant"] == "default"), "{all:?}");
        // The pause names its operator, and nobody on whose behalf it was.
        let status = place.get("everywhere", "/api/v1/status").await;
        assert!(status.text.contains("paused by operator: look at it first"), "{}", status.text);

        for (query, count) in [
            ("?identity=operator", 4),
            ("?action=pause", 4),
            ("?action=pause&outcome=refused", 3),
            ("?outcome=accepted", 2),
            ("?outcome=none", 0),
            ("?since=2020-01-31T09:30:00Z", 7),
            ("?since=2920-01-31T09:30:00.123456Z", 0),
        ] {
            assert_eq!(entries(&place, query).await.len(), count, "{query}");
        }
        for bad in ["?outcome=done", "?since=yesterday", "?limit=0"] {
            assert_eq!(place.get("everywhere", &format!("/api/v1/audit{bad}")).await.status, 400, "{bad}");
        }
        let page = place.get("everywhere", "/api/v1/audit?action=pause&limit=3").await.json();
        let next = page["data"]["next_cursor"].as_str().expect("more").to_owned();
        let rest = entries(&place, &format!("?action=pause&limit=3&cursor={next}")).await;
        assert_eq!(rest.iter().map(told).collect::<Vec<_>>(), ["operator pause accepted "]);
        place.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_there_is_no_change() {
    for db in Db::both().await {
        let place = Place::filled(db, &by_role(), no_rates()).await;
        let (close, open) = match place.db {
            Db::Sqlite(_) => ("ALTER TABLE dg_audit RENAME TO closed", "ALTER TABLE closed RENAME TO dg_audit"),
            Db::Postgres(_) => (
                "ALTER TABLE dg_audit ADD CONSTRAINT closed CHECK (false) NOT VALID",
                "ALTER TABLE dg_audit DROP CONSTRAINT closed",
            ),
        };
        place.db.tamper(close).await;
        let pause = json!({ "projection": "trace_summary", "reason": "look at it first" });
        for name in ["operator", "everywhere"] {
            let got = place.post(name, "/api/v1/scopes/pause", &pause).await;
            assert_eq!(got.status, 503, "{name}: {}", got.text);
        }
        let refused = place.post("reader", "/api/v1/scopes/pause", &pause).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{}", refused.text);
        let start = json!({ "mode": "rebuild", "projection": "all", "reason": "again" });
        assert_eq!(place.post("operator", "/api/v1/runs", &start).await.status, 503);
        let store = place.db.store().await;
        let view = store.view().await.expect("a view");
        let scopes = view.scopes(Some(&TenantId::default())).await.expect("scopes");
        assert!(scopes.iter().all(|scope| scope.paused.is_none()), "{scopes:?}");
        let runs = place.get("operator", "/api/v1/runs").await.json();
        assert_eq!(runs["data"]["runs"], json!([]), "{runs}");
        assert_eq!(place.post("appender", "/api/v1/events", &started("meanwhile")).await.status, 201, "events go on");
        place.db.tamper(open).await;
        assert_eq!(place.post("operator", "/api/v1/scopes/pause", &pause).await.status, 200);
        assert_eq!(entries(&place, "").await.len(), 1);
        place.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_batch_count_as_events() {
    let rates = Rates { events: 600, ..no_rates().rates };
    let place = Place::start(Db::sqlite().await, &by_role(), ApiBounds { rates, ..no_rates() }).await;
    let batch = |from: usize, lines: usize| {
        let lines: Vec<String> =
            (from..from + lines).map(|number| started(&format!("t{number}")).to_string()).collect();
        lines.join("\n")
    };
    let send = async |text: String| {
        let ask = Ask::post("/api/v1/events/batch", "application/x-ndjson", text.as_bytes());
        place.send(Some("appender"), ask).await
    };
    assert_eq!(send(batch(0, 90)).await.status, 200);
    let refused = send(batch(100, 90)).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{}", refused.text);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=9).contains(&wait), "{wait}");
    assert!(refused.json()["error"]["retryable"] == true, "{}", refused.text);
    assert_eq!(place.get("reader", "/api/v1/events?limit=1").await.status, 200, "reads have their own rate");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_identities_file_leaves_the_old_ones_in_force_and_is_a_finding() {
    let place = Place::filled(Db::sqlite().await, &by_role(), no_rates()).await;
    let path = place.directory.path().join("identities.json");
    let good = std::fs::read(&path).expect("reads");
    let subjects = async |name: &str| {
        let health = place.get(name, "/api/v1/health").await;
        assert_eq!(health.status, 200, "{}", health.text);
        let findings = health.json()["data"]["findings"].as_array().expect("findings").clone();
        let subjects: Vec<String> =
            findings.iter().map(|finding| finding["subject"].as_str().expect("a subject").to_owned()).collect();
        (subjects, health.text)
    };
    // This node has no key: that nothing is sealed is an information for its operators.
    assert_eq!(subjects("everywhere").await.0, ["seal"]);
    assert!(subjects("operator").await.0.is_empty());
    let said = async |name: &str| place.get(name, "/api/v1/status").await.json()["data"]["unsealed"].clone();
    assert!(said("everywhere").await.as_str().is_some_and(|said| said.starts_with("nothing is sealed")));
    assert!(said("operator").await.is_null(), "a caller of one tenant");
    std::fs::write(&path, "{").expect("writes");
    until("the fault is a finding", PATIENCE, async || {
        subjects("everywhere").await.0.contains(&"identities".to_owned())
    })
    .await;
    let (narrow, text) = subjects("operator").await;
    assert!(narrow.contains(&"node".to_owned()) && !text.contains("identities"), "{text}");
    assert_eq!(place.get("reader", "/api/v1/whoami").await.status, 200, "the old identities are in force");
    std::fs::write(&path, good).expect("writes");
    until("it is mended", PATIENCE, async || !subjects("everywhere").await.0.contains(&"identities".to_owned())).await;
    place.stop().await;
}

/// Another tenant with a failure, a pause and a held mark: no answer to a caller of one tenant tells of it, or of the
/// database.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_one_tenant_is_told_nothing_of_another_or_of_the_database() {
    const OTHER: &str = "zz-peculiar";
    let place = Place::filled(Db::postgres().await, &by_role(), no_rates()).await;
    let store = place.db.store().await;
    let other = TenantId::new(OTHER).expect("an id");
    let lines = support::log(2, 0);
    node_support::insist(&store, &other, &lines).await;
    until("the other tenant is projected", PATIENCE, async || node_support::begun(&store, &other).await).await;
    let scope = Scope::new(&other, catalogue::CONTEXT_GRAPH);
    let failure = NewFailure {
        scope: scope.clone(),
        log_seq: LogSeq(1),
        event_id: format!("{OTHER}-event"),
        trace_id: format!("{OTHER}-trace"),
        event_type: "PolicyEvaluated".to_owned(),
        refusal: Refusal::new(Category::SchemaViolation, format!("{OTHER} is bad")),
        batch_from: LogSeq(0),
        batch_to: LogSeq(1),
        digest_before: String::new(),
    };
    store.record_failure(&failure).await.expect("recorded");
    store.pause_scope(&Scope::new(&other, catalogue::TRACE_SUMMARY), OTHER, OTHER).await.expect("paused");
    let pause = json!({ "projection": "trace_summary", "reason": format!("{OTHER} asked for it") });
    let body = pause.to_string();
    let ask = Ask::post("/api/v1/scopes/pause", "application/json", body.as_bytes()).tenant(Some(OTHER));
    assert_eq!(place.send(Some("everywhere"), ask).await.status, 200);
    let verify = json!({ "mode": "verify", "projection": "all" }).to_string();
    let ask = Ask::post("/api/v1/runs", "application/json", verify.as_bytes()).tenant(Some(OTHER));
    let run = place.send(Some("everywhere"), ask).await;
    let run = run.json()["data"]["run"]["run_id"].as_str().expect("an id").to_owned();
    // An appender of the other tenant that stays open.
    let (holder, connection) = tokio_postgres::connect(&place.db.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let held = format!("SET application_name = '{OTHER}'; BEGIN; LOCK TABLE dg_event_log IN ROW EXCLUSIVE MODE");
    holder.batch_execute(&held).await.expect("locks");
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    assert_eq!(place.post("appender", "/api/v1/events", &started("behind the mark")).await.status, 201);
    until("the appender is old enough to be told of", PATIENCE, async || {
        place.get("everywhere", "/api/v1/why").await.text.contains(OTHER)
    })
    .await;
    until("it holds up a scope", PATIENCE, async || {
        place.get("operator", "/api/v1/status").await.text.contains("waiting for an appender")
    })
    .await;

    let database = place.db.url().rsplit('/').next().expect("a name").to_owned();
    let secrets = [OTHER.to_owned(), database, format!("pid {pid}"), format!("\"pid\":{pid}")];
    let mut seen = 0;
    for route in ROUTES.iter().filter(|route| !route.changes() && route.needs != Needs::Nothing) {
        if route.word.ends_with("_stream") {
            continue;
        }
        // Ids of the other tenant, and ids that nothing has.
        let others = route.path.replace("{id}", &run).replace("{name}", "nobody");
        for path in [others, concrete(route.path), route.path.replace("{id}", "1")] {
            // An identity with every right, and one tenant.
            let got = place.get("admin", &path).await;
            for secret in &secrets {
                assert!(!got.text.contains(secret), "{path} tells {secret}: {}", got.text);
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
    for path in ["/api/v1/status", "/api/v1/why", "/api/v1/health", "/api/v1/audit"] {
        let all = place.send(Some("everywhere"), Ask::get(path).tenant(None)).await;
        assert!(all.text.contains(OTHER), "an operator of the node is told: {path}: {}", all.text);
    }
    holder.batch_execute("COMMIT").await.expect("ends");
    place.stop().await;
}

/// Readers that wait for a paused projection ask the database nothing while they wait.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_wait_cost_no_statements_and_are_woken() {
    const READERS: usize = 60;
    let place = Arc::new(Place::start(Db::postgres().await, &by_role(), no_rates()).await);
    assert_eq!(place.post("appender", "/api/v1/events", &started("t")).await.status, 201);
    place.current().await;
    let pause = json!({ "projection": "trace_summary", "reason": "readers wait" });
    assert_eq!(place.post("operator", "/api/v1/scopes/pause", &pause).await.status, 200);
    assert_eq!(place.post("appender", "/api/v1/events", &observed("t", "t:1")).await.status, 201);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                let got = place.get("reader", "/api/v1/traces/t?wait_ms=25000").await;
                (got.status, Instant::now())
            })
        })
        .collect();
    let (meter, connection) = tokio_postgres::connect(&place.db.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let transactions = async || {
        let counted = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        meter.query_one(counted, &[]).await.expect("a row").get::<_, i64>(0)
    };
    let waiting = |count: usize| place.node.parts().engine.waits().waiting() == count;
    until("every reader waits", PATIENCE, async || waiting(READERS)).await;
    // Each session reports its transactions by its own clock, within a second or so of its last one.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (before, looks) = (transactions().await, place.node.parts().engine.waits().looks());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let during = transactions().await - before;
    assert!(readers.iter().all(|reader| !reader.is_finished()), "they wait");
    assert!(during < 600, "{READERS} readers waited, and {during} transactions were executed");
    assert_eq!(place.node.parts().engine.waits().looks(), looks, "the scopes are this node's");
    let resumed = Instant::now();
    let resume = json!({ "projection": "trace_summary" });
    let answer = place.post("operator", "/api/v1/scopes/resume", &resume).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for reader in readers {
        let (status, answered) = reader.await.expect("reads");
        assert_eq!(status, 200);
        assert!(answered - resumed < Duration::from_secs(8), "woken after {:?}", answered - resumed);
    }
    // A position that the log does not have yet.
    let last = place.get("reader", "/api/v1/events").await.json()["data"]["mark"].as_i64().expect("a mark");
    let reader = tokio::spawn({
        let place = Arc::clone(&place);
        async move { place.get("reader", &format!("/api/v1/traces/t?wait_ms=25000&at_least={}", last + 1)).await }
    });
    until("it waits: the position is not there", PATIENCE, async || waiting(1)).await;
    assert!(!reader.is_finished());
    let appended = Instant::now();
    let entity = json!({ "entity_type": "person", "entity_id": "late" });
    let late = event("t", "EntityObserved", "t:2", json!({ "entity": entity, "role": "related", "facts": [] }));
    assert_eq!(place.post("appender", "/api/v1/events", &late).await.status, 201);
    let got = reader.await.expect("reads");
    assert_eq!(got.status, 200, "{}", got.text);
    assert!(appended.elapsed() < Duration::from_secs(5), "woken after {:?}", appended.elapsed());
    assert!(got.text.contains("late"), "{}", got.text);
    Arc::into_inner(place).expect("the last").stop().await;
}
