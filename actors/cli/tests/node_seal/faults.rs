//! A seal that fails is in nothing's way, and a job that ends takes the seal beside it along.

use super::*;
use decisiongraph_engine::{Control, Progress};
use decisiongraph_store::{RunMode, RunState};
use std::os::unix::fs::symlink;

/// Fault of a seal.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The stored root is another one.
    Root,
    /// The disk of the journal is full: nothing can be signed.
    Journal,
    /// The disk of the place is full: nothing is published.
    Place,
}

const FAULTS: [Fault; 3] = [Fault::Root, Fault::Journal, Fault::Place];

impl Fault {
    /// Brings it about, before the log of this tenant has a note in that directory.
    async fn happen(self, db: &Db, directory: &Path, sealing: &Sealing, tenant: &TenantId) {
        // Every write to this device fails as one to a full disk does.
        let fill = |name: &str| {
            let folder = directory.join(name);
            std::fs::create_dir_all(&folder).expect("a directory");
            let file = decisiongraph_seal::place::tag(&sealing.origin(tenant)).expect("a name") + ".jsonl";
            let _ = std::fs::remove_file(folder.join(&file));
            symlink("/dev/full", folder.join(file)).expect("made");
        };
        match self {
            Fault::Root => {
                let zeros = if db.name() == "sqlite" { "zeroblob(32)" } else { "decode(repeat('00', 32), 'hex')" };
                let edit = format!("UPDATE dg_seal SET root = {zeros} WHERE tenant_id = '{tenant}'");
                assert_eq!(db.tamper(&edit).await, 1);
            }
            Fault::Journal => fill("journal"),
            Fault::Place => fill("place"),
        }
    }
}

/// Events of a tenant that are under a leaf.
async fn size(store: &Arc<dyn Store>, tenant: &TenantId) -> u64 {
    newest(store, tenant).await.map_or(0, |tree| tree.head.size)
}

