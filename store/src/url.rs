//! Database addresses, and the one way to open a store.

use crate::{Result, Store, StoreError};
use decisiongraph_projections::Category;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Address of a database. `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A `postgres://…` or `postgresql://…` URL, with its password if it has one.
    Postgres(String),
    /// The file of an embedded store.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Reads `postgres://…`, `postgresql://…` or `sqlite:PATH`.
    pub fn parse(text: &str) -> Result<DatabaseUrl> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            if text.split_once('@').is_some_and(|(login, _)| login.contains('?')) {
                return Err(StoreError::new(
                    Category::InvalidArgument,
                    "the database URL has a `?` before its `@`, which can be read in two ways: write %3F for a `?` in a password, and %40 for an `@` in a parameter",
                ));
            }
            return Ok(DatabaseUrl::Postgres(text.to_owned()));
        }
        match text.strip_prefix("sqlite:") {
            // The address of a server would be shown as the path of a file, with its password.
            Some(path) if path.contains("://") => Err(StoreError::new(
                Category::InvalidArgument,
                "the path behind `sqlite:` contains `://`, like the address of a server: write postgres://USER@HOST/DATABASE without \
                 `sqlite:`, or sqlite:PATH with the path of a file",
            )),
            Some(path) if !path.is_empty() => Ok(DatabaseUrl::Sqlite(PathBuf::from(path))),
            _ => Err(StoreError::new(
                Category::InvalidArgument,
                "a database must be postgres://USER@HOST/DATABASE or sqlite:PATH",
            )),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            DatabaseUrl::Postgres(url) => {
                // The driver takes the text before the first `@` for user and password, a `/` included. A password with
                // an `@` goes on to a later one. Query parameters may hold a password too, so they are left out.
                let (scheme, rest) = url.split_once("//").unwrap_or(("postgres:", url));
                let (login, rest) = rest.split_once('@').unwrap_or(("", rest));
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let user = login.split([':', '/', '?']).next().unwrap_or_default();
                let at = if user.is_empty() { "" } else { "@" };
                write!(f, "{scheme}//{user}{at}{host}/{path}")
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Options for opening a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Connections for reads, queries and appends (PostgreSQL).
    pub pool_size: usize,
    /// Sessions that write batches (PostgreSQL). A scope always writes through the same one.
    pub writers: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest single statement of a batch, and longest wait for a lock.
    pub statement_timeout: Duration,
    /// Longest pause inside a transaction before the server ends it.
    pub idle_in_transaction_timeout: Duration,
    /// True when the file of an embedded store is created if it does not exist.
    pub create: bool,
    /// True when no connection is made at opening (PostgreSQL): a node starts before its database.
    pub later: bool,
    /// Approximate bytes that all embedded stores of the process together cache of their files. 0: as many as each
    /// connection may.
    pub cache_bytes: u64,
    /// Name behind [`crate::SESSION_NAME`] that the server's other users see: the process, or the command.
    pub session_name: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            pool_size: 8,
            writers: 3,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            idle_in_transaction_timeout: Duration::from_secs(10),
            create: true,
            later: false,
            cache_bytes: 0,
            session_name: None,
        }
    }
}

/// Opens a store. Does not migrate.
pub async fn open(url: &DatabaseUrl, options: StoreOptions) -> Result<Arc<dyn Store>> {
    match url {
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => crate::postgres::open(url, options).await,
        #[cfg(feature = "sqlite")]
        DatabaseUrl::Sqlite(path) => crate::sqlite::open(path, options).await,
        #[allow(unreachable_patterns)]
        other => Err(StoreError::new(Category::InvalidArgument, format!("this build cannot open {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (url, shown) in [
            ("postgres://u:s3cret@h:5432/d?password=s3cret", "postgres://u@h:5432/d"),
            ("postgresql://u:p@ss:w0rd@h/d", "postgresql://u@h/d"),
            ("postgres://u:c2/VjcmV0+@h/d", "postgres://u@h/d"),
            ("postgres://u:s3/cr@t/x@h/d?application_name=a@b", "postgres://u@h/d"),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres:///d?host=/run&password=x", "postgres:///d"),
            ("sqlite:a b.db", "sqlite:a b.db"),
        ] {
            let parsed = DatabaseUrl::parse(url).expect("reads");
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(format!("{parsed:?}"), format!("DatabaseUrl({shown})"));
        }
        let two_ways = ["postgres://u:s3?cret@h/d", "postgres://h/d?user=u&password=s3cr@t"];
        for bad in ["", "mysql://h", "sqlite:", "h:5432", "sqlite:postgres://u:s3cret@h/d"].into_iter().chain(two_ways)
        {
            assert_eq!(DatabaseUrl::parse(bad).expect_err(bad).category, Category::InvalidArgument);
        }
    }
}
