//! Reading the log.

use crate::backend::{Blank, Fresh};
use crate::fold::{WHOLE, acquire, append_all, catch_up, owner};
use crate::log::{event, finished, input, named, policy, started, tenant, whole_trace};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::{Category, LogEvent, LogSeq, Projection};

use decisiongraph_projections::catalogue::{self, CONTEXT_GRAPH, TRACE_SUMMARY};
use decisiongraph_store::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const END: LogSeq = LogSeq(i64::MAX);

fn set(ids: &[&str]) -> BTreeSet<Arc<str>> {
    ids.iter().map(|id| (*id).into()).collect()
}

pub async fn pages_have_two_limits(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = [whole_trace("t"), whole_trace("u")].concat();
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    append_all(&fresh.store, &named("other"), &whole_trace("t")).await;
    let view = fresh.store.view().await.expect("a view");
    let page = async |after, upto, rows_max, bytes_max| {
        let page = view.page(&tenant(), after, upto, PageLimit::of(rows_max, bytes_max)).await.expect("a page");
        page.into_iter().map(|event| event.log_seq).collect::<Vec<_>>()
    };
    assert_eq!(page(LogSeq::ORIGIN, END, 100, usize::MAX).await, positions);
    assert_eq!(page(LogSeq::ORIGIN, END, 3, usize::MAX).await, positions[..3]);
    assert_eq!(page(positions[2], END, 3, usize::MAX).await, positions[3..6]);
    assert_eq!(page(positions[2], positions[4], 100, usize::MAX).await, positions[3..5]);
    assert_eq!(page(positions[9], END, 100, usize::MAX).await, Vec::new());
    let whole = view.page(&tenant(), LogSeq::ORIGIN, END, WHOLE).await.expect("a page");
    let two = whole[0].bytes() + whole[1].bytes();
    assert_eq!(page(LogSeq::ORIGIN, END, 100, two).await, positions[..2]);
    assert_eq!(page(LogSeq::ORIGIN, END, 100, two - 1).await, positions[..1]);
    assert_eq!(page(LogSeq::ORIGIN, END, 100, 0).await, positions[..1], "at least one");
}

