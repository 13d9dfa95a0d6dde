//! The thread that writes the log behind its writers' backs.

use std::sync::Arc;
use std::time::Duration;

use crate::core::LogCore;
use crate::sync::{JoinHandle, spawn};

/// Poisons the log if the thread that has it panics: nobody waits for what will not come, and nobody is told that it did.
pub struct PoisonsInPanic<'a>(pub &'a LogCore, pub &'static str);

impl Drop for PoisonsInPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison_for_panic(self.1);
        }
    }
}

/// The running background thread; [`join`](Self::join) it after the log was closed.
#[derive(Debug)]
pub struct Background(Option<JoinHandle<()>>);

impl Background {
    /// Starts writing `log` in the background; with `flush_every` also makes it stable that often.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn spawn(log: &Arc<LogCore>, flush_every: Option<Duration>) -> std::io::Result<Self> {
        let log = Arc::clone(log);
        let body = move || {
            let _poisons = PoisonsInPanic(&log, "the thread that writes the log");
            while log.buffers().handover().background.next(flush_every) {
                perennial_failpoints::site!("wal::background::step");
                let stepped = if flush_every.is_some() {
                    log.flush().map(drop)
                } else {
                    log.flush_step()
                };
                // Where it failed for good it has told its waiters, and there is nothing left to write.
                if stepped.is_err() && log.failed().is_some() {
                    return;
                }
            }
        };
        Ok(Self(Some(spawn("perennial-flusher", body)?)))
    }

    /// Waits for the thread to end.
    pub fn join(&mut self) {
        if let Some(thread) = self.0.take() {
            // A panic in it was reported when it happened, and closed nothing that is not closed now.
            let _ = thread.join();
        }
    }
}
