//! A log that moves in keeps its positions, all of it or nothing.

use crate::backend::{Blank, Fresh};
use crate::log::{event, finished, input, named, started, tenant, whole_trace};
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Admitted, Category, LogSeq, TenantId};
use decisiongraph_store::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// 2026-01-01T00:00:00.123Z, in microseconds.
const RECORDED_US: i64 = 1_767_225_600_123_000;

/// A move under way.
struct Move {
    steps: mpsc::Sender<MoveStep>,
    moved: JoinHandle<Result<()>>,
}

impl Move {
    fn into(store: &Arc<dyn Store>) -> Move {
        let (steps, received) = mpsc::channel(1);
        let store = store.clone();
        Move { steps, moved: tokio::spawn(async move { store.move_in(received).await }) }
    }

    /// Stores events at these positions.
    async fn store(&self, tenant: &TenantId, events: &[(i64, Admitted)]) -> Vec<Verdict> {
        let placed = |(log_seq, event): &(i64, Admitted)| Placed {
            event: event.clone(),
            log_seq: LogSeq(*log_seq),
            recorded_at_us: RECORDED_US,
        };
        let (answer, verdicts) = oneshot::channel();
        let events = events.iter().map(placed).collect();
        let step = MoveStep::Store { tenant: tenant.clone(), events, mode: AppendMode::AllOrNothing, answer };
        self.steps.send(step).await.expect("the move goes on");
        verdicts.await.expect("verdicts")
    }

    async fn commit(self) -> Result<()> {
        let _ = self.steps.send(MoveStep::Commit).await;
        drop(self.steps);
        self.moved.await.expect("no panic")
    }

    async fn give_up(self) -> Result<()> {
        drop(self.steps);
        self.moved.await.expect("no panic")
    }
}

async fn stored(fresh: &Fresh, tenant: &TenantId) -> Vec<StoredEvent> {
    let view = fresh.store.view().await.expect("a view");
    view.events(tenant, LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(100)).await.expect("events").items
}

async fn positions(fresh: &Fresh, tenant: &TenantId) -> Vec<i64> {
    stored(fresh, tenant).await.iter().map(|event| event.log_seq.0).collect()
}

fn refused(verdicts: &[Verdict]) -> (Category, String) {
    let refusal = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Refused(refusal) => Some((refusal.category, refusal.message.clone())),
        _ => None,
    });
    refusal.unwrap_or_else(|| panic!("nothing is refused: {verdicts:?}"))
}

pub async fn a_moved_log_keeps_positions_and_times(blank: Blank) {
    let fresh = blank.migrated().await;
    let moving = Move::into(&fresh.store);
    let (own, other) = (tenant(), named("other"));
    assert_eq!(
        moving.store(&own, &[(7, started("t")), (40, input("t", 1, "i"))]).await,
        [(7, 0), (40, 1)].map(|(seq, trace_seq)| Verdict::Accepted { log_seq: LogSeq(seq), trace_seq })
    );
    // As an export of all tenants writes them: behind the first tenant, and between its positions.
    moving.store(&other, &[(9, started("t")), (1_000, finished("t", 1, "success"))]).await;
    moving.store(&own, &[(41, finished("t", 2, "success"))]).await;
    moving.commit().await.expect("it is committed");
    assert_eq!(positions(&fresh, &own).await, [7, 40, 41]);
    assert_eq!(positions(&fresh, &other).await, [9, 1_000]);
    for event in stored(&fresh, &own).await {
        assert!(event.recorded_at.starts_with("2026-01-01T00:00:00.123"), "{}", event.recorded_at);
    }
    let sample = fresh.store.sample_high_water().await.expect("a sample");
    assert_eq!((sample.sequence, sample.writers.len()), (LogSeq(1_000), 0), "the safe mark");
    let next = fresh.store.append(&own, &[started("u")], AppendMode::Each).await.expect("a verdict");
    assert_eq!(next, [Verdict::Accepted { log_seq: LogSeq(1_001), trace_seq: 0 }]);
    let late = fresh.store.append(&other, &[input("t", 2, "late")], AppendMode::Each).await.expect("a verdict");
    assert_eq!(refused(&late).0, Category::Conflict, "the rules know what was moved");
}

