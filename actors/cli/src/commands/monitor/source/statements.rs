//! Statements of a source: the newest that is about no more events than a reader has.
//!
//! *Guarantees.* One page of notes is in memory, or one note of a place. The signature is not checked here.

use super::{Kind, Source};
use crate::connection::Connection;
use crate::session::Access;
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::Statement;
use decisiongraph_protocol::{AdminError, SealCheckpointsRequest};
use decisiongraph_store::NoteKind;
use serde_json::Value;
use std::sync::Arc;

/// Notes per page of a node or a database.
const PAGE: i64 = 100;

impl Source {
    /// Reads the newest statement of the log whose last event is at or before this position.
    pub async fn statement_upto(&self, last: LogSeq) -> Result<Option<String>, AdminError> {
        match &self.kind {
            Kind::Place(place) => {
                let (place, origin) = (Arc::clone(place), self.origin.clone());
                let mut newest: Option<(u64, String)> = None;
                super::on_its_thread(move || {
                    place.each(&origin, &mut |note| {
                        let fits = (note.kind == NoteKind::Statement).then(|| covered(&note.note, &origin, last));
                        // Of two about one size, the later one counts.
                        if let Some(at) = fits.flatten()
                            && newest.as_ref().is_none_or(|(newest, _)| *newest <= at)
                        {
                            newest = Some((at, note.note));
                        }
                    })?;
                    Ok(newest.map(|(_, note)| note))
                })
                .await
            }
            Kind::Web(web) => {
                let mut cursor = String::new();
                loop {
                    let path = format!("/api/v1/seal/checkpoints?kind=statement&limit={PAGE}{cursor}");
                    let data: Value = web.get(&path).await?;
                    let notes = data["notes"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let mut texts = notes.iter().filter_map(|note| note["note"].as_str());
                    if let Some(note) = texts.find(|note| covered(note, &self.origin, last).is_some()) {
                        return Ok(Some(note.to_owned()));
                    }
                    match data["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => return Ok(None),
                    }
                }
            }
            Kind::Database(globals) => {
                let connection = Connection::open(globals, Access::Read).await?;
                let Some((tenant, tree)) = self.find(&connection, globals).await? else { return Ok(None) };
                let mut before = None;
                loop {
                    let request = SealCheckpointsRequest {
                        tenant: Some(tenant.clone()),
                        tree: Some(tree),
                        kind: Some(NoteKind::Statement),
                        size: None,
                        before,
                        limit: PAGE,
                    };
                    let page = connection.ask(request).await?;
                    before = page.notes.last().map(|last| last.number);
                    let found = page.notes.into_iter().find(|note| covered(&note.note, &self.origin, last).is_some());
                    if found.is_some() || !page.more {
                        return Ok(found.map(|note| note.note));
                    }
                }
            }
        }
    }
}

/// Returns the position of the last event of a statement of this log, unless it is behind `last`.
fn covered(note: &str, origin: &str, last: LogSeq) -> Option<u64> {
    let statement = Statement::parse(Note::parse(note).ok()?.text).ok()?;
    let at = i64::try_from(statement.last_log_seq).ok()?;
    (statement.origin == origin && at <= last.0).then_some(statement.last_log_seq)
}
