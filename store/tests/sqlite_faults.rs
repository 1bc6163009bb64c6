//! Faults of a file: each is reported with its path, its category and the use of waiting, and leaves no half write.
//! Real files, real permissions, real processes.

#![cfg(all(feature = "sqlite", unix))]

use decisiongraph_projections::event::Line;
use decisiongraph_projections::{Admitted, Category, LogSeq, TenantId, validation};
use decisiongraph_store::{AppendMode, DatabaseUrl, PageLimit, Store, StoreError, StoreOptions, Verdict, launch, open};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Tells a child process of this test binary its part, and its file.
const PART: &str = "DECISIONGRAPH_TEST_PART";
const FILE: &str = "DECISIONGRAPH_TEST_FILE";

async fn opened(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    open(&DatabaseUrl::Sqlite(path.to_owned()), StoreOptions::default()).await
}

async fn migrated(path: &Path) -> Arc<dyn Store> {
    let store = opened(path).await.expect("a store");
    store.migrate().await.expect("a schema");
    store
}

fn started(trace: &str, padding: usize) -> Admitted {
    let line = format!(
        r#"{{"event_id":"{trace}/0","trace_id":"{trace}","trace_seq":0,"event_type":"TraceStarted","occurred_at":"2026-01-01T00:00:00Z","source":{{"producer_id":"p","system":"s"}},"actor":{{"actor_type":"agent","actor_id":"a"}},"idempotency_key":"{trace}","payload":{{"workflow":"w","title":"t","note":"{}","primary_entity":{{"entity_type":"a","entity_id":"1"}}}}}}"#,
        "x".repeat(padding)
    );
    validation::admit(Line::parse(&line).expect("a line").draft).expect("an event")
}

async fn append(store: &Arc<dyn Store>, events: &[Admitted]) -> Result<Vec<Verdict>, StoreError> {
    store.append(&TenantId::default(), events, AppendMode::AllOrNothing).await
}

async fn stored(store: &Arc<dyn Store>) -> u64 {
    let view = store.view().await.expect("a view");
    view.count_events(&TenantId::default(), LogSeq::ORIGIN, LogSeq(i64::MAX), u64::MAX >> 1).await.expect("a count")
}

