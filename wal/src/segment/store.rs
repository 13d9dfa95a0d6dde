//! The set of segment files: which file holds which number, which are free, which are ready to be written.
//!
//! Files are named after their slot and never renamed. A free file becomes a *prepared* segment when it gets its next
//! number and a header on disk; only then are LSNs handed out in it (PROTOCOL hole 20), so no frame is ever without a
//! place. Numbers are never used twice (hole 10).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, File, OpenMode, write_all_at};

use super::{Join, SegmentHeader};
use crate::aligned::AlignedBuf;
use crate::buffer::{Class, Geometry, Life, Segments};
use crate::error::{Result, WalError};
use crate::frame::Seed;
use crate::lsn::{Lsn, SegmentId, to_u32, to_usize};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock};

/// At most this many segment files are kept open for reading.
const OPEN_FILES: usize = 512;

/// The last slot that has a name.
const MAX_SLOT: u32 = 999_999;

/// The name of the file in slot `slot`.
#[must_use]
pub fn file_name(slot: u32) -> String {
    format!("seg-{slot:06}")
}

/// The slot that a file name stands for.
#[must_use]
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("seg-")?;
    if digits.len() != 6 {
        None
    } else {
        digits.parse().ok()
    }
}

/// One segment in use.
#[derive(Debug)]
pub struct Segment {
    /// Its slot: the file's name.
    pub slot: u32,
    /// Its header.
    pub header: SegmentHeader,
}

impl Segment {
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
    /// The chain of log segments, oldest first; the last one is where the log goes on.
    pub live: Vec<Segment>,
    /// Slots whose files may be used again.
    pub free: Vec<u32>,
    /// The first slot number that no file of the cache has.
    pub next_slot: u32,
    /// The first segment number that nothing has.
    pub next_number: u64,
}

#[derive(Debug)]
struct Inner {
    free: Vec<u32>,
    prepared: VecDeque<SegmentId>,
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
    live: RwLock<BTreeMap<SegmentId, Arc<Segment>>>,
    readers: Mutex<Readers>,
    oldest: AtomicU64,
    checkpoint: AtomicU64,
}

