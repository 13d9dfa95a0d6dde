//! From the hash of a key to the address of its newest frame.
//!
//! ```text
//!   hash -> identity -> shard | x        shard: lock, published table
//!                               |        table: bloom filter, slots
//!                               +-> home bucket, remainder -> slot: address, class, visited
//! ```
//!
//! No keys are in memory: the caller compares the full key with the frame it reads. Two keys of
//! one identity are one entry, the later replaces the earlier.
//!
//! What must hold:
//! - An entry changes only under its shard's lock; lookups take none. A reader sees an entry
//!   whole, as it was at some moment during the lookup.
//! - The filter of a published table knows every key in its slots, and every prepared one.
//! - Nobody looks at a shard, or locks it, before it is loaded.
//! - Every stored address is at most its horizon, and less than 8 TiB below it or dead.

#[cfg(feature = "model")]
mod bare;
mod bucket;
mod deferred;
mod enter;
mod entry;
mod filter;
mod filter_shape;
mod geometry;
mod growth;
mod lines;
mod pieces;
mod prefetch;
mod quotient;
mod readers;
mod rebuild;
mod room;
mod shard;
pub(crate) mod size_class;
mod slot;
mod slots;
mod stale;
mod table;
mod tables;
mod tally;
#[cfg(test)]
mod tests;
mod threads;

use crossbeam_utils::CachePadded;
use perennial_wal::Addr;

#[cfg(feature = "model")]
pub use bare::BareIndex;
pub(crate) use deferred::Image;
pub(crate) use entry::{Entry, ImageEntry};
pub(crate) use geometry::IndexGeometry;
pub(crate) use shard::{Live, ShardGuard};
pub(crate) use tally::{Outcome, ReadStats};

use deferred::Deferred;
use entry::Horizons;
use geometry::Key;
use shard::Shard;
use slots::Slots;
use stale::Stale;
use table::{Table, TableShape};
use tables::Tables;

use crate::sync::AtomicBool;

/// The index. `X` is what else the caller keeps under each shard's lock.
pub(crate) struct Index<X> {
    geometry: IndexGeometry,
    table_shape: TableShape,
    horizons: Horizons,
    stale: Stale,
    deferred: Deferred<X>,
    /// What lookups go by.
    tables: Tables,
    /// Whether the entries of a shard are in it (I15).
    loaded: Box<[AtomicBool]>,
    shards: Box<[CachePadded<Shard<X>>]>,
}

impl<X: Default> Index<X> {
    /// An empty index.
    ///
    /// # Panics
    /// When a number of the geometry is out of its range.
    pub(crate) fn new(geometry: IndexGeometry) -> Self {
        geometry.check();
        let table_shape = TableShape::new(&geometry);
        let shards = 1usize << geometry.shards_log2;
        let tables: Vec<_> = (0..shards).map(|_| Table::new(&table_shape)).collect();
        Self {
            geometry,
            table_shape,
            horizons: Horizons::default(),
            stale: Stale::new(geometry.fp_rate),
            deferred: Deferred::default(),
            tables: Tables::new(tables.iter().cloned()),
            loaded: (0..shards).map(|_| AtomicBool::new(true)).collect(),
            shards: tables
                .into_iter()
                .enumerate()
                .map(|(number, table)| CachePadded::new(Shard::new(number, table)))
                .collect(),
        }
    }
}

impl<X> Index<X> {
    /// From now on lookups make no fences, if the system can make them for who replaces a table. The first time in a process
    /// that may take twenty milliseconds.
    pub(crate) fn spare_fences(&self) {
        self.tables.spare_fences();
    }

    #[cfg(test)]
    pub(crate) fn geometry(&self) -> IndexGeometry {
        self.geometry
    }

    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Says that addresses of this kind now go up to `units`. Comes before any such `set`.
    pub(crate) fn set_horizon(&self, kept: bool, units: u64) {
        self.horizons.raise(kept, units);
    }

    /// The entry of a key, which may be one whose segment is gone. Takes no lock.
    pub(crate) fn get(&self, hash: u64) -> Option<Entry> {
        self.look_up(hash).ok()
    }

    /// The same by identity.
    pub(crate) fn get_identity(&self, identity: u64) -> Option<Entry> {
        self.find(self.geometry.key_of_identity(identity), false)
            .ok()
    }

    /// The entry of a key, or who says that there is none.
    pub(crate) fn look_up(&self, hash: u64) -> Result<Entry, Outcome> {
        self.find(self.geometry.key_of_hash(hash), false)
    }

    /// The same for a read, which [counts](Self::count) how it ended: but what the filter answers is counted here.
    #[inline]
    pub(crate) fn look_up_counted(&self, hash: u64) -> Result<Entry, Outcome> {
        self.find(self.geometry.key_of_hash(hash), true)
    }

    /// Most misses take no more than this.
    #[inline(always)]
    fn find(&self, key: Key, counted: bool) -> Result<Entry, Outcome> {
        self.touch_shard(key.shard);
        self.tables.read(key.shard, |table, inside| {
            if table.filter.may_contain(key.x) {
                return self.find_in_slots(&table.slots, key.x);
            }
            if counted {
                inside.count(Outcome::Negative);
            }
            Err(Outcome::Negative)
        })
    }

