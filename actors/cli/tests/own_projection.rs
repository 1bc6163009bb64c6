//! The guide that adds a projection, followed: its files are created, its edit is made, the program is built, and its
//! commands print what the page shows, on both backends.
//!
//! The build is a copy of the sources in the target directory. It takes the libraries of others that are built there
//! already. A later run builds only what changed since.

mod cli_support;
mod pages;

use cli_support::{Cli, Ended, enterprise, text};
use decisiongraph_store::launch::program;
use decisiongraph_store::throwaway;
use pages::{Block, Command, blocks, commands, repository};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokio_postgres::{NoTls, SimpleQueryMessage};

const GUIDE: &str = "docs/guide/YOUR_OWN_PROJECTION.md";
/// Parts of the repository that a build needs.
const SOURCES: [&str; 8] =
    [".cargo", "Cargo.lock", "Cargo.toml", "actors", "migrations", "parity", "projections", "store"];
/// Folders without sources of the program.
const LEFT_OUT: [&str; 2] = ["parity/fixtures", "parity/fuzz"];
/// A smaller file is copied instead of linked: cargo may write to it.
const LINKED_FROM_BYTES: u64 = 64 * 1024;

fn guide() -> String {
    fs::read_to_string(repository().join(GUIDE)).expect("the guide")
}

/// Files that the guide creates or edits, with their new content.
fn places(guide: &str) -> BTreeMap<PathBuf, String> {
    let mut places: BTreeMap<PathBuf, String> = BTreeMap::new();
    for Block { line, info, lines } in blocks(guide) {
        let Some((language, path)) = info.split_once(' ').filter(|(_, path)| path.contains('/')) else { continue };
        let stored = fs::read_to_string(repository().join(path));
        let content = match language {
            "diff" => {
                let edited = places.get(Path::new(path)).cloned().or(stored.ok());
                let part = |left_out: char| -> String {
                    let kept = lines.iter().filter(|line| !line.starts_with(left_out));
                    kept.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
                };
                let edited = edited.unwrap_or_else(|| panic!("line {line}: there is no {path}"));
                assert_eq!(edited.matches(&part('+')).count(), 1, "line {line}: {path} has these lines once");
                edited.replace(&part('+'), &part('-'))
            }
            _ => {
                assert!(stored.is_err(), "line {line}: {path} is there already");
                lines.join("\n") + "\n"
            }
        };
        places.insert(path.into(), content);
    }
    places
}

/// Collects the files below a path of the repository.
fn collect(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let at = repository().join(path);
    if at.is_file() {
        files.insert(path.to_owned(), fs::read(at).expect("readable"));
    } else if !path.ends_with("target") && LEFT_OUT.iter().all(|left_out| path != Path::new(left_out)) {
        for entry in fs::read_dir(at).expect("readable") {
            collect(&path.join(entry.expect("an entry").file_name()), files);
        }
    }
}

/// Lists the files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

/// Makes a folder hold these files and no others. A file that is right already keeps its time.
fn hold(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in below(folder) {
        if !files.contains_key(path.strip_prefix(folder).expect("below")) {
            fs::remove_file(path).expect("removable");
        }
    }
    for (path, content) in files {
        let path = folder.join(path);
        if fs::read(&path).ok().as_ref() != Some(content) {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("writable");
        }
    }
}

/// Takes what cargo has built of others' libraries.
fn take_libraries(from: &Path, to: &Path) {
    for part in [".fingerprint", "build", "deps"] {
        for entry in fs::read_dir(from.join(part)).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_library = part != "deps" || [".rlib", ".rmeta", ".so"].iter().any(|end| name.ends_with(end));
            if !name.contains("decisiongraph") && is_library {
                let files = if path.is_dir() { below(&path) } else { vec![path] };
                files.iter().for_each(|file| take(file, &to.join(file.strip_prefix(from).expect("below"))));
            }
        }
    }
}

fn take(file: &Path, to: &Path) {
    // Another build may be removing it.
    let Ok(known) = fs::metadata(file) else { return };
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    if known.len() >= LINKED_FROM_BYTES && fs::hard_link(file, to).is_ok() {
        return;
    }
    if fs::copy(file, to).is_ok() {
        let copy = File::options().append(true).open(to).expect("opens");
        copy.set_modified(known.modified().expect("a time")).expect("a time");
    }
}

/// Builds the program that the guide leads to, once, and returns its folder.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let here = Path::new(env!("CARGO_BIN_EXE_decisiongraph")).parent().expect("a folder").to_owned();
        let folder = here.parent().expect("the target directory").join("own-projection");
        let (sources, target) = (folder.join("sources"), folder.join("target"));
        let mut files = BTreeMap::new();
        SOURCES.iter().for_each(|path| collect(Path::new(path), &mut files));
        files.extend(places(&guide()).into_iter().map(|(path, content)| (path, content.into_bytes())));
        hold(&sources, &files);
        if !target.exists() {
            take_libraries(&here, &target.join("debug"));
        }
        // Behind the tests beside it, of which some wait for a time.
        let mut cargo = program("nice");
        cargo.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let kept = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"];
        cargo.envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_TARGET_DIR", &target).current_dir(&sources);
        // A test target, so that features are those of a test build, and with them the libraries.
        cargo.args(["build", "--offline", "--workspace", "--bin", "decisiongraph", "--test", "table"]);
        let built = cargo.output().expect("cargo");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug")
    })
}

/// Runs the program of the guide.
fn own(cli: &Cli, url: Option<&str>, args: &[&str]) -> Ended {
    let mut command = program(programs().join("decisiongraph"));
    command.env("DECISIONGRAPH_DATA_DIR", cli.data_dir()).envs(url.map(|url| ("DATABASE_URL", url)));
    Ended::of(command.args(args).output().expect("starts"))
}

