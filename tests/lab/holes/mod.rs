//! The holes of the protocol, by number: `hole_NN_…` drives the cache into the situation of that hole, and the lab crashes it
//! there. `docs/testing.md` has the table: which hole, which script, and which planted bug undoes its rule.
//!
//! Each is a function that says what is wrong, so that the hunt for planted bugs (`mutants`) can run it, too.

mod ahead;
mod blanked;
mod checkpoint_and_log;
mod cleared;
mod face;
mod failing_syncs;
mod kept;
mod loaded;
mod on_disk;
mod played;
mod recovery;
mod trailers;
mod tricks;
mod unreadable;
mod write_path;

use perennial_failpoints::lab::{Breadth, CrashLab, Driver, Keeps, Options, Step};

#[cfg(feature = "planted-bugs")]
pub(crate) use self::{
    ahead::*, blanked::*, checkpoint_and_log::*, cleared::*, face::*, failing_syncs::*, kept::*,
    loaded::*, recovery::*, trailers::*, unreadable::*, write_path::*,
};
use crate::effort;

/// Crashes a script everywhere.
fn crashed<D: Driver>(name: &str, driver: &D, keeps: Keeps, script: &[Step]) -> Result<(), String> {
    let one_in = if goes_far() { 8 } else { 64 };
    run(name, driver, keeps, one_in, (script, 0))
}

/// The same, but only in the last steps: those before bring about the situation.
fn crashed_in_the_last<D: Driver>(
    steps: usize,
    name: &str,
    driver: &D,
    keeps: Keeps,
    script: &[Step],
) -> Result<(), String> {
    let one_in = if goes_far() { 8 } else { 64 };
    run(name, driver, keeps, one_in, (script, script.len() - steps))
}

/// And recoveries of it, more of them than elsewhere.
fn crashed_with_its_recoveries<D: Driver>(
    name: &str,
    driver: &D,
    script: &[Step],
) -> Result<(), String> {
    // Which one in eight that is changes with every byte that is written: a hunt is not to depend on it.
    let one_in = if goes_far() || hunts() { 1 } else { 8 };
    run(name, driver, Keeps::Everything, one_in, (script, 0))
}

fn goes_far() -> bool {
    effort() >= 10
}

fn run<D: Driver>(
    name: &str,
    driver: &D,
    keeps: Keeps,
    crash_one_recovery_in: u64,
    (script, from): (&[Step], usize),
) -> Result<(), String> {
    let options = Options {
        breadth: Breadth {
            exhaustive_up_to: if goes_far() { 12 } else { 6 },
            sampled: 4 * effort().min(16),
        },
        crash_one_recovery_in,
        ..Options::new(keeps)
    };
    run_as(name, driver, options, (script, from))
}

/// With these options.
fn run_as<D: Driver>(
    name: &str,
    driver: &D,
    options: Options,
    (script, from): (&[Step], usize),
) -> Result<(), String> {
    let options = Options {
        shrinks: !hunts(),
        ..options
    };
    let mut lab = CrashLab::new(driver, options);
    let judged = lab.run_from(script, from);
    if !hunts() {
        crate::say(name, lab.report());
    }
    judged.map_err(|failure| format!("seed {}, {name}: {failure}", options.seed))
}

/// True while planted bugs are hunted: what is found is known.
#[cfg(feature = "planted-bugs")]
fn hunts() -> bool {
    !perennial_failpoints::planted::chosen().is_empty()
}

#[cfg(not(feature = "planted-bugs"))]
const fn hunts() -> bool {
    false
}
