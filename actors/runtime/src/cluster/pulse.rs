//! Presence of a peer, decided from what its link met: pure.
//!
//! ```text
//!   connecting ──answers──▶ up ──three pings in a row unanswered, or closed──▶ down ──answers──▶ up
//!        └──no connection──▶ down
//! ```

/// Pings in a row without an answer that end a link.
pub const MISSED_MAX: u32 = 3;
/// Refusals in a row after which the peer's process counts as gone, if the link was up before. A refusal: the peer's
/// machine says that no process listens.
pub const REFUSED_MAX: u32 = 2;

/// Events that a link met so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    missed: u32,
    was_up: bool,
    refused: u32,
    /// Attempts in a row without an answer.
    attempts: u32,
}

impl Pulse {
    /// Notes that the peer answered a ping. True when that is news: the link was not up.
    pub fn answered(&mut self, up: bool) -> bool {
        *self = Pulse { was_up: true, ..Pulse::default() };
        !up
    }

    /// Notes a ping without an answer. True when the link is to be given up.
    pub fn missed(&mut self) -> bool {
        self.missed += 1;
        self.missed >= MISSED_MAX
    }

    /// Notes that there is no connection, or that it is lost; `nobody_listens` when the peer's machine said so. True
    /// when the peer's process is gone, said once.
    pub fn failed(&mut self, nobody_listens: bool) -> bool {
        self.missed = 0;
        self.attempts = self.attempts.saturating_add(1);
        self.refused = if nobody_listens { self.refused.saturating_add(1) } else { 0 };
        let gone = self.was_up && self.refused >= REFUSED_MAX;
        self.was_up &= !gone;
        gone
    }

    /// Returns the attempts in a row without an answer.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_in_a_row_end_a_link_and_an_answer_starts_the_count_anew() {
        let mut pulse = Pulse::default();
        assert!(pulse.answered(false) && !pulse.answered(true));
        assert!(!pulse.missed() && !pulse.missed());
        pulse.answered(true);
        assert!(!pulse.missed() && !pulse.missed() && pulse.missed());
    }

    #[test]
    fn a_process_is_gone_when_its_machine_says_so_twice_after_a_link_and_only_then() {
        let mut pulse = Pulse::default();
        assert!(!pulse.failed(true) && !pulse.failed(true) && !pulse.failed(true), "it was never there");
        pulse.answered(false);
        assert!(!pulse.failed(false), "the connection is lost");
        assert!(!pulse.failed(true) && !pulse.failed(false) && !pulse.failed(true), "a silence between");
        assert!(pulse.failed(true));
        assert!(!pulse.failed(true), "said once");
        assert_eq!(pulse.attempts(), 6);
    }
}
