//! The index as it absorbs a replay.

use perennial_recovery::{Entry, Head, Left, Machine, PartRef};
use perennial_wal::{ALIGN, Addr, Contents, Found, Geometry, Lsn, SegmentId};

use crate::fetch::Flights;
use crate::index::{Index, IndexGeometry, ShardGuard};
use crate::later::{Sorted, Sorting, What};
use crate::ledger::Ledger;
use crate::pins::Pins;

/// Sets and removes entries as the log says, counting what lives where.
///
/// An entry may be loaded from a checkpoint at an address whose segment is gone: a `Move` behind says where it is now. So
/// all addresses count while the log is replayed, and [`settle`](Self::settle) drops what is nowhere.
///
/// The image of a large checkpoint is not loaded here: what the log says behind it is kept for whoever
/// [loads](crate::loading) a shard.
pub(crate) struct Absorb<'a> {
    index: &'a Index<Flights>,
    ledger: &'a Ledger,
    pins: &'a Pins,
    places: Places,
    /// Images of more entries are left for later.
    at_once: u64,
    unloaded: Option<Unloaded>,
}

/// Which addresses there are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    oldest: SegmentId,
    /// Numbers of the kept segments, ascending.
    kept: Vec<SegmentId>,
    pub(crate) segment_bytes: u64,
    /// Where the newest segment ends, in units: no address lies behind.
    end_units: u64,
}

/// Shards whose entries are still in a checkpoint, and what happened to these behind it.
#[derive(Debug)]
pub(crate) struct Unloaded {
    /// The parts of each shard.
    pub(crate) shards: Vec<Vec<PartRef>>,
    /// In the order of the log.
    pub(crate) later: Vec<Sorted>,
    /// Some of the entries are pinned.
    pub(crate) pinned: bool,
    pub(crate) places: Places,
}

impl Unloaded {
    /// True when some entries are pinned, or were.
    pub(crate) fn has_pinned(&self) -> bool {
        self.pinned || self.later.iter().any(Sorted::has_pinned)
    }
}

/// Where the newest segment ever seen ends, in units: every address that will come lies below.
fn end_units(found: &Found, geometry: Geometry) -> u64 {
    (found.max_number + 1) * geometry.segment_bytes / ALIGN
}

/// Sorters for an index of this shape.
pub(crate) fn sorters(
    threads: usize,
    index: IndexGeometry,
    found: &Found,
    geometry: Geometry,
) -> Vec<Sorting> {
    let sorter = |_| Sorting::new(index, end_units(found, geometry));
    (0..threads).map(sorter).collect()
}

/// Counts what lives where.
pub(crate) trait Count {
    fn add(&mut self, addr: Addr);
    fn subtract(&mut self, addr: Addr);
}

impl Count for &Ledger {
    fn add(&mut self, addr: Addr) {
        Ledger::add(self, addr);
    }

    fn subtract(&mut self, addr: Addr) {
        Ledger::subtract(self, addr);
    }
}

/// So many operations ahead, the part of the index that one needs is asked for from memory: more than go by while one line
/// comes, fewer than push each other's lines out.
const AHEAD: usize = 16;

impl Places {
    /// False for what a row may say and no log has.
    pub(crate) fn is_possible(&self, addr: Addr) -> bool {
        addr.units() < self.end_units
    }

    pub(crate) fn counts(&self, addr: Addr) -> bool {
        let segment = addr.position().segment(self.segment_bytes);
        if addr.is_kept() {
            self.kept.binary_search(&segment).is_ok()
        } else {
            segment >= self.oldest
        }
    }

    /// The oldest segment of the log that counts.
    pub(crate) fn oldest(&self) -> SegmentId {
        self.oldest
    }

    /// The kept segments that count, ascending.
    pub(crate) fn kept(&self) -> &[SegmentId] {
        &self.kept
    }

    /// Does in a shard what the log says happened.
    pub(crate) fn apply(
        &self,
        shard: &mut ShardGuard<'_, Flights>,
        (hash, what): (u64, What),
        counts: &mut impl Count,
        pins: &Pins,
    ) {
        let possible = |addr| self.is_possible(addr);
        let old = match what {
            What::Put {
                addr,
                class,
                pinned,
            } => {
                // Also of what is in the image: which were pinned was looked up a moment after it was taken.
                let pinned = pinned && !perennial_failpoints::planted!("pin-not-replayed");
                pins.replay(hash, pinned, class);
                if shard.points_at(hash, addr) {
                    // The image knows how often it was read.
                    None
                } else {
                    shard.prepare(hash);
                    counts.add(addr);
                    shard.set(hash, addr, class, &possible)
                }
            }
            What::Remove => {
                pins.forget(hash);
                shard.remove(hash)
            }
            What::Move { old, new, class } => {
                if perennial_failpoints::planted!("replayed-move-unconditional") {
                    shard.prepare(hash);
                    counts.add(new);
                    shard.set(hash, new, class, &possible)
                } else {
                    if shard.replace_if(hash, old, new, class) {
                        counts.subtract(old);
                        counts.add(new);
                    }
                    None
                }
            }
        };
        if let Some(old) = old {
            counts.subtract(old.addr);
        }
    }

