//! Kept segments: files outside the log, filled with copies of entries that earned a longer stay.
//!
//! ```text
//!   header | frames, each batch from a sector on | free | trailer: a row per frame, once it is sealed
//! ```
//! A kept segment has a number of the log's sequence, and its frames the positions of that number: no two frames of a
//! cache ever share one. It is in no chain. What counts in it is what the index points at, and a `Move` frame in the log
//! says so to a recovery; where none does, the file is free.

use std::sync::Arc;

use super::{Segment, SegmentStore, Writer};
use crate::aligned::AlignedBuf;
use crate::error::Result;
use crate::frame::{FrameHeader, FrameKind};
use crate::geometry::Geometry;
use crate::lsn::{ALIGN, Addr, Lsn, SegmentId, align_up, to_u32, to_usize};
use crate::segment::{Row, SegmentHeader, Trailer, zone_begin};

/// A kept segment that is being filled. One thread fills it.
#[derive(Debug)]
pub struct KeptWriter {
    segment: Arc<Segment>,
    writer: Writer,
    layout: KeptLayout,
    /// Frames that are not written yet, from the sector `batch_at` on.
    batch: Vec<u8>,
    batch_at: u64,
    rows: Vec<Row>,
}

/// Where frames come to lie in a kept segment that is being filled.
#[derive(Debug, Clone, Copy)]
pub struct KeptLayout {
    geometry: Geometry,
    /// Where the next frame goes.
    at: u64,
    rows: u64,
}

impl SegmentStore {
    /// Begins a kept segment at this place of the list; `None`: no file is free.
    ///
    /// # Errors
    /// When the file cannot be opened or its header not be written.
    pub fn begin_kept(&self, place: u64, stable: Lsn) -> Result<Option<KeptWriter>> {
        let _one = self.preparing.lock();
        let Some(slot) = self.free_slot()? else {
            return Ok(None);
        };
        let number = {
            let mut inner = self.inner.lock();
            inner.next_number += 1;
            SegmentId(inner.next_number - 1)
        };
        let header = SegmentHeader {
            kept: Some(place),
            ..self.header(number, number, stable)
        };
        let written = self.write_kept_header(slot, &header);
        let writer = match written {
            Ok(writer) => writer,
            Err(error) => {
                self.inner.lock().free.push(slot);
                return Err(error);
            }
        };
        let segment = Arc::new(Segment::new(slot, header));
        self.kept.insert(Arc::clone(&segment));
        let layout = KeptLayout::new(self.geometry);
        Ok(Some(KeptWriter {
            segment,
            writer,
            layout,
            batch: Vec::new(),
            batch_at: layout.at,
            rows: Vec::new(),
        }))
    }

    /// Not synced: that comes with the first batch, and before it nothing points there.
    fn write_kept_header(&self, slot: u32, header: &SegmentHeader) -> Result<Writer> {
        let writer = self.writer(slot)?;
        perennial_failpoints::site!("wal::segment::kept_header");
        writer.write(&AlignedBuf::copied_from(&header.encode()), 0)?;
        Ok(writer)
    }

    /// Frees a kept segment. Its addresses count no more from now on; the file may be written over at once, so whatever
    /// was moved out of it must be stable where it is now.
    pub fn release_kept(&self, id: SegmentId) {
        let mut inner = self.inner.lock();
        if let Some(segment) = self.kept.remove(id) {
            perennial_failpoints::site!("wal::segment::kept_released");
            inner.free.push(segment.slot);
        }
    }

    /// The kept segments, by number.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<Segment>> {
        self.kept.all()
    }

    /// True while the kept segment with this number counts.
    #[must_use]
    pub fn is_kept(&self, id: SegmentId) -> bool {
        self.kept.has(id)
    }
}

