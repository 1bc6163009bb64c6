//! The inner loops of the rules, one per run, named by the argument. `.ci/instructions` counts the instructions of
//! [`counted`] alone, without the preparation before it.

use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::Line;
use decisiongraph_projections::json_reader::parse;
use decisiongraph_projections::sequence::check_page;
use decisiongraph_projections::validation::admit;
use decisiongraph_projections::{Admitted, LogEvent, LogSeq, Prior, Projected, Projection, catalogue};
use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::process::ExitCode;

/// 600 mixed events of seed 7.
const LINES: &str = include_str!("../../parity/fixtures/generated_mixed_seed7.jsonl");

/// Runs a loop. `.ci/instructions` finds it by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn admitted(line: &str) -> Admitted {
    Line::parse(line).and_then(|line| admit(line.draft)).expect("a legal event")
}

fn projected(projection: &dyn Projection, log: &[LogEvent]) -> Projected {
    let needs = projection.needs(log);
    let prior = Prior::empty(&needs);
    projection.project(log, &needs, &prior)
}

fn main() -> ExitCode {
    let events: Vec<Admitted> = LINES.lines().map(admitted).collect();
    let log: Vec<LogEvent> = (1..).zip(&events).map(|(log_seq, event)| LogEvent::of(LogSeq(log_seq), event)).collect();
    let chosen = std::env::args().nth(1).unwrap_or_default();
    match chosen.as_str() {
        "admit" => counted(&mut || LINES.lines().for_each(|line| drop(black_box(admitted(line))))),
        "check" => {
            let (heads, skips) = (HashMap::new(), BTreeSet::new());
            counted(&mut || assert_eq!(black_box(check_page(&log, &heads, &skips)), None));
        }
        "canonical" => {
            let payloads: Vec<_> = log.iter().map(|event| parse(&event.payload).expect("JSON").value).collect();
            counted(&mut || payloads.iter().for_each(|payload| drop(black_box(payload.to_payload_form()))));
        }
        "digest" => {
            let all = catalogue::ALL.map(|projection| (projection.tables(), projected(projection, &log).changes));
            let rows = || all.iter().flat_map(|(tables, changes)| tables.iter().zip(changes.tables.iter()));
            let mut digest = RollingDigest::default();
            counted(&mut || {
                for (table, changes) in rows() {
                    digest.add(table, &changes.inserts);
                }
            });
            black_box(digest);
        }
        name => match catalogue::find(name) {
            Some(projection) => counted(&mut || assert_eq!(black_box(projected(projection, &log)).poison, None)),
            None => {
                eprintln!("no such loop: {name:?}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}
