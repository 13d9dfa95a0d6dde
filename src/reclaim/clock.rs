//! The log's segments, oldest first; what was read meanwhile goes to the head of the log again.

use super::{Candidate, Policy, Source, Step, View};

/// FIFO with reinsertion.
#[derive(Debug, Default)]
pub struct Clock {
    kept: bool,
    dropped: bool,
    /// Reclaims in a row that kept everything.
    barren: usize,
    /// This one keeps nothing: readers that are quicker than the hand could make it go round for ever.
    forced: bool,
}

impl Policy for Clock {
    fn next(&mut self, view: &View<'_>) -> Step {
        self.barren = if self.kept && !self.dropped {
            self.barren + 1
        } else {
            0
        };
        self.forced = self.barren > 2 * view.segments;
        (self.kept, self.dropped) = (false, false);
        view.written_first()
    }

    fn keeps(&self, _from: Source, entry: Candidate) -> bool {
        entry.visits > 0 && !self.forced
    }

    fn settle(&mut self, _from: Source, _hash: u64, kept: bool) {
        self.kept |= kept;
        self.dropped |= !kept;
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::SegmentId;

    use super::super::Placement;
    use super::*;

    const VIEW: View<'static> = View {
        segments: 8,
        log_segments: 7,
        oldest: Some(SegmentId(3)),
        kept: &[],
        entries: 100,
    };

    fn candidate(visits: u8) -> Candidate {
        Candidate { hash: 1, visits }
    }

    #[test]
    fn what_was_read_goes_to_the_log_again() {
        let mut clock = Clock::default();
        assert_eq!(clock.next(&VIEW), Step::Log(SegmentId(3)));
        assert!(!clock.keeps(Source::Log, candidate(0)));
        assert!(clock.keeps(Source::Log, candidate(1)));
        assert_eq!(clock.placement(Source::Log), Placement::Log);
    }

    #[test]
    fn readers_quicker_than_the_hand_do_not_stop_it() {
        let mut clock = Clock::default();
        let keeps_all = |clock: &mut Clock| {
            clock.next(&VIEW);
            let keeps = clock.keeps(Source::Log, candidate(3));
            clock.settle(Source::Log, 1, keeps);
            keeps
        };
        let laps = (0..100).take_while(|_| keeps_all(&mut clock)).count();
        assert_eq!(laps, 2 * VIEW.segments + 1);
        assert!(keeps_all(&mut clock), "once is enough");
    }
}
