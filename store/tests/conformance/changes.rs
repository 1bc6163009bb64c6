//! The record of the operators' changes.

use crate::backend::Blank;
use crate::log::{named, tenant};
use decisiongraph_store::*;

fn asked(what: &str, tenant: Option<&str>) -> NewChange {
    NewChange {
        what: what.to_owned(),
        tenant: tenant.map(named),
        projection: tenant.map(|_| "trace_summary".to_owned()),
        subject: Some("node n".to_owned()),
        by: "ada@vm by uid 7".to_owned(),
        through: "n".to_owned(),
        reason: String::new(),
    }
}

pub async fn what_was_asked_for_is_listed_latest_first_with_its_first_outcome(blank: Blank) {
    let fresh = blank.migrated().await;
    let list = async |tenant: Option<&str>, before: Option<i64>, limit: usize| {
        let view = fresh.store.view().await.expect("a view");
        view.changes(tenant.map(named).as_ref(), before, limit).await.expect("a list")
    };
    assert_eq!(list(None, None, 10).await, Paged::default());
    let changes =
        [asked("pause", Some("a")), asked("drain", None), asked("resume", Some("b")), asked("rebuild", Some("a"))];
    let mut ids = Vec::new();
    for change in &changes {
        ids.push(fresh.store.note_change(change).await.expect("noted"));
    }
    assert!(ids.is_sorted(), "{ids:?}");
    fresh.store.end_change(ids[1], "done").await.expect("noted");
    fresh.store.end_change(ids[1], "another outcome").await.expect("the first one stays");
    let all = list(None, None, 10).await;
    assert!(!all.more);
    let told: Vec<&NewChange> = all.items.iter().map(|change| &change.asked).collect();
    assert_eq!(told, changes.iter().rev().collect::<Vec<_>>());
    let outcomes: Vec<Option<&str>> = all.items.iter().map(|change| change.outcome.as_deref()).collect();
    assert_eq!(outcomes, [None, None, Some("done"), None]);
    assert!(all.items[0].at.ends_with('Z'), "{all:?}");
    // Page by page, and for one tenant.
    let first = list(None, None, 3).await;
    assert_eq!((first.items.len(), first.more), (3, true));
    let rest = list(None, Some(first.items[2].change_id), 3).await;
    assert_eq!((rest.items.len(), rest.more, rest.items[0].change_id), (1, false, ids[0]));
    let of: Vec<i64> = list(Some("a"), None, 10).await.items.iter().map(|change| change.change_id).collect();
    assert_eq!(of, [ids[3], ids[0]]);
    assert_eq!(list(Some(tenant().as_str()), None, 10).await.items, []);
}