#[derive(Debug, Default)]
struct Readers {
    open: BTreeMap<u32, Arc<dyn File>>,
    order: VecDeque<u32>,
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
        let files = inventory.live.len() + inventory.free.len();
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
            prepared: VecDeque::new(),
            newest,
            next_number: inventory.next_number,
            next_slot: inventory.next_slot,
            files,
            reserve: Reserve::default(),
            no_file: None,
        };
        let live = inventory
            .live
            .into_iter()
            .map(|s| (s.header.number, Arc::new(s)))
            .collect();
        Self {
            dir,
            geometry,
            life,
            max_files: AtomicU64::new(max_files),
            refused: Arc::new(AtomicBool::new(false)),
            preparing: Mutex::new(()),
            inner: Mutex::new(inner),
            live: RwLock::new(live),
            readers: Mutex::new(Readers::default()),
            oldest: AtomicU64::new(oldest),
            checkpoint: AtomicU64::new(0),
        }
    }

    /// Segments in the log, prepared ones included, oldest first.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Segment>> {
        self.live.read().values().cloned().collect()
    }

    /// The segment with this number.
    #[must_use]
    pub fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.live.read().get(&id).cloned()
    }

    /// The oldest log segment that counts. LogCore addresses below it are free space.
    #[must_use]
    pub fn oldest(&self) -> SegmentId {
        SegmentId(self.oldest.load(Ordering::Acquire))
    }

    /// Segments ready to be written.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.inner.lock().prepared.len()
    }

    /// Files that exist, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.inner.lock().files as u64 * self.geometry.segment_bytes
    }

    /// Files that exist or may be made.
    #[must_use]
    pub fn max_files(&self) -> u64 {
        self.max_files.load(Ordering::Relaxed)
    }

    /// Sets how many prepared segments are kept back from whom.
    pub fn set_reserve(&self, reserve: Reserve) {
        self.inner.lock().reserve = reserve;
    }

    /// Notes a stable checkpoint: headers written from now on point at it.
    pub fn set_checkpoint(&self, head: Lsn) {
        self.checkpoint.fetch_max(head.0, Ordering::Relaxed);
    }

    /// Prepares one more segment: a free file, or a new one. `Ok(false)`: there is neither.
    ///
    /// The header is durable before the segment counts as prepared: else a power loss could keep the header of a later
    /// segment and lose this one's, and the chain would be broken though nothing was damaged.
    ///
    /// # Errors
    /// When the header cannot be written. A new file that cannot be made (a full disk) is no error: the log does with
    /// the files it has; [`why_no_file`](Self::why_no_file) tells.
    pub fn prepare(&self, stable: Lsn) -> Result<bool> {
        let _one = self.preparing.lock();
        let Some(slot) = self.free_slot() else {
            return Ok(false);
        };
        let (number, newest) = {
            let inner = self.inner.lock();
            (SegmentId(inner.next_number), inner.newest)
        };
        let predecessor = if newest.0 == 0 { number } else { newest };
        let header = self.header(number, predecessor, stable);
        if let Err(error) = self.write_header_durably(slot, &header) {
            self.inner.lock().free.push(slot);
            return Err(error);
        }
        let mut inner = self.inner.lock();
        inner.next_number += 1;
        inner.newest = number;
        self.live
            .write()
            .insert(number, Arc::new(Segment { slot, header }));
        inner.prepared.push_back(number);
        Ok(true)
    }

    /// A file of full size. Only for the holder of `preparing`.
    fn free_slot(&self) -> Option<u32> {
        let (slot, new) = {
            let mut inner = self.inner.lock();
            match inner.free.pop() {
                Some(slot) => (slot, false),
                None if (inner.files as u64) < self.max_files() => (inner.next_slot, true),
                None => return None,
            }
        };
        let (slot, made) = if new {
            self.create_next(slot)
        } else {
            (slot, self.give_full_size(slot))
        };
        let mut inner = self.inner.lock();
        if let Err(error) = made {
            tracing::warn!(%error, "cannot make another segment");
            inner.no_file = Some(error);
            if !new {
                inner.free.push(slot);
            }
            return None;
        }
        if new {
            inner.next_slot = slot + 1;
            inner.files += 1;
        }
        Some(slot)
    }

    /// Why the last [`prepare`](Self::prepare) could not make a file.
    #[must_use]
    pub fn why_no_file(&self) -> Option<WalError> {
        self.inner.lock().no_file.clone()
    }

    /// A process killed while it made the file leaves it short.
    fn give_full_size(&self, slot: u32) -> Result<()> {
        let sized = self
            .dir
            .open(&file_name(slot), OpenMode::ReadWrite)
            .and_then(|file| {
                if file.len()? == self.geometry.segment_bytes {
                    return Ok(());
                }
                self.blank(&*file)
            });
        sized.map_err(|source| WalError::io("size", self.path(slot), 0, source))
    }

    fn header(&self, number: SegmentId, predecessor: SegmentId, stable: Lsn) -> SegmentHeader {
        let begin = to_u32(to_usize(self.geometry.data_begin()));
        SegmentHeader {
            cache_id: self.life.cache_id,
            number,
            predecessor,
            oldest: SegmentId(self.oldest.load(Ordering::Acquire).min(number.0)),
            stable,
            checkpoint: Lsn(self.checkpoint.load(Ordering::Relaxed)),
            segment_bytes: to_u32(to_usize(self.geometry.segment_bytes)),
            sector: to_u32(to_usize(self.geometry.sector)),
            joins: vec![Join {
                begin,
                end: begin,
                incarnation: self.life.incarnation,
                void_through: number.0,
            }],
        }
    }

    /// Makes a file in `slot`, or in the next one whose name is free: what came under a name since the directory was
    /// listed is somebody else's.
    fn create_next(&self, mut slot: u32) -> (u32, Result<()>) {
        loop {
            let made = self.create(slot);
            let taken = matches!(&made, Err(WalError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists);
            if !taken || slot == MAX_SLOT {
                return (slot, made);
            }
            slot += 1;
        }
    }

    /// Makes the file of `slot`, with all its space, under a durable name.
    fn create(&self, slot: u32) -> Result<()> {
        let name = file_name(slot);
        let failed = |source| WalError::io("create", self.path(slot), 0, source);
        let file = self.dir.open(&name, OpenMode::CreateNew).map_err(failed)?;
        self.blank(&*file).map_err(|source| {
            // A half-made file would count against the capacity; its name may be gone already.
            let _ = self.dir.remove(&name);
            failed(source)
        })
    }

    /// Gives a new file its space. The header zone is zeros on the media before the file has its full size: its first
    /// header then *re*writes sectors, which show old or new after a power loss, never junk. So a file of full size
    /// whose header is damaged had a header once, and a shorter one never had.
    fn blank(&self, file: &dyn File) -> std::io::Result<()> {
        let zeros = vec![0; to_usize(self.geometry.data_begin())];
        write_all_at(file, &zeros, 0, 1)?;
        file.sync_data()?;
        file.allocate(self.geometry.segment_bytes)?;
        self.dir.sync()
    }

    /// Writes a segment's header zone and syncs it.
    pub(crate) fn write_header_durably(&self, slot: u32, header: &SegmentHeader) -> Result<()> {
        let writer = self.writer(slot)?;
        perennial_failpoints::site!("wal::segment::header_write");
        writer.write(&AlignedBuf::copied_from(&header.encode()), 0)?;
        perennial_failpoints::site!("wal::segment::header_sync");
        writer.sync()
    }

    /// Replaces the header of a live segment in memory: a life has joined it.
    pub(crate) fn set_header(&self, header: SegmentHeader) {
        let mut live = self.live.write();
        if let Some(slot) = live.get(&header.number).map(|s| s.slot) {
            live.insert(header.number, Arc::new(Segment { slot, header }));
        }
    }

    /// Removes free files while there are more than may be. False: there still are, and none is free.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn shrink(&self) -> Result<bool> {
        let mut inner = self.inner.lock();
        while inner.files as u64 > self.max_files() {
            let Some(slot) = inner.free.pop() else {
                return Ok(false);
            };
            let removed = self
                .dir
                .remove(&file_name(slot))
                .and_then(|()| self.dir.sync());
            removed.map_err(|source| WalError::io("remove", self.path(slot), 0, source))?;
            self.readers.lock().open.remove(&slot);
            inner.files -= 1;
        }
        Ok(true)
    }

    /// Frees every log segment up to and including `through`. Its addresses count no more from now on.
    pub fn release_through(&self, through: SegmentId) {
        let mut inner = self.inner.lock();
        let mut live = self.live.write();
        let rest = live.split_off(&SegmentId(through.0 + 1));
        let freed = std::mem::replace(&mut *live, rest);
        let oldest = live
            .first_key_value()
            .map_or(inner.next_number, |(id, _)| id.0);
        // Release: whoever sees a file's new number sees that the old one counts no more.
        self.oldest.fetch_max(oldest, Ordering::Release);
        inner.free.extend(freed.values().map(|s| s.slot));
    }

    /// A handle to write the file of `slot` with.
    pub(crate) fn writer(&self, slot: u32) -> Result<Writer> {
        let open = |mode| self.dir.open(&file_name(slot), mode);
        let buffered =
            open(OpenMode::ReadWrite).map_err(|e| WalError::io("open", self.path(slot), 0, e))?;
        let mut direct = None;
        if !self.refused.load(Ordering::Relaxed) {
            direct = open(OpenMode::Direct).ok();
            self.refused.store(direct.is_none(), Ordering::Relaxed);
        }
        let refused = Arc::clone(&self.refused);
        Ok(Writer {
            path: self.path(slot),
            sector: self.geometry.sector,
            refused,
            buffered,
            direct,
        })
    }

    /// A handle to read the file of `slot` with; the last few hundred stay open.
    pub(crate) fn reader(&self, slot: u32) -> Result<Arc<dyn File>> {
        if let Some(file) = self.readers.lock().open.get(&slot) {
            return Ok(Arc::clone(file));
        }
        let file = self
            .dir
            .open(&file_name(slot), OpenMode::Read)
            .map_err(|source| WalError::io("open", self.path(slot), 0, source))?;
        // The next frame read is somewhere else; and what follows may still have to be written past the page cache.
        file.advise_random();
        let mut readers = self.readers.lock();
        readers.open.insert(slot, Arc::clone(&file));
        readers.order.push_back(slot);
        while readers.open.len() > OPEN_FILES {
            let Some(oldest) = readers.order.pop_front() else {
                break;
            };
            readers.open.remove(&oldest);
        }
        Ok(file)
    }

    /// Reads `len` bytes of a segment; fewer where the file ends.
    ///
    /// # Errors
    /// What the file reports.
    pub fn read(&self, segment: &Segment, offset: u64, len: usize) -> Result<Vec<u8>> {
        let file = self.reader(segment.slot)?;
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WalError::io(
                        "read",
                        self.path(segment.slot),
                        offset,
                        source,
                    ));
                }
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// Reads from a segment past the page cache, for a second opinion. `bytes` must lie inside the segment.
    ///
    /// # Errors
    /// What the file reports.
    pub fn reread(&self, segment: &Segment, offset: u64, len: usize) -> Result<Vec<u8>> {
        let sector = self.geometry.sector;
        let from = crate::lsn::align_down(offset, sector);
        let to = crate::lsn::align_up(offset + len as u64, sector);
        let mut buf = AlignedBuf::zeroed(to_usize(to - from));
        let name = file_name(segment.slot);
        let file = self
            .dir
            .open(&name, OpenMode::Direct)
            .or_else(|_| self.dir.open(&name, OpenMode::Read));
        let read = file.and_then(|f| perennial_failpoints::fs::read_exact_at(&*f, &mut buf, from));
        read.map_err(|source| WalError::io("read", self.path(segment.slot), from, source))?;
        let skip = to_usize(offset - from);
        Ok(buf[skip..skip + len].to_vec())
    }

    /// The path of a slot's file, for messages.
    #[must_use]
    pub fn path(&self, slot: u32) -> String {
        self.dir.path().join(file_name(slot)).display().to_string()
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
}

