//! The newest good checkpoint, then the log after it, in order, into a machine that absorbs them.

mod ahead;
mod prepare;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use perennial_wal::segment::Row;
use perennial_wal::{Contents, Lsn, SegmentId};

use crate::checkpoint::{Entry, Head, decode_part, read_head, read_part, read_policy};
use crate::decide::{
    CheckpointFacts, CheckpointVerdict, LogFacts, LogVerdict, judge_checkpoint, judge_log,
};
use crate::left::Left;
use crate::moves::Moved;
use ahead::First;
pub use ahead::{Ahead, Source, read};
use prepare::{Prepared, Reader, SAMPLE, Step, side_by_side};

/// What absorbs a replay: an index.
pub trait Machine {
    /// What sorts the operations of a segment for it.
    type Sorter: Sorter;

    /// About so many entries will come.
    fn reserve(&mut self, entries: u64);

    /// An entry of the checkpoint.
    fn load(&mut self, entry: Entry);

    /// True for a machine that reads the parts of this checkpoint itself, later: it is given no entry of it then, but the
    /// [`image`](Self::image).
    fn reads_parts_later(&self, head: &Head) -> bool {
        let _ = head;
        false
    }

    /// Where the entries of the checkpoint lie. What follows happened after them.
    fn image(&mut self, head: &Head) {
        let _ = head;
    }

    /// Operations that come next in the log.
    fn absorb(&mut self, sorted: <Self::Sorter as Sorter>::Sorted);

    /// Entries so far that lie elsewhere than this says are gone.
    fn keep_only(&mut self, left: &Left);

    /// Forget everything so far.
    fn forget_all(&mut self);

    /// Nothing more will come.
    fn finish(&mut self);
}

/// Sorts operations, told in the order of the log, as a machine likes them best. Several work side by side, each on a segment
/// of its own; what they made is absorbed in the order of the log.
pub trait Sorter: Send {
    /// Operations, sorted.
    type Sorted: Send;

    /// A put: the entry with this hash is now where the row says.
    fn put(&mut self, row: &Row);

    /// A remove, or damage to an operation on this key.
    fn remove(&mut self, hash: u64);

    /// The entry, if it is still where it was, is in a kept segment now. Where it was need not exist any more.
    fn relocate(&mut self, moved: &Moved);

    /// What was told so far; the sorter begins anew.
    fn take(&mut self) -> Self::Sorted;
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Nothing of the old log counts: it must be given up.
    pub forget: bool,
    /// Entries that came from a checkpoint.
    pub loaded: u64,
    /// Operations replayed after it, those included that repeat what it knows.
    pub replayed: u64,
    /// Puts and removes behind its C.
    pub replayed_operations: u64,
    /// The checkpoint that was used: its head and its C.
    pub checkpoint: Option<(Lsn, Lsn)>,
    /// Bytes of its parts.
    pub checkpoint_bytes: u64,
    /// The generation of the newest checkpoint seen, used or not.
    pub generation: u64,
    /// The newest wall-clock second that the checkpoint had seen.
    pub time_seen_s: u64,
    /// Times that everything older had to be forgotten.
    pub forgotten: u64,
    /// The policy's state in the checkpoint; empty without one.
    pub policy: Vec<u8>,
}

/// Replays what `contents` found, of which some may be read [`ahead`](read()), into `machine`, whose index knows `identity_bits`
/// bits of a hash. Segments are read by as many threads as there are sorters, this one included.
pub fn replay<M: Machine>(
    contents: &Contents<'_>,
    ahead: Ahead<M::Sorter>,
    segment_bytes: u64,
    identity_bits: u8,
    machine: &mut M,
) -> Outcome {
    let Ahead {
        readers,
        mut prepared,
        first,
    } = ahead;
    // What was judged since counts, whatever a table says.
    drop(prepared.split_off(&contents.first_unsealed()));
    Replay {
        segments: contents.segments(),
        contents,
        segment_bytes,
        identity_bits,
        readers,
        prepared,
        first,
    }
    .run(machine)
}

