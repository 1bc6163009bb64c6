//! The machine's other work: the CPU time that processes outside the run use, before it and during each measure.
//!
//! *Guarantees.* The run's own processes are this one, the database server and all their children, ended ones
//! included. Threads of the kernel and interrupts are not counted as others, because they also work for the run. A
//! run is called quiet only when every sample is below [`OTHERS_PERCENT_MAX`].

use super::meters::{Processes, Ticks};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// Most CPU time of other processes in a quiet run, percent of all cores.
pub const OTHERS_PERCENT_MAX: f64 = 5.0;
/// Length of the sample before a run.
const BEFORE: Duration = Duration::from_secs(2);
/// Other processes that a sample names, the busiest first.
const NAMED_MAX: usize = 3;
/// Smallest share at which a process is named, percent of all cores.
const NAMED_PERCENT_MIN: f64 = 1.0;

/// Use of the machine by others, in one stretch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Measure of the stretch, or `start` before the first one.
    pub during: String,
    /// Load of the machine over the last minute, at the end of the stretch.
    pub load: f64,
    /// CPU time that others used, percent of all cores.
    pub others_percent: f64,
    /// Busiest of the other processes that still run: name, percent of all cores.
    pub busiest: Vec<(String, f64)>,
}

/// Use of the machine by others, in the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    /// True when no sample is above the limit.
    pub quiet: bool,
    /// The limit.
    pub limit_percent: f64,
    /// The samples, in their order.
    pub samples: Vec<Sample>,
}

impl Quiet {
    fn of(samples: Vec<Sample>) -> Quiet {
        let quiet = samples.iter().all(|sample| sample.others_percent <= OTHERS_PERCENT_MAX);
        Quiet { quiet, limit_percent: OTHERS_PERCENT_MAX, samples }
    }

    fn loudest(&self) -> Option<&Sample> {
        self.samples.iter().max_by(|a, b| a.others_percent.total_cmp(&b.others_percent))
    }

    /// Refuses a run that is not quiet.
    pub fn required(&self) -> Result<(), AdminError> {
        if self.quiet {
            return Ok(());
        }
        let error = AdminError::new(Category::Unavailable, self.to_string());
        Err(error.next("end or stop these processes, or wait for their end, and run the benchmark again; without --require-quiet it runs, and its report says that the machine was not quiet"))
    }
}

impl std::fmt::Display for Quiet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(Sample { during, load, others_percent, busiest }) = self.loudest() else {
            return write!(out, "quiet: unknown");
        };
        let limit = self.limit_percent;
        if self.quiet {
            return write!(out, "quiet: others used at most {others_percent:.1} % of the CPU (limit {limit} %)");
        }
        write!(out, "not quiet: load {load}, others used {others_percent:.0} % of the CPU (limit {limit} %)")?;
        write!(out, " during {during}")?;
        let mut before = ": ";
        for (name, percent) in busiest {
            write!(out, "{before}{name} {percent:.0} %")?;
            before = ", ";
        }
        Ok(())
    }
}

/// Observer of the machine during a run.
pub struct Watcher {
    server: Option<u32>,
    last: Option<Moment>,
    samples: Vec<Sample>,
}

/// CPU time used up to one moment.
struct Moment {
    machine: Ticks,
    processes: Processes,
}

impl Moment {
    fn now() -> Option<Moment> {
        Some(Moment { machine: Ticks::of_machine()?, processes: Processes::now()? })
    }
}

impl Watcher {
    /// Watches for a short time before the run begins. `server` is the main process of the run's database.
    pub async fn start(server: Option<u32>) -> Watcher {
        let mut watcher = Watcher { server, last: Moment::now(), samples: Vec::new() };
        tokio::time::sleep(BEFORE).await;
        watcher.sample("start");
        watcher
    }

