//! How many entries of a shard that is being loaded lie in which segment.

use perennial_wal::{Addr, Lsn, SegmentId, to_usize};

use crate::absorb::{Count, Places};
use crate::ledger::Ledger;

/// Of one shard: how many entries lie in which segment. Apart from the ledger until the end, for a move behind may take an
/// entry out of a segment that is gone.
pub(super) struct Counts<'a> {
    places: &'a Places,
    /// From the log's oldest segment on.
    log: Vec<u64>,
    /// As [`Places::kept`] lists them: their numbers may be millions apart.
    kept: Vec<u64>,
    /// In segments that are gone.
    gone: u64,
}

impl<'a> Counts<'a> {
    pub(super) fn new(places: &'a Places) -> Self {
        Self {
            places,
            log: Vec::new(),
            kept: vec![0; places.kept().len()],
            gone: 0,
        }
    }

    fn of(&mut self, addr: Addr) -> &mut u64 {
        let segment = addr.position().segment(self.places.segment_bytes);
        if addr.is_kept() {
            let at = self.places.kept().binary_search(&segment);
            return at.map_or(&mut self.gone, |at| &mut self.kept[at]);
        }
        let at = segment.0.checked_sub(self.places.oldest().0);
        let Some(at) = at.map(to_usize) else {
            return &mut self.gone;
        };
        if at >= self.log.len() {
            self.log.resize(at + 1, 0);
        }
        &mut self.log[at]
    }

    /// Counts them in the ledger; returns how many lie in no segment that counts.
    pub(super) fn hand_over(&self, ledger: &Ledger) -> u64 {
        let begin = |number: SegmentId| Lsn(number.0 * self.places.segment_bytes);
        let oldest = self.places.oldest().0;
        let log = self.log.iter().enumerate().map(|(at, entries)| {
            let number = SegmentId(oldest + at as u64);
            (Addr::log(begin(number)), entries)
        });
        let kept = self.places.kept().iter().zip(&self.kept);
        let kept = kept.map(|(number, entries)| (Addr::kept(begin(*number)), entries));
        let counted = log.chain(kept).filter(|(_, entries)| **entries > 0);
        let refused = counted.filter(|(addr, entries)| !ledger.add_many(*addr, **entries));
        self.gone + refused.map(|(_, entries)| entries).sum::<u64>()
    }
}

impl Count for Counts<'_> {
    fn add(&mut self, addr: Addr) {
        *self.of(addr) += 1;
    }

    fn subtract(&mut self, addr: Addr) {
        // Whatever is subtracted was added.
        let count = self.of(addr);
        *count = count.saturating_sub(1);
    }
}
