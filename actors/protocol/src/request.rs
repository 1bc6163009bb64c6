//! A request and its reply: each request knows the type of its reply, whatever connection it travels on.
//!
//! *Guarantees.* A request is plain data with named fields. A field that is added later is optional, so that an older
//! client can still ask.

use crate::{AdminError, AdminReply, AdminRequest};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_records::NewChange;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::future::Future;
use uuid::Uuid;

/// A request of an operator, a program or another node. `tenant: None` means every tenant if the request can be about
/// all of them, otherwise `default`.
pub trait Request: Clone + Serialize + DeserializeOwned + Into<AdminRequest> + Send + Sync + 'static {
    /// Facts about every request of this type.
    const FACTS: Facts;
    /// Answer to the request.
    type Reply: Reply + Into<AdminReply> + TryFrom<AdminReply, Error = AdminError> + Send;
    /// Knowledge behind the answer of a node: [`FromDatabase`] or [`FromNode`].
    type Source;

    /// Returns the log, failure or job that the request is about.
    fn subject(&self) -> Subject<'_> {
        Subject::None
    }

    /// Returns the entry in the record of operators' changes, for a request with this id. None when the request is no
    /// operator's change.
    fn change(&self, _id: Uuid) -> Option<NewChange> {
        None
    }

    /// True when the answer may have the bytes of a whole page of a read.
    fn is_large(&self) -> bool {
        Self::FACTS.large
    }
}

/// Facts about every request of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Request as one word: its name on the wire, in metrics and in spans.
    pub word: &'static str,
    /// First protocol version that has the request.
    pub since: u32,
    /// True when the request may change something. Then its outcome can be unknown, and it is done once however often
    /// it is asked.
    pub changes: bool,
    /// Right that an asker needs. None when no right is enough: the asker has to hold the store, or to be a node.
    pub right: Option<Right>,
    /// True when the answer may have the bytes of a whole page of a read.
    pub large: bool,
}

impl Facts {
    /// Makes the facts of a request that only reads. Every protocol version has it.
    pub const fn reads(word: &'static str, right: Option<Right>) -> Facts {
        Facts { word, since: 1, changes: false, right, large: false }
    }

    /// Makes the facts of a request that may change something. Every protocol version has it.
    pub const fn changes(word: &'static str, right: Option<Right>) -> Facts {
        Facts { changes: true, ..Facts::reads(word, right) }
    }

    /// Returns the facts of a request that came with this protocol version.
    #[must_use]
    pub const fn since(self, version: u32) -> Facts {
        Facts { since: version, ..self }
    }

    /// Returns the facts of a request whose answer may have the bytes of a whole page.
    #[must_use]
    pub const fn large(self) -> Facts {
        Facts { large: true, ..self }
    }
}

/// Marks a request that every process with the database answers in the same way.
pub enum FromDatabase {}

/// Marks a request that a node answers with the knowledge of its actors.
pub enum FromNode {}

/// The answer to a request.
pub trait Reply: Clone + Serialize {
    /// Writes the reply as one JSON object: the contract with programs.
    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Lists the texts that may name a command.
    fn advice(&mut self) -> Vec<&mut String> {
        Vec::new()
    }
}

impl<R: Reply> Reply for Box<R> {
    fn to_json(&self) -> serde_json::Result<String> {
        (**self).to_json()
    }

    fn advice(&mut self) -> Vec<&mut String> {
        (**self).advice()
    }
}

/// Answers one kind of request.
pub trait Handle<R: Request> {
    /// Answers the request.
    fn answer(&self, request: R) -> impl Future<Output = Result<R::Reply, AdminError>> + Send;
}

/// Returns the error for a reply of another kind than the request has: a defect.
pub(crate) fn unfit() -> AdminError {
    AdminError::new(Category::Internal, "the reply does not match the request")
}

/// Subject of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// No log, or every log there is.
    None,
    /// One log: that of `default` when none is named.
    Log(Option<&'a TenantId>),
    /// A failure, and the scope that it is expected in.
    Failure(i64, &'a ScopeFilter),
    /// A job, and the scope that it is expected in.
    Run(Uuid, &'a ScopeFilter),
}

impl<'a> Subject<'a> {
    /// Returns the log of this tenant. Without a tenant, the request is about every log.
    pub fn if_named(tenant: &'a Option<TenantId>) -> Subject<'a> {
        match tenant {
            Some(tenant) => Subject::Log(Some(tenant)),
            None => Subject::None,
        }
    }
}

/// Right to make a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Import events.
    Append,
    /// Read events, traces and the read models.
    Read,
    /// Compare rows, digests and log; export the log.
    Prove,
    /// See the state of scopes, jobs, failures and nodes.
    Observe,
    /// See the changes that operators asked for.
    Audit,
    /// Have events applied: catch-up, retry, and the end or continuation of a job.
    Replay,
    /// Build the rows anew.
    Rebuild,
    /// Pause, resume and skip.
    Steer,
    /// Take nodes out of service and back, and forget them.
    Cordon,
    /// Begin, fork and rebuild the tree of a sealed log.
    Seal,
}

/// Makes the record of a change to scopes. Without a tenant they are those of `default`.
pub(crate) fn change_of_scopes(
    what: &str,
    tenant: &Option<TenantId>,
    projection: &Option<String>,
    reason: Option<&String>,
) -> NewChange {
    NewChange {
        what: what.to_owned(),
        tenant: Some(tenant.clone().unwrap_or_default()),
        projection: projection.clone(),
        reason: reason.cloned().unwrap_or_default(),
        ..NewChange::default()
    }
}

/// Makes the record of a change to a failure, run or node, which is expected in this scope.
pub(crate) fn change_of(what: &str, subject: String, of: &ScopeFilter, reason: Option<&String>) -> NewChange {
    NewChange {
        what: what.to_owned(),
        tenant: of.tenant.clone(),
        projection: of.projection.clone(),
        subject: Some(subject),
        reason: reason.cloned().unwrap_or_default(),
        ..NewChange::default()
    }
}

/// A choice of scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeFilter {
    /// Tenant of the scopes; all when none (`digest`: `default`).
    pub tenant: Option<TenantId>,
    /// Name in the catalogue; all projections when none.
    pub projection: Option<String>,
}
