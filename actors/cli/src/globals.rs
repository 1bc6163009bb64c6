//! Flags of every command. The help text of a flag states its meaning, unit and default.

use clap::Args;
use decisiongraph_projections::{TenantId, catalogue};
use std::path::PathBuf;
use uuid::Uuid;

/// Flags of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Database: postgres://USER@HOST/DATABASE or sqlite:PATH
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Directory of the embedded store (its file is decisiongraph.db)
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Ask the node at HOST:PORT (needs its secret) or unix:PATH instead of a database
    #[arg(long, global = true, value_name = "ADDR")]
    pub node: Option<String>,
    /// File with the node's secret, not readable by other users [else DECISIONGRAPH_SECRET_FILE, DECISIONGRAPH_SECRET]
    #[arg(long, global = true, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Reach the node at --node by mutual TLS, on any machine: the cluster's authority, PEM [else DECISIONGRAPH_TLS_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// A certificate of this program, signed by that authority [else DECISIONGRAPH_TLS_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, not readable by other users [else DECISIONGRAPH_TLS_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The node's cluster_name [else DECISIONGRAPH_TLS_NAME, decisiongraph]
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// Deadline of one request to a node, 0.1 to 3600
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = parse_timeout)]
    pub timeout: f64,
    /// Repeat a command whose outcome is unknown, under its request id: it is carried out only once
    #[arg(long, global = true, value_name = "ID")]
    pub request_id: Option<Uuid>,
    /// Speak this version of the protocol only; of a node: this one and the one before (for tests)
    #[arg(long, global = true, value_name = "N", hide = true)]
    pub protocol_version: Option<u32>,
    /// Tenant of the log [default: `default`; status, health, runs, failures, skips and changes report all]
    #[arg(long, global = true, value_name = "ID", value_parser = parse_tenant)]
    pub tenant: Option<TenantId>,
    /// Name of a projection, or all.
    #[arg(long, global = true, value_name = "NAME", help = projection_names())]
    pub projection: Option<String>,
    /// Print one JSON object; errors as {"error":{"category","message","next"}} on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Events per batch, 1 to 100000 [default: 2000]
    #[arg(long, global = true, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch_size: Option<u32>,
    /// No progress bar; long work reports its progress in plain lines
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// More log on stderr: -v info, -vv debug, -vvv trace (DECISIONGRAPH_LOG=filter overrides)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The name of this command's sessions in the database.
    #[arg(skip)]
    pub session: Option<&'static str>,
}

impl Globals {
    /// Returns the flags for a command whose sessions in the database have this name. A session that holds up readers
    /// of a shared database must be recognisable there.
    pub fn named(&self, session: &'static str) -> Globals {
        Globals { session: Some(session), ..self.clone() }
    }

    /// Returns the requested projection; none for all.
    pub fn projection(&self) -> Option<String> {
        self.projection.clone().filter(|name| name != "all")
    }
}

/// Lists the names that `--projection` takes.
fn projection_names() -> String {
    format!("{} or all [default: all]", catalogue::ALL.map(|projection| projection.name()).join(", "))
}

/// Parses seconds within the bounds of a deadline.
fn parse_timeout(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.1 to 3600".to_owned()),
    }
}

pub fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::new(text).map_err(|refusal| refusal.message)
}
