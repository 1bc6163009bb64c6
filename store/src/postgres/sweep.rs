//! Removal of retired generations.
//!
//! *Guarantees.* Nothing is removed while a transaction that may still read it is open. In its snapshot the rows of a
//! dropped partition would silently be gone. The first sweep that sees a generation retired records the transactions
//! that are open in the database now. Any later transaction reads the new generation. (Transactions are named by their
//! virtual ids, which every role may see. Read-only transactions have them, too; comparing xids would miss exactly
//! these.) Every step may be repeated after a crash.

use super::PostgresStore;
use super::build::SQL;
use super::errors::During as _;
use super::rows::{is_own, leaf};
use super::turn::Turn;
use crate::{Generation, Result, Sweep, crash};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Projection, catalogue};
use std::collections::HashSet;

/// Rows deleted by one statement.
const DELETE_ROWS: u64 = 10_000;

pub(super) async fn sweep(store: &PostgresStore, rows_max: u64) -> Result<Sweep> {
    let what = "look for retired generations";
    {
        // Nearly always there is none, and the call ends here.
        if store.ask(what).await?.rows(sql!(SQL, "sweep_retired"), &[]).await?.is_empty() {
            return Ok(Sweep::default());
        }
    }
    // One sweep at a time in a database.
    let turn = Turn::try_take(&store.connections, "sweep").await?;
    let client = store.connections.dedicated().await?;
    crash::point("sweep.begin");
    let retired = client.query(sql!(SQL, "sweep_retired"), &[]).await.during(what)?;
    let mut sweep = Sweep::default();
    let Some(turn) = turn else {
        sweep.left = retired.len() as u64;
        return Ok(sweep);
    };
    // Asked after the retired generations were read: a transaction that is missing here began later and reads the new
    // generation.
    let open = client.query(sql!(SQL, "sweep_open_transactions"), &[&turn.pid]).await.during(what)?;
    let open: HashSet<String> = open.iter().map(|row| row.get(0)).collect();
    for row in retired {
        let (generation, tenant): (Generation, String) = (Generation(row.get(0)), row.get(1));
        let readers: Option<Vec<String>> = row.get(3);
        let Some(projection) = catalogue::find(row.get(2)) else {
            sweep.left += 1;
            continue;
        };
        let still_read = match &readers {
            Some(readers) => readers.iter().any(|reader| open.contains(reader)),
            None => !open.is_empty(),
        };
        if still_read {
            if readers.is_none() {
                let now: Vec<&String> = open.iter().collect();
                client.execute(sql!(SQL, "sweep_note_readers"), &[&tenant, &generation.0, &now]).await.during(what)?;
            }
            sweep.left += 1;
            continue;
        }
        let gone = if is_own(generation) {
            drop_own(&client, projection, generation, &mut sweep.rows).await?
        } else {
            delete_shared(&client, projection, &tenant, generation, rows_max, &mut sweep.rows).await?
        };
        if !gone {
            sweep.left += 1;
            continue;
        }
        crash::point("sweep.before_commit");
        client.execute(sql!(SQL, "sweep_forget"), &[&tenant, &generation.0]).await.during(what)?;
        crash::point("sweep.after_commit");
        sweep.generations += 1;
    }
    Ok(sweep)
}

/// Deletes rows while the budget lasts. True when none is left.
async fn delete_shared(
    client: &ClientWrapper,
    projection: &dyn Projection,
    tenant: &str,
    generation: Generation,
    rows_max: u64,
    rows: &mut u64,
) -> Result<bool> {
    for table in projection.tables() {
        let shared = leaf(table.name, generation);
        // By place in the table: the index is traversed once, and a chunk is one short transaction.
        let delete = format!(
            "DELETE FROM {shared} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {shared} WHERE tenant_id = $1 AND generation = $2 LIMIT $3))"
        );
        let delete = client.prepare_cached(&delete).await.during(table.name)?;
        loop {
            let budget = rows_max.saturating_sub(*rows).min(DELETE_ROWS);
            if budget == 0 {
                return Ok(false);
            }
            let deleted =
                client.execute(&delete, &[&tenant, &generation.0, &(budget as i64)]).await.during(table.name)?;
            *rows += deleted;
            if deleted < budget {
                break;
            }
        }
    }
    Ok(true)
}

/// Detaches and drops the tables of a generation. An interrupted detachment is completed.
async fn drop_own(
    client: &ClientWrapper,
    projection: &dyn Projection,
    generation: Generation,
    rows: &mut u64,
) -> Result<bool> {
    for table in projection.tables() {
        let (what, own) = (table.name, leaf(table.name, generation));
        let Some(found) = client.query_opt(sql!(SQL, "sweep_partition"), &[&own]).await.during(what)? else {
            continue;
        };
        let (pending, count): (Option<bool>, i64) = (found.get(0), found.get(1));
        match pending {
            // CONCURRENTLY: readers of the other partitions do not wait.
            Some(false) => {
                client
                    .batch_execute(&format!("ALTER TABLE {what} DETACH PARTITION {own} CONCURRENTLY"))
                    .await
                    .during(what)?;
            }
            Some(true) => {
                client
                    .batch_execute(&format!("ALTER TABLE {what} DETACH PARTITION {own} FINALIZE"))
                    .await
                    .during(what)?;
            }
            None => {}
        }
        client.batch_execute(&format!("DROP TABLE IF EXISTS {own}")).await.during(what)?;
        *rows += count.unsigned_abs();
    }
    Ok(true)
}
