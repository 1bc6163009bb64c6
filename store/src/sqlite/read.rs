//! Reading the log. Every look-up is by an index that starts with the tenant; none scans history.

use super::ask::{Ask as _, texts_of};
use super::errors::Result;
use super::log::SQL;
use super::rows::{collision, key_of};
use super::threads::PAGES;
use super::view::View;
use crate::columns::{Columns as _, Stored as _};
use crate::decode::log_event;
use crate::metadata::selected;
use crate::sections::ReadLog;
use crate::{EventFilter, Lag, PageLimit, Paged, Stray, TenantHead, TraceEnds, decide};
use async_trait::async_trait;
use decisiongraph_projections::event::{StoredEvent, tags_to_json};
use decisiongraph_projections::prior::Texts;
use decisiongraph_projections::{LogEvent, LogSeq, Projection, Recalled, TenantId};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[async_trait]
impl ReadLog for View {
    async fn page(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> crate::Result<Vec<LogEvent>> {
        let tenant = tenant.clone();
        self.read_on(&PAGES, move |conn| page(conn, &tenant, after, upto, limit)).await
    }

    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> crate::Result<HashMap<Arc<str>, i64>> {
        let (tenant, traces) = (tenant.clone(), traces.clone());
        self.read(move |conn| heads(conn, &tenant, &traces, upto)).await
    }

    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> crate::Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
        let (tenant, traces) = (tenant.clone(), traces.clone());
        self.read(move |conn| history(conn, &tenant, projection, &traces, upto, bytes_max)).await
    }

