//! Readers without a lock against writers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use perennial_wal::Addr;

use super::{addr, all_live, enter, hash, index, put};
use crate::index::{Entry, Index};

/// Every address and class written here follows from the other, so a torn slot shows.
fn whole(units: u64) -> (Addr, u8) {
    let spread = units.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 26;
    (addr(spread), u8::try_from(spread % 63).unwrap() + 1)
}

fn is_whole(entry: Entry) -> bool {
    u64::from(entry.size_class) == entry.addr.units() % 63 + 1
}

/// Ends the readers' loops, also when a writer's assertion failed.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two readers look, again and again, while somebody writes.
fn look_while(look: impl Fn() + Sync, write: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    look();
                }
            });
        }
        write();
    });
}

fn put_whole(index: &Index<()>, hash: u64, units: u64) {
    let (addr, class) = whole(units);
    put(index, hash, addr, class);
}

#[test]
fn published_keys_are_found_while_tables_grow() {
    for (shards_log2, keys) in [(0, 60_000_u64), (2, 120_000)] {
        let index = index(shards_log2, 60);
        let published = AtomicU64::new(0);
        thread::scope(|scope| {
            for reader in 0..2 {
                let (index, published) = (&index, &published);
                scope.spawn(move || read_published(index, published, keys, reader));
            }
            // Readers need the last number to end; no assertion of ours stands before it.
            for n in 0..keys {
                put(&index, hash(n), addr(n), 1);
                published.store(n + 1, Ordering::Release);
            }
        });
        assert_eq!(index.len() as u64, keys);
    }
}

fn read_published(index: &Index<()>, published: &AtomicU64, keys: u64, reader: u64) {
    let mut step = reader;
    loop {
        let known = published.load(Ordering::Acquire);
        // Mostly the newest, which a growth may be moving; sometimes any.
        for back in 1..=known.min(20) {
            step += 1;
            let n = if step.is_multiple_of(4) {
                hash(step) % known
            } else {
                known - back
            };
            let found = index
                .get(hash(n))
                .unwrap_or_else(|| panic!("key {n} of {known} is gone"));
            assert_eq!(found.addr, addr(n));
        }
        if known == keys {
            return;
        }
    }
}

/// A nearly full table: new keys keep moving others about. It is small, so that readers are
/// often where the move is.
#[test]
fn keys_that_stay_are_found_while_others_are_moved() {
    for round in 0..40 {
        let index = index(0, 60);
        index.reserve_entries(1_000);
        let stay: Vec<u64> = (0..700).map(|n| hash(round * 1_000_000 + n)).collect();
        for (n, &key) in (0..).zip(&stay) {
            put(&index, key, addr(n), 1);
        }
        let look = || {
            for (n, &key) in (0..).zip(&stay) {
                assert_eq!(index.get(key).expect("never removed").addr, addr(n));
            }
        };
        let other = |n: u64| hash(round * 1_000_000 + 1_000 + n);
        look_while(look, || {
            for n in 0..10_000 {
                put(&index, other(n), addr(n), 1);
                if n >= 340 {
                    index.lock(other(n - 340)).remove(other(n - 340));
                }
            }
        });
    }
}

#[test]
fn no_reader_sees_a_torn_slot() {
    let index = index(1, 60);
    // Two shards, few keys: the writers change the same buckets over and over.
    let keys = [0, 1 << 63].map(|shard| (0..8).map(|k| shard | k << 55).collect::<Vec<u64>>());
    let look = || {
        for &key in keys.iter().flatten() {
            assert!(index.get(key).is_none_or(is_whole));
        }
    };
    look_while(look, || {
        thread::scope(|scope| {
            for mine in &keys {
                scope.spawn(|| write_over(&index, mine));
            }
        });
    });
}

fn write_over(index: &Index<()>, keys: &[u64]) {
    for n in 0..500_000 {
        let key = keys[usize::try_from(hash(n) % 8).unwrap()];
        if n % 16 == 0 {
            index.lock(key).remove(key);
        } else {
            put_whole(index, key, n);
        }
    }
}

#[test]
fn a_touch_never_brings_an_old_address_back() {
    let index = index(0, 46);
    let key = 0x5555 << 48;
    let touch = || {
        if let Some(entry) = index.get(key) {
            index.touch(key, entry.addr);
        }
    };
    look_while(touch, || {
        for n in 0..300_000 {
            let mut shard = index.lock(key);
            let (addr, class) = whole(n);
            enter(&mut shard, key, (addr, class), &all_live);
            let now = shard.get(key).unwrap();
            assert_eq!((now.addr, now.size_class), (addr, class));
            if n % 8 == 0 {
                assert_eq!(shard.remove(key).unwrap().addr, addr);
                assert_eq!(shard.get(key), None);
            }
        }
    });
}
