//! `BlockCache` for tasks: the same blocks, flights and threads; what waits is a future (feature `tokio`).

mod ensure;
mod origin;
mod read;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use perennial_wal::to_usize;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

pub use self::origin::AsyncOrigin;
use self::origin::Awaited;
use crate::blocks::BlockCache;
use crate::blocks::ensure::Progress;
use crate::blocks::options::BlockOptions;
use crate::blocks::origin::{Head, Opened, Version};
use crate::blocks::request::ReadOptions;
use crate::blocks::stats::{BlockStats, ObjectStats};
use crate::cache::Cache;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::tasks::{AsyncCache, Pool};

/// A [`BlockCache`] for tasks of tokio, over an [`AsyncOrigin`].
///
/// Blocks in memory are served at once, without a switch of tasks; those in files are read by threads of the runtime, at most 32
/// at a time, and fetches are awaited by the fetch threads. A read ends early by dropping its future: nothing of it stays behind, a
/// fetch that nobody else waits for is dropped, too, and what others wait for goes on. A task that does nothing but read what is in memory
/// yields to others now and then, as with tokio's own operations.
///
/// It lives as long as the runtime in which it was made: its futures may be polled anywhere, but what has to be fetched then is a failure.
///
/// Cheap to clone. When the last clone goes, fetches under way go on to their end, and hold the cache until then: its
/// directory may stay locked for a moment after that.
///
/// ```
/// use std::ops::Range;
///
/// use bytes::Bytes;
/// use perennial::blocks::{AsyncBlockCache, AsyncOrigin, BlockOptions, Head, OriginResult, ReadOptions, Version};
/// use perennial::{Cache, Options};
///
/// struct Store;
///
/// impl AsyncOrigin for Store {
///     fn identity(&self) -> String {
///         "https://store.example/bucket".into()
///     }
///     async fn head(&self, _: &str) -> OriginResult<Head> {
///         Ok(Head::new("etag-1", 1 << 20))
///     }
///     async fn read_at(
///         &self,
///         object: &str,
///         _: &Version,
///         range: Range<u64>,
///         _: &ReadOptions,
///     ) -> OriginResult<Bytes> {
///         println!("GET {object}, bytes {range:?}");
///         Ok(vec![7; (range.end - range.start) as usize].into())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(dir.path(), Options::new().capacity_bytes(64 << 20))?;
/// let blocks = AsyncBlockCache::new(cache, Store, BlockOptions::new())?;
/// let (head, bytes) = blocks.read("a/b.parquet", 500_000..501_000, &ReadOptions::new()).await?;
/// assert_eq!((head.len, &bytes[..]), (1 << 20, &[7; 1000][..]));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncBlockCache {
    blocks: BlockCache,
    pool: Arc<Pool>,
}

