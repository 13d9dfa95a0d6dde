//! What a `create` that failed has made, to be removed: it leaves a directory as it found it.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{Dir, Fs};
use perennial_recovery::{TailPlace, identity};

use crate::config;

pub(crate) struct Traces {
    cache: PathBuf,
    /// Directories that were not there, each behind those in it.
    new_dirs: Vec<PathBuf>,
}

impl Traces {
    /// Of a directory in which there is no cache.
    pub(crate) fn none_yet(cache: &Path, tail_dir: Option<&Path>) -> Self {
        let dirs = tail_dir.into_iter().chain([cache]).flat_map(missing);
        let mut new_dirs: Vec<_> = dirs.map(Path::to_owned).collect();
        new_dirs.sort_by_key(|dir| Reverse(dir.components().count()));
        Self {
            cache: cache.to_owned(),
            new_dirs,
        }
    }

    /// As far as that goes: who calls has another error to report.
    pub(crate) fn remove(&self) {
        if let Ok(dir) = StdFs.open_dir(&self.cache) {
            remove_files(&*dir);
        }
        // Those in which there is something else stay.
        for dir in &self.new_dirs {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn missing(path: &Path) -> impl Iterator<Item = &Path> {
    let named = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    named.take_while(|path| !path.exists())
}

fn remove_files(dir: &dyn Dir) {
    // Another process may have been quicker: then the cache is that one's.
    let Ok(Some(_lock)) = dir.try_lock(identity::LOCK_NAME) else {
        return;
    };
    if let Ok(Some(identity)) = identity::read(dir) {
        remove_tail(&identity.tail);
    }
    let files = dir.list().unwrap_or_default();
    for file in files.iter().filter(|file| is_of_a_cache(&file.name)) {
        let _ = dir.remove(&file.name);
    }
}

fn remove_tail(tail: &TailPlace) {
    if let Some(elsewhere) = &tail.dir
        && let Ok(dir) = StdFs.open_dir(Path::new(elsewhere))
    {
        let name = tail.file_name();
        let _ = dir.remove(&name);
        let _ = dir.remove(&format!("{name}.lock"));
    }
}

fn is_of_a_cache(name: &str) -> bool {
    use identity::{FILE_NAME, LOCK_NAME, TAIL_PREFIX, TEMPORARY_NAME};
    [FILE_NAME, LOCK_NAME, TEMPORARY_NAME].contains(&name)
        || config::OWN_NAMES.contains(&name)
        || name.starts_with(TAIL_PREFIX)
        || name.starts_with("seg-")
}
