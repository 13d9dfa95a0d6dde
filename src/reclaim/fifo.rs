//! Whole segments, oldest first.

use super::{Candidate, Policy, Source, Step, View};

/// Evicts in the order of insertion.
#[derive(Debug, Default)]
pub struct Fifo;

impl Policy for Fifo {
    fn next(&mut self, view: &View<'_>) -> Step {
        view.written_first()
    }

    fn keeps(&self, _from: Source, _entry: Candidate) -> bool {
        false
    }

    fn is_selective(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::SegmentId;

    use super::super::Kept;
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
        let kept = [5, 2].map(|id| Kept {
            id: SegmentId(id),
            order: 0,
        });
        let also_kept = |oldest| View {
            kept: &kept,
            ..view(oldest)
        };
        assert_eq!(Fifo.next(&also_kept(Some(3))), Step::Kept(SegmentId(2)));
        assert_eq!(Fifo.next(&also_kept(Some(1))), Step::Log(SegmentId(1)));
        assert_eq!(Fifo.next(&also_kept(None)), Step::Kept(SegmentId(2)));
        let read = Candidate { hash: 1, visits: 3 };
        assert!(!Fifo.keeps(Source::Log, read));
    }
}
