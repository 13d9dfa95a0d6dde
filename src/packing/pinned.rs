//! Pinned entries: where they go when their segment is reclaimed, and what keeps them from filling the cache.
//!
//! ```text
//!   the log ── reclaimed ──▶ pinned segments ── more than half again what is live ──▶ packed again, oldest first
//!                                    └── nothing live ──▶ free
//! ```
//! A pinned segment is a kept one whose header says the last place there is. No policy is shown it, so none can evict from
//! it, wait for it, or go round and round over it: every round of a policy is over what may go. What is live in pinned
//! segments is bounded by what may be pinned ([`Plan::pinned_bytes`](crate::options::Plan)), and their number by half again as much.

use perennial_wal::segment::Segment;
use perennial_wal::{FrameSpec, SegmentId, to_usize};

use super::Live;
use crate::checkpoint::CheckpointState;
use crate::engine::{Engine, read_bytes};
use crate::error::Result;
use crate::index::size_class;
use crate::pins::PINNED_ORDER;
use crate::reclaim::Source;
use crate::write::Placing;

/// Files that are left for a reclaim once something is pinned: one for its pinned entries, and one for the log, which says
/// where they are.
const KEPT_BACK: u64 = 2;

impl CheckpointState {
    /// True for a kept segment of pinned entries.
    pub(crate) fn is_pinned(&self, id: SegmentId) -> bool {
        self.orders.get(&id) == Some(&PINNED_ORDER)
    }

    /// How many there are.
    pub(crate) fn pinned_segments(&self) -> usize {
        let orders = self.orders.values();
        orders.filter(|order| **order == PINNED_ORDER).count()
    }
}

/// At insert.
impl Engine {
    /// False: not even without its key's older version. The first time room is made for what a reclaim will need; who does
    /// not wait leaves that to the upkeep, which sees to it before it prepares another segment.
    pub(crate) fn may_pin(&self, spec: &FrameSpec, at_once: bool) -> Result<bool> {
        let class = size_class::class_of(u32::try_from(read_bytes(spec)).unwrap_or(u32::MAX));
        // How much is pinned is known when all of it is.
        self.index.load_all();
        let charge = self.pins.charge(class);
        let mut could = self.pins.could_charge(spec.hash, charge);
        if !could && self.drop_ended_pins() {
            could = self.pins.could_charge(spec.hash, charge);
        }
        if !could {
            return Ok(false);
        }
        if !self.pins.in_use() {
            self.pins.use_from_now_on();
            if at_once {
                self.signal.wake();
                return Ok(true);
            }
            let mut state = self.lock_upkeep()?;
            while self.log.store().spare_files() < KEPT_BACK && self.reclaim_one(&mut state)? {}
        }
        Ok(true)
    }

    /// Those that nobody looks at hold their share until their segment is packed again, which takes as long as what is live
    /// changes little. An end of an earlier life is not known before. False: none has ended.
    fn drop_ended_pins(&self) -> bool {
        let now_s = self.now_s();
        let ended = self.pins.ended(now_s);
        for identity in &ended {
            let hash = self.index.hash_of(*identity);
            self.drop_ended(hash, |_| self.pins.has_ended(hash, now_s));
        }
        !ended.is_empty()
    }

    /// What a pinned entry counts for.
    pub(crate) fn charge_of(&self, placing: &Placing<'_>) -> Option<u64> {
        let pinned = placing.spec.flags & perennial_wal::frame::flags::PINNED != 0;
        let extent = placing.extent.map(|extent| extent.bytes);
        let whole = || u32::try_from(read_bytes(&placing.spec)).unwrap_or(u32::MAX);
        let class = || size_class::class_of(extent.unwrap_or_else(whole));
        pinned.then(|| self.pins.charge(class()))
    }
}

/// At open.
impl Engine {
    /// Goes on with what was found pinned.
    ///
    /// `waiting`: there are others, in shards of the index that are still to be loaded.
    pub(crate) fn take_up_pins(&self, waiting: bool) {
        let segments = self.log.store().max_files();
        self.pins.set_budget(self.plan.pinned_bytes(segments));
        self.count_lost_pins();
        if waiting || self.pins.entries() > 0 {
            self.pins.use_from_now_on();
        }
    }
}

/// At reclaim.
impl Engine {
    pub(crate) fn kept_back_for_pins(&self) -> u64 {
        if self.pins.in_use() { KEPT_BACK } else { 0 }
    }

    /// Moves pinned entries to a pinned segment, or, where no file is free for one, to the head of the log. Returns how many
    /// were.
    pub(super) fn move_pinned(
        &self,
        state: &mut CheckpointState,
        segment: &Segment,
        pinned: &[Live],
    ) -> Result<usize> {
        if pinned.is_empty() {
            return Ok(0);
        }
        perennial_failpoints::site!("packing::pinned::move");
        let packed = self.pack(state, segment, pinned, None, PINNED_ORDER)?;
        let is_packed = |entry: &&Live| {
            let target = entry.row.target.to_bits();
            packed
                .binary_search_by_key(&target, |addr| addr.to_bits())
                .is_ok()
        };
        let rest: Vec<Live> = pinned.iter().filter(|e| !is_packed(e)).copied().collect();
        let appended = self.append_again(state, segment, &rest)?;
        Ok(packed.len() + appended.len())
    }

