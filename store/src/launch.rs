//! Programs that a test or a benchmark starts, and signals to them.
//!
//! *Guarantees.* A program sees almost nothing of the tester's environment: only the paths to programs, libraries and
//! temporary files. It sees no `DECISIONGRAPH_*`, no `PG*`, no `DATABASE_URL`, no home, no language. So no test reaches
//! a database that it did not make. `clippy.toml` forbids every other way to start a program.
//!
//! *Never:* calls another program to send a signal.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Result};
use std::process::Command;

/// Variables of this process's environment that a program receives.
const KEPT: &[&str] = &["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// Creates a command with that environment. A test sets any further variables itself.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// Sends a signal to a process, by the signal's name without `SIG`.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let known = [
        ("CONT", Signal::CONT),
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("KILL", Signal::KILL),
        ("QUIT", Signal::QUIT),
        ("STOP", Signal::STOP),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ];
    let unknown = || Error::new(ErrorKind::InvalidInput, format!("no signal {name} for process {pid}"));
    let signal = known.into_iter().find(|(of, _)| *of == name).ok_or_else(unknown)?.1;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
    Ok(kill_process(pid, signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::process::ExitStatusExt as _;

    const POISON: &[&str] = &[
        "DATABASE_URL",
        "DECISIONGRAPH_CONFIG",
        "DECISIONGRAPH_DATA_DIR",
        "DECISIONGRAPH_LEASE_MS",
        "DECISIONGRAPH_TEST_POSTGRES",
        "HOME",
        "LC_ALL",
        "NOTIFY_SOCKET",
        "PGHOST",
        "PGOPTIONS",
        "PGPASSWORD",
        "PGUSER",
        "USER",
        "XDG_DATA_HOME",
    ];

    /// The test below, in its own process; it has no effect alone.
    #[test]
    #[ignore = "a part of the test below"]
    fn shown() {
        assert!(POISON.iter().all(|name| std::env::var_os(name).is_some()), "poisoned");
        let output = program("env").output().expect("env");
        println!("\n{}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn a_program_of_a_test_sees_nothing_of_its_users_environment() {
        let mut poisoned = program(std::env::current_exe().expect("this program"));
        poisoned.args(["--exact", "launch::tests::shown", "--ignored", "--nocapture"]);
        let output = poisoned.envs(POISON.iter().map(|name| (name, "poison"))).output().expect("a process");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("poison"), "{text}");
        let seen: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(seen.contains("PATH") && seen.iter().all(|name| KEPT.contains(name)), "{seen:?}");
    }

    #[test]
    fn a_signal_arrives_without_another_program() {
        let mut child = program("sleep").arg("60").spawn().expect("starts");
        signal(child.id(), "TERM").expect("sent");
        assert_eq!(child.wait().expect("ends").signal(), Some(15));
        assert_eq!(signal(child.id(), "SIGTERM").expect_err("by its short name").kind(), ErrorKind::InvalidInput);
    }
}
