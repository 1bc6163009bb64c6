//! `migrate`: the schema.

use super::{Context, unexpected};
use crate::interrupt;
use crate::session::{Access, connect};
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, answer};
use decisiongraph_actors::engine::Control;

/// Bring the database's schema up to this program's
///
/// Safe to run twice and by two processes at once. The embedded store is migrated by itself; PostgreSQL only by this command.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph migrate --database postgres://admin@localhost/decisions")]
pub struct Migrate {}

impl Migrate {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let engine = connect(&context.globals, Access::Migrate).await?;
        let reply = answer(&engine, AdminRequest::Migrate, &Control::default()).await?;
        let AdminReply::Migrated(migrated) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let mut out = String::new();
            for name in &migrated.applied {
                out.push_str(&format!("applied {name}\n"));
            }
            out.push_str(&format!("{} is at schema {}", engine.store().address(), migrated.schema));
            out
        })?;
        Ok(ExitCode::OK)
    }
}
