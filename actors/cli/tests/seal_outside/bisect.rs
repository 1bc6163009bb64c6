//! Two copies of a log are compared while nodes serve them.

use crate::seal_support::{BOTH, Ground, says, text_of_socket, tree};
use crate::tiles::long;

/// Promise: one changed event, with a tree that was computed anew, is found over sockets, TCP and HTTP, and between a
/// node and a database.
#[tokio::test(flavor = "multi_thread")]
async fn one_changed_event_is_found_between_running_nodes() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, ground) = Ground::sealed(backend).await;
        let copy = ground.copy().await;
        copy.sql("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 70").await;
        tree::recompute_tree(&copy).await;
        let (one, other) = (ground.node(&[]), copy.node(&[]));
        let sockets = [&one, &other].map(text_of_socket);
        let run = |args: &[&str]| ground.cli.run(&[&["bisect"], args].concat());

        let found = run(&[&sockets[0], &sockets[1]]);
        says(&found, 3, "the first difference is event number 69, from 0", &about);
        says(&found, 3, "different: actor_id", &about);
        says(&found, 3, "log_seq 70, event", &about);
        let by_tcp = ["--secret-file", crate::cli_support::text(&one.secret), "--json"];
        let web = [&one, &other].map(|node| format!("http://{}", node.http.clone().expect("an address")));
        let tokens = [&ground, &copy].map(|ground| ground.cli.data_dir().join("http.token"));
        for (pair, token) in [
            ([&*one.tcp, &*other.tcp], 0),
            ([&*sockets[0], &*other.tcp], 0),
            ([&*sockets[0], &*copy.url()], 0),
            ([&*ground.url(), &*sockets[1]], 0),
            ([&*web[0], &*sockets[1]], 0),
            ([&*ground.url(), &*web[1]], 1),
        ] {
            let token = ["--token-file", crate::cli_support::text(&tokens[token])];
            let found = run(&[&pair[..], &by_tcp, &token].concat());
            assert_eq!(found.code, 3, "{about} {pair:?}: {}{}", found.stdout, found.stderr);
            let found = found.json();
            assert_eq!((&found["first"]["index"], &found["common"]), (&69.into(), &69.into()), "{about}: {found}");
            assert_eq!(found["first"]["columns"], serde_json::json!(["actor_id"]), "{about}: {found}");
            assert_eq!(found["first"]["log_seq"], serde_json::json!([70, 70]), "{about}: {found}");
            assert_eq!(found["first"]["event_id"][0], found["first"]["event_id"][1], "{about}: {found}");
            assert_eq!(found["tile_pairs"], 1, "{about}: {found}");
        }
        says(&run(&[&sockets[0], &ground.url()]), 0, "98 events, no difference", &about);
        run(&[&web[0], &sockets[1], "--json"]).refused(8, "unauthorized");
        let refused = run(&[&sockets[0], &sockets[1], "--by-log", "--json"]);
        assert!(refused.refused(2, "invalid_argument").contains("--by-log"), "{about}");
    }
}

/// Promise: of a tree with two levels of tiles, one pair per level is read, and the shorter copy is not a difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_tree_takes_one_pair_of_tiles_per_level() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let ground = long(backend).await;
        let copy = ground.copy().await;
        let event = |name: &str| crate::cli_support::started(name).to_string();
        ground.import(&event("one"));
        ground.ok(&["seal", "now"]);
        let (one, other) = (ground.node(&[]), copy.node(&[]));
        let sockets = [&one, &other].map(text_of_socket);
        let run = || ground.cli.run(&["bisect", &sockets[0], &sockets[1], "--json"]);
        let same = run();
        assert_eq!(same.code, 0, "{about}: {}{}", same.stdout, same.stderr);
        assert_eq!((&same.json()["common"], &same.json()["sizes"]), (&300.into(), &serde_json::json!([301, 300])));

        copy.import(&event("other"));
        copy.ok(&["seal", "now", "--node", &sockets[1]]);
        let found = run();
        assert_eq!(found.code, 3, "{about}: {}{}", found.stdout, found.stderr);
        let found = found.json();
        assert_eq!((&found["first"]["index"], &found["tile_pairs"]), (&300.into(), &2.into()), "{about}: {found}");
        assert_eq!(found["first"]["sealed_apart"], false, "{about}: {found}");
    }
}

/// A copy that is neither, and a node that is not there, are refused with what to name.
#[test]
fn a_copy_is_a_database_or_a_node() {
    let cli = crate::cli_support::Cli::new();
    let refused = cli.run(&["bisect", "nonsense", "sqlite:there.db", "--json"]);
    assert!(refused.refused(2, "invalid_argument").contains("sqlite:PATH"), "{}", refused.stderr);
    assert!(refused.stderr.contains("unix:PATH, HOST:PORT"), "{}", refused.stderr);
    let away = format!("unix:{}", cli.path("nobody.sock").display());
    cli.run(&["bisect", &away, &away, "--json"]).refused(6, "unavailable");
}
