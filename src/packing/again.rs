//! Survivors go to the head of the log again, like inserts.

use perennial_wal::frame::FrameHeader;
use perennial_wal::segment::{Row, Segment};
use perennial_wal::{Addr, Class, ExtentRef, FrameSpec, Refused};

use super::Live;
use crate::checkpoint::CheckpointState;
use crate::engine::{Engine, put_spec, read_bytes};
use crate::error::Result;
use crate::index::size_class;
use crate::write::reference_spec;

impl Engine {
    /// Returns what was moved, by its old addresses.
    pub(super) fn append_again(
        &self,
        state: &mut CheckpointState,
        segment: &Segment,
        live: &[Live],
    ) -> Result<Vec<Addr>> {
        let mut moved = Vec::new();
        let mut copied = Ok(());
        self.each_frame(segment, live, |row, header, frame| {
            if copied.is_err() {
                return;
            }
            match self.append_copy(state, row, header, frame) {
                Ok(true) => moved.push(row.target),
                Ok(false) => {}
                Err(error) => copied = Err(error),
            }
        })?;
        copied?;
        moved.sort_unstable_by_key(|addr| addr.to_bits());
        Ok(moved)
    }

    /// False: the entry is elsewhere already.
    fn append_copy(
        &self,
        state: &mut CheckpointState,
        row: &Row,
        header: &FrameHeader,
        frame: &[u8],
    ) -> Result<bool> {
        let (key, value) = (header.key(frame), header.value(frame));
        let spec = FrameSpec {
            expiry: header.expiry,
            flags: header.flags & !perennial_wal::frame::flags::CHUNKED,
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
                Ok(Some(moved)) => return Ok(moved),
                // Its segment went while there was no room for the reference.
                Ok(None) => extent = None,
                Err(refused) => self.make_meta_room(state, refused)?,
            }
        }
    }

    /// Reserves the copy's frame and points the entry at it, together, if it is still where it was. `None`: the copy is an
    /// extent, and no reference comes to it any more (I12).
    fn place_copy(
        &self,
        copy: &Copy<'_>,
        key: &[u8],
        value: &[u8],
    ) -> std::result::Result<Option<bool>, Refused> {
        let hash = copy.row.hash;
        let mut shard = self.index.lock(hash);
        // Before the reservation: one that is given up is a remove of its key.
        let here = |entry: &crate::index::Entry| entry.addr == copy.row.target;
        let compares = !perennial_failpoints::planted!("merge-appends-unconditionally");
        if compares && !self.index.get(hash).is_some_and(|entry| here(&entry)) {
            return Ok(Some(false));
        }
        if copy.extent.is_some_and(|extent| self.is_too_late(extent)) {
            return Ok(None);
        }
        let spec = copy
            .extent
            .map_or(copy.spec, |_| reference_spec(hash, copy.spec.flags));
        let mut reservation = self.log.try_reserve(spec, Class::Meta)?;
        if let Some(extent) = copy.extent {
            self.note_reference(extent, reservation.lsn());
        }
        let own = Addr::log(reservation.lsn());
        let (addr, bytes) = copy.extent.map_or((own, read_bytes(&copy.spec)), |extent| {
            (Addr::log(extent.lsn), self.extent_read_bytes(extent))
        });
        self.raise_horizon(own.max(addr));
        let class = size_class::class_of(u32::try_from(bytes).unwrap_or(u32::MAX));
        if !shard.replace_if(hash, copy.row.target, addr, class) {
            // Compared above, under this lock.
            debug_assert!(!compares, "it was there");
            shard.prepare(hash);
            let old = shard.set(hash, addr, class, &|addr| self.is_live(addr));
            old.inspect(|old| self.ledger.subtract(old.addr));
            self.ledger.add(copy.row.target);
        }
        self.ledger.subtract(copy.row.target);
        if !self.ledger.add(addr) {
            // An extent whose segment went before its reference came.
            self.counters.evicted.add(1);
        }
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
        reservation.complete();
        Ok(Some(true))
    }
}

/// An entry that is appended again.
struct Copy<'a> {
    row: &'a Row,
    spec: FrameSpec,
    extent: Option<ExtentRef>,
}