impl AsyncBlockCache {
    /// A face of `cache` that reads from `origin`. It must be made inside of a runtime, which then polls what the origin waits for.
    ///
    /// # Errors
    /// As [`BlockCache::new`]; [`ErrorKind::Invalid`] also outside of a runtime, and with no
    /// [`fetch_threads`](BlockOptions::fetch_threads).
    pub fn new(cache: Cache, origin: impl AsyncOrigin, options: BlockOptions) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::invalid(format!(
                "an AsyncBlockCache is made inside of a runtime: {error}"
            ))
        })?;
        let pool = Arc::clone(AsyncCache::new(cache.clone()).pool());
        let blocks = BlockCache::awaiting(cache, Awaited { origin, runtime }, options)?;
        Ok(Self { blocks, pool })
    }

    /// The bytes of a range, all of the version that comes with them. Those of one block are not copied.
    ///
    /// # Errors
    /// As [`BlockCache::read`].
    pub async fn read(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> Result<(Head, Bytes)> {
        let (head, pieces) = self.pieces(object, range, options).await?;
        Ok((head, whole(pieces)))
    }

    /// The same of exactly the version of `head`, which [`head`](Self::head) gave or which is known from elsewhere.
    ///
    /// # Errors
    /// As [`BlockCache::read_version_at`].
    pub async fn read_version(
        &self,
        object: &str,
        head: &Head,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> Result<Bytes> {
        Ok(whole(self.pieces_of(object, head, range, options).await?))
    }

    /// As [`read`](Self::read), in pieces that are the range one behind the other: no copy.
    ///
    /// # Errors
    /// As [`BlockCache::read`].
    pub async fn pieces(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> Result<(Head, Vec<Bytes>)> {
        let wanted = self.blocks.shared.wanted(&range);
        let opened = self.opened(object, options, wanted.as_ref()).await?;
        self.settled(object, opened, |_| range.clone(), options)
            .await
    }

    /// As [`read_version`](Self::read_version), in pieces.
    ///
    /// # Errors
    /// As [`BlockCache::read_version_at`].
    pub async fn pieces_of(
        &self,
        object: &str,
        head: &Head,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> Result<Vec<Bytes>> {
        let opened = Opened::from(head.clone());
        let pieces = self.pieces_opened(object, &opened, &range, options).await;
        pieces.map_err(|stopped| stopped.told(object, head))
    }

    /// As [`pieces`](Self::pieces), for who does not know the length yet: the range is cut at the object's end, and one behind it has no
    /// pieces. Where nothing is known of the object, this is one question to the origin, if
    /// [`remember_heads`](BlockOptions::remember_heads) is on.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn open(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> Result<(Head, Vec<Bytes>)> {
        let wanted = self.blocks.shared.wanted(&range);
        let opened = self.opened(object, options, wanted.as_ref()).await?;
        let cut = |head: &Head| {
            let end = range.end.min(head.len);
            range.start.min(end)..end
        };
        self.settled(object, opened, cut, options).await
    }

    /// The object's version and length, as old as the options allow.
    ///
    /// # Errors
    /// As [`BlockCache::head`].
    pub async fn head(&self, object: &str, options: &ReadOptions) -> Result<Head> {
        consume_budget().await;
        Ok(self.opened(object, options, None).await?.head)
    }

    /// As [`BlockCache::ensure_cached`]; `progress` is called by the task. It ends when the future is dropped, and what is fetched for it
    /// alone is dropped with it.
    ///
    /// # Errors
    /// As [`BlockCache::ensure_cached`].
    pub async fn ensure_cached(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
        progress: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Progress> {
        self.ensure(object, &range, options, progress).await
    }

    /// As [`BlockCache::invalidate`].
    ///
    /// # Errors
    /// As [`BlockCache::invalidate`].
    pub async fn invalidate(&self, object: &str) -> Result<u64> {
        let (blocks, object) = (self.blocks.clone(), object.to_owned());
        self.pool.wait(move || blocks.invalidate(&object)).await?
    }

    /// As [`BlockCache::forget`].
    ///
    /// # Errors
    /// As [`BlockCache::forget`].
    pub async fn forget(&self, object: &str) -> Result<()> {
        let (blocks, object) = (self.blocks.clone(), object.to_owned());
        self.pool.wait(move || blocks.forget(&object)).await?
    }

    /// As [`BlockCache::stats`].
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.blocks.stats()
    }

    /// As [`BlockCache::stats_of`].
    ///
    /// # Errors
    /// As [`BlockCache::stats_of`].
    pub async fn stats_of(&self, object: &str) -> Result<ObjectStats> {
        // By a task: no thread of the runtime may wait for the origin, which may need that thread.
        let head = self.head(object, &ReadOptions::new()).await?;
        let (shared, object) = (Arc::clone(&self.blocks.shared), object.to_owned());
        let count = move || shared.stats_of_version(&object, head);
        self.pool.read(count).await?
    }

    /// As [`BlockCache::any_version`].
    ///
    /// # Errors
    /// As [`BlockCache::any_version`].
    pub async fn any_version(
        &self,
        is_so: impl FnMut(&Version) -> bool + Send + 'static,
    ) -> Result<bool> {
        let blocks = self.blocks.clone();
        self.pool.read(move || blocks.any_version(is_so)).await?
    }

    /// The same for threads that are not the runtime's.
    #[must_use]
    pub fn blocking(&self) -> &BlockCache {
        &self.blocks
    }
}

impl fmt::Debug for AsyncBlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncBlockCache")
            .field(&self.blocks)
            .finish()
    }
}

/// A single piece is not copied.
fn whole(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.swap_remove(0);
    }
    let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut whole = Vec::with_capacity(to_usize(len));
    pieces
        .iter()
        .for_each(|piece| whole.extend_from_slice(piece));
    whole.into()
}
