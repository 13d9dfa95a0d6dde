//! Copies of files as they were before a repair wrote to them.

use std::io;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, File, Fs, OpenMode, read_exact_at, write_all_at};

use crate::error::{Error, Result};
use crate::look::Look;

/// The directory of the copies, in the cache's own. Each is named like its file, with a number behind it. An open looks at
/// files only, so it is nobody's but the operator's, to keep or to remove.
pub const QUARANTINE_NAME: &str = "quarantine";

/// Bytes that are copied at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// What the media does not give of a piece is left out in parts of this size.
const PART_BYTES: u64 = 512;
const PARTIAL: &str = "copying";

#[derive(Default)]
pub(super) struct Quarantine {
    dir: Option<Arc<dyn Dir>>,
    /// What was copied already: a second look at it would copy what was written.
    files: Vec<String>,
    /// The copies' paths.
    pub(super) copies: Vec<String>,
}

impl Quarantine {
    /// Copies a file once, durably.
    pub(super) fn copy(
        &mut self,
        fs: &dyn Fs,
        look: &Look,
        from: &dyn Dir,
        name: &str,
    ) -> Result<()> {
        if self.files.iter().any(|file| file == name) {
            return Ok(());
        }
        let path = look.dir.path().join(QUARANTINE_NAME);
        let failed = |e| {
            let (from, to) = (from.path().join(name), path.display());
            let from = from.display();
            Error::io(
                format!("cannot copy {from} to {to}; nothing of it was changed"),
                e,
            )
        };
        let dir = match &self.dir {
            Some(dir) => Arc::clone(dir),
            None => {
                fs.create_dir_all(&path).map_err(failed)?;
                fs.open_dir(&path).map_err(failed)?
            }
        };
        let copy = copy(from, name, &*dir).map_err(failed)?;
        self.copies.push(path.join(copy).display().to_string());
        self.files.push(name.to_owned());
        self.dir = Some(dir);
        Ok(())
    }
}

/// The copy's name, which it gets when it is whole.
fn copy(from: &dyn Dir, name: &str, to: &dyn Dir) -> io::Result<String> {
    let source = from.open(name, OpenMode::Read)?;
    match to.remove(PARTIAL) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let copy = to.open(PARTIAL, OpenMode::CreateNew)?;
    let bytes = source.len()?;
    copy.set_len(bytes)?;
    for at in (0..bytes).step_by(perennial_wal::to_usize(PIECE_BYTES)) {
        copy_piece(&*source, &*copy, at, (bytes - at).min(PIECE_BYTES))?;
    }
    copy.sync_data()?;
    let there = to.list()?;
    let is_free = |name: &String| there.iter().all(|entry| entry.name != *name);
    let mut names = (1_u64..).map(|n| format!("{name}.{n}"));
    let free = names.find(is_free).unwrap_or_default();
    to.rename(PARTIAL, &free)?;
    to.sync()?;
    Ok(free)
}

/// What the media does not give stays zeros in the copy.
fn copy_piece(source: &dyn File, copy: &dyn File, at: u64, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0; perennial_wal::to_usize(bytes)];
    if read_exact_at(source, &mut piece, at).is_ok() {
        return write_all_at(copy, &piece, at, 1);
    }
    for part_at in (at..at + bytes).step_by(perennial_wal::to_usize(PART_BYTES)) {
        let part = &mut piece[..perennial_wal::to_usize((at + bytes - part_at).min(PART_BYTES))];
        match read_exact_at(source, part, part_at) {
            Ok(()) => write_all_at(copy, part, part_at, 1)?,
            Err(error) => tracing::warn!(at = part_at, %error, "left out of the copy"),
        }
    }
    Ok(())
}
