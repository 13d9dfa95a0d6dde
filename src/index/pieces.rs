//! Many lines, in pieces of `N`.
//!
//! ```text
//!   | piece 0: N lines | piece 1: N lines | ... | the rest |
//! ```
//!
//! Tables only ever grow. In one piece each would leave a hole that no later one fits, of which an allocator gathers a
//! sixth of what the tables themselves take; the pieces of an old table are those of the next ones. What it costs is a look
//! at a list of pointers, a few hundred in a large table.

use std::sync::Arc;

use super::lines::{Line, Lines};

/// A clone is the same lines.
#[derive(Clone)]
pub(super) struct Pieces<const N: usize>(Arc<[Lines]>);

impl<const N: usize> Pieces<N> {
    /// So many lines of zeros.
    pub(super) fn new(len: usize) -> Self {
        let pieces = (0..len).step_by(N);
        Self(pieces.map(|from| Lines::new(N.min(len - from))).collect())
    }

    pub(super) fn len(&self) -> usize {
        let last = self.0.last().map_or(0, Lines::len);
        self.0.len().saturating_sub(1) * N + last
    }

    #[inline]
    pub(super) fn line(&self, number: usize) -> &Line {
        self.0[number / N].line(number % N)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        self.0.iter().flat_map(Lines::iter)
    }

    /// Bytes of so many lines, what aligns them, and the list of their pieces.
    pub(super) fn bytes(len: usize) -> usize {
        let pieces = len.div_ceil(N);
        pieces * (Lines::bytes(0) + size_of::<Lines>()) + len * size_of::<Line>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn lines_come_in_order_and_each_once() {
        for len in [1, 63, 64, 65, 127, 128, 1000] {
            let lines = Pieces::<64>::new(len);
            let place = |line: &Line| std::ptr::from_ref(line).addr();
            let by_number: Vec<_> = (0..len).map(|n| place(lines.line(n))).collect();
            let in_order: Vec<_> = lines.iter().map(place).collect();
            assert_eq!((lines.len(), &by_number), (len, &in_order));
            let distinct: HashSet<_> = by_number.iter().collect();
            assert_eq!(distinct.len(), len);
        }
    }
}
