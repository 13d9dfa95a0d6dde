//! Inserts and removes: order is decided once, under the key's shard lock.
//!
//! Under that lock the LSN is reserved and the index entry is set together; the bytes are copied after it is released.
//! So the order of the index is the order of the log is the order of replay. A reservation that finds no room waits for
//! it outside the lock and tries again.

mod filled;
mod large;
mod plain;

use std::sync::Arc;

use perennial_wal::{Addr, Class, ExtentRef, FrameSpec, Lsn, Refused, Reservation, to_u32};

use crate::compress::Compression;
use crate::engine::{Engine, put_spec, read_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Flight;
use crate::fetch::Flights;
use crate::index::{Entry, ShardGuard, size_class};
use crate::insert_options::{InsertOptions, Priority};
use crate::options::WhenFull;
use crate::value::{Inserted, Rejection};
pub(crate) use large::reference_spec;

/// What the index must say of a key for a remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    /// Whatever it likes.
    Always,
    /// Nothing.
    Absent,
    /// That the entry lies here.
    At(Addr),
}

impl Only {
    fn holds(self, lies_at: impl FnOnce() -> Option<Addr>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => lies_at().is_none(),
            Self::At(addr) => lies_at() == Some(addr),
        }
    }
}

/// What a reservation under the shard lock came to.
enum Placed<'a> {
    Reserved(Reservation<'a>, bool),
    Superseded,
    PinnedFull,
    /// Only for who does not wait.
    NoRoom,
    /// Only of an extent: its segment is being reclaimed.
    TooLate,
}

/// What to put, and where its entry will point.
pub(crate) struct Placing<'k> {
    key: &'k [u8],
    hash: u64,
    pub(crate) spec: FrameSpec,
    /// The extent that holds key and value, where the frame only refers to it (I12).
    pub(crate) extent: Option<ExtentRef>,
    /// Store only while this fetch is still the newest thing that happened to the key.
    only_for: Option<&'k Arc<Flight>>,
    /// When the entry ends: a reference does not say.
    expiry: u32,
}

/// How to store a value.
#[derive(Clone, Copy, Default)]
pub(crate) struct How<'f> {
    pub(crate) durable: bool,
    /// In seconds since 1970; 0 = never.
    pub(crate) expiry: u32,
    pub(crate) priority: Priority,
    /// `None`: as the options say.
    pub(crate) compression: Option<Compression>,
    /// Store only while this fetch is still the newest thing that happened to the key.
    pub(crate) only_for: Option<&'f Arc<Flight>>,
    /// Not to wait for room.
    pub(crate) at_once: bool,
    /// And where there is none, to do nothing: the older version stays, the answer is [`ErrorKind::Busy`].
    pub(crate) or_nothing: bool,
}

fn no_room() -> Error {
    Error::new(
        ErrorKind::Busy,
        "there is no room now to store the value, nor to log that the key has none; an older version is still there, try again",
    )
}

impl Engine {
    pub(crate) fn insert_durable(&self, key: &[u8], value: &[u8]) -> Result<Inserted> {
        let times = &self.times.insert_durable;
        self.timed(times, || self.insert(key, value, true))
    }

    pub(crate) fn insert(&self, key: &[u8], value: &[u8], durable: bool) -> Result<Inserted> {
        let how = How {
            durable,
            ..How::default()
        };
        match self.insert_plainly(key, value) {
            Ok(Some(end)) => {
                if durable {
                    self.make_durable(end)?;
                }
                Ok(Inserted::Stored)
            }
            Ok(None) => self.insert_how(key, value, how),
            Err(why) => self.insert_unlogged(why, key, value, how),
        }
    }

    pub(crate) fn insert_with(
        &self,
        key: &[u8],
        value: &[u8],
        options: &InsertOptions,
    ) -> Result<Inserted> {
        self.check_open()?;
        options.check_value(value)?;
        let how = How {
            durable: options.is_durable(),
            expiry: options.expiry(self.clock.now_ms(&*self.fs))?,
            priority: options.priority_of(),
            compression: options.compression_of()?,
            ..How::default()
        };
        self.insert_how(key, value, how)
    }

    pub(crate) fn try_insert(&self, key: &[u8], value: &[u8]) -> Result<Inserted> {
        let how = How {
            at_once: true,
            ..How::default()
        };
        self.insert_how(key, value, how)
    }

