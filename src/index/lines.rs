//! Lines of the processor's cache, as an allocator hands them out without waste.
//!
//! ```text
//!   | up to 60 bytes | line 0 | line 1 | ... |     one piece: 16 words of 32 bits to a line
//! ```
//!
//! Whoever asks an allocator for aligned memory cuts its pieces out of larger ones, and the rest fits nobody: with tables
//! that only ever grow that was a sixth of what they take. So plain memory is asked for, with room to begin at a line.

use crate::sync::AtomicU32;

/// Words of a line.
pub(super) const WORDS: usize = 16;
pub(super) type Line = [AtomicU32; WORDS];

/// Words before the first line and behind the last one, together: where a line begins is at most so far from where memory does.
const SPARE: usize = WORDS - 1;

/// Lines in one piece of memory.
pub(super) struct Lines(Box<[AtomicU32]>);

impl Lines {
    /// So many lines of zeros.
    pub(super) fn new(lines: usize) -> Self {
        let words = 0..lines * WORDS + SPARE;
        Self(words.map(|_| AtomicU32::new(0)).collect())
    }

    pub(super) fn len(&self) -> usize {
        (self.0.len() - SPARE) / WORDS
    }

    #[inline]
    pub(super) fn line(&self, number: usize) -> &Line {
        // Not stored: to work it out is quicker than to load it. (loom's words are larger: there it is any word.)
        let first = self.0.as_ptr().addr().wrapping_neg() / size_of::<u32>() % WORDS;
        let line = self.0[first + number * WORDS..].first_chunk();
        line.expect("the number of a line")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        (0..self.len()).map(|number| self.line(number))
    }

    /// Bytes of so many lines in one piece.
    pub(super) const fn bytes(lines: usize) -> usize {
        (lines * WORDS + SPARE) * size_of::<AtomicU32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn every_line_is_one_of_its_own_and_begins_where_a_line_does() {
        for len in [1, 2, 63, 64, 1000] {
            let lines = Lines::new(len);
            assert_eq!(lines.len(), len);
            for (number, line) in (0..).zip(lines.iter()) {
                assert!(std::ptr::from_ref(line).addr().is_multiple_of(64));
                line.iter().for_each(|word| {
                    assert_eq!(word.load(Ordering::Relaxed), 0);
                    word.store(number, Ordering::Relaxed);
                });
            }
            for (number, line) in (0..).zip(lines.iter()) {
                let own = |word: &AtomicU32| word.load(Ordering::Relaxed) == number;
                assert!(line.iter().all(own));
            }
        }
    }
}
