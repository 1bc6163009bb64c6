//! Connections: the set-up of every session, the pool for reads and short transactions, and the sessions that write
//! batches.
//!
//! *Guarantees.* Every session runs at READ COMMITTED with `row_security` off and `synchronous_commit` on. The server
//! ends a session that holds a transaction open for too long: time-outs are part of the commit protocol. A session that
//! lacks these settings (a pooler drops them) is refused before its first use. A session of a server that is too old is
//! refused likewise. In every other session, names mean the same as for the migrator (`sql/session.sql`).
//!
//! [`Connections::hang_up`] ends every session at once, also sessions with a waiting caller. When the network has
//! forgotten a connection, nothing else ends it for a long time. A hang-up also follows an overdue answer
//! ([`Connections::overdue`]).
//!
//! [`Connections::retire`] is milder: work under way on a session ends normally, and the next use is on a new session.
//! An address may lead to another server meanwhile. A session also keeps the read-only state that the database had when
//! it was made.
//!
//! *Never here:* reconnect loops. A writer's session that is lost is replaced once per call that takes a new epoch.

use super::append::Waiting;
use super::errors::{During as _, explain_connect, explain_pool};
use super::group::{Queue, Work};
use super::log::SQL;
use super::tls::TlsChoice;
use crate::{BuildLease, Result, SESSION_NAME, Scope, StoreError, StoreOptions};
use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod, Runtime,
};
use decisiongraph_projections::{Category, catalogue};
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

const SESSION_SQL: &str = include_str!("sql/session.sql");

/// Longest idle time of a read view inside its snapshot.
pub(super) const SNAPSHOT_IDLE: Duration = Duration::from_secs(300);
/// Number of statements of a read or a short transaction, one of them slow.
pub(super) const READ_STATEMENTS: u32 = 2;
/// Number of statements of a batch, or of an append.
pub(super) const BATCH_STATEMENTS: u32 = 6;
/// Number of appends under way that may hold the events of several offers.
const OFFER_QUEUES: usize = 2;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// All connections of one store.
pub(super) struct Connections {
    config: Config,
    tls: TlsChoice,
    address: String,
    pool: Pool,
    /// Longest time until a new session is ready, over all hosts of the URL.
    patience: Duration,
    /// Count of hang-ups; every session ends with the next one.
    hang_ups: watch::Sender<u64>,
    /// Instant of the last retirement; sessions that were made before are not used any more.
    retired: Arc<Mutex<Instant>>,
    /// Longest time that the server works on a statement.
    statement_max: Duration,
    writers: Vec<Slot>,
    builders: Vec<Slot>,
    /// Appends that wait.
    pub(super) offers: [Queue<Waiting>; OFFER_QUEUES],
}

/// A place for one writer session.
#[derive(Default)]
struct Slot {
    session: tokio::sync::Mutex<Option<Session>>,
    /// Backend of the latest session of this slot. It must never be ended as a former writer's remains.
    pid: AtomicI32,
    /// Claims and batches that wait for the session.
    queue: Queue<Work>,
}

/// A session that writes batches.
pub(super) struct Session {
    /// The connection.
    pub(super) client: ClientWrapper,
    /// Number of the session in this process; a lease names it.
    pub(super) number: i64,
    /// History of its server.
    pub(super) history: String,
    pid: i32,
    made: Instant,
}

/// A writer session in use. It is closed at the end, unless [`Held::keep`] is called. An interrupted call (an error
/// halfway, a dropped future) therefore never leaves a half-done transaction to the next one.
pub(super) struct Held<'a> {
    slot: tokio::sync::MutexGuard<'a, Option<Session>>,
    session: Option<Session>,
    /// Time limit of the use; none for a rebuild, whose end may take any time.
    _overdue: Option<Overdue>,
}

/// A timer that hangs up when its time is over; see [`Connections::overdue`].
pub(super) struct Overdue(JoinHandle<()>);

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Returns the number and history of this session, as a lease records them.
    pub(super) fn named(&self) -> (i64, Option<String>) {
        (self.number, Some(self.history.clone()))
    }
}

impl Held<'_> {
    /// Returns the session.
    pub(super) fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| StoreError::internal("a writer session was used after it was given back"))
    }

    /// Returns the connection.
    pub(super) fn client(&self) -> Result<&ClientWrapper> {
        Ok(&self.session()?.client)
    }

    /// Gives the session back; it must be in no transaction.
    pub(super) fn keep(mut self) {
        *self.slot = self.session.take().filter(|session| !session.client.is_closed());
    }
}

