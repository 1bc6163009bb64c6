//! Obstacles of the node itself, whatever its scopes: decided by pure functions from the facts of [`Condition`].
//!
//! *Guarantees.* `health`, `why` and `/readyz` say the same, because they all ask here.

use super::seal;
use crate::board::{Board, DatabaseState, HELD_MAX, Unrenewed};
use decisiongraph_protocol::{Finding, HealthWord};
use std::time::Duration;

/// Facts about the node itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Fault of the database, and its duration; none while the database answers.
    pub database_fault: Option<String>,
    /// Next step that fits the fault, where that is not to bring the database back.
    pub database_next: Option<&'static str>,
    /// True when this node may believe that its lease runs.
    pub lease_held: bool,
    /// Reason why the lease is not renewed; none while it is.
    pub unrenewed: Option<Unrenewed>,
    /// Time for which open appenders have held up the mark; none when it is not held up.
    pub mark_held: Option<Duration>,
    /// True when the node is stopping.
    pub draining: bool,
    /// True when no node takes tenants.
    pub nobody_takes: bool,
    /// Fault of the changed identities file of the HTTP interface; none when it is used.
    pub identities_fault: Option<String>,
    /// Findings about the sealed logs of this node's tenants, and about their places.
    pub seal: Vec<Finding>,
}

impl Condition {
    /// Reads the condition of the node now.
    pub fn of(board: &Board) -> Condition {
        Condition {
            database_fault: database_fault(&board.database.state()),
            database_next: database_next(&board.database.state()),
            lease_held: !board.validity.left().is_zero(),
            unrenewed: board.unrenewed.borrow().clone(),
            mark_held: board.mark.borrow().held_since.map(|since| since.elapsed()),
            draining: board.draining.has_begun(),
            nobody_takes: board.placement.takes_nobody(),
            identities_fault: board.identities_fault.borrow().clone(),
            seal: seal::findings(&board.seal),
        }
    }

    /// Lists the findings for the operator, worst first. Without a database nothing else is known.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |health, subject: &str, message: String, next: &str| Finding {
            health,
            subject: subject.to_owned(),
            message,
            next: next.to_owned(),
        };
        if let Some(fault) = &self.database_fault {
            let back = "bring the database back; the node then continues automatically, and nothing is lost";
            let next = self.database_next.unwrap_or(back);
            return vec![finding(HealthWord::Failed, "database", fault.clone(), next)];
        }
        let mut found = Vec::new();
        if self.draining {
            let next = "its service manager starts it again, or another node takes over";
            found.push(finding(HealthWord::Degraded, "node", "this node is stopping".to_owned(), next));
        } else if !self.lease_held || self.unrenewed.as_ref().is_some_and(|unrenewed| unrenewed.next.is_some()) {
            let (cause, next) = self.lease_cause();
            let message = match self.lease_held {
                // The cause that blocks the renewal blocks every commit, too.
                true => format!("this node's lease is still valid but cannot be renewed: {cause}"),
                false => format!("this node does not hold its lease, so it does not write: {cause}"),
            };
            found.push(finding(HealthWord::Degraded, "lease", message, next));
        }
        if self.nobody_takes {
            found.push(finding(
                HealthWord::Degraded,
                "cluster",
                "every node is cordoned or draining: no node takes tenants, and projections fall behind".to_owned(),
                "`decisiongraph cluster` names the operator who requested it; the finding of each node has the command that ends it",
            ));
        }
        if let Some(fault) = &self.identities_fault {
            found.push(finding(
                HealthWord::Degraded,
                "identities",
                format!("the changed identities are not used, and those before them are in force: {fault}"),
                "repair the file, or restore the one before it; the node reads it again within a second or two",
            ));
        }
        if let Some(held) = self.mark_held.filter(|held| *held > HELD_MAX) {
            found.push(finding(
                HealthWord::Degraded,
                "high_water",
                format!("an open appender has held up the mark for {:.0} s", held.as_secs_f64()),
                "`decisiongraph why` names it and how to end it",
            ));
        }
        found.extend(self.seal.iter().cloned());
        found
    }

    /// Names the cause of a lease that is not held or not renewed, and the next step.
    fn lease_cause(&self) -> (String, &'static str) {
        match &self.unrenewed {
            Some(Unrenewed { displaced: true, cause, .. }) => (
                cause.clone(),
                "stop the other process, or start one of the two with another `--name`; `decisiongraph cluster` shows when it joined",
            ),
            Some(Unrenewed { since, cause, next, .. }) => (
                format!("not renewed for {:.0} s: {cause}", since.elapsed().as_secs_f64()),
                next.unwrap_or("nothing yet: the node keeps requesting it; if the cause persists, see the runbook's section `storage`"),
            ),
            None => ("it is being requested".to_owned(), "nothing yet: `decisiongraph tree` shows the lease keeper"),
        }
    }

    /// Checks if work should be sent to this node; the error names the check that failed.
    pub fn ready(&self) -> Result<(), String> {
        match &self.database_fault {
            _ if self.draining => Err("draining: the node is stopping".to_owned()),
            Some(fault) => Err(format!("database: {fault}")),
            None if !self.lease_held => Err(format!("lease: not held: {}", self.lease_cause().0)),
            None => Ok(()),
        }
    }
}

