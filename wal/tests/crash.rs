//! The log against a model, on a file system that crashes.
#![cfg(not(any(loom, shuttle)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use perennial_failpoints::SimFs;
use perennial_wal::{Log, LogOptions, Lsn, WalError};

fn options() -> LogOptions {
    LogOptions::new()
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .background(false)
}

fn open(fs: &SimFs) -> Log {
    Log::open(fs, Path::new("/log"), &options()).expect("the log opens")
}

fn contents(log: &Log) -> Vec<Vec<u8>> {
    log.flush().unwrap();
    log.iter_from(Lsn(0))
        .map(|entry| entry.unwrap().bytes)
        .collect()
}

/// A small generator: the tests need repeatable variety, not quality.
struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn entry(n: u64, len: u64) -> Vec<u8> {
    n.to_le_bytes()
        .into_iter()
        .chain((0..len).map(|i| (n * 31 + i).to_le_bytes()[0]))
        .collect()
}

#[test]
fn what_was_appended_can_be_read_back_in_order() {
    let fs = SimFs::new(1);
    let log = open(&fs);
    let entries: Vec<_> = (0..500).map(|n| entry(n, n % 200)).collect();
    for entry in &entries {
        log.append(entry).unwrap();
    }
    assert_eq!(contents(&log), entries);
    log.close().unwrap();
    assert_eq!(contents(&open(&fs)), entries);
}

#[test]
fn an_aborted_reservation_is_not_an_entry() {
    let fs = SimFs::new(1);
    let log = open(&fs);
    log.append(b"one").unwrap();
    log.reserve(100).unwrap().abort();
    drop(log.reserve(64).unwrap());
    log.append(b"two").unwrap();
    assert_eq!(contents(&log), [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn an_entry_that_can_never_fit_is_refused_and_a_full_log_says_so() {
    let fs = SimFs::new(1);
    let log = Log::open(&fs, Path::new("/log"), &options().max_segments(2)).unwrap();
    assert!(matches!(
        log.append(&[0; 5000]),
        Err(WalError::TooLarge { .. })
    ));
    let mut end = Lsn(0);
    let full = loop {
        match log.append(&[7; 500]) {
            Ok(lsn) => end = lsn,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, WalError::Full), "{full}");
    log.make_stable(end).unwrap();
    log.release_before(end);
    log.append(b"there is room again").unwrap();
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let fs = SimFs::new(1);
    fs.write_file(Path::new("/log/notes.txt"), b"mine");
    let refused = Log::open(&fs, Path::new("/log"), &options());
    assert!(matches!(refused, Err(WalError::Foreign(_))));
    assert_eq!(fs.read_file(Path::new("/log/notes.txt")).unwrap(), b"mine");
}

#[test]
fn two_logs_do_not_share_a_directory() {
    let fs = SimFs::new(1);
    let _log = open(&fs);
    assert!(matches!(
        Log::open(&fs, Path::new("/log"), &options()),
        Err(WalError::Locked(_))
    ));
}

/// One life: appends, commits, and a crash; checks what the next life finds.
fn lives(seed: u64, power: bool) {
    let mut rng = Rng(seed);
    let mut fs = SimFs::new(seed);
    let mut known: Vec<Vec<u8>> = Vec::new();
    let mut next = 0;
    for life in 0..4 {
        let log = open(&fs);
        let found = contents(&log);
        assert_eq!(found, known, "seed {seed}, life {life}, power {power}");
        let mut durable = known.len();
        for _ in 0..rng.next(60) {
            match rng.next(10) {
                0 => {
                    log.flush().unwrap();
                    durable = known.len();
                }
                1 => {
                    let end = log.append(&entry(next, 40)).unwrap();
                    known.push(entry(next, 40));
                    next += 1;
                    log.make_stable(end).unwrap();
                    durable = known.len();
                }
                2 => log.reserve(32).unwrap().abort(),
                _ => {
                    let bytes = entry(next, rng.next(700));
                    log.append(&bytes).unwrap();
                    known.push(bytes);
                    next += 1;
                }
            }
        }
        if rng.next(4) == 0 {
            log.close().unwrap();
            durable = known.len();
        } else {
            // A dying process runs no destructors.
            std::mem::forget(log);
        }
        if power {
            fs = fs.power_loss(rng.next(u64::MAX));
            let found = contents(&open(&fs.power_loss(0)));
            // Opening again from the same image finds the same, and a prefix with all that was durable.
            let again = open(&fs);
            assert!(
                found.len() >= durable,
                "seed {seed}, life {life}: {} of {durable}",
                found.len()
            );
            let again = contents(&again);
            assert!(
                known.starts_with(&again),
                "seed {seed}, life {life}: not a prefix"
            );
            assert!(
                again.len() >= durable,
                "seed {seed}, life {life}: {} of {durable} durable",
                again.len()
            );
            known = again;
        } else {
            fs = fs.process_crash();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_appended() {
    for seed in 0..500 {
        lives(seed, false);
    }
}

#[test]
fn a_power_cut_loses_nothing_stable_and_leaves_a_prefix() {
    for seed in 0..500 {
        lives(seed, true);
    }
}
