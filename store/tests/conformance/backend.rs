//! Sources of the tests' databases.

use decisiongraph_store::{DatabaseUrl, Store, StoreOptions, open};
use std::any::Any;
use std::sync::Arc;

/// A backend that provides databases.
#[derive(Clone, Copy)]
pub enum Blank {
    /// SQLite: each database in its own folder.
    #[cfg(feature = "sqlite")]
    Sqlite,
    /// PostgreSQL: databases on the server of this test run.
    #[cfg(feature = "throwaway-postgres")]
    Postgres,
}

/// SQL that undoes migration V010.
#[cfg(feature = "throwaway-postgres")]
const WITHOUT_WALLS: &str = "DO $$ DECLARE it record; BEGIN FOR it IN SELECT conrelid::regclass AS t, conname FROM pg_constraint \
                 WHERE contype = 'c' AND conname ~ '_(tenant|tags|digest|trace_seq)$' AND connamespace = 'public'::regnamespace LOOP \
                 EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.t, it.conname); END LOOP; \
                 FOR it IN SELECT oid::regclass AS t FROM pg_class WHERE relkind = 'r' AND relnamespace = 'dg_partitions'::regnamespace LOOP \
                 EXECUTE format('ALTER TABLE %s SET SCHEMA public', it.t); END LOOP; DROP TABLE dg_turn; END $$";

impl Blank {
    /// Creates a database without a schema.
    pub async fn empty(self) -> Fresh {
        self.database(false).await
    }

    /// Creates a database with the program's schema.
    pub async fn migrated(self) -> Fresh {
        self.database(true).await
    }

