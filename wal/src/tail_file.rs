//! The tail's file.

use std::sync::Arc;

use perennial_failpoints::fs::{Dir, File, OpenMode, write_all_at};

use crate::error::{Result, WalError};
use crate::lsn::{align_up, to_usize};
use crate::open::TailMemory;
use crate::tail_head::TAIL_HEAD_BYTES;

/// Opens or makes the tail file `name` with a ring of `ring_bytes`, and maps it.
///
/// # Errors
/// What the file system reports.
pub fn open_tail_file(dir: &dyn Dir, name: &str, ring_bytes: u64) -> Result<TailMemory> {
    let path = dir.path().join(name).display().to_string();
    let len = align_up(TAIL_HEAD_BYTES + ring_bytes, 4096);
    let mapped = open_or_make(dir, name, len).and_then(|file| file.map(to_usize(len)));
    mapped
        .map(|map| TailMemory::mapped(map, ring_bytes))
        .map_err(|e| WalError::io("map", path, 0, e))
}

/// The tail is written once in full, never sparse: a store through the mapping must never need a block of the file
/// system, which would be a bus error on a full disk (PROTOCOL hole 26).
fn open_or_make(dir: &dyn Dir, name: &str, len: u64) -> std::io::Result<Arc<dyn File>> {
    match dir.open(name, OpenMode::ReadWrite) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            perennial_failpoints::site!("wal::tail_file::create");
            let file = dir.open(name, OpenMode::CreateNew)?;
            let made = give_full_size(dir, &*file, len);
            if made.is_err() {
                // Half of one would keep a full disk full.
                let _ = dir.remove(name);
            }
            made.map(|()| file)
        }
        other => {
            let file = other?;
            give_full_size(dir, &*file, len)?;
            Ok(file)
        }
    }
}

fn give_full_size(dir: &dyn Dir, file: &dyn File, len: u64) -> std::io::Result<()> {
    let had = file.len()?;
    perennial_failpoints::site!("wal::tail_file::allocate");
    // One of full size, too: a copy may have left its zeros out.
    file.allocate(len)?;
    if had < len {
        let zeros = vec![0; to_usize((len - had).min(1 << 20))];
        let mut at = had;
        while at < len {
            let n = (len - at).min(zeros.len() as u64);
            perennial_failpoints::site!("wal::tail_file::fill");
            write_all_at(file, &zeros[..to_usize(n)], at, 1)?;
            at += n;
        }
        perennial_failpoints::site!("wal::tail_file::sync_dir");
        dir.sync()?;
    }
    Ok(())
}
