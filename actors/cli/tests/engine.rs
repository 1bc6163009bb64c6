//! Promises of the engine, on both backends. Catch-up, rebuild and verify agree. A poison event stops a projection and
//! nothing else. Tampering is found and named. Cancel and resume lose nothing, and two owners never apply a batch
//! twice.

#[path = "engine/reads.rs"]
mod reads;
mod support;

use decisiongraph_engine::{Control, Engine, RunRequest};
use decisiongraph_projections::{Category, LogSeq, Projection, Row, Value, catalogue};
use decisiongraph_protocol::{Asker, HealthRequest, HealthWord, ScopeFilter, ScopeState, ScopeStatus, StatusRequest};
use decisiongraph_store::{Acquisition, ListFilter, RunMode, RunState, Scope, Store};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use support::*;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Counts the batches that were undone and made again, by scope, as the log tells them.
#[derive(Clone, Default)]
struct MadeAgain(Arc<Mutex<Vec<String>>>);

impl MadeAgain {
    async fn count<T>(&self, work: impl Future<Output = T>) -> T {
        work.with_subscriber(tracing_subscriber::registry().with(self.clone())).await
    }

    fn of(&self, projection: &'static dyn Projection) -> usize {
        let scope = Scope::new(&tenant(), projection).to_string();
        self.0.lock().expect("counts").iter().filter(|told| **told == scope).count()
    }
}

