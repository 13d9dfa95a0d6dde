//! What a segment says, read and sorted: each segment by itself, so several can be at once.
//!
//! ```text
//!   trailer ─► rows ─► heads of checkpoints
//!                  └─► steps:  everything is forgotten │ sorted operations      in the order of the log
//! ```
//! A machine that takes operations one by one costs a cache miss for each; one that takes a segment's, sorted, does not. And
//! reading, proving and sorting are all that an open waits for where the index is loaded later.

use std::panic::resume_unwind;
use std::thread;

use perennial_wal::frame::{FrameKind, HEADER_BYTES};
use perennial_wal::segment::Row;
use perennial_wal::{Contents, Event, Lsn, TableBuffer};

use super::Sorter;
use crate::checkpoint::head_row;
use crate::left::Left;
use crate::moves::{Moved, decode_moves};

/// One hash in so many is looked at to tell how many keys there are.
pub(super) const SAMPLE: u64 = 64;

/// A segment, read.
#[derive(Debug)]
pub(super) struct Prepared<T> {
    /// The checkpoints' heads in it, in the order of the log.
    pub(super) heads: Vec<Row>,
    /// What is to be done. What comes before everything is forgotten is left out, so that there are three at most.
    pub(super) steps: Vec<Step<T>>,
    /// Entries that were evicted before one of these stay away. Whatever was stored since lies elsewhere, so it does not matter
    /// when this is done.
    pub(super) left: Vec<Left>,
    /// Times that everything was forgotten for damage.
    pub(super) forgotten: u64,
    /// What it took to say that.
    pub(super) events: u64,
    /// Of these, how many the checkpoint does not know.
    pub(super) operations: u64,
    /// Some of the hashes.
    pub(super) sample: Vec<u64>,
}

impl<T> Default for Prepared<T> {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            steps: Vec::new(),
            left: Vec::new(),
            forgotten: 0,
            events: 0,
            operations: 0,
            sample: Vec::new(),
        }
    }
}

/// A step of the replay.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// Operations.
    Sorted(T),
    /// Everything so far is gone: the cache was cleared.
    Clear,
    /// The same, for damage.
    ForgetAll,
}

/// Reads segments, one after the other.
pub(super) struct Reader<S> {
    sorter: S,
    buffer: TableBuffer,
}

impl<S: Sorter> Reader<S> {
    pub(super) fn new(sorter: S) -> Self {
        Self {
            sorter,
            buffer: TableBuffer::default(),
        }
    }

    /// Reads the segment at `index`, without what comes before the C of `checkpoint`.
    pub(super) fn read(
        &mut self,
        contents: &Contents<'_>,
        index: usize,
        checkpoint: Option<(Lsn, Lsn)>,
    ) -> Prepared<S::Sorted> {
        self.read_sealed(contents, index, checkpoint)
            .unwrap_or_else(|| {
                let events = contents.events(index);
                self.read_events(contents, events.iter(), checkpoint)
            })
    }

    /// The same, if it is sealed: nothing else can be read before the log's end is judged.
    pub(super) fn read_sealed(
        &mut self,
        contents: &Contents<'_>,
        index: usize,
        checkpoint: Option<(Lsn, Lsn)>,
    ) -> Option<Prepared<S::Sorted>> {
        let Self { sorter, buffer } = self;
        let mut reading = Reading::new(contents, sorter, checkpoint);
        let sealed = contents.each_event(index, buffer, |event| reading.take(&event));
        if !sealed {
            reading.begin_anew();
        }
        sealed.then(|| reading.finish())
    }

    /// A segment of which this is what happened in it.
    pub(super) fn read_events(
        &mut self,
        contents: &Contents<'_>,
        events: impl Iterator<Item = Event>,
        checkpoint: Option<(Lsn, Lsn)>,
    ) -> Prepared<S::Sorted> {
        let mut reading = Reading::new(contents, &mut self.sorter, checkpoint);
        events.for_each(|event| reading.take(&event));
        reading.finish()
    }
}

/// A segment that is being read.
struct Reading<'a, 'c, S: Sorter> {
    contents: &'a Contents<'c>,
    checkpoint: Option<(Lsn, Lsn)>,
    sorter: &'a mut S,
    /// The sorter was told something.
    pending: bool,
    segment: Prepared<S::Sorted>,
}

impl<'a, 'c, S: Sorter> Reading<'a, 'c, S> {
    fn new(contents: &'a Contents<'c>, sorter: &'a mut S, checkpoint: Option<(Lsn, Lsn)>) -> Self {
        Self {
            contents,
            checkpoint,
            sorter,
            pending: false,
            segment: Prepared::default(),
        }
    }

    #[inline]
    fn take(&mut self, event: &Event) {
        if is_before(event, self.checkpoint) {
            return self.begin_anew();
        }
        self.segment.events += 1;
        self.segment.operations += u64::from(is_behind(event, self.checkpoint));
        match event {
            Event::Row(row) => self.row(row),
            Event::ForgetKey(hash) => self.remove(*hash),
            Event::ForgetAll => self.forget(Step::ForgetAll),
        }
    }

