//! The top of a report: the machine and the program that gave the figures.

use crate::workload::clock::after_2026;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-01T00:00:00Z.
const YEAR_2026_UNIX_SECONDS: u64 = 1_767_225_600;

/// Describes date, processor, memory, load, system, and the build of this program.
pub fn settings() -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut add = |name: &str, value: String| settings.push((name.to_owned(), value));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    add("command", command(std::env::args()));
    add("date", after_2026(now.saturating_sub(YEAR_2026_UNIX_SECONDS), "Z"));
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    add("processor", format!("{} x {}", cores, model.unwrap_or("unknown")));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    add("memory", format!("{:.1} GiB", kib as f64 / 1024.0 / 1024.0));
    add("load before", load());
    add("system", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned());
    let build = if cfg!(debug_assertions) { "debug: its figures mean nothing" } else { "release" };
    add("program", format!("decisiongraph-parity {} ({build})", env!("CARGO_PKG_VERSION")));
    settings
}

/// Returns the command that was given to the shell, without directories and addresses.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let plain = arguments.map(|word| match word.split_once("://") {
        Some((before, _)) => format!("{before}://…"),
        None if word.contains('/') => word.rsplit('/').next().unwrap_or_default().to_owned(),
        None => word,
    });
    plain.collect::<Vec<_>>().join(" ")
}

/// Returns the load of the machine over one, five and fifteen minutes. Above the number of processors, wall times say
/// little.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_without_secrets() {
        let words =
            ["target/release/decisiongraph-parity", "bench", "--database=postgres://me:secret@host/x", "--json"];
        let told = command(words.into_iter().map(str::to_owned));
        assert_eq!(told, "decisiongraph-parity bench --database=postgres://… --json");
    }
}
