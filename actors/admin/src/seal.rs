//! The sealed log: its state, its notes and proofs, and an operator's changes to it.
//!
//! *Guarantees.* Nothing is signed, sealed or proved here: the engine does it. A note or proof is passed on byte for
//! byte.

use super::handler::{StoreAnswers, limit_in, tenant_or_default};
use super::seal_status::{of_tree, places_of, shown};
use decisiongraph_engine::seal::evidence::{self, Extension, Proof, Wanted};
use decisiongraph_engine::seal::pack::{self, PackPage, PackPlace, PackRequest};
use decisiongraph_engine::seal::reader::TreeReader;
use decisiongraph_engine::seal::{Sealed, begin, fork, mend, seal_now};
use decisiongraph_projections::seal::{Hash, base64};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{
    AdminError, AuditPackReply, AuditPackRequest, Command, ConsistencyReply, ConsistencyRequest, Handle,
    PACK_EVENTS_MAX, PackOf, ProveReply, ProveRequest, SEAL_NOTES_MAX, SEAL_WAIT_MS_MAX, SealCheckpointsReply,
    SealCheckpointsRequest, SealForkRequest, SealInitRequest, SealNowRequest, SealRebuildRequest, SealTileReply,
    SealTileRequest, SealedReply, SealedTree, SignedHead, TILE_HASHES_MAX, check_reason,
};
use decisiongraph_store::{NoteKind, ReadView, SealNote, SealTree, StoreError};
use std::time::Duration;

/// Notes per look-up of one of a given size.
const NOTES_PAGE: usize = 1_000;
/// Most events per page of a pack.
const PACK_PAGE_MAX: i64 = 1_000;

impl Handle<SealNowRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealNowRequest) -> Result<SealedReply, AdminError> {
        if request.wait_ms > SEAL_WAIT_MS_MAX {
            let what = format!("wait_ms must be at most {SEAL_WAIT_MS_MAX}, not {}", request.wait_ms);
            return Err(AdminError::new(Category::InvalidArgument, what));
        }
        let tenant = tenant_or_default(request.tenant);
        let sealed = seal_now(self.engine, &tenant, Duration::from_millis(request.wait_ms)).await;
        let Sealed { tenant, tree, origin, head, last, note } = sealed.map_err(|error| in_time(error, &tenant))?;
        // Another process may have signed: a memory that this one has not met yet is asked.
        let places = match self.engine.sealing() {
            Some(sealing) => places_of(sealing, &origin).await,
            None => Vec::new(),
        };
        Ok(SealedReply { tenant, tree: shown(tree, origin, head, last), note, places })
    }
}

/// Adds the command that shows why a seal is late.
fn in_time(error: StoreError, tenant: &TenantId) -> AdminError {
    let late = error.category == Category::ProjectionOutOfDate;
    let error = AdminError::from(error);
    match late {
        true => error.next(format!("{} shows how far it is", Command::of("seal status", tenant))),
        false => error,
    }
}

impl Handle<SealInitRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealInitRequest) -> Result<SealedReply, AdminError> {
        let SealInitRequest { tenant, origin, trust_database, reason } = request;
        check_reason(&reason)?;
        let tenant = tenant_or_default(tenant);
        let (tree, checkpoint) = match (origin, trust_database) {
            (Some(origin), false) => (begin::begin(self.engine, &tenant, &origin).await?, None),
            (None, true) => begin::trust_database(self.engine, &tenant).await?,
            _ => return Err(AdminError::new(Category::InvalidArgument, "give an origin, or trust the database")),
        };
        let reply = self.sealed(tenant, of_tree(&tree), checkpoint.as_ref().map(|checkpoint| checkpoint.note.clone()));
        match (self.engine.sealing(), checkpoint) {
            (Some(sealing), Some(checkpoint)) => {
                let head = SignedHead { size: checkpoint.size, at: checkpoint.at };
                Ok(SealedReply { places: sealing.keepers_of(&tree.origin, &head, true), ..reply })
            }
            _ => Ok(reply),
        }
    }
}

impl Handle<SealForkRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealForkRequest) -> Result<SealedReply, AdminError> {
        check_reason(&request.reason)?;
        let tenant = tenant_or_default(request.tenant);
        let forked = fork::fork(self.engine, &tenant, &request.reason).await;
        let fork::Forked { tree, note, places } = forked?;
        Ok(SealedReply { tenant, tree: of_tree(&tree), note: Some(note), places })
    }
}