    /// What was taken so far does not count.
    fn begin_anew(&mut self) {
        if self.segment.events > 0 {
            if std::mem::take(&mut self.pending) {
                drop(self.sorter.take());
            }
            self.segment = Prepared::default();
        }
    }

    #[inline]
    fn row(&mut self, row: &Row) {
        if row.hash.is_multiple_of(SAMPLE) {
            self.segment.sample.push(row.hash);
        }
        match row.kind {
            FrameKind::Put | FrameKind::Ref => {
                self.pending = true;
                self.sorter.put(row);
            }
            FrameKind::Remove => self.remove(row.hash),
            FrameKind::Move => {
                let moves = moves(self.contents, row);
                self.pending |= !moves.is_empty();
                moves.iter().for_each(|moved| self.sorter.relocate(moved));
            }
            FrameKind::Clear => self.clear(row),
            FrameKind::Head => self.segment.heads.extend(head_row(&Event::Row(*row))),
            FrameKind::Mark | FrameKind::Extent | FrameKind::Part | FrameKind::Pad => {}
        }
    }

    fn remove(&mut self, hash: u64) {
        self.pending = true;
        self.sorter.remove(hash);
    }

    /// What a `Clear` frame says. Where that cannot be read, nobody can tell what is left.
    fn clear(&mut self, row: &Row) {
        if u64::from(row.bytes) == HEADER_BYTES {
            return self.forget(Step::Clear);
        }
        let at = row.target.position();
        let read = self.contents.frame(at, row.bytes);
        let left = read.and_then(|(header, frame)| {
            let ours = header.kind == FrameKind::Clear;
            ours.then(|| Left::decode(header.value(&frame)))?
        });
        if let Some(left) = left {
            self.segment.left.push(left);
        } else {
            tracing::warn!(lsn = %at, "a frame that says what is left cannot be read; everything before it is forgotten");
            self.forget(Step::ForgetAll);
        }
    }

    fn forget(&mut self, step: Step<S::Sorted>) {
        self.segment.forgotten += u64::from(matches!(step, Step::ForgetAll));
        if perennial_failpoints::planted!("clear-not-replayed-over-a-checkpoint") {
            self.end_sorted();
        } else {
            if std::mem::take(&mut self.pending) {
                drop(self.sorter.take());
            }
            self.segment.steps.clear();
        }
        self.segment.steps.push(step);
    }

    fn end_sorted(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.segment.steps.push(Step::Sorted(self.sorter.take()));
        }
    }

    fn finish(mut self) -> Prepared<S::Sorted> {
        self.end_sorted();
        self.segment
    }
}

/// What a `Move` frame says. A damaged one costs the entries that it moved.
fn moves(contents: &Contents<'_>, row: &Row) -> Vec<Moved> {
    let at = row.target.position();
    let read = contents.frame(at, row.bytes);
    let moves = read.and_then(|(header, frame)| {
        let ours = header.kind == FrameKind::Move;
        ours.then(|| decode_moves(header.value(&frame)))?
    });
    if moves.is_none() {
        tracing::warn!(lsn = %at, "a frame that says what was moved cannot be read; those entries are forgotten");
    }
    moves.unwrap_or_default()
}

/// True for an operation that the checkpoint knows, and with it everything before it in the log.
fn is_before(event: &Event, checkpoint: Option<(Lsn, Lsn)>) -> bool {
    match event {
        Event::Row(row)
            if matches!(
                row.kind,
                FrameKind::Put | FrameKind::Remove | FrameKind::Move | FrameKind::Clear
            ) =>
        {
            checkpoint.is_some_and(|(_, c)| row.target.position() < c)
        }
        _ => false,
    }
}

/// True for what the checkpoint does not know, as far as the row tells: a reference lies behind its extent.
fn is_behind(event: &Event, checkpoint: Option<(Lsn, Lsn)>) -> bool {
    match event {
        Event::Row(row) if row.kind == FrameKind::Head => false,
        Event::Row(row) if row.kind != FrameKind::Ref => {
            checkpoint.is_none_or(|(_, c)| row.target.position() >= c)
        }
        _ => true,
    }
}

/// Reads at most as many segments as there are readers, at the same time. The first reader works on this thread, and takes over
/// from any that the system has no thread for.
pub(super) fn side_by_side<S: Sorter>(
    readers: &mut [Reader<S>],
    contents: &Contents<'_>,
    segments: &[usize],
) -> Vec<(usize, Prepared<S::Sorted>)> {
    let mut work = readers.iter_mut().zip(segments);
    let Some((own, &index)) = work.next() else {
        return Vec::new();
    };
    thread::scope(|scope| {
        let others = work.map(|(reader, &index)| {
            let name = thread::Builder::new().name("perennial-replay".to_owned());
            let read = move || reader.read(contents, index, None);
            (index, name.spawn_scoped(scope, read).ok())
        });
        let others: Vec<_> = others.collect();
        let mut read = vec![(index, own.read(contents, index, None))];
        for (index, other) in others {
            let prepared = other.map_or_else(
                || own.read(contents, index, None),
                |other| other.join().unwrap_or_else(|panic| resume_unwind(panic)),
            );
            read.push((index, prepared));
        }
        read
    })
}
