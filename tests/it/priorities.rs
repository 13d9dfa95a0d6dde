//! What is pinned stays, what is of low priority is never kept, whatever the policy; and neither stops anything.

use std::collections::HashMap;
use std::time::Duration;

use perennial::{Cache, Eviction, InsertOptions, Inserted, Options, Priority, Rejection};
use perennial_failpoints::{Fs, SimFs};

use crate::small::{Rng, open};

const ALL: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];
const FULL: Inserted = Inserted::Rejected(Rejection::PinnedFull);

fn options(eviction: Eviction) -> Options {
    Options::new()
        .capacity_bytes(300 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .index_shards(2)
        .eviction(eviction)
        .background(false)
}

fn of(priority: Priority) -> InsertOptions {
    InsertOptions::new().priority(priority)
}

fn pin(cache: &Cache, key: &str, value: &[u8]) -> Inserted {
    cache.insert_with(key, value, of(Priority::Pinned)).unwrap()
}

fn churn(cache: &Cache, from: u32, n: u32, len: usize) {
    for n in from..from + n {
        cache.insert(n.to_le_bytes(), vec![0; len]).unwrap();
    }
}

fn holds(cache: &Cache, key: &str, value: &[u8]) -> bool {
    cache
        .get(key)
        .unwrap()
        .is_some_and(|found| *found == *value)
}

#[test]
fn what_is_pinned_is_never_evicted() {
    for eviction in ALL {
        // In the ring, as an extent, more than half of a segment.
        for len in [100, 3_000, 5_000] {
            let fs = SimFs::new(1);
            let cache = open(&fs, options(eviction)).unwrap();
            let keys: Vec<String> = (0..5).map(|n| format!("p{n}")).collect();
            for key in &keys {
                assert_eq!(pin(&cache, key, &vec![7; len]), Inserted::Stored);
            }
            let all = |cache: &Cache| keys.iter().all(|key| holds(cache, key, &vec![7; len]));
            for round in 0..4 {
                churn(&cache, round * 1_000, 1_000, 700);
                assert!(all(&cache), "{eviction:?} {len} {}", cache.stats());
            }
            assert!(cache.stats().evicted > 3_000);
            assert_eq!(cache.stats().pinned_entries, 5);
            let killed = fs.process_crash();
            cache.flush().unwrap();
            let dark = fs.power_loss(7);
            cache.close().unwrap();
            for disk in [&fs, &killed, &dark] {
                let cache = open(disk, options(eviction)).unwrap();
                let stats = cache.stats();
                assert_eq!((stats.pinned_entries, stats.pinned_lost), (5, 0));
                churn(&cache, 10_000, 2_000, 700);
                assert!(
                    all(&cache),
                    "{eviction:?} {len}: still pinned after a restart"
                );
                assert_eq!(cache.stats().pinned_lost, 0);
                assert_eq!(cache.stats().damaged, 0);
            }
            let report = perennial::verify_with(std::sync::Arc::new(fs), crate::small::DIR);
            assert!(report.unwrap().problems.is_empty());
        }
    }
}

#[test]
fn what_would_be_too_much_is_rejected_and_the_older_version_goes() {
    for eviction in ALL {
        let fs = SimFs::new(1);
        let cache = open(&fs, options(eviction).pinned_percent(20)).unwrap();
        cache.insert("last", "older").unwrap();
        let fits = (0..).take_while(|n| pin(&cache, &format!("p{n}"), &[1; 1000]) != FULL);
        let fits = u32::try_from(fits.count()).unwrap();
        // A fifth of the capacity, in entries of a little more than a kilobyte.
        assert!((40..60).contains(&fits), "{eviction:?} {fits}");
        assert!(cache.stats().pinned_bytes <= (300 << 10) / 5);
        assert_eq!(pin(&cache, "last", &[1; 1000]), FULL);
        assert!(!cache.contains("last").unwrap());
        assert_eq!(cache.stats().rejected, 2);
        // In place of itself there is room; what grows has none.
        assert_eq!(pin(&cache, "p3", &[2; 1000]), Inserted::Stored);
        assert_eq!(pin(&cache, "p3", &[2; 4000]), FULL);
        assert!(!cache.contains("p3").unwrap());
        // What is removed, overwritten or over gives its bytes back.
        let before = cache.stats().pinned_bytes;
        cache.remove("p4").unwrap();
        cache.insert("p5", "not pinned").unwrap();
        cache.insert_with_len("p6", 10, |_| Err("no")).unwrap_err();
        let each = before / u64::from(fits - 1);
        assert_eq!(cache.stats().pinned_bytes, before - 3 * each);
        let short = of(Priority::Pinned).ttl(Duration::from_secs(9));
        assert_eq!(
            cache.insert_with("p7", [1; 1000], short).unwrap(),
            Inserted::Stored
        );
        fs.advance(10_000);
        assert!(!cache.contains("p7").unwrap());
        assert_eq!(cache.stats().pinned_bytes, before - 4 * each);
        // With the one of `p3`.
        for n in 0..5 {
            let key = format!("q{n}");
            assert_eq!(pin(&cache, &key, &[1; 1000]), Inserted::Stored);
        }
        assert_eq!(pin(&cache, "q5", &[1; 1000]), FULL);
        // As much as before the restart.
        let before = cache.stats();
        cache.close().unwrap();
        let cache = open(&fs, options(eviction).pinned_percent(20)).unwrap();
        let after = cache.stats();
        assert_eq!(
            (after.pinned_entries, after.pinned_bytes),
            (before.pinned_entries, before.pinned_bytes)
        );
        assert_eq!(pin(&cache, "q5", &[1; 1000]), FULL);
        assert_eq!(after.pinned_lost, 0);
    }
}

#[test]
fn nothing_is_pinned_where_nothing_may_be() {
    let cache = open(&SimFs::new(1), options(Eviction::Fifo).pinned_percent(0)).unwrap();
    cache.insert("k", "older").unwrap();
    assert_eq!(pin(&cache, "k", b"v"), FULL);
    assert!(!cache.contains("k").unwrap());
    let error = open(&SimFs::new(1), options(Eviction::Fifo).pinned_percent(36)).unwrap_err();
    assert!(error.to_string().contains("0 to 35"), "{error}");
}

#[test]
fn what_is_of_low_priority_is_never_kept() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        let cache = open(&SimFs::new(1), options(eviction)).unwrap();
        for n in 0..10 {
            cache
                .insert_with(format!("low{n}"), [1; 300], of(Priority::Low))
                .unwrap();
            cache
                .insert_with(format!("normal{n}"), [1; 300], of(Priority::Normal))
                .unwrap();
            let extent = of(Priority::Low);
            cache
                .insert_with(format!("large{n}"), [1; 1_500], extent)
                .unwrap();
        }
        let there = |name: &str| {
            let keys = (0..10).map(|n| format!("{name}{n}"));
            keys.filter(|key| cache.contains(key).unwrap()).count()
        };
        for n in 0..2_000_u32 {
            cache.insert(n.to_le_bytes(), [1; 300]).unwrap();
            let read = there("normal") + there("low") + there("large");
            assert!(read >= 10, "{eviction:?}");
        }
        assert_eq!(there("normal"), 10, "{eviction:?}");
        assert_eq!(there("low") + there("large"), 0, "{eviction:?}");
    }
}

