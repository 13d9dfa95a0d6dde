//! Writers, the sealer and the flusher over one header word: the real functions.
//!
//! What broke the models when it was weakened in `header_word.rs`, one at a time: `complete` with `Release` or with
//! `Acquire` alone, and `sealed` with `Relaxed` (causality violation: whoever flushes reads a place whose writer it is not
//! ordered after); `complete` that asks only for the seal, or only for the last writer, and a seal or a reservation that
//! adds no writer (a buffer handed over that is not done, or two are told); a reservation that ignores the seal; `is_of`
//! always true, here also made by two numbers with one salt (a place in a buffer that the writer does not know). What did
//! not: a `Relaxed` swap in `try_reserve`; the load before it and the decrement in `complete` carry what the models ask
//! for.

use std::sync::Arc;

use loom::thread;

use super::{Place, Reached, check};
use crate::header_word::{self, Attempt, Limits, Word};
use crate::sync::{AtomicU64, Ordering};

const UNITS: usize = 4;
const LIMITS: Limits = Limits {
    units: UNITS as u64 - 1,
    budget: u64::MAX,
    row: 0,
};

/// A descriptor and its part of the ring.
struct Buffer {
    /// The number of the buffer that frames go to, as in `Buffers`.
    current: AtomicU64,
    word: AtomicU64,
    base: AtomicU64,
    places: [Place; UNITS],
}

impl Buffer {
    fn new(seq: u64) -> Arc<Self> {
        Arc::new(Self {
            current: AtomicU64::new(seq),
            word: AtomicU64::new(Word::open(seq).0),
            base: AtomicU64::new(seq),
            places: std::array::from_fn(|_| Place::new(0)),
        })
    }

    fn place(&self, at: u64) -> &Place {
        &self.places[crate::to_usize(at)]
    }

    /// One frame of one unit in the current buffer, as `Buffers::reserve` does it.
    fn append(&self) -> Appended {
        let seq = self.current.load(Ordering::Acquire);
        self.append_to(seq)
    }

    /// The base is read before the word: it counts only if the swap finds the word of `seq`.
    fn append_to(&self, seq: u64) -> Appended {
        let base = self.base.load(Ordering::Relaxed);
        match header_word::try_reserve(&self.word, seq, 1, LIMITS) {
            Attempt::At(at) => {
                assert_eq!(base, seq, "the base is of the buffer that was reserved in");
                self.place(at).write(seq);
                let told = header_word::complete(&self.word);
                Appended::Frame { seq, told }
            }
            Attempt::Full | Attempt::Stale => Appended::Not,
        }
    }

    /// Seals, writes the mark and completes it. True when told that the buffer is done.
    fn seal(&self, seq: u64) -> bool {
        let before = header_word::try_seal(&self.word, seq, |_| 1).expect("one sealer");
        self.place(before.offset()).write(seq);
        header_word::complete(&self.word)
    }

    /// What the flusher sees of a done buffer: every frame and the mark, all there.
    fn flush(&self, seq: u64) {
        let word = Word(self.word.load(Ordering::Relaxed));
        assert!(word.sealed() && word.writers() == 0);
        assert!(word.is_of(seq));
        for at in 0..word.offset() {
            assert_eq!(self.place(at).read(), seq, "unit {at}");
        }
    }

    /// The descriptor and the ring are used again for `seq`, as `Buffers::install` does it.
    fn reuse(&self, seq: u64) {
        self.base.store(seq, Ordering::Relaxed);
        self.word.store(Word::open(seq).0, Ordering::Release);
        self.current.store(seq, Ordering::Release);
    }
}

enum Appended {
    Frame { seq: u64, told: bool },
    Not,
}

impl Appended {
    fn told(&self) -> bool {
        matches!(self, Self::Frame { told: true, .. })
    }
}

