//! `tenants`: the tenants of the database; and the same command for each of them (`--all-tenants`).

use super::Context;
use crate::address;
use crate::connection::Connection;
use crate::globals::parse_tenant;
use crate::interrupt;
use crate::output::number;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, Command, ExitCode, Reply, TENANTS_PAGE_MAX, TenantsRequest, of_error, worst};
use decisiongraph_store::TenantHead;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// List the tenants: last event, projections, and the cursor that is furthest behind
#[derive(Args)]
#[command(after_help = "Examples:\n  decisiongraph tenants\n  decisiongraph tenants --after acme --limit 100 --json")]
pub struct Tenants {
    /// Only tenants after this one, by the bytes of their ids
    #[arg(long, value_name = "ID", value_parser = parse_tenant)]
    after: Option<TenantId>,
    /// Most tenants, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: i64,
}

impl Tenants {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = TenantsRequest { after: self.after, limit: self.limit };
        context
            .show(request, |tenants| {
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
                page.table(&["tenant", "#last event", "#projections", "#lowest cursor", "#paused"], rows);
                if let (true, Some(last)) = (tenants.more, tenants.tenants.last()) {
                    let next = Command::about_all("tenants").with("--after", &last.tenant).with("--limit", self.limit);
                    page.line(format_args!("There are more: {next}"));
                }
                page
            })
            .await
    }
}

/// The flag of commands that may work over every tenant.
#[derive(Args, Clone, Copy)]
pub struct AllTenants {
    /// Every tenant, one after the other; a failure does not stop the rest, and the exit code is the worst
    #[arg(long, conflicts_with_all = ["tenant", "request_id"])]
    pub all_tenants: bool,
}

/// Answer for one tenant, as people see it.
pub enum Told {
    /// A line behind the tenant's name.
    Line(String),
    /// A page below the tenant's name.
    Whole(Page),
}

/// The same work for every tenant, one after the other.
pub struct Tour<'c> {
    context: &'c Context,
    /// Side that answers.
    pub connection: Connection,
    /// Request to stop behind the tenant that is worked on.
    pub cancel: Cancel,
    page: VecDeque<TenantHead>,
    more: bool,
    after: Option<TenantId>,
    visited: Vec<Visited>,
    stopped: bool,
}

/// Result of one tenant.
struct Visited {
    tenant: TenantId,
    exit: ExitCode,
    /// Answer for programs.
    answer: Value,
}

impl Tour<'_> {
    /// Opens the connection.
    pub async fn start(context: &Context) -> Result<Tour<'_>, AdminError> {
        let connection = Connection::open(&context.globals, Access::Read).await?;
        let cancel = Cancel::default();
        interrupt::asks_first(cancel.clone(), context.output.json);
        let (page, visited) = (VecDeque::new(), Vec::new());
        Ok(Tour { context, connection, cancel, page, more: true, after: None, visited, stopped: false })
    }

    /// Returns the next tenant. None behind the last one, after an interrupt, and after a fault that concerns all.
    pub async fn next(&mut self) -> Result<Option<TenantId>, AdminError> {
        while self.page.is_empty() && self.more && !self.stopped {
            let page = TenantsRequest { after: self.after.clone(), limit: TENANTS_PAGE_MAX };
            let page = self.connection.ask(page).await?;
            (self.page, self.more) = (page.tenants.into(), page.more);
        }
        if self.stopped {
            return Ok(None);
        }
        let Some(head) = self.page.pop_front() else { return Ok(None) };
        if self.cancel.is_requested() {
            self.stopped = true;
            return Ok(None);
        }
        self.after = Some(head.tenant.clone());
        Ok(Some(head.tenant))
    }

    /// Adds the answer for a tenant, and prints it for people.
    pub fn add<A: Reply>(
        &mut self,
        tenant: &TenantId,
        answer: &Result<A, AdminError>,
        exit: impl FnOnce(&A) -> ExitCode,
        told: impl FnOnce(&A) -> Told,
    ) -> Result<(), AdminError> {
        let exit = answer.as_ref().map_or_else(of_error, exit);
        // A fault of the database or node concerns all tenants.
        self.stopped = answer.as_ref().err().is_some_and(|error| concerns_all(error.category));
        let output = self.context.output;
        let answer = if output.json {
            json_of(answer, output.flags)
                .map_err(|error| AdminError::new(Category::Internal, format!("cannot write the reply: {error}")))?
        } else {
            output.page(&page_of(tenant, answer, told))?;
            Value::Null
        };
        self.visited.push(Visited { tenant: tenant.clone(), exit, answer });
        Ok(())
    }

    /// Prints the number of tenants and the tenants that failed, and returns the worst exit code.
    pub fn end(self) -> Result<ExitCode, AdminError> {
        let begin = if self.cancel.is_requested() { ExitCode::INTERRUPTED } else { ExitCode::OK };
        let worst = self.visited.iter().map(|visited| visited.exit).fold(begin, worst);
        let output = self.context.output;
        let failed: Vec<&Visited> = self.visited.iter().filter(|visited| visited.exit != ExitCode::OK).collect();
        if output.json {
            let names: Vec<&str> = failed.iter().map(|visited| visited.tenant.as_str()).collect();
            let tenants: Vec<Value> = self.visited.iter().map(Visited::json).collect();
            output.json(&json!({ "tenants": tenants, "failed": names, "complete": !self.stopped }))?;
            return Ok(worst);
        }
        let of = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
        let mut page =
            Page::of(format_args!("{} tenants, {} of them failed", of(self.visited.len()), of(failed.len())));
        for visited in failed {
            page.line(format_args!("  {} (exit code {})", shell_word(visited.tenant.as_str()), visited.exit.0));
        }
        if self.visited.is_empty() && !self.stopped {
            let import = Command::about_all("import FILE");
            page = Page::of(format_args!("There are no events yet, and nothing was done; {import} imports events."));
        }
        if self.stopped {
            page.ours("Stopped there: the tenants after the last one were not visited.");
        }
        output.page(&page)?;
        Ok(worst)
    }
}

impl Visited {
    fn json(&self) -> Value {
        let mut entry = json!({ "tenant": self.tenant.as_str(), "exit_code": self.exit.0 });
        if let (Value::Object(entry), Value::Object(answer)) = (&mut entry, &self.answer) {
            entry.extend(answer.clone());
        }
        entry
    }
}

fn json_of<A: Reply>(answer: &Result<A, AdminError>, flags: &str) -> serde_json::Result<Value> {
    Ok(match answer {
        Ok(reply) => json!({ "reply": serde_json::from_str::<Value>(&address::reply(reply, flags).to_json()?)? }),
        Err(error) => json!({ "error": address::error(error, flags) }),
    })
}

fn page_of<A>(tenant: &TenantId, answer: &Result<A, AdminError>, told: impl FnOnce(&A) -> Told) -> Page {
    let name = shell_word(tenant.as_str());
    let mut page = Page::default();
    match answer.as_ref().map(told) {
        Ok(Told::Line(line)) => page.line(format_args!("{name}: {line}")),
        Ok(Told::Whole(whole)) => {
            page.line(format_args!("{name}:"));
            page.page(whole);
        }
        Err(error) => {
            page.line(format_args!("{name}: error: {}", error.message));
            page.line(format_args!("  category: {}", error.category));
            page.line(format_args!("  next: {}", error.next));
        }
    }
    page
}

/// True when every other tenant would meet the same fault.
fn concerns_all(category: Category) -> bool {
    matches!(
        category,
        Category::Unavailable | Category::Unauthorized | Category::VersionMismatch | Category::InvalidArgument
    )
}
