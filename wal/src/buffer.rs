//! Io buffers: where in the log the next frame goes.
//!
//! A buffer is a descriptor over a range of the tail. Writers reserve in the current one by one compare-and-swap; when
//! it is full, or a commit wants it out, it is sealed with a mark frame and the next begins at the very next LSN. The
//! slow path, [`Buffers::rotate`], is under a mutex, does no I/O and waits for nothing: where there is no room it says
//! so, and the caller makes room outside all locks and tries again.

mod flushing;
mod room;
mod rotation;

use crossbeam_utils::CachePadded;
pub(crate) use flushing::{Filled, Passed};

use crate::frame::{FrameKind, HEADER_BYTES, flags};
use crate::geometry::{Geometry, Life, MARK_BYTES};
use crate::handover::Handover;
use crate::header_word::{self, Attempt, Limits, MAX_UNITS, Word};
use crate::lsn::{ALIGN, Lsn, SegmentId, align_up, to_usize};
use crate::segment::ROW_BYTES;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::tail::Tail;
use crate::tail_head::DESCRIPTORS;

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
    /// Where it lies in the tail's memory ([`Tail::position`]); of an extent, which does not, 0.
    pub(crate) at: usize,
}

/// Hands out prepared segments.
pub(crate) trait Segments {
    /// The next segment, if the class may have it.
    fn take(&self, class: Class) -> Option<SegmentId>;

    /// Whether there is one.
    fn has(&self, class: Class) -> bool;
}

/// What is kept per descriptor beside the tail head: nobody needs it after a crash.
#[derive(Debug, Default)]
struct Side {
    /// Where the base lies in the tail's memory. Kept, for it is a division that every writer would make several times.
    at: AtomicUsize,
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
    /// The log is at its end: no other buffer is installed.
    log_ended: bool,
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
                log_ended: false,
            }),
            handover: Handover::default(),
        }
    }

    /// The largest frame that goes through the ring. A buffer may be larger than a segment, a frame may not: nothing would
    /// ever have room for it, and looking for some would use up every segment there is.
    #[inline]
    pub(crate) fn max_frame(&self) -> u64 {
        (self.buffer_bytes - MARK_BYTES).min(self.geometry.max_frame())
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    #[inline]
    fn side(&self, seq: u64) -> &Side {
        &self.sides[to_usize(seq % DESCRIPTORS as u64)]
    }

    /// Reserves `bytes`, a multiple of 16, for a frame. Waits for nothing.
    #[inline]
    pub(crate) fn reserve(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        bytes: u64,
        class: Class,
    ) -> Result<Place, NoRoom> {
        debug_assert!(bytes.is_multiple_of(ALIGN) && bytes <= self.max_frame());
        let seq = self.current.load(Ordering::Acquire);
        match self.try_reserve(tail, seq, bytes) {
            Ok(place) => Ok(place),
            Err(attempt) => self.reserve_elsewhere(tail, segments, (seq, attempt), bytes, class),
        }
    }

    /// After an attempt that failed.
    #[cold]
    fn reserve_elsewhere(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        (mut seq, mut attempt): (u64, Attempt),
        bytes: u64,
        class: Class,
    ) -> Result<Place, NoRoom> {
        loop {
            if attempt == Attempt::Full {
                self.rotate(tail, segments, seq, bytes, class)?;
            }
            seq = self.current.load(Ordering::Acquire);
            match self.try_reserve(tail, seq, bytes) {
                Ok(place) => return Ok(place),
                Err(failed) => attempt = failed,
            }
        }
    }

    /// One attempt, in the buffer that `current` named.
    #[inline]
    fn try_reserve(&self, tail: &Tail, seq: u64, bytes: u64) -> Result<Place, Attempt> {
        let (descriptor, side) = (tail.descriptor(seq), self.side(seq));
        // Relaxed: these belong to `seq` if the compare-and-swap finds its salt; else they are thrown away (I4).
        let limits = Limits {
            units: side.units.load(Ordering::Relaxed),
            budget: side.budget.load(Ordering::Relaxed),
            row: ROW_BYTES,
        };
        let base = descriptor.base.load(Ordering::Relaxed);
        let at = side.at.load(Ordering::Relaxed);
        match header_word::try_reserve(&descriptor.word, seq, bytes / ALIGN, limits) {
            Attempt::At(units) => Ok(Place {
                lsn: Lsn(base + units * ALIGN),
                seq,
                at: at + to_usize(units * ALIGN),
            }),
            failed => Err(failed),
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
        Ok(Place { lsn, seq, at: 0 })
    }

    /// Seals the current buffer if it holds anything below `lsn`, for a caller who writes it. The background is not woken:
    /// it could only wait for that caller. (Each commit cost a wake and a switch of threads that way.) Should the caller
    /// fail, whoever writes next comes past this buffer. Returns where what is sealed ends.
    pub(crate) fn seal_below(&self, tail: &Tail, lsn: Lsn) -> Lsn {
        let mut rotation = self.rotation.lock();
        let seq = self.current.load(Ordering::Acquire);
        let descriptor = tail.descriptor(seq);
        let word = Word(descriptor.word.load(Ordering::Acquire));
        if !rotation.sealed && word.offset() > 0 && descriptor.base.load(Ordering::Relaxed) < lsn.0
        {
            let done = self.seal_current(tail, &mut rotation, MARK_BYTES);
            if done {
                self.handover.wake_waiters();
            }
        }
        if rotation.sealed {
            self.next_lsn(&rotation)
        } else {
            Lsn(descriptor.base.load(Ordering::Relaxed))
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

    /// Ends a log that ends at `start`. False: something begins there, or may.
    pub(crate) fn end_at(&self, start: Lsn) -> bool {
        let mut rotation = self.rotation.lock();
        rotation.log_ended |= rotation.sealed && self.next_lsn(&rotation) == start;
        rotation.log_ended
    }

    /// Ends the log with the last frame of a life: a mark, in a buffer of its own, that says it was closed cleanly. Without
    /// a segment for the mark the log ends where it is. Nothing is reserved behind it: whoever tries finds the ring full
    /// until the log is stopped. (Without that an insert beside a close was told that it stored, and was not there.)
    pub(crate) fn end(&self, tail: &Tail, segments: &impl Segments) -> Result<(), NoRoom> {
        let mut rotation = self.rotation.lock();
        let marked = self
            .make_place(tail, segments, &mut rotation, MARK_BYTES, Class::Meta)
            .and_then(|()| {
                let (kind, flags) = (FrameKind::Mark, flags::CLEAN);
                self.install_filler(tail, &mut rotation, kind, flags, HEADER_BYTES)
            });
        // The mark is a courtesy; the log is stable without it.
        rotation.log_ended = marked != Err(NoRoom::Ring);
        match marked {
            Err(NoRoom::Ring) => marked,
            Ok(()) | Err(NoRoom::Segment) => Ok(()),
        }
    }

    /// A writer of the buffer `seq` is finished; the sealer is one. The last one hands the buffer over.
    #[inline]
    pub(crate) fn complete(&self, tail: &Tail, seq: u64) {
        if header_word::complete(&tail.descriptor(seq).word) {
            self.handover.tell();
        }
    }

    /// Who is told when a buffer is done.
    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }
}
