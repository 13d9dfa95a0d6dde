//! Logs of every version of the format open for ever: `wal/tests/fixtures/vN/` holds two that version N wrote, one closed, one
//! killed with entries in its ring alone. They are never made anew; a new version gets its own by
//! `cargo test -p perennial-wal --test fixtures -- --ignored`.
#![cfg(not(any(loom, shuttle)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "files of the repository")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use perennial_failpoints::SimFs;
use perennial_wal::segment::FORMAT_VERSION;
use perennial_wal::{Log, LogOptions, Lsn};

const DIR: &str = "/log";
/// Entries that were durable when the process ended.
const DURABLE: u32 = 40;
/// Those of the killed one that were only in its ring.
const IN_THE_RING: u32 = 5;

fn open(fs: &SimFs) -> Log {
    let options = LogOptions::new()
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .background(false);
    Log::open(fs, Path::new(DIR), &options).unwrap()
}

/// Never changed: the fixtures were filled with it.
fn entry(n: u32) -> Vec<u8> {
    format!("entry {n}; ")
        .repeat(n as usize % 37 + 1)
        .into_bytes()
}

fn entries(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(entry).collect()
}

fn append(log: &Log, numbers: Range<u32>) {
    for n in numbers {
        log.append(&entry(n)).unwrap();
    }
}

fn directory_of(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}"))
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(dir).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

/// A copy, for an open writes; in the boot that its tail names, or in another.
fn copy(version: u32, name: &str, in_its_boot: bool) -> SimFs {
    let machine = SimFs::new(7);
    for (name, content) in files(&directory_of(version).join(name)) {
        if in_its_boot && name == "tail" {
            machine.set_boot_id(content[0x30..0x40].try_into().unwrap());
        }
        machine.write_file(&Path::new(DIR).join(name), &content);
    }
    machine
}

/// What is in it, and after another life, too.
fn contents(fs: &SimFs) -> Vec<Vec<u8>> {
    let read = |log: &Log| {
        let entries = log.iter_from(Lsn(0));
        entries.map(|entry| entry.unwrap().bytes).collect()
    };
    let log = open(fs);
    let found: Vec<_> = read(&log);
    log.append(b"of today").unwrap();
    log.close().unwrap();
    let again: Vec<_> = read(&open(fs));
    assert_eq!(again, [&found[..], &[b"of today".to_vec()]].concat());
    found
}

#[test]
fn a_closed_log_of_every_version_opens() {
    for version in 1..=FORMAT_VERSION {
        for in_its_boot in [true, false] {
            let found = contents(&copy(version, "closed", in_its_boot));
            assert_eq!(found, entries(DURABLE), "v{version}");
        }
    }
}

#[test]
fn a_killed_log_of_every_version_opens() {
    for version in 1..=FORMAT_VERSION {
        let found = contents(&copy(version, "killed", true));
        assert_eq!(found, entries(DURABLE + IN_THE_RING), "v{version}");
        // The ring says nothing to another boot.
        let found = contents(&copy(version, "killed", false));
        assert_eq!(found, entries(DURABLE), "v{version}");
    }
}

#[test]
#[ignore = "writes into the repository: for a new version of the format alone"]
fn the_fixtures_of_a_new_version() {
    let killed = SimFs::new(1);
    let log = open(&killed);
    append(&log, 0..DURABLE);
    log.flush().unwrap();
    append(&log, DURABLE..DURABLE + IN_THE_RING);
    let killed = killed.process_crash();
    let closed = SimFs::new(1);
    let log = open(&closed);
    append(&log, 0..DURABLE);
    log.close().unwrap();

    let version = directory_of(FORMAT_VERSION);
    // Fails where there is one: what a version wrote once stays.
    fs::create_dir(&version).unwrap();
    for (name, machine) in [("killed", killed), ("closed", closed)] {
        let dir = version.join(name);
        fs::create_dir(&dir).unwrap();
        for file in machine.file_names(Path::new(DIR)) {
            let content = machine.read_file(&Path::new(DIR).join(&file)).unwrap();
            fs::write(dir.join(file), content).unwrap();
        }
    }
}
