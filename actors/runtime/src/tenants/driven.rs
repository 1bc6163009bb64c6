//! Work of a worker: one scope of a tenant on its way through the log, a projection's lane or the seal.

use super::WorkerParts;
use decisiongraph_engine::lane::{Lane, Target};
use decisiongraph_engine::seal::SealWord;
use decisiongraph_engine::seal::sealer::Sealer;
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::seal::scope::SEAL_NAME;
use decisiongraph_projections::{LogSeq, Projection};
use decisiongraph_store::{Lease, Position, Result as StoreResult, StoreError};

/// One scope on its way through the log.
pub enum Driven {
    /// A projection.
    Lane(Box<Lane>),
    /// The seal.
    Sealer(Box<Sealer>),
}

impl Driven {
    /// Begins at the durable position of a scope that was claimed. The seal checks its tree first.
    pub async fn begin(
        parts: &WorkerParts,
        projection: &'static dyn Projection,
        lease: Lease,
        position: Position,
    ) -> StoreResult<Driven> {
        if projection.name() != SEAL_NAME {
            let tenant = lease.scope.tenant.clone();
            return Ok(Driven::Lane(Box::new(Lane::new(projection, &tenant, Target::Live(lease), position))));
        }
        let off = || StoreError::internal("a worker of the seal runs where sealing is off");
        let sealing = parts.engine.sealing().ok_or_else(off)?;
        let begun = Sealer::begin(&**parts.engine.store(), sealing, lease, position).await;
        if let Some(word) = begun.as_ref().err().and_then(|error| SealWord::of_message(&error.message)) {
            parts.telemetry().add(&signals::SEAL_REFUSED, 1, &[word.as_str()]);
        }
        begun.map(Box::new).map(Driven::Sealer)
    }

    /// Returns the durable position of the scope.
    pub fn cursor(&self) -> LogSeq {
        match self {
            Driven::Lane(lane) => lane.position.cursor,
            Driven::Sealer(sealer) => sealer.position.cursor,
        }
    }
}
