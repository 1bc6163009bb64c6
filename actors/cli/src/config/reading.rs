//! Turns the sources of a configuration into settings, one per key, and collects the faults on the way.
//!
//! *Guarantees.* A later source wins; a fault in a source that loses is reported all the same.

use super::fault::{ConfigFault, Source};
use super::keys::{self, KEYS, Key, SECRET_VARIABLE, Unset};
use super::value::{self, Value};
use super::{ClusterConfig, EMBEDDED_FILE, LogFormat, NodeConfig};
use decisiongraph_engine::failure::Pauses;
use decisiongraph_engine::{Budget, EngineConfig, memory};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_rpc::TlsFiles;
use decisiongraph_runtime::node::NodeBounds;
use decisiongraph_store::{DatabaseUrl, StoreOptions};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A value in force, and its source.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub key: &'static Key,
    pub value: Value,
    pub source: Source,
}

/// Reads the bounds of the engine from the environment alone, for commands that run without a node. Fails with the
/// first fault.
pub(crate) fn engine_from(env: impl Fn(&str) -> Option<String>) -> Result<EngineConfig, ConfigFault> {
    let mut reading = Reading::with_defaults();
    let of_engine = |name: &str| KEYS.iter().any(|key| key.variable == name && ENGINE_KEYS.contains(&key.name));
    reading.environment(&|name: &str| if of_engine(name) { env(name).filter(|value| !value.is_empty()) } else { None });
    reading.fill("memory_max", Value::Whole(memory::memory_max()));
    match reading.faults.into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(engine(&Settled(&reading.settings))),
    }
}

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys that commands without a node read from the environment.
pub(super) const ENGINE_KEYS: [&str; 8] = [
    "credential_guard",
    "lease_ms",
    "batch_events_max",
    "batch_bytes_max",
    "memory_max",
    "own_partition_events",
    "checkpoint_events",
    "mark_wait_ms",
];

/// Returns `$XDG_DATA_HOME/decisiongraph`, else `~/.local/share/decisiongraph`.
fn default_data_dir(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let directory = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("XDG_DATA_HOME")
        .map(|home| home.join("decisiongraph"))
        .or_else(|| directory("HOME").map(|home| home.join(".local/share/decisiongraph")))
}

/// A configuration that is being read: one setting per key, in the order of [`KEYS`].
pub(super) struct Reading {
    settings: Vec<Setting>,
    pub faults: Vec<ConfigFault>,
}

impl Reading {
    pub fn with_defaults() -> Reading {
        let mut faults = Vec::new();
        let settings = KEYS.iter().map(|key| {
            let value = match key.default {
                Unset::Text(text) => value::of_text(key, text).unwrap_or_else(|message| {
                    faults.push(ConfigFault::new(Source::Default, message));
                    Value::Nothing
                }),
                Unset::Nothing | Unset::Found(_) => Value::Nothing,
            };
            Setting { key, value, source: Source::Default }
        });
        let settings = settings.collect();
        Reading { settings, faults }
    }

    fn take(&mut self, key: &'static Key, value: Result<Value, String>, source: Source) {
        match value {
            Ok(value) => {
                for setting in self.settings.iter_mut().filter(|setting| setting.key == key) {
                    *setting = Setting { key, value: value.clone(), source: source.clone() };
                }
            }
            Err(message) => self.faults.push(ConfigFault::new(source, message)),
        }
    }

