//! The engine that drives the projections, and the admin requests that steer it.

pub mod engine;
