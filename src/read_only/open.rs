//! The reading part of an open, beside whoever writes.
//!
//! ```text
//!   tail ─► headers ─► the log's end ─► the tail again ── as before? ── as a killed process left it, to the last frame
//!                                                     └── else: once more, and the log ends at the first gap above the stable LSN
//!   ─► checkpoint and replay ─► headers again: still there? ── else from the beginning
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::fs::Fs;
use perennial_recovery::{Ahead, Machine, Outcome, Source, TailFile, replay};
use perennial_wal::{Contents, SegmentId};

use super::ReadOnlyCache;
use super::files::Files;
use super::stats::{Counters, ReadOnlyStats};
use crate::absorb::{Absorb, sorters};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Flights;
use crate::index::{Index, IndexGeometry};
use crate::later::Sorting;
use crate::ledger::Ledger;
use crate::look::Look;
use crate::options::Options;
use crate::pins::Pins;

/// As often the log is read from the beginning. What is read is its newer half, mostly: who writes that much meanwhile, five times
/// in turn, has a small cache, or a slow reader.
const ATTEMPTS: usize = 5;

pub(super) fn open(fs: &Arc<dyn Fs>, path: &Path) -> Result<ReadOnlyCache> {
    let started = fs.monotonic_ns();
    let mut last = None;
    for left in (0..ATTEMPTS).rev() {
        let look = Look::open(&**fs, path, false)?;
        match Attempt::new(fs, look) {
            Ok(Some(attempt)) if attempt.sound || (left == 0 && attempt.there) => {
                let mut cache = attempt.cache;
                cache.opened.open_us = (fs.monotonic_ns() - started) / 1000;
                return Ok(cache);
            }
            Ok(_) => last = None,
            // A file that went away meanwhile, or one that is there and cannot be read.
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| overtaken(path)))
}

fn overtaken(path: &Path) -> Error {
    let message = format!(
        "{} is written faster than it can be read; try again, or give that cache a larger capacity",
        path.display()
    );
    Error::new(ErrorKind::Busy, message)
}

/// One reading of the log.
struct Attempt {
    cache: ReadOnlyCache,
    /// No file that was read was used again meanwhile.
    there: bool,
    /// Nor was anything found that may come of reading what changes: damage is looked at again.
    sound: bool,
}

/// How the log is read.
#[derive(Clone, Copy)]
struct How {
    threads: usize,
    shape: IndexGeometry,
}

impl Attempt {
    /// `None`: the tail is being made anew.
    fn new(fs: &Arc<dyn Fs>, look: Look) -> Result<Option<Self>> {
        let plan = Options::new().plan()?;
        let mut shape = plan.index;
        shape.identity_bits = look.identity.identity_bits;
        let how = How {
            threads: plan.replay_threads(),
            shape,
        };
        let found = read(&look, &look.tail, false, how)?;
        let again = TailFile::read(&**fs, &look.dir, &look.identity)
            .map_err(|e| Error::io("cannot read the tail again", e))?;
        if look.tail.is_as_in(&again) {
            let (mut attempt, in_files) = Self::of(fs, &look, found, how)?;
            attempt.keep_ring(look.tail, in_files);
            return Ok(Some(attempt));
        }
        drop(found);
        if again.head.is_none() && look.tail.head.is_some() {
            return Ok(None);
        }
        let found = read(&look, &again, true, how)?;
        let (mut attempt, in_files) = Self::of(fs, &look, found, how)?;
        attempt.keep_ring(again, in_files);
        Ok(Some(attempt))
    }

    fn keep_ring(&mut self, tail: TailFile, in_files: bool) {
        if !in_files {
            self.cache.files.ring = tail.into_ring();
        }
    }

