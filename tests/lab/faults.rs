//! The N-th call fails, or is silently not what it says, for every N; then a kill or a power loss; then a recovery on a
//! disk that is well again. The lab's oracle decides.
//!
//! Errors that callers see at length are in `tests/it/a_failing_disk_never_lies.rs`, rot at rest in
//! `tests/it/rot_is_a_miss.rs`. Here every crash comes twice: when the fault has just shown, and at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perennial::{Cache, ErrorKind};
use perennial_failpoints::lab::{Crash, Keeps, Oracle, Step, identify, key, value};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, Shows, SimFs, Syncs};

use crate::driver::{CHECKPOINT, small};

/// A life with a rotation, checkpoints, extents, removes, and two closes.
const SCRIPT: [Step; 24] = [
    Step::put(0, 300),
    Step::put(1, 40).durable(),
    Step::put(0, 500),
    Step::remove(1),
    Step::put(2, 3_000),
    Step::Flush,
    Step::put(1, 900),
    Step::Other(CHECKPOINT),
    Step::put(0, 1_000),
    Step::put(3, 800).durable(),
    Step::remove(0).durable(),
    Step::put(4, 700),
    Step::Reopen,
    Step::put(0, 200),
    Step::put(3, 4_000).durable(),
    Step::put(1, 900),
    Step::put(5, 900),
    Step::remove(2),
    Step::Other(CHECKPOINT),
    Step::put(4, 100).durable(),
    Step::Reopen,
    Step::put(2, 60),
    Step::put(5, 500).durable(),
    Step::put(1, 30),
];

/// Between these steps and the end there are commits and a close.
const LAST_LIFE: usize = 16;

/// The script without extents: everything goes through the tail, which has it until it is stable.
fn in_the_tail() -> Vec<Step> {
    let shorter = |step: &Step| match *step {
        Step::Put { key, len, durable } => Step::Put {
            key,
            len: len.min(800),
            durable,
        },
        other => other,
    };
    SCRIPT.iter().map(shorter).collect()
}

/// What happens at the N-th call.
#[derive(Debug, Clone, Copy)]
enum What {
    /// To calls of these kinds only; all, where none is named.
    Do(Action, &'static [CallKind]),
    /// To the next sync of a file.
    Sync(Syncs),
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    what: What,
    /// To so many calls in a row.
    calls: u64,
}

impl Fault {
    /// The plan, and whether the fault has shown.
    fn plan(self, n: u64, sim: &SimFs) -> (Plan, Arc<AtomicBool>) {
        let shown = Arc::new(AtomicBool::new(false));
        let (told, sim) = (Arc::clone(&shown), sim.clone());
        let plan = Plan::new(move |call: &Call<'_>| {
            let hit = call.n >= n && call.n - n < self.calls;
            match self.what {
                What::Do(action, kinds)
                    if hit && (kinds.is_empty() || kinds.contains(&call.kind)) =>
                {
                    told.fetch_or(call.n == n, Ordering::Relaxed);
                    action
                }
                What::Sync(syncs) if call.n == n => {
                    sim.set_syncs(syncs);
                    told.store(true, Ordering::Relaxed);
                    Action::Pass
                }
                _ => Action::Pass,
            }
        });
        (plan, shown)
    }
}

/// A machine after a fault, and what had returned by then.
struct Moment {
    machine: SimFs,
    oracle: Oracle,
    at: String,
    /// Commits and a close lie between the fault and this.
    later: bool,
}

/// The script on a disk with a fault.
struct Story {
    sim: SimFs,
    fs: FaultFs,
    cache: Option<Cache>,
    oracle: Oracle,
    op: u64,
}

impl Story {
    fn tell(script: &[Step], n: u64, fault: Fault, keeps: Keeps) -> (Vec<Moment>, u64) {
        let sim = SimFs::new(n);
        let (plan, shown) = fault.plan(n, &sim);
        let mut story = Self {
            fs: FaultFs::new(Arc::new(sim.clone()), plan),
            sim,
            cache: None,
            oracle: Oracle::new(keeps),
            op: 0,
        };
        let mut moments = Vec::new();
        let mut shown_at = 0;
        let untouched = || !shown.load(Ordering::Relaxed);
        story.open();
        for (at, step) in script.iter().enumerate() {
            let before = untouched();
            story.play(*step);
            if before && !untouched() {
                shown_at = at;
                moments.push(story.moment(format!("after step {at}, {step:?}")));
            }
        }
        // Call N was of another kind: a life without a fault, or that of a later N.
        if !untouched() {
            let mut end = story.moment("at the end".to_owned());
            end.later = shown_at < LAST_LIFE;
            moments.push(end);
        }
        // A killed process closes nothing.
        std::mem::forget(story.cache.take());
        (moments, story.fs.calls())
    }

    fn moment(&mut self, at: String) -> Moment {
        // Where no file could be made the log did with those it had.
        if self.cache.as_ref().is_some_and(|c| c.stats().evicted > 0) {
            self.oracle.set_keeps(Keeps::WhatItLikes);
        }
        Moment {
            machine: self.sim.process_crash(),
            oracle: self.oracle.clone(),
            at,
            later: false,
        }
    }

