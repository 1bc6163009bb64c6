//! Reading the log and the scopes. Every look-up is by an index that starts with the tenant; none scans history.

use super::errors::Result;
use super::rows::{collision, existence_sql, key_of, lookup_sql, read_row};
use crate::decode::log_event;
use crate::metadata::selected;
use crate::{Generation, Lag, PageLimit, Paged, Stray, TenantHead};
use decisiongraph_projections::event::{Actor, Envelope, Source, StoredEvent, fault, tags_from_json};
use decisiongraph_projections::prior::Texts;
use decisiongraph_projections::{
    Fetch, LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Table, TenantId, catalogue,
};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Reads a page of the log.
pub(super) fn page(
    conn: &Connection,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<Vec<LogEvent>> {
    let mut statement = conn.prepare_cached(&selected(include_str!("sql/read_page.sql")))?;
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

/// Counts the bytes of the texts in these columns.
fn texts_of(row: &Row<'_>, columns: Range<usize>) -> Result<i64> {
    let mut bytes = 0;
    for column in columns {
        if let ValueRef::Text(text) = row.get_ref(column)? {
            bytes += text.len() as i64;
        }
    }
    Ok(bytes)
}

/// Reads the rows of a statement up to a limit. Later rows are not kept. A row for which `read` returns nothing is left
/// out.
pub(super) fn paged<T>(
    mut rows: rusqlite::Rows<'_>,
    limit: PageLimit,
    mut read: impl FnMut(&Row<'_>) -> Result<Option<T>>,
) -> Result<Paged<T>> {
    let columns = rows.as_ref().map_or(0, |statement| statement.column_count());
    let (mut page, mut bytes, mut seen) = (Paged::default(), 0, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        let size = texts_of(row, 0..columns)?;
        if !page.takes(&mut bytes, usize::try_from(size).unwrap_or(usize::MAX), limit) {
            break;
        }
        page.items.extend(read(row)?);
    }
    // Also when rows were left out: the rows behind them are yet to be read.
    page.more |= seen > limit.rows_max;
    Ok(page)
}

/// True when an event of `size` bytes fits into the page. Fails when it is the next one and too large to be read at
/// all.
fn takes<T>(page: &mut Paged<T>, bytes: &mut usize, row: &Row<'_>, size: i64, limit: PageLimit) -> Result<bool> {
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
pub(super) fn heads(
    conn: &Connection,
    tenant: &TenantId,
    traces: &BTreeSet<Arc<str>>,
    upto: LogSeq,
) -> Result<HashMap<Arc<str>, i64>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_head.sql"))?;
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
pub(super) fn history(
    conn: &Connection,
    tenant: &TenantId,
    projection: &'static dyn Projection,
    traces: &BTreeSet<Arc<str>>,
    upto: LogSeq,
    bytes_max: usize,
) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>> {
    let mut statement = conn.prepare_cached(&selected(include_str!("sql/read_history.sql")))?;
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

/// Reads full events of a tenant.
pub(super) fn events(
    conn: &Connection,
    tenant: &TenantId,
    after: LogSeq,
    upto: LogSeq,
    limit: PageLimit,
) -> Result<Paged<StoredEvent>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_events.sql"))?;
    let (rows_max, event_max) = (one_more(limit), rows_limit(limit.event_bytes_max));
    let mut rows = statement.query(params![tenant.as_str(), after.0, upto.0, rows_max, event_max])?;
    stored_events(&mut rows, limit)
}

/// Reads full events of one trace.
pub(super) fn trace_events(
    conn: &Connection,
    tenant: &TenantId,
    trace_id: &str,
    after: LogSeq,
    limit: PageLimit,
) -> Result<Paged<StoredEvent>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_trace_events.sql"))?;
    let (key, rows_max, event_max) = (key_of(trace_id), one_more(limit), rows_limit(limit.event_bytes_max));
    let mut rows = statement.query(params![tenant.as_str(), key, trace_id, after.0, rows_max, event_max])?;
    stored_events(&mut rows, limit)
}

/// Reads the tenant's last event at or below a position.
pub(super) fn last_log_seq(conn: &Connection, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq> {
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(log_seq) FROM dg_event_log WHERE tenant_id = ?1 AND log_seq <= ?2")?
        .query_row(params![tenant.as_str(), upto.map_or(i64::MAX, |upto| upto.0)], |row| row.get(0))?;
    Ok(LogSeq(last.unwrap_or(0)))
}

/// Computes the lag of a cursor.
pub(super) fn lag(conn: &Connection, tenant: &TenantId, cursor: LogSeq, mark: LogSeq, bound: u64) -> Result<Lag> {
    let events = count(conn, tenant, cursor, mark, bound)?;
    if events == 0 {
        return Ok(Lag { events, more: false, seconds: 0.0 });
    }
    let oldest_ms: i64 = conn
        .prepare_cached(
            "SELECT recorded_at_ms FROM dg_event_log INDEXED BY dg_event_log_position
             WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3 ORDER BY log_seq LIMIT 1",
        )?
        .query_row(params![tenant.as_str(), cursor.0, mark.0], |row| row.get(0))?;
    let age_ms = super::now_ms(conn)?.saturating_sub(oldest_ms).max(0);
    Ok(Lag { events, more: events >= bound, seconds: age_ms as f64 / 1000.0 })
}

/// Counts events, up to a bound.
pub(super) fn count(conn: &Connection, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64> {
    let bound = i64::try_from(bound).unwrap_or(i64::MAX);
    Ok(conn
        .prepare_cached(include_str!("sql/read_count.sql"))?
        .query_row(params![tenant.as_str(), after.0, upto.0, bound], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

/// Lists every tenant that has events.
pub(super) fn tenants(conn: &Connection) -> Result<Vec<TenantId>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_tenants.sql"))?;
    let mut rows = statement.query([])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.extend(tenant(row, 0)?);
    }
    Ok(tenants)
}

/// Reads the tenant of a row of a list; none when the row belongs to no tenant. One bad row is left out, and no list
/// fails because of it ([`strays`] names it).
pub(super) fn tenant(row: &Row<'_>, column: usize) -> Result<Option<TenantId>> {
    Ok(row.get_ref(column)?.as_str().ok().and_then(|text| TenantId::new(text).ok()))
}

/// Lists the rows that every list leaves out because they belong to no tenant.
pub(super) fn strays(conn: &Connection, limit: usize) -> Result<Vec<Stray>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_tenants.sql"))?;
    let mut first = conn.prepare_cached("SELECT min(log_seq) FROM dg_event_log WHERE tenant_id = ?1")?;
    let mut rows = statement.query([])?;
    let mut strays = Vec::new();
    while strays.len() < limit
        && let Some(row) = rows.next()?
    {
        if tenant(row, 0)?.is_none() {
            let id = row.get_ref(0)?;
            let log_seq = first.query_row([ToSqlOutput::Borrowed(id)], |row| row.get(0))?;
            strays.push(Stray::of_log(id.as_bytes().unwrap_or_default(), LogSeq(log_seq)));
        }
    }
    Ok(strays)
}

/// Lists the tenants that have events or scopes.
pub(super) fn tenant_heads(conn: &Connection, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_tenant_heads.sql"))?;
    // No id is empty, so every one is behind the empty text.
    let mut rows = statement.query(params![after.map_or("", TenantId::as_str), rows_limit(limit)])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(tenant) = tenant(row, 0)? else { continue };
        heads.push(TenantHead {
            tenant,
            last_log_seq: LogSeq(row.get(1)?),
            scopes: row.get::<_, i64>(2)?.unsigned_abs(),
            cursor: row.get::<_, Option<i64>>(3)?.map(LogSeq),
            paused: row.get::<_, i64>(4)?.unsigned_abs(),
        });
    }
    Ok(heads)
}

/// Lists every tenant that has events, with its last event.
pub(super) fn last_log_seqs(conn: &Connection) -> Result<Vec<(TenantId, LogSeq)>> {
    let all = tenants(conn)?.into_iter();
    all.map(|tenant| last_log_seq(conn, &tenant, None).map(|last| (tenant, last))).collect()
}

/// Lists the tenants that have events in a stretch of the log, with the last of them.
pub(super) fn tenants_with_events(
    conn: &Connection,
    after: LogSeq,
    upto: LogSeq,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let mut statement = conn.prepare_cached(include_str!("sql/read_tenants_with_events.sql"))?;
    let mut rows = statement.query(params![after.0, upto.0])?;
    let mut tenants = Vec::new();
    while tenants.len() < limit
        && let Some(row) = rows.next()?
    {
        if let Some(tenant) = tenant(row, 0)? {
            tenants.push((tenant, LogSeq(row.get(1)?)));
        }
    }
    Ok(tenants)
}

/// Lists the tenants with a scope that is missing, or behind and not paused. Costs per tenant: one step in the index,
/// its last event, its scopes.
pub(super) fn tenants_behind(
    conn: &Connection,
    upto: LogSeq,
    after_tenant: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<(TenantId, LogSeq)>> {
    let mut next = conn.prepare_cached("SELECT min(tenant_id) FROM dg_event_log WHERE tenant_id > ?1")?;
    let mut scopes = conn.prepare_cached(
        "SELECT projection, cursor >= ?2 OR paused_at_ms IS NOT NULL FROM dg_scope WHERE tenant_id = ?1",
    )?;
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
            let mut rest: BTreeSet<&str> = catalogue::ALL.iter().map(|projection| projection.name()).collect();
            let mut rows = scopes.query(params![tenant.as_str(), last.0])?;
            while let Some(row) = rows.next()? {
                if row.get(1)? {
                    rest.remove(row.get_ref(0)?.as_str().unwrap_or_default());
                }
            }
            if !rest.is_empty() {
                behind.push((tenant, last));
            }
        }
    }
    Ok(behind)
}

/// Reads the rows that a batch must know; none when they have more bytes than the bound.
pub(super) fn prior_rows(
    conn: &Connection,
    tenant: &TenantId,
    tables: &'static [Table],
    generation: Generation,
    needs: &Needs,
    bytes_max: usize,
) -> Result<Option<Prior>> {
    let mut prior = Prior::empty(needs);
    let mut bytes = 0;
    for (index, need) in needs.rows.iter().enumerate() {
        let table = &tables[need.table];
        match need.fetch {
            Fetch::Existence => {
                let mut statement = conn.prepare_cached(&existence_sql(table))?;
                for (key, value) in in_order(&need.values, |value| table.key_of(0, value)) {
                    let mut rows = statement.query(params![tenant.as_str(), generation.0, key.as_bytes()])?;
                    let Some(row) = rows.next()? else { continue };
                    if row.get_ref(0)?.as_bytes().ok() != Some(value.as_bytes()) {
                        return Err(collision(table.columns[0].name).into());
                    }
                    // The text is one of the requested values, so it takes no memory of its own.
                    prior.existing[index].insert(Arc::clone(value));
                }
            }
            Fetch::Rows => {
                let mut statement = conn.prepare_cached(&lookup_sql(table, need.by))?;
                for (key, value) in in_order(&need.values, |value| table.key_of(need.by, value)) {
                    let mut rows = statement.query(params![tenant.as_str(), generation.0, key.as_bytes()])?;
                    while let Some(row) = rows.next()? {
                        let found = read_row(table, row, 0)?.row;
                        if found.0[need.by].as_str() != Some(&**value) {
                            return Err(collision(table.columns[need.by].name).into());
                        }
                        bytes += found.bytes();
                        if bytes > bytes_max {
                            return Ok(None);
                        }
                        prior.rows[index].push(found);
                    }
                }
            }
        }
    }
    Ok(Some(prior))
}

/// Sorts values in the order of the index in which they are sought.
fn in_order<'v, T: AsRef<str> + 'v, K: Ord + Copy>(
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

/// Returns one row more than a page may hold, to see if the list goes on.
pub(super) fn one_more(limit: PageLimit) -> i64 {
    rows_limit(limit.rows_max.saturating_add(1))
}

fn stored_events(rows: &mut rusqlite::Rows<'_>, limit: PageLimit) -> Result<Paged<StoredEvent>> {
    let (mut page, mut bytes) = (Paged::default(), 0);
    while let Some(row) = rows.next()? {
        let size = texts_of(row, 1..17)? + row.get::<_, i64>(19)?;
        if !takes(&mut page, &mut bytes, row, size, limit)? {
            break;
        }
        page.items.push(stored_event(row)?);
    }
    Ok(page)
}

/// Reads everything that can be read. Text that is not UTF-8, and tags and payloads that are not JSON, are faults of
/// the event, not of the list.
fn stored_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let mut not_utf8 = None;
    let mut text = |column: usize| -> rusqlite::Result<String> {
        let text = String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?);
        if let Cow::Owned(_) = text {
            not_utf8 = Some("a stored text is not UTF-8".to_owned());
        }
        Ok(text.into_owned())
    };
    let mut maybe = |column: usize| match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => text(column).map(Some),
    };
    let (subsystem, correlation_id, causation_event_id) = (maybe(8)?, maybe(12)?, maybe(13)?);
    let (tags, payload) = (tags_from_json(&text(15)?), text(18)?);
    let envelope = Envelope {
        event_id: text(1)?,
        trace_id: text(2)?,
        trace_seq: row.get(3)?,
        event_type: text(4)?,
        occurred_at: text(5)?,
        source: Source { producer_id: text(6)?, system: text(7)?, subsystem },
        actor: Actor { actor_type: text(9)?, actor_id: text(10)? },
        idempotency_key: text(11)?,
        correlation_id,
        causation_event_id,
        schema_version: row.get(14)?,
        tags: tags.clone().unwrap_or_default(),
    };
    let payload_hash = text(16)?;
    Ok(StoredEvent {
        log_seq: LogSeq(row.get(0)?),
        recorded_at: row.get(17)?,
        envelope,
        fault: not_utf8.or_else(|| fault(tags.as_deref(), &payload)),
        payload,
        payload_hash,
    })
}
