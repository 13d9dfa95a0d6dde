//! Which segment is reclaimed when room is needed.

mod fifo;

pub(crate) use fifo::Fifo;

use perennial_wal::SegmentId;

/// A log segment, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: SegmentId,
}

/// What to do to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reclaim the log's segments up to and including this one. The log goes strictly oldest first: a gap in it could
    /// bring back what a lost remove had removed (hole 4 in `docs/recovery.md`).
    DropThrough(SegmentId),
    /// There is nothing to reclaim.
    Nothing,
}

/// Chooses what to reclaim.
pub(crate) trait Policy: std::fmt::Debug + Send + Sync {
    /// The next step, given the log's segments that may go, oldest first.
    fn step(&self, log: &[Candidate]) -> Step;
}
