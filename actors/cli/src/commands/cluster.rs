//! `cluster`, `cordon`, `uncordon`, `drain` and `forget`: the nodes, and requests of an operator about one node.

use super::Context;
use super::steer::Because;
use crate::output::{duration, number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{
    AdminError, ClusterReply, ClusterRequest, CordonRequest, ExitCode, ForgetRequest, LinkState, MemberState,
    MemberStatus, UncordonRequest,
};

/// List the nodes that share the database: their state, lease and number of tenants
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph cluster --node unix:/var/lib/decisiongraph/admin.sock")]
pub struct Cluster {}

impl Cluster {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        context.show(ClusterRequest, text).await
    }
}

/// Stop assigning tenants to a node; it keeps its current ones
///
/// Durable, by the node's name: a restart of the node changes nothing. `uncordon` ends it.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph cordon node-2 --reason \"disk is being replaced\"")]
pub struct Cordon {
    /// The node's name, from `decisiongraph cluster`
    #[arg(value_name = "NODE")]
    name: String,
    /// Reason, shown to other operators
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
}

impl Cordon {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Cordon { name, reason } = self;
        context.show(CordonRequest { node: name, draining: false, reason }, text).await
    }
}

/// Move a node's tenants to other nodes, a few at a time, and assign no more to it
///
/// Each worker finishes its batch first. The node keeps running; stop it when `decisiongraph cluster` shows no tenants
/// on it. Durable, by the node's name. `uncordon` ends it.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph drain node-2 --reason upgrade")]
pub struct Drain {
    /// The node's name, from `decisiongraph cluster`
    #[arg(value_name = "NODE")]
    name: String,
    /// Reason, shown to other operators
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
}

impl Drain {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Drain { name, reason } = self;
        context.show(CordonRequest { node: name, draining: true, reason }, text).await
    }
}

/// Assign tenants to a node again
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph uncordon node-2")]
pub struct Uncordon {
    /// The node's name, from `decisiongraph cluster`
    #[arg(value_name = "NODE")]
    name: String,
    #[command(flatten)]
    because: Because,
}

impl Uncordon {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        context.show(UncordonRequest { node: self.name, reason: self.because.reason }, text).await
    }
}

/// Forget a node that died and will not come back
///
/// A dead node stays listed, and `health` says so, until it starts again, is forgotten, or has been dead for a day.
/// The node's cordon or drain is removed with it.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph forget node-2")]
pub struct Forget {
    /// The node's name, from `decisiongraph cluster`
    #[arg(value_name = "NODE")]
    name: String,
    #[command(flatten)]
    because: Because,
}

impl Forget {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        context.show(ForgetRequest { node: self.name, reason: self.because.reason }, text).await
    }
}

fn text(reply: &ClusterReply) -> Page {
    if reply.members.is_empty() {
        return Page::of("No node has joined yet: start one with `decisiongraph node`.");
    }
    let rows = reply.members.iter().map(|member| row(member, reply.answered_by.as_deref()));
    let mut page = Page::default();
    page.table(&["node", "state", "#lease", "#tenants", "address", "program", "since", "because"], rows);
    if !reply.links.is_empty() {
        let links = reply.links.iter().map(link);
        page.table(&["link to", "state", "#since", "#ping", "speaks", "last error"], links);
    }
    if reply.moving > 0 {
        page.line(format_args!("{} tenants are being moved from this node to others.", number(reply.moving)));
    }
    page
}

fn row(member: &MemberStatus, answered_by: Option<&str>) -> Vec<String> {
    let mine = if answered_by == Some(member.node.as_str()) { " *" } else { "" };
    let lease = match member.state {
        MemberState::Dead => format!("over for {}", duration(member.dead_for_ms as f64 / 1_000.0)),
        _ => duration(member.lease_left_ms as f64 / 1_000.0),
    };
    let because = member.cordon.as_ref().map(|cordon| format!("{} ({})", cordon.reason, cordon.by));
    vec![
        format!("{}{mine}", member.node),
        member.state.as_str().to_owned(),
        lease,
        member.tenants.map_or("-".to_owned(), number),
        or_dash(member.address.as_deref()),
        format!("{} (protocol {})", member.program, member.protocol),
        member.joined_at.clone(),
        because.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn link(link: &LinkState) -> Vec<String> {
    vec![
        link.node.clone(),
        link.state.as_str().to_owned(),
        duration(link.since_ms as f64 / 1_000.0),
        link.rtt_us.map_or("-".to_owned(), |rtt| format!("{:.1} ms", rtt as f64 / 1_000.0)),
        link.protocol.map_or("-".to_owned(), |protocol| format!("protocol {protocol}")),
        or_dash(link.last_error.as_deref()),
    ]
}
