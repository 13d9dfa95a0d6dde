//! What a crowd sleeps at: one call wakes all of it.

use crate::sync::Gate;

/// Counts how often it was rung. Who sleeps goes on once it was rung after they [`heard`](Self::heard) it last.
#[derive(Debug, Default)]
pub(super) struct Bell(Gate);

impl Bell {
    pub(super) fn heard(&self) -> u32 {
        self.0.load()
    }

    /// Nobody begins to sleep any more who came before; [`wake`](Self::wake) reaches those who do sleep.
    pub(super) fn ring(&self) {
        self.0.raise();
    }

    pub(super) fn wake(&self) {
        self.0.wake_all();
    }

    pub(super) fn sleep(&self, heard: u32) {
        while self.0.load() == heard {
            self.0.wait_while(heard);
        }
    }
}
