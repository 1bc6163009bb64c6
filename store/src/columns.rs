//! Columns of a row, read alike on both backends. A value that cannot be read names its column.

use crate::{Generation, Position, Result, StoreError};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Category, Identity, LogSeq, TenantId};
use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use uuid::Uuid;

/// A row of an answer. Columns are read by their place in the list of the statement.
pub(crate) trait Columns {
    /// Reads a text.
    fn text(&self, at: usize) -> Result<Option<&str>>;
    /// Reads a text. Bytes that are not UTF-8 are replaced, where the database can hold any.
    fn any_text(&self, at: usize) -> Result<Option<Cow<'_, str>>> {
        Ok(self.text(at)?.map(Cow::Borrowed))
    }
    /// Reads an integer of any width.
    fn int(&self, at: usize) -> Result<Option<i64>>;
    /// Reads a floating-point number.
    fn float(&self, at: usize) -> Result<Option<f64>>;
    /// Reads a truth value.
    fn flag(&self, at: usize) -> Result<Option<bool>>;
    /// Reads bytes, or the 16 bytes of an id.
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>>;
    /// Returns the number of columns.
    fn count(&self) -> usize;
    /// Returns the name of a column.
    fn name(&self, at: usize) -> String;

    /// Reads a value; an absent one is an error, unless the type is an `Option`.
    fn at<T: Column>(&self, at: usize) -> Result<T>
    where
        Self: Sized,
    {
        match T::find(self, at)? {
            Some(value) => Ok(value),
            None => T::ABSENT.ok_or_else(|| unreadable(self, at, "it is NULL")),
        }
    }

    /// Reads cursor, digest and version, in this order.
    fn position(&self, at: usize) -> Result<Position>
    where
        Self: Sized,
    {
        let cursor = self.at(at)?;
        let bytes = self.bytes(at + 1)?.unwrap_or_default();
        let digest = RollingDigest::from_bytes(bytes).ok_or_else(|| {
            let text = format!("corruption: the stored digest at cursor {cursor} has {} bytes", bytes.len());
            StoreError::new(Category::Storage, text)
        })?;
        Ok(Position { cursor, digest, version: self.at(at + 2)? })
    }

    /// Reads the tenant of a row of a list; none when the row belongs to no tenant. One bad row is left out, and no
    /// list fails because of it; `strays` names it.
    fn tenant(&self, at: usize) -> Option<TenantId> {
        TenantId::new(self.text(at).ok()??).ok()
    }
}

/// Creates the error of a stored value that cannot be read.
pub(crate) fn unreadable(row: &impl Columns, at: usize, why: impl Display) -> StoreError {
    let text = format!("a stored value cannot be read: column {} ({}): {why}", at + 1, row.name(at));
    StoreError::new(Category::Storage, text)
}

/// A noun that is stored in a row. Its statements list the same columns in the same order on both backends.
pub(crate) trait Stored: Sized {
    /// Reads it from its row.
    fn read(row: &impl Columns) -> Result<Self>;
}

/// A row of a list; none when it cannot be read. One bad row fails no list.
impl<T: Stored> Stored for Option<T> {
    fn read(row: &impl Columns) -> Result<Option<T>> {
        Ok(T::read(row).ok())
    }
}

/// The tenant of a row.
impl Stored for TenantId {
    fn read(row: &impl Columns) -> Result<TenantId> {
        row.at(0)
    }
}

impl<A: Column> Stored for (A,) {
    fn read(row: &impl Columns) -> Result<(A,)> {
        Ok((row.at(0)?,))
    }
}

impl<A: Column, B: Column> Stored for (A, B) {
    fn read(row: &impl Columns) -> Result<(A, B)> {
        Ok((row.at(0)?, row.at(1)?))
    }
}

impl<A: Column, B: Column, C: Column> Stored for (A, B, C) {
    fn read(row: &impl Columns) -> Result<(A, B, C)> {
        Ok((row.at(0)?, row.at(1)?, row.at(2)?))
    }
}

impl<A: Column, B: Column, C: Column, D: Column> Stored for (A, B, C, D) {
    fn read(row: &impl Columns) -> Result<(A, B, C, D)> {
        Ok((row.at(0)?, row.at(1)?, row.at(2)?, row.at(3)?))
    }
}

/// A type of values in columns.
pub(crate) trait Column: Sized {
    /// Value for NULL, if NULL is allowed.
    const ABSENT: Option<Self> = None;
    /// Reads a value; none for NULL.
    fn find(row: &impl Columns, at: usize) -> Result<Option<Self>>;
}

impl<T: Column> Column for Option<T> {
    const ABSENT: Option<Option<T>> = Some(None);
    fn find(row: &impl Columns, at: usize) -> Result<Option<Option<T>>> {
        Ok(T::find(row, at)?.map(Some))
    }
}

impl Column for i64 {
    fn find(row: &impl Columns, at: usize) -> Result<Option<i64>> {
        row.int(at)
    }
}

impl Column for i32 {
    fn find(row: &impl Columns, at: usize) -> Result<Option<i32>> {
        let narrow = |wide| i32::try_from(wide).map_err(|error| unreadable(row, at, error));
        row.int(at)?.map(narrow).transpose()
    }
}

/// A count.
impl Column for u64 {
    fn find(row: &impl Columns, at: usize) -> Result<Option<u64>> {
        Ok(row.int(at)?.map(i64::unsigned_abs))
    }
}

impl Column for f64 {
    fn find(row: &impl Columns, at: usize) -> Result<Option<f64>> {
        row.float(at)
    }
}

impl Column for bool {
    fn find(row: &impl Columns, at: usize) -> Result<Option<bool>> {
        row.flag(at)
    }
}

impl Column for String {
    fn find(row: &impl Columns, at: usize) -> Result<Option<String>> {
        Ok(row.text(at)?.map(str::to_owned))
    }
}

impl Column for Arc<str> {
    fn find(row: &impl Columns, at: usize) -> Result<Option<Arc<str>>> {
        Ok(row.text(at)?.map(Arc::from))
    }
}

impl Column for Uuid {
    fn find(row: &impl Columns, at: usize) -> Result<Option<Uuid>> {
        let id = |bytes| Uuid::from_slice(bytes).map_err(|error| unreadable(row, at, error));
        row.bytes(at)?.map(id).transpose()
    }
}

impl Column for Identity {
    fn find(row: &impl Columns, at: usize) -> Result<Option<Identity>> {
        let key = |bytes| Identity::from_bytes(bytes).ok_or_else(|| unreadable(row, at, "it is not a row identity"));
        row.bytes(at)?.map(key).transpose()
    }
}

impl Column for LogSeq {
    fn find(row: &impl Columns, at: usize) -> Result<Option<LogSeq>> {
        Ok(row.int(at)?.map(LogSeq))
    }
}

impl Column for Generation {
    fn find(row: &impl Columns, at: usize) -> Result<Option<Generation>> {
        Ok(row.int(at)?.map(Generation))
    }
}

impl Column for TenantId {
    fn find(row: &impl Columns, at: usize) -> Result<Option<TenantId>> {
        let tenant = |text| TenantId::new(text).map_err(|refusal| unreadable(row, at, refusal.message));
        row.text(at)?.map(tenant).transpose()
    }
}
