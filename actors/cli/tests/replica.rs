//! A streaming replica of the database. It answers queries, and refuses everything that needs the log's end or writes.
//! After its promotion it takes over under the same commands.

mod cli_support;

use cli_support::{Cli, enterprise, text};
use decisiongraph_store::throwaway::{Server, StopMode};

const QUERIES: [&[&str]; 8] = [
    &["digest", "--json"],
    &["digest", "--reference", "--json"],
    &["trace", "change-4711", "--json"],
    &["events", "--limit", "3", "--json"],
    &["subgraph", "entity:account:acme", "--json"],
    &["edges", "trace:change-4711", "--json"],
    &["precedents", "--json"],
    &["export"],
];

fn on<'a>(args: &[&'a str], url: &'a str) -> Vec<&'a str> {
    [args, &["--database", url]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_queries_and_takes_over_when_it_is_promoted() {
    let primary = Server::start().await.expect("a server");
    let database = primary.fresh_database().await.expect("a database");
    let (cli, url) = (Cli::new(), database.url());
    assert_eq!(cli.run(&on(&["import", text(&enterprise())], url)).code, 0);
    assert_eq!(cli.run(&on(&["catch-up"], url)).code, 0);
    let standby = primary.standby().await.expect("a standby");
    standby.has_replayed(&primary).await.expect("follows");
    let copy = standby.url_of(database.name());

    for query in QUERIES {
        let (there, here) = (cli.run(&on(query, &copy)), cli.run(&on(query, url)));
        assert_eq!((there.code, &there.stdout), (0, &here.stdout), "{query:?}: {}", there.stderr);
    }
    // The mark is unknown there: appenders hold no locks on a standby.
    for command in [&["status", "--json"][..], &["health", "--json"], &["why", "--json"]] {
        let message = cli.run(&on(command, &copy)).refused(6, "unavailable");
        assert!(message.contains("standby"), "{command:?}: {message}");
    }
    for command in [
        &["catch-up", "--json"][..],
        &["verify", "--json"],
        &["rebuild", "--json"],
        &["pause", "--reason", "r", "--json"],
    ] {
        let message = cli.run(&on(command, &copy)).refused(1, "storage");
        assert!(message.contains("read-only"), "{command:?}: {message}");
    }
    // Events that the primary's projections have not applied are missing in the copy too. It says so, or reports the
    // age of its answer.
    let more = cli.file("more.jsonl", cli_support::trace("more").join("\n"));
    assert_eq!(cli.run(&on(&["import", text(&more)], url)).code, 0);
    standby.has_replayed(&primary).await.expect("follows");
    let query = ["precedents", "--json", "--wait", "0"];
    cli.run(&on(&query, &copy)).refused(7, "projection_out_of_date");
    assert_eq!(cli.run(&on(&[&query[..], &["--allow-stale"]].concat(), &copy)).code, 0);

    primary.stop(StopMode::Immediate).await.expect("fails");
    standby.promote().await.expect("takes over");
    let caught_up = cli.run(&on(&["catch-up", "--json"], &copy));
    assert_eq!(caught_up.code, 0, "{}", caught_up.stderr);
    let again = cli.run(&on(&["import", text(&enterprise())], &copy));
    assert!(again.stdout.contains(" 0 stored, 97 stored before"), "{}", again.stdout);
    assert_eq!(cli.run(&on(&["verify"], &copy)).code, 0);
    assert_eq!(cli.run(&on(&["health"], &copy)).code, 0);
    // The test's database went with the server.
    primary.start_again().await.expect("starts");
}
