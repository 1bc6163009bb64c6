//! The configuration of a node: defaults, a TOML file, the environment and flags, in rising precedence.
//!
//! *Guarantees.* [`keys::KEYS`] is the only list of keys. Every fault is found before anything starts, and all are
//! reported together. No output here shows a password.
//!
//! *Never here:* starting anything; reading the secret file's text.

pub mod fault;
mod field;
pub mod keys;
pub mod page;
mod reading;
pub mod seal;
mod value;

pub use fault::{ConfigFault, Source, refused};
pub use value::Value;

use decisiongraph_engine::EngineConfig;
use decisiongraph_http::api::{ApiBounds, Rates};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::TlsFiles;
use decisiongraph_runtime::node::NodeBounds;
use decisiongraph_store::{DatabaseUrl, StoreOptions};
use keys::{CONFIG_VARIABLE, KEYS, Key, OTHER_VARIABLES, VARIABLE_PREFIX};
use reading::Reading;
use seal::SealConfig;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use decisiongraph_rpc::data_dir::EMBEDDED_FILE;

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Words that [`LogFormat::parse`] accepts.
    pub const WORDS: [&'static str; 2] = ["text", "json"];

    /// Returns the format with this word.
    pub fn parse(word: &str) -> Option<LogFormat> {
        [LogFormat::Text, LogFormat::Json].into_iter().find(|format| format.word() == word)
    }

    /// Returns the word of this format.
    pub const fn word(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Settings with which other machines reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Address on which the node listens; none when other machines do not reach it.
    pub listen: Option<SocketAddr>,
    /// Address that other nodes dial; `listen` when none.
    pub advertise: Option<String>,
    /// File with the certificates of the cluster's authority.
    pub ca: Option<PathBuf>,
    /// File with the certificate of this node.
    pub cert: Option<PathBuf>,
    /// File with the private key of the certificate.
    pub key: Option<PathBuf>,
    /// Name in the certificate of every node.
    pub name: String,
    /// Nodes to link to besides the nodes that the database knows, `HOST:PORT`.
    pub peers: Vec<String>,
}

impl ClusterConfig {
    /// Returns the files of mutual TLS, if all are named.
    pub fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            ca: self.ca.clone()?,
            cert: self.cert.clone()?,
            key: self.key.clone()?,
            name: self.name.clone(),
        })
    }
}

/// Settings of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address on which it listens; none without a TCP address.
    pub listen: Option<SocketAddr>,
    /// `on` or `off`: TLS of an address that is not loopback.
    pub tls: String,
    /// Certificate; that of the cluster when none.
    pub cert: Option<PathBuf>,
    /// Private key of the certificate; that of the cluster when none.
    pub key: Option<PathBuf>,
    /// File of the identities; the node's own token alone when none.
    pub identities: Option<PathBuf>,
    /// Connections at the same time, at most.
    pub connections_max: usize,
    /// Streams at the same time, at most.
    pub streams_max: usize,
    /// Longest time for one request.
    pub deadline: Duration,
    /// Reads of an identity per minute and tenant; 0 lifts the limit.
    pub rate_read_per_min: u32,
    /// Requests that append, of an identity per minute and tenant; 0 lifts the limit.
    pub rate_append_per_min: u32,
    /// Events of an identity per minute and tenant; 0 lifts the limit.
    pub rate_events_per_min: u32,
    /// Other requests of an identity per minute and tenant; 0 lifts the limit.
    pub rate_admin_per_min: u32,
    /// Origins whose pages may read answers, with commas between them.
    pub cors_origins: Option<String>,
    /// Name of the deployment, shown to strangers.
    pub deployment: String,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        let ApiBounds { connections_max, streams_max, deadline, rates, .. } = ApiBounds::default();
        HttpConfig {
            listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4100)),
            tls: TLS_WORDS[0].to_owned(),
            cert: None,
            key: None,
            identities: None,
            connections_max,
            streams_max,
            deadline,
            rate_read_per_min: rates.read,
            rate_append_per_min: rates.append,
            rate_events_per_min: rates.events,
            rate_admin_per_min: rates.admin,
            cors_origins: None,
            deployment: "production".to_owned(),
        }
    }
}

