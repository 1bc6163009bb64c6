//! Drifts found by verifies, remembered at the scope.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, owner};
use crate::log::tenant;
use decisiongraph_projections::{Projection, catalogue};
use decisiongraph_store::*;
use std::time::Duration;
use uuid::Uuid;

const SUMMARY: &dyn Projection = catalogue::TRACE_SUMMARY;

fn scope() -> Scope {
    Scope::new(&tenant(), SUMMARY)
}

async fn verify(fresh: &Fresh, owner: &Owner) -> Uuid {
    let run_id = Uuid::new_v4();
    let projections = vec![SUMMARY.name()];
    let new = NewRun {
        run_id,
        tenant: tenant(),
        projections,
        mode: RunMode::Verify,
        until: None,
        owner: owner.clone(),
        cause: RunCause::default(),
    };
    fresh.store.create_run(&new).await.expect("a run");
    run_id
}

async fn remembered(fresh: &Fresh) -> (Option<Uuid>, u64) {
    let view = fresh.store.view().await.expect("a view");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    (row.drift.map(|drift| drift.run_id), view.scope_counts().await.expect("counts").drifted)
}

fn found(generation: Generation, drifted: bool) -> [Compared; 1] {
    [Compared { projection: SUMMARY.name(), generation, drifted }]
}

pub async fn drift_holds_until_a_clean_verify_or_a_flip(blank: Blank) {
    let fresh = blank.migrated().await;
    let (me, you) = (owner("n1"), owner("n2"));
    fresh.store.heartbeat(&me, Duration::from_secs(600)).await.expect("alive");
    let live = acquire(&fresh.store, &scope(), &me).await.0.generation;
    let run = verify(&fresh, &me).await;
    assert_eq!(remembered(&fresh).await, (None, 0));
    // Reports for another generation, or by a process that does not own the run, change nothing.
    let another = Generation(live.0 + 1_000);
    fresh.store.note_compared(run, &me, &found(another, true)).await.expect("noted");
    fresh.store.note_compared(run, &you, &found(live, true)).await.expect("noted");
    assert_eq!(remembered(&fresh).await, (None, 0));
    fresh.store.note_compared(run, &me, &found(live, true)).await.expect("noted");
    assert_eq!(remembered(&fresh).await, (Some(run), 1));
    fresh.store.finish_run(run, &me, RunOutcome::Completed("[]".to_owned())).await.expect("the end");
    assert_eq!(remembered(&fresh).await, (Some(run), 1));
    // An ended run takes nothing back.
    fresh.store.note_compared(run, &me, &found(live, false)).await.expect("noted");
    assert_eq!(remembered(&fresh).await, (Some(run), 1));
    let clean = verify(&fresh, &me).await;
    fresh.store.note_compared(clean, &me, &found(live, false)).await.expect("noted");
    assert_eq!(remembered(&fresh).await, (None, 0));
    fresh.store.note_compared(clean, &me, &found(live, true)).await.expect("noted");
    let build = fresh.store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    fresh.store.finish_build(&build).await.expect("ready");
    assert!(matches!(fresh.store.flip(&build).await.expect("a flip"), Flip::Flipped { .. }));
    assert_eq!(remembered(&fresh).await, (None, 0), "other rows");
    // A verify that read before the flip and ends after it says nothing about the new rows.
    fresh.store.note_compared(clean, &me, &found(live, true)).await.expect("noted");
    assert_eq!(remembered(&fresh).await, (None, 0));
}
