//! A node's actors as an indented tree for people, and as Graphviz DOT.
//!
//! *Guarantees.* Each scope about which memory and database disagree is marked. The end of the page describes each
//! disagreement in words.

use crate::graph_text::dot_quoted;
use crate::output::{duration, number, or_dash};
use crate::page::Page;
use decisiongraph_admin::holds_up;
use decisiongraph_projections::catalogue;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::writers::appender;
use decisiongraph_protocol::{ActorEntry, ActorKind, NodeFacts, SupervisorStrategy, TreeReply};
use std::collections::HashSet;

/// Path prefix of the tenants' supervisors.
const TENANTS: &str = "node/scopes/tenant ";

/// Ids of a node's actors in the order in which their supervisors start them. Other actors follow, by name.
const START_ORDER: [&str; 10] = [
    "store_pool",
    "cluster",
    "admin",
    "high_water",
    "lease_keeper",
    "scopes",
    "replay",
    "coordinator",
    "replay_coordinator",
    "jobs",
];

/// Renders the tree for people.
pub fn text(reply: &TreeReply) -> Page {
    let marked = marked(reply);
    let actors = in_start_order(&reply.actors);
    let mut page = facts(&reply.node);
    let rows = branches(&actors).into_iter().zip(&actors).map(|(branch, actor)| {
        let mark = match (marked.is_empty(), marked.contains(actor.path.as_str())) {
            (true, _) => "",
            (false, true) => "! ",
            (false, false) => "  ",
        };
        let strategy = actor.strategy.map(|strategy| format!(" ({})", word(strategy))).unwrap_or_default();
        vec![
            format!("{mark}{branch}{}{strategy}", name(actor)),
            actor.state.clone(),
            actor.uptime_ms.map_or("-".to_owned(), |ms| duration(ms as f64 / 1000.0)),
            actor.restarts_total.to_string(),
            actor.budget.map_or("-".to_owned(), |budget| format!("{}/{}", budget.in_window, budget.allowed)),
            number(actor.mailbox_depth),
            or_dash(actor.last_message.as_deref()),
            or_dash(actor.work.as_deref()),
        ]
    });
    page.table(&["actor", "state", "#up", "#restarts", "#of children", "#mailbox", "last message", "work"], rows);
    if reply.next.is_some() {
        page.line(format_args!(
            "… {} of {} actors; a larger --limit or --under PATH shows others",
            number(reply.actors.len() as i128),
            number(reply.node.actors)
        ));
    }
    if !reply.disagreements.is_empty() {
        page.ours("\nActors and database disagree:");
        for disagreement in &reply.disagreements {
            page.line(format_args!("! {}: {}", disagreement.scope, disagreement.what));
        }
    }
    page
}

/// Renders Graphviz DOT.
pub fn dot(reply: &TreeReply) -> Page {
    let marked = marked(reply);
    let mut page = Page::default();
    page.ours("digraph node {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];");
    for actor in &reply.actors {
        let strategy = actor.strategy.map(|strategy| format!("\\n{}", word(strategy))).unwrap_or_default();
        let label = format!("{}\\n{}{strategy}", dot_quoted(&name(actor)), dot_quoted(&actor.state));
        let shape = if actor.kind == ActorKind::Supervisor { ", shape=folder" } else { "" };
        let look = if marked.contains(actor.path.as_str()) { ", color=red, penwidth=3" } else { "" };
        page.line(format_args!("  \"{}\" [label=\"{label}\"{shape}{look}];", dot_quoted(&actor.path)));
    }
    let listed: HashSet<&str> = reply.actors.iter().map(|actor| actor.path.as_str()).collect();
    for actor in &reply.actors {
        if let Some((parent, _)) = actor.path.rsplit_once('/')
            && listed.contains(parent)
        {
            page.line(format_args!("  \"{}\" -> \"{}\";", dot_quoted(parent), dot_quoted(&actor.path)));
        }
    }
    page.ours("}");
    page
}

