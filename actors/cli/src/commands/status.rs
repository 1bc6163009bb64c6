//! `status`: position and state of each scope, with the reason.

use super::Context;
use crate::globals::parse_tenant;
use crate::output::{digest_short, duration, number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_admin::holds_up;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::writers::appender;
use decisiongraph_protocol::{
    AdminError, ExitCode, Partial, ScopeFilter, ScopeState, ScopeStatus, StatusReply, StatusRequest, StatusSummary,
};

/// Scopes that people are shown, when the caller names no limit.
const SCOPES_SHOWN: i64 = 100;
/// Scopes whose reasons are listed one by one below the table.
const REASONS_SHOWN: usize = 12;
/// Column for the phase of the live worker, when a node answered that runs any.
const WORKER_COLUMN: usize = 3;

/// Show where each projection stands, how far it is behind, and why
#[derive(Args)]
#[command(after_help = "Examples:\n  decisiongraph status --tenant acme --json\n  decisiongraph status --state failed")]
pub struct Status {
    /// Only scopes in this state: current, working, unowned, waiting, behind, retrying, failed or paused
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Option<ScopeState>,
    /// Only scopes with drift that a verify found
    #[arg(long)]
    drifted: bool,
    /// Most scopes, 1 to 10000; tenants are not split [default: 100, with --json 1000]
    #[arg(long, value_name = "N")]
    limit: Option<i64>,
    /// Only tenants after this one, by id
    #[arg(long, value_name = "TENANT", value_parser = parse_tenant)]
    after: Option<TenantId>,
}

fn parse_state(word: &str) -> Result<ScopeState, String> {
    ScopeState::parse(word).ok_or_else(|| {
        let words: Vec<_> = ScopeState::ALL.iter().map(|state| state.as_str()).collect();
        format!("one of {}", words.join(", "))
    })
}

impl Status {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let limit = self.limit.or((!context.output.json).then_some(SCOPES_SHOWN));
        let Status { state, drifted, after, limit: _ } = self;
        let request = StatusRequest { filter: filter(context), state, drifted, after, limit };
        context.show(request, text).await
    }
}

/// Returns the scopes that the global flags name.
pub fn filter(context: &Context) -> ScopeFilter {
    ScopeFilter { tenant: context.globals.tenant.clone(), projection: context.globals.projection() }
}

/// Renders one line per node that could not be asked.
pub fn not_asked(partial: &[Partial]) -> Page {
    let mut page = Page::default();
    for of in partial {
        page.line(format_args!("node {} was not asked: {}", of.node, of.error.message));
    }
    page
}