/// Pinned entries of all sizes that are replaced and removed all the time, until nothing more may be pinned: each is there
/// as it was stored last, and there is always room for what is not pinned.
#[test]
fn pinned_entries_that_change_all_the_time_stop_nothing() {
    for (capacity, seed) in [(96 << 10, 1), (160 << 10, 2), (300 << 10, 3), (1 << 20, 4)] {
        for eviction in ALL {
            let mut rng = Rng(seed);
            let options = || {
                options(eviction)
                    .capacity_bytes(capacity)
                    .pinned_percent(35)
            };
            let fs = SimFs::new(seed);
            let mut cache = open(&fs, options()).unwrap();
            let mut model: HashMap<String, Vec<u8>> = HashMap::new();
            let (mut lost, mut full) = (0, 0);
            for op in 0..12_000_u32 {
                let key = format!("p{}", rng.below(60));
                match rng.below(24) {
                    0..=7 => {
                        let len = match rng.below(6) {
                            0 => rng.below(5_000),
                            _ => rng.below(900),
                        };
                        let mut value = vec![1; usize::try_from(len).unwrap()];
                        value.extend(op.to_le_bytes());
                        match pin(&cache, &key, &value) {
                            Inserted::Stored => drop(model.insert(key, value)),
                            _ => {
                                full += 1;
                                drop(model.remove(&key));
                            }
                        }
                    }
                    8 => {
                        cache.remove(&key).unwrap();
                        model.remove(&key);
                    }
                    9 if op % 50 == 0 => {
                        lost += cache.stats().pinned_lost;
                        cache.close().unwrap();
                        cache = open(&fs, options()).unwrap();
                    }
                    _ => churn(&cache, 1_000 * op, 1, 700),
                }
                if op % 100 == 0 {
                    for (key, value) in &model {
                        assert!(
                            holds(&cache, key, value),
                            "{eviction:?} {capacity} {op} {key}"
                        );
                    }
                    assert_eq!(cache.stats().pinned_entries, model.len() as u64);
                }
                assert!(cache.stats().file_bytes <= capacity);
            }
            assert_eq!(
                lost + cache.stats().pinned_lost,
                0,
                "{eviction:?} {capacity}"
            );
            assert!(full > 0 || capacity == 1 << 20, "{eviction:?} {capacity}");
            for key in model.keys() {
                cache.remove(key).unwrap();
            }
            let stats = cache.stats();
            assert_eq!((stats.pinned_entries, stats.pinned_bytes), (0, 0));
        }
    }
}

