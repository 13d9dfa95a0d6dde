//! Holes 15, 21, 31 and 32: a sync fails and gives its bytes up. What was read, written and removed then, and what a kill and a
//! loss of power leave.

use std::path::Path;
use std::sync::Arc;

use perennial::ErrorKind;
use perennial_failpoints::lab::{Crash, Driver, Keeps, Oracle, Step, Store, key, value};
use perennial_failpoints::{Shows, SimFs, Syncs};

use crate::driver::{CHECKPOINT, Open, Perennial, small};

fn driver() -> Perennial {
    Perennial(small(1 << 20))
}

/// Keys written again and again, one frame to the sector, some of it synced; the last step is not.
pub(crate) const WRITES: [Step; 17] = [
    Step::put(3, 475),
    Step::put(0, 475),
    Step::put(1, 475),
    Step::put(0, 475),
    Step::put(0, 475),
    Step::put(1, 475),
    Step::Flush,
    Step::put(2, 475),
    Step::remove(2).durable(),
    Step::Other(CHECKPOINT),
    Step::put(0, 475),
    Step::put(1, 300),
    Step::put(1, 900),
    Step::Flush,
    Step::put(0, 475).durable(),
    Step::put(2, 100),
    Step::put(1, 475),
];

/// Entries written and removed again.
const REMOVES: [Step; 10] = [
    Step::put(0, 475).durable(),
    Step::put(1, 475),
    Step::put(2, 475).durable(),
    Step::put(0, 300).durable(),
    Step::remove(1),
    Step::put(1, 100).durable(),
    Step::remove(0),
    Step::remove(2).durable(),
    Step::put(2, 100),
    Step::remove(1),
];

/// Plays a script on and on, whatever fails; the oracle knows what returned. What it then says of the running cache holds.
pub(crate) fn play(store: &Open, oracle: &mut Oracle, script: &[Step]) -> Result<(), String> {
    for (op, step) in (1..).zip(script) {
        play_step(store, oracle, op, step)?;
    }
    let evicted = store.0.stats().evicted > 0;
    for key in oracle.known_keys() {
        let found = store.get(&key)?;
        // A segment that cannot be made is made room for: what was evicted may be gone.
        if found.is_none() && evicted {
            oracle.issued(&key, None);
        }
        oracle.check_running(&key, found.as_deref())?;
    }
    Ok(())
}

fn play_step(store: &Open, oracle: &mut Oracle, op: u64, step: &Step) -> Result<(), String> {
    match *step {
        Step::Put {
            key: number,
            len,
            durable,
        } => {
            let key = key(number);
            oracle.issued(&key, Some(op));
            let put = store.put(&key, &value(&key, op, usize::from(len)), durable);
            if put.is_ok() {
                oracle.acknowledged(&key, durable);
            }
        }
        Step::Remove {
            key: number,
            durable,
        } => {
            let key = key(number);
            oracle.issued(&key, None);
            if store.remove(&key, durable).is_ok() {
                oracle.acknowledged(&key, durable);
            }
        }
        Step::Abandon { .. } => return Err("it abandons nothing".to_owned()),
        Step::Clear | Step::RemovePrefix { .. } => return Err("it clears nothing".to_owned()),
        Step::Other(what) => drop(store.other(what)),
        Step::Flush | Step::Get { .. } | Step::Reopen => {
            if store.flush().is_ok() {
                oracle.all_durable();
            }
        }
    }
    Ok(())
}

/// Opens what a crash left, and looks at everything in it.
fn recovered(machine: &SimFs, oracle: &mut Oracle, crash: Crash) -> Result<Open, String> {
    let store = driver().open(Arc::new(machine.clone()))?;
    for key in oracle.known_keys() {
        let found = store.get(&key)?;
        oracle.check_recovered(&key, found.as_deref(), crash)?;
    }
    Ok(store)
}

/// Every sync of a script fails in turn; `judge` sees the machine as the process leaves it.
fn at_every_sync(
    name: &str,
    script: &[Step],
    judge: impl Fn(&SimFs, &Oracle) -> Result<(), String>,
) -> Result<(), String> {
    let mut failed = 0;
    for good in 0..40 {
        let machine = SimFs::new(1);
        let mut oracle = Oracle::new(Keeps::Everything);
        machine.set_syncs(Syncs::FailOnceAfter(good, Shows::New));
        // A first open that fails has stored nothing.
        let Ok(store) = driver().open(Arc::new(machine.clone())) else {
            continue;
        };
        let why = |why| format!("seed 1, {name}: sync {good} fails: {why}");
        play(&store, &mut oracle, script).map_err(why)?;
        failed += u64::from(store.flush().is_err());
        // The process ends here; it closes nothing.
        std::mem::forget(store);
        judge(&machine, &oracle).map_err(why)?;
    }
    assert!(failed >= 5, "{failed} syncs failed");
    Ok(())
}

