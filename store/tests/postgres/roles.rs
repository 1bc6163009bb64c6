//! The roles of `docs/operations/deploy`: each can do all of its work, and nothing beyond it.
//!
//! Roles belong to a whole server, so these tests always start their own server.

use crate::backend::Blank;
use crate::fold::{acquire, all_rows, append_all, build, catch_up, compute, origin, owner, seal};
use crate::log::{input, named, seeded, tenant, whole_trace};
use crate::raw::{connect, insert_event, until};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{Category, LogSeq, Refusal, catalogue};
use decisiongraph_store::throwaway::{Database, Server};
use decisiongraph_store::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

pub const ROLES: &str = include_str!("../../../docs/operations/deploy/roles.sql");
pub const GRANTS: &str = include_str!("../../../docs/operations/deploy/grants.sql");
pub const MIGRATOR: &str = "decisiongraph_migrator";
pub const NODE: &str = "decisiongraph_node";
pub const APPENDER: &str = "decisiongraph_appender";
pub const READER: &str = "decisiongraph_reader";
const LONG: Duration = Duration::from_secs(600);

/// A database whose roles are set up.
pub struct Shared {
    pub database: Database,
}

impl Shared {
    /// Sets a database up by the steps of DEPLOYMENT.md, each under its role, and each twice.
    async fn new() -> Shared {
        Shared::on(server().await).await
    }

    /// Sets a database up on this server.
    pub async fn on(server: &Server) -> Shared {
        let shared = Shared { database: server.empty_database().await.expect("a database") };
        shared.set_up().await;
        shared
    }

    async fn set_up(&self) {
        // One test at a time changes the objects of the server.
        static TURN: Mutex<()> = Mutex::const_new(());
        let _turn = TURN.lock().await;
        for _ in 0..2 {
            connect(self.database.url()).await.batch_execute(ROLES).await.expect("roles");
            self.store(MIGRATOR).await.migrate().await.expect("migrates");
            connect(&self.url(MIGRATOR)).await.batch_execute(GRANTS).await.expect("grants");
        }
    }

    pub fn url(&self, role: &str) -> String {
        self.database.url().replacen("postgres@", &format!("{role}@"), 1)
    }

    pub async fn store(&self, role: &str) -> Arc<dyn Store> {
        postgres::open(&self.url(role), StoreOptions::default()).await.expect("a store")
    }

    pub async fn refuses(&self, role: &str, statements: &[&str]) {
        let client = connect(&self.url(role)).await;
        for statement in statements {
            let error = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {statement}: {error}");
        }
    }
}

async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_try_init(Server::start).await.expect("a server")
}

