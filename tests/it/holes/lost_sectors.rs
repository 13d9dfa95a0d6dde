//! Hole 12 with whole sectors of the tail gone: what the descriptors no longer say must not pass for nothing.

use std::path::Path;

use perennial_failpoints::SimFs;

use super::lab::{file_with, get, kill, open, roomy};

const SECTOR: usize = 512;
const HEAD_SECTORS: usize = 8;
const KEYS: usize = 5;

fn key(n: usize) -> String {
    format!("key-{n}")
}

fn value(version: usize) -> Vec<u8> {
    vec![u8::try_from(version).unwrap(); 300]
}

/// Every key has a durable version 1 and, in the tail of a killed process, the version `versions`. `flushes` begins that
/// many buffers before.
fn killed(flushes: u32, versions: usize) -> SimFs {
    let machine = SimFs::new(12);
    let cache = open(&machine, roomy());
    for n in 0..flushes {
        cache.insert_durable("filler", n.to_le_bytes()).unwrap();
    }
    for version in 1..=versions {
        for n in 0..KEYS {
            cache.insert(key(n), value(version)).unwrap();
        }
        if version == 1 {
            cache.flush().unwrap();
        }
    }
    kill(&machine, cache)
}

/// The machine with these sectors of its tail zeroed.
fn without(image: &SimFs, sectors: &[usize]) -> SimFs {
    let image = image.process_crash();
    let tail = file_with(&image, "tail-");
    let mut bytes = image.read_file(Path::new(&tail)).unwrap();
    for sector in sectors {
        bytes[sector * SECTOR..][..SECTOR].fill(0);
    }
    image.write_file(Path::new(&tail), &bytes);
    image
}

/// How many keys show their newest version. No key shows another.
fn newest(image: &SimFs, versions: usize, what: &str) -> usize {
    let cache = open(image, roomy());
    let shows = |n: usize| match get(&cache, &key(n)) {
        None => false,
        Some(found) => {
            assert_eq!(found[0], value(versions)[0], "{what}: key {n}");
            true
        }
    };
    let shown = (0..KEYS).filter(|n| shows(*n)).count();
    std::mem::forget(cache);
    shown
}

/// Kills with ever other numbers of buffers, so that the newest descriptor is in each sector.
fn lives() -> impl Iterator<Item = (SimFs, usize, String)> {
    let lives = [0, 5, 28, 31, 40, 63, 90, 120, 126, 130, 150, 200].into_iter();
    lives.flat_map(|flushes| {
        [2, 5].into_iter().map(move |versions| {
            let what = format!("{flushes} flushes, {versions} versions");
            (killed(flushes, versions), versions, what)
        })
    })
}

#[test]
fn hole_12_two_lost_sectors_of_the_tail_show_no_older_version() {
    for (image, versions, what) in lives() {
        let tail = file_with(&image, "tail-");
        let sectors = image.read_file(Path::new(&tail)).unwrap().len() / SECTOR;
        for head in 0..HEAD_SECTORS {
            for ring in HEAD_SECTORS..sectors {
                let image = without(&image, &[head, ring]);
                newest(&image, versions, &format!("{what}, {head} and {ring}"));
            }
        }
    }
}

/// Identity and stable words have a second copy elsewhere.
#[test]
fn hole_12_no_single_sector_loses_the_tails_identity() {
    for (image, versions, what) in lives() {
        for head in [0, 5] {
            let what = format!("{what}, sector {head}");
            let image = without(&image, &[head]);
            assert_eq!(newest(&image, versions, &what), KEYS, "{what}");
        }
    }
}
