//! What has a time to live is there until then and never again, whatever the clock does.

use std::sync::Arc;
use std::time::Duration;

use perennial::{Cache, ErrorKind, Eviction, InsertOptions, Inserted, Options};
use perennial_failpoints::{Fs, SimFs};

use crate::small::{Rng, open, options};

const MINUTE: Duration = Duration::from_secs(60);

fn ttl(ttl: Duration) -> InsertOptions {
    InsertOptions::new().ttl(ttl)
}

/// Every way to ask for a key says the same.
fn is_there(cache: &Cache, key: &str) -> bool {
    let there = cache.contains(key).unwrap();
    assert_eq!(
        cache.get_range(key, 0..1).unwrap().is_some(),
        there,
        "{key}"
    );
    assert_eq!(
        cache.get_into(key, &mut Vec::new()).unwrap(),
        there,
        "{key}"
    );
    assert_eq!(cache.get(key).unwrap().is_some(), there, "{key}");
    there
}

/// In the tail, in memory, in a segment, in chunks, as an extent.
const LENGTHS: [usize; 4] = [0, 100, 3_000, 200_000];

fn large() -> Options {
    Options::new()
        .capacity_bytes(32 << 20)
        .memory_tier_bytes(8 << 20)
        .background(false)
}

#[test]
fn an_entry_is_there_until_its_time_is_over() {
    for len in LENGTHS {
        for (flushed, read_before) in [(false, false), (true, false), (true, true)] {
            let fs = SimFs::new(1);
            let cache = open(&fs, large()).unwrap();
            cache.insert_with("k", vec![1; len], ttl(MINUTE)).unwrap();
            cache.insert("stays", vec![1; len]).unwrap();
            if flushed {
                cache.flush().unwrap();
            }
            fs.advance(59_999);
            if read_before {
                assert!(is_there(&cache, "k"), "{len}");
            }
            fs.advance(1_001);
            assert!(!is_there(&cache, "k"), "{len} {flushed} {read_before}");
            assert!(is_there(&cache, "stays"));
            assert_eq!(cache.stats().expired, 1);
            assert_eq!(cache.stats().damaged_reads, 0);
        }
    }
}

#[test]
fn each_kind_of_read_sees_the_end_first() {
    type Read = fn(&Cache) -> bool;
    let reads: [Read; 5] = [
        |cache| cache.contains("k").unwrap(),
        |cache| cache.get("k").unwrap().is_some(),
        |cache| cache.get_range("k", 0..10).unwrap().is_some(),
        |cache| cache.get_into("k", &mut Vec::new()).unwrap(),
        |cache| {
            let value = cache.get_or_fetch("k", || Ok::<_, String>(vec![2; 7]));
            value.unwrap().len() != 7
        },
    ];
    for len in LENGTHS {
        for read in reads {
            for flushed in [false, true] {
                let fs = SimFs::new(1);
                let cache = open(&fs, large()).unwrap();
                cache.insert_with("k", vec![1; len], ttl(MINUTE)).unwrap();
                if flushed {
                    cache.flush().unwrap();
                }
                assert!(read(&cache), "{len}");
                fs.advance(61_000);
                assert!(!read(&cache), "{len} {flushed}");
                assert_eq!(cache.stats().expired, 1, "{len} {flushed}");
            }
        }
    }
}

#[test]
fn an_expired_entry_stays_away_when_the_clock_goes_back() {
    for flushed in [false, true] {
        let fs = SimFs::new(1);
        let start = fs.unix_time_ms();
        let cache = open(&fs, options()).unwrap();
        cache.insert_with("seen", "v", ttl(MINUTE)).unwrap();
        cache.insert_with("unseen", "v", ttl(MINUTE)).unwrap();
        if flushed {
            cache.flush().unwrap();
        }
        fs.advance(100_000);
        assert!(!is_there(&cache, "seen"));
        fs.set_unix_time_ms(start);
        assert!(!is_there(&cache, "seen"));
        assert!(!is_there(&cache, "unseen"), "time does not go back");
        // Seen only before the clock went back: as a remove, that survives a kill.
        let killed = open(&fs.process_crash(), options()).unwrap();
        assert!(!is_there(&killed, "seen") && !is_there(&killed, "unseen"));
        cache.flush().unwrap();
        let dark = open(&fs.power_loss(3), options()).unwrap();
        assert!(!is_there(&dark, "seen") && !is_there(&dark, "unseen"));
    }
}

