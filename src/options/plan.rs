//! The options checked, and what follows from them.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use perennial_wal::{Geometry, TAIL_HEAD_BYTES, TailMemory, align_down};

use super::{Eviction, MIB, Options, Tail, WhenFull, bounds};
use crate::admission::Admission;
use crate::compress::Compression;
use crate::error::{Error, Result};
use crate::evict::Listener;
use crate::health::{Ear, OnIoError};
use crate::index::IndexGeometry;
use crate::pace;
use crate::reclaim::{Clock, Fifo, Policy, S3Merge, S3Options};

const KIB: u64 = 1 << 10;
/// Fewer segments leave no room between what is written, what is read and what is reclaimed.
pub(crate) const MIN_SEGMENTS: u64 = 6;
/// The default has at least so many: what is open, prepared or free is then a small part.
const DEFAULT_SEGMENTS: u64 = 32;
/// From so much on segments are as large as they can be.
const LARGE_CACHE: u64 = 8 << 30;
/// Of the capacity, and of the segments beyond the least there can be.
const MAX_PINNED_PERCENT: u8 = 35;
/// Kept free for the identity file and its replacement.
pub(crate) const IDENTITY_BYTES: u64 = 4 * KIB;

impl Options {
    pub(crate) fn plan(&self) -> Result<Plan> {
        let capacity = self.capacity_bytes;
        bounds::check_most(capacity)?;
        if let Some(asked) = self
            .tail_bytes
            .filter(|asked| !(4 * KIB..=1 << 30).contains(asked))
        {
            let why = format!("tail_bytes is {asked}; choose from 4 KiB to 1 GiB");
            return Err(Error::invalid(why));
        }
        pace::check(self.reclaim_bytes_per_second)?;
        let ring_bytes = align_down(
            self.tail_bytes.unwrap_or((64 * MIB).min(capacity / 8)),
            4096,
        )
        .max(4096);
        let tail_in_capacity = self.tail == Tail::Mapped && self.tail_dir.is_none();
        let fixed = IDENTITY_BYTES
            + if tail_in_capacity {
                TAIL_HEAD_BYTES + ring_bytes
            } else {
                0
            };
        let segment_bytes = match self.segment_bytes {
            Some(bytes) => bytes,
            None => default_segment_bytes(capacity, capacity.saturating_sub(fixed)),
        };
        if !Geometry::is_segment_size(segment_bytes) {
            let why = format!(
                "segment_bytes is {segment_bytes}; choose a multiple of 4096 from 8 KiB to 64 MiB"
            );
            return Err(Error::invalid(why));
        }
        let plan = Plan {
            capacity_bytes: capacity,
            fixed_bytes: fixed,
            geometry: Geometry::of(segment_bytes),
            segment_bytes_asked: self.segment_bytes,
            ring_bytes,
            tail: self.tail,
            tail_dir: self.absolute_tail_dir()?,
            memory_tier_bytes: self.memory_tier_bytes,
            memory_tier_max_value_bytes: self.memory_tier_max_value_bytes,
            index: self.index_geometry()?,
            checkpoint_every_bytes: self.checkpoint_every_bytes.unwrap_or(capacity / 4),
            load_at_open_entries: self.load_at_open_entries,
            flush_every: self.flush_every,
            background: self.background,
            eviction: self.eviction,
            promote_at: self.promote_at,
            log_percent: self.log_percent,
            placement_duel: self.placement_duel,
            listener: self.listener.clone(),
            admission: self.admission.clone(),
            when_full: self.when_full,
            pinned_percent: self.pinned_percent,
            compression: self.compression,
            reclaim_bytes_per_second: self.reclaim_bytes_per_second,
            on_io_error: self.on_io_error,
            on_health: self.on_health.clone(),
        };
        plan.check()?;
        Ok(plan)
    }

    /// The identity names it, and the next open may come from another working directory.
    fn absolute_tail_dir(&self) -> Result<Option<PathBuf>> {
        let dir = self.tail_dir.as_deref().map(std::path::absolute);
        dir.transpose()
            .map_err(|error| Error::invalid(format!("tail_dir cannot be made absolute: {error}")))
    }

    fn index_geometry(&self) -> Result<IndexGeometry> {
        let shards = self
            .index_shards
            .unwrap_or_else(|| default_shards(self.capacity_bytes));
        if !shards.is_power_of_two() || shards > 4096 {
            return Err(Error::invalid(format!(
                "index_shards is {shards}; choose a power of two from 1 to 4096"
            )));
        }
        if !(0.0001..=0.5).contains(&self.bloom_fp_rate) {
            let why = format!(
                "bloom_fp_rate is {}; choose one from 0.0001 to 0.5",
                self.bloom_fp_rate
            );
            return Err(Error::invalid(why));
        }
        let shards_log2 = u8::try_from(shards.ilog2()).unwrap_or(12);
        Ok(IndexGeometry {
            shards_log2,
            identity_bits: identity_bits(self.capacity_bytes),
            fp_rate: self.bloom_fp_rate,
        })
    }
}

