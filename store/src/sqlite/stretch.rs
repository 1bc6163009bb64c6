//! Stretches of the log. They give an edge its place in the indexes by named rows, when its batch did not write the
//! named row (ADR 12).
//!
//! Hundreds of shared nodes get an edge in every batch. Without stretches, the edges of each node would be kept
//! together over the whole log. A batch would then change one page per such node, and SQLite writes a page whole,
//! however little of it changed. Edges are therefore kept together per stretch. The writes of a batch are a few pages
//! at the end of the index. A look-up of a node's edges checks each stretch.
//!
//! Stretches grow with the log, so that they stay few. There are 31 behind a million events, and 16 more per doubling
//! of the log.

/// Number of most significant bits of a position that select its stretch.
const BITS: u32 = 5;
/// Shortest stretch, as an exponent of two.
const SHORTEST: u32 = 15;

/// Returns the start of the stretch that holds this position.
pub(super) fn stretch(log_seq: i64) -> i64 {
    log_seq & !(length(log_seq) - 1)
}

/// Returns the length of the stretch that holds this position.
fn length(log_seq: i64) -> i64 {
    1 << (i64::BITS - log_seq.leading_zeros()).saturating_sub(BITS).max(SHORTEST)
}

/// Returns the starts of the stretches, from the one that holds `from` to the one that holds `upto`.
pub(super) fn stretches(from: i64, upto: i64) -> impl Iterator<Item = i64> {
    let behind = |start: &i64| start.checked_add(length(*start));
    std::iter::successors(Some(stretch(from)), behind).take_while(move |start| *start <= upto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_in_one_stretch_and_that_is_among_those_looked_into() {
        let edges = (0..62).flat_map(|bit| [-1, 0, 1].map(|by| (1_i64 << bit) + by));
        for position in edges.chain([i64::MAX]) {
            let start = stretch(position);
            assert!(start <= position && position - start < length(start), "{position}: {start}");
            assert_eq!(stretch(start), start);
            for from in [0, position / 2, position] {
                assert!(stretches(from, position).last() == Some(start), "{position} from {from}");
                assert!(stretches(from, position).all(|start| start == stretch(start)));
            }
        }
    }

    #[test]
    fn they_stay_few() {
        assert_eq!(stretches(0, 32_767).collect::<Vec<_>>(), [0]);
        assert_eq!(stretches(0, 1_000_000).count(), 31);
        assert_eq!(stretches(0, 100_000_000).count(), 136);
        assert_eq!(stretches(900_000, 1_000_000).collect::<Vec<_>>(), [884_736, 917_504, 950_272, 983_040]);
    }
}
