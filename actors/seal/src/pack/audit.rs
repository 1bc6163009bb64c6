//! The judgment of a pack.
//!
//! *Order.* The form of the whole file comes first, then the signatures, then the proof, then each event, then gaps and
//! statements. A file is read once: an event is checked when it is read, and what was found waits for its turn.

use super::line::{Line, Opened};
use super::{Head, Kind, LINE_BYTES_MAX};
use crate::compare::{Own, compared};
use crate::finding::{Failure, Finding, Refused};
use crate::trust::{Keyring, Trust, Trusted};
use decisiongraph_projections::seal::{Hash, Malformed, multiproof};
use serde::Serialize;
use std::io::{BufRead, Read as _};

/// A pack that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// Head of the tree that the events are in.
    #[serde(flatten)]
    pub checkpoint: Trusted,
    /// Selection of the events.
    pub kind: Kind,
    /// Tenant of the events.
    pub tenant: String,
    /// Trace of the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Number of events.
    pub events: usize,
    /// Index of the first.
    pub first_index: u64,
    /// Index of the last.
    pub last_index: u64,
    /// Payloads that are shown whole.
    pub whole: usize,
    /// Payloads with members that are not shown.
    pub redacted: usize,
    /// Payloads that are not shown.
    pub withheld: usize,
    /// True when the last event of the trace finishes it. Otherwise later events may exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<bool>,
    /// Statements about projections at the checkpoint.
    pub statements: Vec<Stated>,
    /// Members that this audit cannot check.
    pub not_checked: Vec<&'static str>,
    /// True when the reader's own checkpoint has the same root.
    pub compared: bool,
}

/// A statement that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// Time of the snapshot.
    pub time: String,
    /// Name, rules' version, cursor and digest of each projection.
    pub projections: Vec<String>,
}

/// Judges a pack.
pub(crate) fn audit(file: impl BufRead, own: Own<'_>, trust: &Trust) -> Result<Proven, Failure> {
    let mut lines = Lines { file, buffer: Vec::new(), number: 0 };
    let Some((_, first)) = lines.read()? else { return Err(Malformed("the file is empty").into()) };
    let head: Head = serde_json::from_str(first).map_err(|_| at(1, Malformed("not the head of an audit pack")))?;
    if !head.is_known() {
        return Err(at(1, Malformed("not an audit pack of a kind that is known")));
    }
    let (mut seen, mut proof, mut notes) = (Seen::of(&head), None, Notes::default());
    while let Some((number, text)) = lines.read()? {
        match Line::read(text).map_err(|error| at(number, error))? {
            Line::Event(event) if proof.is_none() => seen.event(&event),
            Line::Event(_) => return Err(at(number, Malformed("an event stands behind the proof"))),
            Line::Proof(size, hashes) if proof.is_none() => proof = Some((size, hashes)),
            Line::Proof(..) => return Err(at(number, Malformed("a pack has one proof"))),
            Line::Checkpoint(note) => notes.checkpoints.push(note.0.into_owned()),
            Line::Statement(note) => notes.statements.push(note.0.into_owned()),
            Line::Rotation(note) => notes.rotations.push(note.0.into_owned()),
            Line::TimeStamp => notes.time_stamps += 1,
        }
    }
    let (Some((size, hashes)), [checkpoint], false) = (proof, notes.checkpoints.as_slice(), seen.leaves.is_empty())
    else {
        return Err(Malformed("a pack has a head, events, a proof and one checkpoint").into());
    };
    let mut keyring = Keyring::of(trust);
    for note in &notes.rotations {
        keyring.rotate(&head.origin, note)?;
    }
    let (checkpoint, compared) = compared(&keyring, checkpoint, Some(&head.origin), own)?;
    seen.is_in(&checkpoint, size, &hashes)?;
    let finished = seen.is_complete()?;
    let mut statements = Vec::new();
    for note in &notes.statements {
        let said = keyring.statement(note, &checkpoint)?;
        let projections = said.projections.iter().map(ToString::to_string).collect();
        statements.push(Stated { time: said.time, projections });
    }
    Ok(Proven {
        checkpoint,
        kind: head.kind,
        events: seen.leaves.len(),
        first_index: seen.leaves[0].0,
        last_index: seen.leaves[seen.leaves.len() - 1].0,
        whole: seen.whole,
        redacted: seen.redacted,
        withheld: seen.leaves.len() - seen.whole - seen.redacted,
        finished,
        statements,
        not_checked: if notes.time_stamps > 0 { vec!["rfc3161"] } else { Vec::new() },
        tenant: head.tenant.clone(),
        trace_id: head.trace_id.clone(),
        compared,
    })
}

fn at(line: usize, malformed: Malformed) -> Failure {
    Finding::PackMalformed.because(format!("line {line}: {malformed}")).into()
}

#[derive(Default)]
struct Notes {
    checkpoints: Vec<String>,
    statements: Vec<String>,
    rotations: Vec<String>,
    time_stamps: usize,
}

