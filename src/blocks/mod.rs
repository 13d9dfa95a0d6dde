//! Reading parts of large objects through a cache: `BlockCache`, the face. `docs/blocks.md` says what it promises and how.

mod age;
mod ahead;
mod asking;
mod below;
mod boarded;
mod cached;
mod ensure;
mod fetch;
mod flights;
mod heads;
mod key;
mod nested;
mod options;
mod origin;
mod party;
mod questions;
mod queue;
mod read;
mod registry;
mod remembered;
mod request;
mod runs;
mod scan;
mod shared;
#[cfg(all(test, shuttle))]
mod shuttle_tests;
mod stale;
mod stats;
#[cfg(feature = "tokio")]
mod tasks;
mod wait;
mod work;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use perennial_wal::to_usize;

pub use crate::blocks::ensure::Progress;
pub use crate::blocks::options::BlockOptions;
pub use crate::blocks::origin::{Head, Opened, Origin, OriginError, OriginResult, Version};
pub use crate::blocks::request::{Priority, ReadOptions, Revalidate};
pub use crate::blocks::stats::{BlockStats, ObjectStats};
#[cfg(feature = "tokio")]
pub use crate::blocks::tasks::{AsyncBlockCache, AsyncOrigin};
pub use crate::blocks::wait::Cancel;
pub use crate::latency::Latency;

use crate::blocks::below::Below;
use crate::blocks::options::Plan;
use crate::blocks::shared::Shared;
use crate::blocks::work::Threads;
use crate::cache::Cache;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

/// Reads objects of an [`Origin`] through a [`Cache`], block by block: what is there is served from the cache, the gaps are
/// fetched, once however many readers ask, and kept.
///
/// By default an object is taken for one that never changes under its name: which version it has is asked once. Reads of objects that are
/// overwritten say [`Revalidate::After`] or [`Revalidate::Always`].
///
/// Cheap to clone: all clones are the same. Several, over different origins, can share one cache; each has threads of its
/// own, which end with its last clone. Keys of other users of the cache must not begin with the bytes `00 62 6b 01`.
///
/// ```
/// use perennial::blocks::{BlockCache, BlockOptions, Origin, OriginResult, ReadOptions, Version};
/// use perennial::{Cache, Options};
///
/// /// Stands for an object store.
/// struct Store;
///
/// impl Origin for Store {
///     fn identity(&self) -> String {
///         "https://store.example/bucket".into()
///     }
///     fn version(&self, _: &str) -> OriginResult<Version> {
///         Ok("etag-1".into())
///     }
///     fn len(&self, _: &str) -> OriginResult<u64> {
///         Ok(1 << 20)
///     }
///     fn read_at(
///         &self,
///         object: &str,
///         _: &Version,
///         offset: u64,
///         buf: &mut [u8],
///         _: &ReadOptions,
///     ) -> OriginResult<usize> {
///         println!("GET {object} from {offset}, {} bytes", buf.len());
///         buf.fill(7);
///         Ok(buf.len())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(dir.path(), Options::new().capacity_bytes(64 << 20))?;
/// let blocks = BlockCache::new(cache, Store, BlockOptions::new())?;
/// let mut buf = [0; 1000];
/// blocks.read_at("a/b.parquet", 500_000, &mut buf, &ReadOptions::new())?; // one GET of 64 KiB
/// blocks.read_at("a/b.parquet", 500_500, &mut buf, &ReadOptions::new())?; // from the cache
/// assert_eq!((buf, blocks.stats().origin_reads), ([7; 1000], 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BlockCache {
    shared: Arc<Shared>,
    _threads: Arc<Threads>,
}

impl BlockCache {
    /// A face of `cache` that reads from `origin`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for options out of range, for blocks that are too large for the segments of the cache and for
    /// an identity of more than 16 KiB; [`ErrorKind::Io`] when no thread can be started.
    pub fn new(cache: Cache, origin: impl Origin + 'static, options: BlockOptions) -> Result<Self> {
        let plan = options.plan(cache.engine())?;
        Self::with(cache, Box::new(origin), plan, true)
    }

    /// Over an origin that is awaited, and so only by threads of its own.
    #[cfg(feature = "tokio")]
    fn awaiting(cache: Cache, origin: impl Below + 'static, options: BlockOptions) -> Result<Self> {
        let plan = options.plan(cache.engine())?;
        if plan.threads == 0 {
            let message = "fetch_threads is 1 to 1024 where the origin's answers are futures";
            return Err(crate::error::Error::invalid(message));
        }
        Self::with(cache, Box::new(origin), plan, false)
    }

    fn with(cache: Cache, origin: Box<dyn Below>, plan: Plan, are_joined: bool) -> Result<Self> {
        let shared = Arc::new(Shared::new(cache, origin, plan)?);
        let threads = Arc::new(Threads::spawn(&shared, are_joined)?);
        Ok(Self {
            shared,
            _threads: threads,
        })
    }

