//! What no crash leaves: damage below the stable LSN. It is told, and shows no older version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{Cache, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, key, value};

use crate::driver::small;

const PAGE: usize = 4096;

fn options() -> Options {
    small(1 << 20).segment_bytes(16 << 10)
}

fn open(machine: &SimFs) -> Cache {
    Cache::open_with(Arc::new(machine.clone()), "/cache", options()).expect("it opens")
}

/// A cache that was closed: two versions of each key, in several segments.
fn closed() -> (SimFs, Oracle) {
    let (machine, mut oracle) = (SimFs::new(1), Oracle::new(Keeps::WhatItLikes));
    let cache = open(&machine);
    for op in 1..=40_u64 {
        let key = key(u8::try_from(op % 20).expect("few keys"));
        let value = value(&key, op, 900);
        cache.insert_durable(&key, value).expect("insert");
        oracle.returned(&key, Some(op), true);
    }
    cache.close().expect("close");
    (machine, oracle)
}

fn segments(machine: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let names = machine.file_names(Path::new("/cache"));
    let paths = names.iter().filter(|name| name.starts_with("seg-"));
    let contents = paths.map(|name| {
        let path = Path::new("/cache").join(name);
        let content = machine.read_file(&path).expect("it is there");
        (path, content)
    });
    contents.collect()
}

/// Where values begin and end that are the newest of their keys.
fn newest(content: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    (21..=40_u64).filter_map(|op| {
        let key = key(u8::try_from(op % 20).expect("few keys"));
        let value = value(&key, op, 900);
        let mut places = content.windows(value.len());
        let at = places.position(|window| window == value)?;
        Some((at, at + value.len()))
    })
}

/// Opens the damaged machine and reads everything: how much of the damage was told.
fn told(machine: &SimFs, oracle: &Oracle, what: &str) -> u64 {
    let (cache, mut oracle) = (open(machine), oracle.clone());
    for key in oracle.known_keys() {
        let found = cache.get(&key).expect("get");
        let judged = oracle.check_recovered(&key, found.as_deref(), Crash::Kill);
        judged.unwrap_or_else(|why| panic!("{what}: {why}"));
    }
    let stats = cache.stats();
    stats.damaged + stats.forgotten_all + stats.damaged_reads + stats.quarantined_files
}

/// 8: the trailer is there, and a page in the middle of what it describes is not.
#[test]
fn trailer_without_body() {
    let (machine, oracle) = closed();
    let mut dropped = 0;
    for (path, content) in segments(&machine) {
        let last = content.len() - PAGE;
        for at in (PAGE..last).step_by(PAGE) {
            let mut torn = content.clone();
            torn[at..at + PAGE].fill(0);
            if torn == content {
                continue;
            }
            let image = machine.process_crash();
            image.write_file(&path, &torn);
            let what = format!("{} without its page at {at}", path.display());
            let told = told(&image, &oracle, &what);
            // What was replaced long ago is not read again.
            if newest(&content).any(|(from, to)| from < at + PAGE && at < to) {
                assert!(told > 0, "{what}: not told");
                dropped += 1;
            }
        }
    }
    assert!(dropped >= 4, "{dropped} pages");
}

/// 9: one bit of each value that is the newest. Its other half is `tear_above_stable_is_silent`.
#[test]
fn bitrot_below_stable_is_reported() {
    let (machine, oracle) = closed();
    let mut flipped = 0;
    for (path, content) in segments(&machine) {
        for (at, _) in newest(&content) {
            let image = machine.process_crash();
            assert!(image.flip_bit(&path, at as u64 + 500, 3));
            let what = format!("{} rotten at {at}", path.display());
            assert!(told(&image, &oracle, &what) > 0, "{what}: not told");
            flipped += 1;
        }
    }
    assert_eq!(flipped, 20);
}
