use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inode::Inode;
use super::*;
use crate::{File, OpenMode};

const SEEDS: u64 = 500;

fn machine() -> (SimFs, Arc<dyn Dir>) {
    let fs = SimFs::new(7);
    let dir = open_dir(&fs);
    (fs, dir)
}

fn open_dir(fs: &SimFs) -> Arc<dyn Dir> {
    fs.create_dir_all(Path::new("/d")).unwrap();
    fs.open_dir(Path::new("/d")).unwrap()
}

fn at(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

/// A file with this content, durable in name and data.
fn durable_file(dir: &dyn Dir, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = dir.open(name, OpenMode::CreateNew).unwrap();
    file.write_at(content, 0).unwrap();
    file.sync_data().unwrap();
    dir.sync().unwrap();
    file
}

/// What each seed leaves of one file.
fn remains(fs: &SimFs, name: &str) -> Vec<Option<Vec<u8>>> {
    let image = |seed| fs.power_loss(seed).read_file(&at(name));
    (0..SEEDS).map(image).collect()
}

#[test]
fn synced_data_survives_every_power_loss() {
    let (fs, dir) = machine();
    durable_file(&*dir, "a", &[1; 3000]);
    let file = durable_file(&*dir, "b", &[2; 100]);
    file.write_at(&[3; 100], 5000).unwrap();
    dir.open("c", OpenMode::CreateNew).unwrap();
    for seed in 0..SEEDS {
        let image = fs.power_loss(seed);
        assert_eq!(image.read_file(&at("a")).unwrap(), [1; 3000]);
        assert_eq!(image.read_file(&at("b")).unwrap()[..100], [2; 100]);
        assert_eq!(image.pending_effects(), 0);
        assert_eq!(
            image.power_loss(seed).file_names(Path::new("/d")),
            image.file_names(Path::new("/d"))
        );
    }
}

#[test]
fn a_rewritten_sector_is_old_or_new() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", &[1; 4096]);
    file.write_at(&[2; 4000], 50).unwrap();
    file.write_at(&[3; 600], 1024).unwrap();
    let mut seen = BTreeSet::new();
    for content in remains(&fs, "a") {
        let content = content.unwrap();
        assert_eq!(content.len(), 4096);
        assert_eq!((content[..50].to_vec(), content[4050]), (vec![1; 50], 1));
        for sector in content[512..3584].chunks(512) {
            let uniform = sector.iter().all(|b| *b == sector[0]);
            let partly = sector[..88] == [3; 88] && sector[88..] == [2; 424];
            assert!(uniform || partly, "torn inside a sector");
        }
        assert!(content[512..3584].iter().all(|b| (1..=3).contains(b)));
        assert!(content[512..1024].iter().all(|b| *b < 3));
        seen.insert((content[600], content[1024], content[2600]));
    }
    assert!(seen.is_superset(&BTreeSet::from([
        (1, 1, 1),
        (2, 3, 2),
        (1, 3, 2),
        (2, 2, 1),
        (2, 1, 2)
    ])));
}

#[test]
fn a_new_sector_may_show_zeros_junk_or_a_deleted_files_bytes() {
    let (fs, dir) = machine();
    durable_file(&*dir, "deleted", &[9; 2048]);
    dir.remove("deleted").unwrap();
    dir.sync().unwrap();
    let file = durable_file(&*dir, "a", b"");
    file.allocate(2048).unwrap();
    file.sync_data().unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    let seen: BTreeSet<u8> = remains(&fs, "a")
        .into_iter()
        .map(|c| c.unwrap()[700])
        .collect();
    assert!(seen.is_superset(&BTreeSet::from([0, 1, 9])));
    assert!(seen.len() > 10, "no junk: {seen:?}");
}

#[test]
fn nothing_but_a_sync_of_the_file_makes_its_data_durable() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", &[1; 512]);
    let other = durable_file(&*dir, "b", b"b");
    file.write_at(&[2; 512], 0).unwrap();
    drop(file);
    other.sync_data().unwrap();
    dir.sync().unwrap();
    fs.advance(1_000_000);
    let lost = |content: &Option<Vec<u8>>| content.as_ref().unwrap()[0] == 1;
    assert!(remains(&fs, "a").iter().any(lost));
    dir.open("a", OpenMode::Read).unwrap().sync_data().unwrap();
    assert!(!remains(&fs, "a").iter().any(lost));
}

