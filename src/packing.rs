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

use perennial_recovery::{MOVED_BYTES, Moved, encode_moves};
use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::segment::{KeptWriter, Row, Segment};
use perennial_wal::{
    Addr, Class, ExtentRef, FrameSpec, Lsn, Refused, SegmentId, align_up, to_u32, to_usize,
};

use crate::checkpoint::CheckpointState;
use crate::engine::{Engine, put_spec, read_bytes};
use crate::error::Result;
use crate::index::size_class;
use crate::reclaim::{Candidate, Lane, Placement, Source};
use crate::write::reference_spec;

/// Survivors that lie no further apart are read together with what is between them.
const GAP_BYTES: u64 = 32 << 10;
/// At most this much is read at once, unless one frame is larger.
const PIECE_BYTES: u64 = 1 << 20;

/// The kept segments that are being filled, one in each lane.
#[derive(Debug, Default)]
pub(crate) struct Open {
    head: Option<KeptWriter>,
    hand: Option<KeptWriter>,
}

impl Open {
    fn lane(&mut self, lane: Lane) -> &mut Option<KeptWriter> {
        match lane {
            Lane::Head => &mut self.head,
            Lane::Hand => &mut self.hand,
        }
    }

    /// True for a segment that is being filled.
    pub(crate) fn has(&self, id: SegmentId) -> bool {
        let lanes = [&self.head, &self.hand];
        lanes.into_iter().flatten().any(|writer| writer.id() == id)
    }

    /// How many are being filled.
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.head.is_some()) + u64::from(self.hand.is_some())
    }
}

impl CheckpointState {
    /// The order of the kept segments, and the policy's own state.
    ///
    /// ```text
    ///   | segments u32 | number u64 | order u64 | ... | the policy's
    /// ```
    pub(crate) fn save_policy(&self) -> Vec<u8> {
        let own = self.policy.save();
        if self.orders.is_empty() && own.is_empty() {
            return own;
        }
        let mut saved = to_u32(self.orders.len()).to_le_bytes().to_vec();
        for (id, order) in &self.orders {
            saved.extend(id.0.to_le_bytes());
            saved.extend(order.to_le_bytes());
        }
        saved.extend(own);
        saved
    }

    /// Goes on with what [`save_policy`](Self::save_policy) said, for segments that there still are.
    pub(crate) fn load_policy(&mut self, saved: &[u8]) {
        let Some((count, rest)) = saved.split_first_chunk() else {
            return;
        };
        let count = to_usize(u64::from(u32::from_le_bytes(*count)));
        let (pairs, rest) = rest
            .as_chunks::<16>()
            .0
            .split_at_checked(count)
            .map_or((&[][..], &[][..]), |(pairs, _)| {
                (pairs, &rest[count * 16..])
            });
        for pair in pairs {
            let [id, order] = [&pair[..8], &pair[8..]]
                .map(|half| u64::from_le_bytes(half.try_into().unwrap_or_default()));
            self.orders
                .entry(SegmentId(id))
                .and_modify(|known| *known = order);
        }
        if !self.policy.load(rest) {
            tracing::info!("the eviction policy starts anew");
        }
    }
}

/// A live entry of a segment that is being reclaimed.
#[derive(Clone, Copy)]
struct Live {
    row: Row,
    kept: bool,
}

impl Engine {
    /// Reclaims a segment: what the policy keeps of it is moved, the rest is gone.
    pub(crate) fn reclaim(
        &self,
        state: &mut CheckpointState,
        from: Source,
        segment: &Segment,
    ) -> Result<()> {
        let live = self.ask(state, from, segment)?;
        if from == Source::Kept && self.leave(state, segment, &live) {
            return Ok(());
        }
        perennial_failpoints::site!("packing::reclaim");
        let moved = match state.policy.placement(from) {
            Placement::Log => self.append_again(state, segment, &live)?,
            Placement::Kept { lane, order } => self.pack(state, segment, &live, lane, order)?,
        };
        for entry in &live {
            // What could not be copied is gone all the same.
            let kept = entry.kept && moved.contains(&entry.row.target);
            state.policy.settle(from, entry.row.hash, kept);
        }
        perennial_failpoints::site!("packing::moved");
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
        self.counters.reclaimed_segments.add(1);
        tracing::debug!(segment = %segment.header.number, ?from, dropped, moved = moved.len(), "reclaimed a segment");
        Ok(())
    }

