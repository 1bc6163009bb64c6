//! The memory of what was signed: the journal of this node, and the places.

use crate::place::{Folder, Place, PlaceError, Remembered};
use std::sync::Arc;

/// Journal and places.
pub struct Memory {
    /// Journal of this node: written before anything else, on a disk that must survive the node.
    pub journal: Folder,
    /// Other places, in order of the configuration.
    pub places: Vec<Arc<dyn Place>>,
}

/// Answer of one memory about one log.
#[derive(Debug)]
pub struct Answered {
    /// Name of the memory.
    pub name: String,
    /// True when the answer counts as memory; see [`Place::remembers`].
    pub remembers: bool,
    /// Newest head of the log.
    pub newest: Result<Option<Remembered>, PlaceError>,
}

impl Memory {
    /// Lists journal and places, the journal first.
    pub fn sources(&self) -> impl Iterator<Item = &(dyn Place + 'static)> {
        let journal: &(dyn Place + 'static) = &self.journal;
        std::iter::once(journal).chain(self.places.iter().map(|place| &**place))
    }

    /// Asks each memory for its newest head of this origin. Blocks.
    pub fn newest(&self, origin: &str) -> Vec<Answered> {
        let sources = self.sources();
        let answers = sources.map(|place| Answered {
            name: place.name(),
            remembers: place.remembers(),
            newest: place.newest(origin),
        });
        answers.collect()
    }

    /// Takes the notices of all.
    pub fn notices(&self) -> Vec<String> {
        self.sources().flat_map(|place| place.notices()).collect()
    }
}