/// True when every projection of a tenant is at the end of its log.
async fn projected(store: &Arc<dyn Store>, tenant: &TenantId) -> bool {
    let view = store.view().await.expect("a view");
    let last = view.last_log_seq(tenant, None).await.expect("a position");
    for projection in catalogue::ALL {
        let row = view.scope(&Scope::new(tenant, projection)).await.expect("an answer");
        if row.is_none_or(|row| row.position.cursor < last) {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_seal_holds_up_no_projection_of_a_node() {
    for fault in FAULTS {
        for db in Db::both().await {
            let about = format!("{fault:?} {}", db.name());
            let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
            let (checkpoint, window_max) = (Duration::from_millis(100), Duration::from_secs(2));
            let settings = SealSettings { checkpoint, window_max, ..SealSettings::default() };
            let sealing = sealing_with(directory.path(), settings);
            let (tenant, other) = (named(0), named(1));
            insist(&store, &tenant, &support::log(2, 0)).await;
            insist(&store, &other, &support::log(2, 0)).await;
            if !matches!(fault, Fault::Root) {
                fault.happen(&db, directory.path(), &sealing, &tenant).await;
            }
            let node = sealed_node(&store, "faulty", &sealing).await;
            settled(&node, 2, SOON).await;
            if matches!(fault, Fault::Root) {
                // While it runs.
                until("a tree", SOON, async || size(&store, &tenant).await == 14).await;
                fault.happen(&db, directory.path(), &sealing, &tenant).await;
            }
            for round in 1..4 {
                insist(&store, &tenant, &support::log(2, round * 2)).await;
                insist(&store, &other, &support::log(2, round * 2)).await;
                settled(&node, 2, SOON).await;
            }
            // The fault is there all the time: it shows, and it was not what the projections waited for.
            until(&format!("health names it: {about}"), SOON, async || {
                let health = health(&node).await;
                health.findings.iter().any(|finding| finding.subject.contains("seal"))
            })
            .await;
            let origin = sealing.origin(&tenant);
            let published = sealing.memory.places[0].newest(&origin).ok().flatten().map_or(0, |head| head.size);
            assert!(published <= 14, "{about}: {published}");
            // The other tenant's log is sealed and signed as ever.
            audited(&store, &sealed(&store, &sealing, &other).await).await;
            assert!(projected(&store, &tenant).await && projected(&store, &other).await, "{about}");
            node.stop().await;
            if !matches!(fault, Fault::Root) {
                // A verify of a log that is not as sealed says nothing about rows.
                reckon(&store, 2).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_seal_holds_up_no_projection_of_a_command() {
    for fault in FAULTS {
        for db in Db::both().await {
            let about = format!("{fault:?} {}", db.name());
            let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
            let sealing = sealing(directory.path(), Duration::from_secs(3_600));
            let engine = support::engine(&store, 4).with_sealing(Some(Arc::clone(&sealing)));
            let tenant = support::tenant();
            insist(&store, &tenant, &support::log(2, 0)).await;
            if matches!(fault, Fault::Root) {
                support::run(&engine, RunMode::CatchUp).await;
                assert_eq!(size(&store, &tenant).await, 14);
                insist(&store, &tenant, &support::log(2, 2)).await;
            }
            fault.happen(&db, directory.path(), &sealing, &tenant).await;
            let began = Instant::now();
            let done = support::run(&engine, RunMode::CatchUp).await;
            assert_eq!(done.run.state, RunState::Completed, "{about}");
            assert!(projected(&store, &tenant).await, "{about}");
            assert!(began.elapsed() < SOON, "{about}: {:?}", began.elapsed());
            let tree = newest(&store, &tenant).await.expect("a tree");
            match fault {
                Fault::Root => assert_eq!(tree.head.size, 14, "{about}: nothing grows from another root"),
                Fault::Journal => assert_eq!((tree.head.size, tree.noted), (14, 0), "{about}: nothing is signed"),
                Fault::Place => assert!(!sealing.unpublished(&tree.origin).is_empty(), "{about}"),
            }
        }
    }
}

/// End of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// A batch cannot be written.
    Fails,
    /// Somebody cancels it.
    Cancelled,
    /// The projections stand before a poison event. The log is as it is, and is sealed to its end.
    Poisoned,
}

/// The log is long and its pages are small, so a seal that went to its end would be far behind the job's.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_or_is_stopped_stops_the_seal_beside_it() {
    const TRACES: usize = 300;
    const ALL: u64 = 7 * TRACES as u64;
    for end in [End::Fails, End::Cancelled, End::Poisoned] {
        for db in Db::both().await {
            let about = format!("{end:?} {}", db.name());
            let (store, directory) = (db.store().await, tempfile::tempdir().expect("a directory"));
            let sealing = sealing(directory.path(), Duration::from_secs(3_600));
            let engine = support::engine(&store, 4).with_sealing(Some(Arc::clone(&sealing)));
            let tenant = support::tenant();
            insist(&store, &tenant, &support::log(TRACES, 0)).await;
            // The rows of small tenants, on PostgreSQL.
            let table = if db.name() == "sqlite" { "dg_trace_summary" } else { "dg_trace_summary_shared" };
            let (harm, repair) = match end {
                End::Fails => {
                    (format!("ALTER TABLE {table} RENAME TO dg_away"), format!("ALTER TABLE dg_away RENAME TO {table}"))
                }
                End::Cancelled => (String::new(), String::new()),
                End::Poisoned => (
                    "UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = 5".to_owned(),
                    "UPDATE dg_event_log SET payload_hash = substr(payload_hash, 2) WHERE log_seq = 5".to_owned(),
                ),
            };
            if !harm.is_empty() {
                db.tamper(&harm).await;
            }
            let (sender, mut progress) = tokio::sync::watch::channel(None);
            let control = Control { progress: Some(sender), ..Control::default() };
            let cancel = control.cancel.clone();
            let stopper = tokio::spawn(async move {
                let begun = |seen: &Option<Progress>| seen.as_ref().is_some_and(|progress| progress.events > 0);
                if progress.wait_for(begun).await.is_ok() && end == End::Cancelled {
                    cancel.request();
                }
            });
            let ended = engine.run(&support::request(RunMode::CatchUp), &control).await;
            drop(control);
            stopper.await.expect("ends");
            let state = ended.as_ref().ok().map(|report| report.run.state);
            let expected = if end == End::Cancelled { RunState::Cancelled } else { RunState::Failed };
            assert!(state.is_none_or(|state| state == expected), "{about}: {state:?}");
            assert!(state.is_some() || end != End::Cancelled, "{about}");
            let reached = size(&store, &tenant).await;
            match end {
                End::Poisoned => assert_eq!(reached, ALL, "{about}"),
                _ => assert!(reached < ALL / 2, "{about}: {reached} of {ALL} events are sealed"),
            }
            // It gave up its scope: the next job goes on from there, and to the end.
            let row = store.view().await.expect("a view").scope(&Scope::new(&tenant, SEAL)).await.expect("an answer");
            assert!(row.is_none_or(|row| row.owner.is_none() || !row.owner_live), "{about}");
            if !repair.is_empty() {
                db.tamper(&repair).await;
            }
            let whole = support::engine(&store, 1_000).with_sealing(Some(Arc::clone(&sealing)));
            support::run(&whole, RunMode::CatchUp).await;
            assert_eq!(size(&store, &tenant).await, ALL, "{about}");
            assert!(projected(&store, &tenant).await, "{about}");
        }
    }
}
