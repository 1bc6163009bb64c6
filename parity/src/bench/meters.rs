//! Cost of a run: CPU time and memory, as Linux counts them. The caller measures wall time.
//!
//! *Guarantees:* a figure that cannot be read on this system is `None`, never 0.

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
        let postmaster = stat(&self.postmaster.to_string())?;
        let mut ticks = postmaster.own_ticks + postmaster.ended_children_ticks;
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
                continue;
            };
            if let Some(child) = stat(pid).filter(|process| process.parent == self.postmaster) {
                ticks += child.own_ticks;
            }
        }
        Some(ticks as f64 / TICKS_PER_SECOND)
    }

    /// True when its shared memory lies in huge pages (before version 17 the server itself does not report it).
    pub fn huge_pages(&self) -> Option<bool> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.postmaster)).ok()?;
        Some(maps.contains("/anon_hugepage"))
    }
}

struct Stat {
    name: String,
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
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
}
