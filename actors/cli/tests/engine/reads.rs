//! Reads of the log and of the read models, on both backends: pages of a filter, the position that is enough, lists of
//! traces.

use crate::support::*;
use decisiongraph_engine::queries::{self, CurrentView, Freshness};
use decisiongraph_engine::waits::{LOOK_EVERY, Waits};
use decisiongraph_projections::event::Line;
use decisiongraph_projections::validation::admit;
use decisiongraph_projections::{Admitted, Category, LogSeq, Projection, TenantId, catalogue};
use decisiongraph_protocol::{TraceFilter, TraceOrder, TraceQuery, TraceStatus};
use decisiongraph_store::{EventFilter, PageLimit, RunMode, RunState};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_filter_looks_at_so_many_events_and_says_how_far_it_came() {
    for db in Db::both().await {
        let store = db.store().await;
        let last = append(&store, &log(12, 0)).await;
        let view = store.view().await.expect("a view");
        let of = async |filter: EventFilter, id: Option<&str>, after, scanned| {
            let limit = PageLimit::rows(1_000);
            queries::events(&*view, &tenant(), id, &filter, (after, last), limit, scanned).await.expect("events")
        };
        let finishes = || EventFilter { event_types: vec!["TraceFinished".to_owned()], ..EventFilter::default() };
        let whole = of(finishes(), None, LogSeq::ORIGIN, 1_000).await;
        assert_eq!((whole.to, whole.more, whole.events.len()), (last, false, 12));
        let (mut found, mut after, mut pages, mut empty) = (Vec::new(), LogSeq::ORIGIN, 0, 0);
        loop {
            let page = of(finishes(), None, after, 2).await;
            assert!(page.to > after && page.events.iter().all(|event| event.log_seq <= page.to));
            (after, pages, empty) = (page.to, pages + 1, empty + usize::from(page.events.is_empty()));
            found.extend(page.events);
            if !page.more {
                break;
            }
        }
        assert_eq!((&found, after), (&whole.events, last));
        assert!(pages >= last.0 / 2 && empty > 0, "{pages} pages, {empty} of them empty");
        // An id is looked up; whatever else is asked for must fit it.
        let id = whole.events[3].event_id.as_str();
        let of_trace = |trace: &str| EventFilter::of_trace(trace);
        let found = of(EventFilter::default(), Some(id), LogSeq::ORIGIN, 2).await;
        assert_eq!((found.events.as_slice(), found.to, found.more), (&whole.events[3..4], last, false));
        assert_eq!(of(of_trace(&whole.events[3].trace_id), Some(id), LogSeq::ORIGIN, 2).await.events.len(), 1);
        assert_eq!(of(of_trace("another"), Some(id), LogSeq::ORIGIN, 2).await.events, []);
        assert_eq!(of(EventFilter::default(), Some(id), whole.events[3].log_seq, 2).await.events, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_name_the_position_that_is_enough_for_it() {
    for db in Db::both().await {
        let store = db.store().await;
        let engine = engine(&store, 100);
        let events = log(4, 0);
        let (earlier, later) = events.split_at(events.len() / 2);
        let applied = append(&store, earlier).await;
        assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
        let last = append(&store, later).await;
        let ask = async |tenant: &TenantId, at_least: Option<LogSeq>, allow_stale| {
            let freshness = Freshness { wait_ms: 0, allow_stale, at_least };
            let current = queries::current_view(&engine, tenant, &[catalogue::TRACE_SUMMARY], freshness).await;
            current.map(|current| current.stale).map_err(|error| (error.category, error.message))
        };
        let (ours, end) = (tenant(), LogSeq(last.0 + 1));
        let refused = async |at_least, why: &str| {
            let (category, message) = ask(&ours, at_least, false).await.expect_err("behind");
            assert!(category == Category::ProjectionOutOfDate && message.contains(why), "{message}");
        };
        refused(None, "the tenant's last event is").await;
        assert_eq!(ask(&ours, Some(applied), false).await, Ok(None), "what comes later does not count");
        refused(Some(LogSeq(applied.0 + 1)), "1 events have not been applied").await;
        refused(Some(last), "have not been applied").await;
        refused(Some(end), "events may still appear there").await;
        let stale = ask(&ours, Some(last), true).await.expect("an answer").expect("behind");
        assert_eq!((stale.cursor, stale.last_log_seq, stale.events), (applied, last, later.len() as u64));
        // The log is complete up to there, and the tenant has nothing in it that is not applied.
        let nobody = TenantId::new("nobody").expect("an id");
        assert_eq!(ask(&nobody, Some(last), false).await, Ok(None));
        assert!(ask(&nobody, Some(end), false).await.is_err(), "it may still get an event there");
        // Waited for, it comes.
        let freshness = Freshness { wait_ms: 60_000, allow_stale: false, at_least: Some(last) };
        let waits = queries::current_view(&engine, &ours, &[catalogue::TRACE_SUMMARY], freshness);
        let (current, report) = tokio::join!(waits, run(&engine, RunMode::CatchUp));
        assert_eq!((current.expect("current").stale, report.run.state), (None, RunState::Completed));
    }
}

/// Returns the start of a trace: `minute` is in its time, its tag and its title.
fn start(trace: &str, entity: &str, minute: u32) -> Admitted {
    event(
        trace,
        0,
        "TraceStarted",
        &format!(
            r#"{{"workflow":"w{}","title":"title {minute}","primary_entity":{{"entity_type":"account","entity_id":"{entity}"}}}}"#,
            minute % 2
        ),
        minute,
    )
}

fn event(trace: &str, seq: i64, kind: &str, payload: &str, minute: u32) -> Admitted {
    let line = format!(
        r#"{{"event_id":"{trace}/{seq}","trace_id":"{trace}","trace_seq":{seq},"event_type":"{kind}","occurred_at":"2026-01-01T{:02}:{minute:02}:00+01:00","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"bot {}"}},"idempotency_key":"{trace}/{seq}","payload":{payload},"tags":["tag {minute}"]}}"#,
        1,
        minute % 3,
    );
    admit(Line::parse(&line).expect("reads").draft).expect("legal")
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_listed_filtered_and_in_pages_that_stay() {
    const POLICY: &str = r#"{"policy":{"policy_id":"p","policy_version":"1"},"inputs":[],"decision":"allow"}"#;
    const DONE: &str = r#"{"outcome":"success"}"#;
    for db in Db::both().await {
        let store = db.store().await;
        let engine = engine(&store, 100);
        let names: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
        // t0 to t8 start one after the other; every third one meets the policy; the even ones finish, the first last.
        let mut events: Vec<Admitted> =
            (0..9).map(|n| start(&names[n as usize], ["acme", "globex"][n as usize % 2], n)).collect();
        for n in [0, 3, 6] {
            events.push(event(&names[n], 1, "PolicyEvaluated", POLICY, 30));
        }
        for n in [8, 6, 4, 2, 0] {
            events.push(event(&names[n], if n % 3 == 0 { 2 } else { 1 }, "TraceFinished", DONE, 40));
        }
        append(&store, &events).await;
        assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
        let view = async || -> CurrentView {
            let needed: [&'static dyn Projection; 2] = [catalogue::TRACE_SUMMARY, catalogue::CONTEXT_GRAPH];
            queries::current_view(&engine, &tenant(), &needed, Freshness::default()).await.expect("current")
        };
        let list = async |request: &TraceQuery, scanned| {
            request.validate().expect("valid");
            let page = queries::traces_of(&view().await, &tenant(), request, scanned).await.expect("traces");
            (page.traces.into_iter().map(|entry| entry.summary.trace_id).collect::<Vec<_>>(), page.next)
        };
        let of = |filter: TraceFilter| TraceQuery { limit: 100, filter, ..TraceQuery::default() };
        let all = async |filter: TraceFilter| {
            let (traces, next) = list(&of(filter), 1_000).await;
            assert_eq!(next, None);
            traces.join(" ").replace('t', "")
        };
        let text = |text: &str| Some(text.to_owned());
        let any = TraceFilter::default;
        assert_eq!(all(any()).await, "8 7 6 5 4 3 2 1 0");
        for (filter, expected) in [
            (TraceFilter { status: Some(TraceStatus::Open), ..any() }, "7 5 3 1"),
            (TraceFilter { status: Some(TraceStatus::Finished), ..any() }, "8 6 4 2 0"),
            (TraceFilter { workflow: text("w1"), ..any() }, "7 5 3 1"),
            (TraceFilter { outcome: text("success"), trace_id_prefix: text("t6"), ..any() }, "6"),
            (TraceFilter { outcome: text("failure"), ..any() }, ""),
            (TraceFilter { entity_type: text("account"), entity_id: text("globex"), ..any() }, "7 5 3 1"),
            (TraceFilter { actor_type: text("agent"), actor_id: text("bot 1"), ..any() }, "7 4 1"),
            (TraceFilter { event_types: vec!["PolicyEvaluated".to_owned()], ..any() }, "6 3 0"),
            (TraceFilter { involves: text("policy:p:1"), ..any() }, "6 3 0"),
            (TraceFilter { involves: text("entity:account:acme"), workflow: text("w0"), ..any() }, "8 6 4 2 0"),
            (TraceFilter { involves: text("entity:account:nobody"), ..any() }, ""),
            (TraceFilter { tag: text("tag 5"), ..any() }, "5"),
            (TraceFilter { title_prefix: text("title"), ..any() }, "8 7 6 5 4 3 2 1 0"),
            (TraceFilter { title_prefix: text("Title"), ..any() }, ""),
            // Instants: 01:05 at +01:00 is 00:05 in UTC.
            (TraceFilter { occurred_since: text("2026-01-01T00:05:00Z"), ..any() }, "8 7 6 5"),
            (TraceFilter { occurred_until: text("2026-01-01T00:01:00.000Z"), ..any() }, "1 0"),
        ] {
            assert_eq!(all(filter.clone()).await, expected, "{filter:?}");
        }
        // By finish: the first that finished is the last of the list.
        let finished = TraceQuery { order: TraceOrder::Finished, ..of(any()) };
        assert_eq!(list(&finished, 1_000).await.0, ["t0", "t2", "t4", "t6", "t8"]);
        for (order, expected) in [(TraceOrder::Started, 9), (TraceOrder::Finished, 5)] {
            // Small pages and few looks: whatever starts meanwhile, each trace comes once.
            for (limit, scanned) in [(2, 1_000), (100, 2), (2, 3)] {
                let (mut seen, mut before) = (Vec::new(), None);
                loop {
                    let request = TraceQuery { order, before, limit, ..of(any()) };
                    let (traces, next) = list(&request, scanned).await;
                    assert!(traces.len() <= limit as usize);
                    seen.extend(traces);
                    before = next;
                    if before.is_none() {
                        break;
                    }
                }
                assert_eq!(seen.len(), expected, "{order:?} {limit} {scanned}: {seen:?}");
                seen.dedup();
                assert_eq!(seen.len(), expected);
            }
        }
        // What started behind the first page is not in the pages behind it.
        let first = TraceQuery { limit: 4, ..of(any()) };
        let (_, next) = list(&first, 1_000).await;
        append(&store, &[start("t9", "acme", 9)]).await;
        assert_eq!(run(&engine, RunMode::CatchUp).await.run.state, RunState::Completed);
        let rest = TraceQuery { before: next, ..of(any()) };
        assert_eq!(list(&rest, 1_000).await.0, ["t4", "t3", "t2", "t1", "t0"]);
        assert_eq!(list(&first, 1_000).await.0, ["t9", "t8", "t7", "t6"]);
        // A row has what the log knows beside the summary.
        let filter = TraceFilter { trace_id_prefix: text("t6"), ..any() };
        let page = queries::traces(&view().await, &tenant(), &of(filter)).await.expect("traces");
        let entry = &page.traces[0];
        assert_eq!((entry.started_log_seq, entry.events_stored, entry.status), (LogSeq(7), 3, TraceStatus::Finished));
        assert_eq!((entry.last_event.log_seq, entry.last_event.event_type.as_str()), (LogSeq(14), "TraceFinished"));
    }
}

#[tokio::test]
async fn a_query_that_waits_is_woken_by_its_own_tenant_at_its_own_position() {
    let db = Db::sqlite().await;
    let (store, waits) = (db.store().await, Waits::default());
    waits.know(|_| true);
    let (ours, other) = (tenant(), TenantId::new("other").expect("an id"));
    let mut waiting = waits.begin(&store, &ours);
    let woken = tokio::spawn(async move { waiting.reached(&["a", "b"], LogSeq(5)).await });
    waits.moved(&other, "a", LogSeq(9));
    waits.moved(&ours, "a", LogSeq(5));
    waits.moved(&ours, "b", LogSeq(4));
    tokio::time::sleep(LOOK_EVERY * 2).await;
    assert!(!woken.is_finished(), "b is not there");
    waits.moved(&ours, "b", LogSeq(5));
    woken.await.expect("is woken");
    assert_eq!(waits.looks(), 0, "this process has the scopes");
}

#[tokio::test]
async fn one_look_serves_all_queries_that_wait_for_a_tenant_and_none_is_made_without_them() {
    let db = Db::sqlite().await;
    let (store, waits) = (db.store().await, Waits::default());
    let waiting: Vec<_> = (0..64).map(|_| waits.begin(&store, &tenant())).collect();
    let begun = std::time::Instant::now();
    while waits.looks() < 3 {
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    let most = begun.elapsed().as_millis() / LOOK_EVERY.as_millis() + 1;
    assert!(u128::from(waits.looks()) <= most, "{} looks, at most {most}", waits.looks());
    drop(waiting);
    tokio::time::sleep(LOOK_EVERY * 3).await;
    let looks = waits.looks();
    tokio::time::sleep(LOOK_EVERY * 4).await;
    assert_eq!(waits.looks(), looks, "no query waits");
}
