//! The engine that drives the projections, and the admin requests that steer it.

pub mod admin;
pub mod config;
pub mod engine;
pub mod lines;
pub mod queries;
pub mod supervision;
