//! The outcome of each span of a request.

use super::made::{Left, Place};
use decisiongraph_engine::telemetry::signals::{EVENT_NOT_MAPPED, SPAN_REPEATED, SPAN_STORED};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::{LineVerdict, VerdictWord};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longest example of a reason in an answer, in characters.
const EXAMPLE_CHARS_MAX: usize = 200;

/// Outcome of one span.
#[derive(Debug, Default, Clone)]
struct Outcome {
    stored: bool,
    repeated: bool,
    /// First reason for which a part of it is not stored.
    rejected: Option<&'static str>,
}

/// Outcomes of a request.
pub struct Tally {
    spans: Vec<Outcome>,
    /// Number of things per reason, with an example.
    reasons: BTreeMap<&'static str, (u64, String)>,
    last_log_seq: Option<LogSeq>,
}

impl Tally {
    /// Makes the tally of a request with this many spans.
    pub fn new(spans: usize) -> Tally {
        Tally { spans: vec![Outcome::default(); spans], reasons: BTreeMap::new(), last_log_seq: None }
    }

    /// Counts a thing that became no event. A span counts as rejected once, for its first reason. A span event that the
    /// mapping does not know makes no span a rejected one.
    pub fn leave(&mut self, left: Left) {
        let Some(span) = self.spans.get_mut(left.span) else { return };
        if left.reason != EVENT_NOT_MAPPED {
            if span.rejected.is_some() {
                return;
            }
            span.rejected = Some(left.reason);
        }
        let (count, _) = self.reasons.entry(left.reason).or_insert_with(|| {
            let example = left.message.chars().filter(|c| !c.is_control()).take(EXAMPLE_CHARS_MAX).collect();
            (0, example)
        });
        *count += 1;
    }

    /// Counts the verdict on an event of a span.
    pub fn take(&mut self, span: usize, place: Place, verdict: &LineVerdict) {
        self.last_log_seq = self.last_log_seq.max(verdict.log_seq);
        let category = match (verdict.verdict, self.spans.get_mut(span)) {
            (_, None) => return,
            (VerdictWord::Accepted, Some(span)) => {
                span.stored = true;
                return;
            }
            (VerdictWord::Repeated, Some(span)) => {
                span.repeated = true;
                return;
            }
            (VerdictWord::Refused, Some(_)) => verdict.category.unwrap_or(Category::Internal),
        };
        let mut message = verdict.message.clone().unwrap_or_default();
        let reason = match (place, category) {
            // The trace was started by an earlier request, or by another producer.
            (Place::Start, Category::IdempotencyConflict | Category::EventSequenceInvalid | Category::Conflict) => {
                return;
            }
            (Place::FinishIfStarted(reason), Category::EventSequenceInvalid) => {
                "the root span is not a span of an agent, and its trace has no such span".clone_into(&mut message);
                reason
            }
            _ => category.as_str(),
        };
        self.leave(Left { span, reason, message });
    }

    /// Returns the number of spans.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// Returns the number of spans of which a part is not stored.
    pub fn rejected(&self) -> usize {
        self.spans.iter().filter(|span| span.rejected.is_some()).count()
    }

    /// Returns the last position at which an event of the request is stored.
    pub fn last_log_seq(&self) -> Option<LogSeq> {
        self.last_log_seq
    }

    /// Counts the spans per outcome, and the span events that the mapping does not know.
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        let mut outcomes = BTreeMap::new();
        for span in &self.spans {
            let outcome = match span {
                Outcome { rejected: Some(reason), .. } => *reason,
                Outcome { stored: true, .. } => SPAN_STORED,
                Outcome { repeated: true, .. } => SPAN_REPEATED,
                Outcome { .. } => continue,
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        if let Some((count, _)) = self.reasons.get(EVENT_NOT_MAPPED) {
            outcomes.insert(EVENT_NOT_MAPPED, *count);
        }
        outcomes
    }

    /// Names the reasons with their numbers, without any text of a span. None when everything is stored.
    pub fn told(&self) -> Option<String> {
        let told: Vec<String> = self.reasons.iter().map(|(reason, (count, _))| format!("{reason} {count}")).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// Writes the message of the answer: each reason with its number and an example. Empty when everything is stored.
    pub fn message(&self) -> String {
        let mut message = String::new();
        if !self.reasons.is_empty() {
            let _ = write!(message, "{} of {} spans are not stored", self.rejected(), self.spans());
            for (reason, (count, example)) in &self.reasons {
                let _ = write!(message, "; {reason} {count}, such as: {example}");
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(verdict: VerdictWord, category: Option<Category>) -> LineVerdict {
        LineVerdict {
            line: 1,
            verdict,
            log_seq: category.is_none().then_some(LogSeq(7)),
            event_id: None,
            trace_id: None,
            trace_seq: None,
            category,
            message: Some("the trace is finished".to_owned()),
            details: None,
            event: None,
        }
    }

    #[test]
    fn each_span_has_one_outcome_and_each_reason_its_number() {
        let mut tally = Tally::new(6);
        let refused = |category| verdict(VerdictWord::Refused, Some(category));
        tally.take(0, Place::Start, &refused(Category::IdempotencyConflict));
        tally.take(0, Place::Between, &verdict(VerdictWord::Accepted, None));
        tally.take(1, Place::Between, &verdict(VerdictWord::Repeated, None));
        for _ in 0..2 {
            tally.take(2, Place::Between, &refused(Category::Conflict));
        }
        tally.take(3, Place::FinishIfStarted("not_genai"), &refused(Category::EventSequenceInvalid));
        tally.leave(Left { span: 4, reason: "operation_not_mapped", message: "chat".to_owned() });
        tally.leave(Left { span: 0, reason: EVENT_NOT_MAPPED, message: "exception".to_owned() });
        tally.take(5, Place::Start, &refused(Category::PiiViolation));
        assert_eq!((tally.rejected(), tally.last_log_seq()), (4, Some(LogSeq(7))));
        let outcomes: Vec<_> = tally.outcomes().into_iter().collect();
        let expected = [
            ("conflict", 1),
            (EVENT_NOT_MAPPED, 1),
            ("not_genai", 1),
            ("operation_not_mapped", 1),
            ("pii_violation", 1),
            (SPAN_REPEATED, 1),
            (SPAN_STORED, 1),
        ];
        assert_eq!(outcomes, expected);
        let message = tally.message();
        assert!(message.starts_with("4 of 6 spans are not stored; conflict 1, such as: the trace is fin"), "{message}");
        let told = "conflict 1, event_not_mapped 1, not_genai 1, operation_not_mapped 1, pii_violation 1";
        assert_eq!(tally.told().as_deref(), Some(told));
        assert_eq!((Tally::new(3).message(), Tally::new(0).told()), (String::new(), None));
    }
}
