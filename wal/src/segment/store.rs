//! The set of segment files: which file holds which number, which are free, which are ready to be written.
//!
//! Files are named after their slot and never renamed. A free file becomes a *prepared* segment when it gets its next
//! number and a header on disk; only then are LSNs handed out in it (PROTOCOL hole 20), so no frame is ever without a
//! place. Numbers are never used twice (hole 10).

mod files;
mod fitting;
mod kept;
mod list;
mod prepare;
mod rows;
mod warmth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use crossbeam_utils::CachePadded;
pub use files::Held;
pub(crate) use files::Writer;
pub use kept::{KeptLayout, KeptWriter};
pub use list::Listed;
use perennial_failpoints::fs::Dir;

use files::Readers;
use list::SegmentList;
use warmth::Warmth;

use super::SegmentHeader;
use crate::buffer::{Class, Segments};
use crate::error::WalError;
use crate::frame::Seed;
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, SegmentId};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// The last slot that has a name.
const MAX_SLOT: u32 = 999_999;
/// So many segment files have names.
pub const MAX_FILES: u64 = MAX_SLOT as u64 + 1;

/// The name of the file in slot `slot`.
#[must_use]
pub fn file_name(slot: u32) -> String {
    format!("seg-{slot:06}")
}

/// The slot that a file name stands for.
#[must_use]
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("seg-")?;
    // `parse` alone takes a sign: `seg-+00001` would be another name of slot 1, and its file free to be written over.
    let good = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_digit());
    good.then(|| digits.parse().ok())?
}

/// One segment in use.
#[derive(Debug)]
pub struct Segment {
    /// Its slot: the file's name.
    pub slot: u32,
    /// Its header.
    pub header: SegmentHeader,
    /// What its entries are read with, once one was.
    reader: ArcSwapOption<Held>,
    /// Bytes of entries that were read of late, for [`Warmth`]. Where a segment is: threads that read many of them are not in
    /// each other's way.
    read_bytes: CachePadded<AtomicU64>,
}

impl Segment {
    /// The segment in slot `slot`.
    #[must_use]
    pub fn new(slot: u32, header: SegmentHeader) -> Self {
        Self {
            slot,
            header,
            reader: ArcSwapOption::empty(),
            read_bytes: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// The crc seed of a frame at `offset`.
    #[must_use]
    pub fn seed_at(&self, offset: u64) -> Seed {
        self.header.seed_at(offset)
    }
}

/// How many prepared segments are kept back from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserve {
    /// Puts leave this many prepared segments untouched.
    pub from_puts: usize,
    /// Removes leave this many.
    pub from_removes: usize,
    /// Frames of our own leave this many.
    pub from_meta: usize,
}

impl Reserve {
    /// Prepared segments that a frame of `class` leaves untouched.
    #[must_use]
    pub const fn kept_from(&self, class: Class) -> usize {
        match class {
            Class::Put => self.from_puts,
            Class::Remove => self.from_removes,
            Class::Meta => self.from_meta,
        }
    }
}

/// What a log knows of its segment files when it starts.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The chain of log segments, oldest first.
    pub live: Vec<Segment>,
    /// Those of them that are ready to be written, oldest first; they come behind all others.
    pub prepared: Vec<SegmentId>,
    /// Kept segments, in any order.
    pub kept: Vec<Segment>,
    /// Slots whose files may be used again.
    pub free: Vec<u32>,
    /// The bytes of those that have not the size of a segment.
    pub short: BTreeMap<u32, u64>,
    /// The first slot number that no file of the cache has.
    pub next_slot: u32,
    /// The first segment number that nothing has.
    pub next_number: u64,
}

#[derive(Debug)]
struct Inner {
    free: Vec<u32>,
    /// Bytes of the free files that are not as long as a segment.
    short: BTreeMap<u32, u64>,
    /// Slots whose files this life saw full of frames: their space is written space.
    were_full: BTreeSet<u32>,
    prepared: VecDeque<SegmentId>,
    /// What these were prepared with: whoever writes them needs no handle that there may not be then.
    writers: BTreeMap<SegmentId, Writer>,
    newest: SegmentId,
    next_number: u64,
    next_slot: u32,
    files: usize,
    reserve: Reserve,
    no_file: Option<WalError>,
}

/// The segment files of one log.
#[derive(Debug)]
pub struct SegmentStore {
    dir: Arc<dyn Dir>,
    geometry: Geometry,
    life: Life,
    max_files: AtomicU64,
    /// Unbuffered writes (`O_DIRECT`) are refused here; write through the page cache.
    refused: Arc<AtomicBool>,
    /// One segment is prepared at a time. Held during I/O, unlike `inner`: reservations look at that under an index
    /// shard's lock.
    preparing: Mutex<()>,
    inner: Mutex<Inner>,
    live: SegmentList,
    kept: SegmentList,
    readers: Mutex<Readers>,
    warmth: Warmth,
    oldest: AtomicU64,
    checkpoint: AtomicU64,
}

