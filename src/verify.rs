//! Checking a cache that nobody has open.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_recovery::{Checked, Cure, Problem, VerifyReport};
use perennial_wal::segment::file_name;
use perennial_wal::{Contents, Damaged, Lsn};

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
    Ok(check(&look)?.report)
}

/// The same, and what would mend what it finds.
pub(crate) fn check(look: &Look) -> Result<Checked> {
    let contents = look.contents()?;
    let mut checked =
        perennial_recovery::verify(&*look.dir, &look.identity, &look.tail, &contents)?;
    contents.check_read()?;
    // Read afresh, as an open would: what was judged above is counted in the contents.
    let found = entries(&look.contents()?, &look.identity)?;
    checked.report.live_entries = found.live;
    check_kept(look, &contents, &found, &mut checked);
    contents.check_read()?;
    Ok(checked)
}

/// Every entry that an open would find in a kept segment is one whose frame proves itself. What else lies there is nobody's:
/// a file that is free again may be half written over. Of one with entries, header and trailer are looked at, too.
fn check_kept(look: &Look, contents: &Contents<'_>, found: &Entries, checked: &mut Checked) {
    let segment_bytes = u64::from(look.identity.segment_bytes);
    let shift = 64 - u32::from(look.identity.identity_bits);
    for (index, segment) in contents.found.kept.iter().enumerate() {
        let number = segment.header.number;
        let places = found.kept.iter();
        let mut places: Vec<(Lsn, u64)> = places
            .filter(|(at, _)| at.segment(segment_bytes) == number)
            .map(|(at, identity)| (*at, identity << shift))
            .collect();
        let examined = contents.examine_kept(index, &places);
        checked.report.kept_segments += 1;
        checked.report.frames += examined.frames.len() as u64;
        checked.report.bytes += segment_bytes;
        let proved: HashSet<(Lsn, u64)> = examined
            .frames
            .iter()
            .map(|frame| (frame.lsn, frame.header.hash >> shift))
            .collect();
        places.retain(|(at, hash)| !proved.contains(&(*at, hash >> shift)));
        let path = look.dir.path().join(file_name(segment.slot));
        let shown = path.display().to_string();
        let mut problem = |offset, what, cure| {
            let path = shown.clone();
            checked.problem(Problem { path, offset, what }, cure);
        };
        let mut damage: BTreeMap<u64, Damaged> = examined
            .damage
            .into_iter()
            .map(|damaged| (damaged.offset, damaged))
            .collect();
        let cure = |damaged: Damaged| Some(Cure::Patch(path.clone(), damaged.patch?));
        for (at, _) in places {
            let offset = at.offset(segment_bytes);
            let what = "the entry that was moved here does not prove itself".to_owned();
            // Of several in one gap the first is mended first.
            let found = damage.remove(&offset);
            problem(offset, what, found.map_or(Some(Cure::Follows), cure));
        }
        for (offset, damaged) in damage {
            problem(offset, damaged.damage.to_string(), cure(damaged));
        }
    }
}
