//! The next segment: a free file or a new one, a header on disk, then LSNs.

use std::sync::Arc;

use perennial_failpoints::fs::{File, OpenMode, write_all_at};

use super::{MAX_SLOT, Segment, SegmentStore, Writer, file_name};
use crate::aligned::AlignedBuf;
use crate::error::{Result, WalError};
use crate::lsn::{Lsn, SegmentId, to_u32, to_usize};
use crate::segment::{Join, SegmentHeader};
use crate::sync::Ordering;

impl SegmentStore {
    /// Prepares one more segment: a free file, or a new one. `Ok(false)`: there is neither.
    ///
    /// The header is durable before the segment counts as prepared: else a power loss could keep the header of a later
    /// segment and lose this one's, and the chain would be broken though nothing was damaged.
    ///
    /// # Errors
    /// When the header cannot be written, or the system has no handle or no memory to begin with. A new file that cannot be
    /// made for another reason (a full disk) is no error: the log does with the files it has;
    /// [`why_no_file`](Self::why_no_file) tells.
    pub fn prepare(&self, stable: Lsn) -> Result<bool> {
        let _one = self.preparing.lock();
        let Some(slot) = self.free_slot()? else {
            return Ok(false);
        };
        let (number, newest) = {
            let inner = self.inner.lock();
            (SegmentId(inner.next_number), inner.newest)
        };
        let predecessor = if newest.0 == 0 { number } else { newest };
        let header = self.header(number, predecessor, stable);
        let writer = match self.with_header(slot, &header) {
            Ok(writer) => writer,
            Err(error) => {
                self.inner.lock().free.push(slot);
                return Err(error);
            }
        };
        perennial_failpoints::site!("wal::segment::prepared");
        let mut inner = self.inner.lock();
        inner.next_number += 1;
        inner.newest = number;
        self.live.insert(Arc::new(Segment::new(slot, header)));
        inner.prepared.push_back(number);
        inner.writers.insert(number, writer);
        Ok(true)
    }

    /// A file of full size. Only for the holder of `preparing`.
    ///
    /// # Errors
    /// When the system has no handle or no memory to open it: that is no want of files. Taken for one, segment after segment
    /// was given up for nothing.
    pub(super) fn free_slot(&self) -> Result<Option<u32>> {
        let (slot, new) = {
            let mut inner = self.inner.lock();
            match inner.free.pop() {
                Some(slot) => (slot, false),
                // Behind the last name there is the first may be free; `create_next` steps over those that are not.
                None if (inner.files as u64) < self.max_files() => {
                    let beyond = inner.next_slot > MAX_SLOT;
                    (if beyond { 0 } else { inner.next_slot }, true)
                }
                None => return Ok(None),
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
            let shortage = error.is_shortage();
            inner.no_file = Some(error.clone());
            if !new {
                inner.free.push(slot);
                // As far as it was made.
                let len = self.dir.open(&file_name(slot), OpenMode::Read);
                if let Ok(len) = len.and_then(|file| file.len()) {
                    inner.short.insert(slot, len);
                }
            }
            return if shortage { Err(error) } else { Ok(None) };
        }
        inner.short.remove(&slot);
        inner.no_file = None;
        if new {
            inner.next_slot = slot + 1;
            inner.files += 1;
        }
        Ok(Some(slot))
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

    pub(super) fn header(
        &self,
        number: SegmentId,
        predecessor: SegmentId,
        stable: Lsn,
    ) -> SegmentHeader {
        let begin = to_u32(to_usize(self.geometry.data_begin()));
        SegmentHeader {
            cache_id: self.life.cache_id,
            number,
            kept: None,
            predecessor,
            oldest: SegmentId(self.oldest.load(Ordering::Acquire).min(number.0)),
            stable,
            checkpoint: self.checkpoint(),
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
        perennial_failpoints::site!("wal::segment::create");
        let file = self.dir.open(&name, OpenMode::CreateNew).map_err(failed)?;
        perennial_failpoints::site!("wal::segment::created");
        self.blank(&*file).map_err(|source| {
            // A half-made file would count against the capacity; its name may be gone already.
            let _ = self.dir.remove(&name);
            failed(source)
        })
    }

    /// Gives a new file its space. The header zone is zeros on the media before the file has its full size: its first
    /// header then *re*writes sectors, which show old or new after a power loss, never junk. So a file of full size
    /// whose header is damaged had a header once, and a shorter one never had; and none shows the header that a cache of
    /// earlier days left on these blocks, which would keep the file from everybody as a stranger's (PROTOCOL hole 18).
    fn blank(&self, file: &dyn File) -> std::io::Result<()> {
        let zeros = vec![0; to_usize(self.geometry.data_begin())];
        perennial_failpoints::site!("wal::segment::blank");
        if !perennial_failpoints::planted!("header-zone-not-blanked") {
            write_all_at(file, &zeros, 0, 1)?;
            perennial_failpoints::site!("wal::segment::blank_sync");
            file.sync_data()?;
        }
        perennial_failpoints::site!("wal::segment::allocate");
        file.allocate(self.geometry.segment_bytes)?;
        perennial_failpoints::site!("wal::segment::sync_dir");
        if perennial_failpoints::planted!("no-directory-sync") {
            return Ok(());
        }
        self.dir.sync()
    }

    /// Makes the header of a segment durable that is prepared already.
    pub(crate) fn prepare_again(&self, slot: u32, header: &SegmentHeader) -> Result<()> {
        let writer = self.with_header(slot, header)?;
        self.inner.lock().writers.insert(header.number, writer);
        Ok(())
    }

    /// Writes a segment's header zone and syncs it.
    pub(crate) fn write_header_durably(&self, slot: u32, header: &SegmentHeader) -> Result<()> {
        self.with_header(slot, header).map(drop)
    }

    /// The same; the handle that did it.
    fn with_header(&self, slot: u32, header: &SegmentHeader) -> Result<Writer> {
        debug_assert!(header.is_sound(), "{header:?} would be damage");
        let writer = self.writer(slot)?;
        perennial_failpoints::site!("wal::segment::header_write");
        writer.write(&AlignedBuf::copied_from(&header.encode()), 0)?;
        perennial_failpoints::site!("wal::segment::header_sync");
        if perennial_failpoints::planted!("header-not-synced") {
            return Ok(writer);
        }
        writer.sync().map(|()| writer)
    }
}
