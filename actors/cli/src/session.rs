//! The way from arguments to an engine on an open store whose schema fits.

use crate::globals::Globals;
use crate::sealing::{OwnKey, sealing};
use decisiongraph_cli::config;
use decisiongraph_cli::config::EMBEDDED_FILE;
use decisiongraph_engine::{Budget, Engine};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::data_dir;
use decisiongraph_store::{DatabaseUrl, Owner, SchemaFit, Store, StoreError, StoreOptions, open};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Purpose for which a command opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading: a named file that does not exist, or is not ours, is left alone.
    Read,
    /// Writing: a file is created and its schema is migrated.
    Write,
    /// Migration: the schema is migrated, from any version.
    Migrate,
}

/// Location of the database of a command.
#[derive(Debug, Clone)]
pub struct Location {
    url: DatabaseUrl,
    /// True for the embedded default: this program may create it.
    ours: bool,
}

impl Location {
    /// Resolves `--database`, else `DATABASE_URL`, else the file in the data directory.
    pub fn resolve(globals: &Globals) -> Result<Location, AdminError> {
        let named = globals.database.clone().map(|url| ("--database", url));
        let named = named.or_else(|| {
            let url = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())?;
            Some(("DATABASE_URL", url))
        });
        match named {
            Some((place, url)) => {
                let url = DatabaseUrl::parse(&url).map_err(|error| {
                    AdminError::new(error.category, format!("{place}: {}", error.message))
                        .next("for example postgres://user@localhost/decisions, or sqlite:./decisions.db")
                })?;
                Ok(Location { url, ours: false })
            }
            None => Location::embedded(&data_dir(globals)?),
        }
    }

    /// Locates the embedded store of this directory. Makes the directory if it is missing, and closes it to other
    /// users.
    pub fn embedded(directory: &Path) -> Result<Location, AdminError> {
        data_dir::own(directory)?;
        Ok(Location { url: DatabaseUrl::Sqlite(directory.join(EMBEDDED_FILE)), ours: true })
    }

    /// Opens the database. Checks its schema, or migrates it where `access` allows that.
    pub async fn open(&self, globals: &Globals, access: Access) -> Result<Engine, AdminError> {
        self.open_as("cli", globals, access).await
    }

    /// Like [`Location::open`], for an owner of this kind (`cli`, `node`).
    pub async fn open_as(&self, kind: &str, globals: &Globals, access: Access) -> Result<Engine, AdminError> {
        let create = self.ours || access != Access::Read;
        if let DatabaseUrl::Sqlite(path) = &self.url
            && !create
            && !path.exists()
        {
            return Err(AdminError::new(Category::Unavailable, format!("there is no file {}", path.display()))
                .next("check the path; `import` and `migrate` create it"));
        }
        let session_name = globals.session.map(str::to_owned);
        let (mut config, seal) = config::from_environment()?;
        let cache_bytes = Budget::cache_bytes(config.memory_max);
        let options = StoreOptions { create, cache_bytes, session_name, ..StoreOptions::default() };
        let store = open(&self.url, options).await.map_err(|e| self.advise(e))?;
        if access != Access::Migrate {
            self.see_to_schema(&*store, access).await?;
        }
        if let Some(events) = globals.batch_size {
            config.batch_events_max = events as usize;
        }
        let own = self.own_key(access);
        let sealing = match sealing(&seal, || self.data_dir(globals), own, globals.json) {
            // A query needs no key.
            Err(error) if access == Access::Read && seal.key_file.is_none() => {
                tracing::warn!("the key of the seal is not used: {}", error.message);
                None
            }
            sealing => sealing?,
        };
        Ok(Engine::new(store, owner(kind), config).with_sealing(sealing))
    }

    /// Returns the directory of the embedded default, else the data directory.
    fn data_dir(&self, globals: &Globals) -> Result<PathBuf, AdminError> {
        match &self.url {
            DatabaseUrl::Sqlite(path) if self.ours => Ok(path.parent().map(Path::to_owned).unwrap_or_default()),
            _ => data_dir(globals),
        }
    }

    /// Says which key seals this database when none is configured.
    fn own_key(&self, access: Access) -> OwnKey {
        match access {
            _ if !self.ours => OwnKey::None,
            Access::Write => OwnKey::Made,
            Access::Read | Access::Migrate => OwnKey::Found,
        }
    }

    async fn see_to_schema(&self, store: &dyn Store, access: Access) -> Result<(), AdminError> {
        let schema = store.schema_status().await.map_err(|error| self.advise(error))?;
        let fit = schema.fit();
        if matches!(fit, SchemaFit::Same | SchemaFit::ServesOlder) {
            return Ok(());
        }
        let embedded = matches!(self.url, DatabaseUrl::Sqlite(_));
        if embedded && fit == SchemaFit::Behind && (self.ours || access == Access::Write) {
            store.migrate().await.map_err(|error| self.advise(error))?;
            return Ok(());
        }
        let what = match schema.database {
            0 => format!("{} has no DecisionGraph schema yet", self.url),
            database => {
                format!("{} has schema {database}, but this program needs schema {}", self.url, schema.needed())
            }
        };
        let next = if fit == SchemaFit::TooNew {
            "use a newer `decisiongraph`: this one does not know the schema and must not touch it"
        } else {
            "run `decisiongraph migrate`"
        };
        Err(AdminError::new(Category::VersionMismatch, what).next(next))
    }

    fn advise(&self, error: StoreError) -> AdminError {
        let transient = error.transient;
        let error = AdminError::from(error);
        match (&self.url, error.category) {
            (DatabaseUrl::Sqlite(path), Category::Storage) if !transient => error.next(format!(
                "check that {} and its directory are readable and writable, and that the file is a DecisionGraph store",
                path.display()
            )),
            _ => error,
        }
    }
}

/// Returns `--data-dir`, else `DECISIONGRAPH_DATA_DIR`, else `$XDG_DATA_HOME/decisiongraph`, else
/// `~/.local/share/decisiongraph`.
pub fn data_dir(globals: &Globals) -> Result<PathBuf, AdminError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    globals
        .data_dir
        .clone()
        .or_else(|| variable("DECISIONGRAPH_DATA_DIR"))
        .or_else(|| variable("XDG_DATA_HOME").map(|home| home.join("decisiongraph")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/decisiongraph")))
        .ok_or_else(|| {
            AdminError::new(Category::InvalidArgument, "there is no home directory for the embedded store")
                .next("name a directory with --data-dir, or a database with --database")
        })
}

/// Names this process as an owner, for readers of `status` and `runs`.
fn owner(kind: &str) -> Owner {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    Owner { node: format!("{kind}:{host}:{}", std::process::id()), incarnation: Uuid::new_v4() }
}
