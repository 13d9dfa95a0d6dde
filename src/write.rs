//! Inserts and removes: order is decided once, under the key's shard lock.
//!
//! Under that lock the LSN is reserved and the index entry is set together; the bytes are copied after it is released.
//! So the order of the index is the order of the log is the order of replay. A reservation that finds no room waits for
//! it outside the lock and tries again.

mod filled;
mod plain;

use std::sync::Arc;

use perennial_wal::frame::FrameKind;
use perennial_wal::{
    Addr, Class, EXTENT_REF_BYTES, ExtentRef, FrameSpec, Lsn, Refused, Reservation, to_u32,
};

use crate::compress::Compression;
use crate::engine::{Engine, put_spec, read_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Flight;
use crate::fetch::Flights;
use crate::index::{Entry, ShardGuard, size_class};
use crate::insert_options::{InsertOptions, Priority};
use crate::options::WhenFull;
use crate::value::{Inserted, Rejection};

/// What a reservation under the shard lock came to.
enum Placed<'a> {
    Reserved(Reservation<'a>, bool),
    Superseded,
    PinnedFull,
    /// Only for who does not wait.
    NoRoom,
}

/// What to put, and where its entry will point.
pub(crate) struct Placing<'k> {
    key: &'k [u8],
    hash: u64,
    pub(crate) spec: FrameSpec,
    /// The extent that holds key and value, where the frame only refers to it.
    pub(crate) extent: Option<ExtentRef>,
    /// Store only while this fetch is still the newest thing that happened to the key.
    only_for: Option<&'k Arc<Flight>>,
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
}

impl Engine {
    pub(crate) fn insert(&self, key: &[u8], value: &[u8], durable: bool) -> Result<Inserted> {
        if let Some(end) = self.insert_plainly(key, value)? {
            if durable {
                self.make_durable(end)?;
            }
            return Ok(Inserted::Stored);
        }
        let how = How {
            durable,
            ..How::default()
        };
        self.insert_how(key, value, how)
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
            only_for: None,
            at_once: false,
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
        let (hash, _) = self.check_put(key, value.len())?;
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
        if how.priority == Priority::Pinned && !self.may_pin(&spec)? {
            return self.reject(key, Rejection::PinnedFull, how.durable);
        }
        let at_once = self.is_at_once(how);
        let extent = if self.goes_through_the_ring(&spec) {
            None
        } else {
            match self.write_extent(spec, key, value, at_once)? {
                Some(extent) => Some(extent),
                None => return self.busy(key, hash),
            }
        };
        let spec = if extent.is_some() {
            reference_spec(hash, spec.flags)
        } else {
            spec
        };
        let placing = Placing {
            key,
            hash,
            spec,
            extent,
            only_for: how.only_for,
        };
        let (reservation, entered) = match self.place(&placing, at_once)? {
            Placed::Reserved(reservation, entered) => (reservation, entered),
            Placed::NoRoom => return self.busy(key, hash),
            Placed::Superseded => return Ok(Inserted::Rejected(Rejection::Superseded)),
            Placed::PinnedFull => return self.reject(key, Rejection::PinnedFull, how.durable),
        };
        perennial_failpoints::site!("write::placed");
        let end = match extent {
            Some(extent) => reservation.complete_with(&[], &extent.encode()),
            None => reservation.complete_with(key, value),
        };
        let stored_bytes = key.len() + value.len();
        self.finish_insert((inserted_bytes, stored_bytes), end, how.durable, entered)
    }

    /// What is rejected is not in the cache, and nothing older either.
    pub(crate) fn reject(&self, key: &[u8], why: Rejection, durable: bool) -> Result<Inserted> {
        let (end, _) = self.remove_hash(key, self.hash(key))?;
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
        self.reject(key, Rejection::NotAdmitted, how.durable)
    }

    /// Without a thread that makes room nobody would, ever: then the caller does.
    fn is_at_once(&self, how: How<'_>) -> bool {
        let rejects = self.plan.when_full == WhenFull::Reject && how.only_for.is_none();
        (how.at_once || rejects) && self.plan.background
    }

