//! The safe high-water mark: a position below which nothing can still appear.
//!
//! [`HighWater`] decides, purely; a [`MarkSource`] asks the store and waits. No time-out ever advances the mark. When
//! writers do not end in time, the reading carries the last proven mark. It also names the writers that hold up the
//! next mark.

use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::Command;
use decisiongraph_store::{HighWaterSample, LogEnd, OpenWriter, Result, Scope, Store, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First and longest pause between two checks of the writers that hold the mark.
pub const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// A position that is safe to read up to, and the history of the server in which it was proven. It says nothing in
/// another history: there a transaction may still deliver below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// Position at or below which nothing can still appear.
    pub at: LogSeq,
    /// Server history, as in [`HighWaterSample::history`].
    pub history: Option<String>,
}

impl Mark {
    /// True for a session of the same history, and for a session of a store that has only one (`None`).
    pub fn holds_in(&self, session: Option<&str>) -> bool {
        session.is_none() || session == self.history.as_deref()
    }

    /// Refuses a session of another history. The error is transient: the caller proves a new mark.
    pub fn check(&self, session: Option<&str>) -> Result<()> {
        if self.holds_in(session) {
            return Ok(());
        }
        Err(other_history())
    }
}

/// Refuses to work in a session of another history than the mark's. The caller proves a new mark.
pub fn other_history() -> StoreError {
    StoreError::transient(
        Category::Unavailable,
        "the server's history changed; waiting for the mark of the new history",
    )
}

/// Knowledge of the end of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HighWater {
    mark: LogSeq,
    history: Option<String>,
    pending: Option<HighWaterSample>,
}

impl HighWater {
    /// Returns the proven mark.
    pub fn mark(&self) -> LogSeq {
        self.mark
    }

    /// Returns the proven mark, with its history.
    pub fn proven(&self) -> Mark {
        Mark { at: self.mark, history: self.history.clone() }
    }

    /// Returns the identity of the history that the mark belongs to.
    pub fn history(&self) -> Option<&str> {
        self.history.as_deref()
    }

    /// Lists the writers that a sample waits for.
    pub fn waiting_for(&self) -> &[OpenWriter] {
        self.pending.as_ref().map_or(&[], |sample| &sample.writers)
    }

    /// True when the log ends at the mark. Nothing was drawn since the mark was proven, so there is nothing to prove.
    pub fn is_at(&self, end: &LogEnd) -> bool {
        self.pending.is_none() && self.mark == end.sequence && self.history.as_ref() == Some(&end.history)
    }

    /// Takes a sample. When the server's history changed, or the sequence is below the mark, all knowledge is void.
    pub fn sampled(&mut self, sample: HighWaterSample) {
        if self.history.as_ref().is_some_and(|known| *known != sample.history) || sample.sequence < self.mark {
            self.mark = LogSeq::ORIGIN;
        }
        self.history = Some(sample.history.clone());
        if sample.writers.is_empty() {
            self.mark = sample.sequence;
            self.pending = None;
        } else {
            self.pending = Some(sample);
        }
    }

    /// Takes the writers of the pending sample that are still open, if any is.
    pub fn still_open(&mut self, writers: Vec<OpenWriter>) {
        if let Some(sample) = &mut self.pending
            && !writers.is_empty()
        {
            sample.writers = writers;
        }
    }

    /// Takes `fresh`, sampled after none of the pending sample's writers was left. The pending sequence is then proven,
    /// if the server is still the one that was asked. (A restarted server has forgotten its writers, not finished
    /// them.)
    pub fn settled(&mut self, fresh: HighWaterSample) {
        if let Some(pending) = self.pending.take()
            && pending.history == fresh.history
        {
            self.mark = self.mark.max(pending.sequence);
        }
        self.sampled(fresh);
    }
}

/// Checks the writers that hold up the mark. When the last is gone, the mark moves and the log's end is sampled anew.
pub async fn look(store: &dyn Store, known: &mut HighWater) -> Result<()> {
    let open = store.writers_still_open(known.waiting_for()).await?;
    if open.is_empty() {
        known.settled(store.sample_high_water().await?);
    } else {
        known.still_open(open);
    }
    Ok(())
}

/// Returns the end of the log when the cursor is above it. Such a cursor means that the log was put back to an earlier
/// state and the projections were not. Events that are appended now get positions at or below the cursor and would be
/// passed.
pub async fn end_below(store: &dyn Store, cursor: LogSeq, mark: &Mark) -> Result<Option<LogSeq>> {
    if cursor <= mark.at {
        return Ok(None);
    }
    // An appender may hold up the mark, or another node may know a newer one.
    Ok(Some(store.log_end().await?.sequence).filter(|end| cursor > *end))
}

/// Words the finding of [`end_below`] for operators.
pub fn beyond(scope: &Scope, cursor: LogSeq, end: LogSeq) -> String {
    format!(
        "the cursor of {scope} is at log_seq {cursor}, above the last position that the log has assigned ({end}): the log was restored to an earlier state and its projections were not; restore both from one backup, or rebuild the projection from the present log with {}",
        Command::of_scope("rebuild", &scope.tenant, scope.projection)
    )
}

/// A mark, and the appenders that hold up the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkReading {
    /// Best mark that is proven.
    pub mark: Mark,
    /// Appenders that did not end in time. Empty: the mark is the end of the log at the time of the call.
    pub waiting_for: Vec<OpenWriter>,
}

