//! The index as it absorbs a replay.

use std::collections::VecDeque;

use perennial_recovery::{Entry, Left, Machine, Moved};
use perennial_wal::segment::Row;
use perennial_wal::{ALIGN, Addr, Contents, Geometry, Lsn, SegmentId};

use crate::fetch::Flights;
use crate::index::{Index, size_class};
use crate::ledger::Ledger;
use crate::pins::{Pins, is_pinned};

/// Sets and removes entries as the log says, counting what lives where.
///
/// An entry may be loaded from a checkpoint at an address whose segment is gone: a `Move` behind says where it is now. So
/// all addresses count while the log is replayed, and [`settle`](Self::settle) drops what is nowhere.
pub(crate) struct Absorb<'a> {
    index: &'a Index<Flights>,
    ledger: &'a Ledger,
    pins: &'a Pins,
    oldest: SegmentId,
    /// Numbers of the kept segments, ascending.
    kept: Vec<SegmentId>,
    segment_bytes: u64,
    /// Where the newest segment ends, in units: no address lies behind.
    end_units: u64,
    /// Operations whose part of the index is being loaded.
    pending: VecDeque<Operation>,
}

struct Operation {
    hash: u64,
    what: What,
}

enum What {
    Put { addr: Addr, class: u8, pinned: bool },
    Remove,
    Move { old: Addr, new: Addr, class: u8 },
}

/// How many operations wait for their part of the index to come into the processor's caches: more than go by while one
/// line comes from memory, fewer than push each other's lines out.
const AHEAD: usize = 16;

impl<'a> Absorb<'a> {
    pub(crate) fn new(
        index: &'a Index<Flights>,
        ledger: &'a Ledger,
        pins: &'a Pins,
        contents: &Contents<'_>,
        geometry: Geometry,
    ) -> Self {
        let segments = contents.segments();
        // Every address that will come lies below the end of the newest segment ever seen.
        let end = (contents.found.max_number + 1) * geometry.segment_bytes / ALIGN;
        index.set_horizon(false, end);
        index.set_horizon(true, end);
        let oldest = segments.first().copied().unwrap_or(SegmentId(u64::MAX));
        let kept = contents.found.kept.iter().map(|s| s.header.number);
        Self {
            index,
            ledger,
            pins,
            oldest,
            kept: kept.collect(),
            segment_bytes: geometry.segment_bytes,
            end_units: end,
            pending: VecDeque::with_capacity(AHEAD + 1),
        }
    }

    fn push(&mut self, hash: u64, what: What) {
        self.index.prefetch(hash);
        self.pending.push_back(Operation { hash, what });
        if self.pending.len() > AHEAD
            && let Some(operation) = self.pending.pop_front()
        {
            self.apply(&operation);
        }
    }

    fn apply(&self, operation: &Operation) {
        let mut shard = self.index.lock(operation.hash);
        let old = match operation.what {
            What::Put {
                addr,
                class,
                pinned,
            } => {
                // Also of what is in the image: which were pinned was looked up a moment after it was taken.
                let pinned = pinned && !perennial_failpoints::planted!("pin-not-replayed");
                self.pins.replay(operation.hash, pinned, class);
                if shard.points_at(operation.hash, addr) {
                    // The image knows how often it was read.
                    None
                } else {
                    shard.prepare(operation.hash);
                    self.ledger.add(addr);
                    shard.set(operation.hash, addr, class, &|addr| self.is_possible(addr))
                }
            }
            What::Remove => {
                self.pins.forget(operation.hash);
                shard.remove(operation.hash)
            }
            What::Move { old, new, class } => {
                if perennial_failpoints::planted!("replayed-move-unconditional") {
                    shard.prepare(operation.hash);
                    self.ledger.add(new);
                    shard.set(operation.hash, new, class, &|addr| self.is_possible(addr))
                } else {
                    if shard.replace_if(operation.hash, old, new, class) {
                        self.ledger.subtract(old);
                        self.ledger.add(new);
                    }
                    None
                }
            }
        };
        if let Some(old) = old {
            self.ledger.subtract(old.addr);
        }
    }

    /// False for what a row may say and no log has.
    fn is_possible(&self, addr: Addr) -> bool {
        addr.units() < self.end_units
    }

    fn counts(&self, addr: Addr) -> bool {
        let segment = addr.position().segment(self.segment_bytes);
        if addr.is_kept() {
            self.kept.binary_search(&segment).is_ok()
        } else {
            segment >= self.oldest
        }
    }

    /// The oldest segment of the log whose entries count.
    pub(crate) fn oldest(&self) -> SegmentId {
        self.oldest
    }

    /// What points at segments that are gone counts no more.
    fn settle(&self) {
        let before = self.ledger.live();
        self.ledger.retain(|segment, kept| {
            let begin = Lsn(segment.0 * self.segment_bytes);
            self.counts(if kept {
                Addr::kept(begin)
            } else {
                Addr::log(begin)
            })
        });
        // Their slots are dead, and the filters know them.
        self.index
            .note_evicted(before.saturating_sub(self.ledger.live()));
        let there = |identity| self.index.get_identity(identity);
        self.pins
            .retain(|identity| there(identity).is_some_and(|entry| self.counts(entry.addr)));
    }
}

impl Machine for Absorb<'_> {
    fn reserve(&mut self, entries: u64) {
        self.index.reserve_entries(perennial_wal::to_usize(entries));
    }

    fn load(&mut self, entry: Entry) {
        if self.is_possible(entry.addr) && entry.size_class != 0 {
            self.index.load(entry, &|addr| self.is_possible(addr));
            self.ledger.add(entry.addr);
            if entry.pinned {
                self.pins.load(entry.identity, entry.size_class);
            }
        }
    }

    fn put(&mut self, row: &Row) {
        let put = What::Put {
            addr: row.target,
            class: size_class::class_of(row.bytes),
            pinned: is_pinned(row),
        };
        let possible = self.is_possible(row.target) && !row.target.is_kept();
        self.push(row.hash, if possible { put } else { What::Remove });
    }

    fn remove(&mut self, hash: u64) {
        self.push(hash, What::Remove);
    }

    fn relocate(&mut self, moved: &Moved) {
        let (old, new) = (moved.old, moved.new);
        if new.is_kept() && self.is_possible(old) && self.is_possible(new) {
            let class = size_class::class_of(moved.bytes);
            self.push(moved.hash, What::Move { old, new, class });
        }
    }

    fn keep_only(&mut self, left: &Left) {
        // No entry comes to such an address again, so that it counts no more can wait for the end.
        self.oldest = self.oldest.max(left.oldest);
        self.kept.retain(|id| !left.is_gone(*id));
    }

    fn forget_all(&mut self) {
        self.pending.clear();
        self.index.clear();
        self.ledger.clear();
        self.pins.clear();
    }

    fn finish(&mut self) {
        for operation in std::mem::take(&mut self.pending) {
            self.apply(&operation);
        }
        self.settle();
    }
}
