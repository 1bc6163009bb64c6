//! Place of the benchmark: databases made and dropped on a PostgreSQL server, or files in a temporary directory.
//!
//! *Never:* touches a database or file that it did not make.

use super::meters::LocalServer;
use anyhow::{Context as _, Result};
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{AppendMode, DatabaseUrl, Store, StoreOptions, Verdict, open};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_postgres::{Client, NoTls};

/// Events per append when a log is prepared.
const LOAD_BATCH: usize = 1_000;

/// Place of the benchmark's stores.
pub enum Place {
    /// Databases on this server.
    Postgres(Box<PostgresPlace>),
    /// Files in a directory.
    Embedded {
        /// Directory of the files, removed with this value.
        directory: tempfile::TempDir,
        /// Files made so far.
        made: AtomicUsize,
    },
}

/// A PostgreSQL server.
pub struct PostgresPlace {
    server: Server,
    admin: Client,
    local: Option<LocalServer>,
    made: AtomicUsize,
}

/// A store of the benchmark's own.
#[derive(Debug, Clone)]
pub struct Site {
    /// Address of the store, as the program takes it.
    pub url: String,
}

impl Site {
    /// Returns the file of an embedded store.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.url.strip_prefix("sqlite:").unwrap_or(&self.url))
    }

    /// Opens the store.
    pub async fn open(&self, pool_size: usize) -> Result<Arc<dyn Store>> {
        let options = StoreOptions { pool_size, ..StoreOptions::default() };
        Ok(open(&DatabaseUrl::parse(&self.url)?, options).await?)
    }
}

/// Cost of the server up to one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// CPU seconds of all its processes.
    pub cpu_seconds: Option<f64>,
    /// Bytes of write-ahead log.
    pub wal_bytes: Option<f64>,
}

impl Spent {
    /// Returns the cost from then to now.
    pub fn since(self, then: Spent) -> Spent {
        let minus = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        Spent {
            cpu_seconds: minus(self.cpu_seconds, then.cpu_seconds),
            wal_bytes: minus(self.wal_bytes, then.wal_bytes),
        }
    }
}

impl Place {
    /// Makes files in a directory of their own.
    pub fn embedded() -> Result<Place> {
        let directory = tempfile::Builder::new().prefix("decisiongraph-bench-").tempdir()?;
        Ok(Place::Embedded { directory, made: AtomicUsize::new(0) })
    }

    /// Uses the server of this URL. Without one, starts a server with room in memory for the measured data.
    pub async fn postgres(url: Option<String>) -> Result<Place> {
        let server = match url {
            Some(url) => Server::at(url),
            None => {
                let server = Server::start().await?;
                let admin = connect(server.admin_url()).await?;
                admin.batch_execute("ALTER SYSTEM SET shared_buffers = '1GB'").await?;
                admin.batch_execute("ALTER SYSTEM SET max_wal_size = '8GB'").await?;
                drop(admin);
                server.restart(StopMode::Fast).await?;
                server
            }
        };
        let admin = connect(server.admin_url()).await?;
        let pid: i32 = admin.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let local = LocalServer::of_backend(pid);
        Ok(Place::Postgres(Box::new(PostgresPlace { server, admin, local, made: AtomicUsize::new(0) })))
    }

