//! The log: appended to, and its end watched. There is one writer, so the last position that was drawn is safe.

use super::append::{append, move_in};
use super::ask::Ask as _;
use super::pool::lock;
use super::threads::blocking;
use super::{Listener, SqliteStore, errors};
use crate::sections::Log;
use crate::{AppendMode, HighWaterSample, LogEnd, MoveStep, OpenWriter, Result, Verdict, Wakes, crash};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use std::sync::Mutex;
use tokio::sync::mpsc;

pub(super) const SQL: &str = include_str!("sql/log.sql");

#[async_trait]
impl Log for SqliteStore {
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>> {
        let (tenant, events) = (tenant.clone(), events.to_vec());
        let verdicts = self.write(move |conn| append(conn, &tenant, &events, mode)).await?;
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Accepted { .. })) {
            self.wake();
        }
        Ok(verdicts)
    }

    async fn move_in(&self, steps: mpsc::Receiver<MoveStep>) -> Result<()> {
        // A second run, after another writer of the transaction failed, finds no steps: then nothing is stored.
        let steps = Mutex::new(steps);
        self.write_bulk(move |conn| move_in(conn, &mut lock(&steps))).await?;
        crash::point("move.after_commit");
        self.wake();
        Ok(())
    }

    async fn sample_high_water(&self) -> Result<HighWaterSample> {
        let LogEnd { sequence, history } = self.log_end().await?;
        Ok(HighWaterSample { sequence, writers: Vec::new(), history })
    }

    async fn log_end(&self) -> Result<LogEnd> {
        let reader = self.database.reader().await?;
        let file = self.database.file.clone();
        let (sequence, identity) = blocking(move || {
            file.check_place().map_err(|error| errors::named(&file.path, error))?;
            reader.read(|conn| conn.one::<(LogSeq, String)>(sql!(SQL, "log_end"), []))
        })
        .await?;
        // Another file under the same name has another history.
        let history = format!("{identity}/{}", self.database.file.on_disk.name());
        Ok(LogEnd { sequence, history })
    }

    async fn writable(&self) -> Result<()> {
        Ok(self.database.writable()?)
    }

    async fn writers_still_open(&self, _writers: &[OpenWriter]) -> Result<Vec<OpenWriter>> {
        Ok(Vec::new())
    }

    async fn wakes(&self) -> Result<Wakes> {
        let (log, log_receiver) = mpsc::channel(1);
        let (members, member_receiver) = mpsc::channel(1);
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| !listener.log.is_closed());
        listeners.push(Listener { log, _members: members });
        Ok(Wakes { log: log_receiver, members: member_receiver })
    }
}