/// The largest power of two that gives enough segments in so many bytes of the capacity. At an open up to one of them is read frame by frame, and written
/// again: half as much where that is what takes longest, and there are not yet many headers to read.
fn default_segment_bytes(capacity: u64, bytes: u64) -> u64 {
    let most = if capacity < LARGE_CACHE { 32 } else { 64 };
    let each = (bytes / DEFAULT_SEGMENTS).clamp(8 * KIB, most * MIB);
    1 << each.ilog2()
}

fn default_shards(capacity: u64) -> u32 {
    let shards = (capacity / (4 * MIB)).clamp(1, 256);
    1 << shards.ilog2()
}

/// Bits of a key's hash that the index tells keys apart by: 40 more than it takes to number entries of 512 bytes, so that
/// two live keys of one identity are rare (hole 35 in `docs/recovery.md`). At least 46, which every slot has anyway.
fn identity_bits(capacity: u64) -> u8 {
    let numbering = (capacity / 512).max(1).ilog2();
    u8::try_from((40 + numbering).clamp(46, 64)).unwrap_or(64)
}

/// Options, checked and worked out.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) capacity_bytes: u64,
    /// Bytes of the capacity that are not segments.
    pub(crate) fixed_bytes: u64,
    pub(crate) geometry: Geometry,
    /// What the options say of the segments' size.
    pub(crate) segment_bytes_asked: Option<u64>,
    pub(crate) ring_bytes: u64,
    pub(crate) tail: Tail,
    pub(crate) tail_dir: Option<PathBuf>,
    pub(crate) memory_tier_bytes: u64,
    pub(crate) memory_tier_max_value_bytes: u64,
    pub(crate) index: IndexGeometry,
    pub(crate) checkpoint_every_bytes: u64,
    pub(crate) load_at_open_entries: u64,
    pub(crate) flush_every: Option<Duration>,
    pub(crate) background: bool,
    pub(crate) eviction: Eviction,
    pub(crate) promote_at: u8,
    pub(crate) log_percent: u8,
    pub(crate) placement_duel: bool,
    pub(crate) listener: Option<Listener>,
    pub(crate) admission: Option<Arc<dyn Admission>>,
    pub(crate) when_full: WhenFull,
    pub(crate) pinned_percent: u8,
    pub(crate) compression: Compression,
    pub(crate) reclaim_bytes_per_second: Option<u64>,
    pub(crate) on_io_error: OnIoError,
    pub(crate) on_health: Option<Ear>,
}

impl Plan {
    /// A tail elsewhere is not counted in the capacity: one in the cache's own directory would exceed it.
    pub(crate) fn refuse_tail_beside(&self, cache: &Path) -> Result<()> {
        let cache = std::path::absolute(cache).ok();
        if self.tail_dir.is_some() && self.tail_dir == cache {
            return Err(Error::invalid(
                "tail_dir is the cache's own directory; leave it out",
            ));
        }
        Ok(())
    }

    /// How many threads read the log at open: without threads of the cache's own, only the one that opens it. Twice as many as
    /// can run, for half of the time each waits for the device.
    pub(crate) fn replay_threads(&self) -> usize {
        if self.background {
            let running = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            (2 * running).min(8)
        } else {
            1
        }
    }

    pub(crate) fn policy(&self) -> Box<dyn Policy> {
        match self.eviction {
            Eviction::Fifo => Box::new(Fifo),
            Eviction::Clock => Box::new(Clock::default()),
            Eviction::S3Merge => Box::new(S3Merge::new(S3Options {
                log_percent: u64::from(self.log_percent),
                promote: self.promote_at,
                duel: self.placement_duel,
                ..S3Options::new(self.geometry.segment_bytes)
            })),
        }
    }

    /// Segment files that fit beside `foreign` bytes of other files.
    pub(crate) fn max_segments(&self, foreign: u64) -> u64 {
        let fixed = if perennial_failpoints::planted!("tail-not-in-the-capacity") {
            0
        } else {
            self.fixed_bytes
        };
        (self.capacity_bytes.saturating_sub(fixed + foreign) / self.geometry.segment_bytes)
            .max(MIN_SEGMENTS)
    }

