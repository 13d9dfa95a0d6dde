//! Who hears that the log is poisoned: whoever built on it may have something else to offer.

use std::fmt;
use std::sync::OnceLock;

use crate::core::LogCore;
use crate::error::WalError;

/// Hears of the log's failure. Both calls come from whichever thread met the error, with locks of the log held: whatever
/// waits for the log answers [`WalError::Reentered`] in here.
pub trait Watch: Send + Sync {
    /// The log is about to be poisoned: before the first call is refused.
    fn fails(&self, log: &LogCore, why: &WalError);

    /// Everybody who waited has been told.
    fn failed(&self);
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
