//! Actors of the supervision table in the words of the protocol.

use decisiongraph_protocol::{ActorEntry, ActorExit, ActorKind, RestartBudget, RestartType, SupervisorStrategy};
use decisiongraph_supervision as tree;

/// Converts an entry to the form that a dump shows.
pub fn shown(entry: tree::ActorEntry) -> ActorEntry {
    ActorEntry {
        path: entry.path,
        kind: match entry.kind {
            tree::ChildKind::Worker => ActorKind::Worker,
            tree::ChildKind::Supervisor => ActorKind::Supervisor,
        },
        restart: match entry.restart {
            tree::Restart::Permanent => RestartType::Permanent,
            tree::Restart::Transient => RestartType::Transient,
            tree::Restart::Temporary => RestartType::Temporary,
        },
        strategy: entry.strategy.map(|strategy| match strategy {
            tree::Strategy::OneForOne => SupervisorStrategy::OneForOne,
            tree::Strategy::RestForOne => SupervisorStrategy::RestForOne,
            tree::Strategy::OneForAll => SupervisorStrategy::OneForAll,
        }),
        state: entry.state,
        actor: entry.actor,
        started_at_unix_ms: entry.started_at_unix_ms,
        uptime_ms: entry.uptime_ms,
        budget: entry.budget.map(|budget| RestartBudget {
            in_window: budget.in_window,
            allowed: budget.allowed,
            period_ms: budget.period_ms,
        }),
        restarts_total: entry.restarts_total,
        last_exit: entry.last_exit.map(|exit| match exit {
            tree::ExitReason::Normal => ActorExit::Normal,
            tree::ExitReason::Shutdown => ActorExit::Shutdown,
            tree::ExitReason::Killed => ActorExit::Killed,
            tree::ExitReason::Failed(text) => ActorExit::Failed(text),
        }),
        mailbox_depth: entry.mailbox_depth,
        last_message: entry.last_message,
        work: entry.work,
    }
}
