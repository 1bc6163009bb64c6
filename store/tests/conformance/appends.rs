//! Appending by the reference's rules.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, all_rows, append_all, catch_up, owner};
use crate::log::{event, finished, input, named, next, offered, policy, started, tenant, whole_trace};
use decisiongraph_projections::event::ID_BYTES_MAX;
use decisiongraph_projections::sequence::TRACE_SEQ_MAX;
use decisiongraph_projections::{Admitted, Category, Details, LogSeq, Refusal, catalogue};
use decisiongraph_store::*;
use std::time::Duration;

fn category(verdict: &Verdict) -> Category {
    match verdict {
        Verdict::Refused(refusal) => refusal.category,
        other => panic!("not refused: {other:?}"),
    }
}

fn details(verdict: &Verdict) -> Details {
    match verdict {
        Verdict::Refused(Refusal { details: Some(details), .. }) => (**details).clone(),
        other => panic!("no details: {other:?}"),
    }
}

/// Returns the number that an event has in its trace; none when it was refused.
fn number(verdict: &Verdict) -> Option<i64> {
    match verdict {
        Verdict::Accepted { trace_seq, .. } | Verdict::Repeated { trace_seq, .. } => Some(*trace_seq),
        _ => None,
    }
}

async fn each(fresh: &Fresh, events: &[Admitted]) -> Vec<Verdict> {
    fresh.store.append(&tenant(), events, AppendMode::Each).await.expect("verdicts")
}

async fn stored_count(fresh: &Fresh) -> u64 {
    let view = fresh.store.view().await.expect("a view");
    view.count_events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), 1_000_000).await.expect("a count")
}

pub async fn stores_what_was_offered(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = whole_trace("t");
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    let view = fresh.store.view().await.expect("a view");
    let stored =
        view.events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(100)).await.expect("events").items;
    assert_eq!(stored.len(), events.len());
    for ((stored, offered), position) in stored.iter().zip(&events).zip(positions) {
        assert_eq!(stored.log_seq, position);
        assert_eq!(&stored.envelope, offered.envelope());
        assert_eq!(stored.payload, offered.payload());
        assert_eq!(stored.payload_hash, offered.payload_hash());
        assert!(stored.recorded_at.ends_with('Z') && stored.recorded_at.starts_with("20"), "{}", stored.recorded_at);
    }
    let pages = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    assert_eq!(pages, stored.into_iter().map(Into::into).collect::<Vec<decisiongraph_projections::LogEvent>>());
}

