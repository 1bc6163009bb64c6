//! Rows that no append would write: such a row is a failure of its event or tenant, never of the list.

use crate::backend::{Blank, Fresh};
use crate::failures::poison;
use crate::fold::{acquire, append_all, owner};
use crate::log::{named, tenant, whole_trace};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::*;
use uuid::Uuid;

/// Creates a database that accepts any row, as before the schema refused some.
async fn lawless(blank: Blank) -> Fresh {
    let fresh = blank.migrated().await;
    for statement in blank.to_lawlessness() {
        fresh.raw(statement).await;
    }
    fresh
}

/// Writes everything that a tenant can have in a list.
async fn everything_of(fresh: &Fresh, tenant: &TenantId, me: &Owner) {
    append_all(&fresh.store, tenant, &whole_trace("t")).await;
    acquire(&fresh.store, &Scope::new(tenant, catalogue::TRACE_SUMMARY), me).await;
    fresh.store.record_failure(&poison(tenant, 1, "bad")).await.expect("recorded");
    let job = NewRun {
        run_id: Uuid::new_v4(),
        tenant: tenant.clone(),
        projections: vec!["context_graph"],
        mode: RunMode::Verify,
        until: None,
        owner: me.clone(),
        cause: RunCause::default(),
    };
    fresh.store.create_run(&job).await.expect("a run");
}

pub async fn one_bad_row_is_left_out_of_every_list(blank: Blank) {
    let fresh = lawless(blank).await;
    let me = owner("me");
    let (long, good) = (format!("\u{1b}[2J{}", "x".repeat(197)), [named("a"), named("z")]);
    for tenant in [&good[0], &named("bad"), &named("empty"), &good[1]] {
        everything_of(&fresh, tenant, &me).await;
    }
    let view = fresh.store.view().await.expect("a view");
    assert!(view.strays(10).await.expect("an answer").is_empty(), "nothing is wrong yet");
    for table in ["dg_event_log", "dg_scope", "dg_failure", "dg_run"] {
        for (was, becomes) in [("bad", long.as_str()), ("empty", "")] {
            fresh.raw(&format!("UPDATE {table} SET tenant_id = '{becomes}' WHERE tenant_id = '{was}'")).await;
        }
    }
    fresh.raw("UPDATE dg_run SET mode = 'of a later program' WHERE tenant_id = 'z'").await;

    let end = LogSeq(i64::MAX);
    assert_eq!(view.tenants().await.expect("tenants"), good);
    let names = |list: Vec<(TenantId, LogSeq)>| list.into_iter().map(|(tenant, _)| tenant).collect::<Vec<_>>();
    let stretch = async |limit| view.tenants_with_events(LogSeq::ORIGIN, end, limit).await.expect("tenants");
    assert_eq!(names(stretch(10).await), good);
    // Rows that are left out do not fill a page. Otherwise a reader would take a short page for the last one.
    let first = stretch(1).await;
    assert_eq!(names(view.tenants_with_events(first[0].1, end, 1).await.expect("tenants")), good[1..]);
    let scopes = catalogue::ALL.map(|projection| projection.name());
    let behind = async |after, limit| names(view.tenants_behind(&scopes, end, after, limit).await.expect("tenants"));
    assert_eq!(behind(None, 10).await, good);
    assert_eq!(behind(Some(&good[0]), 1).await, good[1..]);
    let scopes = view.scopes(None).await.expect("scopes");
    assert_eq!(scopes.into_iter().map(|row| row.scope.tenant).collect::<Vec<_>>(), good);
    let heads = view.scope_heads(None, 10).await.expect("heads");
    assert_eq!(heads.into_iter().map(|head| head.scope.tenant).collect::<Vec<_>>(), good);
    let mut owned = view.tenants_of(&me).await.expect("tenants");
    owned.sort();
    assert_eq!(owned, good);
    let all = ListFilter { limit: 10, ..ListFilter::default() };
    let failures = view.failures(&all).await.expect("failures").items;
    assert_eq!(failures.into_iter().rev().map(|failure| failure.tenant).collect::<Vec<_>>(), good);
    // A page that left rows out continues: its length says nothing.
    let page = view.failures(&ListFilter { limit: 2, ..all.clone() }).await.expect("failures");
    assert_eq!((page.items.len(), page.more), (1, true));
    let behind_it = ListFilter { before_failure: Some(page.items[0].failure_id), limit: 2, ..all.clone() };
    assert_eq!(view.failures(&behind_it).await.expect("failures").items[0].tenant, good[0]);
    let runs = view.runs(&all).await.expect("runs").items;
    assert_eq!(
        runs.into_iter().map(|run| run.tenant).collect::<Vec<_>>(),
        good[..1],
        "the other is of a later program"
    );

    let strays = view.strays(10).await.expect("strays");
    let told: Vec<_> = strays.iter().map(|stray| (stray.table.as_str(), stray.log_seq.map(|at| at.0))).collect();
    let first_of = |place: usize| Some((place * whole_trace("t").len() + 1) as i64);
    assert_eq!(told, [("dg_event_log", first_of(2)), ("dg_event_log", first_of(1))], "{strays:?}");
    assert!(strays[1].why.contains("\"\\u{1b}[2Jxxx") && strays[1].why.contains("has 201 bytes"), "{}", strays[1].why);
    assert!(strays[0].next.contains("decisiongraph migrate"), "{}", strays[0].next);
    assert_eq!(view.strays(1).await.expect("strays").len(), 1);
}

pub async fn an_event_that_cannot_be_read_is_that_events_fault(blank: Blank) {
    let fresh = lawless(blank).await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    for (log_seq, becomes) in [
        (1, "tags = '[1]'"),
        (2, "payload = '{\n}'"),
        (3, "payload = '{} {\"tenant_id\":\"another\"}'"),
        (4, "tags = ''"),
    ] {
        assert_eq!(fresh.raw(&format!("UPDATE dg_event_log SET {becomes} WHERE log_seq = {log_seq}")).await, 1);
    }
    let view = fresh.store.view().await.expect("a view");
    let end = LogSeq(i64::MAX);
    for events in [
        view.events(&tenant(), LogSeq::ORIGIN, end, PageLimit::rows(10)).await.expect("events").items,
        view.trace_events(&tenant(), "t", LogSeq::ORIGIN, PageLimit::rows(10)).await.expect("events").items,
    ] {
        let faults: Vec<_> = events.iter().map(|event| event.fault.as_deref().unwrap_or("")).collect();
        assert_eq!(faults.len(), 5, "{events:?}");
        assert_eq!([faults[0], faults[3]], ["its stored tags are not a JSON list of strings"; 2]);
        assert!(
            faults[1].contains("line feed") && faults[2].contains("not JSON") && faults[4].is_empty(),
            "{faults:?}"
        );
    }
    // An event whose stored tags are unreadable counts as a different event when it is offered again. Nothing fails.
    let again = fresh.store.append(&tenant(), &whole_trace("t"), AppendMode::Each).await.expect("verdicts");
    assert!(matches!(again[0], Verdict::Refused(_)), "{again:?}");
}
