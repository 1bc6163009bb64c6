//! Things that spans become: an event for the log, or a reason why not.

/// Place of an event in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all others.
    Start,
    /// Between start and finish.
    Between,
    /// Behind all others.
    Finish,
    /// Behind all others, of a root that is no span of an agent: it ends a trace that was started, and otherwise is
    /// left out for this reason.
    FinishIfStarted(&'static str),
}

/// An event made of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Number of the span in the request.
    pub span: usize,
    /// Place in its trace.
    pub place: Place,
    /// Producer of the event.
    pub producer: String,
    /// The event as a line.
    pub line: String,
}

/// A span, or a span event, that became no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Number of the span in the request.
    pub span: usize,
    /// Reason, as one word.
    pub reason: &'static str,
    /// Reason, for a person.
    pub message: String,
}
