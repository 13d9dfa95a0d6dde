//! Objects of slow, failing, changing origins, read through a cache in blocks. One file per promise of `docs/blocks.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ages;
mod errors;
mod flights;
mod invalidating;
mod leaving;
mod nesting;
mod options;
mod readahead;
mod reads;
mod remembering;
mod source;
mod stats;
mod staying;
mod storm;
#[cfg(feature = "tokio")]
mod tasks;
mod versions;
mod warming;

use std::sync::Arc;

use perennial::blocks::{BlockCache, BlockOptions, BlockStats};
use perennial::{Cache, Options};
use perennial_failpoints::SimFs;

use source::{Source, until};

pub(crate) const KIB: u64 = 1 << 10;
/// The block size of most tests.
pub(crate) const BLOCK: u64 = 4 * KIB;

/// A cache in memory that keeps all that the tests put into it.
pub(crate) fn roomy() -> Cache {
    let options = Options::new()
        .capacity_bytes(64 << 20)
        .segment_bytes(256 * KIB);
    Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap()
}

/// Small blocks, and no readahead to be counted with the rest.
pub(crate) fn small_blocks() -> BlockOptions {
    BlockOptions::new().block_bytes(BLOCK).readahead_blocks(0)
}

/// A cache over `source`, with threads.
pub(crate) fn over(source: &Arc<Source>) -> BlockCache {
    BlockCache::new(roomy(), Arc::clone(source), small_blocks()).unwrap()
}

/// The same without threads.
pub(crate) fn inline(source: &Arc<Source>) -> BlockCache {
    BlockCache::new(roomy(), Arc::clone(source), small_blocks().fetch_threads(0)).unwrap()
}

/// What is counted once nothing is under way: flights are over a moment after their readers have returned.
pub(crate) fn settled(blocks: &BlockCache) -> BlockStats {
    until(|| blocks.stats().in_flight == 0);
    blocks.stats()
}