/// Writes and syncs one segment file. Kept as long as the segment is being written, so that an error that the system
/// reports once per handle is seen.
#[derive(Debug)]
pub(crate) struct Writer {
    path: String,
    sector: u64,
    refused: Arc<AtomicBool>,
    buffered: Arc<dyn File>,
    direct: Option<Arc<dyn File>>,
}

impl Writer {
    /// Writes whole sectors.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        debug_assert!(
            (bytes.len() as u64).is_multiple_of(self.sector) && offset.is_multiple_of(self.sector)
        );
        let failed = |source| WalError::io("write", self.path.as_str(), offset, source);
        if let Some(direct) = &self.direct
            && !self.refused.load(Ordering::Relaxed)
        {
            match write_all_at(&**direct, bytes, offset, to_usize(self.sector)) {
                // The device's sectors are larger than ours: refused before anything was written.
                Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
                    tracing::info!(
                        path = self.path,
                        "unbuffered writes are refused here; going on buffered"
                    );
                    self.refused.store(true, Ordering::Relaxed);
                }
                other => return other.map_err(failed),
            }
        }
        write_all_at(&*self.buffered, bytes, offset, 1).map_err(failed)
    }

    /// Makes everything written to the file so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.buffered
            .sync_data()
            .map_err(|source| WalError::io("sync", self.path.as_str(), 0, source))
    }
}
