//! The last bytes of a sealed segment: a table with a row per frame, so that replay reads rows and not values.
//!
//! ```text
//!   ... frames | free | rows, 24 bytes each, in the order of the log | fixed part, 64 bytes | end of the segment
//!  row:    | hash u64 | target u64 | bytes u32 | kind u8 | flags u8 | key bytes u16 |
//!  fixed:  | magic u64 | crc u32 | rows u32 | cache id | number | incarnation | data end u32 | 0 u32 | stable | 0 |
//! ```
//! A trailer goes out only after everything it lists is on stable storage, so a good trailer proves its segment
//! stable. Every reservation is charged its row, so the trailer always fits. A segment without a good trailer is read
//! frame by frame instead.

use perennial_failpoints::fs::advise_large_pages;

use crate::frame::{FrameKind, u32_at, u64_at};
use crate::lsn::{Addr, Lsn, SegmentId, align_down, to_u32, to_usize};

const MAGIC: u64 = u64::from_le_bytes(*b"PRNLTRL\0");
/// Bytes of a row.
pub const ROW_BYTES: u64 = 24;
/// Bytes of the part after the rows.
pub const FIXED_BYTES: u64 = 64;

/// What a trailer says of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The key's hash.
    pub hash: u64,
    /// Where the entry can be read: the frame's own address, or its extent's.
    pub target: Addr,
    /// Bytes to read there, header included.
    pub bytes: u32,
    /// What the frame says.
    pub kind: FrameKind,
    /// The frame's flags.
    pub flags: u8,
    /// Bytes of the key.
    pub key_bytes: u16,
}

/// A sealed segment's trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The cache it belongs to.
    pub cache_id: u64,
    /// The segment's number.
    pub number: SegmentId,
    /// The incarnation of the segment's last life.
    pub incarnation: u64,
    /// Where the frames end.
    pub data_end: u32,
    /// The stable LSN when the trailer was written: at least the end of the segment's frames.
    pub stable: Lsn,
    /// A row per frame that has one, in the order of the log.
    pub rows: Vec<Row>,
}

/// Where the sectors of a trailer with `rows` rows begin: frames must end at or before.
#[must_use]
pub const fn zone_begin(rows: u64, segment_bytes: u64, sector: u64) -> u64 {
    align_down(
        segment_bytes.saturating_sub(FIXED_BYTES + rows * ROW_BYTES),
        sector,
    )
}

impl Trailer {
    /// The bytes from [`zone_begin`] to the end of the segment.
    ///
    /// # Panics
    /// When the rows do not fit in a segment of that size; the log charges each frame its row.
    #[must_use]
    pub fn encode(&self, segment_bytes: u64, sector: u64) -> Vec<u8> {
        let begin = zone_begin(self.rows.len() as u64, segment_bytes, sector);
        let mut bytes = vec![0; to_usize(segment_bytes - begin)];
        self.encode_into(&mut bytes);
        bytes
    }

    /// The same, into so many zeros.
    pub(crate) fn encode_into(&self, bytes: &mut [u8]) {
        let fixed_at = bytes.len() - to_usize(FIXED_BYTES);
        let rows_at = fixed_at - self.rows.len() * to_usize(ROW_BYTES);
        for (row, out) in self
            .rows
            .iter()
            .zip(bytes[rows_at..].chunks_exact_mut(to_usize(ROW_BYTES)))
        {
            out[..8].copy_from_slice(&row.hash.to_le_bytes());
            out[8..16].copy_from_slice(&row.target.to_bits().to_le_bytes());
            out[16..20].copy_from_slice(&row.bytes.to_le_bytes());
            out[20] = row.kind as u8;
            out[21] = row.flags;
            out[22..24].copy_from_slice(&row.key_bytes.to_le_bytes());
        }
        let fixed = &mut bytes[fixed_at..];
        fixed[..8].copy_from_slice(&MAGIC.to_le_bytes());
        fixed[12..16].copy_from_slice(&to_u32(self.rows.len()).to_le_bytes());
        fixed[16..24].copy_from_slice(&self.cache_id.to_le_bytes());
        fixed[24..32].copy_from_slice(&self.number.0.to_le_bytes());
        fixed[32..40].copy_from_slice(&self.incarnation.to_le_bytes());
        fixed[40..44].copy_from_slice(&self.data_end.to_le_bytes());
        fixed[48..56].copy_from_slice(&self.stable.0.to_le_bytes());
        let crc = crc_of(&bytes[rows_at..]);
        bytes[fixed_at + 8..fixed_at + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// How many rows the trailer claims to have, from the last [`FIXED_BYTES`] of a segment; not verified yet.
    #[must_use]
    pub fn claimed_rows(fixed: &[u8]) -> Option<u32> {
        let fixed = fixed.last_chunk::<{ to_usize(FIXED_BYTES) }>()?;
        (u64_at(fixed, 0) == MAGIC).then(|| u32_at(fixed, 12))
    }

    /// Reads the trailer from bytes that end where the segment ends; longer than the trailer is fine.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let count = to_usize(u64::from(Self::claimed_rows(bytes)?));
        let fixed_at = bytes.len() - to_usize(FIXED_BYTES);
        let rows_at = fixed_at.checked_sub(count.checked_mul(to_usize(ROW_BYTES))?)?;
        let mut rows = TrailerRows::with_capacity(count);
        rows.take(&bytes[rows_at..fixed_at])?;
        rows.finish(&bytes[fixed_at..])
    }
}

/// The rows of a trailer that is read piece by piece: memory for the bytes of all of them costs more than decoding them.
pub(crate) struct TrailerRows {
    rows: Vec<Row>,
    crc: crc32fast::Hasher,
}

impl TrailerRows {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let mut memory = Vec::with_capacity(rows);
        advise_large_pages(memory.spare_capacity_mut());
        Self {
            rows: memory,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// The next rows' bytes; `None` when one says what no row says.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<()> {
        debug_assert!(bytes.len().is_multiple_of(to_usize(ROW_BYTES)));
        self.crc.update(bytes);
        for row in bytes.chunks_exact(to_usize(ROW_BYTES)) {
            self.rows.push(Row::decode(row)?);
        }
        Some(())
    }

