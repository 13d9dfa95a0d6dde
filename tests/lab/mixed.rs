//! Everything that moves, ends, or goes, in one script: entries with an end, of all priorities, some compressed, on a clock
//! that jumps; removes by prefix, clears, checkpoints, reopens, and a capacity that changes under all of it.

use std::sync::Arc;
use std::time::Duration;

use perennial::{Eviction, InsertOptions};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Breadth, Driver, Keeps, Options, Step, Store};

use crate::driver::CHECKPOINT;
use crate::ending::{Pushed, TTL_S, ends, see_the_end};
use crate::priorities::{compression, priority, shrunk, stretched};
use crate::random::Rng;
use crate::resizing::{RESIZE, Resized, Resizing};
use crate::{Case, effort, random, run_all};

struct Mixed(Resizing);

struct MixedStore {
    resized: Resized,
    clock: Arc<Pushed>,
}

impl Driver for Mixed {
    type Store = MixedStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<MixedStore, String> {
        let clock = Arc::new(Pushed::new(fs));
        let resized = self.0.open(Arc::clone(&clock) as Arc<dyn Fs>)?;
        Ok(MixedStore { resized, clock })
    }
}

impl Store for MixedStore {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let mut how = InsertOptions::new()
            .priority(priority(key))
            .compression(compression(key))
            .durable(durable);
        if ends(key) {
            how = how.ttl(Duration::from_secs(TTL_S));
        }
        let value = stretched(key, value);
        // A pinned one may find no room: then it is gone, which is allowed.
        let inserted = self.resized.open.0.insert_with(key, value, how);
        inserted.map_err(|e| e.to_string())?;
        self.resized.fits(())
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        if ends(key) && see_the_end(&self.resized.open, &self.clock, key)? {
            return if durable { self.flush() } else { Ok(()) };
        }
        self.resized.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.resized.get(key)?.map(shrunk))
    }

    fn flush(&self) -> Result<(), String> {
        self.resized.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.resized.open.abandon(key, len)
    }

    fn clear(&self) -> Result<(), String> {
        let cleared = self.resized.open.clear();
        cleared.and_then(|()| self.resized.fits(()))
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<(), String> {
        let removed = self.resized.open.remove_prefix(prefix);
        removed.and_then(|()| self.resized.fits(()))
    }

    fn other(&self, what: u8) -> Result<(), String> {
        self.resized.other(what)
    }

    fn close(self) -> Result<(), String> {
        self.resized.close()
    }
}

/// Keys 10 to 12 go with key 1; keys below 3 are read, so that a policy that can keeps them.
fn step(rng: &mut Rng) -> Step {
    let key = [0, 1, 2, 3, 4, 5, 6, 10, 11, 12][usize::try_from(rng.below(10)).expect("few keys")];
    let len = match rng.below(8) {
        0 => rng.below(4_000),
        _ => 300 + rng.below(1_500),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(80) {
        0..=33 => Step::put(key, len),
        34..=37 => Step::put(key, len).durable(),
        38..=42 => Step::remove(key),
        43..=44 => Step::remove(key).durable(),
        45..=46 => Step::Flush,
        47..=48 => Step::Other(CHECKPOINT),
        49 => Step::Reopen,
        50 => Step::Abandon { key, len },
        51 => Step::Clear,
        52..=53 => Step::RemovePrefix { key: 1 },
        54..=55 => Step::Other(RESIZE + u8::try_from(rng.below(3)).expect("three")),
        _ => Step::Get { key: key % 3 },
    }
}

fn scripts(seeds: u64, steps: usize) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        let script: Vec<Step> = (0..steps).map(|_| step(&mut rng)).collect();
        Case {
            // The beginning only fills the cache.
            from: steps / 5,
            script,
        }
    };
    (0..seeds).map(script).collect()
}

/// Crashes so many scripts inside merges and resizes; `least`: distinct states that must come of it.
fn run(eviction: Eviction, seeds: u64, least: u64) {
    let driver = Mixed(Resizing {
        eviction,
        opens_at: None,
        may_take_its_time: true,
    });
    let cases = scripts(seeds * effort(), 400);
    let options = Options {
        shrinks: false,
        only_inside: true,
        breadth: Breadth {
            exhaustive_up_to: 5,
            sampled: 8,
        },
        ..random::options(Keeps::WhatItLikes)
    };
    let name = format!("mixed, {eviction:?}, {}", random::seeds(&cases));
    let report = run_all(&name, &driver, options, &cases);
    assert!(report.inside >= least * effort(), "{report}");
}

#[test]
fn everything_at_once_inside_merges_and_resizes_of_an_s3_merge_cache() {
    run(Eviction::S3Merge, 18, 18_000);
}

#[test]
fn everything_at_once_inside_merges_and_resizes_of_a_clock_cache() {
    run(Eviction::Clock, 11, 9_000);
}

#[test]
fn everything_at_once_inside_merges_and_resizes_of_a_fifo_cache() {
    run(Eviction::Fifo, 11, 7_000);
}
