//! Jobs: a request becomes a run of the engine. Also the check of a rebuild, without starting one.

use super::estimate::{self, Size};
use super::handler::{StoreAnswers, projections, tenant_or_default};
use super::runs::unknown_run;
use super::steer;
use decisiongraph_engine::report::{RunReport, RunRequest, VerifyOptions, recorded};
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::json_reader::parse;
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::foreign_text::on_a_line;
use decisiongraph_protocol::{
    AdminError, CatchUpRequest, Handle, JobReply, JobRequest, METADATA_BYTES_MAX, RebuildCheckReply,
    RebuildCheckRequest, RebuildEstimate, RebuildRequest, ResumeRunRequest, VerifyPart, VerifyRequest, check_reason,
    has_ended,
};
use decisiongraph_store::{ListFilter, ReadView, Run, RunCause, RunMode, RunState, Scope};
use uuid::Uuid;

/// Longest recorded name of a first asker, in bytes.
const ASKER_BYTES_MAX: usize = 500;
/// Bound of the event count in a check.
const EVENTS_BOUND: u64 = 10_000_000;
/// Source events per second in a rebuild of one projection, when no earlier run is known. A cautious figure.
const RATE_EVENTS_PER_SECOND: f64 = 30_000.0;
/// Earlier runs that are read for a rate.
const RUNS_LOOKED_AT: usize = 50;
/// Fewest events of an earlier rebuild for a usable rate.
const RATE_EVENTS_MIN: u64 = 1_000;

impl Handle<CatchUpRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: CatchUpRequest) -> Result<JobReply, AdminError> {
        self.run(request.0, RunMode::CatchUp).await
    }
}

impl Handle<RebuildRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: RebuildRequest) -> Result<JobReply, AdminError> {
        self.run(request.0, RunMode::Rebuild).await
    }
}

impl Handle<VerifyRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: VerifyRequest) -> Result<JobReply, AdminError> {
        self.run(request.0, RunMode::Verify).await
    }
}

impl Handle<ResumeRunRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ResumeRunRequest) -> Result<JobReply, AdminError> {
        let resumed = self.engine.resume(request.run_id, self.control).await.map_err(advise);
        resumed.map(JobReply::from).map_err(|error| unknown_run(error, request.run_id))
    }
}

impl StoreAnswers<'_> {
    async fn run(&self, request: JobRequest, mode: RunMode) -> Result<JobReply, AdminError> {
        if request.until.is_some() && mode != RunMode::CatchUp {
            return Err(AdminError::new(Category::InvalidArgument, "only a catch-up can stop at a position"));
        }
        if request.detach {
            return Err(AdminError::new(Category::InvalidArgument, "only a node can continue a job in the background")
                .next("omit --detach, or ask a node (--node ADDR)"));
        }
        if let Some(run_id) = request.run_id
            && let Some(known) = self.store().view().await?.run(run_id).await?
        {
            return again(self.engine, known, self.control).await.map(JobReply::from);
        }
        if mode == RunMode::CatchUp {
            steer::refuse_paused(self.engine, &request).await?;
        }
        let run_id = request.run_id.unwrap_or(self.id);
        let ended = self.engine.run_as(run_id, &run_request(request, mode, self.by)?, self.control).await;
        ended.map(JobReply::from).map_err(advise)
    }
}

/// Makes the engine's request for a job that `by` asked for.
pub fn run_request(request: JobRequest, mode: RunMode, by: &str) -> Result<RunRequest, AdminError> {
    if request.until.is_some_and(|until| until.0 < 0) {
        return Err(AdminError::new(Category::InvalidArgument, "a log position must be 0 or more"));
    }
    let verify = verify_options(request.verify, mode)?;
    let JobRequest { reason, metadata, first_asked_by, .. } = request;
    reason.as_deref().map_or(Ok(()), check_reason)?;
    metadata.as_deref().map_or(Ok(()), check_metadata)?;
    // The name of the first asker never stands without the node that passed it on.
    let requested_by = match first_asked_by {
        Some(first) => format!("{} via {by}", on_a_line(&first, ASKER_BYTES_MAX)),
        None => by.to_owned(),
    };
    Ok(RunRequest {
        tenant: tenant_or_default(request.tenant),
        projections: projections(request.projection.as_deref())?,
        mode,
        until: request.until,
        cause: RunCause { reason, requested_by: Some(requested_by), metadata },
        verify,
    })
}

