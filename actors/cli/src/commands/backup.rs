//! `backup`: the embedded store in one file, while it is in use.

use super::Context;
use crate::connection::Connection;
use crate::interrupt;
use crate::output::number;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_projections::Category;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, ExitCode, StatusRequest};
use decisiongraph_store::{DatabaseUrl, sqlite};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// Copy the embedded store into one file: a snapshot, also while it is in use
///
/// Works with and without a running node; neither waits for the other. Only its owner can read the copy, and no file is
/// overwritten. To restore it, stop every process that uses the store, remove the -wal and -shm beside it, and put the
/// copy in its place.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph backup /backups/decisions-2026-11-30.db")]
pub struct Backup {
    /// The new file
    file: PathBuf,
}

/// Report of a finished copy.
#[derive(Serialize)]
struct Made<'a> {
    database: &'a str,
    file: String,
    events: u64,
    log_seq: i64,
    bytes: u64,
}

impl Backup {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let shown = self.file.display();
        let name = shell_word(&self.file.to_string_lossy()).into_owned();
        if context.globals.node.is_some() {
            return Err(AdminError::new(
                Category::InvalidArgument,
                "a backup can only be made on the machine that has the file",
            )
            .next("run it there, with --data-dir or --database in place of --node"));
        }
        let connection = Connection::open(&context.globals, Access::Read).await?;
        let database = match &connection {
            Connection::InProcess(engine) => engine.store().address(),
            Connection::Node(_) => {
                connection.ask(StatusRequest { limit: Some(1), ..StatusRequest::default() }).await?.database
            }
        };
        let DatabaseUrl::Sqlite(from) = DatabaseUrl::parse(&database)? else {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("{database} has its own tools for backups"),
            )
            .next(format!("`pg_dump --format=custom --file={name} {}`", shell_word(&database))));
        };
        let there = || {
            AdminError::new(Category::InvalidArgument, format!("{shown} already exists and is not overwritten"))
                .next(format!("name another file, or move it away: `mv {name} {name}.old`"))
        };
        if self.file.symlink_metadata().is_ok() {
            return Err(there());
        }
        let unwritten = |error: io::Error| {
            AdminError::new(Category::Storage, format!("cannot write {shown}: {error}"))
                .next("check that its folder exists, is writable, and has space")
        };
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Private, and under another name until it is complete.
        let fresh = tempfile::Builder::new().prefix(".decisiongraph-backup-").tempfile_in(folder).map_err(unwritten)?;
        let made = sqlite::backup::back_up(&from, fresh.path()).await?;
        match fresh.persist_noclobber(&self.file) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Err(there()),
            kept => kept.map_err(|error| unwritten(error.error))?,
        };
        // Makes the name durable too.
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
        let (events, log_seq) = (made.events, made.last.0);
        if context.output.json {
            let made = Made { database: &database, file: shown.to_string(), events, log_seq, bytes: made.bytes };
            context.output.json(&made)?;
        } else {
            let line = format!("{shown} holds {} events, up to log_seq {log_seq}, of {database}", number(events));
            context.output.page(&Page::of(line))?;
        }
        Ok(ExitCode::OK)
    }
}
