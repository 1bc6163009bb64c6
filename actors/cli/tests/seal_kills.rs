//! Promise: a process that seals may be killed at any instruction. Never are there two signed roots for one size, in
//! the journal, in a place or in the database; lines that were torn are left out; the tree is the fold of the log.

mod cli_support;
mod pages;
mod seal_support;

use cli_support::enterprise;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::note::signed;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead, origin_of};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_store::launch;
use seal_support::memory::{all_heads, heads_in, lines_of};
use seal_support::tree::is_the_fold_of_its_log;
use seal_support::{BOTH, Backend, Ground, NAME};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
const POINTS: [&str; 6] = [
    "seal.rows_written",
    "seal.before_fence",
    "seal.after_commit",
    "sign.before_journal",
    "sign.after_journal",
    "publish.half",
];
/// Folders that remember: the journal, and two places.
const MEMORY: [&str; 3] = ["journal", "place", "second"];
const PLACES: &str = "DECISIONGRAPH_SEAL_PLACES";
const PATIENCE: Duration = Duration::from_secs(60);

/// A pseudorandom sequence: the same seed gives the same kills.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn soak() -> bool {
    std::env::var_os("DECISIONGRAPH_SOAK").is_some()
}

fn two_places(ground: &Ground) -> String {
    let path = |name: &str| ground.cli.path(name).display().to_string();
    format!("dir:{},dir:{}", path("place"), path("second"))
}

fn enterprise_lines() -> Vec<String> {
    std::fs::read_to_string(enterprise()).expect("the log").lines().map(str::to_owned).collect()
}

/// Seals, with a kill at the point. True when the process died there.
fn seals_and_dies(ground: &Ground, point: &str) -> bool {
    let mut command = ground.command(&["seal", "now"]);
    command.env(PLACES, two_places(ground)).env("DECISIONGRAPH_CRASH_AT", point).env("DECISIONGRAPH_LEASE_MS", "400");
    let output = command.output().expect("the program runs");
    let killed = output.status.signal() == Some(SIGKILL);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{:?} at {point}: {}\n{said}", ground.backend, output.status);
    killed
}

async fn consistent(ground: &Ground, about: &str) {
    let heads = all_heads(ground, &MEMORY).await;
    let tree = is_the_fold_of_its_log(ground).await;
    for ((origin, size), root) in heads {
        assert_eq!(origin, tree.origin, "{about}");
        assert!(size <= tree.head.size, "{about}: {size} events are signed, and {} committed", tree.head.size);
        assert!(size < tree.head.size || root == tree.head.root, "{about}: signed is what was committed");
    }
}

async fn seals_to_the_end(ground: &Ground, events: u64, about: &str) {
    let places = two_places(ground);
    let ended = ground.run_with(&["seal", "now"], PLACES, &places);
    assert_eq!(ended.code, 0, "{about}: {}{}", ended.stdout, ended.stderr);
    consistent(ground, about).await;
    for folder in MEMORY {
        let newest = heads_in(&ground.cli.path(folder)).into_iter().map(|head| head.head.size).max();
        assert_eq!(newest, Some(events), "{about}: {folder}");
    }
    let verified = ground.run_with(&["verify", "--log-only"], PLACES, &places);
    assert_eq!(verified.code, 0, "{about}: {}{}", verified.stdout, verified.stderr);
}

