//! Pages of the log, read and checked once for every projection that stands at the same position.

use super::lane::pure;
use decisiongraph_projections::sequence::check_page;
use decisiongraph_projections::{LogEvent, LogSeq, Poison, TenantId};
use decisiongraph_store::{PageLimit, ReadView, Result};
use std::collections::BTreeSet;

/// Consecutive events of a tenant behind `after`, checked: payload hashes and trace sequence.
pub struct Page {
    /// The position before it.
    pub after: LogSeq,
    /// The bound it was read under.
    pub upto: LogSeq,
    /// The events. Empty: the tenant has none between `after` and `upto`.
    pub events: Vec<LogEvent>,
    /// The first event that no projection may take; everything before it is sound.
    pub poison: Option<Poison>,
}

impl Page {
    /// Reads and checks the events with `after` < log_seq ≤ `upto`.
    pub async fn read(
        log: &dyn ReadView,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Page> {
        let events = log.page(tenant, after, upto, limit).await?;
        let traces: BTreeSet<String> = events.iter().map(|event| event.trace_id.clone()).collect();
        let heads = if traces.is_empty() { Default::default() } else { log.heads(tenant, &traces, after).await? };
        let (events, poison) = pure(move || {
            let poison = check_page(&events, &heads);
            (events, poison)
        })
        .await?;
        Ok(Page { after, upto, events, poison })
    }

    /// The events before the poison.
    pub fn sound(&self) -> &[LogEvent] {
        &self.events[..self.poison.as_ref().map_or(self.events.len(), |poison| poison.index)]
    }

    /// The position behind the page.
    pub fn end(&self) -> LogSeq {
        self.events.last().map_or(self.after, |event| event.log_seq)
    }
}
