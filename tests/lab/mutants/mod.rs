//! Would the lab notice? Mutants of the code, `planted!` in it, and that each is caught.
//!
//! A mutant that undoes the rule of a hole is caught by that hole's own script: [`holes`]. The others are hunted by the
//! hunts of [`hunts`] in their order; nothing there knows what a mutant is. The code as it is comes through every hunt, and
//! through the scripts of the holes wherever the lab's tests run.

mod disk;
mod holes;
mod hunts;
mod ranges;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{available_parallelism, scope, spawn};
use std::time::Duration;

use perennial_failpoints::planted;

use holes::HOLES;
use hunts::{HUNTS, Run};

/// A hunt for one mutant ends then, and has caught nothing: it may well make somebody wait for ever.
const LIMIT: Duration = Duration::from_secs(300);

/// Every name that is given to `planted!`, except the one of [`hunts`] that is no bug.
const MUTANTS: [&str; 98] = [
    "abandoned-is-a-pad",
    "ack-before-sync",
    "any-frame-is-kept",
    "blank-headers-not-synced",
    "block-kept-whatever-happened",
    "blocks-without-identity",
    "blocks-without-number",
    "blocks-without-version",
    "bloom-swap-drops-additions",
    "body-crc-not-checked",
    "changed-tail-written",
    "checkpoint-never-due",
    "checkpoint-published-early",
    "chunk-crc-not-checked",
    "clear-not-durable",
    "clear-not-logged",
    "clear-not-replayed-over-a-checkpoint",
    "commit-wakes-on-write",
    "complete-buffers-not-known",
    "cut-before-decided",
    "cut-segments-not-void",
    "damage-is-a-hole",
    "end-not-written-again",
    "every-boot-is-the-same",
    "evicted-keys-outlive-a-prefix",
    "expired-entry-back",
    "extent-beside-the-zeros",
    "extent-not-synced",
    "failed-sync-retried",
    "filter-not-told",
    "flight-leaked",
    "flight-not-superseded",
    "flights-outlive-a-clear",
    "floor-at-the-stable-lsn",
    "found-names-not-synced",
    "full-log-not-flushed",
    "gap-in-the-chain-bridged",
    "gap-skipped-after-lost-power",
    "ghost-counted-as-present",
    "gone-on-after-a-reboot",
    "gone-on-with-not-synced",
    "head-before-its-entries",
    "head-remembered-anyway",
    "header-crc-not-checked",
    "header-not-synced",
    "header-zone-not-blanked",
    "hole-ends-the-log",
    "holes-left-lying",
    "image-without-what-came-later",
    "invalidate-leaves-flights",
    "joined-below-the-stable",
    "kept-not-synced",
    "key-not-compared",
    "last-sector-of-zeros",
    "low-is-kept",
    "marks-attest-nothing",
    "merge-appends-unconditionally",
    "merge-moves-unconditionally",
    "newest-not-contiguous",
    "no-directory-sync",
    "nothing-prepared-ahead",
    "number-used-again",
    "opened-block-kept-anyway",
    "options-name-the-tail",
    "pin-not-replayed",
    "pinned-is-evicted",
    "place-not-checked",
    "poison-not-seen",
    "prepared-not-synced",
    "recycling-not-checked",
    "remove-not-logged",
    "remove-of-absent-not-logged",
    "remove-of-unstable-not-logged",
    "rename-not-synced",
    "renamed-before-synced",
    "replaced-before-reserved",
    "replay-begins-too-late",
    "replayed-move-unconditional",
    "resize-forgets-the-bound",
    "reuse-before-stable",
    "seed-without-incarnation",
    "shard-published-before-it-is-whole",
    "short-block-as-full",
    "shrink-unlinks-live-segment",
    "shrink-without-a-spare",
    "source-freed-before-move-is-stable",
    "stable-word-alone",
    "tail-not-in-the-capacity",
    "tier-by-key",
    "trailer-before-data",
    "trailer-of-no-boot-trusted",
    "unknown-numbers-given-again",
    "unloaded-image-reclaimed",
    "unlogged-when-stopped",
    "unreadable-is-unwritten",
    "version-not-asked-again",
    "what-reads-well-is-trusted",
    "zeros-over-what-is-reserved",
];

