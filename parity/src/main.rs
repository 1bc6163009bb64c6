//! `decisiongraph-parity`: check, generate, bench.

use clap::{Parser, Subcommand};
use decisiongraph_parity::bench::compare::{self, Comparison};
use decisiongraph_parity::bench::{self, Measure, place::Place, plot, quiet::Quiet, report::Report};
use decisiongraph_parity::check::{self, stores::Stores};
use decisiongraph_parity::with_postgres;
use decisiongraph_parity::workload::original::TRACE_EVENTS;
use decisiongraph_parity::workload::{Profile, Workload};
use decisiongraph_protocol::{AdminError, of_error};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares DecisionGraph with its reference.
#[derive(Parser)]
#[command(name = "decisiongraph-parity", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check fixture files against this program.
    ///
    /// Understands reference fixture bundles, append verdicts and query verdicts, by their `format` field. Each
    /// scenario gets a store of its own and is projected by catch-up and by rebuild. One line per scenario or case,
    /// with its first difference; the last line is `N passed, N failed`. Exit code 0 when all passed, else 1.
    Check(Check),
    /// Write a seeded workload as JSON lines.
    ///
    /// The same arguments give the same bytes on every machine. Every event is legal. A longer workload begins with the
    /// shorter one of the same seed.
    Generate(Generate),
    /// Measure the cost of projecting against its floor, and a running node.
    ///
    /// The floor is the same rows, written as fast as the database allows. Prints a table (or JSON) with machine,
    /// versions and settings on top and the goal beside each figure. Build with `--release`. All measures over a
    /// million events take several minutes; `--measures floors,original` is a short run. Exit code 1 when a measure
    /// failed, 2 for a file that is not a report, 6 when `--require-quiet` is not satisfied.
    Bench(Bench),
    /// A measured run in a process of its own, for `bench`.
    #[command(hide = true)]
    MeasuredRun {
        /// The run, as JSON.
        order: String,
    },
    /// A measured node in a process of its own, for `bench`.
    #[command(hide = true)]
    MeasuredNode {
        /// Settings of the node, as JSON.
        order: String,
    },
    /// Run a command beside a PostgreSQL server that is started for it and removed afterwards.
    ///
    /// The server listens on a private socket and a free port of 127.0.0.1. Its address is in
    /// DECISIONGRAPH_TEST_POSTGRES, where the tests find it.
    WithPostgres {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Generate {
    /// Seed of the workload (`original` has no randomness and ignores it).
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of events.
    #[arg(long)]
    events: u64,
    /// Kind of log.
    #[arg(long, value_enum, default_value = "mixed")]
    profile: Profile,
    /// Number of tenants (`tenants` only).
    #[arg(long, default_value_t = 10_000)]
    tenants: usize,
}

#[derive(clap::Args)]
struct Check {
    /// Fixture files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Bundle in which the scenarios of query verdicts are sought first.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Backend on which scenarios are projected. `sqlite`: temporary files. `postgres`: databases made and dropped on
    /// the server of DATABASE_URL (without it, on a server that is started for this run).
    #[arg(long, value_enum, default_value = "sqlite")]
    backend: BackendName,
    /// Events per batch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
}

#[derive(clap::Args)]
struct Bench {
    /// `postgres://…`: databases made and dropped on that server. `embedded`: SQLite files in a temporary directory.
    /// Without it, a PostgreSQL server that is started for this run.
    #[arg(long, value_name = "URL|embedded")]
    database: Option<String>,
    /// Measures to take.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Measure::ALL)]
    measures: Vec<Measure>,
    /// Workload of floors and growth.
    #[arg(long, value_enum, default_value = "mixed")]
    profile: Profile,
    /// Seed of the workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events of the logs of floors, live and recovery.
    #[arg(long, default_value_t = 50_000)]
    events: u64,
    /// Traces instead of events, six each (`original` only).
    #[arg(long, conflicts_with = "events")]
    traces: Option<u64>,
    /// Events of the growth's log, and of the long log of the seal.
    #[arg(long, default_value_t = 1_000_000)]
    growth_events: u64,
    /// Events per batch.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Tenants of a node (`tenants`, `admin`).
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tenants: u32,
    /// Seconds for which a node is watched at each rate, and idle.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Times that each run is repeated; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Compare with an earlier run, by its `--json`: before, now, ratio, and the figures that moved beyond the spread
    /// of their repetitions.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Draw growth, freshness and tenants as SVG files in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    plot: Option<PathBuf>,
    /// Take the figures from an earlier run, by its `--json`, instead of measuring.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["database", "measures", "require_quiet"])]
    from: Option<PathBuf>,
    /// Refuse to measure while other processes use more than 5 % of the CPU (exit code 6). A run that they disturb
    /// later prints its report and ends with the same code.
    #[arg(long)]
    require_quiet: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum BackendName {
    Sqlite,
    Postgres,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help is 0, wrong usage is 1.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Check(arguments) => in_runtime(check(arguments)),
        Command::Bench(arguments) => in_runtime(bench(arguments)).or_else(refused),
        Command::MeasuredRun { order } => in_runtime(async move {
            // On a worker thread, as the program itself works.
            tokio::spawn(async move { bench::child::obey(&order).await }).await??;
            Ok(ExitCode::SUCCESS)
        }),
        Command::MeasuredNode { order } => in_runtime(async move {
            bench::node::obey(&order).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Generate(arguments) => generate(&arguments),
        Command::WithPostgres { command } => in_runtime(with_postgres::run(&command)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives a refusal the exit code of its category and prints the next step. All other errors pass through.
fn refused(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    let refusal: AdminError = error.downcast()?;
    eprintln!("error: {}\nnext: {}", refusal.message, refusal.next);
    Ok(ExitCode::from(of_error(&refusal).0))
}

fn in_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn check(arguments: Check) -> anyhow::Result<ExitCode> {
    let stores = match arguments.backend {
        BackendName::Sqlite => Stores::sqlite()?,
        BackendName::Postgres => {
            Stores::postgres(std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())).await?
        }
    };
    let request = check::Request {
        files: arguments.files,
        bundle: arguments.bundle,
        batch_events: arguments.batch_size as usize,
    };
    let counts = check::run(&request, &stores, &mut std::io::stdout()).await?;
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn bench(arguments: Bench) -> anyhow::Result<ExitCode> {
    // An unreadable file is told before a run, not after it.
    let before = arguments.compare.as_deref().map(compare::earlier).transpose()?;
    let mut report = match &arguments.from {
        Some(file) => compare::earlier(file)?,
        None => measure(&arguments).await?,
    };
    report.compared =
        arguments.compare.as_deref().zip(before).map(|(file, before)| Comparison::of(&report, &before, file));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    if let Some(directory) = &arguments.plot {
        for file in plot::draw(&report, directory)? {
            eprintln!("{}", file.display());
        }
    }
    if arguments.require_quiet {
        report.quiet.as_ref().map_or(Ok(()), Quiet::required)?;
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(arguments: &Bench) -> anyhow::Result<Report> {
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; its figures mean nothing");
    }
    let place = match arguments.database.as_deref() {
        Some("embedded") => Place::embedded()?,
        Some(url) if url.starts_with("sqlite:") => anyhow::bail!("say `embedded`: the benchmark makes its own files"),
        url => Place::postgres(url.map(str::to_owned)).await?,
    };
    let request = bench::Request {
        measures: arguments.measures.clone(),
        profile: arguments.profile,
        seed: arguments.seed,
        events: arguments.traces.map_or(arguments.events, |traces| traces * TRACE_EVENTS),
        growth_events: arguments.growth_events,
        batch_events: arguments.batch_size as usize,
        tenants: arguments.tenants as usize,
        seconds: arguments.seconds,
        repeat: arguments.repeat as usize,
        require_quiet: arguments.require_quiet,
    };
    bench::run(&request, &place).await
}

fn generate(arguments: &Generate) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let lines = Workload::new(arguments.profile, arguments.seed, arguments.events, arguments.tenants);
    let write = |out: &mut dyn std::io::Write| -> std::io::Result<()> {
        for line in lines {
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    match write(&mut out) {
        // The reader has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}
