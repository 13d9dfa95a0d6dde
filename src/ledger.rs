//! How many live entries each log segment holds, so that reclaiming one can say what it cost.

use crossbeam_utils::CachePadded;
use perennial_wal::{Addr, SegmentId};

use crate::sync::{AtomicU64, Ordering, RwLock};

/// Live entries per segment.
#[derive(Debug)]
pub(crate) struct Ledger {
    segment_bytes: u64,
    log: Counts,
    kept: Counts,
}

/// Of segments of one kind, by number.
///
/// Nearly every change is to the newest segment: its changes since the list was last looked at are beside it, where one
/// compare-and-swap adds to them without the lock. Whoever has the list for writing takes them in first.
#[derive(Debug, Default)]
struct Counts {
    newest: Newest,
    list: RwLock<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Segments up to this one are gone; `None`: none is.
    gone: Option<SegmentId>,
    segments: Vec<(SegmentId, AtomicU64)>,
}

/// A segment's number, and how many entries it has more than the list says.
///
/// ```text
///   | number + 1, 40 bits | entries, 24 bits |     0: of no segment
/// ```
#[derive(Debug, Default)]
struct Newest(CachePadded<AtomicU64>);

const ENTRIES_BITS: u32 = 24;
const MOST_ENTRIES: u64 = (1 << ENTRIES_BITS) - 1;

impl Newest {
    /// Counts one entry more of segment `id`. False: that is not the one, or there are too many to count.
    #[inline]
    fn add(&self, id: SegmentId) -> bool {
        self.change(id, |entries| (entries < MOST_ENTRIES).then(|| entries + 1))
    }

    /// One fewer. False: not the one, or none was added since the list was last looked at.
    fn subtract(&self, id: SegmentId) -> bool {
        self.change(id, |entries| entries.checked_sub(1))
    }

    #[inline]
    fn change(&self, id: SegmentId, change: impl Fn(u64) -> Option<u64>) -> bool {
        let order = Ordering::Relaxed;
        let mut now = self.0.load(order);
        loop {
            if now >> ENTRIES_BITS != id.0 + 1 {
                return false;
            }
            let Some(entries) = change(now & MOST_ENTRIES) else {
                return false;
            };
            let next = (id.0 + 1) << ENTRIES_BITS | entries;
            match self.0.compare_exchange_weak(now, next, order, order) {
                Ok(_) => return true,
                Err(found) => now = found,
            }
        }
    }

    /// Counts segment `id` from now on; returns the one before and its entries.
    fn turn_to(&self, id: Option<SegmentId>) -> Option<(SegmentId, u64)> {
        let next = id.map_or(0, |id| (id.0 + 1) << ENTRIES_BITS);
        let before = self.0.swap(next, Ordering::Relaxed);
        let number = (before >> ENTRIES_BITS).checked_sub(1)?;
        Some((SegmentId(number), before & MOST_ENTRIES))
    }
}

impl Ledger {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            log: Counts::default(),
            kept: Counts::default(),
        }
    }

    fn of(&self, addr: Addr) -> (&Counts, SegmentId) {
        let counts = if addr.is_kept() {
            &self.kept
        } else {
            &self.log
        };
        (counts, addr.position().segment(self.segment_bytes))
    }

    /// An entry now lies at `addr`. False: its segment is gone already, which happens to nobody as long as I12 holds.
    /// Counting it would count wrong for good: the segment's other entries are not known any more, but are still
    /// subtracted when they are replaced.
    #[inline]
    pub(crate) fn add(&self, addr: Addr) -> bool {
        let (counts, id) = self.of(addr);
        counts.newest.add(id) || counts.add(id)
    }

    /// An entry now lies at `addr` instead of `old`. As [`add`](Self::add) and [`subtract`](Self::subtract), which are
    /// nothing where both are in one segment.
    #[inline]
    pub(crate) fn replace(&self, old: Addr, addr: Addr) -> bool {
        let newest = addr.position().0 / self.segment_bytes * self.segment_bytes;
        let together = old.is_kept() == addr.is_kept() && old.position().0 >= newest;
        if together && old.position() < addr.position() {
            return true;
        }
        let counted = self.add(addr);
        self.subtract(old);
        counted
    }

    /// So many entries more lie in the segment of `addr`. False: it is gone already.
    pub(crate) fn add_many(&self, addr: Addr, entries: u64) -> bool {
        let (counts, id) = self.of(addr);
        counts.whole(|list| {
            let there = list.counts(id);
            if there {
                list.raise(id, entries);
            }
            there
        })
    }

    /// The entry at `addr` was replaced, removed or moved.
    pub(crate) fn subtract(&self, addr: Addr) {
        let (counts, id) = self.of(addr);
        if !counts.newest.subtract(id) {
            counts.subtract(id);
        }
    }

    /// Segments of the log up to `through` are gone; returns how many live entries went with them.
    pub(crate) fn drop_through(&self, through: SegmentId) -> u64 {
        self.log.whole(|list| {
            list.gone = list.gone.max(Some(through));
            let keep = list.segments.partition_point(|(id, _)| *id <= through);
            let gone = list.segments.drain(..keep);
            gone.map(|(_, live)| live.into_inner()).sum()
        })
    }

    /// A kept segment is gone; returns how many live entries went with it.
    pub(crate) fn drop_kept(&self, id: SegmentId) -> u64 {
        self.kept.whole(|list| {
            let found = list.find(id).ok();
            found.map_or(0, |at| list.segments.remove(at).1.into_inner())
        })
    }

    /// Live entries in a kept segment.
    pub(crate) fn live_kept(&self, id: SegmentId) -> u64 {
        self.kept.live(id)
    }

    /// Live entries in a segment of the log.
    pub(crate) fn live_log(&self, id: SegmentId) -> u64 {
        self.log.live(id)
    }

    /// Live entries in all segments.
    pub(crate) fn live(&self) -> u64 {
        let live = |list: &mut List| -> u64 {
            let each = list.segments.iter();
            each.map(|(_, live)| live.load(Ordering::Relaxed)).sum()
        };
        self.log.whole(live) + self.kept.whole(live)
    }

    /// Drops the counts of segments that `counts` says no of, given whether they are kept ones.
    pub(crate) fn retain(&self, counts: impl Fn(SegmentId, bool) -> bool) {
        for (of, kept) in [(&self.log, false), (&self.kept, true)] {
            of.whole(|list| list.segments.retain(|(id, _)| counts(*id, kept)));
        }
    }

    /// Counts nothing any more; returns how many live entries that were.
    pub(crate) fn clear(&self) -> u64 {
        let live = self.live();
        self.log.whole(|list| list.segments.clear());
        self.kept.whole(|list| list.segments.clear());
        live
    }
}

