//! `tenants`: the tenants of the database; and the same command for each of them (`--all-tenants`).

use super::{Context, job_text, unexpected};
use crate::address;
use crate::args::parse_tenant;
use crate::connection::Connection;
use crate::interrupt;
use crate::output::number;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{
    AdminError, AdminReply, AdminRequest, Command, ExitCode, TENANTS_PAGE_MAX, TenantsRequest, of_error, of_job, worst,
};
use serde_json::{Value, json};

/// List the tenants: each one's last event, its projections, and where the rearmost of them stands
#[derive(Args)]
#[command(after_help = "Examples:\n  decisiongraph tenants\n  decisiongraph tenants --after acme --limit 100 --json")]
pub struct Tenants {
    /// Only tenants behind this one, by the bytes of their ids
    #[arg(long, value_name = "ID", value_parser = parse_tenant)]
    after: Option<TenantId>,
    /// Most tenants, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: i64,
}

impl Tenants {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = TenantsRequest { after: self.after, limit: self.limit };
        let reply = context.ask(AdminRequest::Tenants(request)).await?;
        let AdminReply::Tenants(tenants) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let rows = tenants.tenants.iter().map(|head| {
                vec![
                    head.tenant.to_string(),
                    number(head.last_log_seq.0),
                    head.scopes.to_string(),
                    head.cursor.map_or("-".to_owned(), |cursor| number(cursor.0)),
                    head.paused.to_string(),
                ]
            });
            let mut page = Page::default();
            page.table(&["tenant", "#last event", "#projections", "#rearmost cursor", "#paused"], rows.collect());
            if let (true, Some(last)) = (tenants.more, tenants.tenants.last()) {
                let next = Command::about_all("tenants").with("--after", &last.tenant).with("--limit", self.limit);
                page.line(format_args!("There are more: {next}"));
            }
            page
        })?;
        Ok(ExitCode::OK)
    }
}

/// The flag of commands that may work over every tenant.
#[derive(Args, Clone, Copy)]
pub struct AllTenants {
    /// Every tenant, one after the other; a failed one does not stop the rest, and the exit code is the worst
    #[arg(long, conflicts_with_all = ["tenant", "request_id"])]
    pub all_tenants: bool,
}

/// Result of one tenant.
struct Told {
    tenant: TenantId,
    answer: Result<AdminReply, AdminError>,
    exit: ExitCode,
}

