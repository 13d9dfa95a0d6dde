//! The insert that nothing special is asked of: most of all inserts.
//!
//! A value without options, that fits in the ring, into a cache that stores whatever comes, as it comes. What
//! [`insert_how`](Engine::insert_how) does for it, in the same order and under the same lock, without a look at what
//! cannot be: one reservation, one walk through the key's buckets, one copy.

use perennial_wal::frame::HEADER_BYTES;
use perennial_wal::{Addr, Class, Lsn, Refused, Reservation, align_up};

use crate::compress::Compression;
use crate::engine::{Engine, put_spec};
use crate::error::Result;
use crate::index::size_class;
use crate::options::WhenFull;

/// Values up to here, and keys. Larger ones have crcs of their own for each chunk, and cost more than what is saved here.
const PLAIN_BYTES: usize = 32 << 10;

impl Engine {
    /// Inserts a value, if that is a plain insert; returns where its frame ends. `None`: it is not, and nothing happened.
    #[inline]
    pub(crate) fn insert_plainly(&self, key: &[u8], value: &[u8]) -> Result<Option<Lsn>> {
        self.check_open()?;
        Self::check_key(key)?;
        if !self.is_plain(key, value) {
            return Ok(None);
        }
        let hash = self.hash(key);
        let began = self.begins(hash);
        loop {
            match self.try_insert_plainly(hash, key, value) {
                Ok(end) => {
                    self.ends(began, |times| Some(&times.insert));
                    return Ok(Some(end));
                }
                Err(refused) => self.answer(refused, Class::Put)?,
            }
        }
    }

    /// Whether nothing is asked of this insert that only [`insert_how`](Self::insert_how) does.
    #[inline]
    fn is_plain(&self, key: &[u8], value: &[u8]) -> bool {
        let plan = &self.plan;
        let fits = key.len() <= PLAIN_BYTES && value.len() <= PLAIN_BYTES;
        let frame = align_up(HEADER_BYTES + (key.len() + value.len()) as u64, 16);
        fits && frame <= self.ring_frame
            && plan.admission.is_none()
            && matches!(plan.compression, Compression::None)
            && plan.when_full == WhenFull::Block
    }

    #[inline]
    fn try_insert_plainly(
        &self,
        hash: u64,
        key: &[u8],
        value: &[u8],
    ) -> std::result::Result<Lsn, Refused> {
        let spec = put_spec(hash, key, u32::try_from(value.len()).unwrap_or(u32::MAX));
        let (reservation, entered) = self.enter_plainly(hash, key, value.len(), || {
            self.log.try_reserve(spec, Class::Put)
        })?;
        perennial_failpoints::site!("write::plain::placed");
        let end = reservation.complete_with(key, value);
        perennial_failpoints::site!("write::plain::completed");
        self.after_operation(entered);
        Ok(end)
    }

    /// Reserves the frame and sets the index entry, together.
    #[inline]
    fn enter_plainly<'a>(
        &'a self,
        hash: u64,
        key: &[u8],
        value_bytes: usize,
        reserve: impl FnOnce() -> std::result::Result<Reservation<'a>, Refused>,
    ) -> std::result::Result<(Reservation<'a>, bool), Refused> {
        let bytes = u32::try_from(key.len() + value_bytes).unwrap_or(u32::MAX);
        let read_bytes = bytes.saturating_add(32);
        let mut shard = self.index.lock(hash);
        if perennial_failpoints::planted!("replaced-before-reserved") {
            shard.remove(hash);
        }
        let class = size_class::class_of(read_bytes);
        let live = |addr| self.is_live(addr);
        let ((reservation, addr, entered), old) =
            shard.enter(hash, (class, bytes.into()), &live, |flights| {
                let reservation = reserve()?;
                let addr = Addr::log(reservation.lsn());
                let entered = self.raise_horizon(addr);
                flights.supersede(key);
                Ok(((reservation, addr, entered), addr))
            })?;
        if let Some(sampler) = &self.sampler {
            sampler.inserted(hash, read_bytes);
        }
        let counted = match old {
            None => self.ledger.add(addr),
            Some(old) => self.ledger.replace(old.addr, addr),
        };
        if !counted {
            self.counters.evicted.add(1);
        }
        self.pins.forget(hash);
        Ok((reservation, entered))
    }
}
