//! Damage of more than a bit is mended without a lie, copies come first, and a dry repair changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use perennial::{ErrorKind, QUARANTINE_NAME, RepairMode, RepairReport, Value, repair_with};
use perennial_failpoints::{FaultFs, Plan, SimFs};

use super::{DIR, Dice, assert_clean, bytes, open, options, verify};

const CAPACITY: u64 = 1 << 20;

fn repair(fs: &SimFs, mode: RepairMode) -> RepairReport {
    repair_with(Arc::new(fs.clone()), DIR, mode).unwrap()
}

type Entries = BTreeMap<String, Option<Value>>;

fn key(n: usize) -> String {
    format!("key-{n}")
}

/// What an open finds, of an image of its own.
fn entries(fs: &SimFs) -> Entries {
    let cache = open(&fs.process_crash(), options(CAPACITY));
    let entry = |n| (key(n), cache.get(key(n)).unwrap());
    (0..40).map(entry).collect()
}

/// Values that no two inserts share; closed.
fn closed_cache(seed: u64) -> SimFs {
    let (fs, mut dice) = (SimFs::new(seed), Dice(seed));
    let cache = open(&fs, options(CAPACITY));
    for n in 0..300_u32 {
        let key = key(dice.below(40));
        let len = if dice.below(12) == 0 {
            2_000
        } else {
            dice.below(300)
        };
        match dice.below(10) {
            0 => cache.remove(&key).unwrap(),
            1 if dice.below(8) == 0 => cache.checkpoint().unwrap(),
            _ => drop(
                cache
                    .insert(&key, n.to_le_bytes().repeat(1 + len / 4))
                    .unwrap(),
            ),
        }
    }
    cache.close().unwrap();
    fs.mark_all_durable();
    fs
}

fn segment_paths(fs: &SimFs) -> Vec<PathBuf> {
    let names = fs.file_names(Path::new(DIR)).into_iter();
    let segments = names.filter(|name| name.starts_with("seg-"));
    segments.map(|name| Path::new(DIR).join(name)).collect()
}

/// Bytes destroyed anywhere behind the headers: a repair never shows what was replaced, and never loses what an open finds.
#[test]
fn destroyed_bytes_are_mended_without_a_lie() {
    let (mut clean, mut damaged) = (0, 0);
    for seed in 0..60 {
        let whole = closed_cache(seed);
        let truth = entries(&whole);
        let mut dice = Dice(seed);
        for round in 0..12 {
            let fs = if round % 3 == 2 {
                whole.power_loss(seed)
            } else {
                whole.process_crash()
            };
            let paths = segment_paths(&fs);
            let path = &paths[dice.below(paths.len())];
            let len = [1, 40, 512][dice.below(3)];
            let at = 1024 + dice.below(7 * 1024 - len);
            let junk: Vec<u8> = (0..len)
                .map(|_| u8::try_from(dice.below(256)).unwrap())
                .collect();
            assert!(fs.overwrite(path, at, &junk));
            let when = format!("seed {seed}, round {round}: {len} bytes at {at} of {path:?}");
            if verify(&fs).problems.is_empty() {
                continue;
            }
            damaged += 1;
            let found = entries(&fs);
            let report = repair(&fs, RepairMode::Apply);
            clean += usize::from(report.is_clean());
            for (key, now) in entries(&fs) {
                let (newest, found) = (&truth[&key], &found[&key]);
                assert!(now.is_none() || now == *newest, "{when}: a lie about {key}");
                assert!(
                    found.is_none() || now == *found,
                    "{when}: {key} is lost: {report:?}"
                );
            }
        }
    }
    assert!(
        damaged > 200 && clean == damaged,
        "{clean} of {damaged} are clean"
    );
}

#[test]
fn a_dry_repair_changes_nothing_and_says_what_it_would_do() {
    let fs = closed_cache(1);
    let sound = repair(&fs, RepairMode::Dry);
    assert!(sound.is_clean() && sound.repairs.is_empty() && !sound.applied);
    let path = segment_paths(&fs).remove(0);
    fs.flip_bit(&path, 1024 + 20, 3);
    let before = bytes(&fs);
    let report = repair(&fs, RepairMode::Dry);
    assert_eq!(report.verified.problems, verify(&fs).problems);
    assert_eq!(report.repairs[0].problem, report.verified.problems[0]);
    let remedy = report.repairs[0].remedy.as_deref().unwrap();
    assert!(remedy.starts_with("flip the one bit back"), "{remedy}");
    assert!(bytes(&fs) == before && report.quarantined.is_empty());
}