impl Connections {
    /// Reads the URL. Does not connect yet.
    pub(super) fn new(url: &str, options: &StoreOptions) -> Result<Connections> {
        let (tls, url) = TlsChoice::take_from(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let cause = match std::error::Error::source(&error) {
                // The driver's words would show the position in the password.
                Some(cause) if cause.is::<std::str::Utf8Error>() => {
                    ": its `%` escapes are not UTF-8; write %25 for a `%` in a password".to_owned()
                }
                Some(cause) => format!(": {cause}"),
                None => String::new(),
            };
            StoreError::new(Category::InvalidArgument, format!("the database URL cannot be read{cause}"))
        })?;
        if config.get_user().is_none() {
            config.user(
                std::env::var("PGUSER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "postgres".to_owned()),
            );
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        config
            .ssl_mode(tls.mode)
            .application_name(session_name(options))
            .connect_timeout(options.connect_timeout)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(60));
        let settings = match config.get_options() {
            Some(given) => format!("{} {given}", settings(options)),
            None => settings(options),
        };
        config.options(settings);
        let patience = options.connect_timeout * u32::try_from(config.get_hosts().len()).unwrap_or(1);
        let hang_ups = watch::Sender::new(0);
        let retired = Arc::new(Mutex::new(Instant::now()));
        let manager = manager(&config, &tls, &hang_ups)?;
        let pool = Pool::builder(manager)
            .max_size(options.pool_size.max(1))
            // The most recently used connection has its statements prepared and its caches warm.
            .queue_mode(QueueMode::Lifo)
            .pre_recycle(Hook::sync_fn({
                let retired = Arc::clone(&retired);
                move |_, metrics| match metrics.created < *moment(&retired) {
                    true => Err(HookError::message("retired")),
                    false => Ok(()),
                }
            }))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(patience))
            .build()
            .map_err(|error| StoreError::internal(format!("the pool: {error}")))?;
        let slots = || (0..options.writers.max(1)).map(|_| Slot::default()).collect();
        Ok(Connections {
            address: address(&config),
            config,
            tls,
            pool,
            patience,
            hang_ups,
            retired,
            statement_max: options.statement_timeout,
            writers: slots(),
            builders: slots(),
            offers: Default::default(),
        })
    }

    /// Returns `postgres://user@host:port/database`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns a connection of the pool, for a read or a short transaction.
    pub(super) async fn get(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| explain_pool(error, &self.address))
    }

    /// Opens a separate connection, closed when dropped: for session locks and for long statements.
    pub(super) async fn dedicated(&self) -> Result<ClientWrapper> {
        let (client, driver) = self.listening(|_| {}).await?;
        Ok(ClientWrapper::new(client, driver))
    }

    /// Opens a connection that passes its notifications on, until it is lost.
    pub(super) async fn listening(&self, heard: impl FnMut(&str) + Send + 'static) -> Result<(Client, JoinHandle<()>)> {
        let connecting = async {
            if self.tls.mode == SslMode::Disable {
                connect(&self.config, NoTls, &self.hang_ups, heard).await
            } else {
                let tls = MakeRustlsConnect::new(self.tls.client_config()?);
                connect(&self.config, tls, &self.hang_ups, heard).await
            }
            .map_err(|error| explain_connect(&error, &self.address))
        };
        match tokio::time::timeout(self.patience, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(StoreError::transient(
                Category::Unavailable,
                format!("cannot reach {}: no answer in time", self.address),
            )),
        }
    }

    /// Ends every session, whatever it is doing. A waiting caller gets the error that the connection was lost.
    pub(super) fn hang_up(&self) {
        self.hang_ups.send_modify(|count| *count += 1);
    }

    /// Ends the use of all sessions that were made before now.
    fn retire(&self) {
        *moment(&self.retired) = Instant::now();
        self.pool.retain(|_, _| false);
    }

    /// Acts on an answer's finding about its session. A session that leads to a standby or to a read-only database is
    /// retired, with the sessions that were made before it.
    pub(super) fn judged<T>(&self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| {
            if error.unfit {
                self.retire();
            }
        })
    }

    /// True when the session may still be used.
    fn is_fit(&self, session: &Session) -> bool {
        !session.client.is_closed() && session.made >= *moment(&self.retired)
    }

    /// Hangs up unless it is dropped in time. The time is that after which the server must have given up this number of
    /// statements. Either they were not sent or the answer is lost, and the network has forgotten that connection. (A
    /// lost lease renewal leads to a hang-up, too; but the renewal may have been sent on another connection.)
    pub(super) fn overdue(&self, statements: u32) -> Overdue {
        let (patience, hang_ups) = (self.statement_max.saturating_mul(statements), self.hang_ups.clone());
        Overdue(tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            hang_ups.send_modify(|count| *count += 1);
        }))
    }

    /// Returns the place of the session that writes this scope's live batches.
    pub(super) fn place(&self, scope: &Scope) -> usize {
        place(scope, self.writers.len())
    }

    /// Returns what waits for the session at this place.
    pub(super) fn queue(&self, place: usize) -> &Queue<Work> {
        &self.writers[place].queue
    }

    /// Returns the session at this place, and connects it if necessary.
    pub(super) async fn writer(&self, place: usize) -> Result<Held<'_>> {
        let mut held = self.hold(&self.writers[place]).await?;
        held._overdue = Some(self.overdue(BATCH_STATEMENTS));
        Ok(held)
    }

    /// Returns the session that writes this scope's rebuilds. It is a different one, so that a rebuild does not delay
    /// the live batches.
    pub(super) async fn builder(&self, scope: &Scope) -> Result<Held<'_>> {
        self.hold(&self.builders[place(scope, self.builders.len())]).await
    }

    async fn hold<'a>(&'a self, slot: &'a Slot) -> Result<Held<'a>> {
        let mut place = slot.session.lock().await;
        let session = match place.take().filter(|session| self.is_fit(session)) {
            Some(session) => session,
            None => {
                let session = self.connect_session().await?;
                slot.pid.store(session.pid, Ordering::Relaxed);
                session
            }
        };
        Ok(Held { slot: place, session: Some(session), _overdue: None })
    }

    /// Returns the session at this place as it is, for the leases that name it. None when it is lost.
    pub(super) async fn leased(&self, place: usize) -> Option<Held<'_>> {
        let mut held = self.kept(&self.writers[place]).await?;
        held._overdue = Some(self.overdue(BATCH_STATEMENTS));
        Some(held)
    }

    /// Returns the session that the lease of a rebuild names, or `fenced`.
    pub(super) async fn building(&self, lease: &BuildLease) -> Result<Held<'_>> {
        let slot = &self.builders[place(&lease.scope, self.builders.len())];
        match self.kept(slot).await {
            Some(held) if held.session()?.number == lease.session => Ok(held),
            other => {
                other.into_iter().for_each(Held::keep);
                Err(session_gone(&lease.scope))
            }
        }
    }

    async fn kept<'a>(&self, slot: &'a Slot) -> Option<Held<'a>> {
        let mut slot = slot.session.lock().await;
        let session = slot.take().filter(|session| self.is_fit(session))?;
        Some(Held { slot, session: Some(session), _overdue: None })
    }

    async fn connect_session(&self) -> Result<Session> {
        static NUMBER: AtomicI64 = AtomicI64::new(1);
        let _overdue = self.overdue(READ_STATEMENTS);
        let made = Instant::now();
        let client = self.dedicated().await?;
        let row = client.query_one(sql!(SQL, "session"), &[]).await.during("open a writer session")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Session { client, number, pid: row.get(0), history: row.get(1), made })
    }

    /// True when this backend belongs to a session that this store uses. (A lost session is forgotten when its slot
    /// connects again, which every acquisition does first.)
    pub(super) fn is_own(&self, pid: i32) -> bool {
        self.writers.iter().chain(&self.builders).any(|slot| slot.pid.load(Ordering::Relaxed) == pid)
    }
}