/// A page has room for many small payloads. A large one ends its page or has a page of its own, and no event is
/// skipped.
pub async fn a_large_payload_among_small_ones(blank: Blank) {
    let fresh = blank.migrated().await;
    let large = |seq, bytes| {
        let facts = format!(r#"[{{"x":"{}"}}]"#, "x".repeat(bytes));
        let source = r#"{"system":"s","object_type":"o","object_id":"1"}"#;
        event("t", seq, "InputObserved", &format!(r#"{{"input_id":"i","source":{source},"facts":{facts}}}"#))
    };
    let events =
        [started("t"), input("t", 1, "a"), large(2, 9_000), large(3, 50_000), input("t", 4, "b"), large(5, 9_000)];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    let view = fresh.store.view().await.expect("a view");
    let limit = PageLimit::of(5, 20_000);
    let (mut after, mut read) = (LogSeq::ORIGIN, Vec::new());
    loop {
        let page = view.page(&tenant(), after, END, limit).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = last.log_seq;
        let bytes: usize = page.iter().map(LogEvent::bytes).sum();
        assert!(page.len() == 1 || bytes <= limit.bytes_max, "{} events of {bytes} bytes", page.len());
        read.extend(page);
    }
    let payloads = |at: usize| (read[at].log_seq, &*read[at].payload);
    assert_eq!(read.len(), events.len());
    for (at, event) in events.iter().enumerate() {
        assert_eq!(payloads(at), (positions[at], event.payload()));
    }
}

/// Returns a SQL expression for a text of this many bytes.
fn long(fresh: &Fresh, bytes: usize) -> String {
    match fresh.store.backend() {
        Backend::Sqlite => format!("printf('%.*c', {bytes}, 'x')"),
        Backend::Postgres => format!("repeat('x', {bytes})"),
    }
}

/// Ids that an older program admitted count as much as payloads, in any column.
pub async fn a_page_is_bounded_by_all_that_it_holds(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &[whole_trace("t"), whole_trace("u")].concat()).await;
    let view = fresh.store.view().await.expect("a view");
    let text = long(&fresh, 20_000);
    let projected = ["event_id", "event_type", "occurred_at", "actor_type", "actor_id", "payload_hash", "payload"];
    let stored =
        ["producer_id", "source_system", "source_subsystem", "idempotency_key", "correlation_id", "causation_event_id"];
    for column in projected.into_iter().chain(stored).chain(["tags"]) {
        let text = if column == "tags" { format!("'[\"' || {text} || '\"]'") } else { text.clone() };
        fresh.raw(&format!("UPDATE dg_event_log SET {column} = {text}")).await;
        // One limit with which this many rows may all be small, and one with which they cannot be.
        for rows_max in [4, 1_000] {
            let limit = PageLimit::of(rows_max, 50_000);
            if projected.contains(&column) {
                let page = view.page(&tenant(), LogSeq::ORIGIN, END, limit).await.expect("a page");
                assert_eq!(page.len(), 2, "{column}");
                assert!(page.iter().map(LogEvent::bytes).sum::<usize>() <= limit.bytes_max);
            }
            let page = view.events(&tenant(), positions[1], END, limit).await.expect("events");
            let found: Vec<LogSeq> = page.items.iter().map(|event| event.log_seq).collect();
            assert_eq!((found, page.more), (positions[2..4].to_vec(), true), "{column}");
            let page = view.trace_events(&tenant(), "t", positions[2], limit).await.expect("events");
            let found: Vec<LogSeq> = page.items.iter().map(|event| event.log_seq).collect();
            assert_eq!((found, page.more), (positions[3..5].to_vec(), false), "{column}");
        }
        let tiny = view.events(&tenant(), LogSeq::ORIGIN, END, PageLimit::of(100, 1)).await.expect("events");
        assert_eq!((tiny.items.len(), tiny.more), (1, true), "at least one");
        let short = if column == "tags" { "'[]'" } else { "'s'" };
        fresh.raw(&format!("UPDATE dg_event_log SET {column} = {short}")).await;
    }
}

pub async fn an_event_that_is_too_large_to_hold_is_named_and_not_read(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    fresh.raw(&format!("UPDATE dg_event_log SET payload = {} WHERE trace_seq = 2", long(&fresh, 40_000))).await;
    let view = fresh.store.view().await.expect("a view");
    for (rows_max, bytes_max) in [(4, 30_000), (1_000, 30_000), (1_000, 1_000_000)] {
        let limit = PageLimit { event_bytes_max: 30_000, ..PageLimit::of(rows_max, bytes_max) };
        assert_eq!(view.page(&tenant(), LogSeq::ORIGIN, END, limit).await.expect("a page").len(), 2, "up to it");
        let before = view.events(&tenant(), LogSeq::ORIGIN, END, limit).await.expect("events");
        assert_eq!((before.items.len(), before.more), (2, true));
        let (after, named) = (positions[1], format!("the event at log_seq {} has 40", positions[2]));
        let page = view.page(&tenant(), after, END, limit).await.expect_err("too large");
        let events = view.events(&tenant(), after, END, limit).await.expect_err("too large");
        let of_trace = view.trace_events(&tenant(), "t", after, limit).await.expect_err("too large");
        for error in [page, events, of_trace] {
            assert_eq!((error.category, error.transient), (Category::Storage, false));
            assert!(error.message.contains(&named) && error.message.contains("memory_max"), "{}", error.message);
        }
        assert_eq!(view.page(&tenant(), positions[2], END, limit).await.expect("a page").len(), 2, "behind it");
        assert_eq!(view.page(&tenant(), positions[4], END, limit).await.expect("a page").len(), 0, "none");
        assert!(view.events(&tenant(), positions[4], END, limit).await.expect("none").items.is_empty());
    }
}

pub async fn heads_are_as_of_a_position(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = [started("t"), started("u"), input("t", 1, "i"), input("t", 2, "j"), input("u", 1, "i")];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    append_all(&fresh.store, &named("other"), &whole_trace("v")).await;
    let view = fresh.store.view().await.expect("a view");
    let heads = async |upto| {
        let heads = view.heads(&tenant(), &set(&["t", "u", "v"]), upto).await.expect("heads");
        (heads.get("t").copied(), heads.get("u").copied(), heads.get("v").copied())
    };
    assert_eq!(heads(LogSeq::ORIGIN).await, (None, None, None));
    assert_eq!(heads(positions[0]).await, (Some(0), None, None));
    assert_eq!(heads(positions[2]).await, (Some(1), Some(0), None));
    assert_eq!(heads(END).await, (Some(2), Some(1), None));
    assert!(view.heads(&tenant(), &BTreeSet::new(), END).await.expect("none").is_empty());
}

pub async fn history_is_of_types_and_a_position(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = [started("t"), policy("t", 1, "p", "1"), started("u"), input("t", 2, "i"), policy("t", 3, "q", "1")];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    let view = fresh.store.view().await.expect("a view");
    let history = async |projection: &'static dyn Projection, upto| {
        let history = view.history(&tenant(), projection, &set(&["t", "x"]), upto, usize::MAX).await;
        let mut history = history.expect("a history").expect("whatever it has");
        assert!(history.keys().all(|trace| &**trace == "t"), "{history:?}");
        history.remove("t").unwrap_or_default()
    };
    let of = catalogue::PRECEDENT_INDEX;
    let whole = history(of, END).await;
    assert_eq!(whole.iter().map(|event| event.log_seq).collect::<Vec<_>>(), [positions[0], positions[1], positions[4]]);
    assert_eq!(
        whole[2].members,
        Ok(vec!["q".into(), "1".into()]),
        "the members that the projection wants, and no payload"
    );
    assert_eq!(history(of, positions[3]).await, whole[..2]);
    assert_eq!(history(of, LogSeq::ORIGIN).await, []);
    assert_eq!(history(catalogue::TRACE_SUMMARY, END).await, [], "it wants none");
}

pub async fn trace_events_page_by_position(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    append_all(&fresh.store, &tenant(), &whole_trace("u")).await;
    let view = fresh.store.view().await.expect("a view");
    let page = async |after, limit| {
        let page = view.trace_events(&tenant(), "t", after, PageLimit::rows(limit)).await.expect("events");
        assert_eq!(page.more, page.items.last().map(|event| event.log_seq) < positions.last().copied());
        page.items.into_iter().map(|event| event.log_seq).collect::<Vec<_>>()
    };
    assert_eq!(page(LogSeq::ORIGIN, 100).await, positions);
    assert_eq!(page(LogSeq::ORIGIN, 2).await, positions[..2]);
    assert_eq!(page(positions[1], 2).await, positions[2..4]);
}

pub async fn events_are_chosen_by_type_actor_and_trace(blank: Blank) {
    let fresh = blank.migrated().await;
    let traces = [whole_trace("t"), whole_trace("u")].concat();
    let positions = append_all(&fresh.store, &tenant(), &traces).await;
    append_all(&fresh.store, &named("other"), &whole_trace("t")).await;
    let view = fresh.store.view().await.expect("a view");
    let chosen = async |filter: EventFilter, after: LogSeq, upto: LogSeq, rows| {
        let page = view.chosen_events(&tenant(), &filter, after, upto, PageLimit::rows(rows)).await.expect("events");
        let places = page.items.iter().map(|event| positions.iter().position(|at| *at == event.log_seq).expect("ours"));
        (places.collect::<Vec<_>>(), page.more)
    };
    let all = EventFilter::default;
    let of_types = |types: &[&str], trace_id: Option<&str>| EventFilter {
        event_types: types.iter().map(|word| (*word).to_owned()).collect(),
        trace_id: trace_id.map(str::to_owned),
        ..all()
    };
    let (from, end) = (LogSeq::ORIGIN, END);
    let types = ["TraceStarted", "PolicyEvaluated"];
    assert_eq!(chosen(of_types(&types, None), from, end, 100).await, (vec![0, 2, 5, 7], false));
    assert_eq!(chosen(of_types(&types, None), from, end, 3).await, (vec![0, 2, 5], true));
    assert_eq!(chosen(of_types(&types, None), positions[0], positions[5], 100).await, (vec![2, 5], false));
    assert_eq!(chosen(of_types(&types, Some("u")), from, end, 100).await, (vec![5, 7], false));
    assert_eq!(chosen(of_types(&[], Some("u")), positions[5], positions[7], 100).await, (vec![6, 7], false));
    assert_eq!(chosen(of_types(&["Nothing"], None), from, end, 100).await, (vec![], false));
    let of_actor = |actor_type: Option<&str>, actor_id: Option<&str>| EventFilter {
        actor_type: actor_type.map(str::to_owned),
        actor_id: actor_id.map(str::to_owned),
        ..all()
    };
    assert_eq!(chosen(of_actor(Some("agent"), Some("bot")), from, end, 100).await.0.len(), 10);
    assert_eq!(chosen(of_actor(Some("agent"), None), from, end, 100).await.0.len(), 10);
    for other in [of_actor(Some("person"), Some("bot")), of_actor(Some("agent"), Some("Bot"))] {
        assert_eq!(chosen(other, from, end, 100).await, (vec![], false));
    }
}

pub async fn positions_are_found_by_id_and_by_count(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &[whole_trace("t"), whole_trace("u")].concat()).await;
    append_all(&fresh.store, &named("other"), &whole_trace("v")).await;
    let view = fresh.store.view().await.expect("a view");
    for (id, at) in [("t/2", Some(positions[2])), ("v/0", None), ("t/9", None)] {
        assert_eq!(view.position_of(&tenant(), id).await.expect("an answer"), at, "{id}");
    }
    let nth = async |trace, after, upto, count| {
        view.nth_position(&tenant(), trace, after, upto, count).await.expect("an answer")
    };
    assert_eq!(nth(None, LogSeq::ORIGIN, END, 10).await, Some(positions[9]));
    assert_eq!(nth(None, LogSeq::ORIGIN, END, 11).await, None, "only the tenant's events count");
    assert_eq!(nth(None, positions[3], positions[5], 2).await, Some(positions[5]));
    assert_eq!(nth(None, positions[3], positions[5], 3).await, None);
    assert_eq!(nth(Some("u"), positions[5], END, 4).await, Some(positions[9]));
    assert_eq!(nth(Some("u"), LogSeq::ORIGIN, END, 6).await, None);
}

