//! Folders without a checkpoint of the log: a wrong path, layout or key must not look like a new log.
//!
//! *Guarantees.* Only names of files are read, and one note of a file that has the name of the log's own.

use super::{Kind, Source, on_its_thread};
use decisiongraph_cli::config::seal::NamedPlace;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_seal::place::tag;
use decisiongraph_seal::{PlaceError, Remembered};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

/// Names that a line shows.
const SHOWN: usize = 3;
/// Names of a folder that are read.
const NAMES_MAX: usize = 1_000;
/// Longest line of which the note is read.
const LINE_MAX: u64 = 64 * 1024;

/// Refuses a place that is a file, or is not there.
pub fn folder_of(place: &str) -> Result<(), AdminError> {
    let (Some(NamedPlace::Folder(path)) | Some(NamedPlace::Objects(path))) = NamedPlace::parse(place) else {
        return Ok(());
    };
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => Err(is_a_file(path)),
        Err(error) => {
            Err(AdminError::new(Category::InvalidArgument, format!("cannot read the folder {path}: {error}"))
                .next("name the folder of the place, as `decisiongraph seal status` of the log's operator shows it"))
        }
    }
}

/// Refuses a file as a source.
pub fn is_a_file(path: &str) -> AdminError {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = format!("dir:{}", folder.display());
    AdminError::new(
        Category::InvalidArgument,
        format!("{path} is a file: a place is the folder with the files of notes"),
    )
    .next(format!(
        "name its folder, {}; one note is checked with `decisiongraph-audit {} --key KEY`",
        shell_word(&folder),
        shell_word(path)
    ))
}

impl Source {
    /// Says what a place has instead of a checkpoint of this log. None: it is empty, or no place.
    pub async fn instead(&self) -> Result<Option<String>, AdminError> {
        let Kind::Place(place) = &self.kind else { return Ok(None) };
        let (name, origin) = (place.name(), self.origin.clone());
        on_its_thread(move || said(&name, &origin)).await
    }
}

fn said(place: &str, origin: &str) -> Result<Option<String>, PlaceError> {
    let tag = tag(origin)?;
    let (path, wanted, other) = match NamedPlace::parse(place) {
        Some(NamedPlace::Folder(path)) => (Path::new(path), Path::new(path).join(format!("{tag}.jsonl")), "objects"),
        Some(NamedPlace::Objects(path)) => (Path::new(path), Path::new(path).join(&tag), "dir"),
        _ => return Ok(None),
    };
    let mut names = names(path)?;
    if names.is_empty() {
        return Ok(None);
    }
    let looked = format!("there is no checkpoint of this log here: looked for {}", wanted.display());
    if wanted.exists() {
        // Notes of this log that are no checkpoints are the begin of a log.
        let found = origin_in(&wanted).filter(|found| found != origin);
        return Ok(
            found.map(|found| format!("{looked}, and it has notes of {found}, not of {origin}: another key's log"))
        );
    }
    let is_of_layout = match other {
        "objects" => path.join(&tag).is_dir(),
        _ => path.join(format!("{tag}.jsonl")).is_file(),
    };
    if is_of_layout {
        return Ok(Some(format!("{looked}; the folder has the other layout: name {other}:{}", path.display())));
    }
    names.sort();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more if names.len() < NAMES_MAX => format!(" and {more} more"),
        _ => " and many more".to_owned(),
    };
    names.truncate(SHOWN);
    Ok(Some(format!("{looked}; there is {}{more} instead. Compare path and key with the operator's", names.join(", "))))
}

/// Lists names of a folder that mean something.
fn names(folder: &Path) -> Result<Vec<String>, PlaceError> {
    let failed = |error: std::io::Error| PlaceError::Away(format!("cannot list {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "lost+found" {
            names.push(name);
        }
        if names.len() >= NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

/// Reads the name of a log in the first note of a file, or of a folder's first file.
fn origin_in(path: &Path) -> Option<String> {
    let file = match path.is_dir() {
        true => fs::read_dir(path).ok()?.next()?.ok()?.path(),
        false => path.to_owned(),
    };
    let mut reader = BufReader::new(File::open(file).ok()?.take(LINE_MAX));
    if path.is_dir() {
        let mut note = String::new();
        reader.read_to_string(&mut note).ok()?;
        return Some(Remembered::of(&note, "").ok()?.into_iter().next()?.origin);
    }
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    Some(Remembered::parse(line.trim_ascii_end())?.origin)
}
