//! Histories that became shorter, or two: rewound databases, restored and copied ones, forks.

use crate::cli_support::node::wait_until;
use crate::cli_support::text;
use crate::seal_support::memory::heads_in;
use crate::seal_support::tree::is_the_fold_of_its_log;
use crate::seal_support::{BOTH, Backend, Ground, LEAD, NAME, says};
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::texts::origin_of;
use decisiongraph_seal::key::SigningKey;

const PLACES: &str = "DECISIONGRAPH_SEAL_PLACES";
const SHRUNK: &str = "tree_shrunk: 60 events are sealed here, a checkpoint for 98 was signed at …";

/// Returns the verifier key of the default tenant's log, as an operator hands it out.
pub fn key_of(ground: &Ground) -> String {
    key_of_origin(ground, &origin_of(NAME, &TenantId::default()))
}

pub fn key_of_origin(ground: &Ground, origin: &str) -> String {
    SigningKey::read(&ground.cli.path("seal.key")).expect("the key").verifier(origin).to_string()
}

/// Log, tree, scope and projections as they were at 60 events: restored from a dump, or a copied file.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_database_is_found_by_every_memory_that_is_left() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, now) = Ground::sealed(backend).await;
        then.remember(&now);
        says(&then.run(&["verify", "--log-only"]), 3, &format!("{SHRUNK} (journal)"), &about);
        says(&then.run(&["seal", "now"]), 3, SHRUNK, &about);
        assert_eq!(heads_in(&then.cli.path("journal")).len(), heads_in(&now.cli.path("journal")).len(), "{about}");

        std::fs::remove_dir_all(then.cli.path("journal")).expect("removes");
        says(&then.run(&["verify", "--log-only"]), 3, &format!("{SHRUNK} (dir:…)"), &about);
        says(&then.run(&["seal", "now"]), 3, SHRUNK, &about);

        // The limit of the construction: nothing outside remembers.
        std::fs::remove_dir_all(then.cli.path("place")).expect("removes");
        let verified = then.run_with(&["verify", "--log-only"], PLACES, "");
        assert_eq!(verified.code, 0, "{about}: {}{}", verified.stdout, verified.stderr);
        let status = then.run_with(&["seal", "status"], PLACES, "");
        says(&status, 0, "memory: this database only", &about);
    }
}

/// Events and projections go on over a fork; only the seal stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_rewound_database_signs_nothing_and_does_the_rest() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, now) = Ground::sealed(backend).await;
        then.remember(&now);
        let node = then.node(&[]);
        then.import(LEAD);
        crate::cli_support::node::applied_but_for_the_seal(&then.cli);
        wait_until("health is failed", || then.run(&["health"]).code == 11);
        let health = then.run(&["health"]);
        says(&health, 11, "tree_shrunk", &about);
        let heads = heads_in(&then.cli.path("journal"));
        assert_eq!(heads.len(), heads_in(&now.cli.path("journal")).len(), "{about}: nothing new is signed");

        // An operator starts a new tree: what both have in common keeps its leaves.
        let pack = then.cli.path("new.pack");
        let old = key_of(&then);
        then.ok(&["seal", "fork", "--tenant", "default", "--reason", "the events of July are lost"]);
        wait_until("health is clear again", || then.run(&["health"]).code == 0);
        then.ok(&["seal", "now"]);
        drop(node);
        let tree = is_the_fold_of_its_log(&then).await;
        assert_eq!((tree.tree, tree.head.size), (2, 61), "{about}");
        assert_eq!(tree.origin, format!("{}/2", origin_of(NAME, &TenantId::default())));
        says(&then.run(&["verify", "--log-only"]), 0, "", &about);
        then.ok(&["audit-pack", "--trace", "lead-17", "-o", text(&pack)]);
        let key = key_of_origin(&then, &tree.origin);
        then.ok(&["audit", text(&pack), "--key", &key]);
        assert_eq!(then.run(&["audit", text(&pack), "--key", &old]).code, 8, "{about}: the old key is of another log");
        // A pack of the old tree goes on to verify.
        let before = now.cli.path("old.pack");
        now.ok(&["audit-pack", "--trace", "lead-17", "-o", text(&before)]);
        now.ok(&["audit", text(&before), "--key", &old]);
    }
}

/// A dump of Monday that is restored on Tuesday, with the journal and the place of Tuesday.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_signs_nothing_and_does_the_rest() {
    let (then, now) = Ground::sealed(Backend::Postgres).await;
    let restored = then.dumped_and_restored().await;
    says(&restored.run_with(&["verify", "--log-only"], PLACES, ""), 0, "memory: this database only", "no memory yet");
    restored.remember(&now);
    says(&restored.run(&["verify", "--log-only"]), 3, &format!("{SHRUNK} (journal)"), "offline");
    let node = restored.node(&[]);
    restored.import(LEAD);
    crate::cli_support::node::applied_but_for_the_seal(&restored.cli);
    wait_until("health is failed", || restored.run(&["health"]).code == 11);
    says(&restored.run(&["health"]), 11, "tree_shrunk", "by a node");
    says(&restored.run(&["seal", "now"]), 3, SHRUNK, "by a node");
    drop(node);
    for folder in ["journal", "place"] {
        let (signed, before) = (heads_in(&restored.cli.path(folder)), heads_in(&now.cli.path(folder)));
        assert_eq!(signed.len(), before.len(), "{folder}: nothing new is signed");
    }
}

/// A copy of production that runs with its key and its places stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_with_the_key_and_the_places_stops_and_signs_nothing() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, production) = Ground::sealed(backend).await;
        let clone = production.copy_database().await;
        production.import(&LEAD.replace("lead-17", "lead-18"));
        production.ok(&["seal", "now"]);
        // The journal of the clone is empty; the places are those of production.
        let places = format!("dir:{}", production.cli.path("place").display());
        clone.import(&LEAD.replace("lead-17", "lead-19"));
        let sealed = clone.run_with(&["seal", "now"], PLACES, &places);
        let line = "tree_shrunk: 98 events are sealed here, a checkpoint for 99 was signed at … (dir:…)";
        says(&sealed, 3, line, &about);
        assert!(heads_in(&clone.cli.path("journal")).is_empty(), "{about}");
    }
}

/// Two readers with one note each: the pair is the evidence.
#[tokio::test(flavor = "multi_thread")]
async fn two_roots_for_one_size_are_printed_side_by_side() {
    let (then, now) = Ground::sealed(Backend::Sqlite).await;
    // The same key, on a copy without any memory, seals another history up to 98 events.
    let other = then.copy_database().await;
    let log = std::fs::read_to_string(crate::cli_support::enterprise()).expect("the log");
    let lines: Vec<&str> = log.lines().skip(crate::seal_support::FIRST).collect();
    other.import(&lines.join("\n"));
    other.import(&LEAD.replace("lead-17", "lead-18"));
    other.ok(&["seal", "init", "--tenant", "default", "--trust-database", "--reason", "a test"]);
    other.ok(&["seal", "now"]);
    let note = |ground: &Ground, name: &str| now.cli.file(name, ground.ok(&["checkpoint"]).stdout);
    let (a, b) = (note(&now, "a.checkpoint"), note(&other, "b.checkpoint"));
    let key = key_of(&now);
    let line = format!("two roots for 98 events, both signed by {key}: the log has been forked");
    says(&now.run(&["consistency", text(&a), text(&b), "--key", &key]), 3, &line, "two notes");
    // Two sizes of one log are consistent.
    now.ok(&["consistency", "60", "98"]);
}
