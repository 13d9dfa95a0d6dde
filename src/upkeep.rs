//! Keeping segments ready to be written: prepare free ones, reclaim old ones, checkpoint now and then.

use perennial_wal::segment::Reserve;
use perennial_wal::{Class, SegmentId, may_wait};

use crate::checkpoint::CheckpointState;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::reclaim::{Step, View};
use crate::sync::MutexGuard;

/// One prepared segment always stays behind the one being written. Its header names that one, so a lost header of the
/// segment being written shows as a break in the chain, and cannot pass for the end of the log.
pub(crate) const RESERVE: Reserve = Reserve {
    from_puts: 1,
    from_removes: 1,
    from_meta: 1,
};
/// Segments kept prepared.
const AHEAD: usize = 2;

impl Engine {
    /// The right to do upkeep. Who has it may wait for every reservation, so nobody waits for it who holds one.
    pub(crate) fn lock_upkeep(&self) -> Result<MutexGuard<'_, CheckpointState>> {
        may_wait()?;
        Ok(self.upkeep.lock())
    }

    /// One round of upkeep.
    pub(crate) fn upkeep_step(&self) -> Result<()> {
        let mut state = self.lock_upkeep()?;
        perennial_failpoints::site!("upkeep::step");
        self.make_segments(&mut state, AHEAD)?;
        self.publish_checkpoint(&mut state);
        self.checkpoint_when_due(&mut state)
    }

    /// Segment headers name the newest checkpoint, once it is stable.
    fn publish_checkpoint(&self, state: &mut CheckpointState) {
        if let Some(head) = state
            .unstable_head
            .take_if(|head| *head < self.log.stable_lsn())
        {
            perennial_failpoints::site!("upkeep::publish_checkpoint");
            self.log.store().set_checkpoint(head);
        }
    }

    /// Sees to it that a frame of `class` finds a prepared segment.
    pub(crate) fn make_segment_room(&self, class: Class) -> Result<()> {
        let mut state = self.lock_upkeep()?;
        self.make_segments(&mut state, RESERVE.kept_from(class) + 1)
    }

    /// Prepares segments until there are `wanted`, reclaiming old ones where no file is free.
    pub(crate) fn make_segments(&self, state: &mut CheckpointState, wanted: usize) -> Result<()> {
        while self.log.store().prepared() < wanted {
            if !self.log.prepare_segment()? && !self.reclaim_one(state)? {
                let why = self
                    .log
                    .store()
                    .why_no_file()
                    .map_or(String::new(), |error| format!(": {error}"));
                return Err(Error::new(
                    ErrorKind::Full,
                    format!(
                        "there is no segment to write to, and none can be reclaimed{why}; make room on the disk or raise capacity_bytes"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Reclaims what the policy chooses. False: there is nothing.
    fn reclaim_one(&self, state: &mut CheckpointState) -> Result<bool> {
        let mut step = self.next_step();
        if step == Step::Nothing {
            // A small log may lie in the tail as a whole.
            perennial_failpoints::site!("upkeep::flush");
            self.log.flush()?;
            step = self.next_step();
        }
        match step {
            // No policy that keeps anything is driven yet.
            Step::Nothing | Step::Kept(_) => Ok(false),
            Step::Log(through) => {
                self.drop_through(state, through);
                Ok(true)
            }
        }
    }

    fn next_step(&self) -> Step {
        let segment_bytes = self.log.geometry().segment_bytes;
        let stable = self.log.stable_lsn().segment(segment_bytes);
        let live = self.log.store().live();
        let oldest = live.first().map(|segment| segment.header.number);
        self.policy.lock().next(&View {
            segments: usize::try_from(self.log.store().max_files()).unwrap_or(usize::MAX),
            log_segments: live.len().saturating_sub(self.log.store().prepared()),
            // Stable to its end, and not the one being written.
            oldest: oldest.filter(|id| *id < stable),
            kept: &[],
            entries: self.ledger.live(),
        })
    }

    fn drop_through(&self, state: &mut CheckpointState, through: SegmentId) {
        perennial_failpoints::site!("upkeep::drop");
        let live = self.log.store().live();
        let reclaimed = live.iter().filter(|s| s.header.number <= through).count();
        // First the addresses stop counting, then the files are free to be written over.
        self.log.store().release_through(through);
        perennial_failpoints::site!("upkeep::released");
        self.counters.evicted.add(self.ledger.drop_through(through));
        self.counters.reclaimed_segments.add(reclaimed as u64);
        tracing::debug!(%through, generation = state.generation, "reclaimed a segment");
    }
}
