//! Reasons of an actor's end, in OTP's four words.
//!
//! Guarantees: every way in which ractor reports an end maps to exactly one reason. Never holds more than
//! [`FAILURE_CHARS_MAX`] characters of an error.

use ractor::SupervisionEvent;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Text with which a supervisor stops a child. An actor uses it to say that it was told to stop.
pub const SHUTDOWN: &str = "shutdown";
/// Start of the stop text of a supervisor that gave up. It is a `shutdown` with its cause, as `{shutdown, Term}` in
/// OTP.
pub const GAVE_UP: &str = "shutdown: gave up";
/// Longest kept text of a failure, in characters.
pub const FAILURE_CHARS_MAX: usize = 300;

/// Stop texts that mean a normal end. ractor ends a drained actor with the second.
const NORMAL: [&str; 2] = ["normal", "Drained"];
/// Texts with which ractor ends a killed actor, and one whose task was aborted.
const KILLED: [&str; 2] = ["killed", "actor_task_cancelled"];

/// Reason of an actor's end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The actor finished its work.
    Normal,
    /// The actor was told to stop, or is a supervisor that gave up.
    Shutdown,
    /// The actor was killed; none of its own code ran at the end.
    Killed,
    /// A panic, an error, or a stop with any other text.
    Failed(String),
}

impl ExitReason {
    /// True when a `transient` child restarts after it.
    pub const fn is_abnormal(&self) -> bool {
        matches!(self, ExitReason::Killed | ExitReason::Failed(_))
    }

    /// Builds a failure with its text cut to [`FAILURE_CHARS_MAX`].
    pub fn failed(text: impl fmt::Display) -> ExitReason {
        ExitReason::Failed(text.to_string().chars().take(FAILURE_CHARS_MAX).collect())
    }

    /// Maps the text with which an actor stopped (`myself.stop(text)`) to a reason.
    pub fn of_stop(text: Option<&str>) -> ExitReason {
        match text {
            None => ExitReason::Normal,
            Some(text) if NORMAL.contains(&text) => ExitReason::Normal,
            Some(text) if KILLED.contains(&text) => ExitReason::Killed,
            Some(text) if text == SHUTDOWN || text.starts_with("shutdown: ") => ExitReason::Shutdown,
            Some(text) => ExitReason::failed(text),
        }
    }

    /// Maps an event of ractor to a reason; `None` when the event is not an end.
    pub fn of_event(event: &SupervisionEvent) -> Option<ExitReason> {
        match event {
            SupervisionEvent::ActorTerminated(_, _, text) => Some(ExitReason::of_stop(text.as_deref())),
            SupervisionEvent::ActorFailed(_, error) => Some(ExitReason::failed(error)),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("normal"),
            ExitReason::Shutdown => f.write_str(SHUTDOWN),
            ExitReason::Killed => f.write_str("killed"),
            ExitReason::Failed(text) => write!(f, "failed: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_text_has_one_reason() {
        let cases = [
            (None, "normal"),
            (Some("normal"), "normal"),
            (Some("Drained"), "normal"),
            (Some("shutdown"), "shutdown"),
            (Some(GAVE_UP), "shutdown"),
            (Some("killed"), "killed"),
            (Some("actor_task_cancelled"), "killed"),
            (Some("bad page"), "failed: bad page"),
            (Some("shutdowns"), "failed: shutdowns"),
        ];
        for (text, reason) in cases {
            assert_eq!(ExitReason::of_stop(text).to_string(), reason, "{text:?}");
        }
    }

    #[test]
    fn a_failure_keeps_a_bounded_text() {
        let ExitReason::Failed(text) = ExitReason::failed("ä".repeat(1000)) else { panic!("not a failure") };
        assert_eq!(text.chars().count(), FAILURE_CHARS_MAX);
    }
}
