//! Hole 12, where the media says so: what a recovery cannot read is damage, and never space that nobody wrote to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::lab::{Crash, Driver, Keeps, Oracle, Store};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use super::failing_syncs::{WRITES, play};
use crate::driver::{Perennial, small};

const EIO: i32 = 5;
const LIFE: &[u8] = b"life";
const SECTOR: u64 = 512;

fn driver() -> Perennial {
    Perennial(small(1 << 20))
}

/// The machine after each step of the script: killed, and without power.
fn crashed() -> Result<Vec<(SimFs, Oracle, Crash)>, String> {
    let mut all = Vec::new();
    for steps in 1..=WRITES.len() {
        let machine = SimFs::new(1);
        let mut oracle = Oracle::new(Keeps::WhatItLikes);
        let store = driver().open(Arc::new(machine.clone()))?;
        play(&store, &mut oracle, &WRITES[..steps])?;
        let killed = machine.process_crash();
        // The process ends here; it closes nothing.
        std::mem::forget(store);
        let dark = machine.power_loss(steps as u64);
        all.push((killed, oracle.clone(), Crash::Kill));
        all.push((dark, oracle, Crash::Power));
    }
    Ok(all)
}

/// Opens the machine through `plan`, and then, whatever came of it, as it is; the power fails in between.
fn judge(machine: &SimFs, oracle: &Oracle, crash: Crash, plan: Plan) -> Result<(), String> {
    let (machine, mut oracle) = (machine.process_crash(), oracle.clone());
    let fs = FaultFs::new(Arc::new(machine.clone()), plan);
    let mut goes_on = false;
    if let Ok(store) = driver().open(Arc::new(fs)) {
        look(&store, &mut oracle, crash)?;
        store.put(LIFE, b"goes on", true)?;
        goes_on = true;
        std::mem::forget(store);
    }
    for seed in 0..2 {
        let store = driver().open(Arc::new(machine.power_loss(seed)))?;
        look(&store, &mut oracle.clone(), Crash::Power)?;
        if goes_on && store.get(LIFE)?.is_none() {
            return Err("what was durable after the recovery is gone".to_owned());
        }
        std::mem::forget(store);
    }
    Ok(())
}

fn look(store: &impl Store, oracle: &mut Oracle, crash: Crash) -> Result<(), String> {
    for key in oracle.known_keys() {
        let found = store.get(&key)?;
        oracle.check_recovered(&key, found.as_deref(), crash)?;
    }
    Ok(())
}

/// A place of a file that cannot be read until it is written over.
fn bad_sector(name: String, place: Range<u64>) -> Plan {
    let mut bad = true;
    Plan::new(move |call: &Call<'_>| {
        let touches = call.offset < place.end && place.start < call.offset + call.len;
        if !bad || call.name != name || !touches {
            return Action::Pass;
        }
        bad = call.kind != CallKind::Write;
        match call.kind {
            CallKind::Read => Action::FailRaw(EIO),
            _ => Action::Pass,
        }
    })
}

/// After a kill and after lost power each sector of each segment is unreadable in turn, that of the newest durable entry among them: what the
/// entry replaced does not show.
#[test]
pub(crate) fn hole_12_a_bad_sector_was_written() -> Result<(), String> {
    let mut tried = 0;
    for (nth, (machine, oracle, crash)) in (0..).zip(crashed()?) {
        let steps = 1 + nth / 2;
        for name in machine.file_names(Path::new("/cache")) {
            let content = machine.read_file(&Path::new("/cache").join(&name));
            let written = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
            let content = content.unwrap_or_default();
            for (n, bytes) in (0..).zip(content.chunks(512)) {
                if !name.starts_with("seg-") || !written(bytes) {
                    continue;
                }
                let plan = bad_sector(name.clone(), n * SECTOR..(n + 1) * SECTOR);
                let judged = judge(&machine, &oracle, crash, plan);
                judged.map_err(|why| {
                    format!("seed 1, {steps} steps, {crash:?}, sector {n} of {name}: {why}")
                })?;
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried} sectors");
    Ok(())
}

/// The recovery's reads fail, one of them or all from one on.
#[test]
pub(crate) fn hole_12_a_read_that_fails_says_nothing() -> Result<(), String> {
    for (nth, (machine, oracle, crash)) in (0..).zip(crashed()?) {
        let steps = 1 + nth / 2;
        for for_good in [false, true] {
            for n in 1..=reads(&machine)? {
                let mut nth = 0;
                let plan = Plan::new(move |call: &Call<'_>| {
                    nth += u64::from(call.kind == CallKind::Read);
                    let hit = call.kind == CallKind::Read && (nth == n || for_good && nth > n);
                    if hit {
                        Action::FailRaw(EIO)
                    } else {
                        Action::Pass
                    }
                });
                let judged = judge(&machine, &oracle, crash, plan);
                judged.map_err(|why| {
                    format!("seed 1, {steps} steps, {crash:?}, read {n} fails, for good: {for_good}: {why}")
                })?;
            }
        }
    }
    Ok(())
}

/// How many reads an open makes.
fn reads(machine: &SimFs) -> Result<u64, String> {
    let (sum, counted) = std::sync::mpsc::channel();
    let plan = Plan::new(move |call: &Call<'_>| {
        if call.kind == CallKind::Read {
            // Who counts is there until the open is over.
            let _ = sum.send(());
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(machine.process_crash()), plan);
    let store = driver().open(Arc::new(fs))?;
    std::mem::forget(store);
    Ok(counted.try_iter().count() as u64)
}
