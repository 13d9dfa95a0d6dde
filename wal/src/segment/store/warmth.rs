//! Whether what is written stays in the page cache as well.
//!
//! Unbuffered writes are the quickest, and leave nothing behind: the first read of each entry then goes to the device. Where
//! entries are read back more than they are written, buffered writes are the better bargain: one more copy, and no such read.
//! So both are counted, by bytes, and the last 16 MiB written decide about the next.

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// After so many bytes written it is decided anew.
const ROUND: u64 = 16 << 20;

/// What was written of late, and what was made of it.
#[derive(Debug, Default)]
pub(super) struct Warmth {
    written: AtomicU64,
    warm: AtomicBool,
}

impl Warmth {
    /// So much is about to be written; `read` tells, and forgets, how much was read. True: it should stay in the page cache.
    pub(super) fn note_written(&self, bytes: u64, read: impl FnOnce() -> u64) -> bool {
        let written = self
            .written
            .fetch_add(bytes, Ordering::Relaxed)
            .wrapping_add(bytes);
        // Of two that come here at once one ends the round.
        let ended = if written >= ROUND {
            self.written.swap(0, Ordering::Relaxed)
        } else {
            0
        };
        if ended >= ROUND {
            self.warm.store(read() >= ended, Ordering::Relaxed);
        }
        self.warm.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_as_much_as_it_is_written_stays() {
        let warmth = Warmth::default();
        let none = || 0;
        let early = || panic!("the round goes on");
        assert!(!warmth.note_written(ROUND - 1, early), "nothing is known");
        assert!(!warmth.note_written(1, || ROUND / 2), "half was read back");
        assert!(!warmth.note_written(ROUND - 1, early), "as before");
        assert!(warmth.note_written(1, || ROUND), "all of it was");
        assert!(warmth.note_written(1, early), "until the next round ends");
        assert!(!warmth.note_written(ROUND, none), "nothing was");
    }
}