impl Handle<SealRebuildRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealRebuildRequest) -> Result<SealedReply, AdminError> {
        check_reason(&request.reason)?;
        let tenant = tenant_or_default(request.tenant);
        let tree = mend::mend(self.engine, &tenant).await?;
        Ok(self.sealed(tenant, of_tree(&tree), None))
    }
}

impl StoreAnswers<'_> {
    /// Makes the reply about a tree, with the places as this process knows them.
    fn sealed(&self, tenant: TenantId, tree: SealedTree, note: Option<String>) -> SealedReply {
        let places = self.engine.sealing().map(|sealing| sealing.places_of(&tree.origin)).unwrap_or_default();
        SealedReply { tenant, tree, note, places }
    }

    /// Reads a tree of the tenant: the newest, or the one of this number.
    pub(super) async fn tree_of(
        &self,
        view: &dyn ReadView,
        tenant: &TenantId,
        tree: Option<i64>,
    ) -> Result<SealTree, AdminError> {
        let mut trees = view.seal_trees(tenant).await?;
        match tree {
            None => trees.pop().ok_or_else(|| self.not_sealed(tenant)),
            Some(number) => trees.into_iter().find(|tree| tree.tree == number).ok_or_else(|| {
                AdminError::new(Category::NotFound, format!("the log of tenant `{tenant}` has no tree {number}"))
                    .next(format!("{} shows the newest", Command::of("seal status", tenant)))
            }),
        }
    }

    /// Adds the command that helps to the error of a proof.
    fn proved(&self, error: StoreError, tenant: &TenantId) -> AdminError {
        match error.category {
            Category::ProjectionOutOfDate => AdminError::from(error).next(self.seals(tenant)),
            Category::NotFound if error.message.contains("checkpoint") => {
                let list = Command::of("checkpoint --list", tenant);
                AdminError::from(error).next(format!("{list} lists those in the database; places keep all of them"))
            }
            _ => error.into(),
        }
    }

    /// Says how the log gets sealed.
    fn seals(&self, tenant: &TenantId) -> String {
        match self.engine.sealing() {
            Some(_) => format!("{} seals and signs at once", Command::of("seal now", tenant)),
            None => "configure a key (seal_key_file): nothing is sealed without one".to_owned(),
        }
    }

    /// Makes the error for a log that has no tree yet.
    fn not_sealed(&self, tenant: &TenantId) -> AdminError {
        AdminError::new(Category::ProjectionOutOfDate, format!("the log of tenant `{tenant}` is not sealed yet"))
            .next(self.seals(tenant))
    }
}

impl Handle<SealCheckpointsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealCheckpointsRequest) -> Result<SealCheckpointsReply, AdminError> {
        let SealCheckpointsRequest { tenant, tree, kind, size, before, limit } = request;
        let (tenant, limit) = (tenant_or_default(tenant), limit_in(limit, SEAL_NOTES_MAX)?);
        let view = self.store().view().await?;
        let tree = self.tree_of(&*view, &tenant, tree).await?;
        let kind = kind.unwrap_or(NoteKind::Checkpoint);
        let mut notes = match size {
            None => view.seal_notes(&tenant, tree.tree, Some(kind), before, limit + 1).await?,
            Some(size) => of_size(&*view, &tree, kind, size, before, limit + 1).await?,
        };
        let more = notes.len() > limit;
        notes.truncate(limit);
        Ok(SealCheckpointsReply { tenant, origin: tree.origin, notes, more })
    }
}

