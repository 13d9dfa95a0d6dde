//! Carrying out what the policy says: entries worth keeping are copied to kept segments, and what they leave is free.
//!
//! ```text
//!   source ─ rows ─► live in the index? ─► policy: keep? ─► frame, proved ─► copy ─ sync ─► Move frame in the log
//!                                                                                              │
//!   source free ◄── stable up to the Move frame ◄── each entry moved, if it still is where it was ◄┘
//! ```
//! The copies are durable before a `Move` frame names them, and the source stays until that frame is stable: at every
//! moment a recovery finds an entry in one place or the other. Whoever overwrites or removes the entry meanwhile wins, for
//! the index and a replay compare alike.

mod again;
mod frames;
mod open;
mod pinned;

pub(crate) use open::Open;

use perennial_failpoints::Span;
use perennial_recovery::{MOVED_BYTES, Moved, encode_moves};
use perennial_wal::frame::{FrameHeader, FrameKind};
use perennial_wal::segment::{KeptWriter, ROW_BYTES, Row, Segment};
use perennial_wal::{ALIGN, Addr, SegmentId, align_up, to_usize};

use crate::checkpoint::CheckpointState;
use crate::engine::Engine;
use crate::error::Result;
use crate::index::size_class;
use crate::pins::{is_low, is_pinned};
use crate::reclaim::{Candidate, Lane, Placement, Source};

/// A live entry of a segment that is being reclaimed.
#[derive(Clone, Copy)]
struct Live {
    row: Row,
    kept: bool,
}

/// What lives in it.
struct Asked {
    pinned: Vec<Live>,
    /// The rest.
    live: Vec<Live>,
    /// False: the media did not give all of it.
    whole: bool,
}

impl Engine {
    /// Reclaims a segment: what the policy keeps of it is moved, the rest is gone.
    pub(crate) fn reclaim(
        &self,
        state: &mut CheckpointState,
        from: Source,
        segment: &Segment,
    ) -> Result<()> {
        let _span = self.reads_what_it_reclaims(state).then(Span::begin);
        if from == Source::Log {
            self.close_to_references(segment.header.number);
        }
        let Asked {
            pinned,
            live,
            whole,
        } = self.ask(state, from, segment)?;
        let of_policy = !state.is_pinned(segment.header.number);
        if from == Source::Kept && of_policy && self.leave(state, segment, &live) {
            return Ok(());
        }
        perennial_failpoints::site!("packing::reclaim");
        // First: what is left of the room is for what may go.
        let kept_pinned = self.move_pinned(state, segment, &pinned)?;
        let moved = match of_policy.then(|| state.policy.placement(from)) {
            None => Vec::new(),
            Some(Placement::Log) => self.append_again(state, segment, &live)?,
            Some(Placement::Kept { lane, order }) => {
                self.pack(state, segment, &live, Some(lane), order)?
            }
        };
        for entry in &live {
            // What could not be copied is gone all the same.
            let target = entry.row.target.to_bits();
            let was_moved = || moved.binary_search_by_key(&target, |addr| addr.to_bits());
            let kept = entry.kept && was_moved().is_ok();
            state.policy.settle(from, entry.row.hash, kept);
        }
        let too_early = perennial_failpoints::planted!("source-freed-before-move-is-stable");
        if (state.policy.is_selective() || self.pins.in_use()) && !too_early {
            // The copies' frames; and newer versions of what lies dead here, or a power loss could take both.
            self.log.flush()?;
        }
        perennial_failpoints::site!("packing::moved");
        self.tell_given_up(from, segment);
        let dropped = match from {
            Source::Log => {
                self.log.store().release_through(segment.header.number);
                self.ledger.drop_through(segment.header.number)
            }
            Source::Kept => {
                self.log.store().release_kept(segment.header.number);
                state.orders.remove(&segment.header.number);
                self.ledger.drop_kept(segment.header.number)
            }
        };
        self.counters.evicted.add(dropped);
        self.index.note_evicted(dropped);
        self.counters.reclaimed_segments.add(1);
        self.forget_unmoved(&pinned);
        if !whole && self.pins.in_use() {
            // Those that no row tells of any more, among all that there are.
            self.count_lost_pins();
        }
        let moved = moved.len() + kept_pinned;
        tracing::debug!(segment = %segment.header.number, ?from, dropped, moved, "reclaimed a segment");
        Ok(())
    }

    /// False: whole segments go, and nobody looks at what is in them.
    fn reads_what_it_reclaims(&self, state: &CheckpointState) -> bool {
        state.policy.is_selective() || self.pins.entries() > 0
    }

    /// The live entries of a segment: the pinned ones, and the others with whether the policy keeps them.
    fn ask(&self, state: &CheckpointState, from: Source, segment: &Segment) -> Result<Asked> {
        if !self.reads_what_it_reclaims(state) {
            return Ok(Asked {
                pinned: Vec::new(),
                live: Vec::new(),
                whole: true,
            });
        }
        let number = segment.header.number;
        let (mut rows, whole) = match self.log.store().rows(segment) {
            Err(error) if error.is_medias() => (self.log.store().rows_there_are(segment)?, false),
            rows => (rows?, true),
        };
        if from == Source::Log {
            // Of large values.
            rows.extend(self.references_behind(number, &rows)?);
        }
        let live = rows
            .into_iter()
            .filter_map(|row| self.ask_of(state, from, number, row));
        let (pinned, live) = live.partition(|entry| is_set_apart(&entry.row));
        Ok(Asked {
            pinned,
            live,
            whole,
        })
    }

