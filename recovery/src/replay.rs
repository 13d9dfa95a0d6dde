//! The newest good checkpoint, then the log after it, in order, into a machine that absorbs them.

use std::collections::{HashMap, HashSet};

use perennial_wal::frame::{FrameKind, HEADER_BYTES};
use perennial_wal::segment::Row;
use perennial_wal::{Contents, Event, Events, Lsn, SegmentId};

use crate::checkpoint::{Entry, Head, decode_part, head_row, read_head, read_part, read_policy};
use crate::decide::{
    CheckpointFacts, CheckpointVerdict, LogFacts, LogVerdict, judge_checkpoint, judge_log,
};
use crate::left::Left;
use crate::moves::{Moved, decode_moves};

/// What absorbs a replay: an index.
pub trait Machine {
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

    /// About so many operations come next.
    fn reserve_operations(&mut self, operations: usize) {
        let _ = operations;
    }

    /// A put: the entry with this hash is now where the row says.
    fn put(&mut self, row: &Row);

    /// A remove, or damage to an operation on this key.
    fn remove(&mut self, hash: u64);

    /// The entry, if it is still where it was, is in a kept segment now. Where it was need not exist any more.
    fn relocate(&mut self, moved: &Moved);

    /// Entries so far that lie elsewhere than this says are gone.
    fn keep_only(&mut self, left: &Left);

    /// Forget everything so far.
    fn forget_all(&mut self);

    /// Nothing more will come.
    fn finish(&mut self);
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

/// Replays what `contents` found into `machine`, whose index knows `identity_bits` bits of a hash.
pub fn replay(
    contents: &mut Contents<'_>,
    segment_bytes: u64,
    identity_bits: u8,
    machine: &mut impl Machine,
) -> Outcome {
    Replay {
        segments: contents.segments(),
        contents,
        segment_bytes,
        identity_bits,
        events: HashMap::new(),
    }
    .run(machine)
}

struct Replay<'a, 'c> {
    contents: &'a mut Contents<'c>,
    segments: Vec<SegmentId>,
    segment_bytes: u64,
    identity_bits: u8,
    /// What was read of the segments, so that none is read twice.
    events: HashMap<usize, Events>,
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

impl Replay<'_, '_> {
    fn run(mut self, machine: &mut impl Machine) -> Outcome {
        let mut outcome = Outcome::default();
        let end_missing = self.contents.found.end_missing;
        let found = if end_missing {
            None
        } else {
            self.find_checkpoint(machine, &mut outcome)
        };
        let broken = self.contents.found.broken;
        match judge_log(LogFacts {
            end_missing,
            checkpoint: found.is_some(),
            broken,
        }) {
            LogVerdict::Nothing => outcome.forget = true,
            LogVerdict::FromLog => {
                machine.reserve(self.distinct_keys());
                self.replay_from(0, machine, &mut outcome);
            }
            LogVerdict::FromCheckpoint => {
                if let Some(found) = found {
                    load(&found, machine, &mut outcome);
                    outcome.policy =
                        read_policy(self.contents, &found.head.policy).unwrap_or_default();
                    self.replay_from(found.from, machine, &mut outcome);
                }
            }
        }
        machine.finish();
        outcome
    }

    /// About how many keys the whole log has, from one hash in 64: an index that is made large enough at once need not
    /// grow on the way.
    fn distinct_keys(&mut self) -> u64 {
        const SAMPLE: u64 = 64;
        let mut seen = HashSet::new();
        for index in 0..self.segments.len() {
            let events = self.events(index);
            let hashes = events.iter().filter_map(|event| match event {
                Event::Row(row) if row.hash % SAMPLE == 0 => Some(row.hash),
                _ => None,
            });
            seen.extend(hashes);
            self.events.insert(index, events);
        }
        seen.len() as u64 * SAMPLE
    }

    fn events(&mut self, index: usize) -> Events {
        self.events
            .remove(&index)
            .unwrap_or_else(|| self.contents.events(index))
    }

