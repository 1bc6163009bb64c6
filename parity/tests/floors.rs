//! The crates are floors: each depends on crates of lower floors alone, and what must stand alone does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every crate with its folder and floor. Doors of one floor may share: `http` uses the admission queue of `rpc`.
const FLOORS: [(&str, &str, u32); 13] = [
    ("decisiongraph-projections", "projections", 0),
    ("decisiongraph-records", "store/records", 1),
    ("decisiongraph-store", "store", 2),
    ("decisiongraph-supervision", "actors/supervision", 0),
    ("decisiongraph-protocol", "actors/protocol", 2),
    ("decisiongraph-seal", "actors/seal", 3),
    ("decisiongraph-engine", "actors/engine", 4),
    ("decisiongraph-admin", "actors/admin", 5),
    ("decisiongraph-rpc", "actors/rpc", 6),
    ("decisiongraph-http", "actors/http", 7),
    ("decisiongraph-runtime", "actors/runtime", 8),
    ("decisiongraph-cli", "actors/cli", 9),
    ("decisiongraph-parity", "parity", 10),
];
/// Crates that must not be anywhere below these.
const ALONE: [(&str, &[&str]); 4] = [
    (
        "decisiongraph-supervision",
        &["rusqlite", "libsqlite3-sys", "rustls", "clap", "tokio-postgres", "ractor_cluster"],
    ),
    ("decisiongraph-protocol", &["tokio", "ractor", "rusqlite", "tokio-postgres", "rustls"]),
    ("decisiongraph-projections", &["tokio", "ractor", "rusqlite", "tokio-postgres", "tracing"]),
    // The program of an auditor, too: no database, no network, no runtime.
    (
        "decisiongraph-seal",
        &["tokio", "mio", "socket2", "hyper", "rustls", "ractor", "rusqlite", "libsqlite3-sys", "tokio-postgres"],
    ),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).expect("reads")
}

/// The crates of this repository that the manifest in this folder depends on, those of its tests left out.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest: toml::Table = text(&format!("{folder}/Cargo.toml")).parse().expect("TOML");
    let listed = manifest.get("dependencies").and_then(|value| value.as_table()).expect("dependencies");
    listed.keys().filter(|name| name.starts_with("decisiongraph-")).cloned().collect()
}

#[test]
fn every_crate_depends_on_lower_floors_alone() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().map(|(name, _, floor)| (*name, *floor)).collect();
    let workspace: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, FLOORS.iter().map(|(_, folder, _)| *folder).collect(), "every crate has a floor");
    for (name, folder, floor) in FLOORS {
        for below in dependencies(folder) {
            assert!(floors[below.as_str()] < floor, "{name} depends on {below}, which is not below it");
        }
        let readme = text(&format!("{folder}/README.md"));
        assert!((5..=150).contains(&readme.lines().count()), "{name}: a README says what it guarantees");
    }
}

#[test]
fn what_stands_alone_has_neither_database_nor_door_below_it() {
    let lock: toml::Table = text("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages");
    let below: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let listed = package.get("dependencies").and_then(|value| value.as_array());
            let names = listed.into_iter().flatten().filter_map(|name| name.as_str()?.split(' ').next());
            (package["name"].as_str().expect("a name"), names.collect())
        })
        .collect();
    for (name, forbidden) in ALONE {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(below.get(next).into_iter().flatten());
            }
        }
        assert!(seen.len() > 5, "{name} is in the lock file");
        for one in forbidden {
            assert!(!seen.contains(one), "{one} is somewhere below {name}");
        }
    }
}

