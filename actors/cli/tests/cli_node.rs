//! A node as an operator meets it: real processes, their tree, their reasons, their pages, their end.

mod cli_support;

use cli_support::{Cli, Ended, enterprise, text, trace};
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::{self, Database};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// Counts the sessions of this database that wait for a lock. Not by pg_locks: a wait for a row is a wait for a
/// transaction, which belongs to no database. The server has such waits of other tests.
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Longest wait for a condition of a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is killed when it is dropped.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node process.
struct Node {
    child: Ends,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Node {
    /// Starts a node and waits until it answers. Its log is in the test's directory.
    fn start(cli: &Cli, args: &[&str]) -> Node {
        Node::start_with(cli, args, &[])
    }

    /// Starts a node with these environment variables.
    fn start_with(cli: &Cli, args: &[&str], variables: &[(&str, &str)]) -> Node {
        let log = std::fs::File::create(cli.path("node.log")).expect("makes");
        let mut all = vec!["node", "--json", "--metrics-listen", "127.0.0.1:0"];
        all.extend_from_slice(args);
        let mut command = cli.command(&all);
        command.envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("reads");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Node { child: Ends(child), stdout, ready }
    }

    fn name(&self) -> &str {
        self.ready["node"].as_str().expect("a name")
    }

    /// Returns status and body of a page; none without an answer.
    fn page(&self, path: &str) -> Option<(u16, String)> {
        let url = self.ready["metrics"].as_str().expect("an address");
        let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn signal(&self, name: &str) {
        signal(&self.child.0, name);
    }

    /// Waits for the node's end and returns its exit code.
    fn ended(mut self) -> i32 {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("reads");
        self.child.0.wait().expect("ends").code().unwrap_or(-1)
    }
}

fn signal(child: &Child, name: &str) {
    launch::signal(child.id(), name).expect("sent");
}

/// Waits for a condition of the system that no signal announces.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// Waits until every stored event is applied.
fn applied(cli: &Cli) {
    wait_until("every scope is current", || {
        let ended = cli.run(&["status", "--json"]);
        if ended.code != 0 {
            return false;
        }
        let status = ended.json();
        let scopes = status["scopes"].as_array().expect("a list");
        !scopes.is_empty() && scopes.iter().all(|scope| scope["cursor"] == scope["last_log_seq"])
    });
}

fn actor<'a>(tree: &'a Value, path: &str) -> &'a Value {
    let actors = tree["actors"].as_array().expect("a list");
    actors.iter().find(|actor| actor["path"] == path).unwrap_or_else(|| panic!("no {path} in {tree}"))
}

const PROJECTIONS: [&str; 3] = ["context_graph", "trace_summary", "precedent_index"];