    pub(crate) fn insert_how(&self, key: &[u8], value: &[u8], how: How<'_>) -> Result<Inserted> {
        self.insert_logged(key, value, how)
            .or_else(|why| self.insert_unlogged(why, key, value, how))
    }

    fn insert_logged(&self, key: &[u8], value: &[u8], how: How<'_>) -> Result<Inserted> {
        let (hash, _) = self.check_put(key, value.len())?;
        let at_once = self.is_at_once(how);
        if how.priority != Priority::Pinned && !self.admits(hash, value.len()) {
            return self.not_admitted(key, how);
        }
        let compression = how.compression.unwrap_or(self.plan.compression);
        let (stored, codec) = compression.store(value);
        let inserted_bytes = key.len() + value.len();
        let value = &*stored;
        let spec = FrameSpec {
            expiry: how.expiry,
            flags: how.priority.flags() | codec,
            ..put_spec(hash, key, to_u32(value.len()))
        };
        if how.priority == Priority::Pinned && !self.may_pin(&spec, at_once)? {
            return self.reject(key, Rejection::PinnedFull, at_once, how.durable);
        }
        let (placed, extent) = if self.goes_through_the_ring(&spec) {
            let placing = Placing {
                key,
                hash,
                spec,
                extent: None,
                only_for: how.only_for,
                expiry: how.expiry,
            };
            (self.place(&placing, at_once)?, None)
        } else {
            self.place_large(spec, (key, value), how.only_for, at_once)?
        };
        let (reservation, entered) = match placed {
            Placed::Reserved(reservation, entered) => (reservation, entered),
            Placed::NoRoom | Placed::TooLate => return self.busy(key, how),
            Placed::Superseded => return Ok(Inserted::Rejected(Rejection::Superseded)),
            Placed::PinnedFull => {
                return self.reject(key, Rejection::PinnedFull, at_once, how.durable);
            }
        };
        perennial_failpoints::site!("write::placed");
        let end = match extent {
            Some(extent) => reservation.complete_with(&[], &extent.encode()),
            None => reservation.complete_with(key, value),
        };
        let stored_bytes = key.len() + value.len();
        self.finish_insert((inserted_bytes, stored_bytes), end, how.durable, entered)
    }

    /// What is rejected is not in the cache, and nothing older either: its remove is logged before anybody hears of it
    /// (I14). `at_once`: without waiting for room, or [`ErrorKind::Busy`] and nothing happened.
    pub(crate) fn reject(
        &self,
        key: &[u8],
        why: Rejection,
        at_once: bool,
        durable: bool,
    ) -> Result<Inserted> {
        let hash = self.hash(key);
        let end = if at_once {
            self.remove_at_once(key, hash)?
        } else {
            self.remove_hash(key, hash)?.0
        };
        self.counters.rejected.add(1);
        if durable {
            self.make_durable(end)?;
        }
        Ok(Inserted::Rejected(why))
    }

    /// A fetch is not the newest thing that happened to the key, perhaps, and found nothing: it removes nothing.
    fn not_admitted(&self, key: &[u8], how: How<'_>) -> Result<Inserted> {
        if how.only_for.is_some() {
            return Ok(Inserted::Rejected(Rejection::NotAdmitted));
        }
        let at_once = self.is_at_once(how);
        self.reject(key, Rejection::NotAdmitted, at_once, how.durable)
    }

    /// Without a thread that makes room nobody would, ever: then the caller does.
    fn is_at_once(&self, how: How<'_>) -> bool {
        let rejects = self.plan.when_full == WhenFull::Reject && how.only_for.is_none();
        (how.at_once || rejects) && self.plan.background
    }

    /// There is no room for who does not wait for it. As above, a fetch removes nothing: it may be tried again.
    fn busy(&self, key: &[u8], how: How<'_>) -> Result<Inserted> {
        self.ask_for_room();
        if how.only_for.is_some() {
            return Ok(Inserted::Rejected(Rejection::Busy));
        }
        if how.or_nothing {
            return Err(no_room());
        }
        self.reject(key, Rejection::Busy, true, how.durable)
    }

    /// A key that is in no index is no other: what was evicted may come back after a crash, and would be older than what
    /// was rejected.
    fn remove_at_once(&self, key: &[u8], hash: u64) -> Result<Lsn> {
        match self.try_remove(key, hash, Only::Always) {
            Ok(None) => Ok(Lsn(0)),
            Ok(Some((end, entered, _))) => {
                self.after_operation(entered);
                Ok(end)
            }
            Err(Refused::Stopped(why)) => Err(why.into()),
            Err(Refused::NoRoom(_)) => {
                self.ask_for_room();
                Err(no_room())
            }
        }
    }