/// After the kill everything reads well; the next process makes it durable by writing it again.
#[test]
pub(crate) fn hole_15_what_a_failed_sync_left_is_written_again() -> Result<(), String> {
    at_every_sync("hole 15", &WRITES, |machine, oracle| {
        let (machine, mut oracle) = (machine.process_crash(), oracle.clone());
        let store = recovered(&machine, &mut oracle, Crash::Kill)?;
        store.flush()?;
        oracle.all_durable();
        for seed in 0..8 {
            let dark = machine.power_loss(seed);
            std::mem::forget(recovered(&dark, &mut oracle.clone(), Crash::Power)?);
        }
        std::mem::forget(store);
        Ok(())
    })
}

/// A recovery does not go on with a clean log as it is, for an older header has rotted. It joins the last segment, and the sync of
/// that fails. The next one reads the join well, and with it finds nothing broken: it goes on as it is, in that life.
#[test]
pub(crate) fn hole_15_a_join_whose_sync_failed_is_written_again() -> Result<(), String> {
    let name = "hole 15, joins";
    let mut failed = 0;
    for good in 0..16 {
        let why = |why| format!("seed 1, {name}: sync {good} fails: {why}");
        let machine = SimFs::new(1);
        let mut oracle = Oracle::new(Keeps::WhatItLikes);
        let store = driver().open(Arc::new(machine.clone()))?;
        let fill = [Step::put(0, 700); 24];
        play(&store, &mut oracle, &fill).map_err(why)?;
        store.0.close().map_err(|e| e.to_string())?;
        let header_bytes = 1024;
        assert!(machine.zero(Path::new("/cache/seg-000001"), 0, header_bytes));
        machine.set_syncs(Syncs::FailOnceAfter(good, Shows::New));
        if driver()
            .open(Arc::new(machine.clone()))
            .map(std::mem::forget)
            .is_ok()
        {
            continue;
        }
        failed += 1;
        let machine = machine.process_crash();
        let store = driver().open(Arc::new(machine.clone())).map_err(why)?;
        let stored = store.0.insert_durable("newer", "value");
        stored.map_err(|e| why(e.to_string()))?;
        for seed in 0..8 {
            let dark = Arc::new(machine.power_loss(seed));
            let after = driver().open(dark).map_err(why)?;
            let found = after.get(b"newer").map_err(why)?;
            std::mem::forget(after);
            if found.as_deref() != Some(b"value".as_slice()) {
                return Err(why(format!("newer: {found:?}")));
            }
        }
        std::mem::forget(store);
    }
    assert!(failed >= 3, "{failed} syncs failed");
    Ok(())
}

/// Nothing is acknowledged after the failure, and what was acknowledged before survives.
#[test]
pub(crate) fn hole_21_nothing_is_acknowledged_after_a_failed_sync() -> Result<(), String> {
    at_every_sync("hole 21", &WRITES, |machine, oracle| {
        for seed in 0..16 {
            let dark = machine.power_loss(seed);
            std::mem::forget(recovered(&dark, &mut oracle.clone(), Crash::Power)?);
        }
        Ok(())
    })
}

/// What the stopped log refuses has failed, and reads go on as if it had never been asked for.
#[test]
pub(crate) fn hole_31_what_is_refused_leaves_the_older_version() -> Result<(), String> {
    at_every_sync("hole 31", &WRITES, killed)
}

/// There is no mode in which operations are not logged: a remove that returned is there after a kill.
#[test]
pub(crate) fn hole_32_a_stopped_log_acknowledges_nothing() -> Result<(), String> {
    at_every_sync("hole 32", &REMOVES, killed)
}

fn killed(machine: &SimFs, oracle: &Oracle) -> Result<(), String> {
    let killed = machine.process_crash();
    std::mem::forget(recovered(&killed, &mut oracle.clone(), Crash::Kill)?);
    Ok(())
}

/// A value too large for the tail is filled in memory, and nothing is logged before that is done. On a log that has stopped, or
/// stops meanwhile, the error said that the older version was gone; it was there, and after a kill again.
#[test]
pub(crate) fn hole_32_a_large_value_that_is_not_filled_removes_nothing() -> Result<(), String> {
    for stops_meanwhile in [false, true] {
        let machine = SimFs::new(1);
        let cache = driver().open(Arc::new(machine.clone()))?.0;
        let told = |error: perennial::Error| error.to_string();
        cache.insert_durable("large", "older").map_err(told)?;
        let stop = || {
            machine.set_syncs(Syncs::Fail(Shows::New));
            cache.insert_durable("other", "value").is_err()
        };
        assert!(stops_meanwhile || stop(), "syncs fail");
        let filled = cache.insert_with_len("large", 4_000, |_| {
            assert!(stop(), "syncs fail");
            Err("no")
        });
        let kind = filled.map_err(|error| error.kind());
        if kind != Err(ErrorKind::Poisoned) {
            return Err(format!(
                "seed 1, stops meanwhile: {stops_meanwhile}: it says {kind:?}"
            ));
        }
        let killed = driver().open(Arc::new(machine.process_crash()))?.0;
        for (when, cache) in [("now", &cache), ("after a kill", &killed)] {
            let found = cache.get("large").map_err(told)?;
            if found.as_deref() != Some(&b"older"[..]) {
                return Err(format!("seed 1: {when} the older version is {found:?}"));
            }
        }
        std::mem::forget((cache, killed));
    }
    Ok(())
}
