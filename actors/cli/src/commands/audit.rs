//! `audit`: the check of `decisiongraph-audit`, in this program.

use super::Context;
use clap::Args;
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_seal::command::{Audit as Checked, EXIT_CODES};

/// Check a pack, a proof or a signed note with public keys, without database and network
///
/// It believes what the keys that you name have signed, and nothing else in the file. `decisiongraph-audit` is the same
/// check as a program of its own, for auditors.
#[derive(Args)]
#[command(after_help = format!("Examples:
  decisiongraph audit lead-17.pack --key \"$KEY\"
  decisiongraph audit lead-17-3.proof --event lead-17-3.json --key \"$KEY\"

{EXIT_CODES}"))]
#[group(skip)]
pub struct Audit {
    #[command(flatten)]
    audit: Checked,
}

impl Audit {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        Ok(self.audit.run(context.output.json))
    }
}
