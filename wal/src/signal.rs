//! How a background thread is woken and told to stop.

use std::time::Duration;

use crate::sync::{Condvar, Mutex};

/// Wakes one background thread. What is asked for while it works is not lost: it goes on at once.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: bool,
    stopped: bool,
}

impl Signal {
    /// There is work.
    pub fn wake(&self) {
        self.state.lock().pending = true;
        self.wake.notify_all();
    }

    /// There will be no more work.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_all();
    }

    #[cfg(test)]
    pub(crate) fn is_pending(&self) -> bool {
        self.state.lock().pending
    }

    /// Waits for work, which is also `every` so often. False: stop.
    pub fn next(&self, every: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        while !state.pending && !state.stopped {
            match every {
                Some(every) => {
                    state = self.wake.wait_for(state, every);
                    state.pending = true;
                }
                None => state = self.wake.wait(state),
            }
        }
        state.pending = false;
        !state.stopped
    }
}
