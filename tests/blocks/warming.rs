//! `ensure_cached`: a range is there before it is read.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use perennial::ErrorKind;
use perennial::blocks::{BlockCache, Cancel, Priority, ReadOptions};

use crate::source::Source;
use crate::{BLOCK, inline, over, roomy, settled, small_blocks};

fn go_on<T>(_: T) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_range_is_there_afterwards() {
    for blocks in [over, inline] {
        let source = Arc::new(Source::new(100 * BLOCK + 5));
        let blocks = blocks(&source);
        for n in [20, 21, 40] {
            blocks
                .read("object", n * BLOCK..n * BLOCK + 1, &ReadOptions::new())
                .unwrap();
        }
        let mut told = Vec::new();
        let range = 10 * BLOCK + 1..100 * BLOCK + 5;
        let done = blocks
            .ensure_cached("object", range.clone(), &ReadOptions::new(), |progress| {
                told.push(progress);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(done.is_complete());
        assert_eq!((done.total_blocks, done.fetched_blocks), (91, 88));
        assert_eq!(told.last(), Some(&done));
        assert!(told.is_sorted_by_key(|progress| progress.done_blocks));
        let reads = source.reads();
        let read = blocks.read("object", range.clone(), &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 1, range.clone()));
        let again = blocks.ensure_cached("object", range, &ReadOptions::new(), go_on);
        assert_eq!(again.unwrap().fetched_blocks, 0);
        assert_eq!(source.reads(), reads);
        let calls = source.calls.lock().unwrap();
        assert!(
            calls[3..]
                .iter()
                .all(|call| call.priority == Priority::Background)
        );
    }
}

#[test]
fn it_ends_when_the_callback_says_so() {
    let source = Arc::new(Source::new(1000 * BLOCK));
    let options = small_blocks().fetch_threads(2).fetch_bytes_max(4 * BLOCK);
    let blocks = BlockCache::new(roomy(), Arc::clone(&source), options).unwrap();
    let done = blocks
        .ensure_cached("object", 0..1000 * BLOCK, &ReadOptions::new(), |progress| {
            if progress.fetched_blocks >= 20 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert!(!done.is_complete() && done.fetched_blocks == 20);
    settled(&blocks);
    assert!(source.reads() < 20, "{} reads", source.reads());
}

#[test]
fn it_ends_when_it_is_cancelled() {
    let source = Arc::new(Source::new(1000 * BLOCK));
    let blocks = over(&source);
    source.close_gate();
    let cancel = Cancel::new();
    thread::scope(|s| {
        let options = ReadOptions::new().cancel(&cancel);
        let warming =
            s.spawn(|| blocks.ensure_cached("object", 0..1000 * BLOCK, &{ options }, go_on));
        source.until_waiting(1);
        cancel.cancel();
        let ended = warming.join().unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
        source.open_gate();
    });
    settled(&blocks);
    let read = blocks.read("object", 0..1000 * BLOCK, &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 1, 0..1000 * BLOCK));
}

#[test]
fn ranges_that_are_none() {
    let source = Arc::new(Source::new(1000));
    let blocks = over(&source);
    let ensure = |range| blocks.ensure_cached("object", range, &ReadOptions::new(), go_on);
    assert!(ensure(5..5).unwrap().is_complete());
    for (start, end) in [(0, 1001), (6, 5)] {
        assert_eq!(ensure(start..end).unwrap_err().kind(), ErrorKind::Invalid);
    }
    source.faults.lock().unwrap().fails = 1;
    assert_eq!(ensure(0..10).unwrap_err().kind(), ErrorKind::Origin);
}

#[test]
fn what_cannot_be_kept_is_told() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    blocks.cache().clone().close().unwrap();
    let done = blocks.ensure_cached("object", 0..10 * BLOCK, &ReadOptions::new(), go_on);
    let done = done.unwrap();
    assert!(!done.is_complete());
    assert_eq!((done.done_blocks, done.not_kept), (10, 10));
}
