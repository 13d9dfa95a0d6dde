//! Making durable what a store left to the page cache.

use std::fs::{self, File};
use std::path::Path;

use crate::failure::Result;

/// `fsync` of every file below `dir`.
pub(crate) fn sync_files(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    Ok(File::open(dir)?.sync_all()?)
}

/// The whole file system, for stores of more files than can be synced one by one.
pub(crate) fn sync_file_system(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}
