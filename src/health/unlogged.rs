//! Entries of a cache whose log has failed and that goes on in memory.
//!
//! ```text
//!   insert, remove: shard lock ─► the key leaves the index ─► its newest value, or none, is here ─► shard free
//!   read:           index ─► nothing there ─► here
//! ```
//! So the order is decided where it always is, and an older version shows nowhere, also when the newer one had to make
//! room. Before the first of them changes anything, the log's tail says so, and the next open forgets what the log has (hole
//! 32 in `docs/recovery.md`). Until then nothing is in memory alone, and the log stands.

use std::hash::RandomState;
use std::sync::OnceLock;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Flights;
use crate::index::ShardGuard;
use crate::sync::Mutex;
use crate::value::{Inserted, Rejection, Value};
use crate::write::How;

type Values = Cache<Box<[u8]>, Held, Weight, RandomState>;

#[derive(Clone)]
struct Held {
    /// As in a frame.
    expiry: u32,
    value: Value,
}

#[derive(Clone)]
struct Weight;

/// What an entry takes beside key and value, roughly.
const OVERHEAD_BYTES: u64 = 96;

impl Weighter<Box<[u8]>, Held> for Weight {
    fn weight(&self, key: &Box<[u8]>, held: &Held) -> u64 {
        (key.len() + held.value.len()) as u64 + OVERHEAD_BYTES
    }
}

/// What is kept in memory alone, once anything is.
pub(crate) struct Unlogged {
    values: OnceLock<Values>,
    bytes: u64,
    /// The tail says that the log is not all there is. Held while it is made to, and while the cache is closed.
    noted: Mutex<bool>,
}

impl Unlogged {
    /// For at most so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            values: OnceLock::new(),
            bytes,
            noted: Mutex::new(false),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes > 0
    }

    /// True once what the log refuses is kept here.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.values.get().is_some()
    }

    pub(super) fn begin(&self) {
        let items = usize::try_from(self.bytes / 4096).unwrap_or(usize::MAX);
        let lifecycle = DefaultLifecycle::default();
        self.values.get_or_init(|| {
            let items = items.clamp(16, 1 << 20);
            Cache::with(items, self.bytes, Weight, RandomState::new(), lifecycle)
        });
    }
}

impl Engine {
    /// Keeps in memory what the log refused to take, where the policy is so. Nobody says of memory that it is durable.
    #[cold]
    pub(crate) fn insert_unlogged(
        &self,
        why: Error,
        key: &[u8],
        value: &[u8],
        how: How<'_>,
    ) -> Result<Inserted> {
        let Some(values) = self.instead_of_the_log(&why).filter(|_| !how.durable) else {
            return Err(why);
        };
        let hash = self.hash(key);
        let mut shard = self.index.lock(hash);
        let superseded = |shard: &mut ShardGuard<'_, Flights>| {
            let is_older = |flight| !shard.extra().is_newest(key, flight);
            how.only_for.is_some_and(is_older)
        };
        if superseded(&mut shard) {
            return Ok(Inserted::Rejected(Rejection::Superseded));
        }
        self.note_unlogged()?;
        self.forget_logged(&mut shard, key, hash);
        let held = Held {
            expiry: how.expiry,
            value: value.to_vec().into(),
        };
        values.insert(key.into(), held);
        // Too large for one of its parts.
        let kept = values.peek(key).is_some();
        drop(shard);
        if !kept {
            self.counters.rejected.add(1);
            return Ok(Inserted::Rejected(Rejection::Busy));
        }
        let bytes = (key.len() + value.len()) as u64;
        self.counters.unlogged.add(1);
        self.counters.inserts.add(1);
        self.counters.insert_bytes.add(bytes);
        self.counters.stored_bytes.add(bytes);
        Ok(Inserted::Stored)
    }

    /// Removes from memory and index where the log refused to take that. True: the policy is so.
    #[cold]
    pub(crate) fn remove_unlogged(&self, why: Error, key: &[u8], durable: bool) -> Result<()> {
        let Some(values) = self.instead_of_the_log(&why).filter(|_| !durable) else {
            return Err(why);
        };
        let hash = self.hash(key);
        let mut shard = self.index.lock(hash);
        self.note_unlogged()?;
        self.forget_logged(&mut shard, key, hash);
        values.remove(key);
        drop(shard);
        self.counters.unlogged.add(1);
        self.counters.removes.add(1);
        Ok(())
    }

    /// The newest value of a key that the index does not have, and its end has not come.
    #[cold]
    pub(crate) fn get_unlogged(&self, key: &[u8]) -> Option<Value> {
        let values = self.unlogged.values.get()?;
        let held = values.get(key)?;
        let ended = held.expiry != 0 && self.now_s() >= u64::from(held.expiry);
        (!ended).then_some(held.value)
    }

    /// True for who closes the gate. Whoever comes later notes nothing in the tail, which may be the next life's by then.
    pub(crate) fn close_gate(&self) -> bool {
        let _noted = self.unlogged.noted.lock();
        self.gate.close()
    }

    /// Before anything is in memory alone the tail says so, or the next open could bring back what it replaced.
    fn note_unlogged(&self) -> Result<()> {
        let mut noted = self.unlogged.noted.lock();
        if self.gate.is_closed() {
            return Err(Error::closed());
        }
        if !*noted {
            self.log.go_on_without();
            *noted = true;
        }
        Ok(())
    }

    fn instead_of_the_log(&self, why: &Error) -> Option<&Values> {
        let refused = why.kind() == ErrorKind::Poisoned;
        self.unlogged.values.get().filter(|_| refused)
    }

    fn forget_logged(&self, shard: &mut ShardGuard<'_, Flights>, key: &[u8], hash: u64) {
        if let Some(old) = shard.remove(hash) {
            self.ledger.subtract(old.addr);
        }
        self.pins.forget(hash);
        shard.extra().supersede(key);
    }
}
