//! Jobs: started, followed, taken over, cancelled, ended. A claim on each of its scopes keeps two live jobs apart.
//!
//! *Guarantees.* A job without a live node holds nothing: the next job that needs one of its scopes first marks it
//! failed.

use super::PostgresStore;
use super::errors::During as _;
use super::read::paged;
use super::values::Key;
use crate::{
    Creation, LIST_BYTES_MAX, ListFilter, NewRun, Owner, PageLimit, Paged, Result, Run, RunMode, RunOutcome,
    RunProgress, RunState, StoreError,
};
use deadpool_postgres::{ClientWrapper, Object, Transaction};
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub(super) async fn create(store: &PostgresStore, new: &NewRun) -> Result<Creation> {
    let mut client = store.connections.get().await?;
    if let Some(stored) = one(&client, new.run_id).await? {
        return new.repeated(stored);
    }
    match insert(&mut client, new).await {
        Ok(()) => Ok(Creation::Created(found(&client, new.run_id).await?)),
        // The same request was sent twice at once, and the other one was faster.
        Err(error) => match one(&client, new.run_id).await {
            Ok(Some(stored)) if error.category == Category::Conflict => new.repeated(stored),
            _ => Err(error),
        },
    }
}

async fn insert(client: &mut Object, new: &NewRun) -> Result<()> {
    let what = "start a job";
    let transaction = client.transaction().await.during(what)?;
    let (tenant, run_id) = (new.tenant.as_str(), Key::from(new.run_id));
    claim(&transaction, tenant, &new.projections, run_id).await?;
    let insert = transaction.prepare_cached(include_str!("sql/run_create.sql")).await.during(what)?;
    transaction
        .execute(
            &insert,
            &[
                &tenant,
                &run_id,
                &new.projection(),
                &new.projections,
                &new.mode.as_str(),
                &new.owner.node,
                &Key::from(new.owner.incarnation),
                &new.until.map(|until| until.0),
            ],
        )
        .await
        .during(what)
        .map_err(as_conflict)?;
    transaction.commit().await.during(what)
}

pub(super) async fn adopt(store: &PostgresStore, run_id: Uuid, owner: &Owner) -> Result<Run> {
    let what = "take over a job";
    let mut client = store.connections.get().await?;
    let transaction = client.transaction().await.during(what)?;
    let locked = lock(&transaction, run_id).await?;
    let mine = locked.node == owner.node && locked.incarnation == Key::from(owner.incarnation);
    match locked.state {
        RunState::Completed => return Err(conflict(format!("job {run_id} is completed"))),
        RunState::Queued | RunState::Running if locked.node_live && !mine => {
            return Err(conflict(format!("job {run_id} runs on {}", locked.node)));
        }
        _ => {}
    }
    let projections: Vec<&str> = locked.projections.iter().map(String::as_str).collect();
    claim(&transaction, &locked.tenant, &projections, Key::from(run_id)).await?;
    let take = transaction.prepare_cached(include_str!("sql/run_adopt.sql")).await.during(what)?;
    transaction.execute(&take, &[&Key::from(run_id), &owner.node, &Key::from(owner.incarnation)]).await.during(what)?;
    transaction.commit().await.during(what)?;
    found(&client, run_id).await
}