/// Source of the mark. A node has one for all its parts; an engine without a node reads its own ([`OwnMark`]).
pub trait MarkSource: Send + Sync {
    /// Reads the mark of the log's end as it is now, after waiting at most `wait` for open appenders.
    fn read(&self, wait: Duration) -> BoxFuture<'_, Result<MarkReading>>;

    /// Waits until the mark is at this position, at most `wait`. Returns false when it is not.
    fn reached(&self, position: LogSeq, wait: Duration) -> BoxFuture<'_, Result<bool>>;
}

/// The mark that an engine without a node samples itself.
pub struct OwnMark {
    store: Arc<dyn Store>,
    known: tokio::sync::Mutex<HighWater>,
}

impl OwnMark {
    /// Creates a source that knows nothing yet.
    pub fn new(store: Arc<dyn Store>) -> OwnMark {
        OwnMark { store, known: Default::default() }
    }

    async fn sample(&self, wait: Duration) -> Result<MarkReading> {
        let (store, deadline) = (&*self.store, Instant::now() + wait);
        let mut known = self.known.lock().await;
        let sample = store.sample_high_water().await?;
        let wanted = sample.sequence;
        if known.history().is_some_and(|before| before != sample.history) {
            // Sessions that lead to the previous server may be left: nothing more is read there.
            store.hang_up();
        }
        known.sampled(sample);
        let mut pause = LOOK_EVERY.0;
        while known.mark() < wanted && !known.waiting_for().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_EVERY.1);
            look(store, &mut known).await?;
        }
        let waiting_for = if known.mark() < wanted { known.waiting_for().to_vec() } else { Vec::new() };
        Ok(MarkReading { mark: known.proven(), waiting_for })
    }
}

impl MarkSource for OwnMark {
    fn read(&self, wait: Duration) -> BoxFuture<'_, Result<MarkReading>> {
        Box::pin(self.sample(wait))
    }

    fn reached(&self, position: LogSeq, wait: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if self.sample(left).await?.mark.at >= position {
                    return Ok(true);
                }
                if left.is_zero() {
                    return Ok(false);
                }
                tokio::time::sleep(LOOK_EVERY.1.min(left)).await;
            }
        })
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(name: &str) -> OpenWriter {
        OpenWriter { transaction: name.to_owned(), pid: Some(1), ..OpenWriter::default() }
    }

    fn sample(sequence: i64, writers: &[&str], history: &str) -> HighWaterSample {
        HighWaterSample {
            sequence: LogSeq(sequence),
            writers: writers.iter().map(|name| writer(name)).collect(),
            history: history.to_owned(),
        }
    }

    #[test]
    fn the_mark_waits_for_every_writer_of_the_sample_and_for_no_other() {
        let mut water = HighWater::default();
        water.sampled(sample(5, &[], "a"));
        assert_eq!(water.mark(), LogSeq(5));
        water.sampled(sample(9, &["1/7", "2/3"], "a"));
        assert_eq!(water.mark(), LogSeq(5));
        water.still_open(vec![writer("2/3")]);
        assert_eq!((water.mark(), water.waiting_for().len()), (LogSeq(5), 1));
        water.settled(sample(12, &["3/1"], "a"));
        assert_eq!((water.mark(), water.waiting_for().len()), (LogSeq(9), 1));
        water.settled(sample(12, &[], "a"));
        assert_eq!((water.mark(), water.waiting_for().len()), (LogSeq(12), 0));
    }

    #[test]
    fn a_changed_history_voids_the_mark() {
        let mut water = HighWater::default();
        water.sampled(sample(9, &[], "a"));
        water.sampled(sample(9, &["1/1"], "b"));
        assert_eq!(water.mark(), LogSeq::ORIGIN);
        water.settled(sample(9, &[], "b"));
        assert_eq!(water.mark(), LogSeq(9));
        water.sampled(sample(4, &["1/2"], "b"));
        assert_eq!(water.mark(), LogSeq::ORIGIN, "a sequence that went back is another history");
    }

    #[test]
    fn a_mark_stands_while_nothing_is_drawn_in_the_same_history() {
        let end = |sequence, history: &str| LogEnd { sequence: LogSeq(sequence), history: history.to_owned() };
        let mut water = HighWater::default();
        assert!(!water.is_at(&end(0, "a")), "nothing is proven yet");
        water.sampled(sample(9, &[], "a"));
        assert!(water.is_at(&end(9, "a")));
        assert!(!water.is_at(&end(10, "a")) && !water.is_at(&end(8, "a")) && !water.is_at(&end(9, "b")));
        water.sampled(sample(9, &["1/7"], "a"));
        assert!(!water.is_at(&end(9, "a")), "somebody is looked after");
    }

    #[test]
    fn a_restarted_server_has_forgotten_its_writers_and_proves_nothing() {
        let mut water = HighWater::default();
        water.sampled(sample(5, &[], "a"));
        water.sampled(sample(40, &["1/7"], "a"));
        water.settled(sample(9, &["1/1"], "b"));
        assert_eq!(water.mark(), LogSeq::ORIGIN);
        water.settled(sample(9, &[], "b"));
        assert_eq!(water.mark(), LogSeq(9));
    }
}
