//! Which segment is reclaimed when room is needed, and which of its entries are kept.
//!
//! A policy is pure: it sees numbers and hashes and answers with decisions. Who drives it holds the upkeep lock, and for
//! each segment to free asks, in this order:
//!
//! ```text
//!   next(view) ─▶ Log(id) | Kept(id) | Nothing
//!   keeps(from, entry)        for each live entry of that segment
//!   stays(bytes, of)          of a kept segment: how much of it would be kept ─▶ Some(order): leave it, clear its visits
//!   settle(from, hash, kept)  for each live entry, once it is decided
//!   placement(from)           whenever survivors need a segment to go to
//! ```
#![cfg_attr(
    not(feature = "model"),
    allow(
        unreachable_pub,
        reason = "public for the trace replayer, behind the feature `model`"
    )
)]

mod clock;
mod duel;
mod fifo;
mod ghost;
mod s3_merge;
mod shadow;
mod writes;

pub use clock::Clock;
pub use duel::Duel;
pub use fifo::Fifo;
pub use s3_merge::{S3Merge, S3Options};

use std::sync::Arc;

use perennial_wal::SegmentId;

/// What the cache consists of when room is needed.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Segments that may hold entries, the one being written among them: all but those that are held ready.
    pub segments: usize,
    /// Log segments, the one being written among them.
    pub log_segments: usize,
    /// The oldest log segment, if it may go: stable to its end, and not the one being written.
    pub oldest: Option<SegmentId>,
    /// The kept segments that may go, in any order.
    pub kept: &'a [Kept],
    /// Live entries in the whole cache, about.
    pub entries: u64,
}

impl View<'_> {
    /// The segment that was written first. Numbers are shared, and of a policy that set segments apart before there may be
    /// kept ones.
    pub(super) fn written_first(&self) -> Step {
        let kept = self.kept.iter().map(|kept| kept.id).min();
        match (self.oldest, kept) {
            (oldest, Some(kept)) if oldest.is_none_or(|oldest| kept < oldest) => Step::Kept(kept),
            (Some(oldest), _) => Step::Log(oldest),
            (None, _) => Step::Nothing,
        }
    }
}

/// A kept segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub id: SegmentId,
    /// Its place among the kept segments: what [`Policy::placement`] or [`Policy::stays`] said last.
    pub order: u64,
}

/// What to do to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reclaim the log's oldest segment. The log goes strictly oldest first: a gap in it could bring back what a lost
    /// remove had removed (hole 4 in `docs/recovery.md`).
    Log(SegmentId),
    /// Reclaim this kept segment.
    Kept(SegmentId),
    /// There is nothing to reclaim.
    Nothing,
}

/// Which population a segment that is being reclaimed belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The log.
    Log,
    /// The kept segments.
    Kept,
}

/// A live entry of a segment that is being reclaimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The hash of its key.
    pub hash: u64,
    /// How often it was read since it was stored or kept: 0 to 3.
    pub visits: u8,
}

/// Where survivors go. Their visits are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// To the head of the log, like inserts.
    Log,
    /// To the open kept segment of this lane. Where none is open, or it is full, one is opened with this order.
    Kept {
        /// Which of the two open kept segments.
        lane: Lane,
        /// The order of a segment that is opened now.
        order: u64,
    },
}

/// Up to two kept segments are open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What is linked at the head.
    Head,
    /// What is linked at the hand's place.
    Hand,
}

/// Chooses what to reclaim, and what to keep of it.
pub trait Policy: std::fmt::Debug + Send + Sync {
    /// The next segment to reclaim.
    fn next(&mut self, view: &View<'_>) -> Step;

    /// Whether an entry of the segment being reclaimed is worth keeping. Decides nothing yet.
    fn keeps(&self, from: Source, entry: Candidate) -> bool;

    /// Whether an entry with this hash was dropped lately, as far as the policy remembers. It says nothing about what is
    /// there now.
    fn is_ghost(&self, _hash: u64) -> bool {
        false
    }

    /// Whether a kept segment is left where it is, with its visits cleared, because so much of it would be kept:
    /// `bytes` of the `of` that a segment takes. The answer is the segment's order from now on.
    fn stays(&mut self, _bytes: u64, _of: u64) -> Option<u64> {
        None
    }

    /// False: it keeps nothing, and need not be asked about each entry.
    fn is_selective(&self) -> bool {
        true
    }

    /// True when survivors may need another file while a segment is being reclaimed: the prepared ones are the log's, so
    /// one more is left free.
    fn needs_spare(&self) -> bool {
        self.is_selective()
    }

    /// Notes what became of an entry that [`keeps`](Self::keeps) was asked about.
    fn settle(&mut self, _from: Source, _hash: u64, _kept: bool) {}

    /// Where survivors of the segment being reclaimed go.
    fn placement(&mut self, _from: Source) -> Placement {
        Placement::Log
    }

    /// Of so many log segments, the one being written among them, how many at the log's head are too young: that an entry
    /// there is read is no visit.
    fn young_segments(&self, _written: usize) -> usize {
        0
    }

    /// Who wants to hear of reads and inserts.
    fn sampler(&self) -> Option<Arc<Duel>> {
        None
    }

    /// What a restart should know; goes into the checkpoint.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes up what [`save`](Self::save) said in an earlier life. False: it makes no sense, and nothing has changed.
    fn load(&mut self, saved: &[u8]) -> bool {
        saved.is_empty()
    }
}
