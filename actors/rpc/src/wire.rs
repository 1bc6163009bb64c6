//! Messages between a program and a node: one [`Ask`], one [`Answer`], as JSON, with the versions of both sides.
//!
//! *Guarantees.* An unreadable message is answered by name, with the versions of both sides, and never by silence. A
//! field that is added later is optional; a request that one side does not know is `version_mismatch`.

use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Facts};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use uuid::Uuid;

/// Protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 5;
/// Oldest protocol that this program still understands.
pub const PROTOCOL_OLDEST: u32 = PROTOCOL_VERSION - 1;
/// Version of this program.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest version of a program, in bytes.
const PROGRAM_BYTES_MAX: usize = 64;
/// Longest deadline of an ask.
pub const DEADLINE_MAX: Duration = Duration::from_secs(3_600);

/// Versions of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Newest protocol that the side speaks.
    pub protocol: u32,
    /// Oldest protocol that the side understands.
    pub oldest: u32,
    /// Version of the side's program, for operators.
    pub program: String,
}

impl Versions {
    /// Returns this program's versions.
    pub fn ours() -> Versions {
        Versions { protocol: PROTOCOL_VERSION, oldest: PROTOCOL_OLDEST, program: PROGRAM_VERSION.to_owned() }
    }

    /// Returns the versions of a program whose newest protocol is this: the stand-in for another release.
    pub fn up_to(protocol: u32) -> Versions {
        Versions { protocol, oldest: protocol.saturating_sub(1), ..Versions::ours() }
    }

    /// Returns versions as if this program spoke only this protocol: for tests of a mismatch.
    pub fn only(protocol: u32) -> Versions {
        Versions { protocol, oldest: protocol, ..Versions::ours() }
    }

    /// True when the versions can be shown and logged as they are.
    pub fn is_printable(&self) -> bool {
        self.program.len() <= PROGRAM_BYTES_MAX && self.program.chars().all(|c| c.is_ascii_graphic())
    }

    /// Finds the newest protocol that a client and a node both speak. `version_mismatch`, with both, when there is
    /// none.
    pub fn agree(client: &Versions, node: &Versions) -> Result<u32, AdminError> {
        let common = client.protocol.min(node.protocol);
        if common >= client.oldest && common >= node.oldest {
            return Ok(common);
        }
        let next = if client.protocol < node.protocol {
            "use the newer `decisiongraph` of the node"
        } else {
            "upgrade the node, or use the `decisiongraph` of the node's version"
        };
        Err(AdminError::new(
            Category::VersionMismatch,
            format!("this program is {client}, the node is {node}: they have no protocol in common"),
        )
        .next(next))
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (protocol {})", self.program, self.protocol)
    }
}

/// A request on its way to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Agreed protocol.
    pub protocol: u32,
    /// Version of the asking program.
    pub program: String,
    /// Id of this request: the same request asked again is answered again and carried out once.
    pub id: Uuid,
    /// Time for which the asker waits.
    pub deadline: Duration,
    /// Number of the connection that carries the ask, as the node gave it; `None` from an older program.
    pub connection: Option<Uuid>,
    /// The name that the asking program gives for its user.
    pub by: Option<String>,
    /// The request itself.
    pub request: AdminRequest,
}

/// The envelope alone, so that an unknown request can still be named.
#[derive(Deserialize)]
struct Envelope<'a> {
    protocol: u32,
    program: String,
    id: Uuid,
    deadline_ms: u64,
    #[serde(default)]
    connection: Option<Uuid>,
    #[serde(default)]
    by: Option<String>,
    #[serde(borrow)]
    request: &'a RawValue,
}

#[derive(Serialize)]
struct EnvelopeOut<'a> {
    protocol: u32,
    program: &'a str,
    id: Uuid,
    deadline_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    request: &'a AdminRequest,
}

impl Ask {
    /// Encodes the ask as bytes.
    pub fn encode(&self) -> Result<Vec<u8>, AdminError> {
        let out = EnvelopeOut {
            protocol: self.protocol,
            program: &self.program,
            id: self.id,
            deadline_ms: u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
            connection: self.connection,
            by: self.by.as_deref(),
            request: &self.request,
        };
        serde_json::to_vec(&out)
            .map_err(|error| AdminError::new(Category::Internal, format!("cannot write the request: {error}")))
    }

