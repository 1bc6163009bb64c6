//! Supervisors of real actors: which children restart together, in which order, and when a supervisor gives up.

mod support;

use decisiongraph_supervision::{
    Backoff, ChildSpec, ChildState, ExitReason, Intensity, Restart, Shutdown, Strategy, SupervisorError, SupervisorRef,
    SupervisorSpec, start_root,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{
    Bench, Fault, HANGING, Journal, STOPPING, ToyMessage, WAIT_MAX, bench, exited, failed, root, tell, until,
};

const GENEROUS: Intensity = Intensity::new(10, Duration::from_secs(60));

fn three(bench: &Bench, strategy: Strategy) -> SupervisorSpec {
    let spec = SupervisorSpec::new(strategy, GENEROUS);
    spec.child(bench.child("a")).child(bench.child("b")).child(bench.child("c"))
}

fn supervisor_of(child: &ractor::ActorCell, root: &SupervisorRef) -> bool {
    root.cell().get_children().contains(child)
}

#[tokio::test]
async fn one_for_one_restarts_the_child_alone() {
    let (bench, mut journal) = bench();
    let (root, table) = root(three(&bench, Strategy::OneForOne)).await;
    journal.expect("+a +b +c").await;
    tell(&table, "node/b", failed()).await;
    journal.expect("+b").await;
    root.stop().await;
    journal.expect("-c -b -a").await;
    journal.nothing_more();
}

#[tokio::test]
async fn rest_for_one_restarts_the_child_and_those_after_it() {
    let (bench, mut journal) = bench();
    let (root, table) = root(three(&bench, Strategy::RestForOne)).await;
    journal.expect("+a +b +c").await;
    tell(&table, "node/b", ToyMessage::Panic).await;
    journal.expect("-c +b +c").await;
    root.stop().await;
    journal.expect("-c -b -a").await;
}

#[tokio::test]
async fn one_for_all_restarts_everyone_in_order() {
    let (bench, mut journal) = bench();
    let (root, table) = root(three(&bench, Strategy::OneForAll)).await;
    journal.expect("+a +b +c").await;
    tell(&table, "node/b", ToyMessage::End(ExitReason::Killed)).await;
    journal.expect("-c -a +a +b +c").await;
    root.stop().await;
    journal.expect("-c -b -a").await;
}

#[tokio::test]
async fn a_killed_transient_child_restarts_and_a_finished_one_does_not() {
    let (bench, mut journal) = bench();
    let spec = SupervisorSpec::new(Strategy::OneForOne, GENEROUS);
    let (root, table) = root(spec.child(bench.child("t").restart(Restart::Transient))).await;
    journal.expect("+t").await;
    until(|| table.cell("node/t")).await.kill();
    journal.expect("+t").await;
    tell(&table, "node/t", ToyMessage::End(ExitReason::Normal)).await;
    until(|| table.cell("node/t").is_none().then_some(())).await;
    let entry = table.entry("node/t").expect("still on the list");
    assert_eq!((entry.state.as_str(), entry.last_exit, entry.restarts_total), ("stopped", Some(ExitReason::Normal), 1));
    root.stop().await;
    journal.nothing_more();
}

#[tokio::test]
async fn a_temporary_child_leaves_when_it_ends_and_when_a_sibling_takes_it_down() {
    let (bench, mut journal) = bench();
    let spec = SupervisorSpec::new(Strategy::OneForAll, GENEROUS)
        .child(bench.child("p"))
        .child(bench.child("t").restart(Restart::Temporary))
        .child(bench.child("u").restart(Restart::Temporary));
    let (root, table) = root(spec).await;
    journal.expect("+p +t +u").await;
    tell(&table, "node/u", failed()).await;
    until(|| table.entry("node/u").is_none().then_some(())).await;
    tell(&table, "node/p", failed()).await;
    journal.expect("-t +p").await;
    assert_eq!(table.len(), 2, "the root and p: {:?}", table.snapshot("", None, 10));
    root.stop().await;
}

#[tokio::test]
async fn too_many_restarts_stop_all_children_in_reverse_and_end_the_root() {
    let (bench, mut journal) = bench();
    let mut spec = three(&bench, Strategy::OneForOne);
    spec.intensity = Intensity::new(1, Duration::from_secs(60));
    let (root, table) = root(spec).await;
    journal.expect("+a +b +c").await;
    tell(&table, "node/b", failed()).await;
    journal.expect("+b").await;
    assert!(!root.gave_up());
    tell(&table, "node/b", failed()).await;
    journal.expect("-c -a").await;
    assert_eq!(exited(&root).await, ExitReason::Shutdown);
    assert!(root.gave_up());
    assert!(table.is_empty(), "{:?}", table.snapshot("", None, 10));
}

#[tokio::test]
async fn an_ordered_stop_is_not_giving_up() {
    let (bench, mut journal) = bench();
    let (root, table) = root(three(&bench, Strategy::OneForOne)).await;
    journal.expect("+a +b +c").await;
    assert_eq!(root.stop().await, ExitReason::Shutdown);
    journal.expect("-c -b -a").await;
    assert!(!root.gave_up());
    assert!(table.is_empty());
}

#[tokio::test]
async fn a_supervisor_that_gives_up_escalates_to_its_parent() {
    let (bench, mut journal) = bench();
    let inner = SupervisorSpec::new(Strategy::OneForOne, Intensity::new(0, Duration::from_secs(60)))
        .child(bench.child("x"))
        .child(bench.child("y"));
    let outer = SupervisorSpec::new(Strategy::RestForOne, Intensity::new(1, Duration::from_secs(60)))
        .child(ChildSpec::supervisor("inner", inner))
        .child(bench.child("z"));
    let (root, table) = root(outer).await;
    journal.expect("+x +y +z").await;
    tell(&table, "node/inner/x", failed()).await;
    journal.expect("-y -z +x +y +z").await;
    let inner = table.entry("node/inner").expect("restarted");
    assert_eq!((inner.restarts_total, inner.last_exit), (1, Some(ExitReason::Shutdown)));
    tell(&table, "node/inner/y", failed()).await;
    journal.expect("-x -z").await;
    assert_eq!(exited(&root).await, ExitReason::Shutdown);
    assert!(root.gave_up());
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_after_its_shutdown_time() {
    let (bench, mut journal) = bench();
    let wait = Duration::from_millis(200);
    let spec = SupervisorSpec::new(Strategy::OneForOne, GENEROUS)
        .child(bench.child("a"))
        .child(bench.child("in handler").shutdown(Shutdown::Timeout(wait)))
        .child(bench.child("in post_stop").shutdown(Shutdown::Timeout(wait)));
    let (root, table) = root(spec).await;
    journal.expect("+a").await;
    tell(&table, "node/in handler", ToyMessage::HangNow).await;
    tell(&table, "node/in post_stop", ToyMessage::HangOnStop).await;
    until(|| (table.entry("node/in post_stop")?.last_message.is_some()).then_some(())).await;
    until(|| (table.entry("node/in handler")?.last_message.is_some()).then_some(())).await;
    let hung = [table.cell("node/in handler").unwrap(), table.cell("node/in post_stop").unwrap()];
    journal.so_far();
    let asked = Instant::now();
    root.stop().await;
    journal.expect("-a").await;
    assert!(hung.iter().all(|cell| cell.get_status() == ractor::ActorStatus::Stopped), "not killed");
    let took = asked.elapsed();
    assert!(took >= 2 * wait && took < WAIT_MAX, "{took:?}");
}

#[tokio::test]
async fn a_brutal_shutdown_runs_none_of_the_childs_code() {
    let (bench, mut journal) = bench();
    let spec = SupervisorSpec::new(Strategy::OneForOne, GENEROUS);
    let (root, _) = root(spec.child(bench.child("a")).child(bench.child("b").shutdown(Shutdown::Brutal))).await;
    root.stop().await;
    journal.expect("+a +b -a").await;
    journal.nothing_more();
}

#[tokio::test]
async fn a_start_that_fails_stops_those_before_it_and_fails_the_root() {
    let (bench, mut journal) = bench();
    bench.fail_starts("c", [Fault::Panic]);
    let table = decisiongraph_supervision::ActorTable::new();
    let error = start_root("node", three(&bench, Strategy::OneForOne), table.clone()).await.unwrap_err();
    assert!(error.contains("child c") && error.contains("panic in start"), "{error}");
    journal.expect("+a +b !c -b -a").await;
    assert!(table.is_empty());
}

#[tokio::test]
async fn a_failed_restart_is_tried_again_and_counts() {
    let (bench, mut journal) = bench();
    let mut spec = three(&bench, Strategy::OneForAll);
    spec.intensity = Intensity::new(3, Duration::from_secs(60));
    let (root, table) = root(spec).await;
    journal.expect("+a +b +c").await;
    bench.fail_starts("b", [Fault::Error, Fault::Panic]);
    tell(&table, "node/c", failed()).await;
    journal.expect("-b -a +a !b -a +a !b -a +a +b +c").await;
    assert_eq!(table.entry("node").and_then(|root| root.budget).map(|budget| budget.in_window), Some(3));
    tell(&table, "node/a", failed()).await;
    journal.expect("-c -b").await;
    assert_eq!(exited(&root).await, ExitReason::Shutdown);
    assert!(root.gave_up());
}

#[tokio::test]
async fn starts_that_never_succeed_use_up_the_restarts() {
    let (bench, mut journal) = bench();
    let mut spec = three(&bench, Strategy::OneForOne);
    spec.intensity = Intensity::new(2, Duration::from_secs(60));
    let (root, table) = root(spec).await;
    journal.expect("+a +b +c").await;
    bench.fail_starts("b", [Fault::Error; 10]);
    tell(&table, "node/b", failed()).await;
    journal.expect("!b !b -c -a").await;
    assert_eq!(exited(&root).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn children_come_and_go_by_the_handle() {
    let (bench, mut journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let handle = root.supervisor();
    let x = handle.start_child(bench.child("x")).await.unwrap();
    assert!(supervisor_of(&x, handle));
    assert_eq!(handle.start_child(bench.child("x")).await.unwrap_err(), SupervisorError::AlreadyStarted);
    assert_eq!(handle.restart_child("x").await.unwrap_err(), SupervisorError::Running);
    assert_eq!(handle.delete_child("x").await.unwrap_err(), SupervisorError::Running);
    handle.terminate_child("x").await.unwrap();
    assert_eq!(handle.start_child(bench.child("x")).await.unwrap_err(), SupervisorError::AlreadyPresent);
    let listed = handle.which_children().await.unwrap();
    assert_eq!((listed.len(), listed[0].state, listed[0].actor.is_none()), (1, ChildState::Stopped, true));
    handle.restart_child("x").await.unwrap();
    handle.terminate_child("x").await.unwrap();
    handle.delete_child("x").await.unwrap();
    assert_eq!(handle.terminate_child("x").await.unwrap_err(), SupervisorError::NotFound);
    journal.expect("+x -x +x -x").await;
    bench.fail_starts("y", [Fault::Error]);
    let refused = handle.start_child(bench.child("y")).await.unwrap_err();
    assert_eq!(refused, SupervisorError::StartFailed("no start today".into()));
    handle.start_child(bench.child("t").restart(Restart::Temporary)).await.unwrap();
    handle.terminate_child("t").await.unwrap();
    let count = handle.count().await.unwrap();
    assert_eq!((count.specs, count.active, table.len()), (0, 0, 1));
    root.stop().await;
    assert_eq!(handle.count().await.unwrap_err(), SupervisorError::Gone);
}

#[tokio::test]
async fn a_transient_child_of_a_dynamic_supervisor_counts_its_restarts_and_leaves_when_it_ends_well() {
    let (bench, mut journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let handle = root.supervisor();
    handle.start_child(bench.child("x").restart(Restart::Transient)).await.unwrap();
    let first = table.cell("node/x").unwrap();
    first.kill();
    journal.expect("+x +x").await;
    let second = until(|| table.cell("node/x").filter(|cell| cell != &first)).await;
    assert_eq!(table.entry("node/x").unwrap().restarts_total, 1);
    second.stop(None);
    journal.expect("-x").await;
    until(|| table.entry("node/x").is_none().then_some(())).await;
    assert_eq!(handle.count().await.unwrap().specs, 0);
    handle.start_child(bench.child("x").restart(Restart::Transient)).await.unwrap();
    assert_eq!(table.entry("node/x").unwrap().restarts_total, 0, "another child of the same name");
    root.stop().await;
}

#[tokio::test]
async fn a_dynamic_supervisor_stops_its_children_together() {
    let (bench, mut journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let wait = Duration::from_millis(300);
    for n in 0..20 {
        let id = format!("n{n}");
        root.supervisor().start_child(bench.child(&id).shutdown(Shutdown::Timeout(wait))).await.unwrap();
        tell(&table, &format!("node/{id}"), ToyMessage::HangOnStop).await;
    }
    let hangs = |n: u32| table.entry(&format!("node/n{n}")).is_some_and(|entry| entry.last_message.is_some());
    until(|| (0..20).all(hangs).then_some(())).await;
    journal.so_far();
    let asked = Instant::now();
    root.stop().await;
    assert!(asked.elapsed() < 20 * wait, "one after the other: {:?}", asked.elapsed());
    journal.nothing_more();
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_subtree_with_it_and_comes_back_whole() {
    let (bench, mut journal) = bench();
    let inner = SupervisorSpec::new(Strategy::OneForOne, GENEROUS).child(bench.child("x"));
    let spec = SupervisorSpec::new(Strategy::OneForOne, GENEROUS).child(ChildSpec::supervisor("inner", inner));
    let (root, table) = root(spec).await;
    let first = table.cell("node/inner/x").unwrap();
    table.supervisor("node/inner").unwrap().start_child(bench.child("extra")).await.unwrap();
    journal.expect("+x +extra").await;
    table.cell("node/inner").unwrap().kill();
    journal.expect("+x").await;
    first.wait(Some(WAIT_MAX)).await.expect("the old child dies with its supervisor");
    until(|| table.cell("node/inner/x").filter(|cell| cell != &first)).await;
    assert!(table.entry("node/inner/extra").is_none(), "a child that was added is gone after a restart");
    assert_eq!(table.entry("node/inner").unwrap().last_exit, Some(ExitReason::Killed));
    root.stop().await;
}

#[tokio::test]
async fn a_back_off_holds_the_child_and_its_siblings_and_leaves_the_handle_answering() {
    let (bench, mut journal) = bench();
    let first = Duration::from_millis(300);
    let spec = three(&bench, Strategy::OneForAll).backoff(Backoff { first, longest: first });
    let (root, table) = root(spec).await;
    journal.expect("+a +b +c").await;
    let failed_at = Instant::now();
    tell(&table, "node/b", failed()).await;
    journal.expect("-c -a").await;
    let states = root.supervisor().which_children().await.unwrap();
    assert!(states.iter().all(|child| child.state == ChildState::Restarting), "{states:?}");
    assert_eq!(table.entry("node/c").unwrap().state, "waiting");
    assert_eq!(root.supervisor().restart_child("a").await.unwrap_err(), SupervisorError::Restarting);
    root.supervisor().terminate_child("a").await.unwrap();
    journal.expect("+b +c").await;
    assert!(failed_at.elapsed() >= first / 2, "{:?}", failed_at.elapsed());
    assert_eq!(root.supervisor().restart_child("a").await.map(|_| ()), Ok(()));
    root.stop().await;
}

#[tokio::test]
async fn a_start_function_that_panics_is_a_failed_start() {
    let (root, _) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let spec = ChildSpec::worker("x", std::sync::Arc::new(|_, _| panic!("no actor at all")));
    let error = root.supervisor().start_child(spec).await.unwrap_err();
    assert_eq!(error, SupervisorError::StartFailed("panic in start: no actor at all".into()));
    assert_eq!(root.supervisor().count().await.unwrap().specs, 0);
    root.stop().await;
}

#[tokio::test]
async fn a_root_that_is_killed_gave_up_too() {
    let (bench, mut journal) = bench();
    let (root, _) = root(three(&bench, Strategy::OneForOne)).await;
    journal.expect("+a +b +c").await;
    assert_eq!(root.kill().await, ExitReason::Killed);
    assert!(root.gave_up());
    let _: &mut Journal = &mut journal;
}

/// root ── inner ── slow, beside. `inner` has little time to stop; `slow` may stop without a limit.
fn nested(bench: &Bench) -> SupervisorSpec {
    let inner = SupervisorSpec::new(Strategy::OneForOne, GENEROUS)
        .child(bench.child("beside"))
        .child(bench.child("slow").shutdown(Shutdown::Infinity));
    let inner = ChildSpec::supervisor("inner", inner).shutdown(Shutdown::Timeout(Duration::from_millis(100)));
    SupervisorSpec::new(Strategy::OneForOne, GENEROUS).child(inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_being_stopped_does_not_outlive_its_killed_supervisor() {
    let (bench, _journal) = bench();
    let (root, table) = root(nested(&bench)).await;
    tell(&table, "node/inner/slow", ToyMessage::HangOnStop).await;
    until(|| (table.entry("node/inner/slow")?.state == HANGING).then_some(())).await;
    root.supervisor().terminate_child("inner").await.unwrap();
    assert_eq!((bench.alive("slow"), bench.alive("beside")), (0, 0), "alive after the answer");
    root.supervisor().restart_child("inner").await.unwrap();
    assert_eq!((bench.alive("slow"), bench.most_alive()), (1, 1), "two lives at one time");
    tell(&table, "node/inner/slow", ToyMessage::HangOnStop).await;
    until(|| (table.entry("node/inner/slow")?.state == HANGING).then_some(())).await;
    root.stop().await;
    assert_eq!((bench.alive("slow"), bench.alive("beside"), table.len()), (0, 0, 0), "alive after the root's end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_is_killed_while_it_stops_a_child_comes_back_with_one_life_of_each() {
    let (bench, _journal) = bench();
    let (root, table) = root(nested(&bench)).await;
    let inner = table.supervisor("node/inner").unwrap();
    tell(&table, "node/inner/slow", ToyMessage::HangOnStop).await;
    until(|| (table.entry("node/inner/slow")?.state == HANGING).then_some(())).await;
    let stopping = tokio::spawn(async move { inner.terminate_child("slow").await });
    until(|| (table.entry("node/inner/slow")?.state == STOPPING).then_some(())).await;
    let old = table.cell("node/inner").unwrap();
    old.kill();
    until(|| table.cell("node/inner/slow").filter(|_| table.cell("node/inner").is_some_and(|cell| cell != old))).await;
    assert_eq!(stopping.await.unwrap(), Err(SupervisorError::Gone));
    assert_eq!((bench.alive("slow"), bench.alive("beside"), bench.most_alive()), (1, 1, 1));
    assert_eq!(root.kill().await, ExitReason::Killed);
    assert_eq!((bench.alive("slow"), bench.alive("beside"), table.len()), (0, 0, 0), "alive after the root's kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_cannot_be_killed_has_no_successor_while_it_lives() {
    let (bench, _journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS).child(bench.child("x"))).await;
    let (release, blocked) = std::sync::mpsc::channel();
    tell(&table, "node/x", ToyMessage::Block(blocked)).await;
    until(|| table.entry("node/x")?.last_message).await;
    let handle = root.supervisor().clone();
    handle.terminate_child("x").await.unwrap();
    assert_eq!(bench.alive("x"), 1, "it never yields");
    let restarting = tokio::spawn(async move { handle.restart_child("x").await.map(|_| ()) });
    until(|| (table.entry("node/x")?.state == "stopped").then_some(())).await;
    drop(release);
    assert_eq!(restarting.await.unwrap(), Ok(()));
    assert_eq!((bench.alive("x"), bench.most_alive()), (1, 1));
    root.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_after_its_actor_ran_leaves_nothing() {
    let (bench, _journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let toy = bench.child("x");
    let start = Arc::clone(&toy.start);
    let halfway = ChildSpec {
        start: Arc::new(move |parent, vitals| {
            let starting = start(parent, vitals);
            Box::pin(async move {
                starting.await?;
                Err("what comes behind it failed".to_owned())
            })
        }),
        ..toy
    };
    let error = root.supervisor().start_child(halfway).await.unwrap_err();
    assert_eq!(error, SupervisorError::StartFailed("what comes behind it failed".into()));
    assert_eq!((root.supervisor().cell().get_children().len(), table.len()), (0, 1));
    root.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_had_linked_to_itself_ends_with_it() {
    let (bench, _journal) = bench();
    let (root, table) = root(SupervisorSpec::new(Strategy::OneForOne, GENEROUS)).await;
    let (worker, own) = (bench.child("worker").shutdown(Shutdown::Brutal), bench.child("its own").start);
    let (start, linked) = (Arc::clone(&worker.start), Arc::new(Mutex::new(None)));
    let keep = Arc::clone(&linked);
    let worker = ChildSpec {
        start: Arc::new(move |parent, vitals| {
            let (starting, own, keep) = (start(parent, vitals.clone()), Arc::clone(&own), Arc::clone(&keep));
            Box::pin(async move {
                let worker = starting.await?;
                let linked = own(worker.actor().clone(), vitals).await?;
                *keep.lock().unwrap() = Some(linked.actor().clone());
                Ok(worker)
            })
        }),
        ..worker
    };
    root.supervisor().start_child(worker).await.unwrap();
    let linked = linked.lock().unwrap().clone().expect("it was started");
    let toy = ractor::ActorRef::<ToyMessage>::from(linked.clone());
    toy.send_message(ToyMessage::HangOnStop).unwrap();
    until(|| (table.entry("node/worker")?.state == HANGING).then_some(())).await;
    linked.stop(None);
    until(|| (table.entry("node/worker")?.state == STOPPING).then_some(())).await;
    root.supervisor().terminate_child("worker").await.unwrap();
    assert_eq!(linked.get_status(), ractor::ActorStatus::Stopped);
    root.stop().await;
}
