//! What SQLite's errors mean: the only place of this backend that maps them.
//!
//! A message says what happened and what to do; the path is put before it at the boundary ([`named`]), once.

use crate::StoreError;
use decisiongraph_projections::Category;
use rusqlite::ErrorCode;
use rusqlite::ffi;
use std::path::Path;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let rusqlite::Error::SqliteFailure(code, text) = &error else {
            return match unreadable(&error) {
                true => StoreError::new(Category::Storage, format!("a stored value cannot be read: {error}")),
                false => StoreError::internal(error.to_string()),
            };
        };
        let text = text.as_deref().unwrap_or_default();
        match code.code {
            ErrorCode::ConstraintViolation => match code.extended_code {
                ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                    StoreError::duplicate(format!("a unique key is already there: {text}"))
                }
                _ => StoreError::internal(format!("a constraint does not hold: {text}")),
            },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::transient(
                Category::Storage,
                "the database is locked by another process; try again when it has finished",
            ),
            ErrorCode::DiskFull => {
                StoreError::transient(Category::Storage, "the disk is full; nothing was changed; free some space")
            }
            ErrorCode::ReadOnly => StoreError::new(
                Category::Storage,
                "the database is read-only; check the file's and folder's permissions",
            ),
            ErrorCode::CannotOpen => StoreError::new(
                Category::Unavailable,
                "the database cannot be opened; check that the folder exists and its permissions",
            ),
            ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
                StoreError::new(Category::Unavailable, "no permission to use the database")
            }
            ErrorCode::NotADatabase => StoreError::new(Category::Storage, "the file is not a DecisionGraph database"),
            ErrorCode::DatabaseCorrupt => StoreError::new(
                Category::Storage,
                format!("the database is damaged ({text}); restore it from a backup"),
            ),
            ErrorCode::SystemIoFailure => {
                StoreError::transient(Category::Storage, format!("reading or writing the file failed: {text}"))
            }
            ErrorCode::TooBig => StoreError::new(Category::Storage, "a value is too big to be stored"),
            ErrorCode::Unknown if text.starts_with("no such table: dg_") => not_migrated(),
            _ => StoreError::internal(format!("{error}")),
        }
    }
}

/// Whether a stored value is the cause: of a list, one row that cannot be read is left out.
pub(super) fn unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// The database has no schema, or an old one.
pub(super) fn not_migrated() -> StoreError {
    StoreError::new(Category::Unavailable, "the database has not this program's schema; run `decisiongraph migrate`")
        .next("run `decisiongraph migrate`")
}

/// The database's schema is newer than the program.
pub(super) fn too_new(database: i64, program: i64) -> StoreError {
    StoreError::new(
        Category::VersionMismatch,
        format!("the schema is of version {database}, this program knows {program}; use a newer program"),
    )
}

/// The error with the file's name in front, where it speaks of the file. Called once, at the boundary.
pub(super) fn named(path: &Path, mut error: StoreError) -> StoreError {
    if matches!(
        error.category,
        Category::Storage
            | Category::Unavailable
            | Category::OutcomeUnknown
            | Category::VersionMismatch
            | Category::Internal
    ) {
        error.message = format!("{}: {}", path.display(), error.message);
    }
    error
}
