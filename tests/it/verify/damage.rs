//! Damage is found in every kind of structure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{FileState, inspect_with, verify_with};
use perennial_failpoints::SimFs;

use super::{DIR, Dice, assert_clean, open, options, verify, work};

/// A cache of several segments with extents and a checkpoint, closed cleanly, after another boot.
fn closed_cache(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    let cache = open(&fs, options(1 << 20));
    work(&cache, &mut Dice(seed), 400);
    cache.close().unwrap();
    fs.mark_all_durable();
    let fs = fs.power_loss(seed);
    assert_clean(&fs, "closed");
    fs
}

/// The files of the segments that count.
fn segment_files(fs: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let inspection = inspect_with(Arc::new(fs.clone()), DIR).unwrap();
    let live = |state| matches!(state, FileState::Sealed | FileState::Open);
    let read = |slot: u32| {
        let path = Path::new(DIR).join(format!("seg-{slot:06}"));
        let content = fs.read_file(&path).unwrap();
        (path, content)
    };
    let segments = inspection.segments.iter();
    segments
        .filter(|s| live(s.state))
        .map(|s| read(s.slot))
        .collect()
}

/// Flips one bit, verifies, flips it back.
fn finds(fs: &SimFs, path: &Path, byte: u64, bit: u32) -> bool {
    assert!(fs.flip_bit(path, byte, bit));
    let found = verify_with(Arc::new(fs.clone()), DIR).is_ok_and(|r| !r.problems.is_empty());
    fs.flip_bit(path, byte, bit);
    found
}

#[test]
fn a_flipped_bit_is_found_in_every_kind_of_structure() {
    let fs = closed_cache(7);
    let (mut kinds, mut flips) = (std::collections::BTreeMap::new(), 0);
    for (path, content) in segment_files(&fs) {
        // Both copies of the header.
        for at in [0, 13, 30, 75, 80, 512, 520, 590] {
            assert!(finds(&fs, &path, at, 3), "{path:?} header byte {at}");
        }
        for (at, kind, len) in frames(&content) {
            // Filler of kinds 3 remove, 4 mark and 8 pad is dead space.
            let body = if matches!(kind, 3 | 4 | 8) { 32 } else { len };
            for byte in [0, 5, 9, 15, 20, 29]
                .into_iter()
                .chain(32..body)
                .step_by(11)
            {
                let bit = u32::try_from(byte % 8).unwrap();
                assert!(
                    finds(&fs, &path, at + byte, bit),
                    "{path:?} frame of kind {kind} at {at}, byte {byte} of {len}"
                );
                flips += 1;
            }
            *kinds.entry(kind).or_insert(0) += 1;
        }
        if content[content.len() - 64..].starts_with(b"PRNLTRL") {
            let end = content.len() as u64;
            let rows = u64::from(content[content.len() - 52]);
            let used = (end - 64 - rows * 24..end - 64 + 56).step_by(5);
            for byte in used {
                assert!(finds(&fs, &path, byte, 6), "{path:?} trailer byte {byte}");
                flips += 1;
            }
            kinds.insert(100, 1);
        }
    }
    // Put, reference, remove, mark, extent, part, head; and a trailer.
    for kind in [1, 2, 3, 4, 5, 6, 7, 100] {
        assert!(
            kinds.contains_key(&kind),
            "no frame of kind {kind}: {kinds:?}"
        );
    }
    assert!(flips > 1_000, "{flips} flips");
    let identity = Path::new(DIR).join("identity");
    let len = fs.read_file(&identity).unwrap().len() as u64;
    for byte in (0..len).step_by(7) {
        assert!(finds(&fs, &identity, byte, 1), "identity byte {byte}");
    }
    assert_clean(&fs, "every bit flipped back");
}

/// The frames of a segment with one join: place, kind, bytes that are covered by a crc.
fn frames(content: &[u8]) -> Vec<(u64, u8, u64)> {
    let word = |at: usize| u32::from_le_bytes(content[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (1024, Vec::new());
    let mut last = false;
    while !last && at + 32 < content.len() && word(at + 4) as usize == at / 16 {
        let (kind, value) = (content[at + 8], word(at + 12) as usize);
        let key = usize::from(content[at + 10]) + 256 * usize::from(content[at + 11]);
        let len = 32 + key + value;
        found.push((at as u64, kind, len as u64));
        // A mark that ends its segment.
        last = kind == 4 && content[at + 9] & 0x20 != 0;
        at += len.next_multiple_of(if kind == 5 { 512 } else { 16 });
    }
    found
}

#[test]
fn a_flipped_bit_is_found_in_a_tail_of_this_boot() {
    let fs = SimFs::new(3);
    let cache = open(&fs, options(1 << 20));
    work(&cache, &mut Dice(3), 50);
    cache.close().unwrap();
    assert_clean(&fs, "closed");
    let names = fs.file_names(Path::new(DIR));
    let tail = names.iter().find(|name| name.starts_with("tail-")).unwrap();
    let tail = Path::new(DIR).join(tail);
    let copies = (0..96).chain(2560..2656);
    for byte in copies.chain(256..264).chain(2816..2824) {
        assert!(finds(&fs, &tail, byte, 2), "tail byte {byte}");
    }
    assert_clean(&fs, "every bit flipped back");
    fs.remove_file(&tail);
    assert_eq!(verify(&fs).problems.len(), 1);
}

#[test]
fn a_missing_segment_is_found() {
    let fs = closed_cache(11);
    for (path, content) in segment_files(&fs).into_iter().skip(1) {
        fs.remove_file(&path);
        let report = verify(&fs);
        assert!(!report.problems.is_empty(), "{path:?}: {report}");
        fs.write_file(&path, &content);
    }
    assert_clean(&fs, "every segment put back");
}

#[test]
fn files_of_others_are_counted_and_no_problem() {
    let fs = closed_cache(5);
    fs.write_file(&Path::new(DIR).join("notes.txt"), b"mine");
    let (path, _) = segment_files(&fs).pop().unwrap();
    let stranger = closed_cache(6);
    let (other, content) = segment_files(&stranger).pop().unwrap();
    assert_eq!(path.parent(), other.parent());
    fs.write_file(&Path::new(DIR).join("seg-000999"), &content);
    let report = assert_clean(&fs, "with strangers");
    assert_eq!(report.foreign_files, 2);
}

/// The repair at open took such a frame from the tail, and left the segment as it was: the tail was reset, and the next
/// power loss lost an entry that had been made durable.
#[test]
fn a_frame_that_only_the_tail_has_whole_is_written_again_by_the_next_open() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(1 << 20));
    cache.insert_durable("key", b"the value").unwrap();
    std::mem::forget(cache);
    let fs = fs.process_crash();
    let segment = Path::new(DIR).join("seg-000000");
    let content = fs.read_file(&segment).unwrap();
    let at = content.windows(9).position(|w| w == b"the value").unwrap();
    assert!(fs.flip_bit(&segment, at as u64, 4));
    assert_eq!(verify(&fs).problems.len(), 1);

    std::mem::forget(open(&fs, options(1 << 20)));
    let fs = fs.power_loss(1);
    assert_clean(&fs, "opened once");
    let cache = open(&fs, options(1 << 20));
    assert_eq!(
        cache.get("key").unwrap().as_deref(),
        Some(&b"the value"[..])
    );
}
