//! Random scripts: longer, with rarer things in them, on caches that evict.

use perennial_failpoints::lab::{Breadth, Keeps, Options, Step};

use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::{Case, effort, run_all};

/// Knuth's linear congruential generator: the same numbers for the same seed, everywhere.
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

fn step(rng: &mut Rng) -> Step {
    let key = u8::try_from(rng.below(6)).expect("few keys");
    // Mostly small, sometimes beyond the io buffers: then the value lies in an extent.
    let len = match rng.below(8) {
        0 => rng.below(5_000),
        1 => 1_000,
        _ => rng.below(400),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(20) {
        0..=8 => Step::put(key, len),
        9..=10 => Step::put(key, len).durable(),
        11..=13 => Step::remove(key),
        14 => Step::remove(key).durable(),
        15 => Step::Flush,
        16 => Step::Other(CHECKPOINT),
        17 => Step::Abandon { key, len },
        18 => Step::Get { key },
        _ => Step::Reopen,
    }
}

pub(crate) fn scripts(seeds: u64, steps: u64) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        (0..steps).map(|_| step(&mut rng)).collect()
    };
    let whole = |seed| Case {
        script: script(seed),
        from: 0,
    };
    (0..seeds).map(whole).collect()
}

/// Which seeds scripts were drawn from.
pub(crate) fn seeds(cases: &[Case]) -> String {
    format!("seeds 0 to {}", cases.len() - 1)
}

pub(crate) fn options(keeps: Keeps) -> Options {
    Options {
        breadth: Breadth {
            exhaustive_up_to: 3,
            sampled: 4,
        },
        depth: 2,
        crash_one_recovery_in: 256,
        ..Options::new(keeps)
    }
}

#[test]
fn scripts_of_forty_steps_that_fit() {
    let cases = scripts(60 * effort(), 40);
    let driver = Undamaged(Perennial(small(1 << 20)));
    run_all(
        &format!("random, all kept, {}", seeds(&cases)),
        &driver,
        options(Keeps::Everything),
        &cases,
    );
}

#[test]
fn scripts_of_a_hundred_steps_that_evict() {
    let cases = scripts(40 * effort(), 100);
    let driver = Undamaged(Perennial(small(64 << 10)));
    run_all(
        &format!("random, evicting, {}", seeds(&cases)),
        &driver,
        options(Keeps::WhatItLikes),
        &cases,
    );
}