    /// Ends a stretch and notes the use of the machine in it.
    pub fn sample(&mut self, during: &str) {
        let now = Moment::now();
        if let (Some(then), Some(now)) = (&self.last, &now) {
            self.samples.push(self.between(then, now, during));
        }
        self.last = now;
    }

    /// Returns the samples so far; nothing where the system does not tell.
    pub fn quiet(&self) -> Option<Quiet> {
        (!self.samples.is_empty()).then(|| Quiet::of(self.samples.clone()))
    }

    fn between(&self, then: &Moment, now: &Moment, during: &str) -> Sample {
        let roots: Vec<u32> = [std::process::id()].into_iter().chain(self.server).collect();
        let percent = |ticks: f64| ticks * 100.0 / now.machine.all.saturating_sub(then.machine.all).max(1) as f64;
        let spent = |of: fn(&Processes, &[u32]) -> u64| {
            of(&now.processes, &roots).saturating_sub(of(&then.processes, &roots)) as f64
        };
        let busy = now.machine.busy.saturating_sub(then.machine.busy) as f64;
        let others = busy - spent(Processes::of_families) - spent(|processes, _| processes.of_kernel());
        let ours: HashSet<u32> = now.processes.families(&roots);
        let mut busiest: Vec<(String, f64)> = now
            .processes
            .each()
            .filter(|(pid, stat)| !ours.contains(pid) && !stat.is_kernel(*pid))
            .filter_map(|(pid, stat)| {
                let before = then.processes.ticks_of(pid).unwrap_or_default();
                let share = percent(stat.own_ticks.saturating_sub(before) as f64);
                (share >= NAMED_PERCENT_MIN).then(|| (stat.name.clone(), share))
            })
            .collect();
        busiest.sort_by(|a, b| b.1.total_cmp(&a.1));
        busiest.truncate(NAMED_MAX);
        let load = super::machine::load().split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Sample { during: during.to_owned(), load, others_percent: percent(others).max(0.0), busiest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(others_percent: f64) -> Sample {
        Sample { during: "floors".to_owned(), load: 6.2, others_percent, busiest: vec![("rustc".to_owned(), 31.4)] }
    }

    #[test]
    fn one_sample_above_the_limit_makes_a_run_not_quiet() {
        let quiet = Quiet::of(vec![sample(1.25), sample(OTHERS_PERCENT_MAX)]);
        assert_eq!(quiet.to_string(), "quiet: others used at most 5.0 % of the CPU (limit 5 %)");
        quiet.required().expect("quiet");
        let loud = Quiet::of(vec![sample(1.0), sample(61.0), sample(2.0)]);
        assert_eq!(
            loud.to_string(),
            "not quiet: load 6.2, others used 61 % of the CPU (limit 5 %) during floors: rustc 31 %"
        );
        let refused = loud.required().expect_err("not quiet");
        assert_eq!(refused.category, Category::Unavailable);
        assert!(refused.next.contains("run the benchmark again"));
    }

    /// The child of a shell that ended is no child of this process, so its work counts as that of others.
    #[tokio::test]
    async fn the_work_of_another_process_is_seen() {
        let mut other = decisiongraph_store::launch::program("sh");
        other.args(["-c", "(while :; do :; done) >/dev/null 2>&1 & echo $!"]);
        let pid = String::from_utf8(other.output().expect("runs").stdout).expect("UTF-8").trim().to_owned();
        let machine = Ticks::of_machine().expect("Linux");
        let watcher = Watcher::start(None).await;
        let mut kill = decisiongraph_store::launch::program("kill");
        assert!(kill.arg(&pid).status().expect("runs").success());
        let (seen, now) = (&watcher.samples[0], watcher.last.expect("Linux"));
        let ticks = now.processes.ticks_of(pid.parse().expect("a number")).expect("it runs");
        let share = ticks as f64 * 100.0 / (now.machine.all - machine.all) as f64;
        // The first ticks may be from before the sample.
        assert!(share > 0.0 && seen.others_percent + 2.0 >= share, "{share} {seen:?}");
    }
}
