//! Replay: the projections folded again from an export, and compared with what the log's key stated about them.
//!
//! ```text
//! export ──▶ scratch store, at its own positions ──▶ fold to each stated cursor ──▶ the stated digest?
//! source ──▶ newest statement that the export covers ──▶ its signature ───────────▶ the stated number of events?
//! ```
//!
//! *Guarantees.* The fold is that of every catch-up and verify: an engine, on a scratch store that is deleted
//! afterwards. Memory is bounded by a chunk of lines and the engine's budget. A statement is believed after its
//! signature was checked.
//!
//! *Never here:* the rows of the log's operator: the statement says what they were.

use super::source::Source;
use crate::commands::Context;
use crate::commands::import::on_this_thread;
use crate::commands::line_source::{Input, LineSource, Next, command};
use crate::interrupt;
use crate::output::{digest_short, number};
use decisiongraph_admin::moving::{MoveOptions, move_in};
use decisiongraph_cli::config;
use decisiongraph_engine::{Cancel, Control, Engine, RunRequest, VerifyOptions};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Stated, Statement, TreeHead};
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId, catalogue};
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_seal::{Refused, Trust, Trusted};
use decisiongraph_store::{Owner, RunCause, RunMode, Scope, Store};
use std::sync::Arc;
use uuid::Uuid;

/// Word of the finding that the projections of the export are not those that were stated.
pub const STATEMENT_DIFFERS: &str = "statement_differs";

/// The parts of a replay.
pub struct Replay<'m> {
    pub context: &'m Context,
    pub export: &'m Input,
    pub source: &'m Source,
    pub trust: &'m Trust,
    pub origin: &'m str,
    pub rotations: &'m [String],
}

/// Result of a replay.
pub enum Replayed {
    /// Every stated digest follows from the export.
    Agrees(String),
    /// One does not, or the export has not the events, or the statement is not signed: word, text and exit code.
    Found(&'static str, String, ExitCode),
    /// A person has stopped it.
    Interrupted,
}

impl Replay<'_> {
    /// Folds the export and compares.
    pub async fn run(&self) -> Result<Replayed, AdminError> {
        let cancel = Cancel::default();
        let asked = interrupt::asks_first(cancel.clone(), self.context.output.json);
        let no_folder = |error: std::io::Error| {
            AdminError::new(Category::Storage, format!("no folder for the replay: {error}"))
                .next("set TMPDIR to a writable folder with as much space as the log and its projections")
        };
        let folder = tempfile::Builder::new().prefix("decisiongraph-replay-").tempdir().map_err(no_folder)?;
        let store = decisiongraph_store::sqlite::scratch(&folder.path().join("replay.db")).await?;
        if !self.read(&*store, asked).await? {
            return Ok(Replayed::Interrupted);
        }
        let tenant = self.context.globals.tenant.clone().unwrap_or_default();
        let last = store.view().await?.last_log_seq(&tenant, None).await?;
        let Some(note) = self.source.statement_upto(last).await? else {
            let what =
                format!("the source has no statement about events up to log_seq {}, where the export ends", last.0);
            return Err(AdminError::new(Category::NotFound, what)
                .next("export the log again, or name a source with older statements: a place keeps all of them"));
        };
        let statement = match self.believed(&note) {
            Ok(statement) => statement,
            Err(Refused { finding, text }) => return Ok(Replayed::Found(finding.as_str(), text, finding.exit_code())),
        };
        if let Some(differs) = counted(&*store, &tenant, &statement).await? {
            return Ok(differs);
        }
        let owner = Owner { node: format!("monitor:{}", std::process::id()), incarnation: Uuid::new_v4() };
        let engine = Engine::new(Arc::clone(&store), owner, config::engine_from_environment()?);
        let control = Control { cancel: cancel.clone(), ..Control::default() };
        for together in statement.projections.chunk_by(|one, next| one.cursor == next.cursor) {
            let projections = together.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            let stopped = folded(&engine, &control, &tenant, &projections, together[0].cursor).await?;
            if cancel.is_requested() {
                return Ok(Replayed::Interrupted);
            }
            for (stated, projection) in together.iter().zip(projections) {
                let row = store.view().await?.scope(&Scope::new(&tenant, projection)).await?;
                let digest = row.map_or_else(RollingDigest::default, |row| row.position.digest).to_text();
                let stopped = stopped.iter().find(|(name, _)| *name == stated.name).map(|(_, why)| &**why);
                if stopped.is_some() || digest != stated.digest {
                    return Ok(differs(&statement, stated, &digest, stopped));
                }
            }
        }
        let names: Vec<&str> = statement.projections.iter().map(|stated| &*stated.name).collect();
        Ok(Replayed::Agrees(format!(
            "replayed: {} events give the digests of the statement of {} about {}",
            whole(statement.head.size),
            statement.time,
            names.join(", ")
        )))
    }

