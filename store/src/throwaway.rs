//! A real PostgreSQL server that lives as long as the process that started it: for tests, parity runs and benchmarks.
//!
//! *Guarantees.* The server listens on a private Unix socket and a free port of 127.0.0.1 only. It runs as a non-root
//! user and commits durably (`fsync` on). It is stopped and removed when [`Server`] is dropped or this process ends in
//! any way, `SIGKILL` included. A watcher process waits for the end of a pipe that only this process holds open.
//!
//! *Never:* touches a server that it did not start. The exception is the server that `DECISIONGRAPH_TEST_POSTGRES`
//! names, where it makes and drops its own databases.

mod dump;
mod standby;

use crate::{Result, StoreError, StoreOptions, launch};
use decisiongraph_projections::Category;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;

/// Variable with the URL of an administrator's database on a running server, to be used instead of starting one.
pub const SERVER_VARIABLE: &str = "DECISIONGRAPH_TEST_POSTGRES";
/// Variable with the folder of the programs of the server to start, instead of the first folder that is found.
pub const PROGRAMS_VARIABLE: &str = "DECISIONGRAPH_TEST_POSTGRES_BIN";
/// Programs that a folder must have.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];
/// A role of a started server that must give [`PASSWORD`] on TCP; every other role is trusted.
pub const PASSWORD_ROLE: &str = "dg_password";
/// Password of [`PASSWORD_ROLE`].
pub const PASSWORD: &str = "correct horse";

/// Longest time in which the processes of a killed server end.
const ORPHANS_DEADLINE: Duration = Duration::from_secs(30);
/// Time between two attempts to start beside them.
const ORPHANS_LOOK: Duration = Duration::from_millis(10);

/// Mode of stopping a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended, everything is written.
    Fast,
    /// The server stops as if the power failed: recovery at the next start.
    Immediate,
}

/// A running server.
pub struct Server {
    admin_url: String,
    started: Option<Started>,
    template: OnceCell<String>,
}

struct Started {
    binaries: PathBuf,
    user: Option<RunAs>,
    directory: PathBuf,
    port: u16,
    watcher: Option<Child>,
}

#[derive(Clone)]
struct RunAs {
    uid: u32,
    gid: u32,
}

/// A separate database, dropped with this value.
pub struct Database {
    admin_url: String,
    name: String,
    url: String,
}

impl Database {
    /// Returns the URL of the database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the name of the database on the server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, drop) = (self.admin_url.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A separate thread: a drop may run inside or outside of any runtime. A server that is gone took the database
        // along.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(execute(&admin, &drop)).ok()
        });
        let _ = dropper.join();
    }
}

/// Returns the server of this process. It is the one that [`SERVER_VARIABLE`] names. Otherwise a server is started now
/// and ends with the process.
pub async fn shared() -> Result<&'static Server> {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    SHARED
        .get_or_try_init(|| async {
            match std::env::var(SERVER_VARIABLE) {
                Ok(url) if !url.is_empty() => Ok(Server::at(url)),
                _ => Server::start().await,
            }
        })
        .await
}

impl Server {
    /// Uses a server that runs already. Only databases made here are dropped.
    pub fn at(admin_url: impl Into<String>) -> Server {
        Server { admin_url: admin_url.into(), started: None, template: OnceCell::new() }
    }

    /// Starts a separate server. `unavailable`, with the packages to install, when there are no binaries.
    pub async fn start() -> Result<Server> {
        let started = tokio::task::spawn_blocking(Started::start)
            .await
            .map_err(|_| StoreError::internal("the start of the throw-away server panicked"))??;
        let admin_url = format!("postgres://postgres@127.0.0.1:{}/postgres", started.port);
        execute(&admin_url, &format!("CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD '{PASSWORD}'")).await?;
        Ok(Server { admin_url, started: Some(started), template: OnceCell::new() })
    }

    /// Returns the URL of the administrator's database.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Returns the URL of a database of this server.
    pub fn url_of(&self, database: &str) -> String {
        let (head, query) = match self.admin_url.split_once('?') {
            Some((head, query)) => (head, format!("?{query}")),
            None => (self.admin_url.as_str(), String::new()),
        };
        let authority_at = head.find("//").map_or(0, |at| at + 2);
        let end = head[authority_at..].find('/').map_or(head.len(), |at| authority_at + at);
        format!("{}/{database}{query}", &head[..end])
    }