pub(super) async fn advance(store: &PostgresStore, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run> {
    let what = "write the progress of a job";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/run_advance.sql")).await.during(what)?;
    let changed = client
        .execute(
            &statement,
            &[
                &Key::from(run_id),
                &owner.node,
                &Key::from(owner.incarnation),
                &progress.current,
                &progress.cursor.0,
                &progress.target.0,
                &progress.events,
            ],
        )
        .await
        .during(what)?;
    let run = found(&client, run_id).await?;
    if changed == 1 { Ok(run) } else { Err(not_ours(&run)) }
}

pub(super) async fn finish(store: &PostgresStore, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run> {
    let what = "end a job";
    let (state, report, error) = match outcome {
        RunOutcome::Completed(report) => (RunState::Completed, Some(report), None),
        RunOutcome::Cancelled => (RunState::Cancelled, None, None),
        RunOutcome::Failed(refusal) => (RunState::Failed, None, Some(refusal)),
    };
    let (category, message) = match error {
        Some(refusal) => (Some(refusal.category.as_str()), Some(refusal.message)),
        None => (None, None),
    };
    let mut client = store.connections.get().await?;
    let transaction = client.transaction().await.during(what)?;
    let finish = transaction.prepare_cached(include_str!("sql/run_finish.sql")).await.during(what)?;
    let incarnation = Key::from(owner.incarnation);
    let changed = transaction
        .execute(
            &finish,
            &[&Key::from(run_id), &owner.node, &incarnation, &state.as_str(), &report, &category, &message],
        )
        .await
        .during(what)?;
    if changed == 1 {
        unclaim(&transaction, Key::from(run_id)).await?;
    }
    transaction.commit().await.during(what)?;
    let run = found(&client, run_id).await?;
    if changed == 1 { Ok(run) } else { Err(not_ours(&run)) }
}

pub(super) async fn request_cancel(store: &PostgresStore, run_id: Uuid) -> Result<Run> {
    let what = "cancel a job";
    let mut client = store.connections.get().await?;
    let transaction = client.transaction().await.during(what)?;
    let locked = lock(&transaction, run_id).await?;
    if !matches!(locked.state, RunState::Queued | RunState::Running) {
        return Err(conflict(format!("job {run_id} has ended: it is {}", locked.state.as_str())));
    }
    // An orphan has no process that could stop it: it is cancelled now.
    let cancel = transaction.prepare_cached(include_str!("sql/run_cancel.sql")).await.during(what)?;
    transaction.execute(&cancel, &[&Key::from(run_id), &!locked.node_live]).await.during(what)?;
    if !locked.node_live {
        unclaim(&transaction, Key::from(run_id)).await?;
    }
    transaction.commit().await.during(what)?;
    found(&client, run_id).await
}

pub(super) async fn one(client: &ClientWrapper, run_id: Uuid) -> Result<Option<Run>> {
    let what = "read a job";
    let statement = client.prepare_cached(include_str!("sql/run.sql")).await.during(what)?;
    let row = client.query_opt(&statement, &[&Key::from(run_id)]).await.during(what)?;
    row.as_ref().map(run).transpose()
}

pub(super) async fn list(client: &ClientWrapper, filter: &ListFilter) -> Result<Paged<Run>> {
    let what = "list jobs";
    let statement = client.prepare_cached(include_str!("sql/runs.sql")).await.during(what)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let before = filter.before_run.map(Key::from);
    // A job that cannot be read, perhaps a newer program's, fails no list.
    let rows_max = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let of: [&(dyn ToSql + Sync); 5] = [&tenant, &filter.projection, &filter.open_only, &rows_max, &before];
    paged(client, &statement, &of, limit, what, |row| Ok(run(row).ok())).await
}

/// A job with its row locked, for a decision about it.
struct Locked {
    tenant: String,
    projections: Vec<String>,
    state: RunState,
    node: String,
    incarnation: Key,
    node_live: bool,
}

async fn lock(transaction: &Transaction<'_>, run_id: Uuid) -> Result<Locked> {
    let what = "read a job";
    let statement = transaction.prepare_cached(include_str!("sql/run_lock.sql")).await.during(what)?;
    let row = transaction.query_opt(&statement, &[&Key::from(run_id)]).await.during(what)?;
    let row = row.ok_or_else(|| no_such(run_id))?;
    Ok(Locked {
        tenant: row.get(0),
        projections: row.get(1),
        state: state(row.get(2))?,
        node: row.get(3),
        incarnation: row.get(4),
        node_live: row.get(5),
    })
}

/// Claims the scopes for this job: `conflict` when a live job holds any of them. Jobs of nodes that are gone are marked
/// failed.
async fn claim(transaction: &Transaction<'_>, tenant: &str, projections: &[&str], run_id: Key) -> Result<()> {
    let what = "claim the scopes of a job";
    let holders = transaction.prepare_cached(include_str!("sql/run_claim_holders.sql")).await.during(what)?;
    for holder in transaction.query(&holders, &[&tenant, &projections, &run_id]).await.during(what)? {
        let (id, live): (Key, bool) = (holder.get(0), holder.get(1));
        if live {
            let (projection, node): (String, String) = (holder.get(2), holder.get(3));
            return Err(conflict(format!("{tenant}/{projection} is held by job {} on {node}", Uuid::from(id))));
        }
        let orphan = transaction.prepare_cached(include_str!("sql/run_orphan.sql")).await.during(what)?;
        transaction.execute(&orphan, &[&id]).await.during(what)?;
        unclaim(transaction, id).await?;
    }
    let take = transaction.prepare_cached(include_str!("sql/run_claim.sql")).await.during(what)?;
    transaction.execute(&take, &[&tenant, &projections, &run_id]).await.during(what).map_err(as_conflict)?;
    Ok(())
}

async fn unclaim(transaction: &Transaction<'_>, run_id: Key) -> Result<()> {
    let what = "free the scopes of a job";
    let free = transaction.prepare_cached(include_str!("sql/run_unclaim.sql")).await.during(what)?;
    transaction.execute(&free, &[&run_id]).await.during(what)?;
    Ok(())
}

async fn found(client: &ClientWrapper, run_id: Uuid) -> Result<Run> {
    one(client, run_id).await?.ok_or_else(|| no_such(run_id))
}

fn no_such(run_id: Uuid) -> StoreError {
    StoreError::new(Category::NotFound, format!("there is no job {run_id}"))
}

fn conflict(message: String) -> StoreError {
    StoreError::new(Category::Conflict, message)
}

/// Turns a duplicate into `conflict`: two jobs started at the same time, or the same id twice.
fn as_conflict(error: StoreError) -> StoreError {
    match error.duplicate {
        true => conflict("another job took one of these scopes at the same time, or the job exists already".to_owned()),
        false => error,
    }
}

fn not_ours(run: &Run) -> StoreError {
    StoreError::fenced(format!(
        "job {} is {} on {}: it is not this process's any more",
        run.run_id,
        run.state.as_str(),
        run.node
    ))
}

fn state(word: &str) -> Result<RunState> {
    RunState::parse(word).ok_or_else(|| unknown("state", word))
}

fn unknown(what: &str, word: &str) -> StoreError {
    StoreError::new(Category::Storage, format!("a stored job's {what} is {word:?}, which this program does not know"))
}

fn run(row: &Row) -> Result<Run> {
    let (id, mode, category): (Key, String, Option<String>) = (row.get(0), row.get(3), row.get(13));
    Ok(Run {
        run_id: id.into(),
        tenant: TenantId::new(row.get::<_, String>(1)).map_err(StoreError::from)?,
        projection: row.get(2),
        mode: RunMode::parse(&mode).ok_or_else(|| unknown("mode", &mode))?,
        state: state(row.get(4))?,
        node: row.get(5),
        node_live: row.get(6),
        until: row.get::<_, Option<i64>>(7).map(LogSeq),
        current: row.get(8),
        cursor: LogSeq(row.get(9)),
        target: LogSeq(row.get(10)),
        events: row.get(11),
        cancel_requested: row.get(12),
        error: category.map(|word| {
            let message: Option<String> = row.get(14);
            Refusal::new(Category::parse(&word).unwrap_or(Category::Internal), message.unwrap_or_default())
        }),
        report: row.get(15),
        created_at: row.get(16),
        finished_at: row.get(17),
    })
}
