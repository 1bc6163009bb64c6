//! Storage, flip and removal of generations.

use super::{Generation, Position};
use decisiongraph_projections::LogSeq;
use serde::{Deserialize, Serialize};

/// Place for the rows of a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Beside the other generations: for small ones.
    Shared,
    /// A separate partition, bulk loaded and indexed late: for large ones. (The embedded store has only shared.)
    Own,
}

/// Result of a flip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// Readers see the new generation.
    Flipped {
        /// Generation that readers saw before.
        old_generation: Generation,
        /// Position of that generation.
        old: Position,
    },
    /// The live generation is ahead: follow the log to this cursor and try again.
    Behind {
        /// The live cursor.
        live_cursor: LogSeq,
    },
}

/// Progress in removing retired generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// Rows deleted by this call.
    pub rows: u64,
    /// Generations that are completely deleted after this call.
    pub generations: u64,
    /// Retired generations that still have rows, or that a transaction older than their retirement may still read.
    pub left: u64,
}
