//! `decisiongraph-parity`: check, generate, bench.

use clap::{Parser, Subcommand};
use decisiongraph_parity::workload::{Profile, Workload};
use std::io::Write as _;
use std::process::ExitCode;

/// Holds DecisionGraph against its reference.
#[derive(Parser)]
#[command(name = "decisiongraph-parity", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a seeded workload as JSON lines.
    ///
    /// The same arguments give the same bytes on every machine; every event is legal; a longer workload begins with the
    /// shorter one of the same seed.
    Generate(Generate),
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

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // 0 and 1 are the only exit codes: help is 0, wrong usage is 1.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Generate(arguments) => generate(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
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
        // Whoever read it has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}
