//! Memories of a sealed log: a takeover asks the journals of linked nodes, a lost journal stops the seal until an
//! operator trusts the database, and the window stays open until a place has the checkpoint. Real programs.

mod cli_support;
mod cluster_support;
mod pages;
mod seal_support;

use cli_support::node::{Node, applied_but_for_the_seal, wait_until};
use cli_support::{Cli, Ended, text, trace};
use cluster_support::{Authority, NAME as CERTIFIED, listening};
use seal_support::memory::heads_in;
use seal_support::{BOTH, Backend, Ground, LEAD, NAME, copy_folder, says};
use std::path::Path;

/// A node of a cluster, with a journal of its own and no place.
struct Member {
    cli: Cli,
    node: Option<Node>,
    environment: Vec<(String, String)>,
}

impl Member {
    /// Prepares a node on the database of `ground`, with the journal of `knows`.
    fn of(ground: &Ground, knows: &Ground) -> Member {
        let cli = Cli::new();
        std::fs::create_dir_all(cli.data_dir()).expect("a folder");
        copy_folder(&knows.cli.path("journal"), &cli.path("journal"));
        let seal = [
            ("KEY_FILE", ground.cli.path("seal.key").display().to_string()),
            ("NAME", NAME.to_owned()),
            ("DIR", cli.path("journal").display().to_string()),
            ("CHECKPOINT_MS", "100".to_owned()),
        ];
        let seal = seal.into_iter().map(|(name, value)| (format!("DECISIONGRAPH_SEAL_{name}"), value));
        Member { environment: seal.collect(), cli, node: None }
    }

    fn start(&mut self, ground: &Ground, authority: &Authority, name: &str) {
        let flags = listening(&authority.issue(name, CERTIFIED));
        let url = ground.url();
        let own = ["--database", &url, "--name", name, "--recheck-first-ms", "200", "--recheck-longest-ms", "500"];
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(own).collect();
        let environment: Vec<(&str, &str)> = self.environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.node = Some(Node::start_with(&self.cli, &flags, &environment));
    }

    /// Runs a command of the machine of this node, on the database itself.
    fn beside(&self, ground: &Ground, args: &[&str]) -> Ended {
        let mut command = self.cli.command(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).env("DATABASE_URL", ground.url());
        Ended::of(command.output().expect("starts"))
    }

    fn is_linked(&self) -> bool {
        self.cli.json(&["cluster"])["links"].as_array().is_some_and(|links| links.iter().any(|it| it["state"] == "up"))
    }
}

/// Two nodes without a common place. The one that signed runs, and does not own the tenant; the database was rewound.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_asks_the_journals_of_linked_nodes() {
    let (then, now) = Ground::sealed(Backend::Postgres).await;
    let authority = Authority::new();
    let (mut a, mut b) = (Member::of(&then, &now), Member::of(&then, &then));
    then.ok(&["pause", "--projection", "seal", "--reason", "until both run"]);
    a.start(&then, &authority, "a");
    b.start(&then, &authority, "b");
    wait_until("they are linked", || a.is_linked() && b.is_linked());
    assert_eq!(a.cli.run(&["drain", "a"]).code, 0);
    wait_until("the tenant is with b", || {
        let status = b.cli.json(&["status"]);
        status["scopes"].as_array().expect("a list").iter().all(|scope| scope["owner"] != "a")
    });
    then.import(LEAD);
    assert_eq!(b.cli.run(&["resume", "--projection", "seal", "--reason", "both run"]).code, 0);

    let line = "tree_shrunk: 60 events are sealed here, a checkpoint for 98 was signed at … (peer:a)";
    wait_until("the takeover found it", || b.cli.run(&["health"]).stdout.contains("tree_shrunk"));
    let health = b.cli.run(&["health"]);
    says(&health, 11, line, "health of b");
    says(
        &health,
        11,
        "next: … `decisiongraph seal fork --reason R --tenant default`; see the runbook's section …",
        "b",
    );
    let stopped = b.cli.run(&["seal", "now"]);
    says(&stopped, 3, line, "seal now");
    says(&stopped, 3, "… `decisiongraph seal fork --reason R --tenant default`; see the runbook's …", "its next step");
    applied_but_for_the_seal(&b.cli);
    assert_eq!(heads_in(&b.cli.path("journal")).len(), 1, "nothing is signed");
    assert_eq!(heads_in(&a.cli.path("journal")).len(), heads_in(&now.cli.path("journal")).len());

    // The fork note knows the head that only the peer remembers, and is where its answer says.
    let forked = b.cli.run(&["seal", "fork", "--tenant", "default", "--reason", "the events of July are lost"]);
    says(&forked, 0, "signed, and kept by: journal", "the fork");
    let journal = std::fs::read_to_string(origin_file(&b.cli.path("journal"))).expect("reads");
    let note = journal.lines().find(|line| line.contains("seal-fork/v1")).expect("a note of the fork");
    assert!(note.contains("\\n98 "), "it says how far the old tree was signed: {note}");
    wait_until("health is clear again", || b.cli.run(&["health"]).code != 11);

    // A rotation on one node is not one on the other.
    let file = then.cli.path("new.key");
    let rotated = a.beside(&then, &["seal", "key", "rotate", "--to", text(&file), "--reason", "yearly"]);
    says(&rotated, 0, "next: run this on every other node now, with the same file: it is one command per node…", "a");
    for cli in [&a.cli, &b.cli] {
        let status = cli.run(&["seal", "status"]);
        assert!(status.stdout.contains("not yet on: b; run `decisiongraph seal key rotate"), "{}", status.stdout);
    }
    let rotated = b.beside(&then, &["seal", "key", "rotate", "--to", text(&file), "--reason", "yearly"]);
    assert_eq!(rotated.code, 0, "{}{}", rotated.stdout, rotated.stderr);
    assert!(a.cli.json(&["seal", "status"])["without_rotation"].is_null());

    // A peer that is gone is named, and blocks nothing.
    drop(a.node.take());
    then.import(&LEAD.replace("lead-17", "lead-18"));
    wait_until("b goes on without it", || {
        b.cli.json(&["seal", "status"])["seals"][0]["signed"]["size"].as_u64() == Some(62)
    });
}

