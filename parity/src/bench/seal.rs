//! The sealed log: its cost per event, beside the projections and beside appends; then a long log that is sealed at
//! once, its proofs, a pack of it and the checks of both.

use super::Request;
use super::append::{produced, shares};
use super::child::Scopes;
use super::measures::{Runs, events, long_log, measured_over, ratios};
use super::place::{Place, Site};
use super::report::{Goal, Report, median, percentile};
use crate::workload::Profile;
use anyhow::{Context as _, Result, ensure};
use decisiongraph_admin::answer;
use decisiongraph_engine::seal::{SealSettings, Sealing, seal_now};
use decisiongraph_engine::{Control, Engine, EngineConfig};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::{Asker, AuditPackRequest, JobRequest, PackOf, ProveRequest, VerifyPart, VerifyRequest};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{Beside, Folder, Memory, Place as Kept, SigningKeys, Trust, audit};
use decisiongraph_store::{Owner, RunMode};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Goals: CPU per sealed event, of client and server; rates against a run without the seal.
const CLIENT_US_MAX: f64 = 6.0;
const SERVER_US_MAX: f64 = 4.0;
const CATCH_UP_MIN: f64 = 0.8;
const APPEND_MIN: f64 = 0.95;
/// Goals on the long log: events per second, embedded and on a server, and milliseconds per proof.
const SEALED_MIN: [f64; 2] = [100_000.0, 60_000.0];
const PROVE_MS_MAX: f64 = 10.0;
const AUDIT_MIN: f64 = 150_000.0;
const CHECK_MIN: f64 = 120_000.0;

/// Events of the appends, per append, and producers.
const APPENDED: u64 = 20_000;
const APPEND_BATCH: usize = 100;
const PRODUCERS: usize = 4;
/// Proofs that are asked for, and events of the pack.
const PROOFS: i64 = 200;
const PACKED: i64 = 100_000;
const PACK_PAGE: i64 = 1_000;
const SEAL_WAIT: Duration = Duration::from_secs(600);

const MEASURE: &str = "seal";
/// Beginning of the name of each log.
pub const NAME: &str = "bench.example";
const MS: f64 = 1_000.0;

/// Creates a sealing whose key is known to everybody, with its journal in this directory.
pub fn sealing(directory: &Path) -> Result<Arc<Sealing>> {
    sealing_to(directory, Vec::new(), SealSettings::default())
}

/// Creates such a sealing with these places and settings.
pub fn sealing_to(journal: &Path, places: Vec<Arc<dyn Kept>>, settings: SealSettings) -> Result<Arc<Sealing>> {
    let memory = Memory { journal: Folder::journal(journal), places };
    Ok(Arc::new(Sealing::new(NAME.to_owned(), SigningKeys::of(key()?), memory, settings)))
}

fn key() -> Result<SigningKey> {
    Ok(SigningKey::of_seed(NAME, &[7; 32])?)
}

/// Takes the measures that the head of this file names.
pub async fn seal(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    beside_projections(request, place, report).await?;
    behind_appends(request, place, report).await?;
    let directory = tempfile::tempdir()?;
    let site = long_log(request, place).await?;
    sealed_at_once(request, place, &site, directory.path(), report).await?;
    let engine = engine(&site, directory.path()).await?;
    proofs(request, &engine, report).await?;
    packed(request, &engine, report).await?;
    checked(request, &engine, report).await?;
    drop(engine);
    place.remove(site).await
}

async fn engine(site: &Site, directory: &Path) -> Result<Engine> {
    let owner = Owner { node: "bench".to_owned(), incarnation: Uuid::new_v4() };
    let engine = Engine::new(site.open(4).await?, owner, EngineConfig::default());
    Ok(engine.with_sealing(Some(sealing(directory)?)))
}

/// Catch-ups of three scopes, of four, and of the seal alone, in turns.
async fn beside_projections(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    let loaded = place.loaded(&events(request.profile, request.seed, request.events)?).await?;
    let (mut three, mut four, mut alone) = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..request.repeat {
        for kind in 0..3 {
            let (site, directory) = (place.copy(&loaded).await?, tempfile::tempdir()?);
            let journal = directory.path().to_owned();
            let (runs, scopes) = match kind {
                0 => (&mut three, Scopes::Projections),
                1 => (&mut four, Scopes::WithSeal(journal)),
                _ => (&mut alone, Scopes::Seal(journal)),
            };
            let (leg, spent) = measured_over(place, &site, RunMode::CatchUp, request.batch_events, scopes).await?;
            ensure!(leg.events == request.events, "the run moved over {} events", leg.events);
            runs.add(&leg, spent);
            place.remove(site).await?;
        }
    }
    place.remove(loaded).await?;
    three.tell(report, MEASURE, "catch-up of three scopes");
    four.tell(report, MEASURE, "catch-up of four scopes");
    let name = "catch-up of four scopes / of three";
    report.goal(MEASURE, name, median(&four.rate) / median(&three.rate), "", Goal::AtLeast(CATCH_UP_MIN));
    report.spread(&ratios(&four.rate, &three.rate));
    alone.tell(report, MEASURE, "sealing alone");
    for (name, values, most) in [
        ("sealing alone: client CPU against its goal", &alone.client_cpu, CLIENT_US_MAX),
        ("sealing alone: server CPU against its goal", &alone.server_cpu, SERVER_US_MAX),
    ] {
        if !values.is_empty() {
            report.goal(MEASURE, name, median(values), "us/event", Goal::AtMost(most));
            report.spread(values);
        }
    }
    Ok(())
}

