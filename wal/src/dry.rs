//! The log without its entries' bytes and without files: where each frame would come to lie, and what becomes free when.
//!
//! ```text
//!   LogCore   buffers ─ tail ─ flusher ─ segment files
//!   DryLog    buffers ─ tail ─ (at once)  numbers
//! ```
//! For a model of a cache that is to fill its segments to the byte as the cache does. The io buffers are the log's own: marks,
//! pads at the ring's end, the end of a segment and the window of the ring are decided by the same code. Whoever reserves
//! completes at once, and what is complete is stable as soon as somebody asks: a log without a background thread, on a disk that
//! takes no time.

mod files;

use crate::buffer::{Buffers, Class, NoRoom, Passed};
use crate::frame::{FrameHeader, FrameKind};
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, SegmentId, align_down, align_up};
use crate::open::buffer_bytes;
use crate::reservation::FrameSpec;
use crate::segment::KeptLayout;
use crate::tail::Tail;
use crate::tail_head::TailIdentity;

pub use files::DryFiles;

/// A log of nothing but positions. One thread appends.
#[derive(Debug)]
pub struct DryLog {
    geometry: Geometry,
    tail: Tail,
    buffers: Buffers,
    files: DryFiles,
    /// The first buffer not yet written.
    next_seq: u64,
    passed: Passed,
    stable: Lsn,
}

impl DryLog {
    /// An empty log in a ring of `ring_bytes`, over at most `max_files` segments, the first of which is entered.
    ///
    /// # Panics
    /// Without a file for the first segment.
    #[must_use]
    pub fn new(geometry: Geometry, ring_bytes: u64, max_files: u64) -> Self {
        let mut files = DryFiles::new(max_files);
        let first = files.prepare_first().expect("there is a file");
        let start = Lsn::new(first, geometry.data_begin(), geometry.segment_bytes);
        let mut tail = Tail::heap(ring_bytes);
        let identity = TailIdentity {
            cache_id: 0,
            tail_id: 0,
            incarnation: 0,
            ring_bytes,
            boot_id: [0; 16],
        };
        let complete = tail.reset(&identity, start);
        let life = Life {
            cache_id: 0,
            incarnation: 0,
        };
        Self {
            geometry,
            tail,
            buffers: Buffers::new(geometry, life, buffer_bytes(ring_bytes), start, 0),
            files,
            next_seq: 1,
            passed: Passed::new(complete),
            stable: start,
        }
    }

    /// Appends a frame. Waits for nothing, and makes no room.
    ///
    /// # Errors
    /// As for [`LogCore::try_reserve`](crate::LogCore::try_reserve): the frame must be no larger than
    /// [`max_ring_frame`](Self::max_ring_frame).
    pub fn append(&mut self, spec: FrameSpec, class: Class) -> Result<Lsn, NoRoom> {
        let bytes = spec.header().frame_bytes(1);
        let place = self
            .buffers
            .reserve(&self.tail, &self.files, bytes, class)?;
        self.buffers.complete(&self.tail, place.seq);
        Ok(place.lsn)
    }

    /// Appends the extent of a value that is too large for the ring; its reference is appended by
    /// [`append`](Self::append).
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn append_extent(&mut self, spec: FrameSpec) -> Result<Lsn, NoRoom> {
        let header = FrameHeader {
            kind: FrameKind::Extent,
            ..spec.header()
        };
        let sector = self.geometry.sector;
        let bytes = align_up(header.frame_bytes(sector), sector);
        let place = self
            .buffers
            .reserve_extent(&self.tail, &self.files, bytes)?;
        self.buffers.complete(&self.tail, place.seq);
        Ok(place.lsn)
    }

    /// The largest frame that goes through the ring; larger ones are extents.
    #[must_use]
    pub fn max_ring_frame(&self) -> u64 {
        self.buffers.max_frame()
    }

    /// The log's fixed sizes.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The segments.
    #[must_use]
    pub fn files(&self) -> &DryFiles {
        &self.files
    }

    /// The segments, to prepare and to release some.
    pub fn files_mut(&mut self) -> &mut DryFiles {
        &mut self.files
    }

    /// Begins a kept segment; `None`: no file is free.
    pub fn begin_kept(&mut self) -> Option<(SegmentId, KeptLayout)> {
        let number = self.files.take_kept()?;
        Some((number, KeptLayout::new(self.geometry)))
    }

    /// Everything reserved so far lies below.
    #[must_use]
    pub fn reserved_end(&self) -> Lsn {
        self.buffers.reserved_end(&self.tail)
    }

    /// Everything below was written.
    #[must_use]
    pub fn stable_lsn(&self) -> Lsn {
        self.stable
    }

    /// Makes room after [`NoRoom::Ring`].
    pub fn make_ring_room(&mut self) {
        self.write();
    }

    /// Makes everything below `lsn` stable, and seals the buffer that it lies in.
    pub fn make_stable(&mut self, lsn: Lsn) {
        if self.stable < lsn {
            self.buffers.seal_below(&self.tail, lsn);
            self.write();
        }
    }

    /// Makes everything reserved so far stable.
    pub fn flush(&mut self) {
        self.make_stable(self.reserved_end());
    }

    /// What is complete is written, synced and released.
    fn write(&mut self) {
        while let Some(filled) = self.buffers.filled(&self.tail, self.next_seq) {
            debug_assert!(filled.done, "whoever reserves completes at once");
            self.next_seq += 1;
        }
        self.buffers
            .pass(&self.tail, &mut self.passed, self.next_seq);
        let written = self
            .buffers
            .end_before(&self.tail, &mut self.passed, self.next_seq);
        self.buffers.retire(self.next_seq, written);
        let sector = self.geometry.sector;
        let floor = Lsn(align_down(written.0, sector).saturating_sub(sector));
        self.tail
            .advance(self.passed.complete_mut(), written, floor);
        // Nobody reads the ring: it is released as soon as the epoch has moved.
        while self.tail.window_end() < floor.0 + self.tail.ring_bytes() {
            self.tail.drive();
        }
        self.stable = self.stable.max(written);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
