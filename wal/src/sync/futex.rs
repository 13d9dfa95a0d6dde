//! A word that many may sleep at. One system call wakes them all, and the caller is not interrupted by each.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex::{Flags, wait, wake};

/// A number that only grows, and those who wait until it does.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    pub(crate) fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn wake_all(&self) {
        // No number of sleepers is an error, and the word is there.
        let _ = wake(&self.0, Flags::PRIVATE, i32::MAX as u32);
    }

    /// Returns at the latest when it was woken after the number was raised, and for no reason now and then.
    pub(crate) fn wait_while(&self, seen: u32) {
        // Raised meanwhile, interrupted, woken: whoever waits looks again.
        let _ = wait(&self.0, Flags::PRIVATE, seen, None);
    }
}
