//! Scripts on caches that are made larger and smaller while they are used.
//!
//! Who opens what a crash left chooses one of the capacities that the script has, so the next open has either: the one
//! before the resize, or the one after it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial::{ErrorKind, Eviction};
use perennial_failpoints::Fs;
use perennial_failpoints::fs::Dir;
#[cfg(feature = "planted-bugs")]
use perennial_failpoints::lab::CrashLab;
use perennial_failpoints::lab::{Driver, Keeps, Options, Step, Store};

use crate::driver::{CHECKPOINT, Open, Perennial, no_damage, small};
use crate::random::Rng;
use crate::{Case, effort, random, run_all};

/// The smallest is six segments and the tail.
const CAPACITIES: [u64; 3] = [64 << 10, 96 << 10, 160 << 10];
/// [`Store::other`]: a resize to the first of [`CAPACITIES`]; the others follow.
pub(crate) const RESIZE: u8 = 20;

/// A cache that fits its capacity after every operation, and has every file that it wants to read.
pub(crate) struct Resizing {
    pub(crate) eviction: Eviction,
    /// Which of [`CAPACITIES`] every open has; else it is one that what is there has to be made smaller for, or fits.
    pub(crate) opens_at: Option<usize>,
    /// Where entries are pinned a shrink may find nothing to give up; it goes on then as the cache is used.
    pub(crate) may_take_its_time: bool,
}

pub(crate) struct Resized {
    pub(crate) open: Open,
    directory: Arc<dyn Dir>,
    capacity: AtomicU64,
    /// What it takes at most: more than the capacity while a shrink takes its time.
    bound: AtomicU64,
    may_take_its_time: bool,
}

fn bytes(directory: &dyn Dir) -> Result<u64, String> {
    let entries = directory.list().map_err(|e| e.to_string())?;
    Ok(entries.iter().map(|entry| entry.len).sum())
}

impl Driver for Resizing {
    type Store = Resized;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Resized, String> {
        let path = Path::new("/cache");
        let directory = fs.create_dir_all(path).and_then(|()| fs.open_dir(path));
        let directory = directory.map_err(|e| e.to_string())?;
        let there = bytes(&*directory)?;
        // Where it was being made larger than the second, that is too much: the open has to make it smaller.
        let small_enough = there <= CAPACITIES[0];
        let chosen = self.opens_at.unwrap_or(usize::from(!small_enough));
        let capacity = CAPACITIES[chosen];
        let open = Perennial(small(capacity).eviction(self.eviction)).open(fs)?;
        no_damage(&open.0)?;
        let resized = Resized {
            open,
            directory,
            capacity: AtomicU64::new(capacity),
            bound: AtomicU64::new(capacity),
            may_take_its_time: self.may_take_its_time,
        };
        resized.fits(())?;
        Ok(resized)
    }
}

impl Resized {
    /// The directory is within the bound, and nothing is counted that is not there.
    pub(crate) fn fits<T>(&self, value: T) -> Result<T, String> {
        let capacity = self.capacity.load(Ordering::Relaxed);
        let there = bytes(&*self.directory)?;
        let stats = self.open.0.stats();
        let bound = self.bound.load(Ordering::Relaxed);
        if there > bound {
            return Err(format!(
                "{there} bytes in a cache of {capacity}, at most {bound}"
            ));
        }
        // Once it is as small as it should be, it stays so.
        self.bound
            .store(bound.min(there.max(capacity)), Ordering::Relaxed);
        if stats.capacity_bytes != capacity || stats.read_errors > 0 {
            return Err(format!("in a cache of {capacity}: {stats}"));
        }
        Ok(value)
    }
}

