//! 128-bit values on the wire. A hash or an id is the server's `uuid` (16 bytes, ordered by bytes). An identity of rows
//! is the same, or `bytea` when a place precedes it.

use bytes::{BufMut as _, BytesMut};
use decisiongraph_projections::{Identity, RowKey};
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

/// A hash or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) [u8; 16]);

impl From<RowKey> for Key {
    fn from(key: RowKey) -> Key {
        Key(key.0)
    }
}

impl From<Uuid> for Key {
    fn from(id: Uuid) -> Key {
        Key(id.into_bytes())
    }
}

impl From<Key> for Uuid {
    fn from(key: Key) -> Uuid {
        Uuid::from_bytes(key.0)
    }
}

impl ToSql for Key {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }
    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Key {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Key, Box<dyn Error + Sync + Send>> {
        Ok(Key(raw.try_into()?))
    }
    accepts!(UUID);
}

/// An identity of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) Identity);

impl From<Identity> for Id {
    fn from(identity: Identity) -> Id {
        Id(identity)
    }
}

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
    accepts!(UUID, BYTEA);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Id, Box<dyn Error + Sync + Send>> {
        Identity::from_bytes(raw).map(Id).ok_or_else(|| "a row_key is not a row identity".into())
    }
    accepts!(UUID, BYTEA);
}
