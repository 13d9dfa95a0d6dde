//! Every single bit of a small directory that lies under a checksum: found, named, and mended so that nothing else changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{Eviction, RepairMode, Value, repair_with};
use perennial_failpoints::SimFs;

use super::structures::{Structure, What, structures};
use super::{DIR, assert_clean, bytes, open, options, verify};

const CAPACITY: u64 = 256 << 10;

/// Every kind of frame that a log of one life has, in two segments, and a checkpoint; closed.
fn small_cache() -> SimFs {
    let fs = SimFs::new(1);
    let options = options(CAPACITY).index_shards(1).eviction(Eviction::Fifo);
    let cache = open(&fs, options);
    cache.insert("tile", b"an older value").unwrap();
    cache.insert("tile", b"a small value").unwrap();
    cache.insert("large", vec![7; 1_700]).unwrap();
    cache.insert("gone", b"for a while").unwrap();
    cache.remove("gone").unwrap();
    cache.checkpoint().unwrap();
    for n in 0..3 {
        cache.insert(format!("filler-{n}"), vec![n; 900]).unwrap();
    }
    cache.remove_prefix("filler-1").unwrap();
    cache.insert("newest", b"in another segment").unwrap();
    cache.close().unwrap();
    fs.mark_all_durable();
    assert_clean(&fs, "closed");
    fs
}

/// As it was closed, and after another boot, in which the tail proves nothing.
fn boots() -> [(SimFs, bool); 2] {
    let fs = small_cache();
    let later = fs.power_loss(1);
    [(fs, true), (later, false)]
}

fn all_structures(fs: &SimFs, tail: bool) -> Vec<(PathBuf, Structure)> {
    let files = bytes(fs)
        .into_iter()
        .filter(|(name, _)| tail || !name.starts_with("tail-"));
    let of_file = |(name, content): (String, Vec<u8>)| {
        let path = Path::new(DIR).join(&name);
        let found = structures(&name, &content).into_iter();
        found.map(move |structure| (path.clone(), structure))
    };
    files.flat_map(of_file).collect()
}

fn entries(fs: &SimFs) -> BTreeMap<&'static str, Option<Value>> {
    let keys = [
        "tile", "large", "gone", "filler-0", "filler-1", "filler-2", "newest",
    ];
    let cache = open(&fs.process_crash(), options(CAPACITY));
    keys.map(|key| (key, cache.get(key).unwrap())).into()
}

/// The problems that name the structure.
fn names_it(fs: &SimFs, path: &Path, structure: &Structure) -> bool {
    let shown = path.display().to_string();
    let inside = |offset| structure.bytes.contains(&usize::try_from(offset).unwrap());
    let problems = verify(fs).problems;
    problems
        .iter()
        .any(|problem| problem.path == shown && inside(problem.offset))
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    for (fs, same_boot) in boots() {
        every_bit_of(&fs, same_boot);
    }
}

fn every_bit_of(fs: &SimFs, same_boot: bool) {
    let (mut kinds, mut bits) = (BTreeSet::new(), 0_u64);
    for (path, structure) in all_structures(fs, same_boot) {
        kinds.insert(structure.what);
        for bit in structure.bytes.start * 8..structure.bytes.end * 8 {
            let (byte, bit_of_it) = ((bit / 8) as u64, u32::try_from(bit % 8).unwrap());
            assert!(fs.flip_bit(&path, byte, bit_of_it));
            assert!(
                names_it(fs, &path, &structure),
                "{path:?} {structure:?} bit {bit}"
            );
            fs.flip_bit(&path, byte, bit_of_it);
            bits += 1;
        }
    }
    let frames = (1..=8).chain([10]).map(What::Frame);
    let others = [What::Identity, What::Header, What::Trailer];
    let tail = same_boot.then_some(What::Tail);
    assert_eq!(kinds, frames.chain(others).chain(tail).collect());
    assert!(bits > 50_000, "{bits}");
    assert_clean(fs, "every bit flipped back");
}

#[test]
fn what_is_mended_verifies_clean_and_nothing_else_changes() {
    for (fs, same_boot) in boots() {
        // The tail still has the newest one.
        let newest = (!same_boot).then_some("newest");
        let values = ["tile", "large", "filler-0", "filler-2"].into_iter();
        let forgotten = forgotten_of(&fs, same_boot);
        assert_eq!(forgotten, values.chain(newest).collect());
    }
}

/// The entries that some bit costs.
fn forgotten_of(fs: &SimFs, same_boot: bool) -> BTreeSet<&'static str> {
    let whole = entries(fs);
    let before = bytes(fs);
    let mut forgotten = BTreeSet::new();
    for (path, structure) in all_structures(fs, same_boot) {
        let bits = structure.bytes.start * 8..structure.bytes.end * 8;
        // Each bit of the place in the byte, and of the beginning.
        for bit in bits.clone().take(64).chain(bits.step_by(37)) {
            let (byte, bit_of_it) = (bit / 8, u32::try_from(bit % 8).unwrap());
            let fs = fs.process_crash();
            assert!(fs.flip_bit(&path, byte as u64, bit_of_it));
            let when = format!("{path:?} {structure:?} bit {bit}");
            let report = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap();
            assert!(report.is_clean() && report.applied, "{when}: {report:?}");
            assert_clean(&fs, &when);
            let now = entries(&fs);
            if structure.what.is_value(byte, &structure) {
                let lost = now.iter().filter(|(key, value)| **value != whole[*key]);
                let lost: Vec<_> = lost.collect();
                assert!(
                    lost.len() <= 1 && lost.iter().all(|(_, v)| v.is_none()),
                    "{when}: {lost:?}"
                );
                forgotten.extend(lost.iter().map(|(key, _)| **key));
                continue;
            }
            assert_eq!(now, whole, "{when}");
            // A trailer says up to where the log was stable, of which its frames know less.
            let differs = bytes(&fs) != before;
            assert!(!differs || structure.what == What::Trailer, "{when}");
        }
    }
    forgotten
}
