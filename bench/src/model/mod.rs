//! The cache without value bytes: its policy, an index, and which entries each segment holds.
//!
//! ```text
//!   request ─ index ─ insert ─ DryLog: io buffers, marks, the ring's window, segments
//!                        └─ a segment was entered ─ upkeep: make segments ─ reclaim ─ pack, Move frames │ checkpoints
//! ```
//! Step by step what `src/upkeep.rs`, `packing.rs` and `checkpoint.rs` do, over the log's own layout (`wal/src/dry.rs`), with all
//! upkeep inline: each frame, mark and trailer row lies in the segment, and at the place, where the cache has it. `perennial-bench
//! agree` holds the two against each other.

mod checkpoints;
mod engine;
mod index;
mod packing;
#[cfg(test)]
mod tests;
mod upkeep;

pub(crate) use engine::Engine;
pub(crate) use index::AsIs;

use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::segment::ROW_BYTES as WAL_ROW_BYTES;
use perennial_wal::{FrameSpec, Geometry, align_down};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::steady::HASH_SEED;

/// A trailer's row for a frame.
pub(crate) const ROW_BYTES: u64 = WAL_ROW_BYTES;
/// A trailer's fixed part: `docs/format.md`.
const TRAILER_BYTES: u64 = 40;
const KEY_BYTES: u16 = 8;

/// The sizes of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) capacity: u64,
    pub(crate) segments: u64,
    pub(crate) segment_bytes: u64,
}

/// For the identity file.
const IDENTITY_BYTES: u64 = 4096;

impl Shape {
    /// What a cache of `capacity` bytes makes of about so many segments, or of ones of this size.
    pub(crate) fn within(capacity: u64, segments: u64, segment_bytes: Option<u64>) -> Self {
        let usable = capacity.saturating_sub(IDENTITY_BYTES);
        let of = |segment_bytes| Self {
            capacity,
            segments: usable / segment_bytes,
            segment_bytes,
        };
        // Sizes are multiples of 4096. Of those that give a few segments more, the one that leaves least over.
        let even = align_down(usable / segments.max(1), 4096).clamp(8 << 10, 64 << 20);
        let smaller = (0..=even / 8 / 4096).map(|n| of((even - n * 4096).max(8 << 10)));
        let best = smaller.max_by_key(|shape| shape.segments * shape.data_bytes());
        segment_bytes.map_or_else(|| best.unwrap_or(of(even)), of)
    }

    /// Bytes of a segment that frames and their rows may take.
    pub(crate) fn data_bytes(&self) -> u64 {
        let zone = Geometry::of(self.segment_bytes).data_begin();
        self.segment_bytes.saturating_sub(zone + TRAILER_BYTES)
    }

    /// Bytes of the ring.
    pub(crate) fn ring_bytes(&self) -> u64 {
        align_down(self.capacity / 2, 4096).clamp(4 << 10, 8 << 20)
    }

    /// Shards of the index, as a power of two: one for each 4 MiB, at most 64.
    pub(crate) fn shards_log2(&self) -> u32 {
        (self.capacity / (4 << 20)).clamp(1, 64).ilog2()
    }
}

/// Segments that a cache holds ready beyond the one that a replay leaves free: two are prepared for the log, and one is for
/// survivors. They are nothing of a cache with thousands of segments, for which those of a trace stand.
pub(crate) fn held_ready(needs_spare: bool) -> u64 {
    1 + u64::from(needs_spare)
}

fn put_spec(hash: u64, value_bytes: u32) -> FrameSpec {
    FrameSpec {
        kind: FrameKind::Put,
        hash,
        key_bytes: KEY_BYTES,
        value_bytes,
        expiry: 0,
        flags: 0,
    }
}

/// Bytes of an entry's frame, without the alignment.
fn read_bytes(header: &FrameHeader) -> u64 {
    HEADER_BYTES + header.body_bytes()
}

/// What an entry takes of its segment.
pub(crate) fn charge(hash: u64, value_bytes: u32) -> u64 {
    put_spec(hash, value_bytes).header().frame_bytes(1) + ROW_BYTES
}

/// As the cache of a replay hashes it.
pub(crate) fn hash(key: u64) -> u64 {
    let hash = xxh3_128_with_seed(&key.to_le_bytes(), HASH_SEED);
    let [low @ .., _, _, _, _, _, _, _, _] = hash.to_le_bytes();
    u64::from_le_bytes(low)
}
