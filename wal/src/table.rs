//! Reading a segment's trailer: past the page cache where that can be, piece by piece through memory that the next one takes
//! over.
//!
//! ```text
//!   ... | rows                                              | fixed |
//!       |      first piece     |      next piece    | last piece    |   the last is read first: it says how many rows there are
//! ```
//! A cold open of ten million entries spent most of its time here. Buffered reads of 48 KiB took five times as long as the
//! device does for the same bytes; and memory for all of a trailer costs more than the reading where the pages are new.

use std::io;
use std::ops::Range;

use perennial_failpoints::fs::{File, read_exact_at};

use crate::aligned::AlignedBuf;
use crate::geometry::Geometry;
use crate::lsn::{align_down, to_usize};
use crate::scan::is_medias;
use crate::segment::{FIXED_BYTES, ROW_BYTES, Row, SegmentHeader, Trailer, TrailerCrc};

/// Bytes at a segment's end that are read first: a short trailer lies whole in them.
const FIRST_BYTES: u64 = 64 << 10;
/// The rest is read in pieces of this size.
const PIECE_BYTES: u64 = 1 << 20;
/// What unbuffered reads begin at, on any device. The beginning of a row that a piece cut off goes before the next piece.
const ALIGNED: u64 = 4096;
const LEAD: usize = to_usize(ALIGNED);
/// What the media does not give as a whole is read in parts of this size: a bad sector costs what lies there.
const PART_BYTES: usize = 512;

/// The memory for one piece after the other.
#[derive(Debug)]
pub struct TableBuffer(AlignedBuf);

impl Default for TableBuffer {
    fn default() -> Self {
        Self(AlignedBuf::zeroed(0))
    }
}

impl TableBuffer {
    /// So many bytes, behind room for a row's beginning.
    fn piece(&mut self, bytes: usize) -> &mut [u8] {
        if self.0.len() < LEAD + bytes {
            self.0 = AlignedBuf::zeroed(LEAD + bytes);
        }
        &mut self.0[LEAD..LEAD + bytes]
    }
}

/// A segment's file, and, where the system opens it so, past the page cache.
pub(crate) struct TableFile<'a> {
    pub(crate) file: &'a dyn File,
    pub(crate) direct: Option<&'a dyn File>,
}

