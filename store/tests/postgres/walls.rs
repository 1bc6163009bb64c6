//! The roles are walls. A client with the node's password makes no other role run anything. A role without rights
//! blocks no other role.
//!
//! Each test has its own server: the server's log shows the code that was run.

use crate::fold::append_all;
use crate::log::{seeded, tenant, whole_trace};
use crate::raw::{connect, until};
use crate::roles::{APPENDER, GRANTS, MIGRATOR, NODE, READER, ROLES, Shared, digest, everything_a_node_does};
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_store::throwaway::Server;
use decisiongraph_store::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Message of a planted object when a session runs it.
const RAN: &str = "a planted object ran";

/// Plants, in the schema SCHEMA, an overload of every function of NAMES and every operator of SIGNS. The overloads are
/// for the types of our statements: an exact match of the argument types wins over every cast that pg_catalog would
/// need.
const PLANT: &str = r#"
DO $plant$
DECLARE
    types  text[] := ARRAY['text', 'bigint', 'integer', 'oid', 'regclass', 'regrole', 'name', '"char"', 'timestamptz', 'double precision',
                           'numeric', 'uuid', 'bytea', 'boolean', 'text[]', 'bigint[]', 'uuid[]', 'bytea[]'];
    few    text[] := ARRAY['text', 'bigint', 'oid', 'integer'];
    body   text := 'LANGUAGE plpgsql AS $body$ BEGIN RAISE EXCEPTION ''RAN''; END $body$';
    l      text;
    r      text;
    a      text;
    b      text;
    sign   text;
    f      record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOREACH l IN ARRAY types[1:14] LOOP
        FOREACH r IN ARRAY types[1:14] LOOP
            EXECUTE format('CREATE FUNCTION SCHEMA.planted(%s, %s) RETURNS boolean ', l, r) || body;
            FOREACH sign IN ARRAY ARRAY[SIGNS] LOOP
                EXECUTE format('CREATE OPERATOR SCHEMA.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = SCHEMA.planted)', sign, l, r);
            END LOOP;
        END LOOP;
    END LOOP;
    FOR f IN SELECT p.proname AS name, n AS args
               FROM pg_catalog.pg_proc p, pg_catalog.generate_series(1, 5) AS n
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (ARRAY[NAMES])
                AND (n = p.pronargs OR p.provariadic <> 0 AND n >= p.pronargs)
              GROUP BY 1, 2 LOOP
        FOREACH l IN ARRAY types LOOP
            IF f.args = 1 THEN
                EXECUTE format('CREATE FUNCTION SCHEMA.%I(%s) RETURNS text ', f.name, l) || body;
                CONTINUE;
            END IF;
            CONTINUE WHEN f.args > 2 AND NOT l = ANY (few);
            FOREACH r IN ARRAY CASE WHEN f.args = 2 THEN types[1:14] ELSE few END LOOP
                IF f.args = 2 THEN
                    EXECUTE format('CREATE FUNCTION SCHEMA.%I(%s, %s) RETURNS text ', f.name, l, r) || body;
                    CONTINUE;
                END IF;
                FOREACH a IN ARRAY few LOOP
                    IF f.args = 3 THEN
                        EXECUTE format('CREATE FUNCTION SCHEMA.%I(%s, %s, %s) RETURNS text ', f.name, l, r, a) || body;
                        CONTINUE;
                    END IF;
                    FOREACH b IN ARRAY few LOOP
                        EXECUTE format('CREATE FUNCTION SCHEMA.%I(%s, %s, %s, %s%s) RETURNS text ', f.name, l, r, a, b,
                                       CASE WHEN f.args = 5 THEN ', oid' END) || body;
                    END LOOP;
                END LOOP;
            END LOOP;
        END LOOP;
    END LOOP;
END $plant$
"#;
const SIGNS: &str = "'=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '~', '~~', '!~~', '<<'";

/// Returns every name in our statements that could be a function's.
fn called() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![ROLES.to_owned(), GRANTS.to_owned()];
    for folder in ["src/postgres", "src/postgres/sql", "../migrations/postgres"] {
        for file in std::fs::read_dir(root.join(folder)).expect("our sources") {
            let path = file.expect("a file").path();
            if path.is_file() {
                texts.push(std::fs::read_to_string(path).expect("text"));
            }
        }
    }
    let mut names = BTreeSet::new();
    for text in &texts {
        for (at, _) in text.match_indices('(') {
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let name: String = text[..at].chars().rev().take_while(|c| word(*c)).collect();
            names.insert(name.chars().rev().collect());
        }
    }
    names.remove("");
    names
}

fn plant(schema: &str) -> String {
    let names: Vec<String> = called().iter().map(|name| format!("'{name}'")).collect();
    PLANT.replace("SCHEMA", schema).replace("SIGNS", SIGNS).replace("NAMES", &names.join(", ")).replace("RAN", RAN)
}

