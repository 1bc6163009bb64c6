//! Promises of admin in a cluster: any node answers for all within the deadline, and names the nodes that it could not
//! ask. Real node processes on one PostgreSQL, linked by addresses from the database.

mod cli_support;
mod cluster_support;

use cli_support::node::{Node, applied, secret_file, wait_until, within};
use cli_support::{Cli, Ended, text, trace};
use cluster_support::{Authority, NAME, by_tls, log, start};
use decisiongraph_store::throwaway::{self, Database};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longest time for an answer when a node hangs: the fan-out's second, plus the delay of a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

struct Cluster {
    database: Database,
    authority: Authority,
    clis: Vec<Cli>,
    nodes: Vec<Option<Node>>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Cluster {
    async fn start(count: usize) -> Cluster {
        let database = throwaway::shared().await.expect("a server").fresh_database().await.expect("a database");
        let mut cluster = Cluster {
            database,
            authority: Authority::new(),
            clis: (0..count).map(|_| Cli::new()).collect(),
            nodes: (0..count).map(|_| None).collect(),
        };
        (0..count).for_each(|index| cluster.start_node(index, &[]));
        cluster.wait_until_linked();
        cluster
    }

    /// Starts nodes that refuse each other's links: each has its own secret.
    async fn start_unlinked(count: usize) -> Cluster {
        let database = throwaway::shared().await.expect("a server").fresh_database().await.expect("a database");
        let mut cluster = Cluster {
            database,
            authority: Authority::new(),
            clis: (0..count).map(|_| Cli::new()).collect(),
            nodes: (0..count).map(|_| None).collect(),
        };
        for (index, name) in NAMES.iter().enumerate().take(count) {
            let secret =
                secret_file(&cluster.clis[index], "own", &format!("the secret of {name} alone, of no other node"));
            cluster.start_node(index, &["--secret-file", text(&secret)]);
        }
        cluster
    }

    fn start_node(&mut self, index: usize, more: &[&str]) {
        let files = self.authority.issue(NAMES[index], NAME);
        let url = self.database.url().to_owned();
        // A hanging node stays a member, and so is named, for longer than all questions take on a busy machine.
        let stay = ["--passivate-after-ms", "3600000", "--lease-ms", "30000"];
        let flags = [&["--database", &url, "--name", NAMES[index]], &stay[..], more].concat();
        self.nodes[index] = Some(start(&self.clis[index], &files, &flags));
    }

    fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("runs")
    }

    fn up(&self, index: usize) -> usize {
        let cluster = self.clis[index].json(&["cluster"]);
        let links = cluster["links"].as_array().cloned().unwrap_or_default();
        links.iter().filter(|link| link["state"] == "up").count()
    }

    fn wait_until_linked(&self) {
        for index in 0..self.nodes.len() {
            wait_until("everybody is linked", || self.up(index) + 1 == self.nodes.len());
        }
    }

    /// Imports one trace for each of this many tenants, and waits until it is applied.
    fn fill_with(&self, name: &str, tenants: usize) {
        for i in 0..tenants {
            let tenant = format!("t{i}");
            let lines = trace(name).join("\n");
            assert_eq!(self.clis[0].pipe(&["import", "-", "--tenant", &tenant], lines.as_bytes()).code, 0);
        }
        applied(&self.clis[0]);
    }

    /// Imports and applies two traces per tenant: twice, because tenants change hands while they appear.
    fn fill(&self, tenants: usize) {
        for name in ["t", "u"] {
            self.fill_with(name, tenants);
            wait_until("every tenant has its place", || {
                self.clis.iter().all(|cli| {
                    let cluster = cli.json(&["cluster"]);
                    let placed = cluster["members"].as_array().expect("a list").iter();
                    cluster["moving"] == 0
                        && placed.filter_map(|member| member["tenants"].as_u64()).sum::<u64>() == tenants as u64
                })
            });
        }
    }
}

