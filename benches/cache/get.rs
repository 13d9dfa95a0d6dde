//! Reads, from each of the places where a value may lie.

use std::cell::OnceCell;

use criterion::Criterion;
use perennial::Stats;

use crate::setup::{Bench, key, open, options, scatter, value};

/// Entries of 4 KiB that fit in the tail and in the memory tier several times.
const FEW: u64 = 2_000;
/// Entries of 4 KiB that take most of the capacity.
const MANY: u64 = 400_000;

pub(crate) fn all(criterion: &mut Criterion) {
    for (name, bytes) in [("128B", 128), ("4KiB", 4 << 10)] {
        let tail = || filled(open(options()), FEW, bytes);
        let memory = || {
            let cache = flushed(filled(open(options()), FEW, bytes));
            (0..FEW).for_each(|n| drop(cache.get(key(n))));
            cache
        };
        let page_cache = || flushed(filled(open(options().memory_tier_bytes(0)), FEW, bytes));
        let few = |n| n % FEW;
        one(criterion, "get/tail", name, tail, few, |s| s.hits_tail);
        one(criterion, "get/memory", name, memory, few, |s| {
            s.hits_memory
        });
        one(criterion, "get/page_cache", name, page_cache, few, |s| {
            s.hits_disk
        });
    }
    // Written past the page cache and read about once: the device answers.
    let disk = || flushed(filled(open(options().memory_tier_bytes(0)), MANY, 4 << 10));
    one(
        criterion,
        "get/disk",
        "4KiB",
        disk,
        |n| scatter(n) % MANY,
        |s| s.hits_disk,
    );
    let million = || filled(open(options()), 1_000_000, 16);
    one(
        criterion,
        "get",
        "miss",
        million,
        |n| 1 << 40 | n,
        |s| s.misses,
    );
}

fn one(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    make: impl Fn() -> Bench,
    key_of: fn(u64) -> u64,
    place: fn(&Stats) -> u64,
) {
    let made = OnceCell::new();
    let mut n = 0;
    let mut group = criterion.benchmark_group(group);
    group.bench_function(name, |bencher| {
        let cache = made.get_or_init(&make);
        let before = cache.stats();
        bencher.iter(|| {
            n += 1;
            cache.get(key(key_of(n))).expect("read")
        });
        came_from(&before, &cache.stats(), place);
    });
    group.finish();
}

/// Nine in ten reads were answered where they were meant to be.
fn came_from(before: &Stats, after: &Stats, place: fn(&Stats) -> u64) {
    let all = |stats: &Stats| stats.hits() + stats.misses;
    let (meant, reads) = (place(after) - place(before), all(after) - all(before));
    assert!(meant * 10 >= reads * 9, "{after}");
}

fn filled(cache: Bench, entries: u64, bytes: usize) -> Bench {
    let value = value(bytes);
    for n in 0..entries {
        cache.insert(key(n), &value).expect("stored");
    }
    cache
}

fn flushed(cache: Bench) -> Bench {
    cache.flush().expect("flushed");
    cache
}
