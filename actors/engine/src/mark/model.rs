//! A model of the log's end, searched exhaustively: appenders, sequence, crash, fail-over, sampler, worker and rebuild.
//!
//! The decisions are the product's own ([`HighWater`], [`Mark::holds_in`]); the server and the steps of the actors are
//! modelled. Each step is atomic, and every order of steps within the bounds of [`Bounds`] is tried. *Promise:* a
//! reader has applied every event that it has passed and that can be read. Three faults that the product once had, and
//! one that it never had, can be put back. The search must find each.

use super::*;
use std::collections::{HashSet, VecDeque};

/// Bits of positions: position `p` is bit `p`.
type Positions = u8;

/// Faults that can be put back for a search.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// A crash of one backend leaves the history's identity as it was.
    crash_keeps_identity: bool,
    /// A rebuild whose session was replaced goes on to the mark that it had.
    job_keeps_mark: bool,
    /// A worker compares its session's history with that of a mark newer than the one that it reads up to.
    worker_compares_late: bool,
    /// An appender draws its position before it takes the lock.
    draws_before_lock: bool,
}

/// Reader of the log in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Worker,
    Job,
}

/// Upper bounds on the number of times that something happens.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    draws: u8,
    crashes: u8,
    fail_overs: u8,
    /// A standby takes a copy of what is durable. (A standby that has none is empty.)
    copies: u8,
}

/// An appender's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Appender {
    None,
    /// A position drawn without the lock: only with a fault.
    Unlocked(u8),
    /// The lock and a position are held. (An appender that holds only the lock makes samplers wait longer.)
    Drawn(u8),
}

/// Durable writes of a reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rows {
    cursor: u8,
    applied: Positions,
}

/// Durable state of a server, or a standby's copy of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Disk {
    sequence: u8,
    visible: Positions,
    rows: Rows,
}

/// A worker or a rebuild.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reader {
    mark: Option<Mark>,
    /// The session's life of the server, and its history.
    session: Option<(u8, u8)>,
    /// The end of a page that was read, and its events.
    page: Option<(u8, Positions)>,
}

#[derive(Debug, Clone)]
struct World {
    disk: Disk,
    standby: Disk,
    sequence: u8,
    appenders: [Appender; 2],
    /// Number of the server's life. It tells lives apart, as sessions do: each session ends with its life.
    life: u8,
    /// Identity of the history, as the server reports it.
    identity: u8,
    used: Bounds,
    water: HighWater,
    /// First statement of a sample: sequence, life, identity.
    sampling: Option<(u8, u8, u8)>,
    /// True when the running sample is taken after the last awaited writer was gone.
    settling: bool,
    reader: Reader,
}

impl World {
    fn new() -> World {
        World {
            disk: Disk::default(),
            standby: Disk::default(),
            sequence: 0,
            appenders: [Appender::None; 2],
            life: 0,
            identity: 0,
            used: Bounds { draws: 0, crashes: 0, fail_overs: 0, copies: 0 },
            water: HighWater::default(),
            sampling: None,
            settling: false,
            reader: Reader::default(),
        }
    }

    /// Encodes everything that decides what may come next, in few bytes.
    fn key(&self) -> Vec<u8> {
        let number = |history: Option<&str>| history.and_then(|history| history.parse().ok()).unwrap_or(u8::MAX);
        let mark = |mark: &Mark| [mark.at.0 as u8, number(mark.history.as_deref())];
        let mut key = Vec::with_capacity(64);
        for disk in [&self.disk, &self.standby] {
            key.extend([disk.sequence, disk.visible, disk.rows.cursor, disk.rows.applied]);
        }
        key.extend([self.sequence, self.life, self.identity, self.used.draws, self.used.crashes]);
        key.extend([self.used.fail_overs, self.used.copies, u8::from(self.settling)]);
        for appender in self.appenders {
            key.extend(match appender {
                Appender::None => [0, 0],
                Appender::Unlocked(at) => [1, at],
                Appender::Drawn(at) => [2, at],
            });
        }
        key.extend(mark(&self.water.proven()));
        if let Some(pending) = &self.water.pending {
            key.extend([9, pending.sequence.0 as u8, number(Some(&pending.history))]);
            key.extend(pending.writers.iter().map(|writer| writer.transaction.as_bytes()[0]));
        }
        key.extend(self.sampling.map_or([u8::MAX; 3], |(sequence, life, identity)| [sequence, life, identity]));
        let Reader { mark: read, session, page } = &self.reader;
        key.extend(read.as_ref().map_or([u8::MAX; 2], mark));
        key.extend(session.map_or([u8::MAX; 2], |(life, identity)| [life, identity]));
        key.extend(page.map_or([u8::MAX; 2], |(end, events)| [end, events]));
        key
    }

