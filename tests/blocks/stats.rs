//! What is counted is what was done.

use std::sync::Arc;

use perennial::blocks::{BlockCache, ReadOptions};

use crate::source::Source;
use crate::{BLOCK, over, settled, small_blocks};

#[test]
fn every_read_is_counted_as_what_it_was() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let read = |range| blocks.read("object", range, &ReadOptions::new()).unwrap();
    read(0..10);
    read(5..BLOCK);
    read(BLOCK - 1..2 * BLOCK);
    read(3 * BLOCK..5 * BLOCK);
    let stats = settled(&blocks);
    assert_eq!((stats.reads, stats.multi_block_reads), (4, 2));
    assert_eq!(
        (stats.full_hits, stats.partial_hits, stats.no_hits),
        (1, 1, 2)
    );
    assert_eq!((stats.block_hits, stats.block_misses), (2, 4));
    assert_eq!(stats.cache_bytes, BLOCK - 5 + 1);
    assert_eq!((stats.origin_bytes, stats.origin_reads), (4 * BLOCK, 3));
    assert_eq!((stats.fetched_blocks, stats.filled_blocks), (4, 4));
    assert_eq!(
        (stats.entries, stats.failed_fills, stats.in_flight),
        (4, 0, 0)
    );
    assert!(stats.file_bytes > 4 * BLOCK);
    assert_eq!(
        (stats.get.count, stats.fill.count, stats.disk_write.count),
        (4, 3, 4)
    );
    assert_eq!(stats.disk_read.count, 6);
    assert!(stats.queue_wait.count >= 3 && stats.fill.max_ns >= stats.fill.p50_ns);
    assert!((stats.hit_rate() - 1.0 / 3.0).abs() < 1e-9);
    assert!(
        stats
            .to_string()
            .contains("4 reads: 1 full hits, 1 partial, 2 none")
    );
}

#[test]
fn an_object_says_how_much_of_it_is_there() {
    let source = Arc::new(Source::new(10 * BLOCK + 1));
    let blocks = over(&source);
    blocks
        .read("object", 2 * BLOCK..4 * BLOCK, &ReadOptions::new())
        .unwrap();
    blocks
        .read("object", 3 * BLOCK..5 * BLOCK, &ReadOptions::new())
        .unwrap();
    let stats = blocks.stats_of("object").unwrap();
    assert_eq!((stats.total_blocks, stats.cached_blocks), (11, 3));
    assert_eq!((stats.block_hits, stats.block_misses), (1, 3));
    assert!((stats.fill_rate() - 3.0 / 11.0).abs() < 1e-9);
    assert!((stats.hit_rate() - 0.25).abs() < 1e-9);
    assert_eq!(stats.head.len, 10 * BLOCK + 1);
}

/// More blocks than there is any sense in looking for.
#[test]
fn an_object_without_end_says_how_much_of_it_is_there() {
    let source = Arc::new(Source::new(1 << 60));
    let blocks = over(&source);
    for object in ["object", "other"] {
        for at in [0, 1 << 40, (1 << 60) - 5] {
            let read = blocks.read(object, at..at + 5, &ReadOptions::new());
            assert_eq!(read.unwrap(), source.bytes(object, 1, at..at + 5));
        }
    }
    let stats = blocks.stats_of("object").unwrap();
    assert_eq!((stats.total_blocks, stats.cached_blocks), (1 << 48, 3));
    source.change("object");
    let always = ReadOptions::new().revalidate(perennial::blocks::Revalidate::Always);
    blocks.head("object", &always).unwrap();
    crate::source::until(|| blocks.stats().stale_blocks_removed == 3);
    assert_eq!(blocks.cache().stats().entries, 3);
}

/// The next life of the cache serves what this one kept.
#[test]
fn what_was_kept_serves_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let source = Arc::new(Source::new(100 * BLOCK));
    for fetched in [100, 0] {
        let options = perennial::Options::new().capacity_bytes(32 << 20);
        let cache = perennial::Cache::open(dir.path(), options).unwrap();
        let blocks = BlockCache::new(cache.clone(), Arc::clone(&source), small_blocks()).unwrap();
        let read = blocks.read("object", 0..100 * BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 1, 0..100 * BLOCK));
        assert_eq!(blocks.stats().fetched_blocks, fetched);
        drop(blocks);
        cache.close().unwrap();
    }
}
