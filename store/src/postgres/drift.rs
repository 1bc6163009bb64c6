//! Findings of verifies, stored in the row of the scope.

use super::PostgresStore;
use super::errors::During as _;
use super::values::Key;
use crate::{Compared, Owner, Result};
use uuid::Uuid;

pub(super) async fn note(store: &PostgresStore, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()> {
    let what = "note what a verify found";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/drift_note.sql")).await.during(what)?;
    let projections: Vec<&str> = compared.iter().map(|scope| scope.projection).collect();
    let generations: Vec<i64> = compared.iter().map(|scope| scope.generation.0).collect();
    let drifted: Vec<bool> = compared.iter().map(|scope| scope.drifted).collect();
    let (run, incarnation) = (Key::from(run_id), Key::from(owner.incarnation));
    client
        .execute(&statement, &[&run, &owner.node, &incarnation, &projections, &generations, &drifted])
        .await
        .during(what)?;
    Ok(())
}