    /// Looks for the newest checkpoint that can be used, from the end of the log backwards.
    fn find_checkpoint(&mut self, machine: &impl Machine, outcome: &mut Outcome) -> Option<Found> {
        for index in (0..self.segments.len()).rev() {
            let events = self.events(index);
            let heads: Vec<Row> = events
                .iter()
                .rev()
                .filter_map(|event| head_row(&event))
                .collect();
            self.events.insert(index, events);
            for row in heads {
                if let Some(found) = self.try_checkpoint(&row, machine, outcome) {
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

    /// What a `Move` frame says. A damaged one costs the entries that it moved.
    fn moves(&self, row: &Row) -> Vec<Moved> {
        let at = row.target.position();
        let read = self.contents.frame(at, row.bytes);
        let moves = read.and_then(|(header, frame)| {
            let ours = header.kind == FrameKind::Move;
            ours.then(|| decode_moves(header.value(&frame)))?
        });
        if moves.is_none() {
            tracing::warn!(lsn = %at, "a frame that says what was moved cannot be read; those entries are forgotten");
        }
        moves.unwrap_or_default()
    }

    /// What a `Clear` frame says. Where that cannot be read, nobody can tell what is left.
    fn clear(&self, row: &Row, machine: &mut impl Machine, outcome: &mut Outcome) {
        if perennial_failpoints::planted!("clear-not-replayed-over-a-checkpoint")
            && outcome.checkpoint.is_some()
        {
            return;
        }
        let at = row.target.position();
        if u64::from(row.bytes) == HEADER_BYTES {
            return machine.forget_all();
        }
        let read = self.contents.frame(at, row.bytes);
        let left = read.and_then(|(header, frame)| {
            let ours = header.kind == FrameKind::Clear;
            ours.then(|| Left::decode(header.value(&frame)))?
        });
        match left {
            Some(left) => machine.keep_only(&left),
            None => {
                tracing::warn!(lsn = %at, "a frame that says what is left cannot be read; everything before it is forgotten");
                outcome.forgotten += 1;
                machine.forget_all();
            }
        }
    }

    /// Replays from C on, or a little before: that repeats what the image knows, in order, and changes nothing.
    fn replay_from(&mut self, first: usize, machine: &mut impl Machine, outcome: &mut Outcome) {
        for index in first..self.segments.len() {
            let events = self.events(index);
            // Only the first one has what C knows: C lies in it.
            let new = if index == first {
                let known = |event: &Event| is_before(event, outcome.checkpoint);
                events
                    .iter()
                    .rev()
                    .take_while(|event| !known(event))
                    .count()
            } else {
                events.len()
            };
            machine.reserve_operations(new);
            let new = events.iter().skip(events.len() - new);
            new.for_each(|event| self.replay_event(event, machine, outcome));
        }
    }

    fn replay_event(&self, event: Event, machine: &mut impl Machine, outcome: &mut Outcome) {
        outcome.replayed += 1;
        outcome.replayed_operations += u64::from(is_behind(&event, outcome.checkpoint));
        match event {
            Event::Row(row) if row.kind == FrameKind::Move => {
                for moved in self.moves(&row) {
                    machine.relocate(&moved);
                }
            }
            Event::Row(row) if row.kind == FrameKind::Clear => self.clear(&row, machine, outcome),
            Event::Row(row) => apply(&row, machine),
            Event::ForgetKey(hash) => machine.remove(hash),
            Event::ForgetAll => {
                outcome.forgotten += 1;
                machine.forget_all();
            }
        }
    }
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

fn apply(row: &Row, machine: &mut impl Machine) {
    match row.kind {
        FrameKind::Put | FrameKind::Ref => machine.put(row),
        FrameKind::Remove => machine.remove(row.hash),
        FrameKind::Mark
        | FrameKind::Extent
        | FrameKind::Part
        | FrameKind::Head
        | FrameKind::Move
        | FrameKind::Clear
        | FrameKind::Pad => {}
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
