//! Fills a configuration from its sources, and collects the faults on the way.
//!
//! *Guarantees.* A later source wins; a fault in a source that loses is reported all the same.

use super::fault::{ConfigFault, Source};
use super::keys::{self, KEYS, Key, SECRET_VARIABLE};
use super::seal::SEAL_DIR;
use super::value::{self, Value};
use super::{EMBEDDED_FILE, NodeConfig};
use decisiongraph_engine::Budget;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_store::DatabaseUrl;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Reads the keys that count everywhere from the environment alone, for commands that run without a node. Fails with
/// the first fault.
pub(crate) fn everywhere_from(env: impl Fn(&str) -> Option<String>) -> Result<NodeConfig, ConfigFault> {
    let mut reading = Reading::default();
    let keys = KEYS.iter().filter(|key| key.everywhere);
    reading.variables(keys, &|name: &str| env(name).filter(|value| !value.is_empty()));
    let fault = reading.config.seal.name_fault().map(|message| ConfigFault::new(Source::Together, message));
    match reading.faults.into_iter().chain(fault).next() {
        Some(fault) => Err(fault),
        None => Ok(reading.config),
    }
}

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Returns `$XDG_DATA_HOME/decisiongraph`, else `~/.local/share/decisiongraph`.
fn default_data_dir(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let directory = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("XDG_DATA_HOME")
        .map(|home| home.join("decisiongraph"))
        .or_else(|| directory("HOME").map(|home| home.join(".local/share/decisiongraph")))
}

/// A configuration that is being read.
#[derive(Default)]
pub(super) struct Reading {
    pub config: NodeConfig,
    pub faults: Vec<ConfigFault>,
}

impl Reading {
    fn take(&mut self, key: &'static Key, value: Result<Value, String>, source: Source) {
        match value {
            Ok(value) => {
                key.fill(&mut self.config, value);
                let sources = KEYS.iter().zip(&mut self.config.sources).filter(|(known, _)| *known == key);
                sources.for_each(|(_, of_key)| *of_key = source.clone());
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
        self.variables(KEYS.iter(), env);
    }

    fn variables(&mut self, keys: impl Iterator<Item = &'static Key>, env: &impl Fn(&str) -> Option<String>) {
        for key in keys {
            let variable = key.variable();
            if let Some(text) = env(&variable) {
                self.take(key, value::of_text(key, &text), Source::Variable(variable));
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
        let config = &mut self.config;
        config.store.cache_bytes = Budget::cache_bytes(config.engine.memory_max);
        if config.source("data_dir") == &Source::Default {
            match default_data_dir(env) {
                Some(directory) => config.data_dir = directory,
                None => self.faults.push(ConfigFault::new(
                    Source::Default,
                    "data_dir: there is no home directory for it; name a directory",
                )),
            }
        }
        if config.source("seal_dir") == &Source::Default {
            config.seal.dir = config.data_dir.join(SEAL_DIR);
        }
        if config.database_is_ours() {
            config.database = DatabaseUrl::Sqlite(config.data_dir.join(EMBEDDED_FILE));
        }
    }

    /// Reports values that do not fit together.
    pub fn together(&mut self, env: &impl Fn(&str) -> Option<String>) {
        let NodeConfig { bounds, cluster, admin_listen, secret_file, http, .. } = &self.config;
        let mut faults = Vec::new();
        for (name, Pauses { first, longest }) in [("retry", bounds.retry), ("recheck", bounds.recheck)] {
            if first > longest {
                let (first, longest) = (first.as_millis(), longest.as_millis());
                faults.push(format!("{name}_first_ms ({first} ms) is longer than {name}_longest_ms ({longest} ms)"));
            }
        }
        let no_secret = secret_file.is_none() && env(SECRET_VARIABLE).is_none();
        if admin_listen.is_some() && no_secret {
            faults.push(format!("admin_listen needs secret_file, or {SECRET_VARIABLE} in the environment"));
        }
        if let Some(address) = cluster.listen {
            let files = [&cluster.ca, &cluster.cert, &cluster.key];
            for (file, path) in ["cluster_ca_file", "cluster_cert_file", "cluster_key_file"].iter().zip(files) {
                if path.is_none() {
                    faults.push(format!("cluster_listen needs {file}"));
                }
            }
            if no_secret {
                faults.push(format!("cluster_listen needs secret_file, or {SECRET_VARIABLE} in the environment"));
            }
            if address.ip().is_unspecified() && cluster.advertise.is_none() {
                faults.push(format!(
                    "cluster_listen ({address}) is every address of this machine: cluster_advertise must name the one that other nodes dial"
                ));
            }
        } else {
            let given =
                [("cluster_advertise", cluster.advertise.is_some()), ("cluster_peers", !cluster.peers.is_empty())];
            faults
                .extend(given.iter().filter(|(_, given)| *given).map(|(key, _)| format!("{key} needs cluster_listen")));
        }
        if http.needs_tls() {
            let files = [("http_cert_file", &http.cert, &cluster.cert), ("http_key_file", &http.key, &cluster.key)];
            for (key, own, of_cluster) in files {
                if own.is_none() && of_cluster.is_none() {
                    faults.push(format!(
                        "http_listen is reached from other machines and needs {key}, or http_tls = off behind a proxy"
                    ));
                }
            }
        }
        faults.extend(self.config.seal.name_fault());
        for origin in http.origins() {
            if !(origin.starts_with("https://") || origin.starts_with("http://")) || origin.matches('/').count() != 2 {
                faults.push(format!(
                    "http_cors_origins: `{origin}` is not an origin such as https://console.example.com"
                ));
            }
        }
        self.faults.extend(faults.into_iter().map(|message| ConfigFault::new(Source::Together, message)));
    }
}

/// Reads the text of a configuration file, which may be a pipe.
fn whole(path: &Path) -> std::io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it has more than {FILE_BYTES_MAX} bytes; check that it is the right file");
        return Err(std::io::Error::other(message));
    }
    String::from_utf8(text).map_err(std::io::Error::other)
}

fn unknown(name: &str, spelled: impl Fn(&Key) -> String) -> String {
    let hint = keys::nearest(name).map(|key| format!("; did you mean `{}`?", spelled(key))).unwrap_or_default();
    format!("there is no key `{}`{hint}", name.chars().take(60).collect::<String>())
}
