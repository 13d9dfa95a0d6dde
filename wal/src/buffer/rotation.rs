//! The slow path: a buffer is sealed, and another installed behind it.
#![expect(
    unsafe_code,
    reason = "who seals a buffer or installs a closed one writes its filler"
)]

use super::{Buffers, Class, NoRoom, Rotation, Segments};
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::geometry::MARK_BYTES;
use crate::header_word::{self, Word};
use crate::lsn::{ALIGN, Lsn, to_u32, to_usize};
use crate::segment::{FIXED_BYTES, ROW_BYTES};
use crate::sync::Ordering;
use crate::tail::Tail;
use crate::tail_head::{DESCRIPTORS, EXTENT_UNIT};

impl Buffers {
    /// The slow path of a reservation: seal the current buffer and install the next.
    #[cold]
    pub(super) fn rotate(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        seq: u64,
        bytes: u64,
        class: Class,
    ) -> Result<(), NoRoom> {
        let mut rotation = self.rotation.lock();
        if self.current.load(Ordering::Acquire) != seq {
            return Ok(());
        }
        perennial_failpoints::site!("wal::buffer::rotate");
        loop {
            self.make_place(tail, segments, &mut rotation, bytes + ROW_BYTES, class)?;
            let lsn = self.next_lsn(&rotation);
            let to_ring_end = tail.ring_bytes() - lsn.0 % tail.ring_bytes();
            if to_ring_end >= bytes + MARK_BYTES {
                return self.install(tail, &mut rotation, bytes, to_ring_end);
            }
            // A frame never crosses the ring's end.
            self.install_filler(tail, &mut rotation, FrameKind::Pad, 0, to_ring_end)?;
        }
    }

    /// Seals the current buffer and sees to it that `need` bytes fit in the segment that the next one begins in.
    pub(super) fn make_place(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        rotation: &mut Rotation,
        need: u64,
        class: Class,
    ) -> Result<(), NoRoom> {
        if rotation.log_ended {
            return Err(NoRoom::Ring);
        }
        if self.seal_current(tail, rotation, need) {
            self.handover().tell();
        }
        if !rotation.segment_ended && !self.fits(rotation, need) {
            // Sealed earlier, without knowing that the segment would end here: say it now. Recovery must be able to
            // tell a finished segment from one that lost its end.
            self.install_filler(tail, rotation, FrameKind::Mark, flags::LAST, HEADER_BYTES)?;
            rotation.segment_ended = true;
        }
        if rotation.segment_ended {
            rotation.segment = segments.take(class).ok_or(NoRoom::Segment)?;
            perennial_failpoints::site!("wal::buffer::next_segment");
            rotation.offset = self.geometry.data_begin();
            rotation.rows = 0;
            rotation.segment_ended = false;
        }
        Ok(())
    }

    /// Seals the current buffer with a mark; the segment ends with it when `need` more bytes do not fit behind. True: it is
    /// done with that, and the caller tells who has to know.
    #[must_use]
    pub(super) fn seal_current(&self, tail: &Tail, rotation: &mut Rotation, need: u64) -> bool {
        if rotation.sealed {
            return false;
        }
        let seq = self.current.load(Ordering::Acquire);
        let descriptor = tail.descriptor(seq);
        let base = descriptor.base.load(Ordering::Relaxed);
        let sector = self.geometry.sector;
        let mark_bytes = |units: u64| {
            let end = base + units * ALIGN + HEADER_BYTES;
            // Sixteen bytes before a sector's end would be too few for the filler that an extent or the ring's end
            // needs.
            if end % sector == sector - ALIGN {
                MARK_BYTES
            } else {
                HEADER_BYTES
            }
        };
        let before =
            header_word::try_seal(&descriptor.word, seq, |units| mark_bytes(units) / ALIGN)
                .expect("only the holder of the rotation lock seals");
        let mark_at = Lsn(base + before.offset() * ALIGN);
        let bytes = mark_bytes(before.offset());
        rotation.offset += before.offset() * ALIGN + bytes;
        rotation.rows += before.frames();
        rotation.sealed = true;
        rotation.segment_ended = !self.fits(rotation, need);
        let last = if rotation.segment_ended {
            flags::LAST
        } else {
            0
        };
        perennial_failpoints::site!("wal::buffer::sealed");
        // SAFETY: I1 — the seal moved the offset past the mark's place and counts this thread as a writer.
        unsafe { self.write_filler(tail, mark_at, FrameKind::Mark, last, bytes) };
        header_word::complete(&descriptor.word)
    }

    /// True when `need` bytes of frames and rows fit, with a mark behind them and one to end the segment.
    fn fits(&self, rotation: &Rotation, need: u64) -> bool {
        need + 2 * MARK_BYTES <= self.segment_room(rotation)
    }

