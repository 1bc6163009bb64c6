//! The log: appended to, and its end watched.

use super::ask::{Parameter, Session as _};
use super::errors::During as _;
use super::pool::{BATCH_STATEMENTS, READ_STATEMENTS};
use super::read::bound;
use super::{PostgresStore, append, high_water, wake};
use crate::columns::Stored;
use crate::sections::Log;
use crate::{AppendMode, HighWaterSample, LogEnd, OpenWriter, Result, Verdict, Wakes};
use async_trait::async_trait;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};

pub(super) const SQL: &str = include_str!("sql/log.sql");

#[async_trait]
impl Log for PostgresStore {
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>> {
        let _overdue = self.connections.overdue(BATCH_STATEMENTS);
        self.judged(append::append(self, tenant, events, mode)).await
    }

    async fn sample_high_water(&self) -> Result<HighWaterSample> {
        let ask = self.ask_in_time("sample the high-water mark").await?;
        self.connections.judged(high_water::sample(&ask).await)
    }

    async fn sample_with_tenants(
        &self,
        behind: LogSeq,
        tenants_max: usize,
    ) -> Result<(HighWaterSample, Vec<(TenantId, LogSeq)>)> {
        let ask = self.ask_in_time("sample the high-water mark").await?;
        let tenants = ask.prepared(sql!(SQL, "tenants_with_events")).await.during(ask.what)?;
        // Sent behind the sample, and run after it.
        let of: [Parameter<'_>; 3] = [&behind.0, &i64::MAX, &bound(tenants_max)];
        let (sample, tenants) = futures_util::future::join(high_water::sample(&ask), ask.query(&tenants, &of)).await;
        let sample = self.connections.judged(sample)?;
        // A row that belongs to no tenant is left out, as in every list.
        let tenants = tenants.during(ask.what)?.iter().filter_map(|row| Stored::read(row).ok()).collect();
        Ok((sample, tenants))
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
