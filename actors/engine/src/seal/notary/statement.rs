//! Statements: the answers of the projections at a checkpoint.
//!
//! *Guarantees.* Cursors and digests are of one snapshot. A projection that has applied events behind the checkpoint's
//! last one is left out: it waits for the next statement. A cursor that moved on without events of the tenant is at
//! the last of them, and is stated so.

use super::{Sealing, lock, now};
use decisiongraph_projections::seal::texts::{Stated, Statement, TreeHead};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{Result, Scope, Store};

/// True when the last statement of the log is old enough, or there is none of this process.
pub(super) fn is_due(sealing: &Sealing, origin: &str) -> bool {
    let stated = lock(&sealing.notary.state).logs.get(origin).and_then(|log| log.stated);
    stated.is_none_or(|stated| stated.elapsed() >= sealing.settings.statement)
}

/// Makes the statement. None when every projection has to wait.
pub(super) async fn made(
    store: &dyn Store,
    tenant: &TenantId,
    origin: &str,
    head: TreeHead,
    last: LogSeq,
) -> Result<Option<Statement>> {
    let (view, time) = (store.snapshot().await?, now());
    let mut projections = Vec::new();
    for projection in catalogue::ALL {
        let Some(row) = view.scope(&Scope::new(tenant, projection)).await? else { continue };
        let cursor = row.position.cursor;
        if cursor > last && view.count_events(tenant, last, cursor, 1).await? > 0 {
            continue;
        }
        projections.push(Stated {
            name: projection.name().to_owned(),
            rules_version: u64::try_from(row.position.version).unwrap_or_default(),
            cursor: u64::try_from(cursor.min(last).0).unwrap_or_default(),
            digest: row.position.digest.to_text(),
        });
    }
    let last_log_seq = u64::try_from(last.0).unwrap_or_default();
    let statement = Statement { origin: origin.to_owned(), head, last_log_seq, time, projections };
    Ok(Some(statement).filter(|statement| !statement.projections.is_empty()))
}
