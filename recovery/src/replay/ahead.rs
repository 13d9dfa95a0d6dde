//! The log found, and its sealed segments read while its end is judged.
//!
//! ```text
//!   this thread:   headers ─► the end walked, frame by frame ───────────► judged ─► replay
//!   another:                  newest sealed segment ─► the next ─► ...  ┘
//! ```
//! The last segment has no table: all of it is read and proved, which takes as long as the tables of five. Neither waits for
//! the other: what a sealed segment says does not depend on where the log ends.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use perennial_failpoints::fs::Dir;
use perennial_wal::frame::FrameKind;
use perennial_wal::segment::{Row, Trailer};
use perennial_wal::{Contents, Event, Found, Geometry, Lsn, TailEvidence, WalError};

use super::Sorter;
use super::prepare::{Prepared, Reader};
use crate::checkpoint::read_head;

/// Sorters, and what they made before the replay began.
pub struct Ahead<S: Sorter> {
    pub(super) readers: Vec<Reader<S>>,
    /// By their places in the chain.
    pub(super) prepared: BTreeMap<usize, Prepared<S::Sorted>>,
    pub(super) first: Option<First<S::Sorted>>,
}

/// A segment that C of a checkpoint lies in, without what that knows. It is of no use to a replay that begins elsewhere: taken for
/// the whole one where the checkpoint could not be used, it showed old values.
pub(super) struct First<T> {
    pub(super) index: usize,
    /// Where the checkpoint's head is, and its C.
    pub(super) checkpoint: (Lsn, Lsn),
    pub(super) segment: Prepared<T>,
}

impl<S: Sorter> Ahead<S> {
    /// Nothing is read yet.
    pub fn new(sorters: impl IntoIterator<Item = S>) -> Self {
        Self {
            readers: sorters.into_iter().map(Reader::new).collect(),
            prepared: BTreeMap::new(),
            first: None,
        }
    }
}

impl<S: Sorter> fmt::Debug for Ahead<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read: Vec<_> = self.prepared.keys().collect();
        f.debug_struct("Ahead")
            .field("readers", &self.readers.len())
            .field("read", &read)
            .finish()
    }
}

/// What is to be read, and how.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The directory of the log.
    pub dir: &'a dyn Dir,
    /// Whose log it is.
    pub cache_id: u64,
    /// What its segments are like.
    pub geometry: Geometry,
    /// How much of a hash its index knows.
    pub identity_bits: u8,
    /// How many threads read it, this one included.
    pub threads: usize,
}

/// Finds the log as [`Contents::read`] does. With more than one thread, each of which takes one of the sorters that `sorters` makes,
/// sealed segments are read meanwhile, as many as a [`replay`](super::replay()) will ask for.
///
/// # Errors
/// As [`Contents::read`].
pub fn read<'a, S: Sorter>(
    source: Source<'a>,
    tail: TailEvidence<'a>,
    sorters: impl FnOnce(&Found) -> Vec<S>,
) -> Result<(Contents<'a>, Ahead<S>), WalError> {
    let (cache_id, geometry) = (source.cache_id, source.geometry);
    let mut contents = Contents::find(source.dir, cache_id, geometry, tail, source.threads)?;
    let mut ahead = Ahead::new(sorters(&contents.found));
    let next = Next::new(source, &contents);
    if source.threads > 1 {
        next.note_what_headers_name(&contents);
    }
    let (walked, (newest, prepared)) = thread::scope(|scope| {
        let (contents, next) = (&contents, &next);
        let named = || thread::Builder::new().name("perennial-replay".to_owned());
        let mut others = ahead.readers.iter_mut().skip(1);
        // Without a thread this one reads it, and the replay what is before.
        let newest = others.next().and_then(|reader| {
            let read = move || next.read_with_the_newest(contents, reader);
            named().spawn_scoped(scope, read).ok()
        });
        let others = others.map_while(|reader| {
            let read = move || next.read(contents, reader);
            named().spawn_scoped(scope, read).ok()
        });
        let others: Vec<_> = others.collect();
        let walked = contents.walk_the_end();
        if !others.is_empty() || newest.is_some() {
            let heads = walked.rows().filter(|row| row.kind == FrameKind::Head);
            next.note(contents, &heads.collect::<Vec<_>>());
        }
        let mut read = newest.map_or_else(
            || (contents.newest_trailer(), Vec::new()),
            |newest| newest.join().unwrap_or_else(|panic| resume_unwind(panic)),
        );
        for other in others {
            read.1
                .extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        (walked, read)
    });
    for (index, checkpoint, segment) in prepared {
        if let Some(checkpoint) = checkpoint {
            ahead.first = Some(First {
                index,
                checkpoint,
                segment,
            });
        } else {
            ahead.prepared.insert(index, segment);
        }
    }
    // This thread goes on with one whose memory is not new.
    ahead
        .readers
        .rotate_left(1.min(source.threads.saturating_sub(1)));
    contents.judge_the_end(walked, newest)?;
    Ok((contents, ahead))
}

/// Which sealed segment is read next: from the newest on, to where the newest checkpoint begins that was seen so far. Whether
/// it can be used is for the replay to say, which reads on if it cannot.
struct Next<'a> {
    source: Source<'a>,
    /// So many of the chain, the oldest ones, are not taken yet.
    left: AtomicUsize,
    /// So many are not needed.
    unneeded: AtomicUsize,
    /// Where the checkpoint's head is, and its C.
    checkpoint: Mutex<Option<(Lsn, Lsn)>>,
}