    fn writers(&self) -> Vec<OpenWriter> {
        let open = (0..2).filter(|slot| matches!(self.appenders[*slot], Appender::Drawn(_)));
        // As on a server, the names of transactions come again after a restart.
        let named = |slot: usize| OpenWriter { transaction: slot.to_string(), ..OpenWriter::default() };
        open.map(named).collect()
    }

    /// Checks the promise: finds a readable position that the reader has passed and not applied.
    fn skipped(&self) -> Option<u8> {
        let Rows { cursor, applied } = self.disk.rows;
        (1..=cursor).find(|at| self.disk.visible & !applied & (1 << at) != 0)
    }

    /// Visits every world that one step leads to.
    fn steps(&self, kind: Kind, bounds: Bounds, faults: Faults, each: &mut impl FnMut(&'static str, World)) {
        self.appends(bounds, faults, each);
        self.servers(bounds, faults, each);
        self.samples(each);
        match kind {
            Kind::Worker => self.works(faults, each),
            Kind::Job => self.builds(faults, each),
        }
    }

    fn appends(&self, bounds: Bounds, faults: Faults, each: &mut impl FnMut(&'static str, World)) {
        let mut set = |name, slot: usize, appender, change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            world.appenders[slot] = appender;
            change(&mut world);
            each(name, world);
        };
        let drew = |world: &mut World| {
            world.sequence += 1;
            world.used.draws += 1;
        };
        let may_draw = self.used.draws < bounds.draws;
        for slot in 0..2 {
            match self.appenders[slot] {
                Appender::None if may_draw && faults.draws_before_lock => {
                    set("draw", slot, Appender::Unlocked(self.sequence + 1), &drew);
                }
                Appender::None if may_draw => set("lock and draw", slot, Appender::Drawn(self.sequence + 1), &drew),
                Appender::None => {}
                Appender::Unlocked(at) => set("lock", slot, Appender::Drawn(at), &|_| {}),
                Appender::Drawn(at) => {
                    set("roll back", slot, Appender::None, &|_| {});
                    set("commit", slot, Appender::None, &|world| {
                        world.disk.visible |= 1 << at;
                        // The flush of a commit covers every position that was drawn before it.
                        world.disk.sequence = world.sequence;
                    });
                }
            }
        }
    }

    fn servers(&self, bounds: Bounds, faults: Faults, each: &mut impl FnMut(&'static str, World)) {
        if self.used.copies < bounds.copies && self.standby != self.disk {
            let mut world = World { standby: self.disk, ..self.clone() };
            world.used.copies += 1;
            each("replicate", world);
        }
        let start = |disk: Disk, identity: u8| World {
            disk,
            sequence: disk.sequence,
            appenders: [Appender::None; 2],
            life: self.life + 1,
            identity,
            sampling: None,
            settling: false,
            ..self.clone()
        };
        if self.used.crashes < bounds.crashes {
            let identity = if faults.crash_keeps_identity { self.identity } else { self.life + 1 };
            // Positions that were drawn and not committed may have been written, or not.
            for sequence in self.disk.sequence..=self.sequence {
                let mut world = start(Disk { sequence, ..self.disk }, identity);
                world.used.crashes += 1;
                each("a backend dies", world);
            }
        }
        if self.used.fail_overs < bounds.fail_overs {
            let mut world = start(self.standby, self.life + 1);
            world.used.fail_overs += 1;
            each("fail over", world);
        }
    }

    fn samples(&self, each: &mut impl FnMut(&'static str, World)) {
        match self.sampling {
            None if self.water.waiting_for().is_empty() || self.settling => {
                each(
                    "sample: the sequence",
                    World { sampling: Some((self.sequence, self.life, self.identity)), ..self.clone() },
                );
            }
            None => {
                let asked = |open: &OpenWriter| {
                    self.water.waiting_for().iter().any(|asked| asked.transaction == open.transaction)
                };
                let open: Vec<OpenWriter> = self.writers().into_iter().filter(asked).collect();
                let mut world = self.clone();
                world.settling = open.is_empty();
                world.water.still_open(open);
                each("look", world);
            }
            Some((sequence, _, identity)) => {
                let (sequence, history) = (LogSeq(i64::from(sequence)), identity.to_string());
                let sample = HighWaterSample { sequence, writers: self.writers(), history };
                let mut world = self.clone();
                world.sampling = None;
                if std::mem::take(&mut world.settling) {
                    world.water.settled(sample);
                } else {
                    world.water.sampled(sample);
                }
                each("sample: the writers", world);
            }
        }
    }

    /// Reads a page of this server, up to the mark.
    fn page(&self, rows: Rows, mark: &Mark) -> Option<(u8, Positions)> {
        let wanted = |at: &u8| self.disk.visible & (1 << at) != 0;
        let events: Vec<u8> = (rows.cursor + 1..=mark.at.0 as u8).filter(wanted).collect();
        Some((*events.last()?, events.iter().fold(0, |bits, at| bits | 1 << at)))
    }

    /// Steps of a worker. It proves its session's history once, when it takes the scope; after any error it takes the
    /// scope anew.
    fn works(&self, faults: Faults, each: &mut impl FnMut(&'static str, World)) {
        let mut with = |name, reader: Reader| each(name, World { reader, ..self.clone() });
        let Reader { mark, session, page } = &self.reader;
        let Some(mark) = mark else {
            let mark = self.water.proven();
            // A lane of another era is dropped.
            let session = session.filter(|(_, identity)| mark.holds_in(Some(&identity.to_string())));
            if mark.at > LogSeq::ORIGIN {
                with("worker: the mark", Reader { mark: Some(mark), session, page: None });
            }
            return;
        };
        match (session, page) {
            (None, _) => {
                let compared = if faults.worker_compares_late { self.water.proven() } else { mark.clone() };
                if compared.holds_in(Some(&self.identity.to_string())) {
                    let session = Some((self.life, self.identity));
                    with("worker: the scope", Reader { mark: Some(mark.clone()), session, page: None });
                } else {
                    with("worker: another history", Reader::default());
                }
            }
            (Some(_), None) => match self.page(self.disk.rows, mark) {
                None => with("worker: idle", Reader { mark: None, session: *session, page: None }),
                page => with("worker: a page", Reader { mark: Some(mark.clone()), session: *session, page }),
            },
            (Some((life, _)), Some((end, events))) => {
                let mut world = self.clone();
                let alive = *life == self.life;
                world.reader = Reader { mark: None, session: session.filter(|_| alive), page: None };
                if alive {
                    world.disk.rows = Rows { cursor: *end, applied: self.disk.rows.applied | events };
                    world.disk.sequence = world.sequence;
                }
                each("worker: commit", world);
            }
        }
    }

    /// Steps of a rebuild. It keeps its mark over all its batches, and replaces a lost session.
    fn builds(&self, faults: Faults, each: &mut impl FnMut(&'static str, World)) {
        let mut with = |name, reader: Reader| each(name, World { reader, ..self.clone() });
        let Reader { mark, session, page } = &self.reader;
        let (Some(mark), Some((life, identity))) = (mark, session) else {
            let (mark, session) = (self.water.proven(), Some((self.life, self.identity)));
            if mark.at > LogSeq::ORIGIN {
                with("job: mark and session", Reader { mark: Some(mark), session, page: None });
            }
            return;
        };
        let holds = faults.job_keeps_mark || mark.holds_in(Some(&identity.to_string()));
        match page {
            None if !holds => with("job: another history", Reader::default()),
            None => match self.page(self.disk.rows, mark) {
                None => with("job: done", Reader::default()),
                page => with("job: a page", Reader { mark: Some(mark.clone()), session: *session, page }),
            },
            Some((end, events)) => {
                let mut world = self.clone();
                world.reader =
                    Reader { mark: Some(mark.clone()), session: Some((self.life, self.identity)), page: None };
                if *life == self.life {
                    world.disk.rows = Rows { cursor: *end, applied: self.disk.rows.applied | events };
                    world.disk.sequence = world.sequence;
                }
                each("job: commit", world);
            }
        }
    }
}

/// Searches every order of steps. Returns the steps to a skipped event, if there are any, and the number of worlds
/// seen.
fn search(kind: Kind, bounds: Bounds, faults: Faults) -> (Option<Vec<&'static str>>, usize) {
    let mut seen: HashSet<Vec<u8>> = HashSet::from([World::new().key()]);
    // The step that led to a world, and the place of the world before.
    let mut trail: Vec<(&'static str, usize)> = vec![("start", 0)];
    let mut open = VecDeque::from([(World::new(), 0)]);
    while let Some((world, place)) = open.pop_front() {
        let mut found = None;
        world.steps(kind, bounds, faults, &mut |name, next| {
            if found.is_some() || !seen.insert(next.key()) {
                return;
            }
            trail.push((name, place));
            let at = trail.len() - 1;
            if next.skipped().is_some() {
                found = Some(at);
            } else {
                open.push_back((next, at));
            }
        });
        if let Some(mut at) = found {
            let mut steps = Vec::new();
            while at != 0 {
                steps.push(trail[at].0);
                at = trail[at].1;
            }
            steps.reverse();
            return (Some(steps), seen.len());
        }
    }
    (None, seen.len())
}

const CRASH: Bounds = Bounds { draws: 4, crashes: 1, fail_overs: 0, copies: 0 };
const FAIL_OVER: Bounds = Bounds { draws: 4, crashes: 0, fail_overs: 1, copies: 0 };

/// Each kind of reader is tried under one kind of loss; a soak tries both kinds, with higher bounds.
#[test]
fn no_order_of_steps_skips_an_event() {
    let searches = if std::env::var_os("DECISIONGRAPH_SOAK").is_some() {
        let more = |bounds: Bounds| Bounds { draws: 5, copies: bounds.fail_overs, ..bounds };
        let both = |kind| [(kind, more(CRASH)), (kind, more(FAIL_OVER))];
        [both(Kind::Worker), both(Kind::Job)].concat()
    } else {
        vec![(Kind::Worker, CRASH), (Kind::Job, FAIL_OVER)]
    };
    for (kind, bounds) in searches {
        let (skipped, worlds) = search(kind, bounds, Faults::default());
        assert_eq!(skipped, None, "{kind:?} within {bounds:?}");
        println!("{kind:?} within {bounds:?}: {worlds} worlds");
    }
}

#[test]
fn each_fault_that_is_put_back_is_found() {
    let none = Faults::default();
    for (kind, bounds, faults) in [
        (Kind::Worker, CRASH, Faults { crash_keeps_identity: true, ..none }),
        (Kind::Job, FAIL_OVER, Faults { job_keeps_mark: true, ..none }),
        (Kind::Worker, FAIL_OVER, Faults { worker_compares_late: true, ..none }),
        (Kind::Worker, CRASH, Faults { draws_before_lock: true, ..none }),
    ] {
        let (skipped, worlds) = search(kind, bounds, faults);
        let steps = skipped.unwrap_or_else(|| panic!("{faults:?} within {bounds:?} was not found in {worlds} worlds"));
        println!("{kind:?}, {faults:?}: {worlds} worlds, {} steps: {steps:?}", steps.len());
    }
}
