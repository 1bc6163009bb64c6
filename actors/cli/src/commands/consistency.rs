//! `consistency`: two signed heads of a log, and the proof that one continues the other.

use super::Context;
use super::evidence_file::put;
use crate::output::{number, written};
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::Category;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::read_decimal;
use decisiongraph_projections::seal::texts::Checkpoint;
use decisiongraph_protocol::foreign_text::{in_json, shown};
use decisiongraph_protocol::{AdminError, ConsistencyRequest, ExitCode};
use decisiongraph_seal::consistency::Consistency as Proof;
use decisiongraph_seal::{Accepted, Beside, Failure, Trust, audit};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Show that the sealed log only grew between two checkpoints
///
/// A and B are sizes, or two files with signed checkpoints and `--key`. With files of one size nothing else is needed:
/// two roots for one size, both well signed, are the evidence of a forked log (exit 3). With files of two sizes the
/// proof comes from the database, and is checked against the files.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph consistency 60 98 -o 60-98.consistency
  decisiongraph consistency mine.checkpoint yours.checkpoint --key \"$KEY\"")]
pub struct Consistency {
    /// Size or file of the older checkpoint
    #[arg(value_name = "A")]
    older: String,
    /// Size or file of the newer checkpoint
    #[arg(value_name = "B")]
    newer: String,
    /// Public key of the log, for files; repeat it for several keys
    #[arg(long = "key", value_name = "VKEY")]
    keys: Vec<String>,
    /// Number of the tree [default: the newest; a fork begins the next one]
    #[arg(long, value_name = "TREE")]
    tree: Option<i64>,
    /// New file for the proof [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Consistency {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        match (read_decimal(&self.older), read_decimal(&self.newer)) {
            (Ok(from), Ok(to)) => self.of_sizes(context, from, to).await,
            (Err(_), Err(_)) => self.of_files(context).await,
            _ => Err(AdminError::new(Category::InvalidArgument, "give two sizes, or two files with checkpoints")),
        }
    }

    async fn of_sizes(&self, context: &Context, from: u64, to: u64) -> Result<ExitCode, AdminError> {
        let reply = context.ask(self.request(context, from, to)).await?;
        if context.output.json && self.output.is_none() {
            context.output.reply(&reply, Page::default)?;
            return Ok(ExitCode::OK);
        }
        let of = |size: u64| number(i64::try_from(size).unwrap_or(i64::MAX));
        let what = format!("the proof that the log of {} events begins with that of {}", of(to), of(from));
        put(context.output, self.output.as_deref(), &reply.proof, &what)?;
        Ok(ExitCode::OK)
    }

    fn request(&self, context: &Context, from: u64, to: u64) -> ConsistencyRequest {
        ConsistencyRequest { tenant: context.globals.tenant.clone(), tree: self.tree, from, to }
    }

    /// Compares two files. Only those of two sizes need the database.
    async fn of_files(&self, context: &Context) -> Result<ExitCode, AdminError> {
        if self.keys.is_empty() {
            return Err(AdminError::new(Category::InvalidArgument, "files are checked with --key VKEY"));
        }
        let trust = match Trust::new(&self.keys, &[], 0) {
            Ok(trust) => trust,
            Err(failure) => return told(context, &Err(failure)),
        };
        let (older, newer) = (read(&self.older)?, read(&self.newer)?);
        let (from, to) = match (size_of(&older), size_of(&newer)) {
            (Some(from), Some(to)) => (from, to),
            // The audit says what is wrong with the file.
            (None, _) => return told(context, &audited(&older, None, &trust)),
            (_, None) => return told(context, &audited(&newer, None, &trust)),
        };
        if from == to {
            return told(context, &audited(&newer, Some(&older), &trust));
        }
        let (from, to, older, newer) = if from < to { (from, to, older, newer) } else { (to, from, newer, older) };
        let reply = context.ask(self.request(context, from, to)).await?;
        let proof = Proof::parse(&reply.proof)
            .map_err(|error| AdminError::new(Category::Internal, format!("the proof of the database: {error}")))?;
        // The notes of the files, not those of the database, are compared.
        let text = Proof { note: &newer, ..proof }.text();
        let judged = audited(&text, Some(&older), &trust);
        if let (Some(path), Ok(_)) = (&self.output, &judged) {
            put(context.output, Some(path), &text, "the proof")?;
        }
        told(context, &judged)
    }
}

fn read(path: &str) -> Result<String, AdminError> {
    std::fs::read_to_string(Path::new(path)).map_err(|error| {
        let what = format!("cannot read {path}: {error}");
        AdminError::new(Category::InvalidArgument, what).next("name two files with checkpoints, or two sizes")
    })
}

fn size_of(note: &str) -> Option<u64> {
    let note = Note::parse(note).ok()?;
    Checkpoint::parse(note.text).ok().map(|checkpoint| checkpoint.head.size)
}

fn audited(text: &str, against: Option<&str>, trust: &Trust) -> Result<Accepted, Failure> {
    audit(text.as_bytes(), Beside { against, ..Beside::default() }, trust)
}

/// Prints the verdict, and returns its exit code.
fn told(context: &Context, judged: &Result<Accepted, Failure>) -> Result<ExitCode, AdminError> {
    let code = judged.as_ref().err().map_or(ExitCode::OK, Failure::exit_code);
    let text = match (context.output.json, judged) {
        (true, Ok(accepted)) => {
            in_json(&json!({ "verdict": "accepted", "accepted": accepted }).to_string()).into_owned()
        }
        (true, Err(failure)) => {
            let (verdict, text) = ("refused", failure.to_string());
            in_json(&json!({ "verdict": verdict, "text": text, "exit": code.0 }).to_string()).into_owned()
        }
        (false, Ok(accepted)) => accepted.lines().iter().map(|line| shown(line)).collect::<Vec<_>>().join("\n"),
        (false, Err(failure)) => shown(&failure.to_string()).into_owned(),
    };
    written(writeln!(std::io::stdout(), "{text}"))?;
    Ok(code)
}
