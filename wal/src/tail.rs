//! The tail: the ring of memory that the io buffers lie in, and the head in front of it.
//!
//! ```text
//!   | head, 4096 bytes | ring, `ring_bytes`: the byte of LSN x lies at x mod ring_bytes |
//! ```
//! Mapped, the kernel owns the memory: what a process had stored here is still there after it was killed. The ring's
//! window is (`released`, `released` + ring]: an LSN is reserved only inside it, so no two live LSNs share a byte (I1).
#![expect(
    unsafe_code,
    reason = "the ring is shared memory; this file is its safe face"
)]

use std::cell::UnsafeCell;
use std::sync::Arc;

use crossbeam_epoch as epoch;
use perennial_failpoints::fs::SharedMap;

use crate::descriptors::UNUSED_BASE;
use crate::frame::{FrameHeader, HEADER_BYTES, Seed, u64_at};
use crate::lsn::{ALIGN, Lsn, to_usize};
use crate::sync::{AtomicU64, EpochU64, Ordering, fence};
use crate::tail_head::{
    DESCRIPTORS, DESCRIPTORS_AT, STABLE_AT, TAIL_HEAD_BYTES, TailHead, TailIdentity, VOID_AT,
    stable_word, void_word,
};

/// An io buffer's place in the tail head: the header word and the base.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Descriptor {
    pub(crate) word: AtomicU64,
    pub(crate) base: AtomicU64,
}

const _: () = assert!(size_of::<Descriptor>() == 16);

impl Descriptor {
    /// Makes it one that was never used. True: it had been.
    fn forget(&self) -> bool {
        let word = self.word.swap(0, Ordering::Release);
        self.base.store(UNUSED_BASE, Ordering::Release);
        word != 0
    }
}

/// Where the tail's memory comes from.
#[derive(Debug)]
enum Memory {
    Mapped(Box<dyn SharedMap>),
    Heap(Box<[HeapSector]>),
}

#[derive(Debug)]
#[repr(C, align(4096))]
struct HeapSector(UnsafeCell<[u8; 4096]>);

/// What a read of the ring found.
#[derive(Debug, PartialEq, Eq)]
pub enum TailRead<T> {
    /// The frame, through the reader's closure.
    Frame(T),
    /// The frame's writer is not finished: look again in a moment.
    Pending,
    /// The ring has moved on; the frame is in its segment.
    Gone,
    /// The bytes are not the frame that was expected.
    Other,
}

/// The ring and its head.
#[derive(Debug)]
pub(crate) struct Tail {
    memory: Memory,
    base: *mut u8,
    ring_bytes: u64,
    /// Frames below are read from their segment.
    floor: AtomicU64,
    /// Bytes below may be written over: `floor`, once no reader from before can be left.
    released: Arc<EpochU64>,
    /// The boot it was emptied in has an identity: the next open can tell whether it is the same one.
    of_a_boot: bool,
}

/// Proof that everything reserved below a position is complete, and the right, which is one, to look at it until it is
/// released and to release it. [`Tail::reset`] makes it, for an empty ring.
#[derive(Debug)]
pub(crate) struct Complete {
    end: Lsn,
}

impl Complete {
    /// Extends the proof.
    ///
    /// # Safety
    /// Every reservation below `end` is complete and seen to be so with acquire (I3), and none will be made there.
    pub(crate) unsafe fn raise(&mut self, end: Lsn) {
        self.end = self.end.max(end);
    }
}

// SAFETY: `base` points into `memory`, which the Tail owns and which does not move; bytes of the ring are handed out by
// the functions below under the invariants I1, I2 and I5, which hold across threads.
unsafe impl Send for Tail {}
// SAFETY: as for Send.
unsafe impl Sync for Tail {}

impl Tail {
    /// A tail in process memory.
    pub(crate) fn heap(ring_bytes: u64) -> Self {
        let sectors = (TAIL_HEAD_BYTES + ring_bytes).div_ceil(4096);
        let memory: Box<[HeapSector]> = (0..sectors)
            .map(|_| HeapSector(UnsafeCell::new([0; 4096])))
            .collect();
        Self::over(Memory::Heap(memory), ring_bytes)
    }

    /// A tail over a mapped file of [`TAIL_HEAD_BYTES`] + `ring_bytes`.
    pub(crate) fn mapped(map: Box<dyn SharedMap>, ring_bytes: u64) -> Self {
        assert!(
            map.len() as u64 >= TAIL_HEAD_BYTES + ring_bytes,
            "the map covers head and ring"
        );
        Self::over(Memory::Mapped(map), ring_bytes)
    }