#[test]
fn names_need_a_sync_of_the_directory() {
    let (fs, dir) = machine();
    let file = dir.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(b"content", 0).unwrap();
    file.sync_data().unwrap();
    let kept = remains(&fs, "a").iter().filter(|c| c.is_some()).count();
    assert!((50..450).contains(&kept));
    dir.sync().unwrap();
    assert!(remains(&fs, "a").iter().all(Option::is_some));
    dir.remove("a").unwrap();
    let back = remains(&fs, "a").into_iter().flatten().next().unwrap();
    assert_eq!(back, b"content");
    dir.sync().unwrap();
    assert!(remains(&fs, "a").iter().all(Option::is_none));
}

#[test]
fn size_and_data_are_independent() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", b"");
    file.write_at(&[1; 1024], 0).unwrap();
    let all = remains(&fs, "a");
    let any = |wanted: &dyn Fn(&[u8]) -> bool| all.iter().flatten().any(|c| wanted(c));
    assert!(any(&|c| c.is_empty()));
    assert!(any(&|c| c == [1; 1024]));
    assert!(any(&|c| c == [0; 1024]));
    assert!(any(&|c| c.len() == 1024
        && c[..512] == [0; 512]
        && c[512..] == [1; 512]));
    file.sync_data().unwrap();
    file.set_len(512).unwrap();
    file.set_len(1024).unwrap();
    let tails: BTreeSet<_> = remains(&fs, "a")
        .into_iter()
        .map(|c| c.unwrap()[512..].to_vec())
        .collect();
    assert_eq!(tails, BTreeSet::from([vec![], vec![0; 512], vec![1; 512]]));
}

#[test]
fn a_rename_leaves_the_old_name_the_new_one_or_both() {
    let (fs, dir) = machine();
    durable_file(&*dir, "target", b"old");
    durable_file(&*dir, "temp", b"new");
    dir.rename("temp", "target").unwrap();
    let seen: BTreeSet<_> = (0..SEEDS)
        .map(|seed| fs.power_loss(seed))
        .map(|image| {
            (
                image.read_file(&at("temp")).is_some(),
                image.read_file(&at("target")).unwrap(),
            )
        })
        .collect();
    let wanted = [(false, b"new"), (true, b"new"), (true, b"old")];
    assert_eq!(
        seen,
        wanted.map(|(temp, target)| (temp, target.to_vec())).into()
    );
}

#[test]
fn both_names_of_a_torn_rename_are_one_file() {
    let (fs, dir) = machine();
    durable_file(&*dir, "temp", b"new");
    dir.rename("temp", "target").unwrap();
    let both = |image: &SimFs| image.file_names(Path::new("/d")).len() == 2;
    let image = (0..SEEDS)
        .map(|seed| fs.power_loss(seed))
        .find(both)
        .unwrap();
    let dir = open_dir(&image);
    dir.open("temp", OpenMode::ReadWrite)
        .unwrap()
        .write_at(b"N", 0)
        .unwrap();
    dir.remove("temp").unwrap();
    dir.sync().unwrap();
    assert_eq!(image.read_file(&at("target")).unwrap(), b"New");
}

#[test]
fn a_process_crash_loses_nothing_and_syncs_nothing() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", &[1; 512]);
    file.write_at(&[2; 512], 0).unwrap();
    dir.open("b", OpenMode::CreateNew).unwrap();
    let guard = dir.try_lock("lock").unwrap();
    let image = fs.process_crash();
    assert_eq!(image.boot_id(), fs.boot_id());
    assert_eq!(image.read_file(&at("a")).unwrap(), [2; 512]);
    assert_eq!(image.file_names(Path::new("/d")), ["a", "b", "lock"]);
    assert_eq!(image.pending_effects(), 3);
    assert_eq!(image.pending_effects(), fs.pending_effects());
    assert!(open_dir(&image).try_lock("lock").unwrap().is_some());
    assert!(dir.try_lock("lock").unwrap().is_none());
    drop(guard);
    let after = remains(&image, "a");
    assert!(after.iter().flatten().any(|c| c[0] == 1));
    assert!(after.iter().flatten().any(|c| c[0] == 2));
    let b = remains(&image, "b");
    assert!(b.iter().any(Option::is_none) && b.iter().any(Option::is_some));
    file.write_at(&[3; 512], 0).unwrap();
    assert_eq!(image.read_file(&at("a")).unwrap(), [2; 512]);
}