impl<S: tracing::Subscriber> Layer<S> for MadeAgain {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = std::collections::HashMap::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            fields.insert(field.name(), format!("{value:?}"));
        });
        let again = fields.get("message").is_some_and(|message| message.starts_with("an id was not new"));
        self.0.lock().expect("counts").extend(fields.remove("scope").filter(|_| again));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_size_and_path_do_not_matter() {
    let mut seen = Vec::new();
    for batch in [1, 7, 1000] {
        for db in Db::both().await {
            let store = db.store().await;
            let last = append(&store, &log(12, 0)).await;
            let engine = engine(&store, batch);
            let report = run(&engine, RunMode::CatchUp).await;
            assert_eq!(report.run.state, RunState::Completed);
            assert!(report.scopes.iter().all(|scope| scope.cursor == last), "{report:?}");
            let caught_up = positions(&store).await;
            let rebuilt = run(&engine, RunMode::Rebuild).await;
            assert_eq!(rebuilt.run.state, RunState::Completed);
            assert!(
                rebuilt
                    .scopes
                    .iter()
                    .all(|scope| scope.rebuild.as_ref().is_some_and(|facts| facts.equal == Some(true))),
                "{rebuilt:?}"
            );
            assert_eq!(positions(&store).await, caught_up);
            let verified = run(&engine, RunMode::Verify).await;
            assert!(!verified.drifted() && verified.scopes.len() == 3, "{verified:?}");
            seen.push(caught_up);
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_up_goes_on_where_it_stopped() {
    for db in Db::both().await {
        let store = db.store().await;
        let all = log(10, 0);
        append(&store, &all).await;
        let engine = engine(&store, 4);
        let mut partial = request(RunMode::CatchUp);
        partial.until = Some(LogSeq(30));
        let report = engine.run(&partial, &Control::default()).await.expect("runs");
        assert!(report.scopes.iter().all(|scope| scope.cursor == LogSeq(30) && scope.events == 30), "{report:?}");
        // One projection alone gets ahead; the others join it.
        let mut one = request(RunMode::CatchUp);
        one.projections = vec![catalogue::TRACE_SUMMARY];
        one.until = Some(LogSeq(53));
        engine.run(&one, &Control::default()).await.expect("runs");
        let report = run(&engine, RunMode::CatchUp).await;
        assert_eq!(report.scopes.iter().map(|scope| scope.events).collect::<Vec<_>>(), [40, 17, 40], "{}", db.name());
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        let nothing = run(&engine, RunMode::CatchUp).await;
        assert!(nothing.scopes.iter().all(|scope| scope.events == 0 && scope.batches == 0));
    }
}

/// A job that starts in the middle of a log assumes that ids created by a batch are new. Here many of them are old.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_come_back_keep_their_first_row_wherever_the_log_is_cut_into_jobs() {
    for db in Db::both().await {
        let store = db.store().await;
        let last = append(&store, &returning(6)).await;
        run(&engine(&store, 1000), RunMode::CatchUp).await;
        let expected = positions(&store).await;
        let mut wrong = (0, 0);
        for (batch, job) in [(1, 23), (3, 7), (4, 31), (1000, 11)] {
            let db = if db.name() == "sqlite" { Db::sqlite().await } else { Db::postgres().await };
            let store = db.store().await;
            append(&store, &returning(6)).await;
            let engine = engine(&store, batch);
            let again = MadeAgain::default();
            for until in (0..last.0 + job).step_by(job as usize).skip(1) {
                let request = RunRequest { until: Some(LogSeq(until.min(last.0))), ..request(RunMode::CatchUp) };
                let report = again.count(engine.run(&request, &Control::default())).await.expect("runs");
                assert_eq!(report.run.state, RunState::Completed);
            }
            assert_eq!(positions(&store).await, expected, "{}: {batch} {job}", db.name());
            assert!(!run(&engine, RunMode::Verify).await.drifted());
            // For summaries nothing is assumed.
            assert_eq!(again.of(catalogue::TRACE_SUMMARY), 0);
            wrong.0 += again.of(catalogue::CONTEXT_GRAPH);
            wrong.1 += again.of(catalogue::PRECEDENT_INDEX);
            // A scope is taken once per job: a batch that is made again needs no new epoch.
            let taken = async |projection| scope(&store, projection).await.epoch.counter;
            let jobs = taken(catalogue::TRACE_SUMMARY).await;
            assert_eq!(taken(catalogue::CONTEXT_GRAPH).await, jobs);
            assert_eq!(taken(catalogue::PRECEDENT_INDEX).await, jobs);
        }
        assert!(wrong.0 > 0 && wrong.1 > 0, "{}: {wrong:?}", db.name());
    }
}

/// Without returning ids no assumption is wrong, even for a trace that is cited before it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_midway_undoes_no_batch_of_an_ordinary_log() {
    for db in Db::both().await {
        let store = db.store().await;
        let (engine, again) = (engine(&store, 5), MadeAgain::default());
        for first in [20, 10, 30] {
            append(&store, &log(2, first)).await;
            again.count(run(&engine, RunMode::CatchUp)).await;
        }
        assert_eq!(catalogue::ALL.map(|projection| again.of(projection)), [0; 3], "{}", db.name());
        let mut taken = Vec::new();
        for projection in catalogue::ALL {
            taken.push(scope(&store, projection).await.epoch.counter);
        }
        assert_eq!(taken, [taken[0]; 3], "{}", db.name());
        assert!(!run(&engine, RunMode::Verify).await.drifted());
    }
}

/// Without an assumption, a conflicting row cannot come from a wrong assumption.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_nothing_explains_is_corruption_midway_too() {
    // In batches of one event the failing commit assumes nothing. In large batches it does; repeated without
    // assumptions, it fails again.
    for batch in [1, 1000] {
        for db in Db::both().await {
            let store = db.store().await;
            append(&store, &log(6, 0)).await;
            let engine = engine(&store, batch);
            let first = RunRequest { until: Some(LogSeq(14)), ..request(RunMode::CatchUp) };
            engine.run(&first, &Control::default()).await.expect("runs");
            let precedents = &catalogue::PRECEDENT_INDEX.tables()[1];
            let mut row = vec![Value::from("ev:5:3"), Value::from("trace5")];
            row.resize(precedents.columns.len(), Value::Null);
            let key = precedents.identity(&Row(row));
            let key: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let key = if db.name() == "sqlite" { format!("x'{key}'") } else { format!("'\\x{key}'") };
            let harm = format!(
                "UPDATE dg_precedent_index SET source_event_id = 'ev:5:3', row_key = {key} WHERE source_event_id = 'ev:0:3'"
            );
            assert_eq!(db.tamper(&harm).await, 1);
            let before = scope(&store, catalogue::PRECEDENT_INDEX).await.position;
            let failed = engine.run(&request(RunMode::CatchUp), &Control::default()).await.expect_err("fails");
            assert_eq!(failed.category, Category::Storage, "{}: {failed}", db.name());
            assert!(failed.message.contains("the rows do not match the log"), "{failed}");
            let after = scope(&store, catalogue::PRECEDENT_INDEX).await.position;
            assert!(after.cursor >= before.cursor && after.cursor < LogSeq(42), "{after:?}");
        }
    }
}

