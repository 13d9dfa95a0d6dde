//! What is in a directory: segment files, their headers, and the chain they form. Reads only.
//!
//! Every log segment names its predecessor. The chain runs from the newest number back to the oldest segment that
//! counts; what is not in it is free, except files of others, which are left alone.

mod unread;

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;

use perennial_failpoints::fs::{Dir, DirEntry, File, OpenMode, read_exact_at};

use crate::error::{Result, WalError};
use crate::geometry::Geometry;
use crate::lsn::{Lsn, REACH_BYTES, SegmentId, to_usize};
use crate::segment::{HeaderFound, Join, SegmentHeader, slot_of};
use crate::tail_head::TailHead;
use unread::Unread;

/// A segment of the chain.
#[derive(Debug, Clone)]
pub struct ChainSegment {
    /// The file's slot.
    pub slot: u32,
    /// Its header.
    pub header: SegmentHeader,
}

/// What the tail says about the life that died.
#[derive(Debug, Default)]
pub struct TailEvidence<'a> {
    /// The tail's head, if it proves itself and is this cache's.
    pub head: Option<TailHead>,
    /// The tail was written in this boot: its memory is what the dead process left.
    pub same_boot: bool,
    /// The ring's bytes.
    pub ring: &'a [u8],
    /// A process goes on writing while the log is read. Above the stable LSN, as it was before anything was read, it ends at
    /// the first place where nothing proves itself: whether a writer is there nobody can tell, nor what a later mark says of it.
    pub moving: bool,
}

impl TailEvidence<'_> {
    /// True when its descriptors say which writers there were: of this boot, and nobody goes on.
    pub(crate) const fn stands_still(&self) -> bool {
        self.same_boot && !self.moving
    }
}

/// The segment files of a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The log, oldest first.
    pub chain: Vec<ChainSegment>,
    /// Kept segments, whether or not anything still points at them.
    pub kept: Vec<ChainSegment>,
    /// Files that can be used again.
    pub free: Vec<u32>,
    /// Of these, what is shorter than a segment, and its bytes: killed while it was made.
    pub short: Vec<(u32, u64)>,
    /// Of these, whole files without a header.
    pub blank: Vec<u32>,
    /// Files that are not this cache's, and how many bytes they take.
    pub foreign: Vec<(String, u64)>,
    /// Files that were written to and whose header is damaged; they are among the free.
    pub damaged: Vec<u32>,
    /// Of these, how many headers the media did not give, and the first reason.
    pub(crate) unread: Unread,
    /// The chain breaks off before the oldest segment that counted: what lay there is missing.
    pub broken: bool,
    /// There is evidence of a newer segment than any found: the log's end is missing.
    pub end_missing: bool,
    /// The first slot number that no file of the cache has.
    pub next_slot: u32,
    /// The largest segment number seen anywhere, or that a header may have which the media did not give.
    pub max_number: u64,
}

