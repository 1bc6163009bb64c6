//! The asker of a request: the name that the asking program gives, and the connection's proof of identity.
//!
//! *Guarantees.* The record of an asker names the proof beside the name. No client can therefore pass for another. An
//! identity of the HTTP interface is proven by name, and is recorded under that name alone.

use super::AdminError;
use crate::foreign_text::on_a_line;
use decisiongraph_projections::Category;
use decisiongraph_records::ChangeAsker;
use std::fmt;
use uuid::Uuid;

/// Longest name of an asker, in bytes.
const BY_BYTES_MAX: usize = 200;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 2_000;
/// Longest recorded subject of a certificate, in bytes.
const SUBJECT_BYTES_MAX: usize = 200;

/// Proof of the user of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A process of this machine that runs under this user id, as the kernel says.
    User(u32),
    /// This process, which holds the address of the database and runs under this user id.
    Process(u32),
    /// The holder of the certificate with this subject.
    Certificate(String),
    /// A client that knows the secret, from this address.
    Secret(String),
    /// A token of this identity. Its name is proven, and stands for itself.
    Identity {
        /// Name of the identity.
        name: String,
        /// Public part of the token.
        token: String,
    },
    /// No proof: the program's version is too old to name its connection.
    None,
}

impl Proof {
    /// Returns the way of a request with this proof, as one word.
    pub const fn door(&self) -> &'static str {
        match self {
            Proof::User(_) => "socket",
            Proof::Process(_) => "database",
            Proof::Certificate(_) => "cluster",
            Proof::Secret(_) => "tcp",
            Proof::Identity { .. } => "http",
            Proof::None => "rpc",
        }
    }

    /// Makes the proof of a certificate with this subject. A long subject is shortened.
    pub fn certificate(subject: &str) -> Proof {
        Proof::Certificate(on_a_line(subject, SUBJECT_BYTES_MAX))
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::User(uid) | Proof::Process(uid) => write!(f, "uid {uid}"),
            Proof::Certificate(subject) => write!(f, "certificate {subject}"),
            Proof::Secret(address) => write!(f, "secret, from {address}"),
            Proof::Identity { name, .. } => f.write_str(name),
            Proof::None => f.write_str("an older program"),
        }
    }
}

/// A client that sends requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Name that the asking program gives, such as `ada@laptop`; over HTTP, the user on whose behalf a console asks.
    /// The name is not proven.
    pub by: Option<String>,
    /// Proof that the connection gives.
    pub proof: Proof,
    /// Address of the other side, where the proof does not name it.
    pub peer: Option<String>,
    /// Id that the asker gave the request; the id of the ask when none.
    pub request_id: Option<String>,
    /// False when the asker reaches some tenants only, and is told nothing about the whole node.
    pub reaches_all: bool,
}

impl Asker {
    /// Makes the asker with this proof, under the name `by`.
    pub fn new(by: Option<String>, proof: Proof) -> Asker {
        Asker { by, proof, peer: None, request_id: None, reaches_all: true }
    }

    /// Makes the asker for the user of this process, under the name `by`.
    pub fn here(by: Option<String>) -> Asker {
        Asker::new(by, Proof::Process(rustix::process::getuid().as_raw()))
    }

    /// Returns the asker as the record of changes has it, for an ask with this id.
    pub fn of_change(&self, id: Uuid) -> ChangeAsker {
        let token_id = match &self.proof {
            Proof::Identity { token, .. } => Some(token.clone()),
            _ => None,
        };
        let peer = self.peer.clone().or_else(|| match &self.proof {
            Proof::Secret(address) => Some(address.clone()),
            Proof::Process(uid) => Some(format!("uid {uid}")),
            _ => None,
        });
        ChangeAsker {
            identity: self.proof.to_string(),
            token_id,
            on_behalf_of: self.by.clone(),
            peer,
            door: self.proof.door().to_owned(),
            request_id: self.request_id.clone().unwrap_or_else(|| id.to_string()),
        }
    }

    /// Returns name and proof as they are recorded: `ada@laptop by uid 1000`. `invalid_argument` when the name does not
    /// fit on a line.
    pub fn name(&self) -> Result<String, AdminError> {
        let Some(by) = &self.by else { return Ok(self.proof.to_string()) };
        if by.is_empty() || by.len() > BY_BYTES_MAX || by.chars().any(char::is_control) {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("the caller's name must have 1 to {BY_BYTES_MAX} bytes, on one line"),
            ));
        }
        Ok(match &self.proof {
            Proof::Identity { name, .. } => name.clone(),
            proof => format!("{by} by {proof}"),
        })
    }
}

/// Checks that a later reader can read the reason. `invalid_argument` otherwise.
pub fn check_reason(reason: &str) -> Result<(), AdminError> {
    if !reason.trim().is_empty() && reason.len() <= REASON_BYTES_MAX && !reason.contains('\0') {
        return Ok(());
    }
    Err(AdminError::new(
        Category::InvalidArgument,
        format!("a reason must have 1 to {REASON_BYTES_MAX} bytes: the next operator reads it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_stands_without_its_proof() {
        let named = |by: Option<&str>, proof| Asker::new(by.map(str::to_owned), proof).name();
        assert_eq!(named(Some("ada@vm"), Proof::User(7)).expect("fits"), "ada@vm by uid 7");
        assert_eq!(named(None, Proof::certificate("CN=node-1")).expect("fits"), "certificate CN=node-1");
        assert_eq!(named(None, Proof::certificate("CN=a\n b")).expect("fits"), "certificate CN=a b");
        let long = named(None, Proof::certificate(&"ü".repeat(SUBJECT_BYTES_MAX))).expect("fits");
        assert!(long.len() <= "certificate ".len() + SUBJECT_BYTES_MAX);
        let identity = || Proof::Identity { name: "console".to_owned(), token: "A1b2C3d4".to_owned() };
        assert_eq!(named(Some("ada"), identity()).expect("fits"), "console", "its name is proven");
        let asker = Asker { request_id: Some("r-1".to_owned()), ..Asker::new(Some("ada".to_owned()), identity()) };
        let recorded = asker.of_change(Uuid::from_u128(7));
        assert_eq!((recorded.on_behalf_of.as_deref(), &*recorded.identity), (Some("ada"), "console"));
        assert_eq!((&*recorded.request_id, &*recorded.door), ("r-1", "http"));
        for by in ["", "a\nb", &"x".repeat(BY_BYTES_MAX + 1)] {
            assert_eq!(named(Some(by), Proof::None).expect_err("refused").category, Category::InvalidArgument);
        }
    }
}
