//! The word every writer of an io buffer agrees on.
//!
//! ```text
//!  63      40  39      38     30 29    17 16       0
//! |  salt    |sealed | writers | frames | offset    |     offset in 16-byte units
//! |  24      |  1    |  9      |  13    |  17       |
//! ```
//! A reservation adds one writer, one frame and its bytes in one compare-and-swap; sealing adds one writer (the sealer,
//! who writes the buffer's mark) and wins over later reservations. Whoever takes `writers` to zero on a sealed word
//! hands the buffer to the flusher: exactly one thread (I3). The salt is the low bits of the buffer's sequence number,
//! so a compare-and-swap prepared against an earlier use of the same word cannot succeed before 2^24 x 128 buffers
//! have gone by in between (I4).

use crate::sync::{AtomicU64, Ordering};

const OFFSET_BITS: u32 = 17;
const FRAMES_BITS: u32 = 13;
const WRITERS_BITS: u32 = 9;
const FRAMES_SHIFT: u32 = OFFSET_BITS;
const WRITERS_SHIFT: u32 = FRAMES_SHIFT + FRAMES_BITS;
const SEALED_SHIFT: u32 = WRITERS_SHIFT + WRITERS_BITS;
const SALT_SHIFT: u32 = SEALED_SHIFT + 1;
const SALT_BITS: u32 = 64 - SALT_SHIFT;
const _: () = assert!(SALT_BITS == 24);

/// The most 16-byte units an io buffer can hold.
pub(crate) const MAX_UNITS: u64 = (1 << OFFSET_BITS) - 1;
const MAX_FRAMES: u64 = (1 << FRAMES_BITS) - 1;
const MAX_WRITERS: u64 = (1 << WRITERS_BITS) - 1;
/// The last place is the sealer's, who therefore never waits for one. (Reservations took it once and the next one waited
/// for somebody to be finished, under the lock of an index shard.)
const MAX_RESERVING: u64 = MAX_WRITERS - 1;

/// A header word, taken apart by its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// What a buffer can still take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Units that frames may fill; the mark's place is not among them.
    pub(crate) units: u64,
    /// Bytes left in the segment for frames and their trailer rows together.
    pub(crate) budget: u64,
    /// Bytes charged per frame for its row.
    pub(crate) row: u64,
}

/// What came of an attempt to reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The frame's place, in units from the buffer's base.
    At(u64),
    /// Sealed, no room, or as many writers as the word counts beside a sealer: the buffer must be rotated.
    Full,
    /// The word belongs to another sequence number by now: look again.
    Stale,
}

impl Word {
    /// The word of a new buffer.
    pub(crate) const fn open(seq: u64) -> Self {
        Self((seq & ((1 << SALT_BITS) - 1)) << SALT_SHIFT)
    }

    /// The word of a new buffer that takes no reservations and has one writer: a filler or an extent.
    pub(crate) const fn closed(seq: u64, units: u64) -> Self {
        Self(Self::open(seq).0 | 1 << SEALED_SHIFT | 1 << WRITERS_SHIFT | units)
    }

    pub(crate) const fn is_of(self, seq: u64) -> bool {
        self.salt() == Self::open(seq).salt()
    }

    /// The low bits of the sequence number of the buffer that the word belongs to.
    pub(crate) const fn salt(self) -> u64 {
        self.0 >> SALT_SHIFT
    }

    pub(crate) const fn sealed(self) -> bool {
        self.0 >> SEALED_SHIFT & 1 == 1
    }

    pub(crate) const fn writers(self) -> u64 {
        self.0 >> WRITERS_SHIFT & MAX_WRITERS
    }

    pub(crate) const fn frames(self) -> u64 {
        self.0 >> FRAMES_SHIFT & MAX_FRAMES
    }

    /// Units filled so far.
    pub(crate) const fn offset(self) -> u64 {
        self.0 & MAX_UNITS
    }

    fn reserve(self, units: u64, limits: Limits) -> Result<Self, Attempt> {
        let offset = self.offset() + units;
        let frames = self.frames() + 1;
        let fits = offset <= limits.units
            && offset <= MAX_UNITS
            && frames <= MAX_FRAMES
            && self.writers() < MAX_RESERVING
            && offset * 16 + frames * limits.row <= limits.budget;
        if self.sealed() || !fits {
            Err(Attempt::Full)
        } else {
            Ok(Self(
                self.0 + units + (1 << FRAMES_SHIFT) + (1 << WRITERS_SHIFT),
            ))
        }
    }

