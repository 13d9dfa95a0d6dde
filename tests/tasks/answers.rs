//! The same answers as of the face for threads; what is in memory at once.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use perennial::{AsyncCache, Cache, ErrorKind, InsertOptions, Inserted, Options};

use crate::small;

/// What a future answers when it is polled for the first time.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn what_memory_answers_needs_no_switch() {
    let cache = small();
    assert_eq!(
        at_once(cache.insert("key", "value")).unwrap(),
        Inserted::Stored
    );
    assert_eq!(&at_once(cache.get("key")).unwrap().unwrap()[..], b"value");
    assert_eq!(
        &at_once(cache.get_range("key", 1..3)).unwrap().unwrap()[..],
        b"al"
    );
    assert!(at_once(cache.contains("key")).unwrap());
    assert_eq!(at_once(cache.get("another")).unwrap(), None);
    assert!(!at_once(cache.contains("another")).unwrap());
    let fetched = at_once(cache.get_or_fetch("key", || async { Ok::<_, String>(vec![1]) }));
    assert_eq!(&fetched.unwrap()[..], b"value");
    let fetched = at_once(cache.get_or_fetch("new", || async { Ok::<_, String>(vec![1]) }));
    assert_eq!(&fetched.unwrap()[..], [1]);
    assert_eq!(&at_once(cache.get("new")).unwrap().unwrap()[..], [1]);
}

#[tokio::test]
async fn what_lies_in_files_is_read_by_threads() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().capacity_bytes(64 << 20);
    let cache = AsyncCache::open(dir.path(), options.clone()).await.unwrap();
    let byte = |n: u32| u8::try_from(n % 251).unwrap();
    for n in 0..1000 {
        cache
            .insert(format!("key {n}"), vec![byte(n); 1000])
            .await
            .unwrap();
    }
    cache.close().await.unwrap();
    let cache = AsyncCache::open(dir.path(), options.memory_tier_bytes(0))
        .await
        .unwrap();
    for n in 0..1000 {
        let key = format!("key {n}");
        assert!(cache.contains(&key).await.unwrap());
        assert_eq!(
            cache.get(&key).await.unwrap().unwrap()[..],
            vec![byte(n); 1000]
        );
        assert_eq!(
            cache.get_range(&key, 990..2000).await.unwrap().unwrap()[..],
            [byte(n); 10]
        );
    }
    let stats = cache.stats();
    // A look that finds an entry in a file and leaves it there counts as nothing.
    assert_eq!(stats.hits_disk, 3000, "{stats}");
    assert_eq!(cache.keys().await.unwrap().len(), 1000);
    assert_eq!(cache.scan_prefix("key 99").await.unwrap().len(), 11);
    assert_eq!(cache.scan("key 5".."key 6").await.unwrap().len(), 111);
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_wait_for_room_as_threads_do() {
    let cache = small();
    // Many times the tail.
    for n in 0..200_u64 {
        let value = vec![u8::try_from(n).unwrap(); 100 << 10];
        assert_eq!(
            cache.insert(n.to_le_bytes(), &value).await.unwrap(),
            Inserted::Stored
        );
    }
    let newest = cache.get(199_u64.to_le_bytes()).await.unwrap().unwrap();
    assert_eq!((newest.len(), newest[0]), (100 << 10, 199));
    assert_eq!(cache.stats().rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_there_under_the_same_name() {
    let cache = small();
    cache.insert_durable("a", "1").await.unwrap();
    cache
        .insert_with("b", "2", InsertOptions::new())
        .await
        .unwrap();
    cache.try_insert("c", "3").await.unwrap();
    cache.try_insert("large", vec![7; 200 << 10]).await.unwrap();
    let fill = |bytes: &mut [u8]| {
        bytes.fill(9);
        Ok::<_, String>(())
    };
    cache.insert_with_len("d", 3, fill).await.unwrap();
    assert_eq!(&cache.get("d").await.unwrap().unwrap()[..], [9; 3]);
    cache.flush().await.unwrap();
    cache.checkpoint().await.unwrap();
    cache.remove("a").await.unwrap();
    cache.remove_durable("b").await.unwrap();
    assert_eq!(
        (cache.get("a").await.unwrap(), cache.get("b").await.unwrap()),
        (None, None)
    );
    assert_eq!(cache.remove_prefix("c").await.unwrap(), 1);
    assert!(cache.ledger().await.unwrap().total_bytes() > 0);
    cache.resize(32 << 20).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.stats().entries, 0);
    let key = cache.insert("", "empty").await;
    assert_eq!(key.unwrap_err().kind(), ErrorKind::Invalid);
    let other = cache.clone();
    cache.close().await.unwrap();
    assert_eq!(other.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        other.insert("a", "1").await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn bounds_out_of_range_are_refused() {
    let cache: Cache = small().cache().clone();
    for (reads, writes) in [(0, 1), (1, 0), (4097, 1), (1, usize::MAX)] {
        let made = AsyncCache::with_threads(cache.clone(), reads, writes);
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid);
    }
    AsyncCache::with_threads(cache, 1, 1).unwrap();
}
