//! What reclaim reads and copies keeps to its budget, and nobody who needs room waits for that. The clock stands still but
//! for what a test moves it.

use std::sync::Arc;
use std::thread::yield_now;

use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::SimFs;

/// A reclaim of one segment is worth a second or two of it.
const BYTES_PER_S: u64 = 4 << 10;
/// So often somebody looks whether another thread has come somewhere.
const PATIENCE: u32 = 5_000_000;

fn open(fs: &SimFs, background: bool) -> Cache {
    let options = Options::new()
        .capacity_bytes(256 << 10)
        .segment_bytes(16 << 10)
        .tail_bytes(32 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .reclaim_bytes_per_second(BYTES_PER_S)
        .background(background);
    Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap()
}

/// Every second key is read when it is not young any more, and so is copied when its segment is reclaimed.
fn fill(cache: &Cache, n: usize) {
    cache.insert(format!("hot-{n}"), [1; 600]).unwrap();
    for behind in [12, 24, 48] {
        cache
            .get(format!("hot-{}", n.saturating_sub(behind)))
            .unwrap();
    }
    cache.insert(format!("cold-{n}"), [2; 600]).unwrap();
}

fn comes_true(what: impl Fn() -> bool) -> bool {
    (0..PATIENCE).any(|_| {
        yield_now();
        what()
    })
}

/// Fills the cache until reclaim waits for its budget, from the insert with number `from` on. The next number.
fn until_it_waits(cache: &Cache, from: usize) -> usize {
    let waits = cache.stats().reclaim_waits;
    for n in from..from + 4_000 {
        fill(cache, n);
        // The thread has its time: whether it comes to wait before the next insert decides nothing.
        for _ in 0..500 {
            yield_now();
        }
        if cache.stats().reclaim_waits > waits && is_waiting(cache) {
            return n + 1;
        }
    }
    panic!("it never waited: {}", cache.stats());
}

/// It has waited more often than it went on, for one reason or the other, and goes no further.
fn is_waiting(cache: &Cache) -> bool {
    let before = cache.stats();
    (0..20_000).all(|_| {
        yield_now();
        let now = cache.stats();
        now.reclaim_wait_us == before.reclaim_wait_us
            && now.reclaim_bytes == before.reclaim_bytes
            && now.reclaim_hurried == before.reclaim_hurried
            && now.reclaimed_segments == before.reclaimed_segments
    })
}

#[test]
fn reclaim_waits_until_the_budget_has_grown() {
    let fs = SimFs::new(1);
    let cache = open(&fs, true);
    let mut n = 0;
    for _ in 0..3 {
        n = until_it_waits(&cache, n);
        let before = cache.stats();
        fs.advance(3_600_000);
        assert!(
            comes_true(|| cache.stats().reclaim_wait_us >= before.reclaim_wait_us + 1_000_000),
            "{:?}",
            cache.stats()
        );
    }
    cache.close().unwrap();
}

#[test]
fn whoever_needs_the_upkeep_ends_the_waiting() {
    let fs = SimFs::new(1);
    let cache = open(&fs, true);
    let n = until_it_waits(&cache, 0);
    let hurried = cache.stats().reclaim_hurried;
    // It wants to know of every segment, and none may go meanwhile.
    cache.ledger().unwrap();
    assert!(
        cache.stats().reclaim_hurried > hurried,
        "{:?}",
        cache.stats()
    );
    assert!(until_it_waits(&cache, n) > n);
    cache.close().unwrap();
}

/// Far more than the budget is for: with the clock standing still nobody would come through who waits for it.
#[test]
fn inserts_never_wait_for_the_budget() {
    let fs = SimFs::new(1);
    let cache = open(&fs, true);
    for n in 0..5_000 {
        fill(&cache, n);
    }
    let stats = cache.stats();
    assert!(stats.reclaimed_segments > 100, "{stats:?}");
    assert!(stats.reclaim_bytes > 100 * BYTES_PER_S, "{stats:?}");
    cache.close().unwrap();
}

#[test]
fn without_a_thread_nobody_is_held_back() {
    let fs = SimFs::new(1);
    let cache = open(&fs, false);
    for n in 0..1_000 {
        fill(&cache, n);
    }
    let stats = cache.stats();
    assert_eq!((stats.reclaim_waits, stats.reclaim_wait_us), (0, 0));
    assert!(stats.reclaim_bytes > 10 * BYTES_PER_S, "{stats:?}");
}

#[test]
fn a_budget_out_of_range_is_invalid() {
    for bytes in [0, 4095, (1 << 40) + 1] {
        let options = Options::new().reclaim_bytes_per_second(bytes);
        let refused = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("reclaim_bytes_per_second"));
    }
}
