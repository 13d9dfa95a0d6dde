//! The cache in the crash lab: every crash state of small scripts, and many of larger ones.
//!
//! `PERENNIAL_LAB=n cargo test --release --test lab` goes n times as far as `cargo test` does. Every test prints how many
//! distinct crash states it saw, and how many all have so far; a failure prints the shortest script that fails.

mod blocks;
mod chaos;
mod clearing;
mod damage;
mod driver;
mod ending;
#[cfg(feature = "failpoints")]
mod far;
mod faults;
mod filters;
mod holes;
mod late;
mod loading;
mod meanwhile;
mod merging;
mod minimal;
mod mixed;
#[cfg(feature = "planted-bugs")]
mod mutants;
mod odd;
mod priorities;
mod random;
mod rate;
mod resizing;
mod scenarios;
mod small_scope;

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

use perennial_failpoints::lab::{CrashLab, Driver, Failure, Options, Report, Step};

/// How far to go, in multiples of what `cargo test` does.
fn effort() -> u64 {
    let set = std::env::var("PERENNIAL_LAB").ok();
    set.map_or(1, |n| n.parse().expect("PERENNIAL_LAB is a number"))
}

/// A script, and the step from which on it is crashed.
pub(crate) struct Case {
    pub(crate) script: Vec<Step>,
    pub(crate) from: usize,
}

/// Distinct crash states of all tests so far.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Of these, such as a crash inside a merge or a resize left.
static INSIDE: AtomicU64 = AtomicU64::new(0);

/// Prints what a test tried, past the harness, which would swallow it.
pub(crate) fn say(name: &str, report: Report) {
    let sum = SEEN.fetch_add(report.distinct, Ordering::Relaxed) + report.distinct;
    let inside = INSIDE.fetch_add(report.inside, Ordering::Relaxed) + report.inside;
    // Nothing depends on it.
    let _ = writeln!(
        io::stderr(),
        "{name}: {report}; {sum} distinct so far, {inside} inside"
    );
}

/// Runs all cases on all cores; panics with the first failure.
fn run_all<D: Driver + Sync>(name: &str, driver: &D, options: Options, cases: &[Case]) -> Report {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new((Report::default(), None::<(usize, Failure)>));
    let threads = available_parallelism().map_or(1, NonZero::get);
    scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                let mut lab = CrashLab::new(driver, options);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(n) else { break };
                    if let Err(failure) = lab.run_from(&case.script, case.from) {
                        next.store(cases.len(), Ordering::Relaxed);
                        sum.lock().expect("no thread panicked").1 = Some((n, failure));
                    }
                }
                sum.lock().expect("no thread panicked").0 += lab.report();
            });
        }
    });
    let (report, failure) = sum.into_inner().expect("no thread panicked");
    say(name, report);
    if let Some((n, failure)) = failure {
        panic!("{name}, script {n}: {failure}");
    }
    report
}

/// Runs cases of the seeds 0 and so on, on this thread, and says what is wrong with the first that fails: for hunts.
#[cfg(feature = "planted-bugs")]
pub(crate) fn judge<D: Driver>(
    driver: &D,
    cases: &[Case],
    keeps: perennial_failpoints::lab::Keeps,
) -> Result<(), String> {
    let options = Options {
        shrinks: false,
        ..random::options(keeps)
    };
    let mut lab = CrashLab::new(driver, options);
    for (seed, case) in cases.iter().enumerate() {
        let judged = lab.run_from(&case.script, case.from);
        judged.map_err(|failure| format!("seed {seed}: {failure}"))?;
    }
    Ok(())
}
