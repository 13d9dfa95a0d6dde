//! What every [`Fs`] must do alike: each test runs on the real one, the simulated one, and both through [`FaultFs`].

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::mapping::{load, store};
use crate::{Dir, FaultFs, Fs, OpenMode, Plan, SimFs, StdFs, read_exact_at, write_all_at};

/// Runs `test` in an empty directory of each file system.
fn on_each(test: impl Fn(&dyn Fs, &dyn Dir)) {
    let root = tempfile::tempdir().unwrap();
    let std_fs: Arc<dyn Fs> = Arc::new(StdFs);
    let sim_fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    for (i, fs) in [std_fs, sim_fs].into_iter().enumerate() {
        let faulty = Arc::new(FaultFs::new(Arc::clone(&fs), Plan::none()));
        for (j, fs) in [fs, faulty].into_iter().enumerate() {
            let path = root.path().join(format!("fs-{i}-{j}/below"));
            fs.create_dir_all(&path).unwrap();
            test(&*fs, &*fs.open_dir(&path).unwrap());
        }
    }
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// The part of `space` that is aligned to 4096 bytes.
fn aligned(space: &mut [u8], len: usize) -> &mut [u8] {
    let skip = space.as_ptr().align_offset(4096);
    &mut space[skip..skip + len]
}

#[test]
fn what_is_written_is_read() {
    on_each(|_, dir| {
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        assert_eq!(file.write_at(b"hello", 3).unwrap(), 5);
        assert_eq!(file.len().unwrap(), 8);
        let mut buf = [9; 16];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8);
        assert_eq!(&buf[..9], b"\0\0\0hello\x09");
        assert_eq!(file.read_at(&mut buf, 6).unwrap(), 2);
        assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 20).unwrap(), 0);
        let short = read_exact_at(&*file, &mut buf, 0);
        assert_eq!(kind(short), ErrorKind::UnexpectedEof);
        file.sync_data().unwrap();
        file.advise_random();
    });
}

#[test]
fn what_is_read_is_appended_and_never_more_than_was_asked_for() {
    on_each(|_, dir| {
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        file.write_at(b"hello", 0).unwrap();
        let mut buf = Vec::with_capacity(64);
        buf.push(b'>');
        assert_eq!(file.read_append(&mut buf, 2, 0).unwrap(), 2);
        assert_eq!(file.read_append(&mut buf, 0, 0).unwrap(), 0);
        assert_eq!(file.read_append(&mut buf, 100, 3).unwrap(), 2);
        assert_eq!(file.read_append(&mut buf, 100, 5).unwrap(), 0);
        assert_eq!(buf, b">helo");
    });
}

#[test]
fn names_are_created_renamed_and_removed() {
    on_each(|_, dir| {
        assert_eq!(kind(dir.open("a", OpenMode::Read)), ErrorKind::NotFound);
        assert_eq!(kind(dir.remove("a")), ErrorKind::NotFound);
        assert_eq!(kind(dir.rename("a", "b")), ErrorKind::NotFound);
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        file.write_at(b"one", 0).unwrap();
        let again = dir.open("a", OpenMode::CreateNew);
        assert_eq!(kind(again), ErrorKind::AlreadyExists);
        dir.open("b", OpenMode::CreateNew).unwrap();
        dir.rename("a", "b").unwrap();
        let entries = dir.list().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((&*entries[0].name, entries[0].len), ("b", 3));
        dir.sync().unwrap();
        dir.remove("b").unwrap();
        dir.sync().unwrap();
        assert!(dir.list().unwrap().is_empty());
        let mut buf = [0; 3];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
        assert_eq!(&buf, b"one");
    });
}

#[test]
fn a_name_is_one_component() {
    on_each(|_, dir| {
        for name in ["", ".", "..", "a/b", "/a"] {
            let opened = dir.open(name, OpenMode::CreateNew);
            assert_eq!(kind(opened), ErrorKind::InvalidInput, "{name:?}");
        }
    });
}

#[test]
fn a_reader_cannot_write() {
    on_each(|_, dir| {
        dir.open("a", OpenMode::CreateNew).unwrap();
        let file = dir.open("a", OpenMode::Read).unwrap();
        file.write_at(b"x", 0).unwrap_err();
        file.set_len(1).unwrap_err();
        file.map(1).unwrap_err();
        let writer = dir.open("a", OpenMode::ReadWrite).unwrap();
        writer.write_at(b"x", 0).unwrap();
        assert_eq!(file.len().unwrap(), 1);
    });
}