#[test]
fn what_is_written_to_is_copied_before_and_the_copies_are_nobodys() {
    let fs = closed_cache(2);
    let quarantine = Path::new(DIR).join(QUARANTINE_NAME);
    let path = segment_paths(&fs).remove(0);
    for time in 1..3 {
        fs.flip_bit(&path, 600, 1);
        let damaged = fs.read_file(&path).unwrap();
        let copy = quarantine.join(format!("seg-000000.{time}"));
        let report = repair(&fs, RepairMode::Apply);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.quarantined, [copy.display().to_string()]);
        assert_eq!(fs.read_file(&copy), Some(damaged));
    }
    let report = assert_clean(&fs, "with copies");
    assert_eq!(report.foreign_files, 0);
    let cache = open(&fs, options(CAPACITY));
    cache.insert("key", b"value").unwrap();
    cache.close().unwrap();
    assert_eq!(fs.file_names(&quarantine).len(), 2);
}

/// A full disk takes no copy: then nothing is written.
#[test]
fn without_room_for_a_copy_nothing_is_changed() {
    let fs = closed_cache(3);
    fs.flip_bit(&segment_paths(&fs)[0], 600, 1);
    let before = bytes(&fs);
    fs.set_capacity(Some(0));
    let refused = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::Full | ErrorKind::Io),
        "{refused}"
    );
    assert!(bytes(&fs) == before);
    fs.set_capacity(None);
    assert!(repair(&fs, RepairMode::Apply).is_clean());
}

#[test]
fn an_open_cache_is_locked_and_a_lost_identity_is_not_guessed() {
    let fs = SimFs::new(4);
    let cache = open(&fs, options(CAPACITY));
    for mode in [RepairMode::Dry, RepairMode::Apply] {
        let refused = repair_with(Arc::new(fs.clone()), DIR, mode).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Locked);
    }
    drop(cache);
    fs.write_file(&Path::new(DIR).join("identity"), &[0x5a; 1024]);
    let before = bytes(&fs);
    let refused = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(bytes(&fs) == before);
}

#[test]
fn a_missing_tail_is_made_again_and_a_missing_segment_is_left() {
    let fs = closed_cache(5);
    let names = fs.file_names(Path::new(DIR));
    let tail = names.iter().find(|name| name.starts_with("tail-")).unwrap();
    let whole = entries(&fs);
    fs.remove_file(&Path::new(DIR).join(tail));
    assert!(repair(&fs, RepairMode::Apply).is_clean());
    assert_eq!(entries(&fs), whole);

    let (path, other) = (&segment_paths(&fs)[1], &segment_paths(&fs)[0]);
    fs.remove_file(path);
    fs.flip_bit(other, 600, 1);
    let report = repair(&fs, RepairMode::Apply);
    assert!(!report.is_clean());
    let left = report
        .repairs
        .iter()
        .filter(|repair| repair.remedy.is_none());
    assert_eq!(left.count(), report.verified.problems.len(), "{report:?}");
}

/// The machine after a repair that was killed after call `n`; `None` when it was over before.
fn killed_after(fs: &SimFs, n: u64) -> Option<SimFs> {
    let fs = fs.process_crash();
    let image = Arc::new(Mutex::new(None));
    let (taken, machine) = (Arc::clone(&image), fs.clone());
    // Every other time the power goes with it.
    let crash = move || match n % 2 {
        0 => machine.process_crash(),
        _ => machine.power_loss(n),
    };
    let on_kill = move || *taken.lock().unwrap() = Some(crash());
    let faulty = FaultFs::with_kill(Arc::new(fs), Plan::kill_after(n), Arc::new(on_kill));
    let _ = repair_with(Arc::new(faulty), DIR, RepairMode::Apply);
    image.lock().unwrap().take()
}

#[test]
fn a_repair_can_be_killed_anywhere_and_run_again() {
    let (mut kills, mut forgot) = (0, 0);
    for seed in 0..3 {
        let fs = closed_cache(seed);
        let truth = entries(&fs);
        let destroyed = |path: &PathBuf| {
            let fs = fs.process_crash();
            (fs.overwrite(path, 2_100, &[0x5a; 900]) && entries(&fs) != truth).then_some(fs)
        };
        // One with entries that were not replaced.
        let fs = segment_paths(&fs).iter().find_map(destroyed).unwrap();
        let found = entries(&fs);
        let images = (1..)
            .step_by(3)
            .map_while(|n| Some((n, killed_after(&fs, n)?)));
        for (n, killed) in images {
            kills += 1;
            let report = repair(&killed, RepairMode::Apply);
            assert!(report.is_clean(), "seed {seed}, call {n}: {report:?}");
            let now = entries(&killed);
            for (key, value) in &now {
                let sound = value.is_none() && found[key].is_none() || *value == truth[key];
                assert!(sound, "seed {seed}, call {n}: {key}");
            }
            forgot += usize::from(now != truth);
        }
    }
    assert!(kills > 100 && forgot > 20, "{kills} kills, {forgot} forgot");
}
