//! Nothing is said of a log that was not looked at: tenants that are not there, things of other tenants, work over all tenants. Each
//! promise on both stores, in the program itself and through a node.

mod cli_support;

use cli_support::node::{Node, applied, poisoned_tenant};
use cli_support::{Cli, Ended, trace};
use decisiongraph_store::throwaway::{self, Database};
use serde_json::Value;

/// A database with two tenants, neither of which is `default`, and how commands get there.
struct Place {
    cli: Cli,
    flags: Vec<String>,
    node: Option<Node>,
    _database: Option<Database>,
}

const TENANTS: [&str; 2] = ["acme & co", "globex"];

impl Place {
    async fn empty(postgres: bool, node: bool) -> Place {
        let cli = Cli::new();
        let database = match postgres {
            true => Some(throwaway::shared().await.expect("a server").fresh_database().await.expect("a database")),
            false => None,
        };
        let mut flags = Vec::new();
        if let Some(database) = &database {
            flags = vec!["--database".to_owned(), database.url().to_owned()];
        }
        let mut place = Place { cli, flags, node: None, _database: database };
        if node {
            place.through_a_node();
        }
        place
    }

    async fn every() -> Vec<Place> {
        let mut places = Vec::new();
        for (postgres, node) in [(false, false), (true, false), (false, true), (true, true)] {
            places.push(Place::filled(postgres, node).await);
        }
        places
    }

    async fn filled(postgres: bool, node: bool) -> Place {
        let place = Place::empty(postgres, node).await;
        for tenant in TENANTS {
            place.import(tenant, "t");
        }
        place.apply();
        place
    }

    fn through_a_node(&mut self) {
        self.through_a_node_with(&[]);
    }