    /// The word with its seal on, `units` more for the mark, and the sealer as a writer.
    fn seal(self, units: u64) -> Self {
        Self((self.0 | 1 << SEALED_SHIFT) + units + (1 << WRITERS_SHIFT))
    }
}

/// Reserves `units` in the buffer of sequence number `seq`.
#[inline]
pub(crate) fn try_reserve(word: &AtomicU64, seq: u64, units: u64, limits: Limits) -> Attempt {
    // Acquire: pairs with the Release store of a new buffer's word. What its number promises was seen with the number.
    let mut now = Word(word.load(Ordering::Acquire));
    loop {
        if !now.is_of(seq) {
            return Attempt::Stale;
        }
        let next = match now.reserve(units, limits) {
            Ok(next) => next,
            Err(attempt) => return attempt,
        };
        match word.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Attempt::At(now.offset()),
            Err(found) => now = Word(found),
        }
    }
}

/// Seals the buffer of `seq`, giving the sealer `mark(offset)` units for the mark. Returns the word as it was before,
/// or `None` when it is sealed already or of another sequence number.
pub(crate) fn try_seal(word: &AtomicU64, seq: u64, mark: impl Fn(u64) -> u64) -> Option<Word> {
    let mut now = Word(word.load(Ordering::Acquire));
    loop {
        if !now.is_of(seq) || now.sealed() {
            return None;
        }
        debug_assert!(now.writers() <= MAX_RESERVING, "the sealer's place is kept");
        let next = now.seal(mark(now.offset()));
        match word.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(now),
            Err(found) => now = Word(found),
        }
    }
}

/// The word of the buffer of `seq` once it is sealed; without writers, it is done.
pub(crate) fn sealed(word: &AtomicU64, seq: u64) -> Option<Word> {
    // Acquire: pairs with the writers' AcqRel decrements: their bytes are seen (I3).
    let word = Word(word.load(Ordering::Acquire));
    (word.is_of(seq) && word.sealed()).then_some(word)
}

