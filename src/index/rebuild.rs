//! A filter that forgets what is gone.
//!
//! The shard's lock is held from the first slot that is read until the new filter is published. Who adds a key needs that
//! lock: it is told to the old filter and stored before, and then the new one has it from the slots; or it is told to
//! the new one. Between the two there is no addition to keep a list of. Readers take no lock: they ask the old filter or
//! the new one, and each of them knows every key whose insert had returned when they came. What a writer waits at most
//! is in `docs/concurrency.md`: less than for a table that grows.

use super::Index;
use super::filter::Filter;
use super::shard::{Live, ShardGuard};

/// One part in so many of a filter's keys may be gone.
const TOLERATED: usize = 10;

impl<X> Index<X> {
    /// So many entries went with their segment: their slots are dead.
    pub(crate) fn note_evicted(&self, entries: u64) {
        self.stale.evicted(entries);
    }

    /// True when filters wait to be looked after.
    #[inline]
    pub(crate) fn filters_are_stale(&self) -> bool {
        self.stale.is_wanted()
    }

    /// The same, once for each time: who gets it tells the upkeep.
    pub(crate) fn tells_of_stale_filters(&self) -> bool {
        self.stale.is_to_tell()
    }

    /// Builds the filters anew that let too much through, shard by shard. Under no lock of a shard.
    pub(crate) fn refresh_filters(&self, live: Live<'_>) {
        let any = self.stale.begin();
        for number in 0..self.shards() {
            self.refresh_filter(number, any, live);
        }
    }

    fn refresh_filter(&self, number: usize, any: bool, live: Live<'_>) {
        // The filter of one that is to be loaded will know what is there then.
        if !self.is_loaded(number) {
            return;
        }
        let mut shard = self.lock_shard(number);
        let Some(fresh) = shard.fresh_filter(any, live) else {
            return;
        };
        if perennial_failpoints::planted!("bloom-swap-drops-additions") {
            drop(shard);
            // As long as others need for an addition, whatever else the cores have to do.
            crate::sync::sleep(std::time::Duration::from_millis(1));
            shard = self.lock_shard(number);
        }
        shard.swap_filter(fresh);
    }
}

impl<X> ShardGuard<'_, X> {
    /// Notes that a key is gone whose bits stay.
    pub(super) fn count_removed(&mut self) {
        self.state.removed += 1;
        if self.is_due(self.state.removed) {
            self.index.stale.removed();
        }
    }

    fn is_due(&self, gone: usize) -> bool {
        let in_filter = self.state.table.slots.used() + self.state.removed;
        gone > 0 && gone * TOLERATED >= in_filter
    }

    /// This shard's share of the entries that were evicted and not swept since.
    fn dead(&self) -> usize {
        let evicted = self.index.stale.evicted_so_far() - self.state.evicted_before;
        let share = evicted / self.index.shards() as u64;
        usize::try_from(share)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.state.freed)
    }

    /// A filter of what is live, if that is worth it, or, with `any`, if anything is gone.
    fn fresh_filter(&mut self, any: bool, live: Live<'_>) -> Option<Filter> {
        let dead = self.dead();
        let gone = self.state.removed + dead;
        if !(self.is_due(gone) || any && gone > 0) {
            return None;
        }
        if dead > 0 {
            self.sweep_into(live, |_, _| ());
        }
        (self.state.removed > 0).then(|| self.filter_of_slots())
    }

    fn filter_of_slots(&self) -> Filter {
        self.state.table.fresh_filter(&self.index.table_shape)
    }

    fn swap_filter(&mut self, filter: Filter) {
        let slots = self.state.table.slots.clone();
        self.replace_table(super::table::Table { filter, slots });
        self.index.stale.rebuilt();
    }

    /// For who has swept the shard just now.
    pub(super) fn refresh_swept(&mut self) {
        if self.is_due(self.state.removed) {
            let fresh = self.filter_of_slots();
            self.swap_filter(fresh);
        }
    }
}
