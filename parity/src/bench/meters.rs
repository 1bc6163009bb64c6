//! Cost of a run: CPU time and memory, as Linux counts them. The caller measures wall time.
//!
//! *Guarantees:* a figure that cannot be read on this system is `None`, never 0.

use std::collections::{HashMap, HashSet};
use std::fs;

/// Clock ticks per second of `/proc/*/stat`: 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns CPU seconds (user and system) of this process so far.
pub fn own_cpu_seconds() -> Option<f64> {
    cpu_seconds("self")
}

/// Returns peak resident memory of this process so far, bytes.
pub fn own_peak_bytes() -> Option<u64> {
    peak_bytes("self")
}

/// Returns resident memory of this process now, bytes.
pub fn own_resident_bytes() -> Option<u64> {
    resident_bytes("self")
}

/// Returns CPU seconds (user and system) of a process so far, by its id or `self`; counted in hundredths.
pub fn cpu_seconds(pid: &str) -> Option<f64> {
    stat(pid).map(|stat| stat.own_ticks as f64 / TICKS_PER_SECOND)
}

/// Returns peak resident memory of a process so far, bytes.
pub fn peak_bytes(pid: &str) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Returns resident memory of a process now, bytes.
pub fn resident_bytes(pid: &str) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: &str, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The server of a backend, when it runs on this machine.
pub struct LocalServer {
    postmaster: u32,
}

impl LocalServer {
    /// Finds the parent of this backend, if there is such a process here and it is a PostgreSQL server.
    pub fn of_backend(pid: i32) -> Option<LocalServer> {
        let backend = stat(&pid.to_string())?;
        let postmaster = stat(&backend.parent.to_string())?;
        (backend.name.starts_with("postgres") && postmaster.name.starts_with("postgres"))
            .then_some(LocalServer { postmaster: backend.parent })
    }

    /// Returns CPU seconds of the server so far: its main process, its running processes, and all processes that have
    /// ended.
    pub fn cpu_seconds(&self) -> Option<f64> {
        Some(Processes::now()?.of_families(&[self.postmaster]) as f64 / TICKS_PER_SECOND)
    }

    /// Returns the id of its main process.
    pub fn main_process(&self) -> u32 {
        self.postmaster
    }

    /// True when its shared memory lies in huge pages (before version 17 the server itself does not report it).
    pub fn huge_pages(&self) -> Option<bool> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.postmaster)).ok()?;
        Some(maps.contains("/anon_hugepage"))
    }
}

/// CPU time of the whole machine so far, in clock ticks.
#[derive(Debug, Clone, Copy)]
pub struct Ticks {
    /// Time of programs and of other machines on the same processors. Interrupts are left out.
    pub busy: u64,
    /// All time of all processors.
    pub all: u64,
}

impl Ticks {
    /// Reads the counters.
    pub fn of_machine() -> Option<Ticks> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        // The time of guests is part of the time of programs.
        let [user, nice, system, _idle, _wait, _irq, _softirq, steal, ..] = fields[..] else { return None };
        Some(Ticks { busy: user + nice + system + steal, all: fields[..8].iter().sum() })
    }
}

/// All processes at one moment.
pub struct Processes(HashMap<u32, Stat>);

impl Processes {
    /// Reads the table of processes.
    pub fn now() -> Option<Processes> {
        let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Some(Processes(pids.filter_map(|pid: u32| Some((pid, stat(&pid.to_string())?))).collect()))
    }

    /// Returns each process with its id.
    pub fn each(&self) -> impl Iterator<Item = (u32, &Stat)> {
        self.0.iter().map(|(pid, stat)| (*pid, stat))
    }

    /// Returns the ticks that a process has used itself.
    pub fn ticks_of(&self, pid: u32) -> Option<u64> {
        self.0.get(&pid).map(|stat| stat.own_ticks)
    }

    /// Returns these processes with their children, and the children of these.
    pub fn families(&self, roots: &[u32]) -> HashSet<u32> {
        let mut members: HashSet<u32> = roots.iter().copied().collect();
        loop {
            let young = self.each().filter(|(pid, stat)| members.contains(&stat.parent) && !members.contains(pid));
            let young: Vec<u32> = young.map(|(pid, _)| pid).collect();
            if young.is_empty() {
                return members;
            }
            members.extend(young);
        }
    }

    /// Returns the ticks of families, those of their ended members included.
    pub fn of_families(&self, roots: &[u32]) -> u64 {
        let members = self.families(roots);
        members.iter().filter_map(|pid| self.0.get(pid)).map(|stat| stat.own_ticks + stat.ended_children_ticks).sum()
    }

    /// Returns the ticks of the kernel's threads.
    pub fn of_kernel(&self) -> u64 {
        self.each().filter(|(pid, stat)| stat.is_kernel(*pid)).map(|(_, stat)| stat.own_ticks).sum()
    }
}

/// One process.
pub struct Stat {
    /// Name of its program.
    pub name: String,
    /// Ticks that it has used itself.
    pub own_ticks: u64,
    parent: u32,
    ended_children_ticks: u64,
}

impl Stat {
    /// True for a thread of the kernel.
    pub fn is_kernel(&self, pid: u32) -> bool {
        const KERNEL: u32 = 2;
        pid == KERNEL || self.parent == KERNEL
    }
}

fn stat(pid: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let (head, tail) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text[tail + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        name: text[head + 1..tail].to_owned(),
        parent: number(1)?.try_into().ok()?,
        own_ticks: number(11)? + number(12)?,
        ended_children_ticks: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        assert!(own_peak_bytes().expect("Linux") >= own_resident_bytes().expect("Linux") / 2);
        assert!(own_cpu_seconds().expect("Linux") >= 0.0);
        assert!(LocalServer::of_backend(std::process::id() as i32).is_none(), "this is no PostgreSQL backend");
    }

    #[test]
    fn a_family_has_all_descendants_and_the_time_of_the_ended_ones() {
        let process = |name: &str, parent, own_ticks, ended_children_ticks| Stat {
            name: name.to_owned(),
            parent,
            own_ticks,
            ended_children_ticks,
        };
        let all = Processes(HashMap::from([
            (2, process("kthreadd", 0, 1, 0)),
            (3, process("kworker", 2, 10, 0)),
            (100, process("bench", 1, 100, 1_000)),
            (101, process("node", 100, 10_000, 0)),
            (102, process("command", 101, 100_000, 0)),
            (200, process("postgres", 1, 1_000_000, 0)),
            (300, process("rustc", 1, 5, 5)),
        ]));
        assert_eq!(all.families(&[100]), HashSet::from([100, 101, 102]));
        assert_eq!(all.of_families(&[100, 200]), 1_111_100);
        assert_eq!(all.of_families(&[100, 101]), 111_100, "no process counts twice");
        assert_eq!(all.of_kernel(), 11);
    }
}
