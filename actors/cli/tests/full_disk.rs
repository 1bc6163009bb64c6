//! Tests on a full disk. The data lies on a small file system in memory, which is filled.
//!
//! The tests need their own mount namespace (`unshare --mount`, in a user namespace for a user other than root). So
//! nothing stays mounted, however the test ends. Where no namespace can be made, the test says so past every capture of
//! output, and proves nothing. With PostgreSQL only the disk of the tables is full. A full disk of the write-ahead log
//! stops the whole server, which is an outage (`node_outages.rs`).

mod cli_support;
mod node_support;
mod support;

use cli_support::node::{Node, wait_until};
use cli_support::{Cli, text, trace};
use decisiongraph_projections::{Category, LogSeq, catalogue};
use decisiongraph_runtime::tenants::Phase;
use decisiongraph_store::throwaway::{PROGRAMS_VARIABLE, Server};
use decisiongraph_store::{AppendMode, StoreOptions, launch, open};
use node_support::*;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Set inside the namespace: mount point of the small file system.
const INSIDE: &str = "DECISIONGRAPH_SMALL_DISK";
const SOON: Duration = Duration::from_secs(60);
/// Runs the calling test once more on a small file system; inside, returns the mount point.
fn on_a_small_disk(megabytes: u32) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return Some(disk.into());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let program = std::env::current_exe().expect("this program");
    let owner = std::fs::metadata(directory.path()).expect("it is there");
    // Root inside the namespace may mount. The test itself runs as the user outside, because a server must not run as
    // root.
    let (within, back) = match owner.uid() {
        0 => (&[][..], String::new()),
        uid => {
            (&["--user", "--map-root-user"][..], format!("unshare --user --map-user={uid} --map-group={}", owner.gid()))
        }
    };
    let able = launch::program("unshare").args(within).args(["--mount", "sh", "-c", &format!("{back} true")]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        let why = "no namespace for a mount can be made here: it needs `unshare`, and root or user namespaces";
        writeln!(std::io::stderr(), "NOT TESTED: a full disk ({why})").expect("says so");
        return None;
    }
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m,mode=777 tmpfs \"$1\" && exec {back} \"$2\" --exact --nocapture \"$3\""
    );
    let name = std::thread::current().name().expect("the test's name").to_owned();
    let status = launch::program("unshare")
        .args(within)
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .args([directory.path(), program.as_path()])
        .arg(name)
        .env(INSIDE, directory.path())
        .envs(std::env::var_os(PROGRAMS_VARIABLE).map(|folder| (PROGRAMS_VARIABLE, folder)))
        .status()
        .expect("starts");
    assert!(status.success(), "{status}");
    None
}

/// Fills the disk except for this number of bytes.
fn fill(disk: &Path, but_for: u64) -> PathBuf {
    let filler = disk.join("filled");
    let mut file = std::fs::File::create(&filler).expect("makes");
    while file.write_all(&[0; 65_536]).is_ok() {}
    let length = file.metadata().expect("it is there").len();
    file.set_len(length.saturating_sub(but_for)).expect("shortens");
    filler
}

#[test]
fn a_full_disk_under_a_file_is_one_line_of_the_log_and_the_node_goes_on_when_there_is_space() {
    let Some(disk) = on_a_small_disk(24) else { return };
    let cli = Cli::new();
    let data = disk.join("data");
    let data = text(&data);
    let lines: Vec<String> = (0..800).flat_map(|index| trace(&format!("t{index}"))).collect();
    assert_eq!(cli.pipe(&["import", "-", "--data-dir", data], lines.join("\n").as_bytes()).code, 0);
    // Space for the node's lease, but not for a batch.
    let filler = fill(&disk, 512 * 1_024);
    let node = Node::start(&cli, &["--data-dir", data]);
    let address = format!("unix:{}", text(&node.socket));
    let scopes = || cli.json(&["status", "--node", &address])["scopes"].as_array().expect("a list").clone();
    wait_until("a worker stands before the full disk and has tried again", || {
        scopes().iter().any(|scope| {
            scope["state"] == "retrying" && scope["live"]["attempt"].as_u64().is_some_and(|attempt| attempt > 3)
        })
    });
    let log = || std::fs::read_to_string(cli.path("node.log")).expect("a log");
    let line = "a batch cannot be stored and is retried until it can: ";
    let told: Vec<String> = log().lines().filter(|told| told.contains(line)).map(str::to_owned).collect();
    assert_eq!(told.len(), 1, "{}", log());
    assert!(told[0].contains("WARN") && told[0].contains("the disk is full"), "{}", told[0]);
    std::fs::remove_file(filler).expect("makes room");
    wait_until("every scope is current", || {
        scopes().iter().all(|scope| scope["cursor"] == scope["last_log_seq"] && scope["state"] == "current")
    });
    assert_eq!(log().matches(line).count(), 1, "{}", log());
    assert_eq!(cli.run(&["verify", "--node", &address]).code, 0);
}

