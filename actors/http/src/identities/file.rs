//! The file of identities: read, checked as a whole, and written anew.

use super::FILE_BYTES_MAX;
use super::token::hash_of;
use decisiongraph_projections::{Category, TenantId, rfc3339};
use decisiongraph_protocol::{AdminError, Right};
use decisiongraph_rpc::{data_dir, private_file};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// Longest name of an identity, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Shortest token of an imported account, in bytes.
const WEAK_TOKEN_BYTES: usize = 32;
/// Word for every tenant.
pub(super) const EVERY_TENANT: &str = "*";

/// A named set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Appends events.
    Appender,
    /// Reads events, traces and the read models.
    Reader,
    /// Checks proofs, exports the log, and sees the record of changes.
    Auditor,
    /// Keeps projections current.
    Operator,
    /// Has every right.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Appender, Role::Reader, Role::Auditor, Role::Operator, Role::Admin];

    /// Lists the rights of the role.
    pub const fn rights(self) -> &'static [Right] {
        use Right::*;
        match self {
            Role::Appender => &[Append],
            Role::Reader => &[Read],
            Role::Auditor => &[Read, Prove, Observe, Audit],
            Role::Operator => &[Read, Prove, Observe, Replay, Rebuild, Steer],
            Role::Admin => &[Append, Read, Prove, Observe, Audit, Replay, Rebuild, Steer, Cordon, Seal],
        }
    }

    /// Returns the word of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Appender => "appender",
            Role::Reader => "reader",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// A caller: a program or a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Name in the record of changes.
    pub name: String,
    /// Roles.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Rights beside those of the roles.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rights: BTreeSet<Right>,
    /// Tenants whose logs it may reach; `*` for every tenant.
    pub tenants: Vec<String>,
    /// Producers whose events it may append; any producer when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producers: Option<Vec<String>>,
    /// Tokens. With several, one can be replaced while the other is in use.
    #[serde(default)]
    pub tokens: Vec<StoredToken>,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    /// Public part.
    pub id: String,
    /// Hash of the token, 64 hexadecimal digits.
    pub hash: String,
    /// Time at which it was drawn, RFC 3339.
    pub created_at: String,
    /// Time from which it is refused, RFC 3339 in UTC; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Purpose of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Identity {
    /// Lists every right of the identity.
    pub fn all_rights(&self) -> BTreeSet<Right> {
        self.roles.iter().flat_map(|role| role.rights()).chain(&self.rights).copied().collect()
    }
}

/// The identities of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitiesFile {
    /// The identities.
    pub identities: Vec<Identity>,
}

impl IdentitiesFile {
    /// Reads the file. `invalid_argument` when others may read it, or when anything in it is faulty.
    pub fn read(path: &Path) -> Result<IdentitiesFile, AdminError> {
        let text = private_file::read(path, "identities", FILE_BYTES_MAX)?;
        let file: IdentitiesFile = serde_json::from_str(&text).map_err(|error| {
            // The text of serde_json names members and positions; it quotes no value of a token.
            faulty(format!("{} is not a valid identities file: {error}", path.display()))
        })?;
        file.check()?;
        Ok(file)
    }

    /// Writes the file as a whole or not at all, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<(), AdminError> {
        self.check()?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| AdminError::new(Category::Internal, format!("identities cannot be written: {error}")))?;
        text.push('\n');
        data_dir::write(path, text.as_bytes()).map_err(|error| {
            AdminError::new(Category::Storage, format!("cannot write {}: {error}", path.display()))
                .next("check the path and its permissions; the file before is unchanged")
        })
    }

    /// Finds the identity of this name.
    pub fn find(&mut self, name: &str) -> Result<&mut Identity, AdminError> {
        let names: Vec<String> = self.identities.iter().map(|identity| identity.name.clone()).collect();
        self.identities.iter_mut().find(|identity| identity.name == name).ok_or_else(|| {
            AdminError::new(Category::NotFound, format!("there is no identity `{name}`"))
                .next(format!("one of: {}", names.join(", ")))
        })
    }

    fn check(&self) -> Result<(), AdminError> {
        let (mut names, mut ids, mut hashes) = (HashSet::new(), HashSet::new(), HashSet::new());
        for identity in &self.identities {
            let name = &identity.name;
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
                return Err(faulty(format!(
                    "the name of an identity must have 1 to {NAME_BYTES_MAX} bytes, on one line"
                )));
            }
            if !names.insert(name) {
                return Err(faulty(format!("two identities are named `{name}`")));
            }
            for tenant in identity.tenants.iter().filter(|tenant| *tenant != EVERY_TENANT) {
                TenantId::new(tenant.clone())
                    .map_err(|error| faulty(format!("a tenant of `{name}`: {}", error.message)))?;
            }
            for token in &identity.tokens {
                if token.id.is_empty() || !ids.insert(&token.id) {
                    return Err(faulty(format!("a token of `{name}` has no id of its own")));
                }
                if blake3::Hash::from_hex(&token.hash).is_err() || !hashes.insert(&token.hash) {
                    return Err(faulty(format!("the hash of token {} of `{name}` is faulty or twice there", token.id)));
                }
                let times = [Some(&token.created_at), token.expires_at.as_ref()];
                if times.into_iter().flatten().any(|time| !rfc3339::is_time(time) || !time.ends_with('Z')) {
                    return Err(faulty(format!("a time of token {} of `{name}` is not RFC 3339 in UTC", token.id)));
                }
            }
        }
        Ok(())
    }
}