    /// The live entries of a segment, and whether the policy keeps them.
    fn ask(&self, state: &CheckpointState, from: Source, segment: &Segment) -> Result<Vec<Live>> {
        if !state.policy.is_selective() {
            return Ok(Vec::new());
        }
        let store = self.log.store();
        let mut rows = store.rows(segment)?;
        // The reference of a large value may be the first entry of the next segment.
        let next = store.get(SegmentId(segment.header.number.0 + 1));
        if let (Source::Log, Some(next)) = (from, next.filter(|next| next.header.kept.is_none())) {
            let stable = self.log.stable_lsn();
            let end = Lsn((next.header.number.0 + 1) * self.log.geometry().segment_bytes);
            if end <= stable {
                let here = |row: &Row| row.kind == FrameKind::Ref;
                rows.extend(store.rows(&next)?.into_iter().filter(here));
            }
        }
        let number = segment.header.number;
        let segment_bytes = self.log.geometry().segment_bytes;
        let live = rows.into_iter().filter_map(|row| {
            let entry = matches!(
                row.kind,
                FrameKind::Put | FrameKind::Ref | FrameKind::Extent
            );
            let here = entry && row.target.position().segment(segment_bytes) == number;
            let found = self.index.get(row.hash).filter(|_| here)?;
            let candidate = Candidate {
                hash: row.hash,
                visits: found.visited,
            };
            (found.addr == row.target).then(|| Live {
                row,
                kept: state.policy.keeps(from, candidate),
            })
        });
        Ok(live.collect())
    }

    /// Leaves a kept segment where it is, with its visits cleared, if so much of it would be copied.
    fn leave(&self, state: &mut CheckpointState, segment: &Segment, live: &[Live]) -> bool {
        let bytes = |live: &Live| align_up(u64::from(live.row.bytes), perennial_wal::ALIGN);
        let kept: u64 = live.iter().filter(|entry| entry.kept).map(bytes).sum();
        let Some(order) = state.policy.stays(kept, self.log.geometry().segment_bytes) else {
            return false;
        };
        state.orders.insert(segment.header.number, order);
        for entry in live {
            let row = &entry.row;
            let mut shard = self.index.lock(row.hash);
            if entry.kept {
                let class = size_class::class_of(row.bytes);
                shard.replace_if(row.hash, row.target, row.target, class);
            } else if shard.remove_if(row.hash, row.target) {
                self.ledger.subtract(row.target);
                self.counters.evicted.add(1);
            }
            state.policy.settle(Source::Kept, row.hash, entry.kept);
        }
        true
    }

    /// Copies what is kept to the open kept segment of a lane. Returns what was moved, by its old addresses.
    fn pack(
        &self,
        state: &mut CheckpointState,
        segment: &Segment,
        live: &[Live],
        lane: Lane,
        order: u64,
    ) -> Result<Vec<Addr>> {
        let mut moved = Vec::new();
        let mut copied = Ok(());
        self.each_frame(segment, live, |row, header, frame| {
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
        copied?;
        if let Some(writer) = state.open.lane(lane) {
            self.log.sync_kept(writer)?;
        }
        self.publish(state, &moved)?;
        let mut all: Vec<Addr> = moved.iter().map(|moved| moved.old).collect();
        all.sort_unstable_by_key(|addr| addr.to_bits());
        Ok(all)
    }

    /// The open kept segment of a lane, with room for this frame; `None`: there is no file for another.
    fn room_for<'a>(
        &self,
        state: &'a mut CheckpointState,
        header: &FrameHeader,
        lane: Lane,
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
        let mut end = Lsn(0);
        for moved in moved.chunks(at_once) {
            perennial_failpoints::site!("packing::move_frame");
            let body = encode_moves(moved);
            let at = self.append_meta(state, FrameKind::Move, &body)?;
            end = Lsn(at.0 + HEADER_BYTES + body.len() as u64);
            for entry in moved {
                self.relocate(entry);
            }
        }
        if end > Lsn(0) && !perennial_failpoints::planted!("source-freed-before-move-is-stable") {
            self.log.make_stable(end)?;
        }
        Ok(())
    }

    fn relocate(&self, moved: &Moved) {
        self.raise_kept_horizon(moved.new);
        let class = size_class::class_of(moved.bytes);
        let mut shard = self.index.lock(moved.hash);
        if shard.replace_if(moved.hash, moved.old, moved.new, class) {
            self.ledger.subtract(moved.old);
            self.ledger.add(moved.new);
            self.counters.moved.add(1);
            self.counters.moved_bytes.add(u64::from(moved.bytes));
        }
    }

    /// Gives every frame that is kept, proved, to `take`. What does not prove itself is damage, and not copied.
    fn each_frame(
        &self,
        segment: &Segment,
        live: &[Live],
        mut take: impl FnMut(&Row, &FrameHeader, &[u8]),
    ) {
        let segment_bytes = self.log.geometry().segment_bytes;
        let offset = |row: &Row| row.target.position().offset(segment_bytes);
        let mut kept: Vec<Row> = live.iter().filter(|l| l.kept).map(|l| l.row).collect();
        kept.sort_unstable_by_key(offset);
        let mut rest = &kept[..];
        while let Some(first) = rest.first() {
            let begin = offset(first);
            let mut end = begin + u64::from(first.bytes);
            let mut together = |row: &Row| {
                let (from, to) = (offset(row), offset(row) + u64::from(row.bytes));
                let near = from <= end + GAP_BYTES && to - begin <= PIECE_BYTES;
                if near {
                    end = end.max(to);
                }
                near
            };
            let more = rest[1..].iter().take_while(|row| together(row)).count();
            let (piece, behind) = rest.split_at(1 + more);
            rest = behind;
            let bytes = match self.log.store().read(segment, begin, to_usize(end - begin)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%error, "entries that were to be kept cannot be read");
                    self.counters.read_errors.add(1);
                    continue;
                }
            };
            for row in piece {
                let at = offset(row);
                let frame = bytes.get(to_usize(at - begin)..).unwrap_or(&[]);
                let frame = frame.get(..to_usize(u64::from(row.bytes))).unwrap_or(&[]);
                match FrameHeader::decode_whole(frame, segment.seed_at(at), at) {
                    Ok(header) if self.expired(&header) => {}
                    Ok(header) if header.hash == row.hash => take(row, &header, frame),
                    _ => self.counters.damaged_reads.add(1),
                }
            }
        }
    }
}