pub async fn a_log_moves_into_an_empty_database_only(blank: Blank) {
    let fresh = blank.migrated().await;
    let own = tenant();
    let moving = Move::into(&fresh.store);
    moving.store(&own, &[(5, started("t"))]).await;
    moving.commit().await.expect("it is committed");
    for _ in 0..2 {
        let again = Move::into(&fresh.store).commit().await.expect_err("the database is not empty");
        assert_eq!(again.category, Category::Conflict, "{again}");
    }
    assert_eq!(positions(&fresh, &own).await, [5]);
    // Events that are gone: their positions stay used, and no cursor or mark meets them again.
    fresh.raw("DELETE FROM dg_event_log").await;
    let moving = Move::into(&fresh.store);
    let (category, message) = refused(&moving.store(&own, &[(5, started("t")), (6, input("t", 1, "i"))]).await);
    assert!(category == Category::Conflict && message.contains("up to 5"), "{message}");
    moving.give_up().await.expect_err("nothing is committed");
    let moving = Move::into(&fresh.store);
    moving.store(&own, &[(6, started("t"))]).await;
    moving.commit().await.expect("above all that was drawn");
    assert_eq!(positions(&fresh, &own).await, [6]);
}

pub async fn a_move_without_its_end_leaves_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let moving = Move::into(&fresh.store);
    moving.store(&tenant(), &[(5, started("t")), (6, input("t", 1, "i"))]).await;
    moving.give_up().await.expect_err("it was given up");
    assert_eq!(positions(&fresh, &tenant()).await, [0; 0]);
    let moving = Move::into(&fresh.store);
    moving.store(&tenant(), &[(5, started("t"))]).await;
    moving.commit().await.expect("the next one is not disturbed");
    assert_eq!(positions(&fresh, &tenant()).await, [5]);
}

pub async fn a_moved_event_passes_every_rule_of_an_append(blank: Blank) {
    let fresh = blank.migrated().await;
    let moving = Move::into(&fresh.store);
    let (own, other) = (tenant(), named("other"));
    moving.store(&own, &[(2, started("t")), (4, finished("t", 1, "success")), (6, started("u"))]).await;
    for (events, category) in [
        (vec![(8, input("t", 2, "late"))], Category::Conflict),
        (vec![(8, input("u", 5, "too far"))], Category::EventSequenceInvalid),
        (vec![(8, event("v", 0, "TraceFinished", r#"{"outcome":"success"}"#))], Category::EventSequenceInvalid),
    ] {
        assert_eq!(refused(&moving.store(&own, &events).await).0, category, "{events:?}");
    }
    let (category, message) = refused(&moving.store(&other, &[(3, started("t")), (4, input("t", 1, "i"))]).await);
    assert!(category == Category::Conflict && message.contains("position 4"), "{message}");
    let again = moving.store(&own, &[(8, started("u"))]).await;
    assert!(matches!(again[..], [Verdict::Repeated { log_seq: LogSeq(6), .. }]), "{again:?}");
    moving.store(&other, &[(3, started("t")), (5, input("t", 1, "i"))]).await;
    moving.commit().await.expect("what was refused is not stored");
    assert_eq!((positions(&fresh, &own).await, positions(&fresh, &other).await), (vec![2, 4, 6], vec![3, 5]));
}

pub async fn readers_and_appends_wait_for_a_move(blank: Blank) {
    let fresh = blank.migrated().await;
    let (own, late) = (tenant(), named("late"));
    let mut wakes = fresh.store.wakes().await.expect("a channel");
    let moving = Move::into(&fresh.store);
    let events: Vec<(i64, Admitted)> = (100..).zip(whole_trace("t")).collect();
    moving.store(&own, &events).await;
    let sample = fresh.again().await.store.sample_high_water().await.expect("a sample");
    assert!(sample.sequence == LogSeq::ORIGIN || !sample.writers.is_empty(), "no mark passes the move: {sample:?}");
    let store = fresh.store.clone();
    let append = tokio::spawn(async move { store.append(&late, &[started("t")], AppendMode::Each).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!append.is_finished(), "an append draws its position behind the move");
    let last = LogSeq(99 + events.len() as i64);
    moving.commit().await.expect("it is committed");
    let woken = tokio::time::timeout(Duration::from_secs(10), wakes.log.recv()).await.expect("in time");
    assert_eq!(woken, Some(()));
    let appended = append.await.expect("no panic").expect("a verdict");
    assert_eq!(appended, [Verdict::Accepted { log_seq: LogSeq(last.0 + 1), trace_seq: 0 }]);
    let sample = fresh.store.sample_high_water().await.expect("a sample");
    assert_eq!((sample.sequence, sample.writers.len()), (LogSeq(last.0 + 1), 0));
}
