//! Checking a cache that nobody has open.

use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_recovery::{Problem, VerifyReport};
use perennial_wal::Contents;
use perennial_wal::segment::file_name;

use crate::error::Result;
use crate::look::Look;
use crate::open::{Entries, entries};

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
    let contents = look.contents()?;
    let mut report = perennial_recovery::verify(&*look.dir, &look.identity, &look.tail, &contents)?;
    contents.check_read()?;
    // Read afresh, as an open would: what was judged above is counted in the contents.
    let found = entries(&look.contents()?, &look.identity)?;
    report.live_entries = found.live;
    check_kept(&look, &contents, found, &mut report);
    contents.check_read()?;
    Ok(report)
}

/// Every entry that an open would find in a kept segment is one whose frame proves itself. What else lies there is nobody's:
/// a file that is free again may be half written over.
fn check_kept(look: &Look, contents: &Contents<'_>, mut found: Entries, report: &mut VerifyReport) {
    let segment_bytes = u64::from(look.identity.segment_bytes);
    let shift = 64 - u32::from(look.identity.identity_bits);
    for (index, segment) in contents.found.kept.iter().enumerate() {
        let frames = contents.kept_frames(index);
        report.kept_segments += 1;
        report.frames += frames.len() as u64;
        report.bytes += segment_bytes;
        for frame in frames {
            let identity = frame.header.hash >> shift;
            if found.kept.get(&frame.lsn) == Some(&identity) {
                found.kept.remove(&frame.lsn);
            }
        }
        let number = segment.header.number;
        let lost = found
            .kept
            .keys()
            .filter(|at| at.segment(segment_bytes) == number);
        let path = look.dir.path().join(file_name(segment.slot));
        report.problems.extend(lost.map(|at| Problem {
            path: path.display().to_string(),
            offset: at.offset(segment_bytes),
            what: "the entry that was moved here does not prove itself".to_owned(),
        }));
    }
}
