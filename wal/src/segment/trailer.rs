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

use std::convert::Infallible;

use crate::aligned::AlignedBuf;
use crate::frame::{FrameKind, u32_at, u64_at};
use crate::lsn::{Addr, Lsn, SegmentId, align_down, to_u32, to_usize};

const MAGIC: u64 = u64::from_le_bytes(*b"PRNLTRL\0");
/// Bytes of a row.
pub const ROW_BYTES: u64 = 24;
/// Bytes of the part after the rows.
pub const FIXED_BYTES: u64 = 64;

/// What a trailer says of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        let mut bytes = Vec::new();
        let all = self.encode_in_pieces(segment_bytes, sector, |piece, _| {
            bytes.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        });
        all.unwrap_or_else(|never| match never {});
        bytes
    }

    /// The same, in pieces that begin and end where sectors do, each given to `put` with its place in the segment: the
    /// trailer of a segment of small entries has ten megabytes.
    pub(crate) fn encode_in_pieces<E>(
        &self,
        segment_bytes: u64,
        sector: u64,
        put: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let rows = self.rows.len() as u64;
        let begin = zone_begin(rows, segment_bytes, sector);
        let padding = segment_bytes - begin - FIXED_BYTES - rows * ROW_BYTES;
        let bytes = (segment_bytes - begin).min(PIECE_BYTES.max(sector));
        let mut pieces = Pieces {
            piece: AlignedBuf::with_capacity(to_usize(bytes)),
            at: begin,
            rows_from: 0,
            crc: TrailerCrc::default(),
            put,
        };
        pieces.piece.pad_to(to_usize(padding));
        pieces.rows_from = to_usize(padding);
        for row in &self.rows {
            pieces.push_row(row.encode())?;
        }
        let crc = pieces.crc_of_rows();
        pieces.push(&self.fixed(crc))?;
        pieces.put()
    }

    fn fixed(&self, crc: TrailerCrc) -> Fixed {
        let mut fixed = [0; to_usize(FIXED_BYTES)];
        fixed[..8].copy_from_slice(&MAGIC.to_le_bytes());
        fixed[12..16].copy_from_slice(&to_u32(self.rows.len()).to_le_bytes());
        fixed[16..24].copy_from_slice(&self.cache_id.to_le_bytes());
        fixed[24..32].copy_from_slice(&self.number.0.to_le_bytes());
        fixed[32..40].copy_from_slice(&self.incarnation.to_le_bytes());
        fixed[40..44].copy_from_slice(&self.data_end.to_le_bytes());
        fixed[48..56].copy_from_slice(&self.stable.0.to_le_bytes());
        let crc = crc.finish(&fixed);
        fixed[8..12].copy_from_slice(&crc.to_le_bytes());
        fixed
    }

    /// The trailer with this fixed part, which [proves](TrailerCrc::proves) these rows.
    pub(crate) fn of(fixed: &Fixed, rows: Vec<Row>) -> Self {
        Self {
            cache_id: u64_at(fixed, 16),
            number: SegmentId(u64_at(fixed, 24)),
            incarnation: u64_at(fixed, 32),
            data_end: u32_at(fixed, 40),
            stable: Lsn(u64_at(fixed, 48)),
            rows,
        }
    }

    /// How many rows the trailer claims to have, from the last [`FIXED_BYTES`] of a segment; not verified yet.
    #[must_use]
    pub fn claimed_rows(fixed: &[u8]) -> Option<u32> {
        let fixed = fixed.last_chunk::<{ to_usize(FIXED_BYTES) }>()?;
        (u64_at(fixed, 0) == MAGIC).then(|| u32_at(fixed, 12))
    }

    /// True when the last [`FIXED_BYTES`] of a segment say that the trailer is this segment's, of this life; not verified
    /// yet. A file that is used again still ends with the trailer of what it was before, and its rows need not be read to
    /// tell.
    pub(crate) fn claims_to_be_of(
        fixed: &Fixed,
        cache_id: u64,
        number: SegmentId,
        incarnation: u64,
    ) -> bool {
        u64_at(fixed, 16) == cache_id
            && u64_at(fixed, 24) == number.0
            && u64_at(fixed, 32) == incarnation
    }

    /// Reads the trailer from bytes that end where the segment ends; longer than the trailer is fine.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let count = to_usize(u64::from(Self::claimed_rows(bytes)?));
        let fixed_at = bytes.len() - to_usize(FIXED_BYTES);
        let rows_at = fixed_at.checked_sub(count.checked_mul(to_usize(ROW_BYTES))?)?;
        let (rows, fixed) = bytes[rows_at..].split_last_chunk()?;
        let mut crc = TrailerCrc::default();
        crc.update(rows);
        let rows = rows.as_chunks().0.iter().map(Row::decode);
        let rows = rows.collect::<Option<_>>()?;
        crc.proves(fixed).then(|| Self::of(fixed, rows))
    }
}

