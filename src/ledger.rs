//! How many live entries each log segment holds, so that giving one up can say what it cost.

use perennial_wal::{Addr, SegmentId};

use crate::sync::{AtomicU64, Ordering, RwLock};

/// Live entries per segment, oldest first.
#[derive(Debug)]
pub(crate) struct Ledger {
    segment_bytes: u64,
    segments: RwLock<Vec<(SegmentId, AtomicU64)>>,
}

impl Ledger {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            segments: RwLock::new(Vec::new()),
        }
    }

    /// An entry now lies at `addr`.
    pub(crate) fn add(&self, addr: Addr) {
        let id = addr.position().segment(self.segment_bytes);
        {
            let segments = self.segments.read();
            if let Ok(at) = segments.binary_search_by_key(&id, |(id, _)| *id) {
                segments[at].1.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let mut segments = self.segments.write();
        match segments.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => {
                segments[at].1.fetch_add(1, Ordering::Relaxed);
            }
            Err(at) => segments.insert(at, (id, AtomicU64::new(1))),
        }
    }

    /// The entry at `addr` was replaced or removed.
    pub(crate) fn subtract(&self, addr: Addr) {
        let id = addr.position().segment(self.segment_bytes);
        let segments = self.segments.read();
        if let Ok(at) = segments.binary_search_by_key(&id, |(id, _)| *id) {
            segments[at].1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Segments up to `through` are gone; returns how many live entries went with them.
    pub(crate) fn drop_through(&self, through: SegmentId) -> u64 {
        let mut segments = self.segments.write();
        let keep = segments.partition_point(|(id, _)| *id <= through);
        segments
            .drain(..keep)
            .map(|(_, live)| live.into_inner())
            .sum()
    }

    /// Live entries in all segments.
    pub(crate) fn live(&self) -> u64 {
        self.segments
            .read()
            .iter()
            .map(|(_, live)| live.load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn clear(&self) {
        self.segments.write().clear();
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
            ledger.add(at(lsn));
        }
        ledger.subtract(at(1056));
        assert_eq!(ledger.live(), 3);
        assert_eq!(ledger.drop_through(SegmentId(2)), 2);
        assert_eq!(ledger.drop_through(SegmentId(2)), 0);
        ledger.subtract(at(1040));
        assert_eq!(ledger.live(), 1);
    }
}
