//! The identities in force: found by a token, and read again when their file changes.

use super::FILE_BYTES_MAX;
use super::file::{EVERY_TENANT, IdentitiesFile, Identity, Role};
use super::token::{NewToken, hash_of};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{AdminError, Right};
use decisiongraph_rpc::data_dir::HTTP_TOKEN_NAME;
use decisiongraph_rpc::{data_dir, private_file};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

/// Name of the identity of the node's own user: the holder of [`HTTP_TOKEN_NAME`] and of the Unix socket.
pub const LOCAL: &str = "local";
/// Pause between two looks at the file.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An identity that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The identity.
    pub identity: Arc<Identity>,
    /// Public part of the token that proved it.
    pub token_id: String,
    /// Time from which the token is refused, RFC 3339.
    pub expires_at: Option<String>,
    rights: BTreeSet<Right>,
}

impl Caller {
    fn new(identity: Arc<Identity>, token_id: &str, expires_at: Option<String>) -> Caller {
        Caller { rights: identity.all_rights(), token_id: token_id.to_owned(), identity, expires_at }
    }

    /// Makes the caller that is this process's own user: an administrator of every tenant.
    pub fn local(token_id: &str) -> Caller {
        let identity = Identity {
            name: LOCAL.to_owned(),
            roles: [Role::Admin].into(),
            rights: BTreeSet::new(),
            tenants: vec![EVERY_TENANT.to_owned()],
            producers: None,
            tokens: Vec::new(),
        };
        Caller::new(Arc::new(identity), token_id, None)
    }

    /// Lists the caller's rights.
    pub fn rights(&self) -> &BTreeSet<Right> {
        &self.rights
    }

    /// True when the caller has this right.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// True when the caller reaches every tenant.
    pub fn reaches_all(&self) -> bool {
        self.identity.tenants.iter().any(|tenant| tenant == EVERY_TENANT)
    }

    /// True when the caller reaches this tenant.
    pub fn reaches(&self, tenant: &TenantId) -> bool {
        self.reaches_all() || self.identity.tenants.iter().any(|named| named == tenant.as_str())
    }

    /// True when the caller may append events of this producer.
    pub fn speaks_for(&self, producer: &str) -> bool {
        self.identity.producers.as_ref().is_none_or(|named| named.iter().any(|name| name == producer))
    }
}

/// The identities of a node.
pub struct Identities {
    /// File of the identities; none for a node that has only its own token.
    file: Option<PathBuf>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    callers: HashMap<blake3::Hash, Caller>,
    stamp: Option<(SystemTime, u64)>,
    looked: Option<Instant>,
    fault: Option<String>,
}

impl Identities {
    /// Reads the identities of this file. A faulty file is a reason not to start.
    pub fn of_file(path: &Path) -> Result<Identities, AdminError> {
        let stamp = stamp(path);
        let callers = callers(IdentitiesFile::read(path)?)?;
        let live = Live { callers, stamp, looked: Some(Instant::now()), fault: None };
        Ok(Identities { file: Some(path.to_owned()), live: Mutex::new(live) })
    }

    /// Reads the token of the node's own user from the data directory. Draws it at the first start.
    pub fn of_data_dir(directory: &Path) -> Result<Identities, AdminError> {
        let path = directory.join(HTTP_TOKEN_NAME);
        let text = match private_file::read(&path, "token", FILE_BYTES_MAX) {
            Ok(text) => text.trim().to_owned(),
            Err(_) if !path.exists() => {
                let token = NewToken::draw();
                data_dir::write(&path, format!("{}\n", token.reveal()).as_bytes()).map_err(|error| {
                    AdminError::new(Category::Storage, format!("cannot write {}: {error}", path.display()))
                })?;
                token.reveal().to_owned()
            }
            Err(error) => return Err(error),
        };
        let id = text.split('_').nth(1).unwrap_or(LOCAL);
        let callers = HashMap::from([(hash_of(&text), Caller::local(id))]);
        Ok(Identities { file: None, live: Mutex::new(Live { callers, ..Live::default() }) })
    }

    /// Finds the caller of this token. None when no identity has it, or when it has expired.
    pub fn find(&self, token: &str) -> Option<Caller> {
        let hash = hash_of(token);
        let live = self.current();
        live.callers.get(&hash).filter(|caller| !has_expired(caller)).cloned()
    }

    /// True when the caller's token and rights are still what they were.
    pub fn still_holds(&self, caller: &Caller) -> bool {
        let held = |live: &Live| live.callers.values().any(|now| now == caller);
        caller.token_id == SOCKET || !has_expired(caller) && held(&self.current())
    }

