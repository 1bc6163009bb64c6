//! Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere, nothing for programs.

use crate::globals::Globals;
use crate::output::number;
use decisiongraph_engine::{Control, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Pause between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Form of the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar.
    Bar,
    /// Plain lines, with `LINE_EVERY` or more between them.
    Lines,
    /// No progress.
    Nothing,
}

impl Style {
    /// Chooses the style that fits these flags and this terminal.
    pub fn of(globals: &Globals) -> Style {
        match (globals.json, globals.no_progress) {
            (true, _) => Style::Nothing,
            (_, true) => Style::Lines,
            _ if std::io::stderr().is_terminal() => Style::Bar,
            _ => Style::Lines,
        }
    }
}

/// The progress of a job, followed until [`Following::stop`].
pub struct Following {
    task: Option<JoinHandle<()>>,
}

impl Following {
    /// Makes `control` report here.
    pub fn start(style: Style, control: &mut Control) -> Following {
        if style == Style::Nothing {
            return Following { task: None };
        }
        let (sender, receiver) = watch::channel(None);
        control.progress = Some(sender);
        Following { task: Some(tokio::spawn(follow(style, receiver))) }
    }

    /// Removes the bar. The job must have ended and its control must be dropped: this waits for it.
    pub async fn stop(self) {
        if let Some(task) = self.task {
            let _ = task.await;
        }
    }
}

async fn follow(style: Style, mut receiver: watch::Receiver<Option<Progress>>) {
    let bar = bar(style, "{prefix:15} {bar:24} {percent:>3}%  ETA {eta}  {msg}");
    let started = Instant::now();
    let mut told = Instant::now();
    let mut projection = String::new();
    while receiver.changed().await.is_ok() {
        let Some(progress) = receiver.borrow_and_update().clone() else { continue };
        let rate = progress.events as f64 / started.elapsed().as_secs_f64().max(0.001);
        if style == Style::Bar {
            if projection != progress.projection {
                bar.reset();
                bar.set_prefix(progress.projection.clone());
                projection.clone_from(&progress.projection);
            }
            bar.set_length(progress.target.0.max(0) as u64);
            bar.set_position(progress.cursor.0.max(0) as u64);
            bar.set_message(format!("{} events, {}/s", number(progress.events), number(rate as u64)));
        } else if told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            let _ = writeln!(
                std::io::stderr(),
                "{} {}: at {} of {}, {} events applied, {rate:.0} events/s",
                progress.mode.as_str(),
                progress.projection,
                number(progress.cursor.0),
                number(progress.target.0),
                number(progress.events)
            );
        }
    }
    bar.finish_and_clear();
}

fn bar(style: Style, template: &str) -> ProgressBar {
    if style != Style::Bar {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Progress of a stream of lines.
pub struct Lines {
    style: Style,
    bar: ProgressBar,
    started: Instant,
    told: Instant,
    bytes: bool,
}

impl Lines {
    /// Starts the progress, with the input's size in bytes if it is known.
    pub fn start(style: Style, size: Option<u64>) -> Lines {
        let template = match size {
            Some(_) => "{bar:24} {percent:>3}%  ETA {eta}  {msg}",
            None => "{spinner} {msg}",
        };
        let bar = bar(style, template);
        if let Some(size) = size {
            bar.set_length(size);
        }
        Lines { style, bar, started: Instant::now(), told: Instant::now(), bytes: size.is_some() }
    }

    /// Shows that this many bytes and lines are done.
    pub fn at(&mut self, bytes: u64, lines: u64) {
        let rate = lines as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        match self.style {
            Style::Bar => {
                if self.bytes {
                    self.bar.set_position(bytes);
                } else {
                    self.bar.tick();
                }
                self.bar.set_message(format!("{} lines, {}/s", number(lines), number(rate as u64)));
            }
            Style::Lines if self.told.elapsed() >= LINE_EVERY => {
                self.told = Instant::now();
                let _ = writeln!(std::io::stderr(), "{} lines, {rate:.0} lines/s", number(lines));
            }
            _ => {}
        }
    }

    /// Removes the bar.
    pub fn stop(&self) {
        self.bar.finish_and_clear();
    }
}
