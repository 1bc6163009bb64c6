//! Faults that only PostgreSQL can have: many writers, sessions that stop or are lost, partitions, servers that refuse.
//! On a real server; one is started for all of these tests.
#![cfg(feature = "throwaway-postgres")]

#[macro_use]
#[path = "../../src/sql.rs"]
mod sql;

#[allow(dead_code)]
#[path = "../conformance/backend.rs"]
mod backend;
#[allow(dead_code)]
#[path = "../conformance/fold.rs"]
mod fold;
#[allow(dead_code)]
#[path = "../conformance/log.rs"]
mod log;
mod raw;

mod encrypted;
mod errors;
mod fencing;
mod generations;
mod groups;
mod high_water;
mod plans;
mod roles;
mod sessions;
mod standbys;
mod throwaway;
mod wakes;
mod walls;
