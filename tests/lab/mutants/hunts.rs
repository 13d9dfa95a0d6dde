//! The hunts, quick ones first.

use perennial_failpoints::lab::{Breadth, CrashLab, Keeps, Options};

use super::disk;
use crate::driver::{Perennial, small};
use crate::{Case, blocks, clearing as clears, random, resizing, scenarios, small_scope};

/// What says what is wrong, if anything is.
pub(super) type Run = fn() -> Result<(), String>;

/// A title, what luck it has (no bug: something legal that hardly ever happens), and the hunt.
type Hunt = (&'static str, &'static [&'static str], Run);

pub(super) const HUNTS: [Hunt; 13] = [
    ("blocks", &[], blocks::hunt),
    ("scripts of two steps", &[], || small_scope_of(2)),
    ("resizes", &[], resizing::hunt),
    ("failing sync", &[], disk::a_sync_fails),
    ("rot", &[], disk::a_bit_rots),
    ("misdirected write", &[], disk::a_sector_lands_elsewhere),
    ("random script", &[], random_scripts),
    ("random script, evicting", &[], random_evicting),
    (
        "random script, keys collide",
        &["all-keys-collide"],
        random_evicting,
    ),
    ("script that clears", &[], clearing),
    ("script that clears, evicting", &[], clearing_evicting),
    ("scenario", &[], scenarios),
    ("scripts of three steps", &[], || small_scope_of(3)),
];

/// Runs the cases; `drawn` ones are of the seeds 0, 1 and so on.
fn lab(capacity_bytes: u64, options: Options, cases: Vec<Case>, drawn: bool) -> Result<(), String> {
    let driver = Perennial(small(capacity_bytes));
    let options = Options {
        shrinks: false,
        ..options
    };
    let mut lab = CrashLab::new(&driver, options);
    for (n, case) in cases.iter().enumerate() {
        let judged = lab.run_from(&case.script, case.from);
        judged.map_err(|failure| {
            if drawn {
                format!("seed {n}: {failure}")
            } else {
                format!("seed {}, script {n}: {failure}", options.seed)
            }
        })?;
    }
    Ok(())
}

fn small_scope_of(steps: usize) -> Result<(), String> {
    let breadth = Breadth {
        exhaustive_up_to: 6,
        sampled: 2,
    };
    let options = Options {
        breadth,
        ..Options::new(Keeps::Everything)
    };
    lab(1 << 20, options, small_scope::scripts(steps), false)
}

fn scenarios() -> Result<(), String> {
    let options = Options {
        crash_one_recovery_in: 16,
        depth: 2,
        ..Options::new(Keeps::Everything)
    };
    let whole = |script: &&[_]| Case {
        script: script.to_vec(),
        from: 0,
    };
    let cases = scenarios::ALL.iter().map(whole).collect();
    lab(1 << 20, options, cases, false)
}

fn random_scripts() -> Result<(), String> {
    let options = random::options(Keeps::Everything);
    lab(1 << 20, options, random::scripts(20, 40), true)
}

fn random_evicting() -> Result<(), String> {
    let options = random::options(Keeps::WhatItLikes);
    lab(64 << 10, options, random::scripts(8, 100), true)
}

fn clearing() -> Result<(), String> {
    let options = random::options(Keeps::Everything);
    lab(1 << 20, options, clears::scripts(8, 40, 0), true)
}

fn clearing_evicting() -> Result<(), String> {
    let options = random::options(Keeps::WhatItLikes);
    lab(64 << 10, options, clears::scripts(4, 120, 60), true)
}