pub async fn starts_and_finishes_are_listed_backwards(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = [
        started("a"),
        started("b"),
        input("a", 1, "i"),
        finished("b", 1, "failure"),
        started("c"),
        finished("a", 2, "success"),
    ];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    append_all(&fresh.store, &named("other"), &whole_trace("z")).await;
    let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), TRACE_SUMMARY), &owner("me")).await;
    catch_up(&fresh.store, &lease, position, TRACE_SUMMARY, &[2]).await;
    let view = fresh.store.view().await.expect("a view");
    let at = |places: &[(usize, &str)]| -> Vec<(LogSeq, Arc<str>)> {
        places.iter().map(|(place, trace)| (positions[*place], Arc::from(*trace))).collect()
    };
    let starts = async |before, limit| view.starts(&tenant(), before, limit).await.expect("starts");
    assert_eq!(starts(END, 100).await, at(&[(4, "c"), (1, "b"), (0, "a")]));
    assert_eq!(starts(END, 2).await, at(&[(4, "c"), (1, "b")]));
    assert_eq!(starts(positions[1], 2).await, at(&[(0, "a")]));
    let finishes =
        async |before, limit| view.finishes(&tenant(), lease.generation, before, limit).await.expect("finishes");
    assert_eq!(finishes(END, 100).await, at(&[(5, "a"), (3, "b")]));
    assert_eq!(finishes(END, 1).await, at(&[(5, "a")]));
    assert_eq!(finishes(positions[5], 100).await, at(&[(3, "b")]));
    let ends = async |upto, types: &[&str]| {
        let types: Vec<String> = types.iter().map(|word| (*word).to_owned()).collect();
        let ends = view.trace_ends(&tenant(), &set(&["a", "b", "c", "none"]), upto, &types).await.expect("ends");
        let mut ends: Vec<_> = ends
            .into_iter()
            .map(|(trace, ends)| (trace.to_string(), ends.started, ends.last, ends.last_trace_seq))
            .collect();
        ends.sort();
        ends
    };
    let of =
        |trace: &str, first: usize, last: usize, number| (trace.to_owned(), positions[first], positions[last], number);
    assert_eq!(ends(END, &[]).await, [of("a", 0, 5, 2), of("b", 1, 3, 1), of("c", 4, 4, 0)]);
    assert_eq!(ends(positions[3], &["InputObserved", "TraceFinished"]).await, [of("a", 0, 2, 1), of("b", 1, 3, 1)]);
    assert_eq!(ends(END, &["InputObserved"]).await, [of("a", 0, 5, 2)]);
    let a = view.trace_ends(&tenant(), &set(&["a"]), END, &[]).await.expect("ends").remove("a").expect("a trace");
    let first = events[0].envelope();
    assert_eq!((a.started_at, a.actor, a.tags), (first.occurred_at.clone(), first.actor.clone(), first.tags.clone()));
    let last = events[5].envelope();
    assert_eq!((a.last_event_type, a.last_at), (last.event_type.clone(), last.occurred_at.clone()));
}

