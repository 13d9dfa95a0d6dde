//! Writing a checkpoint: the index, shard by shard, as frames of the log.
//!
//! C is read before the first shard is imaged, E after the last (hole 1 in `docs/recovery.md`). The head is appended once
//! the log is stable up to E: where the head is, everything the image points at is, after a power cut and after a SIGKILL
//! alike. Nothing has to be published; a checkpoint exists when its head is found in the log.

use std::collections::BTreeMap;

use perennial_recovery::{Head, PartRef, encode_part, entries_that_fit};
use perennial_wal::frame::{CHUNK_BYTES, FrameKind, HEADER_BYTES};
use perennial_wal::{Addr, Class, FrameSpec, Lsn, NoRoom, Refused, SegmentId, to_u32};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::ImageEntry;
use crate::packing::Open;
use crate::reclaim::Policy;
use crate::sync::Ordering;
use crate::upkeep::RESERVE;

/// Checkpoints should cost at most this fraction of what is written.
const MAX_COST: u64 = 20;

/// A checkpoint comes after so many operations, or a third as many as there are entries: what has to be replayed for each of
/// them is the same, however small it is, and an open must not take longer than two seconds.
const LEAST_OPERATIONS: u64 = 1_000_000;
/// Entries of which one is behind. With entries of 128 bytes, where it costs most, 1.82 bytes are written for each; 2 here
/// made it 1.72, and what an open replays half as much again.
const ENTRIES_PER_OPERATION: u64 = 3;

/// A log behind a checkpoint is little below this fraction of the checkpoint's bytes.
const LITTLE: u64 = 4;

/// What is known of the checkpoints so far; whoever holds it does the upkeep.
#[derive(Debug)]
pub(crate) struct CheckpointState {
    /// The C of the newest checkpoint.
    pub(crate) newest_c: Lsn,
    /// The place of its head.
    pub(crate) newest_head: Lsn,
    /// The head of the newest checkpoint, until it is stable and segment headers may point at it.
    pub(crate) unstable_head: Option<Lsn>,
    pub(crate) generation: u64,
    /// Bytes the newest one took.
    pub(crate) bytes: u64,
    /// Operations behind its C.
    pub(crate) behind: Behind,
    /// How often visited bits had been raised when its images were taken.
    pub(crate) visits: u64,
    /// A checkpoint whose head has to wait.
    pub(crate) begun: Option<Begun>,
    /// Replay from a checkpoint in the log begins here: before it, segments may go. 0 = there is none.
    pub(crate) covered: Lsn,
    /// A segment is being reclaimed: whoever needs room for that must not begin another.
    pub(crate) busy: bool,
    /// A checkpoint is being written.
    pub(crate) writing: bool,
    /// What is reclaimed, and what is kept of it.
    pub(crate) policy: Box<dyn Policy>,
    /// The kept segments that are being filled.
    pub(crate) open: Open,
    /// The index is loaded, and kept segments that nothing points at are free: see `Engine::make_whole`.
    pub(crate) whole: bool,
    /// Pinned segments had their turn: the policy is next.
    pub(crate) pinned_turn: bool,
    /// Where each kept segment comes in the order of the policy.
    pub(crate) orders: BTreeMap<SegmentId, u64>,
}

/// Operations behind a place in the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behind {
    /// So many were replayed at open.
    pub(crate) replayed: u64,
    /// So many of this life came before.
    pub(crate) before: u64,
}

/// A checkpoint without its head.
#[derive(Debug)]
pub(crate) struct Begun {
    head: Head,
    /// Bytes of its parts.
    bytes: u64,
}

impl Engine {
    /// What [`Cache::checkpoint`](crate::Cache::checkpoint) does: a checkpoint, durable when this returns.
    pub(crate) fn checkpoint_now(&self) -> Result<()> {
        self.check_open()?;
        let mut state = self.lock_upkeep()?;
        let written = self.write_checkpoint(&mut state)?;
        self.log.flush()?;
        if written {
            Ok(())
        } else {
            Err(Error::invalid(
                "the tail is too small for the head of a checkpoint; choose larger tail_bytes or fewer index_shards",
            ))
        }
    }

    /// The last checkpoint spares the next open the replay; where it cannot be written the log is enough.
    pub(crate) fn close_log(&self) -> Result<()> {
        if let Err(error) = self.checkpoint_if_changed() {
            tracing::warn!(%error, "no checkpoint at close");
        }
        perennial_failpoints::site!("checkpoint::close");
        Ok(self.log.close()?)
    }

    fn checkpoint_if_changed(&self) -> Result<()> {
        let mut state = self.lock_upkeep()?;
        let nothing_new =
            self.log.reserved_end().0 <= self.nothing_new_below.load(Ordering::Relaxed);
        let keeps =
            (nothing_new || self.checkpoint_is_fresh(&state)) && !self.visits_are_new(&state);
        if !keeps {
            self.write_checkpoint(&mut state)?;
        }
        if state.unstable_head.is_some() {
            // The next open finds it by the header that the close writes.
            self.log.flush()?;
            self.publish_checkpoint(&mut state);
        }
        Ok(())
    }

