//! How small and how large a cache can become, once it is made.

use perennial_wal::Geometry;
use perennial_wal::segment::MAX_FILES;

use super::plan::Plan;
use crate::error::{Error, Result};

/// The log that counts reaches at most twice as far back, and addresses have bits for that.
const MOST: u64 = 4 << 40;
/// The head of a checkpoint goes through the ring, and grows with the capacity.
pub(super) const CAPACITY_PER_RING: u64 = 64 << 10;
/// A cache can grow by this factor: that many bits of identity are more than it needs.
const GROWTH_LOG2: u8 = 16;
/// Bits of identity that remain beside those that number the entries, in a cache that has grown so much.
const BITS_LEFT: u8 = 40 - GROWTH_LOG2;

pub(super) fn check_most(capacity: u64) -> Result<()> {
    if capacity <= MOST {
        return Ok(());
    }
    let why = format!("capacity_bytes is {capacity}; choose at most 4 TiB");
    Err(Error::invalid(why))
}

impl Plan {
    /// What was fixed when the cache was created: positions count in segments of this size.
    pub(crate) fn keep_segments(&mut self, stored: Geometry) -> Result<()> {
        if let Some(asked) = self
            .segment_bytes_asked
            .filter(|asked| *asked != stored.segment_bytes)
        {
            return Err(Error::invalid(format!(
                "segment_bytes is {asked}, and this cache was created with {}; leave it out, or move the entries to a new cache with export and import",
                stored.segment_bytes
            )));
        }
        self.geometry = stored;
        Ok(())
    }

    /// The largest capacity that files have names for, and that the bits by which the index tells keys apart are enough for.
    /// They are chosen when the cache is made, 40 more than it takes to number its entries. With 24 more, in a cache of
    /// 65,536 times the size, it becomes likely that some two keys share theirs and the later replaces the earlier.
    fn growable_to(&self) -> u64 {
        let numbers = self.index.identity_bits.saturating_sub(BITS_LEFT);
        // Of entries of 512 bytes.
        let told_apart = (512_u64 << (numbers + 1)) - 1;
        let named = MAX_FILES * self.geometry.segment_bytes + self.fixed_bytes;
        told_apart.min(named).min(MOST)
    }

    pub(super) fn check_growth(&self) -> Result<()> {
        let (capacity, most) = (self.capacity_bytes, self.growable_to());
        if capacity <= most {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "capacity_bytes is {capacity}; segments of {} bytes and {} bits to tell keys apart, chosen when the cache was created, are for {most} bytes at most; for more move the entries to a new cache with export and import",
            self.geometry.segment_bytes, self.index.identity_bits
        )))
    }

    /// The same plan with another capacity, for a cache that is open: its tail stays as it is. There are `foreign` bytes
    /// of other files.
    pub(crate) fn resized(&self, capacity: u64, foreign: u64) -> Result<Self> {
        check_most(capacity)?;
        let resized = Self {
            capacity_bytes: capacity,
            ..self.clone()
        };
        let least = (self.least_capacity() + foreign).max(2 * self.ring_bytes);
        if capacity < least {
            return Err(Error::invalid(format!(
                "a capacity of {capacity} bytes is too small for this cache's segments and its tail; choose at least {least} bytes"
            )));
        }
        if self.ring_bytes < capacity / CAPACITY_PER_RING {
            let most = self.ring_bytes.saturating_mul(CAPACITY_PER_RING);
            return Err(Error::invalid(format!(
                "a capacity of {capacity} bytes is too large for a tail of {} bytes; choose at most {most} bytes, or open the cache with larger tail_bytes",
                self.ring_bytes
            )));
        }
        resized.check_growth()?;
        Ok(resized)
    }
}
