//! How many segment files there may be, while the log runs.

use super::LogCore;
use crate::error::Result;

impl LogCore {
    /// Removes free files while there are more than [may be](crate::segment::SegmentStore::set_max_files). False: there
    /// still are, and none is free.
    ///
    /// # Errors
    /// When the log failed before, when a header cannot be written (the log is poisoned), or a file not be removed.
    pub fn remove_surplus(&self) -> Result<bool> {
        self.check()?;
        if self.store.surplus_files() > 0 {
            self.poison_on_writes(self.store.name_oldest())?;
        }
        self.store.shrink()
    }
}
