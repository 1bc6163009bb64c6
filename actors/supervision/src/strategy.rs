//! The decision: which children stop and start, in which order, or whether the supervisor gives up.
//!
//! ```text
//!                      affected by the exit of B in A, B, C          stop        start
//!   one_for_one        B                                             –           B
//!   rest_for_one       B and everything started after it             C           B, C
//!   one_for_all        all                                           C, A        A, B, C
//! ```
//!
//! A pure function of (rules, members, restart window, exit, now). Guarantees: stops in reverse start order, starts in
//! start order; a temporary child is never started. Never keeps state: see `roster`.

use super::backoff::Backoff;
use super::exit_reason::ExitReason;
use super::intensity::{Intensity, RestartWindow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Restart type: exits after which a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always restarted.
    Permanent,
    /// Restarted after an abnormal exit: `killed` or `failed`.
    Transient,
    /// Never restarted; the child leaves the list when it ends.
    Temporary,
}

/// Strategy: which children are restarted with a child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child alone.
    OneForOne,
    /// Every child.
    OneForAll,
    /// That child and the children started after it.
    RestForOne,
}

/// A child's place in the start order. Places only grow and are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

/// Name of one restart that waits for its delay. The children that wait with it share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// State of a child as its supervisor knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// The child's actor runs.
    Running,
    /// The child ended and stays so, was terminated, or was not started again after a sibling's failed start.
    Stopped,
    /// The child is started when this restart's delay is over.
    Waiting(Token),
    /// The child's start failed during a restart; the next attempt is queued.
    Retrying,
}

/// A child as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Restart type.
    pub restart: Restart,
    /// Present state of the child.
    pub state: MemberState,
}

/// Constants of a supervisor's life.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Strategy: which children are restarted together.
    pub strategy: Strategy,
    /// Restarts that are tolerated.
    pub intensity: Intensity,
    /// Delay of restarts; `None` restarts at once, as OTP.
    pub backoff: Option<Backoff>,
    /// Seed of the jitter.
    pub seed: u64,
    /// True for a dynamic supervisor: a transient child that ended well leaves the list, as under OTP's
    /// `simple_one_for_one`.
    pub dynamic: bool,
}

/// Reason for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The child's actor ended.
    Exit(&'a ExitReason),
    /// The child's start failed during a restart.
    FailedStart,
}

/// Outcome of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The child stays on the list, stopped.
    Rest,
    /// The child leaves the list.
    Forget,
    /// Stop some children, wait, start some. Counts as one restart.
    Restart(Plan),
    /// Too many restarts: stop these children in this order, and exit with `shutdown`.
    GiveUp {
        /// All running children, in reverse start order.
        stop: Vec<Place>,
    },
}

/// The stops and starts of a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Running siblings, in reverse start order. Temporary ones leave the list.
    pub stop: Vec<Place>,
    /// Time between the stops and the starts.
    pub delay: Duration,
    /// Children to start, in start order.
    pub start: Vec<Place>,
}

/// Decides about the child at `place`, which no longer runs.
pub fn decide(
    rules: &Rules,
    members: &BTreeMap<Place, Member>,
    window: &RestartWindow,
    place: Place,
    cause: Cause<'_>,
    now: Duration,
) -> Decision {
    let Some(member) = members.get(&place) else { return Decision::Rest };
    if let Cause::Exit(reason) = cause
        && !restarts(member.restart, reason)
    {
        let leaves = rules.dynamic || member.restart == Restart::Temporary;
        return if leaves { Decision::Forget } else { Decision::Rest };
    }
    if window.is_spent(now) {
        return Decision::GiveUp { stop: running_backwards(members.range(..), place) };
    }
    let delay = rules.backoff.map_or(Duration::ZERO, |backoff| backoff.delay(window.count(now) + 1, rules.seed));
    let from = match rules.strategy {
        Strategy::OneForOne => return Decision::Restart(Plan { stop: Vec::new(), delay, start: vec![place] }),
        Strategy::RestForOne => place,
        Strategy::OneForAll => Place(0),
    };
    Decision::Restart(Plan {
        stop: running_backwards(members.range(from..), place),
        delay,
        start: members.range(from..).filter(|(_, m)| m.restart != Restart::Temporary).map(|(p, _)| *p).collect(),
    })
}

/// True when a child of this restart type restarts after this exit.
const fn restarts(restart: Restart, reason: &ExitReason) -> bool {
    match restart {
        Restart::Permanent => true,
        Restart::Transient => reason.is_abnormal(),
        Restart::Temporary => false,
    }
}