impl Context {
    /// Sends the same request for every tenant there is. `text` renders each answer; a job that succeeded is shown on
    /// one line only.
    pub async fn over_all(
        &self,
        make: impl Fn(TenantId) -> AdminRequest,
        text: impl Fn(&AdminReply) -> Page,
    ) -> Result<ExitCode, AdminError> {
        let connection = Connection::open(&self.globals, Access::Read).await?;
        let cancel = Cancel::default();
        interrupt::asks_first(cancel.clone(), self.output.json);
        let (mut told, mut after, mut stopped): (Vec<Told>, Option<TenantId>, bool) = (Vec::new(), None, false);
        'pages: loop {
            let page = TenantsRequest { after: after.clone(), limit: TENANTS_PAGE_MAX };
            let AdminReply::Tenants(page) = connection.ask(AdminRequest::Tenants(page)).await? else {
                return Err(unexpected());
            };
            for head in page.tenants {
                if cancel.is_requested() {
                    stopped = true;
                    break 'pages;
                }
                let answer = self.answer(&connection, make(head.tenant.clone()), &cancel).await;
                let exit = exit(&answer, cancel.is_requested());
                self.show(&head.tenant, &answer, exit, &text)?;
                // A fault of the database or node concerns all tenants.
                stopped = answer.as_ref().err().is_some_and(|error| concerns_all(error.category));
                after = Some(head.tenant.clone());
                told.push(Told { tenant: head.tenant, answer, exit });
                if stopped {
                    break 'pages;
                }
            }
            if !page.more {
                break;
            }
        }
        self.sum_up(&told, stopped)?;
        let begin = if cancel.is_requested() { ExitCode::INTERRUPTED } else { ExitCode::OK };
        Ok(told.iter().map(|told| told.exit).fold(begin, worst))
    }

    async fn answer(
        &self,
        connection: &Connection,
        request: AdminRequest,
        cancel: &Cancel,
    ) -> Result<AdminReply, AdminError> {
        match request {
            AdminRequest::CatchUp(_)
            | AdminRequest::Rebuild(_)
            | AdminRequest::Verify(_)
            | AdminRequest::Retry { .. } => self.followed(connection, request, cancel).await,
            other => connection.ask(other).await,
        }
    }

    fn show(
        &self,
        tenant: &TenantId,
        answer: &Result<AdminReply, AdminError>,
        exit: ExitCode,
        text: &impl Fn(&AdminReply) -> Page,
    ) -> Result<(), AdminError> {
        if self.output.json {
            return Ok(());
        }
        let name = shell_word(tenant.as_str());
        let mut page = Page::default();
        match answer {
            Ok(AdminReply::Job(report)) if exit == ExitCode::OK => {
                page.line(format_args!("{name}: {}", job_text::line_of(report)));
            }
            Ok(reply) => {
                page.line(format_args!("{name}:"));
                page.page(text(reply));
            }
            Err(error) => {
                page.line(format_args!("{name}: error: {}", error.message));
                page.line(format_args!("  category: {}", error.category));
                page.line(format_args!("  next: {}", error.next));
            }
        }
        self.output.page(&page)
    }

    /// Prints the number of tenants, and the tenants that failed.
    fn sum_up(&self, told: &[Told], stopped: bool) -> Result<(), AdminError> {
        let failed: Vec<&Told> = told.iter().filter(|told| told.exit != ExitCode::OK).collect();
        if self.output.json {
            let tenants: Result<Vec<Value>, serde_json::Error> =
                told.iter().map(|told| told.json(self.output.flags)).collect();
            let tenants = tenants
                .map_err(|error| AdminError::new(Category::Internal, format!("cannot write the reply: {error}")))?;
            let names: Vec<&str> = failed.iter().map(|told| told.tenant.as_str()).collect();
            return self.output.json(&json!({ "tenants": tenants, "failed": names, "complete": !stopped }));
        }
        let of = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
        let mut page = Page::of(format_args!("{} tenants, {} of them failed", of(told.len()), of(failed.len())));
        for told in failed {
            page.line(format_args!("  {} (exit code {})", shell_word(told.tenant.as_str()), told.exit.0));
        }
        if told.is_empty() && !stopped {
            let import = Command::about_all("import FILE");
            page = Page::of(format_args!("There are no events yet, and nothing was done; {import} takes events in."));
        }
        if stopped {
            page.ours("Stopped there: the tenants behind the last one were not looked at.");
        }
        self.output.page(&page)
    }
}

impl Told {
    fn json(&self, flags: &str) -> Result<Value, serde_json::Error> {
        let mut entry = json!({ "tenant": self.tenant.as_str(), "exit_code": self.exit.0 });
        match &self.answer {
            Ok(reply) => entry["reply"] = serde_json::from_str(&address::reply(reply, flags).to_json()?)?,
            Err(error) => entry["error"] = serde_json::to_value(address::error(error, flags))?,
        }
        Ok(entry)
    }
}

fn exit(answer: &Result<AdminReply, AdminError>, interrupted: bool) -> ExitCode {
    match answer {
        Ok(AdminReply::Job(report)) => of_job(report, interrupted),
        Ok(_) => ExitCode::OK,
        Err(error) => of_error(error),
    }
}

/// True when every other tenant would meet the same fault.
fn concerns_all(category: Category) -> bool {
    matches!(
        category,
        Category::Unavailable | Category::Unauthorized | Category::VersionMismatch | Category::InvalidArgument
    )
}
