//! Tests that are the same for each version of object_store: `crate::object_store`.

mod coarse;
mod errors;
mod functions;
mod outages;
mod policies;
mod preconditions;
mod races;
mod requests;
mod streams;
mod watched;
mod writes;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use perennial::{Cache, Options};
use perennial_failpoints::SimFs;
use perennial_object_store::HeadPolicy;

use crate::CachedObjectStore;
use crate::object_store::path::Path;
use crate::object_store::{ObjectStore, ObjectStoreExt};

pub(crate) const POLICIES: [HeadPolicy; 3] = [
    HeadPolicy::AlwaysRevalidate,
    HeadPolicy::Ttl(Duration::from_secs(60)),
    HeadPolicy::Immutable,
];

const BLOCK: u64 = 4 << 10;

/// A cache on a machine in memory, which keeps all that the tests put into it.
fn cache_on(fs: &SimFs) -> Cache {
    let options = Options::new()
        .capacity_bytes(64 << 20)
        .segment_bytes(1 << 20);
    Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap()
}

/// A store with a cache of its own.
pub(crate) fn over(inner: impl ObjectStore, policy: HeadPolicy) -> CachedObjectStore {
    on(&SimFs::new(1), inner, policy)
}

/// A store with the cache of that machine. Without readahead, which would be counted with what is asked for.
fn on(fs: &SimFs, inner: impl ObjectStore, policy: HeadPolicy) -> CachedObjectStore {
    CachedObjectStore::builder(inner, cache_on(fs))
        .identity("the store of the tests")
        .head_policy(policy)
        .block_bytes(BLOCK)
        .readahead_blocks(0)
        .fetch_concurrency(4)
        .build()
        .unwrap()
}

/// Bytes of which each tells where it is, and in which content.
fn content(seed: u64, len: usize) -> Bytes {
    let word = |at: u64| {
        let mixed = (at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (seed << 56);
        (mixed ^ (mixed >> 29)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..).flat_map(word).take(len).collect();
    bytes.shrink_to_fit();
    bytes.into()
}

fn part(whole: &Bytes, range: Range<u64>) -> Bytes {
    whole.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
}

async fn put(store: &dyn ObjectStore, location: &Path, bytes: &Bytes) {
    let payload = bytes.clone().into();
    store
        .put_opts(location, payload, Default::default())
        .await
        .unwrap();
}

/// The whole object.
async fn read(store: &dyn ObjectStore, location: &Path) -> Bytes {
    let found = store.get_opts(location, Default::default()).await.unwrap();
    found.bytes().await.unwrap()
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it does not come about");
}

/// Waits until nothing is under way: what was fetched is kept a moment after its readers have returned.
async fn settled(store: &CachedObjectStore) {
    until(|| async { store.blocks().stats().in_flight == 0 }).await;
}

#[test]
fn a_store_is_made_inside_of_a_runtime() {
    let made = CachedObjectStore::builder(
        crate::object_store::memory::InMemory::new(),
        cache_on(&SimFs::new(1)),
    );
    let error = made.identity("i").build().unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn what_is_out_of_range_is_refused() {
    let made = || {
        let inner = crate::object_store::memory::InMemory::new();
        CachedObjectStore::builder(inner, cache_on(&SimFs::new(1)))
    };
    made().identity("i").build().unwrap();
    made().build().unwrap_err();
    made().identity("").build().unwrap_err();
    made().identity("i").block_bytes(5000).build().unwrap_err();
    made()
        .identity("i")
        .fetch_concurrency(0)
        .build()
        .unwrap_err();
    made()
        .identity("i")
        .fetch_concurrency(1025)
        .build()
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_different_identity_share_a_cache() {
    let cache = cache_on(&SimFs::new(1));
    let location = Path::from("a");
    let mut stores = Vec::new();
    for seed in 0..3 {
        let inner = crate::object_store::memory::InMemory::new();
        put(&inner, &location, &content(seed, 10_000)).await;
        let store = CachedObjectStore::builder(inner, cache.clone())
            .identity(format!("store {seed}"))
            .head_policy(HeadPolicy::Immutable)
            .build();
        stores.push((seed, store.unwrap()));
    }
    for _ in 0..2 {
        for (seed, store) in &stores {
            assert_eq!(read(store, &location).await, content(*seed, 10_000));
        }
    }
    let (_, first) = &stores[0];
    first.delete(&location).await.unwrap();
    assert_eq!(read(&stores[1].1, &location).await, content(1, 10_000));
}
