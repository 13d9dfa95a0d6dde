//! Every option is checked, and does what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial::blocks::{BlockCache, BlockOptions, ReadOptions};
use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::source::Source;
use crate::{BLOCK, KIB, roomy, settled, small_blocks};

fn made(options: BlockOptions) -> Option<ErrorKind> {
    let source = Source::new(1);
    let made = BlockCache::new(roomy(), source, options);
    made.err().map(|error| error.kind())
}

#[test]
fn options_out_of_range_are_invalid() {
    let new = BlockOptions::new;
    for good in [
        new().block_bytes(4 * KIB),
        new().block_bytes(128 * KIB),
        new().fetch_threads(0),
        new().fetch_threads(20),
        new().fetch_bytes_max(1),
        new().fetch_bytes_max(64 << 20),
        new().readahead_blocks(0),
        new().readahead_blocks(1024),
        new().objects_max(1),
        new().flush_every_blocks(1),
    ] {
        assert_eq!(made(good.clone()), None, "{good:?}");
    }
    for bad in [
        new().block_bytes(2 * KIB),
        new().block_bytes(5000),
        new().block_bytes(8 << 20),
        // No segment of this cache holds so much.
        new().block_bytes(256 * KIB),
        new().fetch_threads(1025),
        new().fetch_bytes_max(0),
        new().fetch_bytes_max((64 << 20) + 1),
        new().readahead_blocks(1025),
        new().objects_max(0),
        new().flush_every_blocks(0),
    ] {
        assert_eq!(made(bad.clone()), Some(ErrorKind::Invalid), "{bad:?}");
    }
}

#[test]
fn blocks_of_four_mebibytes() {
    let cache_options = Options::new()
        .capacity_bytes(256 << 20)
        .segment_bytes(16 << 20);
    let cache = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", cache_options).unwrap();
    let source = Arc::new(Source::new(9 << 20));
    let options = BlockOptions::new().block_bytes(4 << 20).readahead_blocks(0);
    let blocks = BlockCache::new(cache, Arc::clone(&source), options).unwrap();
    for range in [5..10, (4 << 20) - 3..(4 << 20) + 3, (9 << 20) - 5..9 << 20] {
        let read = blocks.read("object", range.clone(), &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 1, range));
    }
    // Blocks of this size are kept after their readers have them.
    settled(&blocks);
    assert_eq!(blocks.stats_of("object").unwrap().cached_blocks, 3);
    let read = blocks.read("object", 70_000..70_009, &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 1, 70_000..70_009));
    assert_eq!(blocks.stats().origin_reads, 3);
}

/// Syncs of a hundred reads of a block each.
fn syncs(options: BlockOptions) -> u64 {
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let cache_options = Options::new().capacity_bytes(64 << 20).background(false);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", cache_options).unwrap();
    let blocks = BlockCache::new(cache, Source::new(100 * BLOCK), options).unwrap();
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    fs.set_plan(Plan::new(move |call| {
        counted.fetch_add(
            u64::from(call.kind == CallKind::SyncData),
            Ordering::Relaxed,
        );
        Action::Pass
    }));
    for n in 0..100 {
        blocks
            .read("object", n * BLOCK..n * BLOCK + 1, &ReadOptions::new())
            .unwrap();
    }
    syncs.load(Ordering::Relaxed)
}

#[test]
fn a_flush_comes_every_so_many_blocks() {
    let options = || small_blocks().fetch_threads(0);
    let own = syncs(options());
    let more = syncs(options().flush_every_blocks(10));
    assert!(
        (own + 8..=own + 12).contains(&more),
        "{more} syncs, {own} without"
    );
    let each = syncs(options().flush_every_blocks(1));
    assert!(each >= own + 90, "{each} syncs, {own} without");
}

#[test]
fn one_object_is_remembered_however_few_may_be() {
    for remember in [false, true] {
        let source = Arc::new(Source::new(BLOCK));
        let options = small_blocks().objects_max(1).remember_heads(remember);
        let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
        for _ in 0..20 {
            blocks.read("object", 0..9, &ReadOptions::new()).unwrap();
        }
        assert_eq!(blocks.stats().heads, 1);
    }
}

/// More objects than are remembered: they are asked for again, and their blocks serve.
#[test]
fn what_is_not_remembered_is_asked_for_again() {
    let source = Arc::new(Source::new(BLOCK));
    let options = small_blocks().objects_max(8);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    for _ in 0..3 {
        for n in 0..100 {
            let name = format!("object {n}");
            let read = blocks.read(&name, 0..BLOCK, &ReadOptions::new());
            assert_eq!(read.unwrap(), source.bytes(&name, 1, 0..BLOCK));
        }
    }
    assert_eq!(source.given_again(), 0);
    assert!(blocks.stats().heads >= 250);
}
