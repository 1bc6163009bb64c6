//! Queries over the read models.

use crate::query::{EdgesPage, EdgesQuery, Freshness, RowsState, Staleness, Subgraph, SubgraphQuery};
use crate::request::{Facts, FromDatabase, Reply, Request, Right, Subject};
use decisiongraph_projections::TenantId;
use decisiongraph_records::{PrecedentFilter, PrecedentHit};
use serde::{Deserialize, Serialize};

/// A query over the read models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest<Q> {
    /// Tenant of the read models.
    pub tenant: Option<TenantId>,
    /// Required freshness of the answer.
    pub freshness: Freshness,
    /// The query itself.
    pub query: Q,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReply<A> {
    /// Tenant of the read models.
    pub tenant: TenantId,
    /// Staleness of the answer; present when it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// State of the rows that were read; none when they are behind.
    #[serde(skip)]
    pub rows: Vec<RowsState>,
    /// The answer itself.
    #[serde(flatten)]
    pub answer: A,
}

impl<A: Clone + Serialize> Reply for ReadReply<A> {}

/// The neighbourhood of a node.
pub type SubgraphRequest = ReadRequest<SubgraphQuery>;

impl Request for SubgraphRequest {
    const FACTS: Facts = Facts::reads("subgraph", Some(Right::Read)).large();
    type Reply = ReadReply<Subgraph>;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// The edges of a node.
pub type EdgesRequest = ReadRequest<EdgesQuery>;

impl Request for EdgesRequest {
    const FACTS: Facts = Facts::reads("edges", Some(Right::Read)).large();
    type Reply = ReadReply<EdgesPage>;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// Finished traces that decided a similar case.
pub type PrecedentsRequest = ReadRequest<PrecedentFilter>;

impl Request for PrecedentsRequest {
    const FACTS: Facts = Facts::reads("precedents", Some(Right::Read)).large();
    type Reply = ReadReply<PrecedentsReply>;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A list of precedents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecedentsReply {
    /// Hits, latest first.
    pub hits: Vec<PrecedentHit>,
    /// True when the list goes on: the limit or the bytes of one answer were reached.
    #[serde(default)]
    pub more: bool,
}
