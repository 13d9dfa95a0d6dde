//! The store, compiled once for each version of object_store: `super::object_store`.
//!
//! ```text
//!   get_opts ── version asked for? ──► the store below
//!      │  get.rs
//!      ├─ nothing else asked: open the first window            ┐
//!      ├─ else the head, preconditions, then the range         ├─► AsyncBlockCache ─► origin.rs ─► the store below
//!      └─ the rest while it is read: windows of the same       │
//!           version, a few ahead                 windows.rs    │
//!   get_ranges ── neighbours are one              ranges.rs    ┘
//!   put, copy, rename, complete ── forget ─► the store below ─► forget      write.rs, forget.rs, upload.rs
//!   delete_stream                    the same for each          delete.rs
//!   list ─► the store below
//! ```

mod builder;
mod delete;
mod errors;
mod forget;
mod get;
mod known;
mod origin;
mod ranges;
mod upload;
mod windows;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use perennial::blocks::AsyncBlockCache;
use perennial::{AsyncCache, Cache};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use self::builder::Builder;
use self::errors::failed;
use super::{get_result, object_store};
use crate::HeadPolicy;
use crate::kinds::Kinds;

use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Longer names do not fit in the keys of the cache; no store that is known has them.
const NAME_BYTES_MAX: usize = 32 << 10;

/// An [`ObjectStore`] over another one, whose objects are read through a [`Cache`]: [`builder`](Self::builder). Cheap to clone.
///
/// Reads are served from the cache as far as it has the blocks, and as the [`HeadPolicy`] allows; what is missing is fetched, once
/// however many ask, and kept. Writes pass through, and what was known of the object is forgotten before and after. Listings pass
/// through. The cache cannot fail a read.
#[derive(Clone)]
pub struct CachedObjectStore {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn ObjectStore>,
    blocks: AsyncBlockCache,
    cache: AsyncCache,
    kinds: Arc<Kinds>,
    policy: HeadPolicy,
    gap_bytes_max: u64,
    write_through: bool,
    /// What was written is read back by few at a time: each may hold some hundred blocks.
    read_backs: Semaphore,
    runtime: Handle,
}

impl CachedObjectStore {
    /// A store over `inner` whose blocks lie in `cache`. Others may use the same cache, other stores included.
    pub fn builder(inner: impl ObjectStore, cache: Cache) -> Builder {
        Builder::new(Arc::new(inner), cache)
    }

    /// The store below. What is written there is not noticed here but as the [`HeadPolicy`] says.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.inner
    }

    /// The blocks: their counts and times, how much of an object is there, warming up. The names of objects are those of the paths.
    #[must_use]
    pub fn blocks(&self) -> &AsyncBlockCache {
        &self.shared.blocks
    }

    /// Forgets what is known of an object, and its blocks: for whoever knows that it was changed behind the cache's back. No read that
    /// begins after this is served what was there before, whatever crash follows. It goes through all keys of the cache.
    ///
    /// # Errors
    /// `Generic` where the cache cannot write.
    pub async fn invalidate(&self, location: &Path) -> Result<()> {
        if !is_cacheable(location) {
            return Ok(());
        }
        let removed = self.shared.blocks.invalidate(location.as_ref()).await;
        removed.map_err(failed)?;
        self.shared.cache.flush().await.map_err(failed)
    }
}

#[async_trait]
impl ObjectStore for CachedObjectStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.shared.put(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.shared.put_multipart(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.shared.get(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        delete::stream(&self.shared, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shared.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.copy(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.shared.rename(from, to, options).await
    }
}

impl fmt::Display for CachedObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedObjectStore({})", self.shared.inner)
    }
}

impl fmt::Debug for CachedObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedObjectStore")
            .field("inner", &self.shared.inner)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

fn is_cacheable(location: &Path) -> bool {
    location.as_ref().len() <= NAME_BYTES_MAX
}