/// Writers that are quicker than the upkeep cost no pinned entry.
#[test]
fn threads_that_fill_the_cache_leave_what_is_pinned() {
    for eviction in ALL {
        let fs = SimFs::new(1);
        let options = options(eviction)
            .capacity_bytes(1 << 20)
            .tail_bytes(64 << 10)
            .background(true);
        let cache = open(&fs, options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let cache = &cache;
                scope.spawn(move || {
                    for n in 0..3_000 {
                        churn(cache, thread << 20 | n, 1, 500);
                        if n % 100 == 0 {
                            let key = format!("p{thread}-{}", n / 100 % 10);
                            assert_eq!(pin(cache, &key, &[1; 1000]), Inserted::Stored);
                        }
                    }
                });
            }
        });
        let there = |n: &u32| holds(&cache, &format!("p{}-{}", n / 10, n % 10), &[1; 1000]);
        assert_eq!(
            (0..40).filter(there).count(),
            40,
            "{eviction:?} {:?}",
            cache.stats()
        );
        assert_eq!(cache.stats().pinned_lost, 0);
    }
}

/// What was pinned under other options stays as far as it fits, and is in nobody's way.
#[test]
fn less_may_be_pinned_later() {
    for eviction in ALL {
        let fs = SimFs::new(1);
        let cache = open(&fs, options(eviction).pinned_percent(35)).unwrap();
        let fits = (0..).take_while(|n| pin(&cache, &format!("p{n}"), &[1; 1000]) != FULL);
        let fits = fits.count() as u64;
        churn(&cache, 0, 1_000, 700);
        cache.close().unwrap();
        let cache = open(&fs, options(eviction).pinned_percent(1)).unwrap();
        churn(&cache, 2_000, 1_000, 700);
        assert_eq!(cache.stats().pinned_entries, fits, "{eviction:?}");
        assert_eq!(pin(&cache, "more", b"v"), FULL);
        cache.close().unwrap();
        for capacity in [200 << 10, 100 << 10, 64 << 10] {
            let cache = open(&fs, options(eviction).capacity_bytes(capacity)).unwrap();
            churn(&cache, 4_000, 1_000, 700);
            let stats = cache.stats();
            assert!(stats.file_bytes <= capacity, "{eviction:?} {stats}");
            let there = (0..fits).filter(|n| cache.contains(format!("p{n}")).unwrap());
            assert_eq!(there.count() as u64, stats.pinned_entries, "{eviction:?}");
            cache.close().unwrap();
        }
    }
}

