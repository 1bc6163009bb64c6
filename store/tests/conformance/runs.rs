//! Jobs.

use crate::backend::{Blank, Fresh};
use crate::fold::owner;
use crate::log::{named, tenant};
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId, catalogue};
use decisiongraph_store::*;
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(600);

fn all() -> Vec<&'static str> {
    catalogue::ALL.iter().map(|projection| projection.name()).collect()
}

fn job(tenant: &TenantId, projections: Vec<&'static str>, owner: &Owner) -> NewRun {
    NewRun {
        run_id: Uuid::new_v4(),
        tenant: tenant.clone(),
        projections,
        mode: RunMode::Rebuild,
        until: None,
        owner: owner.clone(),
        cause: RunCause::default(),
    }
}

async fn alive(fresh: &Fresh, node: &str) -> Owner {
    let owner = owner(node);
    fresh.store.heartbeat(&owner, LONG).await.expect("alive");
    owner
}

async fn dies(fresh: &Fresh, owner: &Owner) {
    fresh.store.heartbeat(owner, Duration::ZERO).await.expect("over at once");
}

async fn find(fresh: &Fresh, run_id: Uuid) -> Run {
    let view = fresh.store.view().await.expect("a view");
    view.run(run_id).await.expect("an answer").expect("a run")
}

fn progress(cursor: i64, events: i64) -> RunProgress {
    RunProgress { current: "trace_summary", cursor: LogSeq(cursor), target: LogSeq(100), events }
}

