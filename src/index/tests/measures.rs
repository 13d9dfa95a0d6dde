//! What an entry costs, and how good the filter is.

use super::{addr, all_live, hash, index, put};
use crate::index::{ImageEntry, Index};

const MILLION: u64 = 1_000_000;

#[test]
fn a_loaded_million_costs_at_most_sixteen_bytes_an_entry() {
    for shards_log2 in [6, 8] {
        let index = index(shards_log2, 60);
        index.reserve_entries(1_000_000);
        for n in 0..MILLION {
            let entry = ImageEntry {
                identity: hash(n) >> 4,
                addr: addr(n),
                size_class: 7,
                visited: 1,
                pinned: false,
            };
            index.load(entry, &all_live);
        }
        assert_eq!(index.len(), 1_000_000);
        let bytes = index.memory_bytes();
        println!("{bytes} bytes for a million in {} shards", index.shards());
        assert!(bytes <= 16_000_000, "{bytes} bytes");
    }
}

/// The most that `index` costs for an entry, in hundredths of a byte, while it grows to so many entries.
fn worst(index: &Index<()>, entries: std::ops::Range<u64>) -> usize {
    let mut worst = 0;
    for n in 0..entries.end {
        put(index, hash(n), addr(n), 1);
        if n > entries.start && n % 1000 == 0 {
            worst = worst.max(100 * index.memory_bytes() / index.len());
        }
    }
    println!("{worst} hundredths of a byte for an entry at worst");
    worst
}

#[test]
fn a_grown_index_costs_at_most_sixteen_bytes_an_entry() {
    for shards_log2 in 0..=8 {
        let worst = worst(&index(shards_log2, 60), 100_000..400_000);
        assert!(
            worst <= 1_600,
            "{worst} hundredths in 2^{shards_log2} shards"
        );
    }
}

#[test]
fn the_filter_keeps_its_promise() {
    let index = index(4, 60);
    for n in 0..100_000 {
        put(&index, hash(n), addr(n), 1);
    }
    assert_eq!(index.read_stats().reads(), 0);
    for n in 100_000..200_000 {
        index.count(index.look_up(hash(n)).unwrap_err());
    }
    let stats = index.read_stats();
    assert_eq!(
        (stats.reads(), stats.negatives + stats.false_positives),
        (100_000, 100_000)
    );
    println!("{} false positives of 100000", stats.false_positives);
    assert!(stats.false_positives <= 2_000);
}

#[test]
fn a_tiny_index_is_tiny() {
    let index = index(0, 46);
    // A line each for slots and filter, as much again to align them, and 24 bytes more; 128 for the shard.
    assert!(index.memory_bytes() <= 416, "{}", index.memory_bytes());
}