fn text(status: &StatusReply) -> Page {
    let mut page = Page::of(format_args!("{}, log position {}", status.database, number(status.sequence.0)));
    for writer in status.waiting_for.iter().filter(|writer| holds_up(writer)) {
        page.line(format_args!("open appender {}", appender(writer)));
    }
    page.page(not_asked(&status.partial));
    if let Some(unsealed) = &status.unsealed {
        page.line(format_args!("seal: {unsealed}"));
    }
    if !status.strays.is_empty() {
        page.ours("Some stored rows cannot be read and are left out: `decisiongraph health` lists them.");
    }
    if status.scopes.is_empty() && status.summary.scopes > 0 {
        page.ours("No such scope.");
        page.line(summary(status));
        return page;
    }
    if status.scopes.is_empty() {
        page.ours("No events and no projections yet: `decisiongraph import FILE` imports events.");
        return page;
    }
    let live = status.scopes.iter().any(|scope| scope.live.is_some());
    let rows = status.scopes.iter().map(|scope| {
        let more = if scope.lag.more { "+" } else { "" };
        let owner = match (scope.owner.as_deref(), scope.owner_live) {
            (Some(owner), true) => owner.to_owned(),
            (Some(owner), false) => format!("{owner} (gone)"),
            (None, _) => "-".to_owned(),
        };
        let mut row = vec![
            scope.tenant.to_string(),
            scope.projection.clone(),
            format!("{}{}", scope.state.as_str(), if scope.drift.is_some() { ", drifted" } else { "" }),
            number(scope.cursor.0),
            number(scope.last_log_seq.0),
            format!("{}{more}", number(scope.lag.events)),
            if scope.lag.events > 0 { duration(scope.lag.seconds) } else { "-".to_owned() },
            scope.cursor_age_seconds.map_or("-".to_owned(), duration),
            owner,
            scope.epoch.to_string(),
            or_dash(scope.digest.as_deref().map(digest_short).as_deref()),
            scope.open_failures.to_string(),
        ];
        if live {
            row.insert(WORKER_COLUMN, scope.live.as_ref().map_or("-", |live| live.phase.as_str()).to_owned());
        }
        row
    });
    let mut headings = vec![
        "tenant",
        "projection",
        "state",
        "#cursor",
        "#last event",
        "#lag",
        "#lag time",
        "#cursor age",
        "owner",
        "#epoch",
        "digest at cursor",
        "#failures",
    ];
    if live {
        headings.insert(WORKER_COLUMN, "worker");
    }
    page.table(&headings, rows);
    let unused = |scope: &&ScopeStatus| scope.generation.is_none() && scope.last_log_seq.0 == 0;
    if let Some(scope) = status.scopes.iter().find(unused) {
        page.line(format_args!("{}: {}", shell_word(scope.tenant.as_str()), scope.why));
    }
    let told =
        |scope: &&ScopeStatus| scope.lag.events > 0 || scope.open_failures > 0 || scope.state == ScopeState::Paused;
    let reasons = status.scopes.iter().filter(told).count();
    for scope in status.scopes.iter().filter(told).take(REASONS_SHOWN) {
        page.line(format_args!("{}/{}: {}", shell_word(scope.tenant.as_str()), scope.projection, scope.why));
    }
    if reasons > REASONS_SHOWN {
        let rest = number((reasons - REASONS_SHOWN) as u64);
        page.line(format_args!("… and {rest} more like these: `decisiongraph why` groups them by reason"));
    }
    match status.scopes.iter().filter(|scope| scope.next_owner.is_some()).count() {
        0 => {}
        free => {
            let (scopes, them) = if free == 1 { ("scope is", "it") } else { ("scopes are", "each") };
            page.line(format_args!(
                "{} {scopes} up to date and unassigned; a node takes {them} when its next event arrives (`decisiongraph why --all` names the node).",
                number(free as u64)
            ));
        }
    }
    for (scope, drift) in status.scopes.iter().filter_map(|scope| Some((scope, scope.drift.as_ref()?))) {
        let (tenant, projection) = (shell_word(scope.tenant.as_str()), &scope.projection);
        page.line(format_args!(
            "{tenant}/{projection}: its rows do not match the log: a verify found drift at {}; `decisiongraph run {}` lists the first rows that differ",
            drift.at, drift.run_id
        ));
    }
    for scope in status.scopes.iter().filter(|scope| scope.deviating) {
        let (tenant, projection) = (shell_word(scope.tenant.as_str()), &scope.projection);
        page.line(format_args!("{tenant}/{projection}: deviates from the reference: a skipped event is left out"));
    }
    if status.summary.scopes > status.scopes.len() as u64 {
        page.line(summary(status));
    }
    if let Some(last) = status.scopes.last().filter(|_| status.more) {
        page.line(format_args!("There are more: --after {}", shell_word(last.tenant.as_str())));
    }
    page
}

/// Counts all scopes by state, for a page that does not show all of them.
fn summary(status: &StatusReply) -> String {
    let StatusSummary { tenants, scopes, states } = &status.summary;
    let states: Vec<_> = states.iter().map(|(state, scopes)| format!("{} {state}", number(*scopes))).collect();
    format!(
        "Shown: {} of {} scopes of {} tenants: {}.",
        number(status.scopes.len() as u64),
        number(*scopes),
        number(*tenants),
        states.join(", ")
    )
}
