//! The files of the embedded store as an operator meets them. They are private from their first moment and refused
//! where other users may write. They are left alone once they are not the opened files any more.

mod cli_support;

use cli_support::node::{Node, applied, wait_until};
use cli_support::{Cli, text, trace};
use decisiongraph_store::launch::program;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("is there").permissions().mode() & 0o777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets");
}

/// Lists every file and directory below this one, itself included.
fn all(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        fs::read_dir(path).expect("lists").for_each(|entry| found.extend(all(&entry.expect("an entry").path())));
    }
    found
}

#[track_caller]
fn private(directory: &Path) {
    for path in all(directory) {
        let right = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), right, "{}", path.display());
    }
}

/// Runs the program in a shell that has set this umask.
fn under_umask(cli: &Cli, umask: &str, args: &[&str]) -> i32 {
    let command = cli.command(args);
    let mut shell = program("sh");
    shell
        .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.status().expect("starts").code().unwrap_or(-1)
}

#[test]
fn what_the_program_makes_is_its_users_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let cli = Cli::new();
        let log = cli.file("log.jsonl", trace("t").join("\n"));
        assert_eq!(under_umask(&cli, umask, &["import", text(&log)]), 0);
        private(&cli.data_dir());
        let named = format!("sqlite:{}", text(&cli.path("elsewhere/named.db")));
        assert_eq!(under_umask(&cli, umask, &["import", text(&log), "--database", &named]), 0);
        private(&cli.path("elsewhere"));
    }
    // A store of an earlier version, readable for all users.
    let cli = Cli::filled(&trace("t"));
    // Such a version had no seal.
    fs::remove_file(cli.data_dir().join("seal.key")).expect("removed");
    let _ = fs::remove_dir_all(cli.data_dir().join("seal"));
    all(&cli.data_dir()).iter().for_each(|path| set(path, if path.is_dir() { 0o755 } else { 0o644 }));
    let node = Node::start(&cli, &[]);
    applied(&cli);
    private(&cli.data_dir());
    drop(node);
}

#[test]
fn a_data_directory_that_others_may_write_is_refused_and_nobody_in_it_is_asked() {
    let cli = Cli::filled(&trace("t"));
    set(&cli.data_dir(), 0o777);
    // Write access there includes listening there.
    let stranger = UnixListener::bind(cli.data_dir().join("admin.sock")).expect("binds");
    stranger.set_nonblocking(true).expect("sets");
    for command in [&["status"][..], &["catch-up"], &["import", "-"], &["node"]] {
        let mut args = command.to_vec();
        args.push("--json");
        let ended = cli.run(&args);
        let message = ended.refused(2, "invalid_argument");
        assert!(message.contains("other users may put files into the data directory"), "{message}");
        assert!(ended.stderr.contains(&format!("chmod 700 {}", text(&cli.data_dir()))), "{}", ended.stderr);
    }
    assert!(stranger.accept().is_err(), "nobody was asked");
    set(&cli.data_dir(), 0o700);
    fs::remove_file(cli.data_dir().join("admin.sock")).expect("removes");
    // Links that were planted there before.
    let victim = cli.file("victim", "precious");
    for name in ["node.lock", "node.json", "decisiongraph.db-journal"] {
        symlink(&victim, cli.data_dir().join(name)).expect("plants");
        let message = cli.run(&["node", "--json"]).refused(2, "invalid_argument");
        assert!(message.contains("is a link"), "{message}");
        fs::remove_file(cli.data_dir().join(name)).expect("removes");
    }
    symlink(&victim, cli.data_dir().join("node.json.new")).expect("plants");
    drop(Node::start(&cli, &[]));
    assert_eq!(fs::read_to_string(&victim).expect("reads"), "precious");
}

/// Changes to the files under a running node: name, suffixes of the removed files, and a flag for a copy that takes the
/// place.
const CASES: [(&str, &[&str], bool); 4] = [
    ("a copy is moved over it", &[], true),
    ("a copy is moved over it, and its log is removed", &["-wal", "-shm"], true),
    ("all is removed", &["", "-wal", "-shm"], false),
    ("its log is removed", &["-wal", "-shm"], false),
];

