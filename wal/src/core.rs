//! The log: reserve, complete, make stable, read, release.

mod fitting;
mod stopping;

use crate::buffer::{Buffers, Class, NoRoom, Place};
use crate::commit::Commit;
use crate::error::{Result, WalError};
use crate::extent::Owed;
use crate::filling::may_wait;
use crate::flusher::FlushState;
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, to_usize};
use crate::reservation::{FrameSpec, Reservation};
use crate::segment::{KeptWriter, Row, SegmentStore};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use crate::tail::{Complete, Tail, TailRead};
use crate::watch::Watched;

/// A lock-free log over recycled segment files.
#[derive(Debug)]
pub struct LogCore {
    tail: Tail,
    buffers: Buffers,
    store: SegmentStore,
    commit: Commit<WalError>,
    flush: Mutex<FlushState>,
    /// Held while zeros are written ahead of what is reserved; whoever reserves an extent passes by before it writes (I16).
    extents_wait: Mutex<()>,
    owed: Owed,
    /// Where this life began to append.
    start: Lsn,
    /// Reservations are refused: the log failed or was closed.
    stopped: AtomicBool,
    watched: Watched,
}

/// Why a reservation was refused.
#[derive(Debug)]
pub enum Refused {
    /// There is no room now. Make some outside all locks ([`LogCore::make_ring_room`], [`LogCore::prepare_segment`]) and try
    /// again.
    NoRoom(NoRoom),
    /// There will be none: the log failed or was closed.
    Stopped(WalError),
}

/// Where and how a log starts to append.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) geometry: Geometry,
    pub(crate) life: Life,
    pub(crate) tail: Tail,
    /// Made when the tail was emptied for `start`.
    pub(crate) complete: Complete,
    pub(crate) store: SegmentStore,
    /// The first LSN of this life.
    pub(crate) start: Lsn,
    /// The rows of the frames before it in its segment.
    pub(crate) rows: Vec<Row>,
    pub(crate) buffer_bytes: u64,
}

impl LogCore {
    pub(crate) fn start(start: Start) -> Result<Self> {
        let segment = start.start.segment(start.geometry.segment_bytes);
        let slot = start.store.get(segment).ok_or(WalError::Full)?.slot;
        let rows = start.rows.len() as u64;
        let writer = start.store.writer(slot)?;
        let flush = FlushState::new(start.complete, segment, writer, start.rows);
        Ok(Self {
            buffers: Buffers::new(
                start.geometry,
                start.life,
                start.buffer_bytes,
                start.start,
                rows,
            ),
            tail: start.tail,
            store: start.store,
            commit: Commit::new(start.start),
            flush: Mutex::new(flush),
            extents_wait: Mutex::new(()),
            owed: Owed::default(),
            start: start.start,
            stopped: AtomicBool::new(false),
            watched: Watched::default(),
        })
    }

