//! How old what is read may be.

use std::sync::Arc;
use std::time::Duration;

use perennial_failpoints::SimFs;
use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{POLICIES, content, on, over, part, put, read, settled};
use crate::object_store::path::Path;
use crate::object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};

const LEN: usize = 50_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overwrite_behind_the_caches_back_is_seen_as_the_policy_says() {
    let location = Path::from("a");
    for policy in POLICIES {
        let watched = Arc::new(Watched::default());
        put(&watched, &location, &content(1, LEN)).await;
        let cached = over(Arc::clone(&watched), policy);
        assert_eq!(read(&cached, &location).await, content(1, LEN));
        settled(&cached).await;
        put(&watched, &location, &content(2, LEN + 1)).await;
        let seen = match policy {
            HeadPolicy::AlwaysRevalidate => content(2, LEN + 1),
            _ => content(1, LEN),
        };
        assert_eq!(read(&cached, &location).await, seen, "{policy:?}");
        let head = cached.head(&location).await.unwrap();
        assert_eq!(head.size, seen.len() as u64, "{policy:?}");
        cached.invalidate(&location).await.unwrap();
        assert_eq!(
            read(&cached, &location).await,
            content(2, LEN + 1),
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_overwrite_is_seen_by_who_always_asks() {
    let location = Path::from("a");
    let watched = Arc::new(Watched::default());
    let cached = over(Arc::clone(&watched), HeadPolicy::AlwaysRevalidate);
    for round in 0..100 {
        // The first bytes are the same in all contents.
        let len = 9 + usize::try_from(round % 7).unwrap() * 3_000;
        let now = content(round, len);
        put(&watched, &location, &now).await;
        match round % 3 {
            0 => assert_eq!(read(&cached, &location).await, now),
            1 => {
                let range = cached.get_range(&location, 0..u64::MAX).await;
                assert_eq!(range.unwrap(), now);
            }
            _ => {
                let ranges = cached.get_ranges(&location, &[0..1, 0..len as u64]).await;
                assert_eq!(ranges.unwrap(), [part(&now, 0..1), now.clone()]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_allowed_is_asked_for() {
    let location = Path::from("a");
    let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
    put(&watched, &location, &content(1, LEN)).await;
    let cached = on(
        &fs,
        Arc::clone(&watched),
        HeadPolicy::Ttl(Duration::from_secs(60)),
    );
    read(&cached, &location).await;
    settled(&cached).await;
    watched.asked();
    put(&watched, &location, &content(2, LEN)).await;
    fs.advance(59_000);
    assert_eq!(read(&cached, &location).await, content(1, LEN));
    assert_eq!(watched.asked(), (0, 0));
    fs.advance(2_000);
    assert_eq!(read(&cached, &location).await, content(2, LEN));
    assert_eq!(watched.asked(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_to_be_fetched_tells_that_the_object_is_another() {
    let location = Path::from("a");
    let watched = Arc::new(Watched::default());
    put(&watched, &location, &content(1, LEN)).await;
    let cached = over(Arc::clone(&watched), HeadPolicy::Immutable);
    cached.get_range(&location, 0..10).await.unwrap();
    settled(&cached).await;
    put(&watched, &location, &content(2, LEN)).await;
    // A part of it is cached, and a part would be fetched: all of it is of the newer.
    assert_eq!(read(&cached, &location).await, content(2, LEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_become_shorter_is_read_anew() {
    let location = Path::from("a");
    for policy in POLICIES {
        let watched = Arc::new(Watched::default());
        put(&watched, &location, &content(1, LEN)).await;
        let cached = over(Arc::clone(&watched), policy);
        cached.head(&location).await.unwrap();
        put(&watched, &location, &content(2, 100)).await;
        assert_eq!(
            read(&cached, &location).await,
            content(2, 100),
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_of_a_newer_version_is_not_refused() {
    let location = Path::from("a");
    for policy in POLICIES {
        let watched = Arc::new(Watched::default());
        put(&watched, &location, &content(1, LEN)).await;
        let cached = over(Arc::clone(&watched), policy);
        read(&cached, &location).await;
        put(&watched, &location, &content(2, LEN)).await;
        let options = GetOptions {
            if_match: watched.head(&location).await.unwrap().e_tag,
            ..GetOptions::default()
        };
        let found = cached.get_opts(&location, options).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), content(2, LEN), "{policy:?}");
        // And it is noticed.
        assert_eq!(
            read(&cached, &location).await,
            content(2, LEN),
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_behind_the_caches_back_is_gone_for_who_always_asks() {
    let location = Path::from("a");
    let watched = Arc::new(Watched::default());
    put(&watched, &location, &content(1, LEN)).await;
    let cached = over(Arc::clone(&watched), HeadPolicy::AlwaysRevalidate);
    read(&cached, &location).await;
    watched.delete(&location).await.unwrap();
    let gone = cached.get(&location).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    let gone = cached.head(&location).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}
