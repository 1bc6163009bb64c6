//! Histories: events of a supervisor, step by step, and their observable outcomes.

use decisiongraph_supervision::{ExitReason, Restart, Strategy};
use std::collections::BTreeMap;
use std::time::Duration;

/// One supervisor and the events that happen to it.
#[derive(Debug, Clone)]
pub struct History {
    pub strategy: Strategy,
    pub restarts_max: u32,
    pub period: Duration,
    pub children: Vec<(String, Restart)>,
    /// Starts that fail while the supervisor boots.
    pub boot_faults: BTreeMap<String, u32>,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub at: Duration,
    pub what: What,
    /// Number of next starts per child that fail during this event.
    pub faults: BTreeMap<String, u32>,
}

#[derive(Debug, Clone)]
pub enum What {
    Exit(String, ExitReason),
    /// The child's next ordered stop hangs.
    Hang(String),
    Terminate(String),
    Restart(String),
    Delete(String),
    Start(String, Restart),
    Stop,
}

/// Outcome of a step: the answer to the caller, the starts and stops in order, and the children. Children are in start
/// order, each true when it runs; `None` when the supervisor is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub answer: String,
    pub deeds: Vec<String>,
    pub running: Option<Vec<(String, bool)>>,
}

/// A generator that gives the same numbers for the same seed on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Builds a history of up to `events_max` events. An event on a child that does not run then has no effect on a model
/// or a real supervisor.
pub fn history(seed: u64, events_max: u64) -> History {
    let mut dice = Dice(seed);
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let children: Vec<_> = (0..=dice.below(5)).map(|n| (IDS[n as usize].to_owned(), restart(&mut dice))).collect();
    let boot_faults = match dice.one_in(15) {
        true => BTreeMap::from([(dice.pick(&children).0, 1)]),
        false => BTreeMap::new(),
    };
    let mut at = Duration::ZERO;
    let events = (0..=dice.below(events_max)).map(|_| {
        at += Duration::from_millis(dice.below(2000));
        event(&mut dice, at)
    });
    let events = events.collect();
    History {
        strategy: dice.pick(&strategies),
        restarts_max: dice.below(6) as u32,
        period: Duration::from_millis(1000 * dice.below(6)),
        children,
        boot_faults,
        events,
    }
}

fn event(dice: &mut Dice, at: Duration) -> Event {
    let id = dice.pick(&IDS).to_owned();
    let what = match dice.below(20) {
        0 | 1 => What::Terminate(id),
        2 | 3 => What::Restart(id),
        4 => What::Delete(id),
        5 | 6 => What::Start(id, restart(dice)),
        7 => What::Hang(id),
        8 if dice.one_in(3) => What::Stop,
        _ => What::Exit(id, reason(dice)),
    };
    let mut faults = BTreeMap::new();
    for id in IDS {
        if dice.one_in(7) {
            faults.insert(id.to_owned(), 1 + dice.below(3) as u32);
        }
    }
    Event { at, what, faults }
}

fn restart(dice: &mut Dice) -> Restart {
    dice.pick(&[Restart::Permanent, Restart::Permanent, Restart::Transient, Restart::Temporary])
}

fn reason(dice: &mut Dice) -> ExitReason {
    let failed = ExitReason::Failed("boom".into());
    dice.pick(&[ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed, failed.clone(), failed])
}
