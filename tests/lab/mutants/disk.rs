//! Disks that do worse than forget: a sync that fails, a bit that rots, a write that lands elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial_failpoints::lab::{Crash, Driver, Keeps, Oracle, Store};
use perennial_failpoints::{Shows, SimFs, Syncs};

use crate::driver::{Perennial, small};
use crate::holes::{WRITES, play};

const SECTOR: usize = 512;

fn driver() -> Perennial {
    Perennial(small(1 << 20))
}

/// What `machine` shows is what it may.
fn check(machine: &SimFs, oracle: &Oracle, crash: Crash) -> Result<(), String> {
    let machine = machine.process_crash();
    let Ok(store) = driver().open(Arc::new(machine)) else {
        // Of a damaged disk that is an answer.
        return Ok(());
    };
    let mut oracle = oracle.clone();
    for key in oracle.known_keys() {
        let found = store.get(&key)?;
        oracle.check_recovered(&key, found.as_deref(), crash)?;
    }
    std::mem::forget(store);
    Ok(())
}

/// Every sync fails once, and loses what it should have made durable; then the machine is killed or loses power.
pub(super) fn a_sync_fails() -> Result<(), String> {
    for good in 0..40 {
        let machine = SimFs::new(1);
        let mut oracle = Oracle::new(Keeps::Everything);
        machine.set_syncs(Syncs::FailOnceAfter(good, Shows::New));
        let Ok(store) = driver().open(Arc::new(machine.clone())) else {
            continue;
        };
        let played = play(&store, &mut oracle, &WRITES);
        // The process ends here; it closes nothing.
        std::mem::forget(store);
        let failed = |why| format!("seed 1, sync {good} fails: {why}");
        played.map_err(failed)?;
        for seed in 0..8 {
            let after = machine.power_loss(seed);
            check(&after, &oracle, Crash::Power).map_err(failed)?;
        }
    }
    Ok(())
}

/// A machine that played [`WRITES`] and was killed.
fn killed() -> Result<(SimFs, Oracle), String> {
    let machine = SimFs::new(1);
    let mut oracle = Oracle::new(Keeps::WhatItLikes);
    let store = driver().open(Arc::new(machine.clone()))?;
    play(&store, &mut oracle, &WRITES)?;
    // The process ends here; it closes nothing.
    std::mem::forget(store);
    Ok((machine, oracle))
}

fn files(machine: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new("/cache");
    let read = |name: String| {
        let path = dir.join(name);
        let content = machine.read_file(&path)?;
        Some((path, content))
    };
    machine
        .file_names(dir)
        .into_iter()
        .filter_map(read)
        .collect()
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A bit of every byte that was written: of the segments after a power loss that lost nothing, of the tail after a kill.
pub(super) fn a_bit_rots() -> Result<(), String> {
    let (machine, oracle) = killed()?;
    machine.mark_all_durable();
    let kill = (machine.process_crash(), Crash::Kill);
    for (machine, crash) in [(machine.power_loss(1), Crash::Power), kill] {
        let tail = |path: &Path| path.to_string_lossy().contains("tail-");
        for (path, content) in files(&machine) {
            if tail(&path) != (crash == Crash::Kill) {
                continue;
            }
            let written = |at: &usize| !is_blank(&content[at / SECTOR * SECTOR..][..SECTOR]);
            // Of the tail every third byte: it holds much of the same again.
            let every = if crash == Crash::Kill { 3 } else { 1 };
            for byte in (0..content.len()).step_by(every).filter(written) {
                let rotten = machine.process_crash();
                let bit = u32::try_from(byte * 5 % 8).expect("below eight");
                assert!(rotten.flip_bit(&path, byte as u64, bit));
                let at = |why| format!("seed 1, byte {byte} of {}: {why}", path.display());
                check(&rotten, &oracle, crash).map_err(at)?;
            }
        }
    }
    Ok(())
}

/// Every sector that was written, in the place of every other one of its file.
pub(super) fn a_sector_lands_elsewhere() -> Result<(), String> {
    let (machine, oracle) = killed()?;
    machine.mark_all_durable();
    let machine = machine.power_loss(1);
    for (path, content) in files(&machine) {
        let sectors = content.chunks_exact(SECTOR).enumerate();
        let written: Vec<_> = sectors.filter(|(_, bytes)| !is_blank(bytes)).collect();
        for ((from, bytes), (to, _)) in pairs(&written) {
            let misled = machine.process_crash();
            let mut content = content.clone();
            content[to * SECTOR..][..SECTOR].copy_from_slice(bytes);
            misled.write_file(&path, &content);
            let at = |why| format!("seed 1, sector {from} at {to} of {}: {why}", path.display());
            check(&misled, &oracle, Crash::Power).map_err(at)?;
        }
    }
    Ok(())
}

fn pairs<T: Copy>(all: &[T]) -> impl Iterator<Item = (T, T)> {
    all.iter().flat_map(|a| all.iter().map(|b| (*a, *b)))
}