    /// The trailer, if its last [`FIXED_BYTES`] prove it.
    pub(crate) fn finish(mut self, fixed: &[u8]) -> Option<Trailer> {
        self.crc.update(&fixed[..8]);
        self.crc.update(&fixed[12..]);
        let good = u32_at(fixed, 8) == self.crc.finalize();
        good.then(|| Trailer {
            cache_id: u64_at(fixed, 16),
            number: SegmentId(u64_at(fixed, 24)),
            incarnation: u64_at(fixed, 32),
            data_end: u32_at(fixed, 40),
            stable: Lsn(u64_at(fixed, 48)),
            rows: self.rows,
        })
    }
}

impl Row {
    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            hash: u64_at(bytes, 0),
            target: Addr::from_bits(u64_at(bytes, 8)),
            bytes: u32_at(bytes, 16),
            kind: FrameKind::from_byte(bytes[20])?,
            flags: bytes[21],
            key_bytes: u16::from_le_bytes([bytes[22], bytes[23]]),
        })
    }
}

/// The crc of rows and fixed part, the crc field itself left out.
fn crc_of(rows_and_fixed: &[u8]) -> u32 {
    let crc_at = rows_and_fixed.len() - to_usize(FIXED_BYTES) + 8;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&rows_and_fixed[..crc_at]);
    hasher.update(&rows_and_fixed[crc_at + 4..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer(rows: u64) -> Trailer {
        let row = |i: u64| Row {
            hash: i * 31,
            target: Addr::log(Lsn(8192 * 9 + i * 16)),
            bytes: 48,
            kind: if i.is_multiple_of(2) {
                FrameKind::Put
            } else {
                FrameKind::Remove
            },
            flags: 0,
            key_bytes: 3,
        };
        Trailer {
            cache_id: 5,
            number: SegmentId(9),
            incarnation: 77,
            data_end: 4096,
            stable: Lsn(8192 * 10),
            rows: (0..rows).map(row).collect(),
        }
    }

    #[test]
    fn a_trailer_comes_back_as_it_was_written() {
        for rows in [0, 1, 7, 100] {
            let trailer = trailer(rows);
            let bytes = trailer.encode(8192, 512);
            assert_eq!(bytes.len() as u64 % 512, 0);
            assert_eq!(Trailer::decode(&bytes), Some(trailer));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let trailer = trailer(3);
        let whole = trailer.encode(8192, 512);
        let bytes = &whole[whole.len() - to_usize(FIXED_BYTES + 3 * ROW_BYTES)..];
        for bit in (0..bytes.len() * 8).step_by(crate::STEP) {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&bad), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Trailer::decode(&bytes[..len]), None, "prefix {len}");
            assert_eq!(
                Trailer::decode(&bytes[bytes.len() - len..]),
                None,
                "suffix {len}"
            );
        }
    }

    #[test]
    fn a_trailer_begins_on_a_sector_before_its_rows() {
        assert_eq!(zone_begin(0, 8192, 512), 7680);
        assert_eq!(zone_begin(18, 8192, 512), 7680);
        assert_eq!(zone_begin(19, 8192, 512), 7168);
        assert_eq!(zone_begin(1_000, 8192, 512), 0);
        let whole = trailer(3).encode(8192, 512);
        assert_eq!(Trailer::claimed_rows(&whole), Some(3));
        assert_eq!(Trailer::claimed_rows(&whole[1..]), Some(3));
        assert_eq!(Trailer::claimed_rows(&whole[..whole.len() - 1]), None);
        assert_eq!(Trailer::claimed_rows(&whole[whole.len() - 63..]), None);
    }

    #[test]
    fn a_hostile_row_count_asks_for_nothing() {
        let mut bytes = trailer(0).encode(8192, 512);
        let at = bytes.len() - to_usize(FIXED_BYTES) + 12;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Trailer::decode(&bytes), None);
    }
}
