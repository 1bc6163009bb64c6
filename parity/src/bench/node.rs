//! A running node in a process of its own, as an operator would start one, with the benchmark's handle to it.
//!
//! *Guarantees.* The node ends with the benchmark: it runs until its standard input closes. Its CPU time and memory are
//! its own.
//!
//! *Never:* telemetry; the measured node writes no log and exports nothing.

use super::child::{DATABASE, program};
use super::meters;
use super::place::Site;
use anyhow::{Context as _, Result, anyhow, bail};
use decisiongraph_engine::EngineConfig;
use decisiongraph_engine::seal::{SealSettings, Sealing};
use decisiongraph_protocol::{NodeFacts, Request, TreeReply, TreeRequest};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Client, Listeners, SOCKET_NAME, Target};
use decisiongraph_runtime::node::{Identity, Node, NodeBounds, NodeParts, NodeSettings};
use decisiongraph_seal::Folder;
use decisiongraph_store::launch;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use uuid::Uuid;

/// Line that the node prints when it answers requests.
const READY: &str = "ready";
/// Longest wait for a start, and for an orderly end.
const START_OR_STOP_MAX: Duration = Duration::from_secs(60);
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Pause between two checks of something that is waited for.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Settings of the node; all others are as in production.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeOrder {
    /// Directory of its socket and identity.
    pub data_dir: PathBuf,
    /// Name of the node.
    pub name: String,
    /// Events per batch.
    pub batch_events: usize,
    /// Tenants whose actors run at the same time.
    pub tenants_max: usize,
    /// Time without work after which a tenant is passivated, milliseconds.
    pub passivate_after_ms: u64,
    /// Time for which its lease lasts without renewal, milliseconds.
    pub lease_ms: u64,
    /// Seal, if it seals.
    pub seal: Option<SealOrder>,
}

/// Settings of a node that seals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealOrder {
    /// Directory of the journal.
    pub journal: PathBuf,
    /// Directory of the one place.
    pub place: PathBuf,
    /// Longest time from a sealed event to its checkpoint, milliseconds.
    pub checkpoint_ms: u64,
}

impl SealOrder {
    fn sealing(&self) -> Result<Arc<Sealing>> {
        let checkpoint = Duration::from_millis(self.checkpoint_ms);
        let settings = SealSettings { checkpoint, ..SealSettings::default() };
        super::seal::sealing_to(&self.journal, vec![Arc::new(Folder::new(&self.place))], settings)
    }
}

impl NodeOrder {
    /// Returns settings for a node with the bounds of production in this directory.
    pub fn production(data_dir: &Path, batch_events: usize) -> NodeOrder {
        let (bounds, config) = (NodeBounds::default(), EngineConfig::default());
        NodeOrder {
            data_dir: data_dir.to_owned(),
            name: "measured".to_owned(),
            batch_events,
            tenants_max: bounds.tenants_max,
            passivate_after_ms: ms(bounds.passivate_after),
            lease_ms: ms(config.lease),
            seal: None,
        }
    }
}

/// Converts to whole milliseconds.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Obeys as the node: runs until standard input closes, then drains.
pub async fn obey(order: &str) -> Result<()> {
    let order: NodeOrder = serde_json::from_str(order)?;
    let site = Site { url: std::env::var(DATABASE).context("this command is for the benchmark's own use")? };
    let listeners = Arc::new(Listeners::bind(Some(&order.data_dir), None, None).await?);
    let identity = Identity::draw(&order.data_dir, Some(&order.name))?;
    let config = EngineConfig {
        batch_events_max: order.batch_events,
        lease: Duration::from_millis(order.lease_ms),
        ..EngineConfig::default()
    };
    let bounds = NodeBounds {
        tenants_max: order.tenants_max,
        passivate_after: Duration::from_millis(order.passivate_after_ms),
        ..NodeBounds::default()
    };
    let settings = NodeSettings {
        engine: config,
        bounds,
        listeners: Some(listeners),
        sealing: order.seal.as_ref().map(SealOrder::sealing).transpose()?,
        ..NodeSettings::new(site.open(8).await?, identity)
    };
    let node = Node::start(NodeParts::new(settings)).await.map_err(|error| anyhow!(error))?;
    println!("{READY}");
    let (closed, input) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = closed.send(());
    });
    tokio::select! {
        _ = input => {
            node.stop().await;
            Ok(())
        }
        reason = node.exited() => bail!("the node gave up: {reason:?}"),
    }
}

