//! `node`: keeps every tenant's projections current and answers admin requests, until it is told to stop.

use super::Context;
use crate::node_flags::KeyFlags;
use crate::output::Output;
use crate::page::Page;
use crate::sealing::{OwnKey, sealing};
use crate::{interrupt, logging, notify};
use clap::Args;
use decisiongraph_cli::config::{LogFormat, NodeConfig, Source, refused};
use decisiongraph_cli::telemetry::{Exporters, LogOptions, TelemetryOptions};
use decisiongraph_engine::Cancel;
use decisiongraph_http::api::{Api, ApiListen, ApiParts, ApiServer};
use decisiongraph_http::identities::Identities;
use decisiongraph_http::{HttpBounds, HttpServer, Probes};
use decisiongraph_projections::Category;
use decisiongraph_protocol::foreign_text::in_json;
use decisiongraph_protocol::{AdminError, ExitCode, of_error};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Answers, Callers, Desk, Listeners, Secret, ServerTls, Tls};
use decisiongraph_runtime::board::Board;
use decisiongraph_runtime::cluster::LinkSettings;
use decisiongraph_runtime::node::{
    Condition, Identity, Node as Running, NodeAnswers, NodeParts, NodeSettings, NodeWatch,
};
use decisiongraph_store::{StoreOptions, open};
use serde::Serialize;
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time beyond `drain_ms` for the steps after the workers: jobs, and the hand-over of the lease.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Run a node in the foreground: it keeps the projections current and answers commands over the Unix socket in its data
/// directory
///
/// The configuration comes from a TOML file, the environment and flags, where each overrides the one before. All faults
/// are reported at once, before anything starts. The node starts without its database and waits for it.
///
/// On stdout it reports its addresses, and that it is ready once its database answers and it holds its lease. With
/// log-format json both lines are JSON objects, as with --json.
///
/// SIGTERM, Ctrl-C or SIGHUP (a terminal that closes) drains it: jobs stop and can be adopted, each worker finishes its
/// batch, and the node hands over its tenants: exit code 0. Work that has not stopped within drain-ms plus 5 s is
/// abandoned without loss: exit code 1. A second SIGTERM or Ctrl-C ends it at once: exit code 130.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph node --data-dir /var/lib/decisiongraph\n  decisiongraph node --config /etc/decisiongraph/node.toml --print-config\n  decisiongraph node --database postgres://dg@localhost/decisions --listen 127.0.0.1:7421 --secret-file /etc/decisiongraph/secret"
)]
pub struct Node {
    /// Configuration file (TOML) [else DECISIONGRAPH_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force and the source of each value, without secrets, and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    keys: KeyFlags,
}

/// Addresses at which a node listens.
#[derive(Serialize)]
struct Listening {
    state: &'static str,
    node: String,
    socket: Option<String>,
    tcp: Option<String>,
    cluster: Option<String>,
    http: Option<String>,
    metrics: Option<String>,
    pid: u32,
}

impl Node {
    pub async fn run(mut self, context: &Context) -> Result<ExitCode, AdminError> {
        let config = self.configuration(context)?;
        if self.print_config {
            if context.output.json {
                context.output.json(&config.effective())?;
            } else {
                let mut page = Page::default();
                config.to_text().trim_end().split('\n').for_each(|line| page.line(line));
                context.output.page(&page)?;
            }
            return Ok(ExitCode::OK);
        }
        let output = Output::new(context.output.json || config.log_format == LogFormat::Json);
        match self.serve(context, config, output).await {
            Err(error) if output.json => {
                output.error(&error);
                Ok(of_error(&error))
            }
            ended => ended,
        }
    }

