//! The record of the operators' requests.

use super::errors::Result;
use super::read::{one_more, paged};
use crate::{Change, LIST_BYTES_MAX, NewChange, PageLimit, Paged};
use decisiongraph_projections::TenantId;
use rusqlite::{Connection, Row, params};

/// Records a change before it is carried out.
pub(super) fn note(conn: &Connection, new: &NewChange) -> Result<i64> {
    let tenant = new.tenant.as_ref().map(TenantId::as_str);
    conn.prepare_cached(
        "INSERT INTO dg_change (asked_at_ms, what, tenant_id, projection, subject, asked_by, through, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        super::now_ms(conn)?,
        new.what,
        tenant,
        new.projection,
        new.subject,
        new.by,
        new.through,
        new.reason
    ])?;
    Ok(conn.last_insert_rowid())
}

/// Records its outcome. The first outcome stays.
pub(super) fn end(conn: &Connection, change_id: i64, outcome: &str) -> Result<()> {
    conn.prepare_cached("UPDATE dg_change SET outcome = ?2 WHERE change_id = ?1 AND outcome IS NULL")?
        .execute(params![change_id, outcome])?;
    Ok(())
}

/// Lists changes, latest first: of this tenant (or of all, and of none), before this one.
pub(super) fn list(
    conn: &Connection,
    tenant: Option<&TenantId>,
    before: Option<i64>,
    limit: usize,
) -> Result<Paged<Change>> {
    let mut statement = conn.prepare_cached(
        "SELECT change_id, strftime('%Y-%m-%dT%H:%M:%fZ', asked_at_ms / 1000.0, 'unixepoch'), what, tenant_id, projection,
                subject, asked_by, through, reason, outcome
           FROM dg_change
          WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR change_id < ?2)
          ORDER BY change_id DESC LIMIT ?3",
    )?;
    let limit = PageLimit::of(limit, LIST_BYTES_MAX);
    let rows = statement.query(params![tenant.map(TenantId::as_str), before, one_more(limit)])?;
    paged(rows, limit, |row| Ok(Some(change(row)?)))
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        change_id: row.get(0)?,
        at: row.get(1)?,
        asked: NewChange {
            what: row.get(2)?,
            tenant: row.get::<_, Option<String>>(3)?.and_then(|tenant| TenantId::new(tenant).ok()),
            projection: row.get(4)?,
            subject: row.get(5)?,
            by: row.get(6)?,
            through: row.get(7)?,
            reason: row.get(8)?,
        },
        outcome: row.get(9)?,
    })
}