    fn open(&mut self) {
        let opened = Cache::open_with(Arc::new(self.fs.clone()), "/cache", small(1 << 20));
        self.cache = opened.map_err(|e| typed(&e)).ok();
        self.check();
    }

    /// A running cache shows what is right, or nothing.
    fn check(&mut self) {
        let Some(cache) = &self.cache else { return };
        for key in self.oracle.known_keys() {
            let found = cache.get(&key).expect("a read never fails");
            if let Some(found) = found {
                let checked = self.oracle.check_running(&key, Some(&found));
                checked.unwrap_or_else(|why| panic!("while it runs: {why}"));
            }
        }
    }

    /// Plays a step; what fails was issued and not acknowledged.
    fn play(&mut self, step: Step) {
        if step == Step::Reopen {
            self.reopen();
            return;
        }
        let Some(cache) = self.cache.clone() else {
            return;
        };
        self.op += 1;
        match step {
            Step::Put {
                key: number,
                len,
                durable,
            } => {
                let key = key(number);
                let bytes = value(&key, self.op, usize::from(len));
                self.oracle.issued(&key, Some(self.op));
                let done = if durable {
                    cache.insert_durable(&key, &bytes)
                } else {
                    cache.insert(&key, &bytes)
                };
                self.acknowledge(&key, durable, done);
            }
            Step::Remove {
                key: number,
                durable,
            } => {
                let key = key(number);
                self.oracle.issued(&key, None);
                let done = if durable {
                    cache.remove_durable(&key)
                } else {
                    cache.remove(&key)
                };
                self.acknowledge(&key, durable, done);
            }
            Step::Flush => self.barrier(cache.flush()),
            _ => self.barrier(cache.checkpoint()),
        }
        self.check();
    }

    fn acknowledge<T>(&mut self, key: &[u8], durable: bool, done: perennial::Result<T>) {
        match done {
            Ok(_) => self.oracle.acknowledged(key, durable),
            Err(error) => typed(&error),
        }
    }

    fn barrier(&mut self, done: perennial::Result<()>) {
        match done {
            Ok(()) => self.oracle.all_durable(),
            Err(error) => typed(&error),
        }
    }

    fn reopen(&mut self) {
        if let Some(cache) = self.cache.take() {
            self.barrier(cache.close());
        }
        self.open();
    }
}

/// The error is one that a device can cause.
fn typed(error: &perennial::Error) {
    let expected = matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::Full
            | ErrorKind::Poisoned
            | ErrorKind::Closed
            | ErrorKind::Corrupt
            | ErrorKind::Invalid
    );
    assert!(expected, "{:?}: {error}", error.kind());
}

/// What must hold after a crash.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Promise {
    /// Everything.
    All,
    /// It opens or says why not; no wrong bytes, and after a kill none that are stale or removed.
    Safe,
    /// The same, but a power loss right after the fault shows only whole values of the right keys: nothing attests the
    /// last commit (`docs/recovery.md`, not covered).
    SafeLater,
    /// The same, but a power loss may take durable operations back: the device had said that they were.
    SafeBytes,
}

/// Recovers from every crash of a moment on a disk that is well.
fn judge(moment: &Moment, promise: Promise, salt: u64) -> Result<u64, String> {
    let power = (0..2).map(|seed| (Crash::Power, moment.machine.power_loss(salt ^ seed << 32)));
    let kill = std::iter::once((Crash::Kill, moment.machine.process_crash()));
    let mut opens = 0;
    for (crash, image) in kill.chain(power) {
        let fresh = promise == Promise::SafeLater && !moment.later;
        let loose = (promise == Promise::SafeBytes || fresh) && crash == Crash::Power;
        look(&image, &mut moment.oracle.clone(), crash, promise, loose)
            .map_err(|why| format!("{}, {crash:?}: {why}", moment.at))?;
        opens += 2;
    }
    Ok(opens)
}

