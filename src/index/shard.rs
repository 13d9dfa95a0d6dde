//! A shard under its lock: everything that changes an entry.

use perennial_wal::Addr;

use super::Index;
use super::entry::{Entry, ImageEntry};
use super::geometry::{IndexGeometry, Key};
use super::slot::Payload;
use super::slots::{Place, Slots};
use super::table::{Steps, Table, next_size};
use super::table_ptr::TablePtr;
use crate::sync::{Mutex, MutexGuard};

/// Says whether the segment of an address still exists. What it denies is free space.
pub(crate) type Live<'a> = &'a dyn Fn(Addr) -> bool;

pub(super) struct Shard<X> {
    pub(super) published: TablePtr,
    state: Mutex<State<X>>,
}

struct State<X> {
    /// The same table that readers are shown.
    table: Table,
    steps: Steps,
    /// Entries that are gone but still pass the gate.
    removed: usize,
    extra: X,
}

/// The lock of one shard. No I/O and no waiting while it is held.
pub(crate) struct ShardGuard<'a, X> {
    index: &'a Index<X>,
    number: usize,
    state: MutexGuard<'a, State<X>>,
    prepared: Option<(u64, Place)>,
}

impl<X: Default> Shard<X> {
    pub(super) fn new(geometry: &IndexGeometry) -> Self {
        let table = Table::new(geometry, 0);
        Self {
            published: TablePtr::new(table.clone()),
            state: Mutex::new(State {
                table,
                steps: Steps::FromNothing,
                removed: 0,
                extra: X::default(),
            }),
        }
    }
}

impl<X> Shard<X> {
    pub(super) fn lock<'a>(&'a self, index: &'a Index<X>, number: usize) -> ShardGuard<'a, X> {
        ShardGuard {
            index,
            number,
            state: self.state.lock(),
            prepared: None,
        }
    }
}

impl<X> ShardGuard<'_, X> {
    /// What else is kept under this lock.
    pub(crate) fn extra(&mut self) -> &mut X {
        &mut self.state.extra
    }

    #[cfg(test)]
    pub(crate) fn get(&self, hash: u64) -> Option<Entry> {
        self.find(self.key(hash)).map(|(_, entry)| entry)
    }

    /// Makes sure that the next [`set`](Self::set) of this key cannot fail, and tells the gate.
    ///
    /// It comes before the key's LSN is reserved: an image begun at a later LSN must not miss
    /// the key (PROTOCOL hole 36).
    pub(crate) fn prepare(&mut self, hash: u64, live: Live<'_>) {
        self.prepare_key(self.key(hash), live);
    }

    /// Stores an entry that nobody has visited yet, and returns the one it replaced.
    ///
    /// # Panics
    /// When this key was not prepared under this guard, or something was removed since.
    pub(crate) fn set(&mut self, hash: u64, addr: Addr, size_class: u8) -> Option<Entry> {
        let payload = self.index.horizons.shorten(addr, size_class, 0);
        self.store(self.key(hash), payload)
    }

    pub(crate) fn remove(&mut self, hash: u64) -> Option<Entry> {
        let (place, entry) = self.find(self.key(hash))?;
        self.erase(place);
        Some(entry)
    }

    /// Removes the entry only if it still points at `addr`.
    pub(crate) fn remove_if(&mut self, hash: u64, addr: Addr) -> bool {
        let found = self.find_at(hash, addr);
        if let Some(place) = found {
            self.erase(place);
        }
        found.is_some()
    }

    /// Points the entry at `new` only if it still points at `old`; its visits start anew.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "merges will move entries with it")
    )]
    pub(crate) fn replace_if(&mut self, hash: u64, old: Addr, new: Addr, size_class: u8) -> bool {
        let found = self.find_at(hash, old);
        if let Some(place) = found {
            let payload = self.index.horizons.shorten(new, size_class, 0);
            let slots = &self.state.table.slots;
            slots.put(place, slots.spot(self.key(hash).x), payload);
        }
        found.is_some()
    }

    fn key(&self, hash: u64) -> Key {
        let key = self.index.geometry.key_of_hash(hash);
        debug_assert_eq!(key.shard, self.number, "the key of another shard");
        key
    }

    fn find(&self, key: Key) -> Option<(Place, Entry)> {
        let slots = &self.state.table.slots;
        let (place, slot) = slots.find(slots.spot(key.x))?;
        Some((place, self.index.horizons.expand(slot.payload())))
    }

    fn find_at(&self, hash: u64, addr: Addr) -> Option<Place> {
        let (place, entry) = self.find(self.key(hash))?;
        (entry.addr == addr).then_some(place)
    }

    fn erase(&mut self, place: Place) {
        self.state.table.slots.erase(place);
        self.state.removed += 1;
        // A fresh gate would not know of a key that was prepared and is not stored yet.
        self.prepared = None;
        self.refresh_gate();
    }
}

