//! A stretch of the log on the way of lanes that start at the same position: each page is read and checked once, and
//! each lane takes the pages at its own pace.
//!
//! ```text
//!   reader ──▶ window of pages ──┬──▶ lane: fold, encode, commit
//!                                ├──▶ lane: …
//!                                └──▶ lane: …
//! ```
//!
//! *Guarantees.* Pull, never push: at most [`PAGES_AHEAD`] pages behind the rearmost lane's page are in memory. A lane
//! that stops (a failure, a batch that must be folded again, an error) leaves the others their pages.

use super::Job;
use crate::lane::{ApplyOptions, Lane};
use crate::observed;
use crate::page::Page;
use crate::telemetry::Telemetry;
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::open_traces::OpenTraces;
use decisiongraph_store::{PageLimit, ReadView, Result, Store};
use futures_util::future::{join, join_all};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// Most pages that are read behind the page of the rearmost lane.
const PAGES_AHEAD: usize = 2;
/// Most pages of a stretch. Between two stretches other readers get their turn of the memory budget.
const PAGES_MAX: usize = 8;

/// Place of a lane that takes no more pages.
const GONE: usize = usize::MAX;

/// Pages that are read and not yet applied by every lane. Pages are numbered from 0.
#[derive(Default)]
struct Window {
    pages: VecDeque<Arc<Page>>,
    /// Number of the first of them.
    first: usize,
    /// Position behind the last of them.
    end: LogSeq,
    /// True when no page follows.
    ended: bool,
    /// True when no lane takes another page.
    stopped: bool,
    /// Number of the page that each lane applies.
    places: Vec<usize>,
    /// Events that the lanes have applied in this stretch.
    events: u64,
}

impl Window {
    fn page(&self, number: usize) -> Option<Arc<Page>> {
        self.pages.get(number.checked_sub(self.first)?).cloned()
    }

    /// Returns the number of the next page to read.
    fn next(&self) -> usize {
        self.first + self.pages.len()
    }

    fn rearmost(&self) -> usize {
        self.places.iter().copied().min().unwrap_or(GONE)
    }

    fn has_room(&self) -> bool {
        let room = self.next() <= self.rearmost().saturating_add(PAGES_AHEAD);
        room && !self.ended && self.next() < PAGES_MAX + PAGES_AHEAD
    }

    /// True when no lane takes another page of this stretch.
    fn is_done(&self) -> bool {
        self.stopped || self.rearmost() >= PAGES_MAX
    }

    /// Returns the rearmost lane and its position.
    fn slowest(&self) -> Option<(usize, LogSeq)> {
        let (lane, place) = self.places.iter().enumerate().min_by_key(|(_, place)| **place)?;
        Some((lane, self.page(*place).map_or(self.end, |page| page.after)))
    }

    fn push(&mut self, page: Page) {
        // Nothing behind a poison event is read.
        (self.end, self.ended) = (page.end(), page.poison.is_some());
        self.pages.push_back(Arc::new(page));
    }

    /// Notes that a lane has applied a page. What no lane needs any more goes.
    fn moved(&mut self, lane: usize, to: usize, events: u64) {
        self.places[lane] = to;
        self.events += events;
        let gone = self.rearmost().min(self.next()) - self.first;
        self.pages.drain(..gone);
        self.first += gone;
    }
}

/// Course of a stretch: sources, bounds and inputs.
pub(super) struct Stretch<'a> {
    /// Source of the events.
    pub log: &'a dyn ReadView,
    /// Place of the rows.
    pub rows: &'a dyn Store,
    /// Position up to which the lanes share pages.
    pub upto: LogSeq,
    /// Position that the job reports as its target.
    pub target: LogSeq,
    /// Inputs of a lane.
    pub options: &'a ApplyOptions,
}

/// End of a stretch.
pub(super) struct Stretched {
    /// Result of each lane.
    pub applied: Vec<Result<()>>,
    /// Pages behind the stretch, for the next one.
    pub ahead: VecDeque<Arc<Page>>,
    /// True when the job is to stop.
    pub cancelled: Result<bool>,
}

