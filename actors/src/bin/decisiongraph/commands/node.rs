//! `node`: answers admin requests until it is told to stop.

use super::Context;
use crate::interrupt;
use crate::session::{Access, Location, data_dir};
use clap::Args;
use decisiongraph_actors::admin::rpc::{EngineAnswers, Listeners, Secret, serve};
use decisiongraph_actors::admin::{AdminError, ExitCode};
use decisiongraph_actors::engine::Cancel;
use decisiongraph_projections::Category;
use serde::Serialize;
use std::sync::Arc;

/// Run a node in the foreground: it answers commands over the Unix socket in its data directory, and over TCP with --listen
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph node --data-dir /var/lib/decisiongraph\n  decisiongraph node --database postgres://dg@localhost/decisions --listen 127.0.0.1:7421 --secret-file /etc/decisiongraph/secret"
)]
pub struct Node {
    /// Listen on this address of this machine too; needs a secret
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

/// Where it is reached.
#[derive(Serialize)]
struct Ready {
    socket: Option<String>,
    tcp: Option<String>,
    pid: u32,
}

impl Node {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let mut asked = interrupt::asks_first(Cancel::default(), true);
        let directory = data_dir(&context.globals)?;
        let secret = Secret::resolve(context.globals.secret_file.as_deref())?;
        let listeners = Arc::new(Listeners::bind(Some(&directory), self.listen.as_deref(), secret).await?);
        let engine = Location::resolve(&context.globals)?.open_as("node", &context.globals, Access::Write).await?;
        let mut serving = serve(Arc::clone(&listeners), Arc::new(EngineAnswers::new(Arc::new(engine)))).await?;
        let ready = Ready {
            socket: listeners.socket_path().map(|path| path.display().to_string()),
            tcp: listeners.tcp_address().map(|address| address.to_string()),
            pid: std::process::id(),
        };
        context.output.text(&if context.output.json {
            serde_json::to_string(&ready).unwrap_or_default()
        } else {
            let places: Vec<_> = ready.socket.iter().map(|path| format!("unix:{path}")).chain(ready.tcp).collect();
            format!("ready on {} (pid {})", places.join(" and "), ready.pid)
        })?;
        tokio::select! {
            () = asked.wait() => {
                serving.stop().await;
                Ok(ExitCode::OK)
            }
            () = serving.ended() => Err(AdminError::new(Category::Internal, "the admin server has failed")),
        }
    }
}
