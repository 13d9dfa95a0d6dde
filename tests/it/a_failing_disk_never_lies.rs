//! The N-th system call fails, for every N: every error is one of ours, reads stay right, and what is found afterwards
//! is what was promised.

use std::io::ErrorKind as Io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perennial::{Cache, Error, ErrorKind, Options};
use perennial_failpoints::lab::{Crash, Keeps, Oracle, identify, value};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::small::{self, DIR, Rng};

/// A fault: what happens at a call and how often.
#[derive(Debug, Clone, Copy)]
struct Fault {
    action: Action,
    sticky: bool,
    /// Reads are spared and nothing is evicted: then nothing that was acknowledged may be missing afterwards.
    exact: bool,
}

impl Fault {
    fn options(self) -> Options {
        small::options().capacity_bytes(if self.exact { 4 << 20 } else { 64 << 10 })
    }

    fn plan(self, n: u64) -> Plan {
        Plan::new(move |call| {
            let hit = call.n == n || (self.sticky && call.n > n);
            // Interruptions and short transfers are things that happen to reads and writes.
            let fits = match self.action {
                Action::Fail(Io::Interrupted) | Action::Short(_) => {
                    matches!(call.kind, CallKind::Read | CallKind::Write)
                }
                _ => {
                    !self.exact
                        || !matches!(call.kind, CallKind::Read | CallKind::Open | CallKind::Len)
                }
            };
            if hit && fits {
                self.action
            } else {
                Action::Pass
            }
        })
    }
}

/// A scripted life on a disk with a fault.
struct Story {
    name: String,
    fs: FaultFs,
    options: Options,
    oracle: Oracle,
    rng: Rng,
    op: u64,
    errors: Vec<Error>,
}

impl Story {
    fn new(sim: &SimFs, n: u64, fault: Fault) -> Self {
        Self {
            name: format!("{fault:?} at call {n}"),
            fs: FaultFs::new(Arc::new(sim.clone()), fault.plan(n)),
            options: fault.options(),
            oracle: Oracle::new(if fault.exact {
                Keeps::Everything
            } else {
                Keeps::WhatItLikes
            }),
            rng: Rng(3),
            op: 0,
            errors: Vec::new(),
        }
    }

    /// Two lives of about thirty operations each, some of them large enough that segments are given up.
    fn tell(&mut self) {
        for _ in 0..2 {
            let opened = self.open();
            let Some(cache) = self.note(opened) else {
                continue;
            };
            self.check(&cache, "right after the open");
            for _ in 0..32 {
                self.step(&cache);
            }
            self.check(&cache, "in the end");
            let closed = cache.close();
            if self.note(closed).is_some() {
                self.oracle.all_durable();
            }
        }
        // The last life ends in the middle of its work.
        let opened = self.open();
        if let Some(cache) = self.note(opened) {
            self.check(&cache, "the last time");
            for _ in 0..8 {
                self.step(&cache);
            }
            self.check(&cache, "before the end");
            std::mem::forget(cache);
        }
    }

    fn open(&self) -> Result<Cache, Error> {
        Cache::open_with(Arc::new(self.fs.clone()), DIR, self.options.clone())
    }

    /// Keeps the error, which is one of ours and says something.
    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result
            .map_err(|error| {
                let expected = matches!(
                    error.kind(),
                    ErrorKind::Io | ErrorKind::Full | ErrorKind::Poisoned | ErrorKind::Closed
                );
                assert!(expected, "{:?}: {error}", error.kind());
                assert!(!error.to_string().is_empty());
                self.errors.push(error);
            })
            .ok()
    }

    fn step(&mut self, cache: &Cache) {
        self.op += 1;
        let key = format!("key-{}", self.rng.below(10)).into_bytes();
        let what = self.rng.below(16);
        match what {
            0..=2 => {
                let removed = if what == 0 {
                    cache.remove_durable(&key)
                } else {
                    cache.remove(&key)
                };
                let done = self.note(removed).is_some();
                self.happened(&key, None, done, what == 0);
            }
            3 => {
                let flushed = cache.flush();
                if self.note(flushed).is_some() {
                    self.oracle.all_durable();
                }
            }
            4 => {
                let written = cache.checkpoint();
                if self.note(written).is_some() {
                    self.oracle.all_durable();
                }
            }
            5 => {
                let found = cache.get(&key).expect("a read never fails");
                self.oracle.check_running(&key, found.as_deref()).unwrap();
            }
            _ => {
                let len = [100, 300, 800, 2_500][usize::try_from(self.rng.below(4)).unwrap()];
                let value = value(&key, self.op, len);
                let durable = what < 8;
                let inserted = if durable {
                    cache.insert_durable(&key, &value)
                } else {
                    cache.insert(&key, &value)
                };
                let done = self.note(inserted).is_some();
                self.happened(&key, Some(self.op), done, durable);
            }
        }
    }

    fn happened(&mut self, key: &[u8], op: Option<u64>, done: bool, durable: bool) {
        if done {
            self.oracle.returned(key, op, durable);
        } else {
            self.oracle.issued(key, op);
        }
    }

    fn check(&mut self, cache: &Cache, when: &str) {
        // Where no further file can be made the log does with those it has, and says what that cost.
        if cache.stats().evicted > 0 {
            self.oracle.set_keeps(Keeps::WhatItLikes);
        }
        for key in self.oracle.known_keys() {
            let found = cache.get(&key).expect("a read never fails");
            if let Err(why) = self.oracle.check_running(&key, found.as_deref()) {
                panic!(
                    "{}, {when}: {why}; after {:?}",
                    self.name,
                    self.errors.first()
                );
            }
        }
    }
}