/// Uses the whole contract on a log of about `events` events, with both ways of storing a rebuild.
pub async fn everything_a_node_does(store: &Arc<dyn Store>, events: usize) {
    let me = owner("me");
    let facts = MemberFacts { address: None, program: "1".to_owned(), protocol: 1 };
    let schema = store.schema_status().await.expect("a version");
    assert_eq!(schema.database, schema.program);
    let mut wakes = store.wakes().await.expect("listens");
    append_all(store, &tenant(), &seeded(7, events)).await;
    wakes.log.recv().await.expect("hears of it");
    store.join(&me, LONG, &facts).await.expect("joins");
    store.heartbeat(&me, LONG).await.expect("renews");
    store.cordon("me", true, "to see", "ann").await.expect("cordons");
    store.uncordon("me").await.expect("uncordons");
    let change = store.note_change(&NewChange::default()).await.expect("recorded");
    let end = ChangeEnd { outcome: ChangeOutcome::Accepted, code: None, message: "done".to_owned() };
    store.end_change(change, &end).await.expect("recorded");
    assert!(!store.forget("me").await.expect("asked"));
    store.bury(&owner("nobody")).await.expect("nothing to do");
    let sample = store.sample_high_water().await.expect("a sample");
    assert!(store.writers_still_open(&sample.writers).await.expect("looks").is_empty());

    for projection in catalogue::ALL {
        let scope = Scope::new(&tenant(), projection);
        let (lease, position) = acquire(store, &scope, &me).await;
        let live = catch_up(store, &lease, position, projection, &[200]).await;
        for storage in [Storage::Own, Storage::Shared] {
            let run_id = Uuid::new_v4();
            let job = NewRun {
                run_id,
                tenant: tenant(),
                projections: vec![projection.name()],
                mode: RunMode::Rebuild,
                until: None,
                owner: me.clone(),
                cause: RunCause::default(),
            };
            store.create_run(&job).await.expect("a run");
            let lease = store.begin_build(&scope, run_id, storage).await.expect("a build");
            build(store, &lease, origin(projection), projection, 200, 2).await;
            // Another process continues it.
            store.adopt_run(run_id, &me).await.expect("adopts");
            let (lease, position) = store.resume_build(&scope, run_id).await.expect("an answer").expect("a build");
            assert_eq!(build(store, &lease, position, projection, 200, 1_000).await, live);
            store.finish_build(&lease).await.expect("is ready");
            let progress =
                RunProgress { current: projection.name(), cursor: live.cursor, target: live.cursor, events: 1 };
            store.advance_run(run_id, &me, &progress).await.expect("progress");
            assert!(matches!(store.flip(&lease).await.expect("a flip"), Flip::Flipped { .. }));
            store.finish_run(run_id, &me, RunOutcome::Completed("{}".to_owned())).await.expect("ends");
        }
        let given_up = Uuid::new_v4();
        store.begin_build(&scope, given_up, Storage::Own).await.expect("a build");
        store.abandon_build(&scope, given_up).await.expect("given up");
    }
    until("all that is retired is gone", || async { store.sweep(u64::MAX).await.expect("a sweep").left == 0 }).await;

    let projection = catalogue::TRACE_SUMMARY;
    let scope = Scope::new(&tenant(), projection);
    let view = store.view().await.expect("a view");
    let end = view.last_log_seq(&tenant(), None).await.expect("an end");
    let poison = NewFailure {
        scope: scope.clone(),
        log_seq: LogSeq(end.0 + 1),
        event_id: "e".to_owned(),
        trace_id: "t".to_owned(),
        event_type: "PolicyEvaluated".to_owned(),
        refusal: Refusal::new(Category::SchemaViolation, "bad"),
        batch_from: end,
        batch_to: end,
        digest_before: String::new(),
    };
    store.record_failure(&poison).await.expect("recorded");
    let failure = store.record_failure(&poison).await.expect("counted");
    store.skip_event(failure.failure_id, "known", "ann").await.expect("skipped");
    store.revoke_skip(&scope, poison.log_seq).await.expect("revoked");
    store.pause_scope(&scope, "to see", "ann").await.expect("paused");
    store.resume_scope(&scope).await.expect("goes on");
    // A batch with a checkpoint, past a skipped event, that resolves the failure.
    append_all(store, &tenant(), &whole_trace(&format!("last of {events}"))).await;
    let (lease, position) = acquire(store, &scope, &me).await;
    let events = view.page(&tenant(), position.cursor, LogSeq(i64::MAX), crate::fold::WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), projection, lease.generation, &position, &events).await;
    let batch = BatchCommit { checkpoint: true, skipped: &[poison.log_seq], ..computed.batch(projection) };
    store.commit(&lease, &batch).await.expect("commits");
    store.release_scope(&lease).await.expect("given up");
    seals(store, &me).await;
    store.hand_over(&me, &[tenant()]).await.expect("handed over");
    store.leave(&me).await.expect("leaves");
}

