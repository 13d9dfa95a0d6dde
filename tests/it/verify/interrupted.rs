//! A repair that does not come to its end is run again: what it had put in its place by then misleads nobody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use perennial::{RepairMode, repair_with};
use perennial_failpoints::{FaultFs, Plan, SimFs};

use super::{DIR, open, options};

const CAPACITY: u64 = 1 << 20;
const KEYS: usize = 30;
const JUNK: u8 = 0x5a;

fn key(n: usize) -> String {
    format!("key-{n:02}")
}

fn newest(n: usize) -> String {
    format!("version-2-of-{n:02}-").repeat(16)
}

/// Two versions of each key, and others behind them; no checkpoint knows them, so a replay goes by the tables alone.
fn killed_cache() -> SimFs {
    let fs = SimFs::new(7);
    let cache = open(&fs, options(CAPACITY).checkpoint_every_bytes(1 << 30));
    for n in 0..KEYS {
        let older = format!("version-1-of-{n:02}-").repeat(16);
        cache.insert(key(n), older).unwrap();
    }
    for n in 0..KEYS {
        cache.insert(key(n), newest(n)).unwrap();
    }
    for n in 0..KEYS {
        cache.insert(format!("other-{n:02}"), newest(n)).unwrap();
    }
    cache.flush().unwrap();
    std::mem::forget(cache);
    let fs = fs.process_crash();
    fs.mark_all_durable();
    fs
}

/// The second and the last but one of the newest versions in a sealed segment: where their frames begin.
fn two_frames(fs: &SimFs) -> (PathBuf, usize, usize) {
    let names = fs.file_names(Path::new(DIR)).into_iter();
    for name in names.filter(|name| name.starts_with("seg-")) {
        let path = Path::new(DIR).join(name);
        let bytes = fs.read_file(&path).unwrap();
        let at = |n| {
            let body = key(n) + "version-2-of";
            bytes
                .windows(body.len())
                .position(|it| it == body.as_bytes())
        };
        let frames: Vec<_> = (0..KEYS).filter_map(at).map(|body| body - 32).collect();
        if frames.len() > 10 {
            return (path, frames[1], frames[frames.len() - 2]);
        }
    }
    panic!("no segment has so many");
}

/// The machine as it is when the process dies after `n` calls of a repair, and as `crash` leaves it.
fn repair_dies(
    fs: &SimFs,
    n: u64,
    crash: impl Fn(&SimFs) -> SimFs + Send + Sync + 'static,
) -> Option<SimFs> {
    let fs = fs.process_crash();
    let image = Arc::new(Mutex::new(None));
    let (taken, machine) = (Arc::clone(&image), fs.clone());
    let on_kill = move || *taken.lock().unwrap() = Some(crash(&machine));
    let faulty = FaultFs::with_kill(Arc::new(fs), Plan::kill_after(n), Arc::new(on_kill));
    let _ = repair_with(Arc::new(faulty), DIR, RepairMode::Apply);
    image.lock().unwrap().take()
}

fn assert_nothing_old(fs: &SimFs, when: &str) {
    let cache = open(&fs.process_crash(), options(CAPACITY));
    for n in 0..KEYS {
        let there = cache.get(key(n)).unwrap();
        let old = there.is_some_and(|value| *value != *newest(n).as_bytes());
        assert!(!old, "{when}: {} is of an older version", key(n));
    }
}

fn repair(fs: &SimFs) {
    let report = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn between_two_gaps_of_a_segment() {
    let whole = killed_cache();
    let (path, first, second) = two_frames(&whole);
    for at in [first, second] {
        assert!(whole.overwrite(&path, at, &[JUNK; 32]));
    }
    assert_nothing_old(&whole, "damaged");
    for n in 1.. {
        let Some(killed) = repair_dies(&whole, n, SimFs::process_crash) else {
            assert!(n > 5, "{n} calls");
            break;
        };
        assert_nothing_old(&killed, &format!("killed after {n} calls"));
        repair(&killed);
        assert_nothing_old(&killed, &format!("killed after {n} calls, and repaired"));
    }
}

/// Power goes while what stands in for several sectors is written: some are new, others are not.
#[test]
fn in_the_middle_of_what_stands_in() {
    let whole = killed_cache();
    let (path, first, last) = two_frames(&whole);
    assert!(whole.overwrite(&path, first, &vec![JUNK; last - first + 200]));
    'calls: for n in 1.. {
        for seed in 0..8 {
            let crash = move |machine: &SimFs| machine.power_loss(seed);
            let Some(killed) = repair_dies(&whole, n, crash) else {
                assert!(n > 5, "{n} calls");
                break 'calls;
            };
            let when = format!("power lost after {n} calls, seed {seed}");
            assert_nothing_old(&killed, &when);
            repair(&killed);
            assert_nothing_old(&killed, &when);
        }
    }
}