impl Store for Resized {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        self.open
            .put(key, value, durable)
            .and_then(|()| self.fits(()))
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.open.remove(key, durable).and_then(|()| self.fits(()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.open.get(key).and_then(|found| self.fits(found))
    }

    fn flush(&self) -> Result<(), String> {
        self.open.flush().and_then(|()| self.fits(()))
    }

    fn other(&self, what: u8) -> Result<(), String> {
        let chosen = what.checked_sub(RESIZE).map(usize::from);
        if let Some(capacity) = chosen.and_then(|chosen| CAPACITIES.get(chosen)) {
            let bound = match self.open.0.resize(*capacity) {
                Err(e) if e.kind() == ErrorKind::Full && self.may_take_its_time => {
                    self.bound.load(Ordering::Relaxed)
                }
                resized => resized.map_err(|e| e.to_string()).map(|()| *capacity)?,
            };
            self.bound.store(bound, Ordering::Relaxed);
            self.capacity.store(*capacity, Ordering::Relaxed);
        } else {
            self.open.other(what)?;
        }
        self.fits(())
    }

    fn close(self) -> Result<(), String> {
        self.open.close()
    }
}

/// Many puts, so that there is something to give up; keys below 3 are read, so that some is kept.
fn step(rng: &mut Rng) -> Step {
    let key = u8::try_from(rng.below(9)).expect("few keys");
    let len = match rng.below(8) {
        0 => rng.below(4_000),
        _ => 200 + rng.below(900),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(40) {
        0..=19 => Step::put(key, len),
        20..=21 => Step::put(key, len).durable(),
        22..=24 => Step::remove(key),
        25 => Step::remove(key).durable(),
        26 => Step::Flush,
        27 => Step::Other(CHECKPOINT),
        28 => Step::Reopen,
        29 => Step::Other(RESIZE + u8::try_from(rng.below(3)).expect("three")),
        _ => Step::Get { key: key % 3 },
    }
}

/// Two hundred steps, then there and back, with a few steps in between.
fn script(seed: u64) -> Vec<Step> {
    let mut rng = Rng(seed);
    let mut script: Vec<Step> = (0..200).map(|_| step(&mut rng)).collect();
    for resize in [2, 0, 1, 0] {
        script.push(Step::Other(RESIZE + resize));
        script.extend((0..25).map(|_| step(&mut rng)));
    }
    script
}

fn is_resize(step: &Step) -> bool {
    matches!(step, Step::Other(what) if *what >= RESIZE)
}

/// Each resize of each script, crashed inside and right behind it.
fn inside(scripts: &[Vec<Step>]) -> Vec<Case> {
    let cases = scripts.iter().flat_map(|script| {
        let resizes = (0..script.len()).filter(|at| is_resize(&script[*at]));
        resizes.map(|from| Case {
            script: script[..=from].to_vec(),
            from,
        })
    });
    cases.collect()
}

/// A script of so many steps is not made short in an hour.
fn long(keeps: Keeps) -> Options {
    Options {
        shrinks: false,
        ..random::options(keeps)
    }
}

fn run(name: &str, eviction: Eviction) {
    let driver = Resizing {
        eviction,
        opens_at: None,
        may_take_its_time: false,
    };
    let scripts: Vec<_> = (0..40 * effort()).map(script).collect();
    let options = long(Keeps::WhatItLikes);
    let cases = inside(&scripts);
    let report = run_all(&format!("{name}, inside resizes"), &driver, options, &cases);
    assert!(report.distinct > 5_000, "{report}");
    let whole = scripts.into_iter().map(|script| Case {
        // The beginning only fills the cache.
        from: script.len() - 60,
        script,
    });
    let whole: Vec<_> = whole
        .take(4 * usize::try_from(effort()).expect("few"))
        .collect();
    let seeds = random::seeds(&whole);
    run_all(&format!("{name}, {seeds}"), &driver, options, &whole);
}

/// As in hole 2: two keys are stored once and read all the time, three are stored over and over.
fn two_are_read(shortest: u16) -> Vec<Step> {
    let mut script = vec![Step::put(0, 300).durable(), Step::put(1, 2_000).durable()];
    for n in 0..120_u16 {
        let put = Step::put(
            u8::try_from(2 + n * 7 % 3).expect("few keys"),
            shortest + n * 211 % 600,
        );
        script.push(if n % 8 == 0 { put.durable() } else { put });
        script.extend((0..5).map(|key| Step::Get { key }));
        if n % 15 == 14 {
            script.push(Step::Other(RESIZE + if n % 2 == 0 { 1 } else { 2 }));
        }
    }
    script
}

/// There is room for all in the smaller capacity too, so all must be there after every crash. Some of these lengths meet a
/// resize with every file in use that there may be: the two were evicted there, for no file was left to move them to.
fn staying() -> Vec<Case> {
    let scripts: Vec<_> = [100, 200, 320, 400, 416].map(two_are_read).into();
    inside(&scripts)
}

fn stays(eviction: Eviction) -> Resizing {
    Resizing {
        eviction,
        opens_at: Some(2),
        may_take_its_time: false,
    }
}

#[test]
fn what_is_read_stays_through_resizes() {
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        let name = format!("resizes, {eviction:?}, nothing is evicted");
        let options = long(Keeps::Everything);
        let report = run_all(&name, &stays(eviction), options, &staying());
        assert!(report.distinct > 250, "{report}");
    }
}

#[test]
fn a_resize_of_a_fifo_cache_is_before_or_after() {
    run("resizes, fifo", Eviction::Fifo);
}

#[test]
fn a_resize_of_an_s3_merge_cache_is_before_or_after() {
    run("resizes, s3-merge", Eviction::S3Merge);
}

/// Some that are crashed nowhere else, for the hunt for planted bugs.
#[cfg(feature = "planted-bugs")]
pub(crate) fn hunt() -> Result<(), String> {
    let judge = |driver: &Resizing, keeps, cases: Vec<Case>| {
        let mut lab = CrashLab::new(driver, long(keeps));
        let mut judged = cases
            .iter()
            .map(|case| lab.run_from(&case.script, case.from));
        let eviction = driver.eviction;
        judged.try_for_each(|judged| judged.map_err(|failure| format!("{eviction:?}: {failure}")))
    };
    for eviction in [Eviction::Fifo, Eviction::S3Merge] {
        let driver = Resizing {
            eviction,
            opens_at: None,
            may_take_its_time: false,
        };
        judge(&driver, Keeps::WhatItLikes, inside(&[script(1), script(2)]))?;
    }
    judge(&stays(Eviction::S3Merge), Keeps::Everything, staying())
}