fn named(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(|of| of["node"].as_str()).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_all_and_names_those_that_it_could_not_ask() {
    let mut cluster = Cluster::start(3).await;
    cluster.fill(9);
    for cli in &cluster.clis {
        let status = cli.json(&["status"]);
        let scopes = status["scopes"].as_array().expect("a list");
        assert_eq!((scopes.len(), status["partial"].is_null()), (27, true), "{status}");
        let shown = |name: &str| scopes.iter().filter(|scope| scope["live_on"] == name).count();
        assert!(NAMES.iter().all(|name| shown(name) >= 3), "each node's workers are shown: {status}");
        assert!(scopes.iter().all(|scope| scope["owner"] == scope["live_on"]), "{status}");
        wait_until("all is well", || cli.run(&["health"]).code == 0);
        let trees = cli.json(&["tree", "--of", "all", "--under", "node/links"]);
        let mut names: Vec<&str> =
            trees["nodes"].as_array().expect("a list").iter().filter_map(|t| t["node"]["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, NAMES);
        assert_eq!(cli.json(&["tree", "--of", "b"])["node"]["name"], "b");
    }
    cluster.clis[0].run(&["tree", "--of", "nobody", "--json"]).refused(5, "not_found");

    // Every other node names a hanging node at once, together with the rest of the answer.
    cluster.node(2).signal("STOP");
    for cli in &cluster.clis[..2] {
        let asked = Instant::now();
        let status = within(PROMPT, cli.command(&["status", "--json"])).json();
        assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
        assert_eq!(named(&status["partial"]), ["c"], "{status}");
        assert_eq!(status["scopes"].as_array().map(Vec::len), Some(27));
        let shown = within(PROMPT, cli.command(&["status"]));
        assert!(shown.stdout.contains("node c was not asked"), "{}", shown.stdout);
        let health = within(PROMPT, cli.command(&["health", "--json"]));
        assert_eq!(health.code, 10, "{}", health.stdout);
        let finding = health.json()["findings"].as_array().expect("a list").iter().any(|f| f["subject"] == "node c");
        assert!(finding, "{}", health.stdout);
        let trees = within(PROMPT * 2, cli.command(&["tree", "--of", "all", "--json"])).json();
        assert_eq!((named(&trees["partial"]), trees["nodes"].as_array().map(Vec::len)), (vec!["c"], Some(2)));
    }
    // Once the link is known to be down, no node waits for it.
    wait_until("it is noticed", || cluster.up(0) == 1);
    let refused = within(PROMPT, cluster.clis[0].command(&["tree", "--of", "c", "--json"]));
    assert!(matches!(refused.code, 5 | 6), "{}", refused.stderr);
    cluster.node(2).signal("CONT");
    cluster.wait_until_linked();
    wait_until("it is well again", || cluster.clis[0].run(&["health"]).code == 0);

    // A node that is killed and comes back.
    cluster.node(1).signal("KILL");
    assert_eq!(cluster.node(1).ended(), None);
    let status = within(PROMPT, cluster.clis[0].command(&["status", "--json"])).json();
    assert!(named(&status["partial"]).contains(&"b") || status["partial"].is_null(), "{status}");
    cluster.start_node(1, &[]);
    cluster.wait_until_linked();
    wait_until("all is well", || cluster.clis.iter().all(|cli| cli.run(&["health"]).code == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_stays_visible_as_dead_until_it_is_back_or_forgotten() {
    let mut cluster = Cluster::start(3).await;
    cluster.fill(3);
    let well = |cluster: &Cluster, of: &[usize]| of.iter().all(|index| cluster.clis[*index].run(&["health"]).code == 0);
    let state = |cluster: &Cluster, index: usize, name: &str| {
        let reply = cluster.clis[index].json(&["cluster"]);
        let members = reply["members"].as_array().expect("a list");
        members.iter().find(|member| member["node"] == name).map(|member| member["state"].clone())
    };
    wait_until("all is well", || well(&cluster, &[0, 1, 2]));
    cluster.node(1).signal("KILL");
    assert_eq!(cluster.node(1).ended(), None);
    // Its lease would run for 30 s more. The links know sooner that its process is gone.
    for index in [0, 2] {
        wait_until("everybody says so", || cluster.clis[index].run(&["health"]).stdout.contains("node b: it died"));
        assert_eq!(state(&cluster, index, "b"), Some("dead".into()));
        assert_eq!(cluster.clis[index].run(&["health"]).code, 10);
        assert!(cluster.clis[index].run(&["why"]).stdout.contains("node b: it died"));
    }
    let health = cluster.clis[0].run(&["health", "--json"]).json();
    let findings = health["findings"].as_array().expect("a list").iter();
    // That nothing is sealed here is an information.
    let findings: Vec<&Value> = findings.filter(|finding| finding["health"] != "ok").collect();
    assert_eq!(findings.len(), 1, "{health}");
    assert!(findings[0]["next"].as_str().expect("text").contains("`decisiongraph forget b"), "{health}");
    cluster.clis[0].run(&["forget", "c", "--json"]).refused(4, "conflict");
    cluster.clis[0].run(&["forget", "nobody", "--json"]).refused(5, "not_found");

    // The node comes back, and everything is as before.
    cluster.start_node(1, &[]);
    cluster.wait_until_linked();
    wait_until("all is well again", || well(&cluster, &[0, 1, 2]));

    // The node does not come back. The other nodes say so, and its cordon ends with it.
    assert_eq!(cluster.clis[0].run(&["cordon", "b", "--reason", "disk"]).code, 0);
    for index in [0, 2] {
        wait_until("everybody says so", || cluster.clis[index].run(&["health"]).stdout.contains("cordoned by"));
    }
    cluster.node(1).signal("KILL");
    assert_eq!(cluster.node(1).ended(), None);
    wait_until("it is dead", || state(&cluster, 2, "b") == Some("dead".into()));
    assert_eq!(cluster.clis[2].run(&["forget", "b"]).code, 0);
    assert_eq!(state(&cluster, 0, "b"), None);
    cluster.nodes.remove(1);
    wait_until("all is well", || [0, 2].iter().all(|index| cluster.clis[*index].run(&["health"]).code == 0));
    cluster.clis[0].run(&["forget", "b", "--json"]).refused(5, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_needs_no_owner_says_which_node_its_next_event_brings_it_to() {
    let mut cluster = Cluster::start(2).await;
    cluster.fill(6);
    let of = |cli: &Cli, part: &str, value: &str| {
        let status = cli.json(&["status"]);
        status["scopes"].as_array().expect("a list").iter().filter(|scope| scope[part] == value).count()
    };
    assert_eq!((of(&cluster.clis[0], "owner", "b") > 0, of(&cluster.clis[0], "next_owner", "a")), (true, 0));
    cluster.node(1).signal("TERM");
    assert_eq!(cluster.node(1).ended(), Some(0));
    let cli = &cluster.clis[0];
    // No node takes the scopes over before there is something to do.
    wait_until("they are for the other", || of(cli, "owner", "a") + of(cli, "next_owner", "a") == 18);
    let free = of(cli, "next_owner", "a");
    assert!(free > 0 && of(cli, "state", "current") == 18, "{}", cli.run(&["status"]).stdout);
    let shown = cli.run(&["status"]).stdout;
    assert!(shown.contains(&format!("{free} scopes are up to date and unassigned")), "{shown}");
    assert!(cli.run(&["why", "--all"]).stdout.contains("a takes it when its next event arrives"));
    assert_eq!(cli.run(&["health"]).code, 0);
    cluster.fill_with("v", 6);
    assert_eq!((of(&cluster.clis[0], "owner", "a"), of(&cluster.clis[0], "next_owner", "a")), (18, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_watched_cancelled_and_resumed_through_any_node_and_words_reach_the_owner() {
    let cluster = Cluster::start(2).await;
    let lines: Vec<String> = (0..3_000).flat_map(|i| trace(&format!("t{i}"))).collect();
    assert_eq!(cluster.clis[0].pipe(&["import", "-"], lines.join("\n").as_bytes()).code, 0);
    applied(&cluster.clis[0]);
    // A rebuild on one node, seen, watched and cancelled on the other.
    let other = &cluster.clis[1];
    let run = cluster.clis[0].json(&["rebuild", "--detach"])["run_id"].as_str().expect("an id").to_owned();
    assert_eq!(other.json(&["run", &run])["node"], "a");
    let cancelled = other.run(&["cancel", &run]);
    assert!(matches!(cancelled.code, 0 | 4), "{}", cancelled.stderr);
    wait_until("it has ended", || {
        let state = other.json(&["run", &run])["state"].clone();
        state == "cancelled" || state == "completed"
    });
    if other.json(&["run", &run])["state"] == "cancelled" {
        let resumed = other.json(&["run", "resume", &run]);
        assert_eq!((&resumed["run"]["state"], &resumed["run"]["node"]), (&"completed".into(), &"b".into()));
    }
    // A catch-up asked of the node that does not own the tenant.
    let owner = other.json(&["status"])["scopes"][0]["owner"].as_str().expect("an owner").to_owned();
    let stranger = if owner == "a" { other } else { &cluster.clis[0] };
    assert_eq!(stranger.json(&["catch-up"])["run"]["state"], "completed");
    // A pause set there stops the owner's workers. They continue when it is over.
    assert_eq!(stranger.run(&["pause", "--projection", "trace_summary", "--reason", "a look"]).code, 0);
    let phase = |scope: &str| {
        let status = stranger.json(&["status", "--projection", scope]);
        status["scopes"][0]["live"]["phase"].as_str().unwrap_or_default().to_owned()
    };
    wait_until("the owner's worker has heard it", || phase("trace_summary") == "paused");
    assert_eq!(stranger.run(&["resume", "--projection", "trace_summary"]).code, 0);
    wait_until("and that it is over", || phase("trace_summary") == "idle");
    assert_eq!(stranger.run(&["verify"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_a_job_elsewhere_is_shown_to_whoever_follows_it() {
    let cluster = Cluster::start(2).await;
    let lines: Vec<String> = (0..4_000).flat_map(|i| trace(&format!("t{i}"))).collect();
    let file = cluster.clis[0].file("events.jsonl", lines.join("\n"));
    assert_eq!(cluster.clis[0].run(&["import", text(&file)]).code, 0);
    applied(&cluster.clis[0]);
    let id = "01970000-0000-7000-8000-00000000abcd";
    let started = cluster.clis[0].json(&["rebuild", "--detach", "--request-id", id]);
    assert_eq!(started["run_id"], id);
    // The same request at the other node follows the one job.
    let mut command = cluster.clis[1].command(&["rebuild", "--request-id", id, "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let ended = cli_support::node::ends_within(cli_support::node::PATIENCE, child);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.json()["run"]["node"], "a");
    assert_eq!(cluster.clis[1].json(&["runs"])["runs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_link_every_event_is_applied_and_every_node_says_whom_it_cannot_ask() {
    let cluster = Cluster::start_unlinked(2).await;
    cluster.fill(6);
    for (cli, other) in [(&cluster.clis[0], "b"), (&cluster.clis[1], "a")] {
        wait_until("it says whom it cannot ask", || named(&cli.json(&["status"])["partial"]) == [other]);
        let health = cli.run(&["health"]);
        assert!(health.code == 10 && health.stdout.contains("different secret"), "{}", health.stdout);
        let owners = cli.json(&["status"]);
        let owners: std::collections::BTreeSet<&str> =
            owners["scopes"].as_array().expect("a list").iter().filter_map(|scope| scope["owner"].as_str()).collect();
        assert_eq!(owners.into_iter().collect::<Vec<_>>(), ["a", "b"], "they share the work all the same");
    }
    for i in 0..6 {
        assert_eq!(cluster.clis[0].run(&["verify", "--tenant", &format!("t{i}")]).code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_recorded_with_what_proves_it_and_the_node_logs_it() {
    let mut cluster = Cluster::start(1).await;
    cluster.fill_with("t", 1);
    let files = cluster.authority.issue("ada", NAME);
    let (secret, tcp) = (cluster.node(0).secret.clone(), cluster.node(0).tcp.clone());
    let address = cluster.node(0).cluster.clone().expect("listens");
    let cli = &cluster.clis[0];
    // Any name that a program gives is recorded beside the proof of its identity.
    let eve = |args: &[&str]| {
        let ended = Ended::of(cli.command(args).env("USER", "eve").output().expect("starts"));
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
    };
    let of = ["--tenant", "t0", "--projection", "trace_summary"];
    eve(&[&["pause", "--reason", "mapping under review"], &of[..]].concat());
    eve(&[&["resume", "--reason", "mapping mended"], &of[..], &by_tls(&address, &files, &secret)].concat());
    eve(&[&["cordon", "a", "--reason", "disk"][..], &["--node", &tcp, "--secret-file", text(&secret)]].concat());
    eve(&[&["uncordon", "a"], &["--database", cluster.database.url()][..]].concat());
    eve(&[&["rebuild"], &of[..]].concat());
    cli.run(&["forget", "a", "--json"]).refused(4, "conflict");

    let uid = format!("uid {}", rustix::process::getuid().as_raw());
    let changes = cli.json(&["changes"]);
    let changes: Vec<&Value> = changes["changes"].as_array().expect("a list").iter().rev().collect();
    let word = |place: usize, name: &str| changes[place][name].as_str().unwrap_or_default().to_owned();
    let expected = [
        ("pause", "mapping under review", &uid[..], "a", "done"),
        ("resume", "mapping mended", "by certificate CN=ada", "a", "done"),
        ("cordon", "disk", "by secret, from 127.0.0.1:", "a", "done"),
        ("uncordon", "", "by role ", "cli:", "done"),
        ("rebuild", "", &uid[..], "a", "begun"),
        ("forget", "", &uid[..], "a", "conflict: node `a` is alive"),
    ];
    assert_eq!(changes.len(), expected.len(), "{changes:?}");
    for (place, (what, reason, proof, through, outcome)) in expected.into_iter().enumerate() {
        assert_eq!((word(place, "what"), word(place, "reason")), (what.to_owned(), reason.to_owned()));
        assert!(word(place, "by").contains(proof) && word(place, "through").starts_with(through), "{}", changes[place]);
        assert_eq!(word(place, "by").starts_with("eve@"), what != "forget", "{}", changes[place]);
        // A job may have ended before its answer arrives.
        assert!(word(place, "outcome").starts_with(outcome) || what == "rebuild", "{}", changes[place]);
    }
    assert_eq!(word(0, "tenant"), "t0");
    assert!(word(4, "subject").starts_with("run "), "{}", changes[4]);
    let paused = cli.json(&["changes", "--tenant", "t0", "--limit", "1"]);
    assert_eq!((&paused["changes"][0]["what"], &paused["more"]), (&"rebuild".into(), &true.into()));
    assert!(cli.run(&["changes", "--limit", "2"]).stdout.contains("--before"), "the next page has its command");

    let logged = log(cli);
    for part in
        ["an operator asked for pause", "mapping under review", "by certificate CN=ada", "an operator asked for forget"]
    {
        assert!(logged.contains(part), "{part}: {logged}");
    }
    assert!(!logged.contains("asked for uncordon"), "that was another process");
    cluster.node(0).signal("TERM");
    assert_eq!(cluster.node(0).ended(), Some(0));
    let logged = log(&cluster.clis[0]);
    assert!(logged.contains("stopped by a signal") && logged.contains("drained in"), "{logged}");
}
