//! `precedents`: the decisions of similar cases.

use super::Context;
use super::read_flags::{FreshnessFlags, stale};
use crate::output::{number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{AdminError, ExitCode, ReadRequest};
use decisiongraph_store::{PrecedentFilter, PrecedentHit};

/// Find finished traces that decided a similar case, latest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  decisiongraph precedents --policy-id discount_cap --outcome success
  decisiongraph precedents --entity-type account --entity-id acme")]
pub struct Precedents {
    /// Traces that evaluated this policy, or asked for an exception from it
    #[arg(long, value_name = "ID")]
    policy_id: Option<String>,
    /// Version of the policy (needs --policy-id)
    #[arg(long, value_name = "VERSION")]
    policy_version: Option<String>,
    /// About an entity of this type
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<String>,
    /// About this entity (needs --entity-type)
    #[arg(long, value_name = "ID")]
    entity_id: Option<String>,
    /// success, failure or abandoned
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Most traces, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    limit: i64,
    #[command(flatten)]
    freshness: FreshnessFlags,
}

impl Precedents {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let query = PrecedentFilter {
            policy_id: self.policy_id,
            policy_version: self.policy_version,
            entity_type: self.entity_type,
            entity_id: self.entity_id,
            outcome: self.outcome,
            limit: self.limit,
        };
        let freshness = self.freshness.freshness();
        let request = ReadRequest { tenant: context.globals.tenant.clone(), freshness, query };
        context.show(request, |read| {
            let mut page = stale(read.stale.as_ref());
            page.page(text(&read.answer.hits));
            if read.answer.more {
            page.ours("There are more: a larger --limit (up to 10,000) shows them; or name a policy, an entity or an outcome");
            }
            page
        }).await
    }
}

/// Renders the hits for people.
pub fn text(hits: &[PrecedentHit]) -> Page {
    let rows = hits.iter().map(|hit| {
        let policy = match (&hit.policy_id, &hit.policy_version) {
            (Some(id), Some(version)) => format!("{id} {version}"),
            _ => "-".to_owned(),
        };
        let entity = match (&hit.primary_entity_type, &hit.primary_entity_id) {
            (Some(kind), Some(id)) => format!("{kind}:{id}"),
            _ => "-".to_owned(),
        };
        vec![
            hit.trace_id.clone(),
            hit.title.clone(),
            hit.outcome.clone(),
            entity,
            policy,
            or_dash(hit.exception_id.as_deref()),
            hit.finished_at.clone(),
            number(hit.last_log_seq.0),
        ]
    });
    let mut page = Page::default();
    page.table(&["trace", "title", "outcome", "about", "policy", "exception", "finished_at", "#log_seq"], rows);
    page
}
