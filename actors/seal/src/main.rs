//! `decisiongraph-audit`: checks evidence about a log with public keys, and nothing else.

use clap::Parser;
use decisiongraph_protocol::ExitCode;
use decisiongraph_protocol::foreign_text::{in_json, shown};
use decisiongraph_seal::{Accepted, Beside, Failure, Trust, audit};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

/// Shown behind the help of the flags.
const MORE: &str = "\
Examples (KEY is the public key of the log, as its operator published it):
  decisiongraph-audit lead-17.pack --key \"$KEY\"
  decisiongraph-audit lead-17.pack --key \"$KEY\" --witness \"$WITNESS\" --quorum 1 --json
  decisiongraph-audit lead-17.pack --policy witnesses.policy
  decisiongraph-audit lead-17-3.proof --event lead-17-3.json --key \"$KEY\"
  decisiongraph-audit june.checkpoint --against mine.checkpoint --key \"$KEY\"
  decisiongraph-audit may-to-june.consistency --against may.checkpoint --key \"$KEY\"

Exit codes:
  0  accepted
  2  wrong flags, or a file that cannot be read
  3  refused: the file differs from what was signed
  4  refused: the file is malformed
  8  refused: not signed by the keys that you named, or by too few witnesses";

/// Checks evidence about a DecisionGraph log: packs, proofs and signed notes.
///
/// It believes what the keys that you name have signed, and nothing else in the file. It uses no network and no
/// database. Get the keys in another way than the file.
#[derive(Parser)]
#[command(name = "decisiongraph-audit", version, after_help = MORE)]
struct Arguments {
    /// Pack, proof, consistency proof or signed note to check
    file: PathBuf,
    /// Public key of the log; repeat it for several keys
    #[arg(long = "key", value_name = "VKEY", required_unless_present = "policy")]
    keys: Vec<String>,
    /// Public key of a witness; repeat it for several witnesses
    #[arg(long = "witness", value_name = "VKEY", requires = "quorum")]
    witnesses: Vec<String>,
    /// Number of these witnesses that must have cosigned the checkpoint
    #[arg(long, value_name = "N", requires = "witnesses")]
    quorum: Option<usize>,
    /// Policy file (C2SP tlog-policy): keys of logs, witnesses, and the quorum of them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["witnesses", "quorum"])]
    policy: Option<PathBuf>,
    /// The event that a proof is about, in a file of its own
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// An older checkpoint for a consistency proof, or another one of the same size
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let judged = judge(&arguments);
    let code = judged.as_ref().err().map_or(ExitCode::OK, Failure::exit_code);
    let lines = match (&judged, arguments.json) {
        (_, true) => vec![in_json(&as_json(&judged, code).to_string()).into_owned()],
        (Ok(accepted), false) => accepted.lines(),
        (Err(failure), false) => vec![failure.to_string()],
    };
    let lines: String = lines.iter().map(|line| format!("{}\n", shown(line))).collect();
    // A reader that went away does not change the verdict.
    let _ = match (&judged, arguments.json) {
        (Err(Failure::Usage(_) | Failure::Unreadable(_)), false) => std::io::stderr().write_all(lines.as_bytes()),
        _ => std::io::stdout().write_all(lines.as_bytes()),
    };
    std::process::ExitCode::from(code.0)
}

fn judge(arguments: &Arguments) -> Result<Accepted, Failure> {
    let beside = |path: &Option<PathBuf>| path.as_deref().map(text).transpose();
    let trust = match beside(&arguments.policy)? {
        Some(policy) => Trust::with_policy(&arguments.keys, &policy)?,
        None => Trust::new(&arguments.keys, &arguments.witnesses, arguments.quorum.unwrap_or_default())?,
    };
    let (event, against) = (beside(&arguments.event)?, beside(&arguments.against)?);
    let beside = Beside { event: event.as_deref(), against: against.as_deref() };
    audit(BufReader::new(open(&arguments.file)?), beside, &trust)
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
}

fn text(path: &Path) -> Result<String, Failure> {
    std::io::read_to_string(open(path)?)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
}

fn as_json(judged: &Result<Accepted, Failure>, code: ExitCode) -> Value {
    let (verdict, mut object) = match judged {
        Ok(accepted) => ("accepted", json!(accepted)),
        Err(Failure::Refused(refused)) => ("refused", json!(refused)),
        Err(failure) => ("not_checked", json!({ "text": failure.to_string() })),
    };
    object["verdict"] = verdict.into();
    object["exit"] = code.0.into();
    object
}