/// Creates `fenced` of a lease whose session is gone. A lease does not outlive its session, because the work of the
/// lost session on the server is unknown.
pub(super) fn session_gone(scope: &Scope) -> StoreError {
    StoreError::fenced(format!("{scope}: the session of this lease is gone; take a new epoch"))
}

fn moment(retired: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Chooses the slot of a scope: the projections of a tenant, and its seal, are spread over all of them.
fn place(scope: &Scope, slots: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    scope.tenant.as_str().hash(&mut hasher);
    let projection = catalogue::ALL_WITH_SEAL.iter().position(|p| p.name() == scope.projection).unwrap_or_default();
    (hasher.finish() as usize).wrapping_add(projection) % slots
}

fn manager(config: &Config, tls: &TlsChoice, hang_ups: &watch::Sender<u64>) -> Result<Manager> {
    let (recycling, hang_ups) = (ManagerConfig { recycling_method: RecyclingMethod::Fast }, hang_ups.clone());
    Ok(match tls.mode {
        SslMode::Disable => Manager::from_connect(config.clone(), Dialer { tls: NoTls, hang_ups }, recycling),
        _ => {
            let tls = MakeRustlsConnect::new(tls.client_config()?);
            Manager::from_connect(config.clone(), Dialer { tls, hang_ups }, recycling)
        }
    })
}

/// Creates the pool's sessions, so that they end with a hang-up like all others.
struct Dialer<T> {
    tls: T,
    hang_ups: watch::Sender<u64>,
}

impl<T> Connect for Dialer<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>>
    {
        let config = config.clone();
        Box::pin(async move { connect(&config, self.tls.clone(), &self.hang_ups, |_| {}).await })
    }
}

