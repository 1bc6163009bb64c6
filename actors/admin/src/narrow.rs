//! Replies for an asker who does not reach every tenant.
//!
//! *Guarantees.* No text and no member of such a reply is about another tenant, the database, its sessions, or the
//! number of anything beyond the asker's tenant. That something about the whole node is not as it should be is told, in
//! one finding without its cause.
//!
//! *Never here:* who reaches what. The listener says so ([`Asker::reaches_all`](decisiongraph_protocol::Asker)).

use super::health::{about_node, findings};
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::writers::who;
use decisiongraph_protocol::{
    Finding, HealthReply, HealthWord, ScopeState, ScopeStatus, SealPlace, SealStatusReply, StatusReply,
};
use decisiongraph_store::OpenWriter;

/// Stands for a session of the database.
const SESSION: &str = "another session";
/// Stands for a cause that concerns the whole node.
const CAUSE: &str = "an operator of the node sees the cause";

/// Leaves the facts about the whole node out of a status.
pub fn narrow(status: &mut StatusReply) {
    status.scopes.iter_mut().for_each(|scope| narrow_scope(scope, &status.waiting_for));
    status.database.clear();
    status.sequence = LogSeq::ORIGIN;
    status.out_of_service.clear();
    status.strays.clear();
    status.partial.clear();
    status.unsealed = None;
    for writer in &mut status.waiting_for {
        let OpenWriter { age_seconds, waits_for_standby, .. } = *writer;
        *writer = OpenWriter { age_seconds, waits_for_standby, ..OpenWriter::default() };
    }
}

fn narrow_scope(scope: &mut ScopeStatus, writers: &[OpenWriter]) {
    let fault = scope.live.as_mut().and_then(|live| live.fault.as_mut()).filter(|fault| !fault.poison);
    let category = fault.as_ref().map_or_else(String::new, |fault| format!(" ({})", fault.category));
    if let Some(fault) = fault {
        // The message of a database or of the system.
        CAUSE.clone_into(&mut fault.message);
    }
    scope.why = match scope.state {
        ScopeState::Retrying => format!("its worker tries again{category}: {CAUSE}"),
        ScopeState::Failed if !category.is_empty() => format!("its worker is stopped{category}: {CAUSE}"),
        // Above the end of the whole log.
        ScopeState::Failed if scope.why.starts_with("the cursor of ") => {
            format!("its cursor does not fit the log: {CAUSE}")
        }
        _ => writers.iter().fold(std::mem::take(&mut scope.why), |why, writer| why.replace(&who(writer), SESSION)),
    };
    if let Some(live) = scope.live.as_mut().filter(|_| scope.state == ScopeState::Retrying) {
        live.doing.clear();
    }
}

/// Leaves the names and faults of places out of the state of seals: they are paths and addresses of the node.
pub fn seals(reply: &mut SealStatusReply) {
    let names = std::mem::take(&mut reply.memory);
    reply.without_rotation.clear();
    for seal in &mut reply.seals {
        places(&mut seal.places);
        seal.findings.iter_mut().for_each(|found| found.message = by_kind(&found.message, &names));
    }
}

/// Leaves the names of places out, but for their kinds, and the causes of their faults.
pub fn places(places: &mut [SealPlace]) {
    for place in places {
        place.place = kind_of(&place.place).to_owned();
        if let Some(fault) = &mut place.fault {
            CAUSE.clone_into(fault);
        }
    }
}

/// Names places, and the nodes whose journals were asked, in a text by their kinds.
pub fn by_kind(text: &str, names: &[String]) -> String {
    let text = names.iter().fold(text.to_owned(), |text, name| text.replace(name.as_str(), kind_of(name)));
    let mut parts = text.split("peer:");
    let first = parts.next().unwrap_or_default().to_owned();
    // The name of a node ends before the next mark: `(peer:NODE)`, or `peer:NODE: reason`.
    parts.fold(first, |text, part| format!("{text}peer{}", part.trim_start_matches(|c: char| !":;),".contains(c))))
}

fn kind_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}

