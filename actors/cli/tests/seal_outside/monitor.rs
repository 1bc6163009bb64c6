//! A monitor that watches: its page of metrics, a log with two histories, and a head that gets old.

use crate::cli_support::node::wait_until;
use crate::cli_support::{enterprise, text};
use crate::seal_support::{ALL, BOTH, Backend, FIRST, Ground, LEAD, copy_folder, says};
use crate::{key_of, page};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

/// A monitor that runs, killed when it is dropped.
struct Watching {
    child: Child,
    address: String,
}

impl Watching {
    fn start(ground: &Ground, source: &str) -> Watching {
        let (key, state) = (key_of(ground), ground.cli.path("watched.jsonl"));
        let args = ["monitor", source, "--key", &key, "--state", text(&state), "--every", "1"];
        let mut command = ground.cli.command(&[&args[..], &["--metrics", "127.0.0.1:0", "--json"]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("reads");
        let address = line.split('/').nth(2).unwrap_or_else(|| panic!("no address: {line}")).to_owned();
        Watching { child, address }
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let (status, page) = page(&self.address, "/metrics", None);
        assert_eq!(status, 200, "{page}");
        let line = page.lines().find(|line| {
            let (series, labels) = (name.split('{').next().unwrap_or(name), name.split('{').nth(1));
            let is_named = line.split('{').next() == Some(&format!("decisiongraph_monitor_{series}"));
            is_named && labels.is_none_or(|label| line.contains(label))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_monitor_shows_size_age_and_findings() {
    let (then, now) = Ground::sealed(Backend::Sqlite).await;
    let watched = now.cli.path("watched");
    copy_folder(&then.cli.path("place"), &watched);
    let source = format!("dir:{}", watched.display());
    let monitor = Watching::start(&now, &source);
    let at = |name: &str, value: f64| wait_until(name, || monitor.metric(name) == Some(value));
    at("checkpoint_size", FIRST as f64);
    at("findings{word=\"tree_shrunk\"", 0.0);
    assert_eq!(page(&monitor.address, "/readyz", None).0, 200);
    assert!(monitor.metric("checkpoint_age_seconds").is_some_and(|age| age < 600.0));
    let verified = monitor.metric("verified_timestamp_seconds").expect("a time");
    wait_until("it looks again", || monitor.metric("verified_timestamp_seconds").is_some_and(|at| at > verified));
    let origin = key_of(&now).split('+').next().expect("a name").to_owned();
    assert!(page(&monitor.address, "/metrics", None).1.contains(&format!("origin=\"{origin}\"")));

    let replace = |by: &Ground| {
        std::fs::remove_dir_all(&watched).expect("removes");
        copy_folder(&by.cli.path("place"), &watched);
    };
    replace(&now);
    at("checkpoint_size", ALL as f64);
    // The log is cut off. The monitor goes on, and says so until it has it again.
    replace(&then);
    at("findings{word=\"tree_shrunk\"", 1.0);
    let (status, body) = page(&monitor.address, "/readyz", None);
    assert!(status == 503 && body.contains("tree_shrunk"), "{status} {body}");
    at("checkpoint_size", ALL as f64);
    let verified = monitor.metric("verified_timestamp_seconds");
    let looked = monitor.metric("looked_timestamp_seconds").expect("a time");
    wait_until("it looks again", || monitor.metric("looked_timestamp_seconds").is_some_and(|at| at > looked));
    assert_eq!(monitor.metric("verified_timestamp_seconds"), verified, "a finding is no verification");
    replace(&now);
    at("findings{word=\"tree_shrunk\"", 0.0);
    wait_until("it is ready", || page(&monitor.address, "/readyz", None).0 == 200);
}

#[test]
fn a_page_of_metrics_is_for_a_monitor_that_goes_on() {
    let cli = crate::cli_support::Cli::new();
    let key = "log.example/x+00000000+AQ==";
    let args = ["monitor", "dir:.", "--key", key, "--state", "s", "--once", "--metrics", "127.0.0.1:0"];
    assert_eq!(cli.run(&args).code, 2);
    let args = ["monitor", "dir:.", "--key", key, "--state", "s", "--replay", "export.jsonl"];
    assert_eq!(cli.run(&args).code, 2, "a replay is done once");
}

/// A wrong path, layout or key must not look like a log that has no checkpoint yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_this_log_says_what_it_has_instead() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let (key, place) = (key_of(&ground), ground.cli.path("place"));
    let watch = |source: &str, key: &str| {
        ground.cli.run(&["monitor", source, "--key", key, "--state", text(&ground.cli.path("new.jsonl")), "--once"])
    };
    let of = |kind: &str, name: &str| format!("{kind}:{}", ground.cli.path(name).display());
    let empty = ground.cli.path("empty");
    std::fs::create_dir(&empty).expect("a folder");
    for kind in ["dir", "objects"] {
        says(&watch(&of(kind, "empty"), &key), 10, "there is no checkpoint of this log yet", kind);
        let gone = watch(&of(kind, "gone"), &key);
        assert!(gone.code == 2 && gone.stderr.contains("cannot read the folder"), "{}", gone.stderr);
    }
    says(&watch(&of("objects", "place"), &key), 2, "the folder has the other layout: name dir:", "objects");
    let file = std::fs::read_dir(&place).expect("reads").next().expect("a file").expect("one").path();
    for source in [text(&file).to_owned(), format!("dir:{}", file.display())] {
        let refused = watch(&source, &key);
        assert!(refused.code == 2 && refused.stderr.contains("is a file"), "{}", refused.stderr);
    }
    let seed = decisiongraph_seal::key::SigningKey::of_seed("other.example", &[9; 32]).expect("a key");
    let (origin, tag) = key.split('+').next().and_then(|origin| origin.split_once('/')).expect("a name");
    let same_tag = seed.verifier(&format!("other.example/{tag}")).to_string();
    says(&watch(&of("dir", "place"), &same_tag), 2, &format!("it has notes of {origin}/{tag}, not of"), "another name");
    let other = seed.verifier("other.example/log").to_string();
    says(&watch(&of("dir", "place"), &other), 2, &format!("there is {tag}.jsonl instead"), "another log");
    says(&watch(&of("dir", "place"), &key), 0, &format!("checkpoint: {ALL} events"), "the log");
}

/// Experiment 17: who has the key, and signs a second history, does not deceive a monitor that has seen the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_thiefs_fork_is_found_by_a_monitor() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, now) = Ground::sealed(backend).await;
        let (key, state) = (key_of(&now), now.cli.path("heads.jsonl"));
        let watch = |source: &str| now.cli.run(&["monitor", source, "--key", &key, "--state", text(&state), "--once"]);
        says(&watch(&now.url()), 0, &format!("checkpoint: {ALL} events"), &about);

        // The thief's copy has no memory: it signs another history up to the same size.
        let thief = then.copy_database().await;
        let log = std::fs::read_to_string(enterprise()).expect("the log");
        thief.import(&log.lines().skip(FIRST).collect::<Vec<_>>().join("\n"));
        thief.import(&LEAD.replace("lead-17", "lead-18"));
        thief.ok(&["seal", "init", "--tenant", "default", "--trust-database", "--reason", "a theft"]);
        thief.ok(&["seal", "now"]);
        let line = format!("checkpoint_differs: two roots for {ALL} events, both signed: the log has been forked");
        let place = format!("dir:{}", thief.cli.path("place").display());
        for source in [thief.url(), place] {
            says(&watch(&source), 3, &line, &format!("{about} {source}"));
        }
        // A longer one does not begin with what was seen.
        thief.import(&LEAD.replace("lead-17", "lead-19"));
        thief.ok(&["seal", "now"]);
        says(&watch(&thief.url()), 3, "checkpoint_differs", &about);
        says(&watch(&now.url()), 0, &format!("checkpoint: {ALL} events"), &about);
    }
}

/// Experiment 23, outside: whatever stops the seal, the newest head gets old in the place.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_older_than_the_limit_is_reported() {
    let ground = Ground::new(Backend::Sqlite).await;
    let node = ground.node(&[]);
    let socket = crate::seal_support::text_of_socket(&node);
    ground.import(LEAD);
    ground.ok(&["seal", "now", "--node", &socket]);
    let (key, source) = (key_of(&ground), format!("dir:{}", ground.cli.path("place").display()));
    let watch = |state: &str| {
        let state = ground.cli.path(state);
        let args = ["monitor", &source, "--key", &key, "--state", text(&state), "--once", "--max-age", "60"];
        ground.cli.run(&args)
    };
    says(&watch("young.jsonl"), 0, "checkpoint: 1 events", "a young head");
    // The scope is paused: events go on, and no head comes.
    let pause = ["pause", "--projection", "seal", "--tenant", "default", "--reason", "a test", "--node", &socket];
    ground.ok(&pause);
    ground.import(&LEAD.replace("lead-17", "lead-18"));
    crate::cli_support::node::applied_but_for_the_seal(&ground.cli);
    // The times of a place are under no signature: the head is made older.
    let file = std::fs::read_dir(ground.cli.path("place")).expect("reads").next().expect("a file").expect("one").path();
    let lines = std::fs::read_to_string(&file).expect("reads");
    let aged: Vec<String> = lines.lines().map(aged).collect();
    std::fs::write(&file, aged.join("\n") + "\n").expect("writes");
    let old = watch("old.jsonl");
    says(&old, 10, "old: the newest checkpoint is … days old", "an old head");
    // A monitor that has seen it keeps the older of both times.
    std::fs::write(&file, lines).expect("writes");
    assert_eq!(watch("young.jsonl").code, 0);
}

/// Makes a line of a place older.
fn aged(line: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(line).expect("a line");
    value["at"] = "2026-01-01T00:00:00Z".into();
    value.to_string()
}
