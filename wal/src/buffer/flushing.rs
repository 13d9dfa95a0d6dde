//! The buffers as the flusher sees them: sealed, complete, stable.
#![expect(
    unsafe_code,
    reason = "who finds a buffer complete vouches for its bytes"
)]

use super::Buffers;
use crate::header_word;
use crate::lsn::{ALIGN, Lsn};
use crate::sync::Ordering;
use crate::tail::{Complete, Tail};

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

impl Buffers {
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
}