/// Makes the engine's options of a verify. Other jobs have none.
fn verify_options(part: Option<VerifyPart>, mode: RunMode) -> Result<VerifyOptions, AdminError> {
    let Some(VerifyPart { log_only, no_log, since, against }) = part else { return Ok(VerifyOptions::default()) };
    let refuse = |why: &str| Err(AdminError::new(Category::InvalidArgument, why));
    match (mode == RunMode::Verify, log_only && no_log, no_log && (since.is_some() || against.is_some())) {
        (false, ..) => refuse("only a verify is of the log or of the rows alone"),
        (_, true, _) => refuse("a verify of neither rows nor log verifies nothing"),
        (_, _, true) => refuse("a verify of the rows alone compares no checkpoints"),
        _ => Ok(VerifyOptions { log_only, no_log, since: since.unwrap_or(0), against, rows_per_s: None }),
    }
}

fn check_metadata(metadata: &str) -> Result<(), AdminError> {
    let refuse = |why: String| Err(AdminError::new(Category::InvalidArgument, format!("`metadata` {why}")));
    if metadata.len() > METADATA_BYTES_MAX {
        return refuse(format!("has {} bytes, more than {METADATA_BYTES_MAX}", metadata.len()));
    }
    match parse(metadata).map(|parsed| parsed.value) {
        Ok(Json::Object(_)) => Ok(()),
        Ok(other) => refuse(format!("must be a JSON object, not {}", other.kind())),
        Err(error) => refuse(format!("must be a JSON object; it is {error}")),
    }
}

/// Answers a job that was asked for before under the same id: reports its end, or goes on with it.
async fn again(engine: &Engine, known: Run, control: &Control) -> Result<RunReport, AdminError> {
    if has_ended(known.state) {
        return Ok(RunReport::stored(known));
    }
    engine.resume(known.run_id, control).await.map_err(advise)
}

/// Adds the next step to the error of a job.
pub fn advise(error: decisiongraph_store::StoreError) -> AdminError {
    let conflict = error.category == Category::Conflict;
    let error = AdminError::from(error);
    if conflict {
        error.next("`decisiongraph runs --open` shows the job, and the id by which `cancel` stops it")
    } else {
        error
    }
}

/// Finds the latest rebuild that was large enough to measure: its rate in events per second, and its run.
async fn measured_rate(view: &dyn ReadView, filter: &ListFilter) -> Result<Option<(f64, Uuid)>, AdminError> {
    for run in view.runs(filter).await?.items {
        if run.mode != RunMode::Rebuild || run.state != RunState::Completed {
            continue;
        }
        let scopes = recorded(&run).unwrap_or_default();
        let events: u64 = scopes.iter().map(|scope| scope.events).sum();
        let seconds: f64 = scopes.iter().map(|scope| scope.seconds).sum();
        if events >= RATE_EVENTS_MIN && seconds > 0.0 {
            return Ok(Some((events as f64 / seconds, run.run_id)));
        }
    }
    Ok(None)
}

