//! A real node process, and the signals that a test sends to it.

use super::{Cli, Ended, text};
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::Database;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a condition of a test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A node in a test's data directory, on its socket and on TCP. Killed when it is dropped.
pub struct Node {
    child: Child,
    pub name: String,
    pub tcp: String,
    /// Address for other machines, if the node listens for them.
    pub cluster: Option<String>,
    /// Address of the HTTP pages, `HOST:PORT`, if the node serves them.
    pub pages: Option<String>,
    /// Address of the HTTP interface, `HOST:PORT`, if the node serves it over TCP.
    pub http: Option<String>,
    pub socket: PathBuf,
    pub secret: PathBuf,
}

impl Node {
    /// Starts a node and waits until it answers from its database. The node's log is in the test's directory.
    pub fn start(cli: &Cli, args: &[&str]) -> Node {
        Node::start_with(cli, args, &[])
    }

    /// Starts a node with these variables in its environment.
    pub fn start_with(cli: &Cli, args: &[&str], environment: &[(&str, &str)]) -> Node {
        let secret = secret_file(cli, "secret", "correct horse battery staple brick");
        let mut all = vec!["node", "--json", "--listen", "127.0.0.1:0"];
        if !args.contains(&"--secret-file") {
            all.extend(["--secret-file", text(&secret)]);
        }
        if !args.contains(&"--http-listen") {
            all.extend(["--http-listen", "127.0.0.1:0"]);
        }
        all.extend_from_slice(args);
        // A node held to another protocol version is asked in that version.
        let spoken = args.iter().position(|arg| *arg == "--protocol-version").map(|at| &args[at..at + 2]);
        let spoken = spoken.unwrap_or_default();
        let mut child = {
            let log = std::fs::File::create(cli.path("node.log")).expect("makes");
            cli.command(&all)
                .envs(environment.iter().copied())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .expect("starts")
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("reads");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let word = |name: &str| ready[name].as_str().expect(name).to_owned();
        let cluster = ready["cluster"].as_str().map(str::to_owned);
        let place = |name: &str| ready[name].as_str().and_then(|url| url.split('/').nth(2)).map(str::to_owned);
        let (pages, http) = (place("metrics"), place("http"));
        let address = format!("unix:{}", word("socket"));
        wait_until("the node has its database", || {
            cli.run(&[&["status", "--node", &address], spoken].concat()).code == 0
        });
        Node {
            child,
            name: word("node"),
            tcp: word("tcp"),
            cluster,
            pages,
            http,
            socket: word("socket").into(),
            secret,
        }
    }

    /// Returns flags that lead a command to the node over TCP.
    pub fn over_tcp(&self) -> [&str; 4] {
        ["--node", &self.tcp, "--secret-file", text(&self.secret)]
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the ports that the node was configured to listen on.
    pub fn configured_ports(&self) -> BTreeSet<u16> {
        let others = [&self.cluster, &self.pages, &self.http].into_iter().flatten();
        others.chain([&self.tcp]).map(|at| port(at)).collect()
    }

    /// Sends a signal: `KILL`, `STOP`, `CONT`, `TERM`. After `STOP`, waits until every thread stands still: the system
    /// stops them one after the other.
    pub fn signal(&self, name: &str) {
        launch::signal(self.child.id(), name).expect("sent");
        if name == "STOP" {
            wait_until("every thread of the node stands still", || stands_still(self.child.id()));
        }
    }

    /// Waits for the node's end and returns its exit code; none when a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().expect("ends").code()
    }
}

/// True when the system shows every thread of a process as stopped.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of a process");
    let states = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("stat")));
    // The state stands behind the name, which may hold anything.
    states.flatten().all(|stat| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T')))
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until every stored event is applied.
pub fn applied(cli: &Cli) {
    wait_until("every scope is current", || {
        let status = cli.json(&["status"]);
        let scopes = status["scopes"].as_array().expect("a list");
        !scopes.is_empty() && scopes.iter().all(|scope| scope["cursor"] == scope["last_log_seq"])
    });
}

/// Waits until every stored event is applied by every projection, whatever becomes of the seal.
pub fn applied_but_for_the_seal(cli: &Cli) {
    wait_until("every projection is current", || {
        let status = cli.json(&["status"]);
        let scopes = status["scopes"].as_array().expect("a list");
        let mut projections = scopes.iter().filter(|scope| scope["projection"] != "seal").peekable();
        projections.peek().is_some() && projections.all(|scope| scope["cursor"] == scope["last_log_seq"])
    });
}

/// Fills a store whose second event no projection can apply. No node may run on it yet.
pub fn poisoned(cli: &Cli) {
    assert_eq!(cli.pipe(&["import", "-"], super::trace("t").join("\n").as_bytes()).code, 0);
    let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
    let tampered = store.execute("UPDATE dg_event_log SET payload = '{\"x\":1}' WHERE log_seq = 2", []);
    assert_eq!(tampered.expect("writes"), 1);
}

/// Changes the last event of this tenant so that no projection can apply it. No node may run on the store yet.
pub async fn poisoned_tenant(cli: &Cli, database: Option<&Database>, tenant: &str) {
    let tampered = "UPDATE dg_event_log SET payload = '{\"x\":1}' \
                    WHERE log_seq = (SELECT max(log_seq) FROM dg_event_log WHERE tenant_id = 'TENANT')"
        .replace("TENANT", &tenant.replace('\'', "''"));
    let Some(database) = database else {
        let store = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
        assert_eq!(store.execute(&tampered, []).expect("writes"), 1);
        return;
    };
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    assert_eq!(client.execute(&tampered, &[]).await.expect("writes"), 1);
}

/// Writes a secret to a file that only this user may read.
pub fn secret_file(cli: &Cli, name: &str, secret: &str) -> PathBuf {
    let path = cli.file(name, secret);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets");
    path
}

/// Waits for a condition of the system that no signal announces.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// Returns the port of an address.
fn port(address: &str) -> u16 {
    address.rsplit_once(':').expect("a port").1.parse().expect("a number")
}

/// Returns the TCP ports on which a process listens now, as reported by the kernel.
pub fn listening_ports(pid: u32) -> BTreeSet<u16> {
    let of_process: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("Linux")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // State 0A is LISTEN.
        (*fields.get(3)? == "0A" && of_process.contains(*fields.get(9)?)).then_some(*fields.get(1)?)
    });
    sockets.map(|local| u16::from_str_radix(local.rsplit_once(':').expect("a port").1, 16).expect("a port")).collect()
}

/// Returns the resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

/// Runs the command. Kills it and fails the test when it does not end in time.
pub fn within(limit: Duration, mut command: Command) -> Ended {
    ends_within(limit, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"))
}

/// Waits for the child's end. Kills it and fails the test when it does not end in time.
pub fn ends_within(limit: Duration, child: Child) -> Ended {
    let pid = child.id();
    let (sender, output) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match output.recv_timeout(limit) {
        Ok(output) => Ended::of(output.expect("ends")),
        Err(_) => {
            let _ = launch::signal(pid, "KILL");
            panic!("no end within {limit:?}");
        }
    }
}
