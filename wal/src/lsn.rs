//! The log's units, as types: never bare integers.

use std::fmt;

/// Frames, extents and addresses are aligned to this many bytes.
pub const ALIGN: u64 = 16;

/// No log gets this far, and a checkpoint has bits for twice of it: a position from here on is damage.
pub(crate) const END_OF_POSITIONS: u64 = 1 << 58;

/// The log that counts never reaches further back: no cache is larger than half of it, and the index cannot tell
/// addresses apart that are further from each other.
pub(crate) const REACH_BYTES: u64 = 8 << 40;

/// Rounds `n` up to a multiple of `to`, a power of two.
#[must_use]
#[inline]
pub const fn align_up(n: u64, to: u64) -> u64 {
    (n + to - 1) & !(to - 1)
}

/// Rounds `n` down to a multiple of `to`, a power of two.
#[must_use]
pub const fn align_down(n: u64, to: u64) -> u64 {
    n & !(to - 1)
}

const _: () = assert!(usize::BITS == 64, "perennial needs a 64-bit machine");

/// A length or offset as an index into memory. Lossless: only 64-bit machines are supported.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits, asserted above"
)]
#[inline]
pub const fn to_usize(n: u64) -> usize {
    n as usize
}

/// A length of something in memory as a `u32`.
///
/// # Panics
/// When `n` does not fit; callers bound it by the segment size, which does.
#[must_use]
#[inline]
pub fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("lengths are bounded by the segment size, which fits u32")
}

/// The number of a segment. Numbers only grow: a recycled file gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentId(pub u64);

/// A position in the log, in bytes: segment number × segment size + offset in the segment.
///
/// Says both where a frame lives and when it was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position `offset` bytes into segment `id`.
    #[must_use]
    #[inline]
    pub const fn new(id: SegmentId, offset: u64, segment_bytes: u64) -> Self {
        Self(id.0 * segment_bytes + offset)
    }

    /// The segment this position lies in.
    #[must_use]
    #[inline]
    pub const fn segment(self, segment_bytes: u64) -> SegmentId {
        SegmentId(self.0 / segment_bytes)
    }

    /// Bytes from the start of its segment.
    #[must_use]
    #[inline]
    pub const fn offset(self, segment_bytes: u64) -> u64 {
        self.0 % segment_bytes
    }

    /// The position `n` bytes further on.
    #[must_use]
    #[inline]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

/// Where a frame can be read: in the log, or in a kept segment.
///
/// ```text
///  63     62 ........................................ 0
/// | kept |  position in 16-byte units                  |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(u64);

impl Addr {
    const KEPT: u64 = 1 << 63;

    /// The address of the frame at `lsn` of the log.
    #[must_use]
    #[inline]
    pub const fn log(lsn: Lsn) -> Self {
        debug_assert!(lsn.0.is_multiple_of(ALIGN));
        Self(lsn.0 / ALIGN)
    }

    /// The address of a frame in a kept segment; `position` counts like an LSN, over kept segments.
    #[must_use]
    pub const fn kept(position: Lsn) -> Self {
        debug_assert!(position.0.is_multiple_of(ALIGN));
        Self((position.0 / ALIGN) | Self::KEPT)
    }

    /// An address from its kind and its position in 16-byte units.
    #[must_use]
    pub const fn from_units(kept: bool, units: u64) -> Self {
        debug_assert!(units < Self::KEPT);
        Self(units | if kept { Self::KEPT } else { 0 })
    }

    /// True for a frame in a kept segment.
    #[must_use]
    #[inline]
    pub const fn is_kept(self) -> bool {
        self.0 & Self::KEPT != 0
    }

    /// The position in 16-byte units.
    #[must_use]
    #[inline]
    pub const fn units(self) -> u64 {
        self.0 & !Self::KEPT
    }

    /// The position in bytes: the LSN of a log frame. One that no position fits, as a damaged row may say, is nowhere.
    #[must_use]
    #[inline]
    pub const fn position(self) -> Lsn {
        Lsn(self.units().saturating_mul(ALIGN))
    }

    /// The address as it is stored.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The address from how it is stored; every value is one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentId({})", self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({:#x})", self.0)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Addr({} {})",
            if self.is_kept() { "kept" } else { "log" },
            self.position()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_its_segment_and_its_offset() {
        let lsn = Lsn::new(SegmentId(7), 4112, 8192);
        assert_eq!(lsn.segment(8192), SegmentId(7));
        assert_eq!(lsn.offset(8192), 4112);
        assert_eq!(lsn.plus(4080).segment(8192), SegmentId(8));
    }

    #[test]
    fn an_address_keeps_its_kind_and_its_place() {
        let lsn = Lsn(0x1_2340);
        for (addr, kept) in [(Addr::log(lsn), false), (Addr::kept(lsn), true)] {
            assert_eq!(addr.is_kept(), kept);
            assert_eq!(addr.position(), lsn);
            assert_eq!(Addr::from_bits(addr.to_bits()), addr);
            assert_eq!(Addr::from_units(kept, addr.units()), addr);
        }
        assert_ne!(Addr::log(lsn), Addr::kept(lsn));
    }

    #[test]
    fn positions_end_where_the_format_says() {
        assert_eq!(END_OF_POSITIONS, 0x0400_0000_0000_0000);
        assert_eq!(REACH_BYTES, 0x0800_0000_0000);
        let nowhere = Addr::from_bits(u64::MAX);
        assert_eq!(
            (nowhere.is_kept(), nowhere.position()),
            (true, Lsn(u64::MAX))
        );
        assert_eq!(Addr::from_bits(1 << 62).units(), 1 << 62);
        assert_eq!(Addr::log(Lsn(48)).to_bits(), 3);
    }

    #[test]
    fn numbers_are_shown_as_operators_read_them() {
        let (id, lsn) = (SegmentId(17), Lsn(0x1_2340));
        assert_eq!(format!("{id} {id:?}"), "000017 SegmentId(17)");
        assert_eq!(format!("{lsn} {lsn:?}"), "0x12340 Lsn(0x12340)");
        let (log, kept) = (Addr::log(lsn), Addr::kept(lsn));
        assert_eq!(
            format!("{log:?} {kept:?}"),
            "Addr(log 0x12340) Addr(kept 0x12340)"
        );
        assert_eq!((to_usize(7), to_u32(7)), (7, 7));
    }

    #[test]
    fn rounding_goes_to_the_next_and_the_last_multiple() {
        assert_eq!(
            [align_up(0, 16), align_up(1, 16), align_up(16, 16)],
            [0, 16, 16]
        );
        assert_eq!(
            [align_down(0, 16), align_down(17, 16), align_down(31, 16)],
            [0, 16, 16]
        );
    }
}
