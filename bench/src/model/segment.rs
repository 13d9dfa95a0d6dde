//! The segments of a model.

use perennial::reclaim::Kept;
use perennial_wal::SegmentId;

/// Which entries were put in a segment; some of them may be elsewhere by now.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// Of a kept one: its place.
    pub(crate) order: u64,
    pub(crate) used: u64,
    pub(crate) hashes: Vec<u64>,
}

impl Segment {
    pub(crate) fn new(id: SegmentId, order: u64) -> Self {
        Self {
            id,
            order,
            used: 0,
            hashes: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, hash: u64, charge: u64) {
        self.hashes.push(hash);
        self.used += charge;
    }

    pub(crate) fn as_kept(&self) -> Kept {
        Kept {
            id: self.id,
            order: self.order,
        }
    }
}