impl TableFile<'_> {
    /// The segment's trailer, if it has a good one of the life that joined it last. One of a life before it, which that life
    /// could not read, says nothing of what was written since.
    pub(crate) fn trailer(
        &self,
        header: &SegmentHeader,
        geometry: Geometry,
        buffer: &mut TableBuffer,
    ) -> io::Result<Option<Trailer>> {
        let mut rows = Vec::new();
        let fixed = self.each_row(header, geometry, buffer, |count, row| {
            rows.reserve_exact(count - rows.len());
            rows.push(row);
        })?;
        Ok(fixed.map(|fixed| Trailer::of(&fixed, rows)))
    }

    /// Gives `each` the rows of such a trailer, and how many there are, and returns its fixed part. `None` where there is none:
    /// then nothing that `each` was given counts.
    pub(crate) fn each_row(
        &self,
        header: &SegmentHeader,
        geometry: Geometry,
        buffer: &mut TableBuffer,
        each: impl FnMut(usize, Row),
    ) -> io::Result<Option<Fixed>> {
        let Some((fixed, rows)) = self.claims(header, geometry, buffer)? else {
            return Ok(None);
        };
        let end = geometry.segment_bytes;
        let first_at = first_at(geometry);
        let rows_end = end - FIXED_BYTES;
        let rows_at = rows_end - rows * ROW_BYTES;
        let mut pieces = Pieces {
            rows: to_usize(rows),
            each,
            crc: TrailerCrc::default(),
            cut_off: 0,
        };
        if rows_at >= first_at {
            let part = to_usize(rows_at - first_at)..to_usize(rows_end - first_at);
            return Ok(pieces
                .take(buffer, part)
                .and_then(|()| pieces.proved(fixed)));
        }
        let mut begin = align_down(rows_at, ALIGNED);
        while begin < rows_end {
            let stop = (begin + PIECE_BYTES).min(end);
            self.read(buffer.piece(to_usize(stop - begin)), begin)?;
            let part = rows_at.max(begin) - begin..stop.min(rows_end) - begin;
            let taken = pieces.take(buffer, to_usize(part.start)..to_usize(part.end));
            if taken.is_none() {
                return Ok(None);
            }
            begin = stop;
        }
        Ok(pieces.proved(fixed))
    }

    /// Reads what a segment ends with: the fixed part and the number of rows, if it is said to be such a trailer. Nothing is
    /// proved.
    pub(crate) fn claims(
        &self,
        header: &SegmentHeader,
        geometry: Geometry,
        buffer: &mut TableBuffer,
    ) -> io::Result<Option<(Fixed, u64)>> {
        let at = first_at(geometry);
        let first = buffer.piece(to_usize(geometry.segment_bytes - at));
        self.read(first, at)?;
        let fixed = first.last_chunk().copied();
        Ok(fixed.and_then(|fixed| Some((fixed, rows_of(&fixed, header, geometry)?))))
    }

    fn read(&self, piece: &mut [u8], at: u64) -> io::Result<()> {
        let past_the_cache = |file: &dyn File| read_exact_at(file, &mut *piece, at).is_ok();
        if self.direct.is_some_and(past_the_cache) {
            return Ok(());
        }
        match read_exact_at(self.file, piece, at) {
            Err(error) if is_medias(&error) => self.read_in_parts(piece, at),
            read => read,
        }
    }

    /// A bad sector may lie beside the trailer, among the frames, which comes with it. Zeros prove nothing.
    fn read_in_parts(&self, piece: &mut [u8], at: u64) -> io::Result<()> {
        for (i, part) in piece.chunks_mut(PART_BYTES).enumerate() {
            match read_exact_at(self.file, part, at + (i * PART_BYTES) as u64) {
                Err(error) if is_medias(&error) => part.fill(0),
                read => read?,
            }
        }
        Ok(())
    }
}

pub(crate) type Fixed = [u8; to_usize(FIXED_BYTES)];

const fn first_at(geometry: Geometry) -> u64 {
    align_down(geometry.segment_bytes.saturating_sub(FIRST_BYTES), ALIGNED)
}

/// How many rows a trailer's fixed part claims before it; `None` where there cannot be so many, or it is another segment's or
/// life's: a file that is used again ends with the trailer of what it was before, and its rows need not be read to tell.
fn rows_of(fixed: &Fixed, header: &SegmentHeader, geometry: Geometry) -> Option<u64> {
    let rows = Trailer::claimed_rows(fixed).map(u64::from)?;
    let life = header.joins.last()?.incarnation;
    let ours = Trailer::claims_to_be_of(fixed, header.cache_id, header.number, life)
        && rows.saturating_mul(ROW_BYTES) <= geometry.segment_bytes - FIXED_BYTES;
    ours.then_some(rows)
}

/// Rows that come piece by piece.
struct Pieces<F> {
    rows: usize,
    each: F,
    crc: TrailerCrc,
    /// Bytes of a row of which the rest comes with the next piece.
    cut_off: usize,
}

impl<F: FnMut(usize, Row)> Pieces<F> {
    /// The rows that end in this part of a piece; `None` when one says what no row says.
    fn take(&mut self, buffer: &mut TableBuffer, part: Range<usize>) -> Option<()> {
        let (from, to) = (LEAD + part.start, LEAD + part.end);
        self.crc.update(&buffer.0[from..to]);
        let piece = &buffer.0[from - self.cut_off..to];
        let (rows, rest) = piece.as_chunks::<{ to_usize(ROW_BYTES) }>();
        for row in rows {
            (self.each)(self.rows, Row::decode(row)?);
        }
        self.cut_off = rest.len();
        buffer
            .0
            .copy_within(to - self.cut_off..to, LEAD - self.cut_off);
        Some(())
    }

    fn proved(self, fixed: Fixed) -> Option<Fixed> {
        self.crc.proves(&fixed).then_some(fixed)
    }
}

#[cfg(test)]
mod tests;
