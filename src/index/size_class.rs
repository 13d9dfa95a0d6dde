//! How long a frame is, in six bits: good enough to read it whole with one read.
//!
//! Bounds are multiples of 16 bytes. Up to 104 KiB they grow by a quarter: a frame, itself a multiple of 16, is read with at most
//! a quarter more bytes than it has. From 128 KiB on there are three to an octave, the first just above a power of two: where
//! values are large, most are blocks of such a size, and a block of 1 MiB is read with 2 KiB too many, where a quarter was up
//! to 200; others are read with at most 27 % more.
//!
//! ```text
//!   32 48 80 ... 84736 105936 | 128 Ki + 1360   161 Ki + ..   203 Ki + .. | 256 Ki + 1488 ...
//! ```
//! Classes are on disk, in checkpoints: a bound may grow, and never shrink.
//!
//! The last class says "longer: read the header first". Class 0 is never given out, so that an all-zero slot can mean empty.

/// The class of frames longer than every bound.
pub(crate) const LARGEST: u8 = 63;

const CLASSES: usize = LARGEST as usize;
const SMALLEST: u32 = 32;

/// `BOUNDS[i]` is the bound of class `i + 1`.
static BOUNDS: [u32; CLASSES] = bounds();

const fn bounds() -> [u32; CLASSES] {
    let mut all = [u32::MAX; CLASSES];
    all[0] = SMALLEST;
    let mut i = 1;
    while i < OCTAVES_FROM {
        // The shortest frame of this class is 16 bytes longer than the last bound.
        all[i] = (all[i - 1] + 16) / 4 * 5 / 16 * 16;
        i += 1;
    }
    while i < CLASSES - 1 {
        let (octave, third) = ((i - OCTAVES_FROM) / 3, (i - OCTAVES_FROM) % 3);
        let power = FIRST_OCTAVE << octave;
        // A header, a key, and four bytes of table for each 64 KiB.
        all[i] = power / 128 * THIRDS[third] + 1232 + power / 1024;
        i += 1;
    }
    assert!(all[CLASSES - 2] >= 1 << 26, "frames of 64 MiB have a bound");
    all
}

/// Classes before the first octave.
const OCTAVES_FROM: usize = 33;
const FIRST_OCTAVE: u32 = 128 << 10;
/// The thirds of an octave, in 128ths.
const THIRDS: [u32; 3] = [128, 161, 203];

/// `SHORT[n]` is the class of `16 n` bytes.
static SHORT: [u8; SHORT_BYTES as usize / 16 + 1] = short();

/// Up to here a table tells, without a search.
const SHORT_BYTES: u32 = 1024;

const fn short() -> [u8; SHORT_BYTES as usize / 16 + 1] {
    let mut all = [1; SHORT_BYTES as usize / 16 + 1];
    let mut i = 1;
    while i < all.len() {
        let before = all[i - 1];
        let fits = BOUNDS[before as usize - 1] as usize >= 16 * i;
        all[i] = if fits { before } else { before + 1 };
        i += 1;
    }
    all
}

/// The smallest class whose bound is at least `bytes`.
#[inline]
pub(crate) fn class_of(bytes: u32) -> u8 {
    if bytes <= SHORT_BYTES {
        return SHORT[bytes.div_ceil(16) as usize];
    }
    let shorter = BOUNDS.partition_point(|&bound| bound < bytes);
    u8::try_from(shorter).map_or(LARGEST, |class| class + 1)
}

/// The largest class of which every frame has at most `bytes`; 0: there is none.
pub(crate) fn largest_within(bytes: u64) -> u8 {
    let within = BOUNDS[..CLASSES - 1].partition_point(|&bound| u64::from(bound) <= bytes);
    u8::try_from(within).unwrap_or(LARGEST)
}

/// The most bytes a frame of `class` can have; `u32::MAX` for the last class.
pub(crate) fn class_bound(class: u8) -> u32 {
    BOUNDS[usize::from(class) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_and_are_multiples_of_sixteen() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
        assert!(BOUNDS[..CLASSES - 1].iter().all(|b| b % 16 == 0));
        assert_eq!((class_bound(1), class_bound(LARGEST)), (32, u32::MAX));
    }

    #[test]
    fn the_class_of_a_length_is_the_smallest_that_holds_it() {
        let lengths = (0..70_000).chain((0..1 << 27).step_by(4999));
        for bytes in lengths.chain([1 << 26, u32::MAX - 1, u32::MAX]) {
            let class = class_of(bytes);
            assert!(class_bound(class) >= bytes);
            assert!(class == 1 || class_bound(class - 1) < bytes);
        }
    }

    #[test]
    fn the_largest_class_within_a_length_has_the_next_bound_below() {
        for bytes in (0..70_000).chain((0..1 << 27).step_by(4999)) {
            let class = largest_within(bytes);
            assert!(class == 0 || u64::from(class_bound(class)) <= bytes);
            assert!(u64::from(class_bound(class + 1)) > bytes);
        }
        assert_eq!(
            largest_within(u64::MAX),
            LARGEST - 1,
            "the last has no bound"
        );
    }

    #[test]
    fn at_most_a_quarter_is_read_in_vain_and_of_large_ones_27_percent() {
        for bytes in (32..=1u32 << 26).step_by(16) {
            let bound = class_bound(class_of(bytes));
            let most = if bytes > 104 << 10 { 27 } else { 25 };
            let fits = bound - bytes <= bytes / 100 * most + bytes % 100 * most / 100;
            assert!(fits, "{bytes} bytes read as {bound}");
        }
    }

    /// Classes are on disk, in checkpoints: what was read whole must be so for ever.
    #[test]
    fn no_bound_is_below_the_one_that_its_class_once_had() {
        let mut before = SMALLEST;
        for class in 1..LARGEST {
            assert!(class_bound(class) >= before, "class {class}");
            before = (before + 16) / 4 * 5 / 16 * 16;
        }
    }

    #[test]
    fn of_large_blocks_of_a_power_of_two_little_is_read_in_vain() {
        for power in 17..=26 {
            let bytes = (1u32 << power) + 48 + 16 + 4 * (1 << power >> 16);
            let bound = class_bound(class_of(bytes));
            assert!(
                bound - bytes <= bytes / 100,
                "{bytes} bytes read as {bound}"
            );
        }
    }
}
