//! Reading the log: pages, heads of traces, history, positions, tenants.

use super::ask::{Ask, Parameter, Session as _};
use super::errors::During as _;
use super::log::SQL;
use super::values::Key;
use super::view::{Reader, View};
use crate::columns::{Columns as _, Stored as _};
use crate::decode::log_event;
use crate::metadata::selected;
use crate::sections::ReadLog;
use crate::{EventFilter, Lag, PageLimit, Paged, Result, StoreError, Stray, TenantHead, TraceEnds, decide};
use async_trait::async_trait;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::prior::Texts;
use decisiongraph_projections::{LogEvent, LogSeq, Projection, Recalled, RowKey, TenantId};
use futures_util::TryStreamExt as _;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio_postgres::Row;

/// Least share of a page's bytes per event for a first read without a running sum. (When events are larger than their
/// share, that read is in vain and without their texts.)
pub(super) const SMALL_BYTES: usize = 1024;

#[async_trait]
impl ReadLog for View {
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>> {
        let ask = self.ask("read the log").await?;
        let (tenant, rows_max) = (tenant.as_str(), bound(limit.rows_max));
        let share = limit.bytes_max / limit.rows_max.max(1);
        if share >= SMALL_BYTES {
            let share = bound(share.min(limit.event_bytes_max));
            let of: [Parameter<'_>; 5] = [&tenant, &after.0, &upto.0, &rows_max, &share];
            let rows = ask.rows(&selected(sql!(SQL, "page_small")), &of).await?;
            let found = !rows.is_empty();
            let events: Vec<LogEvent> = beside(ask.what, move || {
                let mut texts = Texts::new();
                let small = |row: &Row| row.get::<_, Option<&str>>(8).map(|_| log_event(row, 10, &mut texts));
                rows.iter().map_while(small).collect()
            })
            .await?;
            if !(events.is_empty() && found) {
                return Ok(events);
            }
        }
        let (bytes_max, event_max) = (sum_max(limit), bound(limit.event_bytes_max));
        let of: [Parameter<'_>; 6] = [&tenant, &after.0, &upto.0, &rows_max, &bytes_max, &event_max];
        let rows = ask.rows(&selected(sql!(SQL, "page")), &of).await?;
        if rows.is_empty() {
            let (types, text) = (None::<&[String]>, None::<&str>);
            let all: [Parameter<'_>; 6] = [&tenant, &after.0, &upto.0, &types, &text, &text];
            fits(&ask, sql!(SQL, "event_size"), &all, limit).await?;
        }
        beside(ask.what, move || {
            let mut texts = Texts::new();
            rows.iter().map(|row| log_event(row, 10, &mut texts)).collect()
        })
        .await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>> {
        if traces.is_empty() {
            return Ok(HashMap::new());
        }
        let ask = self.ask("read the heads of traces").await?;
        let (keys, ids) = trace_keys(traces);
        let of: [Parameter<'_>; 4] = [&tenant.as_str(), &keys, &ids, &upto.0];
        Ok(ask.all(sql!(SQL, "heads"), &of).await?.into_iter().collect())
    }

    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
        let mut history: HashMap<Arc<str>, Vec<Recalled>> = HashMap::new();
        let types = projection.history_types();
        if traces.is_empty() || types.is_empty() {
            return Ok(Some(history));
        }
        let ask = self.ask("read the history of traces").await?;
        let (keys, ids) = trace_keys(traces);
        let statement = ask.prepared(&selected(sql!(SQL, "history"))).await.during(ask.what)?;
        let of: [Parameter<'_>; 5] = [&tenant.as_str(), &keys, &ids, &upto.0, &types];
        let mut rows = std::pin::pin!(ask.query_raw(&statement, of).await.during(ask.what)?);
        let (mut texts, mut bytes) = (Texts::new(), 0);
        while let Some(row) = rows.try_next().await.during(ask.what)? {
            let event = log_event(&row, 10, &mut texts)?;
            let recalled = Recalled::of(projection, &event);
            bytes += recalled.bytes();
            if bytes > bytes_max {
                return Ok(None);
            }
            match history.get_mut(&event.trace_id) {
                Some(events) => events.push(recalled),
                None => {
                    history.insert(event.trace_id, vec![recalled]);
                }
            }
        }
        Ok(Some(history))
    }

    async fn chosen_events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        let ask = self.ask("read events").await?;
        let EventFilter { trace_id, event_types, actor_type, actor_id } = filter;
        let types = (!event_types.is_empty()).then_some(event_types);
        let tenant = tenant.as_str();
        let key = trace_id.as_deref().map(|trace_id| (Key::from(RowKey::of(trace_id)), trace_id));
        let mut of: Vec<Parameter<'_>> = vec![&tenant, &after.0, &upto.0, &types, actor_type, actor_id];
        let (events, size) = match &key {
            Some((key, trace_id)) => {
                of.extend([key as Parameter<'_>, trace_id]);
                (sql!(SQL, "trace_events"), sql!(SQL, "trace_event_size"))
            }
            None => (sql!(SQL, "events"), sql!(SQL, "event_size")),
        };
        let choice = of.len();
        let (rows_max, bytes_max, event_max) = (limit.one_more(), sum_max(limit), bound(limit.event_bytes_max));
        of.extend([&rows_max as Parameter<'_>, &bytes_max, &event_max]);
        let rows = ask.rows(events, &of).await?;
        if rows.is_empty() {
            fits(&ask, size, &of[..choice], limit).await?;
        }
        stored_events(&rows, limit)
    }

    async fn position_of(&self, tenant: &TenantId, event_id: &str) -> Result<Option<LogSeq>> {
        let ask = self.ask("look for an event").await?;
        let of: [Parameter<'_>; 3] = [&tenant.as_str(), &Key::from(RowKey::of(event_id)), &event_id];
        Ok(ask.first(sql!(SQL, "position_of"), &of).await?.map(|(position,)| position))
    }

    async fn nth_position(
        &self,
        tenant: &TenantId,
        trace_id: Option<&str>,
        after: LogSeq,
        upto: LogSeq,
        count: usize,
    ) -> Result<Option<LogSeq>> {
        let ask = self.ask("count events").await?;
        let (tenant, before) = (tenant.as_str(), bound(count.saturating_sub(1)));
        let found: Option<(LogSeq,)> = match trace_id.map(|trace_id| Key::from(RowKey::of(trace_id))) {
            None => ask.first(sql!(SQL, "nth_position"), &[&tenant, &after.0, &upto.0, &before]).await?,
            Some(key) => {
                ask.first(sql!(SQL, "nth_position_of_trace"), &[&tenant, &key, &after.0, &upto.0, &before]).await?
            }
        };
        Ok(found.map(|(position,)| position))
    }

    async fn starts(&self, tenant: &TenantId, before: LogSeq, limit: usize) -> Result<Vec<(LogSeq, Arc<str>)>> {
        let ask = self.ask("list the starts of traces").await?;
        ask.all(sql!(SQL, "starts"), &[&tenant.as_str(), &before.0, &bound(limit)]).await
    }

    async fn trace_ends(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        event_types: &[String],
    ) -> Result<HashMap<Arc<str>, TraceEnds>> {
        let ask = self.ask("read the ends of traces").await?;
        let ((keys, ids), types) = (trace_keys(traces), (!event_types.is_empty()).then_some(event_types));
        let of: [Parameter<'_>; 5] = [&tenant.as_str(), &keys, &ids, &upto.0, &types];
        Ok(ask.all(sql!(SQL, "trace_ends"), &of).await?.into_iter().collect())
    }

    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
        let ask = self.ask("read the end of the log").await?;
        let upto = upto.map_or(i64::MAX, |upto| upto.0);
        let last: Option<(LogSeq,)> = ask.first(sql!(SQL, "last_log_seq"), &[&tenant.as_str(), &upto]).await?;
        Ok(last.map_or(LogSeq::ORIGIN, |(last,)| last))
    }

    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, limit: u64) -> Result<Vec<Lag>> {
        let ask = self.ask("measure the lag").await?;
        let (tenants, cursors): (Vec<&str>, Vec<i64>) =
            cursors.iter().map(|(tenant, cursor)| (tenant.as_str(), cursor.0)).unzip();
        let of: [Parameter<'_>; 4] = [&tenants, &cursors, &mark.0, &bound(limit)];
        Ok(ask.all(sql!(SQL, "lags"), &of).await?.into_iter().map(|found| decide::lag(found, limit)).collect())
    }

    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: u64) -> Result<u64> {
        let ask = self.ask("count events").await?;
        let of: [Parameter<'_>; 4] = [&tenant.as_str(), &after.0, &upto.0, &bound(limit)];
        let (events,) = ask.one(sql!(SQL, "count_events"), &of).await?;
        Ok(events)
    }

    async fn tenants(&self) -> Result<Vec<TenantId>> {
        self.ask("list tenants").await?.list(sql!(SQL, "tenants"), &[]).await
    }

    async fn strays(&self, limit: usize) -> Result<Vec<Stray>> {
        let ask = self.ask("look for rows without a valid tenant").await?;
        let found: Vec<(String, LogSeq)> = ask.all(sql!(SQL, "strays"), &[&bound(limit)]).await?;
        let rules: Vec<(String, String, String)> = ask.all(sql!(SQL, "broken_rules"), &[]).await?;
        let rows = found.iter().map(|(id, log_seq)| Stray::of_log(id.as_bytes(), *log_seq));
        Ok(rows.chain(rules.iter().map(|(table, rule, text)| Stray::of_rule(table, rule, text))).collect())
    }

    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>> {
        let ask = self.ask("list tenants and their scopes").await?;
        // No id is empty, so every one is behind the empty text.
        ask.list(sql!(SQL, "tenant_heads"), &[&after.map_or("", TenantId::as_str), &bound(limit)]).await
    }

    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>> {
        self.ask("list the last positions of all tenants").await?.list(sql!(SQL, "last_log_seqs"), &[]).await
    }

    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>> {
        let ask = self.ask("list the tenants of a part of the log").await?;
        ask.list(sql!(SQL, "tenants_with_events"), &[&after.0, &upto.0, &bound(limit)]).await
    }

    async fn tenants_behind(
        &self,
        scopes: &[&'static str],
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>> {
        let ask = self.ask("list the tenants that are behind").await?;
        // No id is empty, so every one is behind the empty text.
        let after = after_tenant.map_or("", TenantId::as_str);
        let of: [Parameter<'_>; 4] = [&upto.0, &after, &scopes, &bound(limit)];
        ask.list(sql!(SQL, "tenants_behind"), &of).await
    }
}

/// Converts a limit: the server's parameters are signed, and a limit beyond them is no limit.
pub(super) fn bound(limit: impl TryInto<i64>) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}

fn trace_keys(traces: &BTreeSet<Arc<str>>) -> (Vec<Key>, Vec<&str>) {
    traces.iter().map(|trace| (Key::from(RowKey::of(trace)), &**trace)).unzip()
}

/// Returns the running sum up to which events are sent. An event that is too large to be sent is above it, so nothing
/// behind it is sent either.
pub(super) fn sum_max(limit: PageLimit) -> i64 {
    bound(limit.bytes_max.min(limit.event_bytes_max))
}

/// Fails when the event that this statement finds is too large to be read; there may be none.
pub(super) async fn fits(ask: &Ask<'_, Reader<'_>>, sql: &str, of: &[Parameter<'_>], limit: PageLimit) -> Result<()> {
    match ask.first::<(i64, i64)>(sql, of).await? {
        Some((log_seq, bytes)) if bytes > bound(limit.event_bytes_max) => Err(limit.too_large(log_seq, bytes)),
        _ => Ok(()),
    }
}

/// Decodes in a separate task. Decoding is most of the cost of reading here, and the caller has other work under way.
pub(super) async fn beside<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let task = tokio::spawn(async move { work() });
    task.await.map_err(|error| StoreError::internal(format!("{what}: {error}")))?
}

/// Reads the events of a page, and sees if there are more than fitted.
fn stored_events(rows: &[Row], limit: PageLimit) -> Result<Paged<StoredEvent>> {
    let found: u64 = rows.first().map_or(Ok(0), |row| row.at(19))?;
    let items: Vec<StoredEvent> = rows.iter().take(limit.rows_max).map(StoredEvent::read).collect::<Result<_>>()?;
    let more = found > items.len() as u64;
    Ok(Paged { items, more })
}
