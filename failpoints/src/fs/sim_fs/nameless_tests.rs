//! Files that a crash leaves without a name: nobody finds them, and their bytes are still on the media.

use std::path::Path;
use std::sync::Arc;

use super::SimFs;
use crate::{Dir, Fs, OpenMode};

fn open(fs: &SimFs) -> Arc<dyn Dir> {
    fs.create_dir_all(Path::new("/d")).unwrap();
    fs.open_dir(Path::new("/d")).unwrap()
}

/// How many of the images of a new file, whose bytes were not synced, show `stale` ones.
fn shows(fs: &SimFs, stale: u8) -> usize {
    let dir = open(fs);
    let file = dir.open("new", OpenMode::CreateNew).unwrap();
    file.set_len(512).unwrap();
    file.sync_data().unwrap();
    dir.sync().unwrap();
    file.write_at(&[1; 512], 0).unwrap();
    let shown = |seed| fs.power_loss(seed).read_file(Path::new("/d/new")).unwrap();
    (0..200).filter(|seed| shown(*seed) == [stale; 512]).count()
}

/// They were synced, so they are on the media; the next file may be given their space.
#[test]
fn bytes_of_a_file_whose_name_was_lost_show_in_new_files() {
    let fs = SimFs::new(3);
    let file = open(&fs).open("lost", OpenMode::CreateNew).unwrap();
    file.write_at(&[7; 512], 0).unwrap();
    file.sync_data().unwrap();
    let dark = fs.power_loss_keeping(0);
    assert_eq!(dark.file_names(Path::new("/d")), Vec::<String>::new());
    assert!(shows(&dark, 7) > 0, "its space is not shown again");
}

#[test]
fn bytes_that_only_a_killed_process_still_held_show_in_new_files() {
    let fs = SimFs::new(3);
    let dir = open(&fs);
    let file = dir.open("held", OpenMode::CreateNew).unwrap();
    file.write_at(&[7; 512], 0).unwrap();
    dir.remove("held").unwrap();
    dir.sync().unwrap();
    assert_eq!(fs.pending_effects(), 0, "what nobody can find is not lost");
    assert!(shows(&fs.process_crash(), 7) > 0);
    // The handle keeps the space: nobody else is given it.
    assert_eq!(shows(&fs, 7), 0);
    drop(file);
}

/// What never reached the media is nowhere.
#[test]
fn bytes_that_were_not_synced_are_gone_with_their_name() {
    let fs = SimFs::new(3);
    let file = open(&fs).open("lost", OpenMode::CreateNew).unwrap();
    file.write_at(&[7; 512], 0).unwrap();
    assert_eq!(shows(&fs.power_loss_keeping(0), 7), 0);
}
