//! Scans find their next blocks there; other reads ask for nothing.

use std::sync::Arc;

use perennial::blocks::{BlockCache, Priority, ReadOptions};

use crate::source::{Rng, Source, until};
use crate::{BLOCK, roomy, small_blocks};

/// Reads these blocks one after the other, and lets readahead come in each time. How many were there.
fn hits(source: &Arc<Source>, order: impl Iterator<Item = u64>) -> u64 {
    let options = small_blocks().readahead_blocks(16);
    let blocks = BlockCache::new(roomy(), Arc::clone(source), options).unwrap();
    for n in order {
        let range = n * BLOCK..(n + 1) * BLOCK;
        let read = blocks.read("object", range.clone(), &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 1, range));
        settle(&blocks);
    }
    assert_eq!(source.given_again(), 0);
    blocks.stats().full_hits
}

/// Until nothing is queued: a job that has not been taken shows nowhere but in what comes of it.
fn settle(blocks: &BlockCache) {
    let mut quiet = 0;
    until(|| {
        quiet = if blocks.stats().in_flight == 0 {
            quiet + 1
        } else {
            0
        };
        quiet >= 2
    });
}

#[test]
fn scans_in_every_direction_find_their_blocks() {
    let source = || Arc::new(Source::new(200 * BLOCK));
    let forward = hits(&source(), 0..200);
    let backward = hits(&source(), (0..200).rev());
    let strided = hits(&source(), (0..200).step_by(3));
    assert!(forward >= 190, "{forward} of 200");
    assert!(backward >= 190, "{backward} of 200");
    assert!(strided >= 58, "{strided} of 67");
}

#[test]
fn it_comes_in_few_reads() {
    let source = Arc::new(Source::new(200 * BLOCK));
    hits(&source, 0..200);
    assert!(source.reads() < 40, "{} reads", source.reads());
    let calls = source.calls.lock().unwrap();
    let ahead = calls
        .iter()
        .filter(|call| call.priority == Priority::Readahead);
    assert!(ahead.count() > 15);
}

#[test]
fn reads_in_no_order_ask_for_nothing_more() {
    let source = Arc::new(Source::new(4000 * BLOCK));
    let options = small_blocks().readahead_blocks(16);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    let mut rng = Rng(5);
    for _ in 0..200 {
        let offset = rng.below(3999 * BLOCK);
        blocks
            .read("object", offset..offset + 10, &ReadOptions::new())
            .unwrap();
    }
    settle(&blocks);
    assert!(blocks.stats().readahead_blocks < 40);
}

/// The threads are busy: what a scan comes to is dropped, not queued without end.
#[test]
fn under_load_it_is_dropped() {
    let source = Arc::new(Source::new(4000 * BLOCK));
    let options = small_blocks().readahead_blocks(16).fetch_threads(2);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    for object in 0..40 {
        let name = format!("object {object}");
        let warm = 0..8 * BLOCK;
        let low = ReadOptions::new().priority(Priority::Background);
        blocks.read(&name, warm, &low).unwrap();
    }
    source.close_gate();
    for object in 0..40 {
        for n in 0..4 {
            let range = n * BLOCK..(n + 1) * BLOCK;
            blocks
                .read(&format!("object {object}"), range, &ReadOptions::new())
                .unwrap();
        }
    }
    let stats = blocks.stats();
    assert!(
        stats.readahead_dropped >= 20,
        "{} dropped",
        stats.readahead_dropped
    );
    source.open_gate();
    settle(&blocks);
}
