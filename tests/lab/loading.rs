//! Indexes that are loaded as they are used: shard by shard, in whatever order they are touched, crashed in between.
//!
//! ```text
//!   open: no shard is loaded ─► get, put, remove: one is ─► crash ─► open: no shard is loaded ─► all keys are looked for
//! ```
//! Loading writes nothing, so what a crash in its middle leaves is what the open found, and what was done since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Driver, Keeps, Step, Store};

use crate::driver::{CHECKPOINT, Open, Perennial, Undamaged, small};
use crate::random::{self, Rng};
use crate::{Case, effort, run_all};

/// The same, with shards that are loaded when they are touched. The few keys lie in different ones.
pub(crate) fn later(options: Options) -> Options {
    options.index_shards(8).load_at_open_entries(0)
}

/// The cache so, which takes it for a failure if an entry cannot be loaded: nothing in the lab damages anything.
pub(crate) struct LoadsLater(pub(crate) Options);

pub(crate) struct Watched(Open);

/// Opens that left something to be loaded.
static LEFT_SOMETHING: AtomicU64 = AtomicU64::new(0);

impl Driver for LoadsLater {
    type Store = Watched;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Watched, String> {
        let open = Undamaged(Perennial(self.0.clone())).open(fs)?;
        let left = open.0.stats().entries_to_load;
        LEFT_SOMETHING.fetch_add(u64::from(left > 0), Ordering::Relaxed);
        Ok(Watched(open))
    }
}

fn nothing_lost(cache: &Cache) -> Result<(), String> {
    match cache.stats().lost_in_loading {
        0 => Ok(()),
        lost => Err(format!("{lost} entries could not be loaded")),
    }
}

impl Watched {
    fn watched<T>(&self, done: Result<T, String>) -> Result<T, String> {
        nothing_lost(&self.0.0)?;
        done
    }
}

impl Store for Watched {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        self.watched(self.0.put(key, value, durable))
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.watched(self.0.remove(key, durable))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.watched(self.0.get(key))
    }

    fn flush(&self) -> Result<(), String> {
        self.0.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.watched(self.0.abandon(key, len))
    }

    fn clear(&self) -> Result<(), String> {
        self.watched(self.0.clear())
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<(), String> {
        self.watched(self.0.remove_prefix(prefix))
    }

    fn other(&self, what: u8) -> Result<(), String> {
        self.watched(self.0.other(what))
    }

    fn close(self) -> Result<(), String> {
        nothing_lost(&self.0.0)?;
        self.0.close()
    }
}

/// Many opens, and few steps in each life: most shards are not touched before the next.
fn step(rng: &mut Rng) -> Step {
    let key = u8::try_from(rng.below(9)).expect("few keys");
    let len = match rng.below(8) {
        0 => rng.below(4_000),
        _ => 50 + rng.below(700),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(40) {
        0..=13 => Step::put(key, len),
        14..=15 => Step::put(key, len).durable(),
        16..=19 => Step::remove(key),
        20 => Step::remove(key).durable(),
        21 => Step::Flush,
        22..=24 => Step::Other(CHECKPOINT),
        25 => Step::Abandon { key, len },
        26..=31 => Step::Reopen,
        32 => Step::Clear,
        33 => Step::RemovePrefix { key },
        _ => Step::Get { key },
    }
}

fn scripts(seeds: u64, steps: usize, from: usize) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        Case {
            script: (0..steps).map(|_| step(&mut rng)).collect(),
            from,
        }
    };
    (0..seeds).map(script).collect()
}

fn run(name: &str, options: Options, keeps: Keeps, cases: &[Case]) {
    let before = LEFT_SOMETHING.load(Ordering::Relaxed);
    let driver = LoadsLater(later(options));
    let name = format!("loading, {name}, {}", random::seeds(cases));
    run_all(&name, &driver, random::options(keeps), cases);
    let opens = LEFT_SOMETHING.load(Ordering::Relaxed) - before;
    assert!(opens > 1_000, "{opens} opens left something to be loaded");
}

#[test]
fn loading_what_fits_loses_nothing() {
    let cases = scripts(60 * effort(), 40, 0);
    run("all kept", small(1 << 20), Keeps::Everything, &cases);
}

#[test]
fn loading_what_is_evicted_shows_nothing_older() {
    for eviction in [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge] {
        let cases = scripts(12 * effort(), 300, 250);
        let options = small(96 << 10).eviction(eviction);
        run(
            &format!("{eviction:?}"),
            options,
            Keeps::WhatItLikes,
            &cases,
        );
    }
}