/// Words for TLS of the HTTP interface.
pub const TLS_WORDS: [&str; 2] = ["on", "off"];

impl HttpConfig {
    /// True when the address is reached from other machines and needs TLS.
    pub fn needs_tls(&self) -> bool {
        self.listen.is_some_and(|address| !address.ip().is_loopback()) && self.tls == TLS_WORDS[0]
    }

    /// Lists the origins whose pages may read answers.
    pub fn origins(&self) -> Vec<String> {
        let named = self.cors_origins.as_deref().unwrap_or_default().split(',').map(str::trim);
        named.filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the bounds of the interface.
    pub fn bounds(&self) -> ApiBounds {
        ApiBounds {
            connections_max: self.connections_max,
            streams_max: self.streams_max,
            deadline: self.deadline,
            rates: Rates {
                read: self.rate_read_per_min,
                append: self.rate_append_per_min,
                events: self.rate_events_per_min,
                admin: self.rate_admin_per_min,
            },
            cors_origins: self.origins(),
        }
    }
}

/// Settings with which a node starts.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Database of the node.
    pub database: DatabaseUrl,
    /// Directory of the embedded store and of the Unix socket.
    pub data_dir: PathBuf,
    /// Name of the node; none when it is to be drawn from host and data directory.
    pub name: Option<String>,
    /// Address on which the admin RPC listens beside the Unix socket.
    pub admin_listen: Option<SocketAddr>,
    /// File of the admin secret.
    pub secret_file: Option<PathBuf>,
    /// Settings with which other nodes, and programs on other machines, reach the node.
    pub cluster: ClusterConfig,
    /// Settings of the HTTP interface.
    pub http: HttpConfig,
    /// Address at which `/metrics`, `/livez` and `/readyz` are served.
    pub metrics_listen: Option<SocketAddr>,
    /// Collector of traces and metrics, without a slash at its end.
    pub otlp_endpoint: Option<String>,
    /// Interval between two exports of metrics.
    pub otlp_interval: Duration,
    /// Filter of the log and of traces.
    pub log_filter: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Bounds of the engine.
    pub engine: EngineConfig,
    /// Options with which the store is opened.
    pub store: StoreOptions,
    /// Bounds that pace the work of the node.
    pub bounds: NodeBounds,
    /// Settings of the sealed log.
    pub seal: SealConfig,
    /// Source of each key's value, in the order of [`KEYS`].
    sources: Vec<Source>,
}

impl Default for NodeConfig {
    /// Returns the defaults that do not depend on the machine. `data_dir` and `database` are found at the start.
    fn default() -> NodeConfig {
        NodeConfig {
            database: DatabaseUrl::Sqlite(PathBuf::from(EMBEDDED_FILE)),
            data_dir: PathBuf::new(),
            name: None,
            admin_listen: None,
            secret_file: None,
            cluster: ClusterConfig {
                listen: None,
                advertise: None,
                ca: None,
                cert: None,
                key: None,
                name: "decisiongraph".to_owned(),
                peers: Vec::new(),
            },
            http: HttpConfig::default(),
            metrics_listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464)),
            otlp_endpoint: None,
            otlp_interval: Duration::from_secs(15),
            log_filter: "info,ractor=error,ractor_cluster=error".to_owned(),
            log_format: LogFormat::Text,
            engine: EngineConfig::default(),
            store: StoreOptions::default(),
            bounds: NodeBounds::default(),
            seal: SealConfig::default(),
            sources: vec![Source::Default; KEYS.len()],
        }
    }
}

