//! Whole segments, oldest first.

use super::{Candidate, Policy, Source, Step, View};

/// Evicts in the order of insertion.
#[derive(Debug, Default)]
pub struct Fifo;

impl Policy for Fifo {
    fn next(&mut self, view: &View<'_>) -> Step {
        view.oldest.map_or(Step::Nothing, Step::Log)
    }

    fn keeps(&self, _from: Source, _entry: Candidate) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::SegmentId;

    use super::*;

    fn view(oldest: Option<u64>) -> View<'static> {
        View {
            segments: 8,
            log_segments: 7,
            oldest: oldest.map(SegmentId),
            kept: &[],
            entries: 100,
        }
    }

    #[test]
    fn the_oldest_goes_first_whatever_was_read() {
        assert_eq!(Fifo.next(&view(Some(3))), Step::Log(SegmentId(3)));
        assert_eq!(Fifo.next(&view(None)), Step::Nothing);
        let read = Candidate { hash: 1, visits: 3 };
        assert!(!Fifo.keeps(Source::Log, read));
    }
}
