//! A streaming standby of a throw-away server: to read from a replica, and to fail over to one.
//!
//! *Guarantees.* It is a server of its own with a port of its own, and is removed like every other. Replication is asynchronous.

use super::{Server, Started, execute, failure, make_directory, query_text};
use crate::{Result, StoreError};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Longest wait for replay.
const REPLAY_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const REPLAY_LOOK: Duration = Duration::from_millis(10);

impl Server {
    /// A hot standby that follows this started server. It has the same databases, and is read-only until [`Server::promote`].
    pub async fn standby(&self) -> Result<Server> {
        let started = self.control(Started::follow).await?;
        let admin_url = format!("postgres://postgres@127.0.0.1:{}/postgres", started.port);
        Ok(Server { admin_url, started: Some(started), template: OnceCell::new() })
    }

    /// Makes this standby a primary; it takes writes when this returns.
    pub async fn promote(&self) -> Result<()> {
        self.control(|started| {
            let data = started.directory.join("data");
            started.run("pg_ctl", |command| {
                command.arg("-D").arg(data).args(["-s", "-w", "-t", "60", "promote"]);
            })
        })
        .await
    }

    /// Lets this standby receive nothing more: what its primary writes from now on is lost with that one.
    pub async fn disconnect(&self) -> Result<()> {
        execute(self.admin_url(), "ALTER SYSTEM SET primary_conninfo = ''").await?;
        execute(self.admin_url(), "SELECT pg_reload_conf()").await
    }

    /// Waits until this standby shows everything that `primary` has written by now.
    pub async fn has_replayed(&self, primary: &Server) -> Result<()> {
        let written = query_text(primary.admin_url(), "SELECT pg_current_wal_lsn()::text").await?;
        let replayed = format!("SELECT (pg_last_wal_replay_lsn() >= '{written}'::pg_lsn)::text");
        let deadline = Instant::now() + REPLAY_DEADLINE;
        while query_text(self.admin_url(), &replayed).await? != "true" {
            if Instant::now() > deadline {
                return Err(StoreError::internal(format!(
                    "the standby did not come to {written} in {REPLAY_DEADLINE:?}"
                )));
            }
            tokio::time::sleep(REPLAY_LOOK).await;
        }
        Ok(())
    }
}

impl Started {
    /// A copy of this server's data, set up to follow it, running.
    fn follow(&self) -> Result<Started> {
        let directory = make_directory(self.user.as_ref())?;
        let mut standby =
            Started { binaries: self.binaries.clone(), user: self.user.clone(), directory, port: 0, watcher: None };
        standby.watcher = Some(standby.watch()?);
        let data = standby.directory.join("data");
        let copy = beside_the_server(&self.binaries, "pg_basebackup");
        standby.run(&copy, |command| {
            let port = self.port.to_string();
            command
                .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-D"])
                .arg(&data);
        })?;
        let failed = |error| failure("write the configuration", error);
        standby.launch_on_a_free_port(|standby| {
            let own = format!("port = {}\nunix_socket_directories = '{}'\n", standby.port, standby.directory.display());
            // The last line of a setting counts.
            let mut file =
                std::fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).map_err(failed)?;
            file.write_all(own.as_bytes()).map_err(failed)
        })?;
        Ok(standby)
    }
}

/// The path of a program that comes with the server; a link to the server's own programs is followed.
fn beside_the_server(binaries: &Path, program: &str) -> String {
    let server = std::fs::canonicalize(binaries.join("postgres")).unwrap_or_else(|_| binaries.join("postgres"));
    server.with_file_name(program).to_string_lossy().into_owned()
}
