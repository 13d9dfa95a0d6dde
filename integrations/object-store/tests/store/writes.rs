//! What is written through the store is seen, whatever was known before. With `Immutable`: nothing else would tell.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use perennial_failpoints::SimFs;
use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{BLOCK, POLICIES, cache_on, content, on, over, put, read, settled, until};
use crate::CachedObjectStore;
use crate::object_store::memory::InMemory;
use crate::object_store::path::Path;
use crate::object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

const LEN: usize = 30_000;

fn old() -> Bytes {
    content(1, LEN)
}

fn new() -> Bytes {
    content(2, LEN)
}

/// A store that knows `a` and `b`, which are old, whole.
async fn warm() -> (Arc<Watched>, CachedObjectStore) {
    let watched = Arc::new(Watched::default());
    let cached = over(Arc::clone(&watched), HeadPolicy::Immutable);
    for location in ["a", "b"].map(Path::from) {
        put(&watched, &location, &old()).await;
        assert_eq!(read(&cached, &location).await, old());
    }
    settled(&cached).await;
    watched.asked();
    (watched, cached)
}

async fn is_gone(cached: &CachedObjectStore, location: &str) -> bool {
    let found = cached.get(&Path::from(location)).await;
    matches!(found, Err(Error::NotFound { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_is_seen() {
    let (_, cached) = warm().await;
    put(&cached, &Path::from("a"), &new()).await;
    assert_eq!(read(&cached, &Path::from("a")).await, new());
    assert_eq!(read(&cached, &Path::from("b")).await, old());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_written_is_forgotten() {
    let (watched, cached) = warm().await;
    put(&cached, &Path::from("a"), &new()).await;
    read(&cached, &Path::from("b")).await;
    assert_eq!(watched.asked(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_parts_is_seen_when_it_is_complete() {
    let (_, cached) = warm().await;
    let location = Path::from("a");
    let mut upload = cached.put_multipart(&location).await.unwrap();
    upload.put_part(new().into()).await.unwrap();
    assert_eq!(read(&cached, &location).await, old());
    upload.complete().await.unwrap();
    assert_eq!(read(&cached, &location).await, new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_is_forgotten_as_well() {
    let (watched, cached) = warm().await;
    let location = Path::from("a");
    let mut upload = cached.put_multipart(&location).await.unwrap();
    upload.put_part(new().into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(read(&cached, &location).await, old());
    assert_eq!(watched.asked(), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_seen() {
    let (watched, cached) = warm().await;
    let (from, to) = (Path::from("a"), Path::from("b"));
    put(&watched, &from, &new()).await;
    cached.copy(&from, &to).await.unwrap();
    assert_eq!(read(&cached, &to).await, new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_is_seen_at_both_ends() {
    let (watched, cached) = warm().await;
    let (from, to) = (Path::from("a"), Path::from("b"));
    put(&watched, &from, &new()).await;
    cached.rename(&from, &to).await.unwrap();
    assert_eq!(read(&cached, &to).await, new());
    assert!(is_gone(&cached, "a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_gone() {
    let (_, cached) = warm().await;
    cached.delete(&Path::from("a")).await.unwrap();
    assert!(is_gone(&cached, "a").await);
    assert!(!is_gone(&cached, "b").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_deleted_in_order_and_errors_pass() {
    let (_, cached) = warm().await;
    let refused = || Error::NotSupported {
        source: "no name".into(),
    };
    let names = vec![Ok(Path::from("a")), Err(refused()), Ok(Path::from("b"))];
    let deleted: Vec<_> = cached
        .delete_stream(stream::iter(names).boxed())
        .collect()
        .await;
    let named = deleted
        .iter()
        .map(|name| name.as_ref().ok().map(ToString::to_string));
    let named: Vec<Option<String>> = named.collect();
    assert_eq!(named, [Some("a".to_string()), None, Some("b".to_string())]);
    assert!(is_gone(&cached, "a").await && is_gone(&cached, "b").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_are_deleted() {
    let (_, cached) = warm().await;
    let names: Vec<_> = (0..2_500)
        .map(|n| Path::from(format!("many/{n}")))
        .collect();
    let some = names.iter().step_by(500);
    for name in some.clone() {
        put(&cached, name, &old()).await;
        read(&cached, name).await;
    }
    let given = stream::iter(names.clone()).map(Ok).boxed();
    let deleted: Vec<_> = cached.delete_stream(given).try_collect().await.unwrap();
    assert_eq!(deleted, names);
    for name in some {
        assert!(is_gone(&cached, name.as_ref()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_is_forgotten_as_well() {
    let (watched, cached) = warm().await;
    let location = Path::from("a");
    let write = cached.put_opts(&location, new().into(), PutMode::Create.into());
    let refused = write.await;
    assert!(
        matches!(refused, Err(Error::AlreadyExists { .. })),
        "{refused:?}"
    );
    assert_eq!(read(&cached, &location).await, old());
    assert_eq!(watched.asked(), (0, 1), "it was asked for again");
    let copied = cached.copy(&Path::from("absent"), &location).await;
    assert!(matches!(copied, Err(Error::NotFound { .. })), "{copied:?}");
    read(&cached, &location).await;
    assert_eq!(watched.asked(), (0, 1), "it was asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_power_does_not_bring_back_what_was_replaced() {
    let location = Path::from("a");
    let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
    put(&watched, &location, &old()).await;
    let cached = on(&fs, Arc::clone(&watched), HeadPolicy::Immutable);
    assert_eq!(read(&cached, &location).await, old());
    settled(&cached).await;
    cached.blocks().blocking().cache().flush().unwrap();
    put(&cached, &location, &new()).await;
    for seed in 0..8 {
        let after = fs.power_loss(seed);
        let cached = on(&after, Arc::clone(&watched), HeadPolicy::Immutable);
        assert_eq!(read(&cached, &location).await, new(), "seed {seed}");
    }
    let killed = on(
        &fs.process_crash(),
        Arc::clone(&watched),
        HeadPolicy::Immutable,
    );
    assert_eq!(read(&killed, &location).await, new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_is_read_back_where_that_is_wanted() {
    let location = Path::from("a");
    let watched = Arc::new(Watched::default());
    let cached = CachedObjectStore::builder(Arc::clone(&watched), cache_on(&SimFs::new(1)))
        .identity("the store of the tests")
        .head_policy(HeadPolicy::Immutable)
        .block_bytes(BLOCK)
        .write_through(true)
        .build()
        .unwrap();
    for bytes in [new(), content(3, 0), content(4, 5 * LEN)] {
        put(&cached, &location, &bytes).await;
        until(|| async {
            let stats = cached.blocks().stats_of("a").await.unwrap();
            stats.cached_blocks == stats.total_blocks
        })
        .await;
        settled(&cached).await;
        watched.asked();
        assert_eq!(read(&cached, &location).await, bytes);
        assert_eq!(watched.asked(), (0, 0), "{} bytes", bytes.len());
    }
}

/// A write that is begun and not polled is in no other's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_nobody_polls_holds_nobody_up() {
    for policy in POLICIES {
        let inner = Arc::new(InMemory::new());
        let cached = over(Arc::clone(&inner), policy);
        let (a, b) = (Path::from("a"), Path::from("b"));
        let mut first = pin!(cached.put(&a, content(1, 100).into()));
        // As far as it gets without waiting.
        let once = poll_fn(|task| Poll::Ready(first.as_mut().poll(task).is_ready()));
        let ended = once.await;
        let second = cached.put(&b, content(2, 100).into());
        let second = tokio::time::timeout(Duration::from_secs(60), second).await;
        second.expect("it waits for nobody").unwrap();
        assert_eq!(read(&cached, &b).await, content(2, 100));
        if !ended {
            first.await.unwrap();
        }
        assert_eq!(read(&cached, &a).await, content(1, 100));
    }
}
