//! Offers what libFuzzer makes up to the target of this program's name.
#![no_main]

use cap::Cap;
use std::alloc::System;

/// Bytes that the product may hold for one input, the fuzzer's own included.
const BYTES_MAX: usize = 256 * 1024 * 1024;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, BYTES_MAX);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decisiongraph_parity::fuzzing::offer(env!("CARGO_BIN_NAME"), bytes));