/// Renders the node's own facts, above its actors.
fn facts(node: &NodeFacts) -> Page {
    let stopping = if node.draining { ", stopping" } else { "" };
    let lease = match node.lease_left_ms {
        0 => "not held: it does not write".to_owned(),
        left => format!("held, {} left", duration(left as f64 / 1000.0)),
    };
    let up = duration(node.uptime_ms as f64 / 1000.0);
    let mut page = Page::of(format_args!(
        "{} (decisiongraph {}, pid {}), up {up}{stopping}",
        shell_word(&node.name),
        node.version,
        node.pid
    ));
    page.line(format_args!("  database  {}: {}", node.database, node.database_state));
    page.line(format_args!("  lease     {lease}"));
    page.line(format_args!("  mark      {}", number(node.mark.0)));
    for writer in node.waiting_for.iter().filter(|writer| holds_up(writer)) {
        page.line(format_args!("            held up by {}", appender(writer)));
    }
    let (running, waiting) = (number(node.tenants_running), number(node.tenants_waiting));
    page.line(format_args!("  tenants   {running} running, {waiting} waiting"));
    page.line(format_args!("  jobs      {}", number(node.jobs)));
    page.line(format_args!("  actors    {}", number(node.actors)));
    page.line("");
    page
}

/// Returns the paths of the workers about which memory and database disagree, and of their tenants.
fn marked(reply: &TreeReply) -> HashSet<String> {
    let mut paths = HashSet::new();
    for disagreement in &reply.disagreements {
        if let Some((tenant, projection)) = disagreement.scope.rsplit_once('/') {
            let tenant = format!("{TENANTS}{}", tenant.replace('%', "%25").replace('/', "%2F"));
            paths.insert(format!("{tenant}/workers/worker {projection}"));
            paths.insert(tenant);
        }
    }
    paths
}

/// Sorts the actors: siblings in start order, each behind its parent.
fn in_start_order(actors: &[ActorEntry]) -> Vec<&ActorEntry> {
    let projections = catalogue::ALL.iter().map(|projection| format!("worker {}", projection.name()));
    let order: Vec<String> = START_ORDER.iter().map(|id| (*id).to_owned()).chain(projections).collect();
    let place = |id: &str| order.iter().position(|known| known == id).unwrap_or(order.len());
    let mut sorted: Vec<&ActorEntry> = actors.iter().collect();
    sorted.sort_by_cached_key(|actor| actor.path.split('/').map(|id| (place(id), id.to_owned())).collect::<Vec<_>>());
    sorted
}

fn name(actor: &ActorEntry) -> String {
    actor.id().replace("%2F", "/").replace("%25", "%")
}

const fn word(strategy: SupervisorStrategy) -> &'static str {
    match strategy {
        SupervisorStrategy::OneForOne => "one_for_one",
        SupervisorStrategy::OneForAll => "one_for_all",
        SupervisorStrategy::RestForOne => "rest_for_one",
    }
}