    /// Replays what was read, and looks whether it is still there. Also: whether all of it is in the files.
    fn of(
        fs: &Arc<dyn Fs>,
        look: &Look,
        (contents, ahead): (Contents<'_>, Ahead<Sorting>),
        how: How,
    ) -> Result<(Self, bool)> {
        let geometry = look.geometry();
        let bits = how.shape.identity_bits;
        let (index, ledger) = (Index::new(how.shape), Ledger::new(geometry.segment_bytes));
        let pins = Pins::new(bits, geometry.segment_bytes);
        let all = u64::MAX;
        let mut machine = Absorb::new(&index, &ledger, &pins, &contents, geometry, all);
        let outcome = replay(&contents, ahead, geometry.segment_bytes, bits, &mut machine);
        if outcome.forget {
            machine.forget_all();
        }
        contents.check_read()?;
        let from = outcome
            .checkpoint
            .map_or(SegmentId(0), |(_, c)| c.segment(geometry.segment_bytes));
        let there = contents.still_there(from);
        let files = Files {
            dir: Arc::clone(&look.dir),
            geometry,
            segments: segments(&contents, machine.oldest(), &machine.kept()),
            ring: Vec::new(),
        };
        let opened = opened(&contents, &outcome, &index, &ledger);
        let sound = there && is_sound(&contents, &outcome);
        let in_files = contents.end() <= contents.stable;
        let cache = ReadOnlyCache {
            fs: Arc::clone(fs),
            files,
            index,
            clock: Clock::new(&**fs, outcome.time_seen_s),
            hash_seed: look.identity.hash_seed,
            counters: Counters::default(),
            opened,
        };
        let attempt = Self {
            cache,
            there,
            sound,
        };
        Ok((attempt, in_files))
    }
}

fn read<'a>(
    look: &'a Look,
    tail: &'a TailFile,
    moving: bool,
    how: How,
) -> Result<(Contents<'a>, Ahead<Sorting>)> {
    let geometry = look.geometry();
    let source = Source {
        dir: &*look.dir,
        cache_id: look.identity.cache_id,
        geometry,
        identity_bits: how.shape.identity_bits,
        threads: how.threads,
    };
    let evidence = if moving {
        tail.evidence_of_the_living()
    } else {
        tail.evidence()
    };
    Ok(perennial_recovery::read(source, evidence, |found| {
        sorters(how.threads, how.shape, found, geometry)
    })?)
}

/// The segments whose entries count.
fn segments(
    contents: &Contents<'_>,
    oldest: SegmentId,
    kept: &[SegmentId],
) -> BTreeMap<SegmentId, perennial_wal::ChainSegment> {
    let log = &contents.found.chain[..contents.segments().len()];
    let log = log.iter().filter(|s| s.header.number >= oldest);
    let is_kept = |number| kept.binary_search(&number).is_ok();
    let kept = contents
        .found
        .kept
        .iter()
        .filter(|s| is_kept(s.header.number));
    log.chain(kept)
        .map(|segment| (segment.header.number, segment.clone()))
        .collect()
}

/// True where nothing was found that may come of a header or a frame that was read half written, or not written yet: a checkpoint
/// behind a header that is missing counts, and what it says of the segments before is not there.
fn is_sound(contents: &Contents<'_>, outcome: &Outcome) -> bool {
    let verdicts = contents.verdicts();
    let damaged = verdicts.damaged_keys + verdicts.damaged_unknown;
    !contents.found.broken && damaged == 0 && !outcome.forget && contents.found.damaged.is_empty()
}

fn opened(
    contents: &Contents<'_>,
    outcome: &Outcome,
    index: &Index<Flights>,
    ledger: &Ledger,
) -> ReadOnlyStats {
    let verdicts = contents.verdicts();
    ReadOnlyStats {
        entries: ledger.live(),
        end: contents.end().0,
        damaged: verdicts.damaged_keys + verdicts.damaged_unknown,
        forgotten_all: outcome.forgotten + u64::from(outcome.forget),
        index_bytes: index.memory_bytes() as u64,
        ..ReadOnlyStats::default()
    }
}