#[test]
fn a_file_that_was_removed_or_replaced_under_a_node_is_not_written_to() {
    for (case, removed, replaced) in CASES {
        let cli = Cli::filled(&trace("before"));
        let node = Node::start(&cli, &[]);
        applied(&cli);
        let file = cli.data_dir().join("decisiongraph.db");
        let copy = cli.path("copy.db");
        let conn = rusqlite::Connection::open(&file).expect("opens");
        conn.execute("VACUUM INTO ?1", [text(&copy)]).expect("copies");
        drop(conn);
        for suffix in removed {
            fs::remove_file(format!("{}{suffix}", file.display())).expect("removes");
        }
        if replaced {
            fs::rename(&copy, &file).expect("replaces");
        }
        let refused = cli.pipe(&["append", "-", "--json"], trace("after").join("\n").as_bytes());
        assert_ne!(refused.code, 0, "{case}: {}", refused.stdout);
        assert!(!refused.stdout.contains("accepted\":3"), "{case}: {}", refused.stdout);
        wait_until("health is failed", || cli.run(&["health", "--json"]).code == 11);
        let health = cli.run(&["health"]);
        let told = ["while it was open, so nothing more is written", "next: stop every process that uses the file"];
        for part in told {
            assert!(health.stdout.contains(part), "{case}: {part}: {}", health.stdout);
        }
        let word = if replaced && removed.is_empty() { "replaced by another file" } else { "was " };
        assert!(health.stdout.contains(word), "{case}: {}", health.stdout);
        drop(node);
    }
}

/// Counts the events of a file that lies alone in a directory.
fn events_of(cli: &Cli, file: &Path, directory: &str) -> usize {
    let alone = cli.path(directory);
    fs::create_dir(&alone).expect("makes");
    fs::copy(file, alone.join("decisiongraph.db")).expect("copies");
    cli.json(&["events", "--data-dir", text(&alone)])["events"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_clean_stop_leaves_the_whole_log_in_the_one_file() {
    let cli = Cli::filled(&trace("by-commands"));
    let file = cli.data_dir().join("decisiongraph.db");
    assert_eq!(events_of(&cli, &file, "after-commands"), 3);
    let mut node = Node::start(&cli, &[]);
    assert_eq!(cli.pipe(&["append", "-"], trace("by-a-node").join("\n").as_bytes()).code, 0);
    applied(&cli);
    node.signal("TERM");
    assert_eq!(node.ended(), Some(0));
    assert_eq!(events_of(&cli, &file, "after-a-node"), 6);
    let log = fs::metadata(cli.data_dir().join("decisiongraph.db-wal")).map_or(0, |facts| facts.len());
    assert_eq!(log, 0, "nothing is left beside it");
}

#[test]
fn a_backup_is_whole_private_and_made_beside_a_running_node() {
    let cli = Cli::filled(&trace("before"));
    let (alone, beside) = (cli.path("alone.db"), cli.path("it's beside.db"));
    assert_eq!(cli.json(&["backup", text(&alone)])["events"], 3);
    let node = Node::start(&cli, &[]);
    assert_eq!(cli.pipe(&["append", "-"], trace("under-a-node").join("\n").as_bytes()).code, 0);
    applied(&cli);
    let told = cli.run(&["backup", text(&beside)]);
    assert!(told.stdout.contains("holds 6 events, up to log_seq 6"), "{}{}", told.stdout, told.stderr);
    assert_eq!((mode(&alone), mode(&beside)), (0o600, 0o600));
    for (args, part) in [
        (&["backup", text(&beside), "--json"][..], "is not overwritten"),
        (&["backup", "x.db", "--node", "127.0.0.1:1", "--json"], "on the machine that has the file"),
    ] {
        let message = cli.run(args).refused(2, "invalid_argument");
        assert!(message.contains(part), "{message}");
    }
    cli.run(&["backup", "/nowhere/at/all.db", "--json"]).refused(1, "storage");
    drop(node);
    // The copied file is a store like any other.
    fs::create_dir(cli.path("restored")).expect("makes");
    let restored = cli.path("restored");
    fs::rename(&beside, restored.join("decisiongraph.db")).expect("puts back");
    assert_eq!(cli.run(&["verify", "--data-dir", text(&restored)]).code, 0);
    assert_eq!(events_of(&cli, &alone, "the-first"), 3);
    assert!(
        all(cli.dir.path()).iter().all(|path| !text(path).contains(".decisiongraph-backup-")),
        "nothing is left over"
    );
}
