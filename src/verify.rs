//! Checking a cache that nobody has open.

use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_recovery::VerifyReport;

use crate::error::Result;
use crate::look::Look;
use crate::open::count_entries;

/// Reads every byte of the cache in the directory `path` and checks it. Nothing is changed, and nothing can change
/// meanwhile. Damage is no error: it is in [`VerifyReport::problems`]. Memory: a filter of the frames, about 4 bytes for each
/// and at most 1 GiB; then, to count the entries, the index of an open cache.
///
/// # Errors
/// [`ErrorKind::Locked`](crate::ErrorKind::Locked) while a process has the cache open,
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where its identity is missing or damaged in both copies,
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a directory that holds no cache, and
/// [`ErrorKind::Io`](crate::ErrorKind::Io) with an [`std::io::Error`] as its source, `NotFound` where there is no such
/// directory.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_with(Arc::new(StdFs), path)
}

/// Like [`verify`], over any file system.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(fs: Arc<dyn Fs>, path: impl AsRef<Path>) -> Result<VerifyReport> {
    let look = Look::open(&*fs, path.as_ref(), true)?;
    let mut contents = look.contents()?;
    let mut report =
        perennial_recovery::verify(&*look.dir, &look.identity, &look.tail, &mut contents)?;
    contents.check_read()?;
    // Read afresh, as an open would: what was judged above is counted in the contents.
    report.live_entries = count_entries(&mut look.contents()?, &look.identity)?;
    Ok(report)
}
