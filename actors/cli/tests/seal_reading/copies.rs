//! Two copies of a log.

use crate::support::{Db, append, log, read_line, tenant};
use crate::{Log, engine, owner};
use decisiongraph_engine::seal::bisect::{StoredCopy, bisect, by_log};
use std::path::PathBuf;

/// Copies an embedded database; no process uses it.
async fn copy(log: &Log) -> Log {
    let Db::Sqlite(folder) = &log.db else { panic!("an embedded database") };
    log.store.close().await.expect("closes");
    let copy = tempfile::tempdir().expect("a folder");
    let name = |folder: &std::path::Path| -> PathBuf { folder.join("log.db") };
    std::fs::copy(name(folder.path()), name(copy.path())).expect("copies");
    let db = Db::Sqlite(copy);
    let (store, journal) = (db.store().await, tempfile::tempdir().expect("a folder"));
    for entry in std::fs::read_dir(log.journal.path()).expect("reads") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), journal.path().join(entry.file_name())).expect("copies");
    }
    let engine = engine(&store, owner("copy"), journal.path());
    Log { db, store, engine, journal }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_that_went_apart_differ_from_there_on() {
    let events = log(120, 0);
    let one = Log::of(Db::sqlite().await).await.sealed(&[&events[..700]]).await;
    let other = copy(&one).await;
    let one = copy(&one).await;
    let view = (one.store.view().await.expect("a view"), other.store.view().await.expect("a view"));
    let open = async || {
        let left = StoredCopy::open(&*view.0, &tenant()).await.expect("a tree");
        let right = StoredCopy::open(&*view.1, &tenant()).await.expect("a tree");
        bisect(&left, &right).await.expect("compared")
    };
    let same = open().await;
    assert_eq!((same.common, same.pairs, same.first), (700, 0, None));

    // Many more events on one of them, and another event on the other.
    append(&one.store, &events[700..]).await;
    one.seal().await;
    let line = r#"{"event_id":"other","trace_id":"other","trace_seq":0,"event_type":"TraceStarted","occurred_at":"2026-01-01T00:00:00Z","source":{"producer_id":"p","system":"s"},"actor":{"actor_type":"agent","actor_id":"bot"},"idempotency_key":"other","payload":{"workflow":"w","title":"t","primary_entity":{"entity_type":"account","entity_id":"e"}}}"#;
    append(&other.store, &[read_line(line)]).await;
    other.seal().await;
    let found = open().await;
    assert_eq!(found.common, 701);
    let first = found.first.expect("a difference");
    assert_eq!((first.index, found.pairs <= 4), (700, true), "{} pairs", found.pairs);
    assert!(!first.is_of_salts());
    let ids: Vec<_> = first.seen.iter().map(|seen| seen.event.as_ref().map(|event| event.event_id.clone())).collect();
    assert_eq!(ids[1].as_deref(), Some("other"));

    let by_log = by_log(&*view.0, &*view.1, &tenant()).await.expect("compared");
    let first = by_log.first.expect("a difference");
    assert_eq!((by_log.same, first.index), (700, 700));
    assert!(first.columns.contains(&"event_id"), "{:?}", first.columns);
}

/// Logs that were sealed apart have other salts, though their events are the same.
#[tokio::test(flavor = "multi_thread")]
async fn logs_that_were_sealed_apart_are_compared_by_their_events() {
    let events = log(40, 0);
    let one = Log::of(Db::sqlite().await).await.sealed(&[&events]).await;
    let other = Log::of(Db::sqlite().await).await.sealed(&[&events]).await;
    let view = (one.store.view().await.expect("a view"), other.store.view().await.expect("a view"));
    let left = StoredCopy::open(&*view.0, &tenant()).await.expect("a tree");
    let right = StoredCopy::open(&*view.1, &tenant()).await.expect("a tree");
    let first = bisect(&left, &right).await.expect("compared").first.expect("a difference");
    assert_eq!((first.index, first.is_of_salts()), (0, true));
    let same = by_log(&*view.0, &*view.1, &tenant()).await.expect("compared");
    assert_eq!((same.same, same.first), (280, None));
    other.db.tamper("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 200").await;
    let first = by_log(&*view.0, &*view.1, &tenant()).await.expect("compared").first.expect("a difference");
    assert_eq!((first.index, first.columns), (199, vec!["actor_id"]));
    other.db.tamper("DELETE FROM dg_event_log WHERE log_seq > 100").await;
    let first = by_log(&*view.0, &*view.1, &tenant()).await.expect("compared").first.expect("a difference");
    assert_eq!((first.index, first.events[1].is_none()), (100, true));
}