/// A commit that fails ends its lane. The job claims every scope again and goes on from the durable positions. Its
/// report counts each event once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_falls_back_costs_the_others_no_rows() {
    for table in ["dg_cg_edges_shared", "dg_trace_summary_shared", "dg_policy_eval_index_shared"] {
        let db = Db::postgres().await;
        let store = db.store().await;
        append(&store, &log(20, 0)).await;
        // A sequence is not rolled back. So the fifth row fails once, and the fifteenth, when the lane no longer knows
        // every row.
        db.tamper("CREATE SEQUENCE rows_seen").await;
        db.tamper(
            "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('rows_seen') IN (5, 15) THEN \
             RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$",
        )
        .await;
        db.tamper(&format!(
            "CREATE TRIGGER fail_once BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail_once()"
        ))
        .await;
        let engine = engine(&store, 10);
        let report = run(&engine, RunMode::CatchUp).await;
        assert_eq!((report.run.state, report.run.events), (RunState::Completed, 3 * 140));
        for done in &report.scopes {
            assert_eq!((done.from, done.events, done.batches), (LogSeq::ORIGIN, 140, 14), "{table}: {done:?}");
            let projection = catalogue::find(&done.projection).expect("is in the catalogue");
            assert_eq!(scope(&store, projection).await.epoch.counter, 3, "{table}: {}", done.projection);
        }
        let verified = run(&engine, RunMode::Verify).await;
        assert!(!verified.drifted(), "{table}: {verified:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_stops_at_the_event_and_everything_before_it_stands() {
    for db in Db::both().await {
        for (harm, repair, category) in [
            (
                "UPDATE dg_event_log SET payload = '{\"outcome\":\"failure\"}' WHERE event_id = 'ev:3:6'",
                "UPDATE dg_event_log SET payload = '{\"outcome\":\"success\"}' WHERE event_id = 'ev:3:6'",
                Category::Conflict,
            ),
            (
                "UPDATE dg_event_log SET trace_seq = 99 WHERE event_id = 'ev:3:6'",
                "UPDATE dg_event_log SET trace_seq = 6 WHERE event_id = 'ev:3:6'",
                Category::EventSequenceInvalid,
            ),
        ] {
            let db = if db.name() == "sqlite" { Db::sqlite().await } else { Db::postgres().await };
            let store = db.store().await;
            append(&store, &log(6, 0)).await;
            assert_eq!(db.tamper(harm).await, 1);
            let engine = engine(&store, 5);
            let report = run(&engine, RunMode::CatchUp).await;
            assert_eq!(report.run.state, RunState::Failed);
            assert_eq!(report.run.error.as_ref().map(|error| error.category), Some(category));
            for scope in &report.scopes {
                let failure = scope.failure.as_ref().expect("a failure");
                assert_eq!((failure.event_id.as_str(), failure.category), ("ev:3:6", category));
                assert_eq!(scope.cursor.0, failure.log_seq.0 - 1, "everything before it stands");
            }
            let before = positions(&store).await;
            // Met again: the same open row, one more attempt.
            run(&engine, RunMode::CatchUp).await;
            let filter = ListFilter { open_only: true, limit: 10, ..ListFilter::default() };
            let open = store.view().await.expect("view").failures(&filter).await.expect("lists").items;
            assert_eq!(open.iter().map(|failure| failure.attempts).collect::<Vec<_>>(), [2, 2, 2]);
            assert_eq!(positions(&store).await, before);
            // A rebuild meets the event too and leaves the live generation alone.
            let rebuilt = run(&engine, RunMode::Rebuild).await;
            assert_eq!(rebuilt.run.state, RunState::Failed, "{rebuilt:?}");
            assert_eq!(positions(&store).await, before);
            // After the repair the projection passes the event and the failures are resolved.
            assert_eq!(db.tamper(repair).await, 1);
            assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
            assert_eq!(store.view().await.expect("view").failures(&filter).await.expect("lists").items, []);
            assert!(!run(&engine, RunMode::Verify).await.drifted());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_row_is_found_and_named() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(6, 0)).await;
        let engine = engine(&store, 50);
        run(&engine, RunMode::CatchUp).await;
        let clean = positions(&store).await;
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        let (zero_hash, zero_key) = match db.name() {
            "sqlite" => ("zeroblob(16)", "zeroblob(20)"),
            _ => ("'00000000-0000-0000-0000-000000000000'", "decode(repeat('00', 20), 'hex')"),
        };
        let harms = [
            (
                "UPDATE dg_trace_summary SET title = 'x' WHERE trace_id = 'trace2'".to_owned(),
                "dg_trace_summary",
                "trace2",
                Some("title"),
                "differs",
            ),
            (
                "UPDATE dg_trace_summary SET outcome = NULL WHERE trace_id = 'trace2'".to_owned(),
                "dg_trace_summary",
                "trace2",
                Some("outcome"),
                "differs",
            ),
            (
                "DELETE FROM dg_cg_nodes WHERE node_id = 'actor:agent:bot'".to_owned(),
                "dg_cg_nodes",
                "actor:agent:bot",
                None,
                "missing",
            ),
            (
                format!(
                    "UPDATE dg_cg_edges SET to_node_id_key = {zero_hash} WHERE edge_id = 'trace_cited_precedent:trace:trace1:trace:trace0:ev:1:5'"
                ),
                "dg_cg_edges",
                "trace_cited_precedent:trace:trace1:trace:trace0:ev:1:5",
                Some("to_node_id_key"),
                "differs",
            ),
            (
                "UPDATE dg_cg_edges SET from_node_id_since = 1 WHERE edge_id = 'trace_cited_precedent:trace:trace1:trace:trace0:ev:1:5'".to_owned(),
                "dg_cg_edges",
                "trace_cited_precedent:trace:trace1:trace:trace0:ev:1:5",
                Some("from_node_id_since"),
                "differs",
            ),
            (
                "UPDATE dg_policy_eval_index SET log_seq = 0 WHERE trace_id = 'trace4'".to_owned(),
                "dg_policy_eval_index",
                "trace4:policy0:1:ev:4:2",
                Some("log_seq"),
                "differs",
            ),
            (
                format!("UPDATE dg_precedent_index SET row_key = {zero_key} WHERE source_event_id = 'ev:1:3'"),
                "dg_precedent_index",
                "ev:1:3",
                None,
                "extra",
            ),
        ];
        for (harm, table, key, column, kind) in harms {
            // The generation before may still be there: its removal waits for transactions older than the flip.
            let harm = format!("{harm} AND generation IN (SELECT generation FROM dg_scope)");
            assert_eq!(db.tamper(&harm).await, 1, "{harm}");
            let report = run(&engine, RunMode::Verify).await;
            assert!(report.drifted(), "{harm}");
            let first: Vec<_> =
                report.scopes.iter().filter_map(|scope| scope.verify.as_ref()).flat_map(|facts| &facts.first).collect();
            assert!(
                first.iter().any(|row| row.table == table
                    && row.key == key
                    && row.column.as_deref() == column
                    && row.kind == kind),
                "{}: {harm}: {first:?}",
                db.name()
            );
            // The stored digest cannot show the harm; a rebuild repairs it.
            let again = run(&engine, RunMode::Rebuild).await;
            assert_eq!(again.run.state, RunState::Completed);
            assert_eq!(positions(&store).await, clean);
            assert!(!run(&engine, RunMode::Verify).await.drifted());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_remembered_until_a_rebuild_or_a_clean_verify_and_a_killed_verify_remembers_nothing() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(20, 0)).await;
        let engine = Arc::new(engine(&store, 1));
        run(&engine, RunMode::CatchUp).await;
        let drifted = async || {
            let rows = store.view().await.expect("view").scopes(None).await.expect("scopes");
            rows.into_iter().map(|row| row.drift.map(|drift| drift.run_id)).collect::<Vec<_>>()
        };
        let forge = |title: &str| {
            format!(
                "UPDATE dg_trace_summary SET title = {title} WHERE trace_id = 'trace3' AND generation IN (SELECT generation FROM dg_scope)"
            )
        };
        assert_eq!(db.tamper(&forge("'forged'")).await, 1);
        // Killed in the middle of its work.
        let (sender, mut progress) = tokio::sync::watch::channel(None);
        let killed = tokio::spawn({
            let engine = Arc::clone(&engine);
            let control = Control { progress: Some(sender), ..Control::default() };
            async move { engine.run(&request(RunMode::Verify), &control).await }
        });
        progress.changed().await.expect("it is at work");
        killed.abort();
        assert!(killed.await.expect_err("killed").is_cancelled());
        assert_eq!(drifted().await, [None; 3], "{}", db.name());
        let engine = support::engine(&store, 1_000);
        let found = run(&engine, RunMode::Verify).await;
        assert_eq!(drifted().await, [None, Some(found.run.run_id), None], "{}", db.name());
        // Later events do not hide the drift.
        append(&store, &log(2, 20)).await;
        run(&engine, RunMode::CatchUp).await;
        assert_eq!(drifted().await, [None, Some(found.run.run_id), None]);
        // The original row is restored: the next verify finds nothing.
        assert_eq!(db.tamper(&forge("'Título 3'")).await, 1);
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        assert_eq!(drifted().await, [None; 3]);
        assert_eq!(db.tamper(&forge("'forged'")).await, 1);
        assert!(run(&engine, RunMode::Verify).await.drifted());
        assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Completed);
        assert_eq!(drifted().await, [None; 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rebuild_leaves_the_live_generation_and_only_its_run() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(20, 0)).await;
        let engine = engine(&store, 3);
        run(&engine, RunMode::CatchUp).await;
        let before = positions(&store).await;
        let generations = generations_of(&store).await;
        let (sender, mut progress) = tokio::sync::watch::channel(None);
        let control = Control { progress: Some(sender), ..Control::default() };
        let cancel = control.cancel.clone();
        let watcher = tokio::spawn(async move {
            // Not before a batch was written.
            progress
                .wait_for(|seen: &Option<decisiongraph_engine::Progress>| seen.as_ref().is_some_and(|p| p.events > 0))
                .await
                .expect("progress");
            cancel.request();
        });
        let report = engine.run(&request(RunMode::Rebuild), &control).await.expect("runs");
        watcher.await.expect("watched");
        assert_eq!(report.run.state, RunState::Cancelled);
        assert!(report.run.events > 0, "{:?}", report.run);
        assert_eq!(positions(&store).await, before);
        assert_eq!(generations_of(&store).await, generations);
        let resumed = engine.resume(report.run.run_id, &Control::default()).await.expect("resumes");
        assert_eq!(resumed.run.state, RunState::Completed);
        assert!(
            resumed.scopes.iter().all(|scope| scope.rebuild.as_ref().is_some_and(|facts| facts.equal == Some(true)))
        );
        assert_eq!(positions(&store).await, before);
    }
}

async fn generations_of(store: &Arc<dyn Store>) -> Vec<i64> {
    let mut out = Vec::new();
    for projection in catalogue::ALL {
        out.push(scope(store, projection).await.generation.0);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_keep_flowing_during_a_rebuild() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(30, 0)).await;
        run(&engine(&store, 50), RunMode::CatchUp).await;
        let writer = Arc::clone(&store);
        let live = tokio::spawn(async move {
            let engine = engine(&writer, 50);
            for pair in 0..10 {
                append(&writer, &log(2, 30 + pair * 2)).await;
            }
            engine.mark().await.expect("mark").at
        });
        let engine = engine(&store, 4);
        let report = run(&engine, RunMode::Rebuild).await;
        assert_eq!(report.run.state, RunState::Completed, "{report:?}");
        let mark = live.await.expect("live side");
        run(&engine, RunMode::CatchUp).await;
        assert!(positions(&store).await.iter().all(|(cursor, _)| *cursor == mark));
        assert!(!run(&engine, RunMode::Verify).await.drifted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_a_scope() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(20, 0)).await;
        let (first, second) = (engine(&store, 1), engine(&store, 1000));
        let (slow, quick) = (request(RunMode::CatchUp), request(RunMode::CatchUp));
        let controls = (Control::default(), Control::default());
        let (a, b) = tokio::join!(first.run(&slow, &controls.0), second.run(&quick, &controls.1));
        // The second run waited for the first, found nothing left to do, or was refused because the scope is held.
        let done = [a, b];
        let events: u64 = done.iter().flatten().flat_map(|report| &report.scopes).map(|scope| scope.events).sum();
        assert_eq!(events, 3 * 140, "every event applied exactly once a projection");
        for refused in done.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(refused.category, Category::Conflict, "{refused}");
        }
        run(&second, RunMode::CatchUp).await;
        assert!(!run(&second, RunMode::Verify).await.drifted());
    }
}

