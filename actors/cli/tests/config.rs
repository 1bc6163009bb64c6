//! The configuration of a node: sources of values, refused values, displayed values.

use decisiongraph_cli::config::keys::{KEYS, Kind};
use decisiongraph_cli::config::{ConfigFault, LogFormat, NodeConfig, Source, page, refused};
use decisiongraph_engine::failure::Pauses;
use decisiongraph_engine::{Budget, EngineConfig};
use decisiongraph_projections::Category;
use decisiongraph_runtime::node::NodeBounds;
use decisiongraph_store::{DatabaseUrl, StoreOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn load(file: Option<&Path>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<NodeConfig, Vec<ConfigFault>> {
    let look_up = |name: &str| {
        let given = env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        given.or_else(|| (name == "HOME").then(|| "/home/somebody".to_owned()))
    };
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NodeConfig::load(file, look_up, flags)
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

#[test]
fn defaults_are_those_of_the_engine_the_store_and_the_node() {
    let config = load(None, &[], &[]).expect("defaults are sound");
    assert_eq!(format!("{:?}", config.engine), format!("{:?}", EngineConfig::default()));
    let cache_bytes = Budget::cache_bytes(config.engine.memory_max);
    assert_eq!(format!("{:?}", config.store), format!("{:?}", StoreOptions { cache_bytes, ..StoreOptions::default() }));
    assert_eq!(config.metrics_listen.expect("on").to_string(), "127.0.0.1:9464");
    assert_eq!((&config.otlp_endpoint, config.admin_listen, config.log_format), (&None, None, LogFormat::Text));
    assert_eq!(config.data_dir, Path::new("/home/somebody/.local/share/decisiongraph"));
    assert_eq!(config.database, DatabaseUrl::Sqlite(config.data_dir.join("decisiongraph.db")));
    assert!(config.database_is_ours() && config.name.is_none());
    assert_eq!(format!("{:?}", config.bounds), format!("{:?}", NodeBounds::default()));
}

#[test]
fn every_number_reaches_the_field_that_is_named_after_it() {
    // Each number key gets a distinct value. The fields must hold all of them.
    let mut flags = Vec::new();
    let mut expected = Vec::new();
    for (index, key) in KEYS.iter().enumerate() {
        if let Kind::Whole { least, .. } = key.kind {
            let value = least + 1 + index as u64;
            flags.push((key.name.to_owned(), value.to_string()));
            expected.push((key.name, value));
        }
    }
    let config = NodeConfig::load(None, |name| (name == "HOME").then(|| "/h".to_owned()), flags);
    let config = config.map_err(refused).expect("in range");
    let shown = format!("{:?}", config);
    let fields = shown.split("sources").next().expect("fields");
    let pairs = ["retry_first_ms", "retry_longest_ms", "recheck_first_ms", "recheck_longest_ms"];
    let of = |name: &str| expected.iter().find(|(key, _)| *key == name).expect("a key").1;
    let pair = |name: &str| {
        let part = |which: &str| Duration::from_millis(of(&format!("{name}_{which}_ms")));
        Pauses { first: part("first"), longest: part("longest") }
    };
    assert_eq!((config.bounds.retry, config.bounds.recheck), (pair("retry"), pair("recheck")));
    for (name, value) in expected.iter().filter(|(name, _)| !pairs.contains(name)) {
        let name = name.strip_prefix("http_").or(name.strip_prefix("seal_")).unwrap_or(name);
        let field = match (name.strip_suffix("_ms"), name.strip_suffix("_s")) {
            _ if name.ends_with("_per_s") => format!("{name}: {value}"),
            _ if name == "overlap_days" => format!("overlap: {:?}", Duration::from_secs(*value * 24 * 60 * 60)),
            (Some(name), _) => format!("{name}: {:?}", Duration::from_millis(*value)),
            (_, Some(name)) => format!("{name}: {:?}", Duration::from_secs(*value)),
            _ => format!("{name}: {value}"),
        };
        assert!(fields.contains(&field), "{field} is not in {fields}");
    }
}

#[test]
fn a_node_for_other_machines_needs_certificates_a_secret_and_an_address_that_can_be_dialled() {
    let (_folder, path) = file("x");
    let path = path.to_str().expect("text");
    let files = [("cluster-ca-file", path), ("cluster-cert-file", path), ("cluster-key-file", path)];
    let secret = [("DECISIONGRAPH_SECRET", "correct horse battery staple brick")];
    let with = |more: &[(&str, &str)], env: &[(&str, &str)]| load(None, env, &[&files[..], more].concat());
    let config = with(&[("cluster-listen", "192.0.2.1:7422")], &secret).expect("sound");
    let cluster = config.cluster;
    assert!(cluster.listen.is_some() && cluster.tls().is_some());
    assert_eq!((cluster.name.as_str(), cluster.advertise, cluster.peers.len()), ("decisiongraph", None, 0));
    let more = [
        ("cluster-listen", "0.0.0.0:7422"),
        ("cluster-advertise", "node-1.example:7422"),
        ("cluster-peers", "10.0.0.1:7422, [2001:db8::1]:7422,node-2:7422"),
    ];
    let cluster = with(&more, &secret).expect("sound").cluster;
    assert_eq!(cluster.advertise.as_deref(), Some("node-1.example:7422"));
    assert_eq!(cluster.peers, ["10.0.0.1:7422", "[2001:db8::1]:7422", "node-2:7422"]);
    let told = |faults: Result<NodeConfig, Vec<ConfigFault>>| {
        faults.expect_err("a fault").iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; ")
    };
    for (faults, part) in [
        (with(&[("cluster-listen", "0.0.0.0:7422")], &secret), "cluster_advertise must name the one"),
        (with(&[("cluster-listen", "192.0.2.1:7422")], &[]), "cluster_listen needs secret_file"),
        (load(None, &secret, &[("cluster-listen", "192.0.2.1:7422")]), "cluster_listen needs cluster_key_file"),
        (load(None, &secret, &[("cluster-peers", "a:1")]), "cluster_peers needs cluster_listen"),
        (load(None, &[], &[("cluster-peers", "a:1,b")]), "cluster_peers must be HOST:PORT,"),
        (load(None, &[], &[("cluster-advertise", "0.0.0.0:7")]), "cluster_advertise must be HOST:PORT"),
        (load(None, &[], &[("cluster-name", "no name")]), "cluster_name must be a DNS name"),
    ] {
        let told = told(faults);
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let (_folder, path) = file("lease_ms = 1000\nwriters = 4\npool_size = 5\n");
    let env = [("DECISIONGRAPH_LEASE_MS", "2000"), ("DECISIONGRAPH_WRITERS", "6"), ("DECISIONGRAPH_POLL_MS", "")];
    let config = load(Some(&path), &env, &[("lease-ms", "3000")]).expect("sound");
    assert_eq!((config.engine.lease, config.store.writers, config.store.pool_size), (Duration::from_secs(3), 6, 5));
    let source = |key: &str| {
        let effective = config.effective();
        effective.into_iter().find(|effective| effective.key == key).expect("known").source.to_string()
    };
    assert_eq!(source("lease_ms"), "--lease-ms");
    assert_eq!(source("writers"), "DECISIONGRAPH_WRITERS");
    assert_eq!(source("pool_size"), format!("{}:3", path.display()));
    assert_eq!(source("poll_ms"), "default");
    let named = load(None, &[("DECISIONGRAPH_CONFIG", path.to_str().expect("text"))], &[]).expect("sound");
    assert_eq!(named.store.writers, 4);
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let (_folder, path) = file(
        "leas_ms = 5\n\npool_size = \"many\"\nlog_format = 7\nwriters = -1\nbatches_max = 0\ncolour = \"red\"\nlog_filter = \"=,=\"\n[store]\nx = 1\n",
    );
    let env = [
        ("DECISIONGRAPH_POLL_MS", "soon"),
        ("DECISIONGRAPH_SECRET_FILE", "/nonexistent/secret"),
        ("DECISIONGRAPH_ADMIN_LISTEN", "192.0.2.1:9"),
    ];
    let flags = [("metric-listen", "x"), ("otlp-endpoint", "https://collector"), ("retry-first-ms", "9000")];
    let faults = load(Some(&path), &env, &flags).expect_err("many faults");
    let at = |line: usize| format!("{}:{line}", path.display());
    let expected = [
        (at(1), "there is no key `leas_ms`; did you mean `lease_ms`?"),
        (at(3), "pool_size must be a whole number, 1 to 1,000 connections, not of type string"),
        (at(4), "log_format must be text or json, not of type integer"),
        (at(5), "writers must be a whole number, 1 to 100 connections, not -1"),
        (at(6), "batches_max must be a whole number, 1 to 1,000 batches, not `0`"),
        (at(7), "there is no key `colour`"),
        (at(8), "log_filter must be a filter of `tracing`"),
        (at(9), "there is no key `store`"),
        ("DECISIONGRAPH_ADMIN_LISTEN".to_owned(), "admin_listen must be loopback HOST:PORT, or off, not `192.0.2.1:9`"),
        ("DECISIONGRAPH_SECRET_FILE".to_owned(), "secret_file: cannot read /nonexistent/secret"),
        ("DECISIONGRAPH_POLL_MS".to_owned(), "poll_ms must be a whole number, 10 to 3,600,000 ms, not `soon`"),
        ("--metric-listen".to_owned(), "there is no key `metric-listen`; did you mean `--metrics-listen`?"),
        ("--otlp-endpoint".to_owned(), "otlp_endpoint must be http://HOST:PORT without TLS, login and query, or `off`"),
        ("configuration".to_owned(), "retry_first_ms (9000 ms) is longer than retry_longest_ms (5000 ms)"),
    ];
    let told: Vec<(String, String)> =
        faults.iter().map(|fault| (fault.place.to_string(), fault.message.clone())).collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((place, message), (expected_place, expected_message)) in told.iter().zip(&expected) {
        assert_eq!(place, expected_place, "{message}");
        assert!(message.starts_with(expected_message), "{message}");
    }
    let error = refused(faults);
    assert_eq!(error.category, Category::InvalidArgument);
    assert!(error.message.starts_with("the configuration has 14 faults: "), "{}", error.message);
    assert!(expected.iter().all(|(_, message)| error.message.contains(message)));
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named_beside_the_other_faults() {
    let flags = [("lease-ms", "x")];
    let faults = load(Some(Path::new("/nonexistent/node.toml")), &[], &flags).expect_err("missing");
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].place, Source::File("/nonexistent/node.toml".into(), None));
    let (_folder, path) = file("writers = 2\npool_size = = 3\nlease_ms = 1\n");
    let faults = load(Some(&path), &[], &flags).expect_err("no TOML");
    assert_eq!(faults[0].place, Source::File(path.clone(), Some(2)));
    assert!(faults.iter().any(|fault| fault.place == Source::File(path.clone(), Some(3))), "{faults:?}");
}

#[test]
fn tcp_for_admin_needs_a_secret() {
    let listen = ("DECISIONGRAPH_ADMIN_LISTEN", "localhost:7000");
    let faults = load(None, &[listen], &[]).expect_err("no secret");
    assert_eq!(faults[0].place, Source::Together);
    let config =
        load(None, &[listen, ("DECISIONGRAPH_SECRET", "a s3cret of the right length, for tests")], &[]).expect("sound");
    assert_eq!(config.admin_listen.expect("on").to_string(), "127.0.0.1:7000");
    assert!(!format!("{config:?}{}", config.to_text()).contains("s3cret"));
}

#[test]
fn a_password_is_never_shown() {
    let url = "postgres://u:s3cret@h/d?password=s3cret";
    let config = load(None, &[("DATABASE_URL", url)], &[]).expect("sound");
    let shown = format!("{config:?}{}{}", config.to_text(), serde_json::json!(config.effective()));
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("postgres://u@h/d") && !config.database_is_ours());
    for (key, wrong) in [("database", "mysql://u:s3cret@h"), ("otlp-endpoint", "http://u:s3cret@h")] {
        let faults = load(None, &[], &[(key, wrong)]).expect_err("refused");
        assert!(!refused(faults).message.contains("s3cret"));
    }
    let (_folder, path) = file("database = \"postgres://u:s3cret@h/d\"x\n");
    let faults = load(Some(&path), &[], &[]).expect_err("no TOML");
    assert!(!refused(faults).message.contains("s3cret"));
}

#[test]
fn a_password_under_the_wrong_key_is_not_repeated() {
    let url = "postgres://dg:hunter2@db/decisions";
    for key in
        ["secret-file", "cluster-advertise", "cluster-peers", "cluster-name", "data-dir", "lease-ms", "log-format"]
    {
        let told = match load(None, &[], &[(key, url)]) {
            Ok(config) => config.to_text(),
            Err(faults) => faults.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "),
        };
        assert!(!told.contains("hunter2"), "{key}: {told}");
    }
}

#[test]
fn what_is_printed_can_be_loaded_again() {
    let config = load(None, &[("DECISIONGRAPH_NAME", "a \"b\" \\ c")], &[("otlp-endpoint", "http://[::1]:4318/")]);
    let config = config.expect("sound");
    let (_folder, path) = file(&config.to_text());
    let again = load(Some(&path), &[], &[]).map_err(refused).expect("sound");
    let values = |config: &NodeConfig| config.effective().into_iter().map(|one| one.value).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&config));
    assert_eq!(again.otlp_endpoint.as_deref(), Some("http://[::1]:4318"));
}

#[test]
fn a_misspelled_variable_is_noticed() {
    let names = ["DECISIONGRAPH_LEASE_MS", "DECISIONGRAPH_LEAS_MS", "PATH", "DECISIONGRAPH_CONFIG"];
    let faults = NodeConfig::unknown_variables(names.map(str::to_owned));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.contains("did you mean DECISIONGRAPH_LEASE_MS?"), "{}", faults[0]);
}

#[test]
fn a_file_without_an_end_is_refused_and_not_read_into_memory() {
    let (_folder, large) = file(&"# nothing\n".repeat(200_000));
    for path in [large.as_path(), Path::new("/dev/zero")] {
        let faults = load(Some(path), &[], &[]).expect_err("refused");
        assert!(faults[0].message.contains("more than 1048576 bytes"), "{}", faults[0]);
    }
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/CONFIGURATION.md");
    if std::env::var_os("DECISIONGRAPH_BLESS").is_some() {
        std::fs::write(&path, page::markdown()).expect("written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, page::markdown(), "write it with DECISIONGRAPH_BLESS=1");
}