/// File of the first tree's notes in a journal.
fn origin_file(journal: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(journal).expect("reads").map(|entry| entry.expect("an entry").path());
    let mut notes = files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    let own = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        !name.contains('~') && name != "rotations"
    };
    notes.find(own).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_journal_stops_the_seal_until_an_operator_trusts_the_database() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, ground) = Ground::sealed(backend).await;
        std::fs::remove_dir_all(ground.cli.path("journal")).expect("removes");
        let without_places = |args: &[&str]| ground.run_with(args, "DECISIONGRAPH_SEAL_PLACES", "");
        ground.import(&LEAD.replace("lead-17", "lead-18"));
        let stopped = without_places(&["seal", "now"]);
        says(&stopped, 4, "no memory of the seal outside the database answered with a checkpoint …", &about);
        let next = "`decisiongraph seal init --trust-database --reason R --tenant default`";
        assert!(stopped.stderr.contains(next), "{about}: {}", stopped.stderr);
        let node = ground.node(&[("DECISIONGRAPH_SEAL_PLACES", "")]);
        ground.import(&LEAD.replace("lead-17", "lead-19"));
        applied_but_for_the_seal(&ground.cli);
        wait_until("health says so", || ground.cli.run(&["health"]).stdout.contains(next));
        assert_eq!(ground.cli.json(&["seal", "status"])["seals"][0]["size"], 98, "{about}: nothing is sealed");
        assert!(heads_in(&ground.cli.path("journal")).is_empty(), "{about}: nothing is signed");

        let reason = "the volume of the journal is gone";
        let trusted = ground.cli.run(&["seal", "init", "--tenant", "default", "--trust-database", "--reason", reason]);
        says(&trusted, 0, "signed, and kept by: journal", &about);
        wait_until("the seal continues", || {
            ground.cli.json(&["seal", "status"])["seals"][0]["signed"]["size"].as_u64() == Some(100)
        });
        wait_until("health is clear again", || ground.cli.run(&["health"]).code == 0);
        let changes = ground.cli.json(&["changes"]);
        let changes = changes["changes"].as_array().expect("a list");
        assert!(changes.iter().any(|it| it["what"] == "seal_init" && it["reason"] == reason), "{about}: {changes:?}");
        drop(node);
        says(&without_places(&["verify", "--log-only"]), 0, "", &about);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_open_until_a_place_has_the_checkpoint() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, ground) = Ground::sealed(backend).await;
        let node = ground.node(&[("DECISIONGRAPH_SEAL_WINDOW_MAX_S", "1")]);
        // The disk of the place is full.
        let file = origin_file(&ground.cli.path("place"));
        let kept = ground.cli.path("kept.jsonl");
        std::fs::rename(&file, &kept).expect("moves");
        std::os::unix::fs::symlink("/dev/full", &file).expect("made");
        ground.import(&trace("in-the-window").join("\n"));
        let is_signed = || heads_in(&ground.cli.path("journal")).iter().any(|head| head.head.size > 98);
        wait_until("the journal has it", is_signed);
        // Signed: what is open is the way to the place.
        let window = |code: i32| {
            let health = ground.run(&["health"]);
            health.code == code && health.stdout.contains("seal: the window is")
        };
        wait_until("health is degraded", || window(10));
        ground.import(&trace("goes-on").join("\n"));
        applied_but_for_the_seal(&ground.cli);
        let status = ground.run(&["seal", "status", "--json"]).json();
        assert!(status["seals"][0]["window_seconds"].as_f64().is_some_and(|open| open > 1.0), "{about}: {status}");
        wait_until("health is failed", || window(11));
        std::fs::remove_file(&file).expect("removes");
        std::fs::rename(&kept, &file).expect("moves");
        wait_until("health is clear again", || ground.run(&["health"]).code == 0);
        drop(node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_hangs_keeps_the_window_open_and_appends_go_on() {
    let ground = Ground::new(Backend::Sqlite).await;
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let place = format!("https://localhost:{}/x", listener.local_addr().expect("an address").port());
    let more = [("DECISIONGRAPH_SEAL_PLACES", &*place), ("DECISIONGRAPH_SEAL_WINDOW_MAX_S", "1")];
    let node = ground.node(&more);
    ground.import(&trace("in-the-window").join("\n"));
    wait_until("the journal has it", || !heads_in(&ground.cli.path("journal")).is_empty());
    wait_until("health says that the window is open", || {
        let health = ground.cli.run(&["health"]);
        [10, 11].contains(&health.code) && health.stdout.contains("seal: the window is")
    });
    ground.import(&trace("goes-on").join("\n"));
    applied_but_for_the_seal(&ground.cli);
    wait_until("signatures go on", || heads_in(&ground.cli.path("journal")).iter().any(|head| head.head.size == 6));
    drop(node);
    drop(listener);
}

/// An answer says where a note is, and is not ahead of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_says_who_has_its_note() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, now) = Ground::sealed(backend).await;
        then.remember(&now);
        let forked = then.ok(&["seal", "fork", "--tenant", "default", "--reason", "a test"]);
        says(&forked, 0, "signed, and kept by: journal, dir:…/place", &about);
        let notes = std::fs::read_to_string(origin_file(&then.cli.path("place"))).expect("reads");
        assert!(notes.contains("seal-fork/v1"), "{about}: it is there: {notes}");

        let (then, now) = Ground::sealed(backend).await;
        then.remember(&now);
        std::fs::rename(then.cli.path("place"), then.cli.path("away")).expect("moves");
        let forked = then.ok(&["seal", "fork", "--tenant", "default", "--reason", "a test"]);
        says(&forked, 0, "signed, and kept by: journal", &about);
        says(&forked, 0, "not in dir:…/place: …", &about);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_that_nothing_is_sealed_and_stays_ok() {
    for backend in BOTH {
        let ground = Ground::new(backend).await;
        let line =
            "ok seal: nothing is sealed, so an edit of the log is not noticed: no key is configured (seal_key_file)";
        // A named database, without the variables of the seal.
        let url = ground.url();
        let bare =
            |args: &[&str]| Ended::of(ground.cli.command(args).env("DATABASE_URL", &url).output().expect("starts"));
        let file = ground.cli.file("lead.jsonl", LEAD);
        assert_eq!(bare(&["import", text(&file)]).code, 0);
        assert_eq!(bare(&["catch-up"]).code, 0);
        let is_ok = |ended: &Ended| {
            says(ended, 0, line, &format!("{backend:?}"));
            assert_eq!(ended.stdout.lines().count(), 2, "{}", ended.stdout);
            assert!(ended.stdout.starts_with("ok ("), "{}", ended.stdout);
        };
        is_ok(&bare(&["health"]));
        // So does the status, in one line, and where other facts are as they are.
        let said = line.trim_start_matches("ok seal: ");
        let status = bare(&["status"]);
        let lines = status.stdout.lines().filter(|line| *line == format!("seal: {said}")).count();
        assert_eq!((status.code, lines), (0, 1), "{backend:?}: {}{}", status.stdout, status.stderr);
        assert_eq!(bare(&["status", "--json"]).json()["unsealed"], said, "{backend:?}");
        let health = bare(&["health", "--json"]).json();
        assert_eq!((&health["health"], &health["findings"][0]["health"]), (&"ok".into(), &"ok".into()));
        if backend == Backend::Postgres {
            let node = Node::start(&ground.cli, &["--database", &url]);
            wait_until("it is well", || ground.cli.run(&["health"]).code == 0);
            is_ok(&ground.cli.run(&["health"]));
            drop(node);
        }
    }
}
