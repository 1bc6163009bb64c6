//! The gate of `seal_publish_after = standby`: a head is not signed before every streaming standby has its commit.
//!
//! The signature itself waits. A journal that knew the head would contradict the standby after a fail-over, whatever
//! was published.

use super::{Sealing, Unsigned, lock, note_wait};
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_store::{Result, Standbys, Store};
use std::time::Duration;

/// Pause between two looks at the standbys.
const LOOK: Duration = Duration::from_millis(250);

/// A head that waits for the standbys.
#[derive(Debug, Clone)]
pub(super) struct Gated {
    head: TreeHead,
    last: LogSeq,
    /// Position of the write-ahead log behind the commit of the head.
    position: String,
}

/// Returns the head that may be signed now, with the position of its last event. None: it waits.
pub(super) async fn passed(store: &dyn Store, sealing: &Sealing, log: &Unsigned) -> Result<Option<(TreeHead, LogSeq)>> {
    if !sealing.settings.after_standby {
        return Ok(Some((log.head, log.last)));
    }
    let waiting = lock(&sealing.notary.state).logs.get(&log.origin).and_then(|log| log.gated.clone());
    // A head that waits goes first: the tree may grow faster than the standbys flush.
    let gated = match waiting.filter(|gated| gated.head.size <= log.head.size) {
        Some(gated) => gated,
        None => {
            let Some(position) = store.wal_position().await? else { return Ok(Some((log.head, log.last))) };
            Gated { head: log.head, last: log.last, position }
        }
    };
    let standbys = store.standbys(&gated.position).await?;
    let reason = reason(&standbys);
    let passed = reason.is_none().then_some((gated.head, gated.last));
    if let Some(known) = lock(&sealing.notary.state).logs.get_mut(&log.origin) {
        known.gated = Some(gated).filter(|_| reason.is_some());
    }
    if let Some(reason) = reason
        && note_wait(sealing, &log.origin, reason.clone(), LOOK)
    {
        tracing::info!(tenant = %log.tenant, "the checkpoint {reason}");
    }
    Ok(passed)
}

/// Returns the reason to wait; none when every standby has flushed.
fn reason(standbys: &Standbys) -> Option<String> {
    match standbys {
        Standbys { streaming: 0, .. } => Some("waits for a standby, and none streams".to_owned()),
        Standbys { streaming, flushed } if flushed < streaming => {
            Some(format!("waits for the standbys: {flushed} of {streaming} have flushed it"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_waits_until_every_streaming_standby_has_it() {
        let said = |streaming, flushed| reason(&Standbys { streaming, flushed });
        assert_eq!(said(0, 0).as_deref(), Some("waits for a standby, and none streams"));
        assert_eq!(said(2, 1).as_deref(), Some("waits for the standbys: 1 of 2 have flushed it"));
        assert_eq!(said(2, 2), None);
    }
}
