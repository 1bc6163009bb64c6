//! Seeded workloads as JSON lines, in the envelope of an import.
//!
//! *Guarantees:* the same profile, seed and number of events give the same bytes on every machine. Every event is
//! legal. Memory does not grow with the number of events. *Never:* reads a clock, a file or the machine's randomness.

pub mod clock;
pub mod json;
pub mod original;
pub mod prng;
pub mod text;
pub mod traces;

use traces::{Author, Trace};

/// Traces of the mixed profile that run at the same time.
pub const RUNNING_TRACES: usize = 64;

/// Kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// The original service's benchmark: traces of six events one after the other, distinct entities, 512 bytes of
    /// padding per payload.
    Original,
    /// Interleaved traces of all event types, shared entities and policies, hostile text.
    Mixed,
    /// The same events, a trickle for each of many tenants.
    Tenants,
}

/// A workload: its lines, in order, without line feeds.
pub struct Workload {
    left: u64,
    source: Source,
}

enum Source {
    Original { next: u64 },
    Mixed { author: Author, running: Vec<Trace> },
    Tenants { author: Author, running: Vec<Option<Trace>> },
}

impl Workload {
    /// Generates the first `events` events of this seed. `tenants` counts for [`Profile::Tenants`] only.
    pub fn new(profile: Profile, seed: u64, events: u64, tenants: usize) -> Workload {
        let source = match profile {
            Profile::Original => Source::Original { next: 0 },
            Profile::Mixed => Source::Mixed { author: Author::new(seed), running: Vec::new() },
            Profile::Tenants => {
                let running = std::iter::repeat_with(|| None).take(tenants.max(1)).collect();
                Source::Tenants { author: Author::new(seed), running }
            }
        };
        Workload { left: events, source }
    }
}

impl Iterator for Workload {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        Some(match &mut self.source {
            Source::Original { next } => {
                *next += 1;
                original::event(*next - 1)
            }
            Source::Mixed { author, running } => {
                if running.len() < RUNNING_TRACES {
                    let trace = author.trace();
                    running.push(trace);
                }
                let turn = author.prng().below(running.len());
                let (line, last) = author.event(&mut running[turn], None);
                if last {
                    running.swap_remove(turn);
                }
                line
            }
            Source::Tenants { author, running } => {
                let turn = author.prng().below(running.len());
                let tenant = format!("tenant-{turn:05}");
                let mut trace = running[turn].take().unwrap_or_else(|| author.trace());
                let (line, last) = author.event(&mut trace, Some(&tenant));
                running[turn] = (!last).then_some(trace);
                line
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::Admitted;
    use decisiongraph_projections::event::Line;
    use decisiongraph_projections::sequence::{AppendPrior, Planned, plan};
    use decisiongraph_projections::validation::admit;
    use std::collections::{BTreeMap, HashMap};

    fn admitted(workload: Workload) -> BTreeMap<String, Vec<Admitted>> {
        let mut by_tenant: BTreeMap<String, Vec<Admitted>> = BTreeMap::new();
        for line in workload {
            assert!(!line.contains('\n'), "one event, one line: {line}");
            let parsed = Line::parse(&line).unwrap_or_else(|refusal| panic!("{refusal}: {line}"));
            let tenant = parsed.tenant_id.clone().map(String::from).unwrap_or_default();
            let event = admit(parsed.draft).unwrap_or_else(|refusal| panic!("{refusal}: {line}"));
            by_tenant.entry(tenant).or_default().push(event);
        }
        by_tenant
    }

    #[test]
    fn every_event_is_legal() {
        for (profile, seed, events) in [
            (Profile::Original, 0, 60),
            (Profile::Mixed, 1, 3_000),
            (Profile::Mixed, 7, 3_000),
            (Profile::Mixed, u64::MAX, 3_000),
            (Profile::Tenants, 3, 2_000),
        ] {
            for (tenant, events) in admitted(Workload::new(profile, seed, events, 20)) {
                for (event, planned) in events.iter().zip(plan(&AppendPrior::default(), &events)) {
                    let stored = matches!(planned, Planned::Store { .. });
                    assert!(stored, "{profile:?} {seed} {tenant} {:?}: {planned:?}", event.envelope());
                }
            }
        }
    }

    #[test]
    fn a_longer_workload_begins_with_the_shorter_one() {
        for profile in [Profile::Original, Profile::Mixed, Profile::Tenants] {
            let short: Vec<String> = Workload::new(profile, 42, 300, 10).collect();
            let long: Vec<String> = Workload::new(profile, 42, 900, 10).take(300).collect();
            assert_eq!(short, long, "{profile:?}");
        }
        let (one, two) = (Workload::new(Profile::Mixed, 1, 50, 0), Workload::new(Profile::Mixed, 2, 50, 0));
        assert!(one.ne(two), "another seed is another workload");
    }

    #[test]
    fn the_profiles_have_the_sizes_that_they_promise() {
        let mean = |events: &[Admitted]| events.iter().map(|event| event.payload().len()).sum::<usize>() / events.len();
        let original = admitted(Workload::new(Profile::Original, 0, 600, 0));
        assert_eq!(mean(&original[""]), 783, "mean canonical payload, bytes");
        let mixed = admitted(Workload::new(Profile::Mixed, 5, 5_000, 0));
        assert!((490..=560).contains(&mean(&mixed[""])), "about 512 bytes: {}", mean(&mixed[""]));
        let mut types: HashMap<&str, usize> = HashMap::new();
        for event in &mixed[""] {
            *types.entry(event.envelope().event_type.as_str()).or_default() += 1;
        }
        assert_eq!(types.len(), 10, "{types:?}");
        let interleaved = mixed[""].windows(2).filter(|two| two[0].envelope().trace_id != two[1].envelope().trace_id);
        assert!(interleaved.count() > 4_000, "traces are interleaved");
    }
}
