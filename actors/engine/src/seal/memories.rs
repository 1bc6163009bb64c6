//! Memories of signed notes about a log, read note by note: the database, the journal, and every place.
//!
//! *Guarantees.* Memory holds a page of a source, however many notes it has. A source that gives nothing for a minute
//! counts as away.

use super::Sealing;
use super::finding::{SealFinding, SealWord};
use crate::page::pure;
use decisiongraph_projections::Category;
use decisiongraph_seal::{Folder, Objects, Place, PlaceError, Remembered};
use decisiongraph_store::{NoteKind, ReadView, Result, SealTree, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Name of the notes in the database.
pub const DATABASE: &str = "database";
/// Name of the journal, as [`Folder`] has it.
const JOURNAL: &str = "journal";
/// Longest wait for the next note of a place, or for its end.
const ANSWER: Duration = Duration::from_secs(60);
/// Notes per read from the database.
const NOTES_PAGE: usize = 1_000;

/// Memory of signed notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Database,
    Journal,
    Place,
}

impl Kind {
    /// Rank of a memory that is named for another root: a place is out of the reach of the database's administrators.
    pub fn rank(self) -> u8 {
        match self {
            Kind::Place => 0,
            Kind::Journal => 1,
            Kind::Database => 2,
        }
    }

    /// Rank of a memory that is named for a larger tree: the journal has what was signed last.
    pub fn rank_of_newest(self) -> u8 {
        match self {
            Kind::Journal => 0,
            Kind::Place => 1,
            Kind::Database => 2,
        }
    }
}

/// A memory.
#[derive(Clone)]
pub(super) struct Source {
    pub name: String,
    pub kind: Kind,
    at: At,
}

#[derive(Clone)]
enum At {
    Database,
    /// Number among the journal and the places of this process.
    Configured(Arc<Sealing>, usize),
    Named(Arc<dyn Place>),
}

/// Answer of a source: what was made of its notes, or the reason why there are none.
pub(super) type Answer<T> = std::result::Result<T, PlaceError>;

impl Source {
    /// Names the database.
    pub fn database() -> Source {
        Source { name: DATABASE.to_owned(), kind: Kind::Database, at: At::Database }
    }

    /// Names a place that is not of the configuration.
    pub fn named(name: &str, kind: Kind, place: Arc<dyn Place>) -> Source {
        Source { name: name.to_owned(), kind, at: At::Named(place) }
    }

    /// Lists the journal, the places and the database, or the one of them that is `against`. A place is named as in the
    /// configuration; `dir:PATH` and `objects:PATH` need not be configured.
    pub fn all(sealing: Option<&Arc<Sealing>>, against: Option<&str>) -> Result<Vec<Source>> {
        let mut all = Vec::new();
        if let Some(sealing) = sealing {
            for (number, place) in sealing.memory.sources().enumerate() {
                let name = place.name();
                let kind = if name == JOURNAL { Kind::Journal } else { Kind::Place };
                all.push(Source { name, kind, at: At::Configured(Arc::clone(sealing), number) });
            }
        }
        all.push(Source::database());
        let Some(against) = against else { return Ok(all) };
        all.retain(|source| source.name == against);
        if all.is_empty() {
            let place = place_of(against).ok_or_else(|| unknown(against, sealing))?;
            all.push(Source::named(against, Kind::Place, place.into()));
        }
        Ok(all)
    }

    /// Gives each note of a log to `take`, of one kind where only that is wanted. A note of the database that is not
    /// of its kind is a finding.
    pub async fn read<T: Send + 'static>(
        &self,
        view: &dyn ReadView,
        tree: &SealTree,
        kind: Option<NoteKind>,
        state: T,
        take: fn(&mut T, std::result::Result<Remembered, SealFinding>),
    ) -> Result<Answer<T>> {
        let (at, origin) = match self.at.clone() {
            At::Database => return noted(view, tree, kind, state, take).await.map(Ok),
            at => (at, tree.origin.clone()),
        };
        let given = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&given);
        let read = move || {
            let mut state = state;
            let mut each = |note: Remembered| {
                counted.fetch_add(1, Ordering::Relaxed);
                if kind.is_none_or(|kind| note.kind == kind) {
                    take(&mut state, Ok(note));
                }
            };
            match at {
                At::Database => Ok(()),
                At::Configured(sealing, number) => {
                    sealing.memory.sources().nth(number).map_or(Ok(()), |place| place.each(&origin, &mut each))
                }
                At::Named(place) => place.each(&origin, &mut each),
            }?;
            Ok(state)
        };
        let mut read = tokio::task::spawn_blocking(read);
        loop {
            let before = given.load(Ordering::Relaxed);
            match tokio::time::timeout(ANSWER, &mut read).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(broken)) => return Ok(Err(PlaceError::Away(broken.to_string()))),
                Err(_) if given.load(Ordering::Relaxed) > before => {}
                Err(_) => return Ok(Err(PlaceError::Away(format!("no answer within {ANSWER:?}")))),
            }
        }
    }
}

/// Reads the notes of the database about a tree, page by page.
async fn noted<T: Send + 'static>(
    view: &dyn ReadView,
    tree: &SealTree,
    kind: Option<NoteKind>,
    mut state: T,
    take: fn(&mut T, std::result::Result<Remembered, SealFinding>),
) -> Result<T> {
    let mut before = None;
    loop {
        let page = view.seal_notes(&tree.tenant, tree.tree, kind, before, NOTES_PAGE).await?;
        let Some(last) = page.last() else { return Ok(state) };
        before = Some(last.number);
        let origin = tree.origin.clone();
        let taken = pure(move || {
            for stored in page {
                let facts = Remembered::of(&stored.note, &stored.noted_at).unwrap_or_default();
                let note = facts.into_iter().find(|note| note.kind == stored.kind && note.origin == origin);
                let not_one = || {
                    let (kind, size) = (stored.kind.as_str(), stored.size);
                    let text = format!("the {kind} for {size} ({DATABASE}) is not a signed note of this log");
                    SealWord::SignatureInvalid.because(text)
                };
                take(&mut state, note.ok_or_else(not_one));
            }
            state
        });
        state = taken.await?;
    }
}

/// Opens a place that is named by its kind and path.
fn place_of(text: &str) -> Option<Box<dyn Place>> {
    match text.split_once(':')? {
        ("dir", path) if !path.is_empty() => Some(Box::new(Folder::new(Path::new(path)))),
        ("objects", path) if !path.is_empty() => Some(Box::new(Objects::new(Path::new(path)))),
        _ => None,
    }
}

/// Names the memories outside the database that this process is configured with.
pub fn configured(sealing: Option<&Arc<Sealing>>) -> Vec<String> {
    sealing.map(|sealing| sealing.memory.sources().map(Place::name).collect()).unwrap_or_default()
}

fn unknown(against: &str, sealing: Option<&Arc<Sealing>>) -> StoreError {
    let mut known = configured(sealing);
    known.push(DATABASE.to_owned());
    let message =
        format!("`{against}` is not a memory of this seal: {}, dir:PATH and objects:PATH are", known.join(", "));
    StoreError::new(Category::InvalidArgument, message)
}
