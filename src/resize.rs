//! Another capacity, while the cache runs.
//!
//! ```text
//!   grow     the bound ─► files are made when they are needed
//!   shrink   the bound ─► reclaim, as the policy says, one segment at a time ─► enough are free ─► name the oldest ─► unlink
//! ```
//! Nothing on disk says what the capacity is: whoever opens the cache does. So a crash in between leaves a cache like any
//! other, with as many files as there were just then.
//!
//! The right to do upkeep is taken for each step anew, and who needs a segment meanwhile reclaims one and uses its file:
//! nobody waits for the whole way.

use crate::checkpoint::CheckpointState;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Ordering;

impl Engine {
    /// What [`Cache::resize`](crate::Cache::resize) does.
    pub(crate) fn resize(&self, capacity_bytes: u64) -> Result<()> {
        self.check_open()?;
        let plan = self.plan.resized(capacity_bytes, self.foreign_bytes)?;
        {
            // One after the other with merges, checkpoints, and others who resize.
            let _state = self.lock_upkeep()?;
            perennial_failpoints::site!("resize::bound");
            self.capacity.store(capacity_bytes, Ordering::Relaxed);
            if !perennial_failpoints::planted!("resize-forgets-the-bound") {
                let files = plan.max_segments(self.foreign_bytes);
                self.log.store().set_max_files(files);
            }
        }
        loop {
            self.check_open()?;
            match self.shrink_step(&mut *self.lock_upkeep()?)? {
                Shrunk::Fits => return Ok(()),
                Shrunk::Goes => {}
                Shrunk::Stuck => {
                    return Err(Error::new(
                        ErrorKind::Full,
                        "no more segments can be reclaimed now; the cache gets smaller as it is used",
                    ));
                }
            }
        }
    }

    /// One step towards as many files as may be.
    pub(crate) fn shrink_step(&self, state: &mut CheckpointState) -> Result<Shrunk> {
        let store = self.log.store();
        let surplus = store.surplus_files();
        if surplus == 0 {
            return Ok(Shrunk::Fits);
        }
        if store.free_files() < surplus + self.kept_back(state) {
            perennial_failpoints::site!("resize::reclaim");
            if self.reclaim_one(state)? {
                return Ok(Shrunk::Goes);
            }
        }
        Ok(if self.log.remove_surplus()? {
            Shrunk::Fits
        } else {
            Shrunk::Stuck
        })
    }
}

/// What a step of a shrink came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shrunk {
    /// There are no more files than may be.
    Fits,
    /// There is more to do.
    Goes,
    /// There is, but nothing can be reclaimed now.
    Stuck,
}
