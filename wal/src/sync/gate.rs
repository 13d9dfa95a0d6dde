//! A word that many may sleep at, where there is no futex: a lock and a condition variable.

use super::{Condvar, Mutex};

/// A number that only grows, and those who wait until it does.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    number: Mutex<u32>,
    raised: Condvar,
}

impl Gate {
    pub(crate) fn load(&self) -> u32 {
        *self.number.lock()
    }

    pub(crate) fn raise(&self) {
        let mut number = self.number.lock();
        *number = number.wrapping_add(1);
    }

    pub(crate) fn wake_all(&self) {
        self.raised.notify_all();
    }

    /// Returns at the latest when it was woken after the number was raised.
    pub(crate) fn wait_while(&self, seen: u32) {
        let mut number = self.number.lock();
        while *number == seen {
            number = self.raised.wait(number);
        }
    }
}
