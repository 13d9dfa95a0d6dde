//! Writes and reads that are under way at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{POLICIES, content, over, put, read, settled, until};
use crate::object_store::path::Path;
use crate::object_store::{Error, ObjectStoreExt};

const LEN: usize = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_nobody_waits_for_is_forgotten_as_well() {
    let (location, watched) = (Path::from("a"), Arc::new(Watched::default()));
    put(&watched, &location, &content(1, LEN)).await;
    let cached = over(Arc::clone(&watched), HeadPolicy::Immutable);
    assert_eq!(read(&cached, &location).await, content(1, LEN));
    settled(&cached).await;
    watched.stuck.store(true, Ordering::Relaxed);
    let writer = {
        let (cached, location) = (cached.clone(), location.clone());
        tokio::spawn(async move { put(&cached, &location, &content(2, LEN)).await })
    };
    until(|| async { read(&*watched, &location).await == content(2, LEN) }).await;
    // Somebody reads meanwhile, before the writer is given up.
    assert_eq!(read(&cached, &location).await, content(2, LEN));
    settled(&cached).await;
    put(&watched.inner, &location, &content(3, LEN)).await;
    assert_eq!(
        read(&cached, &location).await,
        content(2, LEN),
        "it is known, and immutable"
    );
    writer.abort();
    until(|| async { read(&cached, &location).await == content(3, LEN) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_is_seen_while_somebody_is_still_to_be_told_that_there_is_nothing() {
    let location = Path::from("a");
    for policy in POLICIES {
        let watched = Arc::new(Watched::default());
        let cached = over(Arc::clone(&watched), policy);
        watched.hold_next();
        let early = {
            let (cached, location) = (cached.clone(), location.clone());
            tokio::spawn(async move { cached.get(&location).await })
        };
        until(|| async { watched.is_held() }).await;
        put(&cached, &location, &content(1, LEN)).await;
        assert_eq!(
            read(&cached, &location).await,
            content(1, LEN),
            "{policy:?}"
        );
        watched.release();
        let told = early.await.unwrap();
        assert!(matches!(told, Err(Error::NotFound { .. })), "{told:?}");
        assert_eq!(
            read(&cached, &location).await,
            content(1, LEN),
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_at_once_never_see_what_was_replaced() {
    const ROUNDS: u64 = 60;
    let location = Path::from("a");
    let cached = over(Watched::default(), HeadPolicy::Immutable);
    put(&cached, &location, &content(0, LEN)).await;
    // The last one whose put has returned.
    let newest = Arc::new(AtomicU64::new(0));
    let writer = {
        let (cached, location, newest) = (cached.clone(), location.clone(), Arc::clone(&newest));
        tokio::spawn(async move {
            for round in 1..ROUNDS {
                put(&cached, &location, &content(round, LEN)).await;
                newest.store(round, Ordering::Release);
                assert_eq!(read(&cached, &location).await, content(round, LEN));
            }
        })
    };
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (cached, location, newest) =
                (cached.clone(), location.clone(), Arc::clone(&newest));
            tokio::spawn(async move {
                for _ in 0..100 {
                    let oldest = newest.load(Ordering::Acquire);
                    let found = read(&cached, &location).await;
                    let seen = (oldest..ROUNDS).any(|round| found == content(round, LEN));
                    assert!(seen, "a mixture, or older than round {oldest}");
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}
