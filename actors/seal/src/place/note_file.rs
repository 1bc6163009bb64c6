//! One append-only file of notes: a JSON object per line.
//!
//! ```text
//! {"at":TIME,"kind":"checkpoint","origin":…,"size":N,"root":BASE64,"note":…}
//! {"at":TIME,"kind":"checkp#torn          a line that a crash cut off; the next writer marked it
//! ```
//!
//! *Guarantees.* A note is in the file, and on the disk, when [`NoteFile::add`] returns. Nothing is ever removed or
//! changed. A last line that was cut off is ignored, and a notice says so. Any other line that cannot be read is an
//! error. Processes that append at once wait for each other.

use super::{PlaceError, Remembered, is_there, newest_of};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes that a search for the newest note begins with; four times as many after each miss.
const TAIL_BYTES: u64 = 64 * 1024;
/// End of a line that was cut off. No JSON object ends so.
const TORN: &[u8] = b"#torn";
/// Longest wait for another process that appends.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Pause between two attempts to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A file of notes.
#[derive(Debug, Clone)]
pub struct NoteFile {
    path: PathBuf,
    /// Permissions of a new file.
    mode: u32,
}

/// Notes that were read, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The notes, in order of the file.
    pub notes: Vec<Remembered>,
    /// Position behind the last line that was read.
    pub next: u64,
    /// Notices about lines that were cut off.
    pub notices: Vec<String>,
}

impl Pages {
    /// True when the checkpoints before these are about fewer events.
    fn begins_below(&self, size: u64) -> bool {
        self.notes.iter().find(|note| note.is_checkpoint()).is_some_and(|first| first.size < size)
    }
}

impl NoteFile {
    /// Names a file. It need not exist.
    pub fn new(path: &Path, mode: u32) -> NoteFile {
        NoteFile { path: path.to_owned(), mode }
    }

