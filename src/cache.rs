//! The cache's face: every public operation, and where it is done.

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_wal::may_wait;

use crate::accounts::Ledger;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::health::Health;
use crate::insert_options::InsertOptions;
use crate::keys::Keys;
use crate::options::Options;
use crate::read_only::ReadOnlyCache;
use crate::scan::Scan;
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::value::{Entry, Inserted, Value};
use crate::workers::Workers;

/// A persistent cache that is still warm after a crash.
///
/// Cheap to clone: all clones are the same open cache. It is closed by [`close`](Self::close) or with its last clone.
#[derive(Clone)]
pub struct Cache(Arc<Handle>);

struct Handle {
    engine: Arc<Engine>,
    workers: Mutex<Workers>,
}

impl Cache {
    /// Opens the cache in the directory `path`, creating it where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for options out of range and for a directory that holds something else,
    /// [`ErrorKind::Locked`] while another process has it open, [`ErrorKind::Corrupt`] for a damaged or newer identity,
    /// [`ErrorKind::Full`] and [`ErrorKind::Io`] where the file system refuses.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_with(Arc::new(StdFs), path, options)
    }

    /// Opens the cache over any file system, an in-memory one included.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(fs: Arc<dyn Fs>, path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let engine = Arc::new(crate::open::open(fs, path.as_ref(), &options)?);
        engine.watch_the_log();
        let workers = Workers::spawn(&engine)?;
        Ok(Self(Arc::new(Handle {
            engine,
            workers: Mutex::new(workers),
        })))
    }

    /// Opens the cache in the directory `path` to read only, beside the process that has it open or without one: nothing is
    /// locked, made or written. See [`ReadOnlyCache`] for what it shows.
    ///
    /// # Errors
    /// As [`inspect`](crate::inspect()), and [`ErrorKind::Busy`] where the log was overtaken by whoever writes it, again and again.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyCache> {
        ReadOnlyCache::open_with(Arc::new(StdFs), path)
    }

    /// Stores a value. Readable at once, and from the moment this returns it survives the end of the process; it survives
    /// a power cut after the next [`flush`](Self::flush), or once the log has moved on by the tail's size.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty or too long key or a value that does not fit in a segment,
    /// [`ErrorKind::Poisoned`] after a failed write, [`ErrorKind::Full`], [`ErrorKind::Closed`].
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Inserted> {
        self.engine().insert(key.as_ref(), value.as_ref(), false)
    }

    /// Stores a value that survives a power cut from the moment this returns. Many callers share one sync.
    ///
    /// # Errors
    /// As [`insert`](Self::insert). After an error the value may or may not be there.
    pub fn insert_durable(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Inserted> {
        self.engine().insert_durable(key.as_ref(), value.as_ref())
    }

    /// Stores a value as [`InsertOptions`] say: for how long, how dearly, checked against the caller's checksum.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), and [`ErrorKind::Invalid`] for a value that is not the one of the checksum and for a
    /// `ttl` out of range: nothing happened then, and an older version is still there.
    pub fn insert_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: InsertOptions,
    ) -> Result<Inserted> {
        self.engine()
            .insert_with(key.as_ref(), value.as_ref(), &options)
    }

    /// Like [`insert`](Self::insert), but never waits for room: where the background is behind, the answer is
    /// [`Rejection::Busy`](crate::Rejection::Busy), and the key has no value then, nor after a crash. The last sixteenth of the
    /// tail is kept for that: values that leave less are rejected, of any size. One too large for the tail's buffers
    /// is written to its segment before this returns. Without [`Options::background`] nobody else makes room, and the
    /// caller does.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), and [`ErrorKind::Busy`] where there is no room to log that the key has no value either, be
    /// it for want of room or because [`Options::admission`](crate::Options::admission) says no: nothing happened then, and an
    /// older version is still there.
    pub fn try_insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Inserted> {
        self.engine().try_insert(key.as_ref(), value.as_ref())
    }

    /// Stores a value of `len` bytes that `fill` writes where it will stay: no copy. The bytes are zero before. A value too
    /// large for the tail's buffers (about 1.6 MiB, or a fifth of the tail) is filled in memory and then copied.
    ///
    /// Inside the closure other keys can be used; whatever would wait for this entry answers [`ErrorKind::Invalid`]. Until
    /// it returns, flushes and durable calls wait for it, and everybody once the tail is full: do what is slow before.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), and [`ErrorKind::Origin`] when `fill` fails: nothing is stored then, and an older version
    /// of the key is removed. So it is when `fill` panics. Any other error has left the older version where it was, also when
    /// the cache stopped while `fill` ran and failed.
    pub fn insert_with_len<E>(
        &self,
        key: impl AsRef<[u8]>,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E>,
    ) -> Result<Inserted>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.engine().insert_with_len(key.as_ref(), len, fill)
    }

    /// The newest value of the key, or nothing. Never an older one, and never another key's.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key out of range, [`ErrorKind::Closed`]. A damaged or unreadable entry is no error but
    /// a counted miss.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.engine().get(key.as_ref())
    }

    /// Like [`get`](Self::get), into a buffer of the caller's, which is cleared first. False: nothing is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_into(&self, key: impl AsRef<[u8]>, buf: &mut Vec<u8>) -> Result<bool> {
        buf.clear();
        self.engine().get_into(key.as_ref(), buf)
    }

    /// The bytes of the value that lie in `range`, cut at the value's end. Of a value over 64 KiB only the touched pieces
    /// of 64 KiB are read and verified.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_range(&self, key: impl AsRef<[u8]>, range: Range<u64>) -> Result<Option<Value>> {
        self.engine().get_range(key.as_ref(), range)
    }

    /// The value of the key with its end and its priority: for who copies entries to another cache, where
    /// [`InsertOptions`] say the same of it. To the [`Eviction`](crate::Eviction) policy this is no read of the entry, and
    /// the memory tier is neither asked nor filled.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.engine().entry(key.as_ref())
    }

    /// The value of the key; where there is none, what `fetch` returns, which is stored. However many callers ask, one
    /// fetches; the others wait for it. What was fetched never overwrites an insert, nor undoes a remove, that came after
    /// the fetch began.
    ///
    /// `fetch` must not ask for the same key again: it would wait for itself.
    ///
    /// # Errors
    /// [`ErrorKind::Origin`] when `fetch` fails, for all who waited; else as [`get`](Self::get). A value that cannot be
    /// stored is returned all the same.
    pub fn get_or_fetch<T, E>(
        &self,
        key: impl AsRef<[u8]>,
        fetch: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<Value>
    where
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.engine().get_or_fetch(key.as_ref(), |_| false, fetch)
    }

    /// Like [`get_or_fetch`](Self::get_or_fetch), where a value that `useless` says so of is as good as none.
    pub(crate) fn get_or_fetch_unless<T, E>(
        &self,
        key: impl AsRef<[u8]>,
        useless: impl Fn(&Value) -> bool,
        fetch: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<Value>
    where
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.engine().get_or_fetch(key.as_ref(), useless, fetch)
    }

    /// Removes the key, there or not. Like an insert it survives the end of the process from the moment this returns.
    ///
    /// # Errors
    /// As [`insert`](Self::insert); nothing happened then, and the value is still there.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.engine().remove(key.as_ref(), false)
    }

    /// Removes the key, there or not, so that it stays removed after a power cut.
    ///
    /// # Errors
    /// As [`insert_durable`](Self::insert_durable).
    pub fn remove_durable(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.engine().remove(key.as_ref(), true)
    }

    /// The keys, in no order, without loading values. A key that is there the whole time is given once, even if it is stored
    /// anew meanwhile, or its entry is moved. One that comes or goes meanwhile is given once or not at all. One whose
    /// bytes do not prove themselves is left out and counted (`damaged_reads`), an expired one left out.
    ///
    /// Takes memory for 24 bytes for each entry of an index shard, and at least up to 24 MiB where there are so many
    /// entries. Caches of more than a million entries are read through once for each million, or for each shard.
    ///
    /// # Errors
    /// Each item may be [`ErrorKind::Closed`], and is the last one then; or [`ErrorKind::Io`] where the system has no handle or
    /// no memory for a look at that key: the others follow.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys(self.engine().list())
    }

    /// The keys that lie in `range`, in the order of their bytes: `cache.scan("a".."b")`, `cache.scan::<&[u8]>(..)`. For
    /// their values ask [`get`](Self::get): what was evicted or removed since its key was listed is not there any more.
    ///
    /// A key that is there the whole time is given once. One that comes or goes meanwhile is given once or not at all, and
    /// never behind a larger one. It takes 8 MiB of memory, and that of [`keys`](Self::keys); for each 8 MiB of keys in the
    /// range (48 bytes added to each) it goes through all keys of the cache.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    #[must_use]
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan<'_> {
        self.engine().scan(&range)
    }

    /// The keys that begin with `prefix`, in the order of their bytes. As [`scan`](Self::scan).
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    #[must_use]
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Scan<'_> {
        self.engine().scan_prefix(prefix.as_ref())
    }

    /// Removes every key that begins with `prefix`, and says how many were there. Like a [`remove`](Self::remove) of each:
    /// it survives the end of the process from the moment this returns, and a power cut after the next
    /// [`flush`](Self::flush). What is stored meanwhile may stay. It goes through all keys of the cache; an entry whose key
    /// the media does not give, or that does not prove itself, goes, too. An empty prefix removes all, one by one; [`clear`](Self::clear) does so at once.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), and [`ErrorKind::Invalid`] inside a closure of
    /// [`insert_with_len`](Self::insert_with_len). After an error any of the keys may be removed.
    pub fn remove_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        self.engine().remove_prefix(prefix.as_ref())
    }

    /// Removes everything, at once: it takes no longer for many entries than for few. Nothing that was stored before is
    /// ever seen again, whatever crash follows this call; one in its middle finds all of it or nothing of it removed.
    ///
    /// An insert, a remove or a fetch that goes on meanwhile comes before the clear or after it, as a whole: what
    /// [`insert_with_len`](Self::insert_with_len) is filling counts as stored before, and so does what a
    /// [`get_or_fetch`](Self::get_or_fetch) fetches, which its callers get and nobody after them. Like
    /// [`flush`](Self::flush) it waits for inserts under way. A large value whose insert goes on may be gone, too, and counts
    /// as evicted. [`Stats::cleared`] counts what was removed.
    ///
    /// # Errors
    /// As [`flush`](Self::flush), and [`ErrorKind::Full`] where no room can be made to log it. After
    /// [`ErrorKind::Poisoned`] a crash may bring everything back.
    pub fn clear(&self) -> Result<()> {
        self.engine().clear()
    }

    /// True when [`get`](Self::get) would find the key, as far as its header and key tell.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.engine().contains(key.as_ref())
    }

    /// Makes everything that returned before it survive a power cut.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] when the device fails, [`ErrorKind::Closed`], [`ErrorKind::Invalid`] inside a closure of
    /// [`insert_with_len`](Self::insert_with_len).
    pub fn flush(&self) -> Result<()> {
        self.engine().flush()
    }

    /// Writes a checkpoint of the index now and makes it durable, so that the next open has nothing to replay.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); [`ErrorKind::Full`] where no segment can be reclaimed for it, [`ErrorKind::Invalid`]
    /// where the tail is too small for one of so many shards.
    pub fn checkpoint(&self) -> Result<()> {
        self.engine().checkpoint_now()
    }

    /// What every byte of the cache's files is used for, segment by segment. Reads the table of every segment, so it takes a
    /// while, and nothing is reclaimed meanwhile; [`stats`](Self::stats) has the sum at once. What is not yet written out of
    /// the tail is not in its segment: flush before for all of it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when a segment cannot be read, [`ErrorKind::Closed`].
    pub fn ledger(&self) -> Result<Ledger> {
        self.engine().ledger_of_bytes()
    }

    /// Sets what all files in the directory may take together, while the cache is used: more, or less. It returns once
    /// they take no more; what has to go for that is chosen by the [`Eviction`](crate::Eviction) policy, and what it
    /// keeps is moved. Nobody waits for that but the caller.
    ///
    /// Nothing on disk remembers it: the next open has the capacity of its own
    /// [`Options::capacity_bytes`], whatever this one was resized to, and keeps what fits. The tail, the shards of the index
    /// and the bytes between two checkpoints stay as they are until then. Range: six segments, the tail and what is in the
    /// directory besides, or twice the tail if that is more; to 4 TiB, 65,536 times the tail, and the growth that
    /// [`Options::capacity_bytes`] speaks of.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a capacity out of range, which is named; nothing happened then.
    /// [`ErrorKind::Poisoned`] after a failed write, [`ErrorKind::Full`] where nothing more can be given up now,
    /// [`ErrorKind::Closed`]; the bound is the new one then, and later calls that need room go on getting there.
    pub fn resize(&self, capacity_bytes: u64) -> Result<()> {
        self.engine().resize(capacity_bytes)
    }

    /// Bytes of the largest value that fits in a segment together with a key of `key_bytes`: what is larger is
    /// [`ErrorKind::Invalid`] to an insert.
    #[must_use]
    pub fn max_value_bytes(&self, key_bytes: usize) -> u64 {
        self.engine().max_value_bytes(key_bytes)
    }

    /// Counts since the cache was opened, and what it takes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// What state the cache is in, why, and since when. [`stats`](Self::stats) has it, too.
    #[must_use]
    pub fn health(&self) -> Health {
        self.engine().health()
    }

    /// Makes everything durable, writes a checkpoint and closes, for all clones: later calls answer
    /// [`ErrorKind::Closed`]. Dropping the last clone does the same, but can only log.
    ///
    /// # Errors
    /// When the device fails; the cache is closed all the same. Inside a closure of
    /// [`insert_with_len`](Self::insert_with_len) [`ErrorKind::Invalid`], and the cache stays open.
    pub fn close(self) -> Result<()> {
        self.0.close()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// For who may outlive this handle: after the close it answers [`ErrorKind::Closed`].
    pub(crate) fn shared_engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        // From within a closure that fills an entry this would wait for that entry.
        may_wait()?;
        let mut workers = self.workers.lock();
        if !self.engine.close_gate() {
            return Ok(());
        }
        workers.stop_upkeep(&self.engine);
        let closed = self.engine.close_log();
        workers.join_flusher();
        closed
    }
}

impl Handle {
    /// From within a closure that fills an entry, which can only be another cache's: this thread must not wait, and the
    /// threads and the lock must not stay for ever.
    fn close_elsewhere(&self) {
        let late = Self {
            engine: Arc::clone(&self.engine),
            workers: Mutex::new(std::mem::take(&mut *self.workers.lock())),
        };
        let late = Arc::new(Mutex::new(Some(late)));
        let theirs = Arc::clone(&late);
        let started = crate::sync::spawn("perennial-close", move || drop(theirs.lock().take()));
        if let Err(error) = started {
            tracing::error!(%error, "closing the cache failed");
            std::mem::forget(late.lock().take());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if may_wait().is_err() {
            return self.close_elsewhere();
        }
        if let Err(error) = self.close()
            && error.kind() != ErrorKind::Poisoned
        {
            tracing::error!(%error, "closing the cache failed");
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
