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

const COMMITS: u8 = 10;
/// Too large for an io buffer.
const LARGE: usize = 3_000;

/// Holds write `nth` of those that come from now on.
fn holding(nth: u64) -> Plan {
    let mut writes = 0;
    Plan::new(move |call: &Call<'_>| {
        writes += u64::from(call.kind == CallKind::Write);
        if writes == nth && call.kind == CallKind::Write {
            writes += 1;
            return Action::Hold;
        }
        Action::Pass
    })
}

/// While write `nth` of a commit is under way, another thread writes a large value behind all that is reserved. Every commit
/// of a segment's first ones, so that the one which writes zeros is among them.
fn a_large_value_beside_write(nth: u64) -> Result<(), String> {
    let told = |error: perennial::Error| error.to_string();
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = small(1 << 20).segment_bytes(64 << 10).tail_bytes(8 << 10);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).map_err(told)?;
    for n in 0..COMMITS {
        fs.set_plan(holding(nth));
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
            while fs.held() == 0 && !small.is_finished() {
                thread::yield_now();
            }
            let large = scope.spawn(insert(100 + n, LARGE, false));
            // As long as it takes one that waits for nobody; who waits, waits for as long as it is told to.
            for _ in 0..100 {
                if large.is_finished() {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
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
                    return Err(format!(
                        "seed 1: key {n} shows {found:?} bytes, write {nth} held"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The zeros are behind everything that was reserved before them, and in front of everything that is reserved later.
#[test]
pub(crate) fn hole_24_zeros_come_over_no_extent() -> Result<(), String> {
    (1..=2).try_for_each(a_large_value_beside_write)
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
