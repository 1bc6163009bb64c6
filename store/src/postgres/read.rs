//! Reading the log: pages, heads of traces, history, positions.

use super::errors::During as _;
use super::values::Key;
use crate::decode::log_event;
use crate::metadata::selected;
use crate::{Lag, PageLimit, Paged, Result, StoreError, Stray, TenantHead};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::event::{Actor, Envelope, Source, fault, tags_from_json};
use decisiongraph_projections::prior::Texts;
use decisiongraph_projections::{LogEvent, LogSeq, Projection, Recalled, RowKey, StoredEvent, TenantId, catalogue};
use futures_util::TryStreamExt as _;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

/// Converts a limit: the server's parameters are signed, and a limit beyond them is no limit.
fn bound(limit: impl TryInto<i64>) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}

fn trace_keys(traces: &BTreeSet<Arc<str>>) -> (Vec<Key>, Vec<&str>) {
    traces.iter().map(|trace| (Key::from(RowKey::of(trace)), &**trace)).unzip()
}

fn stored_event(row: &Row) -> StoredEvent {
    let (tags, payload): (Option<Vec<String>>, String) = (tags_from_json(row.get(16)), row.get(17));
    StoredEvent {
        fault: fault(tags.as_deref(), &payload),
        log_seq: LogSeq(row.get(0)),
        recorded_at: row.get(1),
        envelope: Envelope {
            event_id: row.get(2),
            trace_id: row.get(3),
            trace_seq: row.get(4),
            event_type: row.get(5),
            occurred_at: row.get(6),
            source: Source { producer_id: row.get(7), system: row.get(8), subsystem: row.get(9) },
            actor: Actor { actor_type: row.get(10), actor_id: row.get(11) },
            idempotency_key: row.get(12),
            correlation_id: row.get(13),
            causation_event_id: row.get(14),
            schema_version: row.get(15),
            tags: tags.unwrap_or_default(),
        },
        payload,
        payload_hash: row.get(18),
    }
}

/// Least share of a page's bytes per event for a first read without a running sum. (When events are larger than their
/// share, that read is in vain and without their texts.)
const SMALL_BYTES: usize = 1024;

pub(super) async fn page(
    client: &ClientWrapper,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<Vec<LogEvent>> {
    let what = "read the log";
    let rows_max = bound(limit.rows_max);
    let share = limit.bytes_max / limit.rows_max.max(1);
    if share >= SMALL_BYTES {
        let statement = client.prepare_cached(&selected(include_str!("sql/page_small.sql"))).await.during(what)?;
        let share = bound(share.min(limit.event_bytes_max));
        let rows = client.query(&statement, &[&tenant.as_str(), &after.0, &upto.0, &rows_max, &share]).await;
        let rows = rows.during(what)?;
        let found = !rows.is_empty();
        let events: Vec<LogEvent> = beside(what, move || {
            let mut texts = Texts::new();
            let small = |row: &Row| row.get::<_, Option<&str>>(8).map(|_| log_event(row, 10, &mut texts));
            rows.iter().map_while(small).collect::<Result<_>>()
        })
        .await??;
        if !(events.is_empty() && found) {
            return Ok(events);
        }
    }
    let statement = client.prepare_cached(&selected(include_str!("sql/page.sql"))).await.during(what)?;
    let (bytes_max, event_max) = (sum_max(limit), bound(limit.event_bytes_max));
    let rows =
        client.query(&statement, &[&tenant.as_str(), &after.0, &upto.0, &rows_max, &bytes_max, &event_max]).await;
    let rows = rows.during(what)?;
    if rows.is_empty() {
        let size = client.prepare_cached(include_str!("sql/event_size.sql")).await.during(what)?;
        fits(client, &size, &[&tenant.as_str(), &after.0, &upto.0], limit, what).await?;
    }
    beside(what, move || {
        let mut texts = Texts::new();
        rows.iter().map(|row| log_event(row, 10, &mut texts)).collect()
    })
    .await?
}

/// Returns the running sum up to which events are sent. An event that is too large to be sent is above it, so nothing
/// behind it is sent either.
fn sum_max(limit: PageLimit) -> i64 {
    bound(limit.bytes_max.min(limit.event_bytes_max))
}

/// Fails when the event that this statement finds is too large to be read; there may be none.
async fn fits(
    client: &ClientWrapper,
    size: &Statement,
    of: &[&(dyn ToSql + Sync)],
    limit: PageLimit,
    what: &str,
) -> Result<()> {
    let next = client.query_opt(size, of).await.during(what)?;
    match next.map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))) {
        Some((log_seq, bytes)) if bytes > bound(limit.event_bytes_max) => Err(limit.too_large(log_seq, bytes)),
        _ => Ok(()),
    }
}

