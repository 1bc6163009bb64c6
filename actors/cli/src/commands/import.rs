//! `import`: a file of events, or the log of another program; all or up to the first bad line.

mod dry_run;

use super::Context;
use super::line_source::{Input, LineSource, Next, command, credential_guard};
use crate::connection::Connection;
use crate::interrupt::{self, Asked};
use crate::output::number;
use crate::page::Page;
use crate::progress::{Lines, Style};
use crate::session::Access;
use clap::Args;
use decisiongraph_admin::moving::{MoveOptions, Moving, move_in};
use decisiongraph_engine::{Cancel, Engine};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{AdminError, AppendReply, AppendRequest, Command, ExitCode, LineVerdict, OfferedLine};
use decisiongraph_store::{Backend, DatabaseUrl, ForeignLog};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Import events from a file of JSON lines, or move a log; stop at the first bad line
///
/// Every line is checked by the reference's rules. 1,000 lines are stored together or not at all (when a file mixes
/// tenants: each run of consecutive lines of one tenant within them). It can be run again: events that are already
/// stored are recognised by their idempotency keys. A given log_seq is ignored without --keep-positions, a given
/// payload_hash is verified, a tenant_id overrides --tenant. Nothing is projected: run `decisiongraph catch-up`.
///
/// With --keep-positions a whole log moves into an empty database, all of it or nothing: each event keeps its log_seq
/// and recorded_at, so that the reference digests stay the same. --from-reference and --from-original read the log of
/// another program, which is not changed.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph import events.jsonl\n  zcat log.gz | decisiongraph import --tenant acme -\n  decisiongraph import --keep-positions --from-reference decisions.db\n  decisiongraph import --dry-run --from-original postgres://reader@db/decisions"
)]
pub struct Import {
    /// JSON lines, or - for stdin
    #[arg(value_name = "FILE", value_parser = Input::parser())]
    #[arg(required_unless_present_any = ["from_reference", "from_original"])]
    input: Option<Input>,
    /// Read the events of the Python reference's SQLite file
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    from_reference: Option<PathBuf>,
    /// Read the events of the original service's database: postgres://USER@HOST/DATABASE (password: PGPASSWORD)
    #[arg(long, value_name = "URL", conflicts_with_all = ["input", "from_reference"])]
    from_original: Option<String>,
    /// Store each event at its log_seq, with its recorded_at; the database must be empty
    #[arg(long)]
    keep_positions: bool,
    /// Store nothing: count the lines, and name each one that an empty database would refuse
    #[arg(long)]
    dry_run: bool,
    /// Rule for credentials: `patterns` refuses text with the form of one, `reference` any text that contains one of
    /// the reference's texts (sk- in task-1 too) [default: what the node is configured for; patterns]
    #[arg(long, value_name = "RULE", value_parser = credential_guard())]
    credential_guard: Option<CredentialGuard>,
}

/// Counts of stored lines, over all chunks.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Imported {
    /// Lines of the chunks that were stored.
    pub lines: u64,
    /// Events stored now.
    pub accepted: u64,
    /// Events stored before.
    pub repeated: u64,
}

/// An import under way.
struct Run {
    source: LineSource,
    asked: Asked,
    progress: Lines,
    /// True when everything is stored at the end, or nothing.
    whole: bool,
    imported: Imported,
    tenants: BTreeSet<TenantId>,
}

