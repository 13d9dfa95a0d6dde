//! Holes 30 to 36: removes of what is not there, fetches, the memory tier, the index.

use std::sync::Arc;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Driver, Keeps, Step};

use super::tricks::Tricks;
use super::{crashed, crashed_in_the_last};
use crate::driver::{CHECKPOINT, Open, Perennial, small};
use crate::ending::Ending;
use crate::loading::later;
use crate::random::Rng;

/// The index knows nothing of the key; the log, and an evicted segment's file, still do.
#[test]
pub(crate) fn hole_30_a_remove_of_what_is_not_there_is_remembered() -> Result<(), String> {
    let script = [
        Step::put(0, 100).durable(),
        Step::remove(0),
        Step::remove(0).durable(),
        Step::put(1, 100),
        Step::remove(1),
    ];
    let driver = Perennial(small(1 << 20));
    crashed("hole 30", &driver, Keeps::Everything, &script)?;
    let mut script = vec![Step::put(0, 300).durable(), Step::Other(CHECKPOINT)];
    script.extend((0..16).map(|n| Step::put(1 + n % 3, 2_000)));
    script.extend([Step::remove(0).durable(), Step::put(1, 2_000)]);
    let driver = Perennial(small(64 << 10));
    crashed_in_the_last(3, "hole 30, evicted", &driver, Keeps::WhatItLikes, &script)
}

/// A kept segment is given up, its file lies free for a while, and an older checkpoint still knows what was in it. A remove
/// by prefix, here of keys that never were, says that none of it is left.
#[test]
pub(crate) fn hole_30_what_was_evicted_goes_with_its_prefix() -> Result<(), String> {
    let options = small(200 << 10).eviction(Eviction::S3Merge);
    goes_with_its_prefix(options.clone())?;
    goes_with_its_prefix(later(options))
}

fn goes_with_its_prefix(options: Options) -> Result<(), String> {
    let told = |e: perennial::Error| e.to_string();
    let driver = Perennial(options);
    for seed in 0..3 {
        let machine = SimFs::new(seed);
        let Open(cache) = driver.open(Arc::new(machine.clone()))?;
        let mut rng = Rng(seed);
        let name = |n: u64| format!("key-{n}");
        for n in 0..1_500 {
            let len = usize::try_from(100 + rng.below(900)).map_err(|e| e.to_string())?;
            cache
                .insert(name(rng.below(100)), vec![1; len])
                .map_err(told)?;
            for _ in 0..rng.below(6) {
                cache.get(name(rng.below(33))).map_err(told)?;
            }
            if n % 7 != 0 {
                continue;
            }
            cache.remove_prefix("nobody").map_err(told)?;
            let there = |cache: &Cache, n: &u64| cache.contains(name(*n)).map_err(told);
            let killed = driver.open(Arc::new(machine.process_crash()))?;
            for key in 0..100 {
                if !there(&cache, &key)? && there(&killed.0, &key)? {
                    return Err(format!("seed {seed}: key {key} is back after {n} puts"));
                }
            }
            std::mem::forget(killed);
        }
    }
    Ok(())
}

/// A fetch lands behind the insert, the remove or the clear that came in its middle.
#[test]
pub(crate) fn hole_33_a_fetch_never_overwrites() -> Result<(), String> {
    let script = [
        Step::put(0, 100),
        Step::Get { key: 0 },
        Step::remove(1),
        Step::Get { key: 1 },
        Step::put(2, 200).durable(),
        Step::Get { key: 2 },
        Step::Clear,
        Step::Get { key: 0 },
        Step::Get { key: 1 },
    ];
    let driver = Tricks {
        overtakes_fetches: true,
        ..Tricks::on(small(1 << 20))
    };
    crashed("hole 33", &driver, Keeps::Everything, &script)
}

/// Read from disk, and so kept in memory, then replaced, and read from disk again.
#[test]
pub(crate) fn hole_34_the_tier_never_serves_an_older_version() -> Result<(), String> {
    let rounds = (0..4).flat_map(|_| {
        [
            Step::put(0, 300),
            Step::put(1, 2_500),
            Step::put(2, 2_500),
            Step::Flush,
            Step::Get { key: 0 },
            Step::Get { key: 0 },
        ]
    });
    let driver = Perennial(small(1 << 20).memory_tier_bytes(64 << 10));
    let script: Vec<_> = rounds
        .chain([Step::remove(0), Step::Get { key: 0 }])
        .collect();
    crashed_in_the_last(8, "hole 34", &driver, Keeps::Everything, &script)
}

/// Keys that the index cannot tell apart, where the hunt for planted bugs makes them collide; it is one entry then, and
/// the later one's.
#[test]
pub(crate) fn hole_35_one_identity_is_one_entry() -> Result<(), String> {
    let script = [
        Step::put(0, 100),
        Step::put(1, 200).durable(),
        Step::Get { key: 0 },
        Step::Get { key: 1 },
        Step::put(0, 300),
        Step::remove(1),
        Step::Other(CHECKPOINT),
        Step::put(2, 100),
        Step::Get { key: 0 },
    ];
    let driver = Perennial(small(1 << 20));
    crashed("hole 35", &driver, Keeps::WhatItLikes, &script)
}

/// An end that somebody saw, and a clock that is back in the next life.
#[test]
pub(crate) fn hole_37_an_end_that_was_seen_is_for_good() -> Result<(), String> {
    let script = [
        Step::put(1, 100).durable(),
        Step::put(2, 2_500),
        Step::Other(CHECKPOINT),
        Step::remove(1),
        Step::Get { key: 1 },
        Step::put(4, 100),
        Step::remove(2).durable(),
        Step::put(1, 300),
        Step::Reopen,
        Step::remove(1),
        Step::Flush,
    ];
    let driver = Ending(Perennial(small(1 << 20)));
    crashed("hole 37", &driver, Keeps::WhatItLikes, &script)
}

/// So many keys that tables and filters grow, with images of them in between.
#[test]
pub(crate) fn hole_36_what_is_stored_is_found() -> Result<(), String> {
    let mut script: Vec<_> = (0..60).map(|key| Step::put(key, 30)).collect();
    script.insert(40, Step::Other(CHECKPOINT));
    script.extend([Step::Get { key: 7 }, Step::Flush, Step::Get { key: 59 }]);
    let driver = Perennial(small(1 << 20));
    crashed("hole 36", &driver, Keeps::Everything, &script)
}
