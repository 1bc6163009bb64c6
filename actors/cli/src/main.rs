//! The `decisiongraph` binary: arguments in, one [`decisiongraph_protocol::Request`] (or a stream of them) to the
//! engine. A table or one JSON object comes out, with an exit code that scripts can rely on.
//!
//! *Never here:* SQL, projection rules, engine decisions. A command is a file in `commands/` and a line in its table.

mod address;
mod allocator;
mod commands;
mod connection;
mod globals;
mod graph_text;
mod https_place;
mod interrupt;
mod logging;
mod node_flags;
mod node_web;
mod notify;
mod output;
mod page;
mod progress;
mod sealing;
mod session;
mod tree_text;
mod web_client;

use clap::Parser as _;
use commands::program::Cli;
use decisiongraph_projections::Category;
use decisiongraph_protocol::foreign_text::shown;
use decisiongraph_protocol::{AdminError, ExitCode, of_error};
use output::Output;
use page::Page;
use std::sync::OnceLock;

fn main() -> std::process::ExitCode {
    allocator::return_large_blocks();
    let json_asked = std::env::args_os().any(|arg| arg == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error, json_asked),
    };
    let node = matches!(cli.command, commands::Command::Node(_));
    // A node starts its log itself, as configured.
    if !node {
        logging::start(cli.globals.verbose, cli.globals.json);
    }
    static FLAGS: OnceLock<String> = OnceLock::new();
    let output = Output::new(cli.globals.json).reached_by(FLAGS.get_or_init(|| address::flags(&cli.globals)));
    logging::report_panics(output, node);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = AdminError::new(Category::Internal, format!("cannot start threads: {error}"));
            output.error(&error);
            return code(of_error(&error));
        }
    };
    // Runs on a worker thread, beside the connections and projections that it waits for. Here, each of their answers
    // would have to wake this thread.
    let ended = runtime.block_on(runtime.spawn(commands::run(cli, output)));
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    // Committed work is durable. A reader thread that still waits for its input must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => code(exit),
        Err(error) => {
            output.error(&error);
            code(of_error(&error))
        }
    }
}

fn code(exit: ExitCode) -> std::process::ExitCode {
    std::process::ExitCode::from(exit.0)
}

/// Reports the outcome of clap. Help and version are answers; every other outcome is `invalid_argument`.
fn usage(error: &clap::Error, json: bool) -> std::process::ExitCode {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return code(ExitCode::OK);
    }
    // clap repeats arguments that it does not know. They may be pasted from anywhere, so each is put on one line.
    let shown_args = std::env::args_os().map(|arg| shown(&arg.to_string_lossy()).into_owned());
    let again = Cli::try_parse_from(shown_args).err();
    let error = again.as_ref().unwrap_or(error);
    if json {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let error = AdminError::new(Category::InvalidArgument, message);
        let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        Output::new(true).error(&match tip {
            Some(tip) => error.next(tip),
            None => error,
        });
    } else {
        let mut page = Page::default();
        error.render().to_string().trim_end().split('\n').for_each(|line| page.line(line));
        Output::new(false).notice(&page);
    }
    code(ExitCode::USAGE)
}