    /// What pinned entries may take, of `segments` in all.
    ///
    /// They take up to half again as much and three segments more: a third of what lies beyond the least that a cache works
    /// with leaves the log its share.
    pub(crate) fn pinned_bytes(&self, segments: u64) -> u64 {
        let share = self.capacity_bytes / 100 * u64::from(self.pinned_percent);
        let beyond = segments.saturating_sub(MIN_SEGMENTS) * self.geometry.segment_bytes;
        share.min(beyond / 100 * u64::from(MAX_PINNED_PERCENT))
    }

    /// What a cache with these segments needs at least.
    pub(super) fn least_capacity(&self) -> u64 {
        self.fixed_bytes + MIN_SEGMENTS * self.geometry.segment_bytes
    }

    fn too_small(&self) -> Error {
        let (capacity, least) = (self.capacity_bytes, self.least_capacity());
        Error::invalid(format!(
            "capacity_bytes is {capacity}; with these segments and this tail choose at least {least} bytes"
        ))
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.check_growth()?;
        let least_ring = TailMemory::min_ring_bytes(self.geometry.sector);
        if self.ring_bytes < least_ring || self.ring_bytes > 1 << 30 {
            let ring = self.ring_bytes;
            let why = format!(
                "tail_bytes is {ring}; with segments of this size choose from {least_ring} bytes to 1 GiB"
            );
            return Err(Error::invalid(why));
        }
        if self.capacity_bytes < MIN_SEGMENTS * self.geometry.segment_bytes {
            return Err(self.too_small());
        }
        if self.ring_bytes > self.capacity_bytes / 2 {
            let (ring, capacity) = (self.ring_bytes, self.capacity_bytes);
            return Err(Error::invalid(format!(
                "tail_bytes is {ring}, more than half of the capacity of {capacity} bytes; choose less"
            )));
        }
        if self.ring_bytes < self.capacity_bytes / bounds::CAPACITY_PER_RING {
            let why = format!(
                "tail_bytes is {}; choose at least {} bytes, a 65536th of the capacity, for the head of a checkpoint",
                self.ring_bytes,
                self.capacity_bytes.div_ceil(64 * KIB)
            );
            return Err(Error::invalid(why));
        }
        if self.capacity_bytes < self.least_capacity() {
            return Err(self.too_small());
        }
        if self.checkpoint_every_bytes < 4 * KIB {
            return Err(Error::invalid(format!(
                "checkpoint_every_bytes is {}; choose at least 4 KiB",
                self.checkpoint_every_bytes
            )));
        }
        if self
            .flush_every
            .is_some_and(|every| every < Duration::from_millis(1))
        {
            return Err(Error::invalid(
                "flush_every is less than a millisecond; choose at least that",
            ));
        }
        if !(1..=2).contains(&self.promote_at) {
            let why = format!("promote_at is {}; choose 1 or 2", self.promote_at);
            return Err(Error::invalid(why));
        }
        if !(10..=90).contains(&self.log_percent) {
            let why = format!("log_percent is {}; choose from 10 to 90", self.log_percent);
            return Err(Error::invalid(why));
        }
        self.compression.check()?;
        if self.pinned_percent > MAX_PINNED_PERCENT {
            let why = format!(
                "pinned_percent is {}; choose from 0 to {MAX_PINNED_PERCENT}",
                self.pinned_percent
            );
            return Err(Error::invalid(why));
        }
        if self
            .tail_dir
            .as_ref()
            .is_some_and(|dir| dir.to_str().is_none())
        {
            return Err(Error::invalid(
                "tail_dir is not UTF-8; choose a path that is",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_enough_segments() {
        for shift in 20..42 {
            let plan = Options::new().capacity_bytes(1 << shift).plan().unwrap();
            assert!(
                plan.max_segments(0) >= DEFAULT_SEGMENTS,
                "2^{shift}: {}",
                plan.max_segments(0)
            );
        }
    }

    #[test]
    fn the_smallest_cache_fits_in_64_kib() {
        let options = Options::new()
            .capacity_bytes(64 << 10)
            .segment_bytes(8 << 10)
            .tail_bytes(4 << 10);
        assert_eq!(options.plan().unwrap().max_segments(0), MIN_SEGMENTS);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_limit() {
        let refused = |options: Options| options.plan().unwrap_err().to_string();
        assert!(refused(Options::new().capacity_bytes(1000)).contains("at least"));
        assert!(refused(Options::new().segment_bytes((3 << 20) + 512)).contains("4096"));
        assert!(refused(Options::new().segment_bytes(4 << 10)).contains("8 KiB"));
        assert!(refused(Options::new().tail_bytes(1 << 30)).contains("half"));
        assert!(refused(Options::new().index_shards(3)).contains("power of two"));
        assert!(refused(Options::new().bloom_fp_rate(0.9)).contains("0.5"));
        assert!(refused(Options::new().flush_every(Duration::ZERO)).contains("millisecond"));
    }
}
