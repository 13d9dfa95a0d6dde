//! Medians, and how far apart the repeats are.

use serde::{Deserialize, Serialize};

/// A figure over its repeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) repeats: usize,
}

impl Spread {
    /// `None` of nothing, and of what is no number.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = figures
            .iter()
            .copied()
            .filter(|figure| figure.is_finite())
            .collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let repeats = sorted.len();
        let middle = repeats / 2;
        let median = if repeats % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            median,
            least,
            most,
            repeats,
        })
    }

    /// From the least to the most, in percent of the median.
    pub(crate) fn percent(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        100.0 * (self.most - self.least) / self.median.abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[7.0]).unwrap().median, 7.0);
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[f64::NAN]), None);
        assert_eq!(Spread::of(&[f64::NAN, 5.0]).unwrap().repeats, 1);
    }

    #[test]
    fn the_spread_is_in_percent_of_the_median() {
        let spread = Spread::of(&[90.0, 100.0, 120.0]).unwrap();
        assert_eq!((spread.least, spread.most), (90.0, 120.0));
        assert!((spread.percent() - 30.0).abs() < 1e-9);
        assert_eq!(Spread::of(&[0.0, 0.0]).unwrap().percent(), 0.0);
    }
}
