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
    pending: Box<[Vec<Operation>]>,
}

/// A put, or a remove without a target.
struct Operation {
    hash: u64,
    target: Option<(Addr, u8)>,
}

/// Operations are applied in groups of keys that lie side by side in the index: the order among keys of different groups
/// does not matter, and each group's part of the index stays in the processor's caches.
const GROUPS: usize = 256;

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
            pending: (0..GROUPS).map(|_| Vec::new()).collect(),
        }
    }

    fn push(&mut self, hash: u64, target: Option<(Addr, u8)>) {
        let group = perennial_wal::to_usize(hash >> (u64::BITS - GROUPS.ilog2()));
        self.pending[group].push(Operation { hash, target });
    }

    fn apply(&self, operation: &Operation) {
        let mut shard = self.index.lock(operation.hash);
        let old = match operation.target {
            Some((addr, class)) => {
                shard.prepare(operation.hash);
                self.ledger.add(addr);
                shard.set(operation.hash, addr, class, &|addr| self.counts(addr))
            }
            None => shard.remove(operation.hash),
        };
        if let Some(old) = old {
            self.ledger.subtract(old.addr);
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
        let target = (row.target, size_class::class_of(row.bytes));
        self.push(row.hash, self.counts(row.target).then_some(target));
    }

    fn remove(&mut self, hash: u64) {
        self.push(hash, None);
    }

    fn forget_all(&mut self) {
        for group in &mut self.pending {
            group.clear();
        }
        self.index.clear();
        self.ledger.clear();
    }

    fn finish(&mut self) {
        for group in std::mem::take(&mut self.pending) {
            for operation in group {
                self.apply(&operation);
            }
        }
    }
}
