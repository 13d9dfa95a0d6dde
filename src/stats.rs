//! What the cache counts.

use std::fmt;

use crate::health::{Health, HealthState};
use crate::sync::{AtomicU64, Ordering};
use crate::times::Timings;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The running cache's counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// A picture of the cache at one moment. All counts are since the cache was opened.
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            /// Reads answered from the tail.
            pub hits_tail: u64,
            /// Reads answered from the memory tier.
            pub hits_memory: u64,
            /// Reads answered from a segment.
            pub hits_disk: u64,
            /// Reads that found nothing.
            pub misses: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// How long operations took.
            pub times: Timings,
            /// What state it is in, why, and since when.
            pub health: Health,
            /// Entries in the index. While a large index is still being loaded (`entries_to_load`) some that were replaced or
            /// removed shortly before the open may be counted, and some that were new then not.
            pub entries: u64,
            /// Of these, entries that are not loaded yet: a lookup loads them, and a thread of its own does meanwhile.
            pub entries_to_load: u64,
            /// Entries that are forgotten because their part of the checkpoint could not be read when it was to be loaded.
            pub lost_in_loading: u64,
            /// Of these, pinned ones.
            pub pinned_entries: u64,
            /// What they count for against `Options::pinned_percent`, in bytes.
            pub pinned_bytes: u64,
            /// Log segments in use, prepared ones included.
            pub segments: u64,
            /// Segment files that may exist at most.
            pub max_segments: u64,
            /// Bytes of all files in the cache directory.
            pub file_bytes: u64,
            /// The configured capacity in bytes.
            pub capacity_bytes: u64,
            /// Bytes of memory for index and filter.
            pub index_bytes: u64,
            /// Reads, hits and misses, each of which asks a filter first.
            pub bloom_probes: u64,
            /// Of these, answered by the filter: the key was not there.
            pub bloom_negatives: u64,
            /// Of these, let through for a key that was not there.
            pub bloom_false_positives: u64,
            /// Filters of index shards built anew, because a tenth of their keys was gone or they let too much through.
            pub bloom_rebuilds: u64,
            /// Entries that the checkpoint brought back at open.
            pub recovered_from_checkpoint: u64,
            /// Operations replayed at open.
            pub replayed: u64,
            /// Operations found at open that had not returned when the process died.
            pub holes: u64,
            /// Damaged operations found at open; their keys were forgotten.
            pub damaged: u64,
            /// Times at open that everything older had to be forgotten.
            pub forgotten_all: u64,
            /// Files in the directory that look like segments and are not this cache's. They are left alone.
            pub quarantined_files: u64,
            /// How long the open took, in microseconds.
            pub open_us: u64,
        }

        impl Counters {
            /// The counters as they are, and everything else as in `rest`.
            pub(crate) fn snapshot(&self, rest: &Stats) -> Stats {
                Stats { $($name: self.$name.get(),)* ..rest.clone() }
            }
        }
    };
}

