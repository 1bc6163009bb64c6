//! Support for the tests of the engine: databases of either backend, a seeded log, and edits that bypass the store.
#![allow(dead_code)]

use decisiongraph_engine::{Control, Engine, EngineConfig, RunReport, RunRequest};
use decisiongraph_projections::event::Line;
use decisiongraph_projections::validation::admit;
use decisiongraph_projections::{Admitted, LogSeq, Projection, TenantId, catalogue};
use decisiongraph_store::{
    AppendMode, DatabaseUrl, Owner, RunMode, Scope, ScopeRow, Store, StoreOptions, Verdict, digest_of_rows, open,
    throwaway,
};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A database that belongs to one test.
pub enum Db {
    Sqlite(tempfile::TempDir),
    Postgres(throwaway::Database),
}

impl Db {
    /// Creates one migrated database per backend.
    pub async fn both() -> Vec<Db> {
        if std::env::var_os("ONLY_SQLITE").is_some() {
            return vec![Db::sqlite().await];
        }
        vec![Db::sqlite().await, Db::postgres().await]
    }

    pub async fn sqlite() -> Db {
        let db = Db::Sqlite(tempfile::tempdir().expect("a temporary folder"));
        db.store().await.migrate().await.expect("migrates");
        db
    }

    pub async fn postgres() -> Db {
        let server = throwaway::shared().await.expect("a throw-away PostgreSQL");
        Db::Postgres(server.fresh_database().await.expect("a fresh database"))
    }

    pub fn url(&self) -> String {
        match self {
            Db::Sqlite(folder) => format!("sqlite:{}", folder.path().join("log.db").display()),
            Db::Postgres(database) => database.url().to_owned(),
        }
    }

    pub async fn store(&self) -> Arc<dyn Store> {
        let url = DatabaseUrl::parse(&self.url()).expect("a database URL");
        open(&url, StoreOptions::default()).await.expect("opens")
    }

    /// Runs SQL that bypasses the store, and returns the number of changed rows.
    pub async fn tamper(&self, sql: &str) -> u64 {
        match self {
            Db::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("log.db")).expect("opens");
                connection.busy_timeout(Duration::from_secs(5)).expect("time-out");
                connection.execute(sql, []).expect(sql) as u64
            }
            Db::Postgres(database) => {
                let (client, connection) =
                    tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.expect("connects");
                let task = tokio::spawn(connection);
                let touched = client.execute(sql, &[]).await.expect(sql);
                drop(client);
                task.await.expect("ends").expect("ends well");
                touched
            }
        }
    }

    /// Removes every rule of the schema that refuses rows.
    pub async fn lawless(&self) {
        let rules: &[&str] = match self {
            Db::Sqlite(_) => {
                &["DROP TRIGGER IF EXISTS dg_event_log_tenant", "DROP TRIGGER IF EXISTS dg_event_log_tags"]
            }
            Db::Postgres(_) => &["ALTER TABLE dg_event_log DROP CONSTRAINT IF EXISTS dg_event_log_tenant, \
                                  DROP CONSTRAINT IF EXISTS dg_event_log_tags"],
        };
        for rule in rules {
            self.tamper(rule).await;
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Db::Sqlite(_) => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }
}

pub fn tenant() -> TenantId {
    TenantId::default()
}

pub fn owner(name: &str) -> Owner {
    Owner { node: name.to_owned(), incarnation: Uuid::new_v4() }
}

/// Returns a configuration with small batches and short leases.
pub fn config(batch: usize) -> EngineConfig {
    EngineConfig {
        batch_events_max: batch,
        lease: Duration::from_millis(1_500),
        mark_wait: Duration::from_secs(5),
        checkpoint_events: 20,
        ..EngineConfig::default()
    }
}

pub fn engine(store: &Arc<dyn Store>, batch: usize) -> Engine {
    Engine::new(Arc::clone(store), owner(&format!("test-{}", Uuid::new_v4())), config(batch))
}

pub fn request(mode: RunMode) -> RunRequest {
    RunRequest {
        tenant: tenant(),
        projections: catalogue::ALL.to_vec(),
        mode,
        until: None,
        cause: Default::default(),
        verify: Default::default(),
    }
}

pub async fn run(engine: &Engine, mode: RunMode) -> RunReport {
    engine.run(&request(mode), &Control::default()).await.unwrap_or_else(|error| panic!("{mode:?}: {error}"))
}

