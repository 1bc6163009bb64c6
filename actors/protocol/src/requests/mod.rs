//! The table of requests, and one file per noun: its requests with their replies.
//!
//! To add a request: write it into the file of its noun, give it a line here, and write its handler.

mod append;
mod changes;
mod cluster;
mod digest;
mod events;
mod failures;
mod health;
mod jobs;
mod migrate;
mod peer;
mod reads;
mod runs;
mod seal;
mod status;
mod steer;
mod tenants;
mod traces;
mod tree;

pub use append::*;
pub use changes::*;
pub use cluster::*;
pub use digest::*;
pub use events::*;
pub use failures::*;
pub use health::*;
pub use jobs::*;
pub use migrate::*;
pub use peer::*;
pub use reads::*;
pub use runs::*;
pub use seal::*;
pub use status::*;
pub use steer::*;
pub use tenants::*;
pub use traces::*;
pub use tree::*;

use crate::AdminError;
use crate::query::{EdgesPage, ReferenceDigests, Subgraph};
use crate::report::RunReport;
use crate::request::{Facts, Handle, Request, Subject, unfit};
use decisiongraph_records::{NewChange, Run, Skip};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes the enums of requests and replies, and the ways into and out of them. Requests in brackets have no fields: on
/// the wire, they are their words alone.
macro_rules! requests {
    ($(
        $name:ident($reply:ty): $([$($bare:ident($bare_request:ident)),*])? $($variant:ident($request:ty)),*;
    )*) => {
        /// Every request, as it is written on the wire.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs)]
        pub enum AdminRequest {
            $($($($bare,)*)? $($variant($request),)*)*
        }

        /// Every reply, as it is written on the wire.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs)]
        pub enum AdminReply {
            $($name($reply),)*
        }

        impl AdminRequest {
            /// Returns the facts about every request of this type.
            pub const fn facts(&self) -> Facts {
                match self {
                    $($($(AdminRequest::$bare => $bare_request::FACTS,)*)?
                    $(AdminRequest::$variant(_) => <$request>::FACTS,)*)*
                }
            }

            /// Returns the log, failure or job that the request is about.
            pub fn subject(&self) -> Subject<'_> {
                match self {
                    $($($(AdminRequest::$bare => $bare_request.subject(),)*)?
                    $(AdminRequest::$variant(request) => request.subject(),)*)*
                }
            }

            /// Returns the entry in the record of operators' changes, for a request with this id. None when the request
            /// is no operator's change.
            pub fn change(&self, id: Uuid) -> Option<NewChange> {
                match self {
                    $($($(AdminRequest::$bare => $bare_request.change(id),)*)?
                    $(AdminRequest::$variant(request) => request.change(id),)*)*
                }
            }

            /// True when the answer may have the bytes of a whole page of a read.
            pub fn is_large(&self) -> bool {
                match self {
                    $($($(AdminRequest::$bare => $bare_request.is_large(),)*)?
                    $(AdminRequest::$variant(request) => request.is_large(),)*)*
                }
            }

            /// Has the handler of the request's kind answer it.
            pub async fn answered_by<H>(self, handlers: &H) -> Result<AdminReply, AdminError>
            where
                H: Sync $($($(+ Handle<$bare_request>)*)? $(+ Handle<$request>)*)*
            {
                match self {
                    $($($(AdminRequest::$bare => Box::pin(handlers.answer($bare_request)).await.map(AdminReply::from),)*)?
                    $(AdminRequest::$variant(request) => {
                        Box::pin(handlers.answer(request)).await.map(AdminReply::from)
                    })*)*
                }
            }
        }

        $($($(impl From<$bare_request> for AdminRequest {
            fn from(_: $bare_request) -> AdminRequest {
                AdminRequest::$bare
            }
        })*)?

        $(impl From<$request> for AdminRequest {
            fn from(request: $request) -> AdminRequest {
                AdminRequest::$variant(request)
            }
        })*

        impl From<$reply> for AdminReply {
            fn from(reply: $reply) -> AdminReply {
                AdminReply::$name(reply)
            }
        }

        impl TryFrom<AdminReply> for $reply {
            type Error = AdminError;

            fn try_from(reply: AdminReply) -> Result<$reply, AdminError> {
                match reply {
                    AdminReply::$name(reply) => Ok(reply),
                    _ => Err(unfit()),
                }
            }
        })*
    };
}

// Per line: a reply, and the requests that get it.
requests! {
    Migrated(MigrateReply): [Migrate(MigrateRequest)];
    Appended(AppendReply): Append(AppendRequest);
    // The reply of a job that ended in the answering process. A node answers with `Watch`.
    Job(RunReport): CatchUp(CatchUpRequest), Rebuild(RebuildRequest), Verify(VerifyRequest), Retry(RetryRequest),
        ResumeRun(ResumeRunRequest);
    Watch(Box<WatchReply>): WatchRun(WatchRunRequest);
    RebuildCheck(RebuildCheckReply): RebuildCheck(RebuildCheckRequest);
    Runs(RunsReply): Runs(RunsRequest);
    Run(Run): Run(ReadRunRequest), CancelRun(CancelRunRequest);
    Status(StatusReply): Status(StatusRequest);
    Health(HealthReply): Health(HealthRequest);
    Why(WhyReply): Why(WhyRequest);
    Digest(DigestReply): Digest(DigestRequest);
    Checkpoints(CheckpointsReply): Checkpoints(CheckpointsRequest);
    ReferenceDigest(ReferenceDigests): ReferenceDigest(ReferenceDigestRequest);
    Trace(TraceReply): Trace(TraceRequest);
    Events(EventsReply): Events(EventsRequest);
    Traces(ReadReply<TracesPage>): Traces(TracesRequest);
    ExportStart(ExportStartReply): [ExportStart(ExportStartRequest)];
    ExportPage(ExportPageReply): ExportPage(ExportRequest);
    Subgraph(ReadReply<Subgraph>): Subgraph(SubgraphRequest);
    Edges(ReadReply<EdgesPage>): Edges(EdgesRequest);
    Precedents(ReadReply<PrecedentsReply>): Precedents(PrecedentsRequest);
    Failures(FailuresReply): Failures(FailuresRequest);
    Failure(FailureReply): Failure(FailureRequest);
    Skipped(Skip): Skip(SkipRequest);
    Steered(SteerReply): Pause(PauseRequest), Resume(ResumeRequest);
    Tree(TreeReply): Tree(TreeRequest);
    Cluster(ClusterReply): [Cluster(ClusterRequest)] Cordon(CordonRequest), Uncordon(UncordonRequest),
        Forget(ForgetRequest);
    Peer(PeerReply): Peer(PeerRequest);
    SealMemory(SealMemoryReply): SealMemory(SealMemoryRequest);
    Tenants(TenantsReply): Tenants(TenantsRequest);
    Changes(ChangesReply): Changes(ChangesRequest);
    SealStatus(SealStatusReply): SealStatus(SealStatusRequest);
    Sealed(SealedReply): SealNow(SealNowRequest), SealInit(SealInitRequest), SealFork(SealForkRequest),
        SealRebuild(SealRebuildRequest);
    SealCheckpoints(SealCheckpointsReply): SealCheckpoints(SealCheckpointsRequest);
    Proof(ProveReply): Prove(ProveRequest);
    Consistency(ConsistencyReply): Consistency(ConsistencyRequest);
    AuditPack(AuditPackReply): AuditPack(AuditPackRequest);
    SealTile(SealTileReply): SealTile(SealTileRequest);
}
