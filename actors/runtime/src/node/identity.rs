//! Identity of a node over its lives: a name that stays, and an incarnation that is drawn at each start.
//!
//! *Guarantees.* The data directory belongs to one process, which binds its socket first. So the incarnation that it
//! names is dead when the next process starts. Everything that incarnation held is given up at once, instead of when
//! its lease is over. Should that be wrong (a copied directory), epochs still fence the process that lost a scope.

use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::data_dir::{self, IDENTITY_NAME};
use decisiongraph_store::Owner;
use serde::{Deserialize, Serialize};
use std::path::Path;
use uuid::Uuid;

/// Identities of this life and of the life before it.
pub struct Identity {
    /// Identity of this process.
    pub owner: Owner,
    /// Identity of the process before it, in the same directory.
    pub former: Option<Owner>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    node: String,
    incarnation: Uuid,
}

impl Identity {
    /// Draws a new incarnation and writes it down. Call it once the directory belongs to this process. `storage` when
    /// the file cannot be read or written.
    pub fn draw(directory: &Path, name: Option<&str>) -> Result<Identity, AdminError> {
        let path = directory.join(IDENTITY_NAME);
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            AdminError::new(Category::Storage, format!("cannot {what} {}: {error}", path.display()))
                .next("check that the data directory may be read and written")
        };
        let former: Option<Stored> = match std::fs::read(&path) {
            // A file that was cut off says nothing: the former lease then runs out by itself.
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &error)),
        };
        let node = name.map_or_else(|| default_name(directory), str::to_owned);
        let stored = Stored { node, incarnation: Uuid::new_v4() };
        let text = serde_json::to_vec(&stored).map_err(|error| failed("write", &error))?;
        data_dir::write(&path, &text).map_err(|error| failed("write", &error))?;
        Ok(Identity {
            owner: Owner { node: stored.node, incarnation: stored.incarnation },
            former: former.map(|former| Owner { node: former.node, incarnation: former.incarnation }),
        })
    }
}

/// Joins the host's name and four digits that tell the data directories of a host apart.
fn default_name(directory: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    let directory = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let digits = blake3::hash(directory.as_os_str().as_encoded_bytes()).to_hex();
    format!("{host}-{}", &digits[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_remembers_its_last_life() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::draw(directory.path(), None).expect("drawn");
        assert_eq!(first.former, None);
        let second = Identity::draw(directory.path(), Some("b")).expect("drawn");
        assert_eq!((second.owner.node.as_str(), second.former), ("b", Some(first.owner.clone())));
        assert_ne!(first.owner.incarnation, second.owner.incarnation);
        std::fs::write(directory.path().join(IDENTITY_NAME), "{").expect("written");
        assert_eq!(Identity::draw(directory.path(), None).expect("drawn").former, None);
    }
}