/// Seals the log, forks its tree, and seals on.
async fn seals(store: &Arc<dyn Store>, me: &Owner) {
    let view = store.view().await.expect("a view");
    let (lease, position) = acquire(store, &Scope::new(&tenant(), SEAL), me).await;
    // Who did all of this before has a tree.
    let trees = view.seal_trees(&tenant()).await.expect("trees");
    let (tree, frontier) = match trees.last() {
        Some(newest) => (newest.tree, newest.memory().expect("sound")),
        None => (FIRST_TREE, Frontier::default()),
    };
    let sealed = seal(store, &lease, tree, frontier, position.cursor, &[100]).await;
    let old_head = sealed.last().expect("events").head();
    let note =
        |kind, note: &str| NewSealNote { tenant: tenant(), tree, kind, size: old_head.size, note: note.to_owned() };
    let notes = [note(NoteKind::Checkpoint, "a"), note(NoteKind::Statement, "b")];
    store.add_seal_notes(&notes).await.expect("stored");
    store.thin_seal_notes(&tenant()).await.expect("thinned");
    let fork = SealFork {
        old: tree,
        old_head,
        keep: 0,
        frontier: Frontier::default(),
        last: LogSeq::ORIGIN,
        origin: "test.local/2".to_owned(),
        note: "fork".to_owned(),
    };
    let next = store.fork_seal(&lease, &fork).await.expect("a fork");
    seal(store, &lease, next.tree, Frontier::default(), LogSeq::ORIGIN, &[1_000]).await;
    let position = store.wal_position().await.expect("an answer").expect("a position");
    store.standbys(&position).await.expect("counted");
}

