//! The kept segments that are being filled, and what a restart should know of all of them.

use perennial_wal::SegmentId;
use perennial_wal::segment::KeptWriter;
use perennial_wal::{to_u32, to_usize};

use crate::checkpoint::CheckpointState;
use crate::reclaim::Lane;

/// The kept segments that are being filled, one in each lane.
#[derive(Debug, Default)]
pub(crate) struct Open {
    head: Option<KeptWriter>,
    hand: Option<KeptWriter>,
    /// In no policy's hands.
    pinned: Option<KeptWriter>,
}

impl Open {
    /// Of the policy's lanes one, or the one for what is pinned.
    pub(super) fn lane(&mut self, lane: Option<Lane>) -> &mut Option<KeptWriter> {
        match lane {
            Some(Lane::Head) => &mut self.head,
            Some(Lane::Hand) => &mut self.hand,
            None => &mut self.pinned,
        }
    }

    /// Nothing more comes to this one: it is about to go.
    pub(super) fn forget(&mut self, id: SegmentId) {
        for lane in [&mut self.head, &mut self.hand, &mut self.pinned] {
            lane.take_if(|writer| writer.id() == id);
        }
    }

    /// True for a segment that is being filled.
    pub(crate) fn has(&self, id: SegmentId) -> bool {
        let lanes = [&self.head, &self.hand, &self.pinned];
        lanes.into_iter().flatten().any(|writer| writer.id() == id)
    }
}

impl CheckpointState {
    /// The order of the kept segments, and the policy's own state.
    ///
    /// ```text
    ///   | segments u32 | number u64 | order u64 | ... | the policy's
    /// ```
    pub(crate) fn save_policy(&self) -> Vec<u8> {
        let own = self.policy.save();
        if self.orders.is_empty() && own.is_empty() {
            return own;
        }
        let mut saved = to_u32(self.orders.len()).to_le_bytes().to_vec();
        for (id, order) in &self.orders {
            saved.extend(id.0.to_le_bytes());
            saved.extend(order.to_le_bytes());
        }
        saved.extend(own);
        saved
    }

    /// Goes on with what [`save_policy`](Self::save_policy) said, for segments that there still are.
    pub(crate) fn load_policy(&mut self, saved: &[u8]) {
        let Some((count, rest)) = saved.split_first_chunk() else {
            return;
        };
        let count = to_usize(u64::from(u32::from_le_bytes(*count)));
        let (pairs, rest) = rest
            .as_chunks::<16>()
            .0
            .split_at_checked(count)
            .map_or((&[][..], &[][..]), |(pairs, _)| {
                (pairs, &rest[count * 16..])
            });
        for pair in pairs {
            let [id, order] = [&pair[..8], &pair[8..]]
                .map(|half| u64::from_le_bytes(half.try_into().unwrap_or_default()));
            self.orders
                .entry(SegmentId(id))
                .and_modify(|known| *known = order);
        }
        if !self.policy.load(rest) {
            tracing::info!("the eviction policy starts anew");
        }
    }
}
