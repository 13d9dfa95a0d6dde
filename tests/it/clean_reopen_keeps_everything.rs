//! A cache that was closed is found as it was: nothing lost, nothing back, nothing old.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::scope;

use perennial::{Cache, Options};
use perennial_failpoints::lab::{identify, value};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use crate::small::{self, Rng};

/// The defaults in a smaller size: the same ratios, threads included.
fn options() -> Options {
    Options::new().capacity_bytes(64 << 20)
}

#[test]
fn what_eight_threads_inserted_is_there_and_what_they_removed_is_not() {
    const KEYS: u64 = 2_000;
    let fs = SimFs::new(1);
    let cache = small::open(&fs, options()).unwrap();
    let key_of = |thread: u64, n: u64| format!("{thread}/{n}").into_bytes();
    scope(|s| {
        for thread in 0..8 {
            let cache = &cache;
            s.spawn(move || {
                for n in 0..KEYS {
                    let key = key_of(thread, n);
                    let len = usize::try_from(n % 700).unwrap();
                    cache.insert(&key, value(&key, n, len)).unwrap();
                    if n % 5 == 0 {
                        cache.remove(&key).unwrap();
                    }
                }
            });
        }
    });
    let check = |cache: &Cache, when: &str| {
        for (thread, n) in (0..8).flat_map(|thread| (0..KEYS).map(move |n| (thread, n))) {
            let key = key_of(thread, n);
            let found = cache.get(&key).unwrap();
            let shown = found.map(|found| identify(&key, &found).unwrap());
            assert_eq!(shown, (n % 5 != 0).then_some(n), "{when}: {thread}/{n}");
        }
        assert_eq!(cache.stats().evicted, 0, "{when}");
        assert_eq!(cache.stats().entries, 8 * KEYS * 4 / 5, "{when}");
    };
    check(&cache, "running");
    cache.close().unwrap();
    for (when, fs) in [
        ("reopened", fs.clone()),
        ("after a power cut", fs.power_loss(1)),
        ("reopened once more", fs),
    ] {
        let cache = small::open(&fs, options()).unwrap();
        check(&cache, when);
        cache.close().unwrap();
    }
}

#[test]
fn many_short_lives_in_a_row_lose_and_evict_nothing() {
    for options in [options(), small::options().capacity_bytes(1 << 20)] {
        let fs = SimFs::new(1);
        let mut known: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for life in 0..60 {
            let cache = small::open(&fs, options.clone()).unwrap();
            for (key, op) in &known {
                let found = cache
                    .get(key)
                    .unwrap()
                    .unwrap_or_else(|| panic!("life {life}: lost"));
                assert_eq!(identify(key, &found).unwrap(), *op, "life {life}");
            }
            assert_eq!(cache.stats().entries, known.len() as u64, "life {life}");
            for n in 0..life % 4 {
                let key = format!("{}/{n}", life % 30).into_bytes();
                cache.insert(&key, value(&key, life, 50)).unwrap();
                known.insert(key, life);
            }
            if life % 7 == 3 {
                let key = format!("{}/0", life - 1).into_bytes();
                cache.remove(&key).unwrap();
                known.remove(&key);
            }
            assert_eq!(cache.stats().evicted, 0, "life {life}");
            cache.close().unwrap();
        }
    }
}

#[test]
fn opening_and_closing_alone_costs_no_space() {
    let fs = SimFs::new(1);
    let mut sizes = Vec::new();
    for _ in 0..40 {
        let cache = small::open(&fs, small::options().capacity_bytes(1 << 20)).unwrap();
        cache.get("nothing").unwrap();
        cache.close().unwrap();
        sizes.push(fs.total_bytes(std::path::Path::new(small::DIR)));
    }
    assert!(sizes[39] <= sizes[0] + (16 << 10), "{sizes:?}");
}

