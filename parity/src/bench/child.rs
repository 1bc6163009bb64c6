//! A measured run in a process of its own, as an operator would start one. Its CPU time and peak memory belong to the
//! runtime alone, not to the benchmark around it.

use super::meters::{own_cpu_seconds, own_peak_bytes, own_resident_bytes};
use super::place::Site;
use anyhow::{Context as _, Result, bail};
use decisiongraph_engine::report::VerifyOptions;
use decisiongraph_engine::seal::{Sealing, seal_now};
use decisiongraph_engine::{Control, Engine, EngineConfig, RunRequest};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{Owner, RunMode, RunState, launch};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Variable in which the parent puts the address: every user of the machine could read an argument.
pub const DATABASE: &str = "DECISIONGRAPH_PARITY_DATABASE";

/// Longest wait for a long log to be sealed.
const SEAL_WAIT: Duration = Duration::from_secs(3_600);

/// Order for the child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Catch-up, rebuild or verify, over all projections.
    pub mode: RunMode,
    /// Events per batch.
    pub batch_events: usize,
    /// Positions at which a catch-up stops and is measured; the log's end when empty.
    pub stops: Vec<i64>,
    /// Scopes that the run moves.
    #[serde(default)]
    pub scopes: Scopes,
}

/// Scopes of a run. A run with the seal keeps a journal in this directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Scopes {
    /// The three projections.
    #[default]
    Projections,
    /// The three projections and the seal.
    WithSeal(PathBuf),
    /// The seal alone.
    Seal(PathBuf),
}

impl Scopes {
    fn sealing(&self) -> Result<Option<Arc<Sealing>>> {
        match self {
            Scopes::Projections => Ok(None),
            Scopes::WithSeal(directory) | Scopes::Seal(directory) => super::seal::sealing(directory).map(Some),
        }
    }
}

/// Cost of one stretch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leg {
    /// Wall time of the job, seconds.
    pub seconds: f64,
    /// Events that each projection applied.
    pub events: u64,
    /// CPU seconds of the process.
    pub cpu_seconds: Option<f64>,
    /// Peak memory of the process so far, bytes.
    pub peak_bytes: Option<u64>,
    /// Memory of the process at the end, bytes.
    pub resident_bytes: Option<u64>,
}

impl Leg {
    /// Returns the source events per second.
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Returns the path of the running program itself, even if its file was replaced meanwhile.
pub fn program() -> Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe().context("where this program is") }
}

/// Runs the order in a child process.
pub async fn run(site: &Site, order: &Order) -> Result<Vec<Leg>> {
    let child = tokio::process::Command::from(launch::program(program()?))
        .arg("measured-run")
        .arg(serde_json::to_string(order)?)
        .env(DATABASE, &site.url)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("the measured run does not start")?;
    if !child.status.success() {
        bail!("the measured run ended with {}", child.status);
    }
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// Obeys as the child: runs the order of its argument, prints the legs.
pub async fn obey(order: &str) -> Result<()> {
    let order: Order = serde_json::from_str(order)?;
    let site = Site { url: std::env::var(DATABASE).context("this command is for the benchmark's own use")? };
    let store = site.open(8).await?;
    let owner = Owner { node: "bench".to_owned(), incarnation: Uuid::new_v4() };
    let config = EngineConfig { batch_events_max: order.batch_events, ..EngineConfig::default() };
    let engine = Engine::new(store, owner, config).with_sealing(order.scopes.sealing()?);
    let stops: Vec<Option<LogSeq>> = match order.stops.as_slice() {
        [] => vec![None],
        stops => stops.iter().map(|stop| Some(LogSeq(*stop))).collect(),
    };
    let mut legs = Vec::new();
    for until in stops {
        let (cpu, started) = (own_cpu_seconds(), Instant::now());
        let events = match &order.scopes {
            Scopes::Seal(_) => seal_now(&engine, &TenantId::default(), SEAL_WAIT).await?.head.size,
            _ => ran(&engine, order.mode, until).await?,
        };
        let seconds = started.elapsed().as_secs_f64();
        legs.push(Leg {
            seconds,
            events,
            cpu_seconds: own_cpu_seconds().zip(cpu).map(|(now, then)| now - then),
            peak_bytes: own_peak_bytes(),
            resident_bytes: own_resident_bytes(),
        });
    }
    println!("{}", serde_json::to_string(&legs)?);
    Ok(())
}

/// Runs a job over the projections. Returns the events that each of them applied.
async fn ran(engine: &Engine, mode: RunMode, until: Option<LogSeq>) -> Result<u64> {
    let request = RunRequest {
        tenant: TenantId::default(),
        projections: catalogue::ALL.to_vec(),
        mode,
        until,
        cause: Default::default(),
        verify: VerifyOptions { no_log: true, ..VerifyOptions::default() },
    };
    let report = engine.run(&request, &Control::default()).await?;
    if report.run.state != RunState::Completed || report.drifted() {
        bail!("the run ended {}: {:?}", report.run.state.as_str(), report.run.error);
    }
    Ok(report.scopes.iter().map(|scope| scope.events).min().unwrap_or_default())
}
