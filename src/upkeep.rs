//! Keeping segments ready to be written: prepare free ones, reclaim old ones, checkpoint now and then.

use perennial_wal::segment::Reserve;
use perennial_wal::{Class, Lsn, SegmentId, WalError, may_wait, to_usize};

use crate::checkpoint::CheckpointState;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::reclaim::{Kept, Source, Step, View};
use crate::sync::{MutexGuard, Ordering};

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
        let mut state = {
            let _waiting = self.pace.wait();
            self.upkeep.lock()
        };
        self.pace.set_background(false);
        // A panic in the middle of either left these behind.
        (state.busy, state.writing) = (false, false);
        Ok(state)
    }

    /// One round of upkeep.
    pub(crate) fn upkeep_step(&self) -> Result<()> {
        self.upkeep_round(false)
    }

    /// The same; `begins`: of an open that leaves to a thread what can wait, a checkpoint and what needs all of the index.
    pub(crate) fn upkeep_round(&self, begins: bool) -> Result<()> {
        self.make_wanted_room()?;
        let mut state = self.lock_upkeep()?;
        self.pace.set_background(self.plan.background);
        perennial_failpoints::site!("upkeep::step");
        self.refresh_filters();
        // Of a shrink that was given up half-way, or is under way.
        let _ = self.shrink_step(&mut state)?;
        if perennial_failpoints::planted!("nothing-prepared-ahead") {
            self.log.store().set_reserve(Reserve::default());
        } else {
            // An open does not wait for all of the index, which a reclaim needs: with one the log can begin.
            let one = begins && !self.index.is_whole();
            self.make_segments(&mut state, if one { 1 } else { AHEAD })?;
        }
        self.note_young(&state);
        self.publish_checkpoint(&mut state);
        // It needs all of the index: it comes once the thread that loads is done.
        let later = self.plan.background && !self.index.is_whole();
        if later || begins {
            return Ok(());
        }
        self.timed_checkpoint(&mut state)
    }

    /// Most rounds write none, and are not timed.
    fn timed_checkpoint(&self, state: &mut CheckpointState) -> Result<()> {
        let _span = tracing::debug_span!("checkpoint").entered();
        let (before, began) = (self.counters.checkpoints.get(), self.fs.monotonic_ns());
        self.checkpoint_when_due(state)?;
        if self.counters.checkpoints.get() > before {
            let took_ns = self.fs.monotonic_ns().saturating_sub(began);
            self.times.checkpoint.add(took_ns);
            tracing::info!(
                bytes = state.bytes,
                took_us = took_ns / 1000,
                "a checkpoint was written"
            );
        }
        Ok(())
    }

    /// Says where the log's young part begins, as the policy sees it.
    fn note_young(&self, state: &CheckpointState) {
        let live = self.log.store().live();
        let written = live.len().saturating_sub(self.log.store().prepared());
        let young = state.policy.young_segments(written);
        let first = live.get(written - young.min(written)).filter(|_| young > 0);
        let from = first.map_or(u64::MAX, |first| {
            Lsn::new(first.header.number, 0, self.log.geometry().segment_bytes).0
        });
        self.young_from.store(from, Ordering::Relaxed);
    }

    /// Segment headers name the newest checkpoint, once it is stable.
    pub(crate) fn publish_checkpoint(&self, state: &mut CheckpointState) {
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
            let spare = self.log.store().spare_files() > self.kept_back(state);
            if spare && self.log.prepare_segment()? {
                continue;
            }
            let reclaimed = self.reclaim_one(state)?;
            // On the way to a smaller capacity what is given up is used again: whoever shrinks the cache goes on.
            if self.log.store().surplus_files() > 0 && self.log.prepare_segment()? {
                continue;
            }
            if !(reclaimed || self.log.prepare_segment()? || self.give_up_kept(state)?) {
                return Err(no_segment(self.log.store().why_no_file()));
            }
        }
        Ok(())
    }

    /// Files that are left for survivors.
    pub(crate) fn kept_back(&self, state: &CheckpointState) -> u64 {
        if state.busy {
            return 0;
        }
        u64::from(state.policy.needs_spare()) + self.kept_back_for_pins()
    }

    /// Reclaims what the policy chooses. False: there is nothing.
    pub(crate) fn reclaim_one(&self, state: &mut CheckpointState) -> Result<bool> {
        self.make_whole(state);
        if state.busy {
            return self.drop_oldest();
        }
        if let Some(id) = self.pinned_to_pack(state) {
            return self.pack_pinned(state, id);
        }
        let mut step = self.next_step(state)?;
        if step == Step::Nothing {
            // A small log may lie in the tail as a whole.
            perennial_failpoints::site!("upkeep::flush");
            if !perennial_failpoints::planted!("full-log-not-flushed") {
                self.log.flush()?;
            }
            step = self.next_step(state)?;
        }
        let (from, id) = match step {
            Step::Nothing => {
                let pinned = self.too_many_pinned(state);
                return pinned.map_or(Ok(false), |id| self.pack_pinned(state, id));
            }
            Step::Log(id) => (Source::Log, id),
            Step::Kept(id) => (Source::Kept, id),
        };
        if from == Source::Log && self.cover(state, id)? {
            // A checkpoint was written, which may have reclaimed this segment to make room for itself.
            return Ok(true);
        }
        let Some(segment) = self.log.store().get(id) else {
            return Ok(false);
        };
        perennial_failpoints::site!("upkeep::drop");
        state.busy = true;
        let _span = tracing::debug_span!("reclaim", segment = %id, ?from).entered();
        let reclaimed = self.timed(&self.times.reclaim, || self.reclaim(state, from, &segment));
        state.busy = false;
        reclaimed.map(|()| true)
    }

    /// Sees to it that recovery does not need the log up to and including `through` to know what the kept segments hold:
    /// their entries are in the image of a checkpoint, or in `Move` frames behind it. True: that took a checkpoint.
    fn cover(&self, state: &mut CheckpointState, through: SegmentId) -> Result<bool> {
        let segment_bytes = self.log.geometry().segment_bytes;
        let nothing_kept = self.log.store().kept().is_empty();
        let behind = |lsn: Lsn| lsn.segment(segment_bytes) > through;
        let covered = behind(state.covered);
        // Without a tail large enough for its head there is none, and what was kept is forgotten in a crash.
        let in_vain = !covered && behind(state.newest_c);
        let durable = covered && state.newest_head < self.log.stable_lsn();
        if nothing_kept || state.writing || in_vain || durable {
            return Ok(false);
        }
        let written = !covered && self.write_checkpoint(state)?;
        self.log.flush()?;
        Ok(written)
    }

    /// The oldest segment of the log as it is, for who is in the middle of a reclaim or a checkpoint and needs room.
    fn drop_oldest(&self) -> Result<bool> {
        let Some(oldest) = self.oldest_that_may_go()? else {
            return Ok(false);
        };
        self.close_to_references(oldest);
        if let Some(segment) = self.log.store().get(oldest) {
            self.tell_given_up(Source::Log, &segment);
        }
        self.log.store().release_through(oldest);
        let dropped = self.ledger.drop_through(oldest);
        self.counters.evicted.add(dropped);
        self.index.note_evicted(dropped);
        self.counters.reclaimed_segments.add(1);
        self.count_lost_pins();
        // Those who insert were quicker. Nothing is wrong, and nothing is to be done about it.
        tracing::info!(%oldest, dropped, "a segment was dropped to make room for the upkeep");
        Ok(true)
    }

    fn next_step(&self, state: &mut CheckpointState) -> Result<Step> {
        let kept = self.log.store().kept();
        let order = |id| state.orders.get(&id).copied().unwrap_or_default();
        let closed = kept
            .iter()
            .map(|s| s.header.number)
            .filter(|id| !state.open.has(*id) && !state.is_pinned(*id));
        let kept: Vec<Kept> = closed
            .map(|id| Kept {
                id,
                order: order(id),
            })
            .collect();
        let view = View {
            segments: to_usize(self.log.store().max_files())
                .saturating_sub(AHEAD + usize::from(state.policy.needs_spare()))
                .saturating_sub(state.pinned_segments()),
            // Without those that are only prepared.
            log_segments: (self.log.store().live().len())
                .saturating_sub(self.log.store().prepared()),
            oldest: self.oldest_that_may_go()?,
            kept: &kept,
            entries: self.ledger.live(),
        };
        Ok(state.policy.next(&view))
    }

    /// The oldest segment, made stable to its end; not the one being written, nor one that somebody is still filling an
    /// entry of.
    fn oldest_that_may_go(&self) -> Result<Option<SegmentId>> {
        let segment_bytes = self.log.geometry().segment_bytes;
        let live = self.log.store().live();
        let oldest = live.first().map(|segment| segment.header.number);
        let written = self.log.reserved_end().segment(segment_bytes);
        let Some(oldest) = oldest.filter(|oldest| *oldest < written) else {
            return Ok(None);
        };
        let end = Lsn::new(SegmentId(oldest.0 + 1), 0, segment_bytes);
        let flushed = self.log.stable_lsn() >= end
            || !perennial_failpoints::planted!("full-log-not-flushed")
                && self.log.make_stable_if_complete(end)?;
        Ok(flushed.then_some(oldest))
    }
}

fn no_segment(why: Option<WalError>) -> Error {
    let because = why
        .as_ref()
        .map_or(String::new(), |error| format!(": {error}"));
    let error = Error::new(
        ErrorKind::Full,
        format!(
            "there is no segment to write to, and none can be reclaimed{because}; make room on the disk or raise capacity_bytes"
        ),
    );
    match why {
        Some(why) => error.with_source(why),
        None => error,
    }
}
