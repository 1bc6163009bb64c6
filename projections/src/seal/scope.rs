//! The seal as a scope: owned, fenced, paused and measured like a projection, but without rows. It is no projection of
//! the catalogue: nothing rebuilds it, flips it or skips an event of it.

use crate::event::LogEvent;
use crate::prior::{Needs, Prior};
use crate::projection::{Density, Projected, Projection};
use crate::rows::Table;

/// Name of the scope.
pub const SEAL_NAME: &str = "seal";
/// The scope.
pub const SEAL: &dyn Projection = &Seal;

struct Seal;

impl Projection for Seal {
    fn name(&self) -> &'static str {
        SEAL_NAME
    }

    /// Version of the format of a leaf.
    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        &[]
    }

    fn density(&self) -> Density {
        Density { rows_per_event: 0.0, bytes_per_row: 0.0 }
    }

    fn needs(&self, _: &[LogEvent]) -> Needs {
        Needs::default()
    }

    fn project(&self, _: &[LogEvent], _: &Needs, _: &Prior) -> Projected {
        Projected::default()
    }
}