/// Opens what a crash left, twice, with a durable operation in between.
fn look(
    image: &SimFs,
    oracle: &mut Oracle,
    crash: Crash,
    promise: Promise,
    loose: bool,
) -> Result<(), String> {
    for again in [false, true] {
        let cache = match Cache::open_with(Arc::new(image.clone()), "/cache", small(1 << 20)) {
            Ok(cache) => cache,
            Err(error) if promise == Promise::All => {
                return Err(format!("does not open: {error}"));
            }
            Err(error) => {
                typed(&error);
                return Ok(());
            }
        };
        for key in oracle.known_keys() {
            let found = cache.get(&key).map_err(|e| e.to_string())?;
            match found {
                Some(found) if loose => drop(identify(&key, &found)?),
                None if promise != Promise::All => {}
                found if again => oracle.check_running(&key, found.as_deref())?,
                found => oracle.check_recovered(&key, found.as_deref(), crash)?,
            }
        }
        cache
            .insert_durable("life", "goes on")
            .map_err(|e| e.to_string())?;
        cache.close().map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Every N from 1 until the script makes no N-th call.
fn every_call(fault: Fault, keeps: Keeps, promise: Promise) {
    every_call_of(&SCRIPT, fault, keeps, promise);
}

fn every_call_of(script: &[Step], fault: Fault, keeps: Keeps, promise: Promise) {
    let mut opens = 0;
    for n in 1.. {
        let (moments, calls) = Story::tell(script, n, fault, keeps);
        for moment in &moments {
            match judge(moment, promise, n) {
                Ok(more) => opens += more,
                Err(why) => panic!("{fault:?} at call {n}: {why}"),
            }
        }
        if calls < n {
            println!("{fault:?}: {n} runs, {opens} recoveries");
            break;
        }
    }
}

fn once_and_for_good(what: What, keeps: Keeps, promise: Promise) {
    // An interrupted call is made again, however often: it must end some time.
    let many = match what {
        What::Do(Action::FailRaw(EINTR), _) => 40,
        _ => FOR_GOOD,
    };
    for calls in [1, many] {
        every_call(Fault { what, calls }, keeps, promise);
    }
}

const WRITES: &[CallKind] = &[CallKind::Write];
const READS: &[CallKind] = &[CallKind::Read];
const TRANSFERS: &[CallKind] = &[CallKind::Read, CallKind::Write];
/// Calls that fail without costing a cache an entry that it has.
const CHANGES: &[CallKind] = &[
    CallKind::Write,
    CallKind::SyncData,
    CallKind::SyncDir,
    CallKind::Allocate,
    CallKind::Rename,
    CallKind::Remove,
    CallKind::Create,
];
const SYNCS: &[CallKind] = &[CallKind::SyncData, CallKind::SyncDir];

const FOR_GOOD: u64 = u64::MAX;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EINTR: i32 = 4;
const EMFILE: i32 = 24;
const NUMBERS: [i32; 4] = [EIO, ENOSPC, EINTR, EMFILE];

#[test]
fn a_change_that_fails_loses_nothing_that_was_acknowledged() {
    for number in NUMBERS {
        let what = What::Do(Action::FailRaw(number), CHANGES);
        once_and_for_good(what, Keeps::Everything, Promise::All);
    }
}

#[test]
fn any_call_that_fails_costs_no_more_than_entries() {
    for number in NUMBERS {
        let what = What::Do(Action::FailRaw(number), &[]);
        once_and_for_good(what, Keeps::WhatItLikes, Promise::All);
    }
}

#[test]
fn short_transfers_cost_nothing() {
    for bytes in [1, 700] {
        let what = What::Do(Action::Short(bytes), TRANSFERS);
        let fault = |calls| Fault { what, calls };
        every_call(fault(1), Keeps::Everything, Promise::All);
        // A byte at a time for ever takes too long to try at every call.
        if bytes > 512 {
            every_call(fault(FOR_GOOD), Keeps::Everything, Promise::All);
        }
    }
}

#[test]
fn what_a_failed_sync_gave_up_is_never_counted_on() {
    for shows in [Shows::New, Shows::Old] {
        let fault = |syncs| Fault {
            what: What::Sync(syncs),
            calls: 1,
        };
        let once = fault(Syncs::FailOnce(shows));
        every_call_of(&in_the_tail(), once, Keeps::Everything, Promise::All);
        // An extent lies in its segment only. Where reads show what was there before, it is gone, and its key is a miss.
        let keeps = match shows {
            Shows::New => Keeps::Everything,
            Shows::Old => Keeps::WhatItLikes,
        };
        every_call(once, keeps, Promise::All);
        // An open that can sync no new file takes the oldest segment's, and then fails all the same: entries are gone.
        let for_good = fault(Syncs::Fail(shows));
        every_call(for_good, Keeps::WhatItLikes, Promise::All);
    }
}

#[test]
fn a_sync_that_lies_takes_back_and_makes_nothing_up() {
    let what = What::Do(Action::Skip, SYNCS);
    once_and_for_good(what, Keeps::WhatItLikes, Promise::SafeBytes);
}

#[test]
fn a_lost_write_shows_nothing_older() {
    let what = What::Do(Action::Skip, WRITES);
    let fault = Fault { what, calls: 1 };
    every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
}

#[test]
fn a_misdirected_write_shows_nothing_older_and_nothing_else() {
    for action in [
        Action::OtherFile,
        Action::Misdirect(0),
        Action::Misdirect(1_024),
        Action::Misdirect(4_096),
    ] {
        let what = What::Do(action, WRITES);
        let fault = Fault { what, calls: 1 };
        every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
    }
}

#[test]
fn a_misdirected_read_shows_nothing_older_and_nothing_else() {
    for action in [
        Action::OtherFile,
        Action::Misdirect(0),
        Action::Misdirect(1_024),
        Action::Misdirect(4_096),
    ] {
        let what = What::Do(action, READS);
        let fault = Fault { what, calls: 1 };
        every_call(fault, Keeps::WhatItLikes, Promise::Safe);
    }
}

#[test]
fn a_bit_that_flips_on_the_way_is_found() {
    for bit in [3, 1_000, 4_097] {
        for kinds in [READS, WRITES] {
            let what = What::Do(Action::FlipBit(bit), kinds);
            let fault = Fault { what, calls: 1 };
            every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
        }
    }
}
