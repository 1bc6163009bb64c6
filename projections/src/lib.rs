//! The rules of DecisionGraph, as pure functions: events in, rows and digests out.
//!
//! *Never here:* I/O, a clock, randomness, async, logging. The caller supplies all past state that a rule needs:
//! [`Needs`] names it, [`Prior`] brings it. Any batch can therefore be replayed offline and give the same result.
//!
//! Contents: [`event`], [`shape`] and [`canonical_json`] for input; [`validation`], [`credential_guard`] and
//! [`sequence`] for admission; [`faults`] for producers; [`catalogue`] for the projections; [`digest`] for the proofs;
//! [`seal`] for the evidence that the log is as it was.

mod absence;
pub mod canonical_json;
pub mod catalogue;
pub mod category;
pub mod credential_guard;
pub mod digest;
pub mod event;
pub mod faults;
pub mod file_order;
pub mod json_reader;
pub mod known;
pub mod open_traces;
pub mod payload_hash;
mod place;
pub mod prior;
pub mod projection;
pub mod rfc3339;
pub mod rows;
pub mod seal;
pub mod sequence;
pub mod shape;
pub mod stored_payload;
pub mod validation;

pub use category::{Category, Details, Refusal};
pub use event::{Admitted, LogEvent, LogSeq, StoredEvent, TenantId};
pub use prior::{Carried, Fetch, Needs, Prior, Recalled, RowsNeed, Texts};
pub use projection::{Density, Projected, Projection};
pub use rows::{Changes, Column, ColumnType, Hashed, Identity, Row, RowKey, Table, TableChanges, Value};
pub use sequence::Poison;