/// Segments by their places in the chain, and the checkpoint without whose knowledge one was read.
type Read<T> = Vec<(usize, Option<(Lsn, Lsn)>, Prepared<T>)>;

impl<'a> Next<'a> {
    fn new(source: Source<'a>, contents: &Contents<'_>) -> Self {
        Self {
            source,
            // The newest one comes by itself.
            left: AtomicUsize::new(contents.first_unsealed().saturating_sub(1)),
            unneeded: AtomicUsize::new(0),
            checkpoint: Mutex::new(None),
        }
    }

    fn read<S: Sorter>(&self, contents: &Contents<'_>, reader: &mut Reader<S>) -> Read<S::Sorted> {
        let mut read = Vec::new();
        while let Some(index) = self.take() {
            let checkpoint = self.checkpoint_that_begins_in(contents, index);
            if let Some(segment) = reader.read_sealed(contents, index, checkpoint) {
                self.note(contents, &segment.heads);
                read.push((index, checkpoint, segment));
            }
        }
        read
    }

    /// The same, and first the newest one's trailer, without which the log's end cannot be judged.
    fn read_with_the_newest<S: Sorter>(
        &self,
        contents: &Contents<'_>,
        reader: &mut Reader<S>,
    ) -> (Option<Trailer>, Read<S::Sorted>) {
        let newest = contents.newest_trailer();
        let index = contents.first_unsealed().wrapping_sub(1);
        let needed = index >= self.unneeded.load(Ordering::Relaxed);
        let prepared = newest.as_ref().filter(|_| needed).map(|trailer| {
            let rows = trailer.rows.iter().copied().map(Event::from);
            let checkpoint = self.checkpoint_that_begins_in(contents, index);
            let segment = reader.read_events(contents, rows, checkpoint);
            self.note(contents, &segment.heads);
            (index, checkpoint, segment)
        });
        let mut read = self.read(contents, reader);
        read.extend(prepared);
        (newest, read)
    }

    fn take(&self) -> Option<usize> {
        let one_less = |left: usize| {
            let needed = left > self.unneeded.load(Ordering::Relaxed);
            needed.then(|| left - 1)
        };
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.ok().map(|left| left - 1)
    }

    /// Heads of checkpoints, in the order of the log.
    fn note(&self, contents: &Contents<'_>, heads: &[Row]) {
        let heads = heads.iter().rev();
        let _ = heads
            .map(|row| self.note_head(contents, row.target.position(), row.bytes))
            .find(Option::is_some);
    }

    /// What was closed says so in the header of the last segment. Without that the tables of what its checkpoint knows were read
    /// until the end, which is mostly that checkpoint, was walked: half of such an open.
    fn note_what_headers_name(&self, contents: &Contents<'_>) -> Option<()> {
        let chain = contents.found.chain.iter();
        let at = chain.map(|segment| segment.header.checkpoint).max()?;
        let bytes = contents.frame_bytes(at).filter(|_| at != Lsn(0))?;
        self.note_head(contents, at, u32::try_from(bytes).ok()?)
    }

    /// `None`: there is no checkpoint, or none whose C is left.
    fn note_head(&self, contents: &Contents<'_>, at: Lsn, bytes: u32) -> Option<()> {
        let head = read_head(contents, at, bytes, self.source.identity_bits)?;
        let from = self.place_of(contents, head.c)?;
        let mut newest = lock(&self.checkpoint);
        if newest.is_none_or(|(before, _)| before < at) {
            *newest = Some((at, head.c));
            self.unneeded.store(from, Ordering::Relaxed);
        }
        Some(())
    }

    fn checkpoint_that_begins_in(
        &self,
        contents: &Contents<'_>,
        index: usize,
    ) -> Option<(Lsn, Lsn)> {
        let checkpoint = *lock(&self.checkpoint);
        checkpoint.filter(|(_, c)| self.place_of(contents, *c) == Some(index))
    }

    fn place_of(&self, contents: &Contents<'_>, lsn: Lsn) -> Option<usize> {
        let number = lsn.segment(self.source.geometry.segment_bytes);
        let mut chain = contents.found.chain.iter();
        chain.position(|segment| segment.header.number == number)
    }
}

/// Nobody panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