#[test]
fn a_batch_on_a_full_disk_is_a_storage_error_and_the_node_goes_on_when_there_is_space() {
    if on_a_small_disk(40).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(on_the_small_disk());
    }
}

async fn on_the_small_disk() {
    let disk = std::env::var(INSIDE).expect("the mount");
    let server = Server::start().await.expect("a server");
    let (admin, connection) =
        tokio_postgres::connect(server.admin_url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    // The server's own user makes the directory and fills the disk: it must own both.
    let run = async |command: String| {
        admin.batch_execute(&format!("COPY (SELECT 1) TO PROGRAM '{command}'")).await.expect("runs");
    };
    run(format!("mkdir -p {disk}/space")).await;
    admin.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{disk}/space'")).await.expect("a place");
    admin.batch_execute("CREATE DATABASE small TABLESPACE small").await.expect("a database");
    let url = server.url_of("small");
    let parsed = decisiongraph_store::DatabaseUrl::parse(&url).expect("a URL");
    let store = open(&parsed, StoreOptions::default()).await.expect("a store");
    store.migrate().await.expect("migrates");
    insist(&store, &named(0), &support::log(2, 0)).await;
    let node = start(&store, "small", 200, bounds()).await;
    settled(&node, 1, SOON).await;

    // The workers wait for their scopes' rows until the disk is full.
    let (blocker, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    blocker.batch_execute("BEGIN; SELECT * FROM dg_scope FOR UPDATE").await.expect("locks");
    insist(&store, &named(0), &support::log(300, 2)).await;
    let last = store.view().await.expect("a view").last_log_seq(&named(0), None).await.expect("a position");
    run(format!("dd if=/dev/zero of={disk}/filled bs=64k 2>/dev/null || true")).await;
    blocker.batch_execute("ROLLBACK").await.expect("lets go");

    let cell = node.parts().tenants.cell(&named(0)).expect("its actors run");
    // Each worker retries now and then. It is neither waiting nor failed at that moment.
    for place in 0..catalogue::ALL.len() {
        until("the worker stands before the full disk", SOON, async || {
            let live = cell.live(place);
            live.fault.is_some_and(|fault| fault.message.contains("No space left"))
                && matches!(live.phase, Phase::Retrying | Phase::Failed)
        })
        .await;
    }
    let refused = store.append(&named(0), &support::log(2_000, 400), AppendMode::AllOrNothing).await;
    let refused = refused.expect_err("no space for the log either");
    assert_eq!(refused.category, Category::Storage, "{refused:?}");
    let view = store.view().await.expect("a view");
    assert_eq!(view.last_log_seq(&named(0), None).await.expect("a position"), last, "nothing half appended");
    // Every batch committed before the disk was full is whole: rows and digest agree with the log up to the cursor.
    let behind = view.scopes(Some(&named(0))).await.expect("scopes");
    assert!(behind.iter().all(|row| row.position.cursor >= LogSeq(14)), "{behind:?}");
    assert!(behind.iter().any(|row| row.position.cursor < last), "the disk was full: {behind:?}");

    run(format!("rm {disk}/filled")).await;
    settled(&node, 1, SOON).await;
    assert!(node.parts().table.snapshot("node", None, 1_000).iter().all(|entry| entry.restarts_total == 0));
    node.stop().await;
    reckon(&store, 1).await;
}
