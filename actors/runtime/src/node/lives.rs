//! Worker states of all nodes, merged into the database's answer. The database's word is the truth; a worker's word is
//! shown beside it.
//!
//! *Guarantees.* Each node that could not be asked is named. If two nodes have a worker for a scope, the worker of the
//! scope's owner is shown. Pure: [`super::NodeAnswers`] decides which nodes are asked, and for how long.

use crate::board::Whose;
use crate::tenants::Phase;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{
    AdminError, Finding, HealthWord, LiveOf, LiveReply, Partial, PeerReply, ScopeState, ScopeStatus,
};
use std::collections::HashMap;

/// Subjects of another node's findings that concern more than that node. Every node finds the other subjects by itself.
const SHARED_FINDINGS: [&str; 4] = ["database", "node", "lease", "identities"];

/// Answers of the nodes, merged.
#[derive(Default)]
pub(super) struct Lives {
    /// Node and its worker's state, by scope.
    seen: HashMap<(TenantId, String), (String, LiveOf)>,
    /// Nodes that could not be asked, with the reasons.
    pub partial: Vec<Partial>,
    /// Findings of the other nodes: what stands in their way.
    pub findings: Vec<Finding>,
}

impl Lives {
    /// Merges the answers of this node and of the others.
    pub fn merge(own: LiveReply, others: Vec<(String, Result<PeerReply, AdminError>)>) -> Lives {
        let mut lives = Lives::default();
        lives.add(own);
        for (node, answer) in others {
            match answer {
                Ok(PeerReply::Live(reply)) => {
                    let concerns = |finding: &Finding| SHARED_FINDINGS.contains(&finding.subject.as_str());
                    lives.findings.extend(reply.findings.iter().filter(|finding| concerns(finding)).map(|finding| {
                        Finding { subject: format!("node {node}: {}", finding.subject), ..finding.clone() }
                    }));
                    lives.add(reply);
                }
                Ok(_) => {
                    let error = AdminError::new(Category::VersionMismatch, "it sent an unexpected answer");
                    lives.partial.push(Partial { node, error });
                }
                Err(error) => lives.partial.push(Partial { node, error }),
            }
        }
        lives
    }

    fn add(&mut self, reply: LiveReply) {
        for of in reply.scopes {
            let key = (of.tenant.clone(), of.projection.clone());
            let better = match self.seen.get(&key) {
                None => true,
                Some((_, known)) => rank(known.live.phase) < rank(of.live.phase),
            };
            if better {
                self.seen.insert(key, (reply.node.clone(), of));
            }
        }
    }

    /// Makes a finding for each node that could not be asked.
    pub fn unasked(&self) -> Vec<Finding> {
        let finding = |partial: &Partial| Finding {
            health: HealthWord::Degraded,
            subject: format!("node {}", partial.node),
            message: format!("it could not be asked: {}", partial.error.message),
            next: partial.error.next.clone(),
        };
        self.partial.iter().map(finding).collect()
    }

