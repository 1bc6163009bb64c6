//! A batch of the seal, with its span and metrics around it. Reports what the sealer did; nothing is decided here.

use super::Sealing;
use super::sealer::Sealer;
use crate::observed::batch_committed;
use crate::telemetry::{Telemetry, signals};
use decisiongraph_projections::seal::scope::SEAL_NAME;
use decisiongraph_store::{Result, SealPage, Store};
use std::time::Instant;
use tracing::Instrument as _;

/// Seals a page as [`Sealer::seal`], observed. Returns the number of its events.
pub async fn seal(
    sealer: &mut Sealer,
    store: &dyn Store,
    sealing: &Sealing,
    page: SealPage,
    telemetry: &Telemetry,
) -> Result<u64> {
    let from = sealer.position.cursor;
    let to = page.last().unwrap_or(from);
    let span = signals::batch_span(&sealer.scope.tenant, SEAL_NAME, from, to, Some(sealer.lease.epoch), None);
    let started = Instant::now();
    let done = sealer.seal(store, sealing, page).instrument(span.clone()).await;
    match &done {
        Ok(step) if step.events > 0 => {
            span.record("events", step.events);
            batch_committed(telemetry, SEAL_NAME, step.events, step.bytes, started.elapsed());
        }
        Ok(_) => {}
        Err(error) => signals::failed(&span, error.category),
    }
    done.map(|step| step.events)
}
