//! Findings of verifies, stored in the row of the scope.

use super::errors::Result;
use crate::{Compared, Owner};
use rusqlite::{Connection, params};
use uuid::Uuid;

/// Records a run's findings about these scopes.
pub(super) fn note(conn: &Connection, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
    let now = super::now_ms(conn)?;
    let mut statement = conn.prepare_cached(include_str!("sql/drift_note.sql"))?;
    for Compared { projection, generation, drifted } in compared {
        let (run, incarnation) = (run_id.as_bytes(), owner.incarnation.as_bytes());
        statement.execute(params![run, owner.node, incarnation, projection, generation.0, drifted, now])?;
    }
    Ok(())
}
