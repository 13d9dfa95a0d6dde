//! What is pinned, and how much it takes.
//!
//! ```text
//!   insert, pinned ─▶ log ─ its segment is reclaimed ─▶ a pinned segment: kept, in no policy's hands
//!      │ charged here, under the key's shard lock           packed again only once half of them is dead
//!      ▼
//!   identity ─▶ bytes       overwritten, removed, ended: given back
//! ```
//! Reclaim does not ask here: the trailer's row of a frame carries its flags. This table is for the sum, for an overwrite
//! does not read what it overwrites. It is not stored: checkpoints carry a bit with each entry, and rows the flag.

use std::collections::HashMap;

use perennial_wal::frame::flags;
use perennial_wal::segment::Row;

use crate::index::size_class;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// The place in the policy's order that says that a kept segment is in no policy's hands.
pub(crate) const PINNED_ORDER: u64 = u64::MAX;

const TABLES: u64 = 16;
/// Of a segment's trailer, for each entry.
const ROW_BYTES: u64 = 24;

/// The pinned entries by identity, and the sum of what they take. Who changes an entry holds its shard's lock (I13).
#[derive(Debug)]
pub(crate) struct Pins {
    identity_bits: u8,
    segment_bytes: u64,
    budget_bytes: AtomicU64,
    bytes: AtomicU64,
    entries: AtomicU64,
    /// Something was or is to be pinned in this life.
    in_use: AtomicBool,
    /// No pinned entry whose end is known ends before, in seconds since 1970.
    earliest_end_s: AtomicU64,
    tables: Vec<Mutex<HashMap<u64, Pin>>>,
}

/// One pinned entry.
#[derive(Debug, Clone, Copy)]
struct Pin {
    /// Bytes that it counts for.
    charge: u32,
    /// When it ends, in seconds since 1970; 0 = never, or nobody knows: a checkpoint and a row do not say.
    expiry: u32,
}

impl Pin {
    fn new(charge: u64, expiry: u32) -> Self {
        // No more than a segment.
        let charge = u32::try_from(charge).unwrap_or(u32::MAX);
        Self { charge, expiry }
    }

    fn has_ended(self, now_s: u64) -> bool {
        self.expiry != 0 && now_s >= u64::from(self.expiry)
    }
}

