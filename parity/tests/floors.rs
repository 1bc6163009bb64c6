//! The crates are floors: each depends on crates of lower floors alone, and what must stand alone does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every crate with its folder and floor. Doors of one floor may share: `http` uses the admission queue of `rpc`.
const FLOORS: [(&str, &str, u32); 12] = [
    ("decisiongraph-projections", "projections", 0),
    ("decisiongraph-records", "store/records", 1),
    ("decisiongraph-store", "store", 2),
    ("decisiongraph-supervision", "actors/supervision", 0),
    ("decisiongraph-protocol", "actors/protocol", 2),
    ("decisiongraph-engine", "actors/engine", 3),
    ("decisiongraph-admin", "actors/admin", 4),
    ("decisiongraph-rpc", "actors/rpc", 5),
    ("decisiongraph-http", "actors/http", 6),
    ("decisiongraph-runtime", "actors/runtime", 7),
    ("decisiongraph-cli", "actors/cli", 8),
    ("decisiongraph-parity", "parity", 9),
];
/// Crates that must not be anywhere below these.
const ALONE: [(&str, &[&str]); 3] = [
    (
        "decisiongraph-supervision",
        &["rusqlite", "libsqlite3-sys", "rustls", "clap", "tokio-postgres", "ractor_cluster"],
    ),
    ("decisiongraph-protocol", &["tokio", "ractor", "rusqlite", "tokio-postgres", "rustls"]),
    ("decisiongraph-projections", &["tokio", "ractor", "rusqlite", "tokio-postgres", "tracing"]),
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

/// The files of this folder's crate that contain the text, tests left out.
fn callers(folder: &str, called: &str) -> Vec<String> {
    let (mut open, mut found) = (vec![repository().join(folder).join("src")], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("lists").map(|entry| entry.expect("an entry").path()));
        } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains(called)) {
            let relative = path.strip_prefix(repository()).expect("is inside");
            found.push(relative.display().to_string());
        }
    }
    found
}

/// One claim: a lease with its checks, its release and its texts comes from one place.
#[test]
fn one_file_takes_scopes() {
    let product = FLOORS.iter().filter(|(name, ..)| !["decisiongraph-store", "decisiongraph-parity"].contains(name));
    let found: Vec<String> = product.flat_map(|(_, folder, _)| callers(folder, ".acquire_scope(")).collect();
    assert_eq!(found, ["actors/engine/src/claim.rs"]);
    let texts = ["{scope} is paused by {}: {}; {} lets it go on", "were written by version {} of its rules"];
    for text in texts {
        let found: Vec<String> = FLOORS.iter().flat_map(|(_, folder, _)| callers(folder, text)).collect();
        assert_eq!(found, ["actors/engine/src/claim.rs"], "{text}");
    }
}
