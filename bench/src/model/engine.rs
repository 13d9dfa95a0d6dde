//! Drives a policy as the cache does.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use perennial::reclaim::{Candidate, Duel, Lane, Placement, Policy, Source, Step, View};
use perennial_wal::SegmentId;

use super::checkpoints::{Checkpoints, FRAME_BYTES, MOVED_BYTES};
use super::segment::Segment;
use super::{AsIs, ROW_BYTES, Shape, charge, hash};
use crate::report::Counts;
use crate::trace::Request;

/// How often an insert looks for room. The smallest of caches are mostly checkpoints.
const ROUNDS: usize = 4;

/// A segment is free whenever the log has entered another.
const FREE: u64 = 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    segment: SegmentId,
    charge: u32,
    visits: u8,
}

pub(crate) struct Engine {
    shape: Shape,
    policy: Box<dyn Policy>,
    sampler: Option<Arc<Duel>>,
    index: Index,
    /// Oldest first; the last is open.
    log: VecDeque<Segment>,
    kept: Vec<Segment>,
    /// The open kept segments: at the head, at the hand.
    lanes: [Option<Segment>; 2],
    next_id: u64,
    /// Bytes of whole log segments before the open one.
    logged: u64,
    checkpoints: Checkpoints,
    /// Entries that went to kept segments.
    moved: u64,
    counts: Counts,
}

impl Engine {
    pub(crate) fn new(shape: Shape, policy: Box<dyn Policy>) -> Self {
        Self {
            shape,
            sampler: policy.sampler(),
            policy,
            index: HashMap::default(),
            log: VecDeque::new(),
            kept: Vec::new(),
            lanes: [None, None],
            next_id: 1,
            logged: 0,
            checkpoints: Checkpoints::default(),
            moved: 0,
            counts: Counts {
                segments: shape.segments,
                ..Counts::default()
            },
        }
    }

    pub(crate) fn replay(mut self, trace: &[Request]) -> Counts {
        for request in trace {
            self.request(request);
        }
        let open = self
            .log
            .back()
            .into_iter()
            .chain(self.lanes.iter().flatten());
        self.counts.flash_bytes += open.map(|segment| segment.used).sum::<u64>();
        self.counts
    }

    pub(super) fn request(&mut self, request: &Request) {
        let hash = hash(request.key);
        let found = self.index.get_mut(&hash).map(|entry| {
            entry.visits = (entry.visits + 1).min(3);
            entry.charge
        });
        if let Some(duel) = &self.sampler {
            duel.read(hash, found.map(frame_bytes));
        }
        self.counts
            .request(request.value_bytes.into(), found.is_some());
        if found.is_none() {
            self.insert(hash, charge(hash, request.value_bytes));
        }
    }

    fn insert(&mut self, hash: u64, charge: u64) {
        let Ok(narrow) = u32::try_from(charge) else {
            return;
        };
        if charge > self.shape.data_bytes() {
            return;
        }
        // Checkpoints and moves are in the log as well: what was free may be theirs by the time the entry comes.
        for _ in 0..ROUNDS {
            if !self.fits(self.log.back(), narrow) {
                self.open_log_segment();
                self.upkeep();
            }
        }
        if !self.fits(self.log.back(), narrow) {
            return;
        }
        self.append(hash, narrow);
        self.counts.admitted_bytes += charge;
        if let Some(duel) = &self.sampler {
            duel.inserted(hash, frame_bytes(narrow));
        }
    }

    fn append(&mut self, hash: u64, charge: u32) {
        if let Some(open) = self.log.back_mut() {
            put(&mut self.index, open, hash, charge);
        }
    }

    fn open_log_segment(&mut self) {
        if !self.log.is_empty() {
            self.counts.flash_bytes += self.shape.segment_bytes;
            self.logged += self.shape.segment_bytes;
        }
        let id = self.new_id();
        self.log.push_back(Segment::new(id, 0));
    }

    fn new_id(&mut self) -> SegmentId {
        self.next_id += 1;
        SegmentId(self.next_id - 1)
    }

    fn used(&self) -> u64 {
        (self.log.len() + self.kept.len() + self.lanes.iter().flatten().count()) as u64
    }

    fn free(&self) -> u64 {
        self.shape.segments.saturating_sub(self.used())
    }

    /// For tests.
    #[cfg(test)]
    pub(super) fn is_within_its_capacity(&self) -> bool {
        let all = self
            .log
            .iter()
            .chain(&self.kept)
            .chain(self.lanes.iter().flatten());
        let fit = all
            .into_iter()
            .all(|segment| segment.used <= self.shape.data_bytes());
        fit && self.used() <= self.shape.segments
    }

    /// What the cache does whenever its log enters a segment.
    fn upkeep(&mut self) {
        while self.free() < FREE && self.reclaim() {}
        let segments = match self.kept.len() + self.lanes.iter().flatten().count() {
            0 => self.shape.segments,
            _ => self.log.len() as u64 + 1,
        };
        let (capacity, log) = (self.capacity(), segments * self.shape.segment_bytes);
        if self.checkpoints.is_due(self.reserved(), capacity, log) {
            self.checkpoint();
        }
    }

    fn capacity(&self) -> u64 {
        self.shape.segments * self.shape.segment_bytes
    }

    /// Where the log ends.
    fn reserved(&self) -> u64 {
        self.logged + self.log.back().map_or(0, |open| open.used)
    }

    fn checkpoint(&mut self) {
        let (at, entries) = (self.reserved(), self.index.len() as u64);
        let bytes = self.checkpoints.write(at, entries, self.sampler.is_some());
        self.append_meta(bytes);
    }