/// Handle of the benchmark to a running node. The node is killed when this value is dropped.
pub struct RunningNode {
    child: Child,
    pid: String,
    client: Arc<Client>,
}

impl RunningNode {
    /// Starts a node on this store and connects to its socket.
    pub async fn start(site: &Site, order: &NodeOrder) -> Result<RunningNode> {
        let mut child = tokio::process::Command::from(launch::program(program()?))
            .arg("measured-node")
            .arg(serde_json::to_string(order)?)
            .env(DATABASE, &site.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("the measured node does not start")?;
        let output = child.stdout.take().context("the node's output")?;
        let mut lines = BufReader::new(output).lines();
        let said =
            tokio::time::timeout(START_OR_STOP_MAX, lines.next_line()).await.context("the node is not ready")??;
        anyhow::ensure!(said.as_deref() == Some(READY), "the measured node ended before it was ready");
        let pid = child.id().context("the measured node has ended")?.to_string();
        let client = connect(&order.data_dir).await?;
        Ok(RunningNode { child, pid, client: Arc::new(client) })
    }

    /// Returns the open session.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Sends a request to the node and returns the reply.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply> {
        Ok(self.client.ask(request, Uuid::new_v4(), ANSWER_MAX).await?)
    }

    /// Asks for a page of its actors behind this path. Without a path, the node also looks for disagreements between
    /// memory and database.
    pub async fn tree(&self, after: Option<String>, limit: i64) -> Result<TreeReply> {
        self.ask(TreeRequest { after, limit, ..TreeRequest::default() }).await
    }

    /// Asks for the node's own facts.
    pub async fn facts(&self) -> Result<NodeFacts> {
        Ok(self.tree(Some("node".to_owned()), 1).await?.node)
    }

    /// Waits until no tenant has actors.
    pub async fn all_passivated(&self, longest: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let facts = self.facts().await?;
            if facts.tenants_running == 0 && facts.tenants_waiting == 0 {
                return Ok(());
            }
            anyhow::ensure!(started.elapsed() < longest, "{} tenants still run", facts.tenants_running);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns CPU seconds of the node so far.
    pub fn cpu_seconds(&self) -> Option<f64> {
        meters::cpu_seconds(&self.pid)
    }

    /// Returns resident memory of the node, bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        meters::resident_bytes(&self.pid)
    }

    /// Returns peak resident memory of the node so far, bytes.
    pub fn peak_bytes(&self) -> Option<u64> {
        meters::peak_bytes(&self.pid)
    }

    /// Drains the node and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status =
            tokio::time::timeout(START_OR_STOP_MAX, self.child.wait()).await.context("the node does not end")??;
        anyhow::ensure!(status.success(), "the measured node ended with {status}");
        Ok(())
    }

    /// Sends SIGKILL. Nothing of the node runs afterwards.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("the node cannot be killed")
    }
}

async fn connect(data_dir: &Path) -> Result<Client> {
    let target = Target::Unix(data_dir.join(SOCKET_NAME));
    let started = Instant::now();
    loop {
        match Client::connect(&target, &Versions::ours(), ANSWER_MAX).await {
            Ok(client) => return Ok(client),
            // The actor behind the socket may be a moment later than the socket.
            Err(_) if started.elapsed() < START_OR_STOP_MAX => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(error.into()),
        }
    }
}
