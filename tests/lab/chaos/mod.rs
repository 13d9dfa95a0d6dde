//! Everything at once, by seed: several kinds of faults (F1 to F12 of the fault model) come over one machine while scripts of
//! any steps run on it, it is closed and opened with other options, killed and left without power, in the middle of calls
//! and of recoveries, and life goes on.
//!
//! What is asked after that is as sharp as the faults allow (`weather.rs`): without faults the lab's oracle, with absence a loss;
//! with faults that a caller is told of the same, but anything may be a miss; once something was damaged in silence, of
//! each key no more than a whole value that was stored for it, until it is stored durably again.
//!
//! `PERENNIAL_CHAOS=n cargo test --test lab chaos -- --nocapture` plays seed n alone and prints what happens.

mod judge;
mod life;
mod options;
mod script;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, scope};

use crate::effort;
use world::World;

/// Seeds of one run of `cargo test`.
const SEEDS: u64 = 800;

/// What the seeds of a run came to.
#[derive(Debug, Default)]
struct Sum {
    lives: AtomicU64,
    faults: AtomicU64,
    strict: AtomicU64,
}

fn play(seed: u64, sum: &Sum) -> Result<(), String> {
    let mut world = World::new(seed);
    let played = catch_unwind(AssertUnwindSafe(|| world.play()));
    sum.lives.fetch_add(world.lives, Ordering::Relaxed);
    sum.faults.fetch_add(world.faults(), Ordering::Relaxed);
    sum.strict.fetch_add(world.strict, Ordering::Relaxed);
    let why = match played {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(panic) => panic
            .downcast_ref::<String>()
            .map_or_else(|| "panicked".to_owned(), |said| format!("panicked: {said}")),
    };
    Err(format!("seed {seed}: {why}\n{}", world.told()))
}

#[test]
fn whatever_comes_together_it_never_lies() {
    if let Ok(only) = std::env::var("PERENNIAL_CHAOS") {
        let seed = only.parse().expect("PERENNIAL_CHAOS is a number");
        let sum = Sum::default();
        let played = play(seed, &sum);
        println!("{sum:?}");
        return played.unwrap_or_else(|why| panic!("{why}"));
    }
    let (next, sum) = (AtomicU64::new(0), Sum::default());
    let failed = Mutex::new(BTreeMap::new());
    let last = SEEDS * effort();
    scope(|s| {
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            s.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    if let Err(why) = play(seed, &sum) {
                        failed
                            .lock()
                            .expect("nothing panics under it")
                            .insert(seed, why);
                    }
                }
            });
        }
    });
    println!("chaos: seeds 0 to {}: {sum:?}", last - 1);
    let failed = failed.into_inner().expect("nothing panicked under it");
    for why in failed.values() {
        println!("{}", why.lines().next().unwrap_or_default());
    }
    if let Some(why) = failed.values().next() {
        panic!("{} seeds fail; {why}", failed.len());
    }
    let [lives, faults, strict] =
        [&sum.lives, &sum.faults, &sum.strict].map(|count| count.load(Ordering::Relaxed));
    // Or it is no chaos, or nothing is asked.
    assert!(
        lives > 3 * last && faults > last && strict > last,
        "{sum:?}"
    );
}
