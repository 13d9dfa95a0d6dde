//! Io buffers: where in the log the next frame goes.
//!
//! A buffer is a descriptor over a range of the tail. Writers reserve in the current one by one compare-and-swap; when
//! it is full, or a commit wants it out, it is sealed with a mark frame and the next begins at the very next LSN. The
//! slow path, [`Buffers::rotate`], is under a mutex, does no I/O and waits for nothing: where there is no room it says
//! so, and the caller makes room outside all locks and tries again.
#![expect(
    unsafe_code,
    reason = "who finds a buffer complete vouches for its bytes"
)]

use crossbeam_utils::CachePadded;

use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, Seed, flags};
use crate::handover::Handover;
use crate::header_word::{self, Attempt, Limits, MAX_UNITS, Word};
use crate::lsn::{ALIGN, Lsn, SegmentId, align_up, to_u32, to_usize};
use crate::segment::{FIXED_BYTES, ROW_BYTES, SegmentHeader};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::tail::{Complete, Tail};
use crate::tail_head::{DESCRIPTORS, EXTENT_UNIT};

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
    pub fn seed_of(&self, lsn: Lsn, geometry: &Geometry) -> Seed {
        Seed::new(
            self.cache_id,
            lsn.segment(geometry.segment_bytes).0,
            self.incarnation,
        )
    }
}

/// Who asks for room; the last segments belong to those who make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// New entries.
    Put,
    /// Removes: they must go through when puts no longer do.
    Remove,
    /// Checkpoints: they must go through so that segments become free.
    Meta,
}

/// Why there is no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// The ring is full: flush and sync.
    Ring,
    /// There is no prepared segment for this class.
    Segment,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lsn: Lsn,
    pub(crate) seq: u64,
}

/// Hands out prepared segments.
pub(crate) trait Segments {
    /// The next segment, if the class may have it.
    fn take(&self, class: Class) -> Option<SegmentId>;
}

/// A buffer that the flusher looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) base: Lsn,
    pub(crate) bytes: u64,
    pub(crate) extent: bool,
    pub(crate) done: bool,
}

/// How far the flusher has found buffers complete, one after the other.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The first buffer that was not complete.
    next: u64,
    complete: Complete,
}

impl Passed {
    /// For the first buffer of an empty ring.
    pub(crate) fn new(complete: Complete) -> Self {
        Self { next: 1, complete }
    }

    pub(crate) fn complete(&self) -> &Complete {
        &self.complete
    }

    pub(crate) fn complete_mut(&mut self) -> &mut Complete {
        &mut self.complete
    }
}

/// What is kept per descriptor beside the tail head: nobody needs it after a crash.
#[derive(Debug, Default)]
struct Side {
    units: AtomicU64,
    budget: AtomicU64,
    /// Bytes of an extent or a filler; its word cannot hold them.
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Rotation {
    segment: SegmentId,
    /// Where the next buffer begins in the segment.
    offset: u64,
    /// Rows charged to the segment so far.
    rows: u64,
    /// The current buffer is sealed and no other is installed.
    sealed: bool,
    /// The segment is at its end: the next buffer begins a new one.
    segment_ended: bool,
}

/// The sequence of io buffers.
#[derive(Debug)]
pub(crate) struct Buffers {
    geometry: Geometry,
    buffer_bytes: u64,
    current: CachePadded<AtomicU64>,
    /// Buffers below are stable; their descriptors may be used again.
    retired: CachePadded<AtomicU64>,
    /// The newest stable LSN; every mark carries it.
    stable: AtomicU64,
    life: Life,
    sides: Box<[Side]>,
    rotation: Mutex<Rotation>,
    handover: Handover,
}

impl Buffers {
    /// Buffers of up to `buffer_bytes`, the first of which will begin at `start`, in a segment with `rows` rows so far.
    pub(crate) fn new(
        geometry: Geometry,
        life: Life,
        buffer_bytes: u64,
        start: Lsn,
        rows: u64,
    ) -> Self {
        debug_assert!(buffer_bytes / ALIGN <= MAX_UNITS);
        let (segment, offset) = (
            start.segment(geometry.segment_bytes),
            start.offset(geometry.segment_bytes),
        );
        Self {
            geometry,
            buffer_bytes,
            // Buffer 0 never exists: a zeroed word belongs to it and takes nothing.
            current: CachePadded::new(AtomicU64::new(0)),
            retired: CachePadded::new(AtomicU64::new(1)),
            stable: AtomicU64::new(start.0),
            life,
            sides: (0..DESCRIPTORS).map(|_| Side::default()).collect(),
            rotation: Mutex::new(Rotation {
                segment,
                offset,
                rows,
                sealed: true,
                segment_ended: false,
            }),
            handover: Handover::default(),
        }
    }

