//! Every key of a node's configuration, as data: name, unit, range, default, variable and purpose.
//!
//! *Guarantees.* There is no other list. The file, the environment, the flags, `--print-config` and
//! `docs/reference/CONFIGURATION.md` all follow this one.

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

/// Longest text of a value, in bytes.
pub const TEXT_BYTES_MAX: usize = 200;

/// Longest list of peers.
pub const PEERS_MAX: usize = 256;
/// Longest list of peers, in bytes.
pub const PEERS_BYTES_MAX: usize = 16_384;

/// Origin of a value that no source gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// This text.
    Text(&'static str),
    /// No value: the feature is not used.
    Nothing,
    /// Value that is determined at the start; the text describes its origin.
    Found(&'static str),
}

/// A key.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Name of the key in the file. With dashes it is the flag.
    pub name: &'static str,
    /// Environment variable of the key.
    pub variable: &'static str,
    /// Type and range of its values.
    pub kind: Kind,
    /// Value without any source.
    pub default: Unset,
    /// Purpose of the key, in one or two sentences.
    pub help: &'static str,
}

impl Key {
    /// Returns the flag of the key, with the dashes in front.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// Describes the accepted values, for people.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Whole { unit, least, most } => format!("{} to {} {unit}", grouped(least), grouped(most)),
            Kind::Text => format!("text, 1 to {TEXT_BYTES_MAX} bytes"),
            Kind::Directory => "directory".to_owned(),
            Kind::File => "readable file".to_owned(),
            Kind::Listen { loopback_only: true } => "loopback HOST:PORT, or off".to_owned(),
            Kind::Listen { loopback_only: false } => "HOST:PORT, or off".to_owned(),
            Kind::Peer => "HOST:PORT".to_owned(),
            Kind::Peers => format!("HOST:PORT,HOST:PORT,…, at most {PEERS_MAX}"),
            Kind::CertificateName => "DNS name".to_owned(),
            Kind::Database => "postgres://USER@HOST/DATABASE or sqlite:PATH".to_owned(),
            Kind::Endpoint => "http://HOST:PORT, or off".to_owned(),
            Kind::Filter => "filter of `tracing`".to_owned(),
            Kind::OneOf(words) => words.join(" or "),
        }
    }

    /// Describes the default, for people.
    pub fn default_text(&self) -> String {
        match (self.default, self.kind) {
            (Unset::Text(text), Kind::Whole { unit, .. }) => match text.parse() {
                Ok(number) => format!("{} {unit}", grouped(number)),
                Err(_) => text.to_owned(),
            },
            (Unset::Text(text), _) => text.to_owned(),
            (Unset::Nothing, _) => "none".to_owned(),
            (Unset::Found(how), _) => how.to_owned(),
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

const fn count(unit: &'static str, most: u64) -> Kind {
    Kind::Whole { unit, least: 1, most }
}

const fn key(name: &'static str, variable: &'static str, kind: Kind, default: Unset, help: &'static str) -> Key {
    Key { name, variable, kind, default, help }
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

use Unset::{Found, Nothing, Text};
use decisiongraph_engine::memory::{MEMORY_MIN, MEMORY_MOST};
use decisiongraph_projections::credential_guard::CredentialGuard;

/// Every key, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("database", "DATABASE_URL", Kind::Database, Found("decisiongraph.db in data_dir"),
        "Which database. An embedded file in data_dir is created, any other must have its schema."),
    key("data_dir", "DECISIONGRAPH_DATA_DIR", Kind::Directory, Found("$XDG_DATA_HOME/decisiongraph, else ~/.local/share/decisiongraph"),
        "Directory of the embedded store and of the node's Unix socket. Nobody else may write it."),
    key("name", "DECISIONGRAPH_NAME", Kind::Text, Found("host name and four digits of the data directory"),
        "The node's name in leases, runs and `status`. Two nodes of one database never share it."),
    key("admin_listen", "DECISIONGRAPH_ADMIN_LISTEN", Kind::Listen { loopback_only: true }, Text("off"),
        "TCP address of the admin RPC, beside the Unix socket. Needs a secret."),
    key("secret_file", "DECISIONGRAPH_SECRET_FILE", Kind::File, Nothing,
        "File with the secret that admin clients over TCP prove; readable by its owner only. DECISIONGRAPH_SECRET may hold the secret instead."),
    key("cluster_listen", "DECISIONGRAPH_CLUSTER_LISTEN", Kind::Listen { loopback_only: false }, Text("off"),
        "TCP address at which other nodes, and programs on other machines, reach this node: mutual TLS, and the secret inside it. Needs cluster_ca_file, cluster_cert_file, cluster_key_file and a secret."),
    key("cluster_advertise", "DECISIONGRAPH_CLUSTER_ADVERTISE", Kind::Peer, Found("cluster_listen, when it is one address"),
        "What the other nodes dial to reach this one."),
    key("cluster_ca_file", "DECISIONGRAPH_CLUSTER_CA_FILE", Kind::File, Nothing,
        "Certificates of the cluster's own authority, PEM. Who shows one that it did not sign is refused."),
    key("cluster_cert_file", "DECISIONGRAPH_CLUSTER_CERT_FILE", Kind::File, Nothing,
        "This node's certificate, PEM, for cluster_name. A file that changes is read again at the next connection."),
    key("cluster_key_file", "DECISIONGRAPH_CLUSTER_KEY_FILE", Kind::File, Nothing,
        "Its private key, PEM; readable by its owner only."),
    key("cluster_name", "DECISIONGRAPH_CLUSTER_NAME", Kind::CertificateName, Text("decisiongraph"),
        "The name that the certificate of every node of the cluster carries, whatever its address."),
    key("cluster_peers", "DECISIONGRAPH_CLUSTER_PEERS", Kind::Peers, Nothing,
        "Nodes to link to besides those that the database knows."),
    key("metrics_listen", "DECISIONGRAPH_METRICS_LISTEN", Kind::Listen { loopback_only: false }, Text("127.0.0.1:9464"),
        "HTTP address of /metrics, /livez and /readyz. They are not authenticated: an address that others reach shows them tenants and lag."),
    key("otlp_endpoint", "DECISIONGRAPH_OTLP_ENDPOINT", Kind::Endpoint, Text("off"),
        "Collector that gets traces and metrics by OTLP (HTTP, protobuf): /v1/traces and /v1/metrics are appended. No TLS: use a collector on this machine."),
    key("otlp_interval_s", "DECISIONGRAPH_OTLP_INTERVAL_S", Kind::Whole { unit: "s", least: 1, most: 3_600 }, Text("15"),
        "Between two exports of metrics."),
    key("log_filter", "DECISIONGRAPH_LOG", Kind::Filter, Text("info,refinery_core=warn,ractor=error,ractor_cluster=error"),
        "What is logged and traced."),
    key("log_format", "DECISIONGRAPH_LOG_FORMAT", Kind::OneOf(&["text", "json"]), Text("text"),
        "Form of the log on stderr: lines for people, or one JSON object a line."),
    key("credential_guard", "DECISIONGRAPH_CREDENTIAL_GUARD", Kind::OneOf(&CredentialGuard::WORDS), Text("patterns"),
        "What an append refuses as a credential, unless it says itself: what has the form of one, or whatever contains one of the reference's 21 texts (sk- in task-1 too)."),
    key("lease_ms", "DECISIONGRAPH_LEASE_MS", ms(100, HOUR_MS), Text("10000"),
        "How long a dead process still owns its scopes. Renewed three times in it."),
    key("batch_events_max", "DECISIONGRAPH_BATCH_EVENTS_MAX", events(1, 100_000), Text("2000"),
        "Events a batch."),
    key("batch_bytes_max", "DECISIONGRAPH_BATCH_BYTES_MAX", Kind::Whole { unit: "bytes", least: 1_024, most: 1 << 30 }, Text("16777216"),
        "Bytes per batch, of all texts of its events; at least one event is taken."),
    key("memory_max", "DECISIONGRAPH_MEMORY_MAX", Kind::Whole { unit: "bytes", least: MEMORY_MIN, most: MEMORY_MOST }, Found("half of what the control group or the machine allows"),
        "Bytes of memory that the process may take. Pages, batches and answers hold shares of it: workers and jobs wait for theirs, a request for at most 5 s."),
    key("own_partition_events", "DECISIONGRAPH_OWN_PARTITION_EVENTS", events(1, i64::MAX as u64), Text("20000"),
        "Events of a tenant from which a rebuild on PostgreSQL gets partitions of its own."),
    key("checkpoint_events", "DECISIONGRAPH_CHECKPOINT_EVENTS", events(1, i64::MAX as u64), Text("10000"),
        "Events between two digest checkpoints of a scope."),
    key("mark_wait_ms", "DECISIONGRAPH_MARK_WAIT_MS", ms(0, HOUR_MS), Text("10000"),
        "Longest wait of a job for open appenders before it goes on with the mark it has. The mark itself never moves by time."),
    key("pool_size", "DECISIONGRAPH_POOL_SIZE", count("connections", 1_000), Text("8"),
        "Connections to PostgreSQL for reads, queries and appends."),
    key("writers", "DECISIONGRAPH_WRITERS", count("connections", 100), Text("3"),
        "Sessions of PostgreSQL that write batches."),
    key("statement_timeout_ms", "DECISIONGRAPH_STATEMENT_TIMEOUT_MS", ms(100, 24 * HOUR_MS), Text("30000"),
        "Longest single statement of a batch, and longest wait for a lock."),
    key("connect_timeout_ms", "DECISIONGRAPH_CONNECT_TIMEOUT_MS", ms(10, 10 * MINUTE_MS), Text("5000"),
        "Longest wait for a connection."),
    key("poll_ms", "DECISIONGRAPH_POLL_MS", ms(10, HOUR_MS), Text("1000"),
        "Between two looks at the log's end. Covers notifications that were lost."),
    key("sweep_ms", "DECISIONGRAPH_SWEEP_MS", ms(100, 24 * HOUR_MS), Text("60000"),
        "Between two searches for tenants that are behind although nobody was told."),
    key("passivate_after_ms", "DECISIONGRAPH_PASSIVATE_AFTER_MS", ms(10, 24 * HOUR_MS), Text("30000"),
        "A tenant whose workers had nothing to do for this long is passivated."),
    key("tenants_max", "DECISIONGRAPH_TENANTS_MAX", count("tenants", 1_000_000), Text("1000"),
        "Tenants whose actors run at the same time; others wait their turn."),
    key("batches_max", "DECISIONGRAPH_BATCHES_MAX", count("batches", 1_000), Text("6"),
        "Batches under way at the same time."),
    key("adopt_ms", "DECISIONGRAPH_ADOPT_MS", ms(10, HOUR_MS), Text("5000"),
        "Between two looks for orphaned jobs."),
    key("job_crashes_max", "DECISIONGRAPH_JOB_CRASHES_MAX", Kind::Whole { unit: "crashes", least: 0, most: 1_000 }, Text("5"),
        "Times that a job may crash before it is given up."),
    key("drain_ms", "DECISIONGRAPH_DRAIN_MS", ms(0, HOUR_MS), Text("10000"),
        "Longest wait for batches and jobs when the node stops."),
    key("retry_first_ms", "DECISIONGRAPH_RETRY_FIRST_MS", ms(1, HOUR_MS), Text("50"),
        "First pause after a fault that may pass; doubled each time."),
    key("retry_longest_ms", "DECISIONGRAPH_RETRY_LONGEST_MS", ms(1, HOUR_MS), Text("5000"),
        "Longest of these pauses."),
    key("recheck_first_ms", "DECISIONGRAPH_RECHECK_FIRST_MS", ms(1, 24 * HOUR_MS), Text("5000"),
        "First pause before a poison event is looked at again; doubled each time."),
    key("recheck_longest_ms", "DECISIONGRAPH_RECHECK_LONGEST_MS", ms(1, 24 * HOUR_MS), Text("300000"),
        "Longest of these pauses."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_variables_are_used_once() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: BTreeSet<_> =
            KEYS.iter().map(|key| key.variable).chain(OTHER_VARIABLES.iter().copied()).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len() + OTHER_VARIABLES.len()));
    }

    #[test]
    fn a_number_says_its_unit_in_its_name() {
        for key in KEYS {
            if let Kind::Whole { unit, .. } = key.kind {
                let named = match unit {
                    "ms" | "s" => key.name.ends_with(&format!("_{unit}")) || key.name.ends_with("_ms"),
                    "connections" => matches!(key.name, "pool_size" | "writers"),
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
