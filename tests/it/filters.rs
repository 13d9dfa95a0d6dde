//! The filter in front of the index is built anew when it lets too much through; and what is read before a close is known to be
//! read after it. That it denies nothing meanwhile: `minimal_24_…` in the lab.

use std::sync::Arc;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::value;

use crate::small::{open, options};

/// A tenth of the keys removed, or fewer that are asked for again and again: filters are built anew. Nothing gone: they
/// stay.
#[test]
fn filters_are_built_anew_when_they_let_too_much_through() {
    let fresh = |removed: u64, asked: u64| {
        let options = options()
            .capacity_bytes(64 << 20)
            .tail_bytes(1 << 20)
            .segment_bytes(1 << 20);
        let cache = open(&SimFs::new(1), options.index_shards(4)).unwrap();
        for n in 0..10_000_u64 {
            cache.insert(n.to_le_bytes(), b"value").unwrap();
        }
        for n in 0..removed {
            cache.remove(n.to_le_bytes()).unwrap();
        }
        for n in 0..asked {
            assert!(
                !cache
                    .contains((n % removed.max(1) + (u64::from(removed == 0) << 40)).to_le_bytes())
                    .unwrap()
            );
        }
        // Without threads whoever writes does the upkeep.
        cache.insert(b"one more", b"value").unwrap();
        for n in removed..10_000 {
            assert!(cache.contains(n.to_le_bytes()).unwrap(), "{n}");
        }
        cache.stats()
    };
    assert_eq!(fresh(0, 5_000).bloom_rebuilds, 0);
    assert_eq!(fresh(500, 0).bloom_rebuilds, 0);
    assert_eq!(fresh(500, 2_000).bloom_rebuilds, 4);
    assert!(fresh(1_500, 0).bloom_rebuilds >= 4);
    let stats = fresh(500, 2_000);
    assert_eq!(stats.bloom_probes, 2_000 + 9_500);
    assert!(stats.bloom_false_positives > 100 && stats.bloom_observed_fp_rate() > 0.05);
    // What a cache this small wastes is not the point.
    assert!((10.0..30.0).contains(&stats.index_bytes_per_entry()));
}

/// Whole segments go, and with them keys that nobody removed: the filters learn of that, too.
#[test]
fn evicted_keys_do_not_fill_the_filter() {
    let options = options()
        .eviction(Eviction::Fifo)
        .capacity_bytes(1 << 20)
        .tail_bytes(64 << 10)
        .segment_bytes(32 << 10);
    let cache = open(&SimFs::new(1), options.index_shards(2)).unwrap();
    let put = |n: u64| cache.insert(n.to_le_bytes(), [7; 100]).map(drop).unwrap();
    (0..60_000).for_each(put);
    let before = cache.stats();
    assert!(
        before.evicted > 4 * before.entries && before.bloom_rebuilds > 10,
        "{before}"
    );
    for n in 0..40_000_u64 {
        assert!(!cache.contains(n.to_le_bytes()).unwrap());
    }
    let rate = cache.stats().bloom_observed_fp_rate();
    assert!(rate < 0.02, "{rate}");
}

fn key(n: u64) -> String {
    format!("key-{n}")
}

/// Entries in a segment that is long written, and, with the policy to which that makes no difference, in the one that is being
/// written at the close; read after the last checkpoint.
#[test]
fn what_is_read_before_a_close_survives_the_first_reclaim_after_it() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        for checkpoint in [false, true] {
            survives(eviction, checkpoint);
        }
    }
}

fn survives(eviction: Eviction, checkpoint: bool) {
    let fs = SimFs::new(1);
    let options = || {
        Options::new()
            .capacity_bytes(300 << 10)
            .segment_bytes(8 << 10)
            .tail_bytes(4 << 10)
            .memory_tier_bytes(0)
            .index_shards(2)
            .eviction(eviction)
            .background(false)
    };
    let open = || Cache::open_with(Arc::new(fs.clone()), "/cache", options()).unwrap();
    let put = |cache: &Cache, n: u64| {
        let value = value(key(n).as_bytes(), n + 1, 500);
        cache.insert(key(n), value).unwrap();
    };
    let cache = open();
    (0..100).for_each(|n| put(&cache, n));
    if checkpoint {
        cache.checkpoint().unwrap();
    }
    let read: Vec<u64> = match eviction {
        // Reads of what is young are no visits.
        Eviction::S3Merge => (0..75).step_by(7).collect(),
        _ => (0..100).step_by(7).chain([98, 99]).collect(),
    };
    for n in &read {
        assert!(cache.get(key(*n)).unwrap().is_some());
    }
    cache.close().unwrap();
    let cache = open();
    // Until all of these are gone, but for what is kept.
    let mut n = 1_000;
    while cache.stats().evicted < 80 {
        put(&cache, n);
        n += 1;
    }
    let there = |n: &u64| cache.get(key(*n)).unwrap().is_some();
    let kept = read.iter().filter(|n| there(n)).count();
    assert_eq!(kept, read.len(), "{eviction:?}, checkpoint {checkpoint}");
    let others = (0..98).filter(|n| n % 7 != 0 && there(n)).count();
    assert!(others < 30, "{eviction:?}: {others}");
}