fn faulty(message: String) -> AdminError {
    AdminError::new(Category::InvalidArgument, message)
        .next("correct the file, or make it again: `decisiongraph identity add NAME --role ROLE --file FILE`")
}

/// An account in the accounts file of the service that came before.
#[derive(Deserialize)]
struct Account {
    account_id: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    tenant_ids: Vec<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    tokens: Vec<String>,
}

/// Makes identities of an accounts file: a list of accounts, or an object whose `accounts` or `service_accounts` is
/// one. Returns them with the permissions that have no counterpart. A short token is refused unless `accept_weak`.
pub fn import_accounts(text: &str, now: &str, accept_weak: bool) -> Result<(Vec<Identity>, Vec<String>), AdminError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Accounts {
        List(Vec<Account>),
        Named {
            #[serde(alias = "service_accounts")]
            accounts: Vec<Account>,
        },
    }
    let accounts = serde_json::from_str(text)
        .map_err(|_| faulty("this is not an accounts file: a JSON list of objects with `account_id`".to_owned()))?;
    let (Accounts::List(accounts) | Accounts::Named { accounts }) = accounts;
    let (mut identities, mut dropped) = (Vec::new(), Vec::new());
    for account in accounts {
        let may = |permission: &str| account.permissions.iter().any(|named| named == permission);
        let (mut roles, mut rights) = (BTreeSet::new(), BTreeSet::new());
        for role in &account.roles {
            match role.as_str() {
                "reader" => roles.extend([Role::Reader]),
                "writer" => roles.extend([Role::Appender, Role::Reader]),
                "admin" => {
                    roles.extend([Role::Appender, Role::Reader]);
                    rights.insert(Right::Observe);
                    rights.extend(may("projection_replay").then_some(Right::Replay));
                    rights.extend(may("projection_rebuild").then_some(Right::Rebuild));
                }
                other => dropped.push(format!("{}: role {other}", account.account_id)),
            }
        }
        let known = ["projection_replay", "projection_rebuild"];
        let lost = account.permissions.iter().filter(|permission| !known.contains(&permission.as_str()));
        dropped.extend(lost.map(|permission| format!("{}: permission {permission}", account.account_id)));
        let mut tokens = Vec::new();
        for (number, token) in account.token.iter().chain(&account.tokens).enumerate() {
            let token = token.trim();
            if token.len() < WEAK_TOKEN_BYTES && !accept_weak {
                return Err(AdminError::new(
                    Category::InvalidArgument,
                    format!("a token of `{}` is shorter than {WEAK_TOKEN_BYTES} bytes", account.account_id),
                )
                .next("give that account a new token, or take it as it is with --accept-weak"));
            }
            tokens.push(StoredToken {
                id: format!("{}-{}", account.account_id, number + 1),
                hash: hash_of(token).to_hex().to_string(),
                created_at: now.to_owned(),
                expires_at: None,
                note: Some("imported".to_owned()),
            });
        }
        identities.push(Identity {
            name: account.account_id,
            roles,
            rights,
            tenants: account.tenant_ids,
            producers: None,
            tokens,
        });
    }
    Ok((identities, dropped))
}

#[cfg(test)]
mod tests {
    use super::super::NewToken;
    use super::*;

    #[test]
    fn a_file_is_written_private_and_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("identities.json");
        let token = NewToken::draw();
        let stored = StoredToken {
            id: token.id.clone(),
            hash: token.hash(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            expires_at: None,
            note: None,
        };
        let identity = Identity {
            name: "bot".to_owned(),
            roles: [Role::Reader].into(),
            rights: [Right::Observe].into(),
            tenants: vec!["*".to_owned()],
            producers: None,
            tokens: vec![stored],
        };
        let file = IdentitiesFile { identities: vec![identity] };
        file.write(&path).expect("written");
        assert_eq!(IdentitiesFile::read(&path).expect("read"), file);
        assert!(!std::fs::read_to_string(&path).expect("text").contains(token.reveal()));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("opened");
        assert!(IdentitiesFile::read(&path).expect_err("others may read it").next.contains("chmod 600"));
        let mut twice = file.clone();
        twice.identities.extend(file.identities.clone());
        assert!(twice.write(&path).expect_err("twice").message.contains("two identities"));
    }

    #[test]
    fn accounts_keep_what_they_could_do_and_no_more() {
        let long = "t".repeat(40);
        let text = format!(
            r#"[{{"account_id":"w","roles":["writer"],"tenant_ids":["acme"],"token":"{long}"}},
                {{"account_id":"a","roles":["admin"],"permissions":["projection_replay","workflow_review"],"tenant_ids":["*"],"tokens":["{long}2"]}}]"#
        );
        let (identities, dropped) = import_accounts(&text, "2026-01-01T00:00:00Z", false).expect("accounts");
        assert_eq!(identities[0].all_rights(), [Right::Append, Right::Read].into());
        assert_eq!(identities[1].all_rights(), [Right::Append, Right::Read, Right::Observe, Right::Replay].into());
        assert_eq!(dropped, ["a: permission workflow_review"]);
        assert_eq!(identities[0].tokens[0].hash, hash_of(&long).to_hex().to_string());
        let weak = text.replace(&long, "short");
        assert!(
            import_accounts(&weak, "2026-01-01T00:00:00Z", false).expect_err("weak").next.contains("--accept-weak")
        );
        assert!(import_accounts(&weak, "2026-01-01T00:00:00Z", true).is_ok());
    }
}
