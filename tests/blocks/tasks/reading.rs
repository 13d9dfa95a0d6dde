//! Reads by tasks: the same answers as of the face for threads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use perennial::blocks::{AsyncBlockCache, Cancel, ReadOptions, Revalidate};
use perennial::{Cache, ErrorKind, Options};

use super::{Awaited, over};
use crate::source::{Faults, Source, until};
use crate::{BLOCK, roomy, small_blocks};

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_a_read_gives_the_objects_bytes() {
    let source = Arc::new(Source::new(10 * BLOCK + 123));
    let blocks = over(&source);
    let len = source.len_at(1);
    for range in [
        0..1,
        0..len,
        BLOCK - 1..BLOCK + 1,
        5..5,
        3 * BLOCK..7 * BLOCK,
        len - 1..len,
        len..len,
    ] {
        let expected = source.bytes("object", 1, range.clone());
        let (head, bytes) = blocks
            .read("object", range.clone(), &ReadOptions::new())
            .await
            .unwrap();
        assert_eq!((head.len, &bytes[..]), (len, &expected[..]));
        let (_, pieces) = blocks
            .pieces("object", range.clone(), &ReadOptions::new())
            .await
            .unwrap();
        assert_eq!(pieces.concat(), expected);
        let bytes = blocks
            .read_version("object", &head, range, &ReadOptions::new())
            .await
            .unwrap();
        assert_eq!(bytes, expected);
    }
    for range in [0..len + 1, len + 1..len + 2, u64::MAX - 1..u64::MAX] {
        let read = blocks
            .read("object", range.clone(), &ReadOptions::new())
            .await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid);
        let (_, pieces) = blocks
            .open("object", range.clone(), &ReadOptions::new())
            .await
            .unwrap();
        assert_eq!(
            pieces.concat(),
            source.bytes("object", 1, range.start.min(len)..len)
        );
    }
    assert_eq!(source.given_again(), 0);
    let stats = blocks.stats_of("object").await.unwrap();
    assert_eq!((stats.total_blocks, stats.cached_blocks), (11, 11));
}

/// Blocks that lie in files are read by threads, many at once.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_in_files_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().capacity_bytes(64 << 20).memory_tier_bytes(0);
    let cache = Cache::open(dir.path(), options.clone()).unwrap();
    let source = Arc::new(Source::new(1000 * BLOCK));
    let blocks = AsyncBlockCache::new(cache, Awaited(Arc::clone(&source)), small_blocks()).unwrap();
    blocks
        .read("object", 0..1000 * BLOCK, &ReadOptions::new())
        .await
        .unwrap();
    tokio::task::block_in_place(|| until(|| blocks.stats().in_flight == 0));
    drop(blocks);
    // The threads hold the cache until they have ended.
    let mut opened = Err(ErrorKind::Locked);
    tokio::task::block_in_place(|| {
        until(|| {
            opened = Cache::open(dir.path(), options.clone()).map_err(|error| error.kind());
            opened.as_ref().err() != Some(&ErrorKind::Locked)
        });
    });
    let cache = opened.unwrap();
    let blocks = AsyncBlockCache::new(cache, Awaited(Arc::clone(&source)), small_blocks()).unwrap();
    let (_, bytes) = blocks
        .read("object", 7..1000 * BLOCK, &ReadOptions::new())
        .await
        .unwrap();
    assert!(bytes == source.bytes("object", 1, 7..1000 * BLOCK));
    assert_eq!((source.given_again(), blocks.stats().block_hits), (0, 1000));
}

/// What is in memory is answered in the first poll.
#[tokio::test]
async fn memory_answers_without_a_switch() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let options = ReadOptions::new();
    blocks.read("object", 0..2 * BLOCK, &options).await.unwrap();
    let read = pin!(blocks.read("object", 5..2 * BLOCK, &options));
    let polled = read.poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok((_, bytes))) = polled else {
        panic!("{polled:?}");
    };
    assert_eq!(bytes, source.bytes("object", 1, 5..2 * BLOCK));
}