    /// Returns the fault of the file, while the identities of an earlier one are in force.
    pub fn fault(&self) -> Option<String> {
        self.current().fault.clone()
    }

    /// Looks at the file, when the last look is some time ago.
    fn current(&self) -> MutexGuard<'_, Live> {
        let mut live = self.live.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(path) = &self.file else { return live };
        if live.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return live;
        }
        live.looked = Some(Instant::now());
        let stamp = stamp(path);
        if stamp == live.stamp {
            return live;
        }
        match IdentitiesFile::read(path).and_then(callers) {
            Ok(callers) => *live = Live { callers, stamp, looked: live.looked, fault: None },
            Err(error) => {
                tracing::warn!("the changed identities are not used: {}", error.message);
                live.fault = Some(error.message);
                live.stamp = stamp;
            }
        }
        live
    }
}

/// Id of the proof that the Unix socket gives.
pub(crate) const SOCKET: &str = "socket";

fn callers(file: IdentitiesFile) -> Result<HashMap<blake3::Hash, Caller>, AdminError> {
    let mut callers = HashMap::new();
    for identity in file.identities {
        let identity = Arc::new(identity);
        for token in &identity.tokens {
            let hash = blake3::Hash::from_hex(&token.hash)
                .map_err(|_| AdminError::new(Category::InvalidArgument, "the hash of a token is faulty"))?;
            callers.insert(hash, Caller::new(Arc::clone(&identity), &token.id, token.expires_at.clone()));
        }
    }
    Ok(callers)
}

fn has_expired(caller: &Caller) -> bool {
    caller.expires_at.as_deref().is_some_and(|end| end <= super::now().as_str())
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

#[cfg(test)]
mod tests {
    use super::super::StoredToken;
    use super::*;

    fn identity(name: &str, tenants: &[&str], token: &NewToken, expires_at: Option<&str>) -> Identity {
        let token = StoredToken {
            id: token.id.clone(),
            hash: token.hash(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            expires_at: expires_at.map(str::to_owned),
            note: None,
        };
        Identity {
            name: name.to_owned(),
            roles: [Role::Reader].into(),
            rights: BTreeSet::new(),
            tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
            producers: None,
            tokens: vec![token],
        }
    }

    #[test]
    fn a_token_proves_its_identity_until_it_expires_or_is_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("identities.json");
        let tokens: Vec<NewToken> = (0..3).map(|_| NewToken::draw()).collect();
        let identities = vec![
            identity("a", &["acme"], &tokens[0], None),
            identity("b", &["*"], &tokens[1], Some("2020-01-01T00:00:00Z")),
            identity("c", &["*"], &tokens[2], Some("2920-01-01T00:00:00Z")),
        ];
        let mut file = IdentitiesFile { identities };
        file.write(&path).expect("written");
        let live = Identities::of_file(&path).expect("read");
        let caller = live.find(tokens[0].reveal()).expect("known");
        let tenant = |name: &str| TenantId::new(name.to_owned()).expect("an id");
        assert!(caller.reaches(&tenant("acme")) && !caller.reaches(&tenant("other")) && !caller.reaches_all());
        assert!(caller.may(Right::Read) && !caller.may(Right::Append));
        assert!(live.find(tokens[1].reveal()).is_none(), "expired");
        assert!(live.find(tokens[2].reveal()).is_some_and(|caller| caller.reaches(&tenant("any"))));
        assert!(live.find("dg_unknown").is_none());
        file.identities.remove(0);
        file.write(&path).expect("written");
        live.live.lock().expect("a lock").looked = None;
        assert!(live.find(tokens[0].reveal()).is_none() && !live.still_holds(&caller), "taken away");
        std::fs::write(&path, "{").expect("written");
        live.live.lock().expect("a lock").looked = None;
        assert!(live.find(tokens[2].reveal()).is_some(), "a faulty file changes nothing");
        assert!(live.fault().is_some());
    }

    #[test]
    fn a_node_without_identities_draws_one_token_for_its_own_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Identities::of_data_dir(dir.path()).expect("drawn");
        let text = std::fs::read_to_string(dir.path().join(HTTP_TOKEN_NAME)).expect("written");
        let caller = first.find(text.trim()).expect("known");
        assert!(caller.identity.name == LOCAL && caller.may(Right::Cordon) && caller.reaches_all());
        let again = Identities::of_data_dir(dir.path()).expect("read");
        assert!(again.find(text.trim()).is_some());
    }
}
