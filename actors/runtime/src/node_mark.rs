//! The node's mark, as its jobs read it. The high-water actor proves it; a reading waits until it covers the log.
//!
//! *Guarantees.* A reading covers each event that was appended before it began, or names the appenders that hold up the
//! mark. Only the high-water actor samples the log: in a node there is one mark. A wait for a position asks the
//! database nothing.

use crate::board::MarkState;
use crate::signals::Signal;
use decisiongraph_engine::mark::{MarkReading, MarkSource};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_store::{LogEnd, Result as StoreResult, Store, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Reader of the node's mark.
pub struct NodeMark {
    /// The database, whose log's end is the goal of a reading.
    pub store: Arc<dyn Store>,
    /// Mark that the high-water actor publishes.
    pub mark: watch::Receiver<MarkState>,
    /// Signal that the published mark may be old.
    pub old: Signal,
}

impl MarkSource for NodeMark {
    fn read(&self, wait: Duration) -> BoxFuture<'_, StoreResult<MarkReading>> {
        Box::pin(async move {
            let mut mark = self.mark.clone();
            let before = mark.borrow().clone();
            let end = self.store.log_end().await?;
            let covers = |state: &MarkState| covers(&before, &end, state);
            if !covers(&mark.borrow()) {
                self.old.send();
            }
            let proven = matches!(tokio::time::timeout(wait, mark.wait_for(covers)).await, Ok(Ok(_)));
            let state = mark.borrow().clone();
            if proven {
                return Ok(MarkReading { mark: state.proven(), waiting_for: Vec::new() });
            }
            if state.waiting_for.is_empty() && !wait.is_zero() {
                let message = format!("the end of the log was not read within {wait:?}; waiting for the node's mark");
                return Err(StoreError::transient(Category::Unavailable, message));
            }
            Ok(MarkReading { mark: state.proven(), waiting_for: state.waiting_for })
        })
    }

    fn reached(&self, position: LogSeq, wait: Duration) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(async move {
            let mut mark = self.mark.clone();
            let there = |state: &MarkState| state.history.is_some() && state.mark >= position;
            if !there(&mark.borrow()) {
                // The event may have been appended after the last sample.
                self.old.send();
            }
            Ok(matches!(tokio::time::timeout(wait, mark.wait_for(there)).await, Ok(Ok(_))))
        })
    }
}

/// True when the mark covers the log up to `end`, which was read after the mark `before`.
fn covers(before: &MarkState, end: &LogEnd, state: &MarkState) -> bool {
    // The log ended below the known mark: it was put back, and the mark means nothing until it is proven anew.
    let void = before.mark > end.sequence && before.era == state.era;
    state.history.as_ref() == Some(&end.history) && state.mark >= end.sequence && !void
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mark: i64, era: u64, history: &str) -> MarkState {
        MarkState { mark: LogSeq(mark), era, history: Some(history.to_owned()), ..MarkState::default() }
    }

    #[test]
    fn a_mark_covers_the_log_of_its_own_history_alone() {
        let end = |sequence| LogEnd { sequence: LogSeq(sequence), history: "a".to_owned() };
        assert!(covers(&at(5, 1, "a"), &end(9), &at(9, 1, "a")) && covers(&at(5, 1, "a"), &end(9), &at(11, 1, "a")));
        assert!(!covers(&at(5, 1, "a"), &end(9), &at(8, 1, "a")), "not proven yet");
        assert!(!covers(&at(5, 1, "b"), &end(9), &at(9, 1, "b")), "the mark of another server");
        assert!(!covers(&MarkState::default(), &end(0), &MarkState::default()), "nothing was sampled yet");
        assert!(!covers(&at(9, 1, "a"), &end(4), &at(9, 1, "a")), "the log was put back");
        assert!(covers(&at(9, 1, "a"), &end(4), &at(4, 2, "a")));
    }
}
