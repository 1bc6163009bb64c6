//! A session makes the plan that it keeps at its first question, often over an empty log. The plan must be the right
//! one already then, and after the server has taken statistics of its own.

use crate::fold::{acquire, append_all, catch_up, owner};
use crate::log::{named, seeded, tenant};
use crate::raw::Fresh;
use decisiongraph_projections::catalogue;
use decisiongraph_store::postgres::open;
use decisiongraph_store::throwaway::Database;
use decisiongraph_store::{Scope, Store, StoreOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const FAILURE: &str = include_str!("../../src/postgres/sql/failure.sql");
const LOG: &str = include_str!("../../src/postgres/sql/log.sql");
const SCOPE: &str = include_str!("../../src/postgres/sql/scope.sql");
const ROW: &str = include_str!("../../src/postgres/sql/row.sql");
const SEAL: &str = include_str!("../../src/postgres/sql/seal.sql");

/// Statement, types of its parameters, arguments for them, the required index, and the condition that must bound the
/// scan.
const STATEMENTS: &[(&str, &str, &str, &str, &str)] = &[
    (
        sql!(SCOPE, "create"),
        "text[], text[], integer[]",
        "'{t}'::text[], '{p}'::text[], '{1}'::integer[]",
        "dg_scope_pkey",
        "(projection = k.projection)",
    ),
    (
        sql!(SCOPE, "acquire_look"),
        "text[], text[]",
        "'{t}'::text[], '{p}'::text[]",
        "dg_scope_pkey",
        "(projection = k.projection)",
    ),
    (
        sql!(LOG, "heads"),
        "text, uuid[], text[], bigint",
        "'t', '{}'::uuid[], '{}'::text[], 9::bigint",
        "dg_event_log_trace",
        "(trace_key = k.trace_key) AND (log_seq <= $4)",
    ),
    (
        sql!(LOG, "history"),
        "text, uuid[], text[], bigint, text[]",
        "'t', '{}'::uuid[], '{}'::text[], 9::bigint, '{}'::text[]",
        "dg_event_log_trace",
        "(trace_key = k.trace_key) AND (log_seq <= $4)",
    ),
    (
        sql!(LOG, "append_trace"),
        "text[], uuid[], text[]",
        "'{t}'::text[], '{}'::uuid[], '{}'::text[]",
        "dg_event_log_trace_seq_unique",
        "trace_key",
    ),
    (
        sql!(LOG, "append_event_id"),
        "text[], uuid[], text[]",
        "'{t}'::text[], '{}'::uuid[], '{}'::text[]",
        "dg_event_log_event_unique",
        "event_key",
    ),
    (
        sql!(LOG, "append_idempotency"),
        "text[], uuid[], text[], text[]",
        "'{t}'::text[], '{}'::uuid[], '{}'::text[], '{}'::text[]",
        "dg_event_log_idempotency_unique",
        "idempotency_uid",
    ),
    (
        sql!(LOG, "page"),
        "text, bigint, bigint, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 2000::bigint, 1000000::bigint, 1000000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "page_small"),
        "text, bigint, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 2000::bigint, 8000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(SEAL, "logged"),
        "text, bigint, bigint, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 2000::bigint, 1000000::bigint, 1000000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(SEAL, "logged_small"),
        "text, bigint, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 2000::bigint, 8000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "events"),
        "text, bigint, bigint, text[], text, text, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, '{x}'::text[], NULL, NULL, 2000::bigint, 1000000::bigint, 1000000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "position_of"),
        "text, uuid, text",
        "'t', gen_random_uuid(), 't'",
        "dg_event_log_event_unique",
        "event_key",
    ),
    (
        sql!(LOG, "nth_position"),
        "text, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 20::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "nth_position_of_trace"),
        "text, uuid, bigint, bigint, bigint",
        "'t', gen_random_uuid(), 0::bigint, 9::bigint, 20::bigint",
        "dg_event_log_trace",
        "(ROW(tenant_id, trace_key, log_seq) > ROW($1, $2, $3)) AND (ROW(tenant_id, trace_key, log_seq) <= ROW($1, $2, $4))",
    ),
    (
        sql!(LOG, "starts"),
        "text, bigint, bigint",
        "'t', 9::bigint, 50::bigint",
        "dg_event_log_start",
        "(ROW(tenant_id, log_seq) > ROW($1, 0)) AND (ROW(tenant_id, log_seq) < ROW($1, $2))",
    ),
    (
        sql!(LOG, "count_events"),
        "text, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, 2000::bigint",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "last_log_seq"),
        "text, bigint",
        "'t', 9::bigint",
        "dg_event_log_pkey",
        "(ROW(tenant_id, log_seq) > ROW($1, 0)) AND (ROW(tenant_id, log_seq) <= ROW($1, $2))",
    ),
    (
        sql!(LOG, "event_size"),
        "text, bigint, bigint, text[], text, text",
        "'t', 0::bigint, 9::bigint, NULL, NULL, NULL",
        "dg_event_log_pkey",
        PAIRS,
    ),
    (
        sql!(LOG, "trace_event_size"),
        "text, bigint, bigint, text[], text, text, uuid, text",
        "'t', 0::bigint, 9::bigint, NULL, NULL, NULL, gen_random_uuid(), 't'",
        "dg_event_log_trace",
        "(ROW(tenant_id, trace_key, log_seq) > ROW($1, $7, $2)) AND (ROW(tenant_id, trace_key, log_seq) <= ROW($1, $7, $3))",
    ),
    (
        sql!(LOG, "trace_events"),
        "text, bigint, bigint, text[], text, text, uuid, text, bigint, bigint, bigint",
        "'t', 0::bigint, 9::bigint, '{x}'::text[], NULL, NULL, gen_random_uuid(), 't', 9::bigint, 1000000::bigint, 1000000::bigint",
        "dg_event_log_trace",
        "(ROW(tenant_id, trace_key, log_seq) > ROW($1, $7, $2)) AND (ROW(tenant_id, trace_key, log_seq) <= ROW($1, $7, $3))",
    ),
    (
        sql!(LOG, "tenants_with_events"),
        "bigint, bigint, bigint",
        "0::bigint, 9::bigint, 100::bigint",
        "dg_event_log_position",
        "(log_seq > $1) AND (log_seq <= $2)",
    ),
];

