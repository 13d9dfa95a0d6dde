//! How to open a cache.

mod bounds;
mod eviction;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::compress::Compression;
pub use eviction::Eviction;
pub(crate) use plan::{IDENTITY_BYTES, MIN_SEGMENTS, Plan};

use crate::evict::{EvictionListener, Listener};
use crate::health::{Ear, HealthListener, OnIoError};

const MIB: u64 = 1 << 20;
/// Loaded in less than ten milliseconds.
const LOAD_AT_OPEN: u64 = 1 << 16;

/// What an insert does that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits until there is.
    #[default]
    Block,
    /// It answers [`Rejection::Busy`](crate::Rejection::Busy), as [`Cache::try_insert`](crate::Cache::try_insert) does, and where
    /// not even that can be logged [`ErrorKind::Busy`](crate::ErrorKind::Busy). Removes, what a closure fills and what is fetched wait all the same.
    Reject,
}

/// Where what is acknowledged lies until it is in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tail {
    /// In a mapped file: it survives the process.
    Mapped,
    /// In the process's own memory: what is not flushed dies with the process, as it would in a power cut.
    Heap,
}

/// How to open a cache. Every value is checked in [`Cache::open`](crate::Cache::open).
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    capacity_bytes: u64,
    segment_bytes: Option<u64>,
    tail_bytes: Option<u64>,
    tail: Tail,
    tail_dir: Option<PathBuf>,
    memory_tier_bytes: u64,
    memory_tier_max_value_bytes: u64,
    index_shards: Option<u32>,
    bloom_fp_rate: f64,
    checkpoint_every_bytes: Option<u64>,
    load_at_open_entries: u64,
    flush_every: Option<Duration>,
    background: bool,
    eviction: Eviction,
    promote_at: u8,
    log_percent: u8,
    placement_duel: bool,
    listener: Option<Listener>,
    admission: Option<Arc<dyn Admission>>,
    when_full: WhenFull,
    pinned_percent: u8,
    compression: Compression,
    reclaim_bytes_per_second: Option<u64>,
    on_io_error: OnIoError,
    on_health: Option<Ear>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 30,
            segment_bytes: None,
            tail_bytes: None,
            tail: Tail::Mapped,
            tail_dir: None,
            memory_tier_bytes: 64 * MIB,
            memory_tier_max_value_bytes: MIB / 4,
            index_shards: None,
            bloom_fp_rate: 0.01,
            checkpoint_every_bytes: None,
            load_at_open_entries: LOAD_AT_OPEN,
            flush_every: None,
            background: true,
            eviction: Eviction::S3Merge,
            promote_at: 1,
            log_percent: 25,
            placement_duel: true,
            listener: None,
            admission: None,
            when_full: WhenFull::Block,
            pinned_percent: 25,
            compression: Compression::None,
            reclaim_bytes_per_second: None,
            on_io_error: OnIoError::ReadOnly,
            on_health: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What all files in the cache directory may take together. Default: 1 GiB. Range: what six segments and the tail
    /// need (about 60 KiB) to 4 TiB. Another open may choose another: what fits stays. A cache can become at least 65,536
    /// times as large as the one it was created as, and as small as six of its segments and the tail.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Bytes of one segment file: the unit of eviction, and the upper bound of an entry. Fixed when the cache is created;
    /// a later open that asks for another size is refused. Default: 64 MiB from 8 GiB of capacity on; below 32 MiB, or less
    /// so that there are at least 32. Range: 8 KiB to 64 MiB, a multiple of 4096.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// Bytes of the ring that inserts go to before they are in a segment, rounded down to a multiple of 4 KiB, but not to
    /// 0. Default: 64 MiB or an eighth of the capacity, whichever is less. Range: 4 KiB (32 KiB with segments of 1 MiB
    /// and more), at least a 65,536th of the capacity, to 1 GiB, at most half of the capacity.
    pub fn tail_bytes(mut self, bytes: u64) -> Self {
        self.tail_bytes = Some(bytes);
        self
    }

    /// Where the tail lies. Default: [`Tail::Mapped`].
    pub fn tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }

    /// Another directory for the mapped tail, made where there is none. On tmpfs the tail survives the process as well, and
    /// the kernel never writes it back to a disk. It then does not count against the capacity. Without a meaning for
    /// [`Tail::Heap`]. Default: the cache directory. Range: any other, in UTF-8; a relative one is below the working
    /// directory at the time of the open.
    pub fn tail_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.tail_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Memory for values that were read from disk recently; 0 = none. Default: 64 MiB. Range: any.
    pub fn memory_tier_bytes(mut self, bytes: u64) -> Self {
        self.memory_tier_bytes = bytes;
        self
    }

    /// Larger values do not go to the memory tier but are read from the page cache each time: in a mixed load of values of 1 MiB
    /// that was quicker. Default: 256 KiB. Range: any.
    pub fn memory_tier_max_value_bytes(mut self, bytes: u64) -> Self {
        self.memory_tier_max_value_bytes = bytes;
        self
    }

    /// Shards of the index: inserts to different shards do not wait for each other. Default: one for each 4 MiB of the
    /// capacity, rounded down to a power of two, at most 256. Range: a power of two from 1 to 4096.
    pub fn index_shards(mut self, shards: u32) -> Self {
        self.index_shards = Some(shards);
        self
    }

    /// How often the filter in front of the index may send a missing key to it: with the default it takes 1.4 bytes an entry. It
    /// is built anew when a tenth of its keys is gone, or where it is wrong five times as often. Default: 0.01. Range: 0.0001
    /// to 0.5.
    pub fn bloom_fp_rate(mut self, rate: f64) -> Self {
        self.bloom_fp_rate = rate;
        self
    }

    /// A checkpoint of the index is written after so many bytes of log, or at half of the log if that is less: the next
    /// open replays what came after it. It is put off while it would cost more than a twentieth of what is written; but not
    /// beyond a third as many operations as there are entries, or a million if that is more.
    /// Default: a quarter of the capacity. Range: from 4 KiB.
    pub fn checkpoint_every_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_every_bytes = Some(bytes);
        self
    }

    /// The index of at most so many entries is loaded before [`Cache::open`](crate::Cache::open) returns. That of more is
    /// loaded part by part as it is used, and by a thread meanwhile: an open takes tens of milliseconds, and some 40 ns for each
    /// operation behind the newest checkpoint; the first lookup in each shard takes 3 to 30 ms. What a damaged part of that
    /// checkpoint held is forgotten then, and counted in [`Stats::lost_in_loading`](crate::Stats::lost_in_loading). An open that
    /// loads all of it (`u64::MAX`) goes back to the checkpoint before, where the log reaches back to that.
    /// Default: 65,536. Range: any.
    pub fn load_at_open_entries(mut self, entries: u64) -> Self {
        self.load_at_open_entries = entries;
        self
    }

    /// Makes everything durable in the background this often. Default: off. Range: from 1 ms.
    pub fn flush_every(mut self, every: Duration) -> Self {
        self.flush_every = Some(every);
        self
    }

    /// What goes when room is needed. Default: [`Eviction::S3Merge`].
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.eviction = eviction;
        self
    }

    /// Reads that make an entry worth keeping when its segment of the log is reclaimed, not counting those while it was in
    /// the newest quarter of the log: 2 writes less and hits a little less often. For [`Eviction::S3Merge`]. Default: 1.
    /// Range: 1 or 2.
    pub fn promote_at(mut self, reads: u8) -> Self {
        self.promote_at = reads;
        self
    }

    /// The log's share of the segments, in percent; the others are for what is kept. For [`Eviction::S3Merge`]. Default: 25.
    /// Range: 10 to 90.
    pub fn log_percent(mut self, percent: u8) -> Self {
        self.log_percent = percent;
        self
    }

    /// Whether two shadow caches over a sixteenth of the keys decide where survivors go: to the hand's place, or to the
    /// head. Without it they stay at the hand's place. For [`Eviction::S3Merge`]. Default: true.
    pub fn placement_duel(mut self, duel: bool) -> Self {
        self.placement_duel = duel;
        self
    }

    /// Who is told of each entry that the cache drops by itself: its key, bytes of key and value, and why. Not of what a
    /// caller removes or stores anew. [`Cache::clear`](crate::Cache::clear) looks at no entry, and tells only how many
    /// there were. An open drops what does not fit in a smaller capacity without telling, as is the rare large value whose
    /// place is given up while it is being inserted, and an entry whose key cannot be read.
    ///
    /// It is called by whoever makes room: the upkeep's thread, or without [`background`](Self::background) the caller;
    /// and in `open`. No shard of the index is locked then, but nobody makes room meanwhile: it should be quick. It may ask
    /// the cache for anything; what would have to wait, as an insert that finds no room, answers
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid). A panic in it is logged, and the cache goes on. With a listener,
    /// the keys of a segment that is given up are read. Default: nobody.
    pub fn on_evict(mut self, listener: impl EvictionListener + 'static) -> Self {
        self.listener = Some(Listener(Arc::new(listener)));
        self
    }

    /// Which inserts are made: see [`Admission`]. Of a key whose insert is not, an older version is removed. Default: all.
    pub fn admission(mut self, admission: impl Admission + 'static) -> Self {
        self.admission = Some(Arc::new(admission));
        self
    }

    /// What an insert does that finds no room in the tail or no segment: the background is behind. Default:
    /// [`WhenFull::Block`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// What pinned entries may take of the capacity, in percent, and of what there is beyond six segments at most 35 percent
    /// ([`Priority::Pinned`](crate::Priority::Pinned)). They count with headers, and rounded up by up to 27 %; one larger than half of a
    /// segment counts for a whole one. What is pinned already stays when this is less at a later open. Default: 25.
    /// Range: 0 to 35.
    pub fn pinned_percent(mut self, percent: u8) -> Self {
        self.pinned_percent = percent;
        self
    }

    /// How values are stored that [`insert`](crate::Cache::insert) and [`get_or_fetch`](crate::Cache::get_or_fetch) store; what
    /// [`insert_with_len`](crate::Cache::insert_with_len) fills is stored as it is. Each 64 KiB are compressed by themselves, and only
    /// where that saves an eighth. What was stored before stays as it is. Default: [`Compression::None`]. Range: codecs that
    /// the library was built with.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// What reclaim may read and copy in a second, in bytes, while nobody needs the room: for a device that others use, too.
    /// Whoever needs room that is not there yet ends the waiting, and so does a segment being written that is half full: then
    /// reclaim goes on as fast as it can, and what it took beyond the budget is paid back later, over at most ten seconds.
    /// Without a meaning where there is no [`background`](Self::background). Default: no bound, for what reclaim copies is
    /// bounded by what is inserted. Range: 4 KiB to 1 TiB.
    pub fn reclaim_bytes_per_second(mut self, bytes: u64) -> Self {
        self.reclaim_bytes_per_second = Some(bytes);
        self
    }

    /// What the cache does after a write or sync of its log has failed, or a thread of it panicked. A full disk is no such
    /// failure, nor is a want of handles or memory: these pass. Default: [`OnIoError::ReadOnly`].
    pub fn on_io_error(mut self, policy: OnIoError) -> Self {
        self.on_io_error = policy;
        self
    }

    /// Who is told of each change of [`Health`](crate::Health). It is called by whichever thread met the cause, with locks of
    /// the cache held: it should be quick. It may ask the cache for anything; what would have to wait answers
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid). A panic in it is logged, and the cache goes on. Default: nobody.
    pub fn on_health(mut self, listener: impl HealthListener + 'static) -> Self {
        self.on_health = Some(Ear(Arc::new(listener)));
        self
    }

    /// Two threads write the log, reclaim segments and write checkpoints. Without them the callers do, step by step, in an
    /// order that depends on nothing but the calls, and [`flush_every`](Self::flush_every) does nothing. Default: true.
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }
}
