//! Where the references of large values lie (I12).
//!
//! ```text
//!   segment n   n + 1       n + 2       n + 3
//!   | extent |  | others |  | others |  | reference |      far: n ─▶ n + 3
//! ```
//! Nearly all lie in the segment of their extent. Of those that do not this life knows how far the furthest one is; of an
//! earlier life's segments nobody does, and whoever misses entries there looks through all that it wrote behind.

use std::collections::BTreeMap;

use perennial_wal::frame::FrameKind;
use perennial_wal::segment::Row;
use perennial_wal::{Addr, ExtentRef, Lsn, SegmentId};

use crate::engine::Engine;
use crate::error::Result;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Counts that do not fit are taken so often: something may have gone between them.
const LOOKS: usize = 8;

/// What is known of references in other segments than their extents.
#[derive(Debug)]
pub(crate) struct References {
    /// No reference comes to an extent in a segment with a lower number.
    from: AtomicU64,
    /// Where this life began to write.
    begun: SegmentId,
    /// By the extents' segments, where the furthest reference lies.
    far: Mutex<BTreeMap<SegmentId, SegmentId>>,
}

impl References {
    /// For a life that begins in this segment.
    pub(crate) fn new(begun: SegmentId) -> Self {
        Self {
            from: AtomicU64::new(0),
            begun,
            far: Mutex::default(),
        }
    }

    fn note(&self, extent: SegmentId, reference: SegmentId) {
        let mut far = self.far.lock();
        let furthest = far.entry(extent).or_insert(reference);
        *furthest = reference.max(*furthest);
    }

    fn furthest(&self, extent: SegmentId) -> Option<SegmentId> {
        self.far.lock().get(&extent).copied()
    }

    /// False: they were closed before.
    fn close(&self, through: SegmentId) -> bool {
        let mut far = self.far.lock();
        *far = far.split_off(&through);
        self.from.fetch_max(through.0 + 1, Ordering::AcqRel) <= through.0
    }
}

impl Engine {
    fn segment_of(&self, lsn: Lsn) -> SegmentId {
        lsn.segment(self.log.geometry().segment_bytes)
    }

    /// True for an extent that no reference comes to any more. Asked under the lock of its key's shard, which is held until
    /// the reference is in the index.
    pub(crate) fn is_too_late(&self, extent: ExtentRef) -> bool {
        // Acquire: whoever raised it took the shard's lock since, or waits for it.
        self.segment_of(extent.lsn).0 < self.references.from.load(Ordering::Acquire)
    }

    /// A reference was placed here, under the same lock.
    pub(crate) fn note_reference(&self, extent: ExtentRef, reference: Lsn) {
        let (extent, own) = (self.segment_of(extent.lsn), self.segment_of(reference));
        if extent != own {
            self.references.note(extent, own);
        }
    }

    /// From now on no reference comes to an extent in the segments of the log up to `through`, and those that came are in
    /// the index: who was in the middle of placing one held its shard's lock. Called with the upkeep's lock and no other.
    pub(crate) fn close_to_references(&self, through: SegmentId) {
        if self.references.close(through) {
            self.index.pass_all_shards();
        }
    }

    /// The references to extents in segment `number` of the log that lie behind it; `rows` are its own. It must be
    /// [closed](Self::close_to_references).
    pub(crate) fn references_behind(&self, number: SegmentId, rows: &[Row]) -> Result<Vec<Row>> {
        let (far, begun) = (self.references.furthest(number), self.references.begun);
        let earlier = number <= begun && self.has_others(number, rows, &[]);
        let through = if earlier { far.max(Some(begun)) } else { far };
        let Some(through) = through else {
            return Ok(Vec::new());
        };
        if through >= self.segment_of(self.log.stable_lsn()) {
            // What is only in the ring has no row yet.
            self.log.flush()?;
        }
        let mut found: Vec<Row> = Vec::new();
        for segment in self.log.store().live() {
            let at = segment.header.number;
            if !(SegmentId(number.0 + 1)..=through).contains(&at) {
                continue;
            }
            let before = found.len();
            let more = self.log.store().rows_there_are(&segment)?.into_iter();
            found.extend(more.filter(|row| self.refers_to(row, number)));
            let enough = far.is_none_or(|far| at >= far) && found.len() > before;
            if earlier && enough && !self.has_others(number, rows, &found) {
                break;
            }
        }
        Ok(found)
    }

    fn refers_to(&self, row: &Row, number: SegmentId) -> bool {
        row.kind == FrameKind::Ref && self.segment_of(row.target.position()) == number
    }

    /// True while more entries live in a segment than these rows are about.
    fn has_others(&self, number: SegmentId, rows: &[Row], more: &[Row]) -> bool {
        let points_at = |hash, addr: Addr| self.index.get(hash).is_some_and(|e| e.addr == addr);
        let mut looks = 0..LOOKS;
        looks.all(|_| {
            // In this order: what goes between the two makes it look as if there were others, and never as if not.
            let all = self.ledger.live_log(number);
            let live = rows.iter().chain(more).filter(|row| {
                let here = self.segment_of(row.target.position()) == number;
                here && points_at(row.hash, row.target)
            });
            all > live.count() as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_is_known_until_a_later_segment_is_closed() {
        let references = References::new(SegmentId(1));
        references.note(SegmentId(3), SegmentId(5));
        references.note(SegmentId(3), SegmentId(4));
        references.note(SegmentId(4), SegmentId(9));
        assert!(references.close(SegmentId(3)));
        assert!(!references.close(SegmentId(3)), "it was");
        assert_eq!(references.furthest(SegmentId(3)), Some(SegmentId(5)));
        assert!(references.close(SegmentId(4)));
        assert_eq!(references.furthest(SegmentId(3)), None);
        assert_eq!(references.furthest(SegmentId(4)), Some(SegmentId(9)));
        assert_eq!(references.from.load(Ordering::Relaxed), 5);
    }
}
