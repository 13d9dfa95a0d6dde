//! The N-th system call fails, once or from then on, while three threads use the cache and two of its own work for it:
//! nobody panics, nobody waits for ever, no answer is wrong, the state is the one that the fault leads to, and there is
//! service again once the fault is gone.
//!
//! What the N-th call is depends on the threads. A call without an end, one that is interrupted for ever, is left out.

use std::collections::BTreeMap;
use std::io::ErrorKind as Io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use perennial::{Cache, Error, ErrorKind, HealthState, OnIoError, Options, Result};
use perennial_failpoints::lab::{identify, value};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::small::{self, DIR, Rng};

const THREADS: u64 = 3;
const OPERATIONS: u64 = 60;
/// So far apart are the calls that are tried; one of them each time, with the environment's `PERENNIAL_LAB` from 10 on.
const APART: usize = 13;

#[derive(Debug, Clone, Copy)]
struct Fault {
    action: Action,
    sticky: bool,
}

impl Fault {
    /// Nobody may notice it.
    fn is_invisible(self) -> bool {
        matches!(
            self.action,
            Action::Fail(Io::Interrupted) | Action::Short(_)
        )
    }

    fn plan(self, n: u64) -> Plan {
        Plan::new(move |call| {
            let hit = call.n == n || (self.sticky && call.n > n);
            let transfers = matches!(call.kind, CallKind::Read | CallKind::Write);
            if hit && (transfers || !self.is_invisible()) {
                self.action
            } else {
                Action::Pass
            }
        })
    }
}

/// What is known of a key that one thread writes: the last operation that returned, that is durable, that was begun.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    returned: u64,
    durable: u64,
    issued: u64,
}

type Book = BTreeMap<Vec<u8>, Known>;

/// A value may be missing, for something is evicted all the time; it may not be another.
fn judge(cache: &Cache, key: &[u8], allowed: RangeInclusive<u64>) {
    match cache.get(key) {
        Ok(None) => {}
        Ok(Some(found)) => {
            let op = identify(key, &found).expect("a value of this key, whole");
            assert!(allowed.contains(&op), "{op} of {allowed:?}");
        }
        Err(error) => {
            let state = cache.health().state;
            assert_eq!(state, HealthState::Failed, "a read never fails: {error}");
        }
    }
}

/// One thread's work; returns what it knows of its keys, and what it was answered.
fn work(cache: &Cache, thread: u64, seed: u64) -> (Book, Vec<Error>) {
    let (mut book, mut errors) = (Book::new(), Vec::new());
    let mut rng = Rng(seed * THREADS + thread);
    for op in 1..=OPERATIONS {
        let key = format!("{thread}/{}", rng.below(6)).into_bytes();
        let known = book.entry(key.clone()).or_default();
        let what = rng.below(16);
        let durable = what % 8 == 1;
        let done: Result<()> = match what {
            0 => cache.flush(),
            2 if thread == 0 => cache.checkpoint(),
            3 | 9 => {
                known.issued = op;
                match durable {
                    true => cache.remove_durable(&key),
                    false => cache.remove(&key),
                }
            }
            _ => {
                known.issued = op;
                let len = [100, 400, 700, 2_500][usize::try_from(rng.below(4)).unwrap()];
                let bytes = value(&key, op, len);
                let inserted = match durable {
                    true => cache.insert_durable(&key, &bytes),
                    false => cache.insert(&key, &bytes),
                };
                inserted.map(drop)
            }
        };
        match done {
            Ok(()) if known.issued == op => {
                known.returned = op;
                known.durable = if durable { op } else { known.durable };
            }
            Ok(()) => {}
            Err(error) => errors.push(error),
        }
        judge(cache, &key, known.returned..=known.issued);
    }
    (book, errors)
}

fn options(policy: OnIoError) -> Options {
    small::options().background(true).on_io_error(policy)
}

/// What must be there, or newer, after a crash.
fn check_recovered(sim: &SimFs, book: &Book, floor: impl Fn(&Known) -> u64) {
    let cache = small::open(sim, small::options()).expect("opens on a good disk");
    for (key, known) in book {
        judge(&cache, key, floor(known)..=known.issued);
    }
    cache.insert_durable("life", "goes on").unwrap();
    cache.close().unwrap();
}

