//! Room for one more entry: a slot that is empty, one whose entry is dead, or a larger table.

use super::entry::{Entry, ImageEntry};
use super::geometry::Key;
use super::shard::{Live, ShardGuard};
use super::slot::Slot;
use super::slots::{Place, Slots};
use super::table::{Phase, SMALL, Table};

impl<X> ShardGuard<'_, X> {
    pub(super) fn make_place(&mut self, key: Key, live: Live<'_>) -> Place {
        if let Some(place) = self.place_if_below(key, Slots::full) {
            return place;
        }
        if let Some(place) = self.dead_place(key, live) {
            return place;
        }
        self.sweep(live);
        loop {
            if let Some(place) = self.place_if_below(key, Slots::roomy) {
                return place;
            }
            self.grow_a_step();
        }
    }

    fn place_if_below(&self, key: Key, limit: fn(&Slots) -> usize) -> Option<Place> {
        let slots = &self.state.table.slots;
        let below = slots.used() < limit(slots);
        below.then(|| slots.vacancy(slots.spot(key.x))).flatten()
    }

    /// Frees the first of the key's slots whose entry is dead.
    fn dead_place(&mut self, key: Key, live: Live<'_>) -> Option<Place> {
        let slots = &self.state.table.slots;
        let dead = |place: &Place| {
            let slot = slots.read(*place);
            !slot.is_empty() && !live(self.index.horizons.expand(slot.payload()).addr)
        };
        let place = slots.candidates(slots.spot(key.x)).find(dead)?;
        slots.erase(place);
        // It was counted among the evicted.
        self.state.removed += 1;
        self.state.freed += 1;
        Some(place)
    }

    /// Erases what is dead, and shows `keep` what is not.
    pub(super) fn sweep_into(&mut self, live: Live<'_>, mut keep: impl FnMut(u64, Entry)) {
        // Before the first look: what is evicted from here on may be found live.
        let evicted = self.index.stale.evicted_so_far();
        let slots = &self.state.table.slots;
        let mut removed = 0;
        for (place, x, payload) in slots.entries() {
            let entry = self.index.horizons.expand(payload);
            if live(entry.addr) {
                keep(self.index.geometry.identity(self.number, x), entry);
            } else {
                slots.erase(place);
                removed += 1;
            }
        }
        self.state.removed += removed;
        (self.state.evicted_before, self.state.freed) = (evicted, 0);
    }

    fn sweep(&mut self, live: Live<'_>) {
        let slots = &self.state.table.slots;
        let dead = |slot: Slot| !live(self.index.horizons.expand(slot.payload()).addr);
        if slots.sample().any(dead) {
            self.sweep_into(live, |_, _| ());
        }
    }

    pub(super) fn image(&mut self, live: Live<'_>, out: &mut Vec<ImageEntry>) {
        self.sweep_into(live, |identity, entry| {
            out.push(ImageEntry {
                identity,
                addr: entry.addr,
                size_class: entry.size_class,
                visited: entry.visited,
                // The index does not know.
                pinned: false,
            });
        });
        self.refresh_swept();
    }

    /// Forgets everything, however much it is.
    pub(crate) fn clear(&mut self) {
        let empty = Table::new(&self.index.table_shape);
        self.state.phase = Phase::Together(self.number);
        self.replace_table(empty);
    }

    /// Makes room for `entries` in all.
    pub(crate) fn reserve_entries(&mut self, entries: usize) {
        let buckets = self.index.table_shape.buckets_for(entries);
        if buckets > self.state.table.slots.buckets() {
            self.state.phase = Phase::Together(self.number);
            self.grow(buckets);
        }
    }

    fn grow_a_step(&mut self) {
        let buckets = self.state.table.slots.buckets();
        self.grow(self.index.table_shape.next_size(buckets, self.state.phase));
        if buckets >= SMALL {
            self.state.phase = Phase::Spread;
        }
    }

    fn grow(&mut self, buckets: u64) {
        let clean = self.state.removed == 0;
        let table = &self.state.table;
        let grown = table.grown(&self.index.table_shape, buckets, clean);
        self.replace_table(grown);
    }

    pub(super) fn replace_table(&mut self, table: Table) {
        self.index.tables.publish(self.number, table.clone());
        self.state.table = table;
        self.state.removed = 0;
        self.prepared = None;
    }
}
