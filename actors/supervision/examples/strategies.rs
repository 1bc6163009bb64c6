//! Behaviour of a supervisor, strategy by strategy: `cargo run -p decisiongraph-supervision --example strategies`.
//!
//! `+ b`: child b started. `- b`: b was told to stop and did. `x b`: b ended on its own.

use decisiongraph_supervision::{
    ActorEntry, ActorTable, Backoff, ChildSpec, Intensity, ROOT_GAVE_UP_EXIT_CODE, Restart, Root, Strategy,
    SupervisorSpec, Vitals, start_actor, start_root,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const PATIENT: Intensity = Intensity::new(5, Duration::from_secs(60));
/// Longest wait for an expected event.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let three = |strategy, log: &Log| {
        SupervisorSpec::new(strategy, PATIENT).child(log.child("a")).child(log.child("b")).child(log.child("c"))
    };
    // The example makes children fail on purpose; their panic messages are suppressed.
    std::panic::set_hook(Box::new(|_| {}));

    for (strategy, says) in [
        (Strategy::OneForOne, "one_for_one: b is restarted alone"),
        (Strategy::RestForOne, "rest_for_one: b is restarted with what was started after it"),
        (Strategy::OneForAll, "one_for_all: b is restarted with all"),
    ] {
        let mut stage = Stage::open(says, |log| three(strategy, log)).await;
        stage.deeds("start", 3).await;
        stage.tell("b", Order::Panic);
        let others = match strategy {
            Strategy::OneForOne => 0,
            Strategy::RestForOne => 1,
            Strategy::OneForAll => 2,
        };
        stage.deeds("b panics", 2 + 2 * others).await;
        stage.root.stop().await;
        stage.deeds("ordered stop", 3).await;
    }

    let mut stage = Stage::open("restart types: p permanent, t transient, u temporary", |log| {
        let spec = SupervisorSpec::new(Strategy::OneForOne, PATIENT).child(log.child("p"));
        spec.child(log.child("t").restart(Restart::Transient)).child(log.child("u").restart(Restart::Temporary))
    })
    .await;
    stage.deeds("start", 3).await;
    stage.tell("p", Order::Finish);
    stage.deeds("p finishes", 2).await;
    stage.tell("t", Order::Panic);
    stage.deeds("t panics", 2).await;
    stage.tell("t", Order::Finish);
    stage.deeds("t finishes", 1).await;
    stage.tell("u", Order::Panic);
    stage.deeds("u panics", 1).await;
    stage.root.stop().await;
    stage.deeds("ordered stop", 1).await;

    let mut stage = Stage::open("back-off: a restart waits, here 50 to 100 ms", |log| {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        three(Strategy::OneForOne, log).backoff(Backoff { first, longest })
    })
    .await;
    stage.deeds("start", 3).await;
    stage.tell("b", Order::Panic);
    stage.deeds("b panics", 1).await;
    println!("{}", tree(&stage.table));
    stage.deeds("later", 1).await;
    stage.root.stop().await;
    stage.deeds("ordered stop", 3).await;

    let mut stage = Stage::open("escalation: inner allows no restart, node allows one", |log| {
        let inner = SupervisorSpec::new(Strategy::OneForOne, Intensity::new(0, Duration::from_secs(60)));
        let inner = inner.child(log.child("x")).child(log.child("y"));
        let outer = SupervisorSpec::new(Strategy::RestForOne, Intensity::new(1, Duration::from_secs(60)));
        outer.child(ChildSpec::supervisor("inner", inner)).child(log.child("z"))
    })
    .await;
    stage.deeds("start", 3).await;
    println!("{}", tree(&stage.table));
    stage.tell("inner/x", Order::Panic);
    stage.deeds("x panics", 6).await;
    stage.tell("inner/x", Order::Panic);
    stage.deeds("x panics", 3).await;
    let reason = stage.root.exited().await;
    let gave_up = stage.root.gave_up();
    println!("  the root exits: {reason}, gave up: {gave_up}; such a process ends with code {ROOT_GAVE_UP_EXIT_CODE}");
}

/// One tree and the log of its children.
struct Stage {
    root: Root,
    table: ActorTable,
    log: UnboundedReceiver<String>,
}

impl Stage {
    async fn open(says: &str, spec: impl FnOnce(&Log) -> SupervisorSpec) -> Stage {
        println!("\n{says}");
        let (sender, log) = unbounded_channel();
        let table = ActorTable::new();
        let root = start_root("node", spec(&Log(sender)), table.clone()).await.expect("the children start");
        Stage { root, table, log }
    }

    fn tell(&self, child: &str, order: Order) {
        let actor = self.table.cell(&format!("node/{child}")).expect("it runs");
        let _ = ActorRef::<Order>::from(actor).send_message(order);
    }

    /// Prints the next `count` deeds after they are done.
    async fn deeds(&mut self, when: &str, count: usize) {
        let mut line = format!("  {when:<14}");
        for _ in 0..count {
            let deed = tokio::time::timeout(WAIT_MAX, self.log.recv()).await.expect("it happens").expect("a log");
            line.push_str(&format!("{deed}  "));
        }
        println!("{}", line.trim_end());
        // The next order goes to a child only after its supervisor has dealt with this one.
        let _ = self.root.supervisor().count().await;
    }
}

fn tree(table: &ActorTable) -> String {
    let line = |entry: ActorEntry| {
        let strategy = entry.strategy.map_or(String::new(), |strategy| format!(" {strategy:?}"));
        let budget = entry.budget.map_or(String::new(), |budget| format!(" {}/{}", budget.in_window, budget.allowed));
        let name = format!("{}{}", "  ".repeat(entry.depth()), entry.id());
        format!("    {name:<12} {}{strategy}{budget}", entry.state)
    };
    table.snapshot("", None, 100).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

struct Log(UnboundedSender<String>);

impl Log {
    fn child(&self, id: &'static str) -> ChildSpec {
        let log = self.0.clone();
        ChildSpec::worker(id, start_actor(move |_: Vitals| (Child { id, log: log.clone() }, ())))
    }
}

struct Child {
    id: &'static str,
    log: UnboundedSender<String>,
}

enum Order {
    Finish,
    Panic,
}

#[cfg(feature = "cluster")]
impl ractor::Message for Order {}

impl Actor for Child {
    type Msg = Order;
    /// True once the child ends on its own.
    type State = bool;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<bool, ActorProcessingErr> {
        let _ = self.log.send(format!("+ {}", self.id));
        Ok(false)
    }

    async fn handle(&self, myself: ActorRef<Order>, order: Order, done: &mut bool) -> Result<(), ActorProcessingErr> {
        *done = true;
        let _ = self.log.send(format!("x {}", self.id));
        match order {
            Order::Finish => myself.stop(None),
            Order::Panic => panic!("a defect"),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Order>, done: &mut bool) -> Result<(), ActorProcessingErr> {
        if !*done {
            let _ = self.log.send(format!("- {}", self.id));
        }
        Ok(())
    }
}