async fn told(engine: &Engine) -> Vec<ScopeStatus> {
    let request = StatusRequest::default();
    let status = decisiongraph_admin::answer(engine, &Asker::here(None), request, &Control::default()).await;
    status.expect("an answer").scopes
}

/// The log was restored to an earlier state and its projections were not.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_above_the_end_of_the_log_is_a_failure_and_a_rebuild_heals_it() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(10, 0)).await;
        let engine = engine(&store, 7);
        run(&engine, RunMode::CatchUp).await;
        match db {
            Db::Postgres(_) => {
                db.tamper("TRUNCATE dg_event_log RESTART IDENTITY").await;
            }
            Db::Sqlite(_) => {
                db.tamper("DELETE FROM dg_event_log").await;
                db.tamper("DELETE FROM sqlite_sequence WHERE name = 'dg_event_log'").await;
            }
        }
        append(&store, &log(2, 0)).await;
        for scope in &told(&engine).await {
            assert_eq!(scope.state, ScopeState::Failed, "{}: {scope:?}", db.name());
            assert!(scope.why.contains("is at log_seq 70, above") && scope.why.contains("(14)"), "{}", scope.why);
        }
        let refused = engine.run(&request(RunMode::CatchUp), &Control::default()).await.expect_err("not current");
        assert_eq!(refused.category, Category::Conflict, "{refused}");
        assert!(refused.message.contains("decisiongraph rebuild --tenant default"), "{refused}");
        assert_eq!(run(&engine, RunMode::Rebuild).await.run.state, RunState::Completed, "{}", db.name());
        assert!(!run(&engine, RunMode::Verify).await.drifted());
        let told = told(&engine).await;
        assert!(told.iter().all(|scope| scope.state == ScopeState::Current), "{}: {told:?}", db.name());
        append(&store, &log(1, 2)).await;
        assert!(run(&engine, RunMode::CatchUp).await.scopes.iter().all(|scope| scope.events == 7));
    }
}

