//! The log: appended to, and its end watched.

use super::pool::{BATCH_STATEMENTS, READ_STATEMENTS};
use super::{PostgresStore, append, high_water, move_in, wake};
use crate::sections::Log;
use crate::{AppendMode, HighWaterSample, LogEnd, MoveStep, OpenWriter, Result, Verdict, Wakes};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, TenantId};
use tokio::sync::mpsc;

pub(super) const SQL: &str = include_str!("sql/log.sql");

#[async_trait]
impl Log for PostgresStore {
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>> {
        let _overdue = self.connections.overdue(BATCH_STATEMENTS);
        self.judged(append::append(self, tenant, events, mode)).await
    }

    async fn move_in(&self, steps: mpsc::Receiver<MoveStep>) -> Result<()> {
        self.judged(move_in::move_in(self, steps)).await
    }

    async fn sample_high_water(&self) -> Result<HighWaterSample> {
        let ask = self.ask_in_time("sample the high-water mark").await?;
        self.connections.judged(high_water::sample(&ask).await)
    }

    async fn log_end(&self) -> Result<LogEnd> {
        let ask = self.ask_in_time("check the log's end").await?;
        self.connections.judged(high_water::end(&ask).await)
    }

    async fn writable(&self) -> Result<()> {
        let ask = self.ask("check why nothing can be written").await?;
        self.connections.judged(high_water::writable(&ask).await)
    }

    async fn writers_still_open(&self, writers: &[OpenWriter]) -> Result<Vec<OpenWriter>> {
        if writers.is_empty() {
            return Ok(Vec::new());
        }
        let ask = self.ask_in_time("check open appenders").await?;
        let transactions: Vec<&str> = writers.iter().map(|writer| writer.transaction.as_str()).collect();
        ask.all(sql!(SQL, "open_writers"), &[&Some(transactions)]).await
    }

    async fn wakes(&self) -> Result<Wakes> {
        let _overdue = self.connections.overdue(READ_STATEMENTS);
        wake::wakes(&self.connections).await
    }
}