/// Bounds of each scan of `tenants_behind`. (A plan that was not executed lacks the step from one tenant to the
/// next.)
const TENANTS_BEHIND: [&str; 3] = [
    "(tenant_id > $2)",
    "(ROW(tenant_id, log_seq) > ROW(t.tenant_id, 0)) AND (ROW(tenant_id, log_seq) <= ROW(t.tenant_id, $1))",
    "(tenant_id = t.tenant_id)",
];

/// Both ends of the scan, as pairs of tenant and position.
const PAIRS: &str = "(ROW(tenant_id, log_seq) > ROW($1, $2)) AND (ROW(tenant_id, log_seq) <= ROW($1, $3))";

/// Look-ups of edges by their ends: statement, types of its parameters, arguments for them.
const EDGES: [(&str, &str, &str); 2] = [
    (
        sql!(ROW, "edges_of"),
        "text, bigint, uuid, text, boolean, boolean, bigint, text, bigint, bytea",
        "'t', 1::bigint, gen_random_uuid(), 'n', true, true, 0::bigint, ''::text, 100::bigint, ''::bytea",
    ),
    (
        sql!(ROW, "edges_touching"),
        "text, bigint, uuid[], text[], text[], text, bigint, bytea[]",
        "'t', 1::bigint, '{}'::uuid[], '{}'::text[], NULL, NULL, 100::bigint, '{}'::bytea[]",
    ),
];

/// Look-ups of the seal: statement, types of its parameters, arguments for them, and the index of each scan.
const SEALS: [(&str, &str, &str, &[&str]); 7] = [
    (sql!(SEAL, "trees"), "text", "'t'", &["dg_seal_pkey", "dg_seal_note_once"]),
    (sql!(SEAL, "heads"), "text, bigint", "'t', 9::bigint", &["dg_seal_pkey", "dg_seal_pkey", "dg_seal_note_once"]),
    (
        sql!(SEAL, "chunks"),
        "text, bigint, bigint, bigint",
        "'t', 1::bigint, 9::bigint, 9::bigint",
        &["dg_seal_chunk_pkey", "dg_seal_chunk_pkey"],
    ),
    (sql!(SEAL, "chunk_at"), "text, bigint, bigint", "'t', 1::bigint, 9::bigint", &["dg_seal_chunk_position"]),
    (
        sql!(SEAL, "nodes"),
        "text, bigint, bigint, bigint, bigint",
        "'t', 1::bigint, 1::bigint, 0::bigint, 9::bigint",
        &["dg_seal_node_pkey"],
    ),
    (
        sql!(SEAL, "notes"),
        "text, bigint, text, bigint, bigint",
        "'t', 1::bigint, NULL, 9::bigint, 9::bigint",
        &["dg_seal_note_pkey"],
    ),
    (
        sql!(SEAL, "grow"),
        "text[], bigint[], text[], bigint[], bytea[], bigint[], bigint[], bytea[], bytea[]",
        "'{}'::text[], '{}'::bigint[], '{}'::text[], '{}'::bigint[], '{}'::bytea[], '{}'::bigint[], '{}'::bigint[], '{}'::bytea[], \
         '{}'::bytea[]",
        &["dg_seal_pkey", "dg_seal_pkey"],
    ),
];