pub async fn each_gets_its_verdict(blank: Blank) {
    let fresh = blank.migrated().await;
    let verdicts = each(
        &fresh,
        &[
            started("t"),
            input("t", 2, "too far"),
            input("t", 1, "next"),
            offered("other id", "t/1", "t", 2, "PrecedentCited", r#"{"cited_trace_id":"x","reason":"r"}"#),
            event("u", 0, "TraceFinished", r#"{"outcome":"success"}"#),
            finished("t", 2, "success"),
            input("t", 3, "late"),
            input("t", 9, "late and wrong"),
        ],
    )
    .await;
    assert!(matches!(verdicts[0], Verdict::Accepted { .. }));
    assert_eq!(category(&verdicts[1]), Category::EventSequenceInvalid);
    assert!(matches!(verdicts[2], Verdict::Accepted { .. }));
    assert_eq!(category(&verdicts[3]), Category::IdempotencyConflict);
    assert_eq!(category(&verdicts[4]), Category::EventSequenceInvalid);
    assert!(matches!(verdicts[5], Verdict::Accepted { .. }));
    assert_eq!(category(&verdicts[6]), Category::Conflict);
    assert_eq!(category(&verdicts[7]), Category::EventSequenceInvalid);
    // The log gives the same verdicts on an earlier append as the batch gives on itself.
    let later = each(
        &fresh,
        &[input("t", 3, "late"), input("t", 9, "late and wrong"), started("t2"), finished("u", 1, "success")],
    )
    .await;
    assert_eq!(category(&later[0]), Category::Conflict);
    assert_eq!(category(&later[1]), Category::EventSequenceInvalid);
    assert!(matches!(later[2], Verdict::Accepted { .. }));
    assert_eq!(category(&later[3]), Category::EventSequenceInvalid, "no trace without its start");
    assert_eq!(stored_count(&fresh).await, 4);
}

pub async fn all_or_nothing_stores_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let events = [started("t"), input("t", 1, "fine"), input("t", 7, "wrong"), input("t", 2, "fine as well")];
    let verdicts = fresh.store.append(&tenant(), &events, AppendMode::AllOrNothing).await.expect("verdicts");
    assert!(matches!(verdicts[0], Verdict::Repeated { .. }));
    assert_eq!(verdicts[1], Verdict::NotStored);
    assert_eq!(category(&verdicts[2]), Category::EventSequenceInvalid);
    assert_eq!(verdicts[3], Verdict::NotStored);
    assert_eq!(stored_count(&fresh).await, 1);
}

pub async fn repeats_are_found(blank: Blank) {
    let fresh = blank.migrated().await;
    let first = each(&fresh, &[started("t"), started("t"), input("t", 1, "i"), input("t", 1, "i")]).await;
    let Verdict::Accepted { log_seq, .. } = first[0] else { panic!("{first:?}") };
    assert_eq!(first[1], Verdict::Repeated { log_seq, event_id: "t/0".to_owned(), trace_seq: 0 });
    assert!(matches!(first[3], Verdict::Repeated { .. }));
    // Another id, number and time do not matter; the answer is the stored event.
    let payload = started("t").payload().to_owned();
    let again = each(&fresh, &[offered("other", "t/0", "t", 5, "TraceStarted", &payload)]).await;
    assert_eq!(again, vec![Verdict::Repeated { log_seq, event_id: "t/0".to_owned(), trace_seq: 0 }]);
    // The same key of the same producer, for another payload.
    let other = each(&fresh, &[offered("other", "t/0", "t", 5, "TraceStarted", started("u").payload())]).await;
    assert_eq!(category(&other[0]), Category::IdempotencyConflict);
    assert_eq!(details(&other[0]).mismatches, ["payload"]);
    assert_eq!(stored_count(&fresh).await, 2);
}

pub async fn a_repeat_after_the_finish_is_legal(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = whole_trace("t");
    append_all(&fresh.store, &tenant(), &events).await;
    for (event, verdict) in events.iter().zip(each(&fresh, &events).await) {
        let Verdict::Repeated { event_id, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(event_id, event.envelope().event_id);
    }
}

pub async fn a_trace_with_its_last_possible_number_takes_no_more(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let last = format!("UPDATE dg_event_log SET trace_seq = {TRACE_SEQ_MAX} WHERE trace_id = 't'");
    assert_eq!(fresh.raw(&last).await, 1);
    // The number that would come next after an overflow, and others.
    for next in [1, i64::MAX, i64::MIN] {
        let verdicts = each(&fresh, &[input("t", next, "more")]).await;
        let [Verdict::Refused(refusal)] = verdicts.as_slice() else { panic!("{next}: {verdicts:?}") };
        assert_eq!(refusal.category, Category::EventSequenceInvalid, "{next}");
        assert!(refusal.message.contains("start a new trace"), "{next}: {refusal}");
    }
    assert_eq!(stored_count(&fresh).await, 1);
    append_all(&fresh.store, &tenant(), &[started("another")]).await;
}

pub async fn refused_events_draw_no_position(blank: Blank) {
    let fresh = blank.migrated().await;
    each(&fresh, &[started("t"), input("t", 5, "no"), started("t"), input("t", 1, "yes")]).await;
    each(&fresh, &[input("t", 5, "no"), input("t", 1, "yes")]).await;
    let refused = [input("t", 2, "lost"), input("t", 9, "no")];
    fresh.store.append(&tenant(), &refused, AppendMode::AllOrNothing).await.expect("verdicts");
    each(&fresh, &[policy("t", 2, "p", "1")]).await;
    let view = fresh.store.view().await.expect("a view");
    let events =
        view.events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(100)).await.expect("events").items;
    let positions: Vec<i64> = events.iter().map(|event| event.log_seq.0).collect();
    assert_eq!(positions, vec![1, 2, 3]);
}

pub async fn a_reused_event_id_is_a_conflict(blank: Blank) {
    let fresh = blank.migrated().await;
    let payload = started("t").payload().to_owned();
    let verdicts = each(
        &fresh,
        &[offered("id", "k1", "t", 0, "TraceStarted", &payload), offered("id", "k2", "u", 0, "TraceStarted", &payload)],
    )
    .await;
    assert_eq!(category(&verdicts[1]), Category::Conflict);
    let verdicts = each(&fresh, &[offered("id", "k3", "v", 0, "TraceStarted", &payload)]).await;
    assert_eq!(category(&verdicts[0]), Category::Conflict);
}

/// Returns the longest ids and ids that look alike. The longest differ in their last byte and exceed the longest B-tree
/// key.
pub fn hostile_ids() -> Vec<String> {
    let long = "x".repeat(ID_BYTES_MAX - 100);
    vec![
        format!("{long}1"),
        format!("{long}2"),
        "a:b".to_owned(),
        "a::b".to_owned(),
        "é".to_owned(),
        "e\u{301}".to_owned(),
        "E".to_owned(),
        "e".to_owned(),
        " e".to_owned(),
        "e ".to_owned(),
        "'; DROP TABLE dg_event_log; --".to_owned(),
        "\"quoted\"".to_owned(),
        "back\\slash".to_owned(),
        "line\nfeed\u{2028}".to_owned(),
        "\u{1F600}".to_owned(),
        "\u{FFFD}".to_owned(),
        "%_".to_owned(),
    ]
}

pub async fn hostile_ids_are_kept_apart(blank: Blank) {
    let fresh = blank.migrated().await;
    for (number, id) in hostile_ids().into_iter().enumerate() {
        let events = [
            offered(&id, &format!("k{number}"), &id, 0, "TraceStarted", started("t").payload()),
            offered(&format!("{id}/1"), &format!("l{number}"), &id, 1, "TraceFinished", r#"{"outcome":"success"}"#),
        ];
        append_all(&fresh.store, &tenant(), &events).await;
    }
    let view = fresh.store.view().await.expect("a view");
    for id in hostile_ids() {
        let events =
            view.trace_events(&tenant(), &id, LogSeq::ORIGIN, PageLimit::rows(10)).await.expect("events").items;
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| event.envelope.trace_id == id));
    }
}