    /// Runs the node to its end. All its messages go to `output`.
    async fn serve(&self, context: &Context, config: NodeConfig, output: Output) -> Result<ExitCode, AdminError> {
        let mut asked = interrupt::asks_first(Cancel::default(), true);
        let secret = Secret::resolve(config.secret_file.as_deref())?;
        let tcp = config.admin_listen.map(|address| address.to_string());
        let mut listeners = Listeners::bind(Some(&config.data_dir), tcp.as_deref(), secret.clone()).await?;
        let mut links = None;
        let cluster = &config.cluster;
        if let (Some(listen), Some(files), Some(secret)) = (cluster.listen, cluster.tls(), secret) {
            let tls = Tls::load(files)?;
            listeners = listeners.with_cluster(listen, secret.clone(), Arc::clone(&tls)).await?;
            links = Some(LinkSettings { secret, tls, peers: cluster.peers.clone() });
        }
        let listeners = Arc::new(listeners);
        let identity = Identity::draw(&config.data_dir, config.name.as_deref())?;
        let exporters = Exporters::start(&TelemetryOptions::of(&config, &identity.owner.node))?;
        log(&config, &exporters, context.globals.verbose)?;
        let session_name = Some(format!("node {}", identity.owner.node));
        let options = StoreOptions { create: true, later: true, session_name, ..config.store.clone() };
        let store = open(&config.database, options).await?;
        let own_key = if config.database_is_ours() { OwnKey::Made } else { OwnKey::None };
        let sealing = sealing(&config.seal, || Ok(config.data_dir.clone()), own_key, context.globals.json)?;
        let address = listeners.cluster_address().map(|listening| {
            let named = config.cluster.advertise.clone();
            named.unwrap_or_else(|| listening.to_string())
        });
        let parts = NodeParts::new(NodeSettings {
            engine: config.engine.clone(),
            bounds: config.bounds.clone(),
            telemetry: exporters.telemetry(),
            versions: context.globals.protocol_version.map_or_else(Versions::ours, Versions::up_to),
            address,
            links,
            listeners: Some(Arc::clone(&listeners)),
            sealing,
            ..NodeSettings::new(Arc::clone(&store), identity)
        });
        let name = parts.owner.node.clone();
        let watch = NodeWatch::start(&parts);
        let pages = pages(&config, &exporters, &watch).await?;
        let api = interface(&config, &parts, &watch).await?;
        let node = Running::start(parts)
            .await
            .map_err(|error| AdminError::new(Category::Internal, format!("the node cannot start: {error}")))?;
        watch.runs_under(node.root().clone());
        notify::tell(notify::READY);
        if let Some(every) = notify::watchdog_every() {
            tokio::spawn(keep_telling(Arc::clone(&watch), every));
        }
        let listening = listening(&name, &listeners, &api, pages.as_ref());
        if output.json {
            output.json(&listening)?
        } else {
            output.page(&listening.page())?
        }
        let ended = tokio::select! {
            () = asked.wait() => drain(&node, config.bounds.drain).await,
            () = told_when_ready(&node.parts().board, &name, output) => ExitCode::OK,
            reason = node.exited() => {
                output.error(
                    &AdminError::new(Category::Internal, format!("the supervision tree gave up: {reason:?}"))
                        .next("look for the first error in the log, and start the node again; nothing is lost"),
                );
                ExitCode::GAVE_UP
            }
        };
        drop(api);
        listeners.close();
        if let Err(error) = store.close().await {
            tracing::warn!(category = %error.category, "the store was not closed: {}", error.message);
        }
        exporters.stop().await;
        Ok(ended)
    }

    /// Reads the configuration from file, environment and flags together.
    fn configuration(&mut self, context: &Context) -> Result<NodeConfig, AdminError> {
        let globals = &context.globals;
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let global = [
            ("database", globals.database.clone()),
            ("data_dir", globals.data_dir.as_ref().map(text)),
            ("secret_file", globals.secret_file.as_ref().map(text)),
            ("batch_events_max", globals.batch_size.map(|events| events.to_string())),
        ];
        let mut flags = std::mem::take(&mut self.keys.0);
        flags.extend(global.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        NodeConfig::load(self.config.as_deref(), |name| std::env::var(name).ok(), flags).map_err(refused)
    }
}

/// Starts the log. `-v` replaces the default filter, but not a configured one.
fn log(config: &NodeConfig, exporters: &Exporters, verbose: u8) -> Result<(), AdminError> {
    let mut options = LogOptions::of(config, std::io::stderr().is_terminal());
    if verbose > 0 && is_default(config, "log_filter") {
        options.filter = logging::level(verbose, false).to_owned();
    }
    if !options.filter.contains("ractor") {
        // At `debug`, the log of the actor library carries payloads.
        options.filter.push_str(",ractor=info,ractor_cluster=info");
    }
    if !options.filter.contains("deadpool") {
        // The pool logs each connection that a database ended. The node itself reports once that the database is away.
        options.filter.push_str(",deadpool=error");
    }
    let subscriber = exporters.subscriber(&options, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| AdminError::new(Category::Internal, format!("the log cannot be started: {error}")))?;
    for fault in NodeConfig::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!("{fault}");
    }
    Ok(())
}

