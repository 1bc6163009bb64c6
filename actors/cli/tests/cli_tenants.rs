//! No claim is made about a log that was not read: missing tenants, objects of other tenants, work over all tenants.
//! Each promise on both stores, in the program itself and through a node.

mod cli_support;

use cli_support::node::{Node, applied, poisoned_tenant, wait_until};
use cli_support::{Cli, Ended, trace};
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::{self, Database};
use serde_json::Value;

/// A database with two tenants, neither of which is `default`, and the flags that lead commands to it.
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

    /// Applies every stored event.
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

    /// Returns the tenants that `status` lists.
    fn of_status(&self) -> Vec<String> {
        let status = self.json(&["status"]);
        let scopes = status["scopes"].as_array().expect("a list").iter();
        let mut tenants: Vec<String> = scopes.map(|scope| scope["tenant"].as_str().expect("text").to_owned()).collect();
        tenants.dedup();
        tenants
    }
}

const RUN: &str = "01a20000-0000-7000-8000-000000000000";

/// Commands about one tenant; `default` when none is named.
const OF_ONE: [&[&str]; 23] = [
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
    &["traces"],
    &["events"],
    &["subgraph", "trace:t"],
    &["edges", "trace:t"],
    &["precedents"],
    &["seal", "now"],
    &["checkpoint"],
    &["prove", "e"],
    &["consistency", "1", "2"],
    &["audit-pack", "--trace", "t", "-o", "none.pack"],
];
/// Commands about every tenant, or about an object by its id, when no tenant is named.
const OF_ALL: [&[&str]; 13] = [
    &["status"],
    &["health"],
    &["why"],
    &["runs"],
    &["changes"],
    &["failures"],
    &["skips"],
    &["failure", "1"],
    &["skip", "1", "--reason", "a test"],
    &["run", RUN],
    &["run", "resume", RUN],
    &["cancel", RUN],
    &["seal", "status"],
];
/// Commands that concern no tenant, or that create one.
const OF_NONE: [&str; 19] = [
    "append",
    "audit",
    "backup",
    "bisect",
    "cluster",
    "completions",
    "cordon",
    "demo",
    "drain",
    "forget",
    "identity",
    "import",
    "migrate",
    "monitor",
    "node",
    "schema",
    "tenants",
    "uncordon",
    "validate",
];
/// Commands about a node, for any tenants.
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
        for args in [["status"], ["health"], ["why"], ["runs"], ["failures"], ["skips"]] {
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
            assert!(why.contains(&format!("pid {pid} (role ")) && why.contains("), open for "), "{why}");
            assert!(why.contains("`decisiongraph catch-up --tenant 'acme & co'"), "{why}");
            let told = run(&[command, "--tenant", TENANTS[0]]);
            assert_eq!(told.code, 7);
            assert!(told.stdout.contains(&format!("pid {pid}")), "{}", told.stdout);
        }
        // A tenant whose events are all applied is caught up, even while an appender is open.
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
    assert!(told.stdout.contains("context_graph, precedent_index: not compared"), "{}", told.stdout);
    assert!(!told.stdout.contains("No drift"), "{}", told.stdout);
    assert_eq!(place.run(&["verify", "--tenant", "new", "--projection", "trace_summary"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_listed_a_page_at_a_time() {
    for place in Place::every().await {
        place.import("no projection yet", "t");
        if place.node.is_some() {
            applied(&place.cli);
        }
        assert_eq!(place.run(&["pause", "--tenant", TENANTS[1], "--projection", "trace_summary"]).code, 0);
        let all = place.json(&["tenants"]);
        let ids = |reply: &Value| -> Vec<String> {
            let tenants = reply["tenants"].as_array().expect("a list").iter();
            tenants.map(|head| head["tenant"].as_str().expect("text").to_owned()).collect()
        };
        assert_eq!(
            (ids(&all), &all["more"]),
            (vec![TENANTS[0].into(), TENANTS[1].into(), "no projection yet".into()], &false.into())
        );
        let head = &all["tenants"][1];
        assert_eq!((&head["scopes"], &head["paused"], &head["cursor"]), (&3.into(), &1.into(), &head["last_log_seq"]));
        let page = place.json(&["tenants", "--limit", "1"]);
        assert_eq!((ids(&page), &page["more"]), (vec![TENANTS[0].to_owned()], &true.into()));
        assert_eq!(ids(&place.json(&["tenants", "--after", TENANTS[0], "--limit", "1"])), [TENANTS[1]]);
        let told = place.run(&["tenants", "--limit", "2"]).stdout;
        assert!(told.contains("There are more: `decisiongraph tenants --after globex --limit 2"), "{told}");
        place.run(&["tenants", "--limit", "0", "--json"]).refused(2, "invalid_argument");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_over_all_tenants_goes_on_behind_a_bad_one_and_ends_with_the_worst_code() {
    for (postgres, node) in [(false, false), (true, false), (false, true)] {
        let mut place = Place::filled(postgres, false).await;
        // In the order of their ids: a bad one, then two good ones.
        place.import("a bad one", "t");
        poisoned_tenant(&place.cli, place._database.as_ref(), "a bad one").await;
        place.import(TENANTS[1], "more");
        if node {
            place.through_a_node();
        }
        let ended = place.run(&["catch-up", "--all-tenants", "--json"]);
        assert_eq!(ended.code, 4, "{} {}", ended.stdout, ended.stderr);
        let sum = ended.json();
        assert_eq!((&sum["failed"], &sum["complete"]), (&serde_json::json!(["a bad one"]), &true.into()), "{sum}");
        let codes: Vec<_> =
            sum["tenants"].as_array().expect("a list").iter().map(|one| one["exit_code"].as_i64()).collect();
        assert_eq!(codes, [Some(4), Some(0), Some(0)]);
        assert_eq!(
            place.run(&["trace", "more", "--tenant", TENANTS[1]]).code,
            0,
            "what is behind the bad one is applied"
        );
        let told = place.run(&["retry", "--all-tenants"]);
        assert_eq!(told.code, 4);
        assert!(told.stdout.contains("globex: 0 events applied in 3 projections"), "{}", told.stdout);
        assert!(told.stdout.contains("3 tenants, 1 of them failed\n  'a bad one' (exit code 4)"), "{}", told.stdout);
        for (command, code) in [("digest", 0), ("pause", 0), ("resume", 0), ("rebuild", 4)] {
            let ended = place.run(&[command, "--all-tenants", "--json"]);
            assert_eq!(ended.code, code, "{command}: {} {}", ended.stdout, ended.stderr);
            assert_eq!(ended.json()["tenants"].as_array().map(Vec::len), Some(3), "{command}");
        }
        // Drift takes precedence over the effect of a poison event.
        tampered(&place, TENANTS[0]).await;
        let told = place.run(&["verify", "--all-tenants"]);
        assert_eq!(told.code, 3, "{}", told.stdout);
        let line = |line: &str| line.starts_with("globex: ") && line.ends_with("no drift in 3 projections");
        assert!(told.stdout.lines().any(line), "{}", told.stdout);
        for wrong in [&["--tenant", "globex"][..], &["--request-id", RUN], &["--detach"]] {
            assert_eq!(place.run(&[&["verify", "--all-tenants"], wrong].concat()).code, 2, "{wrong:?}");
        }
    }
}

/// Edits a row of this tenant without the program.
async fn tampered(place: &Place, tenant: &str) {
    let forged =
        format!("UPDATE dg_trace_summary SET title = 'forged' WHERE tenant_id = '{}'", tenant.replace('\'', "''"));
    let Some(database) = &place._database else {
        let store = rusqlite::Connection::open(place.cli.data_dir().join("decisiongraph.db")).expect("opens");
        assert!(store.execute(&forged, []).expect("writes") > 0);
        return;
    };
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    assert!(client.execute(&forged, &[]).await.expect("writes") > 0);
}

/// Returns the commands that the program suggested, without their backticks.
fn told(ended: &Ended) -> Vec<String> {
    let text = format!("{}\n{}", ended.stdout, ended.stderr);
    let parts = text.split("`decisiongraph ").skip(1);
    let commands = parts.filter_map(|part| part.split_once('`')).map(|(command, _)| format!("decisiongraph {command}"));
    commands.collect()
}

/// A person copying printed text: runs every suggested command in a shell that knows no database.
struct Copyist<'a> {
    place: &'a Place,
    tenant: &'a str,
}

impl Copyist<'_> {
    /// Runs the command, then the suggested commands as printed, and returns these with their exit codes. One of them
    /// starts with `expected`.
    fn follow(&self, args: &[&str], expected: &str) -> Vec<(String, i32)> {
        let ended = self.place.run(args);
        let commands = told(&ended);
        let of_tenant = format!("--tenant {}", "'o'\\''neil & co'");
        let whole = format!("decisiongraph {expected}").replace("--tenant T", &of_tenant);
        assert!(
            commands.iter().any(|command| command.starts_with(&whole)),
            "{args:?} tells no `{whole}`: {commands:?}\n{}\n{}",
            ended.stdout,
            ended.stderr
        );
        let mut results = Vec::new();
        for command in commands {
            if command.starts_with("decisiongraph node") || command.contains(" import FILE") {
                continue;
            }
            let all = ["tenants", "runs", "failures", "cluster", "why", "status", "tree", "cordon", "uncordon"];
            let word = command.split(' ').nth(1).unwrap_or_default();
            assert!(
                command.contains(&of_tenant) || command.contains("--all-tenants") || all.contains(&word),
                "{args:?} tells {command}, which is about another tenant"
            );
            let code = self.in_a_shell(&command);
            assert!(![2, 5, 127, 126].contains(&code), "{args:?} tells {command}, which ends with {code}");
            results.push((command, code));
        }
        results
    }

    fn in_a_shell(&self, command: &str) -> i32 {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let elsewhere = self.place.cli.path("elsewhere");
        let out = launch::program("sh")
            .args(["-c", command])
            .env("DECISIONGRAPH_DATA_DIR", elsewhere)
            .env("PATH", path)
            .output();
        out.expect("a shell").status.code().unwrap_or(-1)
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.place.run(&[args, &["--tenant", self.tenant]].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_is_told_is_complete_and_works_as_printed() {
    let tenant = "o'neil & co";
    for postgres in [false, true] {
        let mut place = Place::empty(postgres, false).await;
        if !postgres {
            place.flags = vec!["--data-dir".to_owned(), place.cli.data_dir().display().to_string()];
        }
        let mut lines = trace("first").join("\n").replace("{\"actor", "{\"tenant_id\":\"globex\",\"actor");
        assert!(lines.contains("tenant_id"));
        lines.push('\n');
        lines.push_str(&trace("first").join("\n"));
        let file = place.cli.file("mixed.jsonl", lines);
        let file = file.to_str().expect("UTF-8").to_owned();
        let own = place.cli.file("own.jsonl", trace("second").join("\n"));
        let own = own.to_str().expect("UTF-8").to_owned();
        let copyist = Copyist { place: &place, tenant };
        // The embedded store is sealed, too.
        let scopes = if postgres { "3 scopes are current." } else { "4 scopes are current." };
        let current = || copyist.run(&["why"]).stdout.contains(scopes);

        // Events that are not applied yet.
        copyist.follow(&["import", &file, "--tenant", tenant], "catch-up --all-tenants");
        assert!(current());
        copyist.follow(&["import", &own, "--tenant", tenant], "catch-up --tenant T");
        assert!(current());
        let mut number = 0;
        let mut more = || {
            number += 1;
            place.import(tenant, &format!("more-{number}"));
        };
        for query in [
            &["trace", "more-1"][..],
            &["subgraph", "trace:more-1"],
            &["edges", "trace:more-1"],
            &["precedents"],
            &["digest", "--reference"],
        ] {
            more();
            if query[0] == "digest" {
                assert_eq!(copyist.run(&["catch-up", "--projection", "trace_summary"]).code, 0);
            }
            let wait = if query[0] == "digest" { &[][..] } else { &["--wait", "0"] };
            copyist.follow(&[query, wait, &["--tenant", tenant]].concat(), "catch-up --tenant T");
            assert!(current(), "{query:?}");
        }
        for look in ["status", "why", "health"] {
            more();
            copyist.follow(&[look], "catch-up --tenant T --projection precedent_index");
            assert!(current(), "{look}");
        }

        // Objects that do not exist.
        copyist.follow(&["verify", "--tenant", "nobody"], "tenants");
        copyist.follow(&["verify"], "tenants");
        copyist.follow(&["trace", "nosuch", "--tenant", tenant], "events --tenant T");
        copyist.follow(&["failure", "99"], "failures --all");
        copyist.follow(&["skip", "99", "--reason", "x"], "failures --all");
        copyist.follow(&["run", RUN], "runs");
        copyist.follow(&["cancel", RUN], "runs");
        copyist.follow(&["uncordon", "nobody"], if postgres { "cluster" } else { "pause --all-tenants" });
        assert_eq!(place.run(&["resume", "--all-tenants"]).code, 0);

        // Paused scopes.
        assert_eq!(copyist.run(&["pause"]).code, 0);
        copyist.follow(&["catch-up", "--tenant", tenant], "resume --tenant T --projection context_graph");
        copyist.follow(&["status"], "resume --tenant T --projection trace_summary");
        assert!(current());
        for look in ["why", "health"] {
            assert_eq!(copyist.run(&["pause", "--projection", "trace_summary"]).code, 0);
            copyist.follow(&[look], "resume --tenant T --projection trace_summary");
            assert!(current(), "{look}");
        }
        assert_eq!(place.run(&["resume", "--all-tenants"]).code, 0);

        // A poison event, skipped and put back.
        more();
        poisoned_tenant(&place.cli, place._database.as_ref(), tenant).await;
        copyist.follow(&["catch-up", "--tenant", tenant], "failure ");
        for look in ["why", "health"] {
            copyist.follow(&[look], "failures --tenant T --projection context_graph");
        }
        copyist.follow(&["why"], "retry --tenant T --projection trace_summary");
        let failures = place.json(&["failures"]);
        let ids: Vec<String> =
            failures["failures"].as_array().expect("a list").iter().map(|one| one["failure_id"].to_string()).collect();
        assert_eq!(ids.len(), 3);
        copyist.follow(&["status"], &format!("failure {} --tenant T", ids.iter().min().expect("one")));
        for id in &ids {
            copyist.follow(&["failure", id, "--replay"], &format!("skip {id} --reason 'say why' --tenant T"));
            // The suggestion is repeated, because repeating a skip returns the skip that holds.
            copyist.follow(&["skip", id, "--reason", "x"], "catch-up --tenant T --projection");
        }
        assert!(current());
        for id in &ids {
            // The event is as bad as before: the rebuild meets it.
            let codes = copyist.follow(&["skip", id, "--revoke"], "rebuild --tenant T --projection");
            assert_eq!(codes[0].1, 4, "{codes:?}");
        }

        // Drift in a tenant whose log is sound, and a tenant that was never projected.
        let place = {
            let mut place = Place::empty(postgres, false).await;
            if !postgres {
                place.flags = vec!["--data-dir".to_owned(), place.cli.data_dir().display().to_string()];
            }
            place
        };
        let copyist = Copyist { place: &place, tenant };
        place.import(tenant, "t");
        copyist.follow(&["verify", "--tenant", tenant], "catch-up --tenant T");
        assert_eq!(copyist.run(&["verify"]).code, 0);
        tampered(&place, tenant).await;
        copyist.follow(&["verify", "--tenant", tenant], "rebuild --tenant T");
        assert_eq!(copyist.run(&["verify"]).code, 0, "the rebuild that was told was the right one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_tells_leads_back_to_that_node() {
    let place = Place::filled(true, true).await;
    let copyist = Copyist { place: &place, tenant: TENANTS[1] };
    let node = place.node.as_ref().expect("a node").name.clone();
    for look in ["health", "why"] {
        assert_eq!(place.run(&["cordon", &node]).code, 0);
        node_says(&place, look);
        let told = copyist.follow(&[look], &format!("uncordon {node} --node unix:"));
        assert!(!told.is_empty());
        let members = place.json(&["cluster"]);
        assert!(members["members"][0]["cordon"].is_null(), "{members}");
    }
    let over_json = place.run(&["trace", "nosuch", "--tenant", TENANTS[1], "--json"]);
    let next: Value = serde_json::from_str(&over_json.stderr).expect("JSON");
    let next = next["error"]["next"].as_str().expect("text");
    assert!(next.contains("`decisiongraph events --tenant globex --node unix:"), "{next}");
}

#[test]
fn the_command_that_makes_lines_of_another_file_goes_where_the_import_was_to_go() {
    let place = |cli: Cli| Place {
        flags: vec!["--data-dir".to_owned(), cli.data_dir().display().to_string()],
        cli,
        node: None,
        _database: None,
    };
    let place = place(Cli::new());
    let tenant = "o'neil & co";
    let copyist = Copyist { place: &place, tenant };
    let utf_16: Vec<u8> = trace("t").join("\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = place.cli.file("lines of utf 16.jsonl", utf_16);
    for command in ["import", "append"] {
        let ended = copyist.run(&[command, file.to_str().expect("UTF-8"), "--credential-guard", "reference"]);
        let next = ended.stderr.split_once("run `").and_then(|(_, next)| next.split_once('`')).expect("a command").0;
        assert!(next.contains(&format!("| decisiongraph {command} --tenant ")), "{next}");
        assert!(next.contains("--credential-guard reference - --data-dir "), "{next}");
        assert_eq!(copyist.in_a_shell(next), 0, "{next}");
        let events = place.json(&["events", "--tenant", tenant]);
        assert_eq!(events["events"].as_array().map(Vec::len), Some(trace("t").len()), "{events}");
    }
}

/// Waits until the node has seen that it is cordoned.
fn node_says(place: &Place, look: &str) {
    wait_until("the node knows", || place.run(&[look]).stdout.contains("uncordon"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_never_part_of_a_command_that_is_told() {
    let place = Place::filled(true, false).await;
    let url = place._database.as_ref().expect("PostgreSQL").url();
    let (login, rest) = url.split_once('@').expect("a login");
    let url = format!("{login}:hunter2hunter2@{rest}?password=hunter2hunter2&connect_timeout=9");
    let ended = place.cli.run(&["trace", "nosuch", "--tenant", TENANTS[1], "--database", &url]);
    let commands = told(&ended);
    let expected = format!("--database '{login}@{rest}?connect_timeout=9'");
    assert!(commands.len() == 1 && commands[0].ends_with(&expected), "{commands:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    let ended =
        Cli::new().run(&["status", "--database", "postgres://u:hunter2hunter2@127.0.0.1:1/d?password=hunter2hunter2"]);
    assert_eq!(ended.code, 6);
    assert!(!ended.stderr.contains("hunter2") && !ended.stdout.contains("hunter2"), "{}", ended.stderr);
}
