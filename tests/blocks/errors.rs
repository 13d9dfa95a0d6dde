//! A failing cache never fails a read; a short answer of the origin fails what it cut, and that read only.

use std::sync::Arc;
use std::thread;

use perennial::blocks::{BlockCache, Origin, OriginResult, Priority, ReadOptions, Version};
use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::source::Source;
use crate::{BLOCK, KIB, inline, over, settled, small_blocks};

#[test]
fn a_closed_cache_falls_through_to_the_origin() {
    for blocks in [over, inline] {
        let source = Arc::new(Source::new(10 * BLOCK));
        let blocks = blocks(&source);
        blocks
            .read("object", 0..BLOCK, &ReadOptions::new())
            .unwrap();
        blocks.cache().clone().close().unwrap();
        for _ in 0..2 {
            let read = blocks.read("object", 100..9_000, &ReadOptions::new());
            assert_eq!(read.unwrap(), source.bytes("object", 1, 100..9_000));
            settled(&blocks);
        }
        let stats = settled(&blocks);
        assert!(stats.cache_failures >= 6, "{stats:?}");
        assert_eq!(stats.failed_fills, 6);
        assert_eq!(stats.origin_reads, 3);
        assert!(blocks.invalidate("object").is_err(), "who removes is told");
    }
}

pub(crate) fn on_a_device(tail_bytes: u64) -> (Cache, FaultFs) {
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = Options::new()
        .capacity_bytes(8 << 20)
        .segment_bytes(64 * KIB)
        .tail_bytes(tail_bytes);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap();
    (cache, fs)
}

/// Every write of the device fails from some call on: reads go on, from the origin and from what is there.
#[test]
fn a_failing_device_falls_through_to_the_origin() {
    for good in [0, 3, 10] {
        let (cache, fs) = on_a_device(64 * KIB);
        let source = Arc::new(Source::new(400 * BLOCK));
        let blocks = BlockCache::new(cache, Arc::clone(&source), small_blocks()).unwrap();
        let mut left = good;
        fs.set_plan(Plan::new(move |call| {
            if call.kind != CallKind::Write {
                return Action::Pass;
            }
            left -= i32::from(left > 0);
            if left > 0 {
                Action::Pass
            } else {
                Action::Fail(std::io::ErrorKind::Other)
            }
        }));
        for n in 0..400 {
            let range = n * BLOCK..(n + 1) * BLOCK;
            let read = blocks.read("object", range.clone(), &ReadOptions::new());
            assert_eq!(read.unwrap(), source.bytes("object", 1, range));
        }
        let stats = settled(&blocks);
        assert!(stats.failed_fills > 0, "{stats:?}");
    }
}

/// So many bytes of each answer.
struct Short(Source, std::sync::atomic::AtomicUsize);

impl Origin for Short {
    fn identity(&self) -> String {
        self.0.identity()
    }
    fn version(&self, object: &str) -> OriginResult<Version> {
        self.0.version(object)
    }
    fn len(&self, object: &str) -> OriginResult<u64> {
        self.0.len(object)
    }
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        let at_most = self.1.load(std::sync::atomic::Ordering::Relaxed);
        Ok(self
            .0
            .read_at(object, version, offset, buf, options)?
            .min(at_most))
    }
}

#[test]
fn a_short_answer_gives_its_whole_blocks() {
    for threads in [0, 4] {
        let short = Short(Source::new(10 * BLOCK), 10_000.into());
        let source = Arc::new(short);
        let options = small_blocks().fetch_threads(threads);
        let blocks = BlockCache::new(crate::roomy(), Arc::clone(&source), options).unwrap();
        let read = |range| blocks.read("object", range, &ReadOptions::new());
        let error = read(0..10 * BLOCK).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Origin);
        settled(&blocks);
        assert_eq!(blocks.stats_of("object").unwrap().cached_blocks, 2);
        source
            .1
            .store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
        let whole = read(0..10 * BLOCK).unwrap();
        assert_eq!(whole, source.0.bytes("object", 1, 0..10 * BLOCK));
        assert_eq!(settled(&blocks).filled_blocks, 10);
    }
}

/// More than asked for is no answer either.
#[test]
fn an_origin_that_miscounts_is_not_believed() {
    struct Boastful(Source);
    impl Origin for Boastful {
        fn identity(&self) -> String {
            self.0.identity()
        }
        fn version(&self, object: &str) -> OriginResult<Version> {
            self.0.version(object)
        }
        fn len(&self, object: &str) -> OriginResult<u64> {
            self.0.len(object)
        }
        fn read_at(
            &self,
            _: &str,
            _: &Version,
            _: u64,
            buf: &mut [u8],
            _: &ReadOptions,
        ) -> OriginResult<usize> {
            Ok(buf.len() + 1)
        }
    }
    let blocks =
        BlockCache::new(crate::roomy(), Boastful(Source::new(BLOCK)), small_blocks()).unwrap();
    let read = blocks.read("object", 0..10, &ReadOptions::new());
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Origin);
    assert_eq!(blocks.stats().filled_blocks, 0);
}

/// What somebody else stored under a block's key is not served unless it is as long as the block.
#[test]
fn a_block_of_another_length_is_a_miss() {
    let source = Arc::new(Source::new(3 * BLOCK + 100));
    let blocks = over(&source);
    let all = 0..3 * BLOCK + 100;
    blocks
        .read("object", all.clone(), &ReadOptions::new())
        .unwrap();
    for key in blocks
        .cache()
        .keys()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
    {
        blocks.cache().insert(&key, b"something else").unwrap();
    }
    let read = blocks
        .read("object", all.clone(), &ReadOptions::new())
        .unwrap();
    assert_eq!(read, source.bytes("object", 1, all));
    assert_eq!(blocks.stats().bad_blocks, 4);
}

/// 22: the writes of the cache hang; reads of the foreground are served by cache and origin as ever.
#[test]
fn reader_not_behind_writer() {
    let (cache, fs) = on_a_device(128 * KIB);
    let source = Arc::new(Source::new(400 * BLOCK));
    let blocks = BlockCache::new(cache, Arc::clone(&source), small_blocks()).unwrap();
    blocks
        .read("object", 0..4 * BLOCK, &ReadOptions::new())
        .unwrap();
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Write | CallKind::SyncData | CallKind::SyncDir | CallKind::Allocate => {
            Action::Hold
        }
        _ => Action::Pass,
    }));
    thread::scope(|s| {
        let patient = ReadOptions::new().priority(Priority::Background);
        // It waits for room, and the reads do not wait for it.
        let warming = s.spawn(|| {
            let all = 0..400 * BLOCK;
            blocks.ensure_cached("object", all, &{ patient }, |_| {
                std::ops::ControlFlow::Continue(())
            })
        });
        for n in 0..200 {
            let range = n * BLOCK..(n + 1) * BLOCK;
            let read = blocks.read("object", range.clone(), &ReadOptions::new());
            assert_eq!(read.unwrap(), source.bytes("object", 1, range));
        }
        assert!(!warming.is_finished());
        fs.set_plan(Plan::none());
        fs.let_go();
        assert_eq!(warming.join().unwrap().unwrap().done_blocks, 400);
    });
}
