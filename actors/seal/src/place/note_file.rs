//! One append-only file of notes: a JSON object per line.
//!
//! ```text
//! {"at":TIME,"kind":"checkpoint","origin":…,"size":N,"root":BASE64,"note":…}
//! {"at":TIME,"kind":"checkp#torn          a line that a crash cut off; the next writer marked it
//! ```
//!
//! *Guarantees.* A note is in the file, and on the disk, when [`NoteFile::add`] returns. Nothing is ever removed or
//! changed. A line that was cut off is ignored, and a notice says so, wherever it lies. Any other line that cannot be
//! read is an error. Processes that append at once wait for each other. Memory holds a page of the file, however long
//! the file is: readers go forwards or backwards, page by page.

use super::{NOTICES_MAX, PlaceError, Remembered, is_there, newest_of};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of the file that are in memory at a time; more for a line that is longer.
const PAGE_BYTES: u64 = 64 * 1024;
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

/// Lines of a page, and the rest behind its last LF.
#[derive(Default)]
struct Lines {
    pages: Pages,
    /// Notice about the rest. It is a torn line at the end of the file alone.
    rest: Option<String>,
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
        let (mut is_known, mut whole, mut notices) = (false, 0, Vec::new());
        self.backwards(&mut file, length, |page, _| {
            whole = whole.max(page.next);
            is_known = is_there(place, &page.notes, note)?;
            let is_enough = is_known || page.begins_below(note.size);
            notices.extend(page.notices);
            Ok(is_enough)
        })?;
        if !is_known {
            let mut bytes = Vec::new();
            if whole < length {
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
        Ok(notices)
    }

    /// Returns the note that [`super::Place::newest`] asks for, and notices. It reads from the end of the file to the
    /// last page with a checkpoint of the origin. A file without one is read to its begin: it has a fork note or two,
    /// since the first checkpoint follows within seconds.
    pub fn newest(&self, origin: &str) -> Result<(Option<Remembered>, Vec<String>), PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok((None, Vec::new())) };
        let (mut found, mut notices): (Option<Remembered>, _) = (None, Vec::new());
        self.backwards(&mut file, length, |page, _| {
            notices.extend(page.notices);
            let ours = page.notes.into_iter().filter(|note| note.origin == origin);
            found = newest_of(ours.chain(found.take()));
            Ok(found.as_ref().is_some_and(Remembered::is_checkpoint))
        })?;
        Ok((found, notices))
    }

    /// Gives every note, in order of the file. Returns notices.
    pub fn each(&self, take: &mut dyn FnMut(Remembered)) -> Result<Vec<String>, PlaceError> {
        let (mut from, mut notices) = (0, Vec::new());
        loop {
            let page = self.page(from, PAGE_BYTES)?;
            notices.extend(page.notices.into_iter().take(NOTICES_MAX.saturating_sub(notices.len())));
            page.notes.into_iter().for_each(&mut *take);
            if page.next == from {
                return Ok(notices);
            }
            from = page.next;
        }
    }

    /// Reads about so many bytes from this position on, at least one line when there is one.
    pub fn page(&self, from: u64, bytes: u64) -> Result<Pages, PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok(Pages { next: from, ..Pages::default() }) };
        let mut bytes = bytes;
        loop {
            let end = length.min(from.saturating_add(bytes));
            let Lines { mut pages, rest } = self.parse(&self.read(&mut file, from, end)?, from)?;
            if pages.next > from || end >= length {
                // A line that goes on behind the page is no torn line.
                pages.notices.extend(rest.filter(|_| end >= length));
                return Ok(pages);
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    /// Finds a position from which on the file has every note about at least so many events.
    pub fn position_of(&self, size: u64) -> Result<u64, PlaceError> {
        let Some((mut file, length)) = self.open()? else { return Ok(0) };
        let mut position = 0;
        if size > 0 {
            self.backwards(&mut file, length, |page, begin| {
                position = begin;
                Ok(page.begins_below(size))
            })?;
        }
        Ok(position)
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

    /// Gives the lines of the file page by page, the last page first, each with the position of its first line. Ends
    /// when a page is enough.
    fn backwards(
        &self,
        file: &mut File,
        length: u64,
        mut is_enough: impl FnMut(Pages, u64) -> Result<bool, PlaceError>,
    ) -> Result<(), PlaceError> {
        let (mut end, mut bytes) = (length, PAGE_BYTES);
        while end > 0 {
            let from = end.saturating_sub(bytes);
            let mut read = self.read(file, from, end)?;
            let mut begin = from;
            if from > 0 {
                // The rest of the line that begins before belongs to the next page.
                let cut = read.iter().position(|byte| *byte == b'\n').map_or(read.len(), |at| at + 1);
                read.drain(..cut);
                begin += cut as u64;
            }
            if begin == end {
                bytes = bytes.saturating_mul(4);
                continue;
            }
            let Lines { mut pages, rest } = self.parse(&read, begin)?;
            pages.notices.extend(rest);
            if is_enough(pages, begin)? {
                return Ok(());
            }
            (end, bytes) = (begin, PAGE_BYTES);
        }
        Ok(())
    }

    fn read(&self, file: &mut File, from: u64, end: u64) -> Result<Vec<u8>, PlaceError> {
        let mut read = Vec::new();
        file.seek(SeekFrom::Start(from)).map_err(|error| self.away("read", &error))?;
        file.take(end.saturating_sub(from)).read_to_end(&mut read).map_err(|error| self.away("read", &error))?;
        Ok(read)
    }

    fn parse(&self, bytes: &[u8], begin: u64) -> Result<Lines, PlaceError> {
        let mut lines = Lines { pages: Pages { next: begin, ..Pages::default() }, rest: None };
        let torn = |at: u64| format!("{}: the line at byte {at} was cut off and is ignored", self.path.display());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let at = lines.pages.next;
            let Some(text) = line.strip_suffix(b"\n") else {
                lines.rest = Some(torn(at));
                break;
            };
            lines.pages.next += line.len() as u64;
            if text.ends_with(TORN) {
                lines.pages.notices.push(torn(at));
                continue;
            }
            let Some(note) = Remembered::parse(text) else {
                let text =
                    format!("{}: the line at byte {at} is damaged: it is not a signed note", self.path.display());
                return Err(PlaceError::Damaged(text));
            };
            lines.pages.notes.push(note);
        }
        Ok(lines)
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