#[test]
fn the_same_seed_leaves_the_same_machine() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", &[1; 4096]);
    file.write_at(&[2; 8192], 100).unwrap();
    dir.open("b", OpenMode::CreateNew).unwrap();
    let mut different = BTreeSet::new();
    for seed in 0..SEEDS {
        let (one, two) = (fs.power_loss(seed), fs.power_loss(seed));
        assert_eq!(one.read_file(&at("a")), two.read_file(&at("a")));
        assert_eq!(
            one.file_names(Path::new("/d")),
            two.file_names(Path::new("/d"))
        );
        assert_eq!(one.boot_id(), two.boot_id());
        assert_eq!(one.random_u64(), two.random_u64());
        assert_ne!(one.boot_id(), fs.boot_id());
        different.insert(one.boot_id());
    }
    assert_eq!(different.len() as u64, SEEDS);
}

#[test]
fn the_seeds_reach_the_extremes() {
    let (fs, dir) = machine();
    let files: Vec<_> = (0..6)
        .map(|i| durable_file(&*dir, &i.to_string(), &[1; 512]))
        .collect();
    for file in &files {
        file.write_at(&[2; 512], 0).unwrap();
    }
    let patterns: BTreeSet<Vec<bool>> = (0..SEEDS)
        .map(|seed| {
            let image = fs.power_loss(seed);
            let new = |i: usize| image.read_file(&at(&i.to_string())).unwrap()[0] == 2;
            (0..6).map(new).collect()
        })
        .collect();
    assert!(patterns.contains(&vec![true; 6]));
    assert!(patterns.contains(&vec![false; 6]));
    for one in 0..6 {
        assert!(patterns.contains(&(0..6).map(|i| i == one).collect::<Vec<_>>()));
        assert!(patterns.contains(&(0..6).map(|i| i != one).collect::<Vec<_>>()));
        assert!(patterns.contains(&(0..6).map(|i| i < one).collect::<Vec<_>>()));
    }
}

#[test]
fn mapped_sectors_are_kept_or_lost_each_for_itself() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", b"");
    file.allocate(3 * 4096).unwrap();
    file.sync_data().unwrap();
    let map = file.map(3 * 4096).unwrap();
    let store = |byte: u8| crate::fs::mapping::store(&*map, 0..2 * 4096, byte);
    store(1);
    assert_eq!(fs.pending_effects(), 2);
    let image = fs.process_crash();
    file.sync_data().unwrap();
    store(2);
    let check = |fs: &SimFs, old: u8, new: u8| {
        let (mut seen, mut torn) = (BTreeSet::new(), false);
        for content in remains(fs, "a") {
            let content = content.unwrap();
            for sector in content.chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]));
            }
            assert_eq!(content[8192], 0);
            torn |= content[..4096].iter().any(|b| *b != content[0]);
            seen.insert((content[0], content[4096]));
        }
        assert_eq!(
            seen,
            [(old, old), (old, new), (new, old), (new, new)].into()
        );
        assert!(torn, "no piece was torn");
    };
    check(&image, 0, 1);
    check(&fs, 1, 2);
    assert!(file.set_len(100).is_err());
    drop(map);
    file.set_len(100).unwrap();
    assert_eq!(fs.read_file(&at("a")).unwrap(), [2; 100]);
}

#[test]
fn a_full_disk_says_so_and_frees_what_is_removed() {
    let (fs, dir) = machine();
    fs.set_capacity(Some(1000));
    let file = dir.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(&[1; 600], 0).unwrap();
    assert_eq!(fs.free_bytes(dir.path()).unwrap(), 400);
    let other = dir.open("b", OpenMode::CreateNew).unwrap();
    let full = [
        other.allocate(401).unwrap_err(),
        other.set_len(401).unwrap_err(),
        other.write_at(&[1; 401], 0).unwrap_err(),
        file.write_at(&[1; 500], 501).unwrap_err(),
    ];
    assert!(full.iter().all(|e| e.kind() == ErrorKind::StorageFull));
    file.write_at(&[2; 600], 0).unwrap();
    other.allocate(400).unwrap();
    assert_eq!(fs.total_bytes(dir.path()), 1000);
    dir.remove("a").unwrap();
    assert_eq!(fs.free_bytes(dir.path()).unwrap(), 0);
    drop(file);
    assert_eq!(fs.free_bytes(dir.path()).unwrap(), 600);
}

