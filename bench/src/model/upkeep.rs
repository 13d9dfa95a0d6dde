//! Segments for the log, and which one goes for that: `src/upkeep.rs` without files.

use perennial::reclaim::{Kept, Source, Step, View};
use perennial_wal::{Lsn, SegmentId};

use super::engine::{AHEAD, Engine, Full};

impl Engine {
    /// Prepares segments until there are `wanted`, reclaiming old ones where no file is free.
    pub(super) fn make_segments(&mut self, wanted: usize) -> Result<(), Full> {
        while self.log.files().prepared() < wanted {
            let kept_back = self.reclaiming.is_none() && self.policy.needs_spare();
            let spare = self.log.files().spare_files() > u64::from(kept_back);
            if spare && self.log.files_mut().prepare() {
                continue;
            }
            if !(self.reclaim_one()? || self.log.files_mut().prepare() || self.give_up_kept()) {
                return Err(Full);
            }
        }
        Ok(())
    }

    /// False: there is nothing.
    fn reclaim_one(&mut self) -> Result<bool, Full> {
        if self.reclaiming.is_some() {
            return Ok(self.drop_oldest());
        }
        let mut step = self.next_step();
        if step == Step::Nothing {
            // A small log may lie in the tail as a whole.
            self.log.flush();
            step = self.next_step();
        }
        let (from, id) = match step {
            Step::Nothing => return Ok(false),
            Step::Log(id) => (Source::Log, id),
            Step::Kept(id) => (Source::Kept, id),
        };
        if from == Source::Log && self.cover(id)? {
            // A checkpoint was written, which may have reclaimed this segment to make room for itself.
            return Ok(true);
        }
        self.reclaiming = Some(id);
        let reclaimed = self.reclaim(from, id);
        self.reclaiming = None;
        reclaimed.map(|()| true)
    }

    /// The oldest segment of the log as it is, for who is in the middle of a reclaim.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.oldest_that_may_go() else {
            return false;
        };
        // What is being reclaimed is still moved.
        if self.reclaiming != Some(oldest) {
            self.index.drop_segment(oldest);
        }
        self.log.files_mut().release_through(oldest);
        true
    }

    /// The last resort: a kept segment goes as it is.
    fn give_up_kept(&mut self) -> bool {
        let least = self.log.files().kept().first().copied();
        let Some(id) = least.filter(|_| self.reclaiming.is_none()) else {
            return false;
        };
        self.log.flush();
        for lane in &mut self.lanes {
            lane.take_if(|(open, _)| *open == id);
        }
        self.drop_kept(id);
        true
    }

    pub(super) fn drop_kept(&mut self, id: SegmentId) {
        self.log.files_mut().release_kept(id);
        self.orders.remove(&id);
        self.index.drop_segment(id);
    }

    fn next_step(&mut self) -> Step {
        let oldest = self.oldest_that_may_go();
        let files = self.log.files();
        let is_open = |id: &SegmentId| self.lanes.iter().flatten().any(|(open, _)| open == id);
        let closed = files.kept().iter().filter(|id| !is_open(id));
        let order = |id| self.orders.get(id).copied().unwrap_or_default();
        let kept: Vec<Kept> = closed
            .map(|id| Kept {
                id: *id,
                order: order(id),
            })
            .collect();
        let held_ready = AHEAD + usize::from(self.policy.needs_spare());
        let segments = usize::try_from(files.max_files()).unwrap_or(usize::MAX);
        self.policy.next(&View {
            segments: segments.saturating_sub(held_ready),
            log_segments: files.live().len().saturating_sub(files.prepared()),
            oldest,
            kept: &kept,
            entries: self.index.len(),
        })
    }

    /// The oldest segment, made stable to its end; not the one being written.
    fn oldest_that_may_go(&mut self) -> Option<SegmentId> {
        let segment_bytes = self.shape.segment_bytes;
        let oldest = self.log.files().live().front().copied()?;
        if oldest >= self.log.reserved_end().segment(segment_bytes) {
            return None;
        }
        self.log
            .make_stable(Lsn::new(SegmentId(oldest.0 + 1), 0, segment_bytes));
        Some(oldest)
    }
}
