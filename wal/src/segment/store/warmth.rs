//! Whether what is written stays in the page cache as well.
//!
//! Unbuffered writes are the quickest, and leave nothing behind: the first read of each entry then goes to the device. Where
//! entries are read back more than they are written, buffered writes are the better bargain: one more copy, and no such read.
//! So both are counted, by bytes, and the last 16 MiB written decide about the next.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// After so many bytes written it is decided anew.
const ROUND: u64 = 16 << 20;

/// What was read and written of late.
#[derive(Debug, Default)]
pub(super) struct Warmth {
    read: CachePadded<AtomicU64>,
    written: AtomicU64,
    warm: AtomicBool,
}

impl Warmth {
    /// An entry was read from a file.
    pub(super) fn note_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much is about to be written. True: it should stay in the page cache.
    pub(super) fn note_written(&self, bytes: u64) -> bool {
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
            let read = self.read.swap(0, Ordering::Relaxed);
            self.warm.store(read >= ended, Ordering::Relaxed);
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
        assert!(!warmth.note_written(ROUND - 1), "nothing is known yet");
        warmth.note_read(ROUND / 2);
        assert!(!warmth.note_written(1), "half of it was read back");
        warmth.note_read(ROUND);
        assert!(!warmth.note_written(1), "the round goes on");
        assert!(warmth.note_written(ROUND - 1), "all of it was");
        assert!(warmth.note_written(1), "until the next round ends");
        assert!(!warmth.note_written(ROUND), "nothing was");
    }
}
