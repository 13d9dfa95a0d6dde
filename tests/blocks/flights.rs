//! One fetch however many wait for it; nobody waits for ever; an error reaches who waited, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perennial::ErrorKind;
use perennial::blocks::{BlockCache, Cancel, Origin, Priority, ReadOptions};

use crate::source::{Faults, Source, until};
use crate::{BLOCK, inline, over, roomy, settled, small_blocks};

fn kind(read: perennial::Result<Vec<u8>>) -> Option<ErrorKind> {
    read.err().map(|error| error.kind())
}

#[test]
fn many_readers_one_fetch() {
    let source = Arc::new(Source::new(64 * BLOCK));
    let blocks = over(&source);
    source.close_gate();
    thread::scope(|s| {
        for n in 0..16 {
            let (blocks, source) = (&blocks, &source);
            s.spawn(move || {
                let range = n * BLOCK..(n + 16) * BLOCK;
                let read = blocks.read("object", range.clone(), &ReadOptions::new());
                assert_eq!(read.unwrap(), source.bytes("object", 1, range));
            });
        }
        source.until_waiting(1);
        until(|| blocks.stats().joined == 16 * 16 - 31);
        source.open_gate();
    });
    assert_eq!(source.given_again(), 0);
    let stats = settled(&blocks);
    assert_eq!(stats.filled_blocks, 31);
    assert_eq!(stats.joined, 16 * 16 - 31);
}

/// 19: a reader that is cancelled leaves at once; who waits for the same block gets it.
#[test]
fn cancel_leader() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    source.close_gate();
    let cancel = Cancel::new();
    thread::scope(|s| {
        let options = ReadOptions::new().cancel(&cancel);
        let leader = s.spawn(|| blocks.read("object", 0..BLOCK, &{ options }));
        source.until_waiting(1);
        let follower = s.spawn(|| blocks.read("object", 5..10, &ReadOptions::new()));
        until(|| blocks.stats().joined == 1);
        cancel.cancel();
        assert_eq!(kind(leader.join().unwrap()), Some(ErrorKind::Cancelled));
        assert!(!follower.is_finished(), "the origin has not answered yet");
        source.open_gate();
        let read = follower.join().unwrap().unwrap();
        assert_eq!(read, source.bytes("object", 1, 5..10));
    });
    assert_eq!((source.reads(), settled(&blocks).cancelled), (1, 1));
}

/// What is left in the queue when everybody has gone is not fetched, and in nobody's way.
#[test]
fn what_nobody_waits_for_is_not_begun() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let options = small_blocks().fetch_threads(1);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    let cancel = Cancel::new();
    thread::scope(|s| {
        let busy = s.spawn(|| blocks.read("object", 0..1, &ReadOptions::new()));
        source.until_waiting(1);
        let options = ReadOptions::new().cancel(&cancel);
        let leader = s.spawn(|| blocks.read("object", BLOCK..BLOCK + 1, &{ options }));
        until(|| blocks.stats().in_flight == 2);
        cancel.cancel();
        assert_eq!(kind(leader.join().unwrap()), Some(ErrorKind::Cancelled));
        source.open_gate();
        busy.join().unwrap().unwrap();
    });
    settled(&blocks);
    assert_eq!((source.reads(), blocks.stats().unwanted_fetches), (1, 1));
    let read = blocks.read("object", BLOCK..BLOCK + 9, &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 1, BLOCK..BLOCK + 9));
}

/// 19: a panic of the origin is an error of those who waited, and of nobody else.
#[test]
fn leader_panics() {
    for blocks in [over, inline] {
        let source = Arc::new(Source::new(8 * BLOCK));
        let blocks = blocks(&source);
        blocks.head("object", &ReadOptions::new()).unwrap();
        source.faults.lock().unwrap().panics = 1;
        let read = || blocks.read("object", 0..2 * BLOCK, &ReadOptions::new());
        assert_eq!(kind(read()), Some(ErrorKind::Origin));
        *source.faults.lock().unwrap() = Faults::default();
        assert_eq!(read().unwrap(), source.bytes("object", 1, 0..2 * BLOCK));
        assert_eq!(settled(&blocks).origin_failures, 1);
    }
}

