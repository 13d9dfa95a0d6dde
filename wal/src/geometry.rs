//! The log's fixed sizes, and which life appends to it.

use crate::frame::{HEADER_BYTES, Seed};
use crate::lsn::{ALIGN, Lsn};
use crate::segment::{FIXED_BYTES, ROW_BYTES, SegmentHeader};

/// The most bytes a mark takes: it grows by 16 where it would leave a gap too small for a filler frame.
pub(crate) const MARK_BYTES: u64 = HEADER_BYTES + ALIGN;

/// The log's fixed sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of every segment file.
    pub segment_bytes: u64,
    /// The unit of writing: 512 or 4096.
    pub sector: u64,
}

impl Geometry {
    /// Where the frames of a segment begin.
    #[must_use]
    pub const fn data_begin(&self) -> u64 {
        SegmentHeader::zone_bytes(self.sector)
    }

    /// The largest frame, extents included, that fits in an empty segment together with its reference, marks and rows.
    #[must_use]
    pub const fn max_frame(&self) -> u64 {
        let around =
            self.data_begin() + FIXED_BYTES + 3 * self.sector + 4 * MARK_BYTES + 2 * ROW_BYTES;
        self.segment_bytes.saturating_sub(around) / ALIGN * ALIGN
    }
}

/// Which life of which cache appends to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The cache's random number.
    pub cache_id: u64,
    /// This life's random number.
    pub incarnation: u64,
}

impl Life {
    /// The crc seed of a frame that this life writes at `lsn`.
    #[must_use]
    #[inline]
    pub fn seed_of(&self, lsn: Lsn, geometry: &Geometry) -> Seed {
        Seed::new(
            self.cache_id,
            lsn.segment(geometry.segment_bytes).0,
            self.incarnation,
        )
    }
}
