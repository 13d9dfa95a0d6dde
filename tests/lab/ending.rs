//! Entries that end: a cache whose puts have a time to live, and whose removes are ends that somebody saw.
//!
//! A remove of the script lets the time pass, on this life's clock alone, and looks: from then on the entry is gone as after a
//! remove. The clock of the next life is back where it was, so that only what the cache remembers keeps it away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perennial::{Eviction, InsertOptions};
use perennial_failpoints::lab::{Driver, Keeps, Store};
use perennial_failpoints::{Dir, Fs};

use crate::driver::{Open, Perennial, Undamaged, small};
use crate::{Case, effort, merging, random, run_all};

/// The cache with such puts and removes.
pub(crate) struct Ending(pub(crate) Perennial);

/// A file system whose clock a test can push, for this life.
#[derive(Debug)]
pub(crate) struct Pushed {
    fs: Arc<dyn Fs>,
    ahead_ms: AtomicU64,
}

impl Pushed {
    pub(crate) fn new(fs: Arc<dyn Fs>) -> Self {
        let ahead_ms = AtomicU64::new(0);
        Self { fs, ahead_ms }
    }
}

impl Fs for Pushed {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        self.fs.open_dir(path)
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
        self.fs.unix_time_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.fs.monotonic_ns()
    }
}

/// Longer than everything else that happens to the clock.
pub(crate) const TTL_S: u64 = 100_000;

pub(crate) struct EndingStore {
    open: Open,
    clock: Arc<Pushed>,
}

impl Driver for Ending {
    type Store = EndingStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<EndingStore, String> {
        let clock = Arc::new(Pushed::new(fs));
        let open = Undamaged(Perennial(self.0.0.clone())).open(Arc::clone(&clock) as Arc<dyn Fs>)?;
        Ok(EndingStore { open, clock })
    }
}

/// Time passes until the entry has ended, if there is one, and is then as it was. For the cache it is not: what it has
/// seen so far may be far ahead.
pub(crate) fn see_the_end(open: &Open, clock: &Pushed, key: &[u8]) -> Result<bool, String> {
    let before = open.0.stats();
    let ended = (1..1_000).any(|ttls| {
        let ahead_ms = ttls * 2 * TTL_S * 1000;
        clock.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        matches!(open.get(key), Ok(None))
    });
    clock.ahead_ms.store(0, Ordering::Relaxed);
    if !ended || open.get(key)?.is_some() {
        return Err("it is there though its time is over".to_owned());
    }
    let after = open.0.stats();
    Ok(after.expired > before.expired && after.expired_unlogged == before.expired_unlogged)
}

impl Store for EndingStore {
    /// A third of the keys never ends, and is removed as ever.
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        if !ends(key) {
            return self.open.put(key, value, durable);
        }
        let how = InsertOptions::new()
            .ttl(Duration::from_secs(TTL_S))
            .durable(durable);
        let inserted = self.open.0.insert_with(key, value, how);
        inserted.map(drop).map_err(|e| e.to_string())
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        if ends(key) && see_the_end(&self.open, &self.clock, key)? {
            return if durable { self.open.flush() } else { Ok(()) };
        }
        // It was not there, or the log had no room, which a reader does not wait for.
        self.open.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.open.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.open.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.open.abandon(key, len)
    }

    fn other(&self, what: u8) -> Result<(), String> {
        self.open.other(what)
    }

    fn close(self) -> Result<(), String> {
        self.open.close()
    }
}

pub(crate) fn ends(key: &[u8]) -> bool {
    key.last().is_none_or(|last| last % 3 != 0)
}

fn run(name: &str, eviction: Eviction, cases: &[Case]) {
    let driver = Ending(Perennial(small(96 << 10).eviction(eviction)));
    let name = format!("{name}, {}", random::seeds(cases));
    run_all(&name, &driver, random::options(Keeps::WhatItLikes), cases);
}

#[test]
fn random_scripts_of_entries_that_end() {
    run(
        "ending",
        Eviction::Fifo,
        &random::scripts(30 * effort(), 60),
    );
}

#[test]
fn what_ended_does_not_come_back_from_a_merge() {
    let cases = merging::scripts(8 * effort(), 400);
    run("ending, s3-merge", Eviction::S3Merge, &cases);
    run("ending, clock", Eviction::Clock, &cases);
}
