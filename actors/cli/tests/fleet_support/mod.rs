//! A cluster as operators run it: real node processes, each with a data directory, a log and a proxy before its
//! database. The faults that a test causes, and the view that the database has of the nodes.
#![allow(dead_code)]

pub mod observer;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod strain;

use crate::node_support::{self, named};
use decisiongraph_projections::TenantId;
use decisiongraph_runtime::board::placement::{Candidate, Placement};
use decisiongraph_store::{DatabaseUrl, Store, StoreOptions, launch, open, throwaway};
use observer::Observer;
use process::{NodeProcess, Order};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use strain::Strain;

/// Lease of the nodes.
pub const LEASE: Duration = Duration::from_secs(2);
/// Allowance for a debug build beyond every promised time, on a machine that always has a CPU free for it.
const SLACK: Duration = Duration::from_secs(3);
/// Upper bound of that allowance, on any machine. The server ends an idle transaction after 10 s. An effect that is
/// seen sooner is therefore the nodes' own.
const SLACK_MAX: Duration = Duration::from_secs(7);
/// Longest wait for an expected event.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes and their database.
pub struct Cluster {
    pub store: Arc<dyn Store>,
    pub observer: Observer,
    pub nodes: Vec<NodeProcess>,
    /// URL of the database, without any proxy.
    pub url: String,
    strain: Strain,
    dir: tempfile::TempDir,
    _database: Option<throwaway::Database>,
}

/// Returns a seed, which `SEED` may set. Prints it so that a run can be repeated.
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_124);
    println!("SEED={seed}");
    seed
}

impl Cluster {
    /// Starts nodes on a new database of the server that all tests share. Waits until each node is a member.
    pub async fn start(nodes: usize) -> Cluster {
        let server = throwaway::shared().await.expect("a throw-away PostgreSQL");
        let database = server.fresh_database().await.expect("a database");
        let mut cluster = Cluster::at(database.url()).await;
        cluster._database = Some(database);
        for _ in 0..nodes {
            cluster.add().await;
        }
        cluster
    }

    /// Prepares a cluster without nodes on this database.
    pub async fn at(url: &str) -> Cluster {
        Cluster {
            store: connect(url).await,
            observer: Observer::of(url),
            nodes: Vec::new(),
            url: url.to_owned(),
            strain: Strain::watched(),
            dir: tempfile::tempdir().expect("a directory"),
            _database: None,
        }
    }

    /// Adds one node and waits until it is a member.
    pub async fn add(&mut self) -> usize {
        self.add_with(|_| {}).await
    }

    /// Adds one node with more flags or variables.
    pub async fn add_with(&mut self, change: impl FnOnce(&mut Order)) -> usize {
        let index = self.nodes.len();
        let (proxy, url) = proxied(&self.url).await;
        let name = format!("n{index}");
        let mut order =
            Order { data: self.dir.path().join(&name), name, url, flags: Vec::new(), variables: Vec::new() };
        change(&mut order);
        let node = NodeProcess::start(order, proxy, self.dir.path());
        self.nodes.push(node);
        self.joined(index).await;
        index
    }

    /// Restarts an ended node under its name, in its data directory or in a fresh one.
    pub async fn restart(&mut self, index: usize, fresh_directory: bool) {
        self.nodes[index].restart(fresh_directory);
        self.joined(index).await;
    }

    /// Creates a role that may do a node's work but may not end another role's sessions.
    pub async fn role_of_its_own(&self) -> String {
        let role = format!("dg_node_{}", uuid::Uuid::new_v4().simple());
        for sql in [
            format!("CREATE ROLE {role} LOGIN"),
            format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"),
            format!("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"),
            format!("GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO {role}"),
        ] {
            self.observer.rows(&sql, &[]).await.expect("the database answers");
        }
        role
    }

    /// Waits until the node's present incarnation is a member.
    pub async fn joined(&self, index: usize) {
        let node = &self.nodes[index];
        let before = node.former();
        node_support::until(&format!("{} is a member\n{}", node.name(), node.log()), PATIENCE, async || {
            match self.observer.incarnation(node.name()).await {
                Some(now) if before.as_deref() != Some(&now) => {
                    node.lives_as(&now);
                    true
                }
                _ => false,
            }
        })
        .await;
    }

    /// Directs the test itself to another database from now on.
    pub async fn move_to(&mut self, url: &str) {
        self.url = url.to_owned();
        self.store = connect(url).await;
        self.observer.turn_to(url).await;
    }

    /// Returns the placement that each live node computes.
    pub async fn placement(&self, tenants: usize) -> Option<Placement> {
        let live = self.observer.live().await?;
        let candidates: Vec<Candidate> = live.into_iter().map(|node| Candidate { node, keeps: None }).collect();
        Some(Placement::new(&candidates, &(0..tenants).map(named).collect()))
    }

