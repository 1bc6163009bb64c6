//! Ctrl-C: the first asks a job to stop at its next batch, the second ends the process at once. Both are safe: a batch is
//! committed whole or not at all.

use decisiongraph_actors::admin::ExitCode;
use decisiongraph_actors::engine::Cancel;
use std::io::Write as _;
use tokio::signal::unix::{SignalKind, signal};

/// Ends the process at the first signal: for commands that hold nothing.
pub fn ends_at_once() {
    watch(None);
}

/// Asks `cancel` at the first signal, ends the process at the second.
pub fn asks_first(cancel: Cancel) {
    watch(Some(cancel));
}

fn watch(cancel: Option<Cancel>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::spawn(async move {
        let mut cancel = cancel;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match cancel.take() {
                Some(cancel) => {
                    cancel.request();
                    let _ =
                        writeln!(std::io::stderr(), "\nstopping after the batch under way; once more to end at once");
                }
                None => std::process::exit(i32::from(ExitCode::INTERRUPTED.0)),
            }
        }
    });
}
