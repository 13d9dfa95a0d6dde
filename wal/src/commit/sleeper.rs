//! Somebody who sleeps until a commit is over, and what it is woken for.

use crate::sync::{Condvar, Mutex};

/// Why a sleeper is woken. It is, once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// What it waits for is stable.
    Leave,
    /// It leads.
    Lead,
    /// Nothing will be stable any more.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Sleeper {
    call: Mutex<Option<Call>>,
    wake: Condvar,
}

impl Sleeper {
    pub(super) fn wake(&self, call: Call) {
        *self.call.lock() = Some(call);
        self.wake.notify_one();
    }

    pub(super) fn sleep(&self) -> Call {
        let mut call = self.call.lock();
        loop {
            if let Some(call) = *call {
                return call;
            }
            call = self.wake.wait(call);
        }
    }
}
