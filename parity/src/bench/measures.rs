//! The measures, one function per measure.

use super::child::{self, Leg, Order, Scopes};
use super::place::{Place, Site, Spent};
use super::report::{Goal, Report, Series, median};
use super::{Request, floor_postgres, floor_sqlite, floor_two_row, folded};
use crate::check::trial::read;
use crate::workload::{Profile, Workload};
use anyhow::Result;
use decisiongraph_engine::queries::reference_digests;
use decisiongraph_projections::{Admitted, LogSeq, TenantId};
use decisiongraph_store::{AppendMode, RunMode};
use std::sync::Arc;
use std::time::Instant;

/// Rates of the original service on this kind of machine, events per second. The first is a rebuild at 6,000 events,
/// the second a catch-up of the next 6,000.
const ORIGINAL_PER_SECOND: (f64, f64) = (155.0, 59.0);
const ORIGINAL_EVENTS: u64 = 6_000;
/// Rate of the fastest two-row projection of today's libraries over 20,000 events here, events per second.
const TWO_ROW_PER_SECOND: f64 = 3_095.0;
const TWO_ROW_EVENTS: u64 = 20_000;
/// Rate of the Python reference on SQLite over 50,000 mixed events here, events per second, at its best.
const PYTHON_PER_SECOND: f64 = 1_800.0;

/// Goals: rates against the floors, server CPU per event (catch-up, rebuild), rates against the Python reference.
const CATCH_UP_MIN: f64 = 0.85;
const REBUILD_MIN: f64 = 0.75;
const SERVER_US_MAX: [f64; 2] = [50.0, 28.0];
const PYTHON_MIN: f64 = 25.0;
/// Goals: share of the rolling digest, rows per second of the reference digest and of verify, peak memory.
const DIGEST_PERCENT_MAX: f64 = 8.0;
const REFERENCE_MIN: f64 = 400_000.0;
const VERIFY_MIN: f64 = 150_000.0;
const PEAK_MIB_MAX: f64 = 200.0;

const MICRO: f64 = 1e6;
const MIB: f64 = 1024.0 * 1024.0;

/// Generates the first events of a workload, as an append takes them.
pub fn events(profile: Profile, seed: u64, count: u64) -> Result<Vec<Admitted>> {
    Workload::new(profile, seed, count, 1).map(|line| Ok(read(&line)?)).collect()
}

/// Runs one leg over the projections in a child process. Returns with it the cost of the server meanwhile.
async fn measured(place: &Place, site: &Site, mode: RunMode, batch_events: usize) -> Result<(Leg, Spent)> {
    measured_over(place, site, mode, batch_events, Scopes::Projections).await
}

/// The same over other scopes.
pub(super) async fn measured_over(
    place: &Place,
    site: &Site,
    mode: RunMode,
    batch_events: usize,
    scopes: Scopes,
) -> Result<(Leg, Spent)> {
    let before = place.spent().await?;
    let mut legs = child::run(site, &Order { mode, batch_events, stops: Vec::new(), scopes }).await?;
    let spent = place.spent().await?.since(before);
    let leg = legs.pop().ok_or_else(|| anyhow::anyhow!("the measured run told nothing"))?;
    Ok((leg, spent))
}

/// Several runs of one kind.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) rate: Vec<f64>,
    pub(super) client_cpu: Vec<f64>,
    pub(super) server_cpu: Vec<f64>,
    wal: Vec<f64>,
    pub(super) peak: Vec<f64>,
}

impl Runs {
    pub(super) fn add(&mut self, leg: &Leg, spent: Spent) {
        let events = leg.events.max(1) as f64;
        self.rate.push(leg.rate());
        self.client_cpu.extend(leg.cpu_seconds.map(|seconds| seconds * MICRO / events));
        self.server_cpu.extend(spent.cpu_seconds.map(|seconds| seconds * MICRO / events));
        self.wal.extend(spent.wal_bytes.map(|bytes| bytes / events));
        self.peak.extend(leg.peak_bytes.map(|bytes| bytes as f64 / MIB));
    }

    pub(super) fn tell(&self, report: &mut Report, measure: &str, name: &str) {
        report.runs(measure, name, &self.rate, "events/s");
        report.runs(measure, format!("{name}: client CPU"), &self.client_cpu, "us/event");
        report.runs(measure, format!("{name}: server CPU"), &self.server_cpu, "us/event");
        report.runs(measure, format!("{name}: WAL"), &self.wal, "bytes/event");
        report.runs(measure, format!("{name}: peak memory of the process"), &self.peak, "MiB");
    }
}