/// Appends with a sealer that follows them, and without.
async fn behind_appends(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    let all = events(Profile::Mixed, request.seed, APPENDED)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..request.repeat {
        for sealed in [false, true] {
            let (site, directory) = (place.fresh().await?, tempfile::tempdir()?);
            place.checkpoint().await?;
            let ended = Arc::new(AtomicBool::new(false));
            let follower = match sealed {
                true => Some(tokio::spawn(follow(engine(&site, directory.path()).await?, Arc::clone(&ended)))),
                false => None,
            };
            let took = produced(&site, shares(&all, &all, PRODUCERS), APPEND_BATCH, true).await?;
            ended.store(true, Ordering::Relaxed);
            if let Some(follower) = follower {
                follower.await??;
            }
            if sealed { &mut with } else { &mut without }.push(APPENDED as f64 / took);
            place.remove(site).await?;
        }
    }
    let how = format!("batches of {APPEND_BATCH}, {PRODUCERS} producers");
    report.runs(MEASURE, format!("appends without a seal, {how}"), &without, "events/s");
    report.runs(MEASURE, format!("appends with sealing behind, {how}"), &with, "events/s");
    let ratio = median(&with) / median(&without);
    report.goal(MEASURE, "appends with sealing behind / without", ratio, "", Goal::AtLeast(APPEND_MIN));
    report.spread(&ratios(&with, &without));
    Ok(())
}

/// Seals whatever there is, again and again, until the appends have ended.
async fn follow(engine: Engine, ended: Arc<AtomicBool>) -> Result<()> {
    while !ended.load(Ordering::Relaxed) {
        seal_now(&engine, &TenantId::default(), SEAL_WAIT).await?;
    }
    Ok(())
}

async fn sealed_at_once(
    request: &Request,
    place: &Place,
    site: &Site,
    directory: &Path,
    report: &mut Report,
) -> Result<()> {
    let scopes = Scopes::Seal(directory.to_owned());
    let (leg, spent) = measured_over(place, site, RunMode::CatchUp, request.batch_events, scopes).await?;
    ensure!(leg.events == request.growth_events, "{} events were sealed", leg.events);
    let least = SEALED_MIN[usize::from(place.is_postgres())];
    let name = format!("sealing {} events that are there", request.growth_events);
    report.goal(MEASURE, name, leg.rate(), "events/s", Goal::AtLeast(least));
    let mut runs = Runs::default();
    runs.add(&leg, spent);
    runs.tell(report, MEASURE, "sealing the long log");
    Ok(())
}

async fn proofs(request: &Request, engine: &Engine, report: &mut Report) -> Result<()> {
    let (asker, control) = (Asker::here(None), Control::default());
    let mut waits = Vec::new();
    for number in 0..PROOFS {
        // Spread over the last tenth of the log.
        let at = request.growth_events as i64 - number * (request.growth_events as i64 / 10) / PROOFS;
        let prove = ProveRequest { log_seq: Some(LogSeq(at)), ..ProveRequest::default() };
        let began = Instant::now();
        answer(engine, &asker, prove, &control).await?;
        waits.push(began.elapsed().as_secs_f64() * MS);
    }
    let name = format!("proof of an event near the end of {}, p50", request.growth_events);
    report.goal(MEASURE, name, percentile(&waits, 50.0), "ms", Goal::AtMost(PROVE_MS_MAX));
    report.figure(MEASURE, "proof, p99", percentile(&waits, 99.0), "ms");
    Ok(())
}

async fn packed(request: &Request, engine: &Engine, report: &mut Report) -> Result<()> {
    let (asker, control) = (Asker::here(None), Control::default());
    let count = PACKED.min(request.growth_events as i64);
    let mut pages = AuditPackRequest {
        tenant: None,
        of: PackOf::Range(LogSeq(1), LogSeq(count)),
        redact: Vec::new(),
        without_payloads: false,
        rotations: false,
        after: None,
        limit: PACK_PAGE,
    };
    let (mut pack, began) = (String::new(), Instant::now());
    loop {
        let page = answer(engine, &asker, pages.clone(), &control).await?;
        pack.push_str(&page.text);
        match page.next {
            None => break,
            next => pages.after = next,
        }
    }
    let name = format!("pack of {count} events, by pages");
    report.figure(MEASURE, name, count as f64 / began.elapsed().as_secs_f64(), "events/s");
    let origin = engine.sealing().context("the engine seals")?.origin(&TenantId::default());
    let trust = Trust::new(&[key()?.verifier(&origin).to_string()], &[], 0)?;
    let mut rates = Vec::new();
    for _ in 0..request.repeat {
        let began = Instant::now();
        audit(pack.as_bytes(), Beside::default(), &trust)?;
        rates.push(count as f64 / began.elapsed().as_secs_f64());
    }
    report.goal(MEASURE, "audit of that pack", median(&rates), "events/s", Goal::AtLeast(AUDIT_MIN));
    report.spread(&rates);
    Ok(())
}

/// Compares log, entries, nodes and checkpoints, as `verify --log-only` does.
async fn checked(request: &Request, engine: &Engine, report: &mut Report) -> Result<()> {
    let mut rates = Vec::new();
    let verify = Some(VerifyPart { log_only: true, ..VerifyPart::default() });
    for _ in 0..request.repeat {
        let began = Instant::now();
        let job = VerifyRequest(JobRequest { verify: verify.clone(), ..JobRequest::default() });
        let report = answer(engine, &Asker::here(None), job, &Control::default()).await?.ended()?;
        ensure!(report.log.is_some() && !report.log_differs(), "the log was not found as it was sealed");
        rates.push(request.growth_events as f64 / began.elapsed().as_secs_f64());
    }
    report.goal(MEASURE, "verify --log-only", median(&rates), "events/s", Goal::AtLeast(CHECK_MIN));
    report.spread(&rates);
    Ok(())
}
