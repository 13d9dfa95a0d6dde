//! After an invalidate nothing that was fetched before is served.

use std::sync::Arc;
use std::thread;

use perennial::blocks::{BlockCache, ReadOptions};

use crate::source::{Source, until};
use crate::{BLOCK, inline, over, roomy, settled, small_blocks};

#[test]
fn an_invalidated_object_is_fetched_again() {
    for blocks in [over, inline] {
        let source = Arc::new(Source::new(10 * BLOCK));
        let blocks = blocks(&source);
        for object in ["a", "ab", "b"] {
            blocks
                .read(object, 0..10 * BLOCK, &ReadOptions::new())
                .unwrap();
        }
        assert_eq!(blocks.invalidate("a").unwrap(), 10);
        for object in ["ab", "b"] {
            assert_eq!(blocks.stats_of(object).unwrap().cached_blocks, 10);
        }
        assert_eq!(blocks.cache().stats().entries, 20);
        // Never asked, though nothing but time has passed: it is now.
        source.change("a");
        let len = source.len_at(2);
        let read = blocks.read("a", 0..len, &ReadOptions::new()).unwrap();
        assert_eq!(read, source.bytes("a", 2, 0..len));
        assert_eq!(blocks.invalidate("never read").unwrap(), 0);
    }
}

/// Blocks of other sizes and versions are of the object, too.
#[test]
fn all_of_an_object_goes() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let cache = roomy();
    for bits in [12, 14] {
        let options = small_blocks().block_bytes(1 << bits);
        let blocks = BlockCache::new(cache.clone(), Arc::clone(&source), options).unwrap();
        blocks
            .read("object", 0..10 * BLOCK, &ReadOptions::new())
            .unwrap();
        source.change("object");
    }
    let blocks = BlockCache::new(cache.clone(), Arc::clone(&source), small_blocks()).unwrap();
    assert_eq!(blocks.invalidate("object").unwrap(), 10 + 3);
    assert_eq!(cache.stats().entries, 0);
}

/// What is on its way then is given to who waits for it, and to nobody else.
#[test]
fn what_is_under_way_is_not_kept() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    thread::scope(|s| {
        let early = s.spawn(|| {
            blocks
                .read("object", 0..BLOCK, &ReadOptions::new())
                .unwrap()
        });
        source.until_waiting(1);
        blocks.invalidate("object").unwrap();
        let late = s.spawn(|| {
            blocks
                .read("object", 0..BLOCK, &ReadOptions::new())
                .unwrap()
        });
        // It does not join, and asks for itself.
        source.until_waiting(2);
        source.open_gate();
        assert_eq!(early.join().unwrap(), late.join().unwrap());
    });
    // It is tried, and found to be too late, when its reader has gone.
    until(|| blocks.stats().failed_fills == 1);
    let stats = settled(&blocks);
    assert_eq!((stats.joined, stats.origin_reads), (0, 2));
    assert_eq!(stats.filled_blocks, 1);
}

#[test]
fn a_clear_of_the_cache_below_counts_for_what_is_under_way() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    thread::scope(|s| {
        s.spawn(|| {
            blocks
                .read("object", 0..BLOCK, &ReadOptions::new())
                .unwrap()
        });
        source.until_waiting(1);
        blocks.cache().clear().unwrap();
        source.open_gate();
    });
    settled(&blocks);
    assert_eq!(blocks.cache().stats().entries, 0);
    assert_eq!(blocks.stats().failed_fills, 1);
}