    #[inline(never)]
    fn find_in_slots(&self, slots: &Slots, x: u64) -> Result<Entry, Outcome> {
        let found = slots.find(slots.spot(x));
        let (_, slot) = found.ok_or(Outcome::FalsePositive)?;
        Ok(self.horizons.expand(slot.payload()))
    }

    /// Counts how a read ended.
    #[inline]
    pub(crate) fn count(&self, outcome: Outcome) {
        self.tables.count(outcome);
        if let Outcome::FalsePositive = outcome {
            self.stale.passed_in_vain(|| self.read_stats().absent());
        }
    }

    /// What the filter alone says; not counted.
    #[cfg(test)]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let key = self.geometry.key_of_hash(hash);
        self.tables
            .read(key.shard, |table, _| table.filter.may_contain(key.x))
    }

    /// Begins to load what an insert of this key will look at.
    pub(crate) fn prefetch(&self, hash: u64) {
        let key = self.geometry.key_of_hash(hash);
        self.tables.read(key.shard, |table, _| {
            table.filter.prefetch(key.x);
            table.slots.prefetch(table.slots.spot(key.x));
        });
    }

    /// Notes a visit to the entry, if it still points at `addr`.
    pub(crate) fn touch(&self, hash: u64, addr: Addr) {
        let key = self.geometry.key_of_hash(hash);
        self.tables.read(key.shard, |table, _| {
            let found = table.slots.find(table.slots.spot(key.x));
            if let Some((place, slot)) = found
                && self.horizons.expand(slot.payload()).addr == addr
                && table.slots.visit(place, slot)
            {
                self.tables.count(Outcome::Visit);
            }
        });
    }

    /// Locks the shard of a key.
    #[inline]
    pub(crate) fn lock(&self, hash: u64) -> ShardGuard<'_, X> {
        self.lock_shard(self.geometry.key_of_hash(hash).shard)
    }

    #[inline]
    pub(crate) fn lock_shard(&self, number: usize) -> ShardGuard<'_, X> {
        self.touch_shard(number);
        self.lock_unloaded(number)
    }

    /// Locks all shards, in their order.
    pub(crate) fn lock_all(&self) -> Vec<ShardGuard<'_, X>> {
        // First: nobody reads files under a shard's lock.
        self.load_all();
        (0..self.shards()).map(|n| self.lock_shard(n)).collect()
    }

    /// Waits for whoever holds the lock of any shard now, one shard after the other. Whoever stores something in a shard has
    /// loaded it before, so this loads none.
    pub(crate) fn pass_all_shards(&self) {
        (0..self.shards()).for_each(|number| drop(self.lock_unloaded(number)));
    }

    /// What the index knows of a hash. Keys of one identity are one entry.
    pub(crate) fn identity(&self, hash: u64) -> u64 {
        self.geometry.key_of_hash(hash).identity
    }

    /// A hash of this identity.
    pub(crate) fn hash_of(&self, identity: u64) -> u64 {
        identity << (64 - self.geometry.identity_bits)
    }

    /// Appends the live entries of a shard to `out` and erases the dead ones.
    pub(crate) fn image(&self, shard: usize, live: Live<'_>, out: &mut Vec<ImageEntry>) {
        self.lock_shard(shard).image(live, out);
    }

    /// Takes in an entry of an image.
    #[cfg(test)]
    pub(crate) fn load(&self, entry: ImageEntry, live: Live<'_>) {
        let key = self.geometry.key_of_identity(entry.identity);
        self.lock_shard(key.shard).load(entry, live);
    }

    /// Makes room for `entries` in all, so that loading them does not grow table by table.
    pub(crate) fn reserve_entries(&self, entries: usize) {
        let mean = entries.div_ceil(self.shards());
        // Shards differ by the square root of their share; two of these spare most of them from
        // growing.
        let most = mean + 2 * mean.isqrt();
        for number in 0..self.shards() {
            self.lock_shard(number).reserve_entries(most);
        }
    }

    /// Forgets everything, shard by shard.
    pub(crate) fn clear(&self) {
        for number in 0..self.shards() {
            self.lock_shard(number).clear();
        }
    }

    /// Slots in use, by entries that are dead but not yet swept, too.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let used = |shard| self.tables.read(shard, |table, _| table.slots.used());
        (0..self.shards()).map(used).sum()
    }

    /// Bytes of the tables and their filters.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes = |shard| self.tables.read(shard, |table, _| table.bytes());
        let shards = size_of_val(&*self.shards) + self.tables.bytes();
        (0..self.shards()).map(bytes).sum::<usize>() + shards
    }

    pub(crate) fn read_stats(&self) -> ReadStats {
        self.tables.read_stats()
    }

    /// How often visited bits were raised.
    pub(crate) fn visits(&self) -> u64 {
        self.tables.visits()
    }

    /// Filters built anew because they let too much through.
    pub(crate) fn filter_rebuilds(&self) -> u64 {
        self.stale.rebuilds()
    }
}
