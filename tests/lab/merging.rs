//! Scripts on caches that copy what was read when its segment is reclaimed.

use perennial::{Eviction, Options};
use perennial_failpoints::lab::{Keeps, Step};

use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::random::Rng;
use crate::{Case, effort, random, run_all};

/// Keys below 3 are read, so that they are kept; the others fill segments.
fn step(rng: &mut Rng) -> Step {
    let key = u8::try_from(rng.below(9)).expect("few keys");
    let len = match rng.below(8) {
        0 => rng.below(4_000),
        _ => 200 + rng.below(700),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(40) {
        0..=15 => Step::put(key, len),
        16..=17 => Step::put(key, len).durable(),
        18..=20 => Step::remove(key),
        21 => Step::remove(key).durable(),
        22 => Step::Flush,
        23 => Step::Other(CHECKPOINT),
        24 => Step::Abandon { key, len },
        25 => Step::Reopen,
        _ => Step::Get { key: key % 3 },
    }
}

pub(crate) fn scripts(seeds: u64, steps: usize) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        let script: Vec<Step> = (0..steps).map(|_| step(&mut rng)).collect();
        // The beginning only fills the cache.
        Case {
            from: script.len() * 3 / 4,
            script,
        }
    };
    (0..seeds).map(script).collect()
}

fn options(eviction: Eviction) -> Options {
    small(96 << 10).eviction(eviction)
}

fn run(name: &str, eviction: Eviction) {
    let driver = Undamaged(Perennial(options(eviction)));
    let cases = scripts(20 * effort(), 400);
    let name = format!("{name}, {}", random::seeds(&cases));
    run_all(&name, &driver, random::options(Keeps::WhatItLikes), &cases);
}

#[test]
fn what_is_copied_to_the_head_of_the_log_is_never_older() {
    run("clock", Eviction::Clock);
}

#[test]
fn what_is_copied_to_kept_segments_is_never_older() {
    run("s3-merge", Eviction::S3Merge);
}