    /// A row's entry, if it is live and lies in segment `number`.
    fn ask_of(
        &self,
        state: &CheckpointState,
        from: Source,
        number: SegmentId,
        row: Row,
    ) -> Option<Live> {
        let entry = matches!(
            row.kind,
            FrameKind::Put | FrameKind::Ref | FrameKind::Extent
        );
        let segment = row.target.position();
        let here = entry && segment.segment(self.log.geometry().segment_bytes) == number;
        let found = self.index.get(row.hash).filter(|_| here)?;
        let candidate = Candidate {
            hash: row.hash,
            visits: found.visited,
        };
        (found.addr == row.target).then(|| Live {
            row,
            kept: is_set_apart(&row) || may_be_kept(&row) && state.policy.keeps(from, candidate),
        })
    }

    /// Leaves a kept segment where it is, with its visits cleared, if so much of it would be copied. What nobody read stays
    /// as well: dropping it frees nothing.
    fn leave(&self, state: &mut CheckpointState, segment: &Segment, live: &[Live]) -> bool {
        let geometry = self.log.geometry();
        let bytes = |live: &Live| align_up(u64::from(live.row.bytes), ALIGN) + ROW_BYTES;
        let kept: u64 = live.iter().filter(|entry| entry.kept).map(bytes).sum();
        let Some(order) = state
            .policy
            .stays(kept, geometry.segment_bytes - geometry.data_begin())
        else {
            return false;
        };
        state.orders.insert(segment.header.number, order);
        for entry in live {
            let row = &entry.row;
            let class = size_class::class_of(row.bytes);
            let mut shard = self.index.lock(row.hash);
            shard.replace_if(row.hash, row.target, row.target, class);
        }
        true
    }

    /// Copies what is kept to the open kept segment of a lane. Returns what was moved, by its old addresses.
    fn pack(
        &self,
        state: &mut CheckpointState,
        segment: &Segment,
        live: &[Live],
        lane: Option<Lane>,
        order: u64,
    ) -> Result<Vec<Addr>> {
        let mut moved = Vec::new();
        let mut copied = Ok(());
        let read = self.each_frame(segment, live, |row, header, frame| {
            if copied.is_err() {
                return;
            }
            match self.room_for(state, header, lane, order) {
                Ok(Some(writer)) => moved.push(Moved {
                    hash: row.hash,
                    old: row.target,
                    new: writer.append(header, frame),
                    bytes: row.bytes,
                }),
                Ok(None) => {}
                Err(error) => copied = Err(error),
            }
        });
        if let Some(writer) = state.open.lane(lane) {
            self.log.sync_kept(writer)?;
        }
        self.publish(state, &moved)?;
        // Only now: who tries again does not copy the same once more.
        read.and(copied)?;
        let mut all: Vec<Addr> = moved.iter().map(|moved| moved.old).collect();
        all.sort_unstable_by_key(|addr| addr.to_bits());
        Ok(all)
    }

    /// The open kept segment of a lane, with room for this frame; `None`: there is no file for another.
    fn room_for<'a>(
        &self,
        state: &'a mut CheckpointState,
        header: &FrameHeader,
        lane: Option<Lane>,
        order: u64,
    ) -> Result<Option<&'a mut KeptWriter>> {
        let open = state.open.lane(lane);
        if let Some(full) = open.take_if(|writer| !writer.has_room(header)) {
            self.log.seal_kept(full)?;
        }
        if open.is_none() {
            *open = self.log.begin_kept(order)?;
        }
        if let Some(writer) = open {
            state.orders.entry(writer.id()).or_insert(order);
        }
        Ok(open.as_mut().filter(|writer| writer.has_room(header)))
    }

    /// Says in the log what was copied where, and moves what is still where it was.
    fn publish(&self, state: &mut CheckpointState, moved: &[Moved]) -> Result<()> {
        let at_once = to_usize(self.meta_bytes() / MOVED_BYTES).max(1);
        for moved in moved.chunks(at_once) {
            perennial_failpoints::site!("packing::move_frame");
            self.append_meta(state, FrameKind::Move, &encode_moves(moved))?;
            for entry in moved {
                self.relocate(entry);
            }
        }
        Ok(())
    }

    fn relocate(&self, moved: &Moved) {
        self.raise_kept_horizon(moved.new);
        let class = size_class::class_of(moved.bytes);
        let mut shard = self.index.lock(moved.hash);
        if perennial_failpoints::planted!("merge-moves-unconditionally") {
            shard.prepare(moved.hash);
            let old = shard.set(moved.hash, moved.new, class, &|addr| self.is_live(addr));
            old.inspect(|old| self.ledger.subtract(old.addr));
            self.ledger.add(moved.new);
            return;
        }
        if shard.replace_if(moved.hash, moved.old, moved.new, class) {
            self.ledger.subtract(moved.old);
            self.ledger.add(moved.new);
            self.counters.moved.add(1);
            self.counters.moved_bytes.add(u64::from(moved.bytes));
        }
    }
}

/// What is pinned is moved, whatever the policy thinks of it.
fn is_set_apart(row: &Row) -> bool {
    is_pinned(row) && !perennial_failpoints::planted!("pinned-is-evicted")
}

/// False for what the policy is not asked about: it is never kept.
fn may_be_kept(row: &Row) -> bool {
    !is_low(row) || perennial_failpoints::planted!("low-is-kept")
}
