//! Promises of admin over the actor protocol under faults: every command ends within its deadline and names the fault.
//! Real node processes that are stopped and killed.

mod cli_support;

use cli_support::node::{
    Node, PATIENCE, ends_within, listening_ports, poisoned, resident, secret_file, wait_until, within,
};
use cli_support::{Cli, Ended, event, started, text};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{CatchUpRequest, EventsRequest, JobRequest};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Client, PREAMBLE_DEADLINE, Secret, Target};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[test]
fn who_does_not_know_the_secret_or_the_protocol_is_told_so() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let refused = |args: &[&str], code, category: &str| {
        let args = [&["status", "--json"], args].concat();
        within(PATIENCE, cli.command(&args)).refused(code, category)
    };
    let wrong = secret_file(&cli, "wrong", "wrong horse battery staple brick");
    let short = secret_file(&cli, "short", "horse");
    assert!(
        refused(&["--node", &node.tcp, "--secret-file", text(&wrong)], 8, "unauthorized")
            .contains("the node has a different secret")
    );
    refused(&["--node", &node.tcp], 8, "unauthorized");
    refused(&["--node", &node.tcp, "--secret-file", text(&short)], 2, "invalid_argument");
    for flags in [&node.over_tcp()[..], &[]] {
        let message = refused(&[flags, &["--protocol-version", "9"]].concat(), 8, "version_mismatch");
        assert!(message.contains("protocol 9") && message.contains("protocol 5"), "{message}");
    }
    assert_eq!(cli.run(&["status", "--protocol-version", "4"]).code, 0, "one version back is understood");
    refused(&["--node", "192.0.2.1:7421"], 2, "invalid_argument");
    refused(&["--node", "nonsense"], 2, "invalid_argument");
    let environment =
        cli.command(&["status", "--node", &node.tcp]).env("DECISIONGRAPH_SECRET_FILE", &node.secret).status();
    assert_eq!(environment.expect("starts").code(), Some(0));
    let environment = cli
        .command(&["status", "--node", &node.tcp])
        .env("DECISIONGRAPH_SECRET", "wrong wrong but as long as secrets are")
        .output();
    let ended = Ended::of(environment.expect("starts"));
    assert_eq!(ended.code, 8);
    assert!(!ended.stderr.contains("wrong wrong"), "a secret is never shown: {}", ended.stderr);
}

#[test]
fn where_nobody_listens_is_unavailable_and_what_a_dead_node_left_is_passed_over() {
    let cli = Cli::new();
    let gone = format!("unix:{}", cli.path("no.sock").display());
    let ended = within(PATIENCE, cli.command(&["status", "--node", &gone, "--json"]));
    assert!(ended.refused(6, "unavailable").contains("no node answers"));
    let mut node = Node::start(&cli, &[]);
    let tcp = node.tcp.clone();
    let secret = text(&node.secret).to_owned();
    node.signal("KILL");
    assert_eq!(node.ended(), None);
    let ended = within(PATIENCE, cli.command(&["status", "--node", &tcp, "--secret-file", &secret, "--json"]));
    ended.refused(6, "unavailable");
    assert!(node.socket.exists());
    assert_eq!(cli.run(&["import", "/dev/null"]).code, 0, "the embedded store, as if no node had been there");
    let mut next = Node::start(&cli, &[]);
    assert_eq!(cli.run(&["status"]).code, 0);
    next.signal("TERM");
    assert_eq!(next.ended(), Some(0));
    assert!(!next.socket.exists(), "a node that is stopped leaves nothing behind");
}

#[test]
fn one_node_a_data_directory_and_only_this_user_in_it() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let mode = std::fs::metadata(&node.socket).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let second = within(PATIENCE, cli.command(&["node", "--json"]));
    assert!(second.refused(4, "conflict").contains("already"));
    assert_eq!(cli.run(&["status"]).code, 0, "the first one is not disturbed");
    let elsewhere = Cli::new();
    elsewhere
        .run(&["node", "--listen", "0.0.0.0:0", "--secret-file", text(&node.secret), "--json"])
        .refused(2, "invalid_argument");
    elsewhere.run(&["node", "--listen", "127.0.0.1:0", "--json"]).refused(2, "invalid_argument");
    elsewhere
        .run(&["node", "--listen", &node.tcp, "--secret-file", text(&node.secret), "--json"])
        .refused(6, "unavailable");
}

