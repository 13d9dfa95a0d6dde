//! A machine that is right and odd: its clock goes back from one life to the next, and its directories list backwards.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial_failpoints::lab::Driver;
use perennial_failpoints::{Dir, DirEntry, File, Fs, LockGuard, OpenMode};

use crate::driver::{Open, Perennial};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Opens the cache on odd machines, on each a day before the last one.
pub(crate) struct OnOddMachines {
    cache: Perennial,
    opens: AtomicU64,
}

impl OnOddMachines {
    pub(crate) fn new(cache: Perennial) -> Self {
        let opens = AtomicU64::new(0);
        Self { cache, opens }
    }
}

impl Driver for OnOddMachines {
    type Store = Open;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Open, String> {
        let days_back = self.opens.fetch_add(1, Ordering::Relaxed);
        self.cache.open(Arc::new(OddFs { fs, days_back }))
    }
}

#[derive(Debug)]
struct OddFs {
    fs: Arc<dyn Fs>,
    days_back: u64,
}

impl Fs for OddFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(OddDir(self.fs.open_dir(path)?)))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.fs.free_bytes(path)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        self.fs.boot_id()
    }

    fn random_u64(&self) -> u64 {
        self.fs.random_u64()
    }

    fn unix_time_ms(&self) -> u64 {
        let back = self.days_back.saturating_mul(DAY_MS);
        self.fs.unix_time_ms().saturating_sub(back)
    }

    fn monotonic_ns(&self) -> u64 {
        self.fs.monotonic_ns()
    }
}

#[derive(Debug)]
struct OddDir(Arc<dyn Dir>);

impl Dir for OddDir {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = self.0.list()?;
        entries.sort();
        entries.reverse();
        Ok(entries)
    }

    fn has_other_entries(&self) -> io::Result<bool> {
        self.0.has_other_entries()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.0.open(name, mode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.0.try_lock(name)
    }
}
