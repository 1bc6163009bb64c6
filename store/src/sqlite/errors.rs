//! The meaning of SQLite's errors: the only place of this backend that maps them.
//!
//! A message tells the event and the remedy. The path is put before it once, at the boundary ([`named`]).

use crate::StoreError;
use decisiongraph_projections::{Category, Refusal};
use rusqlite::ErrorCode;
use rusqlite::ffi;
use std::ops::Deref;
use std::path::Path;

/// Result of a statement of this backend.
pub(super) type Result<T, E = Failed> = std::result::Result<T, E>;

/// An error on its way out of this backend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failed(pub StoreError);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl Deref for Failed {
    type Target = StoreError;
    fn deref(&self) -> &StoreError {
        &self.0
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed(error)
    }
}

impl From<Failed> for StoreError {
    fn from(error: Failed) -> StoreError {
        error.0
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        Failed(refusal.into())
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        Failed(meaning(error))
    }
}

/// Returns the meaning of an error of SQLite.
pub(super) fn meaning(error: rusqlite::Error) -> StoreError {
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
                StoreError::duplicate(format!("a unique key already exists: {text}"))
            }
            _ => StoreError::internal(format!("a constraint is violated: {text}")),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::transient(
            Category::Storage,
            "the database is locked by another process; try again when it has finished",
        ),
        ErrorCode::DiskFull => {
            StoreError::transient(Category::Storage, "the disk is full; nothing was changed; free some space")
        }
        ErrorCode::ReadOnly => {
            StoreError::new(Category::Storage, "the database is read-only; check the file's and folder's permissions")
        }
        ErrorCode::CannotOpen => StoreError::new(
            Category::Unavailable,
            "the database cannot be opened; check that the folder exists and its permissions",
        ),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            StoreError::new(Category::Unavailable, "no permission to use the database")
        }
        ErrorCode::NotADatabase => StoreError::new(Category::Storage, "the file is not a DecisionGraph database"),
        ErrorCode::DatabaseCorrupt => {
            StoreError::new(Category::Storage, format!("the database is damaged ({text}); restore it from a backup"))
        }
        ErrorCode::SystemIoFailure => {
            StoreError::transient(Category::Storage, format!("reading or writing the file failed: {text}"))
        }
        ErrorCode::TooBig => StoreError::new(Category::Storage, "a value is too big to be stored"),
        ErrorCode::Unknown if text.starts_with("no such table: dg_") => not_migrated(),
        _ => StoreError::internal(format!("{error}")),
    }
}

/// True when a stored value is the cause. A list leaves out one row that cannot be read.
pub(super) fn unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Creates the error of a database without a schema, or with an old one.
pub(super) fn not_migrated() -> StoreError {
    StoreError::new(Category::Unavailable, "the database lacks this program's schema; run `decisiongraph migrate`")
        .next("run `decisiongraph migrate`")
}

/// Creates the error of a database whose schema is newer than the program.
pub(super) fn too_new(database: i64, program: i64) -> StoreError {
    StoreError::new(
        Category::VersionMismatch,
        format!("the database has schema {database}, but this program knows {program}; use a newer program"),
    )
}

/// Puts the file's name in front of an error that concerns the file. Called once, at the boundary.
pub(super) fn named(path: &Path, error: impl Into<StoreError>) -> Failed {
    let mut error = error.into();
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
    Failed(error)
}
