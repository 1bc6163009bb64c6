//! Ctrl-C: the first asks a job to stop at its next batch, the second ends the process at once. Both are safe: a batch is
//! committed whole or not at all.

use decisiongraph_actors::admin::ExitCode;
use decisiongraph_actors::engine::Cancel;
use std::io::Write as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Ends the process at the first signal: for commands that hold nothing.
pub fn ends_at_once() {
    follow(None, true);
}

/// Asks `cancel` at the first signal, ends the process at the second. Says so on stderr, unless it is `quiet`.
pub fn asks_first(cancel: Cancel, quiet: bool) -> Asked {
    follow(Some(cancel), quiet)
}

/// Whether the first signal has come.
pub struct Asked(watch::Receiver<bool>);

impl Asked {
    /// Ends when it has; never, when it cannot come any more.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
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
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match cancel.take() {
                Some(cancel) => {
                    cancel.request();
                    sender.send_replace(true);
                    if !quiet {
                        let notice = "\nstopping after the batch under way; once more to end at once";
                        let _ = writeln!(std::io::stderr(), "{notice}");
                    }
                }
                None => std::process::exit(i32::from(ExitCode::INTERRUPTED.0)),
            }
        }
    });
    asked
}