impl Handle<RebuildCheckRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: RebuildCheckRequest) -> Result<RebuildCheckReply, AdminError> {
        let tenant = tenant_or_default(request.0.tenant);
        let wanted = projections(request.0.projection.as_deref())?;
        let view = self.store().snapshot().await?;
        let events = view.count_events(&tenant, LogSeq::ORIGIN, LogSeq(i64::MAX), EVENTS_BOUND).await?;
        let filter =
            |open_only, limit| ListFilter { tenant: Some(tenant.clone()), open_only, limit, ..ListFilter::default() };
        let mut blockers = Vec::new();
        for run in view.runs(&filter(true, RUNS_LOOKED_AT)).await?.items {
            let touches =
                run.projection == "all" || wanted.iter().any(|projection| projection.name() == run.projection);
            if touches && run.state == RunState::Running && run.node_live {
                blockers.push(format!(
                    "run {} ({} of {}) is under way on {}",
                    run.run_id,
                    run.mode.as_str(),
                    run.projection,
                    run.node
                ));
            }
        }
        for failure in view.failures(&filter(true, RUNS_LOOKED_AT)).await?.items {
            if wanted.iter().any(|projection| projection.name() == failure.projection) {
                blockers.push(format!(
                    "failure {} is open: {} stops at log_seq {} ({}); a rebuild would stop there too",
                    failure.failure_id,
                    failure.projection,
                    number(failure.log_seq.0),
                    failure.category
                ));
            }
        }
        let mut estimates = Vec::new();
        for projection in &wanted {
            let scope = view.scope(&Scope::new(&tenant, *projection)).await?;
            let live_generation = scope.as_ref().map(|scope| scope.generation);
            let cursor = scope.map_or(LogSeq::ORIGIN, |scope| scope.position.cursor);
            let applied = view.count_events(&tenant, LogSeq::ORIGIN, cursor, EVENTS_BOUND).await?;
            let (size, size_source) = match live_generation.filter(|_| applied > 0) {
                Some(generation) => {
                    let live = estimate::sampled(&*view, &tenant, *projection, generation).await?;
                    let growth = events as f64 / applied as f64;
                    (Size { rows: live.rows * growth, bytes: live.bytes * growth }, "live rows")
                }
                None => (estimate::assumed(*projection, events), "assumed"),
            };
            estimates.push(RebuildEstimate {
                projection: projection.name().to_owned(),
                live_generation,
                cursor,
                rows: size.rows.ceil() as u64,
                bytes: size.bytes.ceil() as u64,
                size_source: size_source.to_owned(),
            });
        }
        let measured = measured_rate(&*view, &filter(false, RUNS_LOOKED_AT)).await?;
        let (rate, rate_source) = match measured {
            Some((rate, run_id)) => (rate, format!("run {run_id}, {rate:.0} events per second and projection")),
            None => (
                RATE_EVENTS_PER_SECOND,
                format!("no earlier rebuild; assumed {RATE_EVENTS_PER_SECOND:.0} events per second and projection"),
            ),
        };
        Ok(RebuildCheckReply {
            tenant,
            ready: blockers.is_empty(),
            blockers,
            events,
            events_bound: EVENTS_BOUND,
            seconds: events as f64 * wanted.len() as f64 / rate,
            projections: estimates,
            rate_source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(request: JobRequest) -> Result<RunCause, Category> {
        run_request(request, RunMode::Verify, "ada by uid 7").map(|made| made.cause).map_err(|error| error.category)
    }

    #[test]
    fn the_cause_of_a_job_is_checked_before_it_is_recorded() {
        let text = |text: &str| Some(text.to_owned());
        let of = |metadata: &str| JobRequest { metadata: text(metadata), reason: text("why"), ..JobRequest::default() };
        let expected = |metadata: &str, by: &str| {
            Ok(RunCause { reason: text("why"), requested_by: text(by), metadata: text(metadata) })
        };
        let exact = r#"{ "b": 1.50, "a": 123456789012345678901234567890 }"#;
        assert_eq!(cause(of(exact)), expected(exact, "ada by uid 7"));
        let passed_on = JobRequest { first_asked_by: text("grace\nhopper"), ..of("{}") };
        assert_eq!(cause(passed_on), expected("{}", "gracehopper via ada by uid 7"), "never without its proof");
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(METADATA_BYTES_MAX));
        for metadata in ["", "[]", "\"a\"", "{", "{} {}", long.as_str()] {
            assert_eq!(cause(of(metadata)), Err(Category::InvalidArgument), "{metadata:.9}");
        }
        let without_reason = JobRequest { reason: text(" "), ..JobRequest::default() };
        assert_eq!(cause(without_reason), Err(Category::InvalidArgument));
    }

    #[test]
    fn a_part_of_a_verify_verifies_something() {
        let part = |log_only, no_log, since| VerifyPart { log_only, no_log, since, against: None };
        let made = |part, mode| verify_options(Some(part), mode).map_err(|error| error.category);
        let log = made(part(true, false, Some(60)), RunMode::Verify).expect("the log alone");
        assert_eq!((log.log_only, log.since), (true, 60));
        assert!(made(part(false, true, None), RunMode::Verify).expect("the rows alone").no_log);
        for (part, mode) in [
            (part(true, true, None), RunMode::Verify),
            (part(false, true, Some(60)), RunMode::Verify),
            (part(true, false, None), RunMode::Rebuild),
        ] {
            assert_eq!(made(part, mode), Err(Category::InvalidArgument));
        }
        assert_eq!(verify_options(None, RunMode::Rebuild), Ok(VerifyOptions::default()));
    }
}
