//! Syncs that fail or lie, versions of mapped pieces, damage at rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Shows, SimFs, Syncs};
use crate::fs::mapping::store;
use crate::{Dir, File, Fs, OpenMode};

const SEEDS: u64 = 500;

fn at(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

/// A machine with one durable file of two sectors of 1.
fn machine() -> (SimFs, Arc<dyn Dir>, Arc<dyn File>) {
    let fs = SimFs::new(7);
    fs.write_file(&at("a"), &[1; 1024]);
    let dir = fs.open_dir(Path::new("/d")).unwrap();
    let file = dir.open("a", OpenMode::ReadWrite).unwrap();
    (fs, dir, file)
}

/// The first byte of each sector of a file, for every seed.
fn shown(fs: &SimFs) -> BTreeSet<Vec<u8>> {
    let sectors = |content: Vec<u8>| content.chunks(512).map(|s| s[0]).collect();
    let image = |seed| fs.power_loss(seed).read_file(&at("a"));
    (0..SEEDS)
        .map(|seed| sectors(image(seed).unwrap()))
        .collect()
}

fn seen(fs: &SimFs) -> Vec<u8> {
    let content = fs.read_file(&at("a")).unwrap();
    content.chunks(512).map(|sector| sector[0]).collect()
}

#[test]
fn what_a_failed_sync_gave_up_no_later_sync_writes() {
    let (fs, _, file) = machine();
    file.write_at(&[2; 1024], 0).unwrap();
    fs.set_syncs(Syncs::FailOnce(Shows::New));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(seen(&fs), [2, 2], "reads go on showing it");
    assert_eq!(seen(&fs.process_crash()), [2, 2]);
    let any = [vec![1, 1], vec![1, 2], vec![2, 1], vec![2, 2]];
    assert_eq!(shown(&fs), any.clone().into());
    assert_eq!(shown(&fs.process_crash()), any.into());
    // Written again, it is synced like anything else.
    file.write_at(&[3; 512], 512).unwrap();
    file.sync_data().unwrap();
    assert_eq!(shown(&fs), [vec![1, 3], vec![2, 3]].into());
    assert_eq!(fs.pending_effects(), 1);
    assert_eq!(fs.power_loss(1).pending_effects(), 0);
}

#[test]
fn a_failed_sync_may_show_what_was_there_before() {
    let (fs, _, file) = machine();
    file.write_at(&[2; 1000], 512).unwrap();
    fs.set_syncs(Syncs::FailOnce(Shows::Old));
    file.sync_data().unwrap_err();
    // The size is durable, the bytes are not.
    assert_eq!(seen(&fs), [1, 1, 0]);
    assert_eq!(file.len().unwrap(), 1512);
    file.sync_data().unwrap();
    assert_eq!(shown(&fs), [vec![1, 1, 0]].into());
}

#[test]
fn a_new_sector_that_was_given_up_may_show_anything() {
    let (fs, _, file) = machine();
    file.write_at(&[2; 512], 1024).unwrap();
    fs.set_syncs(Syncs::FailOnce(Shows::New));
    file.sync_data().unwrap_err();
    let last: BTreeSet<u8> = shown(&fs).into_iter().map(|s| s[2]).collect();
    assert!(
        last.contains(&0) && last.contains(&2) && last.len() > 8,
        "{last:?}"
    );
}

#[test]
fn syncs_may_fail_for_ever() {
    let (fs, dir, file) = machine();
    fs.set_syncs(Syncs::Fail(Shows::New));
    for byte in 2..5 {
        file.write_at(&[byte; 1024], 0).unwrap();
        file.sync_data().unwrap_err();
    }
    dir.sync().unwrap_err();
    let first: BTreeSet<u8> = shown(&fs).into_iter().map(|s| s[0]).collect();
    assert_eq!(first, [1, 4].into());
    // A crash ends it.
    let after = fs.process_crash();
    let dir = after.open_dir(Path::new("/d")).unwrap();
    dir.open("a", OpenMode::ReadWrite)
        .unwrap()
        .sync_data()
        .unwrap();
}

#[test]
fn a_cut_takes_what_was_given_up_with_it() {
    let (fs, _, file) = machine();
    file.write_at(&[2; 1024], 0).unwrap();
    fs.set_syncs(Syncs::FailOnce(Shows::New));
    file.sync_data().unwrap_err();
    file.set_len(600).unwrap();
    file.set_len(1024).unwrap();
    file.sync_data().unwrap();
    for seed in 0..SEEDS {
        let content = fs.power_loss(seed).read_file(&at("a")).unwrap();
        assert!(content[600..].iter().all(|b| *b == 0));
        assert!([1, 2].contains(&content[0]) && [1, 2].contains(&content[512]));
    }
}

#[test]
fn stores_through_a_map_are_given_up_too_and_stay_visible() {
    for shows in [Shows::New, Shows::Old] {
        let (fs, _, file) = machine();
        let map = file.map(1024).unwrap();
        store(&*map, 0..1024, 2);
        fs.set_syncs(Syncs::FailOnce(shows));
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(seen(&fs), [2, 2]);
        let any = [vec![1, 1], vec![1, 2], vec![2, 1], vec![2, 2]];
        assert_eq!(shown(&fs), any.into());
        // Stored anew, the piece is dirty again.
        store(&*map, 0..1, 3);
        file.sync_data().unwrap();
        assert_eq!(shown(&fs), [vec![3, 2]].into());
    }
}

#[test]
fn a_sync_that_lies_makes_nothing_durable() {
    let (fs, dir, file) = machine();
    fs.set_syncs(Syncs::Lie);
    file.write_at(&[2; 512], 0).unwrap();
    file.sync_data().unwrap();
    dir.open("b", OpenMode::CreateNew).unwrap();
    dir.sync().unwrap();
    assert_eq!(shown(&fs), [vec![1, 1], vec![2, 1]].into());
    let names: BTreeSet<_> = (0..SEEDS)
        .map(|seed| fs.power_loss(seed).file_names(Path::new("/d")).len())
        .collect();
    assert_eq!(names, [1, 2].into());
    fs.set_syncs(Syncs::Work);
    file.sync_data().unwrap();
    assert_eq!(shown(&fs), [vec![2, 1]].into());
}

#[test]
fn a_mapped_piece_shows_any_version_it_had_at_a_sync() {
    let (fs, dir, file) = machine();
    let other = dir.open("b", OpenMode::CreateNew).unwrap();
    let map = file.map(1024).unwrap();
    for byte in 2..5 {
        store(&*map, 0..1024, byte);
        // Another file's: it orders what was stored before it.
        other.sync_data().unwrap();
    }
    let first = |fs: &SimFs| -> BTreeSet<u8> { shown(fs).into_iter().map(|s| s[0]).collect() };
    assert_eq!(first(&fs), [1, 2, 3, 4].into());
    assert_eq!(first(&fs.process_crash()), [1, 2, 3, 4].into());
    // Back at what the media held at first: it may hold a later version by now.
    store(&*map, 0..1024, 1);
    assert_eq!(first(&fs), [1, 2, 3, 4].into());
    store(&*map, 0..1024, 5);
    file.sync_data().unwrap();
    assert_eq!(first(&fs), [5].into());
}

#[test]
fn files_at_rest_are_damaged_silently() {
    let (fs, _, _) = machine();
    let older = fs.process_crash();
    fs.write_file(&at("b"), &[2; 2048]);
    assert!(fs.overwrite(&at("a"), 512, &[3; 512]));
    assert_eq!(seen(&fs), [1, 3]);
    assert!(fs.revert(&at("a"), &older, 512, 512));
    assert_eq!(seen(&fs), [1, 1], "a stale sector");
    assert!(fs.zero(&at("a"), 0, 512));
    assert_eq!(seen(&fs), [0, 1]);
    assert!(fs.copy_part((&at("a"), 512), (&at("a"), 0), 512));
    assert!(fs.copy_part((&at("b"), 1024), (&at("a"), 512), 512));
    assert_eq!(seen(&fs), [1, 2], "misdirected");
    assert!(fs.resize_file(&at("a"), 1536));
    assert_eq!(seen(&fs), [1, 2, 0]);
    assert!(fs.swap_files(&at("a"), &at("b")));
    assert_eq!(seen(&fs), [2, 2, 2, 2]);
    assert!(fs.duplicate_file(&at("b"), &at("c")));
    assert_eq!(fs.read_file(&at("c")), fs.read_file(&at("b")));
    assert!(fs.resize_file(&at("a"), 512));
    assert_eq!(seen(&fs), [2]);
    assert_eq!(fs.pending_effects(), 0);
    assert!(!fs.overwrite(&at("a"), 100, &[0; 512]), "past the end");
    assert!(!fs.zero(&at("nothing"), 0, 1));
    assert!(!fs.revert(&at("a"), &older, usize::MAX, 1));
    assert!(!fs.swap_files(&at("a"), &at("nothing")));
    assert_eq!(seen(&fs), [2]);
}
