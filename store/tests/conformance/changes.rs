//! The record of the operators' changes.

use crate::backend::Blank;
use crate::fold::owner;
use crate::log::{named, tenant};
use decisiongraph_store::*;
use std::time::Duration;
use uuid::Uuid;

fn asked(what: &str, tenant: Option<&str>) -> NewChange {
    NewChange {
        what: what.to_owned(),
        tenant: tenant.map(named),
        projection: tenant.map(|_| "trace_summary".to_owned()),
        subject: Some("node n".to_owned()),
        run_id: tenant.map(|_| Uuid::from_u128(7)),
        asker: ChangeAsker {
            identity: "console".to_owned(),
            token_id: Some("A1b2C3d4".to_owned()),
            on_behalf_of: tenant.map(|_| "ada".to_owned()),
            peer: Some("127.0.0.1:9".to_owned()),
            door: "http".to_owned(),
            request_id: "r-1".to_owned(),
        },
        through: "n".to_owned(),
        process: None,
        reason: String::new(),
    }
}

fn end(outcome: ChangeOutcome, code: Option<&str>, message: &str) -> ChangeEnd {
    ChangeEnd { outcome, code: code.map(str::to_owned), message: message.to_owned() }
}

pub async fn what_was_asked_for_is_listed_latest_first_with_its_first_end(blank: Blank) {
    let fresh = blank.migrated().await;
    let list = async |filter: ChangeFilter, before: Option<i64>, limit: usize| {
        let view = fresh.store.view().await.expect("a view");
        view.changes(&filter, before, limit).await.expect("a list")
    };
    let any = ChangeFilter::default();
    assert_eq!(list(any.clone(), None, 10).await, Paged::default());
    let changes =
        [asked("pause", Some("a")), asked("drain", None), asked("resume", Some("b")), asked("rebuild", Some("a"))];
    let mut ids = Vec::new();
    for change in &changes {
        ids.push(fresh.store.note_change(change).await.expect("recorded"));
    }
    assert!(ids.is_sorted(), "{ids:?}");
    let done = end(ChangeOutcome::Accepted, None, "done");
    fresh.store.end_change(ids[1], &done).await.expect("recorded");
    let other = end(ChangeOutcome::Refused, Some("conflict"), "another end");
    fresh.store.end_change(ids[1], &other).await.expect("the first one stays");
    fresh.store.end_change(ids[2], &other).await.expect("recorded");
    let all = list(any.clone(), None, 10).await;
    assert!(!all.more);
    let told: Vec<&NewChange> = all.items.iter().map(|change| &change.asked).collect();
    assert_eq!(told, changes.iter().rev().collect::<Vec<_>>());
    let by: Vec<&str> = all.items.iter().map(|change| change.by.as_str()).collect();
    assert_eq!(by, ["ada by console", "ada by console", "console", "ada by console"]);
    let outcomes: Vec<Option<&str>> = all.items.iter().map(|change| change.outcome.as_deref()).collect();
    assert_eq!(outcomes, [None, Some("conflict: another end"), Some("done"), None]);
    assert_eq!(all.items[2].end, Some(done));
    assert!(all.items.iter().all(|change| change.end.is_some() == change.ended_at.is_some()), "{all:?}");
    assert!(all.items[0].at.ends_with('Z'), "{all:?}");
    // Page by page, and by what is asked for.
    let first = list(any.clone(), None, 3).await;
    assert_eq!((first.items.len(), first.more), (3, true));
    let rest = list(any.clone(), Some(first.items[2].change_id), 3).await;
    assert_eq!((rest.items.len(), rest.more, rest.items[0].change_id), (1, false, ids[0]));
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (ChangeFilter { tenant: Some(named("a")), ..any.clone() }, &[ids[3], ids[0]][..]),
        (ChangeFilter { tenant: Some(tenant()), ..any.clone() }, &[]),
        (ChangeFilter { what: text("drain"), ..any.clone() }, &[ids[1]]),
        (ChangeFilter { identity: text("ada"), ..any.clone() }, &[]),
        (ChangeFilter { identity: text("console"), outcome: text("refused"), ..any.clone() }, &[ids[2]]),
        (ChangeFilter { outcome: text(ChangeFilter::NO_END), ..any.clone() }, &[ids[3], ids[0]]),
        (ChangeFilter { since_ms: Some(0), outcome: text("accepted"), ..any.clone() }, &[ids[1]]),
        (ChangeFilter { since_ms: Some(4_000_000_000_000), ..any }, &[]),
    ] {
        let found = list(filter.clone(), None, 10).await;
        let found: Vec<i64> = found.items.iter().map(|change| change.change_id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// An entry without its end says that its process died, unless that process has a lease.
pub async fn an_entry_without_its_end_tells_if_its_process_died(blank: Blank) {
    let fresh = blank.migrated().await;
    let me = owner("n");
    let facts = MemberFacts { address: None, program: "1".to_owned(), protocol: 1 };
    fresh.store.join(&me, Duration::from_secs(600), &facts).await.expect("joins");
    let change = NewChange { process: Some(me.incarnation), ..asked("rebuild", Some("a")) };
    let number = fresh.store.note_change(&change).await.expect("recorded");
    let entry = async || {
        let view = fresh.store.view().await.expect("a view");
        view.changes(&ChangeFilter::default(), None, 1).await.expect("a list").items.remove(0)
    };
    assert!(!entry().await.lost, "it is under way");
    fresh.store.leave(&me).await.expect("leaves");
    let lost = entry().await;
    assert!(lost.lost && lost.end.is_none() && lost.outcome.is_none(), "{lost:?}");
    // The same name in another life.
    fresh.store.join(&owner("n"), Duration::from_secs(600), &facts).await.expect("joins");
    assert!(entry().await.lost, "another life of the process does not end it");
    fresh.store.end_change(number, &end(ChangeOutcome::Accepted, None, "done")).await.expect("recorded");
    assert!(!entry().await.lost);
}

/// The record of the schema before is brought over, entry by entry.
pub async fn the_record_of_the_schema_before_is_kept(blank: Blank) {
    let fresh = blank.migrated().await;
    for statement in blank.to_one_row_per_change() {
        fresh.raw(statement).await;
    }
    let fresh = fresh.again().await;
    assert!(!fresh.store.migrate().await.expect("a schema").is_empty());
    let view = fresh.store.view().await.expect("a view");
    let listed = view.changes(&ChangeFilter::default(), None, 10).await.expect("a list").items;
    let told: Vec<(i64, &str, &str, &str, Option<&str>)> = listed
        .iter()
        .map(|change| {
            let asked = &change.asked;
            (change.change_id, &*asked.what, &*change.by, &*asked.reason, change.outcome.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            (4, "drain", "ada@vm by uid 7", "disk", Some("storage: the disk: is full")),
            (3, "forget", "ada@vm by uid 7", "", Some("conflict: node `a` is alive")),
            (2, "rebuild", "ada@vm by uid 7", "", Some("begun")),
            (1, "pause", "ada@vm by uid 7", "a review", None),
        ]
    );
    let outcomes: Vec<Option<ChangeOutcome>> =
        listed.iter().map(|change| change.end.as_ref().map(|end| end.outcome)).collect();
    let (accepted, refused, failed) = (ChangeOutcome::Accepted, ChangeOutcome::Refused, ChangeOutcome::Failed);
    assert_eq!(outcomes, [Some(failed), Some(refused), Some(accepted), None]);
    assert!(listed[3].lost && listed[3].asked.tenant == Some(named("a")), "{listed:?}");
    let next = fresh.store.note_change(&asked("pause", None)).await.expect("recorded");
    assert_eq!(next, 5, "numbers go on");
}