/// Describes the fault of the database; none when it answers.
pub fn database_fault(state: &DatabaseState) -> Option<String> {
    match state {
        DatabaseState::Up => None,
        DatabaseState::Starting => Some("not reached yet".to_owned()),
        DatabaseState::Down { since, message, .. } => {
            Some(format!("away for {:.0} s: {message}", since.elapsed().as_secs_f64()))
        }
    }
}

/// Returns the next step that fits the fault of the database, where the usual step does not.
fn database_next(state: &DatabaseState) -> Option<&'static str> {
    match state {
        DatabaseState::Up | DatabaseState::Starting => None,
        DatabaseState::Down { next, .. } => *next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn each_fact_has_its_finding_and_only_some_make_a_node_unready() {
        let well = Condition { lease_held: true, ..Condition::default() };
        assert!(well.findings().is_empty() && well.ready().is_ok());
        let away = Condition { database_fault: Some("away for 3 s: refused".to_owned()), ..Condition::default() };
        assert_eq!(away.findings().len(), 1, "without a database nothing else is known");
        for (condition, subject, ready) in [
            (away, "database", Some("database: away for 3 s: refused")),
            (Condition { lease_held: false, ..well.clone() }, "lease", Some("lease: not held: it is being requested")),
            (Condition { draining: true, ..well.clone() }, "node", Some("draining: the node is stopping")),
            (Condition { mark_held: Some(HELD_MAX * 2), ..well.clone() }, "high_water", None),
            (Condition { nobody_takes: true, ..well.clone() }, "cluster", None),
            (Condition { identities_fault: Some("faulty".to_owned()), ..well.clone() }, "identities", None),
        ] {
            assert_eq!(condition.findings()[0].subject, subject);
            assert_eq!(condition.ready().err().as_deref(), ready);
        }
        let cause = "commits wait for a synchronous standby".to_owned();
        let unrenewed = Unrenewed { since: Instant::now(), cause, displaced: false, next: Some("bring it back") };
        let waits = Condition { unrenewed: Some(unrenewed.clone()), ..well.clone() };
        let found = waits.findings();
        assert_eq!((found[0].subject.as_str(), found[0].next.as_str()), ("lease", "bring it back"));
        assert!(found[0].message.contains("cannot be renewed: not renewed for 0 s: commits wait"), "{found:?}");
        assert!(waits.ready().is_ok(), "as long as the lease runs");
        let passing = Condition { unrenewed: Some(Unrenewed { next: None, ..unrenewed }), ..well.clone() };
        assert!(passing.findings().is_empty());
        let back = Condition { database_fault: Some("refused".to_owned()), ..Condition::default() };
        assert!(back.findings()[0].next.contains("bring the database back"));
        let unfit = Condition { database_next: Some("run `decisiongraph migrate`"), ..back };
        assert_eq!(unfit.findings()[0].next, "run `decisiongraph migrate`");
        let held = Condition { mark_held: Some(HELD_MAX / 2), ..well };
        assert!(held.findings().is_empty());
    }
}
