//! What is asked of the store below: no more than without the cache, and nothing twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use perennial_failpoints::SimFs;
use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{BLOCK, POLICIES, content, on, over, part, put, read, settled};
use crate::CachedObjectStore;
use crate::object_store::path::Path;
use crate::object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

pub(super) const LEN: usize = 100_000;

/// An object that nobody has read yet.
pub(super) async fn fresh(policy: HeadPolicy) -> (Path, Arc<Watched>, CachedObjectStore) {
    let (location, watched) = (Path::from("a/b"), Arc::new(Watched::default()));
    put(&watched, &location, &content(1, LEN)).await;
    let cached = over(Arc::clone(&watched), policy);
    (location, watched, cached)
}

/// Requests for the head when nothing else has to be asked for.
fn heads(policy: HeadPolicy) -> u64 {
    u64::from(policy == HeadPolicy::AlwaysRevalidate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_range_of_an_unknown_object_is_one_request() {
    for policy in POLICIES {
        let (location, watched, cached) = fresh(policy).await;
        for _ in 0..2 {
            let range = cached.get_range(&location, 50_000..50_100).await.unwrap();
            assert_eq!(range, part(&content(1, LEN), 50_000..50_100));
            settled(&cached).await;
        }
        assert_eq!(watched.asked(), (heads(policy), 1), "{policy:?}");
        cached.head(&location).await.unwrap();
        assert_eq!(watched.asked(), (heads(policy), 0), "{policy:?}");
        cached.get_range(&location, 10..20).await.unwrap();
        assert_eq!(watched.asked(), (heads(policy), 1), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_object_is_one_request() {
    for policy in POLICIES {
        let (location, watched, cached) = fresh(policy).await;
        assert_eq!(read(&cached, &location).await, content(1, LEN));
        assert_eq!(watched.asked(), (0, 1), "{policy:?}");
        settled(&cached).await;
        assert_eq!(read(&cached, &location).await, content(1, LEN));
        let part_of_it = cached.get_range(&location, 4_000..9_000).await.unwrap();
        assert_eq!(part_of_it, part(&content(1, LEN), 4_000..9_000));
        assert_eq!(watched.asked(), (2 * heads(policy), 0), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_suffix_the_length_is_asked_for_first() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    let options = GetOptions {
        range: Some(GetRange::Suffix(8)),
        ..GetOptions::default()
    };
    let found = cached.get_opts(&location, options).await.unwrap();
    assert_eq!(found.range, 99_992..100_000);
    let expected = part(&content(1, LEN), 99_992..100_000);
    assert_eq!(found.bytes().await.unwrap(), expected);
    assert_eq!(watched.asked(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_object_is_asked_for_once() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    put(&watched, &location, &content(1, 0)).await;
    assert!(read(&cached, &location).await.is_empty());
    // The range is refused, so the head tells.
    assert_eq!(watched.asked(), (1, 1));
    assert!(read(&cached, &location).await.is_empty());
    cached.get_range(&location, 0..1).await.unwrap_err();
    assert_eq!(watched.asked(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_is_not_met_costs_no_bytes() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    let e_tag = cached.head(&location).await.unwrap().e_tag;
    assert_eq!(watched.asked(), (1, 0));
    let options = GetOptions {
        if_none_match: e_tag,
        ..GetOptions::default()
    };
    cached.get_opts(&location, options).await.unwrap_err();
    assert_eq!(watched.asked(), (0, 0));
    let options = GetOptions {
        if_match: Some("\"other\"".into()),
        ..GetOptions::default()
    };
    // It may be that of a newer version: the store is to say.
    cached.get_opts(&location, options).await.unwrap_err();
    assert_eq!(watched.asked(), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_near_to_each_other_are_one_request() {
    for policy in POLICIES {
        let (location, watched, cached) = fresh(policy).await;
        let ranges = [4_000..4_100, 0..10, 20..30, 0..10, 10..10 + BLOCK];
        let given = cached.get_ranges(&location, &ranges).await.unwrap();
        let whole = content(1, LEN);
        let expected: Vec<_> = ranges
            .iter()
            .map(|range| part(&whole, range.clone()))
            .collect();
        assert_eq!(given, expected);
        assert_eq!(watched.asked(), (0, 1), "{policy:?}");
        settled(&cached).await;
        assert_eq!(
            cached.get_ranges(&location, &ranges).await.unwrap(),
            expected
        );
        assert_eq!(watched.asked(), (heads(policy), 0), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_far_from_each_other_ask_for_the_head_once() {
    for policy in POLICIES {
        let (location, watched, cached) = fresh(policy).await;
        let ranges = [0..10, 50_000..50_010, 99_000..99_010];
        let given = cached.get_ranges(&location, &ranges).await.unwrap();
        let whole = content(1, LEN);
        let expected: Vec<_> = ranges
            .iter()
            .map(|range| part(&whole, range.clone()))
            .collect();
        assert_eq!(given, expected);
        assert_eq!(watched.asked(), (1, 3), "{policy:?}");
        settled(&cached).await;
        assert_eq!(
            cached.get_ranges(&location, &ranges).await.unwrap(),
            expected
        );
        assert_eq!(watched.asked(), (heads(policy), 0), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_ask_once() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    let readers: Vec<_> = (0..32)
        .map(|_| {
            let (cached, location) = (cached.clone(), location.clone());
            tokio::spawn(async move { read(&cached, &location).await })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), content(1, LEN));
    }
    assert_eq!(watched.asked(), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_nothing_is_asked_for_again() {
    let location = Path::from("a/b");
    for policy in POLICIES {
        let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
        put(&watched, &location, &content(1, LEN)).await;
        let cached = on(&fs, Arc::clone(&watched), policy);
        let before = cached.head(&location).await.unwrap();
        read(&cached, &location).await;
        settled(&cached).await;
        let killed = fs.process_crash();
        watched.asked();
        let cached = on(&killed, Arc::clone(&watched), policy);
        assert_eq!(read(&cached, &location).await, content(1, LEN));
        assert_eq!(cached.head(&location).await.unwrap(), before);
        assert_eq!(watched.asked(), (2 * heads(policy), 0), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_for_too_long_is_asked_for_after_a_restart() {
    let (location, policy) = (Path::from("a/b"), POLICIES[1]);
    let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
    put(&watched, &location, &content(1, LEN)).await;
    let cached = on(&fs, Arc::clone(&watched), policy);
    read(&cached, &location).await;
    settled(&cached).await;
    let killed = fs.process_crash();
    killed.advance(61_000);
    put(&watched, &location, &content(2, LEN)).await;
    let cached = on(&killed, Arc::clone(&watched), policy);
    assert_eq!(read(&cached, &location).await, content(2, LEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_asked_for_by_name_is_the_stores_to_give() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    let options = GetOptions {
        version: Some("1".into()),
        ..GetOptions::default()
    };
    for _ in 0..2 {
        let found = cached.get_opts(&location, options.clone()).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), content(1, LEN));
        assert_eq!(watched.asked(), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_ranges_serves_whole_objects() {
    for policy in POLICIES {
        let (location, watched, cached) = fresh(policy).await;
        watched.whole_only.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            assert_eq!(read(&cached, &location).await, content(1, LEN));
            let size = cached.head(&location).await.unwrap().size;
            assert_eq!(size, LEN as u64);
        }
        let range = cached.get_range(&location, 5..9).await;
        assert!(matches!(range, Err(Error::Generic { .. })), "{range:?}");
    }
}
