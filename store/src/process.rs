//! The exact name of a process: the boot of its machine, its namespaces (process numbers and time), its number, its
//! start.
//!
//! *Guarantees.* [`is_gone`] is true only when this machine would have to know the process and does not. The process
//! then has the same boot and the same namespaces. For every other process the answer is false: it may live on another
//! machine or in another container.

use std::sync::OnceLock;

/// Returns the name of this process; none when the system does not tell enough.
pub fn this() -> Option<&'static str> {
    static THIS: OnceLock<Option<String>> = OnceLock::new();
    THIS.get_or_init(name).as_deref()
}

/// True when the process of this name is known to have ended.
pub fn is_gone(name: &str) -> bool {
    let (Some((here, ..)), Some((place, number, start))) = (this().and_then(parts), parts(name)) else { return false };
    here == place && gone(number, start)
}

/// Splits a name into the place of the process, its number, and its start.
fn parts(name: &str) -> Option<(&str, i32, u64)> {
    let (rest, start) = name.rsplit_once('/')?;
    let (place, number) = rest.rsplit_once('/')?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some((place, number, start.parse().ok()?))
}

#[cfg(target_os = "linux")]
fn name() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = |kind: &str| Some(std::fs::read_link(format!("/proc/self/ns/{kind}")).ok()?.to_str()?.to_owned());
    let stat = Stat::of("self")?;
    // Otherwise this /proc belongs to another namespace, and describes other processes.
    if stat.number != i32::try_from(std::process::id()).ok()? {
        return None;
    }
    Some(format!("{}/{}/{}/{}/{}", boot.trim(), namespace("pid")?, namespace("time")?, stat.number, stat.start))
}

#[cfg(target_os = "linux")]
fn gone(number: i32, start: u64) -> bool {
    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};
    let Some(pid) = Pid::from_raw(number) else { return false };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return true;
    }
    // A process that may not be inspected counts as alive.
    Stat::of(&number.to_string()).is_some_and(|stat| stat.start != start || stat.ended)
}

/// State of a process, as the kernel reports it.
#[cfg(target_os = "linux")]
struct Stat {
    number: i32,
    /// Start in clock ticks since the boot.
    start: u64,
    /// True when it has ended, and its parent has not yet read its exit status.
    ended: bool,
}

#[cfg(target_os = "linux")]
impl Stat {
    fn of(process: &str) -> Option<Stat> {
        let text = std::fs::read(format!("/proc/{process}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let (number, rest) = text.split_once(' ')?;
        // The program's name, in parentheses, may hold anything.
        let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_whitespace().collect();
        // Fields 3 (state), 20 (threads) and 22 (start) of proc(5).
        let (state, threads, start) = (fields.first()?, fields.get(17)?, fields.get(19)?);
        let ended = matches!(*state, "Z" | "X") && threads.parse::<u32>().ok()? <= 1;
        Some(Stat { number: number.parse().ok()?, start: start.parse().ok()?, ended })
    }
}

#[cfg(not(target_os = "linux"))]
fn name() -> Option<String> {
    None
}

#[cfg(not(target_os = "linux"))]
fn gone(_: i32, _: u64) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::launch::program;
    use std::process::Stdio;

    #[test]
    fn a_process_is_gone_once_it_has_ended_and_not_before() {
        let mut child = program("cat").stdin(Stdio::piped()).spawn().expect("starts");
        let stat = Stat::of(&child.id().to_string()).expect("is there");
        let (place, _, _) = this().and_then(parts).expect("Linux");
        let name = format!("{place}/{}/{}", child.id(), stat.start);
        assert!(!is_gone(&name) && !is_gone(this().expect("Linux")));
        assert!(is_gone(&format!("{place}/{}/{}", child.id(), stat.start + 1)), "another took its number");
        child.kill().expect("ends");
        while !is_gone(&name) {
            std::thread::yield_now();
        }
        child.wait().expect("ends");
        assert!(is_gone(&name), "and nobody asks for it any more");
    }

    #[test]
    fn nothing_is_known_of_a_process_elsewhere() {
        let (place, _, _) = this().and_then(parts).expect("Linux");
        let mut words: Vec<&str> = place.split('/').collect();
        for at in 0..words.len() {
            let word = std::mem::replace(&mut words[at], "other");
            assert!(!is_gone(&format!("{}/999999999/1", words.join("/"))), "{at}");
            words[at] = word;
        }
        assert!(is_gone(&format!("{place}/999999999/1")));
        for odd in ["", "/", "a/b", "x/1/2", &format!("{place}/0/1"), &format!("{place}/-1/1")] {
            assert!(!is_gone(odd), "{odd}");
        }
    }
}