impl Import {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let source = self.source(context)?;
        if self.dry_run {
            return self.dry(context, source).await;
        }
        let connection = Connection::open(&context.globals.named("import"), Access::Write).await?;
        let asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let progress = Lines::start(Style::of(&context.globals), source.size);
        let (imported, tenants) = (Imported::default(), BTreeSet::new());
        let mut run = Run { source, asked, progress, whole: self.keep_positions, imported, tenants };
        let ended = match &connection {
            _ if !self.keep_positions => {
                let request = AppendRequest {
                    tenant: context.globals.tenant.clone(),
                    all_or_nothing: true,
                    credential_guard: self.credential_guard,
                    ..AppendRequest::default()
                };
                run.import(Way::Append(&connection, request)).await?
            }
            Connection::InProcess(engine) => self.keep(context, engine, &mut run).await?,
            Connection::Node(_) => return Err(self.node_is_there(context)),
        };
        let Run { mut imported, tenants, .. } = run;
        if self.keep_positions && ended != ExitCode::OK {
            imported = Imported::default();
        }
        let summary = format!(
            "{} lines: {} stored, {} stored before",
            number(imported.lines),
            number(imported.accepted),
            number(imported.repeated)
        );
        if context.output.json {
            context.output.json(&imported)?;
        } else if ended == ExitCode::OK {
            // A node applies new events without a request.
            let mut page = Page::of(summary);
            if imported.accepted > 0 && !connection.is_node() {
                page.line(format_args!("Apply them with {}.", apply(&tenants)));
            }
            context.output.page(&page)?;
        } else if self.keep_positions {
            context.output.page(&Page::of("Interrupted; nothing was stored."))?;
        } else {
            let page = Page::of(format_args!("Interrupted after {summary}. Run it again to continue."));
            context.output.page(&page)?;
        }
        Ok(ended)
    }

    /// Starts to read the lines.
    fn source(&self, context: &Context) -> Result<LineSource, AdminError> {
        match (&self.input, &self.from_reference, &self.from_original) {
            (Some(input), ..) => LineSource::start(self.command(context, self.keep_positions), input, false),
            (_, Some(path), _) => Ok(LineSource::of_log(ForeignLog::Reference(path.clone()))),
            (.., Some(url)) => match DatabaseUrl::parse(url) {
                Ok(DatabaseUrl::Postgres(url)) => Ok(LineSource::of_log(ForeignLog::Original(url))),
                _ => Err(AdminError::new(
                    Category::InvalidArgument,
                    "--from-original needs postgres://USER@HOST/DATABASE, with `%` escapes in a password",
                )),
            },
            (None, None, None) => Err(AdminError::new(Category::InvalidArgument, "FILE is missing")),
        }
    }

    /// Moves a log into an empty database.
    async fn keep(&self, context: &Context, engine: &Engine, run: &mut Run) -> Result<ExitCode, AdminError> {
        let options = MoveOptions {
            tenant: context.globals.tenant.clone(),
            credential_guard: self.credential_guard.unwrap_or(engine.config().credential_guard),
            keep: true,
            each: false,
            when_not_empty: self.when_not_empty(context, engine.store().backend()),
        };
        let mut ended = ExitCode::OK;
        let moved = move_in(&**engine.store(), options, async |moving| {
            ended = run.import(Way::Move(moving)).await?;
            Ok(ended == ExitCode::OK)
        });
        let moved = on_this_thread(moved);
        run.progress.stop();
        moved.map(|()| ended)
    }

    /// Says what to do about a database that has events.
    fn when_not_empty(&self, context: &Context, backend: Backend) -> String {
        let fresh = match backend {
            Backend::Sqlite => "sqlite:./moved.db",
            Backend::Postgres => "postgres://USER@HOST/NEW_DATABASE",
        };
        let into = self.with_input(self.command(context, true).with("--database", fresh));
        let behind = self.with_input(self.command(context, false));
        format!("move it into a new database: {into}; or append it here, at new positions: {behind}")
    }

    /// Refuses to move a log through a node.
    fn node_is_there(&self, context: &Context) -> AdminError {
        let message = "a log moves into a database directly, but a node answers here";
        let into = self.with_input(self.command(context, true).with("--database", "URL"));
        AdminError::new(Category::Conflict, message)
            .next(format!("name the database: {into}; a node that works on it continues behind the move"))
    }

    /// Returns the command without its input.
    fn command(&self, context: &Context, keep_positions: bool) -> Command {
        let command = command("import", context, self.credential_guard);
        if keep_positions { command.word("--keep-positions") } else { command }
    }

    /// Adds the input to a command, without a password.
    fn with_input(&self, command: Command) -> Command {
        match (&self.input, &self.from_reference, &self.from_original) {
            (Some(Input::File(path)), ..) => command.word(path.display()),
            (_, Some(path), _) => command.with("--from-reference", path.display()),
            (.., Some(url)) => match DatabaseUrl::parse(url) {
                Ok(url) => command.with("--from-original", url),
                Err(_) => command.with("--from-original", "URL"),
            },
            _ => command.word("-"),
        }
    }
}