/// Reads every segment file's header and builds the chain.
///
/// # Errors
/// When the directory cannot be listed, or a file in it not be opened. What the media does not give counts as damaged.
pub(crate) fn find(
    dir: &dyn Dir,
    cache_id: u64,
    geometry: Geometry,
    tail: &TailEvidence<'_>,
    threads: usize,
) -> Result<Found> {
    let mut entries = dir
        .list()
        .map_err(|source| WalError::io("list", dir.path().display().to_string(), 0, source))?;
    entries.retain(|entry| slot_of(&entry.name).is_some());
    let headers = read_headers(dir, &entries, geometry, threads);
    let mut found = Found::default();
    let mut good: BTreeMap<SegmentId, ChainSegment> = BTreeMap::new();
    let mut kept: BTreeMap<SegmentId, ChainSegment> = BTreeMap::new();
    for (entry, header) in entries.into_iter().zip(headers) {
        let Some(slot) = slot_of(&entry.name) else {
            continue;
        };
        let strangers = found.foreign.len();
        let (header, lost) = header?;
        match header {
            HeaderFound::Good(header) if header.cache_id == cache_id && fits(&header, geometry) => {
                found.max_number = found
                    .max_number
                    .max(header.number.0)
                    .max(header.void_through().0);
                let segment = ChainSegment { slot, header };
                let numbered = if segment.header.kept.is_some() {
                    &mut kept
                } else {
                    &mut good
                };
                if let Some(other) = keep_better(numbered, segment) {
                    found.free.push(other);
                }
            }
            // Nobody's: a file that is being made has no more than a header zone, and before that is zeros on the media it
            // may show the header that a cache of earlier days left on these blocks (PROTOCOL hole 18).
            HeaderFound::Good(_) if entry.len <= geometry.data_begin() => found.free.push(slot),
            HeaderFound::Good(_) | HeaderFound::Newer(_) => {
                found.foreign.push((entry.name, entry.len))
            }
            _ if entry.len > geometry.segment_bytes => found.foreign.push((entry.name, entry.len)),
            HeaderFound::Blank => {
                found.free.push(slot);
                if entry.len == geometry.segment_bytes {
                    found.blank.push(slot);
                }
            }
            // Its header is written only once it has its full size: lost power left it as it was being made.
            HeaderFound::Damaged if entry.len < geometry.segment_bytes => found.free.push(slot),
            HeaderFound::Damaged => {
                found.unread.count(lost);
                found.damaged.push(slot);
                found.free.push(slot);
            }
        }
        if found.free.last() == Some(&slot) && entry.len != geometry.segment_bytes {
            found.short.push((slot, entry.len));
        }
        // Behind our own: names that strangers have are stepped over when a file is made.
        if found.foreign.len() == strangers {
            found.next_slot = found.next_slot.max(slot + 1);
        }
    }
    found.kept = kept.into_values().collect();
    found.max_number = found.unread.leave_room(found.max_number, geometry);
    link(&mut found, good, geometry);
    look_for_a_missing_end(&mut found, geometry, tail);
    Ok(found)
}

fn fits(header: &SegmentHeader, geometry: Geometry) -> bool {
    let in_place = |join: &Join| {
        let begin = u64::from(join.begin);
        begin >= geometry.data_begin() && begin.is_multiple_of(geometry.sector)
    };
    u64::from(header.segment_bytes) == geometry.segment_bytes
        && u64::from(header.sector) == geometry.sector
        && header.joins.iter().all(in_place)
}

/// Of two files with one number (a copy), the one with more joins is the newer. Returns the slot of the other.
fn keep_better(good: &mut BTreeMap<SegmentId, ChainSegment>, segment: ChainSegment) -> Option<u32> {
    let number = segment.header.number;
    let better = good
        .get(&number)
        .is_none_or(|old| old.header.joins.len() < segment.header.joins.len());
    if better {
        good.insert(number, segment).map(|old| old.slot)
    } else {
        Some(segment.slot)
    }
}

/// Follows the predecessors from the newest segment that was not given up.
fn link(found: &mut Found, mut good: BTreeMap<SegmentId, ChainSegment>, geometry: Geometry) {
    let void: Vec<(SegmentId, SegmentId)> = good
        .values()
        .map(|s| (s.header.number, s.header.void_through()))
        .collect();
    let is_void = |id: SegmentId| {
        void.iter()
            .any(|(number, through)| id > *number && id <= *through)
    };
    // A kept segment may lie in the very file of the one that was given up, before any header of the log says so.
    let floor = good
        .values()
        .filter(|s| !is_void(s.header.number))
        .chain(&found.kept)
        .map(|s| s.header.oldest)
        .max()
        .unwrap_or_default();
    let mut next = good.keys().copied().filter(|id| !is_void(*id)).max();
    let newest = found.max_number;
    while let Some(id) = next {
        if newest - id.0 > REACH_BYTES / geometry.segment_bytes - 2 {
            found.broken = true;
            break;
        }
        let Some(segment) = good.remove(&id) else {
            if perennial_failpoints::planted!("gap-in-the-chain-bridged") {
                next = good.range(floor..id).next_back().map(|(id, _)| *id);
                continue;
            }
            found.broken = true;
            break;
        };
        let before = segment.header.predecessor;
        found.chain.push(segment);
        next = (before != id && before >= floor).then_some(before);
    }
    found.chain.reverse();
    found.free.extend(good.values().map(|s| s.slot));
}

