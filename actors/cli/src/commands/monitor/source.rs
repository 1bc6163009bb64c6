//! Sources of a monitor: a place, a node's HTTP interface, or a database.

mod instead;
mod statements;

use crate::commands::Context;
use crate::connection::Connection;
use crate::globals::Globals;
use crate::node_web::NodeWeb;
use crate::sealing::place;
use crate::session::Access;
use decisiongraph_cli::config::seal::NamedPlace;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{AdminError, ConsistencyRequest, SealCheckpointsRequest, SealStatusRequest};
use decisiongraph_seal::consistency::Consistency;
use decisiongraph_seal::{Place, PlaceError, Remembered};
use decisiongraph_store::{DatabaseUrl, NoteKind};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Most rotation notes that are read of a source.
const ROTATIONS_MAX: i64 = 100;

/// Source of checkpoints.
pub struct Source {
    kind: Kind,
    origin: String,
}

enum Kind {
    Place(Arc<dyn Place>),
    Web(NodeWeb),
    Database(Box<Globals>),
}

impl Source {
    /// Reads the name of a source.
    pub fn open(context: &Context, name: &str, origin: &str, token: Option<&Path>) -> Result<Source, AdminError> {
        let globals = &context.globals;
        let invalid = |message: String| AdminError::new(Category::InvalidArgument, message);
        let kind = if NodeWeb::is_address(name) {
            Kind::Web(NodeWeb::open(globals, name, token)?)
        } else if matches!(NamedPlace::parse(name), Some(NamedPlace::Folder(_) | NamedPlace::Objects(_))) {
            instead::folder_of(name)?;
            Kind::Place(place(name, Path::new("."))?)
        } else if Path::new(name).is_dir() {
            Kind::Place(place(&format!("dir:{name}"), Path::new("."))?)
        } else if Path::new(name).is_file() {
            return Err(instead::is_a_file(name));
        } else if DatabaseUrl::parse(name).is_ok() {
            Kind::Database(Box::new(Globals { database: Some(name.to_owned()), node: None, ..globals.clone() }))
        } else {
            return Err(invalid(format!("`{name}` is not a source"))
                .next("name dir:PATH, objects:PATH, http://HOST:PORT, https://HOST, postgres://… or sqlite:PATH"));
        };
        Ok(Source { kind, origin: origin.to_owned() })
    }

    /// True when it can prove that a log only grew.
    pub fn proves(&self) -> bool {
        !matches!(self.kind, Kind::Place(_))
    }