/// One writer is finished. True for exactly one: the last writer of a sealed buffer.
#[inline]
pub(crate) fn complete(word: &AtomicU64) -> bool {
    // Release: this writer's bytes; Acquire: those of the writers before, for the one who hands the buffer on (I3).
    let before = Word(word.fetch_sub(1 << WRITERS_SHIFT, Ordering::AcqRel));
    debug_assert!(before.writers() > 0, "completed a buffer without writers");
    before.sealed() && before.writers() == 1
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ROOM: Limits = Limits {
        units: 100,
        budget: 100_000,
        row: 24,
    };

    #[test]
    fn fields_do_not_touch_each_other() {
        let word = Word::open(0xab_cdef);
        assert!(word.is_of(0xab_cdef) && word.is_of(0x1ab_cdef) && !word.is_of(0xab_cdee));
        assert_eq!(
            (word.sealed(), word.writers(), word.frames(), word.offset()),
            (false, 0, 0, 0)
        );
        let sealed = word.reserve(7, ROOM).unwrap().seal(2);
        assert!(sealed.is_of(0xab_cdef));
        assert_eq!(
            (
                sealed.sealed(),
                sealed.writers(),
                sealed.frames(),
                sealed.offset()
            ),
            (true, 2, 1, 9)
        );
        let closed = Word::closed(3, 5);
        assert_eq!(
            (
                closed.sealed(),
                closed.writers(),
                closed.frames(),
                closed.offset()
            ),
            (true, 1, 0, 5)
        );
    }

    #[test]
    fn reservations_follow_each_other_until_a_limit() {
        let word = AtomicU64::new(Word::open(1).0);
        assert_eq!(try_reserve(&word, 1, 60, ROOM), Attempt::At(0));
        assert_eq!(try_reserve(&word, 1, 40, ROOM), Attempt::At(60));
        assert_eq!(try_reserve(&word, 1, 1, ROOM), Attempt::Full);
        assert_eq!(try_reserve(&word, 2, 1, ROOM), Attempt::Stale);
    }

    #[test]
    fn a_frame_is_charged_its_row() {
        let word = AtomicU64::new(Word::open(1).0);
        let limits = Limits {
            budget: 2 * (16 + 24),
            ..ROOM
        };
        assert_eq!(try_reserve(&word, 1, 1, limits), Attempt::At(0));
        assert_eq!(try_reserve(&word, 1, 1, limits), Attempt::At(1));
        assert_eq!(try_reserve(&word, 1, 1, limits), Attempt::Full);
        for (budget, fits) in [(10 * 16 + 24, true), (10 * 16 + 23, false)] {
            let word = AtomicU64::new(Word::open(1).0);
            let limits = Limits { budget, ..ROOM };
            let reserved = try_reserve(&word, 1, 10, limits);
            assert_eq!(reserved == Attempt::At(0), fits, "{budget}");
        }
    }

    #[test]
    fn counters_never_overflow_into_their_neighbours() {
        let word = AtomicU64::new(Word::open(1).0);
        let limits = Limits {
            units: MAX_UNITS,
            budget: u64::MAX,
            row: 0,
        };
        for i in 0..MAX_RESERVING {
            assert_eq!(try_reserve(&word, 1, 1, limits), Attempt::At(i));
        }
        assert_eq!(try_reserve(&word, 1, 1, limits), Attempt::Full);
        assert!(
            try_seal(&word, 1, |_| 2).is_some(),
            "the sealer has a place"
        );
        let sealed = Word(word.load(Ordering::Relaxed));
        assert_eq!(
            (sealed.writers(), sealed.frames()),
            (MAX_WRITERS, MAX_RESERVING)
        );
        assert!(sealed.is_of(1) && sealed.sealed());
        let full = AtomicU64::new(Word::open(1).0 | MAX_FRAMES << FRAMES_SHIFT);
        assert_eq!(try_reserve(&full, 1, 1, limits), Attempt::Full);
        let full = AtomicU64::new(Word::open(1).0 | MAX_UNITS);
        assert_eq!(try_reserve(&full, 1, 1, limits), Attempt::Full);
    }

    #[test]
    fn every_counter_may_be_filled_to_its_end() {
        let limits = Limits {
            units: u64::MAX,
            budget: u64::MAX,
            row: 0,
        };
        let most = AtomicU64::new(Word::open(1).0);
        assert_eq!(try_reserve(&most, 1, MAX_UNITS, limits), Attempt::At(0));
        assert_eq!(try_reserve(&most, 1, 1, limits), Attempt::Full);
        assert_eq!(Word(most.load(Ordering::Relaxed)).offset(), 0x1_ffff);
        let frames = AtomicU64::new(Word::open(1).0 | (MAX_FRAMES - 1) << FRAMES_SHIFT);
        assert_eq!(try_reserve(&frames, 1, 1, limits), Attempt::At(0));
        assert_eq!(Word(frames.load(Ordering::Relaxed)).frames(), 0x1fff);
        let writers = Word(Word::open(1).0 | MAX_WRITERS << WRITERS_SHIFT);
        assert_eq!((writers.writers(), writers.sealed()), (511, false));
    }

    #[test]
    fn a_buffer_shows_that_it_is_sealed_to_those_who_know_its_number() {
        let word = AtomicU64::new(Word::open(1).0);
        try_reserve(&word, 1, 1, ROOM);
        assert_eq!(sealed(&word, 1), None);
        assert_eq!(try_seal(&word, 2, |_| 2), None, "another's");
        assert!(try_seal(&word, 1, |offset| offset + 2).is_some());
        assert_eq!(sealed(&word, 2), None);
        let found = sealed(&word, 1).unwrap();
        assert_eq!((found.offset(), found.writers(), found.frames()), (4, 2, 1));
        assert_eq!(try_reserve(&word, 1, 1, ROOM), Attempt::Full);
    }

    #[test]
    fn the_last_writer_of_a_sealed_buffer_is_told_and_no_other() {
        let word = AtomicU64::new(Word::open(1).0);
        try_reserve(&word, 1, 1, ROOM);
        assert!(!complete(&word), "not sealed yet");
        try_reserve(&word, 1, 1, ROOM);
        assert_eq!(try_seal(&word, 1, |_| 2).map(Word::offset), Some(2));
        assert_eq!(try_seal(&word, 1, |_| 2), None, "sealed once");
        assert!(!complete(&word));
        assert!(complete(&word));
        let word = Word(word.load(Ordering::Relaxed));
        assert!(word.sealed() && word.writers() == 0);
    }
}