    fn through_a_node_with(&mut self, environment: &[(&str, &str)]) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let node = Node::start_with(&self.cli, &flags, environment);
        self.flags = vec!["--node".to_owned(), format!("unix:{}", node.socket.display())];
        self.node = Some(node);
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        args.iter().copied().chain(self.flags.iter().map(String::as_str)).collect()
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.cli.run(&self.args(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        self.cli.json(&self.args(args))
    }

    fn import(&self, tenant: &str, id: &str) {
        let ended = self.cli.pipe(&self.args(&["import", "-", "--tenant", tenant]), trace(id).join("\n").as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }

    /// Everything that is stored.
    fn apply(&self) {
        match &self.node {
            Some(_) => applied(&self.cli),
            None => {
                for tenant in TENANTS {
                    assert_eq!(self.run(&["catch-up", "--tenant", tenant]).code, 0);
                }
            }
        }
    }

    /// The tenants that `status` speaks of.
    fn of_status(&self) -> Vec<String> {
        let status = self.json(&["status"]);
        let scopes = status["scopes"].as_array().expect("a list").iter();
        let mut tenants: Vec<String> = scopes.map(|scope| scope["tenant"].as_str().expect("text").to_owned()).collect();
        tenants.dedup();
        tenants
    }
}

const RUN: &str = "01a20000-0000-7000-8000-000000000000";

/// Commands that mean one tenant, `default` when none is named.
const OF_ONE: [&[&str]; 17] = [
    &["catch-up"],
    &["replay", "--projection", "trace_summary"],
    &["rebuild"],
    &["rebuild", "--check"],
    &["rebuild", "--dry-run"],
    &["verify"],
    &["pause"],
    &["resume"],
    &["retry"],
    &["digest"],
    &["digest", "--reference"],
    &["export"],
    &["trace", "t"],
    &["events"],
    &["subgraph", "trace:t"],
    &["edges", "trace:t"],
    &["precedents"],
];
/// Commands that mean every tenant, or a thing by its id, when none is named.
const OF_ALL: [&[&str]; 10] = [
    &["status"],
    &["health"],
    &["why"],
    &["runs"],
    &["failures"],
    &["failure", "1"],
    &["skip", "1", "--reason", "a test"],
    &["run", RUN],
    &["run", "resume", RUN],
    &["cancel", RUN],
];
/// Commands that are about no tenant, or make one.
const OF_NONE: [&str; 11] =
    ["append", "backup", "cluster", "completions", "cordon", "demo", "drain", "import", "migrate", "node", "uncordon"];
/// Commands of a node, whatever its tenants.
const OF_A_NODE: [&str; 1] = ["tree"];

#[test]
fn every_command_is_in_a_list_of_this_test() {
    let help = Cli::new().run(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let listed = OF_ONE.iter().chain(&OF_ALL).any(|args| args[0] == name);
        assert!(listed || OF_NONE.contains(&name) || OF_A_NODE.contains(&name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_there_is_not_found_for_every_command_but_an_import() {
    for place in Place::every().await {
        for args in OF_ONE.iter().chain(&OF_ALL) {
            let message = place.run(&[args, &["--tenant", "acme-0"][..], &["--json"]].concat()).refused(5, "not_found");
            assert!(message.contains("there is no tenant `acme-0`"), "{args:?}: {message}");
            let told = place.run(&[args, &["--tenant", "acme-0"][..]].concat());
            assert_eq!((told.code, told.stdout.as_str()), (5, ""), "{args:?}");
            let next = "this tenant has no events; choose one with --tenant: 'acme & co', globex";
            assert!(told.stderr.contains(next), "{args:?}: {}", told.stderr);
        }
        assert_eq!(place.of_status(), TENANTS, "a typing error leaves no scope behind");
        assert_eq!(
            place.json(&["runs", "--limit", "100"])["runs"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|run| run["tenant"] == "acme-0")
                .count(),
            0
        );
        place.import("acme-0", "t");
        assert_eq!(place.run(&["events", "--tenant", "acme-0"]).code, 0, "an import makes a tenant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_tenant_is_not_answered_with_a_proof_of_nothing() {
    for place in Place::every().await {
        for args in OF_ONE {
            let ended = place.run(&[args, &["--json"]].concat());
            let message = ended.refused(5, "not_found");
            assert!(message.contains("no tenant was named"), "{args:?}: {message}");
            assert!(
                ended.stderr.contains("choose one with --tenant: 'acme & co', globex"),
                "{args:?}: {}",
                ended.stderr
            );
        }
        for args in [["status"], ["health"], ["why"], ["runs"], ["failures"]] {
            assert_eq!(place.run(&args).code, 0, "{args:?} speaks of all");
        }
        assert_eq!(place.of_status(), TENANTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_no_events_at_all_commands_say_so_and_do_nothing() {
    for (postgres, node) in [(false, false), (true, false), (false, true), (true, true)] {
        let place = Place::empty(postgres, node).await;
        for args in [&["verify"][..], &["catch-up"], &["rebuild"], &["retry"]] {
            let ended = place.run(args);
            assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
            assert!(ended.stdout.contains("There are no events yet"), "{args:?}: {}", ended.stdout);
            assert!(!ended.stdout.contains("No drift"), "{args:?}: {}", ended.stdout);
        }
        for args in [&["status"][..], &["health"], &["why"], &["events"], &["runs"], &["digest"], &["export"]] {
            assert_eq!(place.run(args).code, 0, "{args:?}");
        }
        assert_eq!(place.of_status(), [""; 0], "nothing was made");
        let named = place.run(&["verify", "--tenant", "acme"]);
        assert_eq!(named.code, 5);
        assert!(named.stderr.contains("decisiongraph import FILE"), "{}", named.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_or_job_of_another_tenant_is_left_alone() {
    for (postgres, node) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut place = Place::filled(postgres, false).await;
        place.import(TENANTS[1], "bad");
        poisoned_tenant(&place.cli, place._database.as_ref(), TENANTS[1]).await;
        assert_ne!(place.run(&["catch-up", "--tenant", TENANTS[1]]).code, 0);
        let runs = place.json(&["runs"]);
        let run = runs["runs"][0]["run_id"].as_str().expect("an id").to_owned();
        assert_eq!((&runs["runs"][0]["tenant"], &runs["runs"][0]["state"]), (&TENANTS[1].into(), &"failed".into()));
        let failures = place.json(&["failures"]);
        let failure = &failures["failures"][0];
        let (id, projection) = (failure["failure_id"].to_string(), failure["projection"].as_str().expect("a name"));
        let other = ["context_graph", "trace_summary"].into_iter().find(|name| *name != projection).expect("one");
        if node {
            place.through_a_node();
        }
        for (args, thing) in [
            (&["failure", &id][..], "failure"),
            (&["skip", &id, "--reason", "a test"], "failure"),
            (&["skip", &id, "--revoke"], "failure"),
            (&["run", &run], "run"),
            (&["run", "resume", &run], "run"),
            (&["cancel", &run], "run"),
        ] {
            for wrong in [&["--tenant", TENANTS[0]][..], &["--projection", other]] {
                let message = place.run(&[args, wrong, &["--json"]].concat()).refused(5, "not_found");
                assert!(message.starts_with(thing) && message.contains("nothing was done"), "{args:?}: {message}");
            }
        }
        let open = place.json(&["failures", "--tenant", TENANTS[1]]);
        assert!(
            open["failures"].as_array().expect("a list").iter().any(|open| open["failure_id"] == failure["failure_id"])
        );
        assert_eq!(place.json(&["run", &run])["state"], "failed", "nobody went on with it");
        let right = ["skip", &id, "--reason", "a test", "--tenant", TENANTS[1], "--projection", projection];
        assert_eq!(place.json(&right)["reason"], "a test");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_that_could_not_catch_up_says_who_is_in_the_way_and_exits_7() {
    for node in [false, true] {
        let mut place = Place::filled(true, false).await;
        let url = place._database.as_ref().expect("PostgreSQL").url().to_owned();
        let (appender, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        let pid: i32 = appender.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
        appender.batch_execute("BEGIN; LOCK TABLE dg_event_log IN ROW EXCLUSIVE MODE").await.expect("locks");
        place.import(TENANTS[0], "late");
        let wait = ("DECISIONGRAPH_MARK_WAIT_MS", "200");
        if node {
            place.through_a_node_with(&[wait]);
        }
        let run =
            |args: &[&str]| Ended::of(place.cli.command(&place.args(args)).env(wait.0, wait.1).output().expect("runs"));
        for command in ["catch-up", "rebuild", "retry"] {
            if node && command == "rebuild" {
                continue;
            }
            let ended = run(&[command, "--tenant", TENANTS[0], "--json"]);
            assert_eq!(ended.code, 7, "{command}: {} {}", ended.stdout, ended.stderr);
            let job = ended.json();
            assert_eq!(job["run"]["error"]["category"], "projection_out_of_date", "{job}");
            let why = job["run"]["error"]["message"].as_str().expect("text");
            assert!(why.contains(&format!("pid {pid}, open for ")), "{why}");
            assert!(why.contains("`decisiongraph catch-up --tenant 'acme & co'`"), "{why}");
            let told = run(&[command, "--tenant", TENANTS[0]]);
            assert_eq!(told.code, 7);
            assert!(told.stdout.contains(&format!("pid {pid}")), "{}", told.stdout);
        }
        // Whose events are all applied is caught up, whoever appends.
        assert_eq!(run(&["catch-up", "--tenant", TENANTS[1]]).code, 0);
        appender.batch_execute("ROLLBACK").await.expect("rolls back");
        assert_eq!(run(&["catch-up", "--tenant", TENANTS[0]]).code, 0);
        assert_eq!(run(&["trace", "late", "--tenant", TENANTS[0]]).code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_of_what_was_never_projected_proves_nothing_and_exits_7() {
    let place = Place::filled(false, false).await;
    place.import("new", "t");
    let job = place.run(&["verify", "--tenant", "new", "--json"]);
    assert_eq!((job.code, &job.json()["run"]["error"]["category"]), (7, &"projection_out_of_date".into()));
    assert_eq!(place.run(&["catch-up", "--tenant", "new", "--projection", "trace_summary"]).code, 0);
    let told = place.run(&["verify", "--tenant", "new"]);
    assert_eq!(told.code, 7);
    assert!(told.stdout.contains("nothing of context_graph, precedent_index was compared"), "{}", told.stdout);
    assert!(!told.stdout.contains("No drift"), "{}", told.stdout);
    assert_eq!(place.run(&["verify", "--tenant", "new", "--projection", "trace_summary"]).code, 0);
}