#[test]
fn the_newest_time_is_in_checkpoints() {
    let fs = SimFs::new(1);
    let start = fs.unix_time_ms();
    let cache = open(&fs, options()).unwrap();
    cache.insert_with("k", "v", ttl(MINUTE)).unwrap();
    cache.insert_with("later", "v", ttl(60 * MINUTE)).unwrap();
    fs.advance(100_000);
    cache.checkpoint().unwrap();
    fs.set_unix_time_ms(start);
    for crashed in [fs.process_crash(), fs.power_loss(9)] {
        let cache = open(&crashed, options()).unwrap();
        assert!(
            !is_there(&cache, "k"),
            "nobody looked, but a checkpoint saw the time"
        );
        assert!(is_there(&cache, "later"));
        // Time goes on from there.
        crashed.advance(3_600_000 - 100_000);
        assert!(!is_there(&cache, "later"));
    }
    cache.close().unwrap();
    let cache = open(&fs, options()).unwrap();
    assert!(!is_there(&cache, "k"));
}

#[test]
fn a_newer_version_takes_the_place_of_an_expired_one() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options()).unwrap();
    cache.insert_with("k", "old", ttl(MINUTE)).unwrap();
    cache.insert("k", "new").unwrap();
    fs.advance(100_000);
    assert_eq!(&cache.get("k").unwrap().unwrap()[..], b"new");
    cache.insert_with("k", "newer", ttl(MINUTE)).unwrap();
    fs.advance(61_000);
    let fetched = cache.get_or_fetch("k", || Ok::<_, String>(vec![3; 3]));
    assert_eq!(&fetched.unwrap()[..], [3; 3]);
    assert_eq!(&cache.get("k").unwrap().unwrap()[..], [3; 3]);
}

#[test]
fn a_ttl_out_of_range_is_invalid_and_nothing_happens() {
    let cache = open(&SimFs::new(1), options()).unwrap();
    cache.insert("k", "old").unwrap();
    let ninety_years = Duration::from_secs(90 * 365 * 24 * 3600);
    for wrong in [Duration::ZERO, Duration::MAX, ninety_years] {
        let error = cache.insert_with("k", "new", ttl(wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("choose"), "{error}");
    }
    assert_eq!(&cache.get("k").unwrap().unwrap()[..], b"old");
    let fifty_years = Duration::from_secs(50 * 365 * 24 * 3600);
    let stored = cache.insert_with("k", "new", ttl(fifty_years)).unwrap();
    assert_eq!(stored, Inserted::Stored);
}

/// Copies keep their end, and what has ended is not copied.
#[test]
fn reclaim_keeps_the_end_and_copies_nothing_that_is_over() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        let fs = SimFs::new(1);
        let cache = open(&fs, options().capacity_bytes(200 << 10).eviction(eviction)).unwrap();
        for n in 0..10 {
            let time = if n < 5 { MINUTE } else { 100 * MINUTE };
            cache
                .insert_with(format!("t{n}"), [n; 300], ttl(time))
                .unwrap();
        }
        let churn = |from: u32| {
            for n in from..from + 2_000 {
                cache.insert(n.to_le_bytes(), [1; 300]).unwrap();
                (0..10).for_each(|n| drop(cache.get(format!("t{n}")).unwrap()));
            }
        };
        churn(0);
        assert!(
            (0..10).all(|n| is_there(&cache, &format!("t{n}"))),
            "{eviction:?}"
        );
        let moved = cache.stats().moved;
        assert!(moved >= 10, "{eviction:?} {moved}");
        fs.advance(61_000);
        churn(2_000);
        assert!(
            (0..5).all(|n| !is_there(&cache, &format!("t{n}"))),
            "{eviction:?}"
        );
        assert!(
            (5..10).all(|n| is_there(&cache, &format!("t{n}"))),
            "{eviction:?}"
        );
        fs.advance(6_000_000);
        assert!(
            (5..10).all(|n| !is_there(&cache, &format!("t{n}"))),
            "{eviction:?}"
        );
    }
}

