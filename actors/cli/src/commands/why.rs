//! `why`: the reasons for which scopes lag, and advice about them.

use super::{Context, status};
use crate::output::{duration, number};
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, ExitCode, ScopeWhy, WhyGroup, WhyReply, WhyRequest};

/// Explain why scopes lag, one sentence each, and what to do; problems of the whole node come first
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph why --tenant acme --projection trace_summary")]
pub struct Why {
    /// Also list scopes that are current
    #[arg(long)]
    all: bool,
}

impl Why {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = WhyRequest { filter: status::filter(context), all: self.all };
        context.show(request, |why| text(why, self.all)).await
    }
}

fn text(reply: &WhyReply, all: bool) -> Page {
    let mut page = Page::default();
    for cause in &reply.causes {
        page.line(format_args!("{}: {}", cause.subject, cause.message));
        page.line(format_args!("  next: {}", cause.next));
    }
    // A node of an older release sends no groups.
    if all || reply.groups.is_empty() {
        reply.scopes.iter().for_each(|scope| one(&mut page, scope));
        if reply.more {
            page.ours("There are more: name a --tenant, or omit --all.");
        }
    } else {
        reply.groups.iter().for_each(|group| of_group(&mut page, group));
    }
    let told = if all { reply.scopes.len() as u64 } else { reply.groups.iter().map(|group| group.scopes).sum() };
    let told = told.max(reply.scopes.len() as u64);
    let current = if all && reply.more { 0 } else { reply.scopes_total.saturating_sub(told) };
    if reply.scopes.is_empty() && reply.scopes_total == 0 && reply.causes.is_empty() {
        page.ours("No events and no projections yet: `decisiongraph import FILE` imports events.");
    } else if current > 0 {
        let noun = if current == 1 { "scope is" } else { "scopes are" };
        page.line(format_args!("{} {noun} current.", number(current)));
    }
    page
}

/// Adds a scope, with advice about it.
fn one(page: &mut Page, scope: &ScopeWhy) {
    let behind = match (scope.lag.events, scope.lag.more) {
        (0, _) => String::new(),
        (1, false) => format!(", 1 event behind ({})", duration(scope.lag.seconds)),
        (events, more) => {
            let more = if more { "+" } else { "" };
            format!(", {}{more} events behind ({})", number(events), duration(scope.lag.seconds))
        }
    };
    let tenant = shell_word(scope.tenant.as_str());
    page.line(format_args!("{tenant}/{} is {}{behind}: {}", scope.projection, scope.state.as_str(), scope.why));
    if let Some(next) = &scope.next {
        page.line(format_args!("  next: {next}"));
    }
}

/// Adds few scopes one by one, and many as one line with the first of them.
fn of_group(page: &mut Page, group: &WhyGroup) {
    let Some(example) = group.examples.first().filter(|_| group.scopes > group.examples.len() as u64) else {
        return group.examples.iter().for_each(|scope| one(page, scope));
    };
    let cause = group.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let cause = if group.drifted { format!("{cause}, drifted") } else { cause };
    let (tenant, state) = (shell_word(example.tenant.as_str()), group.state.as_str());
    page.line(format_args!(
        "{} scopes are {state}{cause}, such as {tenant}/{}: {}",
        number(group.scopes),
        example.projection,
        example.why
    ));
    let of_this = example.next.as_ref().map(|next| format!("for this one: {next}"));
    let next: Vec<String> = group.next.iter().cloned().chain(of_this).collect();
    page.line(format_args!("  next: {}", next.join("; ")));
}
