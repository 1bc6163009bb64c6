//! Ctrl-C and SIGTERM. The first asks a job to stop at its next batch; the second ends the process immediately. Both
//! are safe: a batch is committed whole or not at all. A hang-up of the terminal asks and never ends the process: a
//! shell and the kernel send one each. A process that was started with hang-ups ignored (`nohup`) is not disturbed by
//! them.

use decisiongraph_engine::Cancel;
use decisiongraph_protocol::ExitCode;
use std::io::Write as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Ends the process at the first signal: for commands that hold nothing.
pub fn ends_at_once() {
    follow(None, true);
}

/// Requests `cancel` at the first signal, ends the process at the second. Announces the first on stderr, unless
/// `quiet`.
pub fn asks_first(cancel: Cancel, quiet: bool) -> Asked {
    follow(Some(cancel), quiet)
}

/// Flag that turns true at the first signal.
pub struct Asked(watch::Receiver<bool>);

impl Asked {
    /// Waits for the first signal. Never returns when it cannot come any more.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens for hang-ups, for a command that has something to stop. None when the process was started with hang-ups
/// ignored, as `/proc` shows.
fn hangup() -> Option<Signal> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let ignored = u64::from_str_radix(ignored.trim(), 16).ok()? & 1 == 1;
    if ignored { None } else { signal(SignalKind::hangup()).ok() }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            let _ = hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn follow(cancel: Option<Cancel>, quiet: bool) -> Asked {
    let (sender, receiver) = watch::channel(false);
    let asked = Asked(receiver);
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return asked;
    };
    tokio::spawn(async move {
        let mut cancel = cancel;
        // A command that holds nothing ends with its terminal, as every program does.
        let mut hangup = cancel.as_ref().and_then(|_| hangup());
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up(&mut hangup) => {
                    if cancel.is_none() {
                        continue;
                    }
                }
            }
            match cancel.take() {
                Some(cancel) => {
                    cancel.request();
                    sender.send_replace(true);
                    if !quiet {
                        let notice = "\nstopping after the current batch; interrupt again to end at once";
                        let _ = writeln!(std::io::stderr(), "{notice}");
                    }
                }
                None => std::process::exit(i32::from(ExitCode::INTERRUPTED.0)),
            }
        }
    });
    asked
}
