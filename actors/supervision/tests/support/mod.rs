//! Real actors that end, fail to start and hang on command, and a journal of their deeds.
#![allow(dead_code)]

pub mod dry;
pub mod histories;
pub mod otp;
pub mod real;

use decisiongraph_supervision::{
    ActorTable, ChildSpec, ExitReason, Root, Shutdown, SupervisorSpec, Vitals, start_actor, start_root,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest wait for an event that a test expects.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// State word of a toy whose next ordered stop will hang.
pub const HANGING: &str = "hanging";
/// State word of a toy that hangs in its stop.
pub const STOPPING: &str = "stopping";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Started(String),
    StartFailed(String),
    /// The toy was told to stop, and stopped.
    Stopped(String),
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Error,
    Panic,
    /// The start never ends.
    Hang,
}

pub enum ToyMessage {
    End(ExitReason),
    Panic,
    /// Never returns: only a kill ends it.
    HangNow,
    /// Blocks its thread until the sender is dropped: before that not even a kill ends it.
    Block(std::sync::mpsc::Receiver<()>),
    /// From now on `post_stop` never returns.
    HangOnStop,
}

#[cfg(feature = "cluster")]
impl ractor::Message for ToyMessage {}

/// Shared by all toys of a test.
#[derive(Clone)]
pub struct Bench {
    deeds: mpsc::UnboundedSender<Deed>,
    faults: Arc<Mutex<HashMap<String, VecDeque<Fault>>>>,
    lives: Arc<Mutex<HashMap<String, Lives>>>,
}

/// Lives per id: now, and the most at one time. A life lasts from the first line of a start until its state is dropped.
#[derive(Default, Clone, Copy)]
struct Lives {
    now: u32,
    most: u32,
}

struct Life {
    id: String,
    bench: Bench,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.bench.lives.lock().unwrap().entry(self.id.clone()).or_default().now -= 1;
    }
}

pub struct Journal(mpsc::UnboundedReceiver<Deed>);

pub fn bench() -> (Bench, Journal) {
    let (deeds, journal) = mpsc::unbounded_channel();
    (Bench { deeds, faults: Arc::default(), lives: Arc::default() }, Journal(journal))
}

impl Bench {
    /// Lets the next starts of this child fail with these faults.
    pub fn fail_starts(&self, id: &str, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().entry(id.to_owned()).or_default().extend(faults);
    }

    /// Lets no start fail from now on.
    pub fn fail_no_starts(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub fn child(&self, id: &str) -> ChildSpec {
        let (bench, name) = (self.clone(), id.to_owned());
        ChildSpec::worker(id, start_actor(move |vitals| (Toy { id: name.clone(), bench: bench.clone() }, vitals)))
            .shutdown(Shutdown::Timeout(Duration::from_secs(2)))
    }

    /// Counts the lives of this child now.
    pub fn alive(&self, id: &str) -> u32 {
        self.lives.lock().unwrap().get(id).map_or(0, |lives| lives.now)
    }

    /// Returns the most lives that any child had at one time.
    pub fn most_alive(&self) -> u32 {
        self.lives.lock().unwrap().values().map(|lives| lives.most).max().unwrap_or(0)
    }

    fn born(&self, id: &str) -> Life {
        let mut all = self.lives.lock().unwrap();
        let lives = all.entry(id.to_owned()).or_default();
        lives.now += 1;
        lives.most = lives.most.max(lives.now);
        Life { id: id.to_owned(), bench: self.clone() }
    }

    fn note(&self, deed: Deed) {
        let _ = self.deeds.send(deed);
    }
}

struct Toy {
    id: String,
    bench: Bench,
}

struct ToyState {
    vitals: Vitals,
    hangs: bool,
    ends_by_itself: bool,
    _life: Life,
}

impl Actor for Toy {
    type Msg = ToyMessage;
    type State = ToyState;
    type Arguments = Vitals;

