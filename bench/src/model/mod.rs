//! The cache without value bytes: its policy, an index, and which entries each segment holds.
//!
//! Bytes are charged as the log charges them: header, chunk table, alignment, trailer row, each segment's header zone and
//! trailer, checkpoints and `Move` frames. Marks are left out.

mod checkpoints;
mod engine;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use engine::Engine;

use std::hash::Hasher;

use perennial_wal::frame::FrameKind;
use perennial_wal::{FrameSpec, Geometry, align_down};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::steady::HASH_SEED;

/// A trailer's row for a frame, and its fixed part: `docs/format.md`.
pub(crate) const ROW_BYTES: u64 = 24;
const TRAILER_BYTES: u64 = 40;
const KEY_BYTES: u16 = 8;

/// The sizes of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
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
}

/// What an entry takes of its segment.
pub(crate) fn charge(hash: u64, value_bytes: u32) -> u64 {
    let spec = FrameSpec {
        kind: FrameKind::Put,
        hash,
        key_bytes: KEY_BYTES,
        value_bytes,
        expiry: 0,
        flags: 0,
    };
    spec.header().frame_bytes(1) + ROW_BYTES
}

/// As the cache of a replay hashes it.
pub(crate) fn hash(key: u64) -> u64 {
    let hash = xxh3_128_with_seed(&key.to_le_bytes(), HASH_SEED);
    let [low @ .., _, _, _, _, _, _, _, _] = hash.to_le_bytes();
    u64::from_le_bytes(low)
}

/// Hashes are hashes already.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