async fn a_kill_at_every_point_leaves_one_history(backend: Backend) {
    let lines = enterprise_lines();
    let mut met = BTreeSet::new();
    let loaded = Ground::new(backend).await;
    loaded.import(&lines[..60].join("\n"));
    for point in POINTS {
        let ground = loaded.copy().await;
        std::fs::create_dir_all(ground.cli.path("second")).expect("a folder");
        let about = format!("{backend:?} at {point}");
        // The first batch of a tree, and one that grows it.
        for events in [60, 97] {
            if events == 97 {
                ground.import(&lines[60..].join("\n"));
            }
            if seals_and_dies(&ground, point) {
                met.insert(point);
            }
            if ground.number("SELECT count(*) FROM dg_seal").await > 0 {
                consistent(&ground, &about).await;
            }
            seals_to_the_end(&ground, events, &about).await;
        }
    }
    assert_eq!(met, POINTS.into_iter().collect(), "{backend:?}: every point was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_point_leaves_one_history_on_sqlite() {
    a_kill_at_every_point_leaves_one_history(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_point_leaves_one_history_on_postgres() {
    a_kill_at_every_point_leaves_one_history(Backend::Postgres).await;
}

/// A node that seals and signs as fast as it can, killed again and again while events arrive.
async fn seeded_kills_leave_one_history(backend: Backend) {
    let kills = if soak() { 500 } else { 30 };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_201);
    println!("SEED={seed} kills={kills} {backend:?}");
    let mut dice = Dice(seed);
    let ground = Ground::new(backend).await;
    std::fs::create_dir_all(ground.cli.path("second")).expect("a folder");
    for round in 0..kills {
        let mut node = ground.command(&["node", "--name", "killed", "--json"]);
        node.env(PLACES, two_places(&ground)).env("DECISIONGRAPH_SEAL_CHECKPOINT_MS", "50");
        node.env("DECISIONGRAPH_LEASE_MS", "500").stdout(Stdio::null()).stderr(Stdio::null());
        let mut node = Killed(node.spawn().expect("starts"));
        // Events arrive before, while and after it begins.
        for part in 0..2 {
            let mut import = ground.command(&["import", "-", "--database", &ground.url()]);
            import.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = import.spawn().expect("starts");
            let events = cli_support::trace(&format!("t-{round}-{part}")).join("\n");
            child.stdin.take().expect("piped").write_all(events.as_bytes()).expect("writes");
            let ended = child.wait_with_output().expect("ends");
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            tokio::time::sleep(Duration::from_millis(dice.next() % 250)).await;
        }
        launch::signal(node.0.id(), "KILL").expect("sent");
        node.0.wait().expect("ends");
        if round % 10 == 9 && ground.number("SELECT count(*) FROM dg_seal").await > 0 {
            consistent(&ground, &format!("{backend:?}, after kill {round} of seed {seed}")).await;
        }
    }
    seals_to_the_end(&ground, kills * 6, &format!("{backend:?}, seed {seed}")).await;
    let signed = heads_in(&ground.cli.path("journal")).len();
    println!("{signed} heads in the journal");
    assert!(signed as u64 > kills / 10, "the node signed {signed} heads between {kills} kills");
}

/// A process that is killed when the test is done with it.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_kills_leave_one_history_on_sqlite() {
    seeded_kills_leave_one_history(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_kills_leave_one_history_on_postgres() {
    seeded_kills_leave_one_history(Backend::Postgres).await;
}

/// The checks of this file see what they are for: a second signed root, and a log that is not what was sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_root_and_an_edited_log_fail_these_checks() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    consistent(&ground, "nothing is wrong yet").await;
    let origin = origin_of(NAME, &TenantId::default());
    let key = SigningKey::read(&ground.cli.path("seal.key")).expect("the key");
    let head = TreeHead { size: seal_support::ALL, root: [7; 32] };
    let text = Checkpoint { origin: origin.clone(), head }.text();
    let note = signed(&text, &[key.sign(&origin, &text).expect("signs")]);
    std::fs::create_dir_all(ground.cli.path("second")).expect("a folder");
    let second = ground.cli.path("second").join("other.jsonl");
    std::fs::write(&second, format!("{}\n", serde_json::json!({ "note": note }))).expect("writes");
    let ground = std::sync::Arc::new(ground);
    let seen = |ground: &std::sync::Arc<Ground>| {
        let ground = std::sync::Arc::clone(ground);
        tokio::spawn(async move { consistent(&ground, "a check that must fail").await })
    };
    assert!(seen(&ground).await.is_err(), "two signed roots were not seen");
    std::fs::remove_file(&second).expect("removes");
    assert!(seen(&ground).await.is_ok());
    ground.sql("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 98").await;
    assert!(seen(&ground).await.is_err(), "an edited log was not seen");
}

/// The end of a line that a power failure tore off is left out, and the next line begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn torn_lines_are_left_out_and_said() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    for folder in ["journal", "place"] {
        let entries = std::fs::read_dir(ground.cli.path(folder)).expect("reads");
        let paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        let file = paths.iter().find(|path| path.extension().is_some_and(|it| it == "jsonl")).expect("a file");
        let text = std::fs::read_to_string(file).expect("reads");
        let last = text.lines().last().expect("a line").to_owned();
        let mut file = std::fs::OpenOptions::new().append(true).open(file).expect("opens");
        file.write_all(&last.as_bytes()[..last.len() / 2]).expect("writes");
    }
    let ended = ground.ok(&["seal", "status"]);
    assert!(ended.stdout.contains("98"), "{}", ended.stdout);
    ground.ok(&["verify", "--log-only"]);
    ground.import(&seal_support::LEAD.replace("lead-17", "lead-18"));
    ground.ok(&["catch-up"]);
    ground.ok(&["seal", "now"]);
    for folder in ["journal", "place"] {
        let sizes: Vec<u64> = heads_in(&ground.cli.path(folder)).into_iter().map(|head| head.head.size).collect();
        assert_eq!(sizes.iter().max(), Some(&99), "{folder}: {sizes:?}");
        assert!(lines_of(&ground.cli.path(folder)).len() >= 3, "{folder}");
    }
    ground.ok(&["verify", "--log-only"]);
}

/// A place that was cut off gets everything once it is back; no signature is made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_places_is_made_up_for() {
    for backend in BOTH {
        let ground = Ground::new(backend).await;
        std::fs::create_dir_all(ground.cli.path("second")).expect("a folder");
        ground.import(&enterprise_lines().join("\n"));
        assert!(seals_and_dies(&ground, "publish.half"), "{backend:?}");
        let have = |folder: &str| heads_in(&ground.cli.path(folder)).len();
        assert_eq!(have("journal"), 1, "{backend:?}");
        assert!(have("place") + have("second") <= 1, "{backend:?}: one place has it");
        let began = Instant::now();
        seals_to_the_end(&ground, 97, &format!("{backend:?}")).await;
        assert!(began.elapsed() < PATIENCE);
        let heads = all_heads(&ground, &MEMORY).await;
        assert_eq!(heads.len(), 1, "{backend:?}: the same head everywhere");
    }
}
