//! `digest`: the digests that prove the rows.

use super::Context;
use super::tenants::AllTenants;
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::query::ReferenceDigests;
use decisiongraph_protocol::{
    AdminError, CheckpointsReply, CheckpointsRequest, DigestReply, DigestRequest, ExitCode, ReferenceDigestRequest,
    ScopeFilter,
};

/// Show the digest of each projection and its log position
///
/// Each batch updates the rolling digest, so reading it is cheap. The reference digest reads every row, in one
/// snapshot, and is byte-equal to that of the Python reference.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph digest --reference --json")]
pub struct Digest {
    /// The reference's SHA-256 digests, over all three projections
    #[arg(long)]
    reference: bool,
    /// The last N digests that were recorded on the way, each chained to the one before it by a hash
    #[arg(long, value_name = "N", conflicts_with = "reference")]
    checkpoints: Option<i64>,
    #[command(flatten)]
    all: AllTenants,
}

impl Digest {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let projection = context.globals.projection();
        if self.reference {
            return context.show_over(self.all, |tenant| ReferenceDigestRequest { tenant }, reference).await;
        }
        if let Some(limit) = self.checkpoints {
            let of = |tenant| ScopeFilter { tenant, projection: projection.clone() };
            let make = |tenant| CheckpointsRequest { of: of(tenant), limit };
            return context.show_over(self.all, make, recorded).await;
        }
        let make = |tenant| DigestRequest(ScopeFilter { tenant, projection: projection.clone() });
        context.show_over(self.all, make, rolling).await
    }
}

fn reference(digests: &ReferenceDigests) -> Page {
    let mut page = Page::default();
    let mut line = |name: &str, text: &str| page.line(format_args!("{name:16} {text}"));
    digests.named().for_each(|(name, digest)| line(name, digest));
    line("last_log_seq", &number(digests.last_log_seq.0));
    page
}

fn recorded(reply: &CheckpointsReply) -> Page {
    let mut page = Page::default();
    if reply.checkpoints.is_empty() {
        return Page::of("No digest has been recorded yet.");
    }
    let rows = reply.checkpoints.iter().map(|recorded| {
        let checkpoint = &recorded.checkpoint;
        vec![
            recorded.projection.clone(),
            number(checkpoint.cursor.0),
            checkpoint.generation.to_string(),
            checkpoint.recorded_at.clone(),
            checkpoint.digest.clone(),
            checkpoint.hash.clone(),
        ]
    });
    page.table(&["projection", "#cursor", "#generation", "recorded at", "digest", "hash"], rows);
    page
}

fn rolling(reply: &DigestReply) -> Page {
    let mut page = Page::default();
    let rows = reply.digests.iter().map(|digest| {
        vec![
            digest.projection.clone(),
            number(digest.cursor.0),
            number(digest.last_log_seq.0),
            digest.generation.map_or("-".to_owned(), |generation| generation.to_string()),
            digest.version.to_string(),
        ]
    });
    page.table(&["projection", "#cursor", "#last event in it", "#generation", "#rules version"], rows);
    for digest in &reply.digests {
        page.line(format_args!("{:16} {}", digest.projection, digest.digest));
    }
    page
}