#[test]
fn the_silent_are_hung_up_on_and_keep_nobody_out() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let started = Instant::now();
    let mut sockets: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&node.socket).expect("connects")).collect();
    let mut wires: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&node.tcp).expect("connects")).collect();
    for flags in [&node.over_tcp()[..], &[]] {
        let ended = within(PREAMBLE_DEADLINE, cli.command(&[&["status"], flags].concat()));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let mut rest = Vec::new();
    for socket in &mut sockets {
        socket.set_read_timeout(Some(PATIENCE)).expect("sets");
        assert_eq!(socket.read_to_end(&mut rest).expect("is closed"), 0);
    }
    for wire in &mut wires {
        wire.set_read_timeout(Some(PATIENCE)).expect("sets");
        assert_eq!(wire.read_to_end(&mut rest).expect("is closed"), 0);
    }
    assert!(started.elapsed() < PREAMBLE_DEADLINE * 4, "{:?}", started.elapsed());
    let mut stranger = TcpStream::connect(&node.tcp).expect("connects");
    stranger.set_read_timeout(Some(PATIENCE)).expect("sets");
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("writes");
    stranger.read_to_end(&mut rest).expect("is answered and closed");
    assert!(String::from_utf8_lossy(&rest).contains("version_mismatch"));
    assert_eq!(cli.run(&["status"]).code, 0);
}

#[test]
fn a_node_that_hangs_is_unavailable_at_the_deadline_and_back_when_it_goes_on() {
    let cli = Cli::new();
    poisoned(&cli);
    let node = Node::start(&cli, &[]);
    node.signal("STOP");
    for flags in [&node.over_tcp()[..], &[]] {
        let args = [&["status", "--timeout", "1", "--json"], flags].concat();
        let message = within(Duration::from_secs(5), cli.command(&args)).refused(6, "unavailable");
        assert!(message.contains("does not answer"), "{message}");
    }
    node.signal("CONT");
    assert_eq!(cli.run(&["status"]).code, 0);
    // Held up in the node: the deadline of the command is shorter than the wait that it asks for.
    let slow = ["trace", "t", "--wait", "60", "--timeout", "1", "--json"];
    within(Duration::from_secs(5), cli.command(&slow)).refused(6, "unavailable");
}

/// Starts `append -` over TCP, connected, with one event stored.
fn appending(cli: &Cli, node: &Node, address: &str, timeout: &str) -> (Child, std::process::ChildStdin) {
    let to = ["--node", address, "--secret-file", text(&node.secret)];
    let mut command = cli.command(&[&["append", "-", "--json", "--timeout", timeout], &to[..]].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{}", started("t")).expect("writes");
    let mut seen = Vec::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    while !seen.ends_with(b"}") {
        assert!(stdout.read_until(b'}', &mut seen).expect("reads") > 0, "{}", String::from_utf8_lossy(&seen));
    }
    assert!(String::from_utf8_lossy(&seen).contains("accepted"));
    // Later output is read and dropped, so that the pipe stays open as long as the process.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (child, stdin)
}

#[test]
fn a_port_that_nobody_configured_is_not_there_and_strangers_cost_little_at_those_that_are() {
    let cli = Cli::new();
    let mut node = Node::start(&cli, &["--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(listening_ports(node.pid()), node.configured_ports());
    let (mut call, stdin) = appending(&cli, &node, &node.tcp, "60");
    assert_eq!(listening_ports(call.id()), [].into(), "of a call that is connected");
    assert_eq!(listening_ports(node.pid()), node.configured_ports(), "of a node that is asked");
    drop(stdin);
    assert!(call.wait().expect("ends").success());

    // Each stranger announces a frame of 256 MiB and sends as much as is accepted, at every open port.
    let before = resident(node.pid());
    let piece = vec![0; 1 << 20];
    for port in listening_ports(node.pid()) {
        let mut strangers: Vec<TcpStream> =
            (0..16).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connects")).collect();
        for stranger in &mut strangers {
            let _ = stranger.write_all(&(256_u64 << 20).to_be_bytes());
        }
        for _ in 0..50 {
            strangers.retain_mut(|stranger| stranger.write_all(&piece).is_ok());
        }
        assert_eq!(strangers.len(), 0, "port {port} takes what it is sent");
        let grown = resident(node.pid()).saturating_sub(before);
        assert!(grown < 64 << 20, "port {port}: {grown} bytes more");
    }
    node.signal("TERM");
    assert_eq!(node.ended(), Some(0));
}

/// Sets the flag at the end of a test, passed or failed.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs clients that each send a byte of a request now and then. They connect again when the node hangs up.
fn slow_crowd(address: SocketAddr, count: usize, stop: &AtomicBool, there: &AtomicBool) {
    let connect = || {
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        stream.inspect(|stream| stream.set_nonblocking(true).expect("sets")).ok()
    };
    let mut crowd: Vec<Option<TcpStream>> =
        (0..count).map_while(|_| Some(connect()).filter(|_| !stop.load(Ordering::SeqCst))).collect();
    there.store(true, Ordering::SeqCst);
    while !stop.load(Ordering::SeqCst) {
        for slow in crowd.iter_mut().take_while(|_| !stop.load(Ordering::SeqCst)) {
            if slow.as_mut().is_none_or(|stream| stream.write_all(b"E").is_err()) {
                *slow = connect();
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_probe_is_answered_within_a_second_beside_a_thousand_slow_clients() {
    let cli = Cli::new();
    let node = Node::start(&cli, &["--metrics-listen", "127.0.0.1:0"]);
    let address = node.pages.as_ref().and_then(|pages| pages.parse().ok()).expect("serves pages");
    let (stop, there) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ends = AtTheEnd(&stop);
        scope.spawn(|| slow_crowd(address, 1_000, &stop, &there));
        wait_until("the crowd is there", || there.load(Ordering::SeqCst));
        let probe = || -> std::io::Result<(Duration, String)> {
            let asked = Instant::now();
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok((asked.elapsed(), answer))
        };
        let probes: std::io::Result<Vec<_>> = (0..20).map(|_| probe()).collect();
        for (took, answer) in probes.expect("answers") {
            assert!(answer.starts_with("HTTP/1.1 200") && took < Duration::from_secs(1), "{took:?}: {answer}");
        }
    });
}

/// Passes a connection on to the node and back. `taken` counts the bytes that the node's side has accepted.
fn pass_on(near: TcpStream, far: TcpStream, taken: Arc<AtomicUsize>) {
    let (mut near_in, mut far_in) = (near.try_clone().expect("clones"), far.try_clone().expect("clones"));
    let (mut near_out, mut far_out) = (near, far);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = near_in.read(&mut buffer) {
            if far_out.write_all(&buffer[..length]).is_err() {
                break;
            }
            taken.fetch_add(length, Ordering::SeqCst);
        }
        let _ = far_out.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut far_in, &mut near_out);
        let _ = near_out.shutdown(Shutdown::Both);
    });
}

/// A proxy between a client and the node.
struct Detour {
    address: String,
    /// Number of connections that came.
    came: Arc<AtomicUsize>,
    /// Bytes that the node's machine has accepted, read by the node or not.
    taken: Arc<AtomicUsize>,
}

/// Passes connections on to the node as long as it listens. Hangs up on the first `lost` connections as soon as they
/// send something.
fn detour(node: &Node, lost: usize) -> Detour {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound").to_string();
    let (came, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let detour = Detour { address, came: Arc::clone(&came), taken: Arc::clone(&taken) };
    let node = node.tcp.clone();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let mut near = near.expect("accepts");
            if came.fetch_add(1, Ordering::SeqCst) < lost {
                near.read_exact(&mut [0; 4]).expect("a word");
                continue;
            }
            let Ok(far) = TcpStream::connect(&node) else { break };
            pass_on(near, far, Arc::clone(&taken));
        }
    });
    detour
}