/// 19, for tasks: whoever leads can be dropped at whatever point, and who waits for the same block gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_leader_leaves_nothing_behind() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    blocks.head("object", &ReadOptions::new()).await.unwrap();
    source.close_gate();
    let leader = tokio::spawn({
        let blocks = blocks.clone();
        async move { blocks.read("object", 0..BLOCK, &ReadOptions::new()).await }
    });
    tokio::task::block_in_place(|| source.until_waiting(1));
    let follower = tokio::spawn({
        let blocks = blocks.clone();
        async move { blocks.read("object", 5..10, &ReadOptions::new()).await }
    });
    tokio::task::block_in_place(|| until(|| blocks.stats().joined == 1));
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert!(!follower.is_finished());
    source.open_gate();
    let (_, read) = follower.await.unwrap().unwrap();
    assert_eq!(read, source.bytes("object", 1, 5..10));
    assert_eq!(source.reads(), 1);
    tokio::task::block_in_place(|| until(|| blocks.stats().in_flight == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_read_says_so() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    source.close_gate();
    let cancel = Cancel::new();
    let read = tokio::spawn({
        let (blocks, options) = (blocks.clone(), ReadOptions::new().cancel(&cancel));
        async move { blocks.read("object", 0..BLOCK, &options).await }
    });
    tokio::task::block_in_place(|| source.until_waiting(1));
    cancel.cancel();
    assert_eq!(
        read.await.unwrap().unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    source.open_gate();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_reach_who_waits() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    blocks.head("object", &ReadOptions::new()).await.unwrap();
    for faults in [
        Faults {
            fails: 1,
            ..Faults::default()
        },
        Faults {
            panics: 1,
            ..Faults::default()
        },
    ] {
        *source.faults.lock().unwrap() = faults;
        let read = blocks.read("object", 0..BLOCK, &ReadOptions::new()).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Origin);
    }
    *source.faults.lock().unwrap() = Faults::default();
    let (_, read) = blocks
        .read("object", 0..BLOCK, &ReadOptions::new())
        .await
        .unwrap();
    assert_eq!(read, source.bytes("object", 1, 0..BLOCK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_object_is_seen() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    let always = ReadOptions::new().revalidate(Revalidate::Always);
    let (old, _) = blocks.read("object", 0..BLOCK, &always).await.unwrap();
    source.change("object");
    let (new, read) = blocks.read("object", 0..BLOCK, &always).await.unwrap();
    assert_ne!(old, new);
    assert_eq!(read, source.bytes("object", 2, 0..BLOCK));
    let stale = blocks
        .read_version("object", &old, BLOCK..2 * BLOCK, &always)
        .await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Changed);
    blocks.invalidate("object").await.unwrap();
    source.change("object");
    let (_, read) = blocks
        .read("object", 0..BLOCK, &ReadOptions::new())
        .await
        .unwrap();
    assert_eq!(read, source.bytes("object", 3, 0..BLOCK));
}

/// The runtime may be one thread, which drops the cache while the origin is being asked.
#[tokio::test]
async fn one_thread_suffices() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    let options = ReadOptions::new();
    let (_, read) = blocks.read("object", 0..8 * BLOCK, &options).await.unwrap();
    assert_eq!(read, source.bytes("object", 1, 0..8 * BLOCK));
    source.close_gate();
    let other = blocks.read("other", 0..8 * BLOCK, &options);
    let timeout = tokio::time::timeout(Duration::from_millis(5), other).await;
    assert!(timeout.is_err(), "the origin does not answer");
    drop(blocks);
    source.open_gate();
}

#[test]
fn it_needs_a_runtime_and_threads() {
    let source = Arc::new(Source::new(BLOCK));
    let made = AsyncBlockCache::new(roomy(), Awaited(Arc::clone(&source)), small_blocks());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let none = small_blocks().fetch_threads(0);
    let made = AsyncBlockCache::new(roomy(), Awaited(source), none);
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid);
}
