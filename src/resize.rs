//! Another capacity, while the cache runs.
//!
//! ```text
//!   grow     the bound ─► files are made when they are needed
//!   shrink   the bound, one file less ─► reclaim, as the policy says ─► a file is free ─► name the oldest ─► unlink ─┐
//!               ▲────────────────────────────────── until it is the new one ◄────────────────────────────────────────┘
//! ```
//! File by file, so that the policy always sees a cache that is nearly as large as it may be: with all of the new bound at
//! once the log alone would have to make room first, and checkpoints of an index that is far too large would fill it again.
//!
//! Nothing on disk says what the capacity is: whoever opens the cache does. So a crash in between leaves a cache like any
//! other, with as many files as there were just then.
//!
//! The right to do upkeep is taken for each step anew, and who needs a segment meanwhile reclaims one and uses its file:
//! nobody waits for the whole way.

use perennial_failpoints::Span;

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
            let files = plan.max_segments(self.foreign_bytes);
            self.pins.set_budget(plan.pinned_bytes(files));
            let smaller = files < self.log.store().max_files();
            if !(smaller && perennial_failpoints::planted!("resize-forgets-the-bound")) {
                self.files_wanted.store(files, Ordering::Relaxed);
                if files > self.log.store().max_files() {
                    self.log.store().set_max_files(files);
                }
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
        let wanted = self.files_wanted.load(Ordering::Relaxed);
        let goes = store.surplus_files() > 0 || store.max_files() > wanted;
        let _span = goes.then(Span::begin);
        if store.surplus_files() == 0 {
            if store.max_files() <= wanted {
                return Ok(Shrunk::Fits);
            }
            if self.make_a_spare(state, wanted)? {
                return Ok(Shrunk::Goes);
            }
            store.set_max_files(store.files().saturating_sub(1).max(wanted));
            if store.surplus_files() == 0 {
                // There never were more: none has to go, and nothing is given up for it.
                return Ok(Shrunk::Fits);
            }
        }
        let (surplus, free) = (store.surplus_files(), store.free_files());
        if free < surplus + self.kept_back(state) {
            perennial_failpoints::site!("resize::reclaim");
            if self.reclaim_to_shrink(state)? {
                return Ok(Shrunk::Goes);
            }
        }
        Ok(if self.log.remove_surplus()? {
            Shrunk::Goes
        } else {
            Shrunk::Stuck
        })
    }

    /// Survivors need a file to go to, and it may be one that is still to be made: with a lower bound it could not be, and
    /// what is read all the time would go with the rest. So a segment is reclaimed before. False: none need be, or can be.
    fn make_a_spare(&self, state: &mut CheckpointState, wanted: u64) -> Result<bool> {
        let store = self.log.store();
        let missing = self.kept_back(state).saturating_sub(store.free_files());
        let with_it = store.files() + missing;
        if missing == 0
            || with_it <= wanted
            || perennial_failpoints::planted!("shrink-without-a-spare")
        {
            return Ok(false);
        }
        perennial_failpoints::site!("resize::spare");
        store.set_max_files(with_it.min(store.max_files()));
        self.reclaim_to_shrink(state)
    }

    /// False: nothing can be reclaimed.
    fn reclaim_to_shrink(&self, state: &mut CheckpointState) -> Result<bool> {
        let free = self.log.store().free_files();
        let mut reclaimed = self.reclaim_one(state)?;
        if reclaimed && self.log.store().free_files() <= free {
            reclaimed |= self.reclaim_without_another_checkpoint(state)?;
        }
        Ok(reclaimed)
    }

    /// Of very small entries a checkpoint may take as much of the log as the log may have: one for each segment that is
    /// given up, and none would ever be free. What is kept is forgotten then, should a crash come before the next.
    fn reclaim_without_another_checkpoint(&self, state: &mut CheckpointState) -> Result<bool> {
        let writing = std::mem::replace(&mut state.writing, true);
        let reclaimed = self.reclaim_one(state);
        state.writing = writing;
        reclaimed
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