    pub fn file(&mut self, path: &Path) {
        let text = match whole(path) {
            Ok(text) => text,
            Err(error) => {
                let place = Source::File(path.to_owned(), None);
                return self.faults.push(ConfigFault::new(place, format!("cannot read the configuration: {error}")));
            }
        };
        let line = |at: usize| Some(1 + text[..at.min(text.len())].matches('\n').count());
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let place = Source::File(path.to_owned(), error.span().and_then(|span| line(span.start)));
            self.faults.push(ConfigFault::new(place, format!("not TOML: {}", error.message())));
        }
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let place = Source::File(path.to_owned(), line(name.span().start));
            match KEYS.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.take(key, value::of_toml(key, value.get_ref()), place),
                None => self.faults.push(ConfigFault::new(place, unknown(name.get_ref(), |key| key.name.to_owned()))),
            }
        }
    }

    pub fn environment(&mut self, env: &impl Fn(&str) -> Option<String>) {
        for key in KEYS {
            if let Some(text) = env(key.variable) {
                self.take(key, value::of_text(key, &text), Source::Variable(key.variable.to_owned()));
            }
        }
    }

    pub fn flags(&mut self, flags: Vec<(String, String)>) {
        for (name, text) in flags {
            match keys::find(&name) {
                Some(key) => self.take(key, value::of_text(key, &text), Source::Flag(key.flag())),
                None => {
                    let message = unknown(&name, Key::flag);
                    let name = format!("--{}", name.trim_start_matches("--"));
                    self.faults.push(ConfigFault::new(Source::Flag(name), message));
                }
            }
        }
    }

    /// Fills in defaults that depend on the machine or on other values.
    pub fn found(&mut self, env: &impl Fn(&str) -> Option<String>) {
        self.fill("memory_max", Value::Whole(memory::memory_max()));
        let data_dir = match Settled(&self.settings).path("data_dir") {
            Some(given) => Some(given),
            None => default_data_dir(env),
        };
        match data_dir {
            Some(directory) => {
                self.fill("database", Value::Database(DatabaseUrl::Sqlite(directory.join(EMBEDDED_FILE))));
                self.fill("data_dir", Value::Path(directory));
            }
            None => self.faults.push(ConfigFault::new(
                Source::Default,
                "data_dir: there is no home directory to keep it in; name a directory",
            )),
        }
    }

    fn fill(&mut self, name: &str, found: Value) {
        let empty = |setting: &&mut Setting| setting.key.name == name && setting.value == Value::Nothing;
        if let Some(setting) = self.settings.iter_mut().find(empty) {
            setting.value = found;
        }
    }

    /// Reports values that do not fit together.
    pub fn together(&mut self, env: &impl Fn(&str) -> Option<String>) {
        let settled = Settled(&self.settings);
        let mut faults = Vec::new();
        for (first, longest) in [("retry_first_ms", "retry_longest_ms"), ("recheck_first_ms", "recheck_longest_ms")] {
            let (short, long) = (settled.whole(first), settled.whole(longest));
            if short > long {
                faults.push(format!("{first} ({short} ms) is longer than {longest} ({long} ms)"));
            }
        }
        if settled.address("admin_listen").is_some()
            && settled.path("secret_file").is_none()
            && env(SECRET_VARIABLE).is_none()
        {
            faults.push(format!("admin_listen needs secret_file, or {SECRET_VARIABLE} in the environment"));
        }
        if let Some(address) = settled.address("cluster_listen") {
            for file in ["cluster_ca_file", "cluster_cert_file", "cluster_key_file"] {
                if settled.path(file).is_none() {
                    faults.push(format!("cluster_listen needs {file}"));
                }
            }
            if settled.path("secret_file").is_none() && env(SECRET_VARIABLE).is_none() {
                faults.push(format!("cluster_listen needs secret_file, or {SECRET_VARIABLE} in the environment"));
            }
            if address.ip().is_unspecified() && settled.text("cluster_advertise").is_none() {
                faults.push(format!(
                    "cluster_listen ({address}) is every address of this machine: cluster_advertise says which one others dial"
                ));
            }
        } else {
            for key in ["cluster_advertise", "cluster_peers"] {
                if settled.get(key).is_some_and(|setting| setting.value != Value::Nothing) {
                    faults.push(format!("{key} needs cluster_listen"));
                }
            }
        }
        self.faults.extend(faults.into_iter().map(|message| ConfigFault::new(Source::Together, message)));
    }

    pub fn into_config(self) -> NodeConfig {
        let settled = Settled(&self.settings);
        let data_dir = settled.path("data_dir").unwrap_or_default();
        let database = settled.get("database");
        NodeConfig {
            database_is_ours: database.is_none_or(|setting| setting.source == Source::Default),
            database: match database.map(|setting| &setting.value) {
                Some(Value::Database(url)) => url.clone(),
                _ => DatabaseUrl::Sqlite(data_dir.join(EMBEDDED_FILE)),
            },
            data_dir,
            name: settled.text("name"),
            admin_listen: settled.address("admin_listen"),
            secret_file: settled.path("secret_file"),
            cluster: cluster(&settled),
            metrics_listen: settled.address("metrics_listen"),
            otlp_endpoint: settled.text("otlp_endpoint"),
            otlp_interval: Duration::from_secs(settled.whole("otlp_interval_s")),
            log_filter: settled.text("log_filter").unwrap_or_default(),
            log_format: match settled.text("log_format").as_deref() {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
            engine: engine(&settled),
            store: StoreOptions {
                pool_size: settled.size("pool_size"),
                writers: settled.size("writers"),
                statement_timeout: settled.ms("statement_timeout_ms"),
                connect_timeout: settled.ms("connect_timeout_ms"),
                cache_bytes: Budget::cache_bytes(settled.whole("memory_max")),
                ..StoreOptions::default()
            },
            bounds: NodeBounds {
                poll: settled.ms("poll_ms"),
                sweep: settled.ms("sweep_ms"),
                passivate_after: settled.ms("passivate_after_ms"),
                tenants_max: settled.size("tenants_max"),
                batches_max: settled.size("batches_max"),
                adopt: settled.ms("adopt_ms"),
                job_crashes_max: u32::try_from(settled.whole("job_crashes_max")).unwrap_or(u32::MAX),
                drain: settled.ms("drain_ms"),
                retry: Pauses { first: settled.ms("retry_first_ms"), longest: settled.ms("retry_longest_ms") },
                recheck: Pauses { first: settled.ms("recheck_first_ms"), longest: settled.ms("recheck_longest_ms") },
            },
            settings: self.settings,
        }
    }
}

