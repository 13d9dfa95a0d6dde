//! Values too large for an io buffer: written straight to a reserved place in the segment, before anybody knows of it.
//!
//! The extent comes first, without a key in the index; then a small `Ref` frame that names it is reserved under the
//! key's lock: order and visibility are decided there (PROTOCOL hole 24). An extent nobody refers to is dead space.

use std::collections::BTreeMap;

use crate::aligned::AlignedBuf;
use crate::buffer::Place;
use crate::core::{LogCore, Refused};
use crate::error::{Result, WalError};
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, write_chunk_table};
use crate::lsn::{Lsn, SegmentId, align_up, to_u32, to_usize};
use crate::reservation::FrameSpec;
use crate::rows::ExtentRef;
use crate::segment::Writer;
use crate::sync::Mutex;

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

/// The reserved place of an extent. Dropped before it is written, by a panic or for want of room on the disk, it becomes a
/// `Pad` over the same bytes: half an extent is nothing that anybody asked for, and below the stable LSN it would be damage.
/// In any case nobody waits for it for ever.
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
            None => (id, self.log.extent_writer(self.place.lsn)?),
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
}

/// Places of extents for whose `Pad` there was no room on the disk either, by their buffers. Until they have it those have a
/// writer, so that a killed process leaves a hole, and whoever writes the log comes no further.
#[derive(Debug, Default)]
pub(crate) struct Owed(Mutex<BTreeMap<u64, (Lsn, u64)>>);

impl Owed {
    fn get(&self, seq: u64) -> Option<(Lsn, u64)> {
        self.0.lock().get(&seq).copied()
    }

    pub(crate) fn is_owed(&self, seq: u64) -> bool {
        self.0.lock().contains_key(&seq)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl LogCore {
    fn extent_writer(&self, lsn: Lsn) -> Result<Writer> {
        let id = lsn.segment(self.geometry().segment_bytes);
        let segment = self.store().get(id).ok_or(WalError::Closed)?;
        self.store().writer(segment.slot)
    }

    fn write_pad(&self, writer: &Writer, lsn: Lsn, bytes: u64) -> Result<()> {
        let filler = to_u32(to_usize(bytes - HEADER_BYTES));
        let header = FrameHeader::filler(FrameKind::Pad, 0, 0, filler);
        let geometry = self.geometry();
        let mut sector = AlignedBuf::zeroed(to_usize(geometry.sector));
        sector[..to_usize(HEADER_BYTES)].copy_from_slice(&self.encode_header(&header, lsn));
        perennial_failpoints::site!("wal::extent::give_up");
        writer.write(&sector, lsn.offset(geometry.segment_bytes))
    }

    /// Gives up the extent in buffer `seq` if that is owed. Only called by who holds the flush state.
    ///
    /// # Errors
    /// When it cannot be written: it is owed still.
    pub(crate) fn give_up_owed(&self, seq: u64) -> Result<bool> {
        let Some((lsn, bytes)) = self.owed().get(seq) else {
            return Ok(false);
        };
        self.write_pad(&self.extent_writer(lsn)?, lsn, bytes)?;
        self.owed().0.lock().remove(&seq);
        self.writer_done(seq);
        Ok(true)
    }
}

impl ExtentPlace<'_> {
    /// True: it is owed, for there is no room.
    fn give_up(&mut self) -> bool {
        let (log, bytes) = (self.log, self.bytes);
        let Place { lsn, seq, .. } = self.place;
        let given_up = self
            .writer()
            .and_then(|writer| log.write_pad(writer, lsn, bytes));
        // What cannot be given up poisons the log, which is all there is to do about it here.
        let Err(error) = self.log.poison_unless_full(given_up) else {
            return false;
        };
        let owed = error.can_be_written_again();
        if owed {
            self.log.owed().0.lock().insert(seq, (lsn, self.bytes));
            // Who waits for its writer is to try instead.
            self.log.buffers().handover().tell();
        }
        owed
    }
}

impl Drop for ExtentPlace<'_> {
    fn drop(&mut self) {
        // After an error the log is poisoned: nothing of this becomes stable, so recovery will find a hole.
        if !self.written && self.log.failed().is_none() && self.give_up() {
            return;
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