struct Replay<'a, 'c, S: Sorter> {
    contents: &'a Contents<'c>,
    segments: Vec<SegmentId>,
    segment_bytes: u64,
    identity_bits: u8,
    readers: Vec<Reader<S>>,
    /// What was read of the segments, all of each.
    prepared: BTreeMap<usize, Prepared<S::Sorted>>,
    first: Option<First<S::Sorted>>,
}

/// A checkpoint that can be used.
struct Found {
    at: Lsn,
    head: Head,
    /// Its parts' bodies, read and verified; `None`: they are left to the machine.
    parts: Option<Vec<Vec<u8>>>,
    /// The segment where replay begins.
    from: usize,
}

impl<S: Sorter> Replay<'_, '_, S> {
    fn run(mut self, machine: &mut impl Machine<Sorter = S>) -> Outcome {
        let mut outcome = Outcome::default();
        let end_missing = self.contents.found.end_missing;
        let void = self.contents.is_void();
        let found = if end_missing || void {
            None
        } else {
            self.find_checkpoint(machine, &mut outcome)
        };
        let broken = self.contents.found.broken;
        match judge_log(LogFacts {
            void,
            end_missing,
            checkpoint: found.is_some(),
            broken,
        }) {
            LogVerdict::Nothing => outcome.forget = true,
            LogVerdict::FromLog => {
                self.prepare(0..self.segments.len());
                machine.reserve(self.distinct_keys());
                self.replay_from(0, machine, &mut outcome);
            }
            LogVerdict::FromCheckpoint => {
                if let Some(found) = found {
                    load(&found, machine, &mut outcome);
                    outcome.policy =
                        read_policy(self.contents, &found.head.policy).unwrap_or_default();
                    self.prepare(found.from + 1..self.segments.len());
                    self.prepare_first(found.from, outcome.checkpoint);
                    self.replay_from(found.from, machine, &mut outcome);
                }
            }
        }
        machine.finish();
        outcome
    }

    /// About how many keys the whole log has, from one hash in so many: an index that is made large enough at once need not
    /// grow on the way.
    fn distinct_keys(&self) -> u64 {
        let sampled = self.prepared.values().flat_map(|segment| &segment.sample);
        let seen: HashSet<&u64> = sampled.collect();
        seen.len() as u64 * SAMPLE
    }

    /// Reads these segments, those that were not: from the newest on, as many at a time as there are readers.
    fn prepare(&mut self, segments: Range<usize>) {
        let missing = segments
            .rev()
            .filter(|index| !self.prepared.contains_key(index));
        let missing: Vec<usize> = missing.collect();
        for round in missing.chunks(self.readers.len()) {
            let read = side_by_side(&mut self.readers, self.contents, round);
            self.prepared.extend(read);
        }
    }

    /// Reads the segment that C lies in: what C knows of it is left out.
    fn prepare_first(&mut self, index: usize, checkpoint: Option<(Lsn, Lsn)>) {
        let read = self.first.take();
        let first =
            read.filter(|first| first.index == index && Some(first.checkpoint) == checkpoint);
        let segment = first.map_or_else(
            || self.readers[0].read(self.contents, index, checkpoint),
            |first| first.segment,
        );
        self.prepared.insert(index, segment);
    }

    /// Looks for the newest checkpoint that can be used, from the end of the log backwards. What was walked is at hand; of what was
    /// sealed before, no table is read unless that end has none.
    fn find_checkpoint(&mut self, machine: &impl Machine, outcome: &mut Outcome) -> Option<Found> {
        self.prepare(self.contents.first_unsealed()..self.segments.len());
        for index in (0..self.segments.len()).rev() {
            if !self.prepared.contains_key(&index) {
                self.prepare((index + 1).saturating_sub(self.readers.len())..index + 1);
            }
            let heads = self
                .prepared
                .get(&index)
                .map_or(&[][..], |segment| &segment.heads);
            for row in heads.iter().rev() {
                if let Some(found) = self.try_checkpoint(row, machine, outcome) {
                    return Some(found);
                }
                tracing::warn!(lsn = %row.target.position(), "a checkpoint cannot be used; looking for an older one");
            }
        }
        None
    }

