//! What the index says about a key, and how addresses fit 39 bits.

use perennial_wal::Addr;

/// An entry as it leaves the index for a checkpoint and comes back from one. Its identity is the top bits of the key's
/// hash, as many as the geometry says.
pub(crate) use perennial_recovery::Entry as ImageEntry;

use super::slot::{ADDRESS_BITS, Payload};
use crate::sync::{AtomicU64, Ordering};

/// The newest frame of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) addr: Addr,
    /// How many bytes to read for it, see `size_class`.
    pub(crate) size_class: u8,
    /// How often readers touched it since it was stored: 0 to 3.
    pub(crate) visited: u8,
}

/// One past which no address of its kind lies: what a slot's 39 bits are counted back from.
///
/// ```text
///   ----|=============================|---->   positions
///       horizon - 8 TiB       horizon
/// ```
///
/// Slots of older addresses must be swept before the horizon is 8 TiB past them.
#[derive(Default)]
pub(super) struct Horizons {
    log: AtomicU64,
    kept: AtomicU64,
}

const WINDOW: u64 = 1 << ADDRESS_BITS;

impl Horizons {
    /// A horizon never goes back, whatever order racing callers come in.
    pub(super) fn raise(&self, kept: bool, units: u64) {
        // Relaxed: whoever stores an address raised the horizon before, and the slot's version
        // hands that on to readers of the slot.
        self.of(kept).fetch_max(units, Ordering::Relaxed);
    }

    #[inline]
    fn of(&self, kept: bool) -> &AtomicU64 {
        if kept { &self.kept } else { &self.log }
    }

    #[inline]
    fn units(&self, kept: bool) -> u64 {
        self.of(kept).load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn shorten(&self, addr: Addr, class: u8, visited: u8) -> Payload {
        let ahead = self.units(addr.is_kept()).checked_sub(addr.units());
        debug_assert!(
            ahead.is_some_and(|ahead| ahead < WINDOW),
            "{addr:?} lies outside the 8 TiB below its horizon"
        );
        Payload {
            low_units: addr.units() % WINDOW,
            kept: addr.is_kept(),
            class,
            visited,
        }
    }

    #[inline]
    pub(super) fn expand(&self, payload: Payload) -> Entry {
        let horizon = self.units(payload.kept);
        // Saturating for a slot nobody can have stored; addresses are checked against the frame.
        let units = horizon.saturating_sub(horizon.wrapping_sub(payload.low_units) % WINDOW);
        Entry {
            addr: Addr::from_units(payload.kept, units),
            size_class: payload.class,
            visited: payload.visited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_from_its_low_bits() {
        let far = 5 * WINDOW + 12_345;
        for horizon in [0, 1, WINDOW - 1, WINDOW, WINDOW + 7, far] {
            for back in [0, 1, WINDOW / 2, WINDOW - 1] {
                for kept in [false, true] {
                    let Some(units) = horizon.checked_sub(back) else {
                        continue;
                    };
                    let horizons = Horizons::default();
                    horizons.raise(kept, horizon);
                    let addr = Addr::from_units(kept, units);
                    let entry = horizons.expand(horizons.shorten(addr, 9, 2));
                    assert_eq!((entry.addr, entry.size_class, entry.visited), (addr, 9, 2));
                }
            }
        }
    }

    #[test]
    fn a_horizon_never_goes_back() {
        let horizons = Horizons::default();
        horizons.raise(false, 100);
        horizons.raise(false, 10);
        assert_eq!((horizons.units(false), horizons.units(true)), (100, 0));
    }
}
