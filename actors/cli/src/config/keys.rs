//! Every key of a node's configuration, as data: name, unit, range, field and purpose.
//!
//! *Guarantees.* There is no other list. The file, the environment, the flags, `--print-config` and
//! `docs/reference/CONFIGURATION.md` all follow this one. A default is written once: at the field that the key fills.

use super::field::Field;
use super::seal::PUBLISH_WORDS;
use super::value::Value;
use super::{LogFormat, NodeConfig, TLS_WORDS};
use decisiongraph_engine::memory::{MEMORY_MIN, MEMORY_MOST};
use decisiongraph_projections::credential_guard::CredentialGuard;

/// Type of a value, with the values that are in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number in this unit, from `least` to `most`.
    Whole {
        /// Unit, as in the documentation.
        unit: &'static str,
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// One line of text, 1 to [`TEXT_BYTES_MAX`] bytes.
    Text,
    /// A directory; need not exist.
    Directory,
    /// A file that must be readable at the start.
    File,
    /// `HOST:PORT` to listen on (an IP address or `localhost`), or `off`.
    Listen {
        /// True when only addresses of this machine's loopback are accepted.
        loopback_only: bool,
    },
    /// `HOST:PORT` that a node dials; the host may be a name.
    Peer,
    /// [`Kind::Peer`]s with commas between them, at most [`PEERS_MAX`].
    Peers,
    /// Places of signed notes, with commas between them: `dir:PATH`, `objects:PATH`, `https://…`.
    Places,
    /// A name that a certificate can be for.
    CertificateName,
    /// `postgres://…` or `sqlite:PATH`; may hold a password, and is never shown with it.
    Database,
    /// `http://HOST[:PORT][/PATH]` without a login, or `off`.
    Endpoint,
    /// A `tracing` filter.
    Filter,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// True when the word `off` switches the feature off.
    pub const fn is_switch(self) -> bool {
        matches!(self, Kind::Listen { .. } | Kind::Endpoint)
    }
}

/// Longest text of a value, in bytes.
pub const TEXT_BYTES_MAX: usize = 200;

/// Longest list of peers.
pub const PEERS_MAX: usize = 256;
/// Longest list of peers, in bytes.
pub const PEERS_BYTES_MAX: usize = 16_384;

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Name of the key in the file. With dashes it is the flag.
    pub name: &'static str,
    /// Type and range of its values.
    pub kind: Kind,
    /// Field that the key fills. Its default is the default of the key.
    field: Field,
    /// Purpose of the key, in one or two sentences.
    pub help: &'static str,
    /// Environment variable of the key, if it does not follow from the name.
    other_variable: Option<&'static str>,
    /// Origin of a default that depends on the machine or on other keys.
    found: Option<&'static str>,
    /// True when commands without a node read the key from the environment, too.
    pub everywhere: bool,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.name == other.name
    }
}

impl Key {
    const fn variable_is(self, variable: &'static str) -> Key {
        Key { other_variable: Some(variable), ..self }
    }

    const fn found(self, origin: &'static str) -> Key {
        Key { found: Some(origin), ..self }
    }

    const fn everywhere(self) -> Key {
        Key { everywhere: true, ..self }
    }