    /// Fills `buf` with the object's bytes from `offset` on, all of one version: the one that is returned. After an error
    /// what is in `buf` means nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a range that goes past the object's end, and where the read would have to wait inside a closure
    /// of [`Cache::insert_with_len`]; [`ErrorKind::Origin`] when the origin fails, [`ErrorKind::Changed`] when
    /// the object changes again and again meanwhile, [`ErrorKind::Cancelled`]. The cache itself cannot fail a read.
    pub fn read_at(
        &self,
        object: &str,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> Result<Head> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        let opened = self.shared.open(object, &range, options)?;
        self.shared.read(object, opened, offset, buf, options)
    }

    /// Like [`read_at`](Self::read_at), of exactly the version of `head`, which [`head`](Self::head) gave or which is known from elsewhere: for
    /// several reads that must be of one version. With cached blocks the origin is not asked at all.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at); [`ErrorKind::Invalid`] also for a head of more than 2^62 bytes; and [`ErrorKind::Changed`] where
    /// something has to be fetched and the object has another version now.
    pub fn read_version_at(
        &self,
        object: &str,
        head: &Head,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> Result<()> {
        let opened = Opened::from(head.clone());
        let read = self
            .shared
            .read_version(object, &opened, offset, buf, options);
        read.map_err(|stopped| stopped.told(object, head))
    }

    /// The bytes of a range, in a vector of their own; as [`read_at`](Self::read_at).
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and [`ErrorKind::Invalid`] for a range that ends before it begins.
    pub fn read(&self, object: &str, range: Range<u64>, options: &ReadOptions) -> Result<Vec<u8>> {
        let opened = self.shared.open(object, &range, options)?;
        // Before memory is asked for: the range may be nonsense.
        Shared::check_range(object, &opened.head, &range)?;
        let mut buf = vec![0; to_usize(range.end - range.start)];
        self.shared
            .read(object, opened, range.start, &mut buf, options)?;
        Ok(buf)
    }

    /// The object's version and length, as old as the options allow.
    ///
    /// # Errors
    /// [`ErrorKind::Origin`] when the origin fails, [`ErrorKind::Changed`] when its answers never agree,
    /// [`ErrorKind::Cancelled`].
    pub fn head(&self, object: &str, options: &ReadOptions) -> Result<Head> {
        self.shared.head(object, options)
    }

    /// Sees to it that the blocks of a range are in the cache, without handing them out. It waits for room in the cache, and for
    /// whoever reads in the foreground: [`Priority::Foreground`] means [`Priority::Background`] here. `progress` is called on this
    /// thread as it goes on, and ends it with `ControlFlow::Break`. What was under way then goes on; what was not is left.
    /// When the object changes meanwhile it begins anew. Returns how far it came.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). What could not be kept is no error but counted in [`Progress::not_kept`].
    pub fn ensure_cached(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Progress> {
        self.shared.ensure(object, &range, options, &mut progress)
    }

    /// Forgets the object: its version, and all its blocks, of whatever version and size, from whatever life of the cache. No
    /// read that begins after this has returned is served what was fetched before, not after a `kill -9` either; after a power
    /// cut if there was a [`Cache::flush`]. Reads under way get what they are waiting for, and nothing of it is kept. Where the origin is a
    /// `BlockCache` itself, what that has stays: it is to be invalidated first, if it may be wrong. It goes
    /// through all keys of the cache. Returns how many entries there were: blocks, and what was remembered of it.
    ///
    /// # Errors
    /// As [`Cache::remove_prefix`]: blocks may be left then.
    pub fn invalidate(&self, object: &str) -> Result<u64> {
        self.shared.invalidate(object)
    }

    /// Forgets version and length of the object, in this life and the next, and nothing else: for who has written to it, or knows that
    /// somebody has. No read that begins after this has returned is served a version that was asked for before; after a power cut
    /// if there was a [`Cache::flush`]. Blocks of the version are served again if the origin still has it, and removed in the
    /// background once it has another. Unlike [`invalidate`](Self::invalidate) it costs one remove, however large the cache is.
    ///
    /// # Errors
    /// As [`Cache::remove`]: what is remembered for the next life may be left then.
    pub fn forget(&self, object: &str) -> Result<()> {
        self.shared.forget(object)
    }

    /// Counts and times since it was made.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.shared.stats()
    }

    /// How much of an object is there. It looks for each of its blocks, or goes through all keys of the cache.
    ///
    /// # Errors
    /// As [`head`](Self::head), where the version is not known.
    pub fn stats_of(&self, object: &str) -> Result<ObjectStats> {
        self.shared.stats_of(object)
    }

    /// Whether there are blocks of a version that is so, of any object and size. It goes through the keys of the cache until it finds one,
    /// and asks of each block. One that comes meanwhile may be missed.
    ///
    /// # Errors
    /// As [`Cache::keys`].
    pub fn any_version(&self, is_so: impl FnMut(&Version) -> bool) -> Result<bool> {
        self.shared.any_version(is_so)
    }

    /// The cache below.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache")
            .field("identity", &self.shared.identity)
            .finish_non_exhaustive()
    }
}