impl KeptLayout {
    /// Of an empty segment.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            at: geometry.data_begin(),
            rows: 0,
        }
    }

    /// True when a frame with this header fits, with its row.
    #[must_use]
    pub fn has_room(&self, header: &FrameHeader) -> bool {
        let Geometry {
            segment_bytes,
            sector,
        } = self.geometry;
        // Whole sectors are written, and an extent may need to begin on one.
        let end = align_up(self.at, sector) + header.frame_bytes(sector);
        align_up(end, sector) <= zone_begin(self.rows + 1, segment_bytes, sector)
    }

    /// Where the frame comes to lie; the next one comes behind it.
    pub fn place(&mut self, header: &FrameHeader) -> u64 {
        if header.kind == FrameKind::Extent {
            self.at = align_up(self.at, self.geometry.sector);
        }
        let offset = self.at;
        self.at += header.frame_bytes(self.geometry.sector);
        self.rows += 1;
        debug_assert!(self.at.is_multiple_of(ALIGN));
        offset
    }

    /// Where the next frame goes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at
    }

    /// What was placed is written: the next frame begins on a sector of its own, for none is ever written twice. Returns
    /// where that is.
    pub fn end_batch(&mut self) -> u64 {
        self.at = align_up(self.at, self.geometry.sector);
        self.at
    }
}

impl KeptWriter {
    /// The segment's number.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.segment.header.number
    }

    /// Its place in the list.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.segment.header.kept.unwrap_or_default()
    }

    /// True when a frame with this header fits, with its row.
    #[must_use]
    pub fn has_room(&self, header: &FrameHeader) -> bool {
        self.layout.has_room(header)
    }

    /// Appends a copy of a frame: `frame` is the old one, its header `header` was proved with it.
    ///
    /// # Panics
    /// Without [room](Self::has_room).
    pub fn append(&mut self, header: &FrameHeader, frame: &[u8]) -> Addr {
        assert!(self.has_room(header), "the caller asked for room");
        let offset = self.layout.place(header);
        let begin = to_usize(offset - self.batch_at);
        let bytes = header.frame_bytes(self.layout.geometry.sector);
        self.batch.resize(begin + to_usize(bytes), 0);
        let encoded = header.encode(self.segment.seed_at(offset), offset);
        let body = to_usize(crate::frame::HEADER_BYTES + header.body_bytes());
        self.batch[begin..begin + encoded.len()].copy_from_slice(&encoded);
        self.batch[begin + encoded.len()..begin + body]
            .copy_from_slice(&frame[encoded.len()..body]);
        let segment_bytes = self.layout.geometry.segment_bytes;
        let addr = Addr::kept(Lsn::new(self.id(), offset, segment_bytes));
        self.rows.push(Row {
            hash: header.hash,
            target: addr,
            bytes: to_u32(body),
            kind: header.kind,
            flags: header.flags,
            key_bytes: header.key_bytes,
        });
        addr
    }

    /// Writes what was appended and syncs it. The next frame begins on a sector of its own: none is ever written twice.
    ///
    /// # Errors
    /// When the device fails; nothing may point at what was appended then.
    pub fn sync(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let end = self.layout.end_batch();
        self.batch.resize(to_usize(end - self.batch_at), 0);
        perennial_failpoints::site!("wal::segment::kept_write");
        self.writer
            .write(&AlignedBuf::copied_from(&self.batch), self.batch_at)?;
        perennial_failpoints::site!("wal::segment::kept_sync");
        if !perennial_failpoints::planted!("kept-not-synced") {
            self.writer.sync()?;
        }
        self.batch.clear();
        self.batch_at = end;
        Ok(())
    }

    /// Writes the trailer, so that the segment need not be walked when it is reclaimed. Nobody waits for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn seal(mut self) -> Result<()> {
        self.sync()?;
        let header = &self.segment.header;
        let trailer = Trailer {
            cache_id: header.cache_id,
            number: header.number,
            incarnation: header.joins[0].incarnation,
            data_end: to_u32(to_usize(self.layout.at)),
            stable: header.stable,
            rows: std::mem::take(&mut self.rows),
        };
        let Geometry {
            segment_bytes,
            sector,
        } = self.layout.geometry;
        let begin = zone_begin(trailer.rows.len() as u64, segment_bytes, sector);
        perennial_failpoints::site!("wal::segment::kept_trailer");
        let bytes = trailer.encode(segment_bytes, sector);
        self.writer.write(&AlignedBuf::copied_from(&bytes), begin)
    }
}
