//! Clearing: one frame of the log, whose replay forgets everything before it.
//!
//! ```text
//!   upkeep lock ─► all shards ─► Clear frame, complete ─► empty tables ─► shards free ─► stable ─► segments before it free
//! ```
//! With every shard locked no operation stands between its reservation and its entry, so the frame comes behind every
//! operation whose entry is in the index, and before every later one: the tables can be swapped for empty ones, and a
//! replay that forgets at the frame does the same. The frame is complete before the first table goes: whoever sees a key
//! absent sees what a killed process leaves. No file may be written over before the frame is stable, or a power loss
//! could take a part of what a clear that never happened left alone. What a reclaim would be in the middle of is excluded
//! by the lock of the upkeep.

use perennial_wal::frame::FrameKind;
use perennial_wal::{Addr, Class, Lsn, Refused, SegmentId};

use crate::checkpoint::{CheckpointState, meta_spec};
use crate::engine::Engine;
use crate::error::Result;
use crate::fetch::Flights;
use crate::index::ShardGuard;
use crate::packing::Open;

/// Where a clear lies in the log.
struct Cleared {
    at: Lsn,
    end: Lsn,
    entered_segment: bool,
    /// So many entries went.
    entries: u64,
}

impl Engine {
    pub(crate) fn clear(&self) -> Result<()> {
        self.check_open()?;
        let cleared = {
            let mut state = self.lock_upkeep()?;
            let cleared = self.forget_everything(&mut state)?;
            perennial_failpoints::site!("clear::appended");
            if !perennial_failpoints::planted!("clear-not-durable") {
                self.make_durable(cleared.end)?;
            }
            perennial_failpoints::site!("clear::stable");
            self.free_everything_before(&mut state, cleared.at);
            cleared
        };
        self.after_operation(cleared.entered_segment);
        self.tell_cleared(cleared.entries);
        Ok(())
    }

    fn forget_everything(&self, state: &mut CheckpointState) -> Result<Cleared> {
        loop {
            match self.try_clear() {
                Ok(cleared) => return Ok(cleared),
                Err(refused) => self.make_meta_room(state, refused)?,
            }
        }
    }

    fn try_clear(&self) -> std::result::Result<Cleared, Refused> {
        let mut shards = self.index.lock_all();
        if perennial_failpoints::planted!("clear-not-logged") {
            return Ok(Cleared {
                at: Lsn(0),
                end: Lsn(0),
                entered_segment: false,
                entries: self.empty(&mut shards),
            });
        }
        let spec = meta_spec(FrameKind::Clear, 0);
        let reservation = self.log.try_reserve(spec, Class::Meta)?;
        let at = reservation.lsn();
        let entered_segment = self.raise_horizon(Addr::log(at));
        let end = reservation.complete();
        perennial_failpoints::site!("clear::shards");
        Ok(Cleared {
            at,
            end,
            entered_segment,
            entries: self.empty(&mut shards),
        })
    }

    /// Returns how many entries there were.
    fn empty(&self, shards: &mut [ShardGuard<'_, Flights>]) -> u64 {
        for shard in shards {
            shard.extra().supersede_all();
            shard.clear();
        }
        let live = self.ledger.clear();
        self.counters.cleared.add(live);
        self.dropped_unread.lock().clear();
        self.pins.clear();
        live
    }

    /// Gives up the segments of the log before the one that a clear is in, and all kept ones.
    fn free_everything_before(&self, state: &mut CheckpointState, at: Lsn) {
        let store = self.log.store();
        state.whole = true;
        // An image of what was there is of no use.
        state.begun = None;
        state.open = Open::default();
        state.orders.clear();
        for segment in store.kept() {
            store.release_kept(segment.header.number);
            self.ledger.drop_kept(segment.header.number);
        }
        let own = at.segment(self.log.geometry().segment_bytes);
        if own > store.oldest() {
            let through = SegmentId(own.0 - 1);
            self.close_to_references(through);
            store.release_through(through);
            // Large values whose references came behind the clear.
            self.counters.evicted.add(self.ledger.drop_through(through));
            self.count_lost_pins();
        }
    }
}