#[test]
fn planted_files_are_durable_and_rot() {
    let (fs, dir) = machine();
    fs.write_file(&at("foreign"), b"abc");
    let file = dir.open("foreign", OpenMode::ReadWrite).unwrap();
    file.write_at(b"A", 0).unwrap();
    assert!(fs.flip_bit(&at("foreign"), 2, 0));
    assert!(!fs.flip_bit(&at("foreign"), 3, 0));
    assert!(!fs.flip_bit(&at("missing"), 0, 0));
    let seen: BTreeSet<_> = remains(&fs, "foreign").into_iter().flatten().collect();
    assert_eq!(seen, [b"abb".to_vec(), b"Abb".to_vec()].into());
    fs.write_file(&at("foreign"), b"second");
    assert!(
        remains(&fs, "foreign")
            .iter()
            .all(|c| c.as_deref() == Some(b"second"))
    );
    assert!(fs.remove_file(&at("foreign")));
    assert!(!fs.remove_file(&at("foreign")));
    assert!(remains(&fs, "foreign").iter().all(Option::is_none));
    assert_eq!(fs.total_bytes(dir.path()), 0);
}

#[test]
fn direct_mode_can_be_refused_and_wants_whole_sectors() {
    let (fs, dir) = machine();
    dir.open("a", OpenMode::CreateNew).unwrap();
    let file = dir.open("a", OpenMode::Direct).unwrap();
    let space = vec![1; 2048];
    let skip = space.as_ptr().align_offset(512);
    let refused = |buf: &[u8], offset| {
        file.write_at(buf, offset).unwrap_err().kind() == ErrorKind::InvalidInput
    };
    assert!(refused(&space[skip + 1..skip + 513], 0));
    assert!(refused(&space[skip..skip + 100], 0));
    assert!(refused(&space[skip..skip + 512], 100));
    assert_eq!(file.write_at(&space[skip..skip + 512], 512).unwrap(), 512);
    fs.refuse_direct(true);
    let kind = dir.open("a", OpenMode::Direct).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::InvalidInput);
}

#[test]
fn time_is_told_not_measured() {
    let (fs, _) = machine();
    let (wall, monotonic) = (fs.unix_time_ms(), fs.monotonic_ns());
    fs.advance(5);
    assert_eq!(fs.unix_time_ms(), wall + 5);
    assert!(fs.monotonic_ns() >= monotonic + 5_000_000);
    fs.set_unix_time_ms(3);
    assert_eq!(fs.unix_time_ms(), 3);
    assert_eq!(SimFs::new(7).boot_id(), fs.boot_id());
    assert_ne!(SimFs::new(8).boot_id(), fs.boot_id());
}

#[test]
fn marking_everything_durable_leaves_no_choice() {
    let (fs, dir) = machine();
    let file = dir.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(&[1; 5000], 0).unwrap();
    fs.mark_all_durable();
    assert_eq!(fs.pending_effects(), 0);
    assert!(
        remains(&fs, "a")
            .iter()
            .all(|c| c.as_deref() == Some(&[1; 5000][..]))
    );
}

/// Any sequence of changes: the file reads like a plain vector, and undoing the unsynced changes gives what the last
/// sync saw.
#[test]
fn the_durable_content_is_what_the_last_sync_saw() {
    fn holds(ops: Vec<(u8, u16, u8)>) -> bool {
        let mut inode = Inode::default();
        let (mut model, mut synced) = (Vec::new(), Vec::new());
        for (number, (op, place, len)) in (1..).zip(ops) {
            let (place, len) = (usize::from(place % 3000), usize::from(len) * 7);
            match op % 8 {
                0 => {
                    inode.sync();
                    synced.clone_from(&model);
                }
                1 => {
                    inode.set_len(number, place).unwrap();
                    model.resize(place, 0);
                }
                2 if place > 0 => {
                    // Maps what there is and drops the map: the content lives in the memory from here on.
                    let _ = inode.map(number, place);
                }
                _ if len > 0 => {
                    let end = place + len;
                    model.resize(model.len().max(end), 0);
                    model[place..end].fill(op);
                    inode.write(number, place, &vec![op; len]);
                }
                _ => {}
            }
        }
        inode.read_all() == model && inode.durable_content() == synced
    }
    let mut check = quickcheck::QuickCheck::new().tests(3000);
    check.quickcheck(holds as fn(Vec<(u8, u16, u8)>) -> bool);
}

#[test]
fn a_failed_sync_loses_what_a_later_one_does_not_bring_back() {
    let (fs, dir) = machine();
    let file = durable_file(&*dir, "a", &[1; 1024]);
    file.write_at(&[2; 1024], 0).unwrap();
    fs.set_syncs(Syncs::FailOnceAfter(0, Shows::New));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    file.write_at(&[3; 512], 512).unwrap();
    file.sync_data().unwrap();
    let read = |fs: &SimFs| fs.read_file(&at("a")).unwrap();
    assert_eq!(read(&fs), [[2; 512], [3; 512]].concat());
    assert_eq!(
        read(&fs.process_crash().power_loss(1)),
        [[1; 512], [3; 512]].concat()
    );
}