/// 30,000 updates of 2,000 keys by four threads; the peer that this is meant to beat shows old values of most keys.
#[test]
fn a_burst_of_updates_leaves_no_old_value() {
    const KEYS: usize = 2_000;
    let fs = SimFs::new(1);
    let cache = small::open(&fs, options()).unwrap();
    let newest: Vec<Mutex<u64>> = (0..KEYS).map(|_| Mutex::new(0)).collect();
    let issued = AtomicU64::new(0);
    let key_of = |n: usize| format!("key-{n}").into_bytes();
    scope(|s| {
        for thread in 0..4 {
            let (cache, newest, issued) = (&cache, &newest, &issued);
            s.spawn(move || {
                let mut rng = Rng(thread);
                for _ in 0..7_500 {
                    let n = usize::try_from(rng.below(KEYS as u64)).unwrap();
                    // The lock makes "newest" well defined; keys are updated by all threads all the same.
                    let mut newest = newest[n].lock().unwrap();
                    *newest = issued.fetch_add(1, Ordering::Relaxed) + 1;
                    let key = key_of(n);
                    cache.insert(&key, value(&key, *newest, 200)).unwrap();
                }
            });
        }
    });
    let old = |cache: &Cache| {
        let is_old = |n: &usize| {
            let (key, newest) = (key_of(*n), *newest[*n].lock().unwrap());
            let found = cache.get(&key).unwrap();
            found.map_or(0, |found| identify(&key, &found).unwrap()) != newest
        };
        (0..KEYS).filter(is_old).count()
    };
    assert_eq!(old(&cache), 0, "right after the burst");
    cache.close().unwrap();
    let cache = small::open(&fs, options()).unwrap();
    assert_eq!(old(&cache), 0, "after a reopen");
    drop(cache);
    let cache = small::open(&fs.process_crash(), options()).unwrap();
    assert_eq!(old(&cache), 0, "after another");
}

/// The same on the machine's own file system, with the defaults as they are.
#[test]
fn the_defaults_on_a_real_disk_keep_everything() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().capacity_bytes(256 << 20);
    let key_of = |n: u64| format!("key-{n}").into_bytes();
    for life in 0..3 {
        let cache = Cache::open(dir.path(), options()).unwrap();
        scope(|s| {
            for thread in 0..8 {
                let cache = &cache;
                s.spawn(move || {
                    for n in (thread..4_000).step_by(8) {
                        let key = key_of(n);
                        if life > 0 {
                            let found = cache.get(&key).unwrap().expect("there");
                            assert_eq!(identify(&key, &found).unwrap(), life - 1);
                        }
                        cache.insert(&key, value(&key, life, 1_000)).unwrap();
                    }
                });
            }
        });
        assert_eq!(cache.stats().evicted, 0);
        cache.close().unwrap();
    }
}

/// A program that opens the cache to store one entry leaves a cache with all of them: a life that ended cleanly is gone on
/// with. When each of them joined a segment, sixteen filled one, and the oldest entries went after a hundred.
#[test]
fn four_hundred_lives_of_one_entry_each_fit_where_their_bytes_do() {
    let options = Options::new()
        .capacity_bytes(2 << 20)
        .segment_bytes(64 << 10)
        .background(false);
    let mut fs = SimFs::new(3);
    for n in 0..400_u64 {
        let cache = small::open(&fs, options.clone()).unwrap();
        let key = n.to_le_bytes();
        cache.insert(key, value(&key, n, 100)).unwrap();
        if n % 3 == 0 {
            cache.remove((n / 3).to_le_bytes()).unwrap();
        }
        cache.close().unwrap();
        if n % 7 == 0 {
            fs = fs.power_loss(n);
        }
    }
    let cache = small::open(&fs, options).unwrap();
    for n in 0..400_u64 {
        let found = cache.get(n.to_le_bytes()).unwrap();
        assert_eq!(found.is_some(), n > 133, "{n}");
    }
    assert_eq!(cache.stats().evicted, 0);
}

/// An open and a close that store nothing write nothing to the log, and one that stores little writes no image of the index.
#[test]
fn a_close_costs_what_was_stored_and_not_what_is_there() {
    let fs = SimFs::new(4);
    let cache = small::open(&fs, options()).unwrap();
    for n in 0..50_000_u64 {
        cache.insert(n.to_le_bytes(), [7; 20]).unwrap();
    }
    cache.close().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    for n in 0..4_u64 {
        let written = Arc::clone(&written);
        let count = move |call: &Call<'_>| {
            if call.kind == CallKind::Write {
                written.fetch_add(call.len, Ordering::Relaxed);
            }
            Action::Pass
        };
        let fs = FaultFs::new(Arc::new(fs.clone()), Plan::new(count));
        let cache = Cache::open_with(Arc::new(fs), small::DIR, options()).unwrap();
        assert!(cache.stats().replayed < 10, "{}", cache.stats());
        assert_eq!(cache.stats().entries, 50_000);
        cache.insert(n.to_le_bytes(), [8; 20]).unwrap();
        cache.close().unwrap();
    }
    let cache = small::open(&fs, options()).unwrap();
    let written = written.load(Ordering::Relaxed);
    // An image of the index alone is larger.
    assert!(written < 800_000, "{written} bytes");
    assert_eq!(cache.stats().recovered_from_checkpoint, 50_000);
    let newest = cache.get(3_u64.to_le_bytes()).unwrap().unwrap();
    assert_eq!(newest[..], [8; 20]);
}