    /// Adds a note durably, unless it is there. Returns notices.
    pub fn add(&self, place: &str, note: &Remembered) -> Result<Vec<String>, PlaceError> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).append(true).create(true).mode(self.mode).open(&self.path);
        let mut file = opened.map_err(|error| self.away("open", &error))?;
        self.lock(&file, true)?;
        let length = self.length(&file)?;
        let tail = self.tail(&mut file, length, note.size)?;
        if !is_there(place, &tail.notes, note)? {
            let mut bytes = Vec::new();
            if tail.next < length {
                bytes.extend_from_slice(TORN);
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(note.line().as_bytes());
            file.write_all(&bytes).map_err(|error| self.away("write", &error))?;
        }
        file.sync_all().map_err(|error| self.away("write", &error))?;
        if length == 0 {
            self.sync_directory()?;
        }
        Ok(tail.notices)
    }

    /// Returns the note that [`super::Place::newest`] asks for, from the end of the file, and notices.
    pub fn newest(&self, origin: &str) -> Result<(Option<Remembered>, Vec<String>), PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok((None, Vec::new())) };
        let mut bytes = TAIL_BYTES;
        loop {
            let tail = self.read_tail(&mut file, length, bytes)?.0;
            let found = newest_of(tail.notes.into_iter().filter(|note| note.origin == origin));
            if found.as_ref().is_some_and(Remembered::is_checkpoint) || bytes >= length {
                return Ok((found, tail.notices));
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    /// Reads every note.
    pub fn all(&self) -> Result<Pages, PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok(Pages::default()) };
        Ok(self.read_tail(&mut file, length, length)?.0)
    }

    /// Reads about so many bytes from this position on, at least one line when there is one.
    pub fn page(&self, from: u64, bytes: u64) -> Result<Pages, PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok(Pages { next: from, ..Pages::default() }) };
        let mut bytes = bytes;
        loop {
            let end = length.min(from.saturating_add(bytes));
            let mut read = Vec::new();
            file.seek(SeekFrom::Start(from)).map_err(|error| self.away("read", &error))?;
            let part = &mut (&mut file).take(end.saturating_sub(from));
            part.read_to_end(&mut read).map_err(|error| self.away("read", &error))?;
            let pages = self.parse(&read, from)?;
            if pages.next > from || end >= length {
                // A line that goes on behind the page is no torn line.
                let notices = if end >= length { pages.notices } else { Vec::new() };
                return Ok(Pages { notices, ..pages });
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    /// Finds a position from which on the file has every note about at least so many events.
    pub fn position_of(&self, size: u64) -> Result<u64, PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok(0) };
        let mut bytes = if size == 0 { length } else { TAIL_BYTES };
        loop {
            let (tail, begin) = self.read_tail(&mut file, length, bytes)?;
            if bytes >= length || tail.begins_below(size) {
                return Ok(begin);
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    fn open(&self) -> Result<Option<(File, u64)>, PlaceError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.away("open", &error)),
        };
        self.lock(&file, false)?;
        let length = self.length(&file)?;
        Ok(Some((file, length)))
    }

    fn length(&self, file: &File) -> Result<u64, PlaceError> {
        Ok(file.metadata().map_err(|error| self.away("read", &error))?.len())
    }

    /// Waits for processes that append. A file system without locks has one writer.
    fn lock(&self, file: &File, alone: bool) -> Result<(), PlaceError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match if alone { file.try_lock() } else { file.try_lock_shared() } {
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let text = format!("{} is locked by another process", self.path.display());
                    return Err(PlaceError::Away(text));
                }
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
            }
        }
    }

    /// Reads lines from the end on: all that are about at least so many events.
    fn tail(&self, file: &mut File, length: u64, size: u64) -> Result<Pages, PlaceError> {
        let mut bytes = TAIL_BYTES;
        loop {
            let (tail, _) = self.read_tail(file, length, bytes)?;
            if bytes >= length || tail.begins_below(size) {
                return Ok(tail);
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    /// Reads the lines that begin in the last so many bytes; returns the position of the first, too.
    fn read_tail(&self, file: &mut File, length: u64, bytes: u64) -> Result<(Pages, u64), PlaceError> {
        let mut begin = length.saturating_sub(bytes);
        let mut read = Vec::new();
        file.seek(SeekFrom::Start(begin)).map_err(|error| self.away("read", &error))?;
        file.take(length - begin).read_to_end(&mut read).map_err(|error| self.away("read", &error))?;
        if begin > 0 {
            // The line that begins before.
            let cut = read.iter().position(|byte| *byte == b'\n').map_or(read.len(), |at| at + 1);
            read.drain(..cut);
            begin += cut as u64;
        }
        Ok((self.parse(&read, begin)?, begin))
    }

    fn parse(&self, bytes: &[u8], begin: u64) -> Result<Pages, PlaceError> {
        let mut pages = Pages { next: begin, ..Pages::default() };
        let torn = |at: u64| format!("{}: the line at byte {at} was cut off and is ignored", self.path.display());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let at = pages.next;
            let Some(text) = line.strip_suffix(b"\n") else {
                pages.notices.push(torn(at));
                break;
            };
            pages.next += line.len() as u64;
            if text.ends_with(TORN) {
                pages.notices.push(torn(at));
                continue;
            }
            let Some(note) = Remembered::parse(text) else {
                let text =
                    format!("{}: the line at byte {at} is damaged: it is not a signed note", self.path.display());
                return Err(PlaceError::Damaged(text));
            };
            pages.notes.push(note);
        }
        Ok(pages)
    }

    fn sync_directory(&self) -> Result<(), PlaceError> {
        let Some(directory) = self.path.parent() else { return Ok(()) };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.away("write the directory of", &error))
    }

    fn away(&self, what: &str, error: &std::io::Error) -> PlaceError {
        PlaceError::Away(format!("cannot {what} {}: {error}", self.path.display()))
    }
}
