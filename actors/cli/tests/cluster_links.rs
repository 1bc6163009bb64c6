//! Promises of the links between nodes: they are made, watched, and made again. A question over a link is answered by
//! its deadline. Real node processes that are stopped and killed.

mod cli_support;
mod cluster_support;

use cli_support::Cli;
use cli_support::node::{PATIENCE, wait_until};
use cluster_support::{Authority, Linked, NAME, log};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{Notice, PeerReply, PeerRequest};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Client, Target};
use decisiongraph_runtime::cluster::PING_DEADLINE;
use std::path::Path;
use std::time::Instant;
use uuid::Uuid;

async fn asked(socket: &Path, versions: &Versions, request: PeerRequest) -> Result<PeerReply, Category> {
    let target = Target::Unix(socket.to_owned());
    let client = Client::connect(&target, versions, PATIENCE).await.map_err(|error| error.category)?;
    client.ask(request, Uuid::new_v4(), PATIENCE).await.map_err(|error| error.category)
}

#[test]
fn nodes_that_share_a_list_link_to_each_other_and_not_to_themselves() {
    let mut linked = Linked::start(3);
    linked.wait_until_linked();
    let cluster = linked.clis[0].json(&["cluster"]);
    for link in cluster["links"].as_array().expect("a list") {
        assert!(link["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{cluster}");
        assert_eq!(link["protocol"], 5, "{cluster}");
    }
    let shown = linked.clis[0].run(&["cluster"]);
    assert!(shown.stdout.contains("link to") && shown.stdout.contains("up"), "{}", shown.stdout);
    let tree = linked.clis[0].run(&["tree", "--under", "node/links"]);
    assert!(tree.stdout.contains(&format!("link {}", linked.addresses[1])), "{}", tree.stdout);
    linked.node(1).signal("TERM");
    assert_eq!(linked.node(1).ended(), Some(0));
    wait_until("the one that left is missed", || !linked.has(0, "b", "up"));
    assert!(linked.has(0, "c", "up"));
}

#[test]
fn a_peer_that_hangs_or_dies_is_noticed_and_linked_to_again_when_it_is_back() {
    let mut linked = Linked::start(2);
    linked.wait_until_linked();
    linked.node(1).signal("STOP");
    let stopped = Instant::now();
    wait_until("a peer that hangs is noticed", || linked.has(0, "b", "down"));
    assert!(stopped.elapsed() < PING_DEADLINE * 8, "{:?}", stopped.elapsed());
    let (_, _, why) = linked.links(0).remove(0);
    assert!(why.contains("pings are not answered") || why.contains("does not answer"), "{why}");
    assert_eq!(linked.clis[0].run(&["status"]).code, 0, "the others work on");
    linked.node(1).signal("CONT");
    linked.wait_until_linked();
    linked.node(1).signal("KILL");
    assert_eq!(linked.node(1).ended(), None);
    wait_until("a dead peer is noticed", || linked.has(0, "b", "down"));
    linked.start_node(1, &[]);
    linked.wait_until_linked();
    let log = log(&linked.clis[0]);
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert!(told("the link is up") >= 3 && told("the link is down") >= 2, "{log}");
    assert!(told("the link is down") < 12, "changes are told, not attempts: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_one_version_apart_are_linked_and_those_two_apart_are_named() {
    let mut linked = Linked::none(3);
    linked.start_node(0, &[]);
    linked.start_node(1, &["--protocol-version", "4"]);
    linked.start_node(2, &["--protocol-version", "3"]);
    // The oldest node does not know the question for links, so the logs of both older ones are read.
    let linked_to = |index: usize, name: &str| {
        let up = format!("peer=\"{name}\"");
        log(&linked.clis[index]).lines().any(|line| line.contains("the link is up") && line.contains(&up))
    };
    wait_until("the neighbours are linked", || linked.has(0, "b", "up") && linked_to(1, "a"));
    wait_until("and those that are older", || linked_to(1, "c") && linked_to(2, "b"));
    wait_until("the oldest is named", || {
        linked.links(0).iter().any(|(_, state, why)| state == "down" && why.contains("protocol 3"))
    });
    let socket = linked.node(2).socket.clone();
    let ping = PeerRequest::Ping { from: "t".to_owned(), incarnation: Uuid::nil() };
    assert_eq!(asked(&socket, &Versions::up_to(2), ping.clone()).await, Err(Category::VersionMismatch));
    assert_eq!(asked(&socket, &Versions::ours(), ping).await, Err(Category::VersionMismatch));
    assert_eq!(linked.clis[0].run(&["status"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_has_workers_look_again_wherever_they_run() {
    let cli = Cli::new();
    cli_support::node::poisoned(&cli);
    let node =
        cli_support::node::Node::start(&cli, &["--recheck-first-ms", "3600000", "--recheck-longest-ms", "3600000"]);
    wait_until("it stands before the poison", || cli.json(&["status"])["scopes"][0]["state"] == "failed");
    let attempts = || cli.json(&["failures"])["failures"][0]["attempts"].as_i64().expect("a number");
    let before = attempts();
    let tenant = TenantId::new("default").expect("an id");
    let notices = vec![
        Notice::Released { tenants: vec![TenantId::new("nobody").expect("an id")] },
        Notice::Reconsider { tenant },
    ];
    let told = asked(&node.socket, &Versions::ours(), PeerRequest::Tell(notices)).await;
    assert_eq!(told, Ok(PeerReply::Told));
    wait_until("it has looked again", || attempts() > before);
}

#[test]
fn a_peer_with_a_wrong_certificate_name_or_secret_is_down_with_its_reason() {
    let strangers = Authority::new();
    for (files, secret, part) in [
        (Some(strangers.issue("b", NAME)), None, "TLS"),
        (None, Some("another secret altogether, as long as it must be"), "the node has a different secret"),
    ] {
        let mut linked = Linked::none(2);
        linked.start_node(0, &[]);
        let files = files.unwrap_or_else(|| linked.authority.issue("b", NAME));
        let mut more = Vec::new();
        let file;
        if let Some(secret) = secret {
            file = cli_support::node::secret_file(&linked.clis[1], "other", secret);
            more = vec!["--secret-file", cli_support::text(&file)];
        }
        linked.start_node_as(1, &files, &more);
        for from in [0, 1] {
            wait_until("it says why", || {
                linked.links(from).iter().any(|(_, state, why)| state == "down" && why.contains(part))
            });
        }
        assert_eq!(linked.clis[0].run(&["status"]).code, 0);
    }
    let mut linked = Linked::none(2);
    linked.start_node(0, &[]);
    let other = linked.authority.issue("b", "another.example");
    linked.start_node_as(1, &other, &[]);
    wait_until("its name is wrong", || {
        linked.links(0).iter().any(|(_, state, why)| state == "down" && why.contains("not valid for name"))
    });
    assert!(log(&linked.clis[0]).contains("the link is down"));
}
