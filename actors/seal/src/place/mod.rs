//! Places: the memory of signed notes outside the database.
//!
//! A place keeps every note that it was given, by origin. The node's journal is the first place. Others are directories
//! and services that the administrators of the database cannot write.
//!
//! *Guarantees.* A place never has two checkpoints of one origin and size with different roots: the second is refused.
//! A note that a place has already is not stored twice. A place changes and removes nothing.
//!
//! *Never here:* sockets and clocks. A place on a network implements [`Place`] elsewhere.

mod folder;
mod note_file;
mod objects;
mod remembered;
#[cfg(test)]
mod tests;

pub use folder::Folder;
pub use note_file::{NoteFile, Pages};
pub use objects::{Objects, object_name};
pub use remembered::Remembered;

/// Most notices that a place keeps until they are asked for.
const NOTICES_MAX: usize = 100;

/// Reason why a place did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It does not work now. A later attempt may succeed.
    #[error("{0}")]
    Away(String),
    /// A part of its content is no note of this program.
    #[error("{0}")]
    Damaged(String),
    /// It has another root for the size of the note.
    #[error("{0}")]
    Differs(String),
}

/// A memory of signed notes. Every call may block.
pub trait Place: Send + Sync {
    /// Returns the name, as the configuration has it.
    fn name(&self) -> String;

    /// Stores a note durably. A note that is there already is left alone.
    fn put(&self, note: &Remembered) -> Result<(), PlaceError>;

    /// Returns the largest checkpoint of this origin; without one, the fork note that began the origin.
    fn newest(&self, origin: &str) -> Result<Option<Remembered>, PlaceError>;

    /// Gives the notes of this origin, by age, one after the other. Memory is bounded, however many there are.
    fn each(&self, origin: &str, take: &mut dyn FnMut(Remembered)) -> Result<(), PlaceError>;

    /// True when [`Place::newest`] asks the place itself. Otherwise it tells what this process has put, which is no
    /// memory.
    fn remembers(&self) -> bool {
        true
    }

    /// Takes the notices since the last call, such as a line that was cut off.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Returns the file name of an origin: the text behind its first `/`, with `~` for each other `/`.
pub fn tag(origin: &str) -> Result<String, PlaceError> {
    let tag = origin.split_once('/').map(|(_, tag)| tag.replace('/', "~")).unwrap_or_default();
    match tag.is_empty() || tag.starts_with('.') || tag.contains('\\') {
        true => Err(PlaceError::Damaged(format!("the origin {origin} gives no file name"))),
        false => Ok(tag),
    }
}

/// Picks the note that [`Place::newest`] returns.
pub(crate) fn newest_of(notes: impl Iterator<Item = Remembered>) -> Option<Remembered> {
    notes.filter(Remembered::is_a_head).max_by_key(|note| (note.is_checkpoint(), note.size))
}

/// Refuses a checkpoint whose size is there with another root. True when this note is there already.
pub fn is_there(place: &str, there: &[Remembered], note: &Remembered) -> Result<bool, PlaceError> {
    let same = there.iter().filter(|other| other.origin == note.origin && other.kind == note.kind);
    for other in same.filter(|other| other.size == note.size) {
        if note.is_checkpoint() && other.root != note.root {
            let text =
                format!("{place} has another root for {} events of {}: nothing is put there", note.size, note.origin);
            return Err(PlaceError::Differs(text));
        }
        if note.is_checkpoint() || other.note == note.note {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notices that wait for their reader.
#[derive(Debug, Default)]
struct Notices(std::sync::Mutex<Vec<String>>);

impl Notices {
    fn add(&self, notices: impl IntoIterator<Item = String>) {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for notice in notices {
            if kept.len() < NOTICES_MAX && !kept.contains(&notice) {
                kept.push(notice);
            }
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}
