//! `identity`: the callers of the HTTP interface, and their tokens.

use super::Context;
use crate::output::number;
use crate::page::Page;
use clap::{Args, Subcommand, ValueEnum};
use decisiongraph_http::identities::{
    IdentitiesFile, Identity as Caller, NewToken, Role, StoredToken, import_accounts, now,
};
use decisiongraph_projections::Category;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, ExitCode, Right};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Manage who may use the HTTP interface: identities, their rights and tenants, and their tokens
///
/// Identities are in a file that its owner alone can read, the same on every node (`identities_file`). A running node
/// reads it again when it changes. A token is printed once, when it is made; the file has only its hash.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph identity add support-bot --role appender --tenants acme --file identities.json\n  decisiongraph identity rotate support-bot --file identities.json\n  decisiongraph identity revoke support-bot --token 1a2b3c4d --file identities.json"
)]
pub struct Identity {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Add an identity, and print its token
    Add {
        /// Name in the record of changes
        name: String,
        /// Role; may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<RoleWord>,
        /// Single right beside the roles; may be repeated
        #[arg(long = "right", value_name = "RIGHT")]
        rights: Vec<String>,
        /// Tenants whose logs it may reach, with commas between them; `*` is every tenant
        #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "default")]
        tenants: Vec<String>,
        /// Producer whose events it may append; any when none
        #[arg(long = "producer", value_name = "PRODUCER")]
        producers: Vec<String>,
        #[command(flatten)]
        token: TokenFlags,
        #[command(flatten)]
        file: FileFlag,
    },
    /// List identities, without tokens
    List {
        #[command(flatten)]
        file: FileFlag,
    },
    /// Add a token to an identity, and print it; the earlier tokens stay until they are revoked
    Rotate {
        /// Name of the identity
        name: String,
        #[command(flatten)]
        token: TokenFlags,
        #[command(flatten)]
        file: FileFlag,
    },
    /// Remove a token, or a whole identity
    Revoke {
        /// Name of the identity
        name: String,
        /// Id of the token; the whole identity when none
        #[arg(long, value_name = "ID")]
        token: Option<String>,
        #[command(flatten)]
        file: FileFlag,
    },
    /// Add the accounts of the original service's accounts file
    Import {
        /// Accounts file (JSON)
        accounts: PathBuf,
        /// Take tokens of fewer than 32 characters, too
        #[arg(long)]
        accept_weak: bool,
        #[command(flatten)]
        file: FileFlag,
    },
}

#[derive(Args)]
struct FileFlag {
    /// File of the identities; made when it is missing
    #[arg(long, value_name = "FILE", env = "DECISIONGRAPH_IDENTITIES_FILE")]
    file: PathBuf,
}

#[derive(Args)]
struct TokenFlags {
    /// Time from which the token is refused, RFC 3339 in UTC, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Purpose of the token
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleWord {
    Appender,
    Reader,
    Auditor,
    Operator,
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Appender => Role::Appender,
            RoleWord::Reader => Role::Reader,
            RoleWord::Auditor => Role::Auditor,
            RoleWord::Operator => Role::Operator,
            RoleWord::Admin => Role::Admin,
        }
    }
}

/// An identity as it is listed.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    roles: &'a BTreeSet<Role>,
    rights: BTreeSet<Right>,
    tenants: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    producers: Option<&'a [String]>,
    tokens: Vec<serde_json::Value>,
}

