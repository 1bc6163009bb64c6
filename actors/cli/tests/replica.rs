//! A streaming replica of the database. It answers queries, and refuses everything that needs the log's end or writes.
//! After its promotion it takes over under the same commands.

mod cli_support;

use cli_support::node::{Node, PATIENCE};
use cli_support::{Cli, enterprise, text};
use decisiongraph_store::throwaway::{Server, StopMode};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

const QUERIES: [&[&str]; 9] = [
    &["digest", "--json"],
    &["digest", "--reference", "--json"],
    &["trace", "change-4711", "--json"],
    &["events", "--limit", "3", "--json"],
    &["subgraph", "entity:account:acme", "--json"],
    &["edges", "trace:change-4711", "--json"],
    &["precedents", "--json"],
    &["export"],
    &["verify", "--log-only"],
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

/// Reads the ids of the next `count` events of the node's stream; the whole answer when the node refuses.
fn streamed(node: &Node, token: &str, after: Option<&str>, count: usize) -> Result<Vec<String>, String> {
    let address = node.http.as_deref().expect("an address");
    let mut connection = TcpStream::connect(address).expect("connects");
    connection.set_read_timeout(Some(PATIENCE)).expect("set");
    let resumed = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    let head = format!("host: {address}\r\nauthorization: Bearer {token}\r\nx-tenant-id: default\r\n{resumed}");
    let path = "/api/v1/events/stream?since_log_seq=0";
    write!(connection, "GET {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n").expect("asks");
    let mut lines = BufReader::new(connection).lines().map(|line| line.expect("a line"));
    let status = lines.next().expect("a status");
    if !status.contains(" 200 ") {
        return Err(format!("{status}\n{}", lines.collect::<Vec<_>>().join("\n")));
    }
    // The ids of marks have no hash.
    let ids = lines.filter_map(|line| line.strip_prefix("id: ").filter(|id| id.contains('.')).map(str::to_owned));
    Ok(ids.take(count).collect())
}

/// A consumer that has events which the fail-over lost is told so: it does not go on over the hole.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_continued_over_a_tail_that_a_fail_over_lost() {
    let primary = Server::start().await.expect("a server");
    let database = primary.fresh_database().await.expect("a database");
    let (cli, url) = (Cli::new(), database.url());
    assert_eq!(cli.run(&on(&["import", text(&enterprise())], url)).code, 0);
    let standby = primary.standby().await.expect("a standby");
    standby.has_replayed(&primary).await.expect("follows");
    standby.disconnect().await.expect("stops following");
    let lost = cli_support::trace("lost");
    let file = cli.file("lost.jsonl", lost.join("\n"));
    assert_eq!(cli.run(&on(&["import", text(&file)], url)).code, 0);

    let node = Node::start(&cli, &["--database", url]);
    let token = std::fs::read_to_string(cli.data_dir().join("http.token")).expect("the token");
    let token = token.trim();
    let ids = streamed(&node, token, None, 97 + lost.len()).expect("a stream");
    drop(node);
    primary.stop(StopMode::Immediate).await.expect("fails");
    standby.promote().await.expect("takes over");
    let copy = standby.url_of(database.name());
    let node = Node::start(&cli, &["--database", &copy]);
    for told in [&ids[97], ids.last().expect("an id")] {
        let refused = streamed(&node, token, Some(told), 1).expect_err("beyond the log");
        assert!(refused.contains(" 409 ") && refused.contains("\"conflict\""), "{refused}");
    }
    // Other events follow. The lost positions are not theirs, or are theirs with another hash.
    let mut other = cli_support::trace("other");
    other[0] = other[0].replacen("\"title\":\"", "\"title\":\"Another ", 1);
    let file = cli.file("other.jsonl", other.join("\n"));
    assert_eq!(cli.run(&on(&["import", text(&file)], &copy)).code, 0);
    let refused = streamed(&node, token, Some(&ids[97]), 1).expect_err("over a hole");
    assert!(refused.contains(" 409 ") && refused.contains("\"conflict\""), "{refused}");
    // A consumer that has only what the standby has goes on with them.
    let next = streamed(&node, token, Some(&ids[96]), other.len()).expect("a stream");
    assert_eq!(next.len(), other.len());
    assert_ne!(next[0], ids[97]);
    drop(node);
    // The test's database went with the server.
    primary.start_again().await.expect("starts");
}
