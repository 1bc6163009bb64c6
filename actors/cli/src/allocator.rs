//! The setting of the C library's allocator with which a node stays below `memory_max`.
//!
//! *Guarantees.* A freed block of 1 MiB or more returns to the system at once. By default, glibc raises its limit for
//! such blocks to 32 MiB with each large block that is freed. Pages of events then come from heaps of threads, which
//! keep what was freed: 60 to 80 MiB more at the peak of the memory test, with 2 busy processors
//! ([ADR 23](../../../docs/adr/0023-allocator.md)).
//!
//! *Never here:* another allocator. Other C libraries than glibc are left as they are.

/// Smallest block that is mapped by itself, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 1 << 20;

/// Fixes the size from which blocks return to the system when they are freed. Called before any thread starts.
#[allow(unsafe_code, reason = "the C library has no other way to set it")]
pub fn return_large_blocks() {
    // SAFETY: `mallopt` reads two integers and changes a setting of the allocator. No other thread runs yet. A refused
    // value leaves the setting as it was.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}