async fn own_server() -> Server {
    Server::start().await.expect("a server")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_node_plants_is_run_by_anybody() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let thief = connect(&shared.url(NODE)).await;
    let writable = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_temp|^pg_toast_temp' AND has_schema_privilege(oid, 'CREATE')";
    let schemas: Vec<String> =
        thief.query(writable, &[]).await.expect("schemas").iter().map(|row| row.get(0)).collect();
    assert!(!schemas.is_empty(), "a node makes partitions somewhere");
    for schema in &schemas {
        thief.batch_execute(&plant(schema)).await.expect("planted");
    }
    // Every role's programs, also an administrator's, with new sessions and with rebuilds of both kinds.
    everything_a_node_does(&shared.store(NODE).await, 200).await;
    for role in [MIGRATOR, NODE, READER, APPENDER, "postgres"] {
        let store = shared.store(role).await;
        let schema = store.schema_status().await.unwrap_or_else(|error| panic!("{role}: {error}"));
        assert_eq!(schema.database, schema.program, "{role}");
        if role == APPENDER {
            append_all(&store, &tenant(), &whole_trace("of the appender")).await;
            continue;
        }
        let sample = store.sample_high_water().await.unwrap_or_else(|error| panic!("{role}: {error}"));
        assert!(sample.writers.is_empty());
        let view = store.snapshot().await.expect("a snapshot");
        assert_eq!(view.scopes(None).await.expect("scopes").len(), catalogue::ALL_WITH_SEAL.len(), "{role}");
        assert!(view.strays(10).await.expect("an answer").is_empty(), "{role}");
        assert_eq!(
            view.events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(10))
                .await
                .expect("events")
                .items
                .len(),
            10
        );
        assert_eq!(digest(&store).await, [true; catalogue::ALL.len()], "{role}");
    }
    // The setup stops, and names the role that made the object.
    for (role, script) in [("postgres", ROLES), ("postgres", GRANTS), (MIGRATOR, GRANTS)] {
        let refused = connect(&shared.url(role)).await.batch_execute(script).await.expect_err("planted");
        let said = refused.as_db_error().expect("said by the script").message().to_owned();
        assert!(said.contains("was made by decisiongraph_node"), "{role}: {said}");
    }
    for role in [MIGRATOR, "postgres"] {
        let refused = shared.store(role).await.migrate().await.expect_err("planted");
        assert_eq!(refused.category, Category::Unauthorized, "{refused}");
        assert!(refused.message.contains("of decisiongraph_node") && refused.next.is_some(), "{refused}");
    }
    let log = server.log();
    assert!(!log.contains(RAN), "{log}");
}

/// Holds even for objects planted in the program's own schema, where now only the migrator creates objects.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_planted_is_run_by_the_files_that_an_administrator_runs() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let admin = connect(shared.database.url()).await;
    admin.batch_execute(&plant("public")).await.expect("planted");
    for (role, script) in [("postgres", ROLES), ("postgres", GRANTS), (MIGRATOR, GRANTS)] {
        connect(&shared.url(role))
            .await
            .batch_execute(script)
            .await
            .unwrap_or_else(|error| panic!("{role}: {error:?}"));
    }
    let log = server.log();
    assert!(!log.contains(RAN), "{log}");
}

