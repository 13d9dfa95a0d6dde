//! What is in a directory, before anything is opened: of the commands that use a cache only `create` makes one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use perennial::ErrorKind;
use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{Dir, Fs};
use perennial_recovery::{Identity, identity};

use crate::config;
use crate::failure::Failure;

/// A directory that holds a cache.
pub(crate) struct Place {
    pub(crate) identity: Identity,
    /// What its segments and the tail take, in bytes.
    pub(crate) segment_files: u64,
    pub(crate) tail_bytes: u64,
}

impl Place {
    pub(crate) fn look(path: &Path) -> Result<Self, Failure> {
        let dir = open_dir(path)?;
        let identity = identity::read(&*dir).map_err(perennial::Error::from)?;
        let identity = identity.ok_or_else(|| why_none(path, &*dir))?;
        let files = dir.list().map_err(|error| Failure::file(path, error))?;
        let begins = |prefix: &'static str| {
            let files = files.iter();
            files.filter(move |file| file.name.starts_with(prefix))
        };
        Ok(Self {
            identity,
            segment_files: begins("seg-").count() as u64,
            tail_bytes: begins(identity::TAIL_PREFIX).map(|file| file.len).sum(),
        })
    }
}

fn open_dir(path: &Path) -> Result<Arc<dyn Dir>, Failure> {
    StdFs.open_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Absent(path.to_owned()),
        io::ErrorKind::NotADirectory => Failure::NoDirectory(path.to_owned()),
        _ => Failure::file(path, error),
    })
}

/// Why a directory without an identity holds no cache.
fn why_none(path: &Path, dir: &dyn Dir) -> Failure {
    match is_empty(dir) {
        Err(error) => Failure::file(path, error),
        Ok(true) => Failure::NoCache(path.to_owned()),
        // Segments without an identity are damage, and the library has the words for it.
        Ok(false) => match perennial::inspect(path) {
            Err(error) if error.kind() == ErrorKind::Corrupt => error.into(),
            _ => Failure::Strange(path.to_owned()),
        },
    }
}

/// But for what a `create` that was killed may have left.
fn is_empty(dir: &dyn Dir) -> io::Result<bool> {
    let ours = [identity::LOCK_NAME, identity::TEMPORARY_NAME];
    let is_ours = |name: &str| ours.contains(&name) || config::OWN_NAMES.contains(&name);
    let only_ours = dir.list()?.iter().all(|file| is_ours(&file.name));
    Ok(only_ours && !dir.has_other_entries()?)
}

/// What a `create` finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Free {
    /// Nothing, or what one left that was killed before there was a cache.
    Empty,
    /// A cache that one was making: nothing was ever stored in it.
    Begun,
}

/// Refuses a directory in which no cache can be made. One that is not there is made with it.
pub(crate) fn must_be_free(path: &Path) -> Result<Free, Failure> {
    match Place::look(path) {
        Err(Failure::Absent(_)) => Ok(Free::Empty),
        // Settings that somebody else has put there would be replaced.
        Err(Failure::NoCache(_)) if config::own_is_ours(path)? => Ok(Free::Empty),
        Err(Failure::NoCache(_)) => Err(Failure::Strange(path.to_owned())),
        Err(failure) => Err(failure),
        Ok(place) if is_begun(path, &place)? => Ok(Free::Begun),
        Ok(_) => Err(Failure::Exists(path.to_owned())),
    }
}

/// The last thing a `create` does is to close the cache, with a checkpoint.
fn is_begun(path: &Path, place: &Place) -> Result<bool, Failure> {
    if place.segment_files == 0 {
        return Ok(true);
    }
    if !config::own_is_ours(path)? {
        return Ok(false);
    }
    let found = perennial::inspect(path)?;
    Ok(found.checkpoint.is_none() && found.segments.iter().all(|segment| segment.frames == 0))
}
