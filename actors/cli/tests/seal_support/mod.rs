//! A sealed log on either backend, and edits by a person who can write its database, its tree and its places.
#![allow(dead_code)]

pub mod memory;
pub mod tree;

use crate::cli_support::node::Node;
use crate::cli_support::{Cli, Ended, enterprise, text};
use decisiongraph_projections::TenantId;
use decisiongraph_store::throwaway::{self, Database};
use decisiongraph_store::{DatabaseUrl, Store, StoreOptions, open};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Name of the key, and beginning of every origin.
pub const NAME: &str = "log.example";
/// Event 98 of the README.
pub const LEAD: &str = r#"{"event_id":"lead-17/0","trace_id":"lead-17","trace_seq":0,"event_type":"TraceStarted","occurred_at":"2026-08-01T09:00:00Z","source":{"producer_id":"my-app","system":"crm"},"actor":{"actor_type":"agent","actor_id":"router"},"idempotency_key":"lead-17/0","payload":{"workflow":"lead_routing","title":"Who takes lead 17?","primary_entity":{"entity_type":"account","entity_id":"acme"}}}"#;
/// Events at the first checkpoint.
pub const FIRST: usize = 60;
/// Events at the second.
pub const ALL: u64 = 98;

/// Backend of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

pub const BOTH: [Backend; 2] = [Backend::Sqlite, Backend::Postgres];

/// A database with everything that its seal has outside of it: key, journal, one folder as a place.
pub struct Ground {
    pub backend: Backend,
    pub cli: Cli,
    database: Option<Database>,
}

