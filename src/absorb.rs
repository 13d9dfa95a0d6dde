//! The index as it absorbs a replay.

use perennial_recovery::{Entry, Machine};
use perennial_wal::segment::Row;
use perennial_wal::{Addr, Contents, Geometry, SegmentId};

use crate::fetch::Flights;
use crate::index::{ImageEntry, Index, size_class};
use crate::ledger::Ledger;

/// Sets and removes entries as the log says, counting what lives where.
pub(crate) struct Absorb<'a> {
    index: &'a Index<Flights>,
    ledger: &'a Ledger,
    oldest: SegmentId,
    segment_bytes: u64,
}

impl<'a> Absorb<'a> {
    pub(crate) fn new(
        index: &'a Index<Flights>,
        ledger: &'a Ledger,
        contents: &Contents<'_>,
        geometry: Geometry,
    ) -> Self {
        let segments = contents.segments();
        // Every address that will come lies below the end of the newest segment ever seen.
        let end = (contents.found.max_number + 1) * geometry.segment_bytes / 16;
        index.set_horizon(false, end);
        let oldest = segments.first().copied().unwrap_or(SegmentId(u64::MAX));
        Self {
            index,
            ledger,
            oldest,
            segment_bytes: geometry.segment_bytes,
        }
    }

    fn counts(&self, addr: Addr) -> bool {
        !addr.is_kept() && addr.position().segment(self.segment_bytes) >= self.oldest
    }
}

impl Machine for Absorb<'_> {
    fn reserve(&mut self, entries: u64) {
        self.index.reserve_entries(perennial_wal::to_usize(entries));
    }

    fn load(&mut self, entry: Entry) {
        if self.counts(entry.addr) && entry.size_class != 0 {
            let Entry {
                identity,
                addr,
                size_class,
                visited,
            } = entry;
            self.index.load(
                ImageEntry {
                    identity,
                    addr,
                    size_class,
                    visited,
                },
                &|addr| self.counts(addr),
            );
            self.ledger.add(addr);
        }
    }

    fn put(&mut self, row: &Row) {
        if !self.counts(row.target) {
            return self.remove(row.hash);
        }
        let mut shard = self.index.lock(row.hash);
        shard.prepare(row.hash, &|addr| self.counts(addr));
        let old = shard.set(row.hash, row.target, size_class::class_of(row.bytes));
        self.ledger.add(row.target);
        if let Some(old) = old {
            self.ledger.subtract(old.addr);
        }
    }

    fn remove(&mut self, hash: u64) {
        if let Some(old) = self.index.lock(hash).remove(hash) {
            self.ledger.subtract(old.addr);
        }
    }

    fn forget_all(&mut self) {
        self.index.clear();
        self.ledger.clear();
    }
}
