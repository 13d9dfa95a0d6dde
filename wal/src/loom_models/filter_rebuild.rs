//! A shard's filter built anew while another thread inserts and a third one reads: a model of the cache's `index/shard.rs`,
//! `rebuild.rs` and `tables.rs`, which lie above this crate. Two filters of one word each stand for the old and the new one, a
//! word for the slots, a number for the pointer.
//!
//! What must hold: a key whose insert has returned is let in by whatever filter a reader finds. The lock carries it: a key is
//! told to the published filter and stored under it, and the new filter is filled and published under it. That the
//! rebuilder lets go of the lock in between, that it publishes before it fills, or that the pointer is stored or loaded
//! without ordering, each breaks the model.

use std::sync::Arc;

use loom::thread;

use super::{Reached, check};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// There before; and inserted meanwhile.
const OLD: u64 = 1;
const NEW: u64 = 2;
/// A key that was removed: the reason for the new filter.
const GONE: u64 = 4;

/// What the models may weaken.
#[derive(Clone, Copy)]
struct Rules {
    /// The new filter is filled and published under one hold of the lock.
    locked: bool,
    /// It is filled before it is published.
    filled_first: bool,
    publish: Ordering,
    pin: Ordering,
}

const REAL: Rules = Rules {
    locked: true,
    filled_first: true,
    publish: Ordering::AcqRel,
    pin: Ordering::Acquire,
};

struct Shard {
    rules: Rules,
    lock: Mutex<()>,
    slots: AtomicU64,
    filters: [AtomicU64; 2],
    /// Which filter readers are shown.
    published: AtomicU64,
}

impl Shard {
    fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            lock: Mutex::new(()),
            slots: AtomicU64::new(OLD),
            filters: [AtomicU64::new(OLD | GONE), AtomicU64::new(0)],
            published: AtomicU64::new(0),
        })
    }

    fn filter(&self, order: Ordering) -> &AtomicU64 {
        &self.filters[crate::to_usize(self.published.load(order))]
    }

    fn add(word: &AtomicU64, key: u64) {
        // By the holder of the lock alone: no read-modify-write.
        word.store(word.load(Ordering::Relaxed) | key, Ordering::Relaxed);
    }

    fn insert(&self, key: u64) {
        let _held = self.lock.lock();
        Self::add(self.filter(Ordering::Relaxed), key);
        // The version of a bucket, as far as readers go: who sees the slot sees what came before.
        let slots = self.slots.load(Ordering::Relaxed);
        self.slots.store(slots | key, Ordering::Release);
    }

    fn rebuild(&self) {
        let held = self.lock.lock();
        let live = self.slots.load(Ordering::Relaxed);
        if self.rules.filled_first {
            Self::add(&self.filters[1], live);
        }
        let held = if self.rules.locked {
            held
        } else {
            drop(held);
            self.lock.lock()
        };
        self.published.swap(1, self.rules.publish);
        if !self.rules.filled_first {
            Self::add(&self.filters[1], live);
        }
        drop(held);
    }

    /// Whether the filter lets the key in, and which filter.
    fn asks(&self, key: u64) -> (bool, u64) {
        let which = self.published.load(self.rules.pin);
        let filter = self.filters[crate::to_usize(which)].load(Ordering::Relaxed);
        (filter & key != 0, which)
    }
}

fn model(rules: Rules, reached: &Reached, old_filter: &Reached) {
    let shard = Shard::new(rules);
    let returned = Arc::new(AtomicU64::new(0));
    let rebuilder = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || shard.rebuild())
    };
    let writer = {
        let (shard, returned) = (Arc::clone(&shard), Arc::clone(&returned));
        thread::spawn(move || {
            shard.insert(NEW);
            returned.store(1, Ordering::Release);
        })
    };
    assert!(shard.asks(OLD).0, "a key that was there all the time");
    if returned.load(Ordering::Acquire) == 1 {
        let (there, which) = shard.asks(NEW);
        assert!(there, "a key whose insert has returned");
        if which == 1 {
            reached.count();
        } else {
            old_filter.count();
        }
    }
    rebuilder.join().expect("no panic");
    writer.join().expect("no panic");
    let there = shard.asks(NEW) == (true, 1);
    assert!(there, "a key whose insert has returned, in the end");
    assert!(!shard.asks(GONE).0, "what it was built for");
}

fn run(rules: Rules) {
    let (new, old) = (Arc::new(Reached::default()), Arc::new(Reached::default()));
    let reached = [Arc::clone(&new), Arc::clone(&old)];
    check(move || model(rules, &new, &old));
    reached[0].assert("the new filter asked for a new key");
    reached[1].assert("the old filter asked for a new key");
}

#[test]
fn loom_a_filter_built_anew_knows_every_key_whose_insert_returned() {
    run(REAL);
}

#[test]
#[should_panic(expected = "a key whose insert has returned")]
fn weakened_loom_a_rebuild_that_lets_go_of_the_lock_drops_additions() {
    run(Rules {
        locked: false,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "a key whose insert has returned")]
fn weakened_loom_a_filter_published_before_it_is_filled_denies() {
    run(Rules {
        filled_first: false,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "a key whose insert has returned")]
fn weakened_loom_a_pointer_published_without_release_denies() {
    run(Rules {
        publish: Ordering::Relaxed,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "a key whose insert has returned")]
fn weakened_loom_a_pointer_loaded_without_acquire_denies() {
    run(Rules {
        pin: Ordering::Relaxed,
        ..REAL
    });
}
