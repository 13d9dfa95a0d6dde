//! Directories on a real file system.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is removed at the end, unless something went wrong in it.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the cache goes; does not exist yet.
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.path().join("a/cache")
    }

    /// Keeps the directory and says where it is.
    pub(crate) fn keep(self, why: &str) -> String {
        format!("{why}; see {}", self.0.keep().display())
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Bytes of all files in a directory.
pub(crate) fn bytes_in(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

/// What all files in a directory take of their file system, in bytes.
pub(crate) fn taken_by(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
        .sum()
}

/// The names of all files in a directory.
pub(crate) fn files_in(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Copies the files of a directory to a new one, the tail too: what is mapped is read from the file.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    // A process may have been killed before it made the directory.
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