/// One run with `fault` at call `n`; returns how many calls there were.
fn run(n: u64, fault: Fault) -> (u64, usize) {
    let sim = SimFs::new(n);
    let mut story = Story::new(&sim, n, fault);
    story.tell();
    for (crash, after) in [
        (Crash::Kill, sim.process_crash()),
        (Crash::Power, sim.power_loss(n)),
        (Crash::Power, sim.power_loss(n ^ 0xabc)),
        (Crash::Power, sim.process_crash().power_loss(n ^ 0xdef)),
    ] {
        let cache = small::open(&after, fault.options()).expect("opens on a good disk");
        if let Err(why) = small::check(&cache, &story.oracle, crash) {
            panic!(
                "{fault:?} at call {n}, {crash:?}: {why}; after {:?}",
                story.errors.first()
            );
        }
        cache
            .insert_durable("life", "goes on")
            .expect("life goes on");
        cache.close().expect("closes on a good disk");
    }
    (story.fs.calls(), story.errors.len())
}

/// Every N from 1 until the script makes no N-th call.
fn every_call(fault: Fault) {
    let mut failures = 0;
    for n in 1.. {
        let (calls, errors) = run(n, fault);
        failures += errors;
        if calls < n {
            println!("{fault:?}: {n} runs, {failures} errors");
            break;
        }
    }
    let invisible = matches!(
        fault.action,
        Action::Fail(Io::Interrupted) | Action::Short(_)
    );
    assert_eq!(failures == 0, invisible, "{failures} errors");
}

/// EIO.
const IO: Action = Action::FailRaw(5);
/// ENOSPC.
const NO_SPACE: Action = Action::FailRaw(28);

const fn fault(action: Action, sticky: bool, exact: bool) -> Fault {
    Fault {
        action,
        sticky,
        exact,
    }
}

#[test]
fn a_device_that_fails_once() {
    every_call(fault(IO, false, false));
    every_call(fault(IO, false, true));
}

#[test]
fn a_device_that_fails_from_then_on() {
    every_call(fault(IO, true, false));
    every_call(fault(IO, true, true));
}

#[test]
fn a_disk_that_is_full_once() {
    every_call(fault(NO_SPACE, false, false));
    every_call(fault(NO_SPACE, false, true));
}

#[test]
fn a_disk_that_is_full_from_then_on() {
    every_call(fault(NO_SPACE, true, false));
    every_call(fault(NO_SPACE, true, true));
}

#[test]
fn interruptions_and_short_transfers_are_invisible() {
    for exact in [false, true] {
        every_call(fault(Action::Fail(Io::Interrupted), false, exact));
        every_call(fault(Action::Short(0x2bd), false, exact));
        every_call(fault(Action::Short(1), false, exact));
        // For ever: every transfer stops in the middle of its second sector.
        let (_, errors) = run(1, fault(Action::Short(700), true, exact));
        assert_eq!(errors, 0);
    }
}

#[test]
fn a_failed_sync_poisons_writes_and_reads_go_on() {
    let sim = SimFs::new(1);
    let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, small::options()).unwrap();
    cache.insert_durable("before", "1").unwrap();
    cache.insert("plain", "2").unwrap();
    fs.set_plan(Plan::fail_matching(CallKind::SyncData, Io::Other));
    assert_eq!(cache.flush().unwrap_err().kind(), ErrorKind::Poisoned);
    // The device is well again; what it kept is not known, and nothing is tried again.
    fs.set_plan(Plan::none());
    let kinds = [
        cache.insert("a", "b").unwrap_err(),
        cache.insert_durable("a", "b").unwrap_err(),
        cache.insert("large", [0; 3_000]).unwrap_err(),
        cache
            .insert_with_len("a", 1, |_| Ok::<_, Error>(()))
            .unwrap_err(),
        cache.remove("before").unwrap_err(),
        cache.remove_durable("before").unwrap_err(),
        cache.flush().unwrap_err(),
        cache.checkpoint().unwrap_err(),
    ];
    for error in kinds {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        assert!(error.to_string().contains("open it again"), "{error}");
    }
    assert_eq!(&*cache.get("before").unwrap().unwrap(), b"1");
    assert_eq!(&*cache.get("plain").unwrap().unwrap(), b"2");
    let fetched = cache.get_or_fetch("new", || Ok::<_, Error>(b"fetched".to_vec()));
    assert_eq!(&*fetched.unwrap(), b"fetched");
    assert!(cache.get("new").unwrap().is_none());
    assert_eq!(cache.close().unwrap_err().kind(), ErrorKind::Poisoned);
    let cache = small::open(&sim, small::options()).unwrap();
    assert_eq!(&*cache.get("plain").unwrap().unwrap(), b"2");
}