/// Returns a legal log of `traces` traces of seven events over shared entities and policies. Two traces are interleaved
/// at a time.
pub fn log(traces: usize, first: usize) -> Vec<Admitted> {
    let mut lines: Vec<(usize, usize, String)> = Vec::new();
    for t in first..first + traces {
        let bodies = [
            (
                "TraceStarted",
                format!(
                    r#"{{"workflow":"w{}","title":"Título {t}","primary_entity":{{"entity_type":"account","entity_id":"e{}","system":"crm"}}}}"#,
                    t % 3,
                    t % 7
                ),
            ),
            (
                "EntityObserved",
                format!(
                    r#"{{"entity":{{"entity_type":"person","entity_id":"p{}"}},"role":"related","facts":[]}}"#,
                    t % 5
                ),
            ),
            (
                "PolicyEvaluated",
                format!(
                    r#"{{"policy":{{"policy_id":"policy{}","policy_version":"1"}},"inputs":[],"decision":"deny"}}"#,
                    t % 4
                ),
            ),
            (
                "ExceptionRequested",
                format!(
                    r#"{{"exception_id":"x{t}","policy":{{"policy_id":"policy{}","policy_version":"1"}},"reason":"r"}}"#,
                    t % 4
                ),
            ),
            (
                "ApprovalRecorded",
                format!(
                    r#"{{"approval_id":"a{t}","subject":{{"subject_type":"exception","subject_id":"x{t}"}},"approver":{{"actor_type":"person","actor_id":"boss{}"}},"decision":"approved"}}"#,
                    t % 2
                ),
            ),
            ("PrecedentCited", format!(r#"{{"cited_trace_id":"trace{}","reason":"alike"}}"#, t / 2)),
            ("TraceFinished", r#"{"outcome":"success"}"#.to_owned()),
        ];
        for (seq, (kind, payload)) in bodies.into_iter().enumerate() {
            let line = format!(
                r#"{{"event_id":"ev:{t}:{seq}","trace_id":"trace{t}","trace_seq":{seq},"event_type":"{kind}","occurred_at":"2026-01-01T00:00:{:02}Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"bot"}},"idempotency_key":"k{t}:{seq}","payload":{payload}}}"#,
                seq
            );
            lines.push((t / 2, seq, line));
        }
    }
    lines.sort_by_key(|(pair, seq, _)| (*pair, *seq));
    lines.into_iter().map(|(_, _, line)| read_line(&line)).collect()
}

/// Reads the line of a legal event.
pub fn read_line(line: &str) -> Admitted {
    admit(Line::parse(line).expect("reads").draft).expect("legal")
}

/// Returns a legal log of `traces` interleaved traces of ten events, whose ids come back in later traces. Ids of
/// inputs, exceptions and actions come back as they are. Ids of edges and evaluations come back by spelling, because an
/// event's id may contain the separator of its parts.
pub fn returning(traces: usize) -> Vec<Admitted> {
    let policy = |version: &str| format!(r#""policy":{{"policy_id":"p","policy_version":"{version}"}}"#);
    let source = r#""source":{"system":"s","object_type":"o","object_id":"1"}"#;
    let input = |id: &str| ("InputObserved", format!(r#"{{"input_id":"{id}",{source},"facts":[]}}"#));
    let evaluated =
        |version: &str| ("PolicyEvaluated", format!(r#"{{{},"inputs":[],"decision":"deny"}}"#, policy(version)));
    let mut lines: Vec<(usize, usize, String)> = Vec::new();
    for t in 0..traces {
        let exception = || {
            let payload = format!(r#"{{"exception_id":"x{}",{},"reason":"r"}}"#, t % 4, policy("1"));
            ("ExceptionRequested", payload)
        };
        let entity = r#"{"entity_type":"account","entity_id":"e","system":"crm"}"#;
        let started = format!(r#"{{"workflow":"w","title":"t","primary_entity":{entity}}}"#);
        let proposed = format!(
            r#"{{"action_id":"y{}","action_type":"notify","target_system":"s","target_entity":{entity},"changes":[]}}"#,
            t % 3
        );
        let committed = format!(r#"{{"action_id":"y{}","status":"success"}}"#, t % 3);
        let events = [
            ("s", ("TraceStarted", started)),
            ("b:i", input("a")),
            ("b:p", evaluated("a")),
            ("x", exception()),
            ("y", ("ActionProposed", proposed)),
            ("i", input("a:b")),
            ("p", evaluated("a:b")),
            ("z", exception()),
            ("c", ("ActionCommitted", committed)),
            ("f", ("TraceFinished", r#"{"outcome":"success"}"#.to_owned())),
        ];
        for (seq, (id, (kind, payload))) in events.into_iter().enumerate() {
            let line = format!(
                r#"{{"event_id":"{id}:{t}","trace_id":"back{t}","trace_seq":{seq},"event_type":"{kind}","occurred_at":"2026-01-01T00:00:{:02}Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"bot"}},"idempotency_key":"back{t}:{seq}","payload":{payload}}}"#,
                t % 60
            );
            lines.push((seq, t, line));
        }
    }
    lines.sort_by_key(|(seq, t, _)| (*seq, *t));
    lines.into_iter().map(|(_, _, line)| admit(Line::parse(&line).expect("reads").draft).expect("legal")).collect()
}

pub async fn append(store: &Arc<dyn Store>, events: &[Admitted]) -> LogSeq {
    let verdicts = store.append(&tenant(), events, AppendMode::AllOrNothing).await.expect("appends");
    match verdicts.last() {
        Some(Verdict::Accepted { log_seq, .. }) => *log_seq,
        other => panic!("not appended: {other:?}"),
    }
}

pub async fn scope(store: &Arc<dyn Store>, projection: &dyn Projection) -> ScopeRow {
    let scope = Scope::new(&tenant(), projection);
    store
        .view()
        .await
        .expect("view")
        .scope(&scope)
        .await
        .expect("reads")
        .unwrap_or_else(|| panic!("{scope} has no row"))
}

/// Returns cursor and rolling digest of every projection. Checks first that the stored digest is that of the live rows.
pub async fn positions(store: &Arc<dyn Store>) -> Vec<(LogSeq, String)> {
    let mut out = Vec::new();
    for projection in catalogue::ALL {
        let snapshot = store.snapshot().await.expect("snapshot");
        let row = snapshot.scope(&Scope::new(&tenant(), projection)).await.expect("reads");
        let Some(row) = row else {
            out.push((LogSeq::ORIGIN, String::new()));
            continue;
        };
        let rows = digest_of_rows(&*snapshot, &tenant(), projection, row.generation).await.expect("digests");
        assert_eq!(rows, row.position.digest, "{}: rows and digest moved apart", projection.name());
        out.push((row.position.cursor, row.position.digest.to_text()));
    }
    out
}
