//! What a job did, for people.

use crate::output::{digest_short, duration, number, or_dash, shown, table};
use decisiongraph_actors::engine::report::{RunReport, ScopeReport};
use decisiongraph_store::{RunMode, RunState};
use std::fmt::Write as _;

/// The report of a catch-up, rebuild or verify.
pub fn report(report: &RunReport) -> String {
    let run = &report.run;
    let mut out = match run.mode {
        RunMode::Verify => verify_table(&report.scopes),
        _ => work_table(&report.scopes),
    };
    for scope in &report.scopes {
        if let Some(failure) = &scope.failure {
            let _ = write!(
                out,
                "\n{} stopped at log_seq {} (event {}, trace {}): {}: {}\nEverything before it stands. See `decisiongraph failure {}`.",
                scope.projection,
                failure.log_seq,
                shown(&failure.event_id),
                shown(&failure.trace_id),
                failure.category,
                shown(&failure.message),
                failure.failure_id
            );
        }
        if let Some(rebuild) = &scope.rebuild {
            let verdict = match rebuild.equal {
                // Digests are compared, not rows: of an edited row the stored digest knows nothing (verify reads the rows).
                Some(true) => "the log gives the digest that was stored",
                Some(false) => "the log gives another digest than the stored one, which is replaced",
                None => "the old generation moved on meanwhile; nothing to compare",
            };
            let _ = write!(
                out,
                "\n{}: generation {} replaced by {}; {verdict}",
                scope.projection, rebuild.old_generation, scope.generation
            );
        }
        if scope.flipped_before {
            let _ = write!(
                out,
                "\n{}: generation {} was live already when this run was interrupted",
                scope.projection, scope.generation
            );
        }
        if let Some(verify) = scope.verify.as_ref().filter(|verify| verify.drifted) {
            let more = if verify.more { " (there are more)" } else { "" };
            let rows = verify
                .first
                .iter()
                .map(|row| {
                    vec![
                        row.table.clone(),
                        row.key.clone(),
                        or_dash(row.column.as_deref()),
                        row.kind.clone(),
                        or_dash(row.live.as_deref()),
                        or_dash(row.log.as_deref()),
                    ]
                })
                .collect();
            let _ = write!(
                out,
                "\nDrift in {}: the first rows that differ{more}\n{}",
                scope.projection,
                table(&["table", "key", "column", "what", "live row", "log says"], rows)
            );
        }
    }
    let _ = match (run.state, report.drifted()) {
        (RunState::Completed, true) => {
            write!(out, "\nDrift found. Nothing was changed; `decisiongraph rebuild` replaces the rows.")
        }
        (RunState::Completed, false) if run.mode == RunMode::Verify => {
            write!(out, "\nNo drift: stored digest, rows and log agree.")
        }
        (RunState::Completed, false) => Ok(()),
        (RunState::Cancelled, _) => write!(out, "\nCancelled. `decisiongraph run resume {}` goes on.", run.run_id),
        (state, _) => write!(
            out,
            "\nRun {} is {}{}",
            run.run_id,
            state.as_str(),
            run.error.as_ref().map(|error| format!(": {}", shown(&error.message))).unwrap_or_default()
        ),
    };
    out
}

fn work_table(scopes: &[ScopeReport]) -> String {
    let rows = scopes
        .iter()
        .map(|scope| {
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
        })
        .collect();
    table(&["projection", "#from", "#cursor", "#events", "#batches", "#time", "#events/s", "digest"], rows)
}

fn verify_table(scopes: &[ScopeReport]) -> String {
    let rows = scopes
        .iter()
        .map(|scope| {
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
        })
        .collect();
    table(&["projection", "#cursor", "stored digest", "from the rows", "from the log", "result"], rows)
}
