//! `migrate`: migrates the schema.

use super::Context;
use crate::connection::Connection;
use crate::interrupt;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_protocol::{AdminError, ExitCode, MigrateRequest};
use std::time::Duration;

/// Migrate the database to the schema of this program
///
/// Safe to run twice and by two processes at once. The embedded store is migrated automatically, PostgreSQL only by
/// this command.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph migrate --database postgres://admin@localhost/decisions")]
pub struct Migrate {}

/// Time after which the command reports the holder that a migration waits for, and pause between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Reports on stderr the holder that the migration waits for, each holder once.
async fn tell_waits(connection: &Connection, told: &mut Option<String>) {
    let Connection::InProcess(engine) = connection else { return };
    if let Ok(Some(waits)) = engine.store().migration_waits_for().await {
        // The text begins with the holder; the age behind it changes.
        let holder = waits.split_once(" has held").map_or(waits.as_str(), |(holder, _)| holder).to_owned();
        if told.as_ref() != Some(&holder) {
            eprintln!("{}", Page::of(&waits));
            *told = Some(holder);
        }
    }
}

impl Migrate {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let connection = Connection::open(&context.globals, Access::Migrate).await?;
        let mut asked = std::pin::pin!(connection.ask(MigrateRequest));
        let mut told = None;
        let migrated = loop {
            match tokio::time::timeout(LOOK_EVERY, &mut asked).await {
                Ok(reply) => break reply?,
                Err(_) => tell_waits(&connection, &mut told).await,
            }
        };
        context.output.reply(&migrated, || {
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