/// The machine's clock is the file system's.
#[test]
fn pinned_is_not_for_ever() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(Eviction::S3Merge)).unwrap();
    let how = of(Priority::Pinned).ttl(Duration::from_secs(60));
    cache.insert_with("p", [1; 300], how).unwrap();
    churn(&cache, 0, 1_000, 700);
    assert!(holds(&cache, "p", &[1; 300]));
    let before = fs.unix_time_ms();
    fs.advance(61_000);
    assert!(fs.unix_time_ms() > before && !cache.contains("p").unwrap());
    assert_eq!(cache.stats().pinned_entries, 0);
}

/// Who hears of evictions has each entry taken out of the index before its segment goes: what it was charged with is given
/// back all the same.
#[test]
fn what_has_ended_gives_its_share_back_with_a_listener_too() {
    for eviction in ALL {
        for listens in [false, true] {
            let fs = SimFs::new(1);
            let mut options = options(eviction);
            if listens {
                options = options.on_evict(|_: &[u8], _: u64, _: perennial::EvictReason| ());
            }
            let cache = open(&fs, options).unwrap();
            let how = of(Priority::Pinned).ttl(Duration::from_secs(60));
            for n in 0..20 {
                let stored = cache.insert_with(format!("p{n}"), [1; 300], how.clone());
                assert_eq!(stored.unwrap(), Inserted::Stored);
            }
            fs.advance(61_000);
            churn(&cache, 0, 2_000, 700);
            let stats = cache.stats();
            let left = (stats.pinned_entries, stats.pinned_bytes);
            assert_eq!(left, (0, 0), "{eviction:?}, listens: {listens}");
            assert_eq!(stats.pinned_lost, 20, "{eviction:?}, listens: {listens}");
        }
    }
}

/// Nobody looks at them, and their segments are full of what is live, as far as anybody knew.
#[test]
fn what_has_ended_makes_room_for_what_is_pinned_next() {
    for eviction in ALL {
        // In the ring, and as an extent.
        for len in [700, 2_000] {
            let fs = SimFs::new(1);
            let cache = open(&fs, options(eviction)).unwrap();
            let short = of(Priority::Pinned).ttl(Duration::from_secs(60));
            let fits = |how: InsertOptions| {
                let stored = |n: &u32| {
                    let key = format!("{how:?}{n}");
                    cache.insert_with(key, vec![1; len], how.clone()).unwrap() == Inserted::Stored
                };
                (0..).take_while(stored).count() as u64
            };
            let fit = fits(short);
            churn(&cache, 0, 1_000, 700);
            assert_eq!(
                cache.stats().pinned_entries,
                fit,
                "they are in segments of their own"
            );
            fs.advance(61_000);
            assert_eq!(fits(of(Priority::Pinned)), fit, "{eviction:?} {len}");
            assert_eq!(cache.stats().pinned_entries, fit);
            assert_eq!((cache.stats().expired, cache.stats().pinned_lost), (fit, 0));
            churn(&cache, 10_000, 1_000, 700);
            assert_eq!(cache.stats().pinned_entries, fit);
        }
    }
}
