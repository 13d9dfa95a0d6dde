//! Values too large for an io buffer: written straight to a reserved place in the segment, before anybody knows of it.
//!
//! The extent comes first, without a key in the index; then a small `Ref` frame that names it is reserved under the
//! key's lock: order and visibility are decided there (PROTOCOL hole 24). An extent nobody refers to is dead space.

use crate::aligned::AlignedBuf;
use crate::buffer::Place;
use crate::core::{LogCore, Refused};
use crate::error::{Result, WalError};
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, write_chunk_table};
use crate::lsn::{Lsn, align_up, to_u32, to_usize};
use crate::reservation::FrameSpec;
use crate::rows::ExtentRef;
use crate::segment::Writer;

/// An extent is written in pieces of this many bytes.
const PIECE: usize = 1 << 20;

impl LogCore {
    /// Writes key and value as an extent. When it returns the extent survives the process, but means nothing until a
    /// `Ref` frame names it.
    ///
    /// # Errors
    /// [`Refused::NoRoom`] until room is made; [`Refused::Stopped`] when it cannot be written or never fits.
    pub fn append_extent(
        &self,
        spec: FrameSpec,
        key: &[u8],
        value: &[u8],
    ) -> std::result::Result<ExtentRef, Refused> {
        let header = FrameSpec {
            kind: FrameKind::Extent,
            ..spec
        }
        .header();
        let geometry = self.geometry();
        let bytes = align_up(header.frame_bytes(geometry.sector), geometry.sector);
        if bytes > geometry.max_frame() {
            return Err(Refused::Stopped(WalError::TooLarge {
                bytes,
                max: geometry.max_frame(),
            }));
        }
        let mut place = ExtentPlace {
            log: self,
            place: self.try_reserve_extent(bytes)?,
            bytes,
            written: false,
        };
        let lsn = place.place.lsn;
        perennial_failpoints::site!("wal::extent::reserved");
        let written = self.write_extent(lsn, header, key, value);
        self.poison_unless_full(written).map_err(Refused::Stopped)?;
        perennial_failpoints::site!("wal::extent::written");
        place.written = true;
        Ok(ExtentRef {
            lsn,
            bytes: to_u32(to_usize(HEADER_BYTES + header.body_bytes())),
        })
    }

    fn extent_writer(&self, lsn: Lsn) -> Result<Writer> {
        let id = lsn.segment(self.geometry().segment_bytes);
        let segment = self.store().get(id).ok_or(WalError::Closed)?;
        self.store().writer(segment.slot)
    }

    fn write_extent(
        &self,
        lsn: Lsn,
        mut header: FrameHeader,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        let mut table = vec![0; to_usize(header.table_bytes())];
        write_chunk_table(&mut table, value);
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(if table.is_empty() { value } else { &table });
        header.body_crc = crc.finalize();
        let head = self.encode_header(&header, lsn);
        let writer = self.extent_writer(lsn)?;
        let warm = self.store().keeps_warm(header.frame_bytes(1));
        let write = |bytes: &[u8], offset| {
            if warm {
                writer.write_warm(bytes, &[], offset)
            } else {
                writer.write(bytes, offset)
            }
        };
        let mut pieces = Pieces::new(lsn.offset(self.geometry().segment_bytes));
        for part in [&head[..], key, &table, value] {
            pieces.push(part, write)?;
        }
        pieces.finish(to_usize(self.geometry().sector), write)
    }
}

/// The reserved place of an extent. Dropped before it is written, by a panic or for want of room on the disk, it becomes a `Pad` over the same bytes: half
/// an extent is nothing that anybody asked for, and below the stable LSN it would be damage. In any case nobody waits
/// for it any more.
struct ExtentPlace<'a> {
    log: &'a LogCore,
    place: Place,
    bytes: u64,
    written: bool,
}

impl ExtentPlace<'_> {
    fn give_up(&self) -> Result<()> {
        let Place { lsn, .. } = self.place;
        let filler = to_u32(to_usize(self.bytes - HEADER_BYTES));
        let header = FrameHeader::filler(FrameKind::Pad, 0, 0, filler);
        let geometry = self.log.geometry();
        let mut sector = AlignedBuf::zeroed(to_usize(geometry.sector));
        sector[..to_usize(HEADER_BYTES)].copy_from_slice(&self.log.encode_header(&header, lsn));
        let writer = self.log.extent_writer(lsn)?;
        perennial_failpoints::site!("wal::extent::give_up");
        writer.write(&sector, lsn.offset(geometry.segment_bytes))
    }
}

impl Drop for ExtentPlace<'_> {
    fn drop(&mut self) {
        // After an error the log is poisoned: nothing of this becomes stable, so recovery will find a hole.
        if !self.written && self.log.failed().is_none() {
            // What cannot be given up poisons the log, which is all there is to do about it here.
            let _ = self.log.poison_on_error(self.give_up());
        }
        perennial_failpoints::site!("wal::extent::done");
        self.log.writer_done(self.place.seq);
    }
}

/// Gathers bytes into aligned pieces: unbuffered writes from a caller's memory are refused unless it is aligned.
struct Pieces {
    buf: AlignedBuf,
    filled: usize,
    offset: u64,
}

impl Pieces {
    fn new(offset: u64) -> Self {
        Self {
            buf: AlignedBuf::zeroed(PIECE),
            filled: 0,
            offset,
        }
    }

    fn push(&mut self, mut bytes: &[u8], write: impl Fn(&[u8], u64) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(PIECE - self.filled);
            self.buf[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == PIECE {
                write(&self.buf, self.offset)?;
                self.offset += PIECE as u64;
                self.filled = 0;
            }
        }
        Ok(())
    }

    fn finish(mut self, sector: usize, write: impl Fn(&[u8], u64) -> Result<()>) -> Result<()> {
        let whole = self.filled.next_multiple_of(sector);
        self.buf[self.filled..whole].fill(0);
        if whole == 0 {
            Ok(())
        } else {
            write(&self.buf[..whole], self.offset)
        }
    }
}
