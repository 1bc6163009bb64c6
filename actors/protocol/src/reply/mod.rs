//! Replies of a node. [`AdminReply::to_json`] is the contract with programs: one object, without the name of the
//! variant.

mod changes;
mod reads;
mod scopes;
mod tree;

pub use changes::*;
pub use reads::*;
pub use scopes::*;
pub use tree::*;

use super::cluster::ClusterReply;
use super::peer::PeerReply;
use crate::query::{EdgesPage, ReferenceDigests, Subgraph};
use crate::report::RunReport;
use decisiongraph_records::{Run, Skip};
use serde::{Deserialize, Serialize};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AdminReply {
    Migrated(MigrateReply),
    Appended(AppendReply),
    Job(RunReport),
    RebuildCheck(RebuildCheckReply),
    Status(StatusReply),
    Health(HealthReply),
    Why(WhyReply),
    Digest(DigestReply),
    ReferenceDigest(ReferenceDigests),
    Trace(TraceReply),
    Events(EventsReply),
    Subgraph(ReadReply<Subgraph>),
    Edges(ReadReply<EdgesPage>),
    Precedents(ReadReply<PrecedentsReply>),
    Failures(FailuresReply),
    Failure(FailureReply),
    Skipped(Skip),
    Steered(SteerReply),
    Runs(RunsReply),
    Run(Run),
    Watch(Box<WatchReply>),
    Tree(TreeReply),
    Trees(TreesReply),
    Cluster(ClusterReply),
    Peer(PeerReply),
    Tenants(TenantsReply),
    Changes(ChangesReply),
    ExportStart(ExportStartReply),
    ExportPage(ExportPageReply),
}

impl AdminReply {
    /// Returns the reply as one JSON object.
    pub fn to_json(&self) -> serde_json::Result<String> {
        use serde_json::to_string;
        match self {
            AdminReply::Migrated(reply) => to_string(reply),
            AdminReply::Appended(reply) => to_string(reply),
            AdminReply::Job(reply) => to_string(reply),
            AdminReply::RebuildCheck(reply) => to_string(reply),
            AdminReply::Status(reply) => to_string(reply),
            AdminReply::Health(reply) => to_string(reply),
            AdminReply::Why(reply) => to_string(reply),
            AdminReply::Digest(reply) => to_string(reply),
            AdminReply::ReferenceDigest(reply) => to_string(reply),
            AdminReply::Trace(reply) => to_string(reply),
            AdminReply::Events(reply) => to_string(reply),
            AdminReply::Subgraph(reply) => to_string(reply),
            AdminReply::Edges(reply) => to_string(reply),
            AdminReply::Precedents(reply) => to_string(reply),
            AdminReply::Failures(reply) => match &reply.skips {
                Some(skips) => to_string(&serde_json::json!({ "skips": skips, "more": reply.more })),
                None => to_string(reply),
            },
            AdminReply::Failure(reply) => to_string(reply),
            AdminReply::Skipped(reply) => to_string(reply),
            AdminReply::Steered(reply) => to_string(reply),
            AdminReply::Runs(reply) => {
                let runs: Vec<ShownRun<'_>> = reply.runs.iter().map(ShownRun::of).collect();
                to_string(&serde_json::json!({ "runs": runs, "more": reply.more }))
            }
            AdminReply::Run(reply) => to_string(&ShownRun::of(reply)),
            AdminReply::Watch(reply) => to_string(reply),
            AdminReply::Tree(reply) => to_string(reply),
            AdminReply::Trees(reply) => to_string(reply),
            AdminReply::Cluster(reply) => to_string(reply),
            AdminReply::Peer(reply) => to_string(reply),
            AdminReply::Tenants(reply) => to_string(reply),
            AdminReply::Changes(reply) => to_string(reply),
            AdminReply::ExportStart(reply) => to_string(reply),
            AdminReply::ExportPage(reply) => to_string(reply),
        }
    }
}
