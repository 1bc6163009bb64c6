//! Sees when events become visible: asks the database again and again for the cursors, on a thread of its own.
//!
//! *Guarantees.* An event counts as visible when the answer that shows it has arrived, in every projection. So the
//! reported time is never too short. The time between two checks is reported too.
//!
//! *Never:* goes through the runtime's own code; these are plain statements on a connection of their own.

use anyhow::{Context as _, Result};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, Statement};

/// Pause between two checks. With the check itself, well below a millisecond.
const PAUSE: Duration = Duration::from_micros(200);
/// Longest wait for the last events after the appender stopped.
const LAST_MAX: Duration = Duration::from_secs(120);

/// Reader of the positions of tenants in a database.
pub struct Cursors(Source);

enum Source {
    Postgres { runtime: Runtime, client: tokio_postgres::Client, statement: Statement },
    Embedded(rusqlite::Connection),
}

impl Cursors {
    /// Connects. Must not be called inside a runtime.
    pub fn open(url: &str) -> Result<Cursors> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = rusqlite::Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            return Ok(Cursors(Source::Embedded(connection)));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, statement) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("the poller cannot connect")?;
            tokio::spawn(connection);
            client.batch_execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan").await?;
            let sql = "SELECT tenant_id, min(cursor_seq), count(*) FROM dg_scope WHERE tenant_id = ANY ($1) GROUP BY tenant_id";
            let statement = client.prepare(sql).await?;
            anyhow::Ok((client, statement))
        })?;
        Ok(Cursors(Source::Postgres { runtime, client, statement }))
    }

    /// Returns the position up to which every projection has applied the events of each of these tenants. Tenants
    /// without all scopes are left out.
    pub fn look(&self, tenants: &BTreeSet<&str>) -> Result<HashMap<String, LogSeq>> {
        let whole = |scopes: i64| scopes == catalogue::ALL.len() as i64;
        match &self.0 {
            Source::Postgres { runtime, client, statement } => {
                let tenants: Vec<&str> = tenants.iter().copied().collect();
                let rows = runtime.block_on(client.query(statement, &[&tenants]))?;
                let rows = rows.iter().filter(|row| whole(row.get(2)));
                Ok(rows.map(|row| (row.get(0), LogSeq(row.get(1)))).collect())
            }
            Source::Embedded(connection) => {
                let sql = "SELECT tenant_id, min(cursor), count(*) FROM dg_scope \
                           WHERE tenant_id IN (SELECT value FROM json_each(?1)) GROUP BY tenant_id";
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query([serde_json::to_string(tenants)?])?;
                let mut found = HashMap::new();
                while let Some(row) = rows.next()? {
                    if whole(row.get(2)?) {
                        found.insert(row.get(0)?, LogSeq(row.get(1)?));
                    }
                }
                Ok(found)
            }
        }
    }
}

/// A committed event.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Position of the event.
    pub log_seq: LogSeq,
    /// Time at which its append had returned.
    pub at: Instant,
}

/// Results of a watch.
#[derive(Debug, Default)]
pub struct Seen {
    /// Per event: the time of its append's return, and milliseconds from then until it was visible in all projections.
    pub events: Vec<(Instant, f64)>,
    /// Milliseconds from the answer of one check to the answer of the next.
    pub looks_ms: Vec<f64>,
}

/// A running watcher.
pub struct Watch {
    /// Sender of the events to watch for.
    pub appended: Sender<Appended>,
    thread: JoinHandle<Result<Seen>>,
}

impl Watch {
    /// Starts watching this store.
    pub fn start(url: &str) -> Result<Watch> {
        let (appended, events) = channel();
        let url = url.to_owned();
        let thread = std::thread::Builder::new().name("cursors".to_owned()).spawn(move || {
            let cursors = Cursors::open(&url)?;
            watch(&cursors, &events)
        })?;
        Ok(Watch { appended, thread })
    }

    /// Waits for the events that are not visible yet, and returns all results. Fails when some events do not become
    /// visible within `LAST_MAX`.
    pub async fn end(self) -> Result<Seen> {
        let Watch { appended, thread } = self;
        drop(appended);
        tokio::task::spawn_blocking(move || thread.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    }
}

fn watch(cursors: &Cursors, events: &Receiver<Appended>) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut waiting: Vec<Appended> = Vec::new();
    let mut ended: Option<Instant> = None;
    let mut last: Option<Instant> = None;
    loop {
        if waiting.is_empty() {
            last = None;
            match events.recv_timeout(LAST_MAX) {
                Ok(event) => waiting.push(event),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(seen),
            }
        }
        loop {
            match events.try_recv() {
                Ok(event) => waiting.push(event),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    ended.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        let tenants: BTreeSet<&str> = waiting.iter().map(|event| event.tenant.as_str()).collect();
        let found = cursors.look(&tenants)?;
        let now = Instant::now();
        waiting.retain(|event| {
            let visible = found.get(event.tenant.as_str()).is_some_and(|cursor| *cursor >= event.log_seq);
            if visible {
                seen.events.push((event.at, now.saturating_duration_since(event.at).as_secs_f64() * 1_000.0));
            }
            !visible
        });
        seen.looks_ms.extend(last.map(|last| (now - last).as_secs_f64() * 1_000.0));
        last = Some(now);
        if ended.is_some_and(|ended| ended.elapsed() > LAST_MAX)
            && let Some(Appended { tenant, log_seq, .. }) = waiting.first()
        {
            anyhow::bail!(
                "{} of {} events did not become visible within {LAST_MAX:?} after the last append; the first is {tenant}'s at {log_seq}",
                waiting.len(),
                waiting.len() + seen.events.len()
            );
        }
        std::thread::sleep(PAUSE);
    }
}
