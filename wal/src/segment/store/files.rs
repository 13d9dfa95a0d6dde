//! The handles that segments are written and read with.

use std::collections::VecDeque;
use std::sync::Arc;

use perennial_failpoints::fs::{File, OpenMode, read_exact_at, write_all_two_at};

use super::{Segment, SegmentStore, file_name};
use crate::aligned::AlignedBuf;
use crate::error::{Result, WalError};
use crate::lsn::{SegmentId, to_usize};
use crate::sync::{AtomicBool, Ordering};

/// A segment's file that is kept open: what is read by it later needs no handle that there may not be then.
#[derive(Debug, Clone)]
pub struct Held(pub(super) Arc<dyn File>);

/// At most this many segment files are kept open for reading.
const OPEN_FILES: usize = 512;

/// The segments that have a reader, in the order in which these were opened; and some that are gone, and theirs with them.
#[derive(Debug, Default)]
pub(super) struct Readers(VecDeque<SegmentId>);

impl SegmentStore {
    /// A handle to write the file of `slot` with.
    pub(crate) fn writer(&self, slot: u32) -> Result<Writer> {
        let open = |mode| self.dir.open(&file_name(slot), mode);
        let buffered =
            open(OpenMode::ReadWrite).map_err(|e| WalError::io("open", self.path(slot), 0, e))?;
        let mut direct = None;
        if !self.refused.load(Ordering::Relaxed) {
            direct = match open(OpenMode::Direct) {
                Ok(direct) => Some(direct),
                // No want of handles: a file system that has no such mode.
                Err(error) => {
                    let refused = error.kind() == std::io::ErrorKind::InvalidInput;
                    self.refused.store(refused, Ordering::Relaxed);
                    None
                }
            };
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

    /// The handle that a segment was prepared with, or another. For who begins to write it; older ones are not asked for again.
    pub(crate) fn take_writer(&self, segment: &Segment) -> Result<Writer> {
        let prepared = {
            let mut inner = self.inner.lock();
            inner.writers = inner.writers.split_off(&segment.header.number);
            inner.writers.remove(&segment.header.number)
        };
        prepared.map_or_else(|| self.writer(segment.slot), Ok)
    }

    /// Reads with the segment's handle, which stays open: the last few hundred do.
    #[inline]
    fn by_reader<T>(&self, segment: &Segment, read: impl FnOnce(&dyn File) -> T) -> Result<T> {
        let open = segment.reader.load();
        match &*open {
            Some(held) => Ok(read(&*held.0)),
            None => Ok(read(&*self.open_reader(segment)?.0)),
        }
    }

    #[cold]
    fn open_reader(&self, segment: &Segment) -> Result<Arc<Held>> {
        let file = self
            .dir
            .open(&file_name(segment.slot), OpenMode::Read)
            .map_err(|source| WalError::io("open", self.path(segment.slot), 0, source))?;
        // The next frame read is somewhere else; and what follows may still have to be written past the page cache.
        file.advise_random();
        let mut readers = self.readers.lock();
        if let Some(first) = segment.reader.load_full() {
            return Ok(first);
        }
        let held = Arc::new(Held(file));
        segment.reader.store(Some(Arc::clone(&held)));
        readers.0.push_back(segment.header.number);
        // The one that was opened first, unless it is gone with its segment.
        let oldest = (readers.0.len() > OPEN_FILES).then(|| readers.0.pop_front());
        if let Some(segment) = oldest.flatten().and_then(|id| self.get(id)) {
            segment.reader.store(None);
        }
        Ok(held)
    }

    /// Reads `len` bytes of a segment; fewer where it ends. What a damaged length asks for beyond is no memory's.
    ///
    /// # Errors
    /// What the file reports.
    pub fn read(&self, segment: &Segment, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.by_reader(segment, |file| {
            self.read_by(file, segment, offset, len, Vec::new())
        })?
    }

    /// As [`read`](Self::read), of an entry that somebody asked for, into a buffer that is empty.
    ///
    /// # Errors
    /// What the file reports.
    pub fn read_entry(
        &self,
        segment: &Segment,
        offset: u64,
        len: usize,
        buffer: Vec<u8>,
    ) -> Result<Vec<u8>> {
        segment.read_bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.by_reader(segment, |file| {
            self.read_by(file, segment, offset, len, buffer)
        })?
    }

    /// `bytes` of entries are about to be written. True: they are read back so much that they should stay in the page cache.
    pub(crate) fn keeps_warm(&self, bytes: u64) -> bool {
        self.warmth.note_written(bytes, || {
            let segments = self.live.all().into_iter().chain(self.kept.all());
            let read = |s: Arc<Segment>| s.read_bytes.swap(0, Ordering::Relaxed);
            segments.map(read).sum()
        })
    }

    /// Keeps the segment's file open.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn hold(&self, segment: &Segment) -> Result<Held> {
        if let Some(held) = &*segment.reader.load() {
            return Ok(Held::clone(held));
        }
        Ok(Held::clone(&*self.open_reader(segment)?))
    }

    /// As [`read`](Self::read), by a handle that is there already.
    ///
    /// # Errors
    /// What the file reports.
    pub fn read_held(
        &self,
        held: &Held,
        segment: &Segment,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>> {
        self.read_by(&*held.0, segment, offset, len, Vec::new())
    }

    fn read_by(
        &self,
        file: &dyn File,
        segment: &Segment,
        offset: u64,
        len: usize,
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let len = len.min(to_usize(self.geometry.segment_bytes.saturating_sub(offset)));
        bytes.reserve_exact(len);
        while bytes.len() < len {
            let done = bytes.len();
            match file.read_append(&mut bytes, len - done, offset + done as u64) {
                Ok(0) => break,
                Ok(_) => {}
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
        let mut read_as = |mode| {
            let file = self.dir.open(&name, mode)?;
            read_exact_at(&*file, &mut buf, from)
        };
        let read = match read_as(OpenMode::Direct) {
            // Not every file system takes it, nor every device sectors of this size.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                read_as(OpenMode::Read)
            }
            read => read,
        };
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
    /// Writes whole sectors, and `rest` behind them; they stay in the page cache.
    pub(crate) fn write_warm(&self, bytes: &[u8], rest: &[u8], offset: u64) -> Result<()> {
        write_all_two_at(&*self.buffered, bytes, rest, offset, 1)
            .map_err(|source| self.failed(offset, source))
    }

    fn failed(&self, offset: u64, source: std::io::Error) -> WalError {
        WalError::io("write", self.path.as_str(), offset, source)
    }

    /// Writes whole sectors, past the page cache where that can be.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_two(bytes, &[], offset)
    }

    /// The same, and whole sectors behind them that lie elsewhere in memory.
    pub(crate) fn write_two(&self, bytes: &[u8], rest: &[u8], offset: u64) -> Result<()> {
        let whole = |len: u64| len.is_multiple_of(self.sector);
        debug_assert!(
            whole(bytes.len() as u64) && whole(rest.len() as u64) && whole(offset),
            "unbuffered writes are of whole sectors"
        );
        if let Some(direct) = &self.direct
            && !self.refused.load(Ordering::Relaxed)
        {
            match write_all_two_at(&**direct, bytes, rest, offset, to_usize(self.sector)) {
                // The device's sectors are larger than ours: refused before anything was written.
                Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
                    tracing::info!(
                        path = self.path,
                        "unbuffered writes are refused here; going on buffered"
                    );
                    self.refused.store(true, Ordering::Relaxed);
                }
                other => return other.map_err(|source| self.failed(offset, source)),
            }
        }
        self.write_warm(bytes, rest, offset)
    }

    /// Makes everything written to the file so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut synced = self.buffered.sync_data();
        if perennial_failpoints::planted!("failed-sync-retried") && synced.is_err() {
            synced = self.buffered.sync_data();
        }
        synced.map_err(|source| WalError::io("sync", self.path.as_str(), 0, source))
    }
}