/// Lines of a file, one at a time, each with its number.
struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn read(&mut self) -> Result<Option<(usize, &str)>, Failure> {
        self.buffer.clear();
        self.file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.pop() != Some(b'\n') {
            let text = "the file does not end with a line feed: it may be cut off, or a line is longer than 32 MiB";
            return Err(at(self.number, Malformed(text)));
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| at(self.number, Malformed("not UTF-8")))?;
        Ok(Some((self.number, text)))
    }
}

/// Facts about the events so far.
struct Seen<'h> {
    head: &'h Head,
    leaves: Vec<(u64, Hash)>,
    last_index: Option<i64>,
    last_log_seq: Option<i64>,
    ascends: bool,
    /// The first finding about one event.
    found: Option<Refused>,
    /// Index of the leaf before which the first event is left out.
    gap: Option<i64>,
    is_finished: bool,
    whole: usize,
    redacted: usize,
}

impl<'h> Seen<'h> {
    fn of(head: &'h Head) -> Seen<'h> {
        Seen {
            head,
            leaves: Vec::new(),
            last_index: None,
            last_log_seq: None,
            ascends: true,
            found: None,
            gap: None,
            is_finished: false,
            whole: 0,
            redacted: 0,
        }
    }

    fn event(&mut self, opened: &Opened<'_>) {
        self.ascends &= self.last_index.is_none_or(|last| last < opened.index);
        let follows = match self.head.kind {
            Kind::Trace => usize::try_from(opened.event.trace_seq).is_ok_and(|number| number == self.leaves.len()),
            Kind::Range => self.last_index.is_none_or(|last| last.checked_add(1) == Some(opened.index)),
            Kind::Events => true,
        };
        self.gap = self.gap.or((!follows).then_some(opened.index));
        self.last_index = Some(opened.index);
        // A negative index is in no tree; the check of the proof says so.
        self.leaves.push((u64::try_from(opened.index).unwrap_or(u64::MAX), opened.entry.leaf_hash()));
        self.is_finished = opened.event.event_type.0 == "TraceFinished";
        match opened.is_whole() {
            Some(true) => self.whole += 1,
            Some(false) => self.redacted += 1,
            None => {}
        }
        if self.found.is_none() {
            self.found = opened.check().and_then(|()| self.fits(opened)).err();
        }
        self.last_log_seq = Some(opened.event.log_seq);
    }

    /// Checks an event against the event before it, and against the head.
    fn fits(&self, opened: &Opened<'_>) -> Result<(), Refused> {
        let (event, named) = (&opened.event, || opened.named());
        if self.last_log_seq.is_some_and(|last| event.log_seq <= last) {
            let text = format!("{}: its position is not behind the one before it", named());
            return Err(Finding::OrderDiffers.because(text));
        }
        if event.tenant_id.0 != self.head.tenant {
            let text =
                format!("{}: it is of tenant {}, the pack says {}", named(), event.tenant_id.0, self.head.tenant);
            return Err(Finding::ScopeDiffers.because(text));
        }
        if self.head.trace_id.as_ref().is_some_and(|trace| *trace != event.trace_id.0) {
            return Err(Finding::ScopeDiffers.because(format!("{}: it is of trace {}", named(), event.trace_id.0)));
        }
        Ok(())
    }

    /// Checks that the events are in the tree, and each as it was sealed.
    fn is_in(&mut self, checkpoint: &Trusted, size: i64, hashes: &[Hash]) -> Result<(), Refused> {
        if u64::try_from(size).ok() != Some(checkpoint.size) {
            let text = format!("the proof is for {size} events, the checkpoint for {}", checkpoint.size);
            return Err(Finding::RootDiffers.because(text));
        }
        if !self.ascends {
            return Err(Finding::OrderDiffers.because("the events are not in the order of the log"));
        }
        let root = multiproof::root(checkpoint.size, &self.leaves, hashes)
            .map_err(|error| Finding::RootDiffers.because(self.cut_short(&error.to_string())))?;
        if root != checkpoint.root {
            let text = "the entries of this pack are not those that the checkpoint seals";
            return Err(Finding::RootDiffers.because(text));
        }
        self.found.take().map_or(Ok(()), Err)
    }

    /// Adds where a range leaves an event out: the proof does not fit what is left.
    fn cut_short(&self, why: &str) -> String {
        match (self.head.kind, self.gap) {
            (Kind::Range, Some(index)) => format!("{why}; an event before leaf {index} was taken out of the file"),
            _ => why.to_owned(),
        }
    }

    /// Checks that nothing is missing between the events; returns whether their trace is finished.
    fn is_complete(&self) -> Result<Option<bool>, Refused> {
        match (self.head.kind, self.gap) {
            (Kind::Range, Some(index)) => {
                Err(Finding::RangeGap.because(format!("a range leaves an event out, before leaf {index}")))
            }
            (Kind::Trace, Some(_)) => {
                let text = "the trace's numbers are not 0, 1, 2, … without a gap";
                Err(Finding::TraceGap.because(text))
            }
            (Kind::Trace, None) => Ok(Some(self.is_finished)),
            _ => Ok(None),
        }
    }
}
