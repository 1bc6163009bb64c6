//! Lines into the log.
//!
//! *Guarantees.* An all-or-nothing request reads and checks every line before it stores the first one. The log's own
//! checks (sequence, idempotency, finished traces) follow, in one transaction per run of consecutive lines of one
//! tenant. A file of one tenant is therefore atomic per request. Of a file that mixes tenants, the runs before the
//! refused one stay.
//!
//! *Never:* trusts a given `log_seq`, except of a log that moves into an empty database; quotes a payload in a refusal.

use super::handler::{StoreAnswers, tenant_or_default};
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::event::{EVENT_BYTES_MAX, Envelope, Line};
use decisiongraph_projections::{Admitted, Category, LogSeq, Refusal, TenantId};
use decisiongraph_protocol::lines::CHUNK_LINES_MAX;
use decisiongraph_protocol::{
    AdminError, AppendReply, AppendRequest, Handle, LineFault, LineVerdict, OfferedLine, VerdictWord,
};
use decisiongraph_store::{AppendMode, Store, Verdict};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// Fewest lines that are worth a thread.
const SHARE_LINES_MIN: usize = 128;

/// A line after the checks that need no database.
#[derive(Debug)]
pub struct Checked {
    /// Number of the line, from 1.
    pub line: u64,
    /// Tenant of the line.
    pub tenant: TenantId,
    /// Event of the line, or the reason why it is refused.
    pub event: Result<Admitted, Refusal>,
    /// Place that the line gives.
    pub place: Place,
}

/// Place of an event in the log that its line comes from.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Position.
    pub log_seq: Option<LogSeq>,
    /// Time when that log's store received it.
    pub recorded_at: Option<String>,
}

impl Handle<AppendRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: AppendRequest) -> Result<AppendReply, AdminError> {
        let reply = self.append(request).await?;
        let telemetry = self.engine.telemetry();
        for (count, verdict) in [(reply.accepted, VerdictWord::Accepted), (reply.repeated, VerdictWord::Repeated)] {
            telemetry.add(&signals::EVENTS_APPENDED, count, &[verdict.as_str(), "ok"]);
        }
        for category in reply.verdicts.iter().filter_map(|verdict| verdict.category) {
            telemetry.add(&signals::EVENTS_APPENDED, 1, &[VerdictWord::Refused.as_str(), category.as_str()]);
        }
        Ok(reply)
    }
}

impl StoreAnswers<'_> {
    /// Stores the lines that can be stored; see the file's guarantees.
    async fn append(&self, request: AppendRequest) -> Result<AppendReply, AdminError> {
        if request.lines.len() > CHUNK_LINES_MAX {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("at most {CHUNK_LINES_MAX} lines per request, not {}", request.lines.len()),
            ));
        }
        let tenant = tenant_or_default(request.tenant);
        let guard = request.credential_guard.unwrap_or(self.engine.config().credential_guard);
        let checked = check_all(request.lines, &tenant, guard).await?;
        let shown = request.each_verdict || !request.all_or_nothing;
        let mut reply = store_all(&ToTheEnd(self.store()), checked, request.all_or_nothing, shown).await?;
        if request.read_back {
            self.read_back(&mut reply).await;
        }
        Ok(reply)
    }

    /// Reads each stored event. A fault here leaves events out: they are stored all the same.
    async fn read_back(&self, reply: &mut AppendReply) {
        let AppendReply { verdicts, tenants, .. } = reply;
        let ([tenant], Ok(view)) = (tenants.as_slice(), self.store().view().await) else { return };
        for verdict in verdicts {
            let Some(at) = verdict.log_seq else { continue };
            let found = view.events(tenant, LogSeq(at.0 - 1), at, self.event_page(1)).await;
            let found = found.ok().and_then(|page| page.items.into_iter().next());
            verdict.event = found.map(|event| Box::new(event.into()));
        }
    }
}

