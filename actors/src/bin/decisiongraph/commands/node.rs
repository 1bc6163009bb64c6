//! `node`: keeps every tenant's projections current and answers admin requests, until it is told to stop.

use super::Context;
use crate::interrupt;
use crate::session::{Location, data_dir};
use clap::Args;
use decisiongraph_actors::admin::rpc::{Listeners, Secret};
use decisiongraph_actors::admin::{AdminError, ExitCode};
use decisiongraph_actors::engine::{Cancel, EngineConfig};
use decisiongraph_actors::node::{Identity, Node as Running, NodeBounds, NodeParts, Shared};
use decisiongraph_projections::Category;
use serde::Serialize;
use std::sync::Arc;

/// Run a node in the foreground: it keeps the projections current and answers commands over the Unix socket in its data directory
///
/// SIGTERM or Ctrl-C drains it: jobs stop and are free to be adopted, each worker finishes its batch, and what the node holds is handed
/// over. A second signal ends it at once, which loses nothing either. It starts without its database and waits for it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph node --data-dir /var/lib/decisiongraph\n  decisiongraph node --database postgres://dg@localhost/decisions --listen 127.0.0.1:7421 --secret-file /etc/decisiongraph/secret"
)]
pub struct Node {
    /// Listen on this address of this machine too; needs a secret
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The node's name in `status` and `runs` [default: the host's name and four digits of the data directory]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Where it is reached.
#[derive(Serialize)]
struct Ready {
    node: String,
    socket: Option<String>,
    tcp: Option<String>,
    pid: u32,
}

impl Node {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let mut asked = interrupt::asks_first(Cancel::default(), true);
        let directory = data_dir(&context.globals)?;
        let secret = Secret::resolve(context.globals.secret_file.as_deref())?;
        let mut config = EngineConfig::from_environment()?;
        if let Some(events) = context.globals.batch_size {
            config.batch_events_max = events as usize;
        }
        let location = Location::resolve(&context.globals)?;
        let listeners = Arc::new(Listeners::bind(Some(&directory), self.listen.as_deref(), secret).await?);
        let identity = Identity::draw(&directory, self.name.as_deref())?;
        let store = location.open_later().await?;
        let shared = Shared::new(store, identity, config, NodeBounds::default());
        let parts = NodeParts { shared: shared.clone(), listeners: Some(Arc::clone(&listeners)) };
        let node = Running::start(parts)
            .await
            .map_err(|error| AdminError::new(Category::Internal, format!("the node does not start: {error}")))?;
        let ready = Ready {
            node: shared.owner.node.clone(),
            socket: listeners.socket_path().map(|path| path.display().to_string()),
            tcp: listeners.tcp_address().map(|address| address.to_string()),
            pid: std::process::id(),
        };
        context.output.text(&if context.output.json {
            serde_json::to_string(&ready).unwrap_or_default()
        } else {
            let places: Vec<_> = ready.socket.iter().map(|path| format!("unix:{path}")).chain(ready.tcp).collect();
            format!("node {} is ready on {} (pid {})", ready.node, places.join(" and "), ready.pid)
        })?;
        let exit = tokio::select! {
            () = asked.wait() => {
                node.stop().await;
                ExitCode::OK
            }
            reason = node.exited() => {
                context.output.error(
                    &AdminError::new(Category::Internal, format!("the supervision tree gave up: {reason:?}"))
                        .next("look for the first error in the log; start the node again, nothing is lost"),
                );
                ExitCode::GAVE_UP
            }
        };
        listeners.close();
        Ok(exit)
    }
}
