//! Migrations.

use crate::appends::hostile_ids;
use crate::backend::Blank;
use crate::fold::{acquire, all_rows, append_all, catch_up, owner};
use crate::log::{offered, seeded, tenant, whole_trace};
use decisiongraph_projections::{Admitted, Category, Row, catalogue};
use decisiongraph_store::{Direction, Generation, PageLimit, ReadView, SchemaFit, Scope, digest_of_rows};
use std::collections::BTreeSet;

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

pub async fn upstream_goes_on_where_a_fork_was_first(blank: Blank) {
    let fresh = blank.migrated().await;
    for statement in blank.to_the_schema_before() {
        fresh.raw(statement).await;
    }
    // The migration of a fork, which this program does not have.
    fresh
        .raw("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (10001, 'of_a_fork', '2030-01-01T00:00:00Z', '1')")
        .await;
    let fresh = fresh.again().await;
    let before = fresh.store.schema_status().await.expect("a status");
    assert_eq!(before.fit(), SchemaFit::Behind, "{before:?}");
    let applied = fresh.store.migrate().await.expect("a schema");
    assert_eq!(applied.len() as i64, before.program - before.database, "{applied:?}");
    let after = fresh.store.schema_status().await.expect("a status");
    assert_eq!((after.fit(), after.database), (SchemaFit::Same, before.program), "{after:?}");
    assert_eq!(fresh.store.migrate().await.expect("again"), Vec::<String>::new());
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
}

pub async fn rows_of_the_schema_before_are_brought_up(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &seeded(3, 600)).await;
    // Database and program must agree on a row's place for all ids: hostile ids, UUIDs, and texts that only look like
    // UUIDs.
    let uuids = [
        "0190a5c8-7e5b-7cc3-98c4-dc0c0c07398f",
        "0190a5c8-7e5b-7cc3-98c4-dc0c0c0739ü",
        "0190a5c8-7e5b-7cc3-98c4-dc0c0c07398ü",
        "0190a5c8x7e5b-7cc3-98c4-dc0c0c07398f",
    ];
    for (number, id) in hostile_ids().into_iter().chain(uuids.map(str::to_owned)).enumerate() {
        let event = |(n, like): (usize, &Admitted)| {
            let event_id = if n == 2 { id.clone() } else { format!("{id}/{n}") };
            let event_type = &like.envelope().event_type;
            offered(&event_id, &format!("{number}/{n}"), &id, n as i64, event_type, like.payload())
        };
        let events: Vec<Admitted> = whole_trace("any").iter().enumerate().map(event).collect();
        append_all(&fresh.store, &tenant(), &events).await;
    }
    let (me, mut scopes, mut rows) = (owner("me"), Vec::new(), Vec::new());
    let view = fresh.store.view().await.expect("a view");
    for projection in catalogue::ALL {
        let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
        let position = catch_up(&fresh.store, &lease, position, projection, &[100]).await;
        rows.push(all_rows(&*view, &tenant(), projection, lease.generation).await);
        scopes.push((projection, lease, position));
    }
    let graph = scopes[0].1.generation;
    let before = seen(&*view, graph).await;
    assert!(before.len() > 500, "{}", before.len());
    drop(view);
    let mut fresh = fresh;
    for schema in [blank.to_the_schema_before(), blank.to_other_places()] {
        for statement in schema {
            fresh.raw(statement).await;
        }
        // Another process: statements that the first has prepared belong to the schema that it knew.
        fresh = fresh.again().await;
        assert_eq!(fresh.store.schema_status().await.expect("a status").fit(), SchemaFit::Behind);
        assert!(!fresh.store.migrate().await.expect("a schema").is_empty());
        let view = fresh.store.view().await.expect("a view");
        for ((projection, lease, _), rows) in scopes.iter().zip(&rows) {
            assert_eq!(
                &all_rows(&*view, &tenant(), *projection, lease.generation).await,
                rows,
                "{}",
                projection.name()
            );
        }
        assert_eq!(seen(&*view, graph).await, before);
    }
    let view = fresh.store.view().await.expect("a view");
    // Rows of the old and of the new schema, side by side.
    append_all(&fresh.store, &tenant(), &whole_trace("a later one")).await;
    append_all(&fresh.store, &tenant(), &seeded(3, 700)[600..]).await;
    for (projection, was, position) in scopes {
        let (lease, at) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
        assert_eq!((lease.generation, &at), (was.generation, &position));
        let after = catch_up(&fresh.store, &lease, position, projection, &[30]).await;
        let digest = digest_of_rows(&*view, &tenant(), projection, lease.generation).await.expect("a digest");
        assert_eq!(digest, after.digest, "{}", projection.name());
    }
    let after = seen(&*view, graph).await;
    assert!(after.len() > before.len() && after.is_superset(&before));
}

/// Returns the result of the queries: each node with each of its edges.
pub(crate) async fn seen(view: &dyn ReadView, generation: Generation) -> BTreeSet<(String, String)> {
    let [nodes, edges] = &all_rows(view, &tenant(), catalogue::CONTEXT_GRAPH, generation).await[..] else {
        panic!("two tables");
    };
    let ends = |row: &Row| [row.0[2].clone(), row.0[3].clone()].map(|end| end.as_str().expect("a text").to_owned());
    let expected: BTreeSet<(String, String)> =
        edges.iter().flat_map(|edge| ends(&edge.row).map(|node| (node, edge.row.key().to_owned()))).collect();
    let mut seen = BTreeSet::new();
    for node in nodes {
        let id = node.row.key();
        let found = view
            .edges_of(&tenant(), generation, id, Direction::Both, None, PageLimit::rows(100_000))
            .await
            .expect("edges")
            .items;
        let touching = BTreeSet::from([id.to_owned()]);
        let touching = view
            .edges_touching(&tenant(), generation, &touching, None, None, PageLimit::rows(100_000))
            .await
            .expect("edges")
            .items;
        let ids = |rows: &[Row]| rows.iter().map(|row| row.key().to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(ids(&found), ids(&touching), "{id}");
        seen.extend(ids(&found).into_iter().map(|edge| (id.to_owned(), edge)));
    }
    assert_eq!(seen, expected);
    seen
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
