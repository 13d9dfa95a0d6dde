//! 15 of the hard problems, crashed everywhere: hot keys are overwritten and removed while a merge is moving them.
//!
//! ```text
//!   put or remove of a hot key: fillers ── a merge begins ── reads what is live, copies it ─┬─ Move frame ─ the index
//!                                                                  it is done here: before one of the merge's calls
//! ```
//! Whoever overwrites or removes an entry wins, in the index of the running cache and in a replay alike. All of it happens
//! on one thread, for the lab: the file system calls back before a call of the merge.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use perennial::{Cache, Eviction};
use perennial_failpoints::lab::{Driver, Keeps, Step, Store};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Fs, Plan, Span};

use crate::driver::{Open, Perennial, Undamaged, small};
use crate::{Case, effort, merging, random, run_all};

/// [`Store::other`]: what comes next is done in the middle of a merge.
const MEANWHILE: u8 = 30;
/// At most so many fillers until a merge comes by.
const FILLERS: u64 = 60;

/// What is to be done in the middle of a merge, and by which of its calls.
struct Due {
    cache: Cache,
    key: Vec<u8>,
    /// `None`: it is removed.
    value: Option<Vec<u8>>,
    /// Which call of a merge: one that moves nothing makes few.
    call: u64,
}

/// What is due, until it is done.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<Option<Due>>>);

/// Calls of a merge before the copies are on their way: one reads the table of what it merges. When it took two, and this
/// was 3, nothing told that with one all came too late, but the mutants that this catches.
const CALLS_BEFORE: u64 = 2;

impl Pending {
    fn set(&self, due: Option<Due>) -> Option<Due> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *pending, due)
    }

    fn is_done(&self) -> bool {
        let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.is_none()
    }

    /// Before call `n` of a merge. What finds no room there is left for later.
    fn call(&self, n: u64) {
        let Some(due) = self.set(None) else {
            return;
        };
        let done = due.call == n && perennial_wal::filling(|| due.act()).is_ok();
        if !done {
            self.set(Some(due));
        }
    }
}

impl Due {
    fn act(&self) -> perennial::Result<()> {
        match &self.value {
            Some(value) => self.cache.insert(&self.key, value).map(drop),
            None => self.cache.remove(&self.key),
        }
    }
}

fn calls_back(pending: &Pending) -> Plan {
    let pending = pending.clone();
    let mut calls = 0;
    Plan::new(move |call: &Call<'_>| {
        let step = matches!(
            call.kind,
            CallKind::Read | CallKind::Write | CallKind::SyncData
        );
        if step && Span::is_inside() {
            calls += 1;
            pending.call(calls);
        } else {
            calls = 0;
        }
        Action::Pass
    })
}

/// The cache, whose hot keys change in the middle of merges.
struct Meddled(Perennial);

struct MeddledStore {
    open: Open,
    pending: Pending,
    /// The next put or remove is done in the middle of a merge.
    chosen: AtomicBool,
    turns: AtomicU64,
    fillers: AtomicU64,
}

impl Driver for Meddled {
    type Store = MeddledStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<MeddledStore, String> {
        let pending = Pending::default();
        let fs = Arc::new(FaultFs::new(fs, calls_back(&pending)));
        Ok(MeddledStore {
            open: Undamaged(Perennial(self.0.0.clone())).open(fs)?,
            pending,
            chosen: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            fillers: AtomicU64::new(0),
        })
    }
}

impl MeddledStore {
    /// True for the step behind a [`MEANWHILE`].
    fn is_chosen(&self) -> bool {
        self.chosen.swap(false, Ordering::Relaxed)
    }

    /// True once it was done in the middle of a merge.
    fn in_a_merge(&self, key: &[u8], value: Option<&[u8]>) -> Result<bool, String> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.pending.set(Some(Due {
            cache: self.open.0.clone(),
            key: key.to_owned(),
            value: value.map(<[u8]>::to_owned),
            call: CALLS_BEFORE + turn % 4,
        }));
        for _ in 0..FILLERS {
            if self.pending.is_done() {
                return Ok(true);
            }
            // It is read, so that a merge that comes to it moves it; again and again, for while it is young that is no visit.
            self.open.get(key)?;
            let n = self.fillers.fetch_add(1, Ordering::Relaxed);
            let filler = format!("filler-{n}");
            let filled = self.open.put(filler.as_bytes(), &[7; 900], false);
            filled.inspect_err(|_| drop(self.pending.set(None)))?;
        }
        Ok(self.pending.set(None).is_none())
    }
}

impl Store for MeddledStore {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        if self.is_chosen() && self.in_a_merge(key, Some(value))? {
            return if durable { self.flush() } else { Ok(()) };
        }
        self.open.put(key, value, durable)
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        if self.is_chosen() && self.in_a_merge(key, None)? {
            return if durable { self.flush() } else { Ok(()) };
        }
        self.open.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.open.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.open.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.open.abandon(key, len)
    }

    fn other(&self, what: u8) -> Result<(), String> {
        if what == MEANWHILE {
            self.chosen.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.open.other(what)
    }

    fn close(self) -> Result<(), String> {
        self.open.close()
    }
}

fn driver(eviction: Eviction) -> Meddled {
    Meddled(Perennial(small(96 << 10).eviction(eviction)))
}

/// Those of `merging`, whose keys below 3 are read: what changes them does so in the middle of a merge. Their values go
/// through the ring: longer ones are written to their segment at once, and a plan may not do that, for it is asked under a
/// lock of the file system's.
fn scripts(seeds: u64) -> Vec<Case> {
    let meanwhile = |step: Step| match step {
        Step::Put { key, len, durable } if key < 3 => {
            let len = 30 + len % 200;
            vec![Step::Other(MEANWHILE), Step::Put { key, len, durable }]
        }
        Step::Remove { key, .. } if key < 3 => vec![Step::Other(MEANWHILE), step],
        other => vec![other],
    };
    let case = |case: Case| {
        let script: Vec<Step> = case.script.into_iter().flat_map(meanwhile).collect();
        Case {
            from: script.len() - 50,
            script,
        }
    };
    merging::scripts(seeds, 200).into_iter().map(case).collect()
}

fn run(name: &str, eviction: Eviction) {
    let cases = scripts(8 * effort());
    let name = format!("{name}, {}", random::seeds(&cases));
    let options = random::options(Keeps::WhatItLikes);
    run_all(&name, &driver(eviction), options, &cases);
}

#[test]
fn minimal_15_what_is_moved_may_change_meanwhile() {
    run("moved meanwhile, s3-merge", Eviction::S3Merge);
}

#[test]
fn minimal_15_what_is_appended_again_may_change_meanwhile() {
    run("appended again meanwhile, clock", Eviction::Clock);
}

/// Fewer of them, for the hunt for planted bugs.
#[cfg(feature = "planted-bugs")]
pub(crate) fn hunt() -> Result<(), String> {
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        crate::judge(&driver(eviction), &scripts(16), Keeps::WhatItLikes)
            .map_err(|why| format!("{eviction:?}, {why}"))?;
    }
    Ok(())
}
