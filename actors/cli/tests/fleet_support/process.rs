//! A node process: the real binary, its arguments, its log, and its signals.

use super::proxy::Proxy;
use decisiongraph_store::launch;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Arguments and environment with which a node is started.
pub struct Order {
    pub name: String,
    pub data: PathBuf,
    pub url: String,
    pub flags: Vec<String>,
    pub variables: Vec<(String, String)>,
}

/// A node process. Killed when it is dropped.
pub struct NodeProcess {
    child: Child,
    order: Order,
    /// Proxy between the node and its database.
    pub proxy: Proxy,
    log: PathBuf,
    lives: u32,
    /// Incarnation in the database; that of the present process once it has joined.
    incarnation: Mutex<Option<String>>,
}

const FLAGS: &[&str] = &[
    "--lease-ms=2000",
    "--poll-ms=200",
    "--sweep-ms=1000",
    "--passivate-after-ms=2000",
    "--connect-timeout-ms=1000",
    "--retry-first-ms=10",
    "--retry-longest-ms=500",
    "--adopt-ms=500",
    "--batch-events-max=50",
    "--pool-size=4",
    "--writers=2",
    "--metrics-listen=off",
];

/// Returns the program with no environment of this machine.
pub fn program() -> Command {
    let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph"));
    command.stdin(Stdio::null());
    command
}

impl NodeProcess {
    pub fn start(order: Order, proxy: Proxy, directory: &Path) -> NodeProcess {
        let log = directory.join(format!("{}.log", order.name));
        let child = spawn(&order, &log);
        NodeProcess { child, order, proxy, log, lives: 1, incarnation: Mutex::default() }
    }

    /// Starts the next process of a node whose process has ended.
    pub fn restart(&mut self, fresh_directory: bool) {
        if fresh_directory {
            self.order.data = self.order.data.with_extension(format!("life{}", self.lives + 1));
        }
        // Variables of the first process do not apply to the next one.
        self.order.variables.clear();
        self.restart_as_ordered();
    }

    /// Starts the next process exactly as ordered.
    pub fn restart_as_ordered(&mut self) {
        let _ = self.child.wait();
        self.lives += 1;
        self.child = spawn(&self.order, &self.log);
    }

    /// Returns arguments and environment of the next process, to be changed.
    pub fn order(&mut self) -> &mut Order {
        &mut self.order
    }

    pub fn name(&self) -> &str {
        &self.order.name
    }

    /// Returns flags that lead a command to this node.
    pub fn address(&self) -> [String; 2] {
        ["--data-dir".to_owned(), self.order.data.display().to_string()]
    }

    /// Returns the node's answer to a command.
    pub fn ask(&self, args: &[&str]) -> String {
        let asked = program().args(args).args(self.address()).output().expect("starts");
        String::from_utf8_lossy(&asked.stdout).into_owned() + &String::from_utf8_lossy(&asked.stderr)
    }

    /// Returns the incarnation that was noted last.
    pub fn former(&self) -> Option<String> {
        self.incarnation.lock().expect("not poisoned").clone()
    }

    pub fn lives_as(&self, incarnation: &str) {
        *self.incarnation.lock().expect("not poisoned") = Some(incarnation.to_owned());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the length of the log, in bytes.
    pub fn logged(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |facts| facts.len())
    }

    /// Returns the part of the log after its first `bytes` bytes.
    pub fn log_behind(&self, bytes: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.log)
            && file.seek(SeekFrom::Start(bytes)).is_ok()
        {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends a signal: `KILL`, `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        launch::signal(self.child.id(), name).expect("sent");
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// True when the process is stopped after SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Returns the time that the threads ran, and the time that they were ready without a CPU. In seconds, as counted
    /// by the kernel.
    pub fn scheduled(&self) -> (f64, f64) {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        threads.fold((0.0, 0.0), |(ran, waited), thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let mut ns = text.split(' ').map(|number| number.parse().unwrap_or(0.0) / 1e9);
            (ran + ns.next().unwrap_or_default(), waited + ns.next().unwrap_or_default())
        })
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the process's end and returns its exit code.
    pub fn ended(&mut self, within: Duration) -> Option<i32> {
        let end = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            assert!(Instant::now() < end, "{} does not end:\n{}", self.order.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM if the process runs. It must end with exit code 0.
    pub fn stop_in_order(&mut self) {
        if self.is_running() {
            self.signal("TERM");
            let code = self.ended(Duration::from_secs(20));
            assert_eq!(code, Some(0), "{} did not drain:\n{}", self.order.name, self.log());
        }
    }
}

fn spawn(order: &Order, log: &Path) -> Child {
    let open = || std::fs::File::options().create(true).append(true).open(log).expect("a log");
    let mut command = program();
    command.args(["node", "--json", "--name", &order.name, "--database", &order.url, "--data-dir"]).arg(&order.data);
    let given = |flag: &&&str| !order.flags.iter().any(|own| own.split('=').next() == flag.split('=').next());
    command.args(FLAGS.iter().filter(given)).args(&order.flags).envs(order.variables.iter().map(|(k, v)| (k, v)));
    command.stdout(open()).stderr(open()).spawn().expect("starts")
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