pub async fn tenants_do_not_meet(blank: Blank) {
    let fresh = blank.migrated().await;
    let (a, b) = (named("a"), named("A"));
    append_all(&fresh.store, &a, &whole_trace("t")).await;
    // The same ids, keys and numbers are new in another tenant.
    append_all(&fresh.store, &b, &whole_trace("t")).await;
    let view = fresh.store.view().await.expect("a view");
    let of_a = view.events(&a, LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(100)).await.expect("events").items;
    let of_b = view.events(&b, LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(100)).await.expect("events").items;
    assert_eq!((of_a.len(), of_b.len()), (5, 5));
    assert!(of_a.last().expect("one").log_seq < of_b[0].log_seq, "one order for the whole database");
    assert_eq!(view.trace_events(&a, "t", LogSeq::ORIGIN, PageLimit::rows(100)).await.expect("events").items.len(), 5);
    assert_eq!(
        view.trace_events(&named("c"), "t", LogSeq::ORIGIN, PageLimit::rows(100)).await.expect("none").items.len(),
        0
    );
}

/// Appends on a separate task, and so on a separate thread.
async fn appender(fresh: &Fresh, events: Vec<Admitted>) -> Vec<Verdict> {
    let store = fresh.store.clone();
    let task = tokio::spawn(async move { store.append(&tenant(), &events, AppendMode::Each).await });
    task.await.expect("no panic").expect("verdicts")
}

