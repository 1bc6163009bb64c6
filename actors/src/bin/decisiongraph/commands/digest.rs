//! `digest`: what proves the rows.

use super::{Context, status, unexpected};
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode};

/// Show the digest of each projection and the position it stands for
///
/// The rolling digest is kept in every batch and costs nothing to read. The reference digest reads every row, in one snapshot, and
/// is byte-equal to that of the Python reference.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph digest --reference --json")]
pub struct Digest {
    /// The reference's SHA-256 digests, over all three projections
    #[arg(long)]
    reference: bool,
}

impl Digest {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = if self.reference {
            AdminRequest::ReferenceDigest { tenant: context.globals.tenant.clone() }
        } else {
            AdminRequest::Digest(status::filter(context))
        };
        let reply = context.ask(request).await?;
        let text = match &reply {
            AdminReply::ReferenceDigest(digests) => {
                let mut page = Page::default();
                let mut line = |name: &str, text: &str| page.line(format_args!("{name:16} {text}"));
                line("context_graph", &digests.context_graph);
                line("trace_summary", &digests.trace_summary);
                line("precedent_index", &digests.precedent_index);
                line("full_projection", &digests.full_projection);
                line("last_log_seq", &number(digests.last_log_seq.0));
                page
            }
            AdminReply::Digest(reply) => {
                let rows = reply
                    .digests
                    .iter()
                    .map(|digest| {
                        vec![
                            digest.projection.clone(),
                            number(digest.cursor.0),
                            number(digest.last_log_seq.0),
                            digest.generation.map_or("-".to_owned(), |generation| generation.to_string()),
                            digest.version.to_string(),
                        ]
                    })
                    .collect();
                let mut page = Page::default();
                page.table(&["projection", "#cursor", "#last event in it", "#generation", "#rules version"], rows);
                for digest in &reply.digests {
                    page.line(format_args!("{:16} {}", digest.projection, digest.digest));
                }
                page
            }
            _ => return Err(unexpected()),
        };
        context.output.reply(&reply, || text)?;
        Ok(ExitCode::OK)
    }
}
