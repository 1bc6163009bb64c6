//! A model of OTP's documented rules, written after `supervisor.erl` and not after our code. It holds a list of
//! children, each with a pid, `undefined` or `restarting`. The functions of that module keep their names.

use super::histories::{Event, History, Outcome, What};
use decisiongraph_supervision::{ExitReason, Restart, Strategy};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pid {
    Undefined,
    Restarting,
    Alive,
}

#[derive(Debug, Clone)]
struct Child {
    id: String,
    restart: Restart,
    pid: Pid,
}

pub struct Otp {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    restarts: Vec<Duration>,
    children: Vec<Child>,
    alive: bool,
    faults: BTreeMap<String, u32>,
    hung: BTreeSet<String>,
    deeds: Vec<String>,
}

impl Otp {
    pub fn boot(history: &History) -> (Otp, Outcome) {
        let children = history.children.iter().map(|(id, restart)| Child {
            id: id.clone(),
            restart: *restart,
            pid: Pid::Undefined,
        });
        let mut otp = Otp {
            strategy: history.strategy,
            intensity: history.restarts_max as usize,
            period: history.period,
            restarts: Vec::new(),
            children: children.collect(),
            alive: true,
            faults: history.boot_faults.clone(),
            hung: BTreeSet::new(),
            deeds: Vec::new(),
        };
        let answer = match otp.start_children(0) {
            Ok(()) => "ok",
            Err(_) => {
                otp.terminate();
                "failed"
            }
        };
        let outcome = otp.outcome(answer);
        (otp, outcome)
    }

    pub fn step(&mut self, event: &Event) -> Outcome {
        self.faults = event.faults.clone();
        let answer = match &event.what {
            What::Exit(id, reason) => {
                if let Some(at) = self.find(id).filter(|at| self.children[*at].pid == Pid::Alive) {
                    self.restart_child(at, reason, event.at);
                }
                ""
            }
            What::Hang(id) => {
                if self.find(id).is_some_and(|at| self.children[at].pid == Pid::Alive) {
                    self.hung.insert(id.clone());
                }
                ""
            }
            What::Terminate(id) => match self.find(id) {
                None => "not_found",
                Some(at) => {
                    self.do_terminate(at);
                    self.del_child(at);
                    "ok"
                }
            },
            What::Restart(id) => match self.find(id) {
                None => "not_found",
                Some(at) if self.children[at].pid == Pid::Undefined => match self.do_start_child(at) {
                    true => "ok",
                    false => "failed",
                },
                Some(_) => "running",
            },
            What::Delete(id) => match self.find(id) {
                None => "not_found",
                Some(at) if self.children[at].pid == Pid::Undefined => {
                    self.children.remove(at);
                    "ok"
                }
                Some(_) => "running",
            },
            What::Start(id, restart) => match self.find(id) {
                Some(at) if self.children[at].pid == Pid::Alive => "already_started",
                Some(_) => "already_present",
                None => {
                    self.children.push(Child { id: id.clone(), restart: *restart, pid: Pid::Undefined });
                    match self.do_start_child(self.children.len() - 1) {
                        true => "ok",
                        false => {
                            self.children.pop();
                            "failed"
                        }
                    }
                }
            },
            What::Stop => {
                self.terminate();
                ""
            }
        };
        self.outcome(answer)
    }

    fn restart_child(&mut self, at: usize, reason: &ExitReason, now: Duration) {
        let abnormal = !matches!(reason, ExitReason::Normal | ExitReason::Shutdown);
        match self.children[at].restart {
            Restart::Permanent => self.restart(at, now),
            Restart::Transient if abnormal => self.restart(at, now),
            Restart::Transient | Restart::Temporary => self.del_child(at),
        }
    }

    /// Restarts, and tries again after each failed start.
    fn restart(&mut self, at: usize, now: Duration) {
        if !self.add_restart(now) {
            self.del_child(at);
            return self.terminate();
        }
        let failed = match self.strategy {
            Strategy::OneForOne => match self.do_start_child(at) {
                true => None,
                false => Some(at),
            },
            Strategy::RestForOne => self.restart_multiple_children(at, at),
            Strategy::OneForAll => self.restart_multiple_children(at, 0),
        };
        if let Some(failed) = failed {
            self.children[failed].pid = Pid::Restarting;
            self.restart(failed, now);
        }
    }

    fn restart_multiple_children(&mut self, at: usize, from: usize) -> Option<usize> {
        self.children[at].pid = Pid::Undefined;
        self.terminate_children(from);
        self.start_children(from).err()
    }

    fn start_children(&mut self, from: usize) -> Result<(), usize> {
        (from..self.children.len()).try_for_each(|at| if self.do_start_child(at) { Ok(()) } else { Err(at) })
    }

    fn terminate_children(&mut self, from: usize) {
        for at in (from..self.children.len()).rev() {
            self.do_terminate(at);
            self.children[at].pid = Pid::Undefined;
        }
        let mut at = 0;
        self.children.retain(|child| {
            at += 1;
            at - 1 < from || child.restart != Restart::Temporary
        });
    }

    fn terminate(&mut self) {
        self.terminate_children(0);
        self.alive = false;
    }

    fn do_start_child(&mut self, at: usize) -> bool {
        let id = self.children[at].id.clone();
        let failing = self.faults.get_mut(&id).filter(|left| **left > 0);
        if let Some(left) = failing {
            *left -= 1;
            self.deeds.push(format!("!{id}"));
            return false;
        }
        self.hung.remove(&id);
        self.children[at].pid = Pid::Alive;
        self.deeds.push(format!("+{id}"));
        true
    }

    fn do_terminate(&mut self, at: usize) {
        let child = &self.children[at];
        if child.pid == Pid::Alive && !self.hung.remove(&child.id) {
            self.deeds.push(format!("-{}", child.id));
        }
    }

    fn del_child(&mut self, at: usize) {
        match self.children[at].restart {
            Restart::Temporary => drop(self.children.remove(at)),
            _ => self.children[at].pid = Pid::Undefined,
        }
    }

    fn add_restart(&mut self, now: Duration) -> bool {
        self.restarts.retain(|then| now <= *then + self.period);
        self.restarts.push(now);
        self.restarts.len() <= self.intensity
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.children.iter().position(|child| child.id == id)
    }

    fn outcome(&mut self, answer: &str) -> Outcome {
        let running = self.children.iter().map(|child| (child.id.clone(), child.pid == Pid::Alive));
        Outcome {
            answer: answer.to_owned(),
            deeds: std::mem::take(&mut self.deeds),
            running: self.alive.then(|| running.collect()),
        }
    }
}
