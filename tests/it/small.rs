//! Small caches with a past, for the promises about what is found afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{Cache, Options, Result};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, value};

/// Where the cache lies on a simulated disk.
pub(crate) const DIR: &str = "/cache";

/// The smallest cache there is, working inline: what happens follows from the calls alone.
pub(crate) fn options() -> Options {
    Options::new()
        .capacity_bytes(64 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(4 << 10)
        .checkpoint_every_bytes(16 << 10)
        .background(false)
}

pub(crate) fn open(fs: &SimFs, options: Options) -> Result<Cache> {
    Cache::open_with(Arc::new(fs.clone()), DIR, options)
}

/// The path of a file of the cache.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// A small generator: the tests need repeatable variety, not quality.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A cache's life: random operations, and the oracle that knows what they left.
pub(crate) struct Life {
    pub(crate) oracle: Oracle,
    rng: Rng,
    op: u64,
}

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            oracle: Oracle::new(Keeps::WhatItLikes),
            rng: Rng(seed),
            op: 0,
        }
    }

    /// `n` operations on fourteen keys: mostly inserts of up to 300 bytes, some of which are extents; removes; flushes.
    pub(crate) fn live(&mut self, cache: &Cache, n: u64) {
        for _ in 0..n {
            self.op += 1;
            let key = format!("key-{}", self.rng.below(14)).into_bytes();
            match self.rng.below(24) {
                0..=2 => {
                    cache.remove(&key).expect("remove");
                    self.oracle.returned(&key, None, false);
                }
                3 => {
                    cache.remove_durable(&key).expect("remove");
                    self.oracle.returned(&key, None, true);
                }
                4 => {
                    cache.flush().expect("flush");
                    self.oracle.all_durable();
                }
                what => {
                    let len = if what == 5 {
                        1_200
                    } else {
                        self.rng.below(300)
                    };
                    let value = value(&key, self.op, usize::try_from(len).unwrap());
                    cache.insert(&key, &value).expect("insert");
                    self.oracle.returned(&key, Some(self.op), false);
                }
            }
        }
    }
}

/// Reads every key of `oracle` and judges what is found.
pub(crate) fn check(
    cache: &Cache,
    oracle: &Oracle,
    crash: Crash,
) -> std::result::Result<u64, String> {
    let mut oracle = oracle.clone();
    let mut there = 0;
    for key in oracle.known_keys() {
        let found = cache.get(&key).map_err(|e| e.to_string())?;
        there += u64::from(found.is_some());
        oracle.check_recovered(&key, found.as_deref(), crash)?;
    }
    Ok(there)
}
