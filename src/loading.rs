//! The shards of the index, loaded from a checkpoint after the open: at their first touch, and by a thread of their own.
//!
//! ```text
//!   open:    head ─► where each shard's parts lie          the log behind C ─► what came later, shard by shard
//!   touch:   parts of the shard ─► read, proved ─► entries ─► what came later, in the log's order ─► counts ─► loaded
//! ```
//! Nothing on disk changes when a shard is loaded, so a crash in the middle leaves what the open found. Before anything could
//! change under an image, which is when a segment is given up or a checkpoint is written, all of them are loaded. What a
//! part that cannot be read costs is in `docs/recovery.md`: its entries are forgotten and counted, and nothing older shows.

mod counts;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use perennial_recovery::{PartRef, part_frame_bytes, part_of_frame};
use perennial_wal::segment::{Held, Segment, SegmentStore};
use perennial_wal::{LogCore, SegmentId, WalError, to_usize};

use crate::absorb::{Places, Unloaded};
use crate::fetch::Flights;
use crate::index::{Image, Index};
use crate::later::Sorted;
use crate::ledger::Ledger;
use crate::pins::Pins;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};

use counts::Counts;

/// What is not loaded yet, and where to count what is.
pub(crate) struct Loading {
    /// The parts of each shard.
    shards: Vec<Mutex<Vec<PartRef>>>,
    /// What happened behind the image, while shards are to be loaded.
    later: Mutex<Arc<Vec<Sorted>>>,
    /// How many of these there are.
    left: AtomicUsize,
    places: Places,
    ledger: Arc<Ledger>,
    pins: Arc<Pins>,
    /// The files that parts lie in, while some are to be read: no want of handles can keep anybody from them.
    files: Mutex<BTreeMap<SegmentId, Held>>,
    /// Entries that images say there are and that are not loaded.
    waiting: AtomicU64,
    /// Entries forgotten because their part could not be read.
    lost: AtomicU64,
    /// The shards that these belonged to.
    lost_of: Mutex<BTreeSet<usize>>,
}

