//! The cache for tasks: the same operations as of [`Cache`], as futures (feature `tokio`).
//!
//! ```text
//!   get ── filter, index, tail, memory tier ──► answered here, in the task
//!             └─ in a file ─► a slot of the readers ─► a thread of the runtime ─► answered
//!   insert ── room in the tail? ──► copied here
//!             └─ none, or a large value ─► a slot of the writers ─► a thread of the runtime
//! ```

mod pool;

use std::future::Future;
use std::ops::{Bound, Range, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use tokio::task::coop::consume_budget;

pub(crate) use self::pool::{Pool, joined};
use crate::accounts::Ledger;
use crate::cache::Cache;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::insert_options::InsertOptions;
use crate::options::Options;
use crate::read::InMemory;
use crate::stats::Stats;
use crate::value::{Inserted, Value};
use crate::write::How;

/// A value up to here is copied in the task, in some ten microseconds; larger ones are on a thread.
pub(crate) const IN_TASK_BYTES: usize = 256 << 10;

/// What is around a value is less than this part of it, and than so many bytes.
const FRAME_PART: u64 = 256;

const READ_THREADS: usize = 32;
const WRITE_THREADS: usize = 64;
const MOST_THREADS: usize = 4096;

impl Engine {
    /// Whether a task may store this: by copying it, if there is room.
    pub(crate) fn takes_at_once(&self, key: &[u8], value: &[u8]) -> bool {
        let bytes = (key.len() + value.len()) as u64;
        value.len() <= IN_TASK_BYTES
            && self.plan.background
            && bytes + bytes / FRAME_PART + FRAME_PART <= self.max_ring_frame()
            && self.index.is_loaded_for(self.hash(key))
    }
}

/// A [`Cache`] for tasks of tokio: the operations have the same names and promises, and do not block the thread that polls.
///
/// What memory answers is answered at once, without a switch of tasks: misses, and values in the tail and in the memory tier. Reads of files
/// are done by threads of the runtime (`spawn_blocking`), at most 32 at a time, and what waits for room or for the device by at most 64 others;
/// [`with_threads`](Self::with_threads) sets other bounds. What a dropped future has given to a thread that has begun is done all the
/// same, and an insert perhaps after others that were made later: wait for those whose order counts.
///
/// Cheap to clone. It must be made or used inside of a runtime. A task that does nothing else yields to others now and then, as with tokio's own
/// operations. The last clone closes the cache, which waits for the device: call [`close`](Self::close)
/// before, where that must not be in a task.
///
/// ```
/// use perennial::{AsyncCache, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cache = AsyncCache::open(dir.path(), Options::new().capacity_bytes(64 << 20)).await?;
/// cache.insert("key", "value").await?;
/// let value = cache.get_or_fetch("other", || async { Ok::<_, std::io::Error>(b"fetched".to_vec()) }).await?;
/// assert_eq!(&value[..], b"fetched");
/// assert_eq!(&cache.get("key").await?.expect("it was just stored")[..], b"value");
/// cache.close().await?;
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AsyncCache {
    cache: Cache,
    pool: Arc<Pool>,
}

impl From<Cache> for AsyncCache {
    fn from(cache: Cache) -> Self {
        Self::new(cache)
    }
}

impl AsyncCache {
    /// A face of `cache` for tasks.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        let pool = Arc::new(Pool::new(READ_THREADS, WRITE_THREADS));
        Self { cache, pool }
    }

    /// The same with other bounds: threads that read files, and threads that wait for room or for the device. Each 1 to 4096;
    /// the runtime's own bound (`max_blocking_threads`, 512 unless set) holds, too.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for bounds out of range.
    pub fn with_threads(cache: Cache, reads: usize, writes: usize) -> Result<Self> {
        let range = 1..=MOST_THREADS;
        if !range.contains(&reads) || !range.contains(&writes) {
            return Err(Error::invalid(format!(
                "{reads} threads that read and {writes} that write; each is 1 to {MOST_THREADS}"
            )));
        }
        let pool = Arc::new(Pool::new(reads, writes));
        Ok(Self { cache, pool })
    }

    /// As [`Cache::open`], on a thread of the runtime.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let pool = Arc::new(Pool::new(READ_THREADS, WRITE_THREADS));
        let cache = pool.wait(move || Cache::open(path, options)).await??;
        Ok(Self { cache, pool })
    }

    /// The cache itself, for threads.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    async fn wait<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Cache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        self.pool.wait(move || call(&cache)).await?
    }

    async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Cache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        self.pool.read(move || call(&cache)).await?
    }

    /// As [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        consume_budget().await;
        let key = key.as_ref();
        match self.cache.engine().get_in_memory(key)? {
            InMemory::Found(value) => Ok(Some(value)),
            InMemory::Absent => Ok(None),
            InMemory::OnDisk => {
                let key = key.to_vec();
                self.read(move |cache| cache.get(key)).await
            }
        }
    }

    /// As [`Cache::get_range`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get_range(
        &self,
        key: impl AsRef<[u8]>,
        range: Range<u64>,
    ) -> Result<Option<Value>> {
        consume_budget().await;
        let key = key.as_ref();
        match self
            .cache
            .engine()
            .get_range_in_memory(key, range.clone())?
        {
            InMemory::Found(value) => Ok(Some(value)),
            InMemory::Absent => Ok(None),
            InMemory::OnDisk => {
                let key = key.to_vec();
                self.read(move |cache| cache.get_range(key, range)).await
            }
        }
    }

    /// As [`Cache::contains`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        consume_budget().await;
        let key = key.as_ref();
        match self.cache.engine().contains_in_memory(key)? {
            InMemory::Found(()) => Ok(true),
            InMemory::Absent => Ok(false),
            InMemory::OnDisk => {
                let key = key.to_vec();
                self.read(move |cache| cache.contains(key)).await
            }
        }
    }

    /// As [`Cache::get_or_fetch`], with a fetch that is a future: one for all tasks and threads that ask. When the task that fetches is dropped,
    /// another of those who wait fetches instead. While its future is neither polled nor dropped they all wait: who holds one to poll it later
    /// must not wait for the same key meanwhile.
    ///
    /// # Errors
    /// As [`Cache::get_or_fetch`].
    pub async fn get_or_fetch<T, E, F>(
        &self,
        key: impl AsRef<[u8]>,
        fetch: impl FnOnce() -> F,
    ) -> Result<Value>
    where
        F: Future<Output = std::result::Result<T, E>>,
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.fetch_once(key.as_ref(), fetch).await
    }

    /// As [`Cache::insert`].
    ///
    /// # Errors
    /// As [`Cache::insert`].
    pub async fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Inserted> {
        consume_budget().await;
        let (key, value) = (key.as_ref(), value.as_ref());
        let engine = self.cache.engine();
        if engine.takes_at_once(key, value) {
            let how = How {
                at_once: true,
                or_nothing: true,
                ..How::default()
            };
            match engine.insert_how(key, value, how) {
                // Nothing happened: a thread waits for room.
                Err(error) if error.kind() == ErrorKind::Busy => {}
                inserted => return inserted,
            }
        }
        let (key, value) = (key.to_vec(), value.to_vec());
        self.wait(move |cache| cache.insert(key, value)).await
    }

    /// As [`Cache::insert_durable`]. Many tasks share a sync, as many as there are threads for them.
    ///
    /// # Errors
    /// As [`Cache::insert_durable`].
    pub async fn insert_durable(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Inserted> {
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.wait(move |cache| cache.insert_durable(key, value))
            .await
    }

    /// As [`Cache::insert_with`].
    ///
    /// # Errors
    /// As [`Cache::insert_with`].
    pub async fn insert_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: InsertOptions,
    ) -> Result<Inserted> {
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.wait(move |cache| cache.insert_with(key, value, options))
            .await
    }

    /// As [`Cache::try_insert`]. A value too large for the tail's buffers is written to its segment, by a thread.
    ///
    /// # Errors
    /// As [`Cache::try_insert`].
    pub async fn try_insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Inserted> {
        let (key, value) = (key.as_ref(), value.as_ref());
        if self.cache.engine().takes_at_once(key, value) {
            return self.cache.try_insert(key, value);
        }
        let (key, value) = (key.to_vec(), value.to_vec());
        self.wait(move |cache| cache.try_insert(key, value)).await
    }

    /// As [`Cache::insert_with_len`], by a thread.
    ///
    /// # Errors
    /// As [`Cache::insert_with_len`].
    pub async fn insert_with_len<E>(
        &self,
        key: impl AsRef<[u8]>,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E> + Send + 'static,
    ) -> Result<Inserted>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let key = key.as_ref().to_vec();
        self.wait(move |cache| cache.insert_with_len(key, len, fill))
            .await
    }

    /// As [`Cache::remove`].
    ///
    /// # Errors
    /// As [`Cache::remove`].
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref().to_vec();
        self.wait(move |cache| cache.remove(key)).await
    }

    /// As [`Cache::remove_durable`].
    ///
    /// # Errors
    /// As [`Cache::remove_durable`].
    pub async fn remove_durable(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref().to_vec();
        self.wait(move |cache| cache.remove_durable(key)).await
    }

    /// As [`Cache::remove_prefix`].
    ///
    /// # Errors
    /// As [`Cache::remove_prefix`].
    pub async fn remove_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        let prefix = prefix.as_ref().to_vec();
        self.wait(move |cache| cache.remove_prefix(prefix)).await
    }

    /// As [`Cache::clear`].
    ///
    /// # Errors
    /// As [`Cache::clear`].
    pub async fn clear(&self) -> Result<()> {
        self.wait(Cache::clear).await
    }

    /// As [`Cache::keys`], all at once: memory for all of them is needed.
    ///
    /// # Errors
    /// As [`Cache::keys`]: the first of the items'.
    pub async fn keys(&self) -> Result<Vec<Box<[u8]>>> {
        self.read(|cache| cache.keys().collect()).await
    }

    /// As [`Cache::scan`], all at once.
    ///
    /// # Errors
    /// As [`Cache::scan`]: the first of the items'.
    pub async fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Vec<Box<[u8]>>> {
        let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        let range = (own(range.start_bound()), own(range.end_bound()));
        self.read(move |cache| cache.scan(range).collect()).await
    }

    /// As [`Cache::scan_prefix`], all at once.
    ///
    /// # Errors
    /// As [`Cache::scan_prefix`]: the first of the items'.
    pub async fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Vec<Box<[u8]>>> {
        let prefix = prefix.as_ref().to_vec();
        self.read(move |cache| cache.scan_prefix(prefix).collect())
            .await
    }

    /// As [`Cache::flush`].
    ///
    /// # Errors
    /// As [`Cache::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.wait(Cache::flush).await
    }

    /// As [`Cache::checkpoint`].
    ///
    /// # Errors
    /// As [`Cache::checkpoint`].
    pub async fn checkpoint(&self) -> Result<()> {
        self.wait(Cache::checkpoint).await
    }

    /// As [`Cache::ledger`].
    ///
    /// # Errors
    /// As [`Cache::ledger`].
    pub async fn ledger(&self) -> Result<Ledger> {
        self.read(Cache::ledger).await
    }

    /// As [`Cache::resize`].
    ///
    /// # Errors
    /// As [`Cache::resize`].
    pub async fn resize(&self, capacity_bytes: u64) -> Result<()> {
        self.wait(move |cache| cache.resize(capacity_bytes)).await
    }

    /// As [`Cache::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// As [`Cache::close`].
    ///
    /// # Errors
    /// As [`Cache::close`].
    pub async fn close(self) -> Result<()> {
        // Not behind writers that only this ends.
        let runtime = self.pool.runtime()?;
        joined(runtime.spawn_blocking(move || self.cache.close()).await)?
    }
}
