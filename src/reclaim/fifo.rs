//! Whole segments, oldest first.

use super::{Candidate, Policy, Step};

/// Evicts in the order of insertion.
#[derive(Debug, Default)]
pub(crate) struct Fifo;

impl Policy for Fifo {
    fn step(&self, log: &[Candidate]) -> Step {
        log.first()
            .map_or(Step::Nothing, |oldest| Step::DropThrough(oldest.id))
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::SegmentId;

    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let log = [3, 4, 7].map(|id| Candidate { id: SegmentId(id) });
        assert_eq!(Fifo.step(&log), Step::DropThrough(SegmentId(3)));
        assert_eq!(Fifo.step(&[]), Step::Nothing);
    }
}