type Fixed = [u8; to_usize(FIXED_BYTES)];

/// Pieces of this size are written, one after the other.
const PIECE_BYTES: u64 = 1 << 20;

/// A trailer's bytes on their way out.
struct Pieces<F> {
    piece: AlignedBuf,
    at: u64,
    /// Rows from here on are not in the crc yet: it is quick where there are many.
    rows_from: usize,
    crc: TrailerCrc,
    put: F,
}

impl<E, F: FnMut(&[u8], u64) -> Result<(), E>> Pieces<F> {
    /// Of a length that the compiler knows: a copy without a call.
    #[inline]
    fn push_row(&mut self, row: [u8; to_usize(ROW_BYTES)]) -> Result<(), E> {
        if row.len() <= self.piece.room() {
            self.piece.push_array(row);
            return Ok(());
        }
        self.push(&row)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), E> {
        let (fits, rest) = bytes.split_at(self.piece.room().min(bytes.len()));
        self.piece.push(fits);
        if !rest.is_empty() {
            self.put()?;
            self.piece.push(rest);
        }
        Ok(())
    }

    fn crc_of_rows(&mut self) -> TrailerCrc {
        self.crc.update(&self.piece[self.rows_from..]);
        self.rows_from = self.piece.len();
        std::mem::take(&mut self.crc)
    }

    fn put(&mut self) -> Result<(), E> {
        self.crc.update(&self.piece[self.rows_from..]);
        self.rows_from = 0;
        (self.put)(&self.piece, self.at)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

/// The crc of rows and fixed part, the crc's own field left out.
#[derive(Debug, Default)]
pub(crate) struct TrailerCrc(crc32fast::Hasher);

impl TrailerCrc {
    /// Rows that come next.
    pub(crate) fn update(&mut self, rows: &[u8]) {
        self.0.update(rows);
    }

    fn finish(mut self, fixed: &Fixed) -> u32 {
        self.0.update(&fixed[..8]);
        self.0.update(&fixed[12..]);
        self.0.finalize()
    }

    /// True when the fixed part says the same of them.
    pub(crate) fn proves(self, fixed: &Fixed) -> bool {
        u32_at(fixed, 8) == self.finish(fixed)
    }
}

impl Row {
    fn encode(&self) -> [u8; to_usize(ROW_BYTES)] {
        let mut row = [0; to_usize(ROW_BYTES)];
        row[..8].copy_from_slice(&self.hash.to_le_bytes());
        row[8..16].copy_from_slice(&self.target.to_bits().to_le_bytes());
        row[16..20].copy_from_slice(&self.bytes.to_le_bytes());
        row[20] = self.kind as u8;
        row[21] = self.flags;
        row[22..24].copy_from_slice(&self.key_bytes.to_le_bytes());
        row
    }

    #[inline]
    pub(crate) fn decode(row: &[u8; to_usize(ROW_BYTES)]) -> Option<Self> {
        Some(Self {
            hash: u64_at(row, 0),
            target: Addr::from_bits(u64_at(row, 8)),
            bytes: u32_at(row, 16),
            kind: FrameKind::from_byte(row[20])?,
            flags: row[21],
            key_bytes: u16::from_le_bytes([row[22], row[23]]),
        })
    }
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