/// Makes the health of the scopes in a status, with at most one finding in place of those about the whole node.
/// `nodes` are the node's own.
pub fn health(status: &mut StatusReply, nodes: Vec<Finding>) -> HealthReply {
    let general = general(nodes.into_iter().chain(about_node(status)));
    narrow(status);
    status.waiting_for.clear();
    let mut reply = findings(status);
    reply.findings.extend(general);
    reply
}

/// Makes one finding of those about the whole node; none when none of them asks for an operator.
pub fn general(findings: impl Iterator<Item = Finding>) -> Option<Finding> {
    let health = findings.map(|finding| finding.health).max().filter(|health| *health != HealthWord::Ok)?;
    Some(Finding {
        health,
        subject: "node".to_owned(),
        message: format!("the node or its database is not as it should be; {CAUSE}"),
        next: "ask an operator of the node".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::{Category, TenantId};
    use decisiongraph_protocol::{Fault, LiveScope};
    use decisiongraph_store::{Backend, Lag, Stray};

    fn scope(state: ScopeState, why: &str, fault: Option<&str>) -> ScopeStatus {
        let fault =
            fault.map(|text| Fault { category: Category::Unavailable, message: text.to_owned(), poison: false });
        ScopeStatus {
            tenant: TenantId::default(),
            projection: "trace_summary".to_owned(),
            state,
            cursor: LogSeq(1),
            last_log_seq: LogSeq(2),
            lag: Lag { events: 1, more: false, seconds: 1.0 },
            cursor_age_seconds: None,
            owner: None,
            owner_live: false,
            epoch: 0,
            generation: None,
            digest: None,
            version: None,
            open_failures: 0,
            deviating: false,
            drift: None,
            active_run: None,
            why: why.to_owned(),
            cause: None,
            next_owner: None,
            live: fault.map(|fault| LiveScope {
                fault: Some(fault),
                doing: "secret-host".to_owned(),
                ..LiveScope::default()
            }),
            live_on: None,
        }
    }

    #[test]
    fn nothing_about_the_whole_node_is_left() {
        let writer = OpenWriter {
            transaction: "3/777".to_owned(),
            pid: Some(777),
            age_seconds: Some(90.0),
            query: Some("secret query".to_owned()),
            role: Some("secret-role".to_owned()),
            application: Some("secret-tenant".to_owned()),
            waits_for_standby: false,
        };
        let waits = format!("waiting for an appender: {}", who(&writer));
        let mut status = StatusReply {
            database: "postgres://secret-host/db".to_owned(),
            backend: Backend::Postgres,
            sequence: LogSeq(123_456),
            mark_is_safe: false,
            waiting_for: vec![writer],
            scopes: vec![
                scope(ScopeState::Waiting, &waits, None),
                scope(ScopeState::Retrying, "attempt 2: secret-host refused", Some("secret-host refused")),
                scope(ScopeState::Failed, "the cursor of a/b is above the last position (123456)", None),
                scope(ScopeState::Paused, "paused by ann: a review", None),
            ],
            more: false,
            summary: decisiongraph_protocol::StatusSummary::default(),
            partial: Vec::new(),
            strays: vec![Stray {
                table: "secret".to_owned(),
                log_seq: None,
                why: "secret".to_owned(),
                next: String::new(),
            }],
            out_of_service: Vec::new(),
            unsealed: Some("no key".to_owned()),
        };
        let mut shown = status.clone();
        narrow(&mut shown);
        let text = format!("{shown:?}");
        assert!(!text.contains("secret") && !text.contains("777") && !text.contains("123456"), "{text}");
        assert!(text.contains("waiting for an appender: another session") && text.contains("paused by ann: a review"));
        let own = Finding {
            health: HealthWord::Failed,
            subject: "database".to_owned(),
            message: "secret-host is away".to_owned(),
            next: "secret".to_owned(),
        };
        let health = health(&mut status, vec![own]);
        let text = format!("{health:?}");
        assert!(!text.contains("secret") && !text.contains("777") && !text.contains("123456"), "{text}");
        let general: Vec<_> = health.findings.iter().filter(|finding| finding.subject == "node").collect();
        assert_eq!((general.len(), general[0].health), (1, HealthWord::Failed));
    }
}