fn running_backwards<'a>(
    members: impl DoubleEndedIterator<Item = (&'a Place, &'a Member)>,
    except: Place,
) -> Vec<Place> {
    members.rev().filter(|(p, m)| **p != except && m.state == MemberState::Running).map(|(p, _)| *p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules(strategy: Strategy, restarts_max: u32) -> Rules {
        Rules { strategy, intensity: Intensity::new(restarts_max, 5 * SECOND), backoff: None, seed: 0, dynamic: false }
    }

    /// `P`, `T`, `t`: permanent, transient, temporary. A `.` after the letter: stopped.
    fn members(text: &str) -> BTreeMap<Place, Member> {
        let mut members = BTreeMap::new();
        for (at, word) in text.split_whitespace().enumerate() {
            let restart = match word.as_bytes()[0] {
                b'P' => Restart::Permanent,
                b'T' => Restart::Transient,
                _ => Restart::Temporary,
            };
            let state = if word.ends_with('.') { MemberState::Stopped } else { MemberState::Running };
            members.insert(Place(at as u64), Member { restart, state });
        }
        members
    }

    fn text(decision: &Decision) -> String {
        let places = |places: &[Place]| places.iter().map(|place| place.0.to_string()).collect::<Vec<_>>().join(" ");
        match decision {
            Decision::Rest => "rest".into(),
            Decision::Forget => "forget".into(),
            Decision::Restart(plan) => format!("stop {} start {}", places(&plan.stop), places(&plan.start)),
            Decision::GiveUp { stop } => format!("give up, stop {}", places(stop)),
        }
    }

    #[test]
    fn the_table_of_decisions() {
        use Strategy::{OneForAll, OneForOne, RestForOne};
        let (normal, shutdown, killed) = (ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed);
        let failed = ExitReason::Failed("boom".into());
        let cases = [
            (OneForOne, "P P P", 1, &failed, "stop  start 1"),
            (OneForOne, "P P P", 1, &normal, "stop  start 1"),
            (RestForOne, "P P P P", 1, &killed, "stop 3 2 start 1 2 3"),
            (OneForAll, "P P P P", 1, &shutdown, "stop 3 2 0 start 0 1 2 3"),
            (OneForAll, "P T P", 1, &normal, "rest"),
            (OneForAll, "P T P", 1, &shutdown, "rest"),
            (OneForAll, "P T P", 1, &killed, "stop 2 0 start 0 1 2"),
            (OneForAll, "P T P", 1, &failed, "stop 2 0 start 0 1 2"),
            (OneForAll, "P t P", 1, &failed, "forget"),
            (OneForOne, "P t P", 1, &normal, "forget"),
            (OneForAll, "t P t P", 1, &failed, "stop 3 2 0 start 1 3"),
            (RestForOne, "t P t P", 1, &failed, "stop 3 2 start 1 3"),
            // Children that were stopped before are started with their siblings, as in OTP.
            (OneForAll, "P. P T.", 1, &failed, "stop  start 0 1 2"),
            (RestForOne, "P. P T.", 1, &failed, "stop  start 1 2"),
        ];
        for (strategy, children, place, reason, expected) in cases {
            let window = RestartWindow::new(Intensity::new(1, 5 * SECOND));
            let decision =
                decide(&rules(strategy, 1), &members(children), &window, Place(place), Cause::Exit(reason), SECOND);
            assert_eq!(text(&decision), expected, "{strategy:?} {children}, {place} ends: {reason}");
        }
    }

    #[test]
    fn a_spent_window_means_giving_up_but_only_for_a_child_that_would_restart() {
        let mut window = RestartWindow::new(Intensity::new(1, 5 * SECOND));
        window.record(SECOND);
        let (members, failed) = (members("P T t P."), ExitReason::Failed("boom".into()));
        let at = |place, cause, now| {
            text(&decide(&rules(Strategy::OneForOne, 1), &members, &window, Place(place), cause, now))
        };
        assert_eq!(at(0, Cause::Exit(&failed), 6 * SECOND), "give up, stop 2 1");
        assert_eq!(at(0, Cause::FailedStart, 6 * SECOND), "give up, stop 2 1");
        assert_eq!(at(1, Cause::Exit(&ExitReason::Normal), 6 * SECOND), "rest");
        assert_eq!(at(2, Cause::Exit(&failed), 6 * SECOND), "forget");
        assert_eq!(at(0, Cause::Exit(&failed), 7 * SECOND), "stop  start 0");
    }

    #[test]
    fn the_delay_grows_with_the_restarts_that_count() {
        let backoff = Some(Backoff { first: SECOND, longest: 60 * SECOND });
        let rules = Rules { backoff, ..rules(Strategy::OneForOne, 10) };
        let mut window = RestartWindow::new(rules.intensity);
        let delay = |window: &RestartWindow, now| match decide(
            &rules,
            &members("P"),
            window,
            Place(0),
            Cause::FailedStart,
            now,
        ) {
            Decision::Restart(plan) => plan.delay,
            other => panic!("{other:?}"),
        };
        assert!(delay(&window, SECOND) <= SECOND);
        (0..3).for_each(|_| window.record(SECOND));
        assert!((4 * SECOND..=8 * SECOND).contains(&delay(&window, SECOND)));
        assert!(delay(&window, 10 * SECOND) <= SECOND, "old restarts no longer count");
    }
}