pub async fn a_run_from_start_to_end(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = alive(&fresh, "n1").await;
    let text = |text: &str| Some(text.to_owned());
    let cause =
        RunCause { reason: text("a\nreason"), requested_by: text("ada"), metadata: text(r#"{"b":1,"a":2.50}"#) };
    let job =
        NewRun { mode: RunMode::CatchUp, until: Some(LogSeq(77)), cause: cause.clone(), ..job(&tenant(), all(), &me) };
    let run = fresh.store.create_run(&job).await.expect("a run").into_run();
    assert_eq!((run.run_id, run.state, run.mode), (job.run_id, RunState::Running, RunMode::CatchUp));
    assert_eq!((run.projection.as_str(), run.node.as_str(), run.node_live), ("all", "n1", true));
    assert_eq!((run.until, run.current.as_ref(), run.finished_at.as_ref()), (Some(LogSeq(77)), None, None));
    assert_eq!((run.cursor, run.events, run.cancel_requested), (LogSeq::ORIGIN, 0, false));
    let Run { reason, requested_by, metadata, .. } = run;
    assert_eq!(RunCause { reason, requested_by, metadata }, cause);
    let run = fresh.store.advance_run(job.run_id, &me, &progress(10, 10)).await.expect("progress");
    assert_eq!((run.cursor, run.target, run.events), (LogSeq(10), LogSeq(100), 10));
    assert_eq!(run.current.as_deref(), Some("trace_summary"));
    let done = RunOutcome::Completed(r#"{"fine":true}"#.to_owned());
    let run = fresh.store.finish_run(job.run_id, &me, done).await.expect("the end");
    assert_eq!((run.state, run.report.as_deref()), (RunState::Completed, Some(r#"{"fine":true}"#)));
    assert!(run.finished_at.is_some() && run.error.is_none());
    assert_eq!(find(&fresh, job.run_id).await, run);
    // The run is over for good, and its scopes are free.
    let adopted = fresh.store.adopt_run(job.run_id, &me).await.expect_err("it is completed");
    assert_eq!(adopted.category, Category::Conflict);
    fresh.store.create_run(&self::job(&tenant(), all(), &me)).await.expect("another");
    let late = fresh.store.advance_run(job.run_id, &me, &progress(11, 11)).await.expect_err("it is over");
    assert_eq!(late.category, Category::Fenced);
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.run(Uuid::new_v4()).await.expect("an answer"), None);
}

pub async fn a_repeated_request_starts_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let request = job(&tenant(), all(), &me);
    assert!(fresh.store.create_run(&request).await.expect("a run").is_new());
    let started = fresh.store.advance_run(request.run_id, &me, &progress(10, 10)).await.expect("progress");
    // Created again by its own process, or by another process with the same request.
    for owner in [&me, &you] {
        let again = NewRun { owner: owner.clone(), ..request.clone() };
        assert_eq!(fresh.store.create_run(&again).await.expect("the run"), Creation::Existing(started.clone()));
    }
    let others = [
        NewRun { mode: RunMode::CatchUp, ..request.clone() },
        NewRun { tenant: named("other"), ..request.clone() },
        NewRun { projections: vec!["trace_summary"], ..request.clone() },
        NewRun { until: Some(LogSeq(3)), ..request.clone() },
    ];
    for other in &others {
        let refused = fresh.store.create_run(other).await.expect_err("another request");
        assert_eq!(refused.category, Category::Conflict, "{refused}");
    }
    assert_eq!(find(&fresh, request.run_id).await, started, "unchanged");
    // Also after its end, while another job holds its scopes.
    let done = fresh.store.finish_run(request.run_id, &me, RunOutcome::Completed("{}".to_owned())).await.expect("end");
    fresh.store.create_run(&job(&tenant(), all(), &you)).await.expect("another");
    assert_eq!(fresh.store.create_run(&request).await.expect("the run"), Creation::Existing(done));
}

pub async fn the_same_request_twice_at_once_starts_one(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = alive(&fresh, "n1").await;
    let other = fresh.again().await;
    for _ in 0..20 {
        let request = job(&tenant(), all(), &me);
        let (a, b) = tokio::join!(fresh.store.create_run(&request), other.store.create_run(&request));
        let (a, b) = (a.expect("the run"), b.expect("the run"));
        assert!(a.is_new() != b.is_new(), "{a:?} {b:?}");
        assert_eq!(a.into_run(), b.into_run());
        fresh.store.finish_run(request.run_id, &me, RunOutcome::Cancelled).await.expect("the end");
    }
}

pub async fn one_job_a_scope(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let one = job(&tenant(), vec!["trace_summary"], &me);
    assert_eq!(fresh.store.create_run(&one).await.expect("a run").into_run().projection, "trace_summary");
    for who in [&me, &you] {
        for projections in [vec!["trace_summary"], all()] {
            let refused = fresh.store.create_run(&job(&tenant(), projections, who)).await.expect_err("held");
            assert_eq!(refused.category, Category::Conflict, "{refused}");
        }
    }
    // A refused job for all projections holds none of the free scopes; other jobs run beside it.
    fresh.store.create_run(&job(&tenant(), vec!["context_graph"], &you)).await.expect("another projection");
    fresh.store.create_run(&job(&named("other"), all(), &you)).await.expect("another tenant");
    let failed = RunOutcome::Failed(Refusal::new(Category::Storage, "no luck"));
    let run = fresh.store.finish_run(one.run_id, &me, failed).await.expect("the end");
    assert_eq!(run.error, Some(Refusal::new(Category::Storage, "no luck")));
    fresh.store.create_run(&job(&tenant(), vec!["trace_summary"], &you)).await.expect("free again");
    let view = fresh.store.view().await.expect("a view");
    let runs = view.runs(&ListFilter { limit: 100, ..ListFilter::default() }).await.expect("runs").items;
    assert_eq!(runs.len(), 4, "refused jobs left no row");
}

pub async fn an_orphan_holds_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let orphan = job(&tenant(), all(), &me);
    fresh.store.create_run(&orphan).await.expect("a run");
    dies(&fresh, &me).await;
    assert!(!find(&fresh, orphan.run_id).await.node_live);
    fresh.store.create_run(&job(&tenant(), vec!["precedent_index"], &you)).await.expect("it holds nothing");
    let run = find(&fresh, orphan.run_id).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.is_some() && run.finished_at.is_some(), "{run:?}");
    let late = fresh.store.advance_run(orphan.run_id, &me, &progress(1, 1)).await.expect_err("it has failed");
    assert_eq!(late.category, Category::Fenced);
    fresh.store.create_run(&job(&tenant(), vec!["context_graph"], &you)).await.expect("all of it is free");
}

pub async fn an_orphan_is_adopted(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let orphan = job(&tenant(), all(), &me);
    fresh.store.create_run(&orphan).await.expect("a run");
    fresh.store.advance_run(orphan.run_id, &me, &progress(10, 30)).await.expect("progress");
    let refused = fresh.store.adopt_run(orphan.run_id, &you).await.expect_err("its process lives");
    assert_eq!(refused.category, Category::Conflict);
    dies(&fresh, &me).await;
    let run = fresh.store.adopt_run(orphan.run_id, &you).await.expect("adopted");
    assert_eq!((run.state, run.node.as_str(), run.node_live), (RunState::Running, "n2", true));
    assert_eq!((run.cursor, run.events), (LogSeq(10), 30), "what it did stays counted");
    let late = fresh.store.advance_run(orphan.run_id, &me, &progress(11, 31)).await.expect_err("adopted by another");
    assert_eq!(late.category, Category::Fenced);
    let late = fresh.store.finish_run(orphan.run_id, &me, RunOutcome::Cancelled).await.expect_err("adopted");
    assert_eq!(late.category, Category::Fenced);
    let held = fresh.store.create_run(&job(&tenant(), vec!["trace_summary"], &me)).await.expect_err("held");
    assert_eq!(held.category, Category::Conflict);
    fresh.store.finish_run(orphan.run_id, &you, RunOutcome::Completed("{}".to_owned())).await.expect("the end");
    let missing = fresh.store.adopt_run(Uuid::new_v4(), &you).await.expect_err("no such run");
    assert_eq!(missing.category, Category::NotFound);
}

pub async fn a_cancelled_run_is_adopted(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let cancelled = job(&tenant(), vec!["trace_summary"], &me);
    fresh.store.create_run(&cancelled).await.expect("a run");
    fresh.store.request_cancel(cancelled.run_id).await.expect("asked");
    fresh.store.finish_run(cancelled.run_id, &me, RunOutcome::Cancelled).await.expect("the end");
    let other = job(&tenant(), all(), &you);
    fresh.store.create_run(&other).await.expect("the scope is free");
    let held = fresh.store.adopt_run(cancelled.run_id, &me).await.expect_err("its scope is held");
    assert_eq!(held.category, Category::Conflict);
    assert_eq!(find(&fresh, cancelled.run_id).await.state, RunState::Cancelled);
    fresh.store.finish_run(other.run_id, &you, RunOutcome::Completed("{}".to_owned())).await.expect("the end");
    let run = fresh.store.adopt_run(cancelled.run_id, &me).await.expect("adopted");
    assert_eq!((run.state, run.cancel_requested, run.finished_at), (RunState::Running, false, None));
    fresh.store.advance_run(cancelled.run_id, &me, &progress(1, 1)).await.expect("it goes on");
}

pub async fn cancelling(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = alive(&fresh, "n1").await;
    let run = job(&tenant(), all(), &me);
    fresh.store.create_run(&run).await.expect("a run");
    let asked = fresh.store.request_cancel(run.run_id).await.expect("asked");
    assert_eq!((asked.state, asked.cancel_requested), (RunState::Running, true));
    let told = fresh.store.advance_run(run.run_id, &me, &progress(5, 5)).await.expect("progress");
    assert!(told.cancel_requested, "its process is told");
    // An orphan has no process to notify: it is cancelled at once.
    dies(&fresh, &me).await;
    let orphan = fresh.store.request_cancel(run.run_id).await.expect("asked");
    assert_eq!(orphan.state, RunState::Cancelled);
    assert!(orphan.finished_at.is_some());
    let you = alive(&fresh, "n2").await;
    fresh.store.create_run(&job(&tenant(), all(), &you)).await.expect("its scopes are free");
    let again = fresh.store.request_cancel(run.run_id).await.expect_err("it has ended");
    assert_eq!(again.category, Category::Conflict);
    let missing = fresh.store.request_cancel(Uuid::new_v4()).await.expect_err("no such run");
    assert_eq!(missing.category, Category::NotFound);
}

pub async fn another_process_is_fenced(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (alive(&fresh, "n1").await, alive(&fresh, "n2").await);
    let run = job(&tenant(), all(), &me);
    fresh.store.create_run(&run).await.expect("a run");
    let namesake = owner("n1");
    for stranger in [&you, &namesake] {
        let fenced = fresh.store.advance_run(run.run_id, stranger, &progress(9, 9)).await.expect_err("not its run");
        assert_eq!(fenced.category, Category::Fenced);
        let fenced =
            fresh.store.finish_run(run.run_id, stranger, RunOutcome::Cancelled).await.expect_err("not its run");
        assert_eq!(fenced.category, Category::Fenced);
    }
    let unchanged = find(&fresh, run.run_id).await;
    assert_eq!((unchanged.state, unchanged.cursor), (RunState::Running, LogSeq::ORIGIN));
    let missing = fresh.store.advance_run(Uuid::new_v4(), &me, &progress(9, 9)).await.expect_err("no such run");
    assert_eq!(missing.category, Category::NotFound);
}

pub async fn runs_are_listed_newest_first(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = alive(&fresh, "n1").await;
    let first = job(&tenant(), vec!["trace_summary"], &me);
    let second = job(&named("other"), all(), &me);
    let third = job(&tenant(), vec!["context_graph"], &me);
    for run in [&first, &second, &third] {
        fresh.store.create_run(run).await.expect("a run");
    }
    fresh.store.finish_run(first.run_id, &me, RunOutcome::Cancelled).await.expect("the end");
    let view = fresh.store.view().await.expect("a view");
    let list = async |filter: ListFilter| {
        let runs = view.runs(&ListFilter { limit: 10, ..filter }).await.expect("runs").items;
        runs.into_iter().map(|run| run.run_id).collect::<Vec<_>>()
    };
    assert_eq!(list(ListFilter::default()).await, [third.run_id, second.run_id, first.run_id]);
    assert_eq!(list(ListFilter { open_only: true, ..ListFilter::default() }).await, [third.run_id, second.run_id]);
    let of_tenant = ListFilter { tenant: Some(tenant()), ..ListFilter::default() };
    assert_eq!(list(of_tenant).await, [third.run_id, first.run_id]);
    let of_projection = ListFilter { projection: Some("trace_summary"), ..ListFilter::default() };
    assert_eq!(list(of_projection).await, [second.run_id, first.run_id], "a run for all is one of each");
    let two = view.runs(&ListFilter { limit: 2, ..ListFilter::default() }).await.expect("runs").items;
    assert_eq!(two.len(), 2);
    let behind = ListFilter { before_run: Some(two[0].run_id), ..ListFilter::default() };
    assert_eq!(list(behind).await, [second.run_id, first.run_id], "the page behind it");
}
