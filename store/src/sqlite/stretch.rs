//! Stretches of the log: where an edge lies in the indexes by what it names, when its own batch did not write that (ADR 12).
//!
//! Hundreds of shared nodes get an edge in every batch. Were the edges of each kept together over the whole log, a batch would change a page for
//! each of these nodes, and SQLite writes a page whole, however little of it changed. So they are kept together by stretch: what a batch
//! writes is a few pages at the end of the index, and whoever looks up a node's edges looks into each stretch.
//!
//! Stretches grow with the log, so that they stay few: 32 behind a million events, 16 more each time that the log doubles.

/// Most significant bits of a position that say in which stretch it is.
const BITS: u32 = 5;
/// The shortest stretch, as an exponent of two.
const SHORTEST: u32 = 15;

/// Where the stretch begins that this position is in.
pub(super) fn stretch(log_seq: i64) -> i64 {
    log_seq & !(length(log_seq) - 1)
}

/// How long it is.
fn length(log_seq: i64) -> i64 {
    1 << (i64::BITS - log_seq.leading_zeros()).saturating_sub(BITS).max(SHORTEST)
}

/// Where the stretches begin, from the one that this position is in to the one of that.
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