/// The newest segment's header may be lost. A segment prepared behind it shows that as a break in the chain; where there
/// was none, the tail attests how far the log had come.
fn look_for_a_missing_end(found: &mut Found, geometry: Geometry, tail: &TailEvidence<'_>) {
    let Some(head) = &tail.head else { return };
    // A recovery that was killed before it reset the tail leaves one that still speaks of segments it has given up.
    let newest = found.chain.last().map_or(SegmentId(0), |s| {
        s.header.number.max(s.header.void_through())
    });
    let segment_of = |lsn: Lsn| lsn.segment(geometry.segment_bytes);
    let used = head.descriptors.used();
    let live = used.filter(|d| tail.same_boot && d.bytes > 0);
    let newest_used = live
        .map(|d| segment_of(d.base))
        .chain(head.stable.map(segment_of))
        .max()
        .unwrap_or_default();
    let newest_number = found.unread.leave_room(newest_used.0, geometry);
    found.max_number = found.max_number.max(newest_number);
    found.end_missing = newest_used > newest;
}

/// True for errors by which the media says that the bytes are lost. Any other (no handles left, no memory, no right to
/// read) says nothing about them: nothing may be given up for it.
pub(crate) fn is_medias(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const ENODATA: i32 = 61;
    const EBADMSG: i32 = 74;
    const EUCLEAN: i32 = 117;
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(
            error.raw_os_error(),
            Some(EIO | ENODATA | EBADMSG | EUCLEAN)
        )
}

/// A file's header, and why the media did not give it, or not whole where what it gave is none.
type HeaderRead = Result<(HeaderFound, Option<WalError>)>;

/// The headers of files, in their order: of many, several are read at a time.
fn read_headers(
    dir: &dyn Dir,
    files: &[DirEntry],
    geometry: Geometry,
    threads: usize,
) -> Vec<HeaderRead> {
    let read = |files: &[DirEntry]| -> Vec<HeaderRead> {
        let headers = files
            .iter()
            .map(|file| read_header(dir, &file.name, geometry));
        headers.collect()
    };
    // They wait for the device, all of the time: twice as many are no more work.
    let threads = if threads > 1 { 2 * threads } else { 1 };
    let each = files.len().div_ceil(threads).max(LEAST_AT_ONCE);
    let (own, others) = files.split_at(each.min(files.len()));
    std::thread::scope(|scope| {
        let others = others.chunks(each).map(|files| {
            let name = std::thread::Builder::new().name("perennial-headers".to_owned());
            (files, name.spawn_scoped(scope, || read(files)).ok())
        });
        let others: Vec<_> = others.collect();
        let mut headers = read(own);
        for (files, other) in others {
            let here = || read(files);
            let joined = other.map_or_else(here, |other| {
                other.join().unwrap_or_else(|panic| resume_unwind(panic))
            });
            headers.extend(joined);
        }
        headers
    })
}

/// For fewer headers than this, a thread is not worth its while.
const LEAST_AT_ONCE: usize = 8;

pub(crate) fn read_header(dir: &dyn Dir, name: &str, geometry: Geometry) -> HeaderRead {
    let failed = |source| {
        let path = dir.path().join(name).display().to_string();
        WalError::io("read the header of", path, 0, source)
    };
    let read = match dir.open(name, OpenMode::Read) {
        Ok(file) => read_zone(&*file, geometry),
        Err(error) if is_medias(&error) => Ok(Err(error)),
        Err(error) => Err(error),
    };
    match read.map_err(failed)? {
        Ok(header) => Ok((header, None)),
        Err(lost) => {
            tracing::warn!(name, error = %lost, "segment header cannot be read");
            Ok((HeaderFound::Damaged, Some(failed(lost))))
        }
    }
}

/// The header of a file of which the media may not give all: each copy lies in half of the zone. The inner error: what it
/// gave is no header, and what it did not give may be one.
fn read_zone(file: &dyn File, geometry: Geometry) -> io::Result<io::Result<HeaderFound>> {
    let zone_bytes = to_usize(geometry.data_begin());
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut zone = vec![0; len.min(zone_bytes)];
    let lost = match read_exact_at(file, &mut zone, 0) {
        Ok(()) => return Ok(Ok(SegmentHeader::decode(&zone))),
        Err(error) if is_medias(&error) => error,
        Err(error) => return Err(error),
    };
    for (i, half) in zone.chunks_mut(zone_bytes / 2).enumerate() {
        match read_exact_at(file, half, (i * zone_bytes / 2) as u64) {
            Ok(()) => {}
            Err(error) if is_medias(&error) => half.fill(0),
            Err(error) => return Err(error),
        }
    }
    Ok(match SegmentHeader::decode(&zone) {
        HeaderFound::Blank | HeaderFound::Damaged => Err(lost),
        found => Ok(found),
    })
}

#[cfg(test)]
mod tests;