    /// What was not moved has ended, is damaged, or found no room: it is gone with its segment.
    pub(super) fn forget_unmoved(&self, pinned: &[Live]) {
        for entry in pinned {
            let row = &entry.row;
            let mut shard = self.index.lock(row.hash);
            // The ledger has dropped its segment.
            if shard.remove_if(row.hash, row.target) {
                self.lose_pin(row.hash);
            }
        }
    }

    /// The entry of this key is gone, and nobody asked for that. Called under its shard's lock (I13).
    pub(crate) fn lose_pin(&self, hash: u64) {
        if self.pins.forget(hash) {
            self.counters.pinned_lost.add(1);
        }
    }

    /// A segment went as a whole, with what was pinned in it.
    ///
    /// What looks lost is looked at again under its shard's lock: whoever pins the key anew meanwhile has set entry and charge
    /// together by then, or finds neither.
    pub(crate) fn count_lost_pins(&self) {
        for identity in self.pins.identities() {
            let there = || {
                let entry = self.index.get_identity(identity);
                entry.is_some_and(|entry| self.is_live(entry.addr))
            };
            if there() {
                continue;
            }
            perennial_failpoints::site!("packing::pinned::lost");
            let hash = self.index.hash_of(identity);
            let _shard = self.index.lock(hash);
            if !there() {
                self.lose_pin(hash);
            }
        }
    }

    /// A pinned segment with nothing live; or, every second time, the oldest one while they take more than half again what is
    /// live. Every second time, so that whatever they do the policy goes on.
    pub(crate) fn pinned_to_pack(&self, state: &mut CheckpointState) -> Option<SegmentId> {
        state.pinned_turn = !state.pinned_turn;
        let closed = self.closed_pinned(state);
        let mut closed = closed.iter();
        let empty = closed.find(|id| self.ledger.live_kept(**id) == 0).copied();
        empty.or_else(|| self.too_many_pinned(state).filter(|_| state.pinned_turn))
    }

    fn closed_pinned(&self, state: &CheckpointState) -> Vec<SegmentId> {
        let pinned = state
            .orders
            .iter()
            .filter(|(_, order)| **order == PINNED_ORDER);
        let closed = pinned.map(|(id, _)| *id).filter(|id| !state.open.has(*id));
        closed.collect()
    }

    /// The oldest pinned segment, while they take more than half again what is live.
    pub(crate) fn too_many_pinned(&self, state: &CheckpointState) -> Option<SegmentId> {
        let closed = self.closed_pinned(state);
        let live = self
            .pins
            .bytes()
            .div_ceil(self.log.geometry().segment_bytes);
        let too_many = closed.len() > to_usize(live + live / 2 + 1);
        closed.first().copied().filter(|_| too_many)
    }

    /// The last resort: a kept segment goes as it is; a pinned one only where more is pinned than may be, and there is no
    /// other. False: there is none, or one is just being reclaimed.
    ///
    /// The log needs its least, and of what is left of a larger capacity all may be pinned, more than fits, or lie in the
    /// segments that are being filled, which no policy is shown.
    pub(crate) fn give_up_kept(&self, state: &mut CheckpointState) -> Result<bool> {
        let kept = self.log.store().kept();
        let over = self.pins.is_over_budget();
        let least = kept
            .iter()
            .filter(|s| !state.busy && (over || !state.is_pinned(s.header.number)))
            .min_by_key(|s| (state.is_pinned(s.header.number), s.header.number));
        let Some(segment) = least else {
            return Ok(false);
        };
        // Newer versions of what lies dead here: a power loss could take both.
        self.log.flush()?;
        self.tell_given_up(Source::Kept, segment);
        let number = segment.header.number;
        state.open.forget(number);
        self.log.store().release_kept(number);
        state.orders.remove(&number);
        let dropped = self.ledger.drop_kept(number);
        self.counters.evicted.add(dropped);
        self.index.note_evicted(dropped);
        self.counters.reclaimed_segments.add(1);
        self.count_lost_pins();
        tracing::warn!(segment = %number, dropped, "a kept segment was dropped to make room for the log");
        Ok(true)
    }

    pub(crate) fn pack_pinned(&self, state: &mut CheckpointState, id: SegmentId) -> Result<bool> {
        let Some(segment) = self.log.store().get(id) else {
            state.orders.remove(&id);
            return Ok(true);
        };
        perennial_failpoints::site!("packing::pinned::pack");
        state.busy = true;
        let reclaimed = self.reclaim(state, Source::Kept, &segment);
        state.busy = false;
        reclaimed.map(|()| true)
    }
}
