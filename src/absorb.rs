//! The index as it absorbs a replay.

use std::collections::VecDeque;

use perennial_recovery::{Entry, Machine};
use perennial_wal::segment::Row;
use perennial_wal::{ALIGN, Addr, Contents, Geometry, SegmentId};

use crate::fetch::Flights;
use crate::index::{Index, size_class};
use crate::ledger::Ledger;

/// Sets and removes entries as the log says, counting what lives where.
pub(crate) struct Absorb<'a> {
    index: &'a Index<Flights>,
    ledger: &'a Ledger,
    oldest: SegmentId,
    segment_bytes: u64,
    /// Where the newest segment ends, in units: no address lies behind.
    end_units: u64,
    /// Operations whose part of the index is being loaded.
    pending: VecDeque<Operation>,
}

/// A put, or a remove without a target.
struct Operation {
    hash: u64,
    target: Option<(Addr, u8)>,
}

/// How many operations wait for their part of the index to come into the processor's caches: more than go by while one
/// line comes from memory, fewer than push each other's lines out.
const AHEAD: usize = 16;

impl<'a> Absorb<'a> {
    pub(crate) fn new(
        index: &'a Index<Flights>,
        ledger: &'a Ledger,
        contents: &Contents<'_>,
        geometry: Geometry,
    ) -> Self {
        let segments = contents.segments();
        // Every address that will come lies below the end of the newest segment ever seen.
        let end = (contents.found.max_number + 1) * geometry.segment_bytes / ALIGN;
        index.set_horizon(false, end);
        let oldest = segments.first().copied().unwrap_or(SegmentId(u64::MAX));
        Self {
            index,
            ledger,
            oldest,
            segment_bytes: geometry.segment_bytes,
            end_units: end,
            pending: VecDeque::with_capacity(AHEAD + 1),
        }
    }

    fn push(&mut self, hash: u64, target: Option<(Addr, u8)>) {
        self.index.prefetch(hash);
        self.pending.push_back(Operation { hash, target });
        if self.pending.len() > AHEAD
            && let Some(operation) = self.pending.pop_front()
        {
            self.apply(&operation);
        }
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

    /// False also for what a row may say and no log has.
    fn counts(&self, addr: Addr) -> bool {
        !addr.is_kept()
            && addr.units() < self.end_units
            && addr.position().segment(self.segment_bytes) >= self.oldest
    }
}

impl Machine for Absorb<'_> {
    fn reserve(&mut self, entries: u64) {
        self.index.reserve_entries(perennial_wal::to_usize(entries));
    }

    fn load(&mut self, entry: Entry) {
        if self.counts(entry.addr) && entry.size_class != 0 {
            self.index.load(entry, &|addr| self.counts(addr));
            self.ledger.add(entry.addr);
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
        self.pending.clear();
        self.index.clear();
        self.ledger.clear();
    }

    fn finish(&mut self) {
        for operation in std::mem::take(&mut self.pending) {
            self.apply(&operation);
        }
    }
}
