//! What a `BlockCache` counts and times.

use std::fmt;

use crate::latency::{Latency, Times};
use crate::stats::Counter;

macro_rules! block_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        /// A picture of a `BlockCache` at one moment. All counts are since it was made.
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
        #[non_exhaustive]
        pub struct BlockStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Fetches under way, versions and blocks.
            pub in_flight: u64,
            /// Entries of the cache below, blocks and what else is in it.
            pub entries: u64,
            /// Bytes of all its files.
            pub file_bytes: u64,
            /// Entries that it dropped to make room.
            pub evicted: u64,
            /// Whole reads.
            pub get: Latency,
            /// Looks for one block in the cache, found or not.
            pub disk_read: Latency,
            /// From when a fetch was queued to when a thread took it.
            pub queue_wait: Latency,
            /// Reads of the origin, with the question whether the version is still the same.
            pub fill: Latency,
            /// Writes of one block to the cache.
            pub disk_write: Latency,
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> BlockStats {
                BlockStats {
                    $($name: self.$name.get(),)*
                    ..BlockStats::default()
                }
            }
        }
    };
}

block_counters! {
    /// Reads.
    reads,
    /// Of these, reads of more than one block.
    multi_block_reads,
    /// Reads all of whose blocks were in the cache.
    full_hits,
    /// Reads some of whose blocks were.
    partial_hits,
    /// Reads none of whose blocks were.
    no_hits,
    /// Blocks served from the cache.
    block_hits,
    /// Blocks that were not there.
    block_misses,
    /// Of these, blocks that another read was fetching already.
    joined,
    /// Bytes of reads served from the cache.
    cache_bytes,
    /// Bytes that the origin gave.
    origin_bytes,
    /// Reads of the origin.
    origin_reads,
    /// Of these, failed, short ones and panics among them.
    origin_failures,
    /// Blocks fetched.
    fetched_blocks,
    /// Blocks fetched and kept.
    filled_blocks,
    /// Blocks fetched that were to be kept and were not: no room, not admitted, removed meanwhile, or the cache failed.
    failed_fills,
    /// Looks into the cache that failed; the origin was asked instead.
    cache_failures,
    /// Blocks of the cache that had not the length they should; they were fetched again.
    bad_blocks,
    /// Questions to the origin for version and length.
    heads,
    /// Of these, failed.
    head_failures,
    /// Reads that waited for a question that was already under way.
    joined_heads,
    /// Times that an object had another version than before.
    changes,
    /// Blocks of replaced versions that were removed.
    stale_blocks_removed,
    /// Reads that were cancelled.
    cancelled,
    /// Blocks fetched ahead of a scan.
    readahead_blocks,
    /// Times that a scan's next blocks were not fetched ahead, for enough was waiting.
    readahead_dropped,
    /// Fetches and questions that were not begun, or ended early, for nobody waited any more.
    unwanted_fetches,
    /// Blocks that came, or would have, when all who waited for them had left: who asked meanwhile fetched them once more.
    left_blocks,
}

impl BlockStats {
    /// Of the blocks read those that were in the cache, 0 to 1.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        ratio(self.block_hits, self.block_hits + self.block_misses)
    }

    /// Blocks for each read of the origin.
    #[must_use]
    pub fn coalescing(&self) -> f64 {
        ratio(self.fetched_blocks, self.origin_reads)
    }
}

impl fmt::Display for BlockStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        writeln!(
            f,
            "{} reads: {} full hits, {} partial, {} none; {} MiB from the cache, {} MiB from the origin in {} reads",
            self.reads,
            self.full_hits,
            self.partial_hits,
            self.no_hits,
            mib(self.cache_bytes),
            mib(self.origin_bytes),
            self.origin_reads
        )?;
        writeln!(
            f,
            "{} blocks filled, {} not kept, {} joined; {} origin failures, {} changes of version",
            self.filled_blocks, self.failed_fills, self.joined, self.origin_failures, self.changes
        )?;
        write!(f, "get {}; fill {}", self.get, self.fill)
    }
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectStats {
    /// Version and length that are remembered.
    pub head: crate::blocks::Head,
    /// Blocks it has.
    pub total_blocks: u64,
    /// Of these, blocks that are in the cache.
    pub cached_blocks: u64,
    /// Blocks served from the cache since the object is remembered.
    pub block_hits: u64,
    /// Blocks that were not there.
    pub block_misses: u64,
}

impl ObjectStats {
    /// Of the blocks read those that were in the cache, 0 to 1.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        ratio(self.block_hits, self.block_hits + self.block_misses)
    }

    /// Of its blocks those that are in the cache, 0 to 1.
    #[must_use]
    pub fn fill_rate(&self) -> f64 {
        ratio(self.cached_blocks, self.total_blocks)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio, to some digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct AllTimes {
    pub(super) get: Times,
    pub(super) disk_read: Times,
    pub(super) queue_wait: Times,
    pub(super) fill: Times,
    pub(super) disk_write: Times,
}