/// A database of an older version, in which the node could create objects in the program's schema.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_planted_before_is_found_before_anything_is_run() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let admin = connect(shared.database.url()).await;
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO decisiongraph_node").await.expect("as it was");
    connect(&shared.url(NODE)).await.batch_execute(&plant("public")).await.expect("planted");
    for (role, script) in [("postgres", ROLES), ("postgres", GRANTS), (MIGRATOR, GRANTS)] {
        let refused = connect(&shared.url(role)).await.batch_execute(script).await.expect_err("planted");
        let said = refused.as_db_error().expect("said by the script").message().to_owned();
        assert!(said.contains("was made by decisiongraph_node"), "{role}: {said}");
    }
    let log = server.log();
    assert!(!log.contains(RAN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_migrator_makes_anything_where_names_are_looked_up() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    // As before there were roles, or by default on PostgreSQL 14.
    let admin = connect(shared.database.url()).await;
    admin.batch_execute(&format!("GRANT CREATE ON SCHEMA public TO PUBLIC, {NODE}")).await.expect("granted");
    admin.batch_execute(ROLES).await.expect("roles");
    for role in [NODE, APPENDER, READER] {
        shared
            .refuses(
                role,
                &[
                    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                    "CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regrole, FUNCTION = oideq)",
                    "CREATE TABLE public.t ()",
                    "CREATE VIEW public.v AS SELECT 1",
                    "ALTER TABLE dg_cg_nodes RENAME TO other",
                ],
            )
            .await;
    }
    shared.refuses(READER, &["CREATE TABLE dg_partitions.t ()"]).await;
    shared.refuses(APPENDER, &["CREATE TABLE dg_partitions.t ()", "SELECT FROM dg_turn"]).await;
    // A session looks names up in the schema of the program only.
    for role in [MIGRATOR, NODE, READER, APPENDER] {
        let session = connect(&shared.url(role)).await;
        let path = session.query_one("SELECT current_schemas(false)::text[]", &[]).await.expect("a path");
        assert_eq!(path.get::<_, Vec<String>>(0), ["public"], "{role}");
        let made = "SELECT has_schema_privilege($1, 'public', 'CREATE')";
        let makes: bool = admin.query_one(made, &[&role]).await.expect("an answer").get(0);
        assert_eq!(makes, role == MIGRATOR, "{role}");
    }
}

/// A view in place of a partition would run with the rights of its reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_in_place_of_a_partition_is_not_read() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let admin = connect(shared.database.url()).await;
    let knows = "SELECT current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL";
    if !admin.query_one(knows, &[]).await.expect("an answer").get::<_, bool>(0) {
        eprintln!("SKIPPED: this server is from before August 2024 and does not know restrict_nonsystem_relation_kind");
        return;
    }
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &seeded(3, 50)).await;
    let scope = Scope::new(&tenant(), catalogue::TRACE_SUMMARY);
    let lease = node.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
    let own = format!("dg_partitions.dg_trace_summary_g{}", lease.generation);
    let thief = connect(&shared.url(NODE)).await;
    let swap = format!(
        "CREATE FUNCTION dg_partitions.run() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{RAN}'; END $$; \
         ALTER TABLE {own} RENAME TO elsewhere; \
         CREATE VIEW {own} AS SELECT * FROM dg_partitions.elsewhere WHERE dg_partitions.run(); GRANT SELECT ON {own} TO PUBLIC"
    );
    thief.batch_execute(&swap).await.expect("a view");
    for role in [MIGRATOR, READER, "postgres"] {
        let view = shared.store(role).await.view().await.expect("a view");
        let read = digest_of_rows(&*view, &tenant(), catalogue::TRACE_SUMMARY, lease.generation).await;
        let refused = read.expect_err("a view");
        assert!(refused.message.contains("non-system view"), "{role}: {refused}");
    }
    assert!(!server.log().contains(RAN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_every_lock_it_can_holds_nobody_up() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let reader = connect(&shared.url(READER)).await;
    // Any role may take advisory locks of any number, also the numbers that earlier programs used. Then locks of every
    // table, as far as the role may.
    let locks = "SELECT pg_advisory_lock(k) FROM unnest(ARRAY[1145503745, 1145503746]) k; \
                 SELECT pg_advisory_lock_shared(g), pg_advisory_lock_shared(-g) FROM generate_series(1099511627776, 1099511627836) g; \
                 SELECT pg_advisory_lock_shared(g), pg_advisory_lock_shared(-g) FROM generate_series(1, 60) g; BEGIN; \
                 LOCK TABLE refinery_schema_history, dg_turn, dg_trace_turn, dg_event_log, dg_scope, dg_generation, dg_cg_nodes IN ACCESS SHARE MODE";
    reader.batch_execute(locks).await.expect("taken");
    let migrator = shared.store(MIGRATOR).await;
    assert_eq!(migrator.migrate().await, Ok(Vec::new()));
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &seeded(3, 200)).await;
    let start = crate::log::started("drawn").payload().to_owned();
    append_all(&node, &tenant(), &[crate::log::next("drawn", "drawn", "TraceStarted", &start)]).await;
    for projection in catalogue::ALL {
        let scope = Scope::new(&tenant(), projection);
        let lease = node.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
        crate::fold::build(&node, &lease, crate::fold::origin(projection), projection, 100, 100).await;
        node.finish_build(&lease).await.expect("is ready");
        assert!(matches!(node.flip(&lease).await, Ok(Flip::Flipped { .. })));
    }
    reader.batch_execute("ROLLBACK").await.expect("its transaction is over, its other locks are not");
    until("what is retired is gone", || async { node.sweep(u64::MAX).await.expect("a sweep").left == 0 }).await;
    for lock in [
        "BEGIN; LOCK TABLE refinery_schema_history IN SHARE UPDATE EXCLUSIVE MODE",
        "INSERT INTO dg_turn (what) VALUES ('sweep')",
        "SELECT FROM dg_turn FOR UPDATE",
        "SELECT FROM dg_trace_turn FOR UPDATE",
    ] {
        shared.refuses(READER, &[lock]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_says_for_whom() {
    let server = own_server().await;
    let shared = Shared::on(&server).await;
    let migrator: Arc<dyn Store> = shared.store(MIGRATOR).await;
    assert_eq!(migrator.migration_waits_for().await, Ok(None));
    let other = connect(&shared.url(MIGRATOR)).await;
    other
        .batch_execute("BEGIN; LOCK TABLE refinery_schema_history IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .expect("held");
    let pid = crate::raw::pid(&other).await;
    let (again, waiting) = (Arc::clone(&migrator), Arc::clone(&migrator));
    let migrating = tokio::spawn(async move { again.migrate().await });
    let told = waiting.migration_waits_for().await.expect("an answer").expect("somebody");
    for part in [format!("pid {pid} of \"decisiongraph_migrator\""), format!("pg_terminate_backend({pid})")] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    other.batch_execute("ROLLBACK").await.expect("gone");
    assert_eq!(migrating.await.expect("no panic"), Ok(Vec::new()));
}
