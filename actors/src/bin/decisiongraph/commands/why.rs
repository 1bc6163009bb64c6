//! `why`: why scopes lag, and what to do about it.

use super::{Context, status, unexpected};
use crate::output::{duration, number};
use crate::page::Page;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, WhyReply};
use decisiongraph_actors::foreign_text::shell_word;

/// Say why scopes lag, one sentence each, and what to do about it; what concerns the whole node comes first
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph why --tenant acme --projection trace_summary")]
pub struct Why {
    /// The scopes that are current too
    #[arg(long)]
    all: bool,
}

impl Why {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = AdminRequest::Why { filter: status::filter(context), all: self.all };
        let reply = context.ask(request).await?;
        let AdminReply::Why(why) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || text(why))?;
        Ok(ExitCode::OK)
    }
}

fn text(reply: &WhyReply) -> Page {
    let mut page = Page::default();
    for cause in &reply.causes {
        page.line(format_args!("{}: {}", cause.subject, cause.message));
        page.line(format_args!("  next: {}", cause.next));
    }
    for scope in &reply.scopes {
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
    let current = reply.scopes_total - reply.scopes.len() as u64;
    if reply.scopes.is_empty() && reply.scopes_total == 0 && reply.causes.is_empty() {
        page.ours("No events and no projections yet: `decisiongraph import FILE` takes events in.");
    } else if current > 0 {
        let noun = if current == 1 { "scope is" } else { "scopes are" };
        page.line(format_args!("{} {noun} current.", number(current)));
    }
    page
}
