//! Streams for operators: a job on its way, and the node as it is.

use super::call::{Call, filter};
use super::fault::{Answered, Fault};
use super::operate::run_id;
use super::sse::{Gone, Outlet};
use decisiongraph_protocol::{ReadRunRequest, StatusRequest, TreeRequest, WatchRunRequest, has_ended};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Shortest pause between two messages about a job.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Pause between two snapshots of a node, unless the query says otherwise; and the shortest, in milliseconds.
const SNAPSHOT_MS: u64 = 2_000;
const SNAPSHOT_MS_MIN: u64 = 500;
const SNAPSHOT_MS_MAX: u64 = 60_000;
/// Actors in a snapshot, at most.
const ACTORS: i64 = 1_000;

/// `GET /runs/{id}/stream`.
pub fn run(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let place = call.api.limits.stream(call.caller()?)?;
        let run_id = run_id(&call)?;
        // The job is this tenant's, or unknown.
        call.ask(ReadRunRequest { run_id, of: filter(call.tenant.clone(), None) }).await?;
        call.let_go();
        let (mut outlet, response) = Outlet::open();
        tokio::spawn(async move {
            let _place = place;
            if let Ok(Some(reason)) = follow(&call, run_id, &mut outlet).await {
                outlet.bye(reason).await;
            }
        });
        Ok(response)
    }
    .boxed()
}

/// Sends the job's progress until it has ended. Returns the reason when the stream ends before.
async fn follow(call: &Call, run_id: Uuid, outlet: &mut Outlet) -> Result<Option<&'static str>, Gone> {
    outlet.retry().await?;
    let mut told = None;
    loop {
        let wait_ms = PROGRESS_EVERY.as_millis() as u64;
        let began = Instant::now();
        let Ok(watched) = call.ask(WatchRunRequest { run_id, wait_ms }).await else {
            return Ok(Some("the node cannot read the job now; ask again"));
        };
        if has_ended(watched.run.state) {
            let data = json!({ "run": watched.run, "report": watched.report }).to_string();
            outlet.message("end", None, &data).await?;
            return Ok(None);
        }
        if watched.progress.is_some() && watched.progress != told {
            outlet.message("progress", None, &json!(watched.progress).to_string()).await?;
            told.clone_from(&watched.progress);
        }
        call.let_go();
        outlet.comment().await?;
        if let Some(reason) = outlet.over(call) {
            return Ok(Some(reason));
        }
        outlet.pause(PROGRESS_EVERY.saturating_sub(began.elapsed())).await?;
    }
}

/// The latest snapshot of a node, for all streams: when it was made, and its text. With and without the actors.
pub type Snapshots = [tokio::sync::Mutex<Option<(Instant, Arc<str>)>>; 2];

/// `GET /node/stream`.
pub fn node(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let place = call.api.limits.stream(call.caller()?)?;
        let tree = call.query.switch("tree")?;
        let ms = call.query.number("interval_ms")?.unwrap_or(SNAPSHOT_MS);
        if !(SNAPSHOT_MS_MIN..=SNAPSHOT_MS_MAX).contains(&ms) {
            return Err(Fault::invalid(format!(
                "`interval_ms` must be {SNAPSHOT_MS_MIN} to {SNAPSHOT_MS_MAX}, not {ms}"
            )));
        }
        let every = Duration::from_millis(ms);
        // The first snapshot is made before the answer begins: a fault of it has a status.
        let mut next = snapshot(&call, tree, every).await?;
        let (mut outlet, response) = Outlet::open();
        tokio::spawn(async move {
            let _place = place;
            let sent = async {
                outlet.retry().await?;
                loop {
                    outlet.message("snapshot", None, &next).await?;
                    outlet.pause(every).await?;
                    if let Some(reason) = outlet.over(&call) {
                        return Ok::<_, Gone>(reason);
                    }
                    next = match snapshot(&call, tree, every).await {
                        Ok(next) => next,
                        Err(_) => return Ok("the node cannot describe itself now; ask again"),
                    };
                }
            };
            if let Ok(reason) = sent.await {
                outlet.bye(reason).await;
            }
        });
        Ok(response)
    }
    .boxed()
}

/// Returns a snapshot that is younger than the pause between two: the one that another stream made, or a new one.
async fn snapshot(call: &Call, tree: bool, every: Duration) -> Result<Arc<str>, Fault> {
    let mut latest = call.api.snapshots[usize::from(tree)].lock().await;
    if let Some((_, text)) = latest.as_ref().filter(|(at, _)| at.elapsed() < every / 2) {
        return Ok(Arc::clone(text));
    }
    let status = call.ask(StatusRequest::default()).await?;
    let mut of = TreeRequest { after: Some("node".to_owned()), limit: 1, ..TreeRequest::default() };
    if tree {
        of = TreeRequest { limit: ACTORS, ..TreeRequest::default() };
    }
    let page = call.ask(of).await?;
    let mut data = json!({ "node": page.node, "status": status });
    if tree {
        (data["actors"], data["next"]) = (json!(page.actors), json!(page.next));
    }
    let text: Arc<str> = data.to_string().into();
    call.let_go();
    *latest = Some((Instant::now(), Arc::clone(&text)));
    Ok(text)
}