/// A running lease, or a job with a live node, does not prove that work goes on.
#[tokio::test(flavor = "multi_thread")]
async fn health_names_a_scope_that_stands_still_under_a_live_owner() {
    for db in Db::both().await {
        let store = db.store().await;
        append(&store, &log(2, 0)).await;
        let other = owner("silent");
        store.heartbeat(&other, Duration::from_secs(3_600)).await.expect("lives");
        for projection in catalogue::ALL {
            let scope = Scope::new(&tenant(), projection);
            assert!(matches!(store.acquire_scope(&scope, &other).await, Ok(Acquisition::Acquired(..))));
        }
        let engine = engine(&store, 5);
        let health = async || {
            let request = HealthRequest(ScopeFilter::default());
            let health = decisiongraph_admin::answer(&engine, &Asker::here(None), request, &Control::default()).await;
            let mut health = health.expect("an answer");
            // That nothing is sealed here is an information.
            health.findings.retain(|finding| finding.health != HealthWord::Ok);
            health
        };
        let aged = async |events: bool, scopes: bool| {
            let (minutes, ms) = ("interval '2 minutes'", 120_000);
            let (column, by) = match db {
                Db::Sqlite(_) => ("_at_ms", ms.to_string()),
                Db::Postgres(_) => ("_at", minutes.to_owned()),
            };
            if events {
                db.tamper(&format!("UPDATE dg_event_log SET recorded{column} = recorded{column} - {by}")).await;
            }
            if scopes {
                db.tamper(&format!("UPDATE dg_scope SET updated{column} = updated{column} - {by}")).await;
            }
        };
        assert_eq!(health().await.findings, [], "it has only begun");
        aged(true, false).await;
        assert_eq!(health().await.findings, [], "it moved a moment ago");
        aged(false, true).await;
        let still = health().await;
        assert_eq!((still.health, still.findings.len()), (HealthWord::Degraded, 3), "{still:?}");
        let first = &still.findings[0];
        assert!(first.message.starts_with("its cursor has not moved for 12"), "{}: {first:?}", db.name());
        assert!(first.next.contains("tree --of silent"), "{first:?}");
    }
}
