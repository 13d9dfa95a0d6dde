//! Hole 24: zeros that a commit writes ahead, and large values that are written there meanwhile.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use perennial::Cache;
use perennial_failpoints::lab::{Keeps, Step, key};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use super::crashed;
use super::played::with_the_same_mutants;
use crate::driver::{Perennial, small};

/// More than the first few, which get no zeros.
const COMMITS: u8 = 10;
const MIB: u64 = 1 << 20;
/// Written in three pieces, of which two have a MiB.
const LARGE: usize = 2_500_000;

/// Which calls are held.
#[derive(Clone, Copy)]
enum Held {
    /// The commit's own write, then pieces of the large value: the second MiB, and the rest until the commit is finished. So
    /// the first MiB is there when the zeros come, and nobody has been told of it.
    TheFrame,
    /// The commit's zeros, while the large value is reserved behind them.
    TheZeros,
}

fn holding(held: Held) -> Plan {
    let (mut small, mut large) = (0, 0);
    Plan::new(move |call: &Call<'_>| {
        if call.kind != CallKind::Write {
            return Action::Pass;
        }
        let is_large = small > 0 && call.len >= MIB / 4;
        small += u64::from(!is_large);
        large += u64::from(is_large);
        let hold = match held {
            Held::TheFrame if is_large => large == 2 || call.len < MIB,
            Held::TheFrame => small == 1,
            Held::TheZeros => is_large && large == 1,
        };
        if hold { Action::Hold } else { Action::Pass }
    })
}

/// Until `count` calls are held, or `said` so: what is to be held may not come.
fn until_held(fs: &FaultFs, count: u64, said: impl Fn() -> bool) {
    while fs.held() < count && !said() {
        thread::yield_now();
    }
}

/// Commits, and beside each a large value that another thread writes.
fn large_values_beside_commits(held: Held) -> Result<(), String> {
    let told = |error: perennial::Error| error.to_string();
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = small(256 << 20)
        .segment_bytes(32 << 20)
        .tail_bytes(64 << 10);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).map_err(told)?;
    for n in 0..COMMITS {
        fs.set_plan(holding(held));
        let insert = |n: u8, len: usize, durable: bool| {
            let cache = cache.clone();
            with_the_same_mutants(move || {
                let stored = if durable {
                    cache.insert_durable(key(n), vec![n; len])
                } else {
                    cache.insert(key(n), vec![n; len])
                };
                stored.map(drop).map_err(|error| error.to_string())
            })
        };
        thread::scope(|scope| {
            let small = scope.spawn(insert(n, 100, true));
            until_held(&fs, 1, || small.is_finished());
            let large = scope.spawn(insert(100 + n, LARGE, false));
            if let Held::TheFrame = held {
                until_held(&fs, 2, || large.is_finished());
                fs.let_go();
                // It waits for nobody; only the large value's last piece is held now.
                while !small.is_finished() {
                    thread::yield_now();
                }
                until_held(&fs, 1, || large.is_finished());
            } else {
                // As long as it takes one that waits for nobody; who waits, waits for as long as it is told to.
                for _ in 0..100 {
                    if large.is_finished() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            fs.set_plan(Plan::none());
            fs.let_go();
            let said = [small.join(), large.join()];
            said.into_iter()
                .try_for_each(|said| said.unwrap_or_else(|_| Err("panicked".to_owned())))
        })?;
    }
    for n in 0..COMMITS {
        for (n, len) in [(n, 100), (100 + n, LARGE)] {
            match cache.get(key(n)).map_err(told)? {
                Some(found) if *found == vec![n; len] => {}
                found => {
                    let found = found.map(|value| value.len());
                    return Err(format!("seed 1: key {n} shows {found:?} bytes"));
                }
            }
        }
    }
    Ok(())
}

/// The zeros are behind everything that was reserved before them, and in front of everything that is reserved later.
#[test]
pub(crate) fn hole_24_zeros_come_over_no_extent() -> Result<(), String> {
    [Held::TheFrame, Held::TheZeros]
        .into_iter()
        .try_for_each(large_values_beside_commits)
}

/// Many small commits in a segment whose space is new, large values between them, and in segments that are used again.
#[test]
pub(crate) fn hole_24_zeros_ahead_change_nothing() -> Result<(), String> {
    let put = |n: u8| {
        let small = Step::put(n % 5, 20 + u16::from(n)).durable();
        let large = Step::put(5 + n % 3, 2_500);
        if n % 7 == 6 { large } else { small }
    };
    let mut script: Vec<_> = (0..16).map(put).collect();
    script.push(Step::Reopen);
    script.extend((0..12).map(put));
    let options = |capacity| small(capacity).segment_bytes(16 << 10);
    let new = Perennial(options(1 << 20));
    crashed("hole 24, zeros ahead", &new, Keeps::Everything, &script)?;
    script.splice(0..0, (0..60).map(|n| Step::put(n % 8, 900)));
    let again = Perennial(options(160 << 10));
    crashed("hole 24, used again", &again, Keeps::WhatItLikes, &script)
}
