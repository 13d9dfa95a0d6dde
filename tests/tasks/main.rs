//! `AsyncCache`: the cache for tasks. `cargo test --features tokio --test tasks`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod fetching;

use std::sync::Arc;

use perennial::{AsyncCache, Cache, Options};
use perennial_failpoints::SimFs;

/// In memory, with small segments.
pub(crate) fn small() -> AsyncCache {
    let options = Options::new()
        .capacity_bytes(16 << 20)
        .segment_bytes(256 << 10)
        .tail_bytes(1 << 20);
    AsyncCache::new(Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap())
}

/// In memory, with room for values of a megabyte.
pub(crate) fn roomy() -> AsyncCache {
    let options = Options::new()
        .capacity_bytes(128 << 20)
        .segment_bytes(4 << 20)
        .tail_bytes(16 << 20);
    AsyncCache::new(Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap())
}