    pub(crate) fn remove(&self, key: &[u8], durable: bool) -> Result<()> {
        self.check_open()?;
        Self::check_key(key)?;
        let hash = self.hash(key);
        let end = match self.remove_hash(key, hash) {
            Ok((end, _)) => end,
            Err(why) => return self.remove_unlogged(why, key, durable),
        };
        self.counters.removes.add(1);
        if durable {
            self.make_durable(end)
        } else {
            Ok(())
        }
    }

    /// Appends a remove, found or not: the index says nothing about what a recovery may find (hole 30 in
    /// `docs/recovery.md`).
    ///
    /// Its frame is complete before the entry goes: whoever sees the key absent sees what a killed process leaves, too.
    ///
    /// Returns where it ends, and whether there was an entry.
    pub(crate) fn remove_hash(&self, key: &[u8], hash: u64) -> Result<(Lsn, bool)> {
        let removed = self.remove_if(key, hash, Only::Always)?;
        Ok(removed.unwrap_or((Lsn(0), false)))
    }

    /// The same, where the index is as `only` says. Asked under the shard's lock: what is stored meanwhile is not removed.
    pub(crate) fn remove_if(
        &self,
        key: &[u8],
        hash: u64,
        only: Only,
    ) -> Result<Option<(Lsn, bool)>> {
        loop {
            match self.try_remove(key, hash, only) {
                Ok(None) => return Ok(None),
                Ok(Some((end, entered, there))) => {
                    self.after_operation(entered);
                    return Ok(Some((end, there)));
                }
                Err(Refused::Stopped(_))
                    if perennial_failpoints::planted!("unlogged-when-stopped") =>
                {
                    self.index.lock(hash).remove(hash);
                    return Ok(Some((Lsn(0), false)));
                }
                Err(refused) => self.answer(refused, Class::Remove)?,
            }
        }
    }

    /// Returns where it ends, and whether it entered a segment and there was an entry. `None`: nothing was to be removed.
    fn try_remove(
        &self,
        key: &[u8],
        hash: u64,
        only: Only,
    ) -> std::result::Result<Option<(Lsn, bool, bool)>, Refused> {
        let mut shard = self.index.lock(hash);
        if !only.holds(|| shard.get(hash).map(|entry| entry.addr)) {
            return Ok(None);
        }
        let unstable = |old: Entry| old.addr.position() >= self.log.stable_lsn();
        if perennial_failpoints::planted!("remove-not-logged")
            || perennial_failpoints::planted!("remove-of-unstable-not-logged")
                && self.index.get(hash).is_some_and(unstable)
            || perennial_failpoints::planted!("remove-of-absent-not-logged")
                && self.index.get(hash).is_none()
        {
            shard.remove(hash);
            return Ok(Some((Lsn(0), false, false)));
        }
        let reservation = self
            .log
            .try_reserve(FrameSpec::remove(hash), Class::Remove)?;
        let entered = self.raise_horizon(Addr::log(reservation.lsn()));
        let end = reservation.complete();
        perennial_failpoints::site!("write::remove");
        let old = shard.remove(hash);
        if let Some(old) = &old {
            self.ledger.subtract(old.addr);
        }
        self.pins.forget(hash);
        shard.extra().supersede(key);
        let there = old.is_some_and(|old| self.is_live(old.addr));
        Ok(Some((end, entered, there)))
    }

