//! A streaming standby of a throw-away server: to read from a replica, and to fail over to one.
//!
//! *Guarantees.* It is a separate server with its own port, and is removed like every other. Replication is
//! asynchronous.

use super::{Server, Started, execute, failure, make_directory, query_text};
use crate::{Result, StoreError};
use decisiongraph_projections::Category;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Longest wait for replay.
const REPLAY_DEADLINE: Duration = Duration::from_secs(30);
/// Time between two checks of the replay.
const REPLAY_LOOK: Duration = Duration::from_millis(10);

impl Server {
    /// Starts a hot standby that follows this started server. It has the same databases, and is read-only until
    /// [`Server::promote`].
    pub async fn standby(&self) -> Result<Server> {
        let standby = self.control(Started::beside).await?;
        // Both halves in one session, which must not end between them.
        let (client, connection) =
            tokio_postgres::connect(&self.admin_url, tokio_postgres::NoTls).await.map_err(away)?;
        let driver = tokio::spawn(connection);
        let before_15 = number(&client, "SELECT current_setting('server_version_num')::int").await? < 150_000;
        let (begin, end) = if before_15 {
            ("SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)")
        } else {
            ("SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)")
        };
        client.batch_execute(begin).await.map_err(away)?;
        self.control(|started| started.copy_to(&standby, Path::new(""))).await?;
        let label: String = client.query_one(end, &[]).await.map_err(away)?.get(0);
        drop(client);
        let _ = driver.await;
        let started = self.control(|started| started.follow(standby, &label)).await?;
        let admin_url = format!("postgres://postgres@127.0.0.1:{}/postgres", started.port);
        Ok(Server { admin_url, started: Some(started), template: OnceCell::new() })
    }

    /// Makes this standby a primary; it accepts writes when this returns.
    pub async fn promote(&self) -> Result<()> {
        self.control(|started| {
            let data = started.directory.join("data");
            started.run("pg_ctl", |command| {
                command.arg("-D").arg(data).args(["-s", "-w", "-t", "60", "promote"]);
            })
        })
        .await
    }

    /// Stops this standby from receiving. Later writes of its primary are lost with that primary.
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

/// Files that belong to one server alone, or that are made anew at its start. The write-ahead log is copied separately,
/// after all else.
const NOT_COPIED: [&str; 6] =
    ["postmaster.pid", "postmaster.opts", "pg_wal", "pg_replslot", "pg_stat_tmp", "pg_subtrans"];

impl Started {
    /// Creates a folder for another server of the same programs.
    fn beside(&self) -> Result<Started> {
        let directory = make_directory(self.user.as_ref())?;
        let mut standby =
            Started { binaries: self.binaries.clone(), user: self.user.clone(), directory, port: 0, watcher: None };
        standby.watcher = Some(standby.watch()?);
        Ok(standby)
    }

    /// Copies a part of the data. The server may be writing. Files that disappear meanwhile are left out, and the
    /// write-ahead log mends half-written ones.
    fn copy_to(&self, standby: &Started, part: &Path) -> Result<()> {
        let failed = |error| failure("copy the data", error);
        let (from, to) = (self.directory.join("data").join(part), standby.directory.join("data").join(part));
        std::fs::create_dir_all(&to).map_err(failed)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        standby.give(&to)?;
        let entries = match std::fs::read_dir(&from) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let (name, path) = (entry.file_name(), part.join(entry.file_name()));
            let folder = entry.file_type().map_err(failed)?.is_dir();
            if part.as_os_str().is_empty() && NOT_COPIED.iter().any(|left| name == *left) {
                if folder {
                    let empty = to.join(&name);
                    std::fs::create_dir(&empty).map_err(failed)?;
                    standby.give(&empty)?;
                }
            } else if folder {
                self.copy_to(standby, &path)?;
            } else {
                match std::fs::copy(entry.path(), to.join(&name)) {
                    Ok(_) => standby.give(&to.join(&name))?,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(())
    }

    fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid)).map_err(|error| failure("give a copy away", error))
    }

    /// Starts the copy as a follower of this server.
    fn follow(&self, mut standby: Started, label: &str) -> Result<Started> {
        self.copy_to(&standby, Path::new("pg_wal"))?;
        let data = standby.directory.join("data");
        let failed = |error| failure("write the configuration", error);
        for (name, text) in [("backup_label", label), ("standby.signal", "")] {
            std::fs::write(data.join(name), text).map_err(failed)?;
            standby.give(&data.join(name))?;
        }
        let primary = self.port;
        standby.launch_on_a_free_port(|standby| {
            let own = format!(
                "port = {}\nunix_socket_directories = '{}'\nprimary_conninfo = 'host=127.0.0.1 port={primary} user=postgres'\n",
                standby.port,
                standby.directory.display()
            );
            // The last line of a setting counts.
            let mut file =
                std::fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).map_err(failed)?;
            file.write_all(own.as_bytes()).map_err(failed)
        })?;
        Ok(standby)
    }
}

async fn number(client: &tokio_postgres::Client, sql: &str) -> Result<i32> {
    Ok(client.query_one(sql, &[]).await.map_err(away)?.get(0))
}

fn away(error: tokio_postgres::Error) -> StoreError {
    StoreError::new(Category::Unavailable, format!("the throw-away server cannot be copied: {error}"))
}
