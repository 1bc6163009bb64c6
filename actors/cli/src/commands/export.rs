//! `export`: the log as JSON lines, from one snapshot.

use super::Context;
use super::unreadable::Unreadable;
use crate::connection::Connection;
use crate::interrupt;
use crate::output::written;
use crate::session::Access;
use clap::Args;
use decisiongraph_admin::{EXPORT_EVENTS_MAX, STRAYS_MAX, unknown_tenant};
use decisiongraph_engine::queries::READ_BYTES_MAX;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{AdminError, ExitCode, ExportRequest, ExportStartRequest};
use decisiongraph_store::{PageLimit, ReadView};
use std::io::{BufWriter, Write};

/// Size that a node's page should have, in bytes: each page asks for as many events as would fill it. An older node
/// bounds only the events of a page.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Events of a node's first page, when their size is not known yet.
const FIRST_PAGE_EVENTS: i64 = 100;

/// Write events as JSON lines, with log_seq and payload_hash, in log order
///
/// One snapshot: events whose transaction has not committed are not in it. From a node: up to the safe mark, below
/// which nothing changes any more. `import` reads the lines back. Stored events that cannot be read are named at the
/// end (exit 1).
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph export > log.jsonl\n  decisiongraph export --all-tenants | zstd > backup.zst"
)]
pub struct Export {
    /// Every tenant's events, tenant by tenant, each line with its tenant_id
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
    /// Only events after this position (exclusive)
    #[arg(long, visible_alias = "since", value_name = "LOG_SEQ", default_value_t = 0, value_parser = parse_number)]
    since_log_seq: i64,
    /// Only events up to this position (inclusive) [default: the end]
    #[arg(long, visible_alias = "until", value_name = "LOG_SEQ", value_parser = parse_number)]
    until_log_seq: Option<i64>,
}

impl Export {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let connection = Connection::open(&context.globals, Access::Read).await?;
        let mut out = BufWriter::with_capacity(PAGE_BYTES / 32, std::io::stdout());
        let mut unreadable = Unreadable::default();
        let named = context.globals.tenant.as_ref();
        match &connection {
            Connection::InProcess(engine) => {
                let view = engine.store().snapshot().await?;
                if self.all_tenants {
                    view.strays(STRAYS_MAX).await?.into_iter().for_each(|stray| unreadable.stray(stray));
                }
                for tenant in self.wanted(named, view.tenants().await?)? {
                    self.tenant(&*view, &tenant, &mut out, &mut unreadable).await?;
                }
            }
            Connection::Node(_) => {
                let start = connection.ask(ExportStartRequest).await?;
                let upto = LogSeq(self.until_log_seq.unwrap_or(i64::MAX)).min(start.mark);
                if self.all_tenants {
                    start.strays.into_iter().for_each(|stray| unreadable.stray(stray));
                }
                for tenant in self.wanted(named, start.tenants)? {
                    self.tenant_of_node(&connection, tenant, upto, &mut out, &mut unreadable).await?;
                }
            }
        }
        written(out.flush())?;
        unreadable.end()
    }

    /// Chooses the tenants to export: all of these, which have events, or the one that is meant. Fails when that one
    /// has no events; an empty log without a named tenant is not a failure.
    fn wanted(&self, named: Option<&TenantId>, tenants: Vec<TenantId>) -> Result<Vec<TenantId>, AdminError> {
        if self.all_tenants {
            return Ok(tenants);
        }
        let one = named.cloned().unwrap_or_default();
        match (tenants.contains(&one), named, tenants.is_empty()) {
            (true, ..) | (false, None, true) => Ok(vec![one]),
            (false, named, _) => Err(unknown_tenant(named, &tenants)),
        }
    }

    async fn tenant(
        &self,
        view: &dyn ReadView,
        tenant: &TenantId,
        out: &mut impl Write,
        unreadable: &mut Unreadable,
    ) -> Result<(), AdminError> {
        let upto = LogSeq(self.until_log_seq.unwrap_or(i64::MAX));
        let mut after = LogSeq(self.since_log_seq);
        let limit = PageLimit::of(EXPORT_EVENTS_MAX as usize, READ_BYTES_MAX);
        loop {
            let page = view.events(tenant, after, upto, limit).await?.items;
            let Some(last) = page.last() else { return Ok(()) };
            if last.log_seq <= after {
                return Err(AdminError::new(Category::Internal, "the log does not continue"));
            }
            after = last.log_seq;
            for event in &page {
                if let Some(fault) = &event.fault {
                    unreadable.event(tenant, event.log_seq, fault);
                    continue;
                }
                let line = event.to_line(self.all_tenants.then_some(tenant));
                written(out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")))?;
            }
        }
    }

    async fn tenant_of_node(
        &self,
        node: &Connection,
        tenant: TenantId,
        upto: LogSeq,
        out: &mut impl Write,
        unreadable: &mut Unreadable,
    ) -> Result<(), AdminError> {
        let mut after = LogSeq(self.since_log_seq);
        let mut limit = FIRST_PAGE_EVENTS;
        loop {
            let request = ExportRequest { tenant: tenant.clone(), named: self.all_tenants, after, upto, limit };
            let page = node.ask(request).await?;
            let Some(last) = page.last_log_seq else { return Ok(()) };
            if last <= after {
                return Err(AdminError::new(Category::Internal, "the log does not continue"));
            }
            after = last;
            page.faults.iter().for_each(|(log_seq, fault)| unreadable.event(&tenant, *log_seq, fault));
            let mut bytes = 0;
            for line in &page.lines {
                bytes += line.len();
                written(out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")))?;
            }
            let average = (bytes / page.lines.len().max(1)).max(1);
            limit = i64::try_from(PAGE_BYTES / average).unwrap_or(i64::MAX).clamp(1, EXPORT_EVENTS_MAX);
        }
    }
}
