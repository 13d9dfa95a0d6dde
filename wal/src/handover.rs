//! Who is told that a buffer is done: those who wait for it, and the background thread that will write it.
//!
//! Whoever takes a sealed buffer's last writer away tells, and that may be the sealer itself. (It did not once: a commit
//! that sealed the buffer while another thread, holding the flush state, waited for it left both asleep for ever.)

use crate::signal::Signal;
use crate::sync::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Handover {
    lock: Mutex<()>,
    wake: Condvar,
    pub(crate) background: Signal,
}

impl Handover {
    /// A buffer is done.
    pub(crate) fn tell(&self) {
        self.wake_waiters();
        self.background.wake();
    }

    /// Those who wait look again.
    pub(crate) fn wake_waiters(&self) {
        let _lock = self.lock.lock();
        self.wake.notify_all();
    }

    /// Waits until `done`, which somebody makes true before they [`tell`](Self::tell).
    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        for _ in 0..64 {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut lock = self.lock.lock();
        while !done() {
            lock = self.wake.wait(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use perennial_failpoints::SimFs;

    use crate::{Log, LogOptions};

    #[test]
    fn a_buffer_sealed_by_the_only_appender_wakes_the_background() {
        let options = LogOptions::new()
            .segment_bytes(8 << 10)
            .tail_bytes(4 << 10)
            .background(false);
        let log = Log::open(&SimFs::new(1), Path::new("/log"), &options).unwrap();
        let core = &log.log;
        while core.buffers().filled(core.tail(), 1).is_none() {
            log.append(&[7; 100]).unwrap();
        }
        assert!(core.buffers().handover().background.is_pending());
    }

    #[test]
    fn a_commit_writes_its_buffer_itself_and_wakes_nobody_for_it() {
        let options = LogOptions::new()
            .segment_bytes(8 << 10)
            .tail_bytes(4 << 10)
            .background(false);
        let log = Log::open(&SimFs::new(1), Path::new("/log"), &options).unwrap();
        let end = log.append(&[7; 100]).unwrap();
        log.make_stable(end).unwrap();
        let core = &log.log;
        assert!(log.stable_lsn() >= end);
        assert!(!core.buffers().handover().background.is_pending());
    }
}
