//! The N-th call fails, or is silently not what it says, for every N; then a kill or a power loss; then a recovery on a
//! disk that is well again. The lab's oracle decides.
//!
//! Errors that callers see at length are in `tests/it/a_failing_disk_never_lies.rs`, rot at rest in
//! `tests/it/rot_is_a_miss.rs`. Here every crash comes twice: when the fault has just shown, and at the end.

mod judge;
mod silent;
mod story;
mod syncs;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perennial_failpoints::lab::{Keeps, Step};
use perennial_failpoints::{Action, Call, CallKind, Plan, SimFs, Syncs};

use crate::driver::CHECKPOINT;
use judge::{Promise, judge};
use story::Story;

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

const FOR_GOOD: u64 = u64::MAX;

const EINTR: i32 = 4;