/// Way of checked events into the log.
pub(crate) trait Way: Sync {
    /// Stores events of one tenant, and returns a verdict for each.
    fn store<'a>(
        &'a self,
        tenant: &'a TenantId,
        events: &'a [Admitted],
        places: &'a [Place],
        mode: AppendMode,
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AdminError>>;
}

/// Behind what the log has.
struct ToTheEnd<'s>(&'s dyn Store);

impl Way for ToTheEnd<'_> {
    fn store<'a>(
        &'a self,
        tenant: &'a TenantId,
        events: &'a [Admitted],
        _: &'a [Place],
        mode: AppendMode,
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AdminError>> {
        Box::pin(async move { Ok(self.0.append(tenant, events, mode).await?) })
    }
}

/// Stores checked lines. With `shown`, the verdict of each line is in the reply, else those of refused lines.
pub(crate) async fn store_all(
    way: &dyn Way,
    checked: Vec<Checked>,
    all_or_nothing: bool,
    shown: bool,
) -> Result<AppendReply, AdminError> {
    let mut reply = AppendReply::default();
    if all_or_nothing
        && let Some((refusal, line)) =
            checked.iter().find_map(|checked| checked.event.as_ref().err().map(|refusal| (refusal, checked.line)))
    {
        refuse(&mut reply, line, None, refusal.clone());
        return Ok(reply);
    }
    let mut rest = checked.into_iter().peekable();
    while let Some(first) = rest.next() {
        let tenant = first.tenant.clone();
        let mut run = vec![first];
        while let Some(next) = rest.next_if(|next| next.tenant == tenant) {
            run.push(next);
        }
        store_run(way, &tenant, run, all_or_nothing, shown, &mut reply).await?;
        if !reply.tenants.contains(&tenant) {
            reply.tenants.push(tenant);
        }
        if all_or_nothing && reply.refused > 0 {
            break;
        }
    }
    Ok(reply)
}

/// Checks all lines; many of them on all processors, because the database waits meanwhile.
pub(crate) async fn check_all(
    lines: Vec<OfferedLine>,
    tenant: &TenantId,
    guard: CredentialGuard,
) -> Result<Vec<Checked>, AdminError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = lines.len().div_ceil(processors).max(SHARE_LINES_MIN);
    if lines.len() <= share {
        return Ok(lines.into_iter().map(|line| check(line, tenant, guard)).collect());
    }
    let (mut lines, mut tasks) = (lines.into_iter(), Vec::new());
    while lines.len() > 0 {
        let (lines, tenant) = (lines.by_ref().take(share).collect::<Vec<_>>(), tenant.clone());
        let check = move || lines.into_iter().map(|line| check(line, &tenant, guard)).collect::<Vec<_>>();
        tasks.push(tokio::task::spawn_blocking(check));
    }
    let mut checked = Vec::new();
    for task in tasks {
        let broke_off = |_| AdminError::new(Category::Internal, "the check of the lines broke off; nothing was stored");
        checked.extend(task.await.map_err(broke_off)?);
    }
    Ok(checked)
}

/// Reads one line and makes every check that needs no database.
pub fn check(line: OfferedLine, tenant: &TenantId, guard: CredentialGuard) -> Checked {
    let OfferedLine { number, text } = line;
    let (mut tenant, mut place) = (tenant.clone(), Place::default());
    let event = (|| {
        let text = text.map_err(unreadable)?;
        let line = Line::parse(&text)?;
        if let Some(named) = &line.tenant_id {
            tenant = named.clone();
        }
        place = Place { log_seq: line.log_seq, recorded_at: line.recorded_at.clone() };
        line.admit(guard, || Uuid::now_v7().to_string())
    })();
    Checked { line: number, tenant, event, place }
}

fn unreadable(fault: LineFault) -> Refusal {
    match fault {
        LineFault::TooLong => Refusal::new(
            Category::InvalidArgument,
            format!("the line is longer than {EVENT_BYTES_MAX} bytes, the limit of an event"),
        ),
        LineFault::NotUtf8 { byte } => {
            Refusal::new(Category::InvalidArgument, format!("byte {byte} of the line is not UTF-8"))
        }
    }
}

