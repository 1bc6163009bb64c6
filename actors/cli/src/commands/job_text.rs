//! The outcome of a job, for people.

use crate::output::{digest_short, duration, number, or_dash};
use crate::page::Page;
use decisiongraph_engine::report::{LogFacts, LogReport, RunReport, ScopeReport};
use decisiongraph_protocol::Command;
use decisiongraph_store::{Failure, Run, RunMode, RunState};

/// Characters of a root that a table shows.
const ROOT_CHARS: usize = 12;

/// Describes a job that succeeded, on one line.
pub fn line_of(report: &RunReport) -> String {
    let scopes = report.scopes.len();
    match report.run.mode {
        RunMode::Verify => match (checked(report), scopes) {
            (Some(facts), 0) => format!("log of {} events as sealed", number(facts.size)),
            (Some(facts), _) => {
                format!("log of {} events as sealed, no drift in {scopes} projections", number(facts.size))
            }
            (None, _) => format!("no drift in {scopes} projections"),
        },
        _ => {
            let events: u64 = report.scopes.iter().map(|scope| scope.events).sum();
            format!("{} events applied in {scopes} projections", number(events))
        }
    }
}

/// Renders the report of a catch-up, rebuild or verify.
pub fn report(report: &RunReport) -> Page {
    let run = &report.run;
    let is_unsealed = report.log == Some(LogReport::Unsealed);
    if report.scopes.is_empty() && is_unsealed && run.state == RunState::Completed {
        return seal(report);
    }
    let mut page = match run.mode {
        RunMode::Verify => verify_table(&report.scopes, checked(report)),
        _ => work_table(&report.scopes),
    };
    for scope in &report.scopes {
        if let Some(failure) = &scope.failure {
            page.line(format_args!(
                "{} stopped at log_seq {} (event {}, trace {}): {}: {}",
                scope.projection,
                number(failure.log_seq.0),
                failure.event_id,
                failure.trace_id,
                failure.category,
                failure.message
            ));
            page.line(after_failure(run, failure));
        }
        if let Some(rebuild) = &scope.rebuild {
            let verdict = match rebuild.equal {
                // Digests are compared, not rows. The stored digest does not show an edited row; a verify reads the
                // rows.
                Some(true) => "the log yields the stored digest",
                Some(false) => "the log yields a different digest than the stored one, which is replaced",
                None => "the old generation has advanced in the meantime; nothing to compare",
            };
            page.line(format_args!(
                "{}: generation {} replaced by {}; {verdict}",
                scope.projection, rebuild.old_generation, scope.generation
            ));
        }
        if scope.flipped_before {
            page.line(format_args!(
                "{}: generation {} was already live when this run was interrupted",
                scope.projection, scope.generation
            ));
        }
        page.page(left_out(scope));
        page.page(drift(scope));
    }
    page.page(seal(report));
    let command = |words: &str| match run.projection.as_str() {
        "all" => Command::of(words, &run.tenant),
        projection => Command::of_scope(words, &run.tenant, projection),
    };
    match (run.state, report.drifted()) {
        (RunState::Completed, true) => {
            page.line(format_args!("Drift found. Nothing was changed; {} replaces the rows.", command("rebuild")));
        }
        (RunState::Completed, _) if report.log_differs() => {
            let text =
                "The log is not what was sealed. Rows were not compared: they follow from it. Nothing was changed.";
            page.line(text);
        }
        (RunState::Completed, false) if report.scopes.is_empty() && checked(report).is_some() => {
            page.line("The log is as it was sealed.");
        }
        (RunState::Completed, false) if report.scopes.is_empty() => {
            let import = Command::about_all("import FILE");
            return Page::of(format_args!("There are no events yet, and nothing was done; {import} imports events."));
        }
        (RunState::Completed, false) if run.mode == RunMode::Verify => {
            page.page(agreement(run, &report.scopes));
        }
        (RunState::Completed, false) => {}
        (RunState::Cancelled, _) => {
            let resume = Command::of(&format!("run resume {}", run.run_id), &run.tenant);
            page.line(format_args!("Cancelled. {resume} continues it."));
        }
        (state, _) => {
            let why = run.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            page.line(format_args!("Run {} is {}{why}", run.run_id, state.as_str()));
        }
    }
    page
}

/// Returns the results of a check of the log against its seal.
fn checked(report: &RunReport) -> Option<&LogFacts> {
    match &report.log {
        Some(LogReport::Checked(facts)) => Some(facts),
        Some(LogReport::Unsealed) | None => None,
    }
}

/// Lists what was found in a log, and what it was compared with.
fn seal(report: &RunReport) -> Page {
    let mut page = Page::default();
    let facts = match &report.log {
        Some(LogReport::Checked(facts)) => facts,
        Some(LogReport::Unsealed) => {
            page.line(
                "The log is not sealed: that it is as it was appended is not shown, only that rows follow from it.",
            );
            return page;
        }
        None => return page,
    };
    facts.findings.iter().for_each(|found| page.line(&found.message));
    let more = facts.findings_total.saturating_sub(facts.findings.len() as u64);
    if more > 0 {
        page.line(format_args!("{} more of these findings", number(more)));
    }
    if facts.erased > 0 {
        let commitments = if facts.erased == 1 { "commitment" } else { "commitments" };
        page.line(format_args!("{} erased, {commitments} intact", number(facts.erased)));
    }
    let since = if facts.since > 0 {
        format!(", those before {} taken as checked", number(facts.since))
    } else {
        String::new()
    };
    let signed = if facts.signatures_checked { "" } else { "; signatures not checked: no key is configured" };
    page.line(format_args!(
        "log: {} events sealed{since}; compared with {} checkpoints of {}{signed}",
        number(facts.size),
        number(facts.checkpoints),
        if facts.memories.is_empty() { "nothing".to_owned() } else { facts.memories.join(", ") }
    ));
    facts.silent.iter().for_each(|silent| page.line(format_args!("not asked, because it did not answer: {silent}")));
    if facts.memories.iter().all(|memory| memory == "database") {
        page.line("memory: this database only");
    }
    page
}

