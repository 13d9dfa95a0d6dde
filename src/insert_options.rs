//! What a caller may say of one insert.

use std::time::Duration;

use perennial_wal::frame::flags;

use crate::compress::Compression;
use crate::error::{Error, Result};

/// What an entry is worth when room is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Never kept when its segment is reclaimed, however often it was read.
    Low,
    /// What the [`Eviction`](crate::Eviction) policy thinks of it.
    #[default]
    Normal,
    /// Never evicted, by any policy; up to [`Options::pinned_percent`](crate::Options::pinned_percent) of the capacity.
    Pinned,
}

impl Priority {
    /// What a frame carries of it.
    pub(crate) const fn flags(self) -> u8 {
        match self {
            Self::Low => flags::LOW,
            Self::Normal => 0,
            Self::Pinned => flags::PINNED,
        }
    }

    /// What the flags of a frame say of it.
    pub(crate) const fn of(frame_flags: u8) -> Self {
        match frame_flags & flags::PRIORITY {
            0 => Self::Normal,
            flags::LOW => Self::Low,
            _ => Self::Pinned,
        }
    }
}

/// How to insert one entry: see [`Cache::insert_with`](crate::Cache::insert_with).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct InsertOptions {
    ttl: Option<Duration>,
    ends_at_s: Option<u32>,
    priority: Priority,
    durable: bool,
    checksum: Option<u32>,
    compression: Option<Compression>,
}

impl InsertOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the entry is there: from then on it is a miss for every kind of read, and goes when it is next looked at.
    /// Default: for ever. Range: more than nothing, up to February 2106. It ends on a whole second of the wall clock, up to
    /// one later than asked for.
    ///
    /// Time never goes back for a cache, whatever the clock does: see `docs/durability.md`. What is stored while the clock
    /// is wrong ends at the wrong time.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The second of the wall clock, counted from 1970, from which on the entry is a miss: for who stores again what
    /// [`Cache::entry`](crate::Cache::entry) gave. It wins over [`ttl`](Self::ttl). One that is over already leaves the key
    /// without a value, as if the entry had been stored in time. Default: none. Range: from 1.
    pub fn ends_at_s(mut self, second: u32) -> Self {
        self.ends_at_s = Some(second);
        self
    }

    /// What the entry is worth when room is needed. Default: [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The entry survives a power cut from the moment the insert returns, as after
    /// [`insert_durable`](crate::Cache::insert_durable). Default: false.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The CRC-32 (IEEE 802.3, as zlib and `crc32fast` compute it) that the caller has of the value. It is compared with
    /// the value's own before anything is stored; where they differ the insert is
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), and an older version of the key stays. Default: none.
    pub fn checksum(mut self, crc: u32) -> Self {
        self.checksum = Some(crc);
        self
    }

    /// Whether this value is compressed, whatever [`Options::compression`](crate::Options::compression) says. Default: as that
    /// says. Range: as there.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    pub(crate) fn compression_of(&self) -> Result<Option<Compression>> {
        self.compression.map_or(Ok(()), Compression::check)?;
        Ok(self.compression)
    }

    pub(crate) const fn is_durable(&self) -> bool {
        self.durable
    }

    pub(crate) const fn priority_of(&self) -> Priority {
        self.priority
    }

    /// Refuses a value that is not the one the caller took the checksum of.
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<()> {
        let Some(expected) = self.checksum else {
            return Ok(());
        };
        let found = crc32fast::hash(value);
        if found == expected {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the value has crc {found:#010x}, its checksum says {expected:#010x}; nothing is stored, read the value again"
        )))
    }

    /// When an entry that is stored at `now_ms` ends, in seconds since 1970; 0 = never.
    pub(crate) fn expiry(&self, now_ms: u64) -> Result<u32> {
        if let Some(second) = self.ends_at_s {
            return some_second(second);
        }
        let Some(ttl) = self.ttl else {
            return Ok(0);
        };
        if ttl.is_zero() {
            return Err(Error::invalid(
                "ttl is zero; choose a longer one, or remove the key",
            ));
        }
        let end_ms = u128::from(now_ms) + ttl.as_nanos().div_ceil(1_000_000);
        u32::try_from(end_ms.div_ceil(1000)).map_err(|_| {
            Error::invalid(format!(
                "ttl is {} s, which ends after February 2106; choose a shorter one or none",
                ttl.as_secs()
            ))
        })
    }
}

/// 0 would be for ever.
fn some_second(second: u32) -> Result<u32> {
    if second == 0 {
        return Err(Error::invalid(
            "ends_at_s is 0; choose a later second, or none",
        ));
    }
    Ok(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(now_ms: u64, ttl: Duration) -> Option<u32> {
        InsertOptions::new().ttl(ttl).expiry(now_ms).ok()
    }

    #[test]
    fn an_entry_ends_on_the_next_whole_second() {
        let ms = Duration::from_millis;
        assert_eq!(expiry(10_000, ms(1000)), Some(11));
        assert_eq!(expiry(10_001, ms(1000)), Some(12));
        assert_eq!(expiry(10_900, ms(1)), Some(11));
        assert_eq!(expiry(10_000, Duration::from_nanos(1)), Some(11));
        assert_eq!(InsertOptions::new().expiry(10_000).ok(), Some(0));
    }

    #[test]
    fn what_a_frame_cannot_carry_is_refused() {
        let most = Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(expiry(0, most), Some(u32::MAX));
        assert_eq!(expiry(1, most), None);
        assert_eq!(expiry(0, Duration::MAX), None);
        assert_eq!(expiry(u64::MAX, Duration::MAX), None);
        assert_eq!(expiry(0, Duration::ZERO), None);
    }

    #[test]
    fn a_second_that_is_named_is_taken_as_it_is() {
        let at = |second| InsertOptions::new().ends_at_s(second);
        let ends = |second| at(second).expiry(10_999).ok();
        assert_eq!(ends(11), Some(11));
        assert_eq!(ends(1), Some(1), "over already");
        assert_eq!(ends(u32::MAX), Some(u32::MAX));
        assert_eq!(ends(0), None);
        let both = at(11).ttl(Duration::from_secs(90));
        assert_eq!(both.expiry(0).ok(), Some(11));
    }

    #[test]
    fn a_frame_says_what_an_entry_is_worth() {
        for priority in [Priority::Low, Priority::Normal, Priority::Pinned] {
            let others = !flags::PRIORITY;
            assert_eq!(Priority::of(priority.flags() | others), priority);
        }
    }
}