    /// Reserves a frame. Waits for nothing, so it may be called under a lock.
    ///
    /// # Errors
    /// [`Refused::NoRoom`] until room is made; [`Refused::Stopped`] for good. The frame must be no larger than
    /// [`max_ring_frame`](Self::max_ring_frame).
    #[inline(always)]
    pub fn try_reserve(
        &self,
        spec: FrameSpec,
        class: Class,
    ) -> std::result::Result<Reservation<'_>, Refused> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(self.refused());
        }
        let header = spec.header();
        let bytes = header.frame_bytes(1);
        if bytes > self.max_ring_frame() {
            return Err(self.too_large(bytes));
        }
        match self.buffers.reserve(&self.tail, &self.store, bytes, class) {
            Ok(place) => Ok(Reservation::new(self, place, header)),
            Err(no_room) => Err(Refused::NoRoom(no_room)),
        }
    }

    #[cold]
    fn refused(&self) -> Refused {
        Refused::Stopped(self.why_stopped())
    }

    #[cold]
    fn too_large(&self, bytes: u64) -> Refused {
        let max = self.max_ring_frame();
        Refused::Stopped(WalError::TooLarge { bytes, max })
    }

    /// Reserves the place of an extent of `bytes`, whole sectors.
    pub(crate) fn try_reserve_extent(&self, bytes: u64) -> std::result::Result<Place, Refused> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(self.refused());
        }
        let place = self
            .buffers
            .reserve_extent(&self.tail, &self.store, bytes)
            .map_err(Refused::NoRoom)?;
        // Zeros under way over this place, from before it was reserved, come first (I16).
        if !perennial_failpoints::planted!("extent-beside-the-zeros") {
            drop(self.extents_wait.lock());
        }
        Ok(place)
    }

    /// The largest frame that goes through the ring; larger ones are extents.
    #[must_use]
    #[inline]
    pub fn max_ring_frame(&self) -> u64 {
        self.buffers.max_frame()
    }

    /// Makes room after [`NoRoom::Ring`]: writes and syncs what is complete. Waits for writers in the middle of a copy.
    ///
    /// # Errors
    /// When the log fails or failed, or the calling thread itself holds what would be waited for.
    pub fn make_ring_room(&self) -> Result<()> {
        may_wait()?;
        let before = self.tail.window_end();
        let covered = {
            let mut state = self.lock_flush()?;
            if self.tail.window_end() == before {
                let flushed = self.write_filled(&mut state, Some(Lsn(u64::MAX)));
                let synced = flushed.and_then(|()| self.sync_written(&mut state));
                Some(self.poison_unless_full(synced)?)
            } else {
                None
            }
        };
        drop(covered);
        self.tail.drive();
        if self.tail.window_end() == before {
            crate::sync::yield_now();
        }
        Ok(())
    }

    /// Makes room after [`NoRoom::Segment`]: prepares a free file as the next segment. `Ok(false)`: none is free.
    ///
    /// # Errors
    /// When its header cannot be written: the log is poisoned. Where there was no handle or no memory to begin with it is not.
    pub fn prepare_segment(&self) -> Result<bool> {
        self.check()?;
        self.poison_on_writes(self.store.prepare(self.stable_lsn()))
    }

    /// Begins a kept segment; `None`: no file is free.
    ///
    /// # Errors
    /// When its header cannot be written: the log is poisoned. Where there was no handle or no memory to begin with it is not.
    pub fn begin_kept(&self, place: u64) -> Result<Option<KeptWriter>> {
        self.check()?;
        self.poison_on_writes(self.store.begin_kept(place, self.stable_lsn()))
    }

    /// Where there was no handle or no memory to begin with, the file is as it was, and free.
    pub(crate) fn poison_on_writes<T>(&self, done: Result<T>) -> Result<T> {
        match done {
            Err(error) if error.changed_nothing() => Err(error),
            done => self.poison_on_error(done),
        }
    }

    /// Makes what was appended to a kept segment durable.
    ///
    /// # Errors
    /// When the device fails: the log is poisoned.
    pub fn sync_kept(&self, writer: &mut KeptWriter) -> Result<()> {
        self.check()?;
        self.poison_on_error(writer.sync())
    }

    /// Nothing more comes to a kept segment.
    ///
    /// # Errors
    /// As [`sync_kept`](Self::sync_kept).
    pub fn seal_kept(&self, writer: KeptWriter) -> Result<()> {
        self.check()?;
        self.poison_on_error(writer.seal())
    }

    /// Returns once everything below `lsn` is on stable storage.
    ///
    /// # Errors
    /// When the log fails, failed or is closed before; [`WalError::Invalid`] for a position that nothing reserved lies
    /// below: no commit would ever reach it.
    pub fn make_stable(&self, lsn: Lsn) -> Result<()> {
        if self.stable_lsn() >= lsn || perennial_failpoints::planted!("ack-before-sync") {
            return Ok(());
        }
        may_wait()?;
        self.check_reserved(lsn)?;
        self.commit.wait(lsn, || {
            let mut state = self.lock_flush()?;
            // As late as this: whoever comes before it is in this commit.
            self.commit.closes(self.buffers.seal_below(&self.tail, lsn));
            let flushed = self.write_filled(&mut state, Some(lsn));
            self.poison_unless_full(flushed.and_then(|()| {
                self.write_ahead(&mut state);
                self.sync_written(&mut state)
            }))
        })
    }

    /// Makes everything below `lsn` stable, unless a writer is in the middle of a frame there: `Ok(false)`, at once.
    ///
    /// # Errors
    /// As [`make_stable`](Self::make_stable).
    pub fn make_stable_if_complete(&self, lsn: Lsn) -> Result<bool> {
        // Sealed, nobody else can begin below; who has begun by then is seen.
        self.buffers.seal_below(&self.tail, lsn);
        // No writer ends what is owed.
        if !self.owed.is_empty() {
            may_wait()?;
            self.flush_step()?;
        }
        if self.stable_lsn() < lsn && !self.buffers.is_complete_below(&self.tail, lsn) {
            return Ok(false);
        }
        self.make_stable(lsn).map(|()| true)
    }

    /// The right to write and sync. Who had it before may have failed while others waited for it: what is on the disk is
    /// unknown then, and a sync that succeeds now would say nothing about it.
    fn lock_flush(&self) -> Result<MutexGuard<'_, FlushState>> {
        let state = self.flush.lock();
        self.check()?;
        Ok(state)
    }

    fn check_reserved(&self, lsn: Lsn) -> Result<()> {
        let end = self.reserved_end();
        if lsn <= end {
            return Ok(());
        }
        Err(WalError::Invalid(format!(
            "nothing is appended at {} yet, the log ends at {}; wait for the position that an append returned",
            lsn.0, end.0
        )))
    }

    /// Makes everything reserved so far stable, and returns up to where.
    ///
    /// # Errors
    /// As [`make_stable`](Self::make_stable).
    pub fn flush(&self) -> Result<Lsn> {
        let end = self.reserved_end();
        self.make_stable(end)?;
        Ok(end)
    }

    /// Writes what is complete, and syncs once a quarter of the ring waits for it, or a segment has ended: until its trailer is
    /// written, an open after a crash has to walk all of it. The background's step.
    ///
    /// # Errors
    /// When the log fails.
    pub fn flush_step(&self) -> Result<()> {
        let mut state = self.lock_flush()?;
        let written = self.write_filled(&mut state, None);
        let due = state.unsynced >= self.tail.ring_bytes() / 4 || state.has_ended();
        let synced = written.and_then(|()| due.then(|| self.sync_written(&mut state)).transpose());
        let covered = self.poison_unless_full(synced)?;
        drop(state);
        drop(covered);
        self.tail.drive();
        Ok(())
    }

    /// Everything below is on stable storage.
    #[must_use]
    pub fn stable_lsn(&self) -> Lsn {
        self.commit.stable()
    }

    /// Everything reserved so far lies below.
    #[must_use]
    pub fn reserved_end(&self) -> Lsn {
        self.buffers.reserved_end(&self.tail)
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        self.tail.ring_bytes()
    }

    /// True while a frame of `class` finds room for `bytes` more: in the ring, and in the segment being written or a prepared
    /// one. A moment's picture: others reserve meanwhile.
    #[must_use]
    pub fn has_left(&self, bytes: u64, class: Class) -> bool {
        self.buffers.has_left(&self.tail, &self.store, bytes, class)
    }

    /// Gives the frame at `lsn` to `read` if it is in the ring. What no frame of the ring has as its address is
    /// [`TailRead::Other`], or, below all that is in the ring, [`TailRead::Gone`].
    #[inline]
    pub fn read_tail<T>(
        &self,
        lsn: Lsn,
        read: impl FnOnce(&FrameHeader, &[u8]) -> T,
    ) -> TailRead<T> {
        // Before anything else, such as the two divisions below.
        if self.tail.is_gone(lsn) {
            return TailRead::Gone;
        }
        let offset = lsn.offset(self.geometry().segment_bytes);
        let seed = || self.life().seed_of(lsn, &self.geometry());
        self.tail.read(lsn, offset, seed, read)
    }

    /// The segment files.
    #[must_use]
    #[inline]
    pub fn store(&self) -> &SegmentStore {
        &self.store
    }

    /// The log's fixed sizes.
    #[must_use]
    #[inline]
    pub fn geometry(&self) -> Geometry {
        self.buffers.geometry()
    }

    /// Which life of which cache appends.
    #[must_use]
    #[inline]
    pub fn life(&self) -> Life {
        self.buffers.life()
    }

    /// Keeps the tail in memory, as far as the system lets it be: reads what is not there.
    pub fn lock_tail(&self) {
        self.tail.lock_in_memory();
    }

    /// True when the tail is mapped from a file, so that what is complete survives the process.
    #[must_use]
    pub fn survives_kill(&self) -> bool {
        self.tail.is_mapped()
    }

    #[inline]
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    #[inline]
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    pub(crate) fn extents_wait(&self) -> &Mutex<()> {
        &self.extents_wait
    }

    pub(crate) fn owed(&self) -> &Owed {
        &self.owed
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn commit(&self) -> &Commit<WalError> {
        &self.commit
    }

    #[inline]
    pub(crate) fn encode_header(
        &self,
        header: &FrameHeader,
        lsn: Lsn,
    ) -> [u8; to_usize(HEADER_BYTES)] {
        let geometry = self.geometry();
        header.encode(
            self.life().seed_of(lsn, &geometry),
            lsn.offset(geometry.segment_bytes),
        )
    }

    /// A writer of buffer `seq` is finished; the last one of a sealed buffer wakes those who wait for it.
    #[inline]
    pub(crate) fn writer_done(&self, seq: u64) {
        self.buffers.complete(&self.tail, seq);
    }

    /// Waits until buffer `seq`, which is sealed, has no writer, or one that gave up ([`Owed`]).
    pub(crate) fn wait_done(&self, seq: u64) {
        self.buffers.handover().wait_until(|| {
            self.buffers
                .filled(&self.tail, seq)
                .is_none_or(|filled| filled.done || self.owed.is_owed(seq))
        });
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
