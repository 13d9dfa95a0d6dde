//! Durable inserts: many callers share one sync.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use crate::setup::{Bench, key, open, options, value};

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert_durable/128B");
    group
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Elements(1));
    for threads in [1, 8, 64] {
        let name = format!("{threads}_threads");
        let cache = OnceCell::new();
        group.bench_function(name, |bencher| {
            let cache = cache.get_or_init(|| open(options()));
            bencher.iter_custom(|inserts| insert(cache, threads, inserts));
        });
    }
    group.finish();
}

/// So many inserts in all, from so many threads.
fn insert(cache: &Bench, threads: u64, inserts: u64) -> Duration {
    let value = value(128);
    let next = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= inserts {
                        return;
                    }
                    cache.insert_durable(key(n), &value).expect("stored");
                }
            });
        }
    });
    started.elapsed()
}