/// To the head of the log again, like an insert.
impl Engine {
    fn append_again(
        &self,
        state: &mut CheckpointState,
        segment: &Segment,
        live: &[Live],
    ) -> Result<Vec<Addr>> {
        let (mut moved, mut end) = (Vec::new(), Lsn(0));
        let mut copied = Ok(());
        self.each_frame(segment, live, |row, header, frame| {
            if copied.is_err() {
                return;
            }
            match self.append_copy(state, row, header, frame) {
                Ok(Some(copy)) => {
                    end = end.max(copy);
                    moved.push(row.target);
                }
                Ok(None) => {}
                Err(error) => copied = Err(error),
            }
        });
        copied?;
        if end > Lsn(0) {
            self.log.make_stable(end)?;
        }
        moved.sort_unstable_by_key(|addr| addr.to_bits());
        Ok(moved)
    }

    /// Where the copy ends; `None`: the entry is elsewhere already.
    fn append_copy(
        &self,
        state: &mut CheckpointState,
        row: &Row,
        header: &FrameHeader,
        frame: &[u8],
    ) -> Result<Option<Lsn>> {
        let (key, value) = (header.key(frame), header.value(frame));
        let spec = FrameSpec {
            expiry: header.expiry,
            ..put_spec(row.hash, key, header.value_bytes)
        };
        let mut extent = None;
        loop {
            if extent.is_none() && !self.goes_through_the_ring(&spec) {
                match self.log.append_extent(spec, key, value) {
                    Ok(written) => extent = Some(written),
                    Err(refused) => {
                        self.make_meta_room(state, refused)?;
                        continue;
                    }
                }
            }
            let copy = Copy { row, spec, extent };
            match self.place_copy(&copy, key, value) {
                Ok(end) => return Ok(end),
                Err(refused) => self.make_meta_room(state, refused)?,
            }
        }
    }

    /// Reserves the copy's frame and points the entry at it, together, if it is still where it was.
    fn place_copy(
        &self,
        copy: &Copy<'_>,
        key: &[u8],
        value: &[u8],
    ) -> std::result::Result<Option<Lsn>, Refused> {
        let hash = copy.row.hash;
        let mut shard = self.index.lock(hash);
        // Before the reservation: one that is given up is a remove of its key.
        let here = |entry: &crate::index::Entry| entry.addr == copy.row.target;
        if !self.index.get(hash).is_some_and(|entry| here(&entry)) {
            return Ok(None);
        }
        let spec = copy.extent.map_or(copy.spec, |_| reference_spec(hash));
        let mut reservation = self.log.try_reserve(spec, Class::Meta)?;
        let own = Addr::log(reservation.lsn());
        let (addr, bytes) = copy.extent.map_or((own, read_bytes(&copy.spec)), |extent| {
            (Addr::log(extent.lsn), self.extent_read_bytes(extent))
        });
        self.raise_horizon(own.max(addr));
        let class = size_class::class_of(u32::try_from(bytes).unwrap_or(u32::MAX));
        shard.replace_if(hash, copy.row.target, addr, class);
        self.ledger.subtract(copy.row.target);
        self.ledger.add(addr);
        drop(shard);
        match copy.extent {
            Some(extent) => reservation.body().value.copy_from_slice(&extent.encode()),
            None => {
                let body = reservation.body();
                body.key.copy_from_slice(key);
                body.value.copy_from_slice(value);
            }
        }
        self.counters.moved.add(1);
        self.counters.moved_bytes.add(bytes);
        Ok(Some(reservation.complete()))
    }
}

/// An entry that is appended again.
struct Copy<'a> {
    row: &'a Row,
    spec: FrameSpec,
    extent: Option<ExtentRef>,
}
