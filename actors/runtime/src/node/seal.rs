//! The seal in a node's health: findings that stop it or that the scrubber made, the window, the places.

use crate::board::{SealBoard, SealWindow};
use decisiongraph_engine::seal::SealFinding;
use decisiongraph_engine::seal::notary::PlaceHealth;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::{Command, Finding, HealthWord, seal_next};
use std::collections::BTreeMap;
use std::time::Duration;

/// Findings of one kind that are told one by one; of more, the first and the number.
const TOLD_MAX: usize = 20;
/// Factor of `seal_window_max_s` above which the seal has failed.
const FAILED_FACTOR: u32 = 10;

/// Lists the findings for the operator.
pub fn findings(board: &SealBoard) -> Vec<Finding> {
    let Some(sealing) = &board.sealing else { return Vec::new() };
    let longest = sealing.settings.window_max;
    let mut found = told(sealing.stopped());
    found.extend(told(board.scrub.borrow().findings.clone()));
    found.extend(window(&board.window.borrow(), longest));
    let places = sealing.place_health();
    found.extend(places.iter().filter_map(|place| lag(place, longest)));
    found.extend(sealing.key_fault().map(|fault| Finding {
        health: HealthWord::Degraded,
        subject: "seal".to_owned(),
        message: format!("the keys cannot be read again, and those of before sign: {fault}"),
        next: "repair the file, or restore the one before it".to_owned(),
    }));
    found
}

/// Counts the findings by word.
pub fn by_word(board: &SealBoard) -> BTreeMap<&'static str, usize> {
    let stopped = board.sealing.iter().flat_map(|sealing| sealing.stopped());
    let mut counts = BTreeMap::new();
    for (_, finding) in stopped.chain(board.scrub.borrow().findings.iter().cloned()) {
        *counts.entry(finding.word.as_str()).or_default() += 1;
    }
    counts
}

fn told(findings: Vec<(TenantId, SealFinding)>) -> Vec<Finding> {
    let total = findings.len();
    let mut told: Vec<Finding> = findings
        .into_iter()
        .take(TOLD_MAX)
        .map(|(tenant, finding)| Finding {
            health: HealthWord::Failed,
            subject: format!("{tenant}/seal"),
            next: seal_next(&tenant, &finding.message),
            message: finding.message,
        })
        .collect();
    if let Some(last) = told.last_mut().filter(|_| total > TOLD_MAX) {
        last.message = format!("{} (and {} findings more)", last.message, number((total - TOLD_MAX) as u64));
    }
    told
}

/// Reports a window that is too long.
fn window(window: &SealWindow, longest: Duration) -> Option<Finding> {
    let (tenant, age) = window.longest().filter(|(_, age)| *age > longest)?;
    let health = if *age > longest * FAILED_FACTOR { HealthWord::Failed } else { HealthWord::Degraded };
    let events = number(window.unsealed);
    Some(Finding {
        health,
        subject: "seal".to_owned(),
        message: format!(
            "the window is {:.0} s ({tenant}): changes of events in it are not noticed; {events} events are not sealed",
            age.as_secs_f64()
        ),
        next: format!("{} shows what it waits for", Command::of("seal status", tenant)),
    })
}

/// Reports a place that lacks notes for too long.
fn lag(place: &PlaceHealth, longest: Duration) -> Option<Finding> {
    let PlaceHealth { place, lag, fault } = place;
    (*lag > longest).then(|| Finding {
        health: if *lag > longest * FAILED_FACTOR { HealthWord::Failed } else { HealthWord::Degraded },
        subject: "seal".to_owned(),
        message: format!(
            "the place {place} has lacked signed notes for {:.0} s: {}",
            lag.as_secs_f64(),
            fault.as_deref().unwrap_or("it was not reached yet")
        ),
        next: "make the place writable again; the node then brings everything that it lacks".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_engine::seal::SealWord;

    #[test]
    fn a_window_degrades_above_its_bound_and_fails_above_ten_times_that() {
        let bound = Duration::from_secs(120);
        let of = |seconds| {
            let tenants = vec![(TenantId::default(), Duration::from_secs(seconds))];
            window(&SealWindow { tenants, unsealed: 7 }, bound).map(|finding| finding.health)
        };
        let (degraded, failed) = (Some(HealthWord::Degraded), Some(HealthWord::Failed));
        assert_eq!([of(120), of(121), of(1_200), of(1_201)], [None, degraded, degraded, failed]);
        assert!(window(&SealWindow::default(), bound).is_none());
        let place = |lag| PlaceHealth { place: "dir:/x".to_owned(), lag: Duration::from_secs(lag), fault: None };
        assert!(lag(&place(120), bound).is_none());
        assert!(lag(&place(121), bound).is_some_and(|found| found.message.contains("dir:/x has lacked")));
    }

    #[test]
    fn a_finding_fails_health_with_its_word_and_a_next_step_and_many_are_counted() {
        let finding = SealWord::TreeShrunk.because("60 events are sealed here");
        let found = told(vec![(TenantId::default(), finding.clone()); 23]);
        assert_eq!(found.len(), TOLD_MAX);
        assert!(found[0].health == HealthWord::Failed && found[0].next.contains("seal fork"), "{}", found[0].next);
        assert_eq!((found[0].subject.as_str(), &found[0].message), ("default/seal", &finding.message));
        assert!(found[TOLD_MAX - 1].message.contains("(and 3 findings more)"));
    }
}