/// One run with the fault at call `n`; returns how many calls there were.
fn run(n: u64, fault: Fault, policy: OnIoError) -> u64 {
    let sim = SimFs::new(n);
    let fs = FaultFs::new(Arc::new(sim.clone()), fault.plan(n));
    let open = || Cache::open_with(Arc::new(fs.clone()), DIR, options(policy));
    let cache = match open() {
        Ok(cache) => cache,
        Err(error) => {
            let kinds = [ErrorKind::Io, ErrorKind::Full, ErrorKind::Poisoned];
            assert!(
                kinds.contains(&error.kind()) && !fault.is_invisible(),
                "{error}"
            );
            fs.set_plan(Plan::none());
            open().expect("opens on a good disk")
        }
    };
    let worked = thread::scope(|scope| {
        let work = |thread| {
            let cache = &cache;
            scope.spawn(move || work(cache, thread, n))
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    let calls = fs.calls();
    let (books, errors): (Vec<_>, Vec<_>) = worked.into_iter().unzip();
    let book: Book = books.into_iter().flatten().collect();
    let errors = errors.concat();
    fs.set_plan(Plan::none());

    let health = cache.health();
    let stays = health.state != HealthState::Healthy && !health.passes();
    for error in &errors {
        let poisoned = error.kind() == ErrorKind::Poisoned;
        let passes = matches!(error.kind(), ErrorKind::Io | ErrorKind::Full);
        assert!(if poisoned { stays } else { passes }, "{error}; {health}");
    }
    if fault.is_invisible() {
        assert!(errors.is_empty() && health.changes == 0, "{health}");
    }
    let (killed, unpowered) = (sim.process_crash(), sim.power_loss(n));
    if stays {
        let expected = match policy {
            OnIoError::ReadOnly => HealthState::ReadOnly,
            OnIoError::MemoryOnly => HealthState::MemoryOnly,
            _ => HealthState::Failed,
        };
        assert_eq!(health.state, expected);
        let refused = cache.insert_durable("after", "the fault").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
        assert!(cache.close().is_err());
        let again = open().expect("opens on a good disk");
        again.insert_durable("after", "the fault").unwrap();
    } else {
        for n in 0..40_u32 {
            cache.insert(n.to_le_bytes(), [1; 400]).unwrap();
        }
        cache.insert_durable("after", "the fault").unwrap();
        assert_eq!(cache.health().state, HealthState::Healthy, "{health}");
        cache.close().unwrap();
    }
    check_recovered(&killed, &book, |known| known.returned);
    check_recovered(&unpowered, &book, |known| known.durable);
    calls
}

/// The same, on a thread that is not waited for for ever.
fn run_or_hang(n: u64, fault: Fault, policy: OnIoError) -> u64 {
    let (send, ended) = channel();
    let body = move || send.send(run(n, fault, policy));
    let runs = thread::Builder::new().spawn(body).unwrap();
    match ended.recv_timeout(Duration::from_secs(120)) {
        Ok(calls) => calls,
        Err(_) if runs.is_finished() => panic!("{fault:?} at call {n} with {policy:?}"),
        Err(_) => panic!("somebody waits for ever: {fault:?} at call {n} with {policy:?}"),
    }
}

fn every_call(action: Action, sticky: bool) {
    let lab = std::env::var("PERENNIAL_LAB").ok();
    let far = lab.and_then(|n| n.parse().ok()).unwrap_or(1_u32) >= 10;
    let policies = [
        OnIoError::ReadOnly,
        OnIoError::MemoryOnly,
        OnIoError::FailStop,
    ];
    let fault = Fault { action, sticky };
    let apart = if far { 1 } else { APART };
    for (n, policy) in (1..).step_by(apart).zip(policies.into_iter().cycle()) {
        if run_or_hang(n, fault, policy) < n {
            println!("{fault:?}: up to call {n}, every {apart}");
            break;
        }
    }
}

#[test]
fn eio() {
    every_call(Action::FailRaw(5), false);
    every_call(Action::FailRaw(5), true);
}

#[test]
fn no_space() {
    every_call(Action::FailRaw(28), false);
    every_call(Action::FailRaw(28), true);
}

#[test]
fn no_handles() {
    every_call(Action::FailRaw(24), false);
    every_call(Action::FailRaw(24), true);
}

#[test]
fn short_transfers() {
    every_call(Action::Short(0x2bd), false);
    every_call(Action::Short(700), true);
}

#[test]
fn interruptions() {
    every_call(Action::Fail(Io::Interrupted), false);
}