pub async fn last_positions(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let other = append_all(&fresh.store, &named("other"), &whole_trace("t")).await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.last_log_seq(&tenant(), None).await.expect("last"), positions[4]);
    assert_eq!(view.last_log_seq(&tenant(), Some(other[4])).await.expect("last"), positions[4]);
    assert_eq!(view.last_log_seq(&tenant(), Some(positions[2])).await.expect("last"), positions[2]);
    assert_eq!(view.last_log_seq(&tenant(), Some(LogSeq::ORIGIN)).await.expect("none"), LogSeq::ORIGIN);
    assert_eq!(view.last_log_seq(&named("nobody"), None).await.expect("none"), LogSeq::ORIGIN);
}

pub async fn lag_is_counted_to_a_bound(blank: Blank) {
    let fresh = blank.migrated().await;
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    append_all(&fresh.store, &named("other"), &whole_trace("t")).await;
    let view = fresh.store.view().await.expect("a view");
    let lags = async |cursors: &[_], mark, bound| view.lags(cursors, mark, bound).await.expect("lags");
    let lag = async |cursor, mark, bound| lags(&[(tenant(), cursor)], mark, bound).await[0];
    let all = lag(LogSeq::ORIGIN, END, 100).await;
    assert_eq!((all.events, all.more), (5, false));
    assert!((0.0..600.0).contains(&all.seconds), "{}", all.seconds);
    let bounded = lag(LogSeq::ORIGIN, END, 3).await;
    assert_eq!((bounded.events, bounded.more), (3, true));
    let to_mark = lag(positions[0], positions[2], 100).await;
    assert_eq!((to_mark.events, to_mark.more), (2, false));
    let current = lag(positions[4], END, 100).await;
    assert_eq!((current.events, current.more, current.seconds), (0, false, 0.0));
    let some = [(named("nobody"), LogSeq::ORIGIN), (tenant(), positions[1]), (named("other"), LogSeq::ORIGIN)];
    let counted: Vec<u64> = lags(&some, END, 100).await.iter().map(|lag| lag.events).collect();
    assert_eq!(counted, [0, 3, 5], "in the order of these");
    assert_eq!(lags(&[], END, 100).await, []);
    let count = view.count_events(&tenant(), positions[0], END, 100).await.expect("a count");
    assert_eq!(count, 4);
    assert_eq!(view.count_events(&tenant(), LogSeq::ORIGIN, END, 2).await.expect("a count"), 2);
}

