//! Heads that are remembered: a first read is one question, and a restart asks nothing again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use perennial::Cache;
use perennial::blocks::{
    BlockCache, Head, Opened, Origin, OriginResult, ReadOptions, Revalidate, Version,
};

use crate::source::{Source, until};
use crate::{BLOCK, roomy, settled, small_blocks};

pub(crate) fn remembering(cache: &Cache, source: &Arc<Source>) -> BlockCache {
    let options = small_blocks().remember_heads(true);
    BlockCache::new(cache.clone(), Arc::clone(source), options).unwrap()
}

/// Questions for heads, questions that may bring bytes, reads.
pub(crate) fn asked(source: &Source) -> (u64, u64, usize) {
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::SeqCst);
    (count(&source.heads), count(&source.opens), source.reads())
}

#[test]
fn the_first_read_of_an_object_is_one_question() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = remembering(&roomy(), &source);
    let range = BLOCK + 1..3 * BLOCK;
    let read = blocks.read("object", range.clone(), &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 1, range.clone()));
    assert_eq!(asked(&source), (0, 1, 0));
    // What came with the answer is kept, and nothing else is.
    blocks.read("object", range, &ReadOptions::new()).unwrap();
    assert_eq!(asked(&source), (0, 1, 0));
    let stats = settled(&blocks);
    assert_eq!((stats.filled_blocks, stats.failed_fills), (2, 0));
    assert_eq!((stats.block_hits, stats.block_misses), (2, 2));
    let all = blocks.read("object", 0..10 * BLOCK, &ReadOptions::new());
    assert_eq!(all.unwrap(), source.bytes("object", 1, 0..10 * BLOCK));
    let mut ranges = source.ranges();
    ranges.sort_unstable_by_key(|range| range.start);
    assert_eq!(
        (source.given_again(), ranges),
        (0, vec![0..BLOCK, 3 * BLOCK..10 * BLOCK])
    );
}

#[test]
fn a_restart_asks_nothing_that_may_be_as_old() {
    let (cache, source) = (roomy(), Arc::new(Source::new(10 * BLOCK)));
    let first = remembering(&cache, &source);
    first.read("object", 0..BLOCK, &ReadOptions::new()).unwrap();
    drop(first);
    for (revalidate, heads) in [
        (Revalidate::Never, 0),
        (Revalidate::After(Duration::from_secs(3600)), 0),
        (Revalidate::After(Duration::ZERO), 1),
        (Revalidate::Always, 1),
    ] {
        // The simulated clock stands still by itself.
        thread::sleep(Duration::from_millis(5));
        let before = asked(&source);
        let blocks = remembering(&cache, &source);
        let options = ReadOptions::new().revalidate(revalidate);
        let read = blocks.read("object", 0..BLOCK, &options);
        assert_eq!(read.unwrap(), source.bytes("object", 1, 0..BLOCK));
        let head = blocks.head("object", &ReadOptions::new()).unwrap();
        assert_eq!((head.len, &head.about[..]), (10 * BLOCK, &b"object"[..]));
        let after = asked(&source);
        let old_enough = after.0 - before.0;
        assert!(old_enough <= heads, "{revalidate:?}: {old_enough}");
        assert!(revalidate != Revalidate::Always || old_enough == 1);
        assert_eq!(
            (after.1, after.2),
            (1, 0),
            "bytes that are there are not fetched again"
        );
    }
}

#[test]
fn an_invalidated_object_is_not_remembered() {
    let (cache, source) = (roomy(), Arc::new(Source::new(10 * BLOCK)));
    let blocks = remembering(&cache, &source);
    blocks
        .read("object", 0..BLOCK, &ReadOptions::new())
        .unwrap();
    source.change("object");
    // The block, and what was remembered.
    assert_eq!(blocks.invalidate("object").unwrap(), 2);
    assert_eq!(cache.stats().entries, 0);
    for blocks in [blocks, remembering(&cache, &source)] {
        let read = blocks.read("object", 0..BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 2, 0..BLOCK));
    }
    assert_eq!(asked(&source), (0, 2, 0));
}

/// Who has written to an object need not look through the whole cache.
#[test]
fn a_forgotten_version_is_asked_for_again() {
    let (cache, source) = (roomy(), Arc::new(Source::new(10 * BLOCK)));
    let blocks = remembering(&cache, &source);
    blocks
        .read("object", 0..2 * BLOCK, &ReadOptions::new())
        .unwrap();
    blocks.forget("object").unwrap();
    assert_eq!(cache.stats().entries, 2);
    let head = blocks.head("object", &ReadOptions::new()).unwrap();
    assert_eq!(asked(&source), (1, 1, 0));
    let read = blocks.read_version_at("object", &head, 0, &mut [0; 100], &ReadOptions::new());
    read.unwrap();
    assert_eq!(asked(&source), (1, 1, 0), "its blocks are still there");
    source.change("object");
    blocks.forget("object").unwrap();
    for blocks in [&blocks, &remembering(&cache, &source)] {
        let read = blocks.read("object", 0..BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 2, 0..BLOCK));
    }
    until(|| blocks.stats().stale_blocks_removed == 2);
}

