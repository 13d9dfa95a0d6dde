//! Checkpoints: when one is due, and the frames it is made of: `src/checkpoint.rs` without the entries.

use perennial_recovery::{Head, PartRef, entries_that_fit, part_bytes};
use perennial_wal::frame::{CHUNK_BYTES, FrameKind, HEADER_BYTES};
use perennial_wal::{Lsn, SegmentId, align_up, to_u32, to_usize};

use super::engine::{Engine, Full};
use super::held_ready;

/// Checkpoints cost at most this fraction of what is written.
const MAX_COST: u64 = 20;
/// In a `Move` frame, for one entry.
pub(super) const MOVED_BYTES: u64 = perennial_recovery::MOVED_BYTES;
/// In the policy's state, for the number of kept segments, and for each.
const ORDERS_BYTES: usize = 4;
const ORDER_BYTES: usize = 16;

/// What is known of the checkpoints so far.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Where the newest one begins.
    newest_c: Lsn,
    newest_head: Lsn,
    /// Replay from a checkpoint in the log begins here: before it, segments may go. 0 = there is none.
    covered: Lsn,
    /// Bytes the newest one took.
    bytes: u64,
    /// One is being written.
    writing: bool,
}

/// A checkpoint without its head.
struct Begun {
    head: Head,
    bytes: u64,
}

impl Engine {
    /// The largest body of a frame of our own.
    pub(super) fn meta_bytes(&self) -> u64 {
        (self.max_ring_frame - HEADER_BYTES).min(CHUNK_BYTES)
    }

    pub(super) fn checkpoint_when_due(&mut self) -> Result<(), Full> {
        if self.checkpoint_is_due() {
            self.write_checkpoint()?;
        }
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        let state = &self.checkpoints;
        let segment_bytes = self.shape.segment_bytes;
        let logged = self.log.reserved_end().0 - state.newest_c.0;
        let half = self.log_population() * segment_bytes / 2;
        let held_ready = held_ready(self.policy.needs_spare()) * segment_bytes;
        let usual = (self.shape.capacity + held_ready) / 4;
        logged >= usual.max(MAX_COST * state.bytes).min(half)
    }

    /// How many segments the log has: with kept segments it must reach back to the newest checkpoint with its share.
    fn log_population(&self) -> u64 {
        let files = self.log.files();
        let (kept, all) = (files.kept().len() as u64, files.max_files());
        if kept == 0 {
            all
        } else {
            (files.live().len() as u64).min(all - kept.min(all - 1))
        }
    }

    /// Sees to it that recovery does not need the log up to and including `through` to know what the kept segments hold.
    /// True: that took a checkpoint.
    pub(super) fn cover(&mut self, through: SegmentId) -> Result<bool, Full> {
        let state = &self.checkpoints;
        let behind = |lsn: Lsn| lsn.segment(self.shape.segment_bytes) > through;
        let covered = behind(state.covered);
        let in_vain = !covered && behind(state.newest_c);
        let durable = covered && state.newest_head < self.log.stable_lsn();
        if self.log.files().kept().is_empty() || state.writing || in_vain || durable {
            return Ok(false);
        }
        let written = !covered && self.write_checkpoint()?;
        self.log.flush();
        Ok(written)
    }

    /// False: the ring has no room for its head.
    fn write_checkpoint(&mut self) -> Result<bool, Full> {
        self.checkpoints.writing = true;
        let begun = self.append_parts();
        self.checkpoints.writing = false;
        let begun = begun?;
        self.log.make_stable(begun.head.e);
        self.finish_checkpoint(&begun)
    }

    fn append_parts(&mut self) -> Result<Begun, Full> {
        let c = self.log.reserved_end();
        let mut begun = Begun {
            head: Head {
                generation: 0,
                c,
                e: c,
                entries: 0,
                identity_bits: 0,
                oldest: SegmentId(0),
                time_seen_s: 0,
                parts: Vec::new(),
                policy: Vec::new(),
                shape: vec![self.index.shards().len() as u64, 0],
                hand: 0,
            },
            bytes: 0,
        };
        let most = entries_that_fit(self.meta_bytes()).max(1) as u64;
        for shard in 0..self.index.shards().len() {
            // What comes or goes while its parts are appended is in no image.
            let mut left = self.index.shards()[shard];
            while left > 0 {
                let entries = left.min(most);
                let part = self.append_part(part_bytes(entries))?;
                begun.bytes += u64::from(part.bytes);
                begun.head.parts.push(part);
                left -= entries;
            }
        }
        begun.head.policy = self.append_policy()?;
        begun.head.e = self.log.reserved_end();
        Ok(begun)
    }

    fn append_policy(&mut self) -> Result<Vec<PartRef>, Full> {
        let own = self.policy.save().len();
        let mut left = own;
        if !self.orders.is_empty() || own > 0 {
            left += ORDERS_BYTES + self.orders.len() * ORDER_BYTES;
        }
        let mut pieces = Vec::new();
        while left > 0 {
            let piece = left.min(to_usize(self.meta_bytes()));
            pieces.push(self.append_part(piece as u64)?);
            left -= piece;
        }
        Ok(pieces)
    }

    fn append_part(&mut self, bytes: u64) -> Result<PartRef, Full> {
        Ok(PartRef {
            lsn: self.append_meta(FrameKind::Part, bytes)?,
            bytes: to_u32(to_usize(bytes)),
            shard: 0,
            entries: 0,
        })
    }

    fn finish_checkpoint(&mut self, begun: &Begun) -> Result<bool, Full> {
        let c = begun.head.c;
        let head = begun.head.encode().len() as u64;
        let fits = align_up(HEADER_BYTES + head, perennial_wal::ALIGN) <= self.max_ring_frame;
        if fits {
            let at = self.append_meta(FrameKind::Head, head)?;
            (self.checkpoints.newest_head, self.checkpoints.covered) = (at, c);
        }
        self.checkpoints.newest_c = c;
        self.checkpoints.bytes = begun.bytes + head;
        Ok(fits)
    }
}
