//! Lines into the log.

use crate::query::EventRecord;
use crate::request::{Facts, FromDatabase, Reply, Request, Right};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{Category, Details, LogSeq, TenantId};
use serde::{Deserialize, Serialize};

/// A few lines of an import or append, at most [`CHUNK_LINES_MAX`](crate::lines::CHUNK_LINES_MAX).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRequest {
    /// Tenant of the lines that name none.
    pub tenant: Option<TenantId>,
    /// True to store all lines or none, atomic per run of consecutive lines of one tenant. False to store each line by
    /// itself.
    pub all_or_nothing: bool,
    /// Rule for what counts as a credential; the node's configuration when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_guard: Option<CredentialGuard>,
    /// True to get the verdict of each line of an all-or-nothing request, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each_verdict: bool,
    /// True to get each stored event as the log has it, with its verdict. Meant for few lines of one tenant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_back: bool,
    /// Lines to store, in order.
    pub lines: Vec<OfferedLine>,
}

impl Request for AppendRequest {
    const FACTS: Facts = Facts::changes("append", Some(Right::Append));
    type Reply = AppendReply;
    type Source = FromDatabase;
}

/// A line of an import or append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedLine {
    /// Number of the line in the file, from 1.
    pub number: u64,
    /// JSON text, or the reason why the line could not be read.
    pub text: Result<String, LineFault>,
}

/// Reason why a line is no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
    /// The line is longer than an event may be.
    TooLong,
    /// The line is not UTF-8.
    NotUtf8 {
        /// Byte of the line that is not UTF-8, from 1.
        byte: u64,
    },
}

/// Result for the offered lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReply {
    /// Lines stored now.
    pub accepted: u64,
    /// Lines stored before: legal repeats.
    pub repeated: u64,
    /// Lines refused, and therefore not stored.
    pub refused: u64,
    /// Verdict of each line, when each is stored by itself or the request asks for all. Of an all-or-nothing request
    /// with a refused line, only the verdict of the first refused line.
    pub verdicts: Vec<LineVerdict>,
    /// Tenants of the lines, in the order of their first lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantId>,
}

impl Reply for AppendReply {}

/// Result for one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineVerdict {
    /// Number of the line.
    pub line: u64,
    /// Verdict as one word.
    pub verdict: VerdictWord,
    /// Position at which the event is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_seq: Option<LogSeq>,
    /// Id of the stored event, or of the refused one as far as it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Trace of the stored event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Number of the stored event in its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_seq: Option<i64>,
    /// Category of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Message of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Facts of the refusal, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// Event as the log has it, when the request asks for it. Missing when it could not be read: it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<EventRecord>>,
}

/// Verdict as one word, for [`LineVerdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum VerdictWord {
    Accepted,
    Repeated,
    Refused,
}

impl VerdictWord {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictWord::Accepted => "accepted",
            VerdictWord::Repeated => "repeated",
            VerdictWord::Refused => "refused",
        }
    }
}
