//! How a log ends: closed, stopped, or poisoned.

use super::LogCore;
use crate::error::{Result, WalError};
use crate::filling::filling;
use crate::lsn::Lsn;
use crate::sync::Ordering;
use crate::watch::Watch;

impl LogCore {
    /// Stops the log: everything is made stable, a mark says so, and whoever waits or comes later is told.
    ///
    /// # Errors
    /// When the last commit fails; the log is closed all the same.
    pub fn close(&self) -> Result<()> {
        let closed = self.close_cleanly();
        self.stop(WalError::Closed);
        closed
    }

    fn close_cleanly(&self) -> Result<()> {
        self.check()?;
        // A life that appended nothing leaves nothing, not even a mark: the next one begins in the same place.
        if self.buffers.end_at(self.start) {
            return Ok(());
        }
        self.flush()?;
        perennial_failpoints::site!("wal::core::clean_mark");
        while self.buffers.end(&self.tail, &self.store).is_err() {
            self.make_ring_room()?;
        }
        self.flush()?;
        self.attest_stable()
    }

    /// Notes the stable LSN in the header of the segment where the log ends. The tail says it too, but a tail on the heap
    /// or in a file system of memory is gone after a restart: damage in the last sectors would look like a torn end then,
    /// and what the last frames replaced would show again.
    fn attest_stable(&self) -> Result<()> {
        let stable = self.stable_lsn();
        let last = Lsn(stable.0.saturating_sub(1)).segment(self.geometry().segment_bytes);
        let Some(segment) = self.store.get(last) else {
            return Ok(());
        };
        let mut header = segment.header.clone();
        header.stable = stable;
        header.checkpoint = header.checkpoint.max(self.store.checkpoint());
        perennial_failpoints::site!("wal::core::attest");
        self.poison_on_writes(self.store.write_header_durably(segment.slot, &header))
    }

    /// Stops the log without making anything stable, as a dying process would.
    pub fn stop(&self, why: WalError) {
        perennial_failpoints::site!("wal::core::stop");
        // Together: whoever is told that the log failed can rely on it that nothing is appended any more.
        self.commit
            .fail(why, || self.stopped.store(true, Ordering::Release));
        self.buffers.handover().background.stop();
        self.buffers.handover().wake_waiters();
    }

    /// Why the log takes no more, if so.
    #[must_use]
    pub fn failed(&self) -> Option<WalError> {
        if self.stopped.load(Ordering::Acquire) {
            Some(self.why_stopped())
        } else {
            None
        }
    }

    pub(super) fn why_stopped(&self) -> WalError {
        self.commit.failed().unwrap_or(WalError::Closed)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.failed().map_or(Ok(()), Err)
    }

    /// An error of writing or syncing stops the log for good: what the device kept is unknown, and nothing is retried
    /// (PROTOCOL hole 21).
    pub(crate) fn poison_on_error<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if matches!(error, WalError::Closed | WalError::Poisoned(_)) {
                return error;
            }
            if perennial_failpoints::planted!("poison-not-seen") {
                return error;
            }
            self.poison(error)
        })
    }

    /// The same for writes of the ring's bytes, which are there until they are stable: where there was only no room on the disk,
    /// the next call writes them.
    pub(crate) fn poison_unless_full<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if error.can_be_written_again() => Err(error),
            result => self.poison_on_error(result),
        }
    }

    /// Poisons the log, and returns what everybody is told from now on.
    fn poison(&self, error: WalError) -> WalError {
        tracing::error!(%error, "the log is poisoned");
        let watch = self.watched.get();
        if let Some(watch) = watch {
            filling(|| watch.fails(self, &error));
        }
        let poisoned = WalError::Poisoned(error.to_string().into());
        self.stop(poisoned.clone());
        if let Some(watch) = watch {
            filling(|| watch.failed());
        }
        poisoned
    }

    /// A thread that worked for the log has panicked: what it had half done nobody knows.
    pub fn poison_for_panic(&self, thread: &'static str) {
        if self.failed().is_none() {
            self.poison(WalError::Panicked(thread));
        }
    }

    /// Has `watch` told of the log's failure. The first one stays.
    pub fn watch(&self, watch: Box<dyn Watch>) {
        self.watched.by(watch);
    }

    /// True where a life can go on without its log: the next one in this boot will believe what
    /// [`go_on_without`](Self::go_on_without) notes. Not without a mapped tail, or where the boot has no identity.
    #[must_use]
    pub fn can_go_on_without(&self) -> bool {
        self.tail.is_mapped() && self.tail.is_of_a_boot()
    }

    /// Notes in the tail that this life goes on without its log: the next one in this boot forgets what is in it. Before this
    /// returns, a killed process leaves it noted.
    pub fn go_on_without(&self) {
        debug_assert!(self.can_go_on_without());
        self.tail.publish_void(self.life().incarnation);
    }
}