/// Draws the lines in front of each actor, which lead to it. The actors are in tree order.
fn branches(actors: &[&ActorEntry]) -> Vec<String> {
    let base = actors.first().map_or(0, |actor| actor.depth());
    // By depth: true when a later sibling is still to come. Filled from the end.
    let mut later: Vec<bool> = Vec::new();
    let mut out: Vec<String> = actors
        .iter()
        .rev()
        .map(|actor| {
            let depth = actor.depth().saturating_sub(base);
            let last = !later.get(depth).copied().unwrap_or_default();
            later.resize(depth + 1, false);
            later[depth] = true;
            if depth == 0 {
                return String::new();
            }
            let above: String = later[1..depth].iter().map(|goes_on| if *goes_on { "│  " } else { "   " }).collect();
            // A cell must not begin with a plain space: the page would escape it as foreign text.
            let above = above.strip_prefix(' ').map_or(above.clone(), |rest| format!("\u{a0}{rest}"));
            format!("{above}{}", if last { "└─ " } else { "├─ " })
        })
        .collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::LogSeq;
    use decisiongraph_protocol::{Disagreement, RestartType};
    use decisiongraph_store::OpenWriter;

    fn actor(path: &str, strategy: Option<SupervisorStrategy>) -> ActorEntry {
        ActorEntry {
            path: path.to_owned(),
            kind: if strategy.is_some() { ActorKind::Supervisor } else { ActorKind::Worker },
            restart: RestartType::Permanent,
            strategy,
            state: "running".to_owned(),
            actor: None,
            started_at_unix_ms: None,
            uptime_ms: Some(1_500),
            budget: None,
            restarts_total: 2,
            last_exit: None,
            mailbox_depth: 0,
            last_message: None,
            work: None,
        }
    }

    fn reply(disagreements: Vec<Disagreement>) -> TreeReply {
        let one = Some(SupervisorStrategy::OneForOne);
        TreeReply {
            node: NodeFacts {
                name: "n".to_owned(),
                incarnation: String::new(),
                version: "0".to_owned(),
                pid: 1,
                uptime_ms: 1,
                database: "sqlite:x".to_owned(),
                database_state: "up".to_owned(),
                lease_left_ms: 0,
                mark: LogSeq(9),
                waiting_for: vec![OpenWriter {
                    transaction: "3/7".to_owned(),
                    pid: Some(42),
                    age_seconds: Some(3.0),
                    query: Some("INSERT\u{1b}[2J\nINTO".to_owned()),
                    ..OpenWriter::default()
                }],
                tenants_running: 1,
                tenants_waiting: 0,
                jobs: 0,
                draining: false,
                actors: 8,
            },
            actors: vec![
                actor("node", Some(SupervisorStrategy::RestForOne)),
                actor("node/admin", None),
                actor("node/scopes", one),
                actor("node/scopes/tenant a%2Fb\u{202e}", one),
                actor("node/scopes/tenant a%2Fb\u{202e}/coordinator", None),
                actor("node/scopes/tenant a%2Fb\u{202e}/workers", one),
                actor("node/scopes/tenant a%2Fb\u{202e}/workers/worker w", None),
                actor("node/scopes/tenant z", one),
                actor("node/replay", one),
            ],
            disagreements,
            next: None,
        }
    }

    #[test]
    fn lines_lead_to_each_actor_and_nothing_steers_the_terminal() {
        let text = text(&reply(Vec::new())).to_string();
        for line in [
            " node (rest_for_one) ",
            " ├─ admin ",
            " ├─ scopes (one_for_one) ",
            " │  ├─ tenant a/b\\u{202e} (one_for_one) ",
            " │  │  ├─ coordinator ",
            " │  │  └─ workers (one_for_one) ",
            " │  │     └─ worker w ",
            " │  └─ tenant z (one_for_one) ",
            " └─ replay (one_for_one) ",
        ] {
            assert!(text.lines().any(|shown| shown.starts_with(line)), "{line}: {text}");
        }
        assert!(text.contains("held up by pid 42, open for 3.0 s: INSERT\\u{1b}[2J\\nINTO"), "{text}");
        assert!(text.contains("not held") && !text.contains('!') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn disagreements_are_marked_and_told() {
        let what = "its worker says 9, the database 3".to_owned();
        let text = text(&reply(vec![Disagreement { scope: "a/b\u{202e}/w".to_owned(), what }])).to_string();
        let marked: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with('!')).collect();
        assert_eq!(marked.len(), 3, "{text}");
        assert!(marked[0].contains("tenant a/b") && marked[1].contains("worker w"), "{text}");
        assert_eq!(marked[2], "! a/b\\u{202e}/w: its worker says 9, the database 3");
    }

    #[test]
    fn dot_has_a_node_an_actor_and_an_edge_to_each_but_the_root() {
        let dot = dot(&reply(Vec::new())).to_string();
        assert_eq!(dot.lines().filter(|line| line.contains("[label=")).count(), 9, "{dot}");
        assert_eq!(dot.lines().filter(|line| line.contains(" -> ")).count(), 8, "{dot}");
    }
}
