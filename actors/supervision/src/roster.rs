//! The bookkeeping around the decision: a supervisor's children, their order and their states.
//!
//! ```text
//!              started                exited, decision: Rest
//!   (added) ─────────────▶ Running ───────────────────────────▶ Stopped ── restart_child ──▶ Running
//!                          │  ▲  ▲                                 ▲
//!         exited, Restart  │  │  └──────────── due, started ──┐    │ a sibling's start failed first
//!                          ▼  │ due, started                 │    │
//!                        Waiting ── due, start failed ──▶ Retrying ┴─ terminated by a caller
//!                             ▲                              │
//!                             └──────── retry, Restart ──────┘
//! ```
//!
//! Guarantees: a restart is counted when it is decided. A start that fails during a restart is decided again and counts
//! again. Never acts: the supervisor stops and starts, and reports the outcome.

use super::exit_reason::ExitReason;
use super::intensity::RestartWindow;
use super::strategy::{Cause, Decision, Member, MemberState, Place, Plan, Restart, Rules, Strategy, Token, decide};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The children of one supervisor.
#[derive(Debug, Clone)]
pub struct Roster {
    rules: Rules,
    window: RestartWindow,
    members: BTreeMap<Place, Member>,
    ids: BTreeMap<Place, Arc<str>>,
    places: HashMap<Arc<str>, Place>,
    next_place: u64,
    next_token: u64,
}

/// Next action of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// No action: the child rests, or the report was stale.
    Nothing,
    /// The child has left the list.
    Forgotten,
    /// Stop `plan.stop`, wait `plan.delay`, then start each child of `plan.start` for which [`Roster::is_due`] still
    /// holds.
    Restart(Token, Plan),
    /// Stop these children and exit.
    GiveUp(Vec<Place>),
}

impl Roster {
    /// Creates a roster without children.
    pub fn new(rules: Rules) -> Roster {
        Roster {
            rules,
            window: RestartWindow::new(rules.intensity),
            members: BTreeMap::new(),
            ids: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            next_token: 0,
        }
    }

    /// Adds a child, stopped, at the end of the start order. `None` when the id is taken.
    pub fn add(&mut self, id: &str, restart: Restart) -> Option<Place> {
        if self.places.contains_key(id) {
            return None;
        }
        let (place, id): (Place, Arc<str>) = (Place(self.next_place), id.into());
        self.next_place += 1;
        self.members.insert(place, Member { restart, state: MemberState::Stopped });
        self.ids.insert(place, Arc::clone(&id));
        self.places.insert(id, place);
        Some(place)
    }

    /// Removes a child from the list.
    pub fn forget(&mut self, place: Place) {
        self.members.remove(&place);
        if let Some(id) = self.ids.remove(&place) {
            self.places.remove(&id);
        }
    }

    /// Notes that the child's actor runs.
    pub fn started(&mut self, place: Place) {
        self.set(place, MemberState::Running);
    }

    /// Notes that a start within a restart failed. Children that waited with it stay stopped until the next attempt
    /// reaches them.
    pub fn start_failed(&mut self, place: Place, token: Token) {
        // Under one_for_one no other child waited with it, and checking all of them may take long.
        if self.rules.strategy != Strategy::OneForOne {
            for member in self.members.values_mut().filter(|member| member.state == MemberState::Waiting(token)) {
                member.state = MemberState::Stopped;
            }
        }
        self.set(place, MemberState::Retrying);
    }

    /// Decides about a child whose actor ended on its own.
    pub fn exited(&mut self, place: Place, reason: &ExitReason, now: Duration) -> Step {
        match self.state(place) {
            Some(MemberState::Running) => self.step(place, Cause::Exit(reason), now),
            _ => Step::Nothing,
        }
    }

    /// Decides about the attempt after a failed start.
    pub fn retry(&mut self, place: Place, now: Duration) -> Step {
        match self.state(place) {
            Some(MemberState::Retrying) => self.step(place, Cause::FailedStart, now),
            _ => Step::Nothing,
        }
    }

    fn step(&mut self, place: Place, cause: Cause<'_>, now: Duration) -> Step {
        let decision = decide(&self.rules, &self.members, &self.window, place, cause, now);
        self.set(place, MemberState::Stopped);
        match decision {
            Decision::Rest => Step::Nothing,
            Decision::Forget => {
                self.forget(place);
                Step::Forgotten
            }
            Decision::GiveUp { stop } => {
                self.window.record(now);
                Step::GiveUp(stop)
            }
            Decision::Restart(plan) => {
                self.window.record(now);
                let token = Token(self.next_token);
                self.next_token += 1;
                for waiting in &plan.start {
                    self.set(*waiting, MemberState::Waiting(token));
                }
                Step::Restart(token, plan)
            }
        }
    }

