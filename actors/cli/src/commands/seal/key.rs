//! `seal key`: the key that signs the log's checkpoints.
//!
//! *Guarantees.* The private key is in its file, and in memory of the process that signs. No output has it.

use crate::commands::Context;
use crate::connection::me;
use crate::globals::Globals;
use crate::page::Page;
use crate::sealing::{directory, refused};
use crate::session::{Access, Location, data_dir};
use clap::{Args, Subcommand};
use decisiongraph_cli::config;
use decisiongraph_cli::config::seal::{SEAL_KEY, SealConfig};
use decisiongraph_engine::seal::rotation::{Rotated, rotate};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::note::{Note, Signed, signed};
use decisiongraph_projections::seal::texts::origin_of;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, Asker, ExitCode, SealStatusRequest, check_reason};
use decisiongraph_seal::SigningKeys;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::signatures::Signatures;
use decisiongraph_store::{ChangeEnd, ChangeOutcome, DatabaseUrl, NewChange};
use serde_json::json;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Make, show, check or replace the key that signs the log's checkpoints
///
/// One Ed25519 key per deployment, in a file of its own: outside the database and its directory, readable by its owner
/// alone. Auditors get the public key, `NAME+ID+BASE64`, per log. Give them that line in another way than the evidence.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph seal key new --name decisions.example.com -o /etc/decisiongraph/seal.key
  decisiongraph seal key show --tenant acme
  decisiongraph seal key check
  decisiongraph seal key rotate --to /etc/decisiongraph/seal-2027.key --reason \"yearly\"")]
pub struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a key, in a new file that only its owner can read
    New {
        /// Name of the deployment [default: seal_name]
        #[arg(long)]
        name: Option<String>,
        /// The new file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Show the public key, and the verifier key of each log
    ///
    /// Logs are read from the database or the node. With --tenant and neither of them, the name is made of `seal_name`.
    Show {
        #[command(flatten)]
        file: KeyFile,
    },
    /// Sign and verify once
    Check {
        #[command(flatten)]
        file: KeyFile,
    },
    /// Replace the key: both keys sign a note, and both sign everything for `seal_overlap_days`
    ///
    /// A running node of this machine takes the new key within a second, without a restart: `rotations.jsonl` in
    /// `seal_dir` leads from the configured file to the new one. It is one command per node, on every node with the
    /// same FILE; the note is made once. Until every node has the key, an auditor who knows the rotation refuses what a
    /// node without it signs, for the former key does not count alone above the size in the note. `seal status` names
    /// the nodes that lack it, as far as they are linked. Then name the new file in the configuration. The old file may
    /// be deleted when the overlap is over, or at once when the key was stolen.
    Rotate {
        /// File of the new key; made when it is missing
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Reason, kept in the record of changes
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Args)]
struct KeyFile {
    /// The key file [default: seal_key_file, else seal.key in the data directory]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Key {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        match self.verb {
            Verb::New { name, output } => new(context, name, &output),
            Verb::Show { file } => show(context, file.file).await,
            Verb::Check { file } => check(context, file.file),
            Verb::Rotate { to, reason } => replace(context, &to, reason).await,
        }
    }
}

fn new(context: &Context, name: Option<String>, output: &Path) -> Result<ExitCode, AdminError> {
    let name = match name {
        Some(name) => name,
        None => config::from_environment()?.1.name,
    };
    if let Some(fault) = (SealConfig { name: name.clone(), ..SealConfig::default() }).name_fault() {
        return Err(AdminError::new(Category::InvalidArgument, fault));
    }
    let key = make(context, &name, output)?;
    if context.output.json {
        context.output.json(&json!({ "file": output, "name": name, "public_key": public(&key) }))?;
        return Ok(ExitCode::OK);
    }
    let mut page = Page::of(format_args!("key of {name}: {}", output.display()));
    page.line(format_args!("public key: {}", public(&key)));
    let file = output.to_string_lossy();
    let flag = shell_word(&file);
    page.line("next: name it with seal_key_file, and keep a copy where the database's backups are not");
    page.line(format_args!("      `decisiongraph seal key show --file {flag}` prints the keys for auditors"));
    context.output.page(&page)?;
    Ok(ExitCode::OK)
}