async fn connect<T>(
    config: &Config,
    tls: T,
    hang_ups: &watch::Sender<u64>,
    heard: impl FnMut(&str) + Send + 'static,
) -> std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    // Subscribed before the attempt: a hang-up meanwhile is one of this session, too.
    let mut hang_ups = hang_ups.subscribe();
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        tokio::select! {
            () = drive(connection, heard) => {}
            Ok(()) = hang_ups.changed() => {}
        }
    });
    client.batch_execute(sql!(SESSION_SQL, "begin")).await?;
    Ok((client, driver))
}

/// Drives the connection until it ends; users of the client then see that it is closed.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, mut heard: impl FnMut(&str))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            heard(notification.channel());
        }
    }
}

/// Builds the name of these sessions for the server's other users.
fn session_name(options: &StoreOptions) -> String {
    match options.session_name.as_deref() {
        Some(name) => format!("{SESSION_NAME} {name}"),
        None => SESSION_NAME.to_owned(),
    }
}

/// Builds the settings of every session, sent with the connection's start so that they cost no round trip.
///
/// The planner is held to nested loops over indexes, in the index's order, with one generic plan per statement. Every
/// statement of this store looks up given keys. A plan that was chosen while a table was small must not become a scan
/// when it has grown. ("Off" makes a way expensive, not impossible: a sort that nothing can replace is still done.)
fn settings(options: &StoreOptions) -> String {
    let ms = |duration: Duration| duration.as_millis().max(1);
    [
        format!("statement_timeout={}", ms(options.statement_timeout)),
        format!("lock_timeout={}", ms(options.statement_timeout)),
        format!("idle_in_transaction_session_timeout={}", ms(options.idle_in_transaction_timeout)),
        "default_transaction_isolation=read\\ committed".to_owned(),
        "row_security=off".to_owned(),
        "synchronous_commit=on".to_owned(),
        "timezone=UTC".to_owned(),
        "client_encoding=UTF8".to_owned(),
        "tcp_keepalives_idle=30".to_owned(),
        "tcp_keepalives_interval=10".to_owned(),
        "tcp_keepalives_count=3".to_owned(),
        "plan_cache_mode=force_generic_plan".to_owned(),
        "enable_seqscan=off".to_owned(),
        "enable_hashjoin=off".to_owned(),
        "enable_mergejoin=off".to_owned(),
        "enable_bitmapscan=off".to_owned(),
        "enable_sort=off".to_owned(),
        "enable_incremental_sort=off".to_owned(),
        "jit=off".to_owned(),
        // Checked by session.sql, to see that the settings have arrived.
        "decisiongraph.session=begun".to_owned(),
    ]
    .map(|setting| format!("-c {setting}"))
    .join(" ")
}

/// Lists every host that the URL names, without the password.
fn address(config: &Config) -> String {
    let (ports, user) = (config.get_ports(), config.get_user().unwrap_or_default());
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let host = match host {
            Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
            #[allow(unreachable_patterns)]
            _ => "localhost".to_owned(),
        };
        // One port for all hosts, or one port per host.
        format!("{host}:{}", ports.get(index).or(ports.first()).copied().unwrap_or(5432))
    });
    let hosts: Vec<String> = hosts.collect();
    format!("postgres://{user}@{}/{}", hosts.join(","), config.get_dbname().unwrap_or(user))
}