pub async fn tenants_are_listed(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.tenants().await.expect("none"), Vec::new());
    for id in ["b", "Ä", "a", "B", "a b"] {
        append_all(&fresh.store, &named(id), &[started("t"), finished("t", 1, "success")]).await;
    }
    let tenants = view.tenants().await.expect("tenants");
    assert_eq!(tenants, ["B", "a", "a b", "b", "Ä"].map(named), "by bytes");
    let mut lasts = Vec::new();
    for tenant in tenants {
        lasts.push((tenant.clone(), view.last_log_seq(&tenant, None).await.expect("a position")));
    }
    let mut all = view.last_log_seqs().await.expect("positions");
    all.sort();
    assert_eq!(all, lasts, "each with its last event");
}

pub async fn tenant_heads_are_of_events_and_of_scopes(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.tenant_heads(None, 10).await.expect("none"), []);
    let scope = |tenant, projection| Scope::new(&named(tenant), projection);
    let mut last = Vec::new();
    for id in ["b", "Ä", "a"] {
        last.extend(append_all(&fresh.store, &named(id), &[started("t"), finished("t", 1, "success")]).await.pop());
    }
    for scope in [scope("a", CONTEXT_GRAPH), scope("a", TRACE_SUMMARY), scope("no events", CONTEXT_GRAPH)] {
        fresh.store.pause_scope(&scope, "a review", "ann").await.expect("makes it");
    }
    fresh.store.resume_scope(&scope("a", TRACE_SUMMARY)).await.expect("resumes");
    // The seal is no projection.
    fresh.store.pause_scope(&scope("a", SEAL), "a review", "ann").await.expect("makes it");
    let head = |id, last_log_seq, scopes: u64, paused| TenantHead {
        tenant: named(id),
        last_log_seq,
        scopes,
        cursor: (scopes > 0).then_some(LogSeq::ORIGIN),
        paused,
    };
    let all = [
        head("a", last[2], 2, 1),
        head("b", last[0], 0, 0),
        head("no events", LogSeq::ORIGIN, 1, 1),
        head("Ä", last[1], 0, 0),
    ];
    assert_eq!(view.tenant_heads(None, 10).await.expect("heads"), all);
    assert_eq!(view.tenant_heads(Some(&named("a")), 2).await.expect("a page"), all[1..3]);
    assert_eq!(view.tenant_heads(Some(&named("Ä")), 2).await.expect("nothing behind the last"), []);
}