impl Identity {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        match self.verb {
            Verb::Add { name, roles, rights, tenants, producers, token, file } => {
                let rights = rights.iter().map(|word| right(word)).collect::<Result<_, _>>()?;
                let roles: BTreeSet<Role> = roles.into_iter().map(Role::from).collect();
                if roles.is_empty() && BTreeSet::is_empty(&rights) {
                    return Err(AdminError::new(Category::InvalidArgument, "an identity needs a role or a right")
                        .next("add --role reader, appender, auditor, operator or admin"));
                }
                let mut all = read_or_new(&file.file)?;
                if all.identities.iter().any(|identity| identity.name == name) {
                    return Err(AdminError::new(Category::Conflict, format!("there is an identity `{name}` already"))
                        .next(format!(
                            "give it another token: `decisiongraph identity rotate {} --file {}`",
                            shell_word(&name),
                            shell_word(&file.file.to_string_lossy())
                        )));
                }
                let drawn = NewToken::draw();
                let producers = (!producers.is_empty()).then_some(producers);
                let tokens = vec![token.stored(&drawn)];
                all.identities.push(Caller { name: name.clone(), roles, rights, tenants, producers, tokens });
                all.write(&file.file)?;
                show_token(context, &name, &drawn)
            }
            Verb::Rotate { name, token, file } => {
                let mut all = IdentitiesFile::read(&file.file)?;
                let drawn = NewToken::draw();
                all.find(&name)?.tokens.push(token.stored(&drawn));
                all.write(&file.file)?;
                show_token(context, &name, &drawn)
            }
            Verb::Revoke { name, token, file } => {
                let mut all = IdentitiesFile::read(&file.file)?;
                let identity = all.find(&name)?;
                let what = match token {
                    None => {
                        all.identities.retain(|identity| identity.name != name);
                        format!("identity {name} is removed")
                    }
                    Some(id) => {
                        let before = identity.tokens.len();
                        identity.tokens.retain(|token| token.id != id);
                        if identity.tokens.len() == before {
                            let error = format!("identity `{name}` has no token `{id}`");
                            return Err(AdminError::new(Category::NotFound, error)
                                .next("`decisiongraph identity list` shows the ids of tokens"));
                        }
                        format!("token {id} of {name} is revoked")
                    }
                };
                all.write(&file.file)?;
                said(context, &what)
            }
            Verb::List { file } => list(context, &IdentitiesFile::read(&file.file)?),
            Verb::Import { accounts, accept_weak, file } => {
                let text = std::fs::read_to_string(&accounts).map_err(|error| {
                    let message = format!("cannot read {}: {error}", accounts.display());
                    AdminError::new(Category::InvalidArgument, message).next("check the path")
                })?;
                let (identities, dropped) = import_accounts(&text, &now(), accept_weak)?;
                let mut all = read_or_new(&file.file)?;
                let count = identities.len();
                all.identities.extend(identities);
                all.write(&file.file)?;
                for lost in &dropped {
                    context.output.notice(&Page::of(format_args!("{lost} has no counterpart here and is left out")));
                }
                said(context, &format!("{} added", number(count as i64)))
            }
        }
    }
}

impl TokenFlags {
    fn stored(self, drawn: &NewToken) -> StoredToken {
        StoredToken {
            id: drawn.id.clone(),
            hash: drawn.hash(),
            created_at: now(),
            expires_at: self.expires_at,
            note: self.note,
        }
    }
}

fn right(word: &str) -> Result<Right, AdminError> {
    serde_json::from_value(word.into()).map_err(|_| {
        AdminError::new(Category::InvalidArgument, format!("there is no right `{word}`"))
            .next("one of append, read, prove, observe, audit, replay, rebuild, steer, cordon")
    })
}

fn read_or_new(path: &Path) -> Result<IdentitiesFile, AdminError> {
    if path.exists() { IdentitiesFile::read(path) } else { Ok(IdentitiesFile::default()) }
}

/// Prints a token: the only time that it is shown.
fn show_token(context: &Context, name: &str, token: &NewToken) -> Result<ExitCode, AdminError> {
    if context.output.json {
        context.output.json(&json!({ "name": name, "token_id": token.id, "token": token.reveal() }))?;
    } else {
        let mut page = Page::default();
        page.line(format_args!("{}", token.reveal()));
        context.output.page(&page)?;
        context.output.notice(&Page::of(format_args!(
            "token {} of {name}; it is shown this once, keep it in a file of mode 600",
            token.id
        )));
    }
    Ok(ExitCode::OK)
}

fn said(context: &Context, what: &str) -> Result<ExitCode, AdminError> {
    if context.output.json {
        context.output.json(&json!({ "done": what }))?;
    } else {
        context.output.page(&Page::of(what))?;
    }
    Ok(ExitCode::OK)
}

fn list(context: &Context, file: &IdentitiesFile) -> Result<ExitCode, AdminError> {
    let shown: Vec<Shown<'_>> = file
        .identities
        .iter()
        .map(|identity| Shown {
            name: &identity.name,
            roles: &identity.roles,
            rights: identity.all_rights(),
            tenants: &identity.tenants,
            producers: identity.producers.as_deref(),
            tokens: identity
                .tokens
                .iter()
                .map(|token| {
                    json!({ "id": token.id, "created_at": token.created_at, "expires_at": token.expires_at, "note": token.note })
                })
                .collect(),
        })
        .collect();
    if context.output.json {
        context.output.json(&json!({ "identities": shown }))?;
        return Ok(ExitCode::OK);
    }
    let mut page = Page::default();
    for identity in &shown {
        let words: Vec<&str> = identity.roles.iter().map(|role| role.as_str()).collect();
        let ids: Vec<&str> = identity.tokens.iter().filter_map(|token| token["id"].as_str()).collect();
        page.line(format_args!(
            "{}: {}; tenants {}; tokens {}",
            identity.name,
            words.join(", "),
            identity.tenants.join(", "),
            if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
        ));
    }
    context.output.page(&page)?;
    Ok(ExitCode::OK)
}
