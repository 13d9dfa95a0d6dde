//! Shards whose entries are still elsewhere: they are loaded when they are first touched.
//!
//! ```text
//!   touch ─► loaded? ── yes ──────────────────────────────► the shard
//!               └ no ─► the shard's turn ─► files are read ─► its lock: entries, then what came later ─► loaded (release)
//! ```
//! I15 in `docs/concurrency.md`. Nobody looks at a shard, or locks it, who has not seen that it is loaded. So one thread
//! fills it, whoever wants it meanwhile waits for that thread and no other, and no lookup sees half of it.

use std::sync::Arc;

use super::Index;
use super::shard::ShardGuard;
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Where the entries of shards come from that are not loaded yet.
pub(crate) trait Image<X>: Send + Sync {
    /// Stores the entries of the shard `number` in it. It reads files, and takes the shard's lock by
    /// [`Index::lock_unloaded`] when it has: nobody waits for the disk under that.
    fn load(&self, number: usize, index: &Index<X>);
}

pub(super) struct Deferred<X> {
    image: Option<Arc<dyn Image<X>>>,
    /// Taken by who loads a shard, before anything else.
    turns: Box<[Mutex<()>]>,
    left: AtomicUsize,
}

impl<X> Default for Deferred<X> {
    fn default() -> Self {
        Self {
            image: None,
            turns: Box::default(),
            left: AtomicUsize::new(0),
        }
    }
}

impl<X> Index<X> {
    /// From now on every shard gets its entries from `image` when it is first touched. Before the index is shared.
    pub(crate) fn defer(&mut self, image: Arc<dyn Image<X>>) {
        for loaded in &self.loaded {
            loaded.store(false, Ordering::Relaxed);
        }
        self.deferred = Deferred {
            image: Some(image),
            turns: self.shards.iter().map(|_| Mutex::new(())).collect(),
            left: AtomicUsize::new(self.shards.len()),
        };
    }

    /// True once every shard is loaded.
    pub(crate) fn is_whole(&self) -> bool {
        // Acquire, with the release in `load_shard`.
        self.deferred.left.load(Ordering::Acquire) == 0
    }

    /// Loads what is not loaded yet. Under no shard's lock.
    pub(crate) fn load_all(&self) {
        if !self.is_whole() {
            (0..self.shards()).for_each(|number| self.touch_shard(number));
        }
    }

    /// Sees to it that a shard is loaded. Under no shard's lock.
    #[inline]
    pub(crate) fn touch_shard(&self, number: usize) {
        // Acquire, with the release in `load_shard`: who sees it sees the entries.
        if !self.loaded[number].load(Ordering::Acquire) {
            self.load_shard(number);
        }
    }

    pub(super) fn is_loaded(&self, number: usize) -> bool {
        self.loaded[number].load(Ordering::Acquire)
    }

    /// Whether a look at this hash finds its shard loaded.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_loaded_for(&self, hash: u64) -> bool {
        self.is_loaded(self.geometry.key_of_hash(hash).shard)
    }

    #[cold]
    fn load_shard(&self, number: usize) {
        let _turn = self.deferred.turns[number].lock();
        let loaded = &self.loaded[number];
        if loaded.load(Ordering::Acquire) {
            return;
        }
        if perennial_failpoints::planted!("shard-published-before-it-is-whole") {
            loaded.store(true, Ordering::Release);
        }
        if let Some(image) = &self.deferred.image {
            image.load(number, self);
        }
        perennial_failpoints::site!("index::loaded");
        loaded.store(true, Ordering::Release);
        self.deferred.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// The lock of a shard for who loads it.
    pub(crate) fn lock_unloaded(&self, number: usize) -> ShardGuard<'_, X> {
        self.shards[number].lock(self, number)
    }

    /// The shard of a key.
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        self.geometry.key_of_hash(hash).shard
    }
}
