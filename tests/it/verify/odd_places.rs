//! Ends that were lost, directories that are gone, locks that nobody has.

#![expect(
    clippy::disallowed_methods,
    reason = "directories that are looked at without the cache"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial::{Cache, Options, RepairMode, repair, repair_with};
use perennial_failpoints::SimFs;

use super::{DIR, open, options};

/// The log's last frames are lost, and behind them nothing was written: a bad sector, a lost write.
#[test]
fn a_lost_end_is_mended_at_once() {
    for lost in [100, 600, 3_000] {
        let fs = SimFs::new(3);
        let cache = open(&fs, options(1 << 20));
        for n in 0..16 {
            cache.insert(format!("key-{n:02}"), [n; 260]).unwrap();
        }
        cache.close().unwrap();
        fs.mark_all_durable();
        let fs = fs.power_loss(1);
        let path = Path::new(DIR).join("seg-000000");
        let bytes = fs.read_file(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert!(fs.zero(&path, end - lost, lost));
        let report = repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap();
        assert!(report.is_clean(), "{lost}: {report:?}");
        assert!(report.repairs.len() < 8, "{lost}: {report:?}");
    }
}

/// A cache on a disk whose tail lies elsewhere; closed.
fn with_a_tail_elsewhere(top: &Path) -> (PathBuf, PathBuf) {
    let (path, tails) = (top.join("cache"), top.join("tails"));
    let options = Options::new()
        .capacity_bytes(1 << 20)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .tail_dir(&tails)
        .background(false);
    let cache = Cache::open(&path, options).unwrap();
    cache.insert_durable("key", "value").unwrap();
    cache.close().unwrap();
    (path, tails)
}

/// On a file system of memory, which a restart empties.
#[test]
fn without_the_tails_directory() {
    let top = tempfile::tempdir().unwrap();
    let (path, tails) = with_a_tail_elsewhere(top.path());
    std::fs::remove_dir_all(&tails).unwrap();
    let segment = path.join("seg-000000");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(repair(&path, RepairMode::Apply).unwrap().is_clean());
}

/// Whoever mends has the directory for itself, be the lock's file there or not.
#[test]
fn without_the_locks_file() {
    let top = tempfile::tempdir().unwrap();
    let (path, _) = with_a_tail_elsewhere(top.path());
    std::fs::remove_file(path.join("LOCK")).unwrap();
    repair(&path, RepairMode::Apply).unwrap();
    assert!(path.join("LOCK").exists(), "it was not locked");
}