impl Stretch<'_> {
    /// Moves these lanes over `pages` and over those that are read behind them. The first page starts at the lanes'
    /// position.
    pub async fn run(
        &self,
        job: &mut Job<'_>,
        lanes: Vec<&mut Lane>,
        pages: VecDeque<Arc<Page>>,
        open: &mut OpenTraces,
    ) -> Stretched {
        let names: Vec<&'static str> = lanes.iter().map(|lane| lane.projection.name()).collect();
        let last = pages.back().map(|page| (page.end(), page.poison.is_some()));
        let (end, ended) = last.unwrap_or((LogSeq::ORIGIN, true));
        let window = Window { pages, end, ended, places: vec![0; lanes.len()], ..Window::default() };
        let window = watch::Sender::new(window);
        let engine = job.engine;
        let telemetry = engine.telemetry();
        let lanes = lanes.into_iter().enumerate();
        let lanes = join_all(lanes.map(|(number, lane)| self.follow(&window, number, lane, telemetry)));
        let (applied, cancelled) = join(lanes, self.read(&window, job, &names, open)).await;
        let Window { pages, stopped, .. } = window.send_replace(Window::default());
        Stretched { applied, ahead: if stopped { VecDeque::new() } else { pages }, cancelled }
    }

    /// Reads pages while there is room for them, and reports the rearmost lane's position. True when the job is to
    /// stop.
    async fn read(
        &self,
        window: &watch::Sender<Window>,
        job: &mut Job<'_>,
        names: &[&'static str],
        open: &mut OpenTraces,
    ) -> Result<bool> {
        let (tenant, none) = (job.tenant.clone(), BTreeSet::new());
        // The driver told the job's position at the first page.
        let mut passed = 0;
        // No event above a page's size limit is read ahead.
        let limit = PageLimit { event_bytes_max: self.options.limit.bytes_max, ..self.options.limit };
        loop {
            let (room, place, after, slowest, events) = {
                let mut window = window.subscribe();
                let news = |window: &Window| window.is_done() || window.has_room() || window.rearmost() != passed;
                match window.wait_for(news).await {
                    Ok(window) if !window.is_done() => {
                        (window.has_room(), window.rearmost(), window.end, window.slowest(), window.events)
                    }
                    _ => return Ok(false),
                }
            };
            if let Some((lane, cursor)) = slowest.filter(|_| place != passed) {
                passed = place;
                let stop = job.pass(names[lane], cursor, self.target, events).await;
                if !matches!(stop, Ok(false)) {
                    window.send_modify(|window| window.stopped = true);
                    return stop;
                }
            }
            if !room {
                continue;
            }
            // A fault of this read occurs again when that page's turn comes.
            let page = match after < self.upto {
                true => Page::read_on(self.log, &tenant, after, self.upto, limit, &none, Some(&mut *open)).await.ok(),
                false => None,
            };
            window.send_modify(|window| match page.filter(|page| !page.is_empty()) {
                Some(page) => window.push(page),
                None => window.ended = true,
            });
        }
    }

    /// Moves one lane, page by page.
    async fn follow(
        &self,
        window: &watch::Sender<Window>,
        number: usize,
        lane: &mut Lane,
        telemetry: &Telemetry,
    ) -> Result<()> {
        for place in 0..PAGES_MAX {
            let Some(page) = page(window, place).await else { break };
            let before = lane.events;
            let applied = async {
                let page = lane.own_page(self.log, &page).await?;
                let next = self::page(window, place + 1);
                observed::apply(lane, self.rows, self.log, &page, next, self.options, telemetry).await
            };
            let applied = applied.await;
            let events = lane.events - before;
            let on = applied.is_ok() && lane.failure.is_none() && lane.position.cursor == page.end();
            window.send_modify(|window| {
                window.stopped |= applied.is_err();
                window.moved(number, if on { place + 1 } else { GONE }, events);
            });
            if !on {
                return applied;
            }
        }
        window.send_modify(|window| {
            if window.places[number] < PAGES_MAX {
                window.moved(number, GONE, 0);
            }
        });
        Ok(())
    }
}

/// Waits for the page with this number. `None`: the stretch ends before it.
async fn page(window: &watch::Sender<Window>, number: usize) -> Option<Arc<Page>> {
    let mut window = window.subscribe();
    let there = window.wait_for(|window| window.stopped || window.ended || window.next() > number).await.ok()?;
    if there.stopped { None } else { there.page(number) }
}
