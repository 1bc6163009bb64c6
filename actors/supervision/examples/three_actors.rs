//! Three stations of a line: the second one fails, and the supervisor starts it and the third one again.

use decisiongraph_supervision::{
    ActorEntry, ActorTable, ChildSpec, Intensity, Strategy, SupervisorSpec, Vitals, start_actor, start_root,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;

/// An actor that fails when it is told to.
struct Station;

enum Order {
    Fail,
}

// Only needed where the feature `cluster` of ractor is enabled.
#[cfg(feature = "cluster")]
impl ractor::Message for Order {}

impl Actor for Station {
    type Msg = Order;
    type State = Vitals;
    type Arguments = Vitals;

    async fn pre_start(&self, _: ActorRef<Order>, vitals: Vitals) -> Result<Vitals, ActorProcessingErr> {
        vitals.working_on("waiting for orders");
        Ok(vitals)
    }

    async fn handle(&self, _: ActorRef<Order>, order: Order, _: &mut Vitals) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Fail => Err("the press is jammed".into()),
        }
    }
}

fn station(id: &str) -> ChildSpec {
    // A fresh actor per start; its vitals make it visible in the table.
    ChildSpec::worker(id, start_actor(|vitals| (Station, vitals)))
}

fn shown(table: &ActorTable) -> String {
    let line = |actor: ActorEntry| format!("{:<12}{:<9}{} restarts\n", actor.path, actor.state, actor.restarts_total);
    table.snapshot("", None, 100).into_iter().map(line).collect()
}

/// Runs the line, and shows its actors after the failure.
pub async fn run() -> Result<String, String> {
    // Each station depends on those before it: when one ends, it and those behind it are started again, in order.
    let line = SupervisorSpec::new(Strategy::RestForOne, Intensity::new(3, Duration::from_secs(10)))
        .child(station("feed"))
        .child(station("press"))
        .child(station("pack"));
    let table = ActorTable::new();
    let root = start_root("line", line, table.clone()).await?;

    let press: ActorRef<Order> = table.cell("line/press").ok_or("the press does not run")?.into();
    press.send_message(Order::Fail).map_err(|error| error.to_string())?;
    while table.entry("line/pack").is_none_or(|pack| pack.restarts_total == 0 || pack.state != "running") {
        tokio::task::yield_now().await;
    }
    let running = shown(&table);
    Ok(format!("{running}the line ended: {}\n", root.stop().await))
}

#[tokio::main]
async fn main() -> Result<(), String> {
    print!("{}", run().await?);
    Ok(())
}
