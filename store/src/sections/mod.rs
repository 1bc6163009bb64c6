//! The contract in sections, one per noun: the half that changes it, and the half of the read view.

mod batches;
mod builds;
mod changes;
mod failures;
mod log;
mod members;
mod rows;
mod runs;
mod schema;
mod scopes;
mod seals;

pub use batches::Batches;
pub use builds::Builds;
pub use changes::{Changes, ReadChanges};
pub use failures::{Failures, ReadFailures};
pub use log::{Log, MoveStep, Placed, ReadLog, Wakes};
pub use members::{Members, ReadMembers};
pub(crate) use rows::ahead;
pub use rows::{ReadRows, RowStream};
pub use runs::{ReadRuns, Runs};
pub use schema::Schema;
pub use scopes::{ReadScopes, Scopes};
pub use seals::{ReadSeals, Seals};
