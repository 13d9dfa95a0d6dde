//! How many files there may be, and removing those that are too many.
//!
//! ```text
//!   reclaim until enough files are free ─► a header names the oldest segment that counts ─ sync ─► unlink ─ sync
//! ```
//! A file that is used again gets a header that says which segment is the oldest by then. One that is removed does not, so
//! the newest header says it before: else a crash would leave headers that speak of segments nobody has, as if the log
//! were damaged (PROTOCOL hole 4).

use super::{SegmentStore, file_name};
use crate::error::{Result, WalError};
use crate::segment::SegmentHeader;
use crate::sync::Ordering;

impl SegmentStore {
    /// Files that exist or may be made.
    #[must_use]
    pub fn max_files(&self) -> u64 {
        self.max_files.load(Ordering::Relaxed)
    }

    /// Sets how many files there may be. Where there are more, [`shrink`](Self::shrink) removes those that are free.
    pub fn set_max_files(&self, files: u64) {
        self.max_files.store(files, Ordering::Relaxed);
    }

    /// Files that are free, or may still be made; 0 while more are in use than may be.
    #[must_use]
    pub fn spare_files(&self) -> u64 {
        let inner = self.inner.lock();
        let in_use = (inner.files - inner.free.len()) as u64;
        self.max_files().saturating_sub(in_use)
    }

    /// Files that exist.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.inner.lock().files as u64
    }

    /// Files that exist, and nothing in them counts.
    #[must_use]
    pub fn free_files(&self) -> u64 {
        self.inner.lock().free.len() as u64
    }

    /// Files that are more than may be.
    #[must_use]
    pub fn surplus_files(&self) -> u64 {
        let files = self.inner.lock().files as u64;
        files.saturating_sub(self.max_files())
    }

    /// Removes free files while there are more than may be, once [the oldest is named](Self::name_oldest). False: there still are, and none is free.
    ///
    /// # Errors
    /// When a file cannot be removed. It can be tried again.
    pub fn shrink(&self) -> Result<bool> {
        while self.surplus_files() > 0 {
            let mut slot = self.inner.lock().free.pop();
            if perennial_failpoints::planted!("shrink-unlinks-live-segment") {
                slot = self.live.all().first().map(|segment| segment.slot);
            }
            let Some(slot) = slot else {
                return Ok(false);
            };
            self.remove_file(slot)?;
        }
        Ok(true)
    }

    /// Removes a file that is not among the free ones any more.
    fn remove_file(&self, slot: u32) -> Result<()> {
        let failed = |source| WalError::io("remove", self.path(slot), 0, source);
        perennial_failpoints::site!("wal::segment::remove");
        match self.dir.remove(&file_name(slot)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                self.inner.lock().free.push(slot);
                return Err(failed(error));
            }
            _ => {}
        }
        {
            let mut inner = self.inner.lock();
            inner.files -= 1;
            inner.short.remove(&slot);
            inner.were_full.remove(&slot);
        }
        self.dir.sync().map_err(failed)
    }

    /// Sees to it that the newest header on disk says which segment is the oldest that counts.
    ///
    /// # Errors
    /// When it cannot be written: what the header says is unknown then.
    pub fn name_oldest(&self) -> Result<()> {
        let _one = self.preparing.lock();
        let newest = self.inner.lock().newest;
        let Some(segment) = self.live.get(newest) else {
            return Ok(());
        };
        let oldest = self.oldest();
        if segment.header.oldest >= oldest {
            return Ok(());
        }
        let header = SegmentHeader {
            oldest,
            ..segment.header.clone()
        };
        perennial_failpoints::site!("wal::segment::name_oldest");
        self.write_header_durably(segment.slot, &header)?;
        self.set_header(header);
        Ok(())
    }
}
