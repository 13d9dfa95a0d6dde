//! The identity's file: read, and replaced in one step.

use std::io;
use std::path::PathBuf;

use perennial_failpoints::{Dir, OpenMode, read_exact_at, site, write_all_at};
use perennial_wal::to_usize;

use super::{FILE_NAME, Identity, IdentityError, MAX_FILE_BYTES, TEMPORARY_NAME, decode_copy};

/// Why an identity file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// A system call failed.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there but is not an identity that this code reads.
    #[error("{}: {source}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// The file is, or would be, longer than any identity.
    #[error("{}: {bytes} bytes, at most {MAX_FILE_BYTES} expected", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

/// Reads the identity of a cache directory; `None` where it has none.
///
/// # Errors
/// When there is one that cannot be read.
pub fn read(dir: &dyn Dir) -> Result<Option<Identity>, IdentityFileError> {
    let Some(content) = read_content(dir)? else {
        return Ok(None);
    };
    match Identity::decode(&content) {
        Ok(identity) => Ok(Some(identity)),
        Err(source) => Err(IdentityFileError::Content {
            path: dir.path().join(FILE_NAME),
            source,
        }),
    }
}

/// What is wrong with the copies in the identity file, and where each begins.
///
/// # Errors
/// When the file cannot be read.
pub fn bad_copies(dir: &dyn Dir) -> Result<Vec<(u64, IdentityError)>, IdentityFileError> {
    let content = read_content(dir)?.unwrap_or_default();
    let bad = |at: usize| Some((at as u64, decode_copy(&content[at..]).err()?));
    Ok([0, content.len() / 2].into_iter().filter_map(bad).collect())
}

fn read_content(dir: &dyn Dir) -> Result<Option<Vec<u8>>, IdentityFileError> {
    let failed = |op| move |e| io_error(op, dir, FILE_NAME, e);
    let file = match dir.open(FILE_NAME, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("open")(e)),
    };
    let bytes = file.len().map_err(failed("size of"))?;
    if bytes > MAX_FILE_BYTES {
        let path = dir.path().join(FILE_NAME);
        return Err(IdentityFileError::TooLong { path, bytes });
    }
    let mut content = vec![0; to_usize(bytes)];
    read_exact_at(&*file, &mut content, 0).map_err(failed("read"))?;
    Ok(Some(content))
}

/// Makes `identity` the identity of a cache directory, in one step: a crash leaves the old one (or none) or this.
///
/// # Errors
/// When it is too long or a system call failed; then it may be the old one or this, and a later call may try again.
pub fn write(dir: &dyn Dir, identity: &Identity) -> Result<(), IdentityFileError> {
    let content = identity.encode();
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(IdentityFileError::TooLong {
            path: dir.path().join(FILE_NAME),
            bytes: content.len() as u64,
        });
    }
    write_temporary(dir, &content)?;
    publish(dir)
}

/// Makes the content durable under a name that nobody reads.
fn write_temporary(dir: &dyn Dir, content: &[u8]) -> Result<(), IdentityFileError> {
    let failed = |op| move |e| io_error(op, dir, TEMPORARY_NAME, e);
    match dir.remove(TEMPORARY_NAME) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed("remove")(e)),
    }
    let file = dir
        .open(TEMPORARY_NAME, OpenMode::CreateNew)
        .map_err(failed("create"))?;
    site!("recovery::identity::write", |e| Err(failed("write")(e)));
    write_all_at(&*file, content, 0, 1).map_err(failed("write"))?;
    site!("recovery::identity::sync", |e| Err(failed("sync")(e)));
    if perennial_failpoints::planted!("renamed-before-synced") {
        return Ok(());
    }
    // Before the rename: a name that is on the media must not lead to content that is not.
    file.sync_data().map_err(failed("sync"))
}

/// Gives the content its name, durably.
fn publish(dir: &dyn Dir) -> Result<(), IdentityFileError> {
    const SYNC_DIR: &str = "sync the directory of";
    let failed = |op| move |e| io_error(op, dir, FILE_NAME, e);
    site!("recovery::identity::rename", |e| Err(failed("rename to")(
        e
    )));
    dir.rename(TEMPORARY_NAME, FILE_NAME)
        .map_err(failed("rename to"))?;
    site!("recovery::identity::sync_dir", |e| Err(failed(SYNC_DIR)(e)));
    if !perennial_failpoints::planted!("rename-not-synced") {
        dir.sync().map_err(failed(SYNC_DIR))?;
    }
    site!("recovery::identity::done");
    Ok(())
}

fn io_error(op: &'static str, dir: &dyn Dir, name: &str, source: io::Error) -> IdentityFileError {
    IdentityFileError::Io {
        op,
        path: dir.path().join(name),
        source,
    }
}
