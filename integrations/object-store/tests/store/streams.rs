//! Objects that are larger than what is read at once.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use perennial::{Cache, Options};
use perennial_failpoints::SimFs;
use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{content, part, put, settled};
use crate::CachedObjectStore;
use crate::object_store::path::Path;
use crate::object_store::{Error, GetOptions, GetRange, ObjectStore};

const MIB: u64 = 1 << 20;
const LEN: u64 = 20 * MIB + 5;

async fn large(policy: HeadPolicy) -> (Path, Bytes, Arc<Watched>, CachedObjectStore) {
    let (location, watched) = (Path::from("large"), Arc::new(Watched::default()));
    let whole = content(1, usize::try_from(LEN).unwrap());
    put(&watched, &location, &whole).await;
    // All of it has room in the tail: none of it waits, so none is left out.
    let options = Options::new()
        .capacity_bytes(256 << 20)
        .tail_bytes(64 << 20);
    let cache = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap();
    let cached = CachedObjectStore::builder(Arc::clone(&watched), cache)
        .identity("the store of the tests")
        .head_policy(policy)
        .readahead_blocks(0)
        .build()
        .unwrap();
    (location, whole, watched, cached)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_comes_whole_and_in_windows() {
    let (location, whole, watched, cached) = large(HeadPolicy::Immutable).await;
    for asked in [(0, 6), (0, 0)] {
        let found = cached
            .get_opts(&location, GetOptions::default())
            .await
            .unwrap();
        assert_eq!((found.range.clone(), found.meta.size), (0..LEN, LEN));
        let pieces: Vec<Bytes> = found.into_stream().try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() as u64 <= 4 * MIB));
        assert!(pieces.concat() == whole, "other bytes");
        settled(&cached).await;
        // The first window with the head, four more, and five bytes.
        assert_eq!(watched.asked(), asked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_ranges_of_every_kind_come_whole() {
    let (location, whole, _, cached) = large(HeadPolicy::AlwaysRevalidate).await;
    let end = LEN - 7;
    for (range, expected) in [
        (GetRange::Bounded(13..end), 13..end),
        (GetRange::Bounded(13..13 + 8 * MIB), 13..13 + 8 * MIB),
        (GetRange::Bounded(MIB..u64::MAX), MIB..LEN),
        (GetRange::Offset(3 * MIB + 1), 3 * MIB + 1..LEN),
        (GetRange::Suffix(17 * MIB + 1), LEN - 17 * MIB - 1..LEN),
    ] {
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let found = cached.get_opts(&location, options).await.unwrap();
        assert_eq!(found.range, expected);
        let bytes = found.bytes().await.unwrap();
        assert!(bytes == part(&whole, expected.clone()), "{expected:?}");
    }
    let ranges = [5..12 * MIB, 1..2, 11 * MIB..LEN];
    let given = cached.get_ranges(&location, &ranges).await.unwrap();
    for (range, bytes) in ranges.into_iter().zip(given) {
        assert!(bytes == part(&whole, range.clone()), "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_on_is_not_fetched() {
    let (location, _, watched, cached) = large(HeadPolicy::Immutable).await;
    let found = cached
        .get_opts(&location, GetOptions::default())
        .await
        .unwrap();
    drop(found);
    settled(&cached).await;
    assert_eq!(watched.asked(), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_never_of_two_versions() {
    for policy in super::POLICIES {
        let (location, whole, watched, cached) = large(policy).await;
        let found = cached
            .get_opts(&location, GetOptions::default())
            .await
            .unwrap();
        let mut body = found.into_stream();
        let mut read = body.next().await.unwrap().unwrap().to_vec();
        put(&watched, &location, &content(2, whole.len())).await;
        let error = loop {
            match body.next().await.expect("the rest cannot be had") {
                Ok(bytes) => read.extend_from_slice(&bytes),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Generic { .. }), "{error:?}");
        assert!(body.next().await.is_none(), "it goes on behind the error");
        assert!(!read.is_empty() && read.len() < whole.len());
        assert!(whole[..read.len()] == read[..], "bytes of another version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_middle_is_the_stores_and_the_end() {
    let (location, _, watched, cached) = large(HeadPolicy::Immutable).await;
    let found = cached
        .get_opts(&location, GetOptions::default())
        .await
        .unwrap();
    watched.refuse(Some(|| Error::Unauthenticated {
        path: "large".into(),
        source: "the session is over".into(),
    }));
    let mut body = found.into_stream();
    let error = loop {
        if let Err(error) = body.next().await.expect("the rest cannot be had") {
            break error;
        }
    };
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
    assert!(body.next().await.is_none(), "it goes on behind the error");
    watched.refuse(None);
    let found = cached
        .get_opts(&location, GetOptions::default())
        .await
        .unwrap();
    assert_eq!(found.bytes().await.unwrap().len() as u64, LEN);
}
