//! Identities of HTTP callers: names, rights, tenants, and the hashes of their tokens.
//!
//! *Guarantees.* A token is kept as its hash alone, and never appears in `Debug` or in an error. A token is as random
//! as a key, so its hash needs no slow function. The file belongs to its owner alone. A file that changes is read
//! again; a faulty one leaves the identities before it in force.

mod file;
mod live;
mod token;

pub use file::{IdentitiesFile, Identity, Role, StoredToken, import_accounts};
pub use live::{Caller, Identities, LOCAL};
pub(crate) use live::{LOOK_EVERY, SOCKET};
pub use token::{NewToken, hash_of};

/// Largest identities file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Returns the present time, RFC 3339 in UTC, to the second.
pub fn now() -> String {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}