/// Makes a key file, unless it would lie beside the database.
fn make(context: &Context, name: &str, path: &Path) -> Result<SigningKey, AdminError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(database) = database_directory(&context.globals)?
        && let (Ok(parent), Ok(database)) = (parent.canonicalize(), database.canonicalize())
        && parent.starts_with(&database)
    {
        let text = format!("{} is in the directory of the database, {}", path.display(), database.display());
        return Err(AdminError::new(Category::InvalidArgument, text)
            .next("name a file elsewhere: a copy of the database must not bring the key with it"));
    }
    SigningKey::create(name, path).map_err(refused)
}

/// Returns the directory of an embedded database.
fn database_directory(globals: &Globals) -> Result<Option<PathBuf>, AdminError> {
    let variable = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    match globals.database.clone().or_else(variable) {
        Some(url) => match DatabaseUrl::parse(&url)? {
            DatabaseUrl::Sqlite(path) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(Some(parent.unwrap_or(Path::new(".")).to_owned()))
            }
            DatabaseUrl::Postgres(_) => Ok(None),
        },
        None => Ok(data_dir(globals).ok()),
    }
}

/// Reads the keys that sign: those of the file, after the rotations of this node.
fn keys(globals: &Globals, file: Option<PathBuf>) -> Result<(SigningKeys, SealConfig), AdminError> {
    let config = config::from_environment()?.1;
    let file = match file.or_else(|| config.key_file.clone()) {
        Some(file) => file,
        None => data_dir(globals)?.join(SEAL_KEY),
    };
    let directory = directory(&config, || data_dir(globals))?;
    Ok((SigningKeys::read(&file, &directory).map_err(refused)?, config))
}

fn public(key: &SigningKey) -> String {
    base64(&key.verifier("a/b").public)
}

async fn show(context: &Context, file: Option<PathBuf>) -> Result<ExitCode, AdminError> {
    let (keys, config) = keys(&context.globals, file)?;
    let logs = match logs(context).await {
        Ok(logs) if !logs.is_empty() => logs,
        // Without a database: the names that logs get by themselves.
        _ => {
            let tenant = context.globals.tenant.clone().unwrap_or_default();
            let origin = origin_of(&config.name, &tenant);
            vec![(tenant, origin)]
        }
    };
    let publics: Vec<String> = keys.verifiers("a/b").iter().map(|key| base64(&key.public)).collect();
    let of = |origin: &str| keys.verifiers(origin).iter().map(ToString::to_string).collect::<Vec<_>>();
    if context.output.json {
        let shown = |(tenant, origin): &(TenantId, String)| {
            let mut verifiers = of(origin).into_iter();
            let (key, former) = (verifiers.next(), verifiers.next());
            json!({ "tenant": tenant, "origin": origin, "key": key, "former_key": former })
        };
        let logs: Vec<_> = logs.iter().map(shown).collect();
        let former = publics.get(1);
        let (name, public_key) = (keys.name(), publics.first());
        let since = keys.rotated_at();
        context.output.json(&json!({
            "name": name, "public_key": public_key, "former_public_key": former, "rotated_at": since, "logs": logs,
        }))?;
        return Ok(ExitCode::OK);
    }
    let mut page = Page::of(format_args!("name: {}", keys.name()));
    for (public, word) in publics.iter().zip(["public key", "former public key"]) {
        page.line(format_args!("{word}: {public}"));
    }
    if let Some(since) = keys.rotated_at() {
        page.line(format_args!("replaced at: {since}"));
    }
    page.line(
        "The public key is the same in every log. The verifier key names one log, too: auditors pass it as --key.",
    );
    for (tenant, origin) in &logs {
        let words = ["verifier key", "former verifier key"];
        for (verifier, word) in of(origin).iter().zip(words) {
            page.line(format_args!("{word} of tenant {tenant}:"));
            page.line(format_args!("  {verifier}"));
        }
    }
    context.output.page(&page)?;
    Ok(ExitCode::OK)
}

/// Lists the logs of the database or the node, with their names.
async fn logs(context: &Context) -> Result<Vec<(TenantId, String)>, AdminError> {
    let (mut logs, mut after) = (Vec::new(), None);
    let connection = crate::connection::Connection::open(&context.globals, Access::Read).await?;
    loop {
        let tenant = context.globals.tenant.clone();
        let reply = connection.ask(SealStatusRequest { tenant, after, limit: None }).await?;
        after = reply.seals.last().map(|last| last.tenant.clone());
        logs.extend(reply.seals.into_iter().filter_map(|seal| Some((seal.tenant, seal.tree?.origin))));
        if !reply.more || after.is_none() {
            return Ok(logs);
        }
    }
}