pub async fn two_appenders_race_for_one_trace(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let (a, b) = (fresh.again().await, fresh.again().await);
    for seq in 1..=30 {
        let payload = input("t", seq, "i").payload().to_owned();
        let mine = offered(&format!("a{seq}"), &format!("a{seq}"), "t", seq, "InputObserved", &payload);
        let yours = offered(&format!("b{seq}"), &format!("b{seq}"), "t", seq, "InputObserved", &payload);
        let (mine, yours) = tokio::join!(appender(&a, vec![mine]), appender(&b, vec![yours]));
        let verdicts = [mine, yours].concat();
        let accepted = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted { .. })).count();
        let refused = verdicts.iter().find(|verdict| matches!(verdict, Verdict::Refused(_))).expect("one is refused");
        assert_eq!((accepted, category(refused)), (1, Category::EventSequenceInvalid), "{verdicts:?}");
    }
    assert_eq!(stored_count(&fresh).await, 31);
}

pub async fn two_appenders_offer_the_same_event(blank: Blank) {
    let fresh = blank.migrated().await;
    let (a, b) = (fresh.again().await, fresh.again().await);
    for trace in 0..30 {
        let events = whole_trace(&format!("t{trace}"));
        let (mine, yours) = tokio::join!(appender(&a, events.clone()), appender(&b, events));
        for (mine, yours) in mine.into_iter().zip(yours) {
            match (mine, yours) {
                (Verdict::Accepted { log_seq: a, .. }, Verdict::Repeated { log_seq: b, .. })
                | (Verdict::Repeated { log_seq: b, .. }, Verdict::Accepted { log_seq: a, .. }) => assert_eq!(a, b),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(stored_count(&fresh).await, 150);
}

pub async fn a_review_request_is_stored_and_changes_no_row(blank: Blank) {
    let fresh = blank.migrated().await;
    let review = r#"{"template_id":"t","workflow_kind":"k","title":"t","reason":"r","priority":"high","assignee":{},"subject":{"subject_type":"s","subject_id":"1"},"simulation":{},"sla_hours":6}"#;
    let events = [started("t"), event("t", 1, "WorkflowReviewRequested", review), finished("t", 2, "success")];
    append_all(&fresh.store, &tenant(), &events).await;
    let view = fresh.store.view().await.expect("a view");
    let mut rows = Vec::new();
    for projection in catalogue::ALL {
        let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &owner("me")).await;
        catch_up(&fresh.store, &lease, position, projection, &[1]).await;
        let tables = all_rows(&*view, &tenant(), projection, lease.generation).await;
        rows.extend(tables.iter().map(Vec::len));
    }
    assert_eq!(rows, [3, 1, 1, 0, 0], "nodes and edge of the start, the summary");
    assert_eq!(stored_count(&fresh).await, 3);
}

const INPUT: &str = r#"{"input_id":"i","source":{"system":"s","object_type":"o","object_id":"1"},"facts":[]}"#;
const DONE: &str = r#"{"outcome":"success"}"#;

pub async fn numbers_are_drawn_in_order_and_between_given_ones(blank: Blank) {
    let fresh = blank.migrated().await;
    let start = started("t").payload().to_owned();
    let batch = [
        next("start", "t", "TraceStarted", &start),
        input("t", 1, "given"),
        next("2", "t", "InputObserved", INPUT),
        input("t", 5, "too far"),
        next("3", "t", "InputObserved", INPUT),
        next("again", "t", "TraceStarted", &start),
        next("u", "u", "InputObserved", INPUT),
        next("end", "t", "TraceFinished", DONE),
        next("behind", "t", "InputObserved", INPUT),
    ];
    let verdicts = each(&fresh, &batch).await;
    let numbers: Vec<Option<i64>> = verdicts.iter().map(number).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2), None, Some(3), None, None, Some(4), None], "{verdicts:?}");
    for (at, refused, due) in [(3, Category::EventSequenceInvalid, 3), (5, Category::EventSequenceInvalid, 4)] {
        assert_eq!((category(&verdicts[at]), details(&verdicts[at]).expected_trace_seq), (refused, Some(due)));
    }
    assert_eq!(category(&verdicts[6]), Category::EventSequenceInvalid, "no trace without its start");
    assert_eq!(category(&verdicts[8]), Category::Conflict);
    let view = fresh.store.view().await.expect("a view");
    let stored = view.trace_events(&tenant(), "t", LogSeq::ORIGIN, PageLimit::rows(10)).await.expect("events").items;
    let stored: Vec<(i64, i64)> = stored.iter().map(|event| (event.log_seq.0, event.envelope.trace_seq)).collect();
    assert_eq!(stored, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)], "neither kind of number has a gap");
    // All or nothing, and behind the end of a trace.
    let torn = [next("v", "v", "TraceStarted", &start), next("late", "t", "InputObserved", INPUT)];
    let verdicts = fresh.store.append(&tenant(), &torn, AppendMode::AllOrNothing).await.expect("verdicts");
    assert_eq!((&verdicts[0], category(&verdicts[1])), (&Verdict::NotStored, Category::Conflict));
    assert_eq!(stored_count(&fresh).await, 5);
}

