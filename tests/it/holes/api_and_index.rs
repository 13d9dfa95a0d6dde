//! Holes 30 to 38: the face of the cache and its index.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perennial::{Cache, Inserted};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{identify, value};

use super::lab::{get, kill, open, roomy, tiny};

/// The entry was evicted, but its segment's file is not written over yet: recovery may find it again.
#[test]
fn hole_30_a_remove_of_an_evicted_key_is_remembered() {
    let machine = SimFs::new(1);
    let cache = open(&machine, tiny());
    cache.insert_durable("victim", [1; 300]).unwrap();
    cache.checkpoint().unwrap();
    let mut images = Vec::new();
    for n in 0..300_u32 {
        cache.insert(n.to_le_bytes(), [2; 300]).unwrap();
        if get(&cache, "victim").is_none() {
            images.push(machine.process_crash());
            cache.remove("victim").unwrap();
            break;
        }
    }
    let image = kill(&machine, cache);
    assert!(!images.is_empty(), "it was evicted");
    for seed in 0..20 {
        let flushed = image.process_crash();
        let cache = open(&flushed, tiny());
        assert_eq!(get(&cache, "victim"), None);
        cache.flush().unwrap();
        let image = kill(&flushed, cache).power_loss(seed);
        assert_eq!(get(&open(&image, tiny()), "victim"), None, "seed {seed}");
    }
}

/// The index knows nothing of the key, yet its plain remove is on no disk.
#[test]
fn hole_30_a_durable_remove_of_an_absent_key_is_durable() {
    for seed in 0..40 {
        let machine = SimFs::new(seed);
        let cache = open(&machine, roomy());
        cache.insert_durable("k", "v").unwrap();
        cache.remove("k").unwrap();
        cache.remove_durable("k").unwrap();
        std::mem::forget(cache);
        let cache = open(&machine.power_loss(seed), roomy());
        assert_eq!(get(&cache, "k"), None, "seed {seed}");
    }
}

/// Nothing is rejected for want of room: an insert makes room, or fails and leaves everything as it was.
#[test]
fn hole_31_an_insert_that_cannot_be_kept_leaves_the_older_version() {
    let machine = SimFs::new(3);
    let cache = open(&machine, tiny());
    cache.insert("k", "older").unwrap();
    let too_large = cache.insert("k", vec![0; 9_000]);
    assert_eq!(too_large.unwrap_err().kind(), perennial::ErrorKind::Invalid);
    assert_eq!(get(&cache, "k"), Some(b"older".to_vec()));
    for n in 0..500_u32 {
        let stored = cache.insert(n.to_le_bytes(), [1; 900]).unwrap();
        assert_eq!(stored, Inserted::Stored);
    }
    let cache = open(&kill(&machine, cache), tiny());
    assert!(matches!(get(&cache, "k").as_deref(), None | Some(b"older")));
}

/// One writer per key counts up; readers never see it count down, from whichever of tail, tier and disk they are served.
fn readers_never_go_back(cache: &Cache, rounds: u64) {
    let stop = AtomicBool::new(false);
    let key = |n: u64| format!("key-{n}");
    thread::scope(|scope| {
        for reader in 0..2_u64 {
            let stop = &stop;
            scope.spawn(move || {
                let mut seen = [0; 8];
                for n in (reader..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let (n, name) = (n % 8, key(n % 8));
                    let at = usize::try_from(n).unwrap();
                    let Some(found) = get(cache, &name) else {
                        continue;
                    };
                    let op = identify(name.as_bytes(), &found).unwrap();
                    assert!(op >= seen[at], "{name}: {op} after {}", seen[at]);
                    seen[at] = op;
                }
            });
        }
        for op in 1..rounds {
            let (n, name) = (op % 8, key(op % 8));
            if op % 29 == 0 {
                cache.remove(&name).unwrap();
                continue;
            }
            let len = if op % 13 == 0 { 5_000 } else { 40 + n * 60 };
            let value = value(name.as_bytes(), op, usize::try_from(len).unwrap());
            cache.insert(&name, value).unwrap();
            if op % 5 == 0 {
                // The others are read from disk, and into the tier.
                cache.flush().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn hole_34_no_reader_is_served_an_older_version_than_before() {
    readers_never_go_back(
        &open(&SimFs::new(4), roomy().memory_tier_bytes(64 << 10)),
        4_000,
    );
}

/// The same where segments are given up and their files written over under the readers.
#[test]
fn hole_25_readers_and_reclaim_share_no_lock_and_no_bytes() {
    readers_never_go_back(
        &open(&SimFs::new(5), tiny().memory_tier_bytes(16 << 10)),
        4_000,
    );
}