    /// Returns the environment variable of the key.
    pub fn variable(&self) -> String {
        match self.other_variable {
            Some(variable) => variable.to_owned(),
            None => format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase()),
        }
    }

    /// Returns the flag of the key, with the dashes in front.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// Reads the value of the key from a configuration.
    pub fn value(&self, config: &NodeConfig) -> Value {
        // The accessors of fields borrow mutably; a copy is good enough for what is printed once.
        self.field.read(&mut config.clone())
    }

    /// Writes a value of the key's kind to a configuration.
    pub fn fill(&self, config: &mut NodeConfig, value: Value) {
        self.field.write(config, value);
    }

    /// Describes the accepted values, for people.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Whole { unit, least, most } => format!("{} to {} {unit}", grouped(least), grouped(most)),
            Kind::Text => format!("text, 1 to {TEXT_BYTES_MAX} bytes"),
            Kind::Directory => "directory".to_owned(),
            Kind::File => "a readable file".to_owned(),
            Kind::Listen { loopback_only: true } => "loopback HOST:PORT, or off".to_owned(),
            Kind::Listen { loopback_only: false } => "HOST:PORT, or off".to_owned(),
            Kind::Peer => "HOST:PORT".to_owned(),
            Kind::Peers => format!("HOST:PORT,HOST:PORT,…, at most {PEERS_MAX}"),
            Kind::Places => "dir:PATH, objects:PATH or https://HOST/PATH, with commas between them".to_owned(),
            Kind::CertificateName => "a DNS name".to_owned(),
            Kind::Database => "postgres://USER@HOST/DATABASE or sqlite:PATH".to_owned(),
            Kind::Endpoint => "http://HOST:PORT, or off".to_owned(),
            Kind::Filter => "filter of `tracing`".to_owned(),
            Kind::OneOf(words) => words.join(" or "),
        }
    }

    /// Describes the default, for people.
    pub fn default_text(&self) -> String {
        if let Some(origin) = self.found {
            return origin.to_owned();
        }
        match (self.value(&NodeConfig::default()), self.kind) {
            (Value::Whole(number), Kind::Whole { unit, .. }) => format!("{} {unit}", grouped(number)),
            (Value::Nothing, kind) if !kind.is_switch() => "none".to_owned(),
            (value, _) => value.to_string(),
        }
    }
}

/// Formats `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Finds the key of this name, written with underscores or dashes.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = name.trim_start_matches("--").replace('-', "_");
    KEYS.iter().find(|key| key.name == name)
}

/// Finds the key whose name needs the fewest changes to become `name`. None when every key needs more than half as many
/// changes as `name` has letters.
pub fn nearest(name: &str) -> Option<&'static Key> {
    let name = name.trim_start_matches("--").replace('-', "_").to_lowercase();
    let near = KEYS.iter().map(|key| (distance(key.name, &name), key)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= name.chars().count().div_ceil(2)).map(|(_, key)| key)
}

/// Counts insertions, deletions and replacements from one text to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

const fn ms(least: u64, most: u64) -> Kind {
    Kind::Whole { unit: "ms", least, most }
}

const fn events(least: u64, most: u64) -> Kind {
    Kind::Whole { unit: "events", least, most }
}

const fn bytes(least: u64, most: u64) -> Kind {
    Kind::Whole { unit: "bytes", least, most }
}

const fn rate(unit: &'static str) -> Kind {
    Kind::Whole { unit, least: 0, most: 10_000_000 }
}

const fn count(unit: &'static str, most: u64) -> Kind {
    Kind::Whole { unit, least: 1, most }
}

const fn key(name: &'static str, kind: Kind, field: Field, help: &'static str) -> Key {
    Key { name, kind, field, help, other_variable: None, found: None, everywhere: false }
}

/// Variable that names the configuration file when no flag does.
pub const CONFIG_VARIABLE: &str = "DECISIONGRAPH_CONFIG";
/// Variable that may hold the admin secret itself, instead of a file.
pub const SECRET_VARIABLE: &str = "DECISIONGRAPH_SECRET";
/// Variables with the program's prefix that are not keys of a node.
pub const OTHER_VARIABLES: &[&str] = &[
    CONFIG_VARIABLE,
    SECRET_VARIABLE,
    "DECISIONGRAPH_NODE",
    "DECISIONGRAPH_TLS_CA",
    "DECISIONGRAPH_TLS_CERT",
    "DECISIONGRAPH_TLS_KEY",
    "DECISIONGRAPH_TLS_NAME",
    // Variables of the tests and of the benchmark, which start nodes.
    "DECISIONGRAPH_CRASH_AT",
    "DECISIONGRAPH_STOP_AT",
    "DECISIONGRAPH_TEST_POSTGRES",
    "DECISIONGRAPH_TEST_POSTGRES_BIN",
    "DECISIONGRAPH_SOAK",
    "DECISIONGRAPH_BLESS",
    "DECISIONGRAPH_PARITY_DATABASE",
];
/// Prefix of the program's variables.
pub const VARIABLE_PREFIX: &str = "DECISIONGRAPH_";