    /// True when enough was logged since the newest checkpoint: never more than half of the log, for the replay must stay
    /// short and the log must reach back to it.
    fn checkpoint_is_due(&self, state: &CheckpointState) -> bool {
        let logged = self.log.reserved_end().0.saturating_sub(state.newest_c.0);
        let half = self.log_population() * self.log.geometry().segment_bytes / 2;
        let every = self.plan.checkpoint_every_bytes.max(MAX_COST * state.bytes);
        let due = logged >= every.min(half) || self.much_is_to_be_replayed(state);
        due && !perennial_failpoints::planted!("checkpoint-never-due")
    }

    fn much_is_to_be_replayed(&self, state: &CheckpointState) -> bool {
        let of_this_life = self.logged_operations() - state.behind.before;
        let operations = state.behind.replayed + of_this_life;
        operations >= LEAST_OPERATIONS && operations >= self.entries() / ENTRIES_PER_OPERATION
    }

    /// Of this life.
    fn logged_operations(&self) -> u64 {
        self.counters
            .logged_operations(self.index.entered().entries)
    }

    /// How many segments the log has: with kept segments it must reach back to the newest checkpoint with its share.
    fn log_population(&self) -> u64 {
        let store = self.log.store();
        let kept = store.kept().len() as u64;
        let all = store.max_files();
        if kept == 0 {
            all
        } else {
            (store.live().len() as u64).min(all - kept.min(all - 1))
        }
    }

    /// True when so little was logged behind the newest checkpoint that replaying it is quicker than writing another:
    /// whoever opens a large cache to store one entry does not write the whole index.
    fn checkpoint_is_fresh(&self, state: &CheckpointState) -> bool {
        let logged = self.log.reserved_end().0 - state.newest_head.0;
        logged < state.bytes / LITTLE
    }

    /// True when so much was read since the newest checkpoint that the policy would choose otherwise without it: a twentieth of
    /// what there is. Visits are in the images and nowhere else.
    fn visits_are_new(&self, state: &CheckpointState) -> bool {
        let raised = self.index.visits() - state.visits;
        state.policy.is_selective() && raised > 0 && raised * MAX_COST >= self.entries()
    }

    /// Writes a checkpoint, and waits for every insert that is under way. It counts once the log is stable up to its head.
    /// False: the tail has no room for its head.
    pub(crate) fn write_checkpoint(&self, state: &mut CheckpointState) -> Result<bool> {
        state.begun = None;
        let begun = self.begin_checkpoint(state)?;
        perennial_failpoints::site!("checkpoint::stable");
        if !perennial_failpoints::planted!("head-before-its-entries") {
            self.log.make_stable(begun.head.e)?;
        }
        self.finish_checkpoint(state, begun)
    }

    /// Writes a checkpoint if one is due. An entry that its image may point at and that somebody is slow to fill holds up
    /// the head, which comes in a later round, and not the upkeep: all writers need that before long.
    pub(crate) fn checkpoint_when_due(&self, state: &mut CheckpointState) -> Result<()> {
        let oldest = self.log.store().oldest();
        let segment_bytes = self.log.geometry().segment_bytes;
        let reached = |begun: &Begun| begun.head.c.segment(segment_bytes) >= oldest;
        let begun = match state.begun.take().filter(reached) {
            Some(begun) => begun,
            None if self.checkpoint_is_due(state) => self.begin_checkpoint(state)?,
            None => return Ok(()),
        };
        if perennial_failpoints::planted!("head-before-its-entries")
            || self.log.make_stable_if_complete(begun.head.e)?
        {
            self.finish_checkpoint(state, begun)?;
        } else {
            state.begun = Some(begun);
        }
        Ok(())
    }

    /// The parts: the image of every shard.
    fn begin_checkpoint(&self, state: &mut CheckpointState) -> Result<Begun> {
        state.writing = true;
        let begun = self.append_parts(state);
        state.writing = false;
        begun
    }

    fn append_parts(&self, state: &mut CheckpointState) -> Result<Begun> {
        perennial_failpoints::site!("checkpoint::begin");
        self.make_whole(state);
        state.behind = Behind {
            replayed: 0,
            before: self.logged_operations(),
        };
        let c = self.log.reserved_end();
        state.visits = self.index.visits();
        let mut head = Head {
            generation: state.generation + 1,
            c,
            e: c,
            entries: 0,
            identity_bits: self.plan.index.identity_bits,
            oldest: self.log.store().oldest(),
            time_seen_s: self.now_s(),
            parts: Vec::new(),
            policy: Vec::new(),
            shape: Vec::new(),
            hand: 0,
        };
        let (mut bytes, mut pinned) = (0, 0);
        let mut image = Vec::new();
        // A head that claims what is in no image: it was published before its time.
        let missing = |addr: Addr| {
            perennial_failpoints::planted!("checkpoint-published-early")
                && addr.position() >= self.log.stable_lsn()
        };
        for shard in 0..self.index.shards() {
            image.clear();
            self.index.image(
                shard,
                &|addr| self.is_live(addr) && !missing(addr),
                &mut image,
            );
            // Whatever changes between the image and this is replayed.
            for entry in &mut image {
                entry.pinned = self.pins.has(entry.identity);
                pinned += u64::from(entry.pinned);
            }
            for entries in image.chunks(self.entries_per_part()) {
                let part = self.append_part(state, to_u32(shard), entries)?;
                head.entries += u64::from(part.entries);
                bytes += u64::from(part.bytes);
                head.parts.push(part);
            }
        }
        head.shape = vec![self.index.shards() as u64, pinned];
        head.policy = self.append_policy(state)?;
        head.e = self.log.reserved_end();
        Ok(Begun { head, bytes })
    }