/// Looks for the notes about a size. They are stored in the order of their sizes.
async fn of_size(
    view: &dyn ReadView,
    tree: &SealTree,
    kind: NoteKind,
    size: u64,
    mut before: Option<i64>,
    limit: usize,
) -> Result<Vec<SealNote>, AdminError> {
    let mut found = Vec::new();
    loop {
        let page = view.seal_notes(&tree.tenant, tree.tree, Some(kind), before, NOTES_PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        before = Some(last.number);
        found.extend(page.into_iter().filter(|note| note.size == size));
        if found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

impl Handle<ProveRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ProveRequest) -> Result<ProveReply, AdminError> {
        let ProveRequest { tenant, event_id, log_seq } = request;
        let tenant = tenant_or_default(tenant);
        let wanted = match (event_id.as_deref(), log_seq) {
            (Some(id), None) => Wanted::Id(id),
            (None, Some(log_seq)) => Wanted::At(log_seq),
            _ => return Err(AdminError::new(Category::InvalidArgument, "name the event by its id or by its position")),
        };
        let view = self.store().snapshot().await?;
        let Proof { log_seq, event_id, index, size, text, event } =
            evidence::prove(self.engine, &*view, &tenant, wanted).await.map_err(|error| self.proved(error, &tenant))?;
        Ok(ProveReply { tenant, log_seq, event_id, index, size, proof: text, event })
    }
}

impl Handle<ConsistencyRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ConsistencyRequest) -> Result<ConsistencyReply, AdminError> {
        let ConsistencyRequest { tenant, tree, from, to } = request;
        let tenant = tenant_or_default(tenant);
        let view = self.store().snapshot().await?;
        let Extension { older, text } = evidence::consistency(&*view, &tenant, tree, from, to)
            .await
            .map_err(|error| self.proved(error, &tenant))?;
        Ok(ConsistencyReply { tenant, from, to, older, proof: text })
    }
}

impl Handle<AuditPackRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: AuditPackRequest) -> Result<AuditPackReply, AdminError> {
        let AuditPackRequest { tenant, of, redact, without_payloads, rotations, after, limit } = request;
        let (tenant, events_max) = (tenant_or_default(tenant), limit_in(limit, PACK_PAGE_MAX)?);
        let of = match of {
            PackOf::Trace(trace) => pack::PackOf::Trace(trace),
            PackOf::Range(first, last) => pack::PackOf::Range(first, last),
            PackOf::Events(ids) if ids.len() > PACK_EVENTS_MAX => {
                let what = format!("a pack names at most {PACK_EVENTS_MAX} events one by one");
                return Err(AdminError::new(Category::InvalidArgument, what));
            }
            PackOf::Events(ids) => pack::PackOf::Events(ids),
        };
        let after = after.map(|place| place.parse::<PackPlace>()).transpose()?;
        let request = PackRequest { of, redact, without_payloads, rotations, after, events_max };
        let view = self.store().view().await?;
        let PackPage { text, events, next } =
            pack::pack(self.engine, &*view, &tenant, &request).await.map_err(|error| self.proved(error, &tenant))?;
        Ok(AuditPackReply { text, events, next: next.map(|place| place.to_string()) })
    }
}

impl Handle<SealTileRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SealTileRequest) -> Result<SealTileReply, AdminError> {
        let SealTileRequest { tenant, tree, level, index, width } = request;
        let tenant = tenant_or_default(tenant);
        if let Some(width) = width.filter(|width| !(1..=TILE_HASHES_MAX).contains(width)) {
            let what = format!("width must be 1 to {TILE_HASHES_MAX}, not {width}");
            return Err(AdminError::new(Category::InvalidArgument, what)
                .next("leave the width out: the answer has all hashes that the tree has there"));
        }
        let view = self.store().view().await?;
        let tree = self.tree_of(&*view, &tenant, tree).await?;
        let reader = TreeReader::new(&*view, &tenant, tree.tree, tree.head.size);
        let (hashes, log_seqs): (Vec<Hash>, Vec<LogSeq>) = match level {
            0 => reader.leaf_tile(index).await?.iter().map(|leaf| (leaf.entry.leaf_hash(), leaf.log_seq)).unzip(),
            _ => (reader.tile(level, index).await?.to_vec(), Vec::new()),
        };
        let width = width.map_or(hashes.len().max(1), usize::from);
        if hashes.len() < width {
            let (size, has) = (tree.head.size, hashes.len());
            let what =
                format!("tile {index} of level {level} has {has} hashes in a tree of {size} events, not {width}");
            return Err(AdminError::new(Category::NotFound, what)
                .next(format!("{} shows how far the log is sealed", Command::of("seal status", &tenant))));
        }
        let hashes = hashes[..width].iter().map(|hash| base64(hash)).collect();
        let log_seqs = log_seqs.into_iter().take(width).collect();
        Ok(SealTileReply { tree: of_tree(&tree), hashes, log_seqs })
    }
}