/// Settings of every session of the store.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
                        SET enable_mergejoin = off; SET enable_incremental_sort = off; \
                        SET enable_sort = off; SET enable_bitmapscan = off; SET jit = off";

async fn check(fresh: &Fresh, when: &str) {
    let client = fresh.client().await;
    client.batch_execute(SETTINGS).await.expect("set");
    for (number, (sql, types, arguments, index, bounds)) in STATEMENTS.iter().enumerate() {
        client.batch_execute(&format!("PREPARE s{number} ({types}) AS {sql}")).await.expect(index);
        let plan = client.query(&format!("EXPLAIN EXECUTE s{number} ({arguments})"), &[]).await.expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        let read = |line: &str| line.contains("dg_event_log") || line.contains(" on dg_scope ");
        let used = |line: &&str| read(line) && line.contains("Scan");
        let scans: Vec<&str> = plan.lines().filter(used).collect();
        assert!(
            scans.len() == 1 && scans[0].contains(&format!("using {index} ")),
            "{when}, {number}: not {index}:\n{plan}"
        );
        let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap_or_default();
        assert!(condition.contains(bounds), "{when}: {index} is not bounded by {bounds}:\n{plan}");
    }
    // An append proves what it assumes once, before its first row: the rows come one by one behind that filter.
    client.batch_execute(&format!("PREPARE append_new AS {}", sql!(LOG, "append_new"))).await.expect("prepared");
    let lists = ["'{}'"; 25].join(", ");
    let plan = client.query(&format!("EXPLAIN EXECUTE append_new ({lists})"), &[]).await.expect("a plan");
    let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
    for key in ["trace_seq", "event", "idempotency"] {
        let used = format!("using dg_event_log_{key}_unique ");
        assert!(plan.contains(&used), "{when}: not {used}:\n{plan}");
    }
    assert!(
        plan.contains("One-Time Filter") && plan.matches("Index Cond").count() == 3 && !plan.contains("Seq Scan"),
        "{when}: not proved once:\n{plan}"
    );
    assert!(!plan.contains("Function Scan") && !plan.contains("Sort"), "{when}: a copy of the rows:\n{plan}");
    let sql = sql!(FAILURE, "skips");
    client.batch_execute(&format!("PREPARE skips (text, text) AS {sql}")).await.expect("prepared");
    let plan = client.query("EXPLAIN EXECUTE skips ('t', 'p')", &[]).await.expect("a plan");
    let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
    assert!(plan.contains("using dg_skip_active") && !plan.contains("Sort"), "{when}: skips:\n{plan}");
    let sql = sql!(LOG, "tenants_behind");
    client.batch_execute(&format!("PREPARE behind (bigint, text, text[], bigint) AS {sql}")).await.expect("prepared");
    let explain = "EXPLAIN EXECUTE behind (9::bigint, ''::text, '{context_graph}'::text[], 100::bigint)";
    let plan = client.query(explain, &[]).await.expect("a plan");
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let bounds: Vec<&str> = plan.iter().filter_map(|line| line.trim().strip_prefix("Index Cond: ")).collect();
    let plan = plan.join("\n");
    assert_eq!(bounds.len(), TENANTS_BEHIND.len(), "{when}: a scan without a bound:\n{plan}");
    for expected in TENANTS_BEHIND {
        assert!(bounds.iter().any(|bound| bound.contains(expected)), "{when}: nothing bounded by {expected}:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{when}: not one tenant at a time:\n{plan}");
    let sql = sql!(LOG, "trace_ends");
    let ends = format!("PREPARE ends (text, uuid[], text[], bigint, text[]) AS {sql}");
    client.batch_execute(&ends).await.expect("prepared");
    let explain = "EXPLAIN EXECUTE ends ('t', '{}'::uuid[], '{}'::text[], 9::bigint, '{x}'::text[])";
    let plan = client.query(explain, &[]).await.expect("a plan");
    let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
    for (index, scans, bound) in [
        ("dg_event_log_trace_seq_unique", 1, "(ROW(tenant_id, trace_key, trace_seq) >= ROW($1, k.trace_key, 0))"),
        ("dg_event_log_trace", 2, "(trace_key = k.trace_key) AND (log_seq <= $4)"),
    ] {
        let found = (plan.matches(&format!("using {index} ")).count(), plan.matches(bound).count());
        assert_eq!(found, (scans, scans), "{when}: not by {index}:\n{plan}");
    }
    let plan = client.query(&format!("EXPLAIN {}", sql!(LOG, "last_log_seqs")), &[]).await.expect("a plan");
    let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
    assert!(
        plan.matches("Scan Backward using dg_event_log_pkey").count() == 2
            && plan.contains("Index Cond: (tenant_id < t.tenant_id)")
            && !plan.contains("Seq Scan"),
        "{when}: not one step a tenant:\n{plan}"
    );
    for (number, (sql, types, arguments, indexes)) in SEALS.iter().enumerate() {
        client.batch_execute(&format!("PREPARE seal{number} ({types}) AS {sql}")).await.expect("prepared");
        let plan = client.query(&format!("EXPLAIN EXECUTE seal{number} ({arguments})"), &[]).await.expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let index = |line: &String| Some(line.split_once(" using ")?.1.split(' ').next()?.to_owned());
        let mut used: Vec<String> = plan.iter().filter_map(index).collect();
        used.sort_unstable();
        let mut expected: Vec<&str> = indexes.to_vec();
        expected.sort_unstable();
        let plan = plan.join("\n");
        assert_eq!(used, expected, "{when}, seal {number}:\n{plan}");
        let bounded = plan.matches("Index Cond").count() == used.len();
        assert!(bounded && !plan.contains("Seq Scan") && !plan.contains("Sort"), "{when}, seal {number}:\n{plan}");
    }
    for (number, (sql, types, arguments)) in EDGES.iter().enumerate() {
        let sql =
            sql.replace("dg_cg_edges_leaf", "dg_cg_edges_shared").replace("dg_cg_nodes_leaf", "dg_cg_nodes_shared");
        client.batch_execute(&format!("PREPARE edges{number} ({types}) AS {sql}")).await.expect("prepared");
        let plan = client.query(&format!("EXPLAIN EXECUTE edges{number} ({arguments})"), &[]).await.expect("a plan");
        let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
        for end in ["from", "to"] {
            let bound = |line: &str| {
                line.contains("Index Cond")
                    && line.contains(&format!("{end}_node_id_since ="))
                    && line.contains(&format!("{end}_node_id_key"))
            };
            assert!(plan.lines().any(bound), "{when}, {number}: not by position and hash of {end}:\n{plan}");
        }
        assert!(!plan.contains("Seq Scan"), "{when}, {number}:\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_look_up_goes_by_its_index() {
    let fresh = Fresh::new().await;
    check(&fresh, "empty").await;
    // One tenant with a long log, and many with a short one.
    append_all(&fresh.store, &tenant(), &seeded(5, 2_000)).await;
    for small in 0..40 {
        append_all(&fresh.store, &named(&format!("small {small}")), &seeded(small, 12)).await;
    }
    check(&fresh, "grown").await;
    fresh.client().await.batch_execute("ANALYZE").await.expect("statistics");
    check(&fresh, "analysed").await;
}

/// Ends the sessions of a store: each reports its counters when it ends. Returns a session past the store.
async fn counted(database: &Database, store: Arc<dyn Store>) -> Client {
    drop(store);
    let client = crate::raw::connect(database.url()).await;
    crate::raw::until("the counters are in", || async {
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'decisiongraph%' AND datname = current_database()";
        client.query_one(gone, &[]).await.expect("a count").get::<_, i64>(0) == 0
    })
    .await;
    client
}

/// Reads a counter until it stays the same, and is above this value. Until version 14, a server's counters arrive some
/// time after the session that they are of.
async fn settled(read: impl AsyncFn() -> i64, above: i64) -> i64 {
    let end = Instant::now() + Duration::from_secs(60);
    let mut last = read().await;
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let now = read().await;
        if (now == last && now > above) || Instant::now() > end {
            return now;
        }
        last = now;
    }
}

/// Projects a log of this length. Returns the plans of the statements that read a log, and the pages that the next
/// batch of each projection touches: those of log, rows and indexes.
async fn next_batch(events: usize) -> (Vec<String>, i64) {
    const BATCH: usize = 300;
    let fresh = Fresh::new().await;
    let tables = catalogue::ALL.iter().flat_map(|projection| projection.tables());
    let mut tables: Vec<String> = tables.map(|table| format!("{}_shared", table.name)).collect();
    tables.push("dg_event_log".to_owned());
    // No statistics are taken behind the test's back: a plan may depend on them, and a page be read for them.
    let quiet = "DO $$ DECLARE name text; BEGIN FOR name IN SELECT relname FROM pg_class \
                 WHERE relkind = 'r' AND relname LIKE 'dg\\_%' LOOP \
                 EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = off)', name); END LOOP; END $$";
    fresh.client().await.batch_execute(quiet).await.expect("no other reader");
    let me = owner("me");
    let log = seeded(5, events + BATCH);
    for part in log[..events].chunks(1_000) {
        append_all(&fresh.store, &tenant(), part).await;
    }
    for projection in catalogue::ALL {
        let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
        catch_up(&fresh.store, &lease, position, projection, &[1_000]).await;
    }
    append_all(&fresh.store, &tenant(), &log[events..]).await;
    let client = counted(&fresh.database, fresh.store).await;
    let names: Vec<&str> = tables.iter().map(String::as_str).collect();
    let touched = async |client: &Client| -> i64 {
        let sql = "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read, 0) + coalesce(idx_blks_hit, 0))::bigint
                     FROM pg_statio_user_tables WHERE relname = ANY ($1)";
        client.query_one(sql, &[&names]).await.expect("counters").get(0)
    };
    let before = settled(async || touched(&client).await, 0).await;
    let store = open(fresh.database.url(), StoreOptions::default()).await.expect("a store");
    for projection in catalogue::ALL {
        let (lease, position) = acquire(&store, &Scope::new(&tenant(), projection), &me).await;
        catch_up(&store, &lease, position, projection, &[BATCH]).await;
    }
    let client = counted(&fresh.database, store).await;
    let after = settled(async || touched(&client).await, before).await;
    client.batch_execute(SETTINGS).await.expect("set");
    let mut plans = Vec::new();
    for (number, (sql, types, arguments, ..)) in STATEMENTS.iter().enumerate() {
        client.batch_execute(&format!("PREPARE s{number} ({types}) AS {sql}")).await.expect("prepared");
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE s{number} ({arguments})");
        let plan = client.query(&explain, &[]).await.expect("a plan");
        plans.push(plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n"));
    }
    (plans, after - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_behind_a_long_log_has_the_plans_and_the_pages_of_one_behind_a_short_log() {
    let (short, long) = (next_batch(2_000).await, next_batch(20_000).await);
    for (number, (short, long)) in short.0.iter().zip(&long.0).enumerate() {
        assert_eq!(short, long, "the plan of statement {number}");
    }
    let (short, long) = (short.1, long.1);
    assert!(short > 1_000, "pages were counted: {short}");
    // An index may be a level higher, and nothing more.
    assert!(long * 2 <= short * 3, "pages of a batch: {short} behind 2,000 events, {long} behind 20,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn prior_state_does_not_read_the_whole_projection() {
    let fresh = Fresh::new().await;
    let me = owner("me");
    append_all(&fresh.store, &tenant(), &seeded(5, 2_000)).await;
    let mut read = Vec::new();
    for projection in catalogue::ALL {
        let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
        // From the empty tables on, in one session, in many small batches.
        catch_up(&fresh.store, &lease, position, projection, &[50]).await;
        for table in projection.tables() {
            read.push(format!("'{}_shared'", table.name));
        }
    }
    let client = counted(&fresh.database, fresh.store).await;
    let sql = format!(
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint, coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes WHERE relname IN ({})",
        read.join(", ")
    );
    let look_ups = async || client.query_one(&sql, &[]).await.expect("counters").get(1);
    settled(look_ups, 0).await;
    let row = client.query_one(&sql, &[]).await.expect("counters");
    let (entries, look_ups): (i64, i64) = (row.get(0), row.get(1));
    assert!(look_ups > 2_000, "look-ups were counted: {look_ups}");
    assert!(entries <= 3 * look_ups, "entries read are in proportion to look-ups: {entries} by {look_ups}");
}