impl Pins {
    pub(crate) fn new(identity_bits: u8, segment_bytes: u64) -> Self {
        Self {
            identity_bits,
            segment_bytes,
            budget_bytes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            in_use: AtomicBool::new(false),
            earliest_end_s: AtomicU64::new(u64::MAX),
            tables: (0..TABLES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Pinned entries may take so much from now on.
    pub(crate) fn set_budget(&self, bytes: u64) {
        self.budget_bytes.store(bytes, Ordering::Relaxed);
    }

    /// More is pinned than may be: the capacity was larger.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.bytes() > self.budget_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    pub(crate) fn use_from_now_on(&self) {
        self.in_use.store(true, Ordering::Relaxed);
    }

    /// What an entry of this size class counts for. By class, so that a restart counts the same. One that takes more than
    /// half of a segment may be the only one there.
    pub(crate) fn charge(&self, class: u8) -> u64 {
        let bytes = u64::from(size_class::class_bound(class)) + ROW_BYTES;
        if bytes > self.segment_bytes / 2 {
            self.segment_bytes
        } else {
            bytes
        }
    }

    fn table(&self, hash: u64) -> (u64, &Mutex<HashMap<u64, Pin>>) {
        let identity = hash >> (64 - self.identity_bits);
        (identity, self.table_of(identity))
    }

    fn table_of(&self, identity: u64) -> &Mutex<HashMap<u64, Pin>> {
        &self.tables[perennial_wal::to_usize(identity % TABLES)]
    }

    fn charged(&self, hash: u64) -> u64 {
        let (identity, table) = self.table(hash);
        let pin = table.lock().get(&identity).copied();
        pin.map_or(0, |pin| u64::from(pin.charge))
    }

    /// Whether [`try_charge`](Self::try_charge) would.
    pub(crate) fn could_charge(&self, hash: u64, charge: u64) -> bool {
        let sum = (self.bytes() + charge).saturating_sub(self.charged(hash));
        sum <= self.budget_bytes.load(Ordering::Relaxed)
    }

    /// Charges a pinned entry in place of the key's older version. False: that is too much, and nothing has changed. Unless
    /// [`set`](Self::set) follows under the same lock it is to be [taken back](Self::take_back).
    pub(crate) fn try_charge(&self, hash: u64, charge: u64) -> bool {
        let (old, budget) = (
            self.charged(hash),
            self.budget_bytes.load(Ordering::Relaxed),
        );
        let add = |bytes: u64| Some(bytes + charge - old).filter(|sum| *sum <= budget);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.bytes.fetch_update(set, fetch, add).is_ok()
    }

    pub(crate) fn take_back(&self, hash: u64, charge: u64) {
        self.bytes.fetch_add(self.charged(hash), Ordering::Relaxed);
        self.bytes.fetch_sub(charge, Ordering::Relaxed);
    }

    /// The key's newest version is pinned, and charged already. `expiry`: when it ends, in seconds since 1970; 0 = never.
    pub(crate) fn set(&self, hash: u64, charge: u64, expiry: u32) {
        let (identity, table) = self.table(hash);
        let pin = Pin::new(charge, expiry);
        if table.lock().insert(identity, pin).is_none() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        if expiry != 0 {
            let end = u64::from(expiry);
            self.earliest_end_s.fetch_min(end, Ordering::Relaxed);
        }
    }

    /// Those whose time is over, by identity. Looks at all of them only when some are.
    pub(crate) fn ended(&self, now_s: u64) -> Vec<u64> {
        if now_s < self.earliest_end_s.load(Ordering::Relaxed) {
            return Vec::new();
        }
        // First: whoever comes to a table that was looked at says its own end.
        self.earliest_end_s.store(u64::MAX, Ordering::Relaxed);
        let mut ended = Vec::new();
        for table in &self.tables {
            for (identity, pin) in &*table.lock() {
                if pin.has_ended(now_s) {
                    ended.push(*identity);
                } else if pin.expiry != 0 {
                    let end = u64::from(pin.expiry);
                    self.earliest_end_s.fetch_min(end, Ordering::Relaxed);
                }
            }
        }
        ended
    }

    /// True while the key's newest version is pinned and its time is over.
    pub(crate) fn has_ended(&self, hash: u64, now_s: u64) -> bool {
        let (identity, table) = self.table(hash);
        let pin = table.lock().get(&identity).copied();
        pin.is_some_and(|pin| pin.has_ended(now_s))
    }

    /// The key has no version, or one that is not pinned. False: it had none before.
    pub(crate) fn forget(&self, hash: u64) -> bool {
        if self.entries() == 0 {
            return false;
        }
        let (identity, table) = self.table(hash);
        let pin = table.lock().remove(&identity);
        if let Some(pin) = pin {
            self.gone(1, u64::from(pin.charge));
        }
        pin.is_some()
    }

    fn gone(&self, entries: u64, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.entries.fetch_sub(entries, Ordering::Relaxed);
    }

    /// What is pinned, by identity, at one moment for each part of the table.
    pub(crate) fn identities(&self) -> Vec<u64> {
        let each = |table: &Mutex<HashMap<u64, Pin>>| -> Vec<u64> {
            // A copy: others hold this lock inside a shard's.
            table.lock().keys().copied().collect()
        };
        self.tables.iter().flat_map(each).collect()
    }

    /// Drops what `is_there` says no of, by identity. For who shares the table with nobody, or holds the locks of all shards.
    pub(crate) fn retain(&self, is_there: impl Fn(u64) -> bool) {
        let all = self.identities();
        for identity in all.into_iter().filter(|identity| !is_there(*identity)) {
            if let Some(pin) = self.table_of(identity).lock().remove(&identity) {
                self.gone(1, u64::from(pin.charge));
            }
        }
    }

    /// True for an identity whose newest version is pinned.
    pub(crate) fn has(&self, identity: u64) -> bool {
        self.entries() > 0 && self.table_of(identity).lock().contains_key(&identity)
    }
}

/// While a log is replayed: nothing is refused then.
impl Pins {
    /// An entry of a checkpoint.
    pub(crate) fn load(&self, identity: u64, class: u8) {
        let charge = self.charge(class);
        let pin = Pin::new(charge, 0);
        let old = self.table_of(identity).lock().insert(identity, pin);
        if old.is_none() {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        let old = old.map_or(0, |old| u64::from(old.charge));
        self.bytes.fetch_add(charge, Ordering::Relaxed);
        self.bytes.fetch_sub(old, Ordering::Relaxed);
    }

    /// What a put makes of its key.
    pub(crate) fn replay(&self, hash: u64, pinned: bool, class: u8) {
        if pinned {
            self.load(hash >> (64 - self.identity_bits), class);
        } else {
            self.forget(hash);
        }
    }

    pub(crate) fn clear(&self) {
        self.retain(|_| false);
    }
}

/// True for the row of a pinned entry.
pub(crate) const fn is_pinned(row: &Row) -> bool {
    row.flags & flags::PRIORITY == flags::PINNED
}

/// True for the row of an entry that is never kept.
pub(crate) const fn is_low(row: &Row) -> bool {
    row.flags & flags::PRIORITY == flags::LOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(budget: u64) -> Pins {
        let pins = Pins::new(64, 1 << 20);
        pins.set_budget(budget);
        pins
    }

    #[test]
    fn an_older_version_gives_its_bytes_to_the_newer() {
        let pins = pins(100);
        assert!(pins.try_charge(1, 60));
        pins.set(1, 60, 0);
        assert!(!pins.try_charge(2, 50), "too much");
        assert!(pins.try_charge(1, 100), "in place of itself");
        pins.take_back(1, 100);
        assert!(pins.try_charge(2, 40));
        pins.set(2, 40, 0);
        assert_eq!((pins.entries(), pins.bytes()), (2, 100));
        assert!(pins.forget(1) && !pins.forget(1));
        assert_eq!((pins.entries(), pins.bytes()), (1, 40));
        assert!(pins.has(2) && !pins.has(1));
        pins.retain(|identity| identity != 2);
        assert_eq!((pins.entries(), pins.bytes()), (0, 0));
    }

    #[test]
    fn those_that_ended_are_found_and_no_other() {
        let pins = pins(1_000);
        for (hash, expiry) in [(1, 0), (2, 10), (3, 20), (4, 30)] {
            assert!(pins.try_charge(hash, 10));
            pins.set(hash, 10, expiry);
        }
        let ended = |now_s| {
            let mut ended = pins.ended(now_s);
            ended.sort_unstable();
            ended
        };
        assert!(ended(9).is_empty());
        assert_eq!(ended(20), [2, 3]);
        assert!(pins.has_ended(3, 20) && !pins.has_ended(4, 20) && !pins.has_ended(1, 99));
        pins.forget(2);
        pins.set(3, 10, 40);
        assert!(ended(29).is_empty());
        assert_eq!(ended(30), [4]);
    }

    #[test]
    fn a_replay_ends_where_the_life_did() {
        let pins = pins(0);
        let class = size_class::class_of(100);
        pins.load(7, class);
        pins.replay(8, true, class);
        pins.replay(8, true, size_class::class_of(1_000));
        pins.replay(7, false, class);
        let charge = pins.charge(size_class::class_of(1_000));
        assert_eq!((pins.entries(), pins.bytes()), (1, charge));
        pins.clear();
        assert_eq!((pins.entries(), pins.bytes()), (0, 0));
    }

    #[test]
    fn what_takes_half_a_segment_counts_for_a_whole_one() {
        let pins = pins(0);
        let charge = |bytes| pins.charge(size_class::class_of(bytes));
        assert!((100..150).contains(&charge(100)));
        assert_eq!(charge(600 << 10), 1 << 20);
    }
}
