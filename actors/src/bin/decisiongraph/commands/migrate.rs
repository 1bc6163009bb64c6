//! `migrate`: the schema.

use super::{Context, unexpected};
use crate::connection::Connection;
use crate::interrupt;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode};

/// Bring the database's schema up to this program's
///
/// Safe to run twice and by two processes at once. The embedded store is migrated by itself; PostgreSQL only by this command.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph migrate --database postgres://admin@localhost/decisions")]
pub struct Migrate {}

impl Migrate {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let connection = Connection::open(&context.globals, Access::Migrate).await?;
        let reply = connection.ask(AdminRequest::Migrate).await?;
        let AdminReply::Migrated(migrated) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let mut page = Page::default();
            for name in &migrated.applied {
                page.line(format_args!("applied {name}"));
            }
            page.line(format_args!("{} is at schema {}", connection.address(), migrated.schema));
            page
        })?;
        Ok(ExitCode::OK)
    }
}