/// 19: who waits gets the error, each once; who comes later fetches.
#[test]
fn leader_errors_once() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    source.faults.lock().unwrap().fails = 1;
    let failed = AtomicU64::new(0);
    thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                let error = blocks.read("object", 10..20, &ReadOptions::new());
                let error = error.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Origin);
                assert!(std::error::Error::source(&error).is_some(), "{error}");
                failed.fetch_add(1, Ordering::Relaxed);
            });
        }
        until(|| blocks.stats().joined == 7);
        source.until_waiting(1);
        source.open_gate();
    });
    assert_eq!((failed.into_inner(), source.reads()), (8, 1));
    source.faults.lock().unwrap().fails = 0;
    blocks.read("object", 10..20, &ReadOptions::new()).unwrap();
    assert_eq!(source.reads(), 2);
}

/// A failure of one gap is no failure of readers that do not touch it.
#[test]
fn an_error_reaches_nobody_else() {
    struct Hole(Source);
    impl Origin for Hole {
        fn identity(&self) -> String {
            self.0.identity()
        }
        fn version(
            &self,
            object: &str,
        ) -> perennial::blocks::OriginResult<perennial::blocks::Version> {
            self.0.version(object)
        }
        fn len(&self, object: &str) -> perennial::blocks::OriginResult<u64> {
            self.0.len(object)
        }
        fn read_at(
            &self,
            object: &str,
            version: &perennial::blocks::Version,
            offset: u64,
            buf: &mut [u8],
            options: &ReadOptions,
        ) -> perennial::blocks::OriginResult<usize> {
            if (offset..offset + buf.len() as u64).contains(&(2 * BLOCK)) {
                return Err("there is a hole".into());
            }
            self.0.read_at(object, version, offset, buf, options)
        }
    }
    let hole = Hole(Source::new(8 * BLOCK));
    let blocks = BlockCache::new(roomy(), hole, small_blocks()).unwrap();
    let read = |range| blocks.read("object", range, &ReadOptions::new());
    assert!(read(0..2 * BLOCK).is_ok());
    assert_eq!(kind(read(0..8 * BLOCK)), Some(ErrorKind::Origin));
    assert!(read(3 * BLOCK..8 * BLOCK).is_ok());
    assert_eq!(
        kind(read(2 * BLOCK..2 * BLOCK + 1)),
        Some(ErrorKind::Origin)
    );
}

#[test]
fn a_cancelled_reader_without_threads_leaves_nothing_behind() {
    /// Cancels while it reads.
    struct Cancelling(Source, Cancel);
    impl Origin for Cancelling {
        fn identity(&self) -> String {
            self.0.identity()
        }
        fn version(
            &self,
            object: &str,
        ) -> perennial::blocks::OriginResult<perennial::blocks::Version> {
            self.0.version(object)
        }
        fn len(&self, object: &str) -> perennial::blocks::OriginResult<u64> {
            self.0.len(object)
        }
        fn read_at(
            &self,
            object: &str,
            version: &perennial::blocks::Version,
            offset: u64,
            buf: &mut [u8],
            options: &ReadOptions,
        ) -> perennial::blocks::OriginResult<usize> {
            self.1.cancel();
            self.0.read_at(object, version, offset, buf, options)
        }
    }
    let cancel = Cancel::new();
    let source = Cancelling(Source::new(8 * BLOCK), cancel.clone());
    let options = small_blocks().fetch_threads(0).fetch_bytes_max(BLOCK);
    let blocks = BlockCache::new(roomy(), source, options).unwrap();
    let read = blocks.read("object", 0..4 * BLOCK, &ReadOptions::new().cancel(&cancel));
    assert_eq!(kind(read), Some(ErrorKind::Cancelled));
    let stats = blocks.stats();
    assert_eq!((stats.in_flight, stats.origin_reads), (0, 1));
    let read = blocks.read("object", 0..4 * BLOCK, &ReadOptions::new());
    assert!(read.is_ok());
}

