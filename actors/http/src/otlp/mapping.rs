//! Spans to events, as pure functions: no I/O, no clock, nothing drawn.
//!
//! ```text
//!  request ─▶ Seen (a span in its resource) ─▶ rows of the table ─▶ Made (a line of the log) ─▶ ordered per trace
//!                                          └─▶ Left (reason)         start, by time, finish
//! ```
//!
//! *Guarantees.* The same span gives the same events with the same ids and keys, in whatever request it comes. Only a
//! trace's start depends on the request: it has what the request knows, and the first stored one stands. A span, or
//! a span event, becomes all of its events or none.

use super::made::{Left, Made, Place};
use super::span::{Seen, Timed};
use super::table::{Of, rules};
use decisiongraph_engine::telemetry::signals::{NOT_GENAI, NOT_MAPPED};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use std::collections::BTreeMap;

/// A mapped request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Number of spans in the request.
    pub spans: usize,
    /// Events, in the order in which they are offered.
    pub events: Vec<Made>,
    /// Things that became no event.
    pub left: Vec<Left>,
}

/// Maps a request.
pub fn map(request: &ExportTraceServiceRequest) -> Mapped {
    let mut mapped = Mapped::default();
    let mut traces: BTreeMap<String, Trace<'_>> = BTreeMap::new();
    for group in &request.resource_spans {
        let resource = group.resource.as_ref().map_or(&[][..], |resource| resource.attributes.as_slice());
        for spans in &group.scope_spans {
            for span in &spans.spans {
                let number = mapped.spans;
                mapped.spans += 1;
                let schema = if spans.schema_url.is_empty() { &group.schema_url } else { &spans.schema_url };
                match Seen::new(number, resource, spans.scope.as_ref(), schema, span) {
                    Err(left) => mapped.left.push(left),
                    Ok(seen) => traces.entry(seen.trace.clone()).or_default().take(seen, &mut mapped.left),
                }
            }
        }
    }
    for trace in traces.into_values() {
        trace.finish(&mut mapped);
    }
    mapped
}

/// Spans of one trace in a request.
#[derive(Default)]
struct Trace<'a> {
    between: Vec<Timed>,
    finish: Vec<Made>,
    /// The span that the start is made of, with true when it is the root.
    first: Option<(bool, Seen<'a>)>,
    /// True when the request has a span of an agent in this trace.
    known: bool,
}

impl<'a> Trace<'a> {
    /// Maps a span of the trace.
    fn take(&mut self, seen: Seen<'a>, left: &mut Vec<Left>) {
        let (made, mut missed) = seen.between();
        let known = seen.leads() || !made.is_empty();
        let root = seen.is_root();
        if root {
            // The root ends its trace, and is no longer a span without an event.
            missed.retain(|missed| ![NOT_GENAI, NOT_MAPPED].contains(&missed.reason));
            let place = match seen.operation() {
                _ if known => Place::Finish,
                Some(_) => Place::FinishIfStarted(NOT_MAPPED),
                None => Place::FinishIfStarted(NOT_GENAI),
            };
            for rule in rules(|of| of == Of::Root) {
                match seen.event(&seen.subject(), rule) {
                    Ok((_, made)) => self.finish.push(Made { place, ..made }),
                    Err(why) => missed.push(why),
                }
            }
        }
        left.append(&mut missed);
        self.between.extend(made);
        self.known |= known;
        let better = match &self.first {
            None => true,
            Some((has_root, first)) => {
                !has_root && (root || seen.span.start_time_unix_nano < first.span.start_time_unix_nano)
            }
        };
        if better && (root || known) {
            self.first = Some((root, seen));
        }
    }

    /// Puts the trace's events in order: its start, the others by time, its finish.
    fn finish(mut self, mapped: &mut Mapped) {
        if let Some((root, seen)) = self.first.filter(|_| self.known) {
            let of = if root { &[Of::StartWithRoot, Of::Start][..] } else { &[Of::Start] };
            // Where the root's name cannot be stored, the trace starts with what is known without it.
            for rule in of.iter().flat_map(|of| rules(move |other| other == *of)) {
                match seen.event(&seen.subject(), rule) {
                    Ok((_, made)) => {
                        mapped.events.push(Made { place: Place::Start, ..made });
                        break;
                    }
                    Err(left) => mapped.left.push(left),
                }
            }
        }
        self.between.sort_by_key(|(nanos, made)| (*nanos, made.span));
        mapped.events.extend(self.between.into_iter().map(|(_, made)| made));
        mapped.events.append(&mut self.finish);
    }
}
