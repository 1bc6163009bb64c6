//! The contract in sections, one per noun: the half that changes it, and the half of the read view.

mod builds;
mod changes;
mod failures;
mod members;
mod runs;
mod scopes;

pub use builds::Builds;
pub use changes::{Changes, ReadChanges};
pub use failures::{Failures, ReadFailures};
pub use members::{Members, ReadMembers};
pub use runs::{ReadRuns, Runs};
pub use scopes::{ReadScopes, Scopes};