/// Of what waits for a thread, the foreground's comes first, and a block that it waits for with it.
#[test]
fn the_foreground_waits_behind_nothing_else() {
    let source = Arc::new(Source::new(64 * BLOCK));
    let options = small_blocks().fetch_threads(1);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    let read = |n: u64, priority| {
        let options = ReadOptions::new().priority(priority);
        let range = n * BLOCK..(n + 1) * BLOCK;
        assert!(blocks.read("object", range, &options).is_ok());
    };
    thread::scope(|s| {
        let mut queued = 0;
        let mut queue = |n, priority| {
            s.spawn(move || read(n, priority));
            queued += 1;
            until(|| blocks.stats().block_misses == queued);
            thread::sleep(Duration::from_millis(5));
        };
        queue(0, Priority::Foreground);
        source.until_waiting(1);
        for n in [10, 11, 12] {
            queue(n, Priority::Background);
        }
        for n in [20, 21] {
            queue(n, Priority::Readahead);
        }
        queue(30, Priority::Foreground);
        // In the background until now.
        queue(12, Priority::Foreground);
        source.open_gate();
    });
    let order: Vec<_> = source.ranges().iter().map(|r| r.start / BLOCK).collect();
    assert_eq!(order, [0, 30, 12, 20, 21, 10, 11]);
    let told: Vec<_> = source
        .calls
        .lock()
        .unwrap()
        .iter()
        .map(|c| c.priority)
        .collect();
    assert_eq!(told[1], Priority::Foreground);
    assert_eq!(
        told[3..],
        [
            Priority::Readahead,
            Priority::Readahead,
            Priority::Background,
            Priority::Background
        ]
    );
}

/// Of two threads one stays with the foreground, however much of the rest there is.
#[test]
fn a_thread_is_left_to_the_foreground() {
    let source = Arc::new(Source::new(64 * BLOCK));
    let options = small_blocks().fetch_threads(2);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    blocks.head("object", &ReadOptions::new()).unwrap();
    source.close_gate();
    let low = ReadOptions::new().priority(Priority::Background);
    thread::scope(|s| {
        for n in 0..4 {
            let (blocks, low) = (&blocks, &low);
            s.spawn(move || {
                blocks
                    .read("object", n * BLOCK..n * BLOCK + 1, low)
                    .unwrap()
            });
        }
        until(|| blocks.stats().block_misses == 4);
        source.until_waiting(1);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(source.reads(), 1);
        s.spawn(|| {
            blocks
                .read("object", 9 * BLOCK..9 * BLOCK + 1, &ReadOptions::new())
                .unwrap()
        });
        source.until_waiting(2);
        assert_eq!(
            source.calls.lock().unwrap()[1].priority,
            Priority::Foreground
        );
        source.open_gate();
    });
}

#[test]
fn gaps_are_fetched_side_by_side() {
    let source = Arc::new(Source::new(64 * BLOCK));
    let blocks = over(&source);
    for n in (0..16).step_by(2) {
        blocks
            .read("object", n * BLOCK..n * BLOCK + 1, &ReadOptions::new())
            .unwrap();
    }
    source.close_gate();
    thread::scope(|s| {
        s.spawn(|| {
            blocks
                .read("object", 0..16 * BLOCK, &ReadOptions::new())
                .unwrap()
        });
        source.until_waiting(8);
        source.open_gate();
    });
}

/// The last handle goes while a thread is with the origin, and work waits.
#[test]
fn dropping_it_waits_for_its_threads() {
    let source = Arc::new(Source::new(640 * BLOCK));
    source.faults.lock().unwrap().slow = 1;
    let options = small_blocks().readahead_blocks(64).fetch_bytes_max(BLOCK);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    for n in 0..3 {
        blocks
            .read("object", n * BLOCK..n * BLOCK + 1, &ReadOptions::new())
            .unwrap();
    }
    drop(blocks);
    assert_eq!(Arc::strong_count(&source), 1);
}