pub async fn tenants_of_a_stretch_come_by_their_last_event(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.tenants_with_events(LogSeq::ORIGIN, END, 10).await.expect("none"), []);
    let a = append_all(&fresh.store, &named("a"), &whole_trace("t")).await;
    let b = append_all(&fresh.store, &named("b"), &[started("t")]).await;
    let a_again = append_all(&fresh.store, &named("a"), &[started("u")]).await;
    let c = append_all(&fresh.store, &named("c"), &whole_trace("t")).await;
    let stretch = async |after, upto, limit| {
        let tenants = view.tenants_with_events(after, upto, limit).await.expect("tenants");
        tenants.into_iter().map(|(tenant, last)| (tenant.as_str().to_owned(), last)).collect::<Vec<_>>()
    };
    let expected =
        |list: &[(&str, LogSeq)]| list.iter().map(|(id, last)| ((*id).to_owned(), *last)).collect::<Vec<_>>();
    assert_eq!(stretch(LogSeq::ORIGIN, END, 10).await, expected(&[("b", b[0]), ("a", a_again[0]), ("c", c[4])]));
    assert_eq!(stretch(LogSeq::ORIGIN, b[0], 10).await, expected(&[("a", a[4]), ("b", b[0])]));
    assert_eq!(stretch(a[4], a_again[0], 10).await, expected(&[("b", b[0]), ("a", a_again[0])]));
    assert_eq!(stretch(a_again[0], c[2], 10).await, expected(&[("c", c[2])]));
    assert_eq!(stretch(c[4], END, 10).await, []);
    // In pages: each tenant once, at its last event.
    let (mut paged, mut after) = (Vec::new(), LogSeq::ORIGIN);
    while let Some(page) = Some(stretch(after, END, 1).await).filter(|page| !page.is_empty()) {
        after = page[0].1;
        paged.extend(page);
    }
    assert_eq!(paged, expected(&[("b", b[0]), ("a", a_again[0]), ("c", c[4])]));
}