    /// True when this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Place::Postgres(_))
    }

    /// Returns the main process of the server, when it runs on this machine.
    pub fn server_process(&self) -> Option<u32> {
        match self {
            Place::Postgres(place) => place.local.as_ref().map(LocalServer::main_process),
            Place::Embedded { .. } => None,
        }
    }

    /// Returns versions and settings that matter.
    pub async fn settings(&self) -> Result<Vec<(String, String)>> {
        match self {
            Place::Embedded { directory, .. } => Ok(vec![
                ("store".to_owned(), format!("embedded, SQLite {}, WAL, synchronous = FULL", rusqlite::version())),
                ("directory".to_owned(), directory.path().display().to_string()),
            ]),
            Place::Postgres(place) => {
                let mut settings = Vec::new();
                for name in [
                    "server_version",
                    "fsync",
                    "synchronous_commit",
                    "full_page_writes",
                    "wal_level",
                    "shared_buffers",
                    "max_wal_size",
                    "autovacuum",
                    "jit",
                ] {
                    let row = place.admin.query_one("SELECT current_setting($1)", &[&name]).await?;
                    settings.push((format!("pg {name}"), row.get(0)));
                }
                let measured =
                    if place.local.is_some() { "this machine" } else { "elsewhere: its CPU is not measured" };
                settings.push(("pg server".to_owned(), measured.to_owned()));
                let huge = place.local.as_ref().and_then(LocalServer::huge_pages);
                let huge = huge.map_or("unknown", |huge| if huge { "in use" } else { "none" });
                settings.push(("pg huge pages".to_owned(), huge.to_owned()));
                Ok(settings)
            }
        }
    }

    /// Makes a migrated, empty store.
    pub async fn fresh(&self) -> Result<Site> {
        let site = self.unused().await?;
        if let Place::Postgres(place) = self {
            place.admin.batch_execute(&format!("CREATE DATABASE {}", place.name_of(&site))).await?;
        }
        site.open(1).await?.migrate().await?;
        Ok(site)
    }

    /// Makes a store with these events of one tenant in its log, and nothing projected.
    pub async fn loaded(&self, events: &[Admitted]) -> Result<Site> {
        let site = self.fresh().await?;
        self.append(&site, events).await?;
        Ok(site)
    }

    /// Appends events that must all be stored.
    pub async fn append(&self, site: &Site, events: &[Admitted]) -> Result<()> {
        let store = site.open(2).await?;
        for batch in events.chunks(LOAD_BATCH) {
            let verdicts = store.append(&TenantId::default(), batch, AppendMode::AllOrNothing).await?;
            let refused = verdicts.iter().find(|verdict| !matches!(verdict, Verdict::Accepted { .. }));
            anyhow::ensure!(refused.is_none(), "an event of the workload is not stored: {refused:?}");
        }
        drop(store);
        self.settle(site).await
    }

    /// Spoils the hashes of all events behind a position: no projection takes them.
    pub async fn spoil(&self, site: &Site, after: LogSeq) -> Result<()> {
        let sql = format!("UPDATE dg_event_log SET payload_hash = 'sha256:00' WHERE log_seq > {}", after.0);
        match self {
            Place::Embedded { .. } => rusqlite::Connection::open(site.path())?.execute_batch(&sql)?,
            Place::Postgres(_) => connect(&site.url).await?.batch_execute(&sql).await?,
        }
        Ok(())
    }

    /// Updates statistics and makes a checkpoint, so that the next measure does not pay for earlier work.
    pub async fn settle(&self, site: &Site) -> Result<()> {
        if self.is_postgres() {
            connect(&site.url).await?.batch_execute("VACUUM ANALYZE").await?;
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Makes a checkpoint. Everything written so far is then on disk, and the next write of a page logs it in full
    /// again.
    pub async fn checkpoint(&self) -> Result<()> {
        if let Place::Postgres(place) = self {
            place.admin.batch_execute("CHECKPOINT").await?;
        }
        Ok(())
    }

    /// Copies a store that no process uses.
    pub async fn copy(&self, site: &Site) -> Result<Site> {
        let copy = self.unused().await?;
        match self {
            Place::Embedded { .. } => {
                // Everything is in the main file once its write-ahead log is checkpointed.
                let connection = rusqlite::Connection::open(site.path())?;
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
                drop(connection);
                std::fs::copy(site.path(), copy.path())?;
            }
            Place::Postgres(place) => {
                let (from, to) = (place.name_of(site), place.name_of(&copy));
                let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'");
                place.admin.batch_execute(&end).await?;
                place.admin.batch_execute(&format!("CREATE DATABASE {to} TEMPLATE {from}")).await?;
                self.checkpoint().await?;
            }
        }
        Ok(copy)
    }

    /// Removes a store.
    pub async fn remove(&self, site: Site) -> Result<()> {
        match self {
            Place::Embedded { .. } => {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{}{suffix}", site.path().display()));
                }
            }
            Place::Postgres(place) => {
                let name = place.name_of(&site);
                place.admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
            }
        }
        Ok(())
    }

    /// Returns an address that nothing uses yet.
    pub async fn unused(&self) -> Result<Site> {
        Ok(match self {
            Place::Embedded { directory, made } => {
                let path = directory.path().join(format!("{}.db", made.fetch_add(1, Ordering::Relaxed)));
                Site { url: format!("sqlite:{}", path.display()) }
            }
            Place::Postgres(place) => {
                let number = place.made.fetch_add(1, Ordering::Relaxed);
                Site { url: place.server.url_of(&format!("dg_bench_{}_{number}", std::process::id())) }
            }
        })
    }

    /// Counts the transactions committed in a store's database so far; none on the embedded store. Another database is
    /// asked, so that the query does not count. A session reports its work about once per second.
    pub async fn transactions(&self, site: &Site) -> Result<Option<i64>> {
        let Place::Postgres(place) = self else { return Ok(None) };
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1";
        Ok(Some(place.admin.query_one(sql, &[&place.name_of(site)]).await?.get(0)))
    }

    /// Returns the cost of the server so far.
    pub async fn spent(&self) -> Result<Spent> {
        let Place::Postgres(place) = self else { return Ok(Spent::default()) };
        let wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
        Ok(Spent {
            cpu_seconds: place.local.as_ref().and_then(LocalServer::cpu_seconds),
            wal_bytes: Some(place.admin.query_one(wal, &[]).await?.get(0)),
        })
    }
}

impl PostgresPlace {
    fn name_of(&self, site: &Site) -> String {
        let path = site.url.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("the benchmark cannot connect")?;
    tokio::spawn(connection);
    Ok(client)
}