    fn try_checkpoint(
        &self,
        row: &Row,
        machine: &impl Machine,
        outcome: &mut Outcome,
    ) -> Option<Found> {
        let at = row.target.position();
        let head = read_head(self.contents, at, row.bytes, self.identity_bits);
        let from = head.as_ref().and_then(|head| self.segment_index(head.c));
        let later = head
            .as_ref()
            .is_some_and(|head| machine.reads_parts_later(head));
        let (mut parts, mut parts_good) = (None, false);
        if let Some(head) = &head {
            if later {
                // Whether the bytes of one prove themselves shows when it is read.
                let within = head.c..at;
                parts_good = head.parts.iter().all(|part| within.contains(&part.lsn));
            } else {
                let read = head.parts.iter();
                parts = read.map(|part| read_part(self.contents, part)).collect();
                parts_good = parts.is_some();
            }
        }
        let facts = CheckpointFacts {
            head_good: head.is_some(),
            parts_good,
            reached: from.is_some(),
        };
        outcome.generation = outcome
            .generation
            .max(head.as_ref().map_or(0, |head| head.generation));
        match judge_checkpoint(facts) {
            CheckpointVerdict::Use => Some(Found {
                at,
                head: head?,
                parts,
                from: from?,
            }),
            CheckpointVerdict::Skip => None,
        }
    }

    fn segment_index(&self, lsn: Lsn) -> Option<usize> {
        self.segments
            .iter()
            .position(|id| *id == lsn.segment(self.segment_bytes))
    }

    /// Replays from C on, or a little before: that repeats what the image knows, in order, and changes nothing.
    fn replay_from(
        &mut self,
        first: usize,
        machine: &mut impl Machine<Sorter = S>,
        outcome: &mut Outcome,
    ) {
        for segment in self.prepared.split_off(&first).into_values() {
            outcome.replayed += segment.events;
            outcome.replayed_operations += segment.operations;
            outcome.forgotten += segment.forgotten;
            let kept = perennial_failpoints::planted!("clear-not-replayed-over-a-checkpoint")
                && outcome.checkpoint.is_some();
            for step in segment.steps {
                match step {
                    Step::Sorted(sorted) => machine.absorb(sorted),
                    Step::Clear if kept => {}
                    Step::Clear | Step::ForgetAll => machine.forget_all(),
                }
            }
            let left = segment.left.iter().filter(|_| !kept);
            left.for_each(|left| machine.keep_only(left));
        }
    }
}

fn load(found: &Found, machine: &mut impl Machine, outcome: &mut Outcome) {
    match &found.parts {
        Some(parts) => load_parts(parts, found.head.entries, machine),
        None => machine.image(&found.head),
    }
    outcome.loaded = found.head.entries;
    outcome.checkpoint_bytes = found
        .head
        .parts
        .iter()
        .map(|part| u64::from(part.bytes))
        .sum();
    outcome.checkpoint = Some((found.at, found.head.c));
    if perennial_failpoints::planted!("replay-begins-too-late") {
        outcome.checkpoint = Some((found.at, found.head.c.plus(1 << 10)));
    }
    outcome.time_seen_s = found.head.time_seen_s;
}

fn load_parts(parts: &[Vec<u8>], entries: u64, machine: &mut impl Machine) {
    machine.reserve(entries);
    for part in parts {
        for entry in decode_part(part)
            .into_iter()
            .flat_map(|part| part.entries().collect::<Vec<_>>())
        {
            machine.load(entry);
        }
    }
}
