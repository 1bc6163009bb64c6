//! Pages of the log. A page is read and checked once for all projections that are at the same position and skip the
//! same events.

use decisiongraph_projections::open_traces::{Behind, OpenTraces};
use decisiongraph_projections::sequence::{Sifted, sift};
use decisiongraph_projections::{LogEvent, LogSeq, Poison, TenantId};
use decisiongraph_store::{PageLimit, ReadView, Result, StoreError};
use std::collections::BTreeSet;

/// Consecutive events of a tenant behind `after`, checked: payload hashes and trace sequence.
pub struct Page {
    /// Position before the page.
    pub after: LogSeq,
    /// Upper bound under which the page was read.
    pub upto: LogSeq,
    /// Events of the page, without the skipped ones.
    pub events: Vec<LogEvent>,
    /// Positions of the skipped events.
    pub skipped: Vec<LogSeq>,
    /// First event that no projection may take; everything before it is sound.
    pub poison: Option<Poison>,
    /// Knowledge of the page's traces before it.
    pub behind: Behind,
}

impl Page {
    /// Reads and checks the events with `after` < log_seq ≤ `upto`; those of `skips` are neither checked nor projected.
    pub async fn read(
        log: &dyn ReadView,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
        skips: &BTreeSet<LogSeq>,
    ) -> Result<Page> {
        Page::read_on(log, tenant, after, upto, limit, skips, None).await
    }

    /// Reads and checks the same, for a reader that keeps the open traces from page to page.
    pub async fn read_on(
        log: &dyn ReadView,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
        skips: &BTreeSet<LogSeq>,
        mut open: Option<&mut OpenTraces>,
    ) -> Result<Page> {
        let events = log.page(tenant, after, upto, limit).await?;
        let mut behind = match &mut open {
            Some(open) => open.behind(after, &events),
            None => Behind::unknown(&events),
        };
        if !behind.ask_heads.is_empty() {
            behind.told(log.heads(tenant, &behind.ask_heads, after).await?);
        }
        if let Some(open) = open {
            open.note(&events, &behind);
        }
        let skips: BTreeSet<LogSeq> = match events.last() {
            Some(last) => skips.range(..=last.log_seq).filter(|skip| **skip > after).copied().collect(),
            None => BTreeSet::new(),
        };
        let sifting = move || {
            let sifted = sift(events, &behind.heads, &skips);
            (sifted, behind)
        };
        let (Sifted { events, skipped, poison }, behind) = pure(sifting).await?;
        Ok(Page { after, upto, events, skipped, poison, behind })
    }

    /// Returns the events before the poison.
    pub fn sound(&self) -> &[LogEvent] {
        &self.events[..self.poison.as_ref().map_or(self.events.len(), |poison| poison.index)]
    }

    /// Sums the bytes of the page's events.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(LogEvent::bytes).sum()
    }

    /// True when the tenant has no event between `after` and `upto`.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.skipped.is_empty()
    }

    /// Returns the position behind the page.
    pub fn end(&self) -> LogSeq {
        let last = self.events.last().map(|event| event.log_seq);
        last.max(self.skipped.last().copied()).unwrap_or(self.after)
    }

    /// Returns the position that is reached when the first `applied` sound events are applied. It is behind what is
    /// skipped up to the next one.
    pub fn reached(&self, applied: usize) -> LogSeq {
        let Some(stop) = self.events.get(applied) else { return self.end() };
        let last = self.events[..applied].last().map(|event| event.log_seq);
        last.max(self.skipped_upto(stop.log_seq).last().copied()).unwrap_or(self.after)
    }

    /// Returns the skipped positions at or below `upto`.
    pub fn skipped_upto(&self, upto: LogSeq) -> &[LogSeq] {
        &self.skipped[..self.skipped.partition_point(|skip| *skip <= upto)]
    }
}

/// Runs a pure computation as a task. A panic in it is a defect of a rule.
pub(crate) async fn pure<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let task = tokio::spawn(async move { work() });
    task.await.map_err(|error| StoreError::internal(format!("a projection failed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(events: &[i64], skipped: &[i64]) -> Page {
        let event = |log_seq: &i64| LogEvent {
            log_seq: LogSeq(*log_seq),
            event_id: "".into(),
            trace_id: "".into(),
            trace_seq: 0,
            event_type: "".into(),
            occurred_at: "".into(),
            actor_type: "".into(),
            actor_id: "".into(),
            payload: "".into(),
            payload_hash: "".into(),
            metadata: None,
        };
        Page {
            after: LogSeq(1),
            upto: LogSeq(99),
            events: events.iter().map(event).collect(),
            skipped: skipped.iter().copied().map(LogSeq).collect(),
            poison: None,
            behind: Behind::default(),
        }
    }

    #[test]
    fn a_cursor_passes_what_is_skipped_and_stops_before_what_is_not_applied() {
        let mixed = page(&[3, 7, 9], &[2, 4, 5, 12]);
        assert_eq!([0, 1, 2, 3].map(|applied| mixed.reached(applied).0), [2, 5, 7, 12]);
        assert_eq!((mixed.end(), mixed.skipped_upto(LogSeq(4)).len()), (LogSeq(12), 2));
        let skipped_only = page(&[], &[4]);
        assert!(!skipped_only.is_empty());
        assert_eq!(skipped_only.reached(0), LogSeq(4));
        let none = page(&[], &[]);
        assert!(none.is_empty());
        assert_eq!(none.end(), LogSeq(1));
        assert_eq!(page(&[3], &[]).reached(0), LogSeq(1), "nothing is applied");
    }
}
