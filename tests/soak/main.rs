//! Everything at once, for minutes: threads use one cache on a real disk, which is resized, closed, dropped and killed, while
//! one fault after the other hits it; between the rounds everything that can be watched is.
//!
//! `PERENNIAL_SOAK_S=n` goes on for so many seconds (`just soak` for five minutes), `PERENNIAL_SEED=n` draws others. A seed repeats
//! operations, faults and restarts; what the threads make of them differs a little. The directory of a failure is kept.

#![expect(
    clippy::unwrap_used,
    reason = "a broken test environment ends the test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "real files, threads and clocks are what is tested"
)]

mod book;
mod child;
mod faults;
mod lives;
#[path = "../crash/random.rs"]
mod random;
mod restart;
mod round;
mod warnings;
mod watch;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use child::Place;
use faults::{FAULTS, Injector};
use round::Soak;
use warnings::Warnings;

/// Each fault comes to its turn three times, and then there is something to compare.
const LEAST_ROUNDS: u64 = 3 * (FAULTS.len() as u64 + 1);

/// A round that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn set(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

#[test]
fn soak() {
    if let Some(place) = child::asked_for() {
        return child::live(&place);
    }
    let seed = set("PERENNIAL_SEED", 1);
    println!("PERENNIAL_SEED={seed}");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = Place(scratch.path().to_owned());
    let injector = Injector::new();
    let mut soak = Soak::begin(place, injector.clone(), Warnings::of_the_process(), seed);
    let (done, round) = (AtomicBool::new(false), AtomicU64::new(0));
    let soaked = thread::scope(|scope| {
        scope.spawn(|| injector.let_go_in_time(&done));
        scope.spawn(|| notice_a_hang(&done, &round, seed));
        let soaked = soak_for(set("PERENNIAL_SOAK_S", 5), &mut soak, &round);
        done.store(true, Ordering::Relaxed);
        soaked
    });
    let soaked = soaked.and_then(|()| soak.end());
    println!("{:#?}", soak.tally);
    match soaked {
        Ok(told) => println!("{told}"),
        Err(why) => panic!(
            "PERENNIAL_SEED={seed}, round {}: {why}; see {}",
            soak.tally.rounds,
            scratch.keep().display()
        ),
    }
}

fn soak_for(seconds: u64, soak: &mut Soak, round: &AtomicU64) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed().as_secs() < seconds || soak.tally.rounds < LEAST_ROUNDS {
        round.store(soak.tally.rounds, Ordering::Relaxed);
        soak.round()?;
    }
    Ok(())
}

/// Ends the process where a round does not end: its threads would be waited for for ever.
fn notice_a_hang(done: &AtomicBool, round: &AtomicU64, seed: u64) {
    let (mut seen, mut since) = (0, Instant::now());
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        let now = round.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            eprintln!("PERENNIAL_SEED={seed}: round {now} has not ended after {PATIENCE:?}");
            std::process::abort();
        }
    }
}
