//! The live dump: how the table shows real actors.

mod support;

use decisiongraph_supervision::{
    ChildKind, ChildSpec, ExitReason, Gone, Intensity, Strategy, SupervisorSpec, start_actor,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{bench, failed, root, tell, until};

const GENEROUS: Intensity = Intensity::new(3, Duration::from_secs(60));

#[tokio::test]
async fn the_table_shows_the_tree_with_its_budgets() {
    let (bench, _journal) = bench();
    let inner = SupervisorSpec::new(Strategy::OneForAll, GENEROUS).child(bench.child("x"));
    let spec = SupervisorSpec::new(Strategy::RestForOne, Intensity::new(9, Duration::from_secs(5)))
        .child(bench.child("a"))
        .child(ChildSpec::supervisor("inner", inner));
    let (root, table) = root(spec).await;
    let paths: Vec<_> = table.snapshot("", None, 100).into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["node", "node/a", "node/inner", "node/inner/x"]);
    let before = table.cell("node/inner/x").unwrap();
    tell(&table, "node/inner/x", failed()).await;
    until(|| table.cell("node/inner/x").filter(|cell| *cell != before)).await;
    let inner = table.entry("node/inner").unwrap();
    let budget = inner.budget.unwrap();
    assert_eq!((inner.kind, inner.strategy), (ChildKind::Supervisor, Some(Strategy::OneForAll)));
    assert_eq!((budget.in_window, budget.allowed, budget.period_ms), (1, 3, 60_000));
    let x = table.entry("node/inner/x").unwrap();
    assert_eq!((x.state.as_str(), x.restarts_total), ("running", 1));
    assert_eq!(x.last_exit, Some(ExitReason::Failed("boom".into())));
    assert!(x.actor.is_some() && x.uptime_ms.is_some() && x.started_at_unix_ms.is_some() && x.budget.is_none());
    assert!(table.supervisor("node/inner").is_some() && table.supervisor("node/inner/x").is_none());
    root.stop().await;
}

/// Waits with its first message until the gate opens.
struct Gated(Arc<tokio::sync::Semaphore>);

struct Knock;

#[cfg(feature = "cluster")]
impl ractor::Message for Knock {}

impl Actor for Gated {
    type Msg = Knock;
    type State = decisiongraph_supervision::Vitals;
    type Arguments = decisiongraph_supervision::Vitals;

    async fn pre_start(&self, _: ActorRef<Knock>, vitals: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(vitals)
    }

    async fn handle(&self, _: ActorRef<Knock>, _: Knock, vitals: &mut Self::State) -> Result<(), ActorProcessingErr> {
        vitals.received("knock");
        vitals.working_on("the gate");
        vitals.state("waiting at the gate");
        self.0.acquire().await?.forget();
        vitals.working_on("");
        Ok(())
    }
}

#[tokio::test]
async fn an_address_counts_what_waits_and_says_when_the_actor_is_gone() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let kept = Arc::new(Mutex::new(None));
    let (inside, given) = (Arc::clone(&gate), Arc::clone(&kept));
    let start = start_actor(move |vitals| {
        *given.lock().unwrap() = Some(vitals.clone());
        (Gated(Arc::clone(&inside)), vitals)
    });
    let (root, table) =
        root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS).child(ChildSpec::worker("g", start))).await;
    let vitals = kept.lock().unwrap().clone().unwrap();
    let address = vitals.address(ActorRef::<Knock>::from(table.cell("node/g").unwrap()));
    for _ in 0..5 {
        address.cast(Knock).unwrap();
    }
    let entry =
        until(|| table.entry("node/g").filter(|entry| entry.last_message.is_some() && entry.work.is_some())).await;
    assert_eq!((entry.mailbox_depth, entry.last_message.as_deref()), (4, Some("knock")));
    assert_eq!((entry.state.as_str(), entry.work.as_deref()), ("waiting at the gate", Some("the gate")));
    gate.add_permits(5);
    until(|| table.entry("node/g").filter(|entry| entry.mailbox_depth == 0 && entry.work.is_none())).await;
    let old = table.cell("node/g").unwrap();
    old.kill();
    until(|| table.cell("node/g").filter(|cell| *cell != old)).await;
    assert_eq!(address.cast(Knock), Err(Gone));
    vitals.working_on("nothing that counts");
    let fresh = table.entry("node/g").unwrap();
    assert_eq!((fresh.mailbox_depth, fresh.work, fresh.last_message), (0, None, None));
    root.stop().await;
}
