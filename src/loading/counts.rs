//! How many entries of a shard that is being loaded lie in which segment.

use perennial_wal::{Addr, Lsn, SegmentId, to_usize};

use crate::absorb::{Count, Places};
use crate::ledger::Ledger;

/// Of one shard: how many entries lie in which segment. Apart from the ledger until the end, for a move behind may take an
/// entry out of a segment that is gone.
pub(super) struct Counts {
    first: SegmentId,
    segment_bytes: u64,
    log: Vec<u64>,
    kept: Vec<u64>,
    /// In segments before the first one that counts.
    before: u64,
}

impl Counts {
    pub(super) fn new(places: &Places) -> Self {
        Self {
            first: places.first(),
            segment_bytes: places.segment_bytes,
            log: Vec::new(),
            kept: Vec::new(),
            before: 0,
        }
    }

    fn of(&mut self, addr: Addr) -> &mut u64 {
        let segment = addr.position().segment(self.segment_bytes);
        let Some(at) = segment.0.checked_sub(self.first.0).map(to_usize) else {
            return &mut self.before;
        };
        let counts = if addr.is_kept() {
            &mut self.kept
        } else {
            &mut self.log
        };
        if at >= counts.len() {
            counts.resize(at + 1, 0);
        }
        &mut counts[at]
    }

    /// Counts them in the ledger; returns how many lie in no segment that counts.
    pub(super) fn hand_over(&self, places: &Places, ledger: &Ledger) -> u64 {
        let mut gone = self.before;
        for (counts, kept) in [(&self.log, false), (&self.kept, true)] {
            for (at, entries) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                let number = self.first.0 + at as u64;
                let begin = Lsn(number * self.segment_bytes);
                let addr = if kept {
                    Addr::kept(begin)
                } else {
                    Addr::log(begin)
                };
                if !(places.counts(addr) && ledger.add_many(addr, *entries)) {
                    gone += entries;
                }
            }
        }
        gone
    }
}

impl Count for Counts {
    fn add(&mut self, addr: Addr) {
        *self.of(addr) += 1;
    }

    fn subtract(&mut self, addr: Addr) {
        // Whatever is subtracted was added.
        let count = self.of(addr);
        *count = count.saturating_sub(1);
    }
}
