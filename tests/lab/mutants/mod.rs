//! Would the lab notice? Mutants of the code, `planted!` in it, and that each is caught.
//!
//! All are hunted in the same way, by the hunts of [`hunts`] in their order; nothing here knows what a mutant is. The
//! code as it is comes through every hunt.

mod disk;
mod holes;
mod hunts;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

use perennial_failpoints::planted;

use hunts::HUNTS;

/// Every name that is given to `planted!`, except the one of [`hunts`] that is no bug.
const MUTANTS: [&str; 33] = [
    "abandoned-is-a-pad",
    "ack-before-sync",
    "body-crc-not-checked",
    "checkpoint-published-early",
    "commit-wakes-on-write",
    "cut-before-decided",
    "cut-segments-not-void",
    "damage-is-a-hole",
    "end-not-written-again",
    "extent-not-synced",
    "failed-sync-retried",
    "found-names-not-synced",
    "gone-on-after-a-reboot",
    "header-crc-not-checked",
    "header-not-synced",
    "key-not-compared",
    "last-sector-of-zeros",
    "newest-not-contiguous",
    "no-directory-sync",
    "number-used-again",
    "place-not-checked",
    "poison-not-seen",
    "prepared-not-synced",
    "recycling-not-checked",
    "remove-not-logged",
    "remove-of-absent-not-logged",
    "remove-of-unstable-not-logged",
    "rename-not-synced",
    "renamed-before-synced",
    "replay-begins-too-late",
    "reuse-before-stable",
    "seed-without-incarnation",
    "trailer-before-data",
];

/// What is wrong, as one line; `None`: the hunt caught nothing.
fn hunt(run: fn() -> Result<(), String>) -> Option<String> {
    let caught = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(judged) => judged.err()?,
        Err(_) => "panicked".to_owned(),
    };
    Some(
        caught
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" | "),
    )
}

/// The first hunt that catches it, and how.
fn catch(name: &'static [&'static str]) -> Option<String> {
    HUNTS.iter().find_map(|(title, luck, run)| {
        let chosen: &'static [&'static str] = [name, luck].concat().leak();
        let caught = planted::with(chosen, || hunt(*run))?;
        Some(format!("{title}: {caught}"))
    })
}

#[test]
fn every_mutant_is_caught() {
    let only = std::env::var("PERENNIAL_MUTANT").ok();
    let next = AtomicUsize::new(0);
    let missed = AtomicUsize::new(0);
    scope(|s| {
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            s.spawn(|| {
                while let Some(name) = MUTANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if only
                        .as_ref()
                        .is_some_and(|only| !only.split(',').any(|n| n == *name))
                    {
                        continue;
                    }
                    match catch(std::slice::from_ref(name)) {
                        Some(how) => println!("{name} caught ({how})"),
                        None => {
                            println!("{name} NOT CAUGHT");
                            missed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(missed.into_inner(), 0, "mutants were not caught");
}

#[test]
fn the_code_as_it_is_comes_through_every_hunt() {
    assert_eq!(catch(&[]), None);
}

#[test]
fn every_hole_opens_without_its_rule() {
    for hole in &holes::HOLES {
        for bug in hole.undone_by {
            let chosen: &'static [&'static str] = [&[*bug], hole.luck].concat().leak();
            let began = std::time::Instant::now();
            let caught = planted::with(chosen, || hunt(hole.run));
            println!(
                "{} {bug}: {} {:?}",
                hole.name,
                caught.unwrap_or("NOT CAUGHT".into()),
                began.elapsed()
            );
        }
    }
}