    /// The largest frame that goes through the ring.
    pub(crate) fn max_frame(&self) -> u64 {
        self.buffer_bytes - MARK_BYTES
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    fn side(&self, seq: u64) -> &Side {
        &self.sides[to_usize(seq % DESCRIPTORS as u64)]
    }

    /// Reserves `bytes`, a multiple of 16, for a frame. Waits for nothing.
    pub(crate) fn reserve(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        bytes: u64,
        class: Class,
    ) -> Result<Place, NoRoom> {
        debug_assert!(bytes.is_multiple_of(ALIGN) && bytes <= self.max_frame());
        loop {
            let seq = self.current.load(Ordering::Acquire);
            let (descriptor, side) = (tail.descriptor(seq), self.side(seq));
            // Relaxed: these belong to `seq` if the compare-and-swap finds its salt; else they are thrown away (I4).
            let limits = Limits {
                units: side.units.load(Ordering::Relaxed),
                budget: side.budget.load(Ordering::Relaxed),
                row: ROW_BYTES,
            };
            let base = descriptor.base.load(Ordering::Relaxed);
            match header_word::try_reserve(&descriptor.word, seq, bytes / ALIGN, limits) {
                Attempt::At(units) => {
                    return Ok(Place {
                        lsn: Lsn(base + units * ALIGN),
                        seq,
                    });
                }
                Attempt::Full => self.rotate(tail, segments, seq, bytes, class)?,
                Attempt::Stale => {}
            }
        }
    }

    /// Reserves an extent: `bytes`, whole sectors, beginning on a sector. It has one writer, who calls
    /// [`complete`](Self::complete).
    pub(crate) fn reserve_extent(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        bytes: u64,
    ) -> Result<Place, NoRoom> {
        let sector = self.geometry.sector;
        debug_assert!(bytes.is_multiple_of(sector));
        let mut rotation = self.rotation.lock();
        // Up to a sector of filler in front, and the reference behind should find room too.
        self.make_place(
            tail,
            segments,
            &mut rotation,
            bytes + 2 * sector + ROW_BYTES,
            Class::Put,
        )?;
        let lsn = self.next_lsn(&rotation);
        let to_sector = align_up(lsn.0, sector) - lsn.0;
        if to_sector != 0 {
            self.install_filler(tail, &mut rotation, FrameKind::Pad, 0, to_sector)?;
        }
        let lsn = self.next_lsn(&rotation);
        let seq = self.next_seq()?;
        self.install_closed(tail, seq, lsn, bytes, 1);
        rotation.offset += bytes;
        Ok(Place { lsn, seq })
    }

    /// Seals the current buffer if it holds anything below `lsn`, so that the flusher can have it.
    pub(crate) fn seal_below(&self, tail: &Tail, lsn: Lsn) {
        let mut rotation = self.rotation.lock();
        let seq = self.current.load(Ordering::Acquire);
        let descriptor = tail.descriptor(seq);
        let word = Word(descriptor.word.load(Ordering::Acquire));
        if !rotation.sealed && word.offset() > 0 && descriptor.base.load(Ordering::Relaxed) < lsn.0
        {
            self.seal_current(tail, &mut rotation, MARK_BYTES);
        }
    }

    /// The LSN at which the next frame may come at the earliest: everything reserved so far lies below.
    pub(crate) fn reserved_end(&self, tail: &Tail) -> Lsn {
        let rotation = self.rotation.lock();
        let seq = self.current.load(Ordering::Acquire);
        if rotation.sealed {
            return self.next_lsn(&rotation);
        }
        let descriptor = tail.descriptor(seq);
        let word = Word(descriptor.word.load(Ordering::Acquire));
        Lsn(descriptor.base.load(Ordering::Relaxed) + word.offset() * ALIGN)
    }

    /// Appends the last frame of a life: a mark that says the log was closed cleanly, in a buffer of its own.
    pub(crate) fn append_clean_mark(
        &self,
        tail: &Tail,
        segments: &impl Segments,
    ) -> Result<(), NoRoom> {
        let mut rotation = self.rotation.lock();
        self.make_place(tail, segments, &mut rotation, MARK_BYTES, Class::Meta)?;
        self.install_filler(
            tail,
            &mut rotation,
            FrameKind::Mark,
            flags::CLEAN,
            HEADER_BYTES,
        )
    }

    /// A writer of the buffer `seq` is finished; the sealer is one. The last one hands the buffer over.
    pub(crate) fn complete(&self, tail: &Tail, seq: u64) {
        if header_word::complete(&tail.descriptor(seq).word) {
            self.handover.tell();
        }
    }

    /// Who is told when a buffer is done.
    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The buffer `seq`, if it exists and is sealed.
    pub(crate) fn filled(&self, tail: &Tail, seq: u64) -> Option<Filled> {
        if seq > self.current.load(Ordering::Acquire) {
            return None;
        }
        let descriptor = tail.descriptor(seq);
        let word = header_word::sealed(&descriptor.word, seq)?;
        let base = descriptor.base.load(Ordering::Relaxed);
        let closed = self.side(seq).bytes.load(Ordering::Relaxed);
        let bytes = if closed == 0 {
            word.offset() * ALIGN
        } else {
            closed
        };
        Some(Filled {
            base: Lsn(base & !15),
            bytes,
            extent: base & 1 == 1,
            done: word.writers() == 0,
        })
    }

    /// True when no writer is left in the sealed buffers that begin below `lsn`.
    pub(crate) fn is_complete_below(&self, tail: &Tail, lsn: Lsn) -> bool {
        let seqs = self.retired.load(Ordering::Acquire)..=self.current.load(Ordering::Acquire);
        seqs.filter_map(|seq| self.filled(tail, seq))
            .all(|filled| filled.done || filled.base >= lsn)
    }

    /// Passes the buffers before `seq` that are complete.
    pub(crate) fn pass(&self, tail: &Tail, passed: &mut Passed, seq: u64) {
        while passed.next < seq {
            let filled = self.filled(tail, passed.next);
            let Some(filled) = filled.filter(|filled| filled.done) else {
                return;
            };
            // SAFETY: I3 — reservations lie in buffers, which follow each other; those before `next` were passed, and this
            // one is sealed and without writers.
            unsafe { passed.complete.raise(filled.base.plus(filled.bytes)) };
            passed.next += 1;
        }
    }

    /// Where everything before buffer `seq` ends and nothing else begins, when all before it is written: the base of
    /// `seq`, or where it will begin. Headers and trailers of segments in between count with their neighbours.
    pub(crate) fn end_before(&self, tail: &Tail, passed: &mut Passed, seq: u64) -> Lsn {
        assert!(seq <= passed.next, "what is written was passed");
        let end = self.begin_of(tail, seq);
        // SAFETY: I3 — everything before `seq` was passed; it and all that follows begin at `end` or behind.
        unsafe { passed.complete.raise(end) };
        end
    }

    fn begin_of(&self, tail: &Tail, seq: u64) -> Lsn {
        let rotation = self.rotation.lock();
        if seq <= self.current.load(Ordering::Acquire) {
            return Lsn(tail.descriptor(seq).base.load(Ordering::Relaxed) & !15);
        }
        debug_assert!(rotation.sealed, "an open buffer is not written");
        self.next_lsn(&rotation)
    }

    /// Buffers below `seq` are stable, and so is everything below `stable`.
    pub(crate) fn retire(&self, seq: u64, stable: Lsn) {
        self.stable.fetch_max(stable.0, Ordering::Relaxed);
        self.retired.fetch_max(seq, Ordering::Release);
    }

    /// The slow path of a reservation: seal the current buffer and install the next.
    fn rotate(
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
    fn make_place(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        rotation: &mut Rotation,
        need: u64,
        class: Class,
    ) -> Result<(), NoRoom> {
        self.seal_current(tail, rotation, need);
        if !rotation.segment_ended && !self.fits(rotation, need) {
            // Sealed earlier, without knowing that the segment would end here: say it now. Recovery must be able to
            // tell a finished segment from one that lost its end.
            self.install_filler(tail, rotation, FrameKind::Mark, flags::LAST, HEADER_BYTES)?;
            rotation.segment_ended = true;
        }
        if rotation.segment_ended {
            rotation.segment = segments.take(class).ok_or(NoRoom::Segment)?;
            rotation.offset = self.geometry.data_begin();
            rotation.rows = 0;
            rotation.segment_ended = false;
        }
        Ok(())
    }

    /// Seals the current buffer with a mark; the segment ends with it when `need` more bytes do not fit behind.
    fn seal_current(&self, tail: &Tail, rotation: &mut Rotation, need: u64) {
        if rotation.sealed {
            return;
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
        // SAFETY: I1 — the seal moved the offset past the mark's place and counts this thread as a writer.
        unsafe { self.write_filler(tail, mark_at, FrameKind::Mark, last, bytes) };
        self.complete(tail, seq);
    }

    /// True when `need` bytes of frames and rows fit, with a mark behind them and one to end the segment.
    fn fits(&self, rotation: &Rotation, need: u64) -> bool {
        need + 2 * MARK_BYTES <= self.segment_room(rotation)
    }

    /// Bytes left in the segment for frames and their rows.
    fn segment_room(&self, rotation: &Rotation) -> u64 {
        let kept = FIXED_BYTES + self.geometry.sector + rotation.rows * ROW_BYTES + rotation.offset;
        self.geometry.segment_bytes.saturating_sub(kept)
    }

    fn next_lsn(&self, rotation: &Rotation) -> Lsn {
        Lsn::new(
            rotation.segment,
            rotation.offset,
            self.geometry.segment_bytes,
        )
    }

    fn next_seq(&self) -> Result<u64, NoRoom> {
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
        descriptor.base.store(lsn.0, Ordering::Relaxed);
        descriptor.word.store(Word::open(seq).0, Ordering::Release);
        rotation.sealed = false;
        // Release: who reads this number in `reserve` sees the base and the limits, which it loads before the word (I2).
        self.current.store(seq, Ordering::Release);
        Ok(())
    }

    /// A buffer that is one frame of `bytes` without a body.
    fn install_filler(
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
        // SAFETY: I1 — inside the window as just seen; the buffer has one writer, this thread.
        unsafe { self.write_filler(tail, lsn, kind, flags, bytes) };
        rotation.offset += bytes;
        self.complete(tail, seq);
        Ok(())
    }

    fn install_closed(&self, tail: &Tail, seq: u64, lsn: Lsn, bytes: u64, extent: u64) {
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