    async fn pre_start(&self, _: ActorRef<ToyMessage>, vitals: Vitals) -> Result<ToyState, ActorProcessingErr> {
        let life = self.bench.born(&self.id);
        let fault = self.bench.faults.lock().unwrap().get_mut(&self.id).and_then(VecDeque::pop_front);
        if let Some(fault) = fault {
            self.bench.note(Deed::StartFailed(self.id.clone()));
            match fault {
                Fault::Error => return Err("no start today".into()),
                Fault::Panic => panic!("panic in start"),
                Fault::Hang => std::future::pending().await,
            }
        }
        self.bench.note(Deed::Started(self.id.clone()));
        Ok(ToyState { vitals, hangs: false, ends_by_itself: false, _life: life })
    }

    async fn handle(
        &self,
        myself: ActorRef<ToyMessage>,
        message: ToyMessage,
        state: &mut ToyState,
    ) -> Result<(), ActorProcessingErr> {
        state.vitals.received("toy");
        state.ends_by_itself = matches!(message, ToyMessage::End(_));
        state.hangs &= !state.ends_by_itself;
        match message {
            ToyMessage::End(ExitReason::Normal) => myself.stop(None),
            ToyMessage::End(ExitReason::Shutdown) => myself.stop(Some("shutdown".into())),
            ToyMessage::End(ExitReason::Killed) => myself.kill(),
            ToyMessage::End(ExitReason::Failed(text)) => return Err(text.into()),
            ToyMessage::Panic => panic!("toy"),
            ToyMessage::HangNow => std::future::pending().await,
            ToyMessage::Block(until) => _ = until.recv(),
            ToyMessage::HangOnStop => {
                state.hangs = true;
                state.vitals.state(HANGING);
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ToyMessage>, state: &mut ToyState) -> Result<(), ActorProcessingErr> {
        if state.hangs {
            state.vitals.state(STOPPING);
            std::future::pending::<()>().await;
        }
        if !state.ends_by_itself {
            self.bench.note(Deed::Stopped(self.id.clone()));
        }
        Ok(())
    }
}

impl Journal {
    pub async fn next(&mut self) -> Deed {
        tokio::time::timeout(WAIT_MAX, self.0.recv()).await.expect("nothing happened").expect("the bench is gone")
    }

    /// Awaits the next deeds, written `+a` started, `!a` could not start, `-a` stopped.
    pub async fn expect(&mut self, deeds: &str) {
        let mut seen = Vec::new();
        for _ in deeds.split_whitespace() {
            seen.push(text(&self.next().await));
        }
        assert_eq!(seen.join(" "), deeds);
    }

    /// Takes all deeds so far.
    pub fn so_far(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Ok(deed) = self.0.try_recv() {
            seen.push(text(&deed));
        }
        seen
    }

    pub fn nothing_more(&mut self) {
        assert_eq!(self.so_far(), Vec::<String>::new());
    }
}

fn text(deed: &Deed) -> String {
    match deed {
        Deed::Started(id) => format!("+{id}"),
        Deed::StartFailed(id) => format!("!{id}"),
        Deed::Stopped(id) => format!("-{id}"),
    }
}

pub async fn root(spec: SupervisorSpec) -> (Root, ActorTable) {
    let table = ActorTable::new();
    let root = start_root("node", spec, table.clone()).await.expect("the root starts");
    (root, table)
}

/// Sends to the toy at this path, which runs or is about to.
pub async fn tell(table: &ActorTable, path: &str, message: ToyMessage) {
    let cell = until(|| table.cell(path)).await;
    ActorRef::<ToyMessage>::from(cell).send_message(message).unwrap_or_else(|_| panic!("{path} is gone"));
}

pub fn failed() -> ToyMessage {
    ToyMessage::End(ExitReason::Failed("boom".into()))
}

/// Waits until `look` returns a value.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, looking).await.expect("the condition was not met")
}

pub async fn exited(root: &Root) -> ExitReason {
    tokio::time::timeout(WAIT_MAX, root.exited()).await.expect("the root did not end")
}