    /// There is no room: the older version goes, if that is possible at once. One that is in no index may come back after
    /// a crash, as what was evicted may.
    fn busy(&self, key: &[u8], hash: u64) -> Result<Inserted> {
        self.ask_for_room();
        match self.try_remove(key, hash) {
            Ok((_, entered, _)) => self.after_operation(entered),
            Err(Refused::Stopped(why)) => return Err(why.into()),
            Err(Refused::NoRoom(_)) if self.index.get(hash).is_none() => {
                // What is being fetched is older than what was refused.
                self.index.lock(hash).extra().supersede(key);
            }
            Err(Refused::NoRoom(_)) => {
                return Err(Error::new(
                    ErrorKind::Busy,
                    "there is no room now, and the older version is still there; try again",
                ));
            }
        }
        self.counters.rejected.add(1);
        Ok(Inserted::Rejected(Rejection::Busy))
    }

    pub(crate) fn remove(&self, key: &[u8], durable: bool) -> Result<()> {
        self.check_open()?;
        Self::check_key(key)?;
        let hash = self.hash(key);
        let (end, _) = self.remove_hash(key, hash)?;
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
        loop {
            match self.try_remove(key, hash) {
                Ok((end, entered, there)) => {
                    self.after_operation(entered);
                    return Ok((end, there));
                }
                Err(Refused::Stopped(_))
                    if perennial_failpoints::planted!("unlogged-when-stopped") =>
                {
                    self.index.lock(hash).remove(hash);
                    return Ok((Lsn(0), false));
                }
                Err(refused) => self.answer(refused, Class::Remove)?,
            }
        }
    }

    /// Returns where it ends, and whether it entered a segment and there was an entry.
    fn try_remove(&self, key: &[u8], hash: u64) -> std::result::Result<(Lsn, bool, bool), Refused> {
        let mut shard = self.index.lock(hash);
        let unstable = |old: Entry| old.addr.position() >= self.log.stable_lsn();
        if perennial_failpoints::planted!("remove-not-logged")
            || perennial_failpoints::planted!("remove-of-unstable-not-logged")
                && self.index.get(hash).is_some_and(unstable)
            || perennial_failpoints::planted!("remove-of-absent-not-logged")
                && self.index.get(hash).is_none()
        {
            shard.remove(hash);
            return Ok((Lsn(0), false, false));
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
        Ok((end, entered, there))
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

    /// `None`: there is no room, and it is not waited for.
    fn write_extent(
        &self,
        spec: FrameSpec,
        key: &[u8],
        value: &[u8],
        at_once: bool,
    ) -> Result<Option<ExtentRef>> {
        loop {
            match self.log.append_extent(spec, key, value) {
                Ok(extent) => return Ok(Some(extent)),
                Err(Refused::NoRoom(_)) if at_once => return Ok(None),
                Err(refused) => self.answer(refused, Class::Put)?,
            }
        }
    }

    /// Reserves the frame and sets the index entry, together.
    fn place(&self, placing: &Placing<'_>, at_once: bool) -> Result<Placed<'_>> {
        loop {
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
        let entered = self.raise_horizon(own.max(addr));
        self.set_entry(&mut shard, placing.hash, addr, bytes);
        match charge {
            Some(charge) => self.pins.set(placing.hash, charge),
            None => self.pins.forget(placing.hash),
        }
        shard.extra().supersede(placing.key);
        Ok(Placed::Reserved(reservation, entered))
    }

    /// An extent's class is always beyond the ring's, whatever its size: options may have changed since.
    pub(crate) fn extent_read_bytes(&self, extent: ExtentRef) -> u64 {
        u64::from(extent.bytes).max(self.max_ring_frame() + 1)
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

/// The reference of an extent with these flags: it has the same priority, for the trailer's row is of the reference.
pub(crate) fn reference_spec(hash: u64, flags: u8) -> FrameSpec {
    FrameSpec {
        kind: FrameKind::Ref,
        hash,
        key_bytes: 0,
        value_bytes: to_u32(EXTENT_REF_BYTES),
        expiry: 0,
        flags: flags & perennial_wal::frame::flags::PRIORITY,
    }
}
