//! Faults of the seal that stop nothing else: paused, held up, without a place, with lost salts.

use crate::cli_support::node::{applied_but_for_the_seal, wait_until};
use crate::cli_support::{Cli, text, trace};
use crate::seal_support::{BOTH, Backend, Ground, LEAD, says};
use std::sync::atomic::{AtomicU32, Ordering};

/// Appends a trace, and checks that the projections take it.
fn goes_on(ground: &Ground) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("goes-on-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    ground.import(&trace(&name).join("\n"));
    applied_but_for_the_seal(&ground.cli);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_seal_is_named_by_health_and_stops_nothing_else() {
    for backend in BOTH {
        let (_, ground) = Ground::sealed(backend).await;
        let _node = ground.node(&[("DECISIONGRAPH_SEAL_WINDOW_MAX_S", "1")]);
        ground.ok(&["pause", "--projection", "seal", "--reason", "a test"]);
        goes_on(&ground);
        wait_until("health names the seal", || {
            let health = ground.run(&["health"]);
            [10, 11].contains(&health.code) && health.stdout.contains("seal")
        });
        ground.ok(&["resume", "--projection", "seal", "--reason", "a test"]);
        wait_until("health is clear again", || ground.run(&["health"]).code == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_written_is_named_and_caught_up() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let _node = ground.node(&[("DECISIONGRAPH_SEAL_WINDOW_MAX_S", "1")]);
    let (place, away) = (ground.cli.path("place"), ground.cli.path("away"));
    std::fs::rename(&place, &away).expect("moves");
    std::fs::write(&place, "not a folder").expect("writes");
    goes_on(&ground);
    wait_until("health names the place", || {
        let health = ground.run(&["health"]);
        [10, 11].contains(&health.code) && health.stdout.contains("dir:")
    });
    let status = ground.run(&["seal", "status"]);
    assert!(status.stdout.contains("dir:"), "{}", status.stdout);
    std::fs::remove_file(&place).expect("removes");
    std::fs::rename(&away, &place).expect("moves");
    wait_until("the place has everything", || {
        let heads = crate::seal_support::memory::heads_in(&place);
        heads.iter().any(|head| head.head.size == 101)
    });
    wait_until("health is clear again", || ground.run(&["health"]).code == 0);
}

/// Salts that are gone leave the tree, and open nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn lost_salts_and_blanked_payloads_are_found() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, ground) = Ground::sealed(backend).await;
        // The second chunk has leaves 60 to 97: the salts of the last leaf are its last 32 bytes.
        let salts = |ground: &Ground, from: usize, count: usize| {
            let zeros = ground.bytes(&vec![0; count]);
            let rest = 38 * 32 - from - count;
            let tail =
                if rest > 0 { format!(" || substr(salts, {}, {rest})", from + count + 1) } else { String::new() };
            format!("UPDATE dg_seal_chunk SET salts = substr(salts, 1, {from}) || {zeros}{tail} WHERE first_index = 60")
        };
        let copy = ground.copy().await;
        copy.sql(&cast(backend, &salts(&copy, 37 * 32, 32))).await;
        let ended = copy.run(&["verify", "--log-only"]);
        says(&ended, 3, "salts_missing: leaf 97 …", &about);

        // A payload that went without a note: its salt is gone, as an erasure would have it, and nobody signed it.
        ground.sql(&cast(backend, &salts(&ground, 37 * 32 + 16, 16))).await;
        ground.sql("UPDATE dg_event_log SET payload = '', payload_hash = '' WHERE log_seq = 98").await;
        says(&ground.run(&["verify", "--log-only"]), 3, "erasure_unrecorded: leaf 97 …", &about);
    }
}

/// SQLite joins texts with `||`: the result is made bytes again.
fn cast(backend: Backend, sql: &str) -> String {
    match backend {
        Backend::Postgres => sql.to_owned(),
        Backend::Sqlite => {
            sql.replacen("SET salts = ", "SET salts = CAST(", 1).replacen(" WHERE", " AS BLOB) WHERE", 1)
        }
    }
}

/// An auditor's memory: it takes heads, refuses a log that shrank, and says when the newest is old.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_remembers_heads_and_says_when_they_get_old() {
    let (then, now) = Ground::sealed(Backend::Sqlite).await;
    let (key, state) = (super::rewound::key_of(&now), now.cli.path("monitor.json"));
    let place = now.cli.path("place");
    let watch = |place: &std::path::Path, more: &[&str]| {
        let source = format!("dir:{}", place.display());
        let args = ["monitor", &source, "--key", &key, "--state", text(&state), "--once"];
        now.run(&[&args[..], more].concat())
    };
    says(&watch(&place, &[]), 0, "", "the newest head");
    assert!(std::fs::read_to_string(&state).expect("a state").contains("98"));
    says(&watch(&place, &["--max-age", "86400"]), 0, "", "a young head");
    // Ages are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    says(&watch(&place, &["--max-age", "1"]), 10, "", "an old head");
    let shrunk = watch(&then.cli.path("place"), &[]);
    assert_eq!(shrunk.code, 3, "{}{}", shrunk.stdout, shrunk.stderr);
}

/// Without a key nothing is sealed, and the commands that an operator asks about it say so in one line.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_key_is_not_sealed_and_says_so() {
    let cli = Cli::new();
    let url = format!("sqlite:{}", cli.path("own.db").display());
    let run = |args: &[&str]| cli.run(&[args, &["--database", &url]].concat());
    let lead = cli.file("lead.jsonl", LEAD);
    assert_eq!(run(&["migrate"]).code, 0);
    assert_eq!(run(&["import", text(&lead)]).code, 0);
    assert_eq!(run(&["catch-up"]).code, 0);
    for command in [&["verify"][..], &["seal", "status"]] {
        let ended = run(command);
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.stderr);
        let said = ["not sealed", "Nothing is sealed"].iter().any(|line| ended.stdout.contains(line));
        assert!(said, "{command:?}: {}", ended.stdout);
    }
}
