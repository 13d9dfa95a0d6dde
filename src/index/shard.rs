//! A shard under its lock: everything that changes an entry.

use perennial_wal::Addr;

use super::Index;
use super::enter::Entered;
use super::entry::{Entry, ImageEntry};
use super::geometry::Key;
use super::slot::Payload;
use super::slots::Place;
use super::table::{Phase, Table};
use crate::sync::{Mutex, MutexGuard};

/// Says whether the segment of an address still exists. What it denies is free space.
pub(crate) type Live<'a> = &'a dyn Fn(Addr) -> bool;

pub(super) struct Shard<X>(Mutex<State<X>>);

pub(super) struct State<X> {
    /// The same table that readers are shown.
    pub(super) table: Table,
    pub(super) phase: Phase,
    /// Entries that are gone but still pass the filter.
    pub(super) removed: usize,
    /// Entries evicted in the whole index before this shard was swept.
    pub(super) evicted_before: u64,
    /// Slots of dead entries that were used again since.
    pub(super) freed: usize,
    pub(super) entered: Entered,
    pub(super) extra: X,
}

/// A key whose entry is about to be stored.
#[derive(Clone, Copy)]
pub(super) struct Prepared {
    pub(super) identity: u64,
    /// The filter knew it before: it may have an entry.
    pub(super) known: bool,
}

/// The lock of one shard. No I/O and no waiting while it is held.
pub(crate) struct ShardGuard<'a, X> {
    pub(super) index: &'a Index<X>,
    pub(super) number: usize,
    pub(super) state: MutexGuard<'a, State<X>>,
    pub(super) prepared: Option<Prepared>,
}

impl<X: Default> Shard<X> {
    pub(super) fn new(number: usize, table: Table) -> Self {
        Self(Mutex::new(State {
            table,
            phase: Phase::Together(number),
            removed: 0,
            evicted_before: 0,
            freed: 0,
            entered: Entered::default(),
            extra: X::default(),
        }))
    }
}

impl<X> Shard<X> {
    #[inline]
    pub(super) fn lock<'a>(&'a self, index: &'a Index<X>, number: usize) -> ShardGuard<'a, X> {
        ShardGuard {
            index,
            number,
            state: self.0.lock(),
            prepared: None,
        }
    }
}

impl<X> ShardGuard<'_, X> {
    /// What else is kept under this lock.
    #[inline]
    pub(crate) fn extra(&mut self) -> &mut X {
        &mut self.state.extra
    }

    pub(crate) fn get(&self, hash: u64) -> Option<Entry> {
        self.find(self.key(hash)).map(|(_, entry)| entry)
    }

    /// Tells the filter of a key that is about to be [`set`](Self::set), and begins to load what that will look at.
    ///
    /// It comes before the key's LSN is reserved (hole 36 in `docs/recovery.md`), and what it begins to load is there by
    /// the time the entry is stored.
    pub(crate) fn prepare(&mut self, hash: u64) {
        self.prepare_key(self.key(hash));
    }

    /// Stores an entry that nobody has visited yet, and returns the one it replaced. It cannot fail.
    ///
    /// # Panics
    /// When this key was not prepared under this guard, or something was removed since.
    pub(crate) fn set(
        &mut self,
        hash: u64,
        addr: Addr,
        size_class: u8,
        live: Live<'_>,
    ) -> Option<Entry> {
        let payload = self.index.horizons.shorten(addr, size_class, 0);
        self.store(self.key(hash), payload, live)
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

    /// True while the key's entry is the one at `addr`.
    pub(crate) fn points_at(&self, hash: u64, addr: Addr) -> bool {
        self.find_at(hash, addr).is_some()
    }

    /// Points the entry at `new` only if it still points at `old`; its visits start anew.
    pub(crate) fn replace_if(&mut self, hash: u64, old: Addr, new: Addr, size_class: u8) -> bool {
        let found = self.find_at(hash, old);
        if let Some(place) = found {
            let payload = self.index.horizons.shorten(new, size_class, 0);
            let slots = &self.state.table.slots;
            slots.put(place, slots.spot(self.key(hash).x), payload);
        }
        found.is_some()
    }

    #[inline]
    pub(super) fn key(&self, hash: u64) -> Key {
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
        // The place that a prepared key would have taken may be another now.
        self.prepared = None;
        self.count_removed();
    }
}

/// Storing.
impl<X> ShardGuard<'_, X> {
    /// Takes in an entry of an image of this shard.
    pub(crate) fn load(&mut self, entry: ImageEntry, live: Live<'_>) {
        let key = self.index.geometry.key_of_identity(entry.identity);
        let visited = entry.visited;
        self.prepare_key(key);
        let payload = self
            .index
            .horizons
            .shorten(entry.addr, entry.size_class, visited);
        self.store(key, payload, live);
    }

    fn prepare_key(&mut self, key: Key) {
        let table = &self.state.table;
        table.slots.prefetch(table.slots.spot(key.x));
        let known = table.filter.may_contain(key.x);
        if !perennial_failpoints::planted!("filter-not-told") {
            table.filter.insert(key.x);
        }
        let identity = key.identity;
        self.prepared = Some(Prepared { identity, known });
    }

    pub(super) fn store(&mut self, key: Key, payload: Payload, live: Live<'_>) -> Option<Entry> {
        let prepared = self.prepared.expect("prepare comes before set");
        assert_eq!(prepared.identity, key.identity, "another key was prepared");
        // Most new keys need no search.
        let found = prepared.known.then(|| self.find(key)).flatten();
        let place = match found {
            Some((place, _)) => place,
            None => self.make_place(key, live),
        };
        // Again where that has grown the table, with a filter of the keys that are stored: nothing is prepared then.
        if self.prepared.is_none() && !perennial_failpoints::planted!("filter-not-told") {
            self.state.table.filter.insert(key.x);
        }
        let slots = &self.state.table.slots;
        let old = slots.put(place, slots.spot(key.x), payload);
        (!old.is_empty()).then(|| self.index.horizons.expand(old.payload()))
    }
}
