//! `export`: the log as JSON lines, out of one snapshot.

use super::Context;
use crate::interrupt;
use crate::output::written;
use crate::session::{Access, connect};
use clap::Args;
use decisiongraph_actors::admin::{AdminError, ExitCode};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_store::ReadView;
use std::io::{BufWriter, Write};

/// Most events of a page.
const PAGE_EVENTS_MAX: usize = 1_000;
/// Pages get shorter when one was larger than this.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Write events as JSON lines, with log_seq and payload_hash, in log order
///
/// All of one snapshot: events whose transaction has not committed are not in it. `import` reads the lines back.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph export > log.jsonl\n  decisiongraph export --all-tenants | zstd > backup.zst"
)]
pub struct Export {
    /// Every tenant's events, tenant by tenant, each line with its tenant_id
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
    /// Behind this position (exclusive)
    #[arg(long, visible_alias = "since", value_name = "LOG_SEQ", default_value_t = 0)]
    since_log_seq: i64,
    /// Up to this position (inclusive) [default: the end]
    #[arg(long, visible_alias = "until", value_name = "LOG_SEQ")]
    until_log_seq: Option<i64>,
}

impl Export {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let engine = connect(&context.globals, Access::Read).await?;
        let view = engine.store().snapshot().await?;
        let mut out = BufWriter::with_capacity(PAGE_BYTES / 32, std::io::stdout());
        let tenants = if self.all_tenants {
            view.tenants().await?
        } else {
            vec![context.globals.tenant.clone().unwrap_or_default()]
        };
        for tenant in &tenants {
            self.tenant(&*view, tenant, &mut out).await?;
        }
        written(out.flush())?;
        Ok(ExitCode::OK)
    }

    async fn tenant(&self, view: &dyn ReadView, tenant: &TenantId, out: &mut impl Write) -> Result<(), AdminError> {
        let upto = LogSeq(self.until_log_seq.unwrap_or(i64::MAX));
        let mut after = LogSeq(self.since_log_seq);
        let mut limit = PAGE_EVENTS_MAX;
        loop {
            let page = view.events(tenant, after, upto, limit).await?;
            let Some(last) = page.last() else { return Ok(()) };
            if last.log_seq <= after {
                return Err(AdminError::new(Category::Internal, "the log does not go on"));
            }
            after = last.log_seq;
            let mut bytes = 0;
            for event in &page {
                let line = event.to_line(self.all_tenants.then_some(tenant));
                bytes += line.len();
                written(out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")))?;
            }
            let average = (bytes / page.len()).max(1);
            limit = (PAGE_BYTES / average).clamp(1, PAGE_EVENTS_MAX);
        }
    }
}