    /// Returns host and port of a started server, as in a URL.
    pub fn host_port(&self) -> Option<String> {
        self.started.as_ref().map(|started| format!("127.0.0.1:{}", started.port))
    }

    /// Creates a database with this program's schema.
    pub async fn fresh_database(&self) -> Result<Database> {
        let template = self
            .template
            .get_or_try_init(|| async {
                // On a server that others share, the template belongs to this process like every other database.
                let name = unique("dg_template");
                execute(&self.admin_url, &format!("CREATE DATABASE {name}")).await?;
                let options = StoreOptions { pool_size: 1, ..StoreOptions::default() };
                let store = crate::postgres::open(&self.url_of(&name), options).await?;
                store.migrate().await?;
                drop(store);
                // A template must have no sessions. Sessions of the dropped store may take a moment to end.
                let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
                execute(&self.admin_url, &end).await?;
                Ok::<String, StoreError>(name)
            })
            .await?;
        self.create(&format!("TEMPLATE {template}")).await
    }

    /// Creates a database without a schema.
    pub async fn empty_database(&self) -> Result<Database> {
        self.create("").await
    }

    /// Creates an empty database of this encoding.
    pub async fn encoded_database(&self, encoding: &str) -> Result<Database> {
        self.create(&format!("ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")).await
    }

    /// Creates a copy of a database of this server. Sessions of the original are ended.
    pub async fn copy_of(&self, original: &Database) -> Result<Database> {
        let name = original.name();
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        execute(&self.admin_url, &end).await?;
        self.create(&format!("TEMPLATE {name}")).await
    }

    async fn create(&self, options: &str) -> Result<Database> {
        let name = unique("dg_test");
        execute(&self.admin_url, &format!("CREATE DATABASE {name} {options}")).await?;
        Ok(Database { url: self.url_of(&name), admin_url: self.admin_url.clone(), name })
    }

    /// Stops a started server.
    pub async fn stop(&self, mode: StopMode) -> Result<()> {
        self.control(move |started| started.stop(mode)).await
    }

    /// Starts it again, with the same data on the same port.
    pub async fn start_again(&self) -> Result<()> {
        self.control(Started::launch).await
    }

    /// Kills its postmaster, which then cannot take leave of its clients, and starts another one on the same data.
    pub async fn crash(&self) -> Result<()> {
        self.control(Started::crash).await
    }

    /// Stops and starts it.
    pub async fn restart(&self, mode: StopMode) -> Result<()> {
        self.stop(mode).await?;
        self.start_again().await
    }

    /// Reads the log of a started server, for a failed test.
    pub fn log(&self) -> String {
        let log = self.started.as_ref().map(|started| started.directory.join("log"));
        log.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }

