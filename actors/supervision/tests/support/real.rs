//! The real supervisor with real children, driven through a history.

use super::histories::{Event, History, Outcome, What};
use super::{Bench, Fault, HANGING, Journal, ToyMessage, WAIT_MAX, bench, exited, until};
use decisiongraph_supervision::{
    ActorTable, ChildInfo, ChildSpec, ChildState, ExitReason, Intensity, Restart, Root, Shutdown, SupervisorError,
    SupervisorSpec, start_root,
};
use ractor::{ActorCell, ActorRef};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for a child that hangs in its stop. Other children need a fraction of it, also on a busy machine.
const HANG_MAX: Duration = Duration::from_millis(1500);

pub struct Real {
    root: Option<Root>,
    bench: Bench,
    journal: Journal,
    table: ActorTable,
}

impl Real {
    pub async fn boot(history: &History) -> (Real, Outcome) {
        let (bench, journal) = bench();
        fail(&bench, &history.boot_faults);
        let mut spec = SupervisorSpec::new(history.strategy, Intensity::new(history.restarts_max, history.period));
        spec.children = history.children.iter().map(|(id, restart)| child(&bench, id, *restart)).collect();
        let table = ActorTable::new();
        let root = start_root("node", spec, table.clone()).await.ok();
        let answer = if root.is_some() { "ok" } else { "failed" };
        let mut real = Real { root, bench, journal, table };
        let outcome = real.outcome(answer).await;
        (real, outcome)
    }

    pub async fn step(&mut self, event: &Event) -> Outcome {
        let Some(root) = self.root.clone() else { panic!("the supervisor is gone") };
        let handle = root.supervisor();
        self.bench.fail_no_starts();
        fail(&self.bench, &event.faults);
        let answer = match &event.what {
            What::Exit(id, reason) => {
                if let Some(actor) = self.actor(id).await {
                    end(&actor, reason);
                    tokio::time::timeout(WAIT_MAX, self.settle(&actor)).await.expect("the exit is dealt with");
                }
                ""
            }
            What::Hang(id) => {
                if let Some(actor) = self.actor(id).await {
                    let _ = ActorRef::<ToyMessage>::from(actor).send_message(ToyMessage::HangOnStop);
                    let path = format!("node/{id}");
                    until(|| (self.table.entry(&path)?.state == HANGING).then_some(())).await;
                }
                ""
            }
            What::Terminate(id) => word(handle.terminate_child(id).await),
            What::Restart(id) => word(handle.restart_child(id).await),
            What::Delete(id) => word(handle.delete_child(id).await),
            What::Start(id, restart) => word(handle.start_child(child(&self.bench, id, *restart)).await),
            What::Stop => {
                let stopped = tokio::time::timeout(WAIT_MAX, root.stop()).await.expect("an ordered stop ends");
                assert_eq!(stopped, ExitReason::Shutdown);
                assert!(!root.gave_up());
                self.root = None;
                ""
            }
        };
        self.outcome(answer).await
    }

    async fn actor(&self, id: &str) -> Option<ActorCell> {
        let listed = self.root.as_ref()?.supervisor().which_children().await.ok()?;
        listed.into_iter().find(|child| child.id == id)?.actor
    }

    /// Waits until the supervisor has seen this exit and no restart is under way.
    async fn settle(&mut self, old: &ActorCell) {
        let Some(root) = self.root.clone() else { return };
        loop {
            match root.supervisor().which_children().await {
                Ok(listed) => {
                    let settled =
                        |child: &ChildInfo| child.state != ChildState::Restarting && child.actor.as_ref() != Some(old);
                    if listed.iter().all(settled) {
                        return;
                    }
                }
                Err(error) => {
                    assert_eq!(error, SupervisorError::Gone);
                    assert_eq!(exited(&root).await, ExitReason::Shutdown);
                    assert!(root.gave_up());
                    self.root = None;
                    return;
                }
            }
        }
    }

    async fn outcome(&mut self, answer: &str) -> Outcome {
        let running = match &self.root {
            None => None,
            Some(root) => {
                let listed = root.supervisor().which_children().await.expect("the supervisor answers");
                Some(listed.into_iter().map(|child| (child.id, child.state == ChildState::Running)).collect())
            }
        };
        assert!(self.bench.most_alive() <= 1, "two lives of one child at one time");
        Outcome { answer: answer.to_owned(), deeds: self.journal.so_far(), running }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Some(root) = &self.root {
            root.supervisor().cell().kill();
        }
    }
}

fn child(bench: &Bench, id: &str, restart: Restart) -> ChildSpec {
    bench.child(id).restart(restart).shutdown(Shutdown::Timeout(HANG_MAX))
}

fn end(actor: &ActorCell, reason: &ExitReason) {
    let toy = ActorRef::<ToyMessage>::from(actor.clone());
    let _ = match reason {
        ExitReason::Killed => {
            actor.kill();
            Ok(())
        }
        reason => toy.send_message(ToyMessage::End(reason.clone())),
    };
}

fn fail(bench: &Bench, faults: &BTreeMap<String, u32>) {
    for (id, count) in faults {
        bench.fail_starts(id, (0..*count).map(|n| if n % 2 == 0 { Fault::Error } else { Fault::Panic }));
    }
}

fn word<T>(answer: Result<T, SupervisorError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(SupervisorError::AlreadyStarted) => "already_started",
        Err(SupervisorError::AlreadyPresent) => "already_present",
        Err(SupervisorError::NotFound) => "not_found",
        Err(SupervisorError::Running) => "running",
        Err(SupervisorError::Restarting) => "restarting",
        Err(SupervisorError::StartFailed(_)) => "failed",
        Err(error @ (SupervisorError::Gone | SupervisorError::TimedOut)) => panic!("{error}"),
    }
}
