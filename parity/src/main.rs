//! Parity.
fn main() {}
