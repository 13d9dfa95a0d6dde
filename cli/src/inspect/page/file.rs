//! The page's file: whole under its name or not at all, and in the place of nothing but an older page.
#![expect(clippy::disallowed_methods, reason = "a file of the caller's")]

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::export::plain;
use crate::failure::Failure;

/// How each page begins: by this an older one is known.
pub(super) const BEGIN: &str = "<!doctype html>\n<html lang=\"en\"><head><meta name=\"generator\" content=\"perennial inspect\">";
/// What a new file may be used for, before the process's umask.
const NEW_MODE: u32 = 0o666;
/// No page is made among the devices, whatever its name.
const DEVICES: &str = "/dev";

pub(super) fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let real = fs::canonicalize(dir).map_err(|error| Failure::file(dir, error))?;
    if real.starts_with(DEVICES) {
        return Err(Failure::NoPage(path.to_owned()));
    }
    let replaces = is_page(path)?;
    put(&real, path, page, replaces).map_err(|error| Failure::file(path, plain(error)))
}

/// Whether there is an older page; false where there is nothing.
fn is_page(path: &Path) -> Result<bool, Failure> {
    // Of a link itself, not of what it leads to.
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Failure::file(path, error)),
    };
    let refused = || Failure::NoPage(path.to_owned());
    if !there.is_file() {
        return Err(refused());
    }
    let mut first = Vec::new();
    let file = File::open(path).map_err(|error| Failure::file(path, error))?;
    file.take(BEGIN.len() as u64)
        .read_to_end(&mut first)
        .map_err(|error| Failure::file(path, error))?;
    if first == BEGIN.as_bytes() {
        Ok(true)
    } else {
        Err(refused())
    }
}

fn put(dir: &Path, path: &Path, page: &str, replaces: bool) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(NEW_MODE))
        .tempfile_in(dir)?;
    temporary.write_all(page.as_bytes())?;
    temporary.as_file().sync_all()?;
    let target = target(dir, path);
    let kept = if replaces {
        temporary.persist(target)
    } else {
        // Somebody may have made it meanwhile.
        temporary.persist_noclobber(target)
    };
    kept.map(drop).map_err(|error| error.error)
}

fn target(dir: &Path, path: &Path) -> PathBuf {
    path.file_name()
        .map_or_else(|| path.to_owned(), |name| dir.join(name))
}