pub async fn a_repeat_finds_the_event_whatever_was_drawn_for_it(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let first = each(&fresh, &[next("a", "t", "InputObserved", INPUT), next("a", "t", "InputObserved", INPUT)]).await;
    let Verdict::Accepted { log_seq, trace_seq: 1 } = first[0] else { panic!("{first:?}") };
    let stored = Verdict::Repeated { log_seq, event_id: "drawn for a".to_owned(), trace_seq: 1 };
    assert_eq!(first[1], stored);
    each(&fresh, &[next("end", "t", "TraceFinished", DONE)]).await;
    let another_id = offered("another", "a", "t", 7, "InputObserved", INPUT);
    assert_eq!(each(&fresh, &[next("a", "t", "InputObserved", INPUT), another_id]).await, [stored.clone(), stored]);
    let other = next(
        "a",
        "u",
        "InputObserved",
        r#"{"input_id":"j","source":{"system":"s","object_type":"o","object_id":"1"},"facts":[]}"#,
    );
    let other = &each(&fresh, &[other]).await[0];
    assert_eq!(category(other), Category::IdempotencyConflict);
    assert_eq!(details(other).mismatches, ["payload", "trace_id"]);
}

pub async fn many_producers_draw_the_numbers_of_one_trace(blank: Blank) {
    const PRODUCERS: usize = 64;
    const EVENTS: usize = 25;
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let processes = [fresh.again().await, fresh.again().await];
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let store = processes[producer % processes.len()].store.clone();
        tasks.spawn(async move {
            for key in 0..EVENTS {
                let event = next(&format!("{producer}/{key}"), "t", "InputObserved", INPUT);
                let verdicts = store.append(&tenant(), &[event], AppendMode::Each).await.expect("a verdict");
                assert!(matches!(verdicts[..], [Verdict::Accepted { .. }]), "{verdicts:?}");
            }
        });
    }
    // One more gives its numbers itself; it is refused when another was faster.
    let (mut due, mut given) = (1, 0);
    while !tasks.is_empty() {
        let verdicts = each(
            &fresh,
            &[offered(&format!("given {due}"), &format!("given {due}"), "t", due, "InputObserved", INPUT)],
        )
        .await;
        due = match &verdicts[0] {
            Verdict::Accepted { trace_seq, .. } => {
                given += 1;
                trace_seq + 1
            }
            refused => details(refused).expected_trace_seq.expect("a number"),
        };
        while let Some(ended) = tasks.try_join_next() {
            ended.expect("no panic");
        }
    }
    let view = fresh.store.view().await.expect("a view");
    let stored =
        view.trace_events(&tenant(), "t", LogSeq::ORIGIN, PageLimit::rows(10_000)).await.expect("events").items;
    let numbers: Vec<i64> = stored.iter().map(|event| event.envelope.trace_seq).collect();
    assert_eq!(numbers, (0..=(PRODUCERS * EVENTS) as i64 + given).collect::<Vec<_>>());
}

pub async fn appends_wake_readers(blank: Blank) {
    let fresh = blank.migrated().await;
    let mut wakes = fresh.store.wakes().await.expect("a channel");
    append_all(&fresh.store, &tenant(), &[started("t")]).await;
    let woken = tokio::time::timeout(Duration::from_secs(10), wakes.log.recv()).await.expect("in time");
    assert_eq!(woken, Some(()));
}