impl SegmentStore {
    /// A store over what `inventory` says, with at most `max_files` files.
    #[must_use]
    pub fn new(
        dir: Arc<dyn Dir>,
        geometry: Geometry,
        life: Life,
        inventory: Inventory,
        max_files: u64,
    ) -> Self {
        let files = inventory.live.len() + inventory.kept.len() + inventory.free.len();
        let newest = inventory
            .live
            .last()
            .map_or(SegmentId(0), |s| s.header.number);
        let oldest = inventory
            .live
            .first()
            .map_or(inventory.next_number, |s| s.header.number.0);
        let inner = Inner {
            free: inventory.free,
            short: inventory.short,
            were_full: BTreeSet::new(),
            prepared: inventory.prepared.into(),
            writers: BTreeMap::new(),
            newest,
            next_number: inventory.next_number,
            next_slot: inventory.next_slot,
            files,
            reserve: Reserve::default(),
            no_file: None,
        };
        Self {
            dir,
            geometry,
            life,
            max_files: AtomicU64::new(max_files),
            refused: Arc::new(AtomicBool::new(false)),
            preparing: Mutex::new(()),
            inner: Mutex::new(inner),
            live: SegmentList::new(inventory.live),
            kept: SegmentList::new(inventory.kept),
            readers: Mutex::new(Readers::default()),
            warmth: Warmth::default(),
            oldest: AtomicU64::new(oldest),
            checkpoint: AtomicU64::new(0),
        }
    }

    /// Segments in the log, prepared ones included, oldest first.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Segment>> {
        self.live.all()
    }

    /// The segment with this number, of the log or kept.
    #[must_use]
    #[inline]
    pub fn get(&self, id: SegmentId) -> Option<Listed> {
        self.live.get(id).or_else(|| self.kept.get(id))
    }

    /// The oldest log segment that counts. LogCore addresses below it are free space.
    #[must_use]
    #[inline]
    pub fn oldest(&self) -> SegmentId {
        SegmentId(self.oldest.load(Ordering::Acquire))
    }

    /// The number that the next segment gets: all so far are lower.
    #[must_use]
    pub fn next_number(&self) -> SegmentId {
        SegmentId(self.inner.lock().next_number)
    }

    /// Segments ready to be written.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.inner.lock().prepared.len()
    }

    /// Files that exist, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        let whole = (inner.files - inner.short.len()) as u64 * self.geometry.segment_bytes;
        whole + inner.short.values().sum::<u64>()
    }

    /// Sets how many prepared segments are kept back from whom.
    pub fn set_reserve(&self, reserve: Reserve) {
        self.inner.lock().reserve = reserve;
    }

    /// True when this life knows that the slot's file was full once. One that was not, or was before, may have space that
    /// nobody wrote yet.
    pub(crate) fn was_full(&self, slot: u32) -> bool {
        self.inner.lock().were_full.contains(&slot)
    }

    /// The newest checkpoint that [`set_checkpoint`](Self::set_checkpoint) was told of in this life; 0: none.
    pub(crate) fn checkpoint(&self) -> Lsn {
        Lsn(self.checkpoint.load(Ordering::Relaxed))
    }

    /// Notes a stable checkpoint: headers written from now on point at it.
    pub fn set_checkpoint(&self, head: Lsn) {
        self.checkpoint.fetch_max(head.0, Ordering::Relaxed);
    }

    /// Why the last [`prepare`](Self::prepare) could not make a file.
    #[must_use]
    pub fn why_no_file(&self) -> Option<WalError> {
        self.inner.lock().no_file.clone()
    }

    /// Replaces the header of a live segment in memory: a life has joined it.
    pub(crate) fn set_header(&self, header: SegmentHeader) {
        // Nobody closes what it takes over.
        let _readers = self.readers.lock();
        self.live.replace(header.number, |now| {
            let segment = Segment::new(now.slot, header);
            segment.reader.store(now.reader.load_full());
            segment
        });
    }

    /// Frees every log segment up to and including `through`. Its addresses count no more from now on.
    pub fn release_through(&self, through: SegmentId) {
        let mut inner = self.inner.lock();
        let freed = self.live.remove_through(through);
        let oldest = self.live.first().map_or(inner.next_number, |id| id.0);
        // Release: whoever sees a file's new number sees that the old one counts no more.
        perennial_failpoints::site!("wal::segment::released");
        self.oldest.fetch_max(oldest, Ordering::Release);
        inner.free.extend(freed.iter().map(|s| s.slot));
        inner.were_full.extend(freed.iter().map(|s| s.slot));
    }
}

impl Segments for SegmentStore {
    fn take(&self, class: Class) -> Option<SegmentId> {
        let mut inner = self.inner.lock();
        if inner.prepared.len() > inner.reserve.kept_from(class) {
            inner.prepared.pop_front()
        } else {
            None
        }
    }

    fn has(&self, class: Class) -> bool {
        let inner = self.inner.lock();
        inner.prepared.len() > inner.reserve.kept_from(class)
    }
}
