//! How a generation is stored, made live and removed.

use super::{Generation, Position};
use decisiongraph_projections::LogSeq;
use serde::{Deserialize, Serialize};

/// Where the rows of a new generation go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Beside the other generations: for small ones.
    Shared,
    /// A partition of its own, bulk loaded and indexed late: for large ones. (The embedded store has only shared.)
    Own,
}

/// What a flip did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// Readers see the new generation.
    Flipped {
        /// The generation they saw before.
        old_generation: Generation,
        /// Where that one stood.
        old: Position,
    },
    /// The live generation is ahead: follow the log to here and try again.
    Behind {
        /// The live cursor.
        live_cursor: LogSeq,
    },
}

/// How much of the retired generations is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// Rows deleted by this call.
    pub rows: u64,
    /// Generations that are gone for good after this call.
    pub generations: u64,
    /// Retired generations that still have rows, or that a transaction older than their retirement may still read.
    pub left: u64,
}
