//! Compares DecisionGraph with its reference. Parts: fixture files ([`bundle`]), the checker ([`check`]), seeded
//! workloads ([`workload`]), the benchmark ([`bench`]) and the fuzzer's targets ([`fuzzing`]).
//!
//! No crate depends on this one. Results are printed; the exit code is 0 or 1.

pub mod bench;
pub mod bundle;
pub mod check;
pub mod fuzzing;
pub mod skim;
pub mod with_postgres;
pub mod workload;
