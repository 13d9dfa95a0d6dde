//! Kept segments are looked into like those of the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{FileState, RepairMode, inspect_with, repair_with};
use perennial_failpoints::SimFs;

use super::{DIR, assert_clean, open, options, verify};

const KEYS: usize = 30;

fn key(n: usize) -> String {
    format!("hot-{n}")
}

/// A cache whose hot keys were moved, closed.
fn closed_cache() -> SimFs {
    let fs = SimFs::new(3);
    let cache = open(&fs, options(160 << 10));
    for n in 0..400 {
        if n < KEYS {
            cache.insert(key(n), vec![7; 300]).unwrap();
        }
        cache.insert(format!("cold-{n}"), vec![8; 500]).unwrap();
        (0..KEYS.min(n + 1)).for_each(|hot| drop(cache.get(key(hot)).unwrap()));
    }
    assert!(cache.stats().moved > 10, "{}", cache.stats());
    cache.close().unwrap();
    fs.mark_all_durable();
    fs
}

fn kept_files(fs: &SimFs) -> Vec<(PathBuf, u64)> {
    let inspection = inspect_with(Arc::new(fs.clone()), DIR).unwrap();
    let kept = inspection.segments.iter();
    let kept = kept.filter(|segment| segment.state == FileState::Kept);
    let file = |slot: u32| Path::new(DIR).join(format!("seg-{slot:06}"));
    kept.map(|segment| {
        assert!(segment.frames > 0 && segment.bytes > 0 && segment.number > 0);
        (file(segment.slot), segment.data_end)
    })
    .collect()
}

/// Which hot keys an open finds.
fn there(fs: &SimFs) -> Vec<bool> {
    let cache = open(&fs.process_crash(), options(160 << 10));
    let there = (0..KEYS).map(|n| cache.get(key(n)).unwrap().is_some());
    there.collect()
}

#[test]
fn a_flipped_bit_in_a_kept_segment_is_found_wherever_it_costs_an_entry() {
    let fs = closed_cache();
    let report = assert_clean(&fs, "closed");
    let files = kept_files(&fs);
    assert_eq!(report.kept_segments, files.len() as u64);
    let whole = there(&fs);
    assert!(whole.iter().filter(|there| **there).count() > 10);
    let mut lost = 0;
    for (path, end) in files {
        for byte in (1024..end).step_by(97) {
            assert!(fs.flip_bit(&path, byte, 2));
            let report = verify(&fs);
            let costs = there(&fs) != whole;
            assert_eq!(!report.problems.is_empty(), costs, "byte {byte}: {report}");
            lost += usize::from(costs);
            fs.flip_bit(&path, byte, 2);
        }
    }
    assert!(lost > 20, "{lost}");
}

#[test]
fn a_flipped_bit_in_a_kept_segment_is_mended_and_costs_one_entry_at_most() {
    let whole = closed_cache();
    let (before, mut lost, mut kept, mut trailers) = (there(&whole), 0, 0, 0);
    for (path, end) in kept_files(&whole) {
        let trailer_at = (8 << 10) - 64;
        let content = whole.read_file(&path).unwrap();
        // A file that the log used before may end in the trailer of then: number and incarnation tell.
        let (magic, life) = (&content[8128..8135], &content[8152..8168]);
        let own = [&content[24..32], &content[84..92]].concat();
        let sealed = magic == b"PRNLTRL" && life == own;
        trailers += usize::from(sealed);
        // Where a header, an entry or a trailer counts.
        let bytes = [8, 100, 520, 1000]
            .into_iter()
            .chain((1024..end).step_by(31));
        for byte in bytes.chain(trailer_at..8 << 10) {
            let fs = whole.process_crash();
            fs.flip_bit(&path, byte, 5);
            if verify(&fs).problems.is_empty() {
                let counts = byte < 1024 || sealed && byte >= trailer_at;
                assert!(!counts, "byte {byte} of {path:?}");
                continue;
            }
            let report = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap();
            assert!(report.is_clean(), "byte {byte} of {path:?}: {report:?}");
            let now = there(&fs);
            let differ = before.iter().zip(&now).filter(|(a, b)| a != b).count();
            assert!(differ <= 1, "byte {byte}: {now:?}");
            lost += differ;
            kept += 1 - differ;
        }
    }
    assert!(lost > 20 && kept > 20, "{lost} lost, {kept} as before");
    assert!(trailers > 0, "no kept segment is full");
}

#[test]
fn kept_segments_are_shown() {
    let inspection = inspect_with(Arc::new(closed_cache()), DIR).unwrap();
    assert!(inspection.to_string().contains("kept"), "{inspection}");
}
