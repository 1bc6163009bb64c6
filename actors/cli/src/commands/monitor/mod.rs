//! `monitor`: the memory of an auditor. It looks at a log's signed checkpoints from outside, and remembers each.

mod metrics;
mod replay;
mod round;
mod source;

use super::Context;
use super::line_source::Input;
use crate::interrupt;
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_seal::Trust;
use decisiongraph_seal::place::NoteFile;
use metrics::Metrics;
use replay::Replay;
use round::{Round, Seen};
use source::Source;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Watch a log's signed checkpoints from outside: each must be signed, continue the one before, and not be too old
///
/// SOURCE is a place (dir:PATH, objects:PATH), a node's HTTP address, or a database. A node or a database gives the
/// proof that a log only grew. A place has notes alone: there, checkpoints of one size are compared, and signatures and
/// sizes; the output says so. Every head that was seen is in the state file: keep it where the operators of the log
/// cannot write. A log without new events has no new checkpoint, so --max-age is longer than its longest silence.
///
/// --replay folds an export of the log and compares every projection with the newest signed statement that the export
/// covers: the number of events, and the digest at each cursor. An event that an operator skipped shows as a
/// difference. A line that the credential guard refuses ends the replay. What no
/// projection reads is in no digest: a pack or a proof shows whole events.
///
/// --metrics serves what the last look saw as Prometheus text (/metrics), and its finding as a probe (/readyz). With it
/// a finding does not end the command: it stands on the page.
#[derive(Args)]
#[command(after_help = "Examples (KEY is the line of `seal key show` for the log):
  decisiongraph monitor dir:/mnt/seals --key \"$KEY\" --state heads.jsonl --once --max-age 60
  decisiongraph monitor http://127.0.0.1:4100 --token-file token --tenant acme --key \"$KEY\" --state heads.jsonl
  decisiongraph monitor postgres://auditor@db/decisions --key \"$KEY\" --state heads.jsonl --every 300 --metrics 127.0.0.1:9465
  decisiongraph monitor dir:/mnt/seals --key \"$KEY\" --state heads.jsonl --once --replay export.jsonl

Metrics, each with the log's name: decisiongraph_monitor_checkpoint_size, …_checkpoint_age_seconds,
…_looked_timestamp_seconds, …_verified_timestamp_seconds, …_findings by word (1 while it stands)

Exit codes:
  0  the newest checkpoint is signed, and continues everything that was seen
  2  the folder is not there; with --once: it has other files, and no checkpoint of this log
  3  it contradicts what was seen: the log was changed, cut off or forked; or an export gives other projections
  4  it is not a checkpoint of this log, or the export is none
  5  the source has no statement that the export covers
  8  it is not signed by the key
  10 with --once: it is older than --max-age, or there is none")]
pub struct Monitor {
    /// Place, node or database
    source: String,
    /// Public key of the log, as its operator published it; repeat it for several keys
    #[arg(long = "key", value_name = "VKEY", required = true)]
    keys: Vec<String>,
    /// File that remembers every head; made when it is missing
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Look once
    #[arg(long)]
    once: bool,
    /// Age of the newest checkpoint from which it is reported
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// Pause between two looks, 1 to 86400
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: u64,
    /// Fold this export (JSON lines, or - for stdin), and compare it with the newest statement that it covers
    #[arg(long, value_name = "FILE", value_parser = Input::parser(), requires = "once")]
    replay: Option<Input>,
    /// Serve metrics and probes on this address
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "once")]
    metrics: Option<SocketAddr>,
    /// File with the token for the node's HTTP interface, not readable by other users
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Monitor {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        // A replay has a folder to remove.
        if self.replay.is_none() {
            interrupt::ends_at_once();
        }
        let trust = Trust::new(&self.keys, &[], 0)
            .map_err(|failure| AdminError::new(Category::InvalidArgument, failure.to_string()))?;
        let origin = self.keys.first().and_then(|key| key.split('+').next()).unwrap_or_default().to_owned();
        let source = Source::open(context, &self.source, &origin, self.token_file.as_deref())?;
        let round = Round {
            source: &source,
            trust: &trust,
            origin: &origin,
            state: NoteFile::new(&self.state, 0o644),
            max_age: self.max_age.map(Duration::from_secs),
        };
        let metrics = match self.metrics {
            Some(address) => Some(Metrics::start(address, &origin).await?),
            None => None,
        };
        if let Some(metrics) = &metrics {
            context.output.notice(&Page::of(format_args!("metrics: {}", metrics.url())));
        }
        let mut before = None;
        loop {
            let (exit, lines) = match self.look(context, &round).await {
                Ok(seen) => {
                    metrics.iter().for_each(|metrics| metrics.saw(&seen));
                    tell_json(context, &origin, &seen)?;
                    (seen.exit, seen.lines())
                }
                // A source that is away for a while is a source whose checkpoint gets old.
                Err(error) if !self.once && error.category == Category::Unavailable => {
                    metrics.iter().for_each(|metrics| metrics.away(&error.message));
                    (ExitCode::UNAVAILABLE, vec![error.message])
                }
                Err(error) => return Err(error),
            };
            if !context.output.json && (self.once || before.as_ref() != Some(&lines)) {
                let mut page = Page::default();
                lines.iter().for_each(|line| page.line(line));
                context.output.page(&page)?;
            }
            let is_finding = matches!(exit, ExitCode::DRIFT | ExitCode::DATA_REFUSED | ExitCode::UNAUTHORIZED);
            if self.once || (is_finding && metrics.is_none()) {
                return Ok(exit);
            }
            before = Some(lines);
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }

    /// Looks once, and replays an export if there is one and nothing was found.
    async fn look(&self, context: &Context, round: &Round<'_>) -> Result<Seen, AdminError> {
        let mut seen = round.look().await?;
        if let Some(export) = self.replay.as_ref().filter(|_| seen.word().is_none() && seen.exit != ExitCode::USAGE) {
            let rotations = &round.rotations().await?;
            let Round { source, trust, origin, .. } = round;
            seen.replayed(Replay { context, export, source, trust, origin, rotations }.run().await?);
        }
        Ok(seen)
    }
}

fn tell_json(context: &Context, origin: &str, seen: &Seen) -> Result<(), AdminError> {
    match context.output.json {
        true => context.output.json(&seen.json(origin)),
        false => Ok(()),
    }
}