/// Runs the program of this build, which lacks the projection.
fn without(cli: &Cli, url: Option<&str>, args: &[&str]) -> Ended {
    let mut command = cli.command(args);
    Ended::of(command.envs(url.map(|url| ("DATABASE_URL", url))).output().expect("starts"))
}

/// Commands of the blocks with this info string.
fn commands_of<'p>(blocks: &[Block<'p>], infos: &[&str]) -> Vec<Command<'p>> {
    blocks.iter().filter(|block| infos.contains(&block.info)).flat_map(commands).collect()
}

/// The query of the guide and the rows that it shows.
fn query(guide: &str) -> (String, Vec<String>) {
    let lines_of = |info: &str| {
        let blocks = blocks(guide);
        let block = blocks.iter().find(|block| block.info == info).unwrap_or_else(|| panic!("a block of {info}"));
        block.lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    (lines_of("sql").join("\n"), lines_of("text"))
}

fn embedded_rows(file: &Path, sql: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(file).expect("opens");
    let mut statement = connection.prepare(sql).expect("a statement");
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let text = |column| {
            Ok(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Integer(int) => int.to_string(),
                value => value.as_str_or_null()?.unwrap_or_default().to_owned(),
            })
        };
        Ok((0..columns).map(text).collect::<rusqlite::Result<Vec<_>>>()?.join(" | "))
    };
    statement.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect()
}

async fn postgres_rows(url: &str, sql: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.expect("rows");
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or_default()).collect::<Vec<_>>().join(" | ")).collect()
}

#[test]
fn a_projection_takes_four_places() {
    let places = places(&guide());
    let paths: BTreeSet<&str> = places.keys().filter_map(|path| path.to_str()).collect();
    let four = [
        "migrations/postgres/V10001__actor_days.sql",
        "migrations/sqlite/V10001__actor_days.sql",
        "projections/src/catalogue.rs",
        "projections/src/catalogue/actor_days.rs",
    ];
    assert_eq!(paths, BTreeSet::from(four));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_leads_to_what_it_shows_on_both_backends() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.empty_database().await.expect("a database");
    let (guide, cli) = (guide(), Cli::new());
    let blocks = blocks(&guide);
    let embedded = commands_of(&blocks, &["sh", "console"]);
    let printed = pages::run(&embedded, &cli, programs(), None);
    let mut differences = pages::differences(GUIDE, &embedded, &printed);
    let postgres = commands_of(&blocks, &["console postgres"]);
    let printed = pages::run(&postgres, &cli, programs(), Some(database.url()));
    differences.extend(pages::differences(GUIDE, &postgres, &printed));
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(embedded.len() > 6 && postgres.len() > 3, "{} and {} commands", embedded.len(), postgres.len());

    let (sql, shown) = query(&guide);
    assert_eq!(embedded_rows(&cli.path("target/own/decisiongraph.db"), &sql), shown);
    assert_eq!(postgres_rows(database.url(), &sql).await, shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_gets_the_projection_and_keeps_its_rows() {
    let server = throwaway::shared().await.expect("a throw-away server");
    let database = server.empty_database().await.expect("a database");
    for url in [None, Some(database.url())] {
        let cli = Cli::new();
        let ok = |ended: Ended| -> String {
            assert_eq!(ended.code, 0, "{url:?}: {}{}", ended.stdout, ended.stderr);
            ended.stdout
        };
        let json = |text: String| -> Value { serde_json::from_str(&text).expect("JSON") };
        ok(without(&cli, url, &["migrate"]));
        ok(without(&cli, url, &["import", text(&enterprise())]));
        ok(without(&cli, url, &["catch-up"]));
        let before = ok(without(&cli, url, &["digest", "--reference", "--json"]));
        if url.is_some() {
            let refused = own(&cli, url, &["status", "--json"]).refused(8, "version_mismatch");
            assert!(refused.ends_with(" and V10001__actor_days"), "{refused}");
        }
        assert_eq!(json(ok(own(&cli, url, &["migrate", "--json"])))["applied"], json!(["V10001__actor_days"]));
        assert_eq!(json(ok(own(&cli, url, &["migrate", "--json"])))["applied"], json!([]), "once");

        // In batches of other sizes than a rebuild's; `verify` folds the log a third way.
        let caught_up = json(ok(own(&cli, url, &["catch-up", "--batch-size", "7", "--json"])));
        let scopes = caught_up["scopes"].as_array().expect("scopes");
        let events: Vec<(&str, u64)> = scopes
            .iter()
            .map(|scope| (scope["projection"].as_str().expect("a name"), scope["events"].as_u64().expect("a number")))
            .collect();
        assert_eq!(events, [("context_graph", 0), ("trace_summary", 0), ("precedent_index", 0), ("actor_days", 97)]);
        ok(own(&cli, url, &["verify"]));
        let rebuilt = json(ok(own(&cli, url, &["rebuild", "--projection", "actor_days", "--json"])));
        assert_eq!(rebuilt["scopes"][0]["rebuild"]["equal"], true, "{rebuilt}");
        ok(own(&cli, url, &["health"]));

        // The program without the projection goes on beside it.
        assert_eq!(ok(own(&cli, url, &["digest", "--reference", "--json"])), before);
        assert_eq!(ok(without(&cli, url, &["digest", "--reference", "--json"])), before);
        for command in ["migrate", "catch-up", "verify", "health", "status"] {
            ok(without(&cli, url, &[command]));
        }
    }
}