    /// Decodes bytes that may come from another version of this program; also returns the fingerprint of the request
    /// alone.
    pub fn decode(bytes: &[u8], ours: &Versions) -> Result<(Ask, blake3::Hash), AdminError> {
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|error| {
            AdminError::new(Category::VersionMismatch, format!("the node, {ours}, cannot read the request: {error}"))
                .next("use the `decisiongraph` of the node's version")
        })?;
        let theirs =
            Versions { protocol: envelope.protocol, oldest: envelope.protocol, program: envelope.program.clone() };
        Versions::agree(&theirs, ours)?;
        let unknown = |what: &dyn std::fmt::Display| {
            AdminError::new(
                Category::VersionMismatch,
                format!("the node, {ours}, does not understand a request of this program, {theirs}: {what}"),
            )
            .next("use the `decisiongraph` of the node's version, or upgrade the node")
        };
        let request: AdminRequest = serde_json::from_str(envelope.request.get()).map_err(|error| unknown(&error))?;
        let Facts { word, since, .. } = request.facts();
        if since > ours.protocol {
            return Err(unknown(&format!("`{word}` came with protocol {since}")));
        }
        let ask = Ask {
            protocol: envelope.protocol,
            program: envelope.program,
            id: envelope.id,
            deadline: Duration::from_millis(envelope.deadline_ms).min(DEADLINE_MAX),
            connection: envelope.connection,
            by: envelope.by,
            request,
        };
        Ok((ask, blake3::hash(envelope.request.get().as_bytes())))
    }
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Protocol that the node speaks.
    pub protocol: u32,
    /// Reply, or the error.
    pub outcome: Result<AdminReply, AdminError>,
}

impl Answer {
    /// Encodes an answer as bytes. An answer that cannot be written becomes an error that can.
    pub fn encode(outcome: Result<AdminReply, AdminError>) -> Vec<u8> {
        let answer = Answer { protocol: PROTOCOL_VERSION, outcome };
        serde_json::to_vec(&answer).unwrap_or_else(|error| {
            let error = AdminError::new(Category::Internal, format!("cannot write the reply: {error}"));
            serde_json::to_vec(&Answer { protocol: PROTOCOL_VERSION, outcome: Err(error) }).unwrap_or_default()
        })
    }

    /// Decodes bytes that may come from another version of this program.
    pub fn decode(bytes: &[u8]) -> Result<AdminReply, AdminError> {
        let answer: Answer = serde_json::from_slice(bytes).map_err(|error| {
            AdminError::new(
                Category::VersionMismatch,
                format!("this program, {}, does not understand the node's answer: {error}", Versions::ours()),
            )
            .next("use the `decisiongraph` of the node's version; the request itself may have been carried out")
        })?;
        answer.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_protocol::StatusRequest;

    fn versions(protocol: u32, oldest: u32) -> Versions {
        Versions { protocol, oldest, program: format!("0.{protocol}.0") }
    }

    #[test]
    fn two_versions_agree_on_the_newest_in_common_or_name_both() {
        let agree = |client, node| Versions::agree(&client, &node);
        assert_eq!(agree(versions(2, 1), versions(2, 1)), Ok(2));
        assert_eq!(agree(versions(1, 1), versions(2, 1)), Ok(1));
        assert_eq!(agree(versions(3, 2), versions(2, 1)), Ok(2));
        let error = agree(versions(3, 3), versions(2, 1)).expect_err("none in common");
        assert_eq!(error.category, Category::VersionMismatch);
        assert!(error.message.contains("0.3.0 (protocol 3)") && error.message.contains("0.2.0 (protocol 2)"));
        assert!(agree(versions(0, 0), versions(2, 1)).expect_err("too old").next.contains("newer"));
    }

    fn ask(protocol: u32) -> Ask {
        Ask {
            protocol,
            program: "0.9.0".to_owned(),
            id: Uuid::from_u128(7),
            deadline: Duration::from_secs(3),
            connection: None,
            by: None,
            request: AdminRequest::Status(StatusRequest::default()),
        }
    }

    #[test]
    fn an_ask_comes_back_as_it_was() {
        let bytes = ask(PROTOCOL_VERSION).encode().expect("writes");
        assert_eq!(Ask::decode(&bytes, &Versions::ours()).map(|(ask, _)| ask), Ok(ask(PROTOCOL_VERSION)));
        assert!(Ask::decode(&ask(PROTOCOL_OLDEST).encode().expect("writes"), &Versions::ours()).is_ok());
    }

    #[test]
    fn an_unknown_request_and_an_unknown_protocol_are_named_with_both_versions() {
        let text = String::from_utf8(ask(PROTOCOL_VERSION).encode().expect("writes")).expect("text");
        let unknown = text.replace("\"status\"", "\"frobnicate\"");
        let newer = Ask { request: AdminRequest::Cluster, ..ask(2) }.encode().expect("writes");
        let error = Ask::decode(&newer, &Versions::up_to(2)).expect_err("of the next release");
        assert!(error.message.contains("`cluster` came with protocol 3"), "{}", error.message);
        for bytes in [unknown.into_bytes(), ask(9).encode().expect("writes")] {
            let error = Ask::decode(&bytes, &Versions::ours()).expect_err("unknown");
            assert_eq!(error.category, Category::VersionMismatch);
            assert!(error.message.contains(PROGRAM_VERSION) && error.message.contains("0.9.0"), "{}", error.message);
        }
        assert_eq!(
            Ask::decode(b"\xff\x00", &Versions::ours()).expect_err("no JSON").category,
            Category::VersionMismatch
        );
        assert_eq!(Answer::decode(b"{}").expect_err("no answer").category, Category::VersionMismatch);
    }
}
