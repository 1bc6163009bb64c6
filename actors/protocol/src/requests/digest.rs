//! The digests that prove the rows.

use crate::query::ReferenceDigests;
use crate::request::{Facts, FromDatabase, Reply, Request, Right, ScopeFilter, Subject};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{Checkpoint, Generation};
use serde::{Deserialize, Serialize};

/// The rolling digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRequest(pub ScopeFilter);

impl Request for DigestRequest {
    const FACTS: Facts = Facts::reads("digest", Some(Right::Prove));
    type Reply = DigestReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.0.tenant.as_ref())
    }
}

/// The rolling digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReply {
    /// Tenant of the scopes.
    pub tenant: TenantId,
    /// Position of the tenant's last event.
    #[serde(default)]
    pub last_log_seq: LogSeq,
    /// Digests in catalogue order.
    pub digests: Vec<ScopeDigest>,
}

impl Reply for DigestReply {}

/// A rolling digest and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDigest {
    /// Name of the projection.
    pub projection: String,
    /// Position up to which the digest includes everything.
    pub cursor: LogSeq,
    /// Position of the tenant's last event at or below `cursor`. Equal digests at equal positions mean equal rows.
    pub last_log_seq: LogSeq,
    /// Generation of the digest.
    pub generation: Option<Generation>,
    /// Version of the rules.
    pub version: i32,
    /// Digest as text, `lthash:…`
    pub digest: String,
    /// True when the scope's rows leave a skipped event out.
    #[serde(default)]
    pub deviating: bool,
}

/// Most recorded digests per projection in one reply.
pub const CHECKPOINTS_MAX: i64 = 1_000;

/// The digests that were recorded on the way, each chained to the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsRequest {
    /// Scopes that are asked about.
    #[serde(flatten)]
    pub of: ScopeFilter,
    /// Most recorded digests per projection, newest first: 1 to [`CHECKPOINTS_MAX`].
    pub limit: i64,
}

impl Request for CheckpointsRequest {
    const FACTS: Facts = Facts::reads("checkpoints", Some(Right::Prove)).since(4).large();
    type Reply = CheckpointsReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.of.tenant.as_ref())
    }
}

/// The digests that were recorded on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsReply {
    /// Tenant of the scopes.
    pub tenant: TenantId,
    /// Recorded digests, by projection in catalogue order, newest first.
    pub checkpoints: Vec<ScopeCheckpoint>,
}

impl Reply for CheckpointsReply {}

/// A recorded digest of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeCheckpoint {
    /// Name of the projection.
    pub projection: String,
    /// Recorded digest.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
}

/// The digests that the Python reference computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceDigestRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
}

impl Request for ReferenceDigestRequest {
    const FACTS: Facts = Facts::reads("reference_digest", Some(Right::Prove));
    type Reply = ReferenceDigests;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

impl Reply for ReferenceDigests {}
