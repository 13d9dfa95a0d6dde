//! The paths that are counted, each as something that makes its `n`th operation.

use std::path::Path as Dir;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::ValueEnum;

use crate::bare::{BareLoop, RawReads, TierAlone};
use crate::warm::{FEW, Warm, key, options, scatter, value};

/// Makes the operation with this number.
pub(crate) type Operation = Box<dyn FnMut(u64)>;

/// Keys that were never inserted have this bit.
const ABSENT: u64 = 1 << 40;

/// A path through the cache, or a bare comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    Insert128,
    Insert256,
    Insert4096,
    Overwrite128,
    Insert65536,
    Insert1048576,
    GetMemory128,
    GetMemory4096,
    GetPage128,
    GetPage4096,
    GetTail128,
    GetTail4096,
    Miss1m,
    Miss10m,
    Durable1,
    Durable8,
    Durable64,
    Bare128,
    Bare256,
    Bare4096,
    Tier128,
    Tier4096,
    Pread128,
    Pread4096,
}

/// All that callgrind collects: so many operations.
#[inline(never)]
pub(crate) fn operations_counted(operation: &mut dyn FnMut(u64), operations: u64) {
    (0..operations).for_each(operation);
}

impl Path {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The paths that one thread takes alone and that need no more than a few seconds under callgrind.
    pub(crate) fn single() -> impl Iterator<Item = Self> {
        let skipped = [Self::Durable8, Self::Durable64, Self::Miss10m];
        let all = Self::value_variants().iter().copied();
        all.filter(move |path| !skipped.contains(path))
    }

    /// Makes everything that the operations need, which is not counted.
    pub(crate) fn prepare(self, dir: &Dir) -> Operation {
        match self {
            Self::Insert128 => inserts(dir, 128, scatter),
            Self::Insert256 => inserts(dir, 256, scatter),
            Self::Insert4096 => inserts(dir, 4096, scatter),
            Self::Insert65536 => inserts(dir, 64 << 10, scatter),
            Self::Insert1048576 => inserts(dir, 1 << 20, scatter),
            Self::Overwrite128 => inserts(dir, 128, |n| scatter(n) % FEW),
            Self::GetMemory128 => gets(Warm::in_memory_tier(dir, 128)),
            Self::GetMemory4096 => gets(Warm::in_memory_tier(dir, 4096)),
            Self::GetPage128 => gets(Warm::in_page_cache(dir, 128)),
            Self::GetPage4096 => gets(Warm::in_page_cache(dir, 4096)),
            Self::GetTail128 => gets(Warm::in_tail(dir, 128)),
            Self::GetTail4096 => gets(Warm::in_tail(dir, 4096)),
            Self::Miss1m => misses(dir, 1_000_000),
            Self::Miss10m => misses(dir, 10_000_000),
            Self::Durable1 => durable(dir, 1),
            Self::Durable8 => durable(dir, 8),
            Self::Durable64 => durable(dir, 64),
            Self::Bare128 => bare(128),
            Self::Bare256 => bare(256),
            Self::Bare4096 => bare(4096),
            Self::Tier128 => tier(128),
            Self::Tier4096 => tier(4096),
            Self::Pread128 => raw_reads(dir, 128),
            Self::Pread4096 => raw_reads(dir, 4096),
        }
    }
}

fn inserts(dir: &Dir, bytes: usize, number: fn(u64) -> u64) -> Operation {
    let warm = Warm::lapped(dir, options());
    let value = value(bytes);
    let mut more = 0;
    // Every round has keys of its own, as long as `number` is one to one.
    Box::new(move |_| {
        more += 1;
        warm.insert(key(number(more)), &value).expect("stored");
    })
}

fn gets(warm: Warm) -> Operation {
    Box::new(move |n| {
        let value = warm.get(key(n % FEW)).expect("read");
        assert!(value.is_some(), "it is there");
    })
}

fn misses(dir: &Dir, entries: u64) -> Operation {
    let warm = Warm::filled(dir, options(), entries, 16);
    Box::new(move |n| {
        let value = warm.get(key(ABSENT | n)).expect("read");
        assert!(value.is_none(), "it was never inserted");
    })
}

/// Durable inserts: one operation is one of each thread.
fn durable(dir: &Dir, threads: u64) -> Operation {
    let warm = Warm::lapped(dir, options());
    let value = value(4096);
    let next = AtomicU64::new(0);
    let one = move || {
        let n = next.fetch_add(1, Ordering::Relaxed);
        warm.insert_durable(key(n), &value).expect("stored");
    };
    if threads == 1 {
        return Box::new(move |_| one());
    }
    Box::new(move |_| {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..DURABLE_EACH).for_each(|_| one()));
            }
        });
    })
}

/// Durable inserts of each of several threads in one operation.
pub(crate) const DURABLE_EACH: u64 = 100;

fn bare(bytes: usize) -> Operation {
    let (mut bare, value) = (BareLoop::new(), value(bytes));
    let mut more = 0;
    Box::new(move |_| {
        more += 1;
        bare.insert(&key(scatter(more)), &value);
    })
}

fn tier(bytes: usize) -> Operation {
    let tier = TierAlone::filled(FEW, bytes);
    Box::new(move |n| assert!(tier.get(&key(n % FEW)).is_some(), "it is there"))
}

fn raw_reads(dir: &Dir, bytes: usize) -> Operation {
    let reads = RawReads::new(dir, FEW, bytes);
    let mut buf = Vec::new();
    Box::new(move |n| reads.read(n % FEW, &mut buf))
}