    async fn chosen_events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> crate::Result<Paged<StoredEvent>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.read(move |conn| chosen_events(conn, &tenant, &filter, (after, upto), limit)).await
    }

    async fn position_of(&self, tenant: &TenantId, event_id: &str) -> crate::Result<Option<LogSeq>> {
        let (tenant, event_id) = (tenant.clone(), event_id.to_owned());
        self.read(move |conn| {
            let found = conn.first(sql!(SQL, "position_of"), params![tenant.as_str(), key_of(&event_id), event_id])?;
            Ok(found.map(|(position,)| position))
        })
        .await
    }

    async fn nth_position(
        &self,
        tenant: &TenantId,
        trace_id: Option<&str>,
        after: LogSeq,
        upto: LogSeq,
        count: usize,
    ) -> crate::Result<Option<LogSeq>> {
        let (tenant, key) = (tenant.clone(), trace_id.map(key_of));
        self.read(move |conn| {
            let (tenant, before) = (tenant.as_str(), rows_limit(count.saturating_sub(1)));
            let found: Option<(LogSeq,)> = match key {
                None => conn.first(sql!(SQL, "nth_position"), params![tenant, after.0, upto.0, before])?,
                Some(key) => {
                    conn.first(sql!(SQL, "nth_position_of_trace"), params![tenant, key, after.0, upto.0, before])?
                }
            };
            Ok(found.map(|(position,)| position))
        })
        .await
    }

    async fn starts(&self, tenant: &TenantId, before: LogSeq, limit: usize) -> crate::Result<Vec<(LogSeq, Arc<str>)>> {
        let tenant = tenant.clone();
        self.read(move |conn| conn.all(sql!(SQL, "starts"), params![tenant.as_str(), before.0, rows_limit(limit)]))
            .await
    }

    async fn trace_ends(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        event_types: &[String],
    ) -> crate::Result<HashMap<Arc<str>, TraceEnds>> {
        let (tenant, traces, types) = (tenant.clone(), traces.clone(), types_of(event_types));
        self.read(move |conn| {
            let mut ends = HashMap::with_capacity(traces.len());
            for (key, trace) in in_order(&traces, key_of) {
                let of = params![tenant.as_str(), key, trace, upto.0, types];
                ends.extend(conn.first::<(Arc<str>, TraceEnds)>(sql!(SQL, "trace_ends"), of)?);
            }
            Ok(ends)
        })
        .await
    }

    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> crate::Result<LogSeq> {
        let tenant = tenant.clone();
        self.read(move |conn| last_log_seq(conn, &tenant, upto)).await
    }

    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> crate::Result<Vec<Lag>> {
        let cursors = cursors.to_vec();
        self.read(move |conn| {
            let counted = i64::try_from(bound).unwrap_or(i64::MAX);
            let lag = |(tenant, cursor): &(TenantId, LogSeq)| {
                let of = params![tenant.as_str(), cursor.0, mark.0, counted];
                Ok(decide::lag(conn.one(sql!(SQL, "lags"), of)?, bound))
            };
            cursors.iter().map(lag).collect()
        })
        .await
    }

    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> crate::Result<u64> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let bound = i64::try_from(bound).unwrap_or(i64::MAX);
            let (events,) = conn.one(sql!(SQL, "count_events"), params![tenant.as_str(), after.0, upto.0, bound])?;
            Ok(events)
        })
        .await
    }

    async fn tenants(&self) -> crate::Result<Vec<TenantId>> {
        self.read(|conn| conn.list(sql!(SQL, "tenants"), [])).await
    }

    async fn strays(&self, limit: usize) -> crate::Result<Vec<Stray>> {
        self.read(move |conn| strays(conn, limit)).await
    }

    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> crate::Result<Vec<TenantHead>> {
        let after = after.cloned();
        self.read(move |conn| {
            // No id is empty, so every one is behind the empty text.
            let after = after.as_ref().map_or("", TenantId::as_str);
            conn.list(sql!(SQL, "tenant_heads"), params![after, rows_limit(limit)])
        })
        .await
    }

    async fn last_log_seqs(&self) -> crate::Result<Vec<(TenantId, LogSeq)>> {
        self.read(|conn| conn.list(sql!(SQL, "last_log_seqs"), [])).await
    }

    async fn tenants_with_events(
        &self,
        after: LogSeq,
        upto: LogSeq,
        limit: usize,
    ) -> crate::Result<Vec<(TenantId, LogSeq)>> {
        self.read(move |conn| tenants_with_events(conn, after, upto, limit)).await
    }

    async fn tenants_behind(
        &self,
        scopes: &[&'static str],
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> crate::Result<Vec<(TenantId, LogSeq)>> {
        let (scopes, after) = (scopes.to_vec(), after_tenant.cloned());
        self.read(move |conn| tenants_behind(conn, &scopes, upto, after.as_ref(), limit)).await
    }
}

/// Reads a page of the log.
fn page(conn: &Connection, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>> {
    let mut statement = conn.prepare_cached(&selected(sql!(SQL, "page")))?;
    let (rows_max, event_max) = (rows_limit(limit.rows_max.max(1)), rows_limit(limit.event_bytes_max));
    let columns = statement.column_count();
    let mut rows = statement.query(params![tenant.as_str(), after.0, upto.0, rows_max, event_max])?;
    let (mut page, mut bytes, mut texts) = (Paged::default(), 0, Texts::new());
    while let Some(row) = rows.next()? {
        let size =
            texts_of(row, 1..8)? + texts_of(row, 9..10)? + texts_of(row, 11..columns)? + row.get::<_, i64>(10)?;
        if !takes(&mut page, &mut bytes, row, size, limit)? {
            break;
        }
        page.items.push(log_event(row, 11, &mut texts)?);
    }
    Ok(page.items)
}

/// True when an event of `size` bytes fits into the page. Fails when it is the next one and too large to be read at
/// all.
pub(super) fn takes<T>(
    page: &mut Paged<T>,
    bytes: &mut usize,
    row: &Row<'_>,
    size: i64,
    limit: PageLimit,
) -> Result<bool> {
    let size_bytes = usize::try_from(size).unwrap_or(usize::MAX);
    if size_bytes <= limit.event_bytes_max {
        return Ok(page.takes(bytes, size_bytes, limit));
    }
    page.more = true;
    match page.items.is_empty() {
        true => Err(limit.too_large(row.get(0)?, size).into()),
        false => Ok(false),
    }
}

/// Reads the latest `trace_seq` of each trace at or below a position.
fn heads(
    conn: &Connection,
    tenant: &TenantId,
    traces: &BTreeSet<Arc<str>>,
    upto: LogSeq,
) -> Result<HashMap<Arc<str>, i64>> {
    let mut statement = conn.prepare_cached(sql!(SQL, "heads"))?;
    let mut heads = HashMap::with_capacity(traces.len());
    for (key, trace) in in_order(traces, key_of) {
        let head = statement
            .query_row(params![tenant.as_str(), key, upto.0], |row| {
                Ok((row.get::<_, Arc<str>>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        match head {
            Some((found, _)) if found != *trace => return Err(collision("trace_id").into()),
            Some((found, trace_seq)) => {
                heads.insert(found, trace_seq);
            }
            None => {}
        }
    }
    Ok(heads)
}

/// Reads the parts that the projection keeps of these traces' events at or below a position.
fn history(
    conn: &Connection,
    tenant: &TenantId,
    projection: &'static dyn Projection,
    traces: &BTreeSet<Arc<str>>,
    upto: LogSeq,
    bytes_max: usize,
) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
    let mut statement = conn.prepare_cached(&selected(sql!(SQL, "history")))?;
    let (mut history, mut texts, mut bytes) = (HashMap::with_capacity(traces.len()), Texts::new(), 0);
    for (key, trace) in in_order(traces, key_of) {
        let mut events = Vec::new();
        let mut rows = statement.query(params![tenant.as_str(), key, upto.0])?;
        while let Some(row) = rows.next()? {
            if !row.get_ref(4)?.as_str().is_ok_and(|event_type| projection.history_types().contains(&event_type)) {
                continue;
            }
            let event = log_event(row, 10, &mut texts)?;
            if event.trace_id != *trace {
                return Err(collision("trace_id").into());
            }
            let recalled = Recalled::of(projection, &event);
            bytes += recalled.bytes();
            if bytes > bytes_max {
                return Ok(None);
            }
            events.push(recalled);
        }
        if !events.is_empty() {
            history.insert(Arc::clone(trace), events);
        }
    }
    Ok(Some(history))
}

/// Lists the tenants with events in a stretch of the log, in the order of their last one.
pub(super) fn tenants_with_events(
    conn: &Connection,
    after: LogSeq,
    upto: LogSeq,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let mut tenants: Vec<(TenantId, LogSeq)> = conn.list(sql!(SQL, "tenants_with_events"), params![after.0, upto.0])?;
    tenants.truncate(limit);
    Ok(tenants)
}

fn last_log_seq(conn: &Connection, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
    let of = params![tenant.as_str(), upto.map_or(i64::MAX, |upto| upto.0)];
    let (last,): (Option<LogSeq>,) = conn.one(sql!(SQL, "last_log_seq"), of)?;
    Ok(last.unwrap_or(LogSeq::ORIGIN))
}

/// Lists the rows that every list leaves out because they belong to no tenant.
fn strays(conn: &Connection, limit: usize) -> Result<Vec<Stray>> {
    let mut statement = conn.prepare_cached(sql!(SQL, "strays"))?;
    let mut rows = statement.query([])?;
    let mut strays = Vec::new();
    while strays.len() < limit
        && let Some(row) = rows.next()?
    {
        if row.tenant(0).is_none() {
            strays.push(Stray::of_log(row.get_ref(0)?.as_bytes().unwrap_or_default(), row.at(1)?));
        }
    }
    Ok(strays)
}

/// Lists the tenants with a scope that is missing, or behind and not paused. Costs per tenant: one step in the index,
/// its last event, its scopes.
fn tenants_behind(
    conn: &Connection,
    scopes: &[&'static str],
    upto: LogSeq,
    after_tenant: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let mut next = conn.prepare_cached(sql!(SQL, "tenants_behind"))?;
    let mut behind = Vec::new();
    // No id is empty, so every one is behind the empty text.
    let mut after = after_tenant.map_or(Vec::new(), |tenant| tenant.as_str().as_bytes().to_vec());
    while behind.len() < limit {
        let text = |bytes| ToSqlOutput::Borrowed(ValueRef::Text(bytes));
        let found = next.query_row([text(&after)], |row| {
            Ok(row.get_ref(0)?.as_bytes_or_null().unwrap_or_default().map(<[u8]>::to_vec))
        })?;
        let Some(found) = found else { break };
        after = found;
        let Some(tenant) = str::from_utf8(&after).ok().and_then(|text| TenantId::new(text).ok()) else { continue };
        let last = last_log_seq(conn, &tenant, Some(upto))?;
        if last > LogSeq::ORIGIN {
            let mut rest: BTreeSet<&str> = scopes.iter().copied().collect();
            for (done,) in conn.list::<(String,)>(sql!(SQL, "scopes_done"), params![tenant.as_str(), last.0])? {
                rest.remove(done.as_str());
            }
            if !rest.is_empty() {
                behind.push((tenant, last));
            }
        }
    }
    Ok(behind)
}

/// Reads the full events of a choice.
fn chosen_events(
    conn: &Connection,
    tenant: &TenantId,
    filter: &EventFilter,
    (after, upto): (LogSeq, LogSeq),
    limit: PageLimit,
) -> Result<Paged<StoredEvent>> {
    let EventFilter { trace_id, event_types, actor_type, actor_id } = filter;
    let types = types_of(event_types);
    let (tenant, rows_max, event_max) = (tenant.as_str(), limit.one_more(), rows_limit(limit.event_bytes_max));
    let (after, upto) = (after.0, upto.0);
    match trace_id {
        None => {
            let of = params![tenant, after, upto, types, actor_type, actor_id, rows_max, event_max];
            stored_events(conn, sql!(SQL, "events"), of, limit)
        }
        Some(trace_id) => {
            let key = key_of(trace_id);
            let of = params![tenant, after, upto, types, actor_type, actor_id, rows_max, event_max, key, trace_id];
            stored_events(conn, sql!(SQL, "trace_events"), of, limit)
        }
    }
}

/// Writes types of events as a JSON list; none when every type is meant.
fn types_of(event_types: &[String]) -> Option<String> {
    let mut types = String::new();
    tags_to_json(&mut types, event_types);
    (!event_types.is_empty()).then_some(types)
}

fn stored_events(conn: &Connection, sql: &str, of: impl Params, limit: PageLimit) -> Result<Paged<StoredEvent>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(of)?;
    let (mut page, mut bytes) = (Paged::default(), 0);
    while let Some(row) = rows.next()? {
        let size = texts_of(row, 2..17)? + texts_of(row, 18..19)? + row.get::<_, i64>(19)?;
        if !takes(&mut page, &mut bytes, row, size, limit)? {
            break;
        }
        page.items.push(StoredEvent::read(row)?);
    }
    Ok(page)
}

/// Sorts values in the order of the index in which they are sought.
pub(super) fn in_order<'v, T: AsRef<str> + 'v, K: Ord + Copy>(
    values: impl IntoIterator<Item = &'v T>,
    key: impl Fn(&str) -> K,
) -> Vec<(K, &'v T)> {
    let mut keyed: Vec<_> = values.into_iter().map(|value| (key(value.as_ref()), value)).collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed
}

/// Converts a limit to SQLite's type.
pub(super) fn rows_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