/// Making room.
impl<X> ShardGuard<'_, X> {
    pub(super) fn load(&mut self, entry: ImageEntry, live: Live<'_>) {
        let key = self.index.geometry.key_of_identity(entry.identity);
        let visited = entry.visited;
        self.prepare_key(key, live);
        let payload = self
            .index
            .horizons
            .shorten(entry.addr, entry.size_class, visited);
        self.store(key, payload);
    }

    fn prepare_key(&mut self, key: Key, live: Live<'_>) {
        // The gate knows every key that is stored: most new keys need no search.
        let passes = self.state.table.gate.may_contain(key.identity);
        let place = match passes.then(|| self.find(key)).flatten() {
            Some((place, _)) => place,
            None => self.prepare_new(key, live),
        };
        self.prepared = Some((key.identity, place));
    }

    fn prepare_new(&mut self, key: Key, live: Live<'_>) -> Place {
        let place = self.make_place(key, live);
        // In this order: a fresh gate has only the keys that are stored.
        self.refresh_gate();
        self.state.table.gate.insert(key.identity);
        place
    }

    fn store(&mut self, key: Key, payload: Payload) -> Option<Entry> {
        let (identity, place) = self.prepared.expect("prepare comes before set");
        assert_eq!(identity, key.identity, "another key was prepared");
        let slots = &self.state.table.slots;
        let old = slots.put(place, slots.spot(key.x), payload);
        (!old.is_empty()).then(|| self.index.horizons.expand(old.payload()))
    }

    fn make_place(&mut self, key: Key, live: Live<'_>) -> Place {
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
            self.grow(next_size(
                self.state.table.slots.buckets(),
                self.state.steps,
            ));
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
        self.state.removed += 1;
        Some(place)
    }

    /// Erases what is dead, and shows `keep` what is not.
    fn sweep_into(&mut self, live: Live<'_>, mut keep: impl FnMut(u64, Entry)) {
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
    }

    fn sweep(&mut self, live: Live<'_>) {
        self.sweep_into(live, |_, _| ());
    }

    pub(super) fn image(&mut self, live: Live<'_>, out: &mut Vec<ImageEntry>) {
        self.sweep_into(live, |identity, entry| {
            out.push(ImageEntry {
                identity,
                addr: entry.addr,
                size_class: entry.size_class,
                visited: entry.visited,
            });
        });
        self.refresh_gate();
    }

    pub(super) fn clear(&mut self) {
        let empty = Table::new(&self.index.geometry, 0);
        self.state.steps = Steps::FromNothing;
        self.replace_table(empty);
    }

    pub(super) fn reserve(&mut self, buckets: u64) {
        if buckets > self.state.table.slots.buckets() {
            self.state.steps = Steps::FromReserved;
            self.grow(buckets);
        }
    }

    fn grow(&mut self, buckets: u64) {
        let table = &self.state.table;
        let grown = table.grown(&self.index.geometry, self.number, buckets);
        self.replace_table(grown);
    }

    /// A gate that lets too much through is built anew from what is stored.
    fn refresh_gate(&mut self) {
        let table = &self.state.table;
        if self.state.removed > (table.slots.full() / 10).max(16) {
            let fresh = table.with_fresh_gate(&self.index.geometry, self.number);
            self.replace_table(fresh);
        }
    }

    fn replace_table(&mut self, table: Table) {
        self.index.shards[self.number]
            .published
            .publish(table.clone());
        self.state.table = table;
        self.state.removed = 0;
        self.prepared = None;
    }
}