    /// Stores an entry of an image.
    pub(crate) fn load(
        &self,
        shard: &mut ShardGuard<'_, Flights>,
        entry: Entry,
        counts: &mut impl Count,
        pins: &Pins,
    ) {
        if self.is_possible(entry.addr) && entry.size_class != 0 {
            shard.load(entry, &|addr| self.is_possible(addr));
            counts.add(entry.addr);
            if entry.pinned {
                pins.load(entry.identity, entry.size_class);
            }
        }
    }
}

/// At most so many files are kept open for what is loaded later.
const HELD_FILES: usize = 64;

impl<'a> Absorb<'a> {
    /// Images of more than `at_once` entries are left for later.
    pub(crate) fn new(
        index: &'a Index<Flights>,
        ledger: &'a Ledger,
        pins: &'a Pins,
        contents: &Contents<'_>,
        geometry: Geometry,
        at_once: u64,
    ) -> Self {
        let segments = contents.segments();
        let end = end_units(&contents.found, geometry);
        index.set_horizon(false, end);
        index.set_horizon(true, end);
        let oldest = segments.first().copied().unwrap_or(SegmentId(u64::MAX));
        let kept = contents.found.kept.iter().map(|s| s.header.number);
        Self {
            index,
            ledger,
            pins,
            places: Places {
                oldest,
                kept: kept.collect(),
                segment_bytes: geometry.segment_bytes,
                end_units: end,
            },
            at_once,
            unloaded: None,
        }
    }

    /// What happened in one shard. Lines of the index are on their way from memory while others are changed.
    fn apply(&self, number: usize, sorted: &Sorted) {
        let mut coming = sorted.iter(number);
        for (hash, _) in coming.by_ref().take(AHEAD) {
            self.index.prefetch(hash);
        }
        let (mut shard, mut counts) = (self.index.lock_shard(number), self.ledger);
        for operation in sorted.iter(number) {
            if let Some((hash, _)) = coming.next() {
                self.index.prefetch(hash);
            }
            self.places
                .apply(&mut shard, operation, &mut counts, self.pins);
        }
    }

    /// The oldest segment of the log whose entries count.
    pub(crate) fn oldest(&self) -> SegmentId {
        self.places.oldest
    }

    /// The kept segments whose entries count.
    pub(crate) fn kept(&self) -> Vec<SegmentId> {
        self.places.kept.clone()
    }

    /// What is left to be loaded; `None`: nothing, the index is whole.
    pub(crate) fn unloaded(self) -> Option<Unloaded> {
        let places = self.places;
        self.unloaded
            .map(|unloaded| Unloaded { places, ..unloaded })
    }

    /// What points at segments that are gone counts no more.
    fn settle(&self) {
        let before = self.ledger.live();
        self.ledger.retain(|segment, kept| {
            let begin = Lsn(segment.0 * self.places.segment_bytes);
            self.places.counts(if kept {
                Addr::kept(begin)
            } else {
                Addr::log(begin)
            })
        });
        // Their slots are dead, and the filters know them.
        self.index
            .note_evicted(before.saturating_sub(self.ledger.live()));
        let there = |identity| self.index.get_identity(identity);
        self.pins
            .retain(|identity| there(identity).is_some_and(|entry| self.places.counts(entry.addr)));
    }
}

impl Machine for Absorb<'_> {
    type Sorter = Sorting;

    fn reserve(&mut self, entries: u64) {
        self.index.reserve_entries(perennial_wal::to_usize(entries));
    }

    fn load(&mut self, entry: Entry) {
        let mut shard = self.index.lock(self.index.hash_of(entry.identity));
        self.places
            .load(&mut shard, entry, &mut self.ledger, self.pins);
    }

    /// An image of other shards than the index has cannot be taken in shard by shard; and the files that its parts lie in stay
    /// open until all is loaded.
    fn reads_parts_later(&self, head: &Head) -> bool {
        let same = |(shards, _)| shards == self.index.shards() as u64;
        let segment = |part: &PartRef| part.lsn.segment(self.places.segment_bytes);
        let files = || head.parts.chunk_by(|a, b| segment(a) == segment(b)).count();
        head.entries > self.at_once
            && files() <= HELD_FILES
            && head.shards_and_pinned().is_some_and(same)
            && head
                .parts
                .iter()
                .all(|part| u64::from(part.shard) < self.index.shards() as u64)
    }

    fn image(&mut self, head: &Head) {
        let mut shards = Vec::new();
        shards.resize_with(self.index.shards(), Vec::new);
        for part in &head.parts {
            shards[part.shard as usize].push(*part);
        }
        self.unloaded = Some(Unloaded {
            shards,
            later: Vec::new(),
            pinned: head
                .shards_and_pinned()
                .is_some_and(|(_, pinned)| pinned > 0),
            places: self.places.clone(),
        });
    }

    fn absorb(&mut self, sorted: Sorted) {
        match &mut self.unloaded {
            Some(unloaded) => unloaded.later.push(sorted),
            None => (0..self.index.shards())
                .filter(|number| sorted.puts(*number) > 0)
                .for_each(|number| self.apply(number, &sorted)),
        }
    }

    fn keep_only(&mut self, left: &Left) {
        // No entry comes to such an address again, so that it counts no more can wait for the end.
        self.places.oldest = self.places.oldest.max(left.oldest);
        self.places.kept.retain(|id| !left.is_gone(*id));
    }

    fn forget_all(&mut self) {
        self.unloaded = None;
        self.index.clear();
        self.ledger.clear();
        self.pins.clear();
    }

    fn finish(&mut self) {
        if self.unloaded.is_none() {
            self.settle();
        }
    }
}