/// Every key, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("database", Kind::Database, Field::Database(|it| &mut it.database),
        "Database of the node. An embedded file in data_dir is created; any other database must have its schema.").variable_is("DATABASE_URL").found("decisiongraph.db in data_dir"),
    key("data_dir", Kind::Directory, Field::Directory(|it| &mut it.data_dir),
        "Directory of the embedded store and of the node's Unix socket. No other user may write to it.").found("$XDG_DATA_HOME/decisiongraph, else ~/.local/share/decisiongraph"),
    key("name", Kind::Text, Field::Text(|it| &mut it.name),
        "Name of the node in leases, runs and `status`. Two nodes of one database never share a name.").found("host name and four digits of the data directory"),
    key("admin_listen", Kind::Listen { loopback_only: true }, Field::Address(|it| &mut it.admin_listen),
        "TCP address of the admin RPC, beside the Unix socket. Needs a secret."),
    key("secret_file", Kind::File, Field::File(|it| &mut it.secret_file),
        "File with the secret that admin clients over TCP prove; readable by its owner only. DECISIONGRAPH_SECRET may hold the secret instead."),
    key("cluster_listen", Kind::Listen { loopback_only: false }, Field::Address(|it| &mut it.cluster.listen),
        "TCP address at which other nodes, and programs on other machines, reach this node: mutual TLS, and the secret inside it. Needs cluster_ca_file, cluster_cert_file, cluster_key_file and a secret."),
    key("cluster_advertise", Kind::Peer, Field::Text(|it| &mut it.cluster.advertise),
        "Address that the other nodes dial to reach this node.").found("cluster_listen, when it is one address"),
    key("cluster_ca_file", Kind::File, Field::File(|it| &mut it.cluster.ca),
        "Certificates of the cluster's own authority, PEM. A certificate that this authority did not sign is refused."),
    key("cluster_cert_file", Kind::File, Field::File(|it| &mut it.cluster.cert),
        "Certificate of this node, PEM, for cluster_name. A changed file is read again at the next connection."),
    key("cluster_key_file", Kind::File, Field::File(|it| &mut it.cluster.key),
        "Private key of the certificate, PEM; readable by its owner only."),
    key("cluster_name", Kind::CertificateName, Field::Line(|it| &mut it.cluster.name),
        "Name in the certificate of every node of the cluster, at any address."),
    key("cluster_peers", Kind::Peers, Field::Peers(|it| &mut it.cluster.peers),
        "Nodes to link to, besides the nodes in the database."),
    key("http_listen", Kind::Listen { loopback_only: false }, Field::Address(|it| &mut it.http.listen),
        "TCP address of the HTTP interface. An address that other machines reach needs TLS. The Unix socket http.sock in data_dir is always there."),
    key("http_tls", Kind::OneOf(&TLS_WORDS), Field::Line(|it| &mut it.http.tls),
        "TLS of an http_listen that is not loopback. `off` is for a proxy in front that ends TLS."),
    key("http_cert_file", Kind::File, Field::File(|it| &mut it.http.cert),
        "Certificate of the HTTP interface, PEM, for the name that clients use. A changed file is read again.").found("cluster_cert_file"),
    key("http_key_file", Kind::File, Field::File(|it| &mut it.http.key),
        "Private key of that certificate, PEM; readable by its owner only.").found("cluster_key_file"),
    key("identities_file", Kind::File, Field::File(|it| &mut it.http.identities),
        "Identities of HTTP callers, made by `decisiongraph identity`; the same file on every node. Without it, the token in data_dir/http.token is the only one."),
    key("http_connections_max", count("connections", 65_536), Field::Size(|it| &mut it.http.connections_max),
        "HTTP connections at the same time."),
    key("http_streams_max", count("streams", 4_096), Field::Size(|it| &mut it.http.streams_max),
        "Event streams at the same time; at most 8 of one identity."),
    key("http_deadline_ms", ms(100, HOUR_MS), Field::Ms(|it| &mut it.http.deadline),
        "Longest time for one HTTP request."),
    key("http_rate_read_per_min", rate("requests per minute"), Field::Count(|it| &mut it.http.rate_read_per_min),
        "Reads of an identity per tenant; 0 lifts the limit. Each node counts for itself."),
    key("http_rate_append_per_min", rate("requests per minute"), Field::Count(|it| &mut it.http.rate_append_per_min),
        "Requests that append events, of an identity per tenant; 0 lifts the limit."),
    key("http_rate_events_per_min", rate("events per minute"), Field::Count(|it| &mut it.http.rate_events_per_min),
        "Events of these requests, every line of a batch counted, of an identity per tenant; 0 lifts the limit."),
    key("http_rate_admin_per_min", rate("requests per minute"), Field::Count(|it| &mut it.http.rate_admin_per_min),
        "Requests that observe or steer, of an identity per tenant; 0 lifts the limit."),
    key("http_cors_origins", Kind::Text, Field::Text(|it| &mut it.http.cors_origins),
        "Origins whose pages in a browser may read answers, with commas between them, such as https://console.example.com. Never `*`."),
    key("deployment", Kind::Text, Field::Line(|it| &mut it.http.deployment),
        "Name of the deployment, which /api/healthz tells to everybody."),
    key("metrics_listen", Kind::Listen { loopback_only: false }, Field::Address(|it| &mut it.metrics_listen),
        "HTTP address of /metrics, /livez and /readyz. The pages need no login: every caller that reaches the address sees tenants and lag."),
    key("otlp_endpoint", Kind::Endpoint, Field::Text(|it| &mut it.otlp_endpoint),
        "Collector of traces and metrics by OTLP (HTTP, protobuf): /v1/traces and /v1/metrics are appended. No TLS: use a collector on this machine."),
    key("otlp_interval_s", Kind::Whole { unit: "s", least: 1, most: 3_600 }, Field::Seconds(|it| &mut it.otlp_interval),
        "Pause between two exports of metrics."),
    key("log_filter", Kind::Filter, Field::Line(|it| &mut it.log_filter),
        "Filter of the log and of traces.").variable_is("DECISIONGRAPH_LOG"),
    key("log_format", Kind::OneOf(&LogFormat::WORDS), Field::LogFormat(|it| &mut it.log_format),
        "Form of the log on stderr: lines for people, or one JSON object per line."),
    key("credential_guard", Kind::OneOf(&CredentialGuard::WORDS), Field::CredentialGuard(|it| &mut it.engine.credential_guard),
        "Texts that an append refuses as a credential, unless the request names a rule: texts in the form of a credential, or every text that contains one of the reference's 21 words (sk- in task-1, too).").everywhere(),
    key("lease_ms", ms(100, HOUR_MS), Field::Ms(|it| &mut it.engine.lease),
        "Time for which a dead process still owns its scopes. A live process renews its lease three times within it.").everywhere(),
    key("batch_events_max", events(1, 100_000), Field::Size(|it| &mut it.engine.batch_events_max),
        "Events per batch.").everywhere(),
    key("batch_bytes_max", bytes(1_024, 1 << 30), Field::Size(|it| &mut it.engine.batch_bytes_max),
        "Bytes per batch, of all texts of its events. A batch has at least one event.").everywhere(),
    key("memory_max", bytes(MEMORY_MIN, MEMORY_MOST), Field::Whole(|it| &mut it.engine.memory_max),
        "Bytes of memory that the process may take. Pages, batches and answers hold shares of it: workers and jobs wait for their share, a request waits at most 5 s.").found("half of what the control group or the machine allows").everywhere(),
    key("own_partition_events", events(1, i64::MAX as u64), Field::Whole(|it| &mut it.engine.own_partition_events),
        "Events of a tenant from which a rebuild on PostgreSQL gets partitions of its own.").everywhere(),
    key("checkpoint_events", events(1, i64::MAX as u64), Field::Whole(|it| &mut it.engine.checkpoint_events),
        "Events between two digest checkpoints of a scope.").everywhere(),
    key("mark_wait_ms", ms(0, HOUR_MS), Field::Ms(|it| &mut it.engine.mark_wait),
        "Longest wait of a job for open appenders before it continues with the current mark. The mark itself never moves by time.").everywhere(),
    key("pool_size", count("connections", 1_000), Field::Size(|it| &mut it.store.pool_size),
        "Connections to PostgreSQL for reads, queries and appends."),
    key("writers", count("connections", 100), Field::Size(|it| &mut it.store.writers),
        "Connections to PostgreSQL that write batches."),
    key("statement_timeout_ms", ms(100, 24 * HOUR_MS), Field::Ms(|it| &mut it.store.statement_timeout),
        "Longest single statement of a batch, and longest wait for a lock."),
    key("connect_timeout_ms", ms(10, 10 * MINUTE_MS), Field::Ms(|it| &mut it.store.connect_timeout),
        "Longest wait for a connection."),
    key("poll_ms", ms(10, HOUR_MS), Field::Ms(|it| &mut it.bounds.poll),
        "Pause between two checks of the log's end. Covers lost notifications."),
    key("sweep_ms", ms(100, 24 * HOUR_MS), Field::Ms(|it| &mut it.bounds.sweep),
        "Pause between two searches for tenants that are behind. Covers lost wakes."),
    key("passivate_after_ms", ms(10, 24 * HOUR_MS), Field::Ms(|it| &mut it.bounds.passivate_after),
        "Time without work after which a tenant is passivated."),
    key("tenants_max", count("tenants", 1_000_000), Field::Size(|it| &mut it.bounds.tenants_max),
        "Tenants whose actors run at the same time; other tenants wait."),
    key("batches_max", count("batches", 1_000), Field::Size(|it| &mut it.bounds.batches_max),
        "Batches under way at the same time."),
    key("adopt_ms", ms(10, HOUR_MS), Field::Ms(|it| &mut it.bounds.adopt),
        "Pause between two searches for orphaned jobs."),
    key("job_crashes_max", Kind::Whole { unit: "crashes", least: 0, most: 1_000 }, Field::Count(|it| &mut it.bounds.job_crashes_max),
        "Crashes of a job before the node gives it up."),
    key("verify_every_s", Kind::Whole { unit: "s", least: 0, most: 31_536_000 }, Field::Seconds(|it| &mut it.bounds.verify_every),
        "Time after which a node verifies the rows of a tenant again, one tenant at a time; 0 switches it off. What it finds is drift, as with the command; it does not show that the log is as it was."),
    key("verify_rows_per_s", Kind::Whole { unit: "rows per second", least: 1, most: 1_000_000_000 }, Field::Whole(|it| &mut it.bounds.verify_rows_per_s),
        "Rows and events that a scheduled verify reads per second."),
    key("drain_ms", ms(0, HOUR_MS), Field::Ms(|it| &mut it.bounds.drain),
        "Longest wait for batches and jobs when the node stops."),
    key("retry_first_ms", ms(1, HOUR_MS), Field::Ms(|it| &mut it.bounds.retry.first),
        "First pause after a transient fault; doubled each time."),
    key("retry_longest_ms", ms(1, HOUR_MS), Field::Ms(|it| &mut it.bounds.retry.longest),
        "Longest pause after a transient fault."),
    key("recheck_first_ms", ms(1, 24 * HOUR_MS), Field::Ms(|it| &mut it.bounds.recheck.first),
        "First pause before a worker tries a poison event again; doubled each time."),
    key("recheck_longest_ms", ms(1, 24 * HOUR_MS), Field::Ms(|it| &mut it.bounds.recheck.longest),
        "Longest pause before a worker tries a poison event again."),
    key("seal_key_file", Kind::File, Field::File(|it| &mut it.seal.key_file),
        "File with the key that signs the log's checkpoints, made by `decisiongraph seal key new`; readable by its owner only. Without a key nothing is sealed. Only the embedded default makes one: seal.key in data_dir.").everywhere(),
    key("seal_name", Kind::Text, Field::Line(|it| &mut it.seal.name),
        "Beginning of each log's name in everything that is signed, such as decisions.example.com. It stays the same for the life of the logs.").everywhere(),
    key("seal_dir", Kind::Directory, Field::Directory(|it| &mut it.seal.dir),
        "Directory of the journal of signed notes, the first memory of the seal. It must survive the node.").found("seal in data_dir").everywhere(),
    key("seal_places", Kind::Places, Field::Text(|it| &mut it.seal.places),
        "Other places of signed notes: directories with a file per log (dir:), or with a file per note for write-once mounts (objects:), and services (https:). At least one should be out of reach of the database's administrators.").everywhere(),
    key("seal_checkpoint_ms", ms(10, HOUR_MS), Field::Ms(|it| &mut it.seal.settings.checkpoint),
        "Longest time from a sealed event to its checkpoint.").everywhere(),
    key("seal_checkpoint_events", events(1, i64::MAX as u64), Field::Whole(|it| &mut it.seal.settings.checkpoint_events),
        "Events since the last checkpoint from which one is signed at once.").everywhere(),
    key("seal_statement_ms", ms(10, 24 * HOUR_MS), Field::Ms(|it| &mut it.seal.settings.statement),
        "Shortest time between two signed statements of the projections' digests.").everywhere(),
    key("seal_publish_after", Kind::OneOf(&PUBLISH_WORDS), Field::Line(|it| &mut it.seal.publish_after),
        "Moment from which a checkpoint may be signed: at its commit, or once every streaming standby has flushed it.").everywhere(),
    key("seal_overlap_days", Kind::Whole { unit: "days", least: 0, most: 3_650 }, Field::Days(|it| &mut it.seal.settings.overlap),
        "Time for which the former key signs, too, after a rotation.").everywhere(),
    key("seal_window_max_s", Kind::Whole { unit: "s", least: 1, most: 86_400 }, Field::Seconds(|it| &mut it.seal.settings.window_max),
        "Time from an event to the first copy of its checkpoint in a place above which health is degraded; above ten times it has failed.").everywhere(),
    key("seal_scrub_events_per_s", rate("events per second"), Field::Whole(|it| &mut it.seal.settings.scrub_events_per_s),
        "Sealed events that a node reads again per second, to compare them with their leaves; 0 switches it off.").everywhere(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_store::DatabaseUrl;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_variables_are_used_once() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let others = OTHER_VARIABLES.iter().map(|name| (*name).to_owned());
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).chain(others).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len() + OTHER_VARIABLES.len()));
    }

    #[test]
    fn every_field_holds_values_of_its_kind() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Whole { most, .. } => Value::Whole(most.min(u64::from(u32::MAX))),
                Kind::OneOf(words) => Value::Text(words[1].to_owned()),
                Kind::Directory | Kind::File => Value::Path("/f".into()),
                Kind::Listen { .. } => Value::Address(([127, 0, 0, 1], 1).into()),
                Kind::Peers => Value::Peers(vec!["a:1".to_owned()]),
                Kind::Database => Value::Database(DatabaseUrl::Sqlite("/d".into())),
                Kind::Text | Kind::Peer | Kind::Places | Kind::CertificateName | Kind::Endpoint | Kind::Filter => {
                    Value::Text("a".to_owned())
                }
            };
            let mut config = NodeConfig::default();
            key.fill(&mut config, value.clone());
            assert_eq!(key.value(&config), value, "{}", key.name);
            let changed = KEYS.iter().filter(|other| other.value(&config) != other.value(&NodeConfig::default()));
            assert!(changed.eq([key]), "{} changes other keys", key.name);
        }
    }

    #[test]
    fn a_number_says_its_unit_in_its_name() {
        for key in KEYS {
            if let Kind::Whole { unit, .. } = key.kind {
                let named = match unit {
                    "ms" | "s" => key.name.ends_with(&format!("_{unit}")) || key.name.ends_with("_ms"),
                    "connections" => matches!(key.name, "pool_size" | "writers") || key.name.contains(unit),
                    "requests per minute" | "events per minute" => key.name.ends_with("_per_min"),
                    "events per second" | "rows per second" => key.name.ends_with("_per_s"),
                    "bytes" => key.name.contains("bytes") || key.name == "memory_max",
                    unit => key.name.contains(unit),
                };
                assert!(named, "{} is in {unit}", key.name);
            }
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_key_and_nonsense_finds_none() {
        for (slip, meant) in
            [("leas_ms", "lease_ms"), ("--Pool-Sise", "pool_size"), ("passivate_ms", "passivate_after_ms")]
        {
            assert_eq!(nearest(slip).map(|key| key.name), Some(meant), "{slip}");
        }
        assert_eq!(nearest("colour"), None);
    }
}