fn check(context: &Context, file: Option<PathBuf>) -> Result<ExitCode, AdminError> {
    let (keys, _) = keys(&context.globals, file)?;
    let path = keys.file().map_err(refused)?.unwrap_or_default();
    let key = SigningKey::read(&path).map_err(refused)?;
    let (origin, text) = (format!("{}/check", key.name()), "a check of the key\n");
    let note = signed(text, &[key.sign(&origin, text).map_err(refused)?]);
    let verified = Note::parse(&note).is_ok_and(|note| {
        note.signed_by(&key.verifier(&origin), &Signatures).is_ok_and(|signed| signed == Signed::Yes)
    });
    if !verified {
        return Err(AdminError::new(Category::Internal, "the key's signature does not verify"));
    }
    if context.output.json {
        context.output.json(&json!({ "file": path, "name": key.name(), "public_key": public(&key), "ok": true }))?;
    } else {
        let (file, name) = (path.display(), key.name());
        context.output.page(&Page::of(format_args!("{file}: the key of {name} signs, and its signature verifies")))?;
    }
    Ok(ExitCode::OK)
}

async fn replace(context: &Context, to: &Path, reason: String) -> Result<ExitCode, AdminError> {
    check_reason(&reason)?;
    let engine = Location::resolve(&context.globals)?.open(&context.globals, Access::Write).await?;
    let sealing = engine.sealing().ok_or_else(|| {
        AdminError::new(Category::InvalidArgument, "there is no key to replace: nothing is sealed here")
            .next("make a key with `decisiongraph seal key new`, and name it with seal_key_file")
    })?;
    let made = if to.exists() { false } else { make(context, &sealing.keys.name(), to).map(|_| true)? };
    let asker = Asker::here(me()).of_change(Uuid::now_v7());
    let (through, process) = (engine.owner().node.clone(), Some(engine.owner().incarnation));
    let subject = Some(to.display().to_string());
    let change = NewChange {
        what: "seal_key_rotate".to_owned(),
        asker,
        through,
        process,
        reason,
        subject,
        ..NewChange::default()
    };
    let change_id = engine.store().note_change(&change).await?;
    let done = rotate(&engine, sealing, to).await;
    let end = match &done {
        Ok(_) => ChangeEnd { outcome: ChangeOutcome::Accepted, code: None, message: "done".to_owned() },
        Err(error) => ChangeEnd {
            outcome: ChangeOutcome::Failed,
            code: Some(error.category.to_string()),
            message: error.message.clone(),
        },
    };
    // The change itself is done or not, whatever becomes of the record of its end.
    let _ = engine.store().end_change(change_id, &end).await;
    told(context, to, made, &done?)
}

fn told(context: &Context, to: &Path, made: bool, rotated: &[Rotated]) -> Result<ExitCode, AdminError> {
    if context.output.json {
        let shown = |log: &Rotated| {
            let Rotated { tenant, origin, size, verifier, is_new } = log;
            json!({ "tenant": tenant, "origin": origin, "size": size, "key": verifier, "new_note": is_new })
        };
        let logs: Vec<_> = rotated.iter().map(shown).collect();
        context.output.json(&json!({ "file": to, "made": made, "logs": logs }))?;
        return Ok(ExitCode::OK);
    }
    let verb = if made { "made, and signs" } else { "signs" };
    let mut page = Page::of(format_args!("{}: the key is {verb} from now on, beside the former one", to.display()));
    for Rotated { tenant, size, verifier, is_new, .. } in rotated {
        let note = if *is_new { "a rotation note was signed" } else { "the rotation note is there already" };
        page.line(format_args!("tenant {tenant}: {note}, above {size} events the former key does not count alone"));
        page.line(format_args!("  {verifier}"));
    }
    page.line(
        "next: run this on every other node now, with the same file: it is one command per node. Until then, an auditor",
    );
    page.line(
        "      who knows the rotation may refuse what a node without the new key signs (`decisiongraph seal status`",
    );
    page.line(
        "      names linked nodes that lack it). Then tell auditors the new keys, and name the file in seal_key_file.",
    );
    page.line("      An auditor who was never told cannot know that the former key was replaced");
    context.output.page(&page)?;
    Ok(ExitCode::OK)
}
