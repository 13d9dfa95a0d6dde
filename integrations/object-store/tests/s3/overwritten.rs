//! Objects that somebody else overwrites, behind the cache's back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use perennial_object_store::HeadPolicy;

use super::CachedObjectStore;
use super::object_store::aws::AmazonS3;
use super::object_store::path::Path;
use super::object_store::{ObjectStore, ObjectStoreExt};
use super::place::{client, through};
use crate::servers::{Kind, Server};

const BUCKET: &str = "overwritten";

fn start() -> Option<(Server, AmazonS3)> {
    let server = Kind::Moto.start().unwrap()?;
    server.create_bucket(BUCKET).unwrap();
    let bare = client(server.address(), BUCKET);
    Some((server, bare))
}

/// The body of version `n`: every byte says which, and some have the same length.
fn body(n: u8) -> Vec<u8> {
    vec![n; 200_000 + 1000 * usize::from(n / 3)]
}

/// The version that the object is of, by all its bytes.
async fn read(store: &dyn ObjectStore, path: &Path) -> Option<u8> {
    let bytes = store.get(path).await.ok()?.bytes().await.ok()?;
    let n = *bytes.first().unwrap();
    assert!(bytes == body(n), "bytes of several versions");
    Some(n)
}

async fn check(store: &CachedObjectStore, path: &Path, n: u8) {
    assert_eq!(read(store, path).await, Some(n));
    let ranges = [5..9, 70_000..150_000, 199_000..200_000];
    for (bytes, range) in store
        .get_ranges(path, &ranges)
        .await
        .unwrap()
        .iter()
        .zip(ranges)
    {
        let len = usize::try_from(range.end - range.start).unwrap();
        assert!(*bytes == vec![n; len], "{range:?} of version {n}");
    }
    let size = store.head(path).await.unwrap().size;
    assert_eq!(size, u64::try_from(body(n).len()).unwrap());
}

#[test]
fn what_is_overwritten_is_seen_by_whom_the_policy_lets_see_it() {
    let Some((_server, bare)) = start() else {
        return;
    };
    let (_dir, cache) = crate::cache();
    crate::runtime().block_on(async {
        let path = Path::from("object");
        let store = |identity, policy| through(Arc::new(bare.clone()), &cache, identity, policy);
        let asks = store("asks", HeadPolicy::AlwaysRevalidate);
        let soon = store("soon", HeadPolicy::Ttl(Duration::ZERO));
        let late = store("late", HeadPolicy::Ttl(Duration::from_secs(3600)));
        let never = store("never", HeadPolicy::Immutable);
        for n in 0..12 {
            bare.put(&path, body(n).into()).await.unwrap();
            check(&asks, &path, n).await;
            check(&soon, &path, n).await;
            check(&late, &path, 0).await;
            check(&never, &path, 0).await;
        }
        // What it does itself it knows of.
        never.put(&path, body(20).into()).await.unwrap();
        check(&never, &path, 20).await;
        check(&asks, &path, 20).await;
        asks.delete(&path).await.unwrap();
        assert_eq!(read(&asks, &path).await, None);
    });
}

#[test]
fn a_read_is_of_one_version_while_it_is_overwritten() {
    let Some((_server, bare)) = start() else {
        return;
    };
    let (_dir, cache) = crate::cache();
    crate::runtime().block_on(async {
        let path = Path::from("object");
        bare.put(&path, body(0).into()).await.unwrap();
        let store = through(
            Arc::new(bare.clone()),
            &cache,
            "asks",
            HeadPolicy::AlwaysRevalidate,
        );
        let over = AtomicBool::new(false);
        let writes = async {
            for n in 1..=40 {
                bare.put(&path, body(n).into()).await.unwrap();
                // So that some reads come through between two writes, and others do not.
                tokio::time::sleep(Duration::from_millis(u64::from(n % 4) * 20)).await;
            }
            over.store(true, Ordering::Relaxed);
        };
        // A read whose object changes again and again may give up. It must not go back to an older version.
        let reads = async {
            let (mut newest, mut good) = (0, 0_u32);
            while !over.load(Ordering::Relaxed) {
                if let Some(n) = read(&store, &path).await {
                    assert!(n >= newest, "version {n} behind {newest}");
                    newest = n;
                    good += 1;
                }
            }
            good
        };
        let ((), good) = tokio::join!(writes, reads);
        println!("{good} reads came through");
        assert_eq!(read(&store, &path).await, Some(40));
    });
}
