//! Every cached block of a read serves, and only the gaps are fetched, together.

use std::sync::Arc;

use perennial::ErrorKind;
use perennial::blocks::{BlockCache, ReadOptions};

use crate::source::{Rng, Source};
use crate::{BLOCK, inline, over, roomy, settled, small_blocks};

fn read(blocks: &BlockCache, offset: u64, len: u64) -> Vec<u8> {
    let range = offset..offset + len;
    blocks.read("object", range, &ReadOptions::new()).unwrap()
}

fn block(n: u64) -> std::ops::Range<u64> {
    n * BLOCK..(n + 1) * BLOCK
}

#[test]
fn reads_of_any_shape_give_the_right_bytes() {
    let source = Arc::new(Source::new(100_003));
    let caches = [over(&source), inline(&source)];
    let mut rng = Rng(7);
    for n in 0..2_000 {
        let offset = rng.below(100_004);
        let bytes = if n % 3 == 0 { 60_000 } else { 5_000 };
        let len = rng.below(bytes).min(100_003 - offset);
        let expected = source.bytes("object", 1, offset..offset + len);
        for blocks in &caches {
            assert_eq!(
                read(blocks, offset, len),
                expected,
                "{len} bytes at {offset}"
            );
        }
    }
    assert_eq!(source.given_again(), 25, "each block once by each cache");
}

/// 20 of the hard problems: blocks that are there serve wherever they are.
#[test]
fn scattered_hits() {
    let source = Arc::new(Source::new(16 * BLOCK));
    let blocks = over(&source);
    for n in [1, 4, 5, 9, 15] {
        read(&blocks, n * BLOCK, 10);
    }
    source.calls.lock().unwrap().clear();
    assert_eq!(
        read(&blocks, 0, 16 * BLOCK),
        source.bytes("object", 1, 0..16 * BLOCK)
    );
    let mut ranges = source.ranges();
    ranges.sort_by_key(|range| range.start);
    let gaps = [0..1, 2..4, 6..9, 10..15].map(|gap| gap.start * BLOCK..gap.end * BLOCK);
    assert_eq!(ranges, gaps);
    let stats = blocks.stats();
    assert_eq!(
        (stats.partial_hits, stats.no_hits, stats.full_hits),
        (1, 5, 0)
    );
    assert_eq!((stats.block_hits, stats.block_misses), (5, 16));
    assert_eq!(source.given_again(), 0);
}

/// Of 400 reads of an object that is half there, as many blocks hit in each order.
#[test]
fn reverse_scan_hits() {
    let offsets: Vec<u64> = (0..400).map(|n| n * BLOCK + 17).collect();
    let strided = (0..7).flat_map(|first| offsets.iter().copied().skip(first).step_by(7));
    let orders: [Vec<u64>; 3] = [
        offsets.clone(),
        offsets.iter().rev().copied().collect(),
        strided.collect(),
    ];
    let hits = orders.map(|order| {
        let source = Arc::new(Source::new(401 * BLOCK));
        let blocks = over(&source);
        for n in (0..401).step_by(2) {
            read(&blocks, n * BLOCK, 1);
        }
        let before = blocks.stats().block_hits;
        for offset in &order {
            let expected = source.bytes("object", 1, *offset..offset + BLOCK);
            assert_eq!(read(&blocks, *offset, BLOCK), expected);
        }
        assert_eq!(source.given_again(), 0);
        blocks.stats().block_hits - before
    });
    // Each read touches two blocks: one was there, and the other is fetched by the first of the two reads that touch it.
    assert_eq!(hits, [600; 3]);
}

