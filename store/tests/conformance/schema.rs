//! Migrations.

use crate::backend::Blank;
use decisiongraph_projections::Category;
use decisiongraph_store::SchemaFit;

pub async fn migrates_twice(blank: Blank) {
    let fresh = blank.empty().await;
    let before = fresh.store.schema_status().await.expect("a status");
    assert_eq!(before.database, 0);
    assert!(before.program > 0);
    let applied = fresh.store.migrate().await.expect("a schema");
    assert!(!applied.is_empty());
    assert_eq!(fresh.store.migrate().await.expect("again"), Vec::<String>::new());
    let after = fresh.store.schema_status().await.expect("a status");
    assert_eq!(after.database, after.program);
}

pub async fn two_processes_migrate_at_once(blank: Blank) {
    let fresh = blank.empty().await;
    let (a, b) = (fresh.again().await, fresh.again().await);
    let (a, b) = (a.store.clone(), b.store.clone());
    let (a, b) =
        tokio::join!(tokio::spawn(async move { a.migrate().await }), tokio::spawn(async move { b.migrate().await }));
    let (a, b) = (a.expect("no panic").expect("one"), b.expect("no panic").expect("the other"));
    assert!(a.is_empty() != b.is_empty(), "one of them did it all: {a:?}, {b:?}");
    let status = fresh.store.schema_status().await.expect("a status");
    assert_eq!(status.database, status.program);
}

pub async fn a_newer_schema_is_refused(blank: Blank) {
    let fresh = blank.migrated().await;
    fresh
        .raw("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (9999, 'later', '2030-01-01T00:00:00Z', '1')")
        .await;
    let fresh = fresh.again().await;
    let refused = fresh.store.migrate().await.expect_err("too new");
    assert_eq!(refused.category, Category::VersionMismatch, "{refused}");
    assert_eq!(fresh.store.schema_status().await.expect("a status").database, 9999);
}

pub async fn a_newer_schema_that_serves_older_programs_is_worked_on(blank: Blank) {
    let fresh = blank.migrated().await;
    assert_eq!(fresh.store.schema_status().await.expect("a status").fit(), SchemaFit::Same);
    fresh
        .raw("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (9999, 'later', '2030-01-01T00:00:00Z', '1')")
        .await;
    let status = fresh.store.schema_status().await.expect("a status");
    assert_eq!(status.fit(), SchemaFit::ServesOlder, "{status:?}");
    crate::fold::append_all(&fresh.store, &crate::log::tenant(), &[crate::log::started("t")]).await;
    fresh.raw("UPDATE dg_schema SET serves_from = 9999").await;
    let status = fresh.store.schema_status().await.expect("a status");
    assert_eq!(status.fit(), SchemaFit::TooNew, "{status:?}");
}

pub async fn without_a_schema_it_says_what_to_run(blank: Blank) {
    let fresh = blank.empty().await;
    let refused = match fresh.store.view().await {
        Ok(view) => view.tenants().await.expect_err("no schema"),
        Err(refused) => refused,
    };
    assert_eq!(refused.category, Category::Unavailable, "{refused}");
    assert!(refused.message.contains("decisiongraph migrate"), "{refused}");
}