    async fn control<T>(&self, action: impl FnOnce(&Started) -> Result<T>) -> Result<T> {
        match &self.started {
            // Blocks this thread: a few hundred milliseconds, in a test.
            Some(started) => action(started),
            None => Err(StoreError::new(Category::InvalidArgument, "a server that was not started here is left alone")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let (Some(template), None) = (self.template.get(), &self.started) {
            let (admin_url, name) = (self.admin_url.clone(), template.clone());
            drop(Database { admin_url, name, url: String::new() });
        }
    }
}

impl Started {
    fn start() -> Result<Started> {
        let binaries = find_binaries(std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from))?;
        let user = run_as()?;
        let directory = make_directory(user.as_ref())?;
        let mut started = Started { binaries, user, directory, port: 0, watcher: None };
        started.watcher = Some(started.watch()?);
        let data = started.directory.join("data");
        started.run("initdb", |command| {
            command.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]);
        })?;
        let failed = |error| failure("write the configuration", error);
        let hba = format!(
            "local all all trust\nhost all {PASSWORD_ROLE} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n\
             host replication postgres 127.0.0.1/32 trust\n"
        );
        std::fs::write(data.join("pg_hba.conf"), hba).map_err(failed)?;
        started.launch_on_a_free_port(|started| {
            let configuration = format!(
                "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 200\n\
                 max_prepared_transactions = 8\nshared_buffers = 256MB\nmax_wal_size = 4GB\nfsync = on\n\
                 synchronous_commit = on\njit = off\nlog_min_messages = warning\n",
                started.port,
                started.directory.display()
            );
            std::fs::write(data.join("postgresql.auto.conf"), configuration).map_err(failed)
        })?;
        Ok(started)
    }

    /// Configures it for a port and launches it. The port is free when it is chosen. If another process takes it first,
    /// another port is chosen.
    fn launch_on_a_free_port(&mut self, configure: impl Fn(&Started) -> Result<()>) -> Result<()> {
        let mut problem = None;
        for _ in 0..5 {
            self.port = free_port()?;
            configure(self)?;
            match self.launch() {
                Ok(()) => return Ok(()),
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.unwrap_or_else(|| StoreError::internal("no attempt was made")))
    }

    fn launch(&self) -> Result<()> {
        let (data, log) = (self.directory.join("data"), self.directory.join("log"));
        self.run("pg_ctl", |command| {
            command.arg("-D").arg(data).arg("-l").arg(log).args(["-s", "-w", "-t", "60", "start"]);
        })
    }

    fn stop(&self, mode: StopMode) -> Result<()> {
        let mode = if mode == StopMode::Fast { "fast" } else { "immediate" };
        let data = self.directory.join("data");
        self.run("pg_ctl", |command| {
            command.arg("-D").arg(data).args(["-s", "-w", "-t", "60", "-m", mode, "stop"]);
        })
    }

    fn crash(&self) -> Result<()> {
        let failed = |error| failure("kill its postmaster", error);
        let text = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).map_err(failed)?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or_default();
        launch::signal(pid, "KILL").map_err(failed)?;
        // Its children end when they notice. Until then a new postmaster refuses to start beside them.
        let deadline = Instant::now() + ORPHANS_DEADLINE;
        loop {
            match self.launch() {
                Err(_) if Instant::now() < deadline => std::thread::sleep(ORPHANS_LOOK),
                done => return done,
            }
        }
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.command(program);
        arguments(&mut command);
        // A server inherits these, so they must not be pipes that a reader reads to their end.
        let output = self.directory.join("setup.log");
        let log = std::fs::File::create(&output).map_err(|error| failure("write its log", error))?;
        let errors = log.try_clone().map_err(|error| failure("write its log", error))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(&self.directory);
        let status = command.status().map_err(|error| failure(&format!("run {program}"), error))?;
        if status.success() {
            return Ok(());
        }
        let mut said = std::fs::read_to_string(output).unwrap_or_default();
        said.push_str(&std::fs::read_to_string(self.directory.join("log")).unwrap_or_default());
        Err(StoreError::new(
            Category::Unavailable,
            format!("the throw-away server: {program} ended with {status}: {}", said.trim()),
        ))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = launch::program(self.binaries.join(program));
        command.env("HOME", &self.directory);
        if let Some(user) = &self.user {
            // A process that is root gives up its other groups with its name.
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Starts a shell that waits until the pipe ends, for whatever reason this process ended. The shell then stops the
    /// server and removes it.
    fn watch(&self) -> Result<Child> {
        const SCRIPT: &str = r#"
            while read -r _; do :; done
            pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
            if [ -n "$pid" ]; then
                kill -QUIT "$pid" 2>/dev/null
                n=0
                while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.05; done
            fi
            rm -rf "$1"
        "#;
        launch::program("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| failure("start its watcher", error))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

fn failure(what: &str, error: std::io::Error) -> StoreError {
    StoreError::new(Category::Unavailable, format!("the throw-away server: cannot {what}: {error}"))
}

/// Makes `base` unique on a server that several processes may use.
fn unique(base: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{base}_{}_{}", &random[..12], NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn execute(url: &str, sql: &str) -> Result<()> {
    messages(url, sql).await.map(drop)
}

/// Returns the first value of the answer, as text.
async fn query_text(url: &str, sql: &str) -> Result<String> {
    let value = messages(url, sql).await?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    value.ok_or_else(|| StoreError::internal(format!("no value: {sql}")))
}

async fn messages(url: &str, sql: &str) -> Result<Vec<SimpleQueryMessage>> {
    let unavailable = |error: tokio_postgres::Error| {
        let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
        StoreError::new(Category::Unavailable, format!("the throw-away server: {message}"))
    };
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(unavailable)?;
    let driver = tokio::spawn(connection);
    let result = client.simple_query(sql).await.map_err(unavailable);
    drop(client);
    let _ = driver.await;
    result
}

/// Finds a folder with all programs: the given one, or the first one that is found.
fn find_binaries(given: Option<PathBuf>) -> Result<PathBuf> {
    let missing = |directory: &Path| PROGRAMS.into_iter().find(|program| !directory.join(program).is_file());
    if let Some(given) = given.filter(|given| !given.as_os_str().is_empty()) {
        return match missing(&given) {
            None => Ok(given),
            Some(program) => Err(StoreError::new(
                Category::Unavailable,
                format!(
                    "{PROGRAMS_VARIABLE} names {}, and there is no {program}: let it name a folder with {}, or unset it",
                    given.display(),
                    PROGRAMS.join(", ")
                ),
            )),
        };
    }
    let mut candidates: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = launch::program("pg_config").arg("--bindir").output() {
        candidates.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut installed: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    installed.sort();
    candidates.extend(installed.into_iter().rev().map(|(_, path)| path));
    candidates.into_iter().find(|directory| missing(directory).is_none()).ok_or_else(|| {
        StoreError::new(
            Category::Unavailable,
            format!(
                "no PostgreSQL server is installed (looked in PATH, `pg_config --bindir`, /usr/lib/postgresql/*/bin): install \
                 PostgreSQL 14 or newer (Debian, Ubuntu: `apt-get install postgresql`; Fedora: `dnf install \
                 postgresql-server`; macOS: `brew install postgresql@16`), or set {SERVER_VARIABLE} to the URL of a database \
                 whose role may create databases"
            ),
        )
    })
}

/// Finds a non-root user to run as, when this process is root: PostgreSQL refuses to run as root.
fn run_as() -> Result<Option<RunAs>> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = launch::program("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Some(uid), Some(gid)) = (id(&["-u", name]), id(&["-g", name])) {
            return Ok(Some(RunAs { uid, gid }));
        }
    }
    Err(StoreError::new(
        Category::Unavailable,
        "the throw-away server does not run as root, and there is neither a user `postgres` nor `nobody`",
    ))
}

/// Creates a private directory with a short path: a socket's path has at most 107 bytes.
fn make_directory(user: Option<&RunAs>) -> Result<PathBuf> {
    let directory = tempfile::Builder::new()
        .prefix("dgpg-")
        .tempdir_in(if std::env::temp_dir().as_os_str().len() > 60 {
            PathBuf::from("/tmp")
        } else {
            std::env::temp_dir()
        })
        .map_err(|error| failure("make its directory", error))?;
    let path = directory.path().to_owned();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
        .map_err(|error| failure("protect its directory", error))?;
    if let Some(user) = user {
        chown(&path, Some(user.uid), Some(user.gid)).map_err(|error| failure("give its directory away", error))?;
    }
    // From here on the watcher removes it.
    Ok(directory.keep())
}

fn free_port() -> Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| failure("find a free port", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_every_program_is_refused_by_the_name_of_what_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        for program in ["initdb", "postgres"] {
            let path = folder.path().join(program);
            std::fs::write(&path, "").expect("writes");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("sets");
        }
        let refused = find_binaries(Some(folder.path().to_owned())).expect_err("no pg_ctl");
        assert!(refused.message.contains("there is no pg_ctl"), "{}", refused.message);
        std::fs::write(folder.path().join("pg_ctl"), "").expect("writes");
        assert_eq!(find_binaries(Some(folder.path().to_owned())).expect("whole"), folder.path());

        // The script that prepares the machine reads the same variable.
        std::fs::remove_file(folder.path().join("pg_ctl")).expect("removes");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/postgres");
        let output = launch::program(script).env(PROGRAMS_VARIABLE, folder.path()).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("there is no pg_ctl"), "{said}");
    }
}
