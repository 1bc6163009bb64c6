//! Writes the list of the migrations: every file of `migrations/`, in the order of its number. A new file is in the
//! program without another edit.
//!
//! *Guarantees.* The build fails for a file that is not named `V<number>__<name>.sql`, and for a number that is there
//! twice.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../migrations");
    let mut code = String::new();
    for (list, backend) in [("POSTGRES", "postgres"), ("SQLITE", "sqlite")] {
        let folder = folder.join(backend).canonicalize().expect("a folder of migrations");
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files: Vec<_> =
            fs::read_dir(&folder).expect("readable").map(|file| of(file.expect("a file").path())).collect();
        files.sort();
        if let Some(two) = files.windows(2).find(|two| two[0].0 == two[1].0) {
            panic!("two migrations have the number {}: {} and {}", two[0].0, two[0].1, two[1].1);
        }
        writeln!(code, "#[cfg(feature = \"{backend}\")]\npub(crate) const {list}: &[Migration] = &[").expect("a text");
        for (version, name, path) in files {
            writeln!(code, "    Migration {{ version: {version}, name: {name:?}, sql: include_str!({path:?}) }},")
                .expect("a text");
        }
        code.push_str("];\n");
    }
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("migrations.rs");
    fs::write(out, code).expect("writable");
}

/// Number, name and path of a file.
fn of(path: PathBuf) -> (i32, String, PathBuf) {
    let stem = path.file_name().and_then(|file| file.to_str()?.strip_suffix(".sql")?.strip_prefix('V'));
    let parts = stem.and_then(|stem| stem.split_once("__"));
    let parts = parts.and_then(|(number, name)| Some((number.parse().ok()?, name.to_owned())));
    let is_word =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    match parts {
        Some((number, name)) if is_word(&name) => (number, name, path),
        _ => panic!("{} is not named V<number>__<name>.sql", path.display()),
    }
}
