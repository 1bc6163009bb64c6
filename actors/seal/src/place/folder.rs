//! A directory with one append-only file of notes per origin: the journal of a node, or a place (`dir:PATH`).
//!
//! *Guarantees.* Those of [`NoteFile`]. The journal is made when it is missing, for its user alone. A place is not: a
//! directory that is not there may be a disk that is not mounted, and a memory that is away must not look empty.

use super::{NoteFile, Notices, Pages, Place, PlaceError, Remembered, tag};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Name of a node's journal in findings.
const JOURNAL: &str = "journal";

/// Bytes of a file that are in memory at a time.
const PAGE_BYTES: u64 = 64 * 1024;

/// A directory of notes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_journal: bool,
    notices: Notices,
}

impl Folder {
    /// Names a directory that is a place. It must exist when it is used.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned(), is_journal: false, notices: Notices::default() }
    }

    /// Names the directory of a journal. It is made when something is to be put there.
    pub fn journal(path: &Path) -> Folder {
        Folder { is_journal: true, ..Folder::new(path) }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads about so many bytes of an origin's notes, from this position on; see [`NoteFile::page`].
    pub fn page(&self, origin: &str, from: u64, bytes: u64) -> Result<Pages, PlaceError> {
        let mut pages = self.file(origin)?.page(from, bytes)?;
        self.notices.add(std::mem::take(&mut pages.notices));
        pages.notes.retain(|note| note.origin == origin);
        Ok(pages)
    }

    /// Finds the position for [`Folder::page`] from which on the file has every note about at least so many events.
    pub fn position_of(&self, origin: &str, size: u64) -> Result<u64, PlaceError> {
        self.file(origin)?.position_of(size)
    }

    /// Returns the checkpoint of this size, if the file has it.
    pub fn checkpoint(&self, origin: &str, size: u64) -> Result<Option<Remembered>, PlaceError> {
        let mut from = self.position_of(origin, size)?;
        loop {
            let pages = self.page(origin, from, PAGE_BYTES)?;
            if let Some(found) = pages.notes.into_iter().find(|note| note.is_checkpoint() && note.size == size) {
                return Ok(Some(found));
            }
            if pages.next == from {
                return Ok(None);
            }
            from = pages.next;
        }
    }

    fn file(&self, origin: &str) -> Result<NoteFile, PlaceError> {
        if !self.is_journal && !self.path.is_dir() {
            return Err(PlaceError::Away(format!("{}: there is no such directory", self.name())));
        }
        let mode = if self.is_journal { 0o600 } else { 0o644 };
        Ok(NoteFile::new(&self.path.join(tag(origin)? + ".jsonl"), mode))
    }
}

impl Place for Folder {
    fn name(&self) -> String {
        match self.is_journal {
            true => JOURNAL.to_owned(),
            false => format!("dir:{}", self.path.display()),
        }
    }

    fn put(&self, note: &Remembered) -> Result<(), PlaceError> {
        if self.is_journal {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
            made.map_err(|error| PlaceError::Away(format!("cannot create {}: {error}", self.path.display())))?;
        }
        self.notices.add(self.file(&note.origin)?.add(&self.name(), note)?);
        Ok(())
    }

    fn newest(&self, origin: &str) -> Result<Option<Remembered>, PlaceError> {
        let (newest, notices) = self.file(origin)?.newest(origin)?;
        self.notices.add(notices);
        Ok(newest)
    }

    fn each(&self, origin: &str, take: &mut dyn FnMut(Remembered)) -> Result<(), PlaceError> {
        let mut ours = |note: Remembered| {
            if note.origin == origin {
                take(note)
            }
        };
        self.notices.add(self.file(origin)?.each(&mut ours)?);
        Ok(())
    }

    fn notices(&self) -> Vec<String> {
        self.notices.take()
    }
}