impl Loading {
    pub(crate) fn new(unloaded: Unloaded, ledger: &Arc<Ledger>, pins: &Arc<Pins>) -> Self {
        let parts = unloaded.shards.iter().flatten();
        Self {
            waiting: AtomicU64::new(parts.map(|part| u64::from(part.entries)).sum()),
            left: AtomicUsize::new(unloaded.shards.len()),
            shards: unloaded.shards.into_iter().map(Mutex::new).collect(),
            later: Mutex::new(Arc::new(unloaded.later)),
            files: Mutex::default(),
            places: unloaded.places,
            ledger: Arc::clone(ledger),
            pins: Arc::clone(pins),
            lost: AtomicU64::new(0),
            lost_of: Mutex::default(),
        }
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Opens the files that parts lie in.
    ///
    /// # Errors
    /// When one cannot be opened for a reason that is not the media's: then nothing is lost by another try to open the cache.
    pub(crate) fn hold_files(&self, store: &SegmentStore) -> Result<(), WalError> {
        let mut files = self.files.lock();
        for shard in &self.shards {
            for part in &*shard.lock() {
                let number = part.lsn.segment(self.places.segment_bytes);
                let Some(segment) = store.get(number).filter(|_| !files.contains_key(&number))
                else {
                    continue;
                };
                match store.hold(&segment) {
                    Ok(held) => drop(files.insert(number, held)),
                    Err(error) if error.is_medias() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Loads everything, where that has to be before the log is started.
    pub(crate) fn load_all(&self, store: &SegmentStore, index: &Index<Flights>) {
        (0..self.shards.len()).for_each(|number| self.load(number, store, index));
    }

    /// Loads a shard. One that a panic left half loaded is loaded anew: nothing is given up before the end.
    fn load(&self, number: usize, store: &SegmentStore, index: &Index<Flights>) {
        let mut parts = self.shards[number].lock();
        let later = Arc::clone(&self.later.lock());
        perennial_failpoints::site!("loading::shard");
        let frames = self.read(number, &parts, store);
        let mut counts = Counts::new(&self.places);
        let mut shard = index.lock_unloaded(number);
        shard.clear();
        let entries: u64 = parts.iter().map(|part| u64::from(part.entries)).sum();
        let puts: usize = later.iter().map(|sorted| sorted.puts(number)).sum();
        shard.reserve_entries(to_usize(entries) + puts / LIKELY_NEW);
        for (part, frame) in &frames {
            for entry in frame.part(part).into_iter().flat_map(|part| part.entries()) {
                if index.shard_of(index.hash_of(entry.identity)) == number {
                    self.places.load(&mut shard, entry, &mut counts, &self.pins);
                }
            }
        }
        if perennial_failpoints::planted!("shard-published-before-it-is-whole") {
            drop(shard);
            crate::sync::yield_now();
            shard = index.lock_unloaded(number);
        }
        perennial_failpoints::site!("loading::later");
        if !perennial_failpoints::planted!("image-without-what-came-later") {
            for operation in later.iter().flat_map(|sorted| sorted.iter(number)) {
                self.places
                    .apply(&mut shard, operation, &mut counts, &self.pins);
            }
        }
        self.pins.retain(|identity| {
            let hash = index.hash_of(identity);
            index.shard_of(hash) != number
                || shard
                    .get(hash)
                    .is_some_and(|entry| self.places.counts(entry.addr))
        });
        drop(shard);
        index.note_evicted(counts.hand_over(&self.ledger));
        drop(frames);
        *parts = Vec::new();
        self.waiting.fetch_sub(entries, Ordering::Relaxed);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Nothing is to be read any more. The space of a file that is removed would not be free before.
            self.files.lock().clear();
            *self.later.lock() = Arc::default();
        }
    }

    /// The frames of a shard's parts that prove themselves.
    fn read<'p>(
        &self,
        number: usize,
        parts: &'p [PartRef],
        store: &SegmentStore,
    ) -> Vec<(&'p PartRef, Frame)> {
        let mut frames = Vec::with_capacity(parts.len());
        for part in parts {
            perennial_failpoints::site!("loading::part");
            match self.read_part(part, store) {
                Some(frame) => frames.push((part, frame)),
                None => {
                    tracing::warn!(lsn = %part.lsn, entries = part.entries, "a part of the checkpoint cannot be read; its entries are forgotten");
                    self.lost.fetch_add(part.entries.into(), Ordering::Relaxed);
                    self.lost_of.lock().insert(number);
                }
            }
        }
        frames
    }

    /// Twice: the second time past the page cache.
    fn read_part(&self, part: &PartRef, store: &SegmentStore) -> Option<Frame> {
        let number = part.lsn.segment(self.places.segment_bytes);
        let segment = store.get(number)?;
        let offset = part.lsn.offset(self.places.segment_bytes);
        let bytes = u64::from(part_frame_bytes(part)?);
        if offset + bytes > self.places.segment_bytes {
            return None;
        }
        let proved = |bytes| {
            let frame = Frame {
                bytes,
                seed: segment.seed_at(offset),
                offset,
            };
            frame.part(part).is_some().then_some(frame)
        };
        let len = to_usize(bytes);
        let first = again_and_again(|| self.read_held(store, &segment, offset, len));
        first.and_then(proved).or_else(|| {
            let again = again_and_again(|| store.reread(&segment, offset, len));
            again.and_then(proved)
        })
    }

    fn read_held(
        &self,
        store: &SegmentStore,
        segment: &Segment,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, WalError> {
        let held = self.files.lock().get(&segment.header.number).cloned();
        match held {
            Some(held) => store.read_held(&held, segment, offset, len),
            None => store.read(segment, offset, len),
        }
    }
}

/// The system may have no memory for a read just now. Any other failure will be the same the next moment.
fn again_and_again(read: impl Fn() -> Result<Vec<u8>, WalError>) -> Option<Vec<u8>> {
    for pause_ms in PAUSES_MS {
        match read() {
            Ok(bytes) => return Some(bytes),
            Err(error) if !error.is_shortage() => return None,
            Err(error) => tracing::warn!(%error, "a part of the checkpoint cannot be read now"),
        }
        crate::sync::sleep(Duration::from_millis(pause_ms));
    }
    read().ok()
}

/// Half a second in all. Who waits has the turn of one shard, and no lock of it.
const PAUSES_MS: [u64; 8] = [1, 2, 4, 8, 16, 32, 128, 256];

/// What came later is mostly about keys that the image has, or about one key again and again: room is made for one in so
/// many.
const LIKELY_NEW: usize = 4;

/// The bytes of a part's frame.
struct Frame {
    bytes: Vec<u8>,
    seed: perennial_wal::frame::Seed,
    offset: u64,
}

impl Frame {
    fn part(&self, part: &PartRef) -> Option<perennial_recovery::Part<'_>> {
        part_of_frame(part, &self.bytes, self.seed, self.offset)
    }
}

/// The same, while the log runs.
pub(crate) struct LoadingFrom {
    pub(crate) loading: Arc<Loading>,
    pub(crate) log: Arc<LogCore>,
}

impl Image<Flights> for LoadingFrom {
    fn load(&self, number: usize, index: &Index<Flights>) {
        self.loading.load(number, self.log.store(), index);
    }
}