    /// Returns SQL that restores the schema before rows had places and edges positions (ADR 12). Rows become as that
    /// program wrote them.
    pub fn to_the_schema_before(self) -> &'static [&'static str] {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => &[
                "DROP INDEX dg_cg_edges_from",
                "DROP INDEX dg_cg_edges_to",
                "ALTER TABLE dg_cg_edges DROP COLUMN from_node_id_since",
                "ALTER TABLE dg_cg_edges DROP COLUMN to_node_id_since",
                "CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_key, log_seq)",
                "CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_key, log_seq)",
                "UPDATE dg_cg_nodes SET row_key = substr(row_key, 5)",
                "UPDATE dg_cg_edges SET row_key = substr(row_key, 5)",
                "UPDATE dg_trace_summary SET row_key = substr(row_key, 5)",
                "UPDATE dg_policy_eval_index SET row_key = substr(row_key, 5)",
                "UPDATE dg_precedent_index SET row_key = substr(row_key, 5), trace_id_key = substr(trace_id_key, 5)",
                "DROP INDEX dg_scope_drift",
                "ALTER TABLE dg_scope DROP COLUMN drift_generation",
                "ALTER TABLE dg_scope DROP COLUMN drift_found_at_ms",
                "ALTER TABLE dg_scope DROP COLUMN drift_run",
                "ALTER TABLE dg_node DROP COLUMN not_before_ms",
                "ALTER TABLE dg_node DROP COLUMN process",
                "DROP TABLE dg_seal",
                "DROP TABLE dg_seal_chunk",
                "DROP TABLE dg_seal_node",
                "DROP TABLE dg_seal_note",
                "DROP TABLE dg_audit",
                "ALTER TABLE dg_run DROP COLUMN reason",
                "ALTER TABLE dg_run DROP COLUMN requested_by",
                "ALTER TABLE dg_run DROP COLUMN metadata",
                "DROP INDEX dg_event_log_start",
                "DELETE FROM refinery_schema_history WHERE version >= 10",
                "UPDATE dg_schema SET serves_from = 9",
            ],
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => &[
                WITHOUT_WALLS,
                "DROP INDEX dg_cg_edges_from",
                "DROP INDEX dg_cg_edges_to",
                "ALTER TABLE dg_cg_nodes ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid",
                "ALTER TABLE dg_cg_edges ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid, \
                 DROP COLUMN from_node_id_since, DROP COLUMN to_node_id_since",
                "ALTER TABLE dg_trace_summary ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid",
                "ALTER TABLE dg_policy_eval_index ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid",
                "ALTER TABLE dg_precedent_index ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid, \
                 ALTER trace_id_key TYPE uuid USING encode(substr(trace_id_key, 5), 'hex')::uuid",
                "CREATE INDEX dg_cg_edges_from ON dg_cg_edges (tenant_id, generation, from_node_id_key, log_seq)",
                "CREATE INDEX dg_cg_edges_to ON dg_cg_edges (tenant_id, generation, to_node_id_key, log_seq)",
                "ALTER TABLE dg_scope DROP COLUMN drift_generation, DROP COLUMN drift_found_at, DROP COLUMN drift_run",
                "ALTER TABLE dg_node DROP COLUMN not_before, DROP COLUMN process",
                "DROP TABLE dg_seal, dg_seal_chunk, dg_seal_node, dg_seal_note",
                "DROP TABLE dg_audit",
                "ALTER TABLE dg_run DROP COLUMN reason, DROP COLUMN requested_by, DROP COLUMN metadata",
                "DROP INDEX dg_event_log_start",
                "DROP TABLE dg_trace_turn",
                "DELETE FROM refinery_schema_history WHERE version >= 7",
                "UPDATE dg_schema SET serves_from = 6",
            ],
        }
    }

    /// Returns SQL that restores the schema before places were by number, with its rows in other places.
    pub fn to_other_places(self) -> &'static [&'static str] {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => &[
                "UPDATE dg_cg_nodes SET row_key = CAST(x'00000000' || substr(row_key, 5) AS BLOB)",
                "UPDATE dg_cg_edges SET row_key = CAST(x'00000000' || substr(row_key, 5) AS BLOB)",
                "UPDATE dg_trace_summary SET row_key = CAST(x'00000000' || substr(row_key, 5) AS BLOB)",
                "UPDATE dg_policy_eval_index SET row_key = CAST(x'00000000' || substr(row_key, 5) AS BLOB)",
                "UPDATE dg_precedent_index SET row_key = CAST(x'00000000' || substr(row_key, 5) AS BLOB), \
                 trace_id_key = CAST(x'00000000' || substr(trace_id_key, 5) AS BLOB)",
                "DROP INDEX dg_scope_drift",
                "ALTER TABLE dg_scope DROP COLUMN drift_generation",
                "ALTER TABLE dg_scope DROP COLUMN drift_found_at_ms",
                "ALTER TABLE dg_scope DROP COLUMN drift_run",
                "ALTER TABLE dg_node DROP COLUMN not_before_ms",
                "ALTER TABLE dg_node DROP COLUMN process",
                "DROP TABLE dg_seal",
                "DROP TABLE dg_seal_chunk",
                "DROP TABLE dg_seal_node",
                "DROP TABLE dg_seal_note",
                "DROP TABLE dg_audit",
                "ALTER TABLE dg_run DROP COLUMN reason",
                "ALTER TABLE dg_run DROP COLUMN requested_by",
                "ALTER TABLE dg_run DROP COLUMN metadata",
                "DROP INDEX dg_event_log_start",
                "DELETE FROM refinery_schema_history WHERE version >= 13",
                "UPDATE dg_schema SET serves_from = 12",
            ],
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => &[
                WITHOUT_WALLS,
                "UPDATE dg_cg_nodes SET row_key = '\\x00000000'::bytea || substr(row_key, 5)",
                "UPDATE dg_cg_edges SET row_key = '\\x00000000'::bytea || substr(row_key, 5)",
                "UPDATE dg_trace_summary SET row_key = '\\x00000000'::bytea || substr(row_key, 5)",
                "UPDATE dg_policy_eval_index SET row_key = '\\x00000000'::bytea || substr(row_key, 5)",
                "UPDATE dg_precedent_index SET row_key = '\\x00000000'::bytea || substr(row_key, 5), \
                 trace_id_key = '\\x00000000'::bytea || substr(trace_id_key, 5)",
                "ALTER TABLE dg_scope DROP COLUMN drift_generation, DROP COLUMN drift_found_at, DROP COLUMN drift_run",
                "ALTER TABLE dg_node DROP COLUMN not_before, DROP COLUMN process",
                "DROP TABLE dg_seal, dg_seal_chunk, dg_seal_node, dg_seal_note",
                "DROP TABLE dg_audit",
                "ALTER TABLE dg_run DROP COLUMN reason, DROP COLUMN requested_by, DROP COLUMN metadata",
                "DROP INDEX dg_event_log_start",
                "DROP TABLE dg_trace_turn",
                "DELETE FROM refinery_schema_history WHERE version >= 9",
                "UPDATE dg_schema SET serves_from = 8",
            ],
        }
    }

    /// Returns SQL that restores the schema in which a change had one row, with some changes.
    pub fn to_one_row_per_change(self) -> [&'static str; 8] {
        let [made, rows] = match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => [
                "CREATE TABLE dg_change (change_id INTEGER PRIMARY KEY AUTOINCREMENT, asked_at_ms INTEGER NOT NULL, what TEXT NOT NULL, \
                 tenant_id TEXT, projection TEXT, subject TEXT, asked_by TEXT NOT NULL, through TEXT NOT NULL, reason TEXT NOT NULL, \
                 outcome TEXT) STRICT",
                "INSERT INTO dg_change (asked_at_ms, what, tenant_id, asked_by, through, reason, outcome) VALUES \
                 (1, 'pause', 'a', 'ada@vm by uid 7', 'n', 'a review', NULL), (2, 'rebuild', 'a', 'ada@vm by uid 7', 'n', '', 'begun'), \
                 (3, 'forget', NULL, 'ada@vm by uid 7', 'n', '', 'conflict: node `a` is alive'), \
                 (4, 'drain', NULL, 'ada@vm by uid 7', 'n', 'disk', 'storage: the disk: is full')",
            ],
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => [
                "CREATE TABLE dg_change (change_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                 asked_at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL, tenant_id text, projection text, \
                 subject text, asked_by text NOT NULL, through text NOT NULL, reason text NOT NULL, outcome text)",
                "INSERT INTO dg_change (what, tenant_id, asked_by, through, reason, outcome) VALUES \
                 ('pause', 'a', 'ada@vm by uid 7', 'n', 'a review', NULL), ('rebuild', 'a', 'ada@vm by uid 7', 'n', '', 'begun'), \
                 ('forget', NULL, 'ada@vm by uid 7', 'n', '', 'conflict: node `a` is alive'), \
                 ('drain', NULL, 'ada@vm by uid 7', 'n', 'disk', 'storage: the disk: is full')",
            ],
        };
        let last = match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => "DELETE FROM refinery_schema_history WHERE version >= 20",
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => "DELETE FROM refinery_schema_history WHERE version >= 17",
        };
        [
            "DROP TABLE dg_seal",
            "DROP TABLE dg_seal_chunk",
            "DROP TABLE dg_seal_node",
            "DROP TABLE dg_seal_note",
            "DROP TABLE dg_audit",
            made,
            rows,
            last,
        ]
    }

    /// Returns SQL that removes the rules by which the schema refuses rows.
    pub fn to_lawlessness(self) -> &'static [&'static str] {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => {
                &["DROP TRIGGER IF EXISTS dg_event_log_tenant", "DROP TRIGGER IF EXISTS dg_event_log_tags"]
            }
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => &[
                "DO $$ DECLARE rule record; BEGIN FOR rule IN SELECT conrelid::regclass AS t, conname FROM pg_constraint \
                 WHERE contype = 'c' AND conname ~ '_(tenant|tags|digest)$' AND connamespace = 'public'::regnamespace LOOP \
                 EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.t, rule.conname); END LOOP; END $$",
            ],
        }
    }

    /// Returns SQL that makes every process's lease look as after the database's clock was set back by this many
    /// seconds.
    pub fn clock_set_back(self, seconds: u32) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => format!(
                "UPDATE dg_node SET not_before_ms = not_before_ms + {seconds}000, expires_at_ms = expires_at_ms + {seconds}000"
            ),
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => format!(
                "UPDATE dg_node SET not_before = not_before + '{seconds} s'::interval, expires_at = expires_at + '{seconds} s'::interval"
            ),
        }
    }

    /// Returns SQL that gives the next event of the log this position or one soon after it.
    pub fn to_position(self, log_seq: i64) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => format!("UPDATE sqlite_sequence SET seq = {log_seq} WHERE name = 'dg_event_log'"),
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => format!("ALTER TABLE dg_event_log ALTER log_seq RESTART WITH {log_seq}"),
        }
    }

    async fn database(self, migrated: bool) -> Fresh {
        match self {
            #[cfg(feature = "sqlite")]
            Blank::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let url = DatabaseUrl::Sqlite(folder.path().join("store.db"));
                let fresh = Fresh::of(url, Arc::new(folder)).await;
                if migrated {
                    fresh.store.migrate().await.expect("a schema");
                }
                fresh
            }
            #[cfg(feature = "throwaway-postgres")]
            Blank::Postgres => {
                let server = decisiongraph_store::throwaway::shared().await.expect("a server");
                // A migrated database is copied from a template, which is quicker than a migration.
                let database = match migrated {
                    true => server.fresh_database().await,
                    false => server.empty_database().await,
                };
                let database = database.expect("a database");
                let url = DatabaseUrl::parse(database.url()).expect("a URL");
                Fresh::of(url, Arc::new(database)).await
            }
        }
    }
}