counters! {
    /// Entries stored.
    inserts,
    /// Bytes of keys and values stored.
    insert_bytes,
    /// Bytes of these keys and values as they are stored: compressed, where that is on.
    stored_bytes,
    /// Inserts and removes that are in memory alone, for the log has failed ([`OnIoError::MemoryOnly`](crate::OnIoError::MemoryOnly)).
    unlogged,
    /// Reads answered from what is in memory alone.
    hits_unlogged,
    /// Durable calls and flushes that returned an error.
    failed_acks,
    /// Entries not kept.
    rejected,
    /// Removes.
    removes,
    /// Entries that a read found when their time was over, and pinned ones that had ended when their share was needed. Each
    /// is removed.
    expired,
    /// Those of them that the log had no room for: a crash may bring them back, with their end.
    expired_unlogged,
    /// Entries dropped to make room.
    evicted,
    /// Entries that [`Cache::clear`](crate::Cache::clear) dropped.
    cleared,
    /// Pinned entries that went with their segment: their time was over, or they were damaged, or the capacity is smaller
    /// now, or the disk is full.
    pinned_lost,
    /// Entries copied instead of dropped when their segment was reclaimed.
    moved,
    /// Bytes of these copies.
    moved_bytes,
    /// Segments reclaimed to make room.
    reclaimed_segments,
    /// Bytes that reclaim read and wrote to keep what is worth it.
    reclaim_bytes,
    /// Times that reclaim waited for its budget (`Options::reclaim_bytes_per_second`).
    reclaim_waits,
    /// How long it waited, in microseconds.
    reclaim_wait_us,
    /// Times that it went on over its budget, for somebody needed the room.
    reclaim_hurried,
    /// Fetches made by `get_or_fetch`.
    fetches,
    /// Callers of `get_or_fetch` who waited for another's fetch.
    fetch_waits,
    /// Frames read that did not prove themselves; each is a miss.
    damaged_reads,
    /// Reads of values compressed by a codec that this build does not have; each is a miss, and the entry stays.
    codec_misses,
    /// Reads that the device refused; each is a miss.
    read_errors,
    /// Checkpoints written.
    checkpoints,
    /// Bytes of checkpoints written.
    checkpoint_bytes,
}

impl Counters {
    /// About how many operations a replay would come upon. The index alone counts plain inserts.
    pub(crate) fn logged_operations(&self, plain_inserts: u64) -> u64 {
        let logged = [
            &self.inserts,
            &self.removes,
            &self.rejected,
            &self.expired,
            &self.moved,
        ];
        logged.into_iter().map(Counter::get).sum::<u64>() + plain_inserts
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stats {
    /// Reads that found something, in all places.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits_tail + self.hits_memory + self.hits_disk + self.hits_unlogged
    }
}

/// Ratios.
#[expect(clippy::cast_precision_loss, reason = "a ratio, to some digits")]
impl Stats {
    /// How often the filter let a lookup through for a key that was not there: of all lookups of such keys, 0 to 1. What
    /// [`Options::bloom_fp_rate`](crate::Options::bloom_fp_rate) promises. 0 as long as nobody has asked for one.
    #[must_use]
    pub fn bloom_observed_fp_rate(&self) -> f64 {
        let absent = self.bloom_negatives + self.bloom_false_positives;
        self.bloom_false_positives as f64 / absent.max(1) as f64
    }

    /// Bytes of memory that index and filter take for each entry. 0 without entries.
    #[must_use]
    pub fn index_bytes_per_entry(&self) -> f64 {
        if self.entries == 0 {
            return 0.0;
        }
        self.index_bytes as f64 / self.entries as f64
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        writeln!(
            f,
            "{} entries in {} of {} segments, {} of {} MiB on disk, {} MiB of index",
            self.entries,
            self.segments,
            self.max_segments,
            mib(self.file_bytes),
            mib(self.capacity_bytes),
            mib(self.index_bytes)
        )?;
        writeln!(
            f,
            "{} hits ({} tail, {} memory, {} disk), {} misses; the filter alone answered {} lookups",
            self.hits(),
            self.hits_tail,
            self.hits_memory,
            self.hits_disk,
            self.misses,
            self.bloom_negatives
        )?;
        writeln!(
            f,
            "{} inserts, {} removes, {} evicted with {} segments, {} damaged reads, {} read errors",
            self.inserts,
            self.removes,
            self.evicted,
            self.reclaimed_segments,
            self.damaged_reads,
            self.read_errors
        )?;
        if self.health.state != HealthState::Healthy {
            writeln!(f, "{}", self.health)?;
        }
        write!(
            f,
            "opened in {} us: {} entries from the checkpoint, {} operations replayed, {} holes, {} damaged",
            self.open_us, self.recovered_from_checkpoint, self.replayed, self.holes, self.damaged
        )
    }
}
