//! `decisiongraph-audit`: checks evidence about a log with public keys, and nothing else.

use clap::Parser;
use decisiongraph_seal::command::{Audit, EXIT_CODES};

/// Shown behind the help of the flags.
const MORE: &str = "\
Examples (KEY is the public key of the log, as its operator published it):
  decisiongraph-audit lead-17.pack --key \"$KEY\"
  decisiongraph-audit lead-17.pack --key \"$KEY\" --witness \"$WITNESS\" --quorum 1 --json
  decisiongraph-audit lead-17.pack --policy witnesses.policy
  decisiongraph-audit lead-17-3.proof --event lead-17-3.json --key \"$KEY\"
  decisiongraph-audit june.pack --against june.checkpoint --key \"$KEY\"       your checkpoint of June
  decisiongraph-audit may-to-june.consistency --against may.checkpoint --key \"$KEY\"";

/// Checks evidence about a DecisionGraph log: packs, proofs and signed notes.
///
/// It believes what the keys that you name have signed, and nothing else in the file. It uses no network and no
/// database. Get the keys in another way than the file.
#[derive(Parser)]
#[command(name = "decisiongraph-audit", version, after_help = format!("{MORE}\n\n{EXIT_CODES}"))]
struct Arguments {
    #[command(flatten)]
    audit: Audit,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> std::process::ExitCode {
    let Arguments { audit, json } = Arguments::parse();
    std::process::ExitCode::from(audit.run(json).0)
}
