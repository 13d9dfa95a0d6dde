//! What the server is asked, counted on the wire.

use std::ops::Range;
use std::time::Duration;

use perennial::Cache;
use perennial_object_store::HeadPolicy;

use super::CachedObjectStore;
use super::object_store::ObjectStoreExt;
use super::object_store::aws::AmazonS3;
use super::object_store::path::Path;
use super::place::client;
use crate::servers::{DelayProxy, Kind};

fn body() -> Vec<u8> {
    let words = (0..1_u32 << 18).map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes());
    words.flatten().collect()
}

/// What is read is held against this, and what the server was asked is counted there.
struct Wire {
    proxy: DelayProxy,
    path: Path,
    body: Vec<u8>,
}

impl Wire {
    /// How many requests a read takes.
    async fn read(&self, store: &CachedObjectStore, range: Range<usize>) -> u64 {
        let before = self.proxy.traffic();
        let wanted = u64::try_from(range.start).unwrap()..u64::try_from(range.end).unwrap();
        let bytes = store.get_range(&self.path, wanted).await.unwrap();
        assert!(
            bytes == self.body[range.clone()],
            "other bytes at {range:?}"
        );
        self.proxy.traffic().since(before).requests
    }

    /// How many the object's head takes.
    async fn head(&self, store: &CachedObjectStore) -> u64 {
        let before = self.proxy.traffic();
        let meta = store.head(&self.path).await.unwrap();
        assert_eq!(meta.size, u64::try_from(self.body.len()).unwrap());
        self.proxy.traffic().since(before).requests
    }
}

#[test]
fn a_cold_read_is_one_request_and_a_warm_one_none() {
    let Some(server) = Kind::Moto.start().unwrap() else {
        return;
    };
    server.create_bucket("questions").unwrap();
    let (dir, cache) = crate::cache();
    let wire = Wire {
        proxy: DelayProxy::start(server.address(), Duration::ZERO).unwrap(),
        path: Path::from("object"),
        body: body(),
    };
    crate::runtime().block_on(async {
        let direct = client(server.address(), "questions");
        let body = wire.body.clone();
        direct.put(&wire.path, body.into()).await.unwrap();
        let bare = client(wire.proxy.address(), "questions");

        let immutable = store(&bare, &cache, HeadPolicy::Immutable);
        assert_eq!(wire.read(&immutable, 600_000..700_000).await, 1, "unknown");
        assert_eq!(wire.read(&immutable, 600_000..700_000).await, 0, "the same");
        assert_eq!(wire.read(&immutable, 620_000..650_000).await, 0, "a part");
        assert_eq!(wire.head(&immutable).await, 0, "known by the way");
        assert_eq!(wire.read(&immutable, 100_000..150_000).await, 1, "missing");
        drop(immutable);

        let asking = store(&bare, &cache, HeadPolicy::AlwaysRevalidate);
        assert_eq!(wire.read(&asking, 600_000..700_000).await, 1, "unknown");
        assert_eq!(wire.read(&asking, 600_000..700_000).await, 1, "still so?");
        assert_eq!(wire.head(&asking).await, 1, "still so?");
        drop(asking);

        cache.close().unwrap();
        let cache = crate::reopened(&dir);
        let immutable = store(&bare, &cache, HeadPolicy::Immutable);
        assert_eq!(wire.read(&immutable, 610_000..660_000).await, 0, "reopened");
        assert_eq!(wire.head(&immutable).await, 0, "reopened");
    });
}

/// Without readahead, whose requests would be counted with the rest.
fn store(bare: &AmazonS3, cache: &Cache, policy: HeadPolicy) -> CachedObjectStore {
    CachedObjectStore::builder(bare.clone(), cache.clone())
        .identity(format!("{policy:?}"))
        .head_policy(policy)
        .readahead_blocks(0)
        .build()
        .unwrap()
}