#[test]
fn tail_block_short() {
    let source = Arc::new(Source::new(3 * BLOCK + 100));
    let blocks = over(&source);
    let end = 3 * BLOCK + 100;
    assert_eq!(
        read(&blocks, end - 50, 50),
        source.bytes("object", 1, end - 50..end)
    );
    assert_eq!(
        source.ranges(),
        vec![block(3).start..end],
        "no more than there is"
    );
    assert_eq!(read(&blocks, 0, end), source.bytes("object", 1, 0..end));
    assert_eq!(read(&blocks, end - 1, 1).len(), 1);
    assert_eq!((source.given_again(), blocks.stats().bad_blocks), (0, 0));
    // The cache holds the hundred bytes that there are.
    let keys: Vec<_> = blocks.cache().keys().map(Result::unwrap).collect();
    let mut lens: Vec<_> = keys
        .iter()
        .map(|key| blocks.cache().get(key).unwrap().unwrap().len() as u64)
        .collect();
    lens.sort_unstable();
    assert_eq!(lens, [100, BLOCK, BLOCK, BLOCK]);
}

#[test]
fn a_read_past_the_end_is_invalid() {
    let source = Arc::new(Source::new(10_000));
    let blocks = over(&source);
    for (offset, len) in [(10_000, 1), (9_999, 2), (0, 10_001), (u64::MAX, 1)] {
        let mut buf = vec![0; len];
        let read = blocks.read_at("object", offset, &mut buf, &ReadOptions::new());
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid);
    }
    for (start, end) in [(5, 10_001), (7, 6)] {
        let range = start..end;
        let read = blocks.read("object", range, &ReadOptions::new());
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(read(&blocks, 10_000, 0), [0; 0]);
    assert_eq!(source.reads(), 0);
}

#[test]
fn an_empty_object_has_nothing_to_read() {
    let source = Arc::new(Source::new(0));
    let blocks = over(&source);
    assert!(read(&blocks, 0, 0).is_empty());
    let stats = blocks.stats_of("object").unwrap();
    assert_eq!((stats.total_blocks, stats.cached_blocks), (0, 0));
}

#[test]
fn blocks_of_every_size() {
    for bits in 12..=17 {
        let source = Arc::new(Source::new(500_001));
        let options = small_blocks().block_bytes(1 << bits);
        let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
        for (offset, len) in [(0, 500_001), (70_000, 3), (499_990, 11), (131_071, 2)] {
            for _ in 0..2 {
                let expected = source.bytes("object", 1, offset..offset + len);
                assert_eq!(read(&blocks, offset, len), expected);
            }
        }
        assert_eq!(blocks.stats().origin_bytes, 500_001);
    }
}

/// Blocks of another size are not taken for these.
#[test]
fn another_block_size_has_its_own_blocks() {
    let source = Arc::new(Source::new(100_000));
    let cache = roomy();
    for bits in [12, 13, 14, 12, 13] {
        let options = small_blocks().block_bytes(1 << bits);
        let blocks = BlockCache::new(cache.clone(), Arc::clone(&source), options).unwrap();
        let expected = source.bytes("object", 1, 0..100_000);
        assert_eq!(read(&blocks, 0, 100_000), expected);
        assert_eq!(blocks.stats().bad_blocks, 0);
    }
    assert_eq!(source.reads(), 3);
}

#[test]
fn a_long_gap_is_fetched_in_several_reads() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let options = small_blocks().fetch_bytes_max(3 * BLOCK);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    read(&blocks, 0, 10 * BLOCK);
    let mut ranges = source.ranges();
    ranges.sort_by_key(|range| range.start);
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[3], block(9));
    assert!((blocks.stats().coalescing() - 2.5).abs() < 0.01);
}

#[test]
fn what_is_not_to_be_kept_is_not_kept() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let once = ReadOptions::new().populate(false);
    for reads in 1..=2 {
        blocks.read("object", block(3), &once).unwrap();
        assert_eq!((source.reads(), settled(&blocks).filled_blocks), (reads, 0));
    }
    read(&blocks, 3 * BLOCK, 1);
    blocks.read("object", block(3), &once).unwrap();
    assert_eq!(source.reads(), 3, "what is there serves all the same");
}