fn is(error: &StoreError, category: Category, transient: bool, path: &Path, word: &str) {
    assert_eq!((error.category, error.transient), (category, transient), "{error}");
    assert!(error.message.contains(path.to_str().expect("UTF-8")), "the path is named: {error}");
    assert!(error.message.contains(word), "says {word:?}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database, but long enough to look for a header in it ".repeat(40)).expect("a file");
    let error = opened(&path).await.err().expect("refused");
    is(&error, Category::Storage, false, &path, "not a DecisionGraph database");
    assert!(std::fs::read_to_string(&path).expect("untouched").starts_with("not a database"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_cannot_be_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = opened(folder.path()).await.err().expect("it is a folder");
    is(&error, Category::Unavailable, false, folder.path(), "cannot be opened");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    let below = file.join("store.db");
    let error = opened(&below).await.err().expect("its folder is a file");
    is(&error, Category::Unavailable, false, &below, "cannot create its folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_made_only_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deeply/nested/store.db");
    let options = StoreOptions { create: false, ..StoreOptions::default() };
    let url = DatabaseUrl::Sqlite(path.clone());
    let error = open(&url, options.clone()).await.err().expect("there is none");
    is(&error, Category::Unavailable, false, &path, "no such database");
    assert!(!path.exists());
    migrated(&path).await;
    open(&url, options).await.expect("now there is one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_another_process_keeps() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    migrated(&path).await;
    let options = StoreOptions { statement_timeout: Duration::from_millis(100), ..StoreOptions::default() };
    let store = open(&DatabaseUrl::Sqlite(path.clone()), options).await.expect("a store");
    let other = rusqlite::Connection::open(&path).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let error = append(&store, &[started("t", 1)]).await.expect_err("locked");
    is(&error, Category::Storage, true, &path, "locked");
    // Readers are not held up.
    assert_eq!(stored(&store).await, 0);
    other.execute_batch("ROLLBACK").expect("free");
    append(&store, &[started("t", 1)]).await.expect("the same call succeeds later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_never_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = migrated(&path).await;
    append(&store, &[started("t", 1), started("u", 1)]).await.expect("stored");
    let other = rusqlite::Connection::open(&path).expect("the file");
    assert_eq!(other.execute("DELETE FROM dg_event_log WHERE trace_id = 'u'", []).expect("gone"), 1);
    assert_eq!(store.sample_high_water().await.expect("a sample").sequence, LogSeq(2), "what was drawn stays drawn");
    let verdicts = append(&store, &[started("v", 1)]).await.expect("stored");
    assert_eq!(verdicts, [Verdict::Accepted { log_seq: LogSeq(3), trace_seq: 0 }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_has_another_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let (first, second) = (migrated(&a).await, migrated(&b).await);
    let history = async |store: &Arc<dyn Store>| store.sample_high_water().await.expect("a sample").history;
    assert_ne!(history(&first).await, history(&second).await);
    drop((first, second));
    let before = history(&opened(&a).await.expect("a store")).await;
    let copy = folder.path().join("copy.db");
    std::fs::copy(&a, &copy).expect("a copy");
    std::fs::rename(&copy, &a).expect("put back from a backup");
    let after = history(&opened(&a).await.expect("a store")).await;
    assert_ne!(before, after, "a file put in its place is another history");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scratch_store_is_ready_to_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scratch.db");
    let store = decisiongraph_store::sqlite::scratch(&path).await.expect("a store");
    append(&store, &[started("t", 1)]).await.expect("stored");
    assert_eq!(stored(&store).await, 1);
    assert_eq!(store.address(), format!("sqlite:{}", path.display()));
}

// ── parts that need a process of their own ───────────────────────────────────────────────────────────────────────────

/// Runs [`child`] in a separate process; as the user `nobody` when this process is root (root may do anything to any
/// file).
fn child_process(part: &str, path: &Path) -> Command {
    // The user `nobody` may not read the build folder.
    let program = path.parent().expect("a folder").join("this-test");
    if !program.exists() {
        std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = launch::program(program);
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(PART, part).env(FILE, path);
    command.current_dir(path.parent().expect("a folder")).stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    let output = launch::program("id").arg("-u").output().expect("id");
    output.stdout.trim_ascii() == b"0"
}

fn succeeds(mut command: Command) {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// Plays the other process of the tests below; does nothing alone.
#[ignore = "a part of other tests"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(part) = std::env::var(PART) else { return };
    let path = PathBuf::from(std::env::var(FILE).expect("a file"));
    match part.as_str() {
        "read-only file" => {
            let store = opened(&path).await.expect("it can be read");
            assert_eq!(stored(&store).await, 1);
            let error = append(&store, &[started("u", 1)]).await.expect_err("it cannot be written");
            is(&error, Category::Storage, false, &path, "read-only");
        }
        "no permission" => {
            let error = opened(&path).await.err().expect("refused");
            is(&error, Category::Unavailable, false, &path, "permission");
        }
        "full disk" => {
            let store = opened(&path).await.expect("a store");
            let mut written = 1;
            let error = loop {
                match append(&store, &[started(&format!("t{written}"), 50_000)]).await {
                    Ok(_) => written += 1,
                    Err(error) => break error,
                }
                assert!(written < 10_000, "the disk is never full");
            };
            is(&error, Category::Storage, true, &path, "");
            assert_eq!(stored(&store).await, written, "nothing of the refused append is there");
        }
        "appender" => {
            let store = opened(&path).await.expect("a store");
            for number in 0..100 {
                append(&store, &[started(&format!("child-{number}"), 10)]).await.expect("stored");
            }
        }
        other => panic!("no such part: {other}"),
    }
}

/// Prepares a migrated file with one event, in its own folder that every user may enter.
async fn prepared(folder: &Path) -> PathBuf {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let path = folder.join("store.db");
    append(&migrated(&path).await, &[started("t", 1)]).await.expect("stored");
    path
}

fn as_nobody(mut command: Command) -> Command {
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = prepared(folder.path()).await;
    let mut command = child_process("read-only file", &path);
    // The folder is writable (SQLite keeps its shared index beside the file), the file is not.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("permissions");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).expect("permissions");
    command = as_nobody(command);
    succeeds(command);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_permission() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = prepared(folder.path()).await;
    let command = child_process("no permission", &path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("permissions");
    succeeds(as_nobody(command));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_leaves_no_half_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = prepared(folder.path()).await;
    let child = child_process("full disk", &path);
    // A limit on the size of a file stands for a full disk: it needs no rights. Its signal is ignored, so that the
    // write fails instead.
    let mut limited = launch::program("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"]).arg(child.get_program());
    limited.args(child.get_args()).current_dir(folder.path()).stdin(Stdio::null());
    for (name, value) in child.get_envs() {
        limited.env(name, value.expect("a value"));
    }
    succeeds(limited);
    // The file is sound, and can be written again.
    let store = opened(&path).await.expect("a store");
    append(&store, &[started("later", 1)]).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_write_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = prepared(folder.path()).await;
    let mut child = child_process("appender", &path).stdout(Stdio::null()).spawn().expect("a process");
    let store = opened(&path).await.expect("a store");
    for number in 0..100 {
        append(&store, &[started(&format!("parent-{number}"), 10)]).await.expect("stored");
    }
    assert!(child.wait().expect("its end").success());
    let view = store.view().await.expect("a view");
    let events = view
        .events(&TenantId::default(), LogSeq::ORIGIN, LogSeq(i64::MAX), PageLimit::rows(1_000))
        .await
        .expect("events")
        .items;
    let positions: Vec<i64> = events.iter().map(|event| event.log_seq.0).collect();
    assert_eq!(positions, (1..=201).collect::<Vec<i64>>(), "each once, without a gap");
}