    fn over(memory: Memory, ring_bytes: u64) -> Self {
        let base = match &memory {
            Memory::Mapped(map) => map.as_ptr(),
            Memory::Heap(sectors) => sectors.first().expect("a tail has a head").0.get().cast(),
        };
        let (floor, released) = (AtomicU64::new(0), Arc::new(EpochU64::new(0)));
        Self {
            memory,
            base,
            ring_bytes,
            floor,
            released,
            of_a_boot: false,
        }
    }

    /// Keeps a mapped tail in memory, as far as the system lets it be. It reads all of the file that is not there: an open does
    /// not wait for that.
    pub(crate) fn lock_in_memory(&self) {
        if let Memory::Mapped(map) = &self.memory {
            map.lock_in_memory();
        }
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.memory, Memory::Mapped(_))
    }

    pub(crate) fn is_of_a_boot(&self) -> bool {
        self.of_a_boot
    }

    pub(crate) fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    #[inline]
    fn u64_at(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8));
        debug_assert!((offset as u64) < TAIL_HEAD_BYTES + self.ring_bytes);
        // SAFETY: in bounds (by the callers' constants, by I1, or as `can_begin` saw), 8-aligned since `base` is
        // 4096-aligned. Words of the head and ready words are only touched as atomics while the log runs; the other words
        // of a header were stored before its ready word, which says so (I2).
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// The descriptor of the buffer with sequence number `seq`.
    #[inline]
    pub(crate) fn descriptor(&self, seq: u64) -> &Descriptor {
        let offset = DESCRIPTORS_AT + to_usize(seq % DESCRIPTORS as u64) * size_of::<Descriptor>();
        // SAFETY: inside the head, 16-aligned, and touched only as two atomics.
        unsafe { &*self.base.add(offset).cast::<Descriptor>() }
    }

    /// What the head says, as a dead process left it.
    pub(crate) fn found_head(&mut self) -> Option<TailHead> {
        TailHead::decode(self.head_mut())
    }

    fn head_mut(&mut self) -> &mut [u8] {
        // SAFETY: `&mut self`: nobody else holds a reference into the memory; the head is in bounds.
        unsafe { std::slice::from_raw_parts_mut(self.base, to_usize(TAIL_HEAD_BYTES)) }
    }

    /// The ring, as a dead process left it.
    pub(crate) fn found_ring(&mut self) -> &[u8] {
        // SAFETY: `&mut self`: nobody writes; the ring is in bounds.
        unsafe {
            std::slice::from_raw_parts(
                self.base.add(to_usize(TAIL_HEAD_BYTES)),
                to_usize(self.ring_bytes),
            )
        }
    }

    /// Makes the tail empty at `start` for the life that `identity` names.
    ///
    /// The stable words go first: from then on nothing in the ring counts. Then the tail is of no boot until all is done, and its
    /// descriptors say nothing: of two unfinished buffers side by side the second alone would say that the first, at the
    /// log's end, had been complete, and the next recovery would take the missing bytes there for damage.
    pub(crate) fn reset(&mut self, identity: &TailIdentity, start: Lsn) -> Complete {
        self.publish_stable_words(start);
        let of_no_boot = TailIdentity {
            boot_id: [0; 16],
            ..*identity
        };
        of_no_boot.write_to(self.head_mut());
        fence(Ordering::SeqCst);
        for seq in 0..DESCRIPTORS as u64 {
            if self.descriptor(seq).forget() {
                perennial_failpoints::site!("wal::tail::forget");
            }
        }
        fence(Ordering::SeqCst);
        identity.write_to(self.head_mut());
        self.of_a_boot = identity.boot_id != of_no_boot.boot_id;
        self.floor.store(start.0, Ordering::Relaxed);
        self.released.store(start.0, Ordering::Relaxed);
        // Nobody has reserved anything: `&mut self`.
        Complete { end: start }
    }

    fn publish_stable_words(&self, stable: Lsn) {
        let word = stable_word(stable);
        for at in STABLE_AT {
            self.u64_at(at).store(word, Ordering::Release);
            self.u64_at(at + 8).store(!word, Ordering::Release);
        }
    }

    /// Says that the life `incarnation` goes on without its log. Before this returns a killed process leaves it said.
    pub(crate) fn publish_void(&self, incarnation: u64) {
        for at in VOID_AT {
            self.u64_at(at)
                .store(void_word(incarnation), Ordering::Release);
        }
        fence(Ordering::SeqCst);
    }

    /// The end of the window: reservations end at or before.
    pub(crate) fn window_end(&self) -> u64 {
        // Acquire: pairs with the Release in `advance`'s deferred closure, so that the readers' copies are over (I5).
        let mut released = self.released.load(Ordering::Acquire);
        if perennial_failpoints::planted!("reuse-before-stable") {
            released += self.ring_bytes / 2;
        }
        released + self.ring_bytes
    }

    /// The log is stable up to `stable`: readers go to the segments below `floor`, and once those who came before are
    /// gone, writers may have the ring up to there. Takes the proof mutably: nobody looks at what is released.
    pub(crate) fn advance(&self, complete: &mut Complete, stable: Lsn, floor: Lsn) {
        assert!(
            floor <= complete.end,
            "released bytes have no unfinished writer"
        );
        self.publish_stable_words(stable);
        if self.floor.fetch_max(floor.0, Ordering::SeqCst) >= floor.0 {
            return;
        }
        let released = Arc::clone(&self.released);
        let guard = epoch::pin();
        guard.defer(move || {
            released.fetch_max(floor.0, Ordering::Release);
        });
        guard.flush();
        drop(guard);
        // At once where no reader is in the way: nobody else's pins need come along.
        self.drive();
    }

    /// Drives the epoch so that deferred releases happen soon. Never called while pinned (PROTOCOL hole 25).
    pub(crate) fn drive(&self) {
        let floor = self.floor.load(Ordering::SeqCst);
        for _ in 0..8 {
            if self.released.load(Ordering::Acquire) >= floor {
                return;
            }
            epoch::pin().flush();
        }
    }

    /// Where the byte of `lsn` lies, from the start of the memory. A division: whoever needs it often keeps it.
    pub(crate) fn position(&self, lsn: Lsn) -> usize {
        to_usize(TAIL_HEAD_BYTES + lsn.0 % self.ring_bytes)
    }

    /// The bytes of a reservation.
    ///
    /// # Safety
    /// [`lsn`, `lsn` + `len`) was reserved inside the window, does not cross the ring's end, and the caller is the one
    /// who holds the reservation (I1): nobody else touches these bytes until it completes.
    #[expect(
        clippy::mut_from_ref,
        reason = "the reservation is the exclusive right to these bytes"
    )]
    pub(crate) unsafe fn reserved(&self, lsn: Lsn, len: u64) -> &mut [u8] {
        debug_assert!(lsn.0 % self.ring_bytes + len <= self.ring_bytes);
        // SAFETY: in bounds by the assert; exclusive by the caller's contract.
        unsafe { self.reserved_at(self.position(lsn), to_usize(len)) }
    }

    /// The same at a [position](Self::position) that is known.
    ///
    /// # Safety
    /// As for [`reserved`](Self::reserved), of the LSN at this position.
    #[expect(
        clippy::mut_from_ref,
        reason = "the reservation is the exclusive right to these bytes"
    )]
    #[inline]
    pub(crate) unsafe fn reserved_at(&self, position: usize, len: usize) -> &mut [u8] {
        debug_assert!((position + len) as u64 <= TAIL_HEAD_BYTES + self.ring_bytes);
        // SAFETY: in bounds, for a position lies in the ring and what is reserved does not cross its end; exclusive by the
        // caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(position), len) }
    }

    /// Bytes that are complete and not yet released.
    ///
    /// # Safety
    /// Every reservation in [`lsn`, `lsn` + `len`) is complete, the range does not cross the ring's end, and the range is
    /// not released while the slice lives (I2, I5).
    pub(crate) unsafe fn complete(&self, lsn: Lsn, len: u64) -> &[u8] {
        debug_assert!(lsn.0 % self.ring_bytes + len <= self.ring_bytes);
        // SAFETY: in bounds by the assert; nobody writes by the caller's contract.
        unsafe { std::slice::from_raw_parts(self.base.add(self.position(lsn)), to_usize(len)) }
    }

    /// Writes the header of a frame without a body.
    ///
    /// # Safety
    /// As for [`reserved`](Self::reserved): the caller has reserved the frame's place, by installing a closed buffer or by
    /// sealing one, and is its one writer.
    pub(crate) unsafe fn write_filler(&self, lsn: Lsn, header: &[u8; to_usize(HEADER_BYTES)]) {
        // SAFETY: I1 — the caller holds the place; fillers lie inside the window and before the ring's end.
        let bytes = unsafe { self.reserved(lsn.plus(8), HEADER_BYTES - 8) };
        bytes.copy_from_slice(&header[8..]);
        self.publish_ready(lsn, header);
    }

    /// Stores a finished frame's ready word, its header's first eight bytes.
    fn publish_ready(&self, lsn: Lsn, header: &[u8; to_usize(HEADER_BYTES)]) {
        self.publish_ready_at(self.position(lsn), header);
    }

    /// The same at a [position](Self::position) that is known.
    #[inline]
    pub(crate) fn publish_ready_at(&self, position: usize, header: &[u8; to_usize(HEADER_BYTES)]) {
        // Release: pairs with the Acquire in `read` (I2).
        self.u64_at(position)
            .store(u64_at(header, 0), Ordering::Release);
    }

    /// Clears a ready word: no frame is there until it is stored.
    #[inline]
    pub(crate) fn clear_ready_at(&self, position: usize) {
        // Relaxed: the address is published by the index's own Release store, after this.
        self.u64_at(position).store(0, Ordering::Relaxed);
    }

    /// Shows `look` bytes that the flusher is about to write.
    pub(crate) fn with_complete<T>(
        &self,
        complete: &Complete,
        lsn: Lsn,
        len: u64,
        look: impl FnOnce(&[u8]) -> T,
    ) -> T {
        // Relaxed: only `advance` moves it, which needs the proof that the caller shares with nobody.
        let floor = self.floor.load(Ordering::Relaxed);
        assert!(lsn.plus(len) <= complete.end);
        assert!(lsn.0 >= floor || perennial_failpoints::planted!("floor-at-the-stable-lsn"));
        assert!(lsn.0 % self.ring_bytes + len <= self.ring_bytes);
        // SAFETY: I2, I5 — inside the bounds of the ring and of the proof: its reservations are complete, and nothing from
        // the floor on is released while the proof is borrowed.
        look(unsafe { self.complete(lsn, len) })
    }

    /// The ready word of the frame at `lsn`.
    fn ready(&self, lsn: Lsn) -> &AtomicU64 {
        self.u64_at(self.position(lsn))
    }

    /// True where a frame can begin: on a unit, its header before the ring's end. None begins where its segment does.
    fn can_begin(&self, lsn: Lsn, offset: u64) -> bool {
        let header_fits = lsn.0 % self.ring_bytes <= self.ring_bytes - HEADER_BYTES;
        lsn.0.is_multiple_of(ALIGN) && header_fits && offset != 0
    }

    /// The header at `lsn`, where one can begin, behind this ready word. Loaded word by word and looked at as a copy: until
    /// it has proved itself, these may be bytes that somebody is writing.
    fn header_behind(&self, ready: u64, lsn: Lsn) -> [u8; to_usize(HEADER_BYTES)] {
        let mut header = [0; to_usize(HEADER_BYTES)];
        for (index, bytes) in header.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let word = match index {
                0 => ready,
                // Relaxed: the load of the ready word acquired them (I2).
                _ => self
                    .u64_at(self.position(lsn) + index * 8)
                    .load(Ordering::Relaxed),
            };
            *bytes = word.to_le_bytes();
        }
        header
    }

    /// True when what lies at `lsn` is not in the ring any more. The floor never falls: what is below it before the pin is
    /// below it behind. Most reads end with this, without the fence of a pin.
    #[inline]
    pub(crate) fn is_gone(&self, lsn: Lsn) -> bool {
        let gone = lsn.0 < self.floor.load(Ordering::Acquire);
        gone && !perennial_failpoints::planted!("recycling-not-checked")
    }

    /// Gives the frame at `lsn` to `read` if it is here and complete. Never blocks. An `lsn` at which this life reserved
    /// no frame of the ring gets nothing: no header there proves itself.
    pub(crate) fn read<T>(
        &self,
        lsn: Lsn,
        offset: u64,
        seed: impl FnOnce() -> Seed,
        read: impl FnOnce(&FrameHeader, &[u8]) -> T,
    ) -> TailRead<T> {
        if !self.can_begin(lsn, offset) {
            return TailRead::Other;
        }
        let _guard = epoch::pin();
        // SeqCst: pairs with the fetch_max in `advance`: either this load sees the new floor, or the pin was before the
        // deferral and holds the release back (I5).
        let recycled = lsn.0 < self.floor.load(Ordering::SeqCst);
        if recycled && !perennial_failpoints::planted!("recycling-not-checked") {
            return TailRead::Gone;
        }
        // Acquire: pairs with the Release store in `Reservation::finish`: the frame's bytes are there (I2).
        let ready = self.ready(lsn).load(Ordering::Acquire);
        if ready == 0 {
            // Behind the window nobody writes: who waited would wait for ever.
            let reserved = !recycled && lsn.0 < self.window_end();
            return if reserved {
                TailRead::Pending
            } else {
                TailRead::Other
            };
        }
        let Ok(header) = FrameHeader::decode(&self.header_behind(ready, lsn), seed(), offset)
        else {
            return TailRead::Other;
        };
        let bytes = HEADER_BYTES + header.body_bytes();
        if lsn.0 % self.ring_bytes + bytes > self.ring_bytes {
            return TailRead::Other;
        }
        // SAFETY: I2 — the header proves itself, so the ready word, which is part of it, is this frame's: its writer is
        // finished, and these are its bytes, before the ring's end as just seen. The window keeps them until no reader
        // pinned before the floor passed it is left (I5), and we are pinned.
        TailRead::Frame(read(&header, unsafe { self.complete(lsn, bytes) }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
