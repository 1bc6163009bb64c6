//! Producers in their own languages write to one trace through a node that is killed and restarted meanwhile: nothing
//! is lost, nothing is stored twice, and the numbers have no gap.

mod cli_support;
#[path = "http_producers/otel.rs"]
mod otel;
mod pages;

use cli_support::Cli;
use decisiongraph_store::launch;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const EACH: usize = 150;
const PATIENCE: Duration = Duration::from_secs(90);

/// A node, killed when it is dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the node, and waits until it is ready. Returns it with the URL of its interface.
fn node(cli: &Cli, listen: &str) -> (Node, String) {
    let mut node = cli
        .command(&["node", "--http-listen", listen, "--metrics-listen", "off", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the node starts");
    let mut lines = BufReader::new(node.stdout.take().expect("stdout")).lines();
    let mut url = None;
    for line in lines.by_ref() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        url = url.or_else(|| line["http"].as_str().map(str::to_owned));
        if line["state"] == "ready" {
            break;
        }
    }
    // The rest is read, so that the node never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (Node(node), url.expect("an address"))
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients")
}

/// Builds the TypeScript client in a folder of its own. Without npm it is left out, and the test says so.
fn typescript(folder: &Path) -> Option<PathBuf> {
    let source = clients().join("typescript");
    launch::program("npm").arg("--version").output().ok()?;
    for name in ["package.json", "tsconfig.json"] {
        std::fs::copy(source.join(name), folder.join(name)).expect(name);
    }
    let copied = launch::program("cp").arg("-R").arg(source.join("src")).arg(folder).status().expect("copies");
    assert!(copied.success());
    for arguments in [["install", "--no-audit", "--no-fund"], ["run", "build", "--silent"]] {
        let ran = launch::program("npm").args(arguments).current_dir(folder).output().expect("npm runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    Some(folder.join("dist/index.js"))
}

#[test]
fn producers_lose_nothing_and_double_nothing_while_their_node_is_killed() {
    let cli = Cli::new();
    let (mut running, url) = node(&cli, "127.0.0.1:0");
    let token = std::fs::read_to_string(cli.data_dir().join("http.token")).expect("the token").trim().to_owned();
    assert_eq!(cli.pipe(&["append", "-"], cli_support::started("shared").to_string().as_bytes()).code, 0);
    let spools = tempfile::tempdir().expect("a folder");
    let packages = tempfile::tempdir().expect("a folder");
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_support").join(name);
    let mut commands = Vec::new();
    for name in ["py-1", "py-2"] {
        let mut command = launch::program("python3");
        command.arg(script("producer.py")).arg(clients().join("python/src"));
        commands.push((name, command));
    }
    match typescript(packages.path()) {
        None => eprintln!("npm is not there: the TypeScript producer is left out"),
        Some(built) => {
            let mut command = launch::program("node");
            command.arg(script("producer.mjs")).arg(built);
            commands.push(("ts-1", command));
        }
    }
    let count = EACH.to_string();
    let names: Vec<&str> = commands.iter().map(|(name, _)| *name).collect();
    let producers: Vec<(&str, Child)> = commands
        .into_iter()
        .map(|(name, mut command)| {
            let spool = spools.path().join(name);
            command.args([url.as_str(), &token]).arg(&spool).args(["shared", name, &count]);
            (name, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(name))
        })
        .collect();
    // The node is killed twice while the producers record, and is away for a while each time.
    let address = url.strip_prefix("http://").expect("no TLS");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(700));
        drop(running);
        std::thread::sleep(Duration::from_millis(500));
        running = node(&cli, address).0;
    }
    for (name, producer) in producers {
        let ended = producer.wait_with_output().expect("ends");
        let told = String::from_utf8_lossy(&ended.stderr);
        let said = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(said.lines().last(), Some("sent"), "{name}: {said}\n{told}");
    }
    let end = Instant::now() + PATIENCE;
    let events = loop {
        let trace = cli.json(&["trace", "shared", "--limit", "1000"]);
        let events = trace["events"].as_array().expect("events").clone();
        if events.len() > names.len() * EACH || Instant::now() > end {
            break events;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let numbers: Vec<i64> = events.iter().filter_map(|event| event["trace_seq"].as_i64()).collect();
    assert_eq!(numbers, (0..=(names.len() * EACH) as i64).collect::<Vec<_>>(), "no gap");
    let mut expected = BTreeSet::new();
    for name in &names {
        expected.extend((0..EACH).map(|number| format!("{name}-{number}")));
    }
    let people: Vec<String> = events[1..]
        .iter()
        .map(|event| event["payload"]["entity"]["entity_id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(people.len(), expected.len(), "each once");
    assert_eq!(people.into_iter().collect::<BTreeSet<_>>(), expected);
    for name in &names {
        let left: Vec<_> = std::fs::read_dir(spools.path().join(name))
            .map(|files| files.filter_map(|file| Some((file.ok()?.path(), 0))).collect())
            .unwrap_or_default();
        for (path, _) in left {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(!text.contains(&json!(format!("{name}-0")).to_string()), "{} holds events", path.display());
        }
    }
    drop(running);
}

#[test]
fn the_readme_records_a_decision() {
    let cli = Cli::new();
    let (_running, url) = node(&cli, "127.0.0.1:0");
    let text = std::fs::read_to_string(pages::repository().join("README.md")).expect("the page");
    let blocks = pages::blocks(&text);
    let at = blocks.iter().position(|block| block.info == "python").expect("a program");
    let program = blocks[at].lines.join("\n");
    for shown in ["http://127.0.0.1:4100", "target/tour/http.token"] {
        assert!(program.contains(shown), "{shown}");
    }
    let program = program
        .replace("http://127.0.0.1:4100", &url)
        .replace("target/tour/http.token", &cli.data_dir().join("http.token").display().to_string());
    let ran = launch::program("python3")
        .args(["-c", &program])
        .env("PYTHONPATH", clients().join("python/src"))
        .env("DECISIONGRAPH_SPOOL_DIR", cli.path("spool"))
        .output()
        .expect("python3");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let commands = pages::commands(&blocks[at + 1]);
    let programs = Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a directory");
    let printed = pages::run(&commands, &cli, programs, None);
    let differences = pages::differences("README.md", &commands, &printed);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