/// Divides each run by the run of the floor beside it.
pub(super) fn ratios(runs: &[f64], floors: &[f64]) -> Vec<f64> {
    runs.iter().zip(floors).map(|(run, floor)| run / floor).collect()
}

/// Measures catch-up and rebuild, alternating with their floors, so that a machine that slows down slows both.
pub async fn floors(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "floors";
    let events = events(request.profile, request.seed, request.events)?;
    let count = events.len() as f64;
    let loaded = place.loaded(&events).await?;
    let folded = Arc::new(folded::fold(&events, request.batch_events));
    drop(events);
    let rows: usize = folded.iter().flat_map(|part| &part.rows).map(Vec::len).sum();
    report.figure(MEASURE, "rows an event, all projections", rows as f64 / count, "rows");
    let (mut catch_up, mut rebuild, mut verify) = (Runs::default(), Runs::default(), Runs::default());
    let (mut floor_catch_up, mut floor_rebuild, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let (mut floor_cpu_catch_up, mut floor_cpu_rebuild) = (Vec::new(), Vec::new());
    let mut reference = Vec::new();
    for _ in 0..request.repeat {
        let site = place.copy(&loaded).await?;
        let (leg, spent) = measured(place, &site, RunMode::CatchUp, request.batch_events).await?;
        catch_up.add(&leg, spent);
        place.settle(&site).await?;
        let (leg, spent) = measured(place, &site, RunMode::Verify, request.batch_events).await?;
        verify.add(&leg, spent);
        let store = site.open(2).await?;
        let view = store.snapshot().await?;
        let started = Instant::now();
        reference_digests(&*view, &TenantId::default()).await?;
        reference.push(started.elapsed().as_secs_f64());
        drop((view, store));
        let (leg, _) = measured(place, &site, RunMode::Rebuild, request.batch_events).await?;
        beside.push(leg.rate());
        place.remove(site).await?;

        for catching_up in [true, false] {
            let site = place.copy(&loaded).await?;
            let before = place.spent().await?;
            let took = match (place, catching_up) {
                (Place::Postgres(_), true) => floor_postgres::catch_up(&site.url, &folded).await?,
                (Place::Postgres(_), false) => floor_postgres::rebuild(&site.url, &folded).await?,
                (Place::Embedded { .. }, _) => {
                    let (file, folded) = (place.unused().await?, Arc::clone(&folded));
                    let store = site.path();
                    tokio::task::spawn_blocking(move || match catching_up {
                        true => floor_sqlite::catch_up(&store, &file.path(), &folded),
                        false => floor_sqlite::rebuild(&store, &file.path(), &folded),
                    })
                    .await??
                }
            };
            let cpu = place.spent().await?.since(before).cpu_seconds.map(|seconds| seconds * MICRO / count);
            let rate = count / took.as_secs_f64();
            if catching_up {
                floor_catch_up.push(rate);
                floor_cpu_catch_up.extend(cpu);
            } else {
                floor_rebuild.push(rate);
                floor_cpu_rebuild.extend(cpu);
            }
            place.remove(site).await?;
        }

        let site = place.copy(&loaded).await?;
        let (leg, spent) = measured(place, &site, RunMode::Rebuild, request.batch_events).await?;
        rebuild.add(&leg, spent);
        place.remove(site).await?;
    }
    place.remove(loaded).await?;
    catch_up.tell(report, MEASURE, "catch-up");
    report.runs(MEASURE, "floor (catch-up)", &floor_catch_up, "events/s");
    report.runs(MEASURE, "floor (catch-up): server CPU", &floor_cpu_catch_up, "us/event");
    let ratio = median(&catch_up.rate) / median(&floor_catch_up);
    report.goal(MEASURE, "catch-up / floor", ratio, "", Goal::AtLeast(CATCH_UP_MIN));
    report.spread(&ratios(&catch_up.rate, &floor_catch_up));
    rebuild.tell(report, MEASURE, "rebuild");
    report.runs(MEASURE, "rebuild beside live rows, their removal included", &beside, "events/s");
    report.runs(MEASURE, "floor (rebuild)", &floor_rebuild, "events/s");
    report.runs(MEASURE, "floor (rebuild): server CPU", &floor_cpu_rebuild, "us/event");
    let ratio = median(&rebuild.rate) / median(&floor_rebuild);
    report.goal(MEASURE, "rebuild / floor", ratio, "", Goal::AtLeast(REBUILD_MIN));
    report.spread(&ratios(&rebuild.rate, &floor_rebuild));
    if request.profile == Profile::Mixed && !catch_up.server_cpu.is_empty() {
        let (of_catch_up, of_rebuild) = (median(&catch_up.server_cpu), median(&rebuild.server_cpu));
        let [at_catch_up, at_rebuild] = SERVER_US_MAX.map(Goal::AtMost);
        report.goal(MEASURE, "server CPU, catch-up", of_catch_up, "us/event", at_catch_up);
        report.spread(&catch_up.server_cpu);
        report.goal(MEASURE, "server CPU, rebuild", of_rebuild, "us/event", at_rebuild);
        report.spread(&rebuild.server_cpu);
    }
    if request.profile == Profile::Mixed && !place.is_postgres() {
        let slower = median(&catch_up.rate).min(median(&rebuild.rate)) / PYTHON_PER_SECOND;
        report.goal(
            MEASURE,
            "against the Python reference at its best (1,800/s)",
            slower,
            "x",
            Goal::AtLeast(PYTHON_MIN),
        );
    }
    let digest: f64 = folded.iter().map(|part| part.digest_time.as_secs_f64()).sum();
    report.figure(MEASURE, "rolling digest", digest * MICRO / count, "us/event");
    let share = digest / (count / median(&catch_up.rate)) * 100.0;
    report.goal(
        MEASURE,
        "rolling digest / wall time of a catch-up batch",
        share,
        "%",
        Goal::AtMost(DIGEST_PERCENT_MAX),
    );
    let share = digest / (count / median(&rebuild.rate)) * 100.0;
    report.figure(MEASURE, "rolling digest / wall time of a rebuild batch", share, "%");
    let rows_per_second: Vec<f64> = reference.iter().map(|seconds| rows as f64 / seconds).collect();
    let name = "reference digest of the whole";
    report.goal(MEASURE, name, median(&rows_per_second), "rows/s", Goal::AtLeast(REFERENCE_MIN));
    report.spread(&rows_per_second);
    let rows_per_second: Vec<f64> = verify.rate.iter().map(|rate| rate * rows as f64 / count).collect();
    let name = "verify (log, rows and digest)";
    report.goal(MEASURE, name, median(&rows_per_second), "rows/s", Goal::AtLeast(VERIFY_MIN));
    report.spread(&rows_per_second);
    Ok(())
}

/// Measures the original's own workload: a rebuild, then as many events again by catch-up.
pub async fn original(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "original";
    let events = events(Profile::Original, 0, 2 * ORIGINAL_EVENTS)?;
    let (first, next) = events.split_at(ORIGINAL_EVENTS as usize);
    let loaded = place.loaded(first).await?;
    let (mut rebuild, mut catch_up) = (Vec::new(), Vec::new());
    for _ in 0..request.repeat {
        let site = place.copy(&loaded).await?;
        rebuild.push(measured(place, &site, RunMode::Rebuild, request.batch_events).await?.0.rate());
        place.append(&site, next).await?;
        let (leg, _) = measured(place, &site, RunMode::CatchUp, request.batch_events).await?;
        anyhow::ensure!(leg.events == ORIGINAL_EVENTS, "the catch-up applied {} events", leg.events);
        catch_up.push(leg.rate());
        place.remove(site).await?;
    }
    place.remove(loaded).await?;
    report.runs(MEASURE, "rebuild at 6,000 events", &rebuild, "events/s");
    let ratio = median(&rebuild) / ORIGINAL_PER_SECOND.0;
    report.goal(MEASURE, "against the original (155/s)", ratio, "x", Goal::AtLeast(200.0));
    report.runs(MEASURE, "catch-up of the next 6,000", &catch_up, "events/s");
    let ratio = median(&catch_up) / ORIGINAL_PER_SECOND.1;
    report.goal(MEASURE, "against the original (59/s)", ratio, "x", Goal::AtLeast(300.0));
    Ok(())
}

/// Measures three projections with checks and digests. Today's libraries were measured with a projection of two rows.
pub async fn two_row(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "two-row";
    let loaded = place.loaded(&events(Profile::Mixed, request.seed, TWO_ROW_EVENTS)?).await?;
    let (mut rates, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..request.repeat {
        let site = place.copy(&loaded).await?;
        rates.push(measured(place, &site, RunMode::CatchUp, request.batch_events).await?.0.rate());
        place.remove(site).await?;
        if place.is_postgres() {
            let site = place.copy(&loaded).await?;
            let took = floor_two_row::catch_up(&site.url, TWO_ROW_EVENTS, request.batch_events).await?;
            by_hand.push(TWO_ROW_EVENTS as f64 / took.as_secs_f64());
            place.remove(site).await?;
        }
    }
    place.remove(loaded).await?;
    report.runs(MEASURE, "catch-up of 20,000 mixed events", &rates, "events/s");
    let ratio = median(&rates) / TWO_ROW_PER_SECOND;
    report.goal(MEASURE, "against the fastest two-row projection (3,095/s)", ratio, "x", Goal::AtLeast(8.0));
    if !by_hand.is_empty() {
        report.runs(MEASURE, "a loop by hand, two rows, no checks", &by_hand, "events/s");
        let ratio = median(&rates) / median(&by_hand);
        report.goal(MEASURE, "catch-up / loop by hand", ratio, "", Goal::AtLeast(0.6));
        report.spread(&ratios(&rates, &by_hand));
    }
    Ok(())
}

/// Makes a store with a log of [`Request::growth_events`] events, and nothing projected.
pub(super) async fn long_log(request: &Request, place: &Place) -> Result<Site> {
    const CHUNK: usize = 20_000;
    let count = request.growth_events;
    let site = place.fresh().await?;
    let mut workload = Workload::new(request.profile, request.seed, count, 1);
    let store = site.open(2).await?;
    loop {
        let chunk: Vec<Admitted> = workload.by_ref().take(CHUNK).map(|line| Ok(read(&line)?)).collect::<Result<_>>()?;
        if chunk.is_empty() {
            break;
        }
        for batch in chunk.chunks(1_000) {
            store.append(&TenantId::default(), batch, AppendMode::AllOrNothing).await?;
        }
    }
    let last = store.view().await?.last_log_seq(&TenantId::default(), None).await?;
    anyhow::ensure!(last == LogSeq(count as i64), "the log has {last} events");
    drop(store);
    place.settle(&site).await?;
    Ok(site)
}

/// Measures each tenth of a long log: one process, ten stretches.
pub async fn growth(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "growth";
    const TENTHS: i64 = 10;
    let count = request.growth_events;
    let site = long_log(request, place).await?;
    let stops = (1..=TENTHS).map(|tenth| tenth * count as i64 / TENTHS).collect();
    let scopes = Scopes::Projections;
    let order = Order { mode: RunMode::CatchUp, batch_events: request.batch_events, stops, scopes };
    let legs = child::run(&site, &order).await?;
    let [first, .., end] = legs.as_slice() else { anyhow::bail!("ten stretches were ordered") };
    for (index, leg) in legs.iter().enumerate().take(9).skip(1) {
        report.figure(MEASURE, format!("catch-up, tenth {}", index + 1), leg.rate(), "events/s");
    }
    for (index, leg) in legs.iter().enumerate() {
        let memory = leg.resident_bytes.map(|bytes| bytes as f64 / MIB);
        report.optional(MEASURE, format!("memory of the process, after tenth {}", index + 1), memory, "MiB");
    }
    let mut curve = |name: &str, y: &str, value: &dyn Fn(&Leg) -> Option<f64>| {
        let reached = (1..).map(|tenth| f64::from(tenth) * count as f64 / TENTHS as f64);
        report.series.push(Series {
            measure: MEASURE.to_owned(),
            chart: format!("growth-{name}"),
            name: format!("catch-up of {count} events"),
            x: "events in the log".to_owned(),
            y: y.to_owned(),
            log_x: false,
            points: reached.zip(&legs).filter_map(|(at, leg)| Some((at, value(leg)?))).collect(),
        });
    };
    curve("rate", "events per second", &|leg| Some(leg.rate()));
    curve("memory", "peak memory of the process, MiB", &|leg| leg.peak_bytes.map(|bytes| bytes as f64 / MIB));
    report.figure(MEASURE, format!("catch-up, first tenth of {count}"), first.rate(), "events/s");
    report.figure(MEASURE, "catch-up, last tenth", end.rate(), "events/s");
    report.goal(MEASURE, "rate, last tenth / first", end.rate() / first.rate(), "", Goal::AtLeast(0.9));
    if let (Some(early), Some(late)) = (first.peak_bytes, end.peak_bytes) {
        // Flat: an allocator's slack is allowed, growth with the log is not.
        report.goal(MEASURE, "peak memory, end / first tenth", late as f64 / early as f64, "", Goal::AtMost(1.25));
        report.goal(MEASURE, "peak memory of the process", late as f64 / MIB, "MiB", Goal::AtMost(PEAK_MIB_MAX));
    }
    let (leg, _) = measured(place, &site, RunMode::Rebuild, request.batch_events).await?;
    report.figure(MEASURE, format!("rebuild of {count}, beside live rows"), leg.rate(), "events/s");
    if let Some(peak) = leg.peak_bytes {
        report.goal(MEASURE, "peak memory of the rebuild", peak as f64 / MIB, "MiB", Goal::AtMost(PEAK_MIB_MAX));
    }
    place.remove(site).await
}
