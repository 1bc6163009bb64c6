//! A claim: the one way to become the owner of a scope, for a worker, a catch-up and a fold in a scratch store.
//!
//! ```text
//!   acquire ──▶ history of the mark? ──▶ not paused? ──▶ rows of these rules? ──▶ cursor within the log? ──▶ Yours
//!      │                 └──────────────────┴──── no: released, Refused ────┴──────────────────┘
//!      └──▶ Held
//! ```
//!
//! *Guarantees.* The checks are made under the new epoch: a pause that comes later fences it. A scope that was taken
//! and cannot be worked on is released before the claim returns. Each refusal has one text.
//!
//! *Never here:* waits, retries.

use super::mark::{Mark, beyond, end_below, other_history};
use crate::telemetry::{LeaseChange, Telemetry};
use decisiongraph_projections::{Category, LogSeq, Projection};
use decisiongraph_protocol::Command;
use decisiongraph_store::{Acquisition, Lease, Owner, Paused, Position, Result, Scope, Store, StoreError};
use std::time::Duration;

/// Result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The scope belongs to the caller, from this position on.
    Yours(Lease, Position),
    /// Another owner's lease is still running.
    Held {
        /// Name of that owner.
        by: String,
        /// Remaining time of its lease.
        expires_in: Duration,
    },
    /// The scope at this position cannot be worked on. It was released again.
    Refused(Obstacle, Position),
}

/// Reason why a scope cannot be worked on, though it could be taken.
#[derive(Debug)]
pub enum Obstacle {
    /// The session is one of another server history than the mark.
    OtherHistory,
    /// An operator has paused the scope.
    Paused(Paused),
    /// The rows were written by another version of the rules.
    OtherVersion,
    /// The cursor is above this end of the log.
    Beyond(LogSeq),
}

/// Claims a scope for this owner, to be worked on up to this mark.
pub async fn claim(
    store: &dyn Store,
    owner: &Owner,
    scope: &Scope,
    projection: &dyn Projection,
    mark: &Mark,
    telemetry: &Telemetry,
) -> Result<Claim> {
    let (lease, position) = match store.acquire_scope(scope, owner).await? {
        Acquisition::Acquired(lease, position) => (lease, position),
        Acquisition::Held { by, expires_in } => return Ok(Claim::Held { by, expires_in }),
    };
    telemetry.lease_change(match &lease.taken_from {
        Some(former) => {
            tracing::info!(%scope, former, "taken over: its owner's lease had ended");
            LeaseChange::TakenOver
        }
        None => LeaseChange::Acquired,
    });
    let Some(obstacle) = obstacle(store, &lease, &position, projection, mark).await? else {
        return Ok(Claim::Yours(lease, position));
    };
    store.release_scope(&lease).await?;
    telemetry.lease_change(LeaseChange::Released);
    Ok(Claim::Refused(obstacle, position))
}

/// Finds the first obstacle, under the new epoch.
async fn obstacle(
    store: &dyn Store,
    lease: &Lease,
    position: &Position,
    projection: &dyn Projection,
    mark: &Mark,
) -> Result<Option<Obstacle>> {
    if !mark.holds_in(lease.history.as_deref()) {
        return Ok(Some(Obstacle::OtherHistory));
    }
    if let Some(paused) = &lease.orders.paused {
        return Ok(Some(Obstacle::Paused(paused.clone())));
    }
    if position.version != projection.version() {
        return Ok(Some(Obstacle::OtherVersion));
    }
    Ok(end_below(store, position.cursor, mark).await?.map(Obstacle::Beyond))
}

impl Claim {
    /// Returns the lease and the position, or the refusal in an operator's words.
    pub fn granted(self, scope: &Scope, projection: &dyn Projection) -> Result<(Lease, Position)> {
        match self {
            Claim::Yours(lease, position) => Ok((lease, position)),
            Claim::Held { by, expires_in } => Err(StoreError::new(
                Category::Conflict,
                format!("{scope} is owned by {by}, whose lease runs for another {:.1} s", expires_in.as_secs_f64()),
            )),
            Claim::Refused(Obstacle::OtherHistory, _) => Err(other_history()),
            Claim::Refused(Obstacle::Paused(by), _) => Err(paused(scope, &by)),
            Claim::Refused(Obstacle::OtherVersion, position) => Err(StoreError::new(
                Category::VersionMismatch,
                format!(
                    "the rows of {scope} were written by version {} of its rules, but this program has version {}; run {}",
                    position.version,
                    projection.version(),
                    Command::of_scope("rebuild", &scope.tenant, scope.projection)
                ),
            )),
            Claim::Refused(Obstacle::Beyond(end), position) => {
                Err(StoreError::new(Category::Conflict, beyond(scope, position.cursor, end)))
            }
        }
    }
}

/// Refuses to work on a paused scope.
pub fn paused(scope: &Scope, paused: &Paused) -> StoreError {
    StoreError::new(
        Category::Conflict,
        format!(
            "{scope} is paused by {}: {}; {} resumes it",
            paused.by,
            paused.reason,
            Command::of_scope("resume", &scope.tenant, scope.projection)
        ),
    )
}