/// Reads the text of a configuration file, which may be a pipe.
fn whole(path: &Path) -> std::io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it has more than {FILE_BYTES_MAX} bytes; check that it is the file you mean");
        return Err(std::io::Error::other(message));
    }
    String::from_utf8(text).map_err(std::io::Error::other)
}

fn unknown(name: &str, spelled: impl Fn(&Key) -> String) -> String {
    let hint = keys::nearest(name).map(|key| format!("; did you mean `{}`?", spelled(key))).unwrap_or_default();
    format!("there is no key `{}`{hint}", name.chars().take(60).collect::<String>())
}

fn engine(settled: &Settled<'_>) -> EngineConfig {
    EngineConfig {
        batch_events_max: settled.size("batch_events_max"),
        batch_bytes_max: settled.size("batch_bytes_max"),
        lease: settled.ms("lease_ms"),
        mark_wait: settled.ms("mark_wait_ms"),
        own_partition_events: settled.whole("own_partition_events"),
        checkpoint_events: settled.whole("checkpoint_events"),
        credential_guard: settled
            .text("credential_guard")
            .and_then(|word| CredentialGuard::parse(&word))
            .unwrap_or_default(),
        memory_max: settled.whole("memory_max"),
    }
}

/// Returns the settings with which other machines reach this node; none when they do not.
fn cluster(settled: &Settled<'_>) -> Option<ClusterConfig> {
    Some(ClusterConfig {
        listen: settled.address("cluster_listen")?,
        advertise: settled.text("cluster_advertise"),
        tls: TlsFiles {
            ca: settled.path("cluster_ca_file")?,
            cert: settled.path("cluster_cert_file")?,
            key: settled.path("cluster_key_file")?,
            name: settled.text("cluster_name")?,
        },
        peers: match settled.get("cluster_peers").map(|setting| &setting.value) {
            Some(Value::Peers(peers)) => peers.clone(),
            _ => Vec::new(),
        },
    })
}

/// Values by name. A name that is not in [`KEYS`], or has another kind, would be a defect: the tests read every field.
struct Settled<'a>(&'a [Setting]);

impl Settled<'_> {
    fn get(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key.name == name)
    }

    fn whole(&self, name: &str) -> u64 {
        match self.get(name).map(|setting| &setting.value) {
            Some(Value::Whole(number)) => *number,
            _ => 0,
        }
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.whole(name)).unwrap_or(usize::MAX)
    }

    fn ms(&self, name: &str) -> Duration {
        Duration::from_millis(self.whole(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.get(name).map(|setting| &setting.value) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        match self.get(name).map(|setting| &setting.value) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    fn address(&self, name: &str) -> Option<SocketAddr> {
        match self.get(name).map(|setting| &setting.value) {
            Some(Value::Address(address)) => Some(*address),
            _ => None,
        }
    }
}
