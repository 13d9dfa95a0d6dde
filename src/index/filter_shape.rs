//! How many bits and hashes a filter needs for the rate it promises.

/// Bits of a block: one cache line.
pub(super) const BLOCK_BITS: u32 = 512;
/// One number of 64 bits yields this many places in a block.
const MOST_HASHES: u8 = 7;

/// The smallest filter that lets absent keys pass at a given rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FilterShape {
    pub(super) hashes: u8,
    keys_per_block: f64,
}

/// The default rate, and its shape.
const OF_ONE_PERCENT: (f64, FilterShape) = (
    0.01,
    FilterShape {
        hashes: 5,
        keys_per_block: 50.625,
    },
);

impl FilterShape {
    pub(super) fn of(fp_rate: f64) -> Self {
        // A sum over a distribution takes ten microseconds: a tenth of an open in the crash lab.
        if fp_rate.to_bits() == OF_ONE_PERCENT.0.to_bits() {
            return OF_ONE_PERCENT.1;
        }
        Self::computed(fp_rate)
    }

    fn computed(fp_rate: f64) -> Self {
        let hashes = hashes(fp_rate);
        Self {
            hashes,
            keys_per_block: most_keys(hashes, fp_rate),
        }
    }

    /// Blocks for so many keys.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a positive number, to the nearest of millions"
    )]
    pub(super) fn blocks(self, capacity: usize) -> usize {
        (capacity as f64 / self.keys_per_block).ceil().max(1.0) as usize
    }
}

/// The fewest bits are had with log2(1 / rate) hashes. With a quarter fewer a filter needs 3 % more bits, and every lookup
/// and insert is a quarter cheaper.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number"
)]
fn hashes(fp_rate: f64) -> u8 {
    let wanted = (-0.75 * fp_rate.log2()).round() as u8;
    wanted.clamp(1, MOST_HASHES)
}

/// The most keys a block may hold on average, to an eighth of a key. Halving: the rate grows with the keys.
fn most_keys(hashes: u8, fp_rate: f64) -> f64 {
    let (mut fits, mut too_many) = (0.0, f64::from(BLOCK_BITS));
    while too_many - fits > 0.125 {
        let middle = (fits + too_many) / 2.0;
        if rate(hashes, middle) <= fp_rate {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    fits
}

/// The rate of a filter whose blocks hold `mean` keys on average.
///
/// How many a block holds is a Poisson number, and of a block that holds i keys each hash finds its bit set with
/// probability 1 - (1 - 1/512)^(i hashes).
fn rate(hashes: u8, mean: f64) -> f64 {
    let hashes = i32::from(hashes);
    let clear_after_key = (1.0 - 1.0 / f64::from(BLOCK_BITS)).powi(hashes);
    let (mut keys, mut clear, mut weight, mut sum) = (0.0, 1.0, (-mean).exp(), 0.0);
    while keys < mean || weight > 1e-9 {
        sum += weight * (1.0_f64 - clear).powi(hashes);
        keys += 1.0;
        clear *= clear_after_key;
        weight *= mean / keys;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_the_default_rate_is_the_computed_one() {
        let (rate, shape) = OF_ONE_PERCENT;
        assert_eq!(FilterShape::computed(rate), shape);
    }
}