    /// Adds to a scope's status what its worker does. Without a worker, adds the node on which it should be.
    pub fn show(&self, scope: &mut ScopeStatus, me: &str, whose: impl FnOnce() -> Whose) {
        let Some((node, of)) = self.seen.get(&(scope.tenant.clone(), scope.projection.clone())) else {
            if scope.is_behind() && matches!(scope.state, ScopeState::Unowned | ScopeState::Behind) {
                scope.state = ScopeState::Behind;
                scope.why = self.absent(&whose());
            } else if scope.state == ScopeState::Current && !scope.owner_live && scope.last_log_seq > LogSeq::ORIGIN {
                scope.next_owner = match whose() {
                    Whose::Ours => Some(me.to_owned()),
                    Whose::Theirs(node) => Some(node),
                    Whose::Nobody | Whose::Unknown => None,
                };
                if let Some(node) = &scope.next_owner {
                    scope.why = format!(
                        "{}; it needs no owner now, and {node} takes it when its next event arrives",
                        scope.why
                    );
                }
            }
            return;
        };
        let live = &of.live;
        let fault = live.fault.as_ref().map(|fault| fault.message.clone());
        let cause = live.fault.as_ref().map(|fault| fault.category);
        match live.phase {
            Phase::Retrying => {
                scope.state = ScopeState::Retrying;
                scope.cause = cause;
                scope.why = format!("attempt {}: {}", live.attempt, fault.unwrap_or_else(|| live.doing.clone()));
            }
            Phase::Failed => {
                scope.state = ScopeState::Failed;
                scope.cause = cause;
                scope.why = fault.unwrap_or_default();
            }
            Phase::CatchingUp | Phase::Boot
                if scope.is_behind()
                    && scope.cursor < of.target
                    && matches!(scope.state, ScopeState::Unowned | ScopeState::Behind | ScopeState::Waiting) =>
            {
                scope.state = ScopeState::Working;
                scope.why = if live.doing.is_empty() { "applying".to_owned() } else { live.doing.clone() };
            }
            Phase::Standby if scope.is_behind() => scope.why.clone_from(&live.doing),
            _ => {}
        }
        scope.live = Some(live.clone());
        scope.live_on = Some(node.clone());
    }

    fn absent(&self, whose: &Whose) -> String {
        match whose {
            Whose::Ours | Whose::Unknown => "this node has not started it yet: it waits for its turn".to_owned(),
            Whose::Theirs(node) if self.partial.iter().any(|partial| partial.node == *node) => {
                format!("it is assigned to node {node}, which could not be asked")
            }
            Whose::Theirs(node) => format!("it is assigned to node {node}"),
            Whose::Nobody => "no node takes tenants: all are cordoned; see `decisiongraph cluster`".to_owned(),
        }
    }
}

/// Ranks the phase of a worker: the higher rank counts more.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Stopped => 0,
        Phase::Standby => 1,
        Phase::Boot => 2,
        Phase::Paused | Phase::Failed | Phase::Retrying => 3,
        Phase::CatchingUp | Phase::Idle => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::LiveScope;

    fn reply(node: &str, phase: Phase, subject: &str) -> LiveReply {
        let tenant = TenantId::new("t").expect("an id");
        let live = LiveScope { phase, ..LiveScope::default() };
        let (health, message, next) = (HealthWord::Degraded, String::new(), String::new());
        LiveReply {
            node: node.to_owned(),
            scopes: vec![LiveOf { tenant, projection: "p".to_owned(), target: LogSeq(9), live }],
            findings: vec![Finding { health, subject: subject.to_owned(), message, next }],
        }
    }

    #[test]
    fn the_owners_worker_is_shown_whoever_answers_first_and_who_is_silent_is_named() {
        let live = |reply| ("b".to_owned(), Ok(PeerReply::Live(reply)));
        for (own, other, shown) in [(Phase::Standby, Phase::Idle, "b"), (Phase::CatchingUp, Phase::Standby, "a")] {
            let silent = AdminError::new(Category::Unavailable, "hangs");
            let others = vec![live(reply("b", other, "lease")), ("c".to_owned(), Err(silent))];
            let lives = Lives::merge(reply("a", own, "lease"), others);
            let (node, _) = &lives.seen[&(TenantId::new("t").expect("an id"), "p".to_owned())];
            assert_eq!(node, shown);
            assert_eq!(lives.findings.len(), 1);
            assert_eq!(lives.findings[0].subject, "node b: lease");
            assert_eq!((lives.partial[0].node.as_str(), lives.unasked()[0].health), ("c", HealthWord::Degraded));
        }
        let lives = Lives::merge(reply("a", Phase::Idle, "x"), vec![live(reply("b", Phase::Idle, "high_water"))]);
        assert!(lives.findings.is_empty(), "what every node finds by itself is not told twice");
    }
}
