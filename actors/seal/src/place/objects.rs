//! A directory with one file per note, each created exclusively: a mount that is written once (`objects:PATH`).
//!
//! ```text
//! PATH/TAG/98.checkpoint             PATH/TAG/98-1f00aa2b.statement
//! ```
//!
//! *Guarantees.* A file is never opened for writing again. One that a crash cut off is ignored, and a notice says so;
//! the note goes to the next free name (`98.1.checkpoint`).

use super::{Notices, Place, PlaceError, Remembered, is_there, newest_of, tag};
use decisiongraph_projections::payload_hash::tagged_hex;
use decisiongraph_projections::seal::sha256;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Most names for one note: each crash in the middle of it takes one.
const NAMES_MAX: u32 = 10;

/// A directory of objects.
#[derive(Debug)]
pub struct Objects {
    path: PathBuf,
    notices: Notices,
}

impl Objects {
    /// Names a directory. It must exist when it is used.
    pub fn new(path: &Path) -> Objects {
        Objects { path: path.to_owned(), notices: Notices::default() }
    }

    fn directory(&self, origin: &str) -> Result<PathBuf, PlaceError> {
        match self.path.is_dir() {
            true => Ok(self.path.join(tag(origin)?)),
            false => Err(PlaceError::Away(format!("{}: there is no such directory", self.name()))),
        }
    }

    /// Lists the objects of an origin: size, word of the kind, and path.
    fn list(&self, origin: &str) -> Result<Vec<(u64, String, PathBuf)>, PlaceError> {
        let directory = self.directory(origin)?;
        let failed = |error: std::io::Error| PlaceError::Away(format!("cannot list {}: {error}", directory.display()));
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((begin, kind)) = name.rsplit_once('.') else { continue };
            let digits: String = begin.chars().take_while(char::is_ascii_digit).collect();
            if let Ok(size) = digits.parse() {
                found.push((size, kind.to_owned(), path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads the notes in a file; none, with a notice, when it was cut off.
    fn read(&self, path: &Path) -> Result<Vec<Remembered>, PlaceError> {
        let failed = |error: std::io::Error| PlaceError::Away(format!("cannot read {}: {error}", path.display()));
        let text = fs::read(path).map_err(failed)?;
        let at = fs::metadata(path).and_then(|facts| facts.modified()).map_err(failed)?;
        let at = OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default();
        let notes = std::str::from_utf8(&text).ok().and_then(|text| Remembered::of(text, &at).ok());
        if notes.is_none() {
            self.notices.add([format!("{} was cut off, or is not a note, and is ignored", path.display())]);
        }
        Ok(notes.unwrap_or_default())
    }

    fn create(&self, path: &Path, note: &Remembered) -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(note.note.as_bytes())?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// Returns the name of a note's object. There is one checkpoint per size; of other kinds there may be several.
pub fn object_name(note: &Remembered, attempt: u32) -> String {
    let again = if attempt == 0 { String::new() } else { format!(".{attempt}") };
    let size = note.size;
    if note.is_checkpoint() {
        return format!("{size}{again}.checkpoint");
    }
    let hash = tagged_hex("", &sha256(&[note.note.as_bytes()])[..4]);
    format!("{size}-{hash}{again}.{}", note.kind.as_str())
}

impl Place for Objects {
    fn name(&self) -> String {
        format!("objects:{}", self.path.display())
    }

    fn put(&self, note: &Remembered) -> Result<(), PlaceError> {
        let directory = self.directory(&note.origin)?;
        match DirBuilder::new().create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(PlaceError::Away(format!("cannot create {}: {error}", directory.display())));
            }
            _ => {}
        }
        for attempt in 0..NAMES_MAX {
            let path = directory.join(object_name(note, attempt));
            match self.create(&path, note) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PlaceError::Away(format!("cannot write {}: {error}", path.display()))),
            }
            if is_there(&self.name(), &self.read(&path)?, note)? {
                return Ok(());
            }
        }
        let text = format!("{}: no name is free for {} events of {}", self.name(), note.size, note.origin);
        Err(PlaceError::Damaged(text))
    }

    fn newest(&self, origin: &str) -> Result<Option<Remembered>, PlaceError> {
        let objects = self.list(origin)?;
        let of_kind = |kind: &'static str| objects.iter().rev().filter(move |(_, word, _)| word == kind);
        for (_, _, path) in of_kind("checkpoint").chain(of_kind("fork")) {
            let found = newest_of(self.read(path)?.into_iter().filter(|note| note.origin == origin));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn each(&self, origin: &str, take: &mut dyn FnMut(Remembered)) -> Result<(), PlaceError> {
        for (_, _, path) in self.list(origin)? {
            self.read(&path)?.into_iter().filter(|note| note.origin == origin).for_each(&mut *take);
        }
        Ok(())
    }

    fn notices(&self) -> Vec<String> {
        self.notices.take()
    }
}