/// States the claim of a verify that found no drift. Skipped events are not in it, and the text names this.
fn agreement(run: &Run, scopes: &[ScopeReport]) -> Page {
    let skips: u64 = scopes.iter().filter_map(|scope| Some(scope.verify.as_ref()?.skipped_total)).sum();
    if skips == 0 {
        return Page::of("No drift: stored digest, rows and log agree.");
    }
    let list = Command::of("skips", &run.tenant);
    Page::of(format_args!(
        "No drift, but not the whole log: stored digest, rows and the log without its skipped events agree ({} in all; {list} shows the operators who decided it).",
        number(skips)
    ))
}

/// Lists the skipped events of a projection that a verify left out.
pub fn left_out(scope: &ScopeReport) -> Page {
    let mut page = Page::default();
    let Some(verify) = scope.verify.as_ref().filter(|verify| verify.skipped_total > 0) else { return page };
    let more = if verify.skipped_total > verify.skipped.len() as u64 { ", and more" } else { "" };
    let named: Vec<String> = verify
        .skipped
        .iter()
        .map(|skip| {
            let at = number(skip.log_seq.0);
            format!("log_seq {at} (event {}, by {}: {})", skip.event_id, skip.skipped_by, skip.reason)
        })
        .collect();
    page.line(format_args!("{}: skipped and left out: {}{more}", scope.projection, named.join("; ")));
    page
}

/// Lists the first rows of a projection that differ, when a verify found any.
pub fn drift(scope: &ScopeReport) -> Page {
    let mut page = Page::default();
    if let Some(verify) = scope.verify.as_ref().filter(|verify| verify.drifted) {
        let more = if verify.more { " (there are more)" } else { "" };
        let rows = verify.first.iter().map(|row| {
            vec![
                row.table.clone(),
                row.key.clone(),
                or_dash(row.column.as_deref()),
                row.kind.clone(),
                or_dash(row.live.as_deref()),
                or_dash(row.log.as_deref()),
            ]
        });
        page.line(format_args!("Drift in {}: the first rows that differ{more}", scope.projection));
        page.table(&["table", "key", "column", "what", "live row", "log says"], rows);
    }
    page
}

/// Advises about the event at which a job stopped. A verify records nothing, so there is no failure to point to.
fn after_failure(run: &Run, failure: &Failure) -> String {
    if failure.failure_id > 0 {
        let failure = Command::of(&format!("failure {}", failure.failure_id), &run.tenant);
        return format!("Everything before it is applied. See {failure}.");
    }
    let events = Command::of("events", &run.tenant)
        .with("--since-log-seq", failure.log_seq.0.saturating_sub(1))
        .with("--until-log-seq", failure.log_seq);
    format!(
        "Nothing was changed or recorded, and nothing after it was compared: the log has changed since it was written. Inspect the event with {events}; restore the missing or changed part of the log from a backup, then verify again."
    )
}

fn work_table(scopes: &[ScopeReport]) -> Page {
    let rows = scopes.iter().map(|scope| {
        let rate = scope.events as f64 / scope.seconds.max(0.001);
        vec![
            scope.projection.clone(),
            number(scope.from.0),
            number(scope.cursor.0),
            number(scope.events),
            number(scope.batches),
            duration(scope.seconds),
            if scope.events > 0 { number(rate as u64) } else { "-".to_owned() },
            digest_short(&scope.digest),
        ]
    });
    let mut page = Page::default();
    page.table(&["projection", "#from", "#cursor", "#events", "#batches", "#time", "#events/s", "digest"], rows);
    page
}

fn verify_table(scopes: &[ScopeReport], log: Option<&LogFacts>) -> Page {
    let log = log.map(|facts| {
        vec![
            "log".to_owned(),
            number(facts.log_seq.0),
            root_short(&facts.root),
            facts.from_entries.as_deref().map_or("-".to_owned(), root_short),
            if facts.as_sealed { root_short(&facts.root) } else { "-".to_owned() },
            if facts.as_sealed { "as sealed".to_owned() } else { "DIFFERS".to_owned() },
        ]
    });
    let rows = log.into_iter().chain(scopes.iter().map(|scope| {
        let facts = scope.verify.as_ref();
        let digest = |text: Option<&String>| text.map_or("-".to_owned(), |text| digest_short(text));
        vec![
            scope.projection.clone(),
            number(scope.cursor.0),
            digest(facts.map(|facts| &facts.stored)),
            digest(facts.map(|facts| &facts.from_rows)),
            digest(facts.map(|facts| &facts.from_log)),
            match facts {
                Some(facts) if facts.drifted => "DRIFT".to_owned(),
                Some(_) => "equal".to_owned(),
                None => "-".to_owned(),
            },
        ]
    }));
    let mut page = Page::default();
    page.table(&["projection", "#cursor", "stored digest", "from the rows", "from the log", "result"], rows);
    page
}

/// Shortens the root of a tree.
fn root_short(root: &str) -> String {
    format!("root:{}…", root.chars().take(ROOT_CHARS).collect::<String>())
}
