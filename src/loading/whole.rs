//! What needs all of the index.

use std::collections::BTreeSet;

use perennial_wal::frame::FrameKind;

use crate::checkpoint::CheckpointState;
use crate::engine::Engine;
use crate::error::Result;
use crate::write::Only;

impl Engine {
    /// What the thread that loads does: shard by shard, until all are loaded or the cache is closed.
    pub(crate) fn load_in_the_background(&self) {
        for number in 0..self.index.shards() {
            perennial_failpoints::site!("loading::whole::background");
            if !self.gate.is_open() {
                return;
            }
            self.index.touch_shard(number);
        }
        // A checkpoint may have been put off until now.
        self.signal.wake();
    }

    /// Before anything is given up: no image may lie in it, and the ledger must know what does.
    pub(crate) fn make_whole(&self, state: &mut CheckpointState) {
        if state.whole || perennial_failpoints::planted!("unloaded-image-reclaimed") {
            return;
        }
        self.index.load_all();
        state.whole = true;
        let mut kept = self.log.store().kept();
        kept.retain(|segment| {
            let number = segment.header.number;
            self.ledger.live_kept(number) == 0 && !state.open.has(number)
        });
        // What is dead there may have been replaced a moment ago, by what a power loss could still take. Where a filler is slow
        // they are left to the policy, which finds nothing in them.
        let end = self.log.reserved_end();
        let stable = || matches!(self.log.make_stable_if_complete(end), Ok(true));
        if kept.is_empty() || !stable() {
            return;
        }
        for segment in kept {
            perennial_failpoints::site!("loading::whole::free_kept");
            self.log.store().release_kept(segment.header.number);
            state.orders.remove(&segment.header.number);
        }
    }

    /// Entries that the index forgot because a part of the checkpoint could not be read may be found again by a later open
    /// that can read it. Who removes keys by something else than their hash has to name all that these may be: whatever the
    /// tables of the segments say of their shards and the index does not know.
    pub(crate) fn remove_what_was_lost(&self) -> Result<()> {
        let Some(loading) = &self.loading else {
            return Ok(());
        };
        let lost_of = loading.lost_of.lock().clone();
        if lost_of.is_empty() {
            return Ok(());
        }
        let store = self.log.store();
        let mut hashes = BTreeSet::new();
        for segment in store.live().into_iter().chain(store.kept()) {
            let rows = store.rows(&segment)?;
            let entries = rows.iter().filter(|row| {
                let entry = matches!(
                    row.kind,
                    FrameKind::Put | FrameKind::Ref | FrameKind::Extent
                );
                entry && lost_of.contains(&self.index.shard_of(row.hash))
            });
            hashes.extend(entries.map(|row| row.hash));
        }
        for hash in hashes {
            self.remove_if(&[], hash, Only::Absent)?;
        }
        loading.lost_of.lock().clear();
        Ok(())
    }
}
