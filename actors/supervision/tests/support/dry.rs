//! Our decision and bookkeeping without actors: carries out steps by noting them.

use super::histories::{Event, History, Outcome, What};
use decisiongraph_supervision::roster::{Roster, Step};
use decisiongraph_supervision::strategy::{MemberState, Place, Rules};
use decisiongraph_supervision::{Intensity, Restart};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub struct Dry {
    roster: Roster,
    alive: bool,
    faults: BTreeMap<String, u32>,
    hung: BTreeSet<String>,
    deeds: Vec<String>,
    retries: VecDeque<Place>,
}

impl Dry {
    pub fn boot(history: &History) -> (Dry, Outcome) {
        let intensity = Intensity::new(history.restarts_max, history.period);
        let mut dry = Dry {
            roster: Roster::new(Rules {
                strategy: history.strategy,
                intensity,
                backoff: None,
                seed: 0,
                dynamic: false,
            }),
            alive: true,
            faults: history.boot_faults.clone(),
            hung: BTreeSet::new(),
            deeds: Vec::new(),
            retries: VecDeque::new(),
        };
        let mut answer = "ok";
        for (id, restart) in &history.children {
            if dry.add(id, *restart) != "ok" {
                answer = "failed";
                dry.stop_all();
                break;
            }
        }
        let outcome = dry.outcome(answer);
        (dry, outcome)
    }

    pub fn step(&mut self, event: &Event) -> Outcome {
        self.faults = event.faults.clone();
        let answer = match &event.what {
            What::Exit(id, reason) => {
                if let Some(place) = self.running(id) {
                    let step = self.roster.exited(place, reason, event.at);
                    self.carry_out(step);
                    while let Some(place) = self.retries.pop_front().filter(|_| self.alive) {
                        let step = self.roster.retry(place, event.at);
                        self.carry_out(step);
                    }
                }
                ""
            }
            What::Hang(id) => {
                if self.running(id).is_some() {
                    self.hung.insert(id.clone());
                }
                ""
            }
            What::Terminate(id) => match self.roster.place(id) {
                None => "not_found",
                Some(place) => {
                    if self.running(id).is_some() {
                        self.stop(place);
                    }
                    self.roster.terminated(place);
                    "ok"
                }
            },
            What::Restart(id) => match self.stopped(id) {
                Ok(place) if self.start(place) => "ok",
                Ok(_) => "failed",
                Err(answer) => answer,
            },
            What::Delete(id) => match self.stopped(id) {
                Ok(place) => {
                    self.roster.forget(place);
                    "ok"
                }
                Err(answer) => answer,
            },
            What::Start(id, restart) => self.add(id, *restart),
            What::Stop => {
                self.stop_all();
                ""
            }
        };
        self.outcome(answer)
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Nothing | Step::Forgotten => {}
            Step::GiveUp(stop) => {
                assert_eq!(stop, self.roster.stop_order(), "what post_stop will do");
                self.stop_all();
            }
            Step::Restart(token, plan) => {
                assert_eq!(plan.delay, Duration::ZERO);
                plan.stop.into_iter().for_each(|place| self.stop(place));
                for place in plan.start {
                    if self.roster.is_due(place, token) && !self.start(place) {
                        self.roster.start_failed(place, token);
                        self.retries.push_back(place);
                        return;
                    }
                }
            }
        }
    }

    fn add(&mut self, id: &str, restart: Restart) -> &'static str {
        let Some(place) = self.roster.add(id, restart) else {
            return if self.running(id).is_some() { "already_started" } else { "already_present" };
        };
        if self.start(place) {
            return "ok";
        }
        self.roster.forget(place);
        "failed"
    }

    fn start(&mut self, place: Place) -> bool {
        let id = self.roster.id(place).expect("it is on the list").to_string();
        if let Some(left) = self.faults.get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            self.deeds.push(format!("!{id}"));
            return false;
        }
        self.hung.remove(&id);
        self.deeds.push(format!("+{id}"));
        self.roster.started(place);
        true
    }

    fn stop(&mut self, place: Place) {
        let id = self.roster.id(place).expect("it is on the list").to_string();
        if !self.hung.remove(&id) {
            self.deeds.push(format!("-{id}"));
        }
        self.roster.stopped(place);
    }

    fn stop_all(&mut self) {
        self.roster.stop_order().into_iter().for_each(|place| self.stop(place));
        self.alive = false;
    }

    fn running(&self, id: &str) -> Option<Place> {
        self.roster.place(id).filter(|place| self.roster.state(*place) == Some(MemberState::Running))
    }

    fn stopped(&self, id: &str) -> Result<Place, &'static str> {
        let place = self.roster.place(id).ok_or("not_found")?;
        match self.roster.state(place) {
            Some(MemberState::Stopped) => Ok(place),
            Some(MemberState::Running) => Err("running"),
            _ => Err("restarting"),
        }
    }

    fn outcome(&mut self, answer: &str) -> Outcome {
        let running = self.roster.members().map(|(place, member)| {
            let id = self.roster.id(place).expect("it is on the list").to_string();
            (id, member.state == MemberState::Running)
        });
        let running = self.alive.then(|| running.collect());
        Outcome { answer: answer.to_owned(), deeds: std::mem::take(&mut self.deeds), running }
    }
}