/// Random ends, clocks that jump both ways, kills, power losses, closes: a key that was seen to end stays away until it is
/// stored again, and none is there when by the newest time seen it is over.
#[test]
fn clocks_that_jump_bring_nothing_back() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut fs = SimFs::new(seed);
        let mut cache = open(&fs, options()).unwrap();
        // By key: was it seen to be absent since it was stored?
        let mut gone = [true; 8];
        for _ in 0..400 {
            let n = usize::try_from(rng.below(8)).unwrap();
            let key = format!("k{n}");
            match rng.below(20) {
                0..=6 => {
                    let time = Duration::from_secs(1 + rng.below(100));
                    let len = [30, 300, 1_500][usize::try_from(rng.below(3)).unwrap()];
                    cache.insert_with(&key, vec![7; len], ttl(time)).unwrap();
                    gone[n] = false;
                }
                7..=11 => {
                    let there = is_there(&cache, &key);
                    assert!(!(there && gone[n]), "seed {seed}: {key} came back");
                    gone[n] = !there;
                }
                12..=13 => fs.advance(rng.below(50_000)),
                14 => {
                    let now = fs.unix_time_ms();
                    fs.set_unix_time_ms(now + rng.below(200_000) - 100_000);
                }
                15 => cache.flush().unwrap(),
                16 => cache.checkpoint().unwrap(),
                17 => {
                    cache.close().unwrap();
                    cache = open(&fs, options()).unwrap();
                }
                18 => {
                    let crashed = fs.process_crash();
                    drop(cache);
                    fs = crashed;
                    cache = open(&fs, options()).unwrap();
                }
                _ => {
                    cache.flush().unwrap();
                    let crashed = fs.power_loss(rng.below(1 << 30));
                    drop(cache);
                    fs = crashed;
                    cache = open(&fs, options()).unwrap();
                }
            }
        }
        assert_eq!(cache.stats().damaged_reads, 0);
    }
}

/// Fills the log to its last segment while nothing can be reclaimed in between: a reader does not wait for room.
#[test]
fn a_reader_that_sees_an_end_does_not_need_room() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options()).unwrap();
    cache.insert_with("k", "v", ttl(MINUTE)).unwrap();
    fs.advance(61_000);
    let inside = cache.insert_with_len("other", 10, |_| {
        // Whoever fills an entry may not wait; it may read.
        assert!(!is_there(&cache, "k"));
        Ok::<_, String>(())
    });
    assert_eq!(inside.unwrap(), Inserted::Stored);
    assert_eq!(cache.stats().expired, 1);
    drop(cache);
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let cache = Cache::open_with(fs, crate::small::DIR, options()).unwrap();
    assert!(!is_there(&cache, "k"));
}

/// Nobody has seen the end of such an entry, so nothing in the log says that it is gone: the remove has to.
#[test]
fn what_had_ended_when_its_prefix_was_removed_stays_away_when_the_clock_goes_back() {
    for killed in [true, false] {
        let fs = SimFs::new(1);
        let now = fs.unix_time_ms();
        let cache = open(&fs, options()).unwrap();
        cache.insert_with("tile/1", [1; 100], ttl(MINUTE)).unwrap();
        cache.insert("tile/2", [2; 100]).unwrap();
        cache.insert_with("other", [3; 100], ttl(MINUTE)).unwrap();
        fs.advance(61_000);
        assert_eq!(
            cache.remove_prefix("tile/").unwrap(),
            1,
            "what is over does not count"
        );
        cache.flush().unwrap();
        std::mem::forget(cache);
        let after = if killed {
            fs.process_crash()
        } else {
            fs.power_loss(1)
        };
        after.set_unix_time_ms(now);
        let cache = open(&after, options()).unwrap();
        assert!(
            !is_there(&cache, "tile/1") && !is_there(&cache, "tile/2"),
            "{killed}"
        );
        assert!(is_there(&cache, "other"), "the clock is back where it was");
    }
}
