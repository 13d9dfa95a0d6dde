//! How many segment files there may be, while the log runs.

use super::LogCore;
use crate::error::Result;

impl LogCore {
    /// Removes free files while there are more than [may be](crate::segment::SegmentStore::set_max_files). False: there
    /// still are, and none is free.
    ///
    /// # Errors
    /// When the log failed before, and when it fails now.
    pub fn remove_surplus(&self) -> Result<bool> {
        self.check()?;
        self.poison_on_error(self.store.shrink())
    }
}