/// Two writers and the sealer: whoever is told sees all bytes.
#[test]
fn exactly_one_is_told_and_sees_every_byte() {
    let told_writer = Arc::new(Reached::default());
    let told_sealer = Arc::new(Reached::default());
    let (writer, sealer) = (Arc::clone(&told_writer), Arc::clone(&told_sealer));
    check(move || {
        let buffer = Buffer::new(1);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let buffer = Arc::clone(&buffer);
                thread::spawn(move || {
                    let told = buffer.append().told();
                    if told {
                        buffer.flush(1);
                    }
                    told
                })
            })
            .collect();
        let sealer_told = buffer.seal(1);
        if sealer_told {
            buffer.flush(1);
            sealer.count();
        }
        let mut told = usize::from(sealer_told);
        for handle in writers {
            if handle.join().expect("the thread ends well") {
                told += 1;
                writer.count();
            }
        }
        assert_eq!(told, 1);
    });
    told_writer.assert("a writer is told");
    told_sealer.assert("the sealer is told");
}

/// Three writers, no two of which get the same unit: a place written twice would be reported, or lose a count.
#[test]
fn no_two_reservations_overlap() {
    check(|| {
        let buffer = Buffer::new(1);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let buffer = Arc::clone(&buffer);
                thread::spawn(move || buffer.append())
            })
            .collect();
        buffer.append();
        for writer in writers {
            assert!(
                !writer.join().expect("the thread ends well").told(),
                "nobody sealed it"
            );
        }
        assert!(buffer.seal(1));
        buffer.flush(1);
        let word = Word(buffer.word.load(Ordering::Relaxed));
        assert_eq!((word.frames(), word.offset()), (3, 4));
    });
}

/// The flusher is told nothing; it looks.
#[test]
fn a_flusher_that_finds_the_buffer_done_sees_every_byte() {
    let found = Arc::new(Reached::default());
    let count = Arc::clone(&found);
    check(move || {
        let buffer = Buffer::new(1);
        let flusher = {
            let (buffer, count) = (Arc::clone(&buffer), Arc::clone(&count));
            thread::spawn(move || {
                let done = header_word::sealed(&buffer.word, 1).is_some_and(|w| w.writers() == 0);
                if done {
                    buffer.flush(1);
                    count.count();
                }
            })
        };
        let writer = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || {
                buffer.append();
            })
        };
        buffer.seal(1);
        writer.join().expect("the thread ends well");
        flusher.join().expect("the thread ends well");
    });
    found.assert("the flusher finds it done");
}

/// A writer and the sealer of `old`; whoever is told hands the buffer on, and it is used again for `new`.
fn reuse(old: u64, new: u64) {
    let (stale, reused) = (Arc::new(Reached::default()), Arc::new(Reached::default()));
    let counts = (Arc::clone(&stale), Arc::clone(&reused));
    check(move || {
        let buffer = Buffer::new(old);
        let hand_on = move |buffer: &Buffer| {
            buffer.flush(old);
            buffer.reuse(new);
        };
        let parked = {
            let (buffer, stale) = (Arc::clone(&buffer), Arc::clone(&counts.0));
            thread::spawn(move || match buffer.append_to(old) {
                Appended::Frame { told: true, .. } => hand_on(&buffer),
                Appended::Frame { told: false, .. } => {}
                Appended::Not => stale.count(),
            })
        };
        if buffer.seal(old) {
            hand_on(&buffer);
        }
        if let Appended::Frame { seq, .. } = buffer.append() {
            assert_eq!(seq, new, "the old one is sealed");
            counts.1.count();
        }
        parked.join().expect("the thread ends well");
    });
    stale.assert("a writer that came too late");
    reused.assert("a frame in the buffer's second use");
}

#[test]
fn handle_aba_a_swap_parked_across_a_reuse_fails() {
    reuse(1, 1 + crate::tail_head::DESCRIPTORS as u64);
}

/// With one salt for both uses, the parked writer gets a place in a buffer it does not know.
#[test]
#[should_panic(expected = "the base is of the buffer that was reserved in")]
fn weakened_an_equal_salt_lets_it_succeed() {
    reuse(1, 1 + (1 << 24));
}
