//! Requests, and what the log says to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use perennial::reclaim::{Duel, Policy};
use perennial_wal::dry::DryLog;
use perennial_wal::frame::FrameKind;
use perennial_wal::segment::{KeptLayout, Reserve};
use perennial_wal::{
    Class, EXTENT_REF_BYTES, FrameSpec, Geometry, Lsn, NoRoom, SegmentId, align_down, to_u32,
};

use super::checkpoints::Checkpoints;
use super::index::Index;
use super::{Shape, charge, hash, held_ready, put_spec, read_bytes};
use crate::report::Counts;
use crate::trace::Request;

/// Prepared segments: one is written next, one stays behind it.
pub(super) const AHEAD: usize = 2;
const RESERVE: Reserve = Reserve {
    from_puts: 1,
    from_removes: 1,
    from_meta: 1,
};

/// There is no segment to write to, and none can be reclaimed.
#[derive(Debug)]
pub(super) struct Full;

pub(crate) struct Engine {
    pub(super) shape: Shape,
    pub(super) policy: Box<dyn Policy>,
    pub(super) sampler: Option<Arc<Duel>>,
    pub(super) index: Index,
    pub(super) log: DryLog,
    /// The open kept segments: at the head, at the hand.
    pub(super) lanes: [Option<(SegmentId, KeptLayout)>; 2],
    /// Where each kept segment comes in the order of the policy.
    pub(super) orders: BTreeMap<SegmentId, u64>,
    pub(super) checkpoints: Checkpoints,
    /// The segment that is being reclaimed: whoever needs room for that must not begin another.
    pub(super) reclaiming: Option<SegmentId>,
    /// The newest segment of the log that an entry was put in.
    horizon: SegmentId,
    /// Reads of entries in the log's segments from here on are no visits.
    young_from: SegmentId,
    /// The largest frame that goes through the ring.
    pub(super) max_ring_frame: u64,
    pub(super) counts: Counts,
}

impl Engine {
    pub(crate) fn new(shape: Shape, policy: Box<dyn Policy>) -> Self {
        let files = shape.segments + held_ready(policy.needs_spare());
        let geometry = Geometry::of(shape.segment_bytes);
        let mut log = DryLog::new(geometry, shape.ring_bytes(), files);
        log.files_mut().set_reserve(RESERVE);
        let mut engine = Self {
            shape,
            sampler: policy.sampler(),
            policy,
            index: Index::new(shape.shards_log2()),
            max_ring_frame: perennial::largest_ring_frame(log.max_ring_frame()),
            log,
            lanes: [None, None],
            orders: BTreeMap::new(),
            checkpoints: Checkpoints::default(),
            reclaiming: None,
            horizon: SegmentId(0),
            young_from: SegmentId(u64::MAX),
            counts: Counts {
                segments: shape.segments,
                ..Counts::default()
            },
        };
        engine.upkeep();
        engine
    }

    pub(crate) fn replay(mut self, trace: &[Request]) -> Counts {
        for request in trace {
            self.request(request);
        }
        self.counts.flash_bytes = self.flash_bytes();
        self.counts
    }

    /// Whole segments, and of those that are open what is in them.
    fn flash_bytes(&self) -> u64 {
        let segment_bytes = self.shape.segment_bytes;
        let open_log = self.log.reserved_end().offset(segment_bytes);
        let open_kept = self.lanes.iter().flatten().map(|(_, layout)| layout.end());
        let open: Vec<u64> = open_kept.chain([open_log]).collect();
        let whole = self.log.files().begun() - open.len() as u64;
        whole * segment_bytes + open.iter().sum::<u64>()
    }

    pub(super) fn request(&mut self, request: &Request) {
        let hash = hash(request.key);
        let (young_from, orders) = (self.young_from, &self.orders);
        let counts = |id| id < young_from || orders.contains_key(&id);
        let found = self.index.read(hash, counts);
        if let Some(duel) = &self.sampler {
            let bytes = found.map(|entry| self.sampled_bytes(hash, entry.value_bytes));
            duel.read(hash, bytes);
        }
        self.counts
            .request(request.value_bytes.into(), found.is_some());
        if found.is_none() && self.insert(hash, request.value_bytes).is_ok() {
            self.counts.admitted_bytes += charge(hash, request.value_bytes);
        }
    }

