//! Scripts that clear the cache and remove by prefix, among everything else.

use perennial::Eviction;
use perennial_failpoints::lab::{Keeps, Step};

use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::random::Rng;
use crate::{Case, effort, random, run_all};

/// Keys 10 to 12 go with key 1. Keys below 3 are read, so that a policy that can keeps them.
fn step(rng: &mut Rng) -> Step {
    let key = [0, 1, 2, 3, 4, 10, 11, 12][usize::try_from(rng.below(8)).expect("few keys")];
    let len = match rng.below(8) {
        0 => rng.below(4_000),
        _ => 100 + rng.below(800),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(40) {
        0..=14 => Step::put(key, len),
        15..=17 => Step::put(key, len).durable(),
        18..=19 => Step::remove(key),
        20 => Step::remove(key).durable(),
        21 => Step::Flush,
        22 => Step::Other(CHECKPOINT),
        23 => Step::Abandon { key, len },
        24 => Step::Reopen,
        25..=26 => Step::Clear,
        27 => Step::RemovePrefix { key: 1 },
        28 => Step::RemovePrefix { key },
        _ => Step::Get { key: key % 3 },
    }
}

pub(crate) fn scripts(seeds: u64, steps: usize, from: usize) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        Case {
            script: (0..steps).map(|_| step(&mut rng)).collect(),
            from,
        }
    };
    (0..seeds).map(script).collect()
}

#[test]
fn a_clear_is_whole_and_stays_where_everything_fits() {
    let driver = Undamaged(Perennial(small(1 << 20)));
    let cases = scripts(60 * effort(), 40, 0);
    let name = format!("clearing, all kept, {}", random::seeds(&cases));
    run_all(&name, &driver, random::options(Keeps::Everything), &cases);
}

#[test]
fn a_clear_stays_where_what_is_read_is_kept() {
    let driver = Undamaged(Perennial(small(96 << 10).eviction(Eviction::S3Merge)));
    let cases = scripts(20 * effort(), 300, 220);
    let name = format!("clearing, s3-merge, {}", random::seeds(&cases));
    run_all(&name, &driver, random::options(Keeps::WhatItLikes), &cases);
}

#[test]
fn a_clear_stays_where_segments_are_given_up() {
    let driver = Undamaged(Perennial(small(64 << 10)));
    let cases = scripts(20 * effort(), 120, 60);
    let name = format!("clearing, evicting, {}", random::seeds(&cases));
    run_all(&name, &driver, random::options(Keeps::WhatItLikes), &cases);
}