pub async fn tenants_behind_are_those_with_work_to_do(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = owner("n");
    let mut lasts = Vec::new();
    for id in ["B", "a", "b", "c", "d"] {
        lasts.push(append_all(&fresh.store, &named(id), &whole_trace("t")).await[4]);
    }
    let view = fresh.store.view().await.expect("a view");
    let behind = async |upto, after: Option<&str>, limit| {
        let after = after.map(named);
        let scopes = catalogue::ALL.map(|projection| projection.name());
        let tenants = view.tenants_behind(&scopes, upto, after.as_ref(), limit).await.expect("tenants");
        tenants.into_iter().map(|(tenant, last)| (tenant.as_str().to_owned(), last)).collect::<Vec<_>>()
    };
    let ids = |list: Vec<(String, LogSeq)>| list.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let all = behind(END, None, 10).await;
    assert_eq!(all.iter().map(|(_, last)| *last).collect::<Vec<_>>(), lasts, "nobody has a scope yet");
    assert_eq!(ids(all), ["B", "a", "b", "c", "d"], "by bytes");
    assert_eq!(ids(behind(END, None, 2).await), ["B", "a"]);
    assert_eq!(ids(behind(END, Some("a"), 2).await), ["b", "c"]);
    assert_eq!(ids(behind(END, Some("d"), 2).await), [""; 0]);
    assert_eq!(ids(behind(lasts[1], None, 10).await), ["B", "a"], "later tenants have no event below");
    assert_eq!(behind(LogSeq(lasts[0].0 - 1), None, 10).await[0].1, LogSeq(lasts[0].0 - 1));
    // a: all caught up. b: one scope is missing. c: caught up to before its last event. d: the scope that is behind is
    // paused.
    let scope = |id: &str, projection| Scope::new(&named(id), projection);
    for id in ["a", "b", "c", "d"] {
        for projection in catalogue::ALL {
            if id == "b" && projection.name() == "trace_summary" {
                continue;
            }
            if id == "d" && projection.name() == "context_graph" {
                fresh.store.pause_scope(&scope(id, projection), "r", "ann").await.expect("paused");
                continue;
            }
            let (lease, position) = acquire(&fresh.store, &scope(id, projection), &me).await;
            catch_up(&fresh.store, &lease, position, projection, &[100]).await;
        }
    }
    assert_eq!(ids(behind(END, None, 10).await), ["B", "b"]);
    let later = append_all(&fresh.store, &named("c"), &[started("u")]).await[0];
    assert_eq!(ids(behind(LogSeq(later.0 - 1), None, 10).await), ["B", "b"], "its new event is above");
    assert_eq!(behind(END, Some("b"), 10).await, [("c".to_owned(), later)]);
    fresh.store.resume_scope(&scope("d", catalogue::CONTEXT_GRAPH)).await.expect("resumed");
    assert_eq!(ids(behind(END, None, 10).await), ["B", "b", "c", "d"]);
    // The caller names the scopes that count: where the log is sealed, the seal does.
    let of = async |names: &[&'static str]| {
        let tenants = view.tenants_behind(names, END, None, 10).await.expect("tenants");
        tenants.into_iter().map(|(tenant, last)| (tenant.as_str().to_owned(), last)).collect::<Vec<_>>()
    };
    assert_eq!(ids(of(&["trace_summary"]).await), ["B", "b", "c"]);
    assert_eq!(ids(of(&["trace_summary", "seal"]).await), ["B", "a", "b", "c", "d"]);
    acquire(&fresh.store, &scope("a", SEAL), &me).await;
    fresh.store.pause_scope(&scope("a", SEAL), "r", "ann").await.expect("paused");
    assert_eq!(ids(of(&["trace_summary", "seal"]).await), ["B", "b", "c", "d"]);
}

pub async fn the_mark_is_the_last_position(blank: Blank) {
    let fresh = blank.migrated().await;
    let empty = fresh.store.sample_high_water().await.expect("a sample");
    assert_eq!((empty.sequence, empty.writers.len()), (LogSeq::ORIGIN, 0));
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let sample = fresh.store.sample_high_water().await.expect("a sample");
    assert_eq!((sample.sequence, sample.writers.len()), (positions[4], 0), "nobody else writes");
    assert_eq!(sample.history, empty.history);
    let end = fresh.store.log_end().await.expect("the log's end");
    assert_eq!((end.sequence, &end.history), (sample.sequence, &sample.history));
    assert!(!sample.history.is_empty());
    let open = fresh.store.writers_still_open(&sample.writers).await.expect("an answer");
    assert_eq!(open, Vec::new());
    let again = fresh.again().await.store.sample_high_water().await.expect("a sample");
    assert_eq!(again.history, sample.history, "the same for every process");
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.page(&tenant(), LogSeq::ORIGIN, sample.sequence, WHOLE).await.expect("a page").len(), 5);
}