    /// Waits until every scope is owned by the node that it is placed on. Returns the time that this took.
    pub async fn placed(&self, tenants: usize) -> Duration {
        let started = Instant::now();
        while !self.is_placed(tenants).await {
            if started.elapsed() > PATIENCE {
                panic!("not every tenant is where it belongs:\n{}\n{}", self.observer.picture().await, self.logs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started.elapsed()
    }

    async fn is_placed(&self, tenants: usize) -> bool {
        let Some(placement) = self.placement(tenants).await else { return false };
        let Some(owners) = self.observer.owners().await else { return false };
        owners.len() == tenants * 3
            && owners.iter().all(|(tenant, owner)| {
                let tenant = TenantId::new(tenant.as_str()).expect("an id");
                placement.node_of(&tenant) == owner.as_deref()
            })
    }

    /// Waits until all is applied. Then every digest must match the log, and every node must stop in order.
    pub async fn reckon(mut self, tenants: usize) {
        let end = Instant::now() + PATIENCE.max(Duration::from_secs(if node_support::soak() { 600 } else { 0 }));
        while !node_support::current(&self.store, tenants).await {
            if Instant::now() > end {
                panic!("not every event is applied:\n{}\n{}", self.observer.picture().await, self.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for node in &mut self.nodes {
            node.stop_in_order();
        }
        node_support::reckon(&self.store, tenants).await;
        if node_support::soak() {
            let folds: Vec<usize> = (0..tenants).map(|index| self.folded_by_others(&named(index))).collect();
            println!("{tenants} logs folded by {folds:?} other programs to the same digests; {}", self.strain.told());
        }
        for node in &self.nodes {
            let log = node.log();
            assert!(!log.contains("panicked") && !log.contains("gave up"), "{}:\n{log}", node.name());
        }
    }

    /// Compares the reference digests with folds of the exported log. The folding programs share no code with this one:
    /// the plain fold of this repository, and the one beside the repository, if present. Returns the number of these
    /// programs.
    fn folded_by_others(&self, tenant: &TenantId) -> usize {
        let ours = |args: &[&str]| {
            let mut command = process::program();
            command.args(args).args(["--database", &self.url, "--tenant", tenant.as_str()]);
            command
        };
        let log = self.dir.path().join("exported.jsonl");
        let file = std::fs::File::create(&log).expect("a file");
        assert!(ours(&["export"]).stdout(file).status().expect("exports").success());
        let digests = ours(&["digest", "--reference", "--json"]).output().expect("digests").stdout;
        let ours: serde_json::Value = serde_json::from_slice(&digests).expect("JSON");
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (plain, oracle) = (root.join("docs/benchmarks/plain_fold.py"), root.join("../shared/parity/oracle.py"));
        let mut folds = vec![launch::program("python3")];
        folds[0].arg(plain).stdin(std::fs::File::open(&log).expect("a file"));
        if oracle.exists() {
            let mut fold = launch::program("python3");
            fold.arg(oracle).arg("fold").arg(&log);
            folds.push(fold);
        }
        for fold in &mut folds {
            let folded = fold.output().expect("python3 folds");
            assert!(folded.status.success(), "{tenant}: {}", String::from_utf8_lossy(&folded.stderr));
            let theirs: serde_json::Value = serde_json::from_slice(&folded.stdout).expect("JSON");
            for name in ["context_graph", "trace_summary", "precedent_index"] {
                let digest = find(&theirs, name);
                assert!(digest.is_some() && find(&ours, name) == digest, "{tenant}: {ours} {theirs}");
            }
        }
        folds.len()
    }

    /// Returns the factor by which the nodes run slower than with a CPU always free: 1 on a quiet machine.
    pub fn slowness(&self) -> f64 {
        let (ran, waited) = self
            .nodes
            .iter()
            .map(NodeProcess::scheduled)
            .fold((0.0, 0.0), |sum, node| (sum.0 + node.0, sum.1 + node.1));
        if ran > 0.0 { (ran + waited) / ran } else { 1.0 }
    }

    /// Returns the allowance for the nodes beyond every promised time.
    pub fn slack(&self) -> Duration {
        SLACK.mul_f64(self.slowness()).min(SLACK_MAX)
    }

    pub fn logs(&self) -> String {
        self.nodes.iter().map(|node| format!("── {}\n{}", node.name(), node.log())).collect()
    }
}

/// Finds the `sha256:` value under or beside this name, at any depth.
fn find(json: &serde_json::Value, name: &str) -> Option<String> {
    match json {
        serde_json::Value::Object(fields) => fields.iter().find_map(|(key, value)| match value.as_str() {
            Some(digest) if key == name => Some(digest.to_owned()),
            Some(word) if word == name => {
                fields.values().find_map(|v| v.as_str().filter(|v| v.starts_with("sha256:"))).map(str::to_owned)
            }
            _ => find(value, name),
        }),
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        _ => None,
    }
}

pub async fn connect(url: &str) -> Arc<dyn Store> {
    let options = StoreOptions { connect_timeout: Duration::from_secs(2), ..StoreOptions::default() };
    open(&DatabaseUrl::parse(url).expect("a URL"), options).await.expect("opens")
}

/// Returns host and port of a database.
pub fn address(url: &str) -> SocketAddr {
    let config: tokio_postgres::Config = url.parse().expect("a URL");
    let Some(tokio_postgres::config::Host::Tcp(host)) = config.get_hosts().first() else { panic!("not on TCP: {url}") };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    SocketAddr::new(host.parse().expect("an address"), port)
}

/// Starts a proxy before a database and returns the URL that leads through it.
pub async fn proxied(url: &str) -> (proxy::Proxy, String) {
    let target = address(url);
    let proxy = proxy::Proxy::to(target).await;
    let through = url.replacen(&target.to_string(), &format!("127.0.0.1:{}", proxy.port), 1);
    (proxy, through)
}

/// Starts writers for every tenant, with a load that a debug build on a busy machine keeps up with.
pub fn writers(store: &Arc<dyn Store>, tenants: usize) -> node_support::Appenders {
    let pause = if node_support::soak() { 250 } else { 120 };
    node_support::Appenders::start(store, tenants, Duration::from_millis(pause))
}

/// Formats a distribution of times for people.
pub fn told(what: &str, times: &[Duration]) -> String {
    let mut ms: Vec<u128> = times.iter().map(Duration::as_millis).collect();
    ms.sort_unstable();
    let at = |percent: usize| ms.get((ms.len() * percent / 100).min(ms.len().saturating_sub(1))).copied().unwrap_or(0);
    format!("{what}: n={} p50={} ms p99={} ms max={} ms", ms.len(), at(50), at(99), at(100))
}
