//! `bench`: the cost of the runtime against its floor, in the same run. The floor is the same rows, written as fast as
//! the database allows.
//!
//! *Guarantees.* Every ratio is taken in one run on one machine. Durable commits, hash and sequence checks and digests
//! stay on. The benchmark ends without help and leaves nothing behind. Each measure holds its own goals.

pub mod admin;
pub mod append;
pub mod child;
pub mod cluster;
pub mod compare;
pub mod cursors;
pub mod floor_append;
pub mod floor_postgres;
pub mod floor_sqlite;
pub mod floor_two_row;
pub mod folded;
pub mod freshness;
pub mod http;
pub mod layout;
pub mod machine;
pub mod measures;
pub mod meters;
pub mod node;
pub mod place;
pub mod plot;
pub mod quiet;
pub mod recovery;
pub mod report;
pub mod reports;
pub mod seal;
pub mod tenants;
pub mod window;

use crate::workload::Profile;
use anyhow::{Context as _, Result};
use place::Place;
use quiet::Watcher;
use report::Report;

/// Measure of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// Catch-up and rebuild against their floors; CPU and WAL per event, peak memory; the rolling digest's share;
    /// verify.
    Floors,
    /// The original service's workload: a rebuild at 6,000 events, a catch-up of the next 6,000.
    Original,
    /// 20,000 events, as the two-row projections of today's libraries were measured, and a loop by hand beside it.
    TwoRow,
    /// Events appended per second: one by one and in batches, 1, 4 and 16 producers, one tenant and many; their floor.
    Append,
    /// A long log: the rate of its last tenth against its first; memory in the same way.
    Growth,
    /// A running node: from an append to visible in all projections, at 100 and at 1,000 events per second.
    Freshness,
    /// The same at 100 events per second on a long log that is rebuilt meanwhile.
    Live,
    /// A running node with many tenants: until all are current, memory per scope, a trickle over all, idle.
    Tenants,
    /// A running node: round trips, the whole command line, the dump of all its actors; then `status`, `health` and
    /// `why` while a third of the scopes fails.
    Admin,
    /// The HTTP interface of the program: appends, batches beside an import, reads of a trace, idle streams.
    Http,
    /// A node that is killed in the middle of a catch-up.
    Recovery,
    /// One, two and three nodes on one database: rate, changes of membership, idleness, the fence.
    Cluster,
    /// The sealed log: cost per event, beside projections and appends, on a long log; proofs, packs and their checks.
    Seal,
    /// A running node that seals: from an append to the first checkpoint in a directory that covers it, for 60 s at
    /// 1,000 events per second.
    Window,
}

impl Measure {
    /// All measures, in the order of a report.
    pub const ALL: [Measure; 14] = [
        Measure::Floors,
        Measure::Original,
        Measure::TwoRow,
        Measure::Append,
        Measure::Growth,
        Measure::Freshness,
        Measure::Live,
        Measure::Tenants,
        Measure::Admin,
        Measure::Http,
        Measure::Recovery,
        Measure::Cluster,
        Measure::Seal,
        Measure::Window,
    ];
}

/// Settings of a run of the benchmark.
#[derive(Debug, Clone)]
pub struct Request {
    /// Measures to take.
    pub measures: Vec<Measure>,
    /// Workload of the floors and of growth.
    pub profile: Profile,
    /// Seed of the workload.
    pub seed: u64,
    /// Events of the logs of floors, live and recovery.
    pub events: u64,
    /// Events of the growth's log, and of the long log of the seal.
    pub growth_events: u64,
    /// Events per batch.
    pub batch_events: usize,
    /// Tenants of a node.
    pub tenants: usize,
    /// Seconds for which a node is watched at each rate, and idle.
    pub seconds: u64,
    /// Times that each run is repeated; the median counts.
    pub repeat: usize,
    /// True when a machine that other processes use is refused.
    pub require_quiet: bool,
}

/// Takes all measures of the request.
pub async fn run(request: &Request, place: &Place) -> Result<Report> {
    let mut watcher = Watcher::start(place.server_process()).await;
    if request.require_quiet {
        watcher.quiet().context("the use of the machine by others cannot be read here")?.required()?;
    }
    let mut report = Report { settings: machine::settings(), ..Report::default() };
    report.settings.extend(place.settings().await?);
    let workload = format!(
        "{:?}, seed {}, {} events, batches of {}, median of {}",
        request.profile, request.seed, request.events, request.batch_events, request.repeat
    );
    report.settings.push(("workload".to_owned(), workload.to_lowercase()));
    for measure in &request.measures {
        let started = std::time::Instant::now();
        let done = match measure {
            Measure::Floors => measures::floors(request, place, &mut report).await,
            Measure::Original => measures::original(request, place, &mut report).await,
            Measure::TwoRow => measures::two_row(request, place, &mut report).await,
            Measure::Append => append::append(request, place, &mut report).await,
            Measure::Growth => measures::growth(request, place, &mut report).await,
            Measure::Freshness => freshness::freshness(request, place, &mut report).await,
            Measure::Live => freshness::live(request, place, &mut report).await,
            Measure::Tenants => tenants::tenants(request, place, &mut report).await,
            Measure::Admin => admin::admin(request, place, &mut report).await,
            Measure::Http => http::http(request, place, &mut report).await,
            Measure::Recovery => recovery::recovery(request, place, &mut report).await,
            Measure::Cluster => cluster::cluster(request, place, &mut report).await,
            Measure::Seal => seal::seal(request, place, &mut report).await,
            Measure::Window => window::window(request, place, &mut report).await,
        };
        watcher.sample(&format!("{measure:?}").to_lowercase());
        // Figures from before a failure are worth having.
        match done {
            Ok(()) => eprintln!("{measure:?}: {:.0} s", started.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("{measure:?} failed after {:.0} s: {error:#}", started.elapsed().as_secs_f64());
                report.failed.push(format!("{measure:?}: {error:#}"));
            }
        }
    }
    report.settings.push(("load after".to_owned(), machine::load()));
    report.quiet = watcher.quiet();
    Ok(report)
}
