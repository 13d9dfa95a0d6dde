//! What was found at the open, and how reads end.

use crate::sync::{AtomicU64, Ordering};

use super::files::Missed;

/// A picture of a [`ReadOnlyCache`](crate::ReadOnlyCache).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ReadOnlyStats {
    /// Entries that the cache had at the position, those included whose time is over or whose segment was reclaimed since.
    pub entries: u64,
    /// The position in the log, in bytes, that all of it is as of.
    pub end: u64,
    /// Reads that gave a value.
    pub hits: u64,
    /// Reads that gave none, those included that are counted below.
    pub misses: u64,
    /// Reads of entries whose segment the cache has reclaimed and its file used again or removed since the open.
    pub recycled: u64,
    /// Reads of entries whose bytes do not prove themselves.
    pub damaged_reads: u64,
    /// Reads of values compressed by a codec that this build does not have.
    pub codec_misses: u64,
    /// Reads that the system refused.
    pub read_errors: u64,
    /// Damaged operations that were found at the open; their keys, or everything older, are not there.
    pub damaged: u64,
    /// Times that everything older had to be left out for damage.
    pub forgotten_all: u64,
    /// Bytes of memory for the index.
    pub index_bytes: u64,
    /// How long the open took, in microseconds.
    pub open_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    recycled: AtomicU64,
    damaged: AtomicU64,
    no_codec: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// How a read ended.
    pub(super) fn count<T>(&self, read: Result<T, Missed>) -> Option<T> {
        let ended = match &read {
            Ok(_) => &self.hits,
            Err(_) => &self.misses,
        };
        ended.fetch_add(1, Ordering::Relaxed);
        read.map_err(|why| self.missed(&why)).ok()
    }

    /// Why an entry is left out of a listing.
    pub(super) fn missed(&self, why: &Missed) {
        let counter = match why {
            Missed::Absent => return,
            Missed::Recycled => &self.recycled,
            Missed::Damaged => &self.damaged,
            Missed::NoCodec => &self.no_codec,
            Missed::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, opened: &ReadOnlyStats) -> ReadOnlyStats {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadOnlyStats {
            hits: now(&self.hits),
            misses: now(&self.misses),
            recycled: now(&self.recycled),
            damaged_reads: now(&self.damaged),
            codec_misses: now(&self.no_codec),
            read_errors: now(&self.failed),
            ..opened.clone()
        }
    }
}
