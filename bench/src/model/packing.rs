//! What becomes of the entries of a segment that is reclaimed: `src/packing.rs` without bytes.

use perennial::reclaim::{Candidate, Lane, Placement, Source};
use perennial_wal::frame::{FrameHeader, FrameKind};
use perennial_wal::{Class, SegmentId, to_usize};

use super::checkpoints::MOVED_BYTES;
use super::engine::{Engine, Full};
use super::index::Entry;
use super::{charge, put_spec};

/// A live entry of the segment.
struct Live {
    hash: u64,
    entry: Entry,
    /// The policy would keep it.
    kept: bool,
    /// There is a copy of it, in this segment.
    copy: Option<SegmentId>,
}

impl Engine {
    /// What the policy keeps of a segment is moved, the rest is gone.
    pub(super) fn reclaim(&mut self, from: Source, id: SegmentId) -> Result<(), Full> {
        let mut live = self.ask(from, id);
        if from == Source::Kept && self.leave(id, &live) {
            return Ok(());
        }
        match self.policy.placement(from) {
            Placement::Log => self.append_again(id, &mut live)?,
            Placement::Kept { lane, order } => self.pack(id, &mut live, lane, order)?,
        }
        for one in &live {
            self.policy.settle(from, one.hash, one.copy.is_some());
        }
        if self.policy.is_selective() {
            self.log.flush();
        }
        match from {
            Source::Log => {
                self.log.files_mut().release_through(id);
                self.index.drop_segment(id);
            }
            Source::Kept => self.drop_kept(id),
        }
        Ok(())
    }

    fn ask(&self, from: Source, id: SegmentId) -> Vec<Live> {
        if !self.policy.is_selective() {
            return Vec::new();
        }
        let ask = |(hash, entry): (u64, Entry)| Live {
            hash,
            entry,
            kept: self.policy.keeps(
                from,
                Candidate {
                    hash,
                    visits: entry.visits,
                },
            ),
            copy: None,
        };
        self.index.in_segment(id).into_iter().map(ask).collect()
    }

    fn leave(&mut self, id: SegmentId, live: &[Live]) -> bool {
        let geometry = self.log.geometry();
        let kept = live.iter().filter(|one| one.kept);
        let bytes = kept.map(|one| charge(one.hash, one.entry.value_bytes));
        let of = geometry.segment_bytes - geometry.data_begin();
        let Some(order) = self.policy.stays(bytes.sum(), of) else {
            return false;
        };
        self.orders.insert(id, order);
        for one in live {
            self.index.relocate(one.hash, id, id);
        }
        true
    }

    /// To the open kept segment of a lane, and a frame that says so.
    fn pack(
        &mut self,
        id: SegmentId,
        live: &mut [Live],
        lane: Lane,
        order: u64,
    ) -> Result<(), Full> {
        let lane = match lane {
            Lane::Head => 0,
            Lane::Hand => 1,
        };
        for one in live.iter_mut().filter(|one| one.kept) {
            let spec = put_spec(one.hash, one.entry.value_bytes);
            let mut header = spec.header();
            if !self.goes_through_the_ring(&spec) {
                header.kind = FrameKind::Extent;
            }
            one.copy = self.copy_to(lane, order, &header);
            if let Some(to) = one.copy {
                self.index.place(one.hash, to);
            }
        }
        if let Some((_, layout)) = &mut self.lanes[lane] {
            layout.end_batch();
        }
        self.publish(id, live)
    }

    /// Returns the segment; `None`: there is no file for another.
    fn copy_to(&mut self, lane: usize, order: u64, header: &FrameHeader) -> Option<SegmentId> {
        let open = &mut self.lanes[lane];
        open.take_if(|(_, layout)| !layout.has_room(header));
        if open.is_none() {
            *open = self.log.begin_kept();
        }
        let (to, layout) = open.as_mut()?;
        self.orders.entry(*to).or_insert(order);
        layout.has_room(header).then(|| {
            layout.place(header);
            *to
        })
    }

    fn publish(&mut self, id: SegmentId, live: &[Live]) -> Result<(), Full> {
        let copies = live.iter().filter_map(|one| Some((one, one.copy?)));
        let copies: Vec<_> = copies.collect();
        let at_once = to_usize(self.meta_bytes() / MOVED_BYTES).max(1);
        for moved in copies.chunks(at_once) {
            self.append_meta(FrameKind::Move, moved.len() as u64 * MOVED_BYTES)?;
            for (one, to) in moved {
                self.relocate(one, id, *to);
            }
        }
        Ok(())
    }

    fn relocate(&mut self, one: &Live, from: SegmentId, to: SegmentId) {
        if self.index.relocate(one.hash, from, to) {
            self.counts.moved_bytes += charge(one.hash, one.entry.value_bytes);
        }
    }

    /// To the head of the log, like inserts.
    fn append_again(&mut self, id: SegmentId, live: &mut [Live]) -> Result<(), Full> {
        for one in live.iter_mut().filter(|one| one.kept) {
            let spec = put_spec(one.hash, one.entry.value_bytes);
            let (_, at) = self.append_entry(spec, Class::Meta)?;
            let to = at.segment(self.shape.segment_bytes);
            self.index.place(one.hash, to);
            self.relocate(one, id, to);
            one.copy = Some(to);
        }
        Ok(())
    }
}
