//! One fetch for all tasks and threads that ask, whoever of them goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perennial::{AsyncCache, ErrorKind};
use tokio::sync::Semaphore;

use crate::{roomy, small};

async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_and_threads_one_fetch() {
    let cache = small();
    let (gate, fetches) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (cache, gate, fetches) = (cache.clone(), Arc::clone(&gate), Arc::clone(&fetches));
            tokio::spawn(async move {
                let fetch = || async {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.map(|_| b"fetched".to_vec())
                };
                cache.get_or_fetch("key", fetch).await
            })
        })
        .collect();
    until(|| cache.stats().fetch_waits == 31).await;
    // A thread joins the tasks' flight.
    let thread = tokio::task::spawn_blocking({
        let cache = cache.cache().clone();
        move || {
            cache.get_or_fetch("key", || -> Result<Vec<u8>, String> {
                panic!("a second fetch")
            })
        }
    });
    until(|| cache.stats().fetch_waits == 32).await;
    gate.add_permits(1);
    for task in tasks {
        assert_eq!(&task.await.unwrap().unwrap()[..], b"fetched");
    }
    assert_eq!(&thread.await.unwrap().unwrap()[..], b"fetched");
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

/// Dropped while it fetches, whoever leads leaves the flight to another, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_fetch_is_taken_over() {
    let cache = small();
    let begun = Arc::new(AtomicU64::new(0));
    let waits_for_ever = |cache: AsyncCache, begun: Arc<AtomicU64>| async move {
        let fetch = || async {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<Vec<u8>, String>>().await
        };
        cache.get_or_fetch("key", fetch).await
    };
    let tasks: Vec<_> = (0..5)
        .map(|_| tokio::spawn(waits_for_ever(cache.clone(), Arc::clone(&begun))))
        .collect();
    until(|| cache.stats().fetch_waits == 4).await;
    let last = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_fetch("key", || async { Ok::<_, String>(vec![7]) })
                .await
        }
    });
    until(|| cache.stats().fetch_waits == 5).await;
    for task in &tasks {
        task.abort();
    }
    assert_eq!(&last.await.unwrap().unwrap()[..], [7]);
    assert!(begun.load(Ordering::SeqCst) >= 1);
    assert_eq!(&cache.get("key").await.unwrap().unwrap()[..], [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_reaches_all_who_waited_and_nobody_after() {
    let cache = small();
    let gate = Arc::new(Semaphore::new(0));
    let failing = |cache: AsyncCache, gate: Arc<Semaphore>| async move {
        let fetch = || async {
            let _pass = gate.acquire().await;
            Err::<Vec<u8>, _>("the origin fails")
        };
        cache.get_or_fetch("key", fetch).await
    };
    let tasks: Vec<_> = (0..8)
        .map(|_| tokio::spawn(failing(cache.clone(), Arc::clone(&gate))))
        .collect();
    until(|| cache.stats().fetch_waits == 7).await;
    gate.add_permits(1);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Origin);
    }
    let value = cache
        .get_or_fetch("key", || async { Ok::<_, String>(vec![1]) })
        .await;
    assert_eq!(&value.unwrap()[..], [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_leaders_alone() {
    let cache = small();
    let gate = Arc::new(Semaphore::new(0));
    let leader = tokio::spawn({
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        async move {
            let fetch = || async {
                let _pass = gate.acquire().await;
                if gate.available_permits() < 100 {
                    panic!("meant so");
                }
                Ok::<Vec<u8>, String>(Vec::new())
            };
            cache.get_or_fetch("key", fetch).await
        }
    });
    until(|| cache.stats().fetches == 1).await;
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_fetch("key", || async { Ok::<_, String>(vec![2]) })
                .await
        }
    });
    until(|| cache.stats().fetch_waits == 1).await;
    gate.add_permits(1);
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(&follower.await.unwrap().unwrap()[..], [2]);
}

/// What was fetched never overwrites an insert, nor undoes a remove, that came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_meanwhile_stays() {
    for large in [false, true] {
        let cache = roomy();
        let gate = Arc::new(Semaphore::new(0));
        // Larger ones are kept by a thread.
        let bytes = if large { 600 << 10 } else { 10 };
        let fetching = tokio::spawn({
            let (cache, gate) = (cache.clone(), Arc::clone(&gate));
            async move {
                let fetch = || async { gate.acquire().await.map(|_| vec![1; bytes]) };
                cache.get_or_fetch("key", fetch).await
            }
        });
        until(|| cache.stats().fetches == 1).await;
        cache.insert("key", "newer").await.unwrap();
        gate.add_permits(1);
        assert_eq!(fetching.await.unwrap().unwrap().len(), bytes);
        assert_eq!(&cache.get("key").await.unwrap().unwrap()[..], b"newer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_there_when_it_is_given() {
    for bytes in [10, 600 << 10] {
        let cache = roomy();
        let fetch = || async { Ok::<_, String>(vec![3; bytes]) };
        let fetched = cache.get_or_fetch("key", fetch).await.unwrap();
        assert_eq!(fetched.len(), bytes);
        assert_eq!(cache.cache().get("key").unwrap().unwrap().len(), bytes);
    }
}
