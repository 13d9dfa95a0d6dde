//! How many live entries each log segment holds, so that reclaiming one can say what it cost.

use perennial_wal::{Addr, SegmentId};

use crate::sync::{AtomicU64, Ordering, RwLock};

/// Live entries per segment.
#[derive(Debug)]
pub(crate) struct Ledger {
    segment_bytes: u64,
    log: RwLock<Counts>,
    kept: RwLock<Counts>,
}

/// Of segments of one kind, by number.
#[derive(Debug, Default)]
struct Counts {
    /// Segments up to this one are gone; `None`: none is.
    gone: Option<SegmentId>,
    segments: Vec<(SegmentId, AtomicU64)>,
}

impl Ledger {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            log: RwLock::default(),
            kept: RwLock::default(),
        }
    }

    fn of(&self, addr: Addr) -> (&RwLock<Counts>, SegmentId) {
        let counts = if addr.is_kept() {
            &self.kept
        } else {
            &self.log
        };
        (counts, addr.position().segment(self.segment_bytes))
    }

    /// An entry now lies at `addr`. False: its segment is gone already, which happens to a large value whose reference came
    /// late. Counting it would count wrong for good: the segment's other entries are not known any more, but are still
    /// subtracted when they are replaced.
    pub(crate) fn add(&self, addr: Addr) -> bool {
        let (counts, id) = self.of(addr);
        {
            let counts = counts.read();
            if let Ok(at) = counts.find(id) {
                counts.segments[at].1.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        let mut counts = counts.write();
        if counts.gone.is_some_and(|gone| id <= gone) {
            return false;
        }
        match counts.find(id) {
            Ok(at) => {
                counts.segments[at].1.fetch_add(1, Ordering::Relaxed);
            }
            Err(at) => counts.segments.insert(at, (id, AtomicU64::new(1))),
        }
        true
    }

    /// The entry at `addr` was replaced, removed or moved.
    pub(crate) fn subtract(&self, addr: Addr) {
        let (counts, id) = self.of(addr);
        let counts = counts.read();
        if let Ok(at) = counts.find(id) {
            counts.segments[at].1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Segments of the log up to `through` are gone; returns how many live entries went with them.
    pub(crate) fn drop_through(&self, through: SegmentId) -> u64 {
        let mut counts = self.log.write();
        counts.gone = counts.gone.max(Some(through));
        let keep = counts.segments.partition_point(|(id, _)| *id <= through);
        counts
            .segments
            .drain(..keep)
            .map(|(_, live)| live.into_inner())
            .sum()
    }

    /// A kept segment is gone; returns how many live entries went with it.
    pub(crate) fn drop_kept(&self, id: SegmentId) -> u64 {
        let mut counts = self.kept.write();
        let found = counts.find(id).ok();
        found.map_or(0, |at| counts.segments.remove(at).1.into_inner())
    }

    /// Live entries in a kept segment.
    pub(crate) fn live_kept(&self, id: SegmentId) -> u64 {
        let counts = self.kept.read();
        let found = counts.find(id).ok();
        found.map_or(0, |at| counts.segments[at].1.load(Ordering::Relaxed))
    }

    /// Live entries in a segment of the log.
    pub(crate) fn live_log(&self, id: SegmentId) -> u64 {
        let counts = self.log.read();
        let found = counts.find(id).ok();
        found.map_or(0, |at| counts.segments[at].1.load(Ordering::Relaxed))
    }

    /// Live entries in all segments.
    pub(crate) fn live(&self) -> u64 {
        let live = |counts: &RwLock<Counts>| -> u64 {
            let counts = counts.read();
            let each = counts.segments.iter();
            each.map(|(_, live)| live.load(Ordering::Relaxed)).sum()
        };
        live(&self.log) + live(&self.kept)
    }

    /// Drops the counts of segments that `counts` says no of, given whether they are kept ones.
    pub(crate) fn retain(&self, counts: impl Fn(SegmentId, bool) -> bool) {
        for (of, kept) in [(&self.log, false), (&self.kept, true)] {
            of.write().segments.retain(|(id, _)| counts(*id, kept));
        }
    }

    /// Counts nothing any more; returns how many live entries that were.
    pub(crate) fn clear(&self) -> u64 {
        let live = self.live();
        self.log.write().segments.clear();
        self.kept.write().segments.clear();
        live
    }
}

impl Counts {
    fn find(&self, id: SegmentId) -> Result<usize, usize> {
        self.segments.binary_search_by_key(&id, |(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::Lsn;

    use super::*;

    #[test]
    fn a_segment_costs_what_still_lives_in_it() {
        let ledger = Ledger::new(1024);
        let at = |lsn| Addr::log(Lsn(lsn));
        for lsn in [1040, 1056, 2064, 5136] {
            assert!(ledger.add(at(lsn)));
        }
        ledger.subtract(at(1056));
        assert_eq!(ledger.live(), 3);
        assert_eq!(ledger.drop_through(SegmentId(2)), 2);
        assert_eq!(ledger.drop_through(SegmentId(2)), 0);
        ledger.subtract(at(1040));
        assert_eq!(ledger.live(), 1);
    }

    #[test]
    fn what_comes_late_to_a_segment_that_is_gone_is_not_counted() {
        let ledger = Ledger::new(1024);
        let at = |lsn| Addr::log(Lsn(lsn));
        assert!(ledger.add(at(1040)));
        assert_eq!(ledger.drop_through(SegmentId(1)), 1);
        assert!(!ledger.add(at(1056)));
        ledger.subtract(at(1040));
        ledger.subtract(at(1056));
        assert!(ledger.add(at(2064)));
        assert_eq!(ledger.live(), 1);
    }
}