    /// Bytes of the log that no entry has.
    fn append_meta(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let room = |open: &Segment| self.shape.data_bytes() - open.used;
            let now = self.log.back().map_or(0, room).min(left);
            if let Some(open) = self.log.back_mut() {
                open.used += now;
            }
            left -= now;
            if left > 0 {
                self.open_log_segment();
            }
        }
    }

    fn reclaim(&mut self) -> bool {
        let kept: Vec<_> = self.kept.iter().map(Segment::as_kept).collect();
        // The last one is being written.
        let oldest = (self.log.len() > 1).then(|| self.log[0].id);
        let step = self.policy.next(&View {
            segments: usize::try_from(self.shape.segments - FREE).unwrap_or(usize::MAX),
            log_segments: self.log.len(),
            oldest,
            kept: &kept,
            entries: self.index.len() as u64,
        });
        match step {
            Step::Nothing => return false,
            Step::Log(_) => self.reclaim_log(),
            Step::Kept(id) => self.reclaim_kept(id),
        }
        true
    }

    fn reclaim_log(&mut self) {
        let nothing_kept = self.kept.is_empty() && self.lanes.iter().all(Option::is_none);
        // The log's length without its oldest segment, which is to go.
        let younger = (self.log.len() as u64 - 1) * self.shape.segment_bytes;
        let through = (self.logged + self.shape.segment_bytes).saturating_sub(younger);
        if !nothing_kept && !self.checkpoints.cover(through) {
            self.checkpoint();
        }
        if let Some(segment) = self.log.pop_front() {
            let live = self.live(&segment);
            self.decide(Source::Log, &live);
        }
    }

    fn reclaim_kept(&mut self, id: SegmentId) {
        let Some(at) = self.kept.iter().position(|segment| segment.id == id) else {
            return;
        };
        let live = self.live(&self.kept[at]);
        let surviving = live
            .iter()
            .filter(|(hash, entry)| self.keeps(Source::Kept, *hash, entry));
        let bytes = surviving.map(|(_, entry)| u64::from(entry.charge)).sum();
        if let Some(order) = self.policy.stays(bytes, self.shape.data_bytes()) {
            self.kept[at].order = order;
            for (hash, _) in live {
                self.index.entry(hash).and_modify(|entry| entry.visits = 0);
            }
            return;
        }
        self.kept.swap_remove(at);
        self.decide(Source::Kept, &live);
    }

    fn live(&self, segment: &Segment) -> Vec<(u64, Entry)> {
        let entry = |hash: &u64| Some((*hash, *self.index.get(hash)?));
        let here = |(_, entry): &(u64, Entry)| entry.segment == segment.id;
        segment
            .hashes
            .iter()
            .filter_map(entry)
            .filter(here)
            .collect()
    }

    fn keeps(&self, from: Source, hash: u64, entry: &Entry) -> bool {
        let visits = entry.visits;
        self.policy.keeps(from, Candidate { hash, visits })
    }

    fn decide(&mut self, from: Source, live: &[(u64, Entry)]) {
        let moved_before = self.moved;
        for (hash, entry) in live {
            let kept = self.keeps(from, *hash, entry) && self.keep(from, *hash, entry.charge);
            if !kept {
                self.index.remove(hash);
            }
            self.policy.settle(from, *hash, kept);
        }
        let moved = self.moved - moved_before;
        if moved > 0 {
            self.append_meta(FRAME_BYTES + moved * MOVED_BYTES);
        }
    }

    /// Moves an entry to where the policy says. False: there is no room.
    fn keep(&mut self, from: Source, hash: u64, charge: u32) -> bool {
        let bytes = u64::from(charge);
        let moved = match self.policy.placement(from) {
            Placement::Log => self.keep_in_log(hash, charge),
            Placement::Kept { lane, order } => self.keep_in_lane(lane, order, hash, charge),
        };
        self.counts.moved_bytes += if moved { bytes } else { 0 };
        moved
    }

    fn fits(&self, open: Option<&Segment>, charge: u32) -> bool {
        open.is_some_and(|open| open.used + u64::from(charge) <= self.shape.data_bytes())
    }

    fn keep_in_log(&mut self, hash: u64, charge: u32) -> bool {
        if !self.fits(self.log.back(), charge) {
            if self.used() > self.shape.segments {
                return false;
            }
            self.open_log_segment();
        }
        self.append(hash, charge);
        true
    }

    fn keep_in_lane(&mut self, lane: Lane, order: u64, hash: u64, charge: u32) -> bool {
        let lane = match lane {
            Lane::Head => 0,
            Lane::Hand => 1,
        };
        if !self.fits(self.lanes[lane].as_ref(), charge) {
            // While a segment is being reclaimed one more is there for its survivors.
            if self.used() > self.shape.segments {
                return false;
            }
            let opened = Segment::new(self.new_id(), order);
            if let Some(full) = self.lanes[lane].replace(opened) {
                self.counts.flash_bytes += self.shape.segment_bytes;
                self.kept.push(full);
            }
        }
        self.moved += 1;
        if let Some(open) = &mut self.lanes[lane] {
            put(&mut self.index, open, hash, charge);
        }
        true
    }
}

type Index = HashMap<u64, Entry, BuildHasherDefault<AsIs>>;

/// An entry's charge without its trailer row.
fn frame_bytes(charge: u32) -> u32 {
    charge - u32::try_from(ROW_BYTES).unwrap_or(0)
}

fn put(index: &mut Index, open: &mut Segment, hash: u64, charge: u32) {
    open.push(hash, charge.into());
    let entry = Entry {
        segment: open.id,
        charge,
        visits: 0,
    };
    index.insert(hash, entry);
}
