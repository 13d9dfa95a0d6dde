//! Values too large for an io buffer: written straight to a reserved place in the segment, before anybody knows of it.
//!
//! The extent comes first, without a key in the index; then a small `Ref` frame that names it is reserved under the
//! key's lock: order and visibility are decided there (PROTOCOL hole 24). An extent nobody refers to is dead space.

use crate::aligned::AlignedBuf;
use crate::buffer::Place;
use crate::core::{LogCore, Refused};
use crate::error::{Result, WalError};
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, write_chunk_table};
use crate::lsn::{SegmentId, align_up, to_u32, to_usize};
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
        // Before anything is reserved: without a handle nothing has happened yet.
        let opened = self.open_for_extents().map_err(Refused::Stopped)?;
        let mut place = ExtentPlace {
            log: self,
            place: self.try_reserve_extent(bytes)?,
            opened,
            bytes,
            written: false,
        };
        perennial_failpoints::site!("wal::extent::reserved");
        let written = match place.write(header, key, value) {
            // Another segment than the one that was opened, and no handle for it: the place is given up, and that may find one.
            Err(error) if error.changed_nothing() => Err(error),
            written => self.poison_unless_full(written),
        };
        written.map_err(Refused::Stopped)?;
        perennial_failpoints::site!("wal::extent::written");
        place.written = true;
        Ok(ExtentRef {
            lsn: place.place.lsn,
            bytes: to_u32(to_usize(HEADER_BYTES + header.body_bytes())),
        })
    }

    /// The segment where the log ends, which is nearly always the one that the next extent comes to.
    fn open_for_extents(&self) -> Result<Option<(SegmentId, Writer)>> {
        let id = self.reserved_end().segment(self.geometry().segment_bytes);
        let Some(segment) = self.store().get(id) else {
            return Ok(None);
        };
        let writer = self.store().writer(segment.slot)?;
        Ok(Some((id, writer)))
    }
}

/// The reserved place of an extent. Dropped before it is written, by a panic or for want of room on the disk, it becomes a `Pad` over the same bytes: half
/// an extent is nothing that anybody asked for, and below the stable LSN it would be damage. In any case nobody waits
/// for it any more.
struct ExtentPlace<'a> {
    log: &'a LogCore,
    place: Place,
    opened: Option<(SegmentId, Writer)>,
    bytes: u64,
    written: bool,
}

impl ExtentPlace<'_> {
    /// What writes to its segment.
    fn writer(&mut self) -> Result<&Writer> {
        let id = self.place.lsn.segment(self.log.geometry().segment_bytes);
        let opened = match self.opened.take().filter(|(of, _)| *of == id) {
            Some(opened) => opened,
            None => {
                let segment = self.log.store().get(id).ok_or(WalError::Closed)?;
                (id, self.log.store().writer(segment.slot)?)
            }
        };
        Ok(&self.opened.insert(opened).1)
    }

    fn write(&mut self, mut header: FrameHeader, key: &[u8], value: &[u8]) -> Result<()> {
        let (log, lsn) = (self.log, self.place.lsn);
        let mut table = vec![0; to_usize(header.table_bytes())];
        write_chunk_table(&mut table, value);
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(if table.is_empty() { value } else { &table });
        header.body_crc = crc.finalize();
        let head = log.encode_header(&header, lsn);
        let writer = self.writer()?;
        let warm = log.store().keeps_warm(header.frame_bytes(1));
        let write = |bytes: &[u8], offset| {
            if warm {
                writer.write_warm(bytes, &[], offset)
            } else {
                writer.write(bytes, offset)
            }
        };
        let mut pieces = Pieces::new(lsn.offset(log.geometry().segment_bytes));
        for part in [&head[..], key, &table, value] {
            pieces.push(part, write)?;
        }
        pieces.finish(to_usize(log.geometry().sector), write)
    }

    fn give_up(&mut self) -> Result<()> {
        let Place { lsn, .. } = self.place;
        let filler = to_u32(to_usize(self.bytes - HEADER_BYTES));
        let header = FrameHeader::filler(FrameKind::Pad, 0, 0, filler);
        let geometry = self.log.geometry();
        let mut sector = AlignedBuf::zeroed(to_usize(geometry.sector));
        sector[..to_usize(HEADER_BYTES)].copy_from_slice(&self.log.encode_header(&header, lsn));
        let writer = self.writer()?;
        perennial_failpoints::site!("wal::extent::give_up");
        writer.write(&sector, lsn.offset(geometry.segment_bytes))
    }
}

impl Drop for ExtentPlace<'_> {
    fn drop(&mut self) {
        // After an error the log is poisoned: nothing of this becomes stable, so recovery will find a hole.
        if !self.written && self.log.failed().is_none() {
            // What cannot be given up poisons the log, which is all there is to do about it here.
            let given_up = self.give_up();
            let _ = self.log.poison_on_error(given_up);
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