impl Counts {
    /// Shows `look` the list with everything in it. Nothing is counted beside it meanwhile.
    fn whole<T>(&self, look: impl FnOnce(&mut List) -> T) -> T {
        let mut list = self.list.write();
        self.take_in(&mut list, None);
        look(&mut list)
    }

    /// From now on `next` is counted beside the list; what was so far goes into it.
    fn take_in(&self, list: &mut List, next: Option<SegmentId>) {
        if let Some((id, entries)) = self.newest.turn_to(next)
            && entries > 0
        {
            list.raise(id, entries);
        }
    }

    fn add(&self, id: SegmentId) -> bool {
        if self.is_newer(id) {
            return self.begin(id);
        }
        let list = self.list.read();
        if let Ok(at) = list.find(id) {
            list.segments[at].1.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        drop(list);
        let mut list = self.list.write();
        let counts = list.counts(id);
        if counts {
            list.raise(id, 1);
        }
        counts
    }

    /// True for a segment that is worth being the one beside the list.
    fn is_newer(&self, id: SegmentId) -> bool {
        let list = self.list.read();
        list.segments.last().is_none_or(|(last, _)| *last <= id)
    }

    /// The first entry of a segment, or the first since the list was last looked at.
    fn begin(&self, id: SegmentId) -> bool {
        let mut list = self.list.write();
        let counts = list.counts(id);
        if counts {
            list.raise(id, 1);
            self.take_in(&mut list, Some(id));
        }
        counts
    }

    fn subtract(&self, id: SegmentId) {
        let list = self.list.read();
        if let Ok(at) = list.find(id) {
            list.segments[at].1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn live(&self, id: SegmentId) -> u64 {
        self.whole(|list| {
            let found = list.find(id).ok();
            found.map_or(0, |at| list.segments[at].1.load(Ordering::Relaxed))
        })
    }
}

impl List {
    /// False for a segment that is gone.
    fn counts(&self, id: SegmentId) -> bool {
        self.gone.is_none_or(|gone| id > gone)
    }

    fn raise(&mut self, id: SegmentId, entries: u64) {
        match self.find(id) {
            Ok(at) => {
                self.segments[at].1.fetch_add(entries, Ordering::Relaxed);
            }
            Err(at) => self.segments.insert(at, (id, AtomicU64::new(entries))),
        }
    }

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
    fn many_threads_count_each_entry_once_while_others_look() {
        const EACH: u64 = 20_000;
        let ledger = Ledger::new(1 << 20);
        let at = |n: u64| Addr::log(Lsn(((n / 3_000 + 1) << 20) + n % 3_000 * 16));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for n in 0..EACH {
                        assert!(ledger.add(at(n)));
                        if n % 4 == 0 {
                            ledger.subtract(at(n / 2));
                        }
                    }
                });
            }
            scope.spawn(|| (0..1_000).for_each(|_| assert!(ledger.live() <= 3 * EACH)));
        });
        assert_eq!(ledger.live(), 3 * (EACH - EACH / 4));
        let of_each = (1..=7).map(|id| ledger.live_log(SegmentId(id)));
        assert_eq!(of_each.sum::<u64>(), ledger.live());
        assert_eq!(ledger.drop_through(SegmentId(7)), 3 * (EACH - EACH / 4));
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
