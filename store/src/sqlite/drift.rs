//! What verifies found, remembered at the scope.

use crate::{Compared, Owner, Result};
use rusqlite::{Connection, params};
use uuid::Uuid;

/// Notes what a run found of these scopes.
pub(super) fn note(conn: &Connection, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
    let now = super::now_ms(conn)?;
    let mut statement = conn.prepare_cached(include_str!("sql/drift_note.sql"))?;
    for Compared { projection, generation, drifted } in compared {
        let (run, incarnation) = (run_id.as_bytes(), owner.incarnation.as_bytes());
        statement.execute(params![run, owner.node, incarnation, projection, generation.0, drifted, now])?;
    }
    Ok(())
}

/// Scopes whose live rows drifted.
pub(super) fn count(conn: &Connection) -> Result<u64> {
    let sql = "SELECT count(*) FROM dg_scope WHERE drift_generation IS NOT NULL AND drift_generation = generation";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.max(0) as u64)
}