#[test]
fn directories_are_found_and_told_from_files() {
    on_each(|fs, dir| {
        assert!(!dir.has_other_entries().unwrap());
        dir.open("file", OpenMode::CreateNew).unwrap();
        assert!(!dir.has_other_entries().unwrap());
        fs.create_dir_all(&dir.path().join("x/y")).unwrap();
        fs.create_dir_all(&dir.path().join("x/y")).unwrap();
        assert!(dir.has_other_entries().unwrap());
        assert_eq!(dir.list().unwrap().len(), 1);
        assert!(fs.open_dir(&dir.path().join("x/y")).is_ok());
        let missing = fs.open_dir(&dir.path().join("z"));
        assert_eq!(kind(missing), ErrorKind::NotFound);
        fs.create_dir_all(&dir.path().join("file")).unwrap_err();
        assert!(fs.free_bytes(dir.path()).unwrap() > 0);
        assert_eq!(fs.boot_id(), fs.boot_id());
    });
}

#[test]
fn one_holds_a_lock_until_it_drops_it() {
    on_each(|fs, dir| {
        let guard = dir.try_lock("lock").unwrap();
        assert!(guard.is_some());
        assert!(dir.try_lock("lock").unwrap().is_none());
        let other = fs.open_dir(dir.path()).unwrap();
        assert!(other.try_lock("lock").unwrap().is_none());
        assert!(other.try_lock("other").unwrap().is_some());
        drop(guard);
        assert!(other.try_lock("lock").unwrap().is_some());
        assert_eq!(dir.list().unwrap().len(), 2);
    });
}

#[test]
fn sizes_are_cut_and_extended_with_zeros() {
    on_each(|_, dir| {
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        file.write_at(&[7; 2000], 0).unwrap();
        file.set_len(600).unwrap();
        file.set_len(1200).unwrap();
        let mut buf = vec![1; 1200];
        read_exact_at(&*file, &mut buf, 0).unwrap();
        assert!(buf[..600].iter().all(|b| *b == 7));
        assert!(buf[600..].iter().all(|b| *b == 0));
        file.allocate(4096).unwrap();
        assert_eq!(file.len().unwrap(), 4096);
        file.allocate(100).unwrap();
        file.allocate(0).unwrap();
        assert_eq!(file.len().unwrap(), 4096);
    });
}

#[test]
fn a_map_and_its_file_show_the_same_bytes() {
    on_each(|_, dir| {
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        file.allocate(10_000).unwrap();
        assert_eq!(kind(file.map(0)), ErrorKind::InvalidInput);
        assert_eq!(kind(file.map(10_001)), ErrorKind::InvalidInput);
        let map = file.map(8192).unwrap();
        let other = dir.open("a", OpenMode::ReadWrite).unwrap();
        let second = other.map(4096).unwrap();
        assert_eq!((map.len(), second.len()), (8192, 4096));
        assert_eq!(map.as_ptr().align_offset(4096), 0);
        store(&*map, 100..101, 42);
        assert_eq!(load(&*second, 100), 42);
        let mut buf = [0; 4];
        other.read_at(&mut buf, 99).unwrap();
        assert_eq!(buf, [0, 42, 0, 0]);
        // Across the end of the map.
        other.write_at(&[5; 2000], 8000).unwrap();
        assert_eq!(load(&*map, 8191), 5);
        drop((map, second));
        file.sync_data().unwrap();
        let mut buf = vec![0; 10_000];
        read_exact_at(&*other, &mut buf, 0).unwrap();
        assert_eq!((buf[100], buf[7999], buf[8000], buf[9999]), (42, 0, 5, 5));
    });
}

#[test]
fn direct_files_take_whole_sectors() {
    on_each(|_, dir| {
        let file = dir.open("a", OpenMode::CreateNew).unwrap();
        file.allocate(8192).unwrap();
        let direct = match dir.open("a", OpenMode::Direct) {
            // This machine's temporary directory has no such mode.
            Err(e) if e.kind() == ErrorKind::InvalidInput => return,
            opened => opened.unwrap(),
        };
        let mut space = vec![3; 3 * 4096];
        let buf = aligned(&mut space, 4096);
        write_all_at(&*direct, buf, 4096, 4096).unwrap();
        buf.fill(0);
        read_exact_at(&*direct, buf, 4096).unwrap();
        assert!(buf.iter().all(|b| *b == 3));
        let mut seen = [0; 2];
        file.read_at(&mut seen, 4095).unwrap();
        assert_eq!(seen, [0, 3]);
        // Not every file system insists; those that do say so like this.
        for odd in [direct.write_at(&buf[..100], 0), direct.write_at(buf, 100)] {
            assert!(odd.is_ok() || kind(odd) == ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn clocks_go_forward() {
    on_each(|fs, _| {
        let before = fs.monotonic_ns();
        let random = fs.random_u64();
        assert!(fs.unix_time_ms() > 1_600_000_000_000);
        assert_ne!(fs.random_u64(), random);
        assert!(fs.monotonic_ns() > before);
        assert!(fs.open_dir(Path::new("/no/such/directory")).is_err());
    });
}