/// A database that lives as long as this value.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub url: DatabaseUrl,
    /// Removes the database when it is dropped.
    _keep: Arc<dyn Any + Send + Sync>,
}

impl Fresh {
    async fn of(url: DatabaseUrl, keep: Arc<dyn Any + Send + Sync>) -> Fresh {
        let store = open(&url, StoreOptions::default()).await.expect("a store");
        Fresh { store, url, _keep: keep }
    }

    /// Opens the same database as another process would.
    pub async fn again(&self) -> Fresh {
        Fresh::of(self.url.clone(), self._keep.clone()).await
    }

    /// Executes a statement that the store never would, and returns the number of changed rows.
    pub async fn raw(&self, sql: &str) -> u64 {
        match &self.url {
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(path) => {
                let conn = rusqlite::Connection::open(path).expect("the file");
                conn.busy_timeout(std::time::Duration::from_secs(10)).expect("a setting");
                conn.execute(sql, []).expect("the statement") as u64
            }
            #[cfg(feature = "throwaway-postgres")]
            DatabaseUrl::Postgres(url) => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
                let connection = tokio::spawn(connection);
                let changed = client.execute(sql, &[]).await.expect("the statement");
                drop(client);
                connection.await.expect("no panic").expect("a clean end");
                changed
            }
            #[allow(unreachable_patterns)]
            other => panic!("not built for {other}"),
        }
    }
}