/// What is wrong, as one line; `None`: the hunt caught nothing.
fn hunt(run: Run) -> Option<String> {
    let caught = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(judged) => judged.err()?,
        Err(_) => "seed 1: panicked".to_owned(),
    };
    // What is wrong and where; not the script.
    let lines: Vec<_> = caught.lines().map(str::trim).take(2).collect();
    Some(lines.join(" | "))
}

/// The first hunt that catches what is chosen, and how.
fn catch(chosen: &[&'static str]) -> Option<String> {
    HUNTS.iter().find_map(|(title, luck, run)| {
        let caught = planted::with(together(chosen, luck), || hunt(*run))?;
        Some(format!("{caught}; {title}"))
    })
}

fn together(chosen: &[&'static str], luck: &[&'static str]) -> &'static [&'static str] {
    [chosen, luck].concat().leak()
}

/// What `body` says, or, when it is not finished within [`LIMIT`], nothing; then its thread is left to itself.
#[expect(clippy::disallowed_methods, reason = "a test's own thread")]
fn within_the_limit(body: impl FnOnce() -> Option<String> + Send + 'static) -> Option<String> {
    let (say, said) = channel();
    // Nobody listens any more when it is late.
    spawn(move || drop(say.send(body())));
    said.recv_timeout(LIMIT).ok().flatten()
}

/// True for the mutants that are asked for, by default all.
fn is_wanted(name: &str) -> bool {
    let only = std::env::var("PERENNIAL_MUTANT");
    only.map_or(true, |only| only.split(',').any(|wanted| wanted == name))
}

/// Prints one line for each, as it comes, from all cores. How many were not caught.
fn missed<T: Sync>(hunted: &[T], catch: impl Fn(&T) -> (&str, Option<String>) + Sync) -> usize {
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    scope(|s| {
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            s.spawn(|| {
                while let Some(one) = hunted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch(one) {
                        (name, Some(how)) => println!("{name} caught ({how})"),
                        (name, None) => {
                            println!("{name} NOT CAUGHT");
                            missed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    missed.into_inner()
}

/// By the hole's own script.
#[test]
fn every_hole_opens_when_its_rule_is_undone() {
    let bugs = |hole: &'static holes::Hole| hole.undone_by.iter().map(move |bug| (hole, *bug));
    let mut wanted: Vec<_> = HOLES.iter().flat_map(bugs).collect();
    assert!(wanted.iter().all(|(_, bug)| MUTANTS.contains(bug)));
    wanted.retain(|(_, bug)| is_wanted(bug));
    let missed = missed(&wanted, |(hole, bug)| {
        let (chosen, run) = (together(&[bug], hole.luck), hole.run);
        let caught = within_the_limit(move || planted::with(chosen, || hunt(run)));
        (*bug, caught.map(|how| format!("{how}; {}", hole.name)))
    });
    assert_eq!(missed, 0, "rules can be undone and nobody notices");
}

/// Those that undo no hole's rule.
#[test]
fn every_other_mutant_is_caught() {
    let of_a_hole = |name: &str| HOLES.iter().any(|hole| hole.undone_by.contains(&name));
    let mut wanted = MUTANTS.to_vec();
    wanted.retain(|name| is_wanted(name) && !of_a_hole(name));
    let missed = missed(&wanted, |name| {
        let chosen = together(&[name], &[]);
        (*name, within_the_limit(move || catch(chosen)))
    });
    assert_eq!(missed, 0, "mutants were not caught");
}

#[test]
fn the_code_as_it_is_comes_through_every_hunt() {
    assert_eq!(catch(&[]), None);
}
