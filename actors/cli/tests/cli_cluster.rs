//! The nodes of a cluster, as an operator sees and controls them: real node processes on a real PostgreSQL.

mod cli_support;

use cli_support::Cli;
use cli_support::node::{Node, wait_until};
use decisiongraph_store::throwaway;
use serde_json::Value;

fn member<'a>(cluster: &'a Value, name: &str) -> &'a Value {
    let members = cluster["members"].as_array().expect("a list");
    members.iter().find(|member| member["node"] == name).unwrap_or_else(|| panic!("no {name} in {cluster}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_cordoned_drained_and_let_back() {
    let database = throwaway::shared().await.expect("a server").fresh_database().await.expect("a database");
    let (a, b) = (Cli::new(), Cli::new());
    let mut first = Node::start(&a, &["--database", database.url(), "--name", "a"]);
    let second = Node::start(&b, &["--database", database.url(), "--name", "b"]);
    assert_eq!(a.pipe(&["import", "-"], cli_support::trace("t").join("\n").as_bytes()).code, 0);
    let tenants = |name: &str| member(&a.json(&["cluster"]), name)["tenants"].as_u64();
    wait_until("the one tenant has its place", || [tenants("a"), tenants("b")].iter().flatten().sum::<u64>() == 1);
    let cluster = a.json(&["cluster"]);
    assert_eq!(cluster["answered_by"], "a");
    assert_eq!(
        (&member(&cluster, "a")["state"], &member(&cluster, "b")["state"]),
        (&"active".into(), &"active".into())
    );
    let shown = b.run(&["cluster"]);
    assert!(shown.code == 0 && shown.stdout.contains("b *"), "{}", shown.stdout);

    a.run(&["cordon", "nobody", "--json"]).refused(5, "not_found");
    assert_eq!(a.run(&["drain", "b", "--reason", "upgrade"]).code, 0);
    wait_until("all its tenants are the other's", || tenants("b") == Some(0) && tenants("a") == Some(1));
    wait_until("the drained node says so", || b.run(&["health"]).code == 10);
    assert!(b.run(&["health"]).stdout.contains("upgrade"));
    // The drain is durable, stored under the node's name, and shown without a node too.
    let plain = a.json(&["cluster", "--database", database.url()]);
    assert_eq!(member(&plain, "b")["state"], "draining");
    assert_eq!(member(&plain, "b")["cordon"]["reason"], "upgrade");
    assert_eq!(a.json(&["drain", "a"])["members"][0]["state"], "draining");
    wait_until("no node takes tenants", || a.run(&["health"]).stdout.contains("no node takes tenants"));
    for name in ["a", "b"] {
        assert_eq!(a.run(&["uncordon", name]).code, 0);
    }
    wait_until("both are well", || a.run(&["health"]).code == 0 && b.run(&["health"]).code == 0);

    // A node that stops in order is no longer a member, at once for the other nodes.
    first.signal("TERM");
    assert_eq!(first.ended(), Some(0));
    let left = b.json(&["cluster"]);
    assert_eq!(left["members"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(b.run(&["verify"]).code, 0);
    drop(second);
}

#[test]
fn an_embedded_store_has_one_node_that_nobody_relieves() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let cluster = cli.json(&["cluster"]);
    assert_eq!(cluster["members"].as_array().map(Vec::len), Some(1), "{cluster}");
    cli.run(&["drain", &node.name, "--json"]).refused(2, "invalid_argument");
}