    /// The head, once the log is stable up to E. The image may point at inserts that are under way. Should the process
    /// die now, they are holes, and what they replaced is in the log only: the head must not come before they are all
    /// there.
    fn finish_checkpoint(&self, state: &mut CheckpointState, begun: Begun) -> Result<bool> {
        let c = begun.head.c;
        let head = begun.head.encode();
        if !self.goes_through_the_ring(&meta_spec(FrameKind::Head, head.len())) {
            tracing::warn!(
                bytes = head.len(),
                "the tail is too small for a checkpoint of so many entries"
            );
            state.newest_c = c;
            // What it took in vain counts as what it would have cost.
            state.bytes = begun.bytes + head.len() as u64;
            return Ok(false);
        }
        perennial_failpoints::site!("checkpoint::head");
        let at = self.append_meta(state, FrameKind::Head, &head)?;
        perennial_failpoints::site!("checkpoint::head_appended");
        state.generation += 1;
        state.newest_c = c;
        state.newest_head = at;
        state.covered = c;
        state.unstable_head = Some(at);
        state.bytes = begun.bytes + head.len() as u64;
        self.counters.checkpoints.add(1);
        self.counters.checkpoint_bytes.add(state.bytes);
        Ok(true)
    }

    /// The policy's state: a restart goes on with it.
    fn append_policy(&self, state: &mut CheckpointState) -> Result<Vec<PartRef>> {
        let saved = state.save_policy();
        let mut pieces = Vec::new();
        for piece in saved.chunks(perennial_wal::to_usize(self.meta_bytes())) {
            pieces.push(PartRef {
                lsn: self.append_meta(state, FrameKind::Part, piece)?,
                bytes: to_u32(piece.len()),
                shard: u32::MAX,
                entries: 0,
            });
        }
        Ok(pieces)
    }

    fn entries_per_part(&self) -> usize {
        entries_that_fit(self.meta_bytes()).max(1)
    }

    /// The largest body of a frame of our own.
    pub(crate) fn meta_bytes(&self) -> u64 {
        (self.max_ring_frame() - HEADER_BYTES).min(CHUNK_BYTES)
    }

    fn append_part(
        &self,
        state: &mut CheckpointState,
        shard: u32,
        entries: &[ImageEntry],
    ) -> Result<PartRef> {
        let part = encode_part(shard, entries);
        perennial_failpoints::site!("checkpoint::part");
        let lsn = self.append_meta(state, FrameKind::Part, &part)?;
        Ok(PartRef {
            lsn,
            bytes: to_u32(part.len()),
            shard,
            entries: to_u32(entries.len()),
        })
    }

    /// Appends a frame of our own. Room is made here and not by [`Engine::answer`]: the upkeep is held already.
    pub(crate) fn append_meta(
        &self,
        state: &mut CheckpointState,
        kind: FrameKind,
        body: &[u8],
    ) -> Result<Lsn> {
        loop {
            match self
                .log
                .try_reserve(meta_spec(kind, body.len()), Class::Meta)
            {
                Ok(mut reservation) => {
                    let lsn = reservation.lsn();
                    reservation.body().value.copy_from_slice(body);
                    reservation.complete();
                    return Ok(lsn);
                }
                Err(refused) => self.make_meta_room(state, refused)?,
            }
        }
    }

    /// Makes room for a frame of our own, or says why there is none.
    pub(crate) fn make_meta_room(
        &self,
        state: &mut CheckpointState,
        refused: Refused,
    ) -> Result<()> {
        match refused {
            Refused::NoRoom(NoRoom::Ring) => Ok(self.log.make_ring_room()?),
            Refused::NoRoom(NoRoom::Segment) => {
                self.make_segments(state, RESERVE.kept_from(Class::Meta) + 1)
            }
            Refused::Stopped(why) => Err(why.into()),
        }
    }
}

/// A frame of our own.
pub(crate) fn meta_spec(kind: FrameKind, body_bytes: usize) -> FrameSpec {
    FrameSpec {
        kind,
        hash: 0,
        key_bytes: 0,
        value_bytes: to_u32(body_bytes),
        expiry: 0,
        flags: 0,
    }
}

#[cfg(test)]
mod tests;