#[test]
fn a_connection_lost_before_anything_was_asked_is_made_again_and_what_is_asked_is_done_once() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let detour = detour(&node, 3);
    let flags = ["append", "-", "--json", "--node", &detour.address, "--secret-file", text(&node.secret)];
    let ended = cli.pipe(&flags, started("t").to_string().as_bytes());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(detour.came.load(Ordering::SeqCst), 4, "three that were lost, and one");
    assert_eq!(cli.json(&["events"])["events"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_call_gets_through_a_storm_of_local_connections() {
    let cli = Cli::new();
    let node = Node::start(&cli, &[]);
    let stop = AtomicBool::new(false);
    let storm = || {
        let mut open = std::collections::VecDeque::new();
        while !stop.load(Ordering::SeqCst) {
            open.extend(TcpStream::connect(&node.tcp));
            if open.len() > 400 {
                open.pop_front();
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(storm);
        scope.spawn(storm);
        let calls: Vec<Ended> =
            (0..15).map(|_| within(PATIENCE, cli.command(&[&["status"], &node.over_tcp()[..]].concat()))).collect();
        stop.store(true, Ordering::SeqCst);
        let failed: Vec<&str> = calls.iter().filter(|call| call.code != 0).map(|call| call.stderr.as_str()).collect();
        assert!(failed.is_empty(), "{} of {}: {}", failed.len(), calls.len(), failed.join("\n"));
    });
}

/// Returns an event so large that its ask cannot be taken for a heartbeat.
fn large_event() -> String {
    event(
        "t",
        1,
        "EntityObserved",
        json!({
            "entity": {"entity_type": "person", "entity_id": "p"}, "role": "related", "facts": ["p".repeat(20_000)],
        }),
    )
    .to_string()
}

fn category(ended: &Ended) -> (i32, String, String) {
    let error: Value = serde_json::from_str(&ended.stderr).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    let word = |name: &str| error["error"][name].as_str().expect(name).to_owned();
    (ended.code, word("category"), word("next"))
}

#[test]
fn a_change_under_way_when_the_node_is_killed_or_hangs_has_an_unknown_outcome() {
    for fault in ["KILL", "hang"] {
        let cli = Cli::new();
        let node = Node::start(&cli, &[]);
        let detour = detour(&node, 0);
        let (child, mut stdin) = appending(&cli, &node, &detour.address, if fault == "KILL" { "600" } else { "2" });
        node.signal("STOP");
        writeln!(stdin, "{}", large_event()).expect("writes");
        wait_until("the ask is on its way", || detour.taken.load(Ordering::SeqCst) > 20_000);
        if fault == "KILL" {
            node.signal("KILL");
        }
        let ended = ends_within(PATIENCE, child);
        let (code, category, next) = category(&ended);
        assert_eq!((code, category.as_str()), (9, "outcome_unknown"), "{fault}");
        assert!(next.contains("--request-id"), "{next}");
        if fault == "hang" {
            node.signal("CONT");
            // A request that was sent is carried out when the node continues. Offered again, its event is a repeat.
            let repeated = || cli.pipe(&["append", "-", "--json"], large_event().as_bytes()).verdicts();
            assert_eq!(repeated().1["refused"], 0);
            assert_eq!(cli.json(&["events"])["events"].as_array().map(Vec::len), Some(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_under_way_when_the_node_is_killed_is_unavailable_and_so_is_all_after_it() {
    let cli = Cli::new();
    let mut node = Node::start(&cli, &[]);
    let secret = Secret::from_file(&node.secret).expect("reads");
    let detour = detour(&node, 0);
    let target = Target::Tcp(detour.address.parse().expect("an address"), secret);
    let client = Client::connect(&target, &Versions::ours(), PATIENCE).await.expect("connects");
    let tenant = "t".repeat(100);
    let log = cli.file("log.jsonl", cli_support::trace("t").join("\n"));
    assert_eq!(cli.run(&["import", "--tenant", &tenant, text(&log)]).code, 0);
    let look = || EventsRequest {
        tenant: Some(TenantId::new(tenant.clone()).expect("a tenant")),
        limit: 10,
        ..EventsRequest::default()
    };
    client.ask(look(), Uuid::new_v4(), PATIENCE).await.expect("answers");
    node.signal("STOP");
    let before = detour.taken.load(Ordering::SeqCst);
    let asked = Instant::now();
    let asking = client.ask(look(), Uuid::new_v4(), Duration::from_secs(600));
    let killed = tokio::task::spawn_blocking(move || {
        wait_until("the ask is on its way", || detour.taken.load(Ordering::SeqCst) > before + 200);
        node.signal("KILL");
        node.ended()
    });
    let (answer, killed) = tokio::join!(asking, killed);
    assert_eq!(killed.expect("ends"), None);
    assert_eq!(answer.expect_err("no answer").category, Category::Unavailable);
    assert!(asked.elapsed() < PATIENCE);
    // Nothing was sent: even a change is known not to have happened.
    let change = CatchUpRequest(JobRequest::default());
    let error = client.ask(change, Uuid::new_v4(), PATIENCE).await.expect_err("nobody there");
    assert_eq!(error.category, Category::Unavailable);
}

/// The node dies between the two rows of a change. Its entry says so, also when the node lives again under its name.
#[test]
fn a_node_that_is_killed_in_a_change_leaves_an_entry_that_says_so() {
    let cli = Cli::filled(&cli_support::trace("t"));
    let mut node = Node::start_with(&cli, &[], &[("DECISIONGRAPH_CRASH_AT", "change.before_end")]);
    let pause = ["pause", "--projection", "trace_summary", "--reason", "look at it first", "--json"];
    let ended = within(PATIENCE, cli.command(&pause));
    assert_ne!(ended.code, 0, "{}", ended.stdout);
    assert_eq!(node.ended(), None, "killed");
    let _again = Node::start(&cli, &[]);
    let changes = cli.json(&["changes"]);
    let entry = &changes["changes"][0];
    assert_eq!((&entry["what"], &entry["lost"]), (&json!("pause"), &json!(true)), "{changes}");
    assert!(entry["outcome"].is_null() && entry["by"].as_str().is_some_and(|by| by.contains("uid ")), "{changes}");
    assert!(cli.run(&["changes"]).stdout.contains("no end: its process died before it"));
    assert_eq!(cli.json(&["changes", "--outcome", "none"])["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(cli.run(&["resume", "--projection", "trace_summary"]).code, 0, "the pause itself was carried out");
    let ended = cli.json(&["changes", "--limit", "1"]);
    assert_eq!((&ended["changes"][0]["outcome"], &ended["changes"][0]["door"]), (&json!("done"), &json!("socket")));
}