#[test]
fn the_tree_shows_every_actor_and_agrees_with_status_and_metrics() {
    let cli = Cli::new();
    let message = cli.run(&["tree", "--json"]).refused(6, "unavailable");
    assert!(message.contains("no node was asked"), "{message}");
    assert!(!cli.data_dir().exists(), "asking for a node makes no database");
    let node = Node::start(&cli, &[]);
    wait_until("it is ready", || node.page("/readyz").is_some_and(|(code, _)| code == 200));
    let imported = cli.run(&["import", text(&enterprise())]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(!imported.stdout.contains("catch-up"), "a node applies by itself: {}", imported.stdout);
    applied(&cli);

    let shown = cli.run(&["tree"]).stdout;
    for line in [
        "node (rest_for_one)",
        "├─ store_pool",
        "├─ cluster",
        "├─ admin",
        "├─ high_water",
        "├─ lease_keeper",
        "├─ scopes (one_for_one)",
        "│  └─ tenant default (one_for_all)",
        "│     ├─ coordinator",
        "│     └─ workers (one_for_one)",
        "│        ├─ worker context_graph",
        "│        ├─ worker trace_summary",
        "│        ├─ worker precedent_index",
        "│        └─ worker seal",
        "├─ replay (one_for_one)",
        "│  ├─ replay_coordinator",
        "│  └─ jobs (one_for_one)",
        "└─ seal (one_for_one)",
        "   ├─ notary",
        "   └─ scrubber",
    ] {
        assert!(shown.replace('\u{a0}', " ").contains(&format!(" {line} ")), "{line}: {shown}");
    }
    assert!(shown.starts_with(&format!("{} (decisiongraph ", node.name())), "{shown}");
    assert!(shown.contains(": up\n") && shown.contains("held, ") && !shown.contains("disagree"), "{shown}");

    let status = cli.json(&["status"]);
    let tree = cli.json(&["tree"]);
    assert_eq!(tree["node"]["mark"], status["sequence"]);
    assert_eq!((&tree["node"]["pid"], &tree["next"]), (&node.ready["pid"], &Value::Null));
    assert_eq!(tree["actors"].as_array().map(Vec::len), tree["node"]["actors"].as_u64().map(|actors| actors as usize));
    for scope in status["scopes"].as_array().expect("a list") {
        let path = format!("node/scopes/tenant default/workers/worker {}", scope["projection"].as_str().expect("text"));
        assert_eq!(actor(&tree, &path)["state"], scope["live"]["phase"], "{path}");
        assert_eq!(scope["owner"], node.name());
    }
    assert!(cli.run(&["status"]).stdout.contains("worker"), "the live phase has a column");

    let few = cli.json(&["tree", "--under", "node/scopes", "--limit", "3"]);
    let paths: Vec<_> = few["actors"].as_array().expect("a list").iter().map(|actor| &actor["path"]).collect();
    assert_eq!(paths, ["node/scopes", "node/scopes/tenant default", "node/scopes/tenant default/coordinator"]);
    assert_eq!(few["next"], "node/scopes/tenant default/coordinator");
    assert!(cli.run(&["tree", "--limit", "3"]).stdout.contains("… 3 of "));
    cli.run(&["tree", "--under", "node/nowhere", "--json"]).refused(5, "not_found");
    let message = cli.run(&["tree", "--of", "another", "--json"]).refused(5, "not_found");
    assert!(message.contains("`another`") && message.contains(node.name()), "{message}");
    assert_eq!(cli.run(&["tree", "--of", node.name()]).code, 0);

    let dot = cli.run(&["tree", "--dot"]).stdout;
    let lines: Vec<_> = dot.trim_end().lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("digraph node {", "}"));
    assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with("  ") && line.ends_with(';')), "{dot}");
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count() as u64;
    assert_eq!(Some(count("[label=")), tree["node"]["actors"].as_u64());
    assert_eq!(count(" -> ") + 1, count("[label="));

    let (code, page) = node.page("/metrics").expect("answers");
    assert_eq!(code, 200);
    for projection in PROJECTIONS {
        let has = |metric: &str, tenant: &str| {
            page.lines().any(|line| {
                line.starts_with(&format!("{metric}{{"))
                    && line.contains(&format!("projection=\"{projection}\""))
                    && line.contains(tenant)
            })
        };
        assert!(has("decisiongraph_lag_events", "tenant=\"default\""), "{page}");
        assert!(has("decisiongraph_events_applied_total", "} 97"), "{page}");
        assert!(has("decisiongraph_batch_duration_seconds_count", ""), "{page}");
    }
    for part in ["decisiongraph_database_up 1", "command=\"tree\",outcome=\"ok\"", "change=\"acquired\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_watched_tree_is_shown_again_until_it_is_interrupted() {
    let cli = Cli::new();
    let _node = Node::start(&cli, &[]);
    let mut watch = Ends(cli.command(&["tree", "--watch", "0.1"]).stdout(Stdio::piped()).spawn().expect("starts"));
    let mut lines = BufReader::new(watch.0.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    for _ in 0..2 {
        let shown: Vec<_> = lines.by_ref().take_while(|line| line != "---").collect();
        assert!(shown.iter().any(|line| line.contains("├─ admin")), "{shown:?}");
    }
    signal(&watch.0, "INT");
    lines.for_each(drop);
    assert_eq!(watch.0.wait().expect("ends").code(), Some(130));
}

#[test]
fn why_says_what_stops_a_scope_and_what_to_do() {
    let cli = Cli::new();
    assert_eq!(cli.pipe(&["import", "-"], trace("t").join("\n").as_bytes()).code, 0);
    let unowned = cli.json(&["why"]);
    assert_eq!(unowned["scopes"][0]["state"], "unowned");
    assert!(unowned["scopes"][0]["next"].as_str().is_some_and(|next| next.contains("decisiongraph node")));
    // An event that no projection can apply, written without the store.
    let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    let tampered = store.execute("UPDATE dg_event_log SET payload = '{\"x\":1}' WHERE log_seq = 2", []);
    assert_eq!(tampered.expect("writes"), 1);
    drop(store);

    let _node = Node::start(&cli, &["--recheck-first-ms", "100", "--recheck-longest-ms", "100"]);
    let states = || {
        let ended = cli.run(&["why", "--json"]);
        let why = if ended.code == 0 { ended.json() } else { Value::Null };
        let scopes = why["scopes"].as_array().cloned().unwrap_or_default();
        scopes.iter().filter_map(|scope| scope["state"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    wait_until("every scope has failed", || states() == ["failed", "failed", "failed"]);
    let why = cli.run(&["why"]).stdout;
    assert!(why.contains("default/trace_summary is failed, 2 events behind"), "{why}");
    assert!(why.contains("stopped at log_seq 2"), "{why}");
    assert!(why.contains("`decisiongraph failures --tenant default --projection trace_summary`"), "{why}");
    assert_eq!(cli.run(&["health"]).code, 11);

    assert_eq!(cli.run(&["pause", "--projection", "trace_summary", "--reason", "a look first"]).code, 0);
    wait_until("one scope is paused", || states() == ["failed", "paused", "failed"]);
    let paused = cli.json(&["why", "--projection", "trace_summary"]);
    assert_eq!((paused["scopes"].as_array().map(Vec::len), &paused["scopes_total"]), (Some(1), &Value::from(1)));
    let scope = &paused["scopes"][0];
    assert!(scope["why"].as_str().is_some_and(|why| why.contains("a look first")), "{scope}");
    let next = scope["next"].as_str().expect("a step");
    assert!(next.contains("decisiongraph resume --tenant default --projection trace_summary"), "{next}");
}

async fn session(database: &Database) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_its_database_names_who_holds_it_up_and_hands_over_at_its_end() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.empty_database().await.expect("a database");
    let cli = Cli::new();
    let node = Node::start(&cli, &["--database", database.url(), "--name", "n1"]);
    wait_until("it has looked", || node.page("/readyz").is_some_and(|(_, body)| body.contains("migrate")));
    let (code, body) = node.page("/readyz").expect("answers");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((code, &body["ok"]), (503, &Value::Bool(false)), "{body}");
    assert_eq!(node.page("/livez").map(|(code, _)| code), Some(200), "a database that is away is no reason to restart");
    assert!(node.page("/metrics").is_some_and(|(_, page)| page.contains("decisiongraph_database_up 0")));
    let why = cli.json(&["why"]);
    assert_eq!((&why["causes"][0]["subject"], &why["scopes_total"]), (&Value::from("database"), &Value::from(0)));
    assert_eq!(cli.run(&["health"]).code, 11);
    assert!(cli.run(&["tree"]).stdout.contains("lease     not held"));
    assert_eq!(cli.run(&["migrate", "--database", database.url()]).code, 0);
    wait_until("it is ready", || node.page("/readyz").is_some_and(|(code, _)| code == 200));
    assert!(node.page("/metrics").is_some_and(|(_, page)| page.contains("decisiongraph_database_up 1")));

    let appender = session(&database).await;
    let pid: i32 = appender.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    appender.batch_execute("BEGIN; LOCK TABLE dg_event_log IN ROW EXCLUSIVE MODE").await.expect("locks");
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    let held = || cli.run(&["tree"]).stdout;
    wait_until("the tree names the appender", || held().contains(&format!("held up by pid {pid} (role ")));
    let why = cli.run(&["why"]).stdout;
    assert!(why.starts_with(&format!("mark: held up by pid {pid} (role ")), "{why}");
    assert!(why.contains("LOCK TABLE") && why.contains(&format!("pg_terminate_backend({pid})")), "{why}");
    assert!(why.contains("default/context_graph is waiting, 97 events behind"), "{why}");
    appender.batch_execute("ROLLBACK").await.expect("rolls back");
    applied(&cli);
    assert_eq!(cli.run(&["why"]).stdout, "3 scopes are current.\n");
    assert!(
        node.page("/metrics").is_some_and(|(_, page)| page.contains("decisiongraph_mark_hold_duration_seconds_count"))
    );

    node.signal("TERM");
    assert_eq!(node.ended(), 0);
    let count = |rows: Vec<tokio_postgres::Row>| rows[0].get::<_, i64>(0);
    let nodes = appender.query("SELECT count(*) FROM dg_node WHERE node = 'n1'", &[]).await.expect("counts");
    // No scope names a living node as its owner.
    let owned = "SELECT count(*) FROM dg_scope s JOIN dg_node n ON n.node = s.owner_node";
    let owned = appender.query(owned, &[]).await.expect("counts");
    assert_eq!((count(nodes), count(owned)), (0, 0), "everything is handed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_a_batch_and_a_second_signal_does_not() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let node = Node::start(&cli, &["--database", database.url(), "--drain-ms", "25000"]);
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    applied(&cli);
    let blocker = session(&database).await;
    blocker.batch_execute("BEGIN; SELECT * FROM dg_scope FOR UPDATE").await.expect("locks");
    assert_eq!(cli.pipe(&["import", "-"], trace("late").join("\n").as_bytes()).code, 0);
    let until = Instant::now() + PATIENCE;
    while blocker.query_one(WAITING, &[]).await.expect("counts").get::<_, i64>(0) == 0 {
        assert!(Instant::now() < until, "a batch waits for the rows of its scope");
    }
    node.signal("TERM");
    wait_until("it drains", || {
        node.page("/readyz").is_some_and(|(code, body)| code == 503 && body.contains("draining"))
    });
    node.signal("TERM");
    assert_eq!(node.ended(), 130);
    blocker.batch_execute("ROLLBACK").await.expect("rolls back");

    // Nothing is lost: the next node goes on.
    let _node = Node::start(&cli, &["--database", database.url(), "--lease-ms", "1000"]);
    applied(&cli);
    assert_eq!(cli.run(&["verify", "--database", database.url()]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_runs_out_of_time_ends_with_1_and_loses_nothing() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let node = Node::start(&cli, &["--database", database.url(), "--drain-ms", "4000"]);
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    applied(&cli);
    let blocker = session(&database).await;
    blocker.batch_execute("BEGIN; SELECT * FROM dg_scope FOR UPDATE").await.expect("locks");
    assert_eq!(cli.pipe(&["import", "-"], trace("late").join("\n").as_bytes()).code, 0);
    let until = Instant::now() + PATIENCE;
    while blocker.query_one(WAITING, &[]).await.expect("counts").get::<_, i64>(0) < PROJECTIONS.len() as i64 {
        assert!(Instant::now() < until, "every worker waits for the rows of its scope");
    }
    node.signal("TERM");
    // Three workers of one tenant, 4 s each, one after the other: more than 4 s and 5 s.
    assert_eq!(node.ended(), 1);
    assert!(std::fs::read_to_string(cli.path("node.log")).expect("a log").contains("not drained within 9s"));
    blocker.batch_execute("ROLLBACK").await.expect("rolls back");
    let _node = Node::start(&cli, &["--database", database.url()]);
    applied(&cli);
    assert_eq!(cli.run(&["verify", "--database", database.url()]).code, 0);
}

#[test]
fn a_service_manager_hears_that_the_node_is_ready_lives_and_stops() {
    let cli = Cli::new();
    let path = cli.path("notify");
    let socket = UnixDatagram::bind(&path).expect("binds");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets");
    let hear = || {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("a datagram in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // The service manager wants a sign of life every 200 ms, which is half of its patience.
    let node = Node::start_with(&cli, &[], &[("NOTIFY_SOCKET", text(&path)), ("WATCHDOG_USEC", "400000")]);
    assert_eq!(hear(), "READY=1", "before anything else");
    let (told, mut last, mut shortest) = (Instant::now(), None, PATIENCE);
    for _ in 0..4 {
        assert_eq!(hear(), "WATCHDOG=1");
        if let Some(before) = last.replace(Instant::now()) {
            shortest = shortest.min(before.elapsed());
        }
    }
    assert!(told.elapsed() >= Duration::from_millis(500), "{:?}", told.elapsed());
    assert!(shortest < Duration::from_millis(400), "{shortest:?}: it would have been taken for dead");
    node.signal("TERM");
    let rest: Vec<String> = std::iter::repeat_with(hear).take_while(|state| state != "STOPPING=1").collect();
    assert!(rest.iter().all(|state| state == "WATCHDOG=1"), "{rest:?}");
    assert_eq!(node.ended(), 0);

    // A service manager that is gone changes nothing.
    drop(socket);
    let node = Node::start_with(&cli, &[], &[("NOTIFY_SOCKET", text(&path))]);
    assert_eq!(cli.run(&["status"]).code, 0);
    node.signal("TERM");
    assert_eq!(node.ended(), 0);
}

#[test]
fn every_fault_of_the_configuration_is_told_at_once_and_nothing_is_started() {
    let cli = Cli::new();
    let file = cli.file("node.toml", "leas_ms = 5000\npoll_ms = 250\n");
    let config = ["node", "--config", text(&file)];
    let ended = |args: &[&str], variable: &str| {
        let all: Vec<_> = config.iter().chain(args).copied().collect();
        Ended::of(cli.command(&all).env("DECISIONGRAPH_WRITERS", variable).output().expect("starts"))
    };
    let message = ended(&["--drain-ms", "soon", "--json"], "0").refused(2, "invalid_argument");
    for part in ["3 faults", "node.toml:1", "did you mean `lease_ms`", "DECISIONGRAPH_WRITERS", "--drain-ms"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!cli.data_dir().exists());

    cli.file("node.toml", "lease_ms = 5000\npoll_ms = 250\n");
    let url = "postgres://u:hunter2hunter2@db.example/d";
    let shown = ended(&["--print-config", "--poll-ms", "300", "--database", url], "2");
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for line in ["lease_ms = 5000  # ", "poll_ms = 300  # --poll-ms", "writers = 2  # DECISIONGRAPH_WRITERS"] {
        assert!(shown.stdout.lines().any(|shown| shown.starts_with(line)), "{line}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("hunter2"), "{}", shown.stdout);
    assert!(!cli.data_dir().exists());
}

#[test]
fn two_nodes_do_not_share_a_directory_or_a_chosen_address() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    cli.run(&["node", "--json"]).refused(4, "conflict");
    let address = node.ready["metrics"].as_str().expect("text").trim_start_matches("http://");
    let address = address.trim_end_matches("/metrics");
    let other = Cli::new();
    other.run(&["node", "--json", "--metrics-listen", address]).refused(6, "unavailable");
    assert_eq!(cli.run(&["tree"]).code, 0, "the first one goes on");
}

/// Runs inside the next test, in its own process; does nothing alone.
#[test]
#[ignore = "a part of the test below"]
fn asked_by_somebody_with_a_configuration() {
    let cli = Cli::new();
    let ended = cli.run(&["node", "--print-config"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains("canary"), "{}", ended.stdout);
    let status = cli.json(&["status"]);
    assert!(!status.to_string().contains("canary"), "{status}");
}

#[test]
fn the_configuration_of_whoever_runs_the_tests_reaches_no_program() {
    let cli = Cli::new();
    let file = cli.file("theirs.toml", "database = \"postgres://somebody@127.0.0.1:1/canary\"\n");
    let mut command = launch::program(std::env::current_exe().expect("this program"));
    command.args(["--exact", "asked_by_somebody_with_a_configuration", "--ignored", "--nocapture"]);
    command.env("DECISIONGRAPH_CONFIG", file).env("DATABASE_URL", "postgres://somebody@127.0.0.1:1/canary");
    command.env("DECISIONGRAPH_LEASE_MS", "soon").env("XDG_DATA_HOME", cli.path("canary"));
    let output = command.output().expect("a process");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A shell and the kernel each send one signal when a terminal closes. Then the log has no reader any more.
#[test]
fn a_terminal_that_closes_drains_the_node_and_never_kills_it() {
    let cli = Cli::new();
    let node = cli.command(&["node", "--json", "--metrics-listen", "off"]);
    // The tests themselves may have been started with nohup.
    let mut command = launch::program("env");
    command.arg("--default-signal=HUP").arg(node.get_program()).args(node.get_args());
    command.env("DECISIONGRAPH_DATA_DIR", cli.data_dir());
    let mut child = Ends(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"));
    let mut stdout = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    for state in ["listening", "ready"] {
        let line = stdout.next().expect("a line").expect("text");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["state"], state);
    }
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    drop((stdout, child.0.stderr.take()));
    signal(&child.0, "HUP");
    signal(&child.0, "HUP");
    assert_eq!(child.0.wait().expect("ends").code(), Some(0), "drained");
    let database = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    let held: i64 = database.query_row("SELECT count(*) FROM dg_node", [], |row| row.get(0)).expect("a count");
    assert_eq!(held, 0, "what it held is handed over");
}

#[test]
fn a_node_that_was_started_with_nohup_outlives_its_terminal() {
    let cli = Cli::new();
    let node = cli.command(&["node", "--json", "--metrics-listen", "off"]);
    let mut command = launch::program("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(node.get_program()).args(node.get_args());
    command.env("DECISIONGRAPH_DATA_DIR", cli.data_dir()).stdin(Stdio::null());
    let mut child = Ends(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts"));
    let mut stdout = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    assert!(stdout.by_ref().take(2).all(|line| line.is_ok_and(|line| line.contains("state"))));
    signal(&child.0, "HUP");
    assert_eq!(cli.run(&["tree"]).code, 0);
    assert!(!cli.run(&["tree"]).stdout.contains("draining"));
    signal(&child.0, "TERM");
    assert_eq!(child.0.wait().expect("ends").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_said_when_it_is_and_with_a_json_log_every_line_is_json_and_none_comes_by_the_second() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.empty_database().await.expect("a database");
    let cli = Cli::new();
    let log = std::fs::File::create(cli.path("node.log")).expect("makes");
    let mut command =
        cli.command(&["node", "--log-format", "json", "--metrics-listen", "off", "--database", database.url()]);
    let mut child = Ends(command.stdout(Stdio::piped()).stderr(log).spawn().expect("starts"));
    let stdout = BufReader::new(child.0.stdout.take().expect("piped"));
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || -> Value { serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a line")).expect("JSON") };
    assert_eq!(next()["state"], "listening");
    wait_until("it has looked", || cli.run(&["why"]).stdout.contains("migrate"));
    assert!(lines.try_recv().is_err(), "its database has no schema");
    assert_eq!(cli.run(&["migrate", "--database", database.url()]).code, 0);
    assert_eq!(next()["state"], "ready");
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    applied(&cli);
    // Every session ends, also each session that waits in the pool.
    let admin = session(&database).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.batch_execute(end).await.expect("ended");
    assert_eq!(cli.run(&["import", text(&cli.file("more.jsonl", trace("more").join("\n")))]).code, 0);
    applied(&cli);
    signal(&child.0, "TERM");
    assert_eq!(child.0.wait().expect("ends").code(), Some(0));
    let log = std::fs::read_to_string(cli.path("node.log")).expect("reads");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(!line.contains("could not be recycled"), "{line}");
    }
}
