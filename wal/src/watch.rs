//! Who hears what becomes of the log: that it is poisoned, for whoever built on it may have something else to offer, and how
//! long its syncs take.

use std::fmt;
use std::sync::OnceLock;

use crate::core::LogCore;
use crate::error::WalError;

/// Hears of the log's failure, and of its syncs. All calls come from whichever thread it is, with locks of the log held:
/// whatever waits for the log answers [`WalError::Reentered`] in here.
pub trait Watch: Send + Sync {
    /// The log is about to be poisoned: before the first call is refused.
    fn fails(&self, log: &LogCore, why: &WalError);

    /// Everybody who waited has been told.
    fn failed(&self);

    /// A clock, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// A sync of a segment took so long.
    fn synced(&self, took_ns: u64);
}

/// At most one watch.
#[derive(Default)]
pub(crate) struct Watched(OnceLock<Box<dyn Watch>>);

impl Watched {
    pub(crate) fn by(&self, watch: Box<dyn Watch>) {
        // A second one is nobody's.
        let _ = self.0.set(watch);
    }

    pub(crate) fn get(&self) -> Option<&dyn Watch> {
        self.0.get().map(|watch| &**watch)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched")
            .field(&self.0.get().is_some())
            .finish()
    }
}
