//! How a store is made.

use std::sync::Arc;

use perennial::blocks::{AsyncBlockCache, BlockOptions};
use perennial::{AsyncCache, Cache};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::errors::{failed, generic};
use super::object_store::{ObjectStore, Result};
use super::origin::{Gets, StoreOrigin};
use super::{CachedObjectStore, Shared};
use crate::HeadPolicy;
use crate::kinds::Kinds;

const READ_BACKS: usize = 2;

/// How a [`CachedObjectStore`] works. Checked in [`build`](Self::build).
#[derive(Debug)]
#[must_use]
pub struct Builder {
    inner: Arc<dyn ObjectStore>,
    cache: Cache,
    identity: Option<String>,
    policy: HeadPolicy,
    block_bytes: u64,
    fetch_concurrency: usize,
    gap_bytes_max: Option<u64>,
    write_through: bool,
    options: BlockOptions,
}

impl Builder {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, cache: Cache) -> Self {
        Self {
            inner,
            cache,
            identity: None,
            policy: HeadPolicy::default(),
            block_bytes: 64 << 10,
            fetch_concurrency: 32,
            gap_bytes_max: None,
            write_through: false,
            options: BlockOptions::new().remember_heads(true),
        }
    }

    /// What tells the store from all others that are ever read through the same cache directory, and stays the same from one start
    /// to the next: endpoint, bucket and prefix, say. What was stored under another identity is never served. There is no
    /// default: how a store displays itself leaves out too much (of an S3 client, its endpoint). A store whose
    /// e_tags begin anew with each process, as those of `InMemory` do, needs another identity in each. Needed. At most 16 KiB.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// How old what is known of an object may be when it is read. Default: [`HeadPolicy::AlwaysRevalidate`].
    pub fn head_policy(mut self, policy: HeadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Bytes of a block: what is fetched and kept together, at least. Blocks of another size that are in the cache already are not
    /// used. Default: 64 KiB. Range: a power of two from 4 KiB to 4 MiB, and what fits in a segment of the cache.
    pub fn block_bytes(mut self, bytes: u64) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Requests that go on at a time to fetch what is missing; each has a thread. Default: 32. Range: 1 to 1024.
    pub fn fetch_concurrency(mut self, requests: usize) -> Self {
        self.fetch_concurrency = requests;
        self
    }

    /// Bytes of one request at most: longer gaps are fetched in several, next to each other in time. Default: 4 MiB. Range: 1 to 64 MiB.
    pub fn fetch_bytes_max(mut self, bytes: u64) -> Self {
        self.options = self.options.fetch_bytes_max(bytes);
        self
    }

    /// So many blocks ahead of a scan are fetched; 0 = none. Default: 8. Range: 0 to 1024.
    pub fn readahead_blocks(mut self, blocks: u64) -> Self {
        self.options = self.options.readahead_blocks(blocks);
        self
    }

    /// Ranges of one `get_ranges` that are no further apart are read as one. More makes fewer requests of them, and fetches what nobody
    /// asked for. Default: the bytes of a block.
    pub fn gap_bytes_max(mut self, bytes: u64) -> Self {
        self.gap_bytes_max = Some(bytes);
        self
    }

    /// Objects whose heads are held in memory, some hundred bytes each; those of others are looked for in the cache.
    /// Default: 65,536. Range: from 1; fewer than 8 are taken for 8.
    pub fn objects_max(mut self, objects: usize) -> Self {
        self.options = self.options.objects_max(objects);
        self
    }

    /// Whether what `put` has written is read back from the store, in the background, so that the next read finds it in the cache.
    /// Read back, for the store alone knows which version it has become. Multipart uploads are not. Default: false.
    pub fn write_through(mut self, write_through: bool) -> Self {
        self.write_through = write_through;
        self
    }

    /// Makes the store. This must be inside of a runtime of tokio, which then polls the requests: the store lives as long as that does. Behind
    /// its end what is cached may be served, and all else fails.
    ///
    /// # Errors
    /// `Generic` for options out of range, without an identity, and outside of a runtime.
    pub fn build(self) -> Result<CachedObjectStore> {
        let Some(identity) = self.identity.filter(|identity| !identity.is_empty()) else {
            return Err(generic(
                "the store needs an identity: what tells it from all others in the same cache",
            ));
        };
        if self.fetch_concurrency == 0 {
            return Err(generic("fetch_concurrency is 1 to 1024"));
        }
        let runtime = Handle::try_current().map_err(generic)?;
        let options = self
            .options
            .block_bytes(self.block_bytes)
            .fetch_threads(self.fetch_concurrency);
        let cache = AsyncCache::new(self.cache.clone());
        let kinds = Arc::new(Kinds::new(cache.clone(), &identity, runtime.clone()));
        let origin = StoreOrigin {
            inner: Arc::clone(&self.inner),
            identity,
            kinds: Arc::clone(&kinds),
            gets: Gets::default(),
        };
        let blocks = AsyncBlockCache::new(self.cache, origin, options).map_err(failed)?;
        let shared = Shared {
            inner: self.inner,
            blocks,
            cache,
            kinds,
            policy: self.policy,
            gap_bytes_max: self.gap_bytes_max.unwrap_or(self.block_bytes),
            write_through: self.write_through,
            read_backs: Semaphore::new(READ_BACKS),
            runtime,
        };
        Ok(CachedObjectStore {
            shared: Arc::new(shared),
        })
    }
}