impl Ground {
    /// Makes an empty database, and a key.
    pub async fn new(backend: Backend) -> Ground {
        let database = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => {
                let server = throwaway::shared().await.expect("a throw-away server");
                Some(server.fresh_database().await.expect("a database"))
            }
        };
        let ground = Ground { backend, cli: Cli::new(), database };
        for folder in ["data", "journal", "place"] {
            std::fs::create_dir_all(ground.cli.path(folder)).expect("a folder");
        }
        let key = ground.cli.path("seal.key");
        ground.ok(&["seal", "key", "new", "--name", NAME, "-o", text(&key)]);
        ground
    }

    /// Makes the README's log, sealed at 60 and at 98 events. Returns it as it was at 60 too.
    pub async fn sealed(backend: Backend) -> (Ground, Ground) {
        let ground = Ground::new(backend).await;
        let log = std::fs::read_to_string(enterprise()).expect("the log");
        let lines: Vec<&str> = log.lines().collect();
        ground.import(&lines[..FIRST].join("\n"));
        ground.ok(&["catch-up"]);
        ground.ok(&["seal", "now"]);
        let then = ground.copy().await;
        ground.import(&lines[FIRST..].join("\n"));
        ground.import(LEAD);
        ground.ok(&["catch-up"]);
        ground.ok(&["seal", "now"]);
        (then, ground)
    }

    /// Copies database, key, journal and place. No process may use them.
    pub async fn copy(&self) -> Ground {
        let copy = self.copy_database().await;
        for folder in ["journal", "place"] {
            copy_folder(&self.cli.path(folder), &copy.cli.path(folder));
        }
        copy
    }

    /// Copies the key alone. Journal and place are empty.
    fn copy_key(&self) -> Cli {
        let cli = Cli::new();
        for folder in ["data", "journal", "place"] {
            std::fs::create_dir_all(cli.path(folder)).expect("a folder");
        }
        std::fs::copy(self.cli.path("seal.key"), cli.path("seal.key")).expect("copies the key");
        cli
    }

    /// Dumps the database on PostgreSQL, and restores it beside. Copies the key alone.
    pub async fn dumped_and_restored(&self) -> Ground {
        let (server, file) = (throwaway::shared().await.expect("a server"), self.cli.path("monday.dump"));
        server.dump(self.database.as_ref().expect("on PostgreSQL"), &file).expect("dumps");
        let database = Some(server.restore(&file).await.expect("restores"));
        Ground { backend: self.backend, cli: self.copy_key(), database }
    }

    /// Copies database and key alone: journal and place are empty.
    pub async fn copy_database(&self) -> Ground {
        let cli = self.copy_key();
        let database = match &self.database {
            None => {
                let file = rusqlite::Connection::open(self.file()).expect("opens");
                file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
                drop(file);
                std::fs::copy(self.file(), cli.data_dir().join("decisiongraph.db")).expect("copies");
                None
            }
            Some(database) => {
                let server = throwaway::shared().await.expect("a throw-away server");
                Some(server.copy_of(database).await.expect("a copy"))
            }
        };
        Ground { backend: self.backend, cli, database }
    }

    /// Takes the memory of another ground: its journal and its place.
    pub fn remember(&self, other: &Ground) {
        for folder in ["journal", "place"] {
            std::fs::remove_dir_all(self.cli.path(folder)).expect("removes");
            copy_folder(&other.cli.path(folder), &self.cli.path(folder));
        }
    }

    fn file(&self) -> PathBuf {
        self.cli.data_dir().join("decisiongraph.db")
    }

    pub fn url(&self) -> String {
        match &self.database {
            None => format!("sqlite:{}", self.file().display()),
            Some(database) => database.url().to_owned(),
        }
    }

    /// Returns the variables that configure database and seal.
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.cli.path(name).display().to_string();
        let seal = [
            ("KEY_FILE", path("seal.key")),
            ("NAME", NAME.to_owned()),
            ("DIR", path("journal")),
            ("PLACES", format!("dir:{}", path("place"))),
            ("CHECKPOINT_MS", "100".to_owned()),
        ];
        let seal = seal.into_iter().map(|(name, value)| (format!("DECISIONGRAPH_SEAL_{name}"), value));
        [("DATABASE_URL".to_owned(), self.url())].into_iter().chain(seal).collect()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.cli.command(args);
        command.envs(self.environment());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().expect("starts"))
    }

    /// Runs the command with one more variable.
    pub fn run_with(&self, args: &[&str], name: &str, value: &str) -> Ended {
        Ended::of(self.command(args).env(name, value).output().expect("starts"))
    }

    /// Runs the command and expects exit code 0.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{:?} {args:?}:\n{}\n{}", self.backend, ended.stdout, ended.stderr);
        ended
    }

    /// Runs the command, expects exit 0 and returns its JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.ok(&[args, &["--json"]].concat()).json()
    }

    #[track_caller]
    pub fn import(&self, lines: &str) {
        self.import_of("default", lines);
    }

    #[track_caller]
    pub fn import_of(&self, tenant: &str, lines: &str) {
        let file = self.cli.file("import.jsonl", lines);
        self.ok(&["import", text(&file), "--tenant", tenant]);
    }

    /// Starts a node on it.
    pub fn node(&self, more: &[(&str, &str)]) -> Node {
        let environment = self.environment();
        let mut all: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        all.extend_from_slice(more);
        Node::start_with(&self.cli, &["--name", "sealing"], &all)
    }

    /// Runs statements as a person with all rights. `{hex …}` is a literal of bytes in the backend's spelling.
    pub async fn sql(&self, text: &str) {
        let text = self.spelled(text);
        match &self.database {
            None => {
                let file = rusqlite::Connection::open(self.file()).expect("opens");
                file.busy_timeout(Duration::from_secs(10)).expect("set");
                file.execute_batch(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            }
            Some(database) => {
                let client = session(database.url()).await;
                client.batch_execute(&text).await.unwrap_or_else(|error| panic!("{error:?}: {text}"));
            }
        }
    }

    /// Reads one number.
    pub async fn number(&self, text: &str) -> i64 {
        match &self.database {
            None => {
                let file = rusqlite::Connection::open(self.file()).expect("opens");
                file.query_row(text, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{error}: {text}"))
            }
            Some(database) => {
                let row = session(database.url()).await.query_one(text, &[]).await;
                row.unwrap_or_else(|error| panic!("{error:?}: {text}")).get(0)
            }
        }
    }

    /// Writes bytes as a literal of the backend.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.spelled(&format!("{{hex {hex}}}"))
    }

    /// Replaces the few words that the backends spell in their own way.
    fn spelled(&self, text: &str) -> String {
        let postgres = self.backend == Backend::Postgres;
        let pairs = match postgres {
            true => [
                ("{later}", "recorded_at = recorded_at + interval '1 millisecond'"),
                ("{given}", "OVERRIDING SYSTEM VALUE"),
                ("{free positions}", "ALTER TABLE dg_event_log ALTER COLUMN log_seq SET GENERATED BY DEFAULT;"),
                ("{own positions}", "ALTER TABLE dg_event_log ALTER COLUMN log_seq SET GENERATED ALWAYS;"),
                ("{burn}", "SELECT nextval('dg_event_log_log_seq_seq');"),
                ("{cursor}", "cursor_seq"),
                ("{another key}", "gen_random_uuid()"),
            ],
            false => [
                ("{later}", "recorded_at_ms = recorded_at_ms + 1"),
                ("{given}", ""),
                ("{free positions}", ""),
                ("{own positions}", ""),
                ("{burn}", "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'dg_event_log';"),
                ("{cursor}", "cursor"),
                ("{another key}", "randomblob(16)"),
            ],
        };
        let mut text = pairs.into_iter().fold(text.to_owned(), |text, (word, spelt)| text.replace(word, spelt));
        while let Some((head, rest)) = text.split_once("{hex ") {
            let (hex, tail) = rest.split_once('}').expect("its end");
            let literal = if postgres { format!("'\\x{hex}'::bytea") } else { format!("X'{hex}'") };
            text = format!("{head}{literal}{tail}");
        }
        text
    }

    /// Opens the database as the program does.
    pub async fn store(&self) -> Arc<dyn Store> {
        let url = DatabaseUrl::parse(&self.url()).expect("a URL");
        open(&url, StoreOptions::default()).await.expect("opens")
    }

    /// Keeps a copy of the log, for [`Ground::undo`].
    pub async fn save(&self) {
        self.sql("CREATE TABLE saved_log AS SELECT * FROM dg_event_log").await;
    }

    /// Brings the saved log back.
    pub async fn undo(&self) {
        self.sql("DELETE FROM dg_event_log; INSERT INTO dg_event_log {given} SELECT * FROM saved_log;").await;
    }
}

/// Opens a session, and drives its connection.
async fn session(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("an entry");
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            std::fs::copy(&path, &copy).expect("copies");
        }
    }
}

/// Names a node as `--node` takes it.
pub fn text_of_socket(node: &Node) -> String {
    format!("unix:{}", node.socket.display())
}

pub fn tenant() -> TenantId {
    TenantId::default()
}

/// Checks that a command ended so, and printed a line with this text; `…` is any text.
#[track_caller]
pub fn says(ended: &Ended, code: i32, line: &str, about: &str) {
    let all = format!("{}{}", ended.stdout, ended.stderr);
    let found = all.lines().any(|printed| crate::pages::fits(&format!("…{line}…"), printed));
    assert!(found, "{about}: no line `{line}`, exit {}:\n{}\n{}", ended.code, ended.stdout, ended.stderr);
    assert_eq!(ended.code, code, "{about}:\n{}\n{}", ended.stdout, ended.stderr);
}
