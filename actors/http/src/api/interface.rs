//! The parts of the interface, and its bounds.

use super::feeds::Snapshots;
use super::limits::{Limits, Rates};
use super::surroundings::Surroundings;
use crate::identities::Identities;
use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_rpc::refusals::Refusals;
use decisiongraph_rpc::{Answers, Desk};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bounds of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiBounds {
    /// Connections at the same time, at most.
    pub connections_max: usize,
    /// Streams at the same time, at most.
    pub streams_max: usize,
    /// Longest time for one request.
    pub deadline: Duration,
    /// Rates per identity, tenant and class.
    pub rates: Rates,
    /// Origins whose pages may read answers.
    pub cors_origins: Vec<String>,
}

impl Default for ApiBounds {
    fn default() -> ApiBounds {
        ApiBounds {
            connections_max: 512,
            streams_max: 64,
            deadline: Duration::from_secs(30),
            rates: Rates::default(),
            cors_origins: Vec::new(),
        }
    }
}

/// Makes a span, before it is entered, a part of the trace that a `traceparent` and a `tracestate` name.
pub type Adopt = fn(&tracing::Span, &str, Option<&str>);

/// Parts of the interface.
pub struct ApiParts {
    /// Answers of the node.
    pub answers: Arc<dyn Answers>,
    /// Desk in front of them, for everything but appends.
    pub desk: Arc<Desk>,
    /// Callers.
    pub identities: Arc<Identities>,
    /// The node.
    pub surroundings: Arc<dyn Surroundings>,
    /// Record of what was asked.
    pub telemetry: Telemetry,
    /// Way to continue a caller's trace; none where no spans are exported.
    pub adopt: Option<Adopt>,
    /// Bounds.
    pub bounds: ApiBounds,
    /// Name of the deployment in `healthz`.
    pub deployment: String,
}

/// The interface of a node.
pub struct Api {
    pub(super) answers: Arc<dyn Answers>,
    pub(super) desk: Arc<Desk>,
    pub(super) identities: Arc<Identities>,
    pub(super) surroundings: Arc<dyn Surroundings>,
    pub(super) telemetry: Telemetry,
    pub(super) adopt: Option<Adopt>,
    pub(super) bounds: ApiBounds,
    pub(super) deployment: String,
    pub(super) limits: Limits,
    pub(super) strangers: Refusals,
    /// Latest snapshots of the node, for its streams.
    pub(super) snapshots: Snapshots,
    /// Exports with spans that became no event.
    pub(super) unmapped: Refusals,
    /// The OpenAPI document, once the router is made.
    pub(super) document: OnceLock<String>,
}

impl Api {
    /// Makes the interface of a node.
    pub fn new(parts: ApiParts) -> Arc<Api> {
        let ApiParts { answers, desk, identities, surroundings, telemetry, adopt, bounds, deployment } = parts;
        let limits = Limits::new(bounds.rates, bounds.streams_max);
        Arc::new(Api {
            answers,
            desk,
            identities,
            surroundings,
            telemetry,
            adopt,
            bounds,
            deployment,
            limits,
            strangers: Refusals::default(),
            snapshots: Snapshots::default(),
            unmapped: Refusals::default(),
            document: OnceLock::new(),
        })
    }
}
