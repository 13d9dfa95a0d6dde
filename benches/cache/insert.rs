//! Plain inserts: what they cost including everything the threads behind them do meanwhile.

use std::cell::OnceCell;

use criterion::{Criterion, Throughput};

use crate::setup::{key, open, options, scatter, value};

/// Keys of the working set that is overwritten.
const WORKING_SET: u64 = 100_000;

pub(crate) fn all(criterion: &mut Criterion) {
    for (name, bytes) in [("128B", 128), ("4KiB", 4 << 10), ("64KiB", 64 << 10)] {
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