    /// Notes that the supervisor stopped the child. True when the child has left the list by that, as a temporary child
    /// does.
    pub fn stopped(&mut self, place: Place) -> bool {
        match self.members.get_mut(&place) {
            Some(member) if member.restart == Restart::Temporary => {
                self.forget(place);
                true
            }
            Some(member) => {
                if !matches!(member.state, MemberState::Waiting(_)) {
                    member.state = MemberState::Stopped;
                }
                false
            }
            None => false,
        }
    }

    /// Notes that a caller terminated the child, which also cancels a restart it waits for. True when the child has
    /// left the list by that.
    pub fn terminated(&mut self, place: Place) -> bool {
        self.set(place, MemberState::Stopped);
        self.stopped(place)
    }

    /// True while this child waits for this restart.
    pub fn is_due(&self, place: Place, token: Token) -> bool {
        self.state(place) == Some(MemberState::Waiting(token))
    }

    /// Lists all running children, in reverse start order.
    pub fn stop_order(&self) -> Vec<Place> {
        let running = self.members.iter().rev().filter(|(_, member)| member.state == MemberState::Running);
        running.map(|(place, _)| *place).collect()
    }

    /// Finds the place of the child with this id.
    pub fn place(&self, id: &str) -> Option<Place> {
        self.places.get(id).copied()
    }

    /// Finds the id of the child at this place.
    pub fn id(&self, place: Place) -> Option<&Arc<str>> {
        self.ids.get(&place)
    }

    /// Returns the state of the child.
    pub fn state(&self, place: Place) -> Option<MemberState> {
        self.members.get(&place).map(|member| member.state)
    }

    /// Lists all children, in start order.
    pub fn members(&self) -> impl Iterator<Item = (Place, &Member)> {
        self.members.iter().map(|(place, member)| (*place, member))
    }

    /// Returns the restart window.
    pub const fn window(&self) -> &RestartWindow {
        &self.window
    }

    fn set(&mut self, place: Place, state: MemberState) {
        if let Some(member) = self.members.get_mut(&place) {
            member.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::backoff::Backoff;
    use super::super::intensity::Intensity;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn roster(strategy: Strategy) -> (Roster, [Place; 3]) {
        let backoff = Some(Backoff { first: SECOND, longest: SECOND });
        let mut roster = Roster::new(Rules {
            strategy,
            intensity: Intensity::new(9, 60 * SECOND),
            backoff,
            seed: 0,
            dynamic: false,
        });
        let places = ["a", "b", "c"].map(|id| {
            let place = roster.add(id, Restart::Permanent).unwrap();
            roster.started(place);
            place
        });
        (roster, places)
    }

    fn exits(roster: &mut Roster, place: Place) -> Token {
        match roster.exited(place, &ExitReason::Killed, SECOND) {
            Step::Restart(token, plan) => {
                plan.stop.into_iter().for_each(|place| _ = roster.stopped(place));
                token
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exit_before_a_waiting_child_takes_its_restart_over() {
        let (mut roster, [a, b, c]) = roster(Strategy::RestForOne);
        let of_b = exits(&mut roster, b);
        assert!(roster.is_due(b, of_b) && roster.is_due(c, of_b) && !roster.is_due(a, of_b));
        let of_a = exits(&mut roster, a);
        assert!(!roster.is_due(b, of_b), "the first timer starts nothing any more");
        assert!([a, b, c].into_iter().all(|place| roster.is_due(place, of_a)));
        assert_eq!(roster.exited(b, &ExitReason::Killed, SECOND), Step::Nothing, "a stale exit");
    }

    #[test]
    fn a_child_that_a_caller_terminates_is_not_started_by_its_timer() {
        let (mut roster, [a, b, c]) = roster(Strategy::OneForAll);
        let token = exits(&mut roster, b);
        assert!(!roster.terminated(b), "it stays on the list");
        assert!(roster.is_due(a, token) && !roster.is_due(b, token) && roster.is_due(c, token));
        assert_eq!(roster.retry(b, SECOND), Step::Nothing);
    }

    #[test]
    fn after_a_failed_start_those_behind_it_are_stopped_and_can_be_restarted() {
        let (mut roster, [a, b, c]) = roster(Strategy::OneForAll);
        let token = exits(&mut roster, c);
        roster.started(a);
        roster.start_failed(b, token);
        let states = [a, b, c].map(|place| roster.state(place).unwrap());
        assert_eq!(states, [MemberState::Running, MemberState::Retrying, MemberState::Stopped]);
        roster.terminated(b);
        assert_eq!(roster.retry(b, SECOND), Step::Nothing, "terminated before its next attempt");
        assert_eq!(roster.window().count(SECOND), 1, "and the attempt is not counted");
    }
}