pub async fn digest(store: &Arc<dyn Store>) -> [bool; catalogue::ALL.len()] {
    let view = store.snapshot().await.expect("a snapshot");
    let mut equal = [false; catalogue::ALL.len()];
    for (equal, projection) in equal.iter_mut().zip(catalogue::ALL) {
        let scope = view.scope(&Scope::new(&tenant(), projection)).await.expect("an answer").expect("a scope");
        let rows = digest_of_rows(&*view, &tenant(), projection, scope.generation).await.expect("a digest");
        *equal = rows == scope.position.digest;
    }
    equal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_can_do_all_of_its_work() {
    let shared = Shared::new().await;
    let node = shared.store(NODE).await;
    everything_a_node_does(&node, 600).await;
    assert_eq!(digest(&node).await, [true; catalogue::ALL.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_the_session_of_a_former_one_and_names_who_holds_the_mark() {
    let shared = Shared::new().await;
    let (first, second) = (shared.store(NODE).await, shared.store(NODE).await);
    let scope = Scope::new(&tenant(), catalogue::CONTEXT_GRAPH);
    acquire(&first, &scope, &owner("first")).await;
    let stopped = connect(&shared.url(NODE)).await;
    let claims = "UPDATE dg_scope SET writer_pid = pg_backend_pid(), writer_started = \
                  (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())";
    stopped.batch_execute(claims).await.expect("is the scope's writer");
    stopped.batch_execute("BEGIN; UPDATE dg_scope SET cursor_seq = 77").await.expect("holds the row");
    acquire(&second, &scope, &owner("second")).await;
    until("the stopped session is closed", || async { stopped.is_closed() }).await;

    let appender = connect(&shared.url(APPENDER)).await;
    appender.batch_execute("BEGIN").await.expect("begins");
    insert_event(&appender, "held").await;
    let sample = second.sample_high_water().await.expect("a sample");
    let query = sample.writers[0].query.clone().expect("a query");
    assert!(query.starts_with("INSERT INTO dg_event_log"), "{query}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_change_the_log_or_the_schema() {
    let shared = Shared::new().await;
    append_all(&shared.store(NODE).await, &tenant(), &whole_trace("t")).await;
    shared
        .refuses(
            NODE,
            &[
                "UPDATE dg_event_log SET payload = '{}'",
                "DELETE FROM dg_event_log",
                "TRUNCATE dg_event_log",
                "DROP TABLE dg_event_log",
                "ALTER TABLE dg_event_log ALTER log_seq DROP IDENTITY",
                "CREATE INDEX ON dg_event_log (payload_hash)",
                "INSERT INTO dg_event_log (log_seq) OVERRIDING SYSTEM VALUE VALUES (1)",
                "INSERT INTO dg_event_log (recorded_at) VALUES (now())",
                "SELECT nextval('dg_event_log_log_seq_seq')",
                "SELECT setval('dg_event_log_log_seq_seq', 1)",
                "ALTER SEQUENCE dg_event_log_log_seq_seq CACHE 20",
                "DROP TABLE dg_scope",
                "DELETE FROM dg_scope",
                "TRUNCATE dg_generation",
                "DROP TABLE dg_cg_nodes_shared",
                "DELETE FROM dg_failure",
                "DELETE FROM dg_skip",
                "DELETE FROM dg_audit",
                "UPDATE dg_audit SET identity = 'somebody else'",
                "TRUNCATE dg_audit",
                "DROP TABLE dg_audit",
                "DELETE FROM dg_seal",
                "UPDATE dg_seal_chunk SET salts = ''",
                "DELETE FROM dg_seal_chunk",
                "UPDATE dg_seal_node SET hash = sha256('')",
                "DELETE FROM dg_seal_node",
                "UPDATE dg_seal_note SET note = ''",
                "TRUNCATE dg_seal_note",
                "SELECT setval('dg_seal_note_number_seq', 1)",
                "DELETE FROM dg_run",
                "UPDATE dg_digest_checkpoint SET digest = ''",
                "DELETE FROM refinery_schema_history",
                "CREATE OR REPLACE FUNCTION dg_commit_scope(text, text, bigint, bigint, bigint, uuid, bigint, bytea, integer) \
                 RETURNS void LANGUAGE sql AS ''",
                "CREATE SCHEMA other",
                "CREATE TABLE t ()",
                "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
                "CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regrole, FUNCTION = oideq)",
                "CREATE TEMP TABLE t ()",
                "CREATE ROLE other",
                "SET ROLE decisiongraph_migrator",
            ],
        )
        .await;
}

/// Under the node's password, entries are added and read. A process with the database has the role as its identity,
/// whatever it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_adds_entries_to_the_audit_and_its_role_is_the_identity() {
    let shared = Shared::new().await;
    let node = shared.store(NODE).await;
    for door in ["database", "http"] {
        let asker = ChangeAsker { identity: "ann".to_owned(), door: door.to_owned(), ..ChangeAsker::default() };
        let change = node.note_change(&NewChange { asker, ..NewChange::default() }).await.expect("recorded");
        let end = ChangeEnd { outcome: ChangeOutcome::Refused, code: None, message: String::new() };
        node.end_change(change, &end).await.expect("recorded");
    }
    let reader = shared.store(READER).await;
    let listed =
        reader.view().await.expect("a view").changes(&ChangeFilter::default(), None, 10).await.expect("a list");
    let identities: Vec<&str> = listed.items.iter().map(|change| change.asked.asker.identity.as_str()).collect();
    assert_eq!(identities, ["ann", "role decisiongraph_node"]);
    shared.refuses(READER, &["INSERT INTO dg_audit (phase, identity, action) VALUES ('asked', 'eve', 'pause')"]).await;
    shared.refuses(APPENDER, &["SELECT FROM dg_audit"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_appends_and_sees_no_payload() {
    let shared = Shared::new().await;
    let producer = shared.store(APPENDER).await;
    assert_eq!(producer.schema_status().await.map(|schema| schema.database == schema.program), Ok(true));
    append_all(&producer, &tenant(), &whole_trace("t")).await;
    let again = producer.append(&tenant(), &whole_trace("t"), AppendMode::AllOrNothing).await.expect("verdicts");
    assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Repeated { .. })), "{again:?}");
    // A finished trace accepts no more events.
    let late = producer.append(&tenant(), &[input("t", 5, "late")], AppendMode::Each).await.expect("verdicts");
    assert!(matches!(late[0], Verdict::Refused(_)), "{late:?}");
    shared
        .refuses(
            APPENDER,
            &[
                "SELECT payload FROM dg_event_log",
                "SELECT * FROM dg_event_log",
                "INSERT INTO dg_event_log (log_seq) OVERRIDING SYSTEM VALUE VALUES (1)",
                "UPDATE dg_event_log SET payload = '{}'",
                "DELETE FROM dg_event_log",
                "SELECT nextval('dg_event_log_log_seq_seq')",
                "SELECT FROM dg_scope",
                "SELECT FROM dg_node",
                "SELECT salts FROM dg_seal_chunk",
                "SELECT FROM dg_seal_note",
                "SELECT FROM dg_cg_nodes",
                "SELECT FROM dg_cg_nodes_shared",
                "INSERT INTO dg_cg_nodes_shared DEFAULT VALUES",
                "SELECT dg_commit_build('default', 1, 0, 1, 1, gen_random_uuid(), '', 1)",
                "CREATE TABLE t ()",
                "SET ROLE decisiongraph_node",
            ],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_everything_and_writes_nothing() {
    let shared = Shared::new().await;
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &seeded(3, 300)).await;
    let me = owner("me");
    for projection in catalogue::ALL {
        let scope = Scope::new(&tenant(), projection);
        let (lease, position) = acquire(&node, &scope, &me).await;
        let live = catch_up(&node, &lease, position, projection, &[100]).await;
        // Also the rows in the node's own partitions.
        let lease = node.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
        assert_eq!(build(&node, &lease, origin(projection), projection, 100, 100).await, live);
        node.finish_build(&lease).await.expect("is ready");
        node.flip(&lease).await.expect("a flip");
    }
    let reader = shared.store(READER).await;
    assert_eq!(digest(&reader).await, [true; catalogue::ALL.len()]);
    reader.sample_high_water().await.expect("knows the mark");
    let view = reader.snapshot().await.expect("a snapshot");
    assert_eq!(
        view.events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(10))
            .await
            .expect("events")
            .items
            .len(),
        10
    );
    let scope =
        view.scope(&Scope::new(&tenant(), catalogue::CONTEXT_GRAPH)).await.expect("an answer").expect("a scope");
    assert!(!all_rows(&*view, &tenant(), catalogue::CONTEXT_GRAPH, scope.generation).await[0].is_empty());
    let everything = "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace IN ('public'::regnamespace, 'dg_partitions'::regnamespace) \
                      AND NOT (has_table_privilege($1, c.oid, 'SELECT') AND NOT has_table_privilege($1, c.oid, \
                      'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AND NOT has_any_column_privilege($1, c.oid, 'INSERT, UPDATE'))";
    let wrong = connect(&shared.url(READER)).await.query(everything, &[&READER]).await.expect("a list");
    assert!(wrong.is_empty(), "{:?}", wrong.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>());
    // The commit protocol belongs to the node: other roles may not even call its functions.
    let callable = "SELECT p.proname::text FROM pg_proc p WHERE p.proname LIKE 'dg\\_%' AND (has_function_privilege($1, p.oid, 'EXECUTE') \
                    OR has_function_privilege($2, p.oid, 'EXECUTE'))";
    let callable = connect(&shared.url(READER)).await.query(callable, &[&READER, &APPENDER]).await.expect("a list");
    assert!(callable.is_empty(), "{callable:?}");
    let statements = [
        "UPDATE dg_scope SET epoch = 0",
        "DELETE FROM dg_cg_nodes_shared",
        "INSERT INTO dg_seal_note DEFAULT VALUES",
        "UPDATE dg_seal SET size = 0",
        "SELECT nextval('dg_generation_own_seq')",
        "CREATE TABLE t ()",
        "SELECT dg_commit_build('default', 1, 0, 1, 1, gen_random_uuid(), '', 1)",
    ];
    shared.refuses(READER, &statements).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_one_user_ran_is_taken_over() {
    let shared = Shared { database: server().await.empty_database().await.expect("a database") };
    let before = postgres::open(shared.database.url(), StoreOptions::default()).await.expect("a store");
    let early = named("early");
    before.migrate().await.expect("migrates");
    append_all(&before, &early, &seeded(3, 300)).await;
    let scope = Scope::new(&early, catalogue::CONTEXT_GRAPH);
    let lease = before.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
    let position = build(&before, &lease, origin(catalogue::CONTEXT_GRAPH), catalogue::CONTEXT_GRAPH, 100, 100).await;
    before.finish_build(&lease).await.expect("is ready");
    before.flip(&lease).await.expect("a flip");
    drop(before);
    shared.set_up().await;
    let node = shared.store(NODE).await;
    let view = shared.store(READER).await.view().await.expect("a view");
    assert_eq!(digest_of_rows(&*view, &early, catalogue::CONTEXT_GRAPH, lease.generation).await, Ok(position.digest));
    everything_a_node_does(&node, 200).await;
    assert_eq!(digest(&node).await, [true; catalogue::ALL.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_rule_is_an_error() {
    let shared = Shared::new().await;
    let migrator = connect(&shared.url(MIGRATOR)).await;
    migrator.batch_execute("CREATE TABLE dg_new ()").await.expect("of a later version");
    let error = migrator.batch_execute(GRANTS).await.expect_err("unknown");
    assert!(
        error.as_db_error().expect("said by the script").message().contains("no rule for public.dg_new"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migrator_brings_up_rows_that_a_node_wrote() {
    let shared = Shared::new().await;
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &seeded(3, 100)).await;
    let mut written = Vec::new();
    for projection in catalogue::ALL {
        let scope = Scope::new(&tenant(), projection);
        let lease = node.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
        build(&node, &lease, origin(projection), projection, 50, 100).await;
        node.finish_build(&lease).await.expect("is ready");
        node.flip(&lease).await.expect("a flip");
        let view = node.view().await.expect("a view");
        written.push((projection, lease.generation, all_rows(&*view, &tenant(), projection, lease.generation).await));
    }
    drop(node);
    let migrator = connect(&shared.url(MIGRATOR)).await;
    for statement in Blank::Postgres.to_the_schema_before() {
        migrator.batch_execute(statement).await.expect("the schema before");
    }
    assert!(!shared.store(MIGRATOR).await.migrate().await.expect("migrates").is_empty());
    let view = shared.store(NODE).await.view().await.expect("a view");
    for (projection, generation, rows) in written {
        let found = all_rows(&*view, &tenant(), projection, generation).await;
        let kept = |rows: &[Vec<KeyedRow>]| -> Vec<KeyedRow> {
            // For a row from before the migration, the position since which its node exists is unknown.
            rows.iter().flatten().map(|row| KeyedRow { since: Vec::new(), ..row.clone() }).collect()
        };
        assert_eq!(kept(&found), kept(&rows), "{}", projection.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_tables_are_left_alone_when_they_are_right_and_a_migration_may_change_them() {
    let shared = Shared::new().await;
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &seeded(3, 100)).await;
    let scope = Scope::new(&tenant(), catalogue::TRACE_SUMMARY);
    let lease = node.begin_build(&scope, Uuid::new_v4(), Storage::Own).await.expect("a build");
    let whole = build(&node, &lease, origin(catalogue::TRACE_SUMMARY), catalogue::TRACE_SUMMARY, 50, 100).await;
    node.finish_build(&lease).await.expect("is ready");
    // Two concurrent writers of one catalogue row make one fail, perhaps a node in the middle of a rebuild.
    let migrator = connect(&shared.url(MIGRATOR)).await;
    let rows = "SELECT string_agg(relname || ' ' || xmin::text, ', ' ORDER BY relname) FROM pg_class \
                WHERE relowner = 'decisiongraph_node'::regrole AND relkind IN ('r', 'p')";
    let before: String = migrator.query_one(rows, &[]).await.expect("rows").get(0);
    migrator.batch_execute(GRANTS).await.expect("grants");
    assert_eq!(migrator.query_one(rows, &[]).await.expect("rows").get::<_, String>(0), before);
    assert_eq!(before.split(", ").count(), 6, "five projections' tables and a partition: {before}");

    let change = "ALTER TABLE dg_trace_summary ADD COLUMN later text COLLATE \"C\"; \
                  CREATE INDEX dg_trace_summary_later ON dg_trace_summary (tenant_id, generation, later)";
    migrator.batch_execute(change).await.expect("as a later version might");
    node.flip(&lease).await.expect("a flip");
    let view = node.view().await.expect("a view");
    let digest = digest_of_rows(&*view, &tenant(), catalogue::TRACE_SUMMARY, lease.generation).await;
    assert_eq!(digest, Ok(whole.digest));
}