    /// Bytes left in the segment for frames and their rows.
    pub(super) fn segment_room(&self, rotation: &Rotation) -> u64 {
        let kept = FIXED_BYTES + self.geometry.sector + rotation.rows * ROW_BYTES + rotation.offset;
        self.geometry.segment_bytes.saturating_sub(kept)
    }

    pub(super) fn next_lsn(&self, rotation: &Rotation) -> Lsn {
        Lsn::new(
            rotation.segment,
            rotation.offset,
            self.geometry.segment_bytes,
        )
    }

    pub(super) fn next_seq(&self) -> Result<u64, NoRoom> {
        let seq = self.current.load(Ordering::Acquire) + 1;
        // Acquire: pairs with `retire`: the flusher is finished with this descriptor's last use.
        if seq >= self.retired.load(Ordering::Acquire) + DESCRIPTORS as u64 {
            Err(NoRoom::Ring)
        } else {
            Ok(seq)
        }
    }

    /// Installs an open buffer that takes a frame of `need` bytes at least.
    fn install(
        &self,
        tail: &Tail,
        rotation: &mut Rotation,
        need: u64,
        to_ring_end: u64,
    ) -> Result<(), NoRoom> {
        let lsn = self.next_lsn(rotation);
        let window = tail.window_end().saturating_sub(lsn.0);
        let bytes = self.buffer_bytes.min(to_ring_end).min(window) / ALIGN * ALIGN;
        if bytes < need + MARK_BYTES {
            return Err(NoRoom::Ring);
        }
        let seq = self.next_seq()?;
        let (descriptor, side) = (tail.descriptor(seq), self.side(seq));
        side.units
            .store((bytes - MARK_BYTES) / ALIGN, Ordering::Relaxed);
        side.budget.store(
            self.segment_room(rotation).saturating_sub(MARK_BYTES),
            Ordering::Relaxed,
        );
        side.bytes.store(0, Ordering::Relaxed);
        side.at.store(tail.position(lsn), Ordering::Relaxed);
        descriptor.base.store(lsn.0, Ordering::Relaxed);
        descriptor.word.store(Word::open(seq).0, Ordering::Release);
        perennial_failpoints::site!("wal::buffer::install");
        rotation.sealed = false;
        // Release: who reads this number in `reserve` sees the base and the limits, which it loads before the word (I2).
        self.current.store(seq, Ordering::Release);
        Ok(())
    }

    /// A buffer that is one frame of `bytes` without a body.
    pub(super) fn install_filler(
        &self,
        tail: &Tail,
        rotation: &mut Rotation,
        kind: FrameKind,
        flags: u8,
        bytes: u64,
    ) -> Result<(), NoRoom> {
        let lsn = self.next_lsn(rotation);
        if lsn.0 + bytes > tail.window_end() {
            return Err(NoRoom::Ring);
        }
        let seq = self.next_seq()?;
        self.install_closed(tail, seq, lsn, bytes, 0);
        perennial_failpoints::site!("wal::buffer::filler");
        // SAFETY: I1 — inside the window as just seen; the buffer has one writer, this thread.
        unsafe { self.write_filler(tail, lsn, kind, flags, bytes) };
        rotation.offset += bytes;
        self.complete(tail, seq);
        Ok(())
    }

    pub(super) fn install_closed(&self, tail: &Tail, seq: u64, lsn: Lsn, bytes: u64, extent: u64) {
        let descriptor = tail.descriptor(seq);
        self.side(seq).bytes.store(bytes, Ordering::Relaxed);
        descriptor.base.store(lsn.0 | extent, Ordering::Relaxed);
        // For recovery only, which has no `side`.
        let units = bytes / if extent == 1 { EXTENT_UNIT } else { ALIGN };
        descriptor
            .word
            .store(Word::closed(seq, units).0, Ordering::Release);
        self.current.store(seq, Ordering::Release);
    }

    /// # Safety
    /// As for [`Tail::write_filler`].
    unsafe fn write_filler(&self, tail: &Tail, lsn: Lsn, kind: FrameKind, flags: u8, bytes: u64) {
        let stable = self.stable.load(Ordering::Relaxed);
        let filler = to_u32(to_usize(bytes - HEADER_BYTES));
        let header = FrameHeader::filler(kind, flags, stable, filler);
        let offset = lsn.offset(self.geometry.segment_bytes);
        let header = header.encode(self.life.seed_of(lsn, &self.geometry), offset);
        // SAFETY: the caller's contract.
        unsafe { tail.write_filler(lsn, &header) };
    }
}