    fn check_put(&self, key: &[u8], len: usize) -> Result<(u64, FrameSpec)> {
        self.check_open()?;
        Self::check_key(key)?;
        let max = self.max_value_bytes(key.len());
        let value_bytes = u32::try_from(len)
            .ok()
            .filter(|bytes| u64::from(*bytes) <= max)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "a value of {len} bytes does not fit in a segment; at most {max} with this key"
                ))
            })?;
        let hash = self.hash(key);
        Ok((hash, put_spec(hash, key, value_bytes)))
    }

    /// The largest value that fits in a segment together with a key of `key_bytes`.
    pub(crate) fn max_value_bytes(&self, key_bytes: usize) -> u64 {
        let geometry = self.log.geometry();
        let frame = perennial_wal::align_down(geometry.max_frame(), geometry.sector);
        let around = perennial_wal::frame::HEADER_BYTES + key_bytes as u64;
        let value = frame.saturating_sub(around);
        value.saturating_sub(value.div_ceil(perennial_wal::frame::CHUNK_BYTES) * 4)
    }

    /// Who does not wait leaves a sixteenth of the tail to the removes of what is rejected (I14).
    fn leaves_room_to_removes(&self, spec: &FrameSpec) -> bool {
        let geometry = self.log.geometry();
        let spare = (self.log.ring_bytes() / 16).min(geometry.segment_bytes / 16);
        let bytes = spec.header().frame_bytes(geometry.sector);
        self.log.has_left(bytes + spare, Class::Put)
    }

    /// Reserves the frame and sets the index entry, together.
    fn place(&self, placing: &Placing<'_>, at_once: bool) -> Result<Placed<'_>> {
        loop {
            if at_once && !self.leaves_room_to_removes(&placing.spec) {
                return Ok(Placed::NoRoom);
            }
            match self.try_place(placing) {
                Ok(placed) => return Ok(placed),
                Err(Refused::NoRoom(_)) if at_once => return Ok(Placed::NoRoom),
                Err(refused) => self.answer(refused, Class::Put)?,
            }
        }
    }

    fn try_place(&self, placing: &Placing<'_>) -> std::result::Result<Placed<'_>, Refused> {
        let mut shard = self.index.lock(placing.hash);
        if placing
            .only_for
            .is_some_and(|flight| !shard.extra().is_newest(placing.key, flight))
        {
            return Ok(Placed::Superseded);
        }
        if placing
            .extent
            .is_some_and(|extent| self.is_too_late(extent))
        {
            return Ok(Placed::TooLate);
        }
        if perennial_failpoints::planted!("replaced-before-reserved") {
            shard.remove(placing.hash);
        }
        let charge = self.charge_of(placing);
        if charge.is_some_and(|charge| !self.pins.try_charge(placing.hash, charge)) {
            return Ok(Placed::PinnedFull);
        }
        shard.prepare(placing.hash);
        let reserved = self.log.try_reserve(placing.spec, Class::Put);
        if let (Err(_), Some(charge)) = (&reserved, charge) {
            self.pins.take_back(placing.hash, charge);
        }
        let reservation = reserved?;
        let own = Addr::log(reservation.lsn());
        let (addr, bytes) = placing
            .extent
            .map_or((own, read_bytes(&placing.spec)), |extent| {
                (Addr::log(extent.lsn), self.extent_read_bytes(extent))
            });
        if let Some(extent) = placing.extent {
            self.note_reference(extent, reservation.lsn());
        }
        let entered = self.raise_horizon(own.max(addr));
        self.set_entry(&mut shard, placing.hash, addr, bytes);
        match charge {
            Some(charge) => self.pins.set(placing.hash, charge, placing.expiry),
            None => drop(self.pins.forget(placing.hash)),
        }
        shard.extra().supersede(placing.key);
        Ok(Placed::Reserved(reservation, entered))
    }

    fn set_entry(&self, shard: &mut ShardGuard<'_, Flights>, hash: u64, addr: Addr, bytes: u64) {
        let class = size_class::class_of(u32::try_from(bytes).unwrap_or(u32::MAX));
        let old = shard.set(hash, addr, class, &|addr| self.is_live(addr));
        if let Some(sampler) = &self.sampler {
            sampler.inserted(hash, u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        if !self.ledger.add(addr) {
            self.counters.evicted.add(1);
        }
        if let Some(old) = old {
            self.ledger.subtract(old.addr);
        }
    }

    fn finish_insert(
        &self,
        (bytes, stored_bytes): (usize, usize),
        end: Lsn,
        durable: bool,
        entered: bool,
    ) -> Result<Inserted> {
        perennial_failpoints::site!("write::completed");
        self.counters.inserts.add(1);
        self.counters.insert_bytes.add(bytes as u64);
        self.counters.stored_bytes.add(stored_bytes as u64);
        self.after_operation(entered);
        if durable {
            self.make_durable(end)?;
        }
        Ok(Inserted::Stored)
    }

    /// Makes room, or says why there is none.
    pub(crate) fn answer(&self, refused: Refused, class: Class) -> Result<()> {
        match refused {
            Refused::NoRoom(no_room) => self.make_room(no_room, class),
            Refused::Stopped(why) => Err(why.into()),
        }
    }
}