/// An answer that was on its way is for who waited for it, and for nobody after.
#[test]
fn an_answer_from_before_an_invalidate_is_not_kept() {
    let (cache, source) = (roomy(), Arc::new(Source::new(10 * BLOCK)));
    let blocks = remembering(&cache, &source);
    source.close_gate();
    thread::scope(|s| {
        let reader = s.spawn(|| blocks.read("object", 0..BLOCK, &ReadOptions::new()));
        source.until_waiting(1);
        blocks.invalidate("object").unwrap();
        source.open_gate();
        let read = reader.join().unwrap().unwrap();
        assert_eq!(read, source.bytes("object", 1, 0..BLOCK));
    });
    assert_eq!(settled(&blocks).filled_blocks, 0);
    assert_eq!(cache.stats().entries, 0);
    source.change("object");
    let read = blocks.read("object", 0..BLOCK, &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 2, 0..BLOCK));
}

#[test]
fn who_comes_meanwhile_waits_for_the_answer() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = remembering(&roomy(), &source);
    source.close_gate();
    thread::scope(|s| {
        let readers: Vec<_> = [Revalidate::Never, Revalidate::Always, Revalidate::Never]
            .into_iter()
            .map(|revalidate| {
                let options = ReadOptions::new().revalidate(revalidate);
                let blocks = &blocks;
                s.spawn(move || blocks.read("object", 0..2 * BLOCK, &options))
            })
            .collect();
        source.until_waiting(1);
        until(|| blocks.stats().joined_heads == 2);
        source.open_gate();
        for reader in readers {
            let read = reader.join().unwrap().unwrap();
            assert_eq!(read, source.bytes("object", 1, 0..2 * BLOCK));
        }
    });
    assert_eq!(source.given_again(), 0);
    let (heads, opens, reads) = asked(&source);
    assert!(
        heads <= 1 && opens == 1 && reads == 0,
        "{heads} {opens} {reads}"
    );
}

#[test]
fn what_is_not_to_be_kept_is_served_all_the_same() {
    let (cache, source) = (roomy(), Arc::new(Source::new(10 * BLOCK)));
    let blocks = remembering(&cache, &source);
    let options = ReadOptions::new().populate(false);
    let read = blocks.read("object", 5..2 * BLOCK, &options);
    assert_eq!(read.unwrap(), source.bytes("object", 1, 5..2 * BLOCK));
    assert_eq!(asked(&source), (0, 1, 0));
    // The head alone.
    assert_eq!(cache.stats().entries, 1);
}

/// Says more, or elsewhere, than it was asked for.
struct Odd(u64);

impl Odd {
    const LEN: u64 = 3 * BLOCK + 5;

    fn byte(offset: u64) -> u8 {
        (offset / 7 % 251) as u8
    }
}

impl Origin for Odd {
    fn identity(&self) -> String {
        "odd".into()
    }
    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok("v".into())
    }
    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(Self::LEN)
    }
    fn open_at(
        &self,
        _: &str,
        range: std::ops::Range<u64>,
        _: &ReadOptions,
    ) -> OriginResult<Opened> {
        let (offset, end) = match self.0 {
            0 => (range.start, Self::LEN + 1),
            1 => (range.start + 1, range.end),
            2 => (u64::MAX - 5, u64::MAX),
            3 => (0, Self::LEN),
            _ => (range.end, range.end),
        };
        let bytes: Vec<u8> = (offset..end).map(Self::byte).collect();
        Ok(Opened::new(Head::new("v", Self::LEN), offset, bytes))
    }
    fn read_at(
        &self,
        _: &str,
        _: &Version,
        offset: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        (offset..)
            .zip(&mut *buf)
            .for_each(|(at, byte)| *byte = Self::byte(at));
        Ok(buf.len())
    }
}

#[test]
fn odd_answers_cost_a_question_and_nothing_else() {
    for how in 0..5 {
        let options = small_blocks().remember_heads(true);
        let blocks = BlockCache::new(roomy(), Odd(how), options).unwrap();
        let range = BLOCK + 3..Odd::LEN;
        let expected: Vec<u8> = range.clone().map(Odd::byte).collect();
        for _ in 0..2 {
            let read = blocks.read("object", range.clone(), &ReadOptions::new());
            assert!(read.unwrap() == expected, "{how}");
        }
    }
}
