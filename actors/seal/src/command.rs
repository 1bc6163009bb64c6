//! An audit as a command: its arguments, and its verdict as text. `decisiongraph-audit` and `decisiongraph audit` are
//! this command.

use crate::{Accepted, Beside, Failure, Trust, audit};
use clap::Args;
use decisiongraph_protocol::ExitCode;
use decisiongraph_protocol::foreign_text::{in_json, shown};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

/// Meaning of the exit codes, for the help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  accepted
  2  wrong flags, or a file that cannot be read
  3  refused: the file differs from what was signed
  4  refused: the file is malformed
  8  refused: not signed by the keys that you named, or by too few witnesses";

/// Arguments of an audit.
#[derive(Debug, Args)]
pub struct Audit {
    /// Pack, proof, consistency proof or signed note to check
    pub file: PathBuf,
    /// Public key of the log; repeat it for several keys
    #[arg(long = "key", value_name = "VKEY", required_unless_present = "policy")]
    pub keys: Vec<String>,
    /// Public key of a witness; repeat it for several witnesses
    #[arg(long = "witness", value_name = "VKEY", requires = "quorum")]
    pub witnesses: Vec<String>,
    /// Number of these witnesses that must have cosigned the checkpoint
    #[arg(long, value_name = "N", requires = "witnesses")]
    pub quorum: Option<usize>,
    /// Policy file (C2SP tlog-policy): keys of logs, witnesses, and the quorum of them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["witnesses", "quorum"])]
    pub policy: Option<PathBuf>,
    /// The event that a proof is about: the file that `decisiongraph prove --event-file` wrote
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Your own checkpoint, to compare that of the file with; the older one for a consistency proof
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Consistency proof between both, when they are of two sizes
    #[arg(long, value_name = "FILE", requires = "against")]
    pub consistency: Option<PathBuf>,
}

impl Audit {
    /// Checks the file, prints the verdict, and returns its exit code.
    pub fn run(&self, json: bool) -> ExitCode {
        let judged = self.judge();
        let code = judged.as_ref().err().map_or(ExitCode::OK, Failure::exit_code);
        let lines = match (&judged, json) {
            (_, true) => vec![in_json(&as_json(&judged, code).to_string()).into_owned()],
            (Ok(accepted), false) => accepted.lines(),
            (Err(failure), false) => vec![failure.to_string()],
        };
        let lines: String = lines.iter().map(|line| format!("{}\n", shown(line))).collect();
        // A reader that went away does not change the verdict.
        let _ = match (&judged, json) {
            (Err(Failure::Usage(_) | Failure::Unreadable(_)), false) => io::stderr().write_all(lines.as_bytes()),
            _ => io::stdout().write_all(lines.as_bytes()),
        };
        code
    }

    fn judge(&self) -> Result<Accepted, Failure> {
        let beside = |path: &Option<PathBuf>| path.as_deref().map(text).transpose();
        if self.quorum == Some(0) {
            return Err(Failure::Usage("--quorum 0 asks for no witness: name 1 or more, or leave both out".to_owned()));
        }
        let trust = match beside(&self.policy)? {
            Some(policy) => Trust::with_policy(&self.keys, &policy)?,
            None => Trust::new(&self.keys, &self.witnesses, self.quorum.unwrap_or_default())?,
        };
        let [event, against, consistency] = [beside(&self.event)?, beside(&self.against)?, beside(&self.consistency)?];
        let beside =
            Beside { event: event.as_deref(), against: against.as_deref(), consistency: consistency.as_deref() };
        audit(BufReader::new(open(&self.file)?), beside, &trust)
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
}

fn text(path: &Path) -> Result<String, Failure> {
    io::read_to_string(open(path)?).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
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