    /// Reads the newest checkpoint, and before it the ones of at least `from` events where the source lists them.
    pub async fn checkpoints(&self, from: u64) -> Result<Vec<Remembered>, AdminError> {
        match &self.kind {
            Kind::Place(place) => {
                let (newest, origin) = (Arc::clone(place), self.origin.clone());
                let newest = on_its_thread(move || newest.newest(&origin)).await?;
                let from = from.min(newest.map_or(0, |note| note.size));
                let is_one = move |note: &Remembered| note.is_checkpoint() && note.size >= from;
                let mut notes = self.of_place(place, is_one).await?;
                notes.sort_by_key(|note| note.size);
                Ok(notes)
            }
            Kind::Web(web) => match web.get::<Value>("/api/v1/seal/checkpoint").await {
                Ok(data) => self.read(&data["checkpoint"], &data["noted_at"]).map(|note| vec![note]),
                Err(error) if error.category == Category::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            Kind::Database(globals) => {
                let notes = self.notes(globals, NoteKind::Checkpoint, 1).await?;
                notes.iter().map(|(note, at)| self.checkpoint(note, at)).collect()
            }
        }
    }

    /// Reads the rotation notes of the log, the oldest first.
    pub async fn rotations(&self) -> Result<Vec<Remembered>, AdminError> {
        let notes = match &self.kind {
            Kind::Place(place) => return self.of_place(place, is_rotation).await,
            Kind::Web(web) => {
                let path = format!("/api/v1/seal/checkpoints?kind=rotation&limit={ROTATIONS_MAX}");
                let data: Value = match web.get(&path).await {
                    Err(error) if error.category == Category::NotFound => return Ok(Vec::new()),
                    data => data?,
                };
                let notes = data["notes"].as_array().cloned().unwrap_or_default();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                notes.iter().map(|note| (text(&note["note"]), text(&note["noted_at"]))).collect()
            }
            Kind::Database(globals) => self.notes(globals, NoteKind::Rotation, ROTATIONS_MAX).await?,
        };
        let read = |(note, at): &(String, String)| Remembered::of(note, at).ok();
        Ok(notes.iter().rev().filter_map(read).flatten().filter(is_rotation).collect())
    }

    /// Reads the proof that the log of `to` events begins with that of `from`.
    pub async fn proof(&self, from: u64, to: u64) -> Result<Vec<Hash>, AdminError> {
        let proof = match &self.kind {
            Kind::Place(_) => return Err(AdminError::new(Category::InvalidArgument, "a place has no proofs")),
            Kind::Web(web) => {
                let data: Value = web.get(&format!("/api/v1/seal/consistency?from={from}&to={to}")).await?;
                data["proof"].as_str().unwrap_or_default().to_owned()
            }
            Kind::Database(globals) => {
                let connection = Connection::open(globals, Access::Read).await?;
                let (tenant, tree) = self.find(&connection, globals).await?.ok_or_else(|| self.unknown())?;
                let request = ConsistencyRequest { tenant: Some(tenant), tree: Some(tree), from, to };
                connection.ask(request).await?.proof
            }
        };
        let read = Consistency::parse(&proof).map(|proof| proof.hashes);
        read.map_err(|error| AdminError::new(Category::SchemaViolation, format!("the proof of the source: {error}")))
    }

    /// Reads these notes of a place, by age. The others pass one by one.
    async fn of_place(
        &self,
        place: &Arc<dyn Place>,
        wanted: impl Fn(&Remembered) -> bool + Send + 'static,
    ) -> Result<Vec<Remembered>, AdminError> {
        let (place, origin) = (Arc::clone(place), self.origin.clone());
        let read = move || {
            let mut notes = Vec::new();
            place.each(&origin, &mut |note| notes.extend(Some(note).filter(&wanted)))?;
            Ok(notes)
        };
        on_its_thread(read).await
    }

    fn checkpoint(&self, note: &str, at: &str) -> Result<Remembered, AdminError> {
        let read = Remembered::of_checkpoint(note, at);
        read.map_err(|error| {
            AdminError::new(Category::SchemaViolation, format!("the checkpoint of the source: {error}"))
        })
    }

    fn read(&self, note: &Value, at: &Value) -> Result<Remembered, AdminError> {
        self.checkpoint(note.as_str().unwrap_or_default(), at.as_str().unwrap_or_default())
    }

    /// Reads notes of the log in the database, the newest first.
    async fn notes(&self, globals: &Globals, kind: NoteKind, limit: i64) -> Result<Vec<(String, String)>, AdminError> {
        let connection = Connection::open(globals, Access::Read).await?;
        let Some((tenant, tree)) = self.find(&connection, globals).await? else { return Ok(Vec::new()) };
        let (tenant, tree, kind) = (Some(tenant), Some(tree), Some(kind));
        let request = SealCheckpointsRequest { tenant, tree, kind, limit, ..SealCheckpointsRequest::default() };
        let notes = connection.ask(request).await?.notes;
        Ok(notes.into_iter().map(|note| (note.note, note.noted_at)).collect())
    }

    /// Finds tenant and tree of the log.
    async fn find(&self, at: &Connection, globals: &Globals) -> Result<Option<(TenantId, i64)>, AdminError> {
        let mut after = None;
        loop {
            let request = SealStatusRequest { tenant: globals.tenant.clone(), after, limit: None };
            let reply = at.ask(request).await?;
            let of = |tenant: &TenantId, tree: i64| (tenant.clone(), tree);
            for seal in &reply.seals {
                if let Some(tree) = seal.tree.as_ref().filter(|tree| tree.origin == self.origin) {
                    return Ok(Some(of(&seal.tenant, tree.tree)));
                }
            }
            after = reply.seals.last().map(|last| last.tenant.clone());
            if !reply.more || after.is_none() {
                return Ok(None);
            }
        }
    }

    fn unknown(&self) -> AdminError {
        AdminError::new(Category::NotFound, format!("the source has no log {}", self.origin))
    }
}

/// Reads a place, which may block, on a thread of its own.
async fn on_its_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, PlaceError> + Send + 'static,
) -> Result<T, AdminError> {
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| AdminError::new(Category::Internal, error.to_string()))?;
    read.map_err(|error| match error {
        PlaceError::Away(message) => AdminError::new(Category::Unavailable, message),
        other => AdminError::new(Category::SchemaViolation, other.to_string()),
    })
}

fn is_rotation(note: &Remembered) -> bool {
    note.kind == NoteKind::Rotation
}