/// With threads behind the callers the count says little about what fails; but nobody may wait for ever.
#[test]
fn a_device_that_fails_under_eight_threads_leaves_nobody_waiting() {
    for n in (20..220).step_by(10) {
        let fs = FaultFs::new(
            Arc::new(SimFs::new(n)),
            fault(IO, n % 20 == 0, false).plan(n),
        );
        let Ok(cache) = Cache::open_with(Arc::new(fs), DIR, small::options().background(true))
        else {
            continue;
        };
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let cache = &cache;
                scope.spawn(move || {
                    let key = format!("key-{thread}").into_bytes();
                    for op in 1..200 {
                        let durable = op % 16 == thread;
                        let bytes = value(&key, op, 400);
                        let done = if durable {
                            cache.insert_durable(&key, &bytes)
                        } else {
                            cache.insert(&key, &bytes)
                        };
                        let found = cache.get(&key).expect("a read never fails");
                        let shown = found.map(|found| identify(&key, &found).unwrap());
                        match done {
                            Ok(_) => assert!(shown.is_none_or(|shown| shown == op)),
                            Err(_) => assert!(shown.is_none_or(|shown| shown <= op)),
                        }
                    }
                });
            }
        });
        drop(cache);
    }
}
#[test]
fn a_large_insert_that_fails_costs_nothing_else() {
    let sim = SimFs::new(1);
    let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, small::options()).unwrap();
    cache.insert("plain", "1").unwrap();
    cache.insert_durable("durable", "2").unwrap();
    fs.set_plan(Plan::fail_matching(CallKind::Write, Io::Other));
    let error = cache.insert("large", [3; 3_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
    drop(cache);
    let cache = small::open(&sim, small::options()).unwrap();
    assert_eq!(&*cache.get("plain").unwrap().unwrap(), b"1");
    assert_eq!(&*cache.get("durable").unwrap().unwrap(), b"2");
    assert!(cache.get("large").unwrap().is_none());
    assert_eq!((cache.stats().damaged, cache.stats().forgotten_all), (0, 0));
}

/// Found by the loops above: the header of a new segment was lost together with the tail, and with them everything.
#[test]
fn power_lost_while_a_segment_is_made_costs_nothing_durable() {
    let mut made = 0;
    for n in 1..200 {
        let sim = SimFs::new(n);
        let seen = Arc::new(AtomicBool::new(false));
        let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
        let cache = Cache::open_with(Arc::new(fs.clone()), DIR, small::options()).unwrap();
        cache.insert_durable("durable", "1").unwrap();
        // The header of the next segment is written and never synced.
        let told = Arc::clone(&seen);
        // The file is blanked and synced, then sized; only then comes the header.
        let (mut sized, mut header_written) = (false, false);
        fs.set_plan(Plan::new(move |call| {
            let dies = header_written && call.kind == CallKind::SyncData;
            sized |= call.kind == CallKind::Allocate;
            header_written |= sized && call.kind == CallKind::Write && call.offset == 0;
            if dies {
                told.store(true, Ordering::Relaxed);
                Action::Fail(Io::Other)
            } else {
                Action::Pass
            }
        }));
        while cache.insert("filler", [0; 700]).is_ok() {}
        made += u32::from(seen.load(Ordering::Relaxed));
        std::mem::forget(cache);
        let cache = small::open(&sim.power_loss(n), small::options()).unwrap();
        assert!(
            cache.get("durable").unwrap().is_some(),
            "seed {n}: {}",
            cache.stats()
        );
    }
    assert!(made > 100, "{made}");
}

/// Its place is a hole, also where another insert had put something behind it by then.
#[test]
fn a_large_value_whose_write_fails_costs_no_other_entry() {
    const EIO: i32 = 5;
    let sim = SimFs::new(1);
    let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
    let options = || small::options().capacity_bytes(4 << 20);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    cache.insert_durable("durable", "1").unwrap();
    cache.insert("plain", "2").unwrap();
    let (meanwhile, once) = (cache.clone(), AtomicBool::new(true));
    fs.set_plan(Plan::new(move |call| {
        if call.kind != CallKind::Write || !once.swap(false, Ordering::Relaxed) {
            return Action::Pass;
        }
        let inserted = perennial_wal::filling(|| meanwhile.insert("behind", "3"));
        assert!(inserted.is_ok(), "it stays in the ring");
        Action::FailRaw(EIO)
    }));
    cache.insert("large", [7; 1_500]).unwrap_err();
    fs.set_plan(Plan::none());
    // Who waits for the log is told, and does not wait for a place that nobody fills.
    assert_eq!(cache.flush().unwrap_err().kind(), ErrorKind::Poisoned);
    let killed = sim.process_crash();
    drop(cache);
    for left in [killed, sim] {
        let again = Cache::open_with(Arc::new(left), DIR, options()).unwrap();
        for key in ["durable", "plain", "behind"] {
            assert!(again.contains(key).unwrap(), "{key}: {}", again.stats());
        }
        assert_eq!(again.get("large").unwrap(), None);
    }
}