/// Stores consecutive lines of one tenant. With `shown`, the verdict of each line is in the reply.
async fn store_run(
    way: &dyn Way,
    tenant: &TenantId,
    run: Vec<Checked>,
    all_or_nothing: bool,
    shown: bool,
    reply: &mut AppendReply,
) -> Result<(), AdminError> {
    let mode = if all_or_nothing { AppendMode::AllOrNothing } else { AppendMode::Each };
    let mut lines = Vec::with_capacity(run.len());
    let mut places = Vec::with_capacity(run.len());
    let mut events = Vec::with_capacity(run.len());
    for checked in run {
        match checked.event {
            Ok(event) => {
                lines.push((checked.line, None));
                places.push(checked.place);
                events.push(event);
            }
            Err(refusal) => lines.push((checked.line, Some(refusal))),
        }
    }
    let verdicts = if events.is_empty() { Vec::new() } else { way.store(tenant, &events, &places, mode).await? };
    let mut offered = events.iter().zip(verdicts);
    for (line, unreadable) in lines {
        if let Some(refusal) = unreadable {
            refuse(reply, line, None, refusal);
            continue;
        }
        let Some((event, verdict)) = offered.next() else {
            return Err(AdminError::new(
                Category::Internal,
                "the store returned fewer verdicts than there were events",
            ));
        };
        let Envelope { event_id, trace_id, .. } = event.envelope();
        let taken = |verdict, log_seq: LogSeq, event_id: String, trace_seq| LineVerdict {
            line,
            verdict,
            log_seq: Some(log_seq),
            event_id: Some(event_id),
            trace_id: Some(trace_id.clone()),
            trace_seq: Some(trace_seq),
            category: None,
            message: None,
            details: None,
            event: None,
        };
        let taken = match verdict {
            Verdict::Accepted { log_seq, trace_seq } => {
                reply.accepted += 1;
                taken(VerdictWord::Accepted, log_seq, event_id.clone(), trace_seq)
            }
            Verdict::Repeated { log_seq, event_id, trace_seq } => {
                reply.repeated += 1;
                taken(VerdictWord::Repeated, log_seq, event_id, trace_seq)
            }
            Verdict::Refused(refusal) => {
                refuse(reply, line, Some(event_id.clone()), refusal);
                continue;
            }
            Verdict::NotStored => continue,
        };
        if shown {
            reply.verdicts.push(taken);
        }
    }
    if all_or_nothing && reply.refused > 0 {
        // A repeat in the same run stored nothing now; it was stored before. It counts when the run is offered again.
        reply.verdicts.retain(|verdict| verdict.verdict == VerdictWord::Refused);
        reply.verdicts.sort_by_key(|verdict| verdict.line);
        reply.verdicts.truncate(1);
        reply.refused = reply.refused.min(1);
    }
    Ok(())
}

fn refuse(reply: &mut AppendReply, line: u64, event_id: Option<String>, refusal: Refusal) {
    reply.refused += 1;
    reply.verdicts.push(LineVerdict {
        line,
        verdict: VerdictWord::Refused,
        log_seq: None,
        event_id,
        trace_id: None,
        trace_seq: None,
        category: Some(refusal.category),
        message: Some(refusal.message),
        details: refusal.details,
        event: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_checked_on_several_threads_stay_in_their_order() {
        for count in [1, 127, 129, 1_000] {
            let offered = |number| OfferedLine { number, text: Ok(format!("line {number}")) };
            let tenant = TenantId::default();
            let checked = check_all((1..=count).map(offered).collect(), &tenant, CredentialGuard::default()).await;
            let numbers: Vec<u64> = checked.expect("a check of each").iter().map(|checked| checked.line).collect();
            assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        }
    }
}