/// Serves metrics and probes. The default address may be in use: then the node runs without them.
async fn pages(
    config: &NodeConfig,
    exporters: &Exporters,
    watch: &Arc<NodeWatch>,
) -> Result<Option<HttpServer>, AdminError> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let probes: Arc<dyn Probes> = watch.clone();
    match HttpServer::start(address, probes, exporters.telemetry(), HttpBounds::default()).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if is_default(config, "metrics_listen") => {
            tracing::warn!("metrics are not served: {}; choose an address with --metrics-listen", error.message);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Serves the HTTP interface. The default address may be in use: then only the Unix socket serves it.
async fn interface(config: &NodeConfig, parts: &NodeParts, watch: &Arc<NodeWatch>) -> Result<ApiServer, AdminError> {
    let http = &config.http;
    let identities = match &http.identities {
        Some(path) => Identities::of_file(path)?,
        None => Identities::of_data_dir(&config.data_dir)?,
    };
    let files =
        (http.cert.as_ref().or(config.cluster.cert.as_ref()), http.key.as_ref().or(config.cluster.key.as_ref()));
    let tls = match files {
        (Some(cert), Some(key)) if http.needs_tls() || http.cert.is_some() => {
            Some(ServerTls::load(cert.clone(), key.clone())?)
        }
        _ => None,
    };
    let answers: Arc<dyn Answers> = Arc::new(NodeAnswers(parts.clone()));
    let budget = parts.engine.budget().clone();
    let desk = Arc::new(Desk::new(Arc::clone(&answers), Versions::ours(), Arc::<Callers>::default(), budget));
    let api = Api::new(ApiParts {
        answers,
        desk,
        identities: Arc::new(identities),
        surroundings: watch.clone(),
        telemetry: parts.telemetry().clone(),
        adopt: Some(decisiongraph_cli::telemetry::adopt),
        bounds: http.bounds(),
        deployment: http.deployment.clone(),
    });
    let directory = Some(config.data_dir.clone());
    let listen = ApiListen { address: http.listen, tls, directory: directory.clone() };
    match ApiServer::start(Arc::clone(&api), listen).await {
        Err(error) if is_default(config, "http_listen") && error.category == Category::Unavailable => {
            tracing::warn!(
                "HTTP is served on the socket alone: {}; choose an address with --http-listen",
                error.message
            );
            ApiServer::start(api, ApiListen { directory, ..ApiListen::default() }).await
        }
        started => started,
    }
}

fn is_default(config: &NodeConfig, key: &str) -> bool {
    config.effective().iter().any(|effective| effective.key == key && effective.source == Source::Default)
}

/// Announces that the node is ready, once, when it is; never returns.
async fn told_when_ready(board: &Board, node: &str, output: Output) {
    // Notified at each renewal of the lease.
    let mut renewals = board.unrenewed.subscribe();
    while Condition::of(board).ready().is_err() && renewals.changed().await.is_ok() {}
    output.aside(&match output.json {
        true => in_json(&json!({ "state": "ready", "node": node }).to_string()).into_owned(),
        false => Page::of(format_args!("node {node} is ready")).to_string(),
    });
    std::future::pending().await
}

fn listening(node: &str, listeners: &Listeners, api: &ApiServer, pages: Option<&HttpServer>) -> Listening {
    Listening {
        state: "listening",
        node: node.to_owned(),
        socket: listeners.socket_path().map(|path| path.display().to_string()),
        tcp: listeners.tcp_address().map(|address| address.to_string()),
        cluster: listeners.cluster_address().map(|address| address.to_string()),
        http: api.url(),
        metrics: pages.map(|pages| format!("http://{}/metrics", pages.address())),
        pid: std::process::id(),
    }
}

impl Listening {
    fn page(&self) -> Page {
        let places: Vec<_> = self.socket.iter().map(|path| format!("unix:{path}")).chain(self.tcp.clone()).collect();
        let cluster = self.cluster.as_deref().map(|at| format!(", for other machines on {at}")).unwrap_or_default();
        let pages = self.metrics.as_deref().map(|url| format!(", metrics at {url}")).unwrap_or_default();
        let places = places.join(" and ");
        let http = self.http.as_deref().map(|url| format!(", HTTP at {url}")).unwrap_or_default();
        Page::of(format_args!("node {} listens on {places}{cluster} (pid {}){http}{pages}", self.node, self.pid))
    }
}

/// Reports to the service manager that the node is alive, as long as it is.
async fn keep_telling(watch: Arc<NodeWatch>, every: Duration) {
    while watch.live().is_ok() {
        notify::tell(notify::WATCHDOG);
        tokio::time::sleep(every).await;
    }
}

/// Stops the tree in order, within `longest` and `DRAIN_MARGIN`.
async fn drain(node: &Running, longest: Duration) -> ExitCode {
    notify::tell(notify::STOPPING);
    let (deadline, asked) = (longest + DRAIN_MARGIN, Instant::now());
    tracing::info!("stopped by a signal: draining for at most {deadline:?}");
    match tokio::time::timeout(deadline, node.stop()).await {
        Ok(_) => {
            tracing::info!("drained in {:.1?}", asked.elapsed());
            ExitCode::OK
        }
        Err(_) => {
            tracing::warn!(
                "not drained within {deadline:?}: the remaining work is abandoned; its scopes are free when the lease ends"
            );
            ExitCode::OTHER
        }
    }
}