/// Does this work on the present thread. The compiler cannot tell that a future with an async closure may change
/// threads.
pub fn on_this_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

/// Returns the command that applies the events of these tenants. Without tenants it covers all: a node of another
/// release did not name them.
fn apply(tenants: &BTreeSet<TenantId>) -> Command {
    match tenants.iter().collect::<Vec<_>>().as_slice() {
        [one] => Command::of("catch-up", one),
        _ => Command::about_all("catch-up --all-tenants"),
    }
}

/// Way of a chunk of lines into the log.
enum Way<'a> {
    /// Behind what is there.
    Append(&'a Connection, AppendRequest),
    /// To their places.
    Move(&'a mut Moving),
}

impl Way<'_> {
    async fn store(&mut self, lines: Vec<OfferedLine>) -> Result<AppendReply, AdminError> {
        match self {
            Way::Append(connection, request) => connection.ask(AppendRequest { lines, ..request.clone() }).await,
            Way::Move(moving) => moving.add(lines).await,
        }
    }
}

impl Run {
    /// Stores all lines, chunk by chunk.
    async fn import(&mut self, mut way: Way<'_>) -> Result<ExitCode, AdminError> {
        loop {
            let lines = match self.source.next(&mut self.asked).await? {
                Next::Lines(lines) => lines,
                Next::End => break,
                Next::Interrupted => {
                    self.progress.stop();
                    return Ok(ExitCode::INTERRUPTED);
                }
            };
            let (Some(first), Some(last)) = (lines.first(), lines.last()) else { continue };
            let (first, last) = (first.number, last.number);
            let count = lines.len() as u64;
            let reply = way.store(lines).await?;
            if let Some(refused) = reply.verdicts.first() {
                self.progress.stop();
                return Err(self.stopped(refused, &reply, first, last));
            }
            if self.tenants.len() <= 1 {
                self.tenants.extend(reply.tenants);
            }
            self.imported.lines += count;
            self.imported.accepted += reply.accepted;
            self.imported.repeated += reply.repeated;
            self.progress.at(self.source.bytes.load(Ordering::Relaxed), self.imported.lines);
        }
        self.progress.stop();
        Ok(ExitCode::OK)
    }

    /// Describes the bad line, its fault, and the events that are stored.
    fn stopped(&self, refused: &LineVerdict, reply: &AppendReply, first: u64, last: u64) -> AdminError {
        let (before, unit) = (self.imported, self.source.unit);
        let category = refused.category.unwrap_or(Category::Internal);
        let event = refused.event_id.as_deref().map(|id| format!(" (event {id})")).unwrap_or_default();
        let why = refused.message.as_deref().unwrap_or("refused");
        let stands = match (before.accepted + before.repeated, reply.accepted) {
            counts if self.whole || counts == (0, 0) => "nothing was stored".to_owned(),
            (_, 0) => format!(
                "stored before it: {} new events and {} repeats, up to {unit} {}; none of {unit}s {first} to {last}",
                number(before.accepted),
                number(before.repeated),
                first - 1
            ),
            (_, part) => format!(
                "stored before it: {} new events up to {unit} {}, and {} of other tenants in {unit}s {first} to {last}",
                number(before.accepted),
                first - 1,
                number(part)
            ),
        };
        let next = match self.source.unit {
            "line" if !self.whole => "correct the line and import the file again: stored events are recognised",
            "line" => "`--dry-run` names every line that would be refused; correct them and move the log again",
            _ => "`--dry-run` names every event that would be refused; correct them in a copy of the log and try again",
        };
        AdminError::new(category, format!("{unit} {}{event}: {why}; {stands}", refused.line)).next(next)
    }
}