/// The code of every Rust file below this folder, without its comments, by path.
fn code(folder: &str) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(repository().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                open.push(path);
            } else if path.ends_with(".rs") {
                let lines = text(&path);
                let lines = lines.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.insert(path, lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    found
}

/// The files of this folder's crate that contain the text, tests and comments left out.
fn callers(folder: &str, called: &str) -> Vec<String> {
    let files = code(&format!("{folder}/src")).into_iter();
    files.filter(|(_, code)| code.contains(called)).map(|(path, _)| path).collect()
}

/// Code that the compiler cannot check is one call, with its reason beside it.
#[test]
fn one_file_has_unchecked_code() {
    let folders = FLOORS.iter().map(|(_, folder, _)| *folder);
    let found: Vec<String> = folders.flat_map(|folder| callers(folder, "unsafe ")).collect();
    assert_eq!(found, ["actors/cli/src/allocator.rs"]);
    assert_eq!(text(&found[0]).matches("unsafe {").count(), 1);
}

/// One claim: a lease with its checks, its release and its texts comes from one place.
#[test]
fn one_file_takes_scopes() {
    let product = FLOORS.iter().filter(|(name, ..)| !["decisiongraph-store", "decisiongraph-parity"].contains(name));
    let found: Vec<String> = product.flat_map(|(_, folder, _)| callers(folder, ".acquire_scope(")).collect();
    assert_eq!(found, ["actors/engine/src/claim.rs"]);
    let texts = ["{scope} is paused by {}: {}; {} resumes it", "were written by version {} of its rules"];
    for text in texts {
        let found: Vec<String> = FLOORS.iter().flat_map(|(_, folder, _)| callers(folder, text)).collect();
        assert_eq!(found, ["actors/engine/src/claim.rs"], "{text}");
    }
}

/// Places that `docs/ARCHITECTURE.md` promises for an addition, counted at one example each. The protocol's tests count
/// those of a request, the test of the guide those of a projection.
#[test]
fn an_addition_takes_the_promised_places() {
    let examples: [(&str, &[&str], &[&str]); 4] = [
        (
            "metric",
            &["DRIFTED_SCOPES"],
            &["actors/engine/src/telemetry/signals.rs", "actors/runtime/src/node/watch.rs"],
        ),
        (
            "configuration key",
            &["\"own_partition_events\"", "pub own_partition_events:"],
            &["actors/cli/src/config/keys.rs", "actors/engine/src/lib.rs"],
        ),
        ("actor", &["LeaseKeeper"], &["actors/runtime/src/lease_keeper.rs", "actors/runtime/src/node/tree.rs"]),
        ("command", &["Completions"], &["actors/cli/src/commands/completions.rs", "actors/cli/src/commands/mod.rs"]),
    ];
    for (addition, names, expected) in examples {
        let folders = FLOORS.iter().flat_map(|(_, folder, _)| names.iter().flat_map(move |name| callers(folder, name)));
        let found: BTreeSet<String> = folders.collect();
        assert_eq!(found, expected.iter().map(|path| (*path).to_owned()).collect(), "{addition}");
    }
}

/// The one ring of top modules. A supervisor is itself a child: the spec of a child starts one, and its vitals name it.
const RINGS: [(&str, &[&str]); 1] =
    [("actors/supervision", &["child_life", "child_spec", "dump", "handle", "supervisor", "vitals"])];

/// The names that follow `prefix` in this code: `crate::a` and `crate::{a, b::c}`.
fn named_after(prefix: &str, code: &str) -> BTreeSet<String> {
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    code.split(prefix)
        .skip(1)
        .flat_map(|rest| match rest.starts_with('{') {
            true => words(rest.split(';').next().unwrap_or_default()),
            false => words(rest).into_iter().filter(|word| rest.starts_with(word) && !word.is_empty()).collect(),
        })
        .collect()
}

/// The top modules of the crate in this folder, each with the top modules that it imports.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = format!("{folder}/src/");
    let files = code(source.trim_end_matches('/'));
    let top = |path: &str| path[source.len()..].split('/').next().map(|name| name.trim_end_matches(".rs").to_owned());
    let modules: BTreeSet<String> =
        files.keys().filter_map(|path| top(path)).filter(|name| !["lib", "main", "bin"].contains(&&**name)).collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in &files {
        // The tests of a module may use the whole crate.
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let Some(here) = top(path).filter(|name| modules.contains(name)) else { continue };
        let mut names = named_after("crate::", code);
        if !path[source.len()..].contains('/') {
            names.extend(named_after("super::", code));
        }
        let others = names.into_iter().filter(|name| modules.contains(name) && *name != here).collect::<Vec<_>>();
        imports.entry(here).or_default().extend(others);
    }
    imports
}

#[test]
fn modules_of_a_crate_form_no_ring_but_one() {
    for (_, folder, _) in FLOORS {
        let imports = imports(folder);
        let reaches_itself = |module: &str| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![module]);
            while let Some(next) = open.pop() {
                for other in imports.get(next).into_iter().flatten() {
                    if seen.insert(other.as_str()) {
                        open.push(other);
                    }
                }
            }
            seen.contains(module)
        };
        let ring: Vec<&str> = imports.keys().map(String::as_str).filter(|module| reaches_itself(module)).collect();
        let known = RINGS.iter().find(|(of, _)| *of == folder).map_or(&[][..], |(_, known)| known);
        assert_eq!(ring, known, "{folder}: modules in a ring; shorten the list when there are fewer");
    }
}

#[test]
fn no_part_locates_the_others_and_one_file_knows_all_actors() {
    for (path, code) in code("actors") {
        for word in ["struct Shared", "enum Shared", "trait Shared", "type Shared", "as Shared", "fn set_", "fn poke_"]
        {
            assert!(!code.contains(word), "{path}: `{word}`: parts get what they use, and tell by signals");
        }
        let Some(module) = path.strip_prefix("actors/runtime/src/") else { continue };
        if module != "node/tree.rs" {
            assert!(!code.contains("start_actor("), "{path}: the actors of a node are in node/tree.rs");
        }
        if !module.starts_with("node/") && !module.starts_with("board/") {
            for all in ["Board", "NodeParts"] {
                assert!(!code.contains(all), "{path}: an actor gets the parts that it uses, not {all}");
            }
        }
    }
}
