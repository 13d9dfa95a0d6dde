//! The cache without value bytes: its policy, an index, and which entries each segment holds.
//!
//! Bytes are charged as the log charges them: header, chunk table, alignment, trailer row, and each segment's header zone and
//! trailer. Marks and checkpoints are left out.

mod engine;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use engine::Engine;

use std::hash::Hasher;

use perennial_wal::FrameSpec;
use perennial_wal::frame::FrameKind;
use xxhash_rust::xxh3::xxh3_64;

/// A trailer's row for a frame, and its fixed part: docs/format.md.
const ROW_BYTES: u64 = 24;
const TRAILER_BYTES: u64 = 40;
/// Of segments below 64 KiB. Larger ones have a zone of 4096 bytes, which would be a twentieth of the segments of a small
/// trace's cache and is next to nothing of the caches that they stand for.
const HEADER_ZONE_BYTES: u64 = 1024;
const KEY_BYTES: u16 = 8;

/// The sizes of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) segments: u64,
    pub(crate) segment_bytes: u64,
}

impl Shape {
    /// Bytes of a segment that frames and their rows may take.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.segment_bytes
            .saturating_sub(HEADER_ZONE_BYTES + TRAILER_BYTES)
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

pub(crate) fn hash(key: u64) -> u64 {
    xxh3_64(&key.to_le_bytes())
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