/// Reads the rows of a statement up to a limit, one at a time. Later rows are not kept. A row for which `read` returns
/// nothing is left out.
pub(super) async fn paged<T>(
    client: &ClientWrapper,
    statement: &Statement,
    of: &[&(dyn ToSql + Sync)],
    limit: PageLimit,
    what: &str,
    mut read: impl FnMut(&Row) -> Result<Option<T>>,
) -> Result<Paged<T>> {
    let rows = client.query_raw(statement, of.iter().copied()).await.during(what)?;
    let mut rows = std::pin::pin!(rows);
    let (mut page, mut bytes, mut seen) = (Paged::default(), 0, 0);
    while let Some(row) = rows.try_next().await.during(what)? {
        seen += 1;
        if !page.takes(&mut bytes, row.raw_size_bytes(), limit) {
            break;
        }
        page.items.extend(read(&row)?);
    }
    // Also when rows were left out: the rows behind them are yet to be read.
    page.more |= seen > limit.rows_max;
    Ok(page)
}

/// Decodes in a separate task. Decoding is most of the cost of reading here, and the caller has other work under way.
async fn beside<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let task = tokio::spawn(async move { work() });
    task.await.map_err(|error| StoreError::internal(format!("{what}: {error}")))
}

pub(super) async fn heads(
    client: &ClientWrapper,
    tenant: &TenantId,
    traces: &BTreeSet<Arc<str>>,
    upto: LogSeq,
) -> Result<HashMap<Arc<str>, i64>> {
    if traces.is_empty() {
        return Ok(HashMap::new());
    }
    let what = "read the heads of traces";
    let (keys, ids) = trace_keys(traces);
    let statement = client.prepare_cached(include_str!("sql/heads.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&tenant.as_str(), &keys, &ids, &upto.0]).await.during(what)?;
    Ok(rows.iter().map(|row| (row.get::<_, &str>(0).into(), row.get(1))).collect())
}

pub(super) async fn history(
    client: &ClientWrapper,
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
    let what = "read the history of traces";
    let (keys, ids) = trace_keys(traces);
    let statement = client.prepare_cached(&selected(include_str!("sql/history.sql"))).await.during(what)?;
    let of: [&(dyn ToSql + Sync); 5] = [&tenant.as_str(), &keys, &ids, &upto.0, &types];
    let rows = client.query_raw(&statement, of).await.during(what)?;
    let mut rows = std::pin::pin!(rows);
    let (mut texts, mut bytes) = (Texts::new(), 0);
    while let Some(row) = rows.try_next().await.during(what)? {
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

pub(super) async fn events(
    client: &ClientWrapper,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<Paged<StoredEvent>> {
    let what = "read events";
    let statement = client.prepare_cached(include_str!("sql/events.sql")).await.during(what)?;
    let (rows_max, bytes_max) = (bound(limit.rows_max.saturating_add(1)), sum_max(limit));
    let event_max = bound(limit.event_bytes_max);
    let rows =
        client.query(&statement, &[&tenant.as_str(), &after.0, &upto.0, &rows_max, &bytes_max, &event_max]).await;
    let rows = rows.during(what)?;
    if rows.is_empty() {
        let size = client.prepare_cached(include_str!("sql/event_size.sql")).await.during(what)?;
        fits(client, &size, &[&tenant.as_str(), &after.0, &upto.0], limit, what).await?;
    }
    Ok(stored_events(&rows, limit))
}

pub(super) async fn trace_events(
    client: &ClientWrapper,
    tenant: &TenantId,
    trace_id: &str,
    after: LogSeq,
    limit: PageLimit,
) -> Result<Paged<StoredEvent>> {
    let what = "read the events of a trace";
    let statement = client.prepare_cached(include_str!("sql/trace_events.sql")).await.during(what)?;
    let (rows_max, bytes_max) = (bound(limit.rows_max.saturating_add(1)), sum_max(limit));
    let (key, event_max) = (Key::from(RowKey::of(trace_id)), bound(limit.event_bytes_max));
    let of: [&(dyn ToSql + Sync); 7] = [&tenant.as_str(), &key, &trace_id, &after.0, &rows_max, &bytes_max, &event_max];
    let rows = client.query(&statement, &of).await.during(what)?;
    if rows.is_empty() {
        let size = client.prepare_cached(include_str!("sql/trace_event_size.sql")).await.during(what)?;
        fits(client, &size, &of[..4], limit, what).await?;
    }
    Ok(stored_events(&rows, limit))
}

/// Reads the events of a page, and sees if there are more than fitted.
fn stored_events(rows: &[Row], limit: PageLimit) -> Paged<StoredEvent> {
    let found: i64 = rows.first().map_or(0, |row| row.get(19));
    let items: Vec<StoredEvent> = rows.iter().take(limit.rows_max).map(stored_event).collect();
    let more = found.unsigned_abs() > items.len() as u64;
    Paged { items, more }
}

pub(super) async fn last_log_seq(client: &ClientWrapper, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
    let what = "read the end of the log";
    let statement = client.prepare_cached(include_str!("sql/last_log_seq.sql")).await.during(what)?;
    let upto = upto.map_or(i64::MAX, |upto| upto.0);
    let row = client.query_opt(&statement, &[&tenant.as_str(), &upto]).await.during(what)?;
    Ok(row.map_or(LogSeq::ORIGIN, |row| LogSeq(row.get(0))))
}

pub(super) async fn lags(
    client: &ClientWrapper,
    cursors: &[(TenantId, LogSeq)],
    mark: LogSeq,
    limit: u64,
) -> Result<Vec<Lag>> {
    let what = "measure the lag";
    let statement = client.prepare_cached(include_str!("sql/lags.sql")).await.during(what)?;
    let limit = bound(limit);
    let (tenants, cursors): (Vec<&str>, Vec<i64>) =
        cursors.iter().map(|(tenant, cursor)| (tenant.as_str(), cursor.0)).unzip();
    let rows = client.query(&statement, &[&tenants, &cursors, &mark.0, &limit]).await.during(what)?;
    let lag = |row: &Row| {
        let events: i64 = row.get(0);
        let seconds: Option<f64> = row.get(1);
        Lag { events: events.unsigned_abs(), more: events >= limit, seconds: seconds.unwrap_or_default() }
    };
    Ok(rows.iter().map(lag).collect())
}

pub(super) async fn count_events(
    client: &ClientWrapper,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: u64,
) -> Result<u64> {
    let what = "count events";
    let statement = client.prepare_cached(include_str!("sql/count_events.sql")).await.during(what)?;
    let limit = bound(limit);
    let row = client.query_one(&statement, &[&tenant.as_str(), &after.0, &upto.0, &limit]).await.during(what)?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

pub(super) async fn tenants(client: &ClientWrapper) -> Result<Vec<TenantId>> {
    let what = "list tenants";
    let statement = client.prepare_cached(include_str!("sql/tenants.sql")).await.during(what)?;
    let rows = client.query(&statement, &[]).await.during(what)?;
    Ok(rows.iter().filter_map(|row| tenant(row, 0)).collect())
}

pub(super) async fn tenant_heads(
    client: &ClientWrapper,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<TenantHead>> {
    let what = "list tenants and their scopes";
    let statement = client.prepare_cached(include_str!("sql/tenant_heads.sql")).await.during(what)?;
    // No id is empty, so every one is behind the empty text.
    let after = after.map_or("", TenantId::as_str);
    let rows = client.query(&statement, &[&after, &bound(limit)]).await.during(what)?;
    let head = |row: &Row| {
        let (tenant, last_log_seq) = tenant_and_position(row)?;
        let (scopes, paused): (i64, i64) = (row.get(2), row.get(4));
        let cursor = row.get::<_, Option<i64>>(3).map(LogSeq);
        let (scopes, paused) = (scopes.unsigned_abs(), paused.unsigned_abs());
        Some(TenantHead { tenant, last_log_seq, scopes, cursor, paused })
    };
    Ok(rows.iter().filter_map(head).collect())
}

pub(super) async fn last_log_seqs(client: &ClientWrapper) -> Result<Vec<(TenantId, LogSeq)>> {
    let what = "list the last positions of all tenants";
    let statement = client.prepare_cached(include_str!("sql/last_log_seqs.sql")).await.during(what)?;
    let rows = client.query(&statement, &[]).await.during(what)?;
    Ok(rows.iter().filter_map(tenant_and_position).collect())
}

pub(super) async fn tenants_with_events(
    client: &ClientWrapper,
    after: LogSeq,
    upto: LogSeq,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let what = "list the tenants of a stretch of the log";
    let statement = client.prepare_cached(include_str!("sql/tenants_with_events.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&after.0, &upto.0, &bound(limit)]).await.during(what)?;
    Ok(rows.iter().filter_map(tenant_and_position).collect())
}

pub(super) async fn tenants_behind(
    client: &ClientWrapper,
    upto: LogSeq,
    after_tenant: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let what = "list the tenants that are behind";
    let statement = client.prepare_cached(include_str!("sql/tenants_behind.sql")).await.during(what)?;
    // No id is empty, so every one is behind the empty text.
    let after = after_tenant.map_or("", TenantId::as_str);
    let projections = catalogue::ALL.map(|projection| projection.name());
    let rows = client.query(&statement, &[&upto.0, &after, &&projections[..], &bound(limit)]).await.during(what)?;
    Ok(rows.iter().filter_map(tenant_and_position).collect())
}

fn tenant_and_position(row: &Row) -> Option<(TenantId, LogSeq)> {
    Some((tenant(row, 0)?, LogSeq(row.get(1))))
}

/// Reads the tenant of a row of a list; none when the row belongs to no tenant. One bad row is left out, and no list
/// fails because of it ([`strays`] names it).
pub(super) fn tenant(row: &Row, column: usize) -> Option<TenantId> {
    TenantId::new(row.get::<_, String>(column)).ok()
}

pub(super) async fn strays(client: &ClientWrapper, limit: usize) -> Result<Vec<Stray>> {
    let what = "look for rows that are no tenant's";
    let statement = client.prepare_cached(include_str!("sql/strays.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&bound(limit)]).await.during(what)?;
    let found = rows.iter().map(|row| Stray::of_log(row.get::<_, &str>(0).as_bytes(), LogSeq(row.get(1))));
    let mut strays: Vec<Stray> = found.collect();
    let statement = client.prepare_cached(include_str!("sql/broken_rules.sql")).await.during(what)?;
    let rules = client.query(&statement, &[]).await.during(what)?;
    strays.extend(rules.iter().map(|rule| Stray::of_rule(rule.get(0), rule.get(1), rule.get(2))));
    Ok(strays)
}
