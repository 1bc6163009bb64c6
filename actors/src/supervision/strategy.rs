//! The decision: which children stop and start, in which order, or whether the supervisor gives up.
//!
//! ```text
//!                      affected by the exit of B in A, B, C          stop        start
//!   one_for_one        B                                             –           B
//!   rest_for_one       B and everything started after it             C           B, C
//!   one_for_all        all                                           C, A        A, B, C
//! ```
//!
//! A pure function of (rules, members, restart window, exit, now). Guarantees: stops in reverse start order, starts in start
//! order; a temporary child is never started. Never keeps state: see `roster`.

use super::backoff::Backoff;
use super::child_spec::Restart;
use super::exit_reason::ExitReason;
use super::intensity::{Intensity, RestartWindow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Which children share the fate of one that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child alone.
    OneForOne,
    /// Every child.
    OneForAll,
    /// That child and those that were started after it.
    RestForOne,
}

/// A child's place in the start order; places only grow and are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

/// One restart that waits for its delay; names the children that wait with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What a supervisor knows of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// Its actor runs.
    Running,
    /// It ended and stays so, or was terminated, or could not be started again after a sibling's failed start.
    Stopped,
    /// It is started when this restart's delay is over.
    Waiting(Token),
    /// Its start failed during a restart; the next attempt is on its way.
    Retrying,
}

/// A child as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// When it restarts.
    pub restart: Restart,
    /// What it does now.
    pub state: MemberState,
}

/// What does not change while a supervisor lives.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Who shares whose fate.
    pub strategy: Strategy,
    /// How many restarts are put up with.
    pub intensity: Intensity,
    /// `None`: restart at once, as OTP.
    pub backoff: Option<Backoff>,
    /// Of the jitter.
    pub seed: u64,
}

/// Why a decision is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The child's actor ended.
    Exit(&'a ExitReason),
    /// Its start failed during a restart.
    FailedStart,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays in the list, stopped.
    Rest,
    /// It leaves the list.
    Forget,
    /// Stop some, wait, start some. Counts as one restart.
    Restart(Plan),
    /// Too many restarts: stop these in this order, and exit with `shutdown`.
    GiveUp {
        /// All that run, in reverse start order.
        stop: Vec<Place>,
    },
}

/// A restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Running siblings, in reverse start order. Temporary ones leave the list.
    pub stop: Vec<Place>,
    /// Time between the stops and the starts.
    pub delay: Duration,
    /// In start order.
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
        return if member.restart == Restart::Temporary { Decision::Forget } else { Decision::Rest };
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

/// Whether a child of this restart type restarts after this exit.
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
