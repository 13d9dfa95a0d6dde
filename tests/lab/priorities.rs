//! Entries of all priorities, some of them compressed: which, their key says.

use std::sync::Arc;

use perennial::{Compression, Eviction, InsertOptions, Inserted, Priority};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Driver, Keeps, Step, Store};

use crate::driver::{Open, Perennial, Undamaged, small};
use crate::{Case, effort, merging, random, run_all};

/// The cache with such puts.
pub(crate) struct Priorities(pub(crate) Perennial);

pub(crate) struct PrioritiesStore(Open);

impl Driver for Priorities {
    type Store = PrioritiesStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<PrioritiesStore, String> {
        let open = Undamaged(Perennial(self.0.0.clone())).open(fs)?;
        Ok(PrioritiesStore(open))
    }
}

pub(crate) fn priority(key: &[u8]) -> Priority {
    match key.last().map_or(0, |last| last % 4) {
        0 | 1 => Priority::Pinned,
        2 => Priority::Low,
        _ => Priority::Normal,
    }
}

/// The lab's values are noise, and stored as they are, so those of some keys are stretched.
pub(crate) fn compression(key: &[u8]) -> Compression {
    match key.last().map_or(0, |last| last % 3) {
        0 if cfg!(feature = "lz4") => Compression::Lz4,
        1 if cfg!(feature = "zstd") => Compression::Zstd(1),
        _ => Compression::None,
    }
}

/// Each byte four times, where the value of this key is to be compressed. Longer ones would not fit in a segment.
pub(crate) fn stretched(key: &[u8], value: &[u8]) -> Vec<u8> {
    if compression(key) == Compression::None || value.len() > 1_000 {
        return value.to_vec();
    }
    value.iter().flat_map(|byte| [*byte; 4]).collect()
}

/// What was stretched; noise never looks like it.
pub(crate) fn shrunk(value: Vec<u8>) -> Vec<u8> {
    let (bytes, rest) = value.as_chunks::<4>();
    let same = |four: &[u8; 4]| four.iter().all(|byte| *byte == four[0]);
    if rest.is_empty() && bytes.iter().all(same) {
        bytes.iter().map(|four| four[0]).collect()
    } else {
        value
    }
}

impl Store for PrioritiesStore {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let how = InsertOptions::new()
            .priority(priority(key))
            .compression(compression(key))
            .durable(durable);
        let inserted = self.0.0.insert_with(key, stretched(key, value), how);
        match inserted.map_err(|e| e.to_string())? {
            Inserted::Stored => Ok(()),
            // Few keys are: they fit.
            rejected => Err(format!("{rejected:?}")),
        }
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.0.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let found = self.0.get(key)?;
        let pinned = found.is_some() && priority(key) == Priority::Pinned;
        if pinned && self.0.0.stats().pinned_entries == 0 {
            return Err("a pinned entry is there, and nothing is known to be pinned".to_owned());
        }
        Ok(found.map(shrunk))
    }

    fn flush(&self) -> Result<(), String> {
        self.0.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.0.abandon(key, len)
    }

    fn other(&self, what: u8) -> Result<(), String> {
        self.0.other(what)
    }

    fn close(self) -> Result<(), String> {
        self.0.close()
    }
}

const ALL: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

fn driver(eviction: Eviction) -> Priorities {
    let options = small(128 << 10).pinned_percent(35).eviction(eviction);
    Priorities(Perennial(options))
}

#[test]
fn random_scripts_of_all_priorities() {
    for eviction in ALL {
        let cases = merging::scripts(6 * effort(), 400);
        let name = format!("priorities, {eviction:?}, {}", random::seeds(&cases));
        let options = random::options(Keeps::WhatItLikes);
        run_all(&name, &driver(eviction), options, &cases);
    }
}

/// Two pinned keys that nobody reads, among a few that are stored over and over.
fn pinned_and_others() -> Case {
    let mut script = vec![Step::put(0, 300).durable(), Step::put(1, 2_000).durable()];
    for n in 0..120_u16 {
        let key = if n % 2 == 0 { 3 } else { 7 };
        let put = Step::put(key, 400 + n * 211 % 600);
        script.push(if n % 8 == 0 { put.durable() } else { put });
        if n % 40 == 39 {
            script.push(Step::put(0, 300 + n).durable());
        }
        if n == 60 {
            script.push(Step::Reopen);
        }
    }
    Case { script, from: 0 }
}

#[test]
fn what_is_pinned_is_there_after_every_crash() {
    for eviction in ALL {
        let cases = [pinned_and_others()];
        let options = random::options(Keeps::Everything);
        run_all(
            &format!("pinned, {eviction:?}"),
            &driver(eviction),
            options,
            &cases,
        );
    }
}

/// A cache of low entries alone, which none of its reclaims may move.
struct NeverMoved(Priorities);

struct NeverMovedStore(PrioritiesStore);

impl Driver for NeverMoved {
    type Store = NeverMovedStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<NeverMovedStore, String> {
        self.0.open(fs).map(NeverMovedStore)
    }
}

impl NeverMovedStore {
    fn unmoved<T>(&self, value: T) -> Result<T, String> {
        match self.0.0.0.stats().moved {
            0 => Ok(value),
            moved => Err(format!("{moved} low entries were moved")),
        }
    }
}

impl Store for NeverMovedStore {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let put = self.0.put(key, value, durable);
        put.and_then(|()| self.unmoved(()))
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.0.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.0.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.0.flush()
    }

    fn close(self) -> Result<(), String> {
        self.0.close()
    }
}

/// Low keys alone, of which two are read all the time.
fn low_alone() -> Case {
    let mut script = Vec::new();
    for n in 0..160_u8 {
        script.push(Step::put(10 * (n % 20) + 2 + n % 2 * 4, 900));
        script.extend([2, 6].map(|key| Step::Get { key }));
    }
    Case {
        from: script.len() - 60,
        script,
    }
}

#[test]
fn what_is_low_is_never_moved() {
    for eviction in ALL {
        let options = random::options(Keeps::WhatItLikes);
        let name = format!("low alone, {eviction:?}");
        run_all(
            &name,
            &NeverMoved(driver(eviction)),
            options,
            &[low_alone()],
        );
    }
}

/// Both, for the hunt for planted bugs.
#[cfg(feature = "planted-bugs")]
pub(crate) fn hunt() -> Result<(), String> {
    for eviction in ALL {
        let judged = crate::judge(&driver(eviction), &[pinned_and_others()], Keeps::Everything)
            .and_then(|()| {
                let low = NeverMoved(driver(eviction));
                crate::judge(&low, &[low_alone()], Keeps::WhatItLikes)
            });
        judged.map_err(|why| format!("{eviction:?}, {why}"))?;
    }
    Ok(())
}
