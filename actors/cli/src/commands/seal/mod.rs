//! `seal`: the state of the sealed log, its keys, and decisions of an operator about it.

pub mod key;
mod status;

pub use status::not_sealed_yet;

use super::Context;
use super::tenants::AllTenants;
use crate::output::number;
use crate::page::Page;
use clap::{Args, Subcommand};
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{
    AdminError, ExitCode, SealForkRequest, SealInitRequest, SealNowRequest, SealPlace, SealRebuildRequest, SealedReply,
};

/// Show or change the seal of the log: tamper evidence that leaves the database
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph seal status
  decisiongraph seal now
  decisiongraph seal key show --tenant acme
  decisiongraph seal fork --tenant acme --reason \"restored the backup of Monday\"")]
pub struct Seal {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Status(status::Status),
    Now(Now),
    Key(key::Key),
    Init(Init),
    Fork(Fork),
    Rebuild(Rebuild),
}

impl Seal {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        match self.action {
            Action::Status(status) => status.run(context).await,
            Action::Now(now) => now.run(context).await,
            Action::Key(key) => key.run(context).await,
            Action::Init(init) => init.run(context).await,
            Action::Fork(fork) => fork.run(context).await,
            Action::Rebuild(rebuild) => rebuild.run(context).await,
        }
    }
}

/// Seal up to the safe mark, sign the tree and publish the checkpoint now
///
/// A node does so automatically, within `seal_checkpoint_ms`. The exit code is 7 when it was not done in time, and 3
/// when the log is not what was sealed.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph seal now --wait 5")]
struct Now {
    /// Longest wait, 0.1 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_wait)]
    wait: f64,
    /// Wait for the witnesses, too
    #[arg(long)]
    witnessed: bool,
    #[command(flatten)]
    all: AllTenants,
}

impl Now {
    async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        if self.witnessed {
            return Err(no_witnesses("seal now --witnessed"));
        }
        let wait_ms = wait_ms(self.wait);
        context.show_over(self.all, |tenant| SealNowRequest { tenant, wait_ms }, sealed).await
    }
}

/// Parses seconds within the bounds of a wait for a seal.
pub fn parse_wait(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.1 to 600".to_owned()),
    }
}

/// Returns the milliseconds of a wait that [`parse_wait`] has let through.
pub fn wait_ms(seconds: f64) -> u64 {
    std::time::Duration::from_secs_f64(seconds).as_millis() as u64
}

/// Refuses what needs witnesses.
pub fn no_witnesses(what: &str) -> AdminError {
    AdminError::new(
        decisiongraph_projections::Category::InvalidArgument,
        format!("`{what}` needs witnesses, which are the next step of the seal: this version has none"),
    )
    .next("leave it out: the proof then rests on the signed checkpoint and on the places that keep it")
}

/// The reason of a change to a seal.
#[derive(Args)]
struct Because {
    /// Reason, kept in the record of changes
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Begin the tree of a tenant with a name of your choice, or trust the database once
///
/// Without it, a tree begins automatically, and its name is made of `seal_name` and the tenant.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph seal init --tenant acme --origin decisions.example.com/acme --reason \"named for its auditors\"
  decisiongraph seal init --tenant acme --trust-database --reason \"the journal was lost with its volume\"")]
struct Init {
    /// Name of the log in everything that is signed: a host and a path without a scheme
    #[arg(long, value_name = "NAME/PATH", required_unless_present = "trust_database")]
    origin: Option<String>,
    /// Continue with the tree in the database, although no memory outside it answers
    #[arg(long, conflicts_with = "origin")]
    trust_database: bool,
    #[command(flatten)]
    because: Because,
}

impl Init {
    async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Init { origin, trust_database, because: Because { reason } } = self;
        let request = SealInitRequest { tenant: context.globals.tenant.clone(), origin, trust_database, reason };
        context.show(request, sealed).await
    }
}

/// End a tree that is not what was signed, and begin the next one with their common prefix
///
/// Old proofs stay good under the old name. A signed note says how much both trees have in common. The seal shows that
/// events are gone, never what they said.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph seal fork --tenant acme --reason \"restored the backup of Monday\"")]
struct Fork {
    #[command(flatten)]
    because: Because,
}

impl Fork {
    async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = SealForkRequest { tenant: context.globals.tenant.clone(), reason: self.because.reason };
        context.show(request, sealed).await
    }
}

/// Write the nodes and the frontier of a tree again, from its chunks, if the newest checkpoint agrees
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph seal rebuild --tenant acme --reason \"a node row was lost\"")]
struct Rebuild {
    #[command(flatten)]
    because: Because,
}

impl Rebuild {
    async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = SealRebuildRequest { tenant: context.globals.tenant.clone(), reason: self.because.reason };
        context.show(request, sealed).await
    }
}

/// Renders a tree and where its note is.
fn sealed(reply: &SealedReply) -> Page {
    let tree = &reply.tree;
    let events = number(i64::try_from(tree.size).unwrap_or(i64::MAX));
    let of = of_tenant(&reply.tenant);
    let mut page = Page::of(format_args!("{events} events{of} are sealed, up to log_seq {}", number(tree.log_seq.0)));
    page.line(format_args!("tree {}: {}, root {}", tree.tree, tree.origin, tree.root));
    if reply.note.is_some() {
        page.line(format_args!("signed, and kept by: {}", kept_by(&reply.places)));
    }
    for place in &reply.places {
        match &place.fault {
            Some(fault) => page.line(format_args!("not in {}: {fault}", place.place)),
            None if reply.note.is_some() && place.newest.is_none() => {
                page.line(format_args!("not in {} yet: the node, or the next sealing, brings it there", place.place));
            }
            None => {}
        }
    }
    page
}

/// Lists the places that have a checkpoint.
fn kept_by(places: &[SealPlace]) -> String {
    let names: Vec<&str> =
        places.iter().filter(|place| place.newest.is_some()).map(|place| place.place.as_str()).collect();
    if names.is_empty() { "this database only".to_owned() } else { names.join(", ") }
}

fn of_tenant(tenant: &TenantId) -> String {
    format!(" of tenant {}", decisiongraph_protocol::foreign_text::shell_word(tenant.as_str()))
}
