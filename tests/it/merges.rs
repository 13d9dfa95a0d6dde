//! What is read stays, whichever policy keeps it; through kills and power losses, too.

use std::sync::Arc;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{identify, value};

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

fn open(fs: &SimFs, eviction: Eviction) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), "/cache", options(eviction)).unwrap()
}

fn key(n: u64) -> String {
    format!("key-{n}")
}

fn put(cache: &Cache, n: u64, len: usize) {
    cache
        .insert(key(n), value(key(n).as_bytes(), n + 1, len))
        .unwrap();
}

/// How many of the keys are there; each with its own value.
fn there(cache: &Cache, keys: impl Iterator<Item = u64>) -> usize {
    let found = |n: &u64| {
        let found = cache.get(key(*n)).unwrap();
        let op = found.map(|found| identify(key(*n).as_bytes(), &found).unwrap());
        assert!(op.is_none_or(|op| op == n + 1), "{n}: {op:?}");
        op.is_some()
    };
    keys.filter(found).count()
}

/// Twenty keys that are read all the time, among many that are not.
fn churn(cache: &Cache, from: u64, to: u64, len: usize) {
    for n in from..to {
        put(cache, n, len);
        if n % 8 == 0 {
            there(cache, 0..20);
        }
    }
}

const KEEPING: [Eviction; 2] = [Eviction::Clock, Eviction::S3Merge];

#[test]
fn what_is_read_stays() {
    for eviction in KEEPING {
        for len in [100, 700, 3_000] {
            let cache = open(&SimFs::new(1), eviction);
            let many = 3_000_000 / len as u64;
            churn(&cache, 0, many, len);
            assert_eq!(
                there(&cache, 0..20),
                20,
                "{eviction:?} {len}\n{}",
                cache.stats()
            );
            assert!(cache.stats().evicted > many / 2);
            assert!(cache.stats().moved >= 20);
            println!("{eviction:?} {len} {}", cache.stats());
            println!("{:?}", cache.stats());
        }
    }
}

/// Of what is asked for again at once nobody knows whether it is wanted later.
#[test]
fn what_is_read_while_it_is_young_alone_is_not_kept() {
    let left = |eviction, read_at: u64| {
        let cache = open(&SimFs::new(1), eviction);
        (10_000..10_200).for_each(|n| put(&cache, n, 700));
        for n in 0..400 {
            put(&cache, n, 700);
            if n == read_at {
                assert_eq!(there(&cache, 0..20), 20);
            }
        }
        there(&cache, 0..20)
    };
    assert_eq!(left(Eviction::Clock, 20), 20);
    assert_eq!(left(Eviction::S3Merge, 20), 0);
    assert_eq!(left(Eviction::S3Merge, 120), 20);
}

#[test]
fn what_was_kept_is_there_after_a_close_a_kill_and_lost_power() {
    for eviction in KEEPING {
        for len in [100, 700, 3_000] {
            let fs = SimFs::new(1);
            let cache = open(&fs, eviction);
            churn(&cache, 0, 1_500_000 / len as u64, len);
            let killed = fs.process_crash();
            cache.flush().unwrap();
            let dark = fs.power_loss(7);
            cache.close().unwrap();
            for (what, disk) in [("close", &fs), ("kill", &killed), ("power", &dark)] {
                let cache = open(disk, eviction);
                assert_eq!(
                    there(&cache, 0..20),
                    20,
                    "{eviction:?} {len} {what}\n{}",
                    cache.stats()
                );
                assert_eq!(cache.stats().damaged, 0);
                churn(&cache, 20_000, 20_000 + 1_000_000 / len as u64, len);
                assert_eq!(there(&cache, 0..20), 20, "{eviction:?} {len} {what}, later");
            }
        }
    }
}

#[test]
fn verify_has_nothing_to_say_of_what_was_kept() {
    for eviction in KEEPING {
        let fs = SimFs::new(1);
        let cache = open(&fs, eviction);
        churn(&cache, 0, 3_000, 300);
        cache.close().unwrap();
        let report = perennial::verify_with(Arc::new(fs.clone()), "/cache").unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        // An open prepares segments, and may give some up for that.
        let opened = open(&fs, eviction).stats();
        assert_eq!(report.live_entries, opened.entries + opened.evicted);
        assert!(report.live_entries > 300);
    }
}

/// What an earlier life set apart is in nobody's way.
#[test]
fn another_policy_takes_over() {
    for eviction in [Eviction::Fifo, Eviction::Clock] {
        let fs = SimFs::new(1);
        let cache = open(&fs, Eviction::S3Merge);
        churn(&cache, 0, 5_000, 300);
        cache.close().unwrap();
        let cache = open(&fs, eviction);
        assert_eq!(there(&cache, 0..20), 20, "{eviction:?}");
        for n in 10_000..13_000 {
            put(&cache, n, 300);
        }
        assert_eq!(there(&cache, 0..20), 0, "{eviction:?}: nobody reads them");
        let whole = (300 << 10) / 400;
        assert!(
            cache.stats().entries > whole / 2,
            "{eviction:?}\n{}",
            cache.stats()
        );
    }
}
