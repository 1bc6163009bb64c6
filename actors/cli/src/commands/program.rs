//! The program's arguments: the flags of every command, and one command.

use super::Command;
use crate::globals::Globals;
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  decisiongraph demo                                 a guided tour; needs no setup
  decisiongraph import events.jsonl                  import a decision log
  decisiongraph catch-up                             apply it to the projections
  decisiongraph subgraph entity:account:acme --format mermaid
  decisiongraph verify                               prove that rows, digests and log agree

Where a command runs:
  --database URL, in this process; else the node at --node ADDR; else the node that
  runs in the data directory; else DATABASE_URL; else the embedded file in the data
  directory (--data-dir, else DECISIONGRAPH_DATA_DIR, else $XDG_DATA_HOME/decisiongraph).

Exit codes:
  0 ok   1 other failure   2 usage   3 drift found   4 data refused   5 not found
  6 no node or no database   7 projection out of date   8 unauthorized or wrong version
  9 fenced or outcome unknown   10 health degraded   11 health failed   12 a node's supervision gave up
  130 interrupted
  With --all-tenants the worst: the first of 130 3 1 9 6 8 4 7 5 2 that a tenant ended with.";

const ABOUT: &str = "\
Turns a log of business decisions into trace summaries, a context graph and a
precedent index: durably, exactly once, and with a proof.";

/// The program's arguments.
#[derive(Parser)]
#[command(name = "decisiongraph", version, about = ABOUT, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}
