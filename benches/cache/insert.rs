//! Plain inserts: what they cost including everything the threads behind them do meanwhile.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use crate::setup::{Bench, key, open, options, scatter, value};

/// Keys of the working set that is overwritten.
const WORKING_SET: u64 = 100_000;
/// A burst is half of the default tail, which takes it without waiting for the disk.
const BURST_BYTES: u64 = 32 << 20;
const MILLION: u64 = 1_000_000;

pub(crate) fn all(criterion: &mut Criterion) {
    new_cache(criterion);
    for (name, bytes) in [("128B", 128), ("4KiB", 4 << 10), ("64KiB", 64 << 10)] {
        burst(criterion, name, bytes);
        one(criterion, "insert/fresh", name, bytes, |n| n);
        one(criterion, "insert/overwrite", name, bytes, |n| {
            scatter(n) % WORKING_SET
        });
    }
}

fn one(criterion: &mut Criterion, group: &str, name: &str, bytes: usize, key_of: fn(u64) -> u64) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Bytes(bytes as u64));
    // One cache for all samples: the warm-up touches the tail's pages and makes the files.
    let (cache, value) = (OnceCell::new(), value(bytes));
    let mut n = 0;
    group.bench_function(name, |bencher| {
        let cache = cache.get_or_init(|| open(options()));
        bencher.iter(|| {
            n += 1;
            cache.insert(key(key_of(n)), &value).expect("stored")
        });
    });
    group.finish();
}

/// Fresh keys into a cache that was empty, a million in each.
fn new_cache(criterion: &mut Criterion) {
    let value = value(128);
    let mut group = criterion.benchmark_group("insert/first_million");
    group.bench_function("128B", |bencher| {
        bencher.iter_custom(|inserts| {
            let each = |from: u64| {
                let cache = open(options());
                timed(&cache, from..inserts.min(from + MILLION), &value)
            };
            let caches = (0..inserts.div_ceil(MILLION)).map(|n| each(n * MILLION));
            caches.sum()
        });
    });
    group.finish();
}

/// What the tail takes at once; between bursts the disk has time.
fn burst(criterion: &mut Criterion, name: &str, bytes: usize) {
    let (cache, value) = (OnceCell::new(), value(bytes));
    let most = BURST_BYTES / bytes as u64;
    let mut group = criterion.benchmark_group("insert/burst");
    group.bench_function(name, |bencher| {
        let cache = cache.get_or_init(|| open(options()));
        bencher.iter_custom(|inserts| {
            let burst = |from: u64| {
                cache.flush().expect("flushed");
                timed(cache, from..inserts.min(from + most), &value)
            };
            (0..inserts.div_ceil(most)).map(|n| burst(n * most)).sum()
        });
    });
    group.finish();
}

fn timed(cache: &Bench, keys: std::ops::Range<u64>, value: &[u8]) -> Duration {
    let started = Instant::now();
    for n in keys {
        cache.insert(key(scatter(n)), value).expect("stored");
    }
    started.elapsed()
}