    /// Reads the export into the store. False when a person has stopped it.
    async fn read(&self, store: &dyn Store, mut asked: interrupt::Asked) -> Result<bool, AdminError> {
        let shown = command("monitor", self.context, None).word("SOURCE").word("--replay");
        let mut source = LineSource::start(shown, self.export, false)?;
        let credential_guard = config::engine_from_environment()?.credential_guard;
        let tenant = self.context.globals.tenant.clone();
        let options = MoveOptions { tenant, credential_guard, keep: true, ..MoveOptions::default() };
        let mut whole = false;
        let moved = move_in(store, options, async |moving| {
            loop {
                let lines = match source.next(&mut asked).await? {
                    Next::Lines(lines) => lines,
                    Next::End => {
                        whole = true;
                        return Ok(true);
                    }
                    Next::Interrupted => return Ok(false),
                };
                let reply = moving.add(lines).await?;
                if let Some(refused) = reply.verdicts.first() {
                    let why = refused.message.as_deref().unwrap_or("refused");
                    let what = format!("line {} of the export: {why}", refused.line);
                    return Err(AdminError::new(refused.category.unwrap_or(Category::SchemaViolation), what)
                        .next("take the lines that an export of the whole log gives, from the first event on"));
                }
            }
        });
        on_this_thread(moved)?;
        Ok(whole)
    }

    /// Checks the signature of a statement.
    fn believed(&self, note: &str) -> Result<Statement, Refused> {
        let TreeHead { size, root } = Statement::parse(Note::parse(note)?.text)?.head;
        let origin = self.origin.to_owned();
        let about = Trusted { origin, size, root, signed_by: Vec::new(), witnesses: Vec::new() };
        self.trust.statement(note, &about, self.rotations)
    }
}

/// Compares the number of events with the size of the tree that was signed.
async fn counted(store: &dyn Store, tenant: &TenantId, said: &Statement) -> Result<Option<Replayed>, AdminError> {
    let last = LogSeq(i64::try_from(said.last_log_seq).unwrap_or(i64::MAX));
    let events = store.view().await?.count_events(tenant, LogSeq::ORIGIN, last, u64::MAX >> 1).await?;
    let word = match events.cmp(&said.head.size) {
        std::cmp::Ordering::Equal => return Ok(None),
        std::cmp::Ordering::Less => "event_missing",
        std::cmp::Ordering::Greater => "event_inserted",
    };
    let (has, sealed, at) = (whole(events), whole(said.head.size), last.0);
    let text = format!(
        "the export has {has} events up to log_seq {at}, and {sealed} were sealed; it must have all from the first on"
    );
    Ok(Some(Replayed::Found(word, text, ExitCode::DRIFT)))
}

/// Finds the projection that was stated, in the rules of the same version.
fn known(stated: &Stated) -> Result<&'static dyn Projection, AdminError> {
    let known = catalogue::find(&stated.name);
    let same = known.filter(|known| u64::try_from(known.version()).ok() == Some(stated.rules_version));
    same.ok_or_else(|| {
        let (name, version) = (&stated.name, stated.rules_version);
        let what =
            format!("the statement is about version {version} of the rules of {name}, which this program has not");
        AdminError::new(Category::VersionMismatch, what)
            .next("replay with the release of `decisiongraph` that has them")
    })
}

/// Folds the log up to a cursor. Returns the projections that stopped before it, and why.
async fn folded(
    engine: &Engine,
    control: &Control,
    tenant: &TenantId,
    projections: &[&'static dyn Projection],
    cursor: u64,
) -> Result<Vec<(String, String)>, AdminError> {
    if cursor == 0 {
        return Ok(Vec::new());
    }
    let request = RunRequest {
        tenant: tenant.clone(),
        projections: projections.to_vec(),
        mode: RunMode::CatchUp,
        until: Some(LogSeq(i64::try_from(cursor).unwrap_or(i64::MAX))),
        cause: RunCause::default(),
        verify: VerifyOptions::default(),
    };
    let report = engine.run(&request, control).await?;
    let stopped = report.scopes.into_iter().filter_map(|scope| Some((scope.projection, scope.failure?)));
    Ok(stopped
        .map(|(name, failure)| (name, format!("at log_seq {}: {}", failure.log_seq.0, failure.message)))
        .collect())
}

fn differs(said: &Statement, stated: &Stated, digest: &str, stopped: Option<&str>) -> Replayed {
    let Stated { name, cursor, digest: said_digest, .. } = stated;
    let gives = match stopped {
        Some(stopped) => format!("the export stops it {stopped}"),
        None => format!("the export gives {}", digest_short(digest)),
    };
    let (time, said_digest) = (&said.time, digest_short(said_digest));
    let text = format!("{name} at cursor {cursor}: the statement of {time} says {said_digest}, {gives}");
    Replayed::Found(STATEMENT_DIFFERS, text, ExitCode::DRIFT)
}

fn whole(size: u64) -> String {
    number(i64::try_from(size).unwrap_or(i64::MAX))
}