/// One line of `--print-config`, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// Name of the key.
    pub key: &'static str,
    /// Value of the key, as it may be shown.
    pub value: String,
    /// Source of the value.
    pub source: Source,
}

impl NodeConfig {
    /// Reads the configuration. `file` is the path of `--config`; without it `DECISIONGRAPH_CONFIG` names the file,
    /// else there is none. `env` looks up a variable; an empty one counts as absent. `flags` are pairs of key
    /// (underscores or dashes) and text; the last pair of a key counts.
    ///
    /// Returns every fault of every source. Their order is file, environment, flags, defaults that cannot be found,
    /// values that do not fit together.
    pub fn load(
        file: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
        flags: Vec<(String, String)>,
    ) -> Result<NodeConfig, Vec<ConfigFault>> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut reading = Reading::default();
        let named = env(CONFIG_VARIABLE).map(PathBuf::from);
        if let Some(path) = file.map(Path::to_owned).or(named) {
            reading.file(&path);
        }
        reading.environment(&env);
        reading.flags(flags);
        reading.found(&env);
        reading.together(&env);
        if reading.faults.is_empty() { Ok(reading.config) } else { Err(reading.faults) }
    }

    /// True for the embedded default: the node creates and migrates it.
    pub fn database_is_ours(&self) -> bool {
        self.source("database") == &Source::Default
    }

    fn source(&self, name: &str) -> &Source {
        let of_key = KEYS.iter().position(|key| key.name == name).and_then(|index| self.sources.get(index));
        of_key.unwrap_or(&Source::Default)
    }

    /// Returns one fault per name that begins like a variable of this program and is none. The caller warns of them and
    /// does not refuse: another program may share the beginning.
    pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<ConfigFault> {
        let known = |name: &str| KEYS.iter().any(|key| key.variable() == name) || OTHER_VARIABLES.contains(&name);
        let unknown = names.into_iter().filter(|name| name.starts_with(VARIABLE_PREFIX) && !known(name));
        unknown
            .map(|name| {
                let near = keys::nearest(&name[VARIABLE_PREFIX.len()..]);
                let hint = near.map(|key| format!("; did you mean {}?", key.variable())).unwrap_or_default();
                ConfigFault::new(Source::Variable(name), format!("is not a variable of this program{hint}"))
            })
            .collect()
    }

    fn values(&self) -> impl Iterator<Item = (&'static Key, Value, &Source)> {
        KEYS.iter().zip(&self.sources).map(|(key, source)| (key, key.value(self), source))
    }

    /// Returns every value in force, in the order of the documentation.
    pub fn effective(&self) -> Vec<Effective> {
        let shown = |(key, value, source): (&'static Key, Value, &Source)| Effective {
            key: key.name,
            value: value.to_string(),
            source: source.clone(),
        };
        self.values().map(shown).collect()
    }

    /// Renders [`NodeConfig::effective`] for people: a TOML file that names the source of each value.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (key, value, source) in self.values() {
            let value = match value {
                Value::Whole(number) => number.to_string(),
                Value::Nothing if !key.kind.is_switch() => {
                    let _ = writeln!(text, "# {} is not set", key.name);
                    continue;
                }
                value => toml_text(&value.to_string()),
            };
            let _ = writeln!(text, "{} = {value}  # {source}", key.name);
        }
        text
    }
}

fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the engine's defaults with the values of the environment, by the keys and ranges of [`keys::KEYS`]. Fails
/// with `invalid_argument` for the first value that is not in range.
pub fn engine_from_environment() -> Result<EngineConfig, AdminError> {
    Ok(from_environment()?.0)
}

/// Returns the same, with the settings of the sealed log.
pub fn from_environment() -> Result<(EngineConfig, SealConfig), AdminError> {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let refuse = |fault: ConfigFault| AdminError::new(Category::InvalidArgument, fault.to_string());
    let config = reading::everywhere_from(variable).map_err(refuse)?;
    Ok((config.engine, config.seal))
}