    /// The frame's bytes, as the index of a cache has them: an extent is always larger than what the ring takes.
    fn sampled_bytes(&self, hash: u64, value_bytes: u32) -> u32 {
        let spec = put_spec(hash, value_bytes);
        let bytes = read_bytes(&spec.header());
        let bytes = if self.goes_through_the_ring(&spec) {
            bytes
        } else {
            bytes.max(self.max_ring_frame + 1)
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    pub(super) fn goes_through_the_ring(&self, spec: &FrameSpec) -> bool {
        spec.header().frame_bytes(1) <= self.max_ring_frame
    }

    fn insert(&mut self, hash: u64, value_bytes: u32) -> Result<(), Full> {
        let spec = put_spec(hash, value_bytes);
        let geometry = self.log.geometry();
        if read_bytes(&spec.header()) > align_down(geometry.max_frame(), geometry.sector) {
            return Err(Full);
        }
        let (lsn, at) = self.append_entry(spec, Class::Put)?;
        let segment_bytes = self.shape.segment_bytes;
        let newest = lsn.max(at).segment(segment_bytes);
        let entered = newest > self.horizon;
        self.horizon = self.horizon.max(newest);
        self.index
            .insert(hash, value_bytes, at.segment(segment_bytes));
        if let Some(duel) = &self.sampler {
            duel.inserted(hash, self.sampled_bytes(hash, value_bytes));
        }
        if entered {
            self.upkeep();
        }
        Ok(())
    }

    /// Returns the place of the frame that stands for the entry in the log, and that of its bytes.
    pub(super) fn append_entry(
        &mut self,
        spec: FrameSpec,
        class: Class,
    ) -> Result<(Lsn, Lsn), Full> {
        if self.goes_through_the_ring(&spec) {
            let lsn = self.append(|log| log.append(spec, class))?;
            return Ok((lsn, lsn));
        }
        let extent = self.append(|log| log.append_extent(spec))?;
        let reference = FrameSpec {
            kind: FrameKind::Ref,
            key_bytes: 0,
            value_bytes: to_u32(EXTENT_REF_BYTES),
            ..spec
        };
        let lsn = self.append(|log| log.append(reference, class))?;
        Ok((lsn, extent))
    }

    /// A frame of our own.
    pub(super) fn append_meta(&mut self, kind: FrameKind, bytes: u64) -> Result<Lsn, Full> {
        let spec = FrameSpec {
            kind,
            hash: 0,
            key_bytes: 0,
            value_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            expiry: 0,
            flags: 0,
        };
        self.append(|log| log.append(spec, Class::Meta))
    }

    /// Makes room until there is some.
    fn append(
        &mut self,
        attempt: impl Fn(&mut DryLog) -> Result<Lsn, NoRoom>,
    ) -> Result<Lsn, Full> {
        loop {
            match attempt(&mut self.log) {
                Ok(lsn) => return Ok(lsn),
                Err(NoRoom::Ring) => self.log.make_ring_room(),
                Err(NoRoom::Segment) => self.make_segments(AHEAD)?,
            }
        }
    }

    /// What the cache does whenever its log enters a segment. Where it fails, whoever needs the room next is told.
    fn upkeep(&mut self) {
        if self.make_segments(AHEAD).is_ok() {
            self.note_young();
            let _ = self.checkpoint_when_due();
        }
    }

    fn note_young(&mut self) {
        let files = self.log.files();
        let written = files.live().len() - files.prepared();
        let young = self.policy.young_segments(written);
        let first = (young > 0).then(|| files.live()[written - young]);
        self.young_from = first.unwrap_or(SegmentId(u64::MAX));
    }

    /// For tests.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let files = self.log.files();
        let there = |id| files.live().contains(&id) || files.kept().contains(&id);
        self.index.segments_in_use().all(there)
            && self.index.shards().iter().sum::<u64>() == self.index.len()
            && self.orders.keys().all(|id| files.kept().contains(id))
    }
}
